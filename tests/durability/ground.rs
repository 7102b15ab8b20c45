//! What the tests of this suite share: a site that counts its runs, and a request that is followed through the spool.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use netsysrq_mail::compose::keys;
use netsysrq_mail::compose::sign::{self, Signer};
use netsysrq_mail::protocol::id::Id;
use netsysrq_mail::protocol::job::journal;
use netsysrq_mail::protocol::job::name::Name;
use netsysrq_mail::protocol::job::record::Record;
use netsysrq_mail::protocol::job::state::State;
use netsysrq_mail::protocol::ruling::Ruling;
use netsysrq_mail::protocol::time::Time;
use netsysrq_mail::protocol::wire::message::Candidate;
use netsysrq_mail::protocol::wire::nonce::Nonce;
use netsysrq_mail::protocol::wire::request::Request;
use rustix::process::Pid;

use crate::support::{PROGRAM, Site, eventually, message, waiting_for, write_script};

pub(crate) const DELIVER: [&str; 5] = ["deliver", "--verbose", "--wait", "--profile", "mailbox"];

/// A site whose commands write down the nonce of each request that they are run for into `runs`; `slow` waits until `go`
/// is there. Its keys are pressed into the file `trigger`.
pub(crate) fn site() -> Site {
    let site = Site::new();
    let (root, wait) = (site.root().display().to_string(), waiting_for(&site.path("go")));
    site.configure(
        r#"allow     = ["ping", "help","#,
        r#"per_hour  = 1000000
sysrq     = ["sub", "sisub", "mtw", "s"]
allow     = ["count", "large", "slow", "soon", "last", "revoke", "reboot-safe", "poweroff-safe", "reboot-now", "ping", "help","#,
    );
    let config = site.read("config.toml");
    site.write(
        "config.toml",
        &format!(
            r#"{config}
[sysrq]
trigger = "{root}/trigger"
kmsg    = "{root}/kmsg"
wait    = "10ms"
settle  = "0s"

[command.count]
run = ["/bin/sh", "-c", "echo $NETSYSRQ_CTI >>{root}/runs; echo counted"]

[command.large]
run          = ["/bin/sh", "-c", "echo $NETSYSRQ_CTI >>{root}/runs; head -c 200000 /dev/urandom"]
output_limit = "200KiB"

[command.slow]
run = ["/bin/sh", "-c", "echo begin >>{root}/turns; echo $NETSYSRQ_CTI >>{root}/runs; {wait}; echo end >>{root}/turns"]

[command.soon]
run    = ["/bin/sh", "-c", "echo $NETSYSRQ_CTI >>{root}/runs; echo counted"]
answer = "before"
"#
        ),
    );
    site.write("trigger", "");
    site.write("kmsg", "");
    site
}

/// A site that answers through a program; the file `mode` says how it behaves, `calls` how often it was called. One that
/// is `held` waits until `go` is there, but at most about 20 seconds.
pub(crate) fn with_sendmail() -> Site {
    let site = site();
    let root = site.root().display().to_string();
    write_script(
        &site.path("sendmail"),
        &format!(
            r#"echo call >>{root}/calls
case $(cat {root}/mode) in
ok) cat >{root}/answers/$$.eml ;;
die) kill -9 $$ ;;
hang-once) echo ok >{root}/mode; exec sleep 90 ;;
slow) sleep 2; cat >{root}/answers/$$.eml ;;
held) for i in $(seq 1000); do [ ! -e {root}/go ] || break; sleep 0.02; done; cat >{root}/answers/$$.eml ;;
half) head -c 10 >/dev/null; exit 1 ;;
*) exit "$(cat {root}/mode)" ;;
esac"#
        ),
    );
    site.configure("transport   = \"file\"", "transport   = \"sendmail\"");
    site.configure(
        "[answer.file]",
        &format!("[answer.sendmail]\npath = \"{root}/sendmail\"\n\n[answer.file]"),
    );
    site
}

/// Has the spool believe that two clocks agreed on a time, in seconds since 1970.
pub(crate) fn write_seen(site: &Site, time: u64) {
    site.write("state/seen", &format!("{time:020} {time:020}\n"));
}

