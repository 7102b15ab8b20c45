//! A site to test on: a host with keys, configuration, spool and a directory for answers, all temporary.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_netsysrq-mail");

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command with `stdin`; a death by signal is status -1.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // a program that does not read must not stop the test
    let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits for something that another process is about to do, on a machine that may do much else.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited 120 s in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Shell words that wait until `go` is there, and no longer than its directory is: a test that fails leaves nobody behind.
pub(crate) fn waiting_for(go: &Path) -> String {
    let (directory, go) = (go.parent().unwrap().display(), go.display());
    format!("while [ -d {directory} ] && [ ! -e {go} ]; do sleep 0.02; done")
}

/// One host, `web1`, with an Ed25519 key `alice`, an HMAC key `pager` and a few commands.
pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    /// A site whose spool is made, ready for requests.
    pub(crate) fn new() -> Self {
        let site = Self::without_spool();
        let made = site.tool(&["init"]);
        assert_eq!(made.status, 0, "{made:?}");
        site
    }

    /// A site that `init` has not been run on: it has keys and a configuration.
    pub(crate) fn without_spool() -> Self {
        let site = Self { directory: TempDir::with_prefix("netsysrq-test-").unwrap() };
        fs::create_dir(site.path("answers")).unwrap();
        for arguments in
            [&["keygen", "alice"][..], &["keygen", "--hmac", "pager"], &["keygen", "host"]]
        {
            let made = run(Command::new(PROGRAM).args(arguments).current_dir(site.root()), b"");
            assert_eq!(made.status, 0, "{made:?}");
        }
        let config = site.standard_config();
        site.write("config.toml", &config);
        site
    }

    /// The configuration of a new site.
    pub(crate) fn standard_config(&self) -> String {
        format!(
            r#"names  = ["web1", "web1.example.com"]
groups = ["web"]
state  = "{root}/state"

[answer]
from        = "netsysrq@web1.example.com"
transport   = "file"
signing_key = "{root}/host"

[answer.file]
directory = "{root}/answers"

[key.alice]
public    = "{alice}"
answer_to = "alice@example.com"
allow     = ["ping", "help", "mark", "say", "fail", "flood", "sleep"]

[key.pager]
secret_file = "pager"
answer_to   = "ops@example.com"
allow       = ["ping", "mark"]

[command.mark]
run = ["/bin/sh", "-c", "echo ran >>{root}/marks; echo done"]

[command.say]
run  = ["/bin/echo", "{{what}}"]
args = {{ what = {{ type = "text", max = 80 }} }}

[command.fail]
run = ["/bin/sh", "-c", "echo to stdout; echo to stderr >&2; exit 3"]

[command.flood]
run          = ["/bin/sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x"]
output_limit = "1KiB"

[command.sleep]
run     = ["/bin/sh", "-c", "sleep 60 & sleep 60"]
timeout = "1s"
grace   = "1s"
"#,
            root = self.root().display(),
            alice = self.read("alice.pub").trim(),
        )
    }

    /// The site's directory.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The text of a file in it; nothing if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a file in it, mode 644.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Changes the configuration: `from` must stand in it.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let config = self.read("config.toml");
        assert!(config.contains(from), "{from:?} is not in the configuration");
        self.write("config.toml", &config.replacen(from, to, 1));
    }

    /// The program with this site's configuration.
    pub(crate) fn program(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.path("config.toml"));
        command
    }

    /// Runs a tool on this site.
    pub(crate) fn tool(&self, arguments: &[&str]) -> Ran {
        self.tool_on(arguments, b"")
    }

    /// Runs a tool on this site with something on its standard input.
    pub(crate) fn tool_on(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        run(self.program().args(arguments), stdin)
    }

    /// The text of a request by `alice` for `web1`; `arguments` are options, then the command.
    pub(crate) fn sign(&self, arguments: &[&str], command: &[&str]) -> String {
        self.sign_as("alice", arguments, "web1", command)
    }

    /// The text of a request.
    pub(crate) fn sign_as(
        &self,
        key: &str,
        arguments: &[&str],
        host: &str,
        command: &[&str],
    ) -> String {
        let mut program = Command::new(PROGRAM);
        program.args(["sign", "--key-id", key, "--key"]).arg(self.path(key));
        let signed = run(program.args(arguments).arg(host).args(command), b"");
        assert_eq!(signed.status, 0, "{signed:?}");
        signed.stdout
    }

    /// Delivers a message inline, for a mailbox, and says what the log said on standard error.
    pub(crate) fn deliver(&self, message: &str) -> Ran {
        self.deliver_as("mailbox", message.as_bytes())
    }

    /// Delivers a message inline under a profile.
    pub(crate) fn deliver_as(&self, profile: &str, message: &[u8]) -> Ran {
        self.tool_on(&["deliver", "--verbose", "--wait", "--profile", profile], message)
    }

    /// Makes `program`, a copy of the program under test, in the site.
    pub(crate) fn copy_program(&self) -> PathBuf {
        let path = self.path("program");
        // by a process of its own: a child of another test's thread would have the copy open for writing (ETXTBSY)
        let copied = run(Command::new("cp").arg(PROGRAM).arg(&path), b"");
        assert_eq!(copied.status, 0, "{copied:?}");
        path
    }

    /// Writes a script in the site that can be run.
    pub(crate) fn write_script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        // by a process of its own, as above
        let written = run(
            Command::new("sh").args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"]).arg(&path),
            text.as_bytes(),
        );
        assert_eq!(written.status, 0, "{written:?}");
        path
    }

    /// Gives the whole site, and a copy of the program in it, to `nobody` (uid 65534). For root.
    pub(crate) fn give_to_nobody(&self) {
        self.copy_program();
        let given = run(Command::new("chown").args(["-hR", "65534:65534"]).arg(self.root()), b"");
        assert_eq!(given.status, 0, "{given:?}");
    }

    /// Runs the program as `nobody`, to whom the site was given.
    pub(crate) fn as_nobody(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(self.path("program")).arg("--config").arg(self.path("config.toml"));
        run(command.args(arguments), stdin)
    }

    /// The answers so far, oldest first.
    pub(crate) fn answers(&self) -> Vec<String> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.path("answers"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    /// How often the command `mark` has run.
    pub(crate) fn marks(&self) -> usize {
        self.read("marks").lines().count()
    }
}

