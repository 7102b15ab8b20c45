//! Our program on a machine, for one of its users, as its manual says: installed into /usr/bin, with a configuration and
//! a spool in the user's home. And the person who sends requests to it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{Machine, Sunk};
use crate::support::{PROGRAM, eventually, run};

/// Where the program is.
pub(crate) const INSTALLED: &str = "/usr/bin/netsysrq-mail";
/// The address that answers go to.
pub(crate) const HOLDER: &str = "alice@example.com";

/// How long the requests in mails that were sent may take to be run and answered.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Host<'a> {
    pub(crate) machine: &'a Machine,
    user: &'static str,
    keys: TempDir,
}

impl<'a> Host<'a> {
    /// Installs the program, and makes key, configuration and spool for `user`. `restart` restarts the mail
    /// system, as root.
    pub(crate) fn set_up(machine: &'a Machine, user: &'static str, restart: &[&str]) -> Self {
        let host = Self { machine, user, keys: TempDir::with_prefix("netsysrq-keys-").unwrap() };
        host.install();
        let made = run(Command::new(PROGRAM).arg("keygen").arg(host.key()), b"");
        assert_eq!(made.status, 0, "{made:?}");
        // a disk of its own, so that it can be full alone
        let disk = format!("/home/{user}/.local/state");
        machine.shell(&format!(
            "install -d -o {user} /home/{user}/.local {disk}; mount -t tmpfs -o size=8m,mode=755 tmpfs {disk}; \
             chown {user}: {disk}"
        ));
        let made = host.tool(&["init"]);
        assert_eq!(made.status, 0, "{made:?}");
        host.configure(restart);
        machine.write(
            "/etc/sudoers.d/restart",
            format!("{user} ALL=(root) NOPASSWD: {}\n", restart.join(" ")).as_bytes(),
        );
        host
    }

    fn configure(&self, restart: &[&str]) {
        let public = fs::read_to_string(self.key().with_extension("pub")).unwrap();
        let restart: Vec<String> = restart.iter().map(|word| format!("{word:?}")).collect();
        let config = format!(
            r#"names = ["mx"]

[answer]
from = "netsysrq@mx.example.net"
transport = "sendmail"
signing_key = "{home}/.config/netsysrq-mail/host_ed25519"

[answer.sendmail]
path = "/usr/sbin/sendmail"

[key.phone]
public = "{public}"
answer_to = "{HOLDER}"
allow = ["ping", "mark", "wait", "flood", "restart", "look"]
max_ttl = "8d"

[command.mark]
run = ["/bin/sh", "-c", "echo ran >>{home}/marks; echo done"]

# until somebody makes the file
[command.wait]
run = ["/bin/sh", "-c", "until [ -e {home}/go ]; do sleep 0.1; done; echo waited"]
timeout = "10m"

[command.flood]
run = ["/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"]
output_limit = "1MiB"

[command.restart]
run = ["/usr/bin/sudo", "-n", {restart}]
no_new_privileges = false

# what a command is given; dash would unblock signals
[command.look]
run = ["/bin/bash", "-c", "ls -l /proc/$$/fd; grep Sig /proc/self/status; sh -c 'ulimit -a'; env"]
"#,
            home = self.home(),
            public = public.trim(),
            restart = restart.join(", "),
        );
        self.write_config(&config);
    }

    fn key(&self) -> PathBuf {
        self.keys.path().join("phone")
    }

    /// The private key that requests are signed with.
    pub(crate) fn private_key(&self) -> Vec<u8> {
        fs::read(self.key()).unwrap()
    }

    fn home(&self) -> String {
        format!("/home/{}", self.user)
    }

    /// Puts the program where mail systems look, whole or not at all, since one may be looking.
    pub(crate) fn install(&self) {
        let aside = format!("{INSTALLED}.new");
        // by a process of its own: a child of another thread would have the copy open for writing (ETXTBSY)
        let copied = run(Command::new("cp").arg(PROGRAM).arg(self.machine.path(&aside)), b"");
        assert_eq!(copied.status, 0, "{copied:?}");
        self.machine.shell(&format!("mv {aside} {INSTALLED}"));
    }

    /// Puts a script there in its place.
    pub(crate) fn install_instead(&self, script: &str) {
        self.machine.write("/tmp/instead", format!("#!/bin/sh\n{script}\n").as_bytes());
        self.machine.shell(&format!("install -m 755 /tmp/instead {INSTALLED}"));
    }

    /// The text of the configuration.
    pub(crate) fn config(&self) -> String {
        self.machine.read(&self.config_path())
    }

    fn config_path(&self) -> String {
        format!("{}/.config/netsysrq-mail/config.toml", self.home())
    }