/// Whether the long run is wanted.
pub(crate) fn long() -> bool {
    std::env::var_os("NETSYSRQ_TEST_LONG").is_some()
}

/// A request by `alice`, and what the host will call it.
pub(crate) struct Asked {
    pub(crate) mail: String,
    pub(crate) name: Name,
    pub(crate) cose: Vec<u8>,
    pub(crate) issued: Time,
}

impl Asked {
    /// Asks now, for an hour.
    pub(crate) fn new(site: &Site, command: &[&str]) -> Self {
        Self::at(site, now(), Duration::from_secs(3600), command)
    }

    /// Signs without a process.
    pub(crate) fn at(site: &Site, issued: Time, ttl: Duration, command: &[&str]) -> Self {
        let mut octets = vec![0; 16];
        getrandom::fill(&mut octets).unwrap();
        let nonce = Nonce::new(octets).unwrap();
        let request = Request {
            audience: "web1".into(),
            issued,
            expires: issued.after(ttl),
            nonce: nonce.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            dry: false,
        };
        let key = Id::new("alice").unwrap();
        let name = Name::new(request.expires.hour(), key.clone(), nonce);
        let seal = keys::read(&site.read("alice"), None).unwrap();
        let signed = sign::sign(request, &key, Signer::Own(&seal)).unwrap();
        let mail = message(&signed.text());
        let found = Candidate::find(mail.as_bytes()).candidates.into_iter().next().unwrap();
        Self { mail, name, cose: found.into_octets(), issued }
    }