/// A whole message around a text.
pub(crate) fn message(text: &str) -> String {
    format!(
        "From: alice@example.com\nTo: netsysrq@web1.example.com\nSubject: hello\nMessage-ID: <1@client.example>\n\n{text}"
    )
}

/// Writes a script and makes it a program. Another process does: one that we wrote ourselves could not be run while a
/// child that another test is just starting still holds it open.
pub(crate) fn write_script(path: &Path, text: &str) {
    let mut shell = Command::new("/bin/sh");
    let written = run(
        shell.args(["-c", r#"cat >"$0" && chmod 755 "$0""#]).arg(path),
        format!("#!/bin/sh\n{text}\n").as_bytes(),
    );
    assert_eq!(written.status, 0, "{written:?}");
}

/// The Python that has the packages of the peers.
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var_os("NETSYSRQ_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        missing("the Python of NETSYSRQ_TEST_PYTHON");
    }
    python
}

/// A program that a test needs, if it is there. Where CI is set a missing one is a failure.
pub(crate) fn needed(program: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/lib/dovecot"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists());
    if found.is_none() {
        missing(program);
    }
    found
}

/// Says loudly that a test is skipped for want of `what`, or fails it where CI is set.
pub(crate) fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is missing; ./test installs it");
    eprintln!("SKIPPED: {what} is missing; ./test installs it");
}

/// Whether this is root, which may switch users and mount; says loudly that a test is skipped if not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}