    /// Writes the configuration; the file stays the user's.
    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.machine.path(&self.config_path()), text).unwrap();
    }

    /// The state directory, in the machine.
    pub(crate) fn state(&self) -> String {
        format!("{}/.local/state/netsysrq-mail", self.home())
    }

    /// Runs one of our tools there, as its user.
    pub(crate) fn tool(&self, arguments: &[&str]) -> crate::support::Ran {
        let argv: Vec<&str> = [INSTALLED].into_iter().chain(arguments.iter().copied()).collect();
        self.machine.run_as(self.user, &argv, b"")
    }

    /// The text of a request for this host, signed elsewhere.
    pub(crate) fn sign(&self, command: &[&str]) -> String {
        self.sign_with(&[], command)
    }

    /// The same with options.
    pub(crate) fn sign_with(&self, options: &[&str], command: &[&str]) -> String {
        let mut sign = Command::new(PROGRAM);
        sign.args(["sign", "--key-id", "phone", "--key"]).arg(self.key()).args(options);
        let signed = run(sign.arg("mx").args(command), b"");
        assert_eq!(signed.status, 0, "{signed:?}");
        signed.stdout
    }

    /// How often the command `mark` has run.
    pub(crate) fn marks(&self) -> usize {
        self.machine.read(&format!("{}/marks", self.home())).lines().count()
    }

    /// Has `mark` write which request it ran for, and allows as many requests as a test may send.
    pub(crate) fn tell_requests_apart(&self) {
        let config = self.config().replace("echo ran", "echo $NETSYSRQ_CTI");
        self.write_config(&config.replace("max_ttl = ", "per_hour = 1000\nmax_ttl = "));
    }

    /// The requests that `mark` has run for, sorted.
    pub(crate) fn runs(&self) -> Vec<String> {
        let marks = self.machine.read(&format!("{}/marks", self.home()));
        sorted(marks.lines().map(ToOwned::to_owned))
    }

    /// The requests that have been answered, by answers that verify, sorted.
    pub(crate) fn answered(&self) -> Vec<String> {
        let answers = self.answers();
        let cti = |mail: &str| self.verify(mail)["cti"].as_str().unwrap().to_owned();
        sorted(answers.iter().map(|answer| cti(&answer.mail)))
    }

    /// Waits until this many answers have left and the mail system holds nothing, or gives up after some time.
    pub(crate) fn settle(&self, count: usize, holds_mail: fn(&Machine) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE
            && (self.answers().len() < count || holds_mail(self.machine))
        {
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets the command `wait` end.
    pub(crate) fn go(&self) {
        fs::write(self.machine.path(&format!("{}/go", self.home())), "").unwrap();
    }

    /// How often the program was called with a mail that had a request in it, by the lines of its log.
    pub(crate) fn calls(&self) -> usize {
        let mut processes: Vec<String> = self
            .machine
            .log("netsysrq-mail[")
            .iter()
            .filter_map(|line| {
                let (tag, text) = line.split_once(": ")?;
                let word = text.split(' ').next()?;
                matches!(word, "accepted" | "refused" | "deferred").then(|| tag.to_owned())
            })
            .collect();
        processes.sort();
        processes.dedup();
        processes.len()
    }

    /// The answers that have left the machine; each went to the holder of the key, from the null sender.
    pub(crate) fn answers(&self) -> Vec<Sunk> {
        let answers: Vec<Sunk> =
            self.machine.sunk().into_iter().filter(|mail| mail.to == HOLDER).collect();
        for answer in &answers {
            assert_eq!(answer.from, "", "an answer came from an address: {answer:?}");
        }
        answers
    }

    /// Waits for this many answers, verifies each, and returns the last one.
    pub(crate) fn await_answers(&self, count: usize) -> String {
        eventually(&format!("answer {count}"), || self.answers().len() >= count);
        let answers = self.answers();
        assert_eq!(answers.len(), count, "{answers:?}");
        answers.iter().for_each(|answer| drop(self.verify(&answer.mail)));
        answers.into_iter().next_back().map(|answer| answer.mail).unwrap_or_default()
    }

    /// The output in an answer that verifies.
    pub(crate) fn output_of(&self, answer: &str) -> String {
        self.verify(answer)["output"].as_str().unwrap_or_default().to_owned()
    }

    /// What an answer says; it must verify.
    fn verify(&self, answer: &str) -> Value {
        let host_key = self.keys.path().join("host.pub");
        let public = format!("{}/.config/netsysrq-mail/host_ed25519.pub", self.home());
        fs::copy(self.machine.path(&public), &host_key).unwrap();
        let mut verify = Command::new(PROGRAM);
        verify.args(["--json", "verify", "--host-key"]).arg(&host_key);
        let verified = run(&mut verify, answer.as_bytes());
        assert_eq!(verified.status, 0, "{verified:?}\n{answer}");
        serde_json::from_str(&verified.stdout).unwrap()
    }
}

pub(crate) fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}