    /// Its mail, for a program's standard input.
    pub(crate) fn as_stdin(&self) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(self.mail.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    /// What log, spool and answers call it.
    pub(crate) fn cti(&self) -> String {
        self.name.nonce().to_string()
    }

    pub(crate) fn job(&self, site: &Site) -> PathBuf {
        site.path(&format!("state/spool/{}", self.name))
    }

    /// What the journal says; nothing if there is none, or none that can be read.
    pub(crate) fn state(&self, site: &Site) -> Option<State> {
        let octets = fs::read(self.job(site)).ok()?;
        journal::read(&octets).ok().map(|(state, _)| state)
    }

    /// How often it was run.
    pub(crate) fn runs(&self, site: &Site) -> usize {
        site.read("runs").lines().filter(|cti| *cti == self.cti()).count()
    }

    /// The mails about it in the directory for answers.
    pub(crate) fn answers(&self, site: &Site) -> Vec<String> {
        let about = format!(".{}.", self.cti());
        fs::read_dir(site.path("answers"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains(&about) && !path.ends_with(".tmp"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }

    /// The record that a delivery writes, at `at`, in this boot.
    pub(crate) fn claimed(&self, at: Time) -> Record {
        Record::Claimed {
            at,
            boot: boot(),
            verdict: Ruling::Run,
            why: String::new(),
            silent: false,
            message_id: None,
            cose: self.cose.clone(),
        }
    }

    /// Puts a journal into the spool, as runners that were killed would have left it.
    pub(crate) fn forge(&self, site: &Site, records: &[Record]) {
        let lines: String = records.iter().map(Record::to_line).collect();
        self.write(site, lines.as_bytes());
    }

    pub(crate) fn write(&self, site: &Site, octets: &[u8]) {
        let bucket = site.path("state/spool").join(self.name.hour().to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(bucket).unwrap();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.job(site))
            .unwrap();
        file.write_all(octets).unwrap();
    }

    /// Makes the last failed try of its answer older than it is, by `age`.
    pub(crate) fn age_last_try(&self, site: &Site, age: Duration) {
        let text = fs::read_to_string(self.job(site)).unwrap();
        let (_, last) = self.state(site).unwrap().tried.expect("there was a try");
        let (new, old) = (Record::Tried { at: last.before(age) }, Record::Tried { at: last });
        assert!(text.ends_with(&old.to_line()), "{text}");
        let kept = &text[..text.len() - old.to_line().len()];
        self.write(site, format!("{kept}{}", new.to_line()).as_bytes());
    }
}

/// The boot id as the program reads it.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

/// Now, as this process sees it.
pub(crate) fn now() -> Time {
    SystemTime::now().into()
}

/// The Message-IDs of some mails, each once.
pub(crate) fn message_ids(mails: &[String]) -> Vec<String> {
    let id = |mail: &String| {
        mail.lines().find(|line| line.starts_with("Message-ID:")).unwrap().to_owned()
    };
    let mut ids: Vec<String> = mails.iter().map(id).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Whether a program waits for its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Detached,
    Wait,
}

/// A site on a machine that can be rebooted.
pub(crate) struct Ground {
    pub(crate) site: Site,
    boots: AtomicU64,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self { site: site(), boots: AtomicU64::new(0) }
    }

    /// What the spool knows of a request: nothing, if it is not claimed.
    pub(crate) fn state(&self, asked: &Asked) -> Option<State> {
        let known = || asked.state(&self.site).unwrap_or_else(|| panic!("{}: unread", asked.name));
        asked.job(&self.site).exists().then(known)
    }

    pub(crate) fn config(&self) -> String {
        self.site.path("config.toml").display().to_string()
    }

    pub(crate) fn deliver_words(&self, mode: Mode) -> Vec<String> {
        let config = self.config();
        let words = ["deliver", "--profile", "mailbox", "--config", &config, "--wait"];
        let count = if mode == Mode::Wait { words.len() } else { words.len() - 1 };
        words[..count].iter().map(ToString::to_string).collect()
    }

    pub(crate) fn resume_words(&self, mode: Mode) -> Vec<String> {
        let config = self.config();
        let words = ["resume", "--config", &config, "--wait"];
        let count = if mode == Mode::Wait { words.len() } else { words.len() - 1 };
        words[..count].iter().map(ToString::to_string).collect()
    }

    /// Another boot's id, as a file to be laid over the kernel's.
    pub(crate) fn reboot(&self) -> PathBuf {
        let n = self.boots.fetch_add(1, Ordering::Relaxed);
        let file = self.site.path("boot");
        fs::write(&file, format!("00000000-0000-4000-8000-{n:012}\n")).unwrap();
        file
    }

    pub(crate) fn deliver(&self, asked: &Asked, mode: Mode, boot: Option<&Path>) -> i32 {
        let mut command = in_boot(PROGRAM, boot);
        command.args(self.deliver_words(mode));
        quiet(&mut command, asked.as_stdin());
        command.status().unwrap().code().unwrap_or(-1)
    }

    pub(crate) fn resume(&self, boot: Option<&Path>) -> i32 {
        let mut command = in_boot(PROGRAM, boot);
        command.args(self.resume_words(Mode::Wait));
        quiet(&mut command, null());
        command.status().unwrap().code().unwrap_or(-1)
    }

    /// Resumes until a request has come to its end.
    pub(crate) fn resume_to_the_end(&self, asked: &Asked, boot: Option<&Path>) -> State {
        let mut over = None;
        eventually(&format!("{} is over", asked.name), || {
            let status = self.resume(boot);
            over = self.state(asked).filter(State::is_over);
            over.is_some() && status == 0
        });
        over.unwrap()
    }

    /// Waits until no process names this site any more.
    pub(crate) fn is_quiet(&self) {
        let root = self.site.root().display().to_string();
        eventually("every process of the site has ended", || {
            processes().iter().all(|(_, words)| !words.contains(&root))
        });
    }
}

/// A program, in another boot if there is one.
pub(crate) fn in_boot(program: &str, boot: Option<&Path>) -> Command {
    let Some(boot) = boot else { return Command::new(program) };
    let mut command = Command::new("/usr/bin/unshare");
    let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    command.args(["-m", "/bin/sh", "-c", script]).arg(boot).arg(program);
    command
}

pub(crate) fn quiet(command: &mut Command, stdin: File) {
    command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
}

pub(crate) fn null() -> File {
    File::open("/dev/null").unwrap()
}

/// All processes, and their command lines.
pub(crate) fn processes() -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        found.extend(Pid::from_raw(pid).map(|pid| (pid, words)));
    }
    found
}
