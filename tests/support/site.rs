//! A site to test on: a host with keys, configuration, spool and a directory for answers, all temporary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use coset::CborSerializable;
use coset::cbor::Value;
use tempfile::TempDir;

use super::processes::{PROGRAM, Ran, run, write_program};

/// One host, `web1`, with an Ed25519 key `alice`, an HMAC key `pager` and a few commands.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    /// A site with a spool, ready for requests.
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

    /// Changes the configuration, which must contain `from`.
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

    /// Delivers a message inline, for a mailbox, with its log lines on standard error.
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
        // by a process of its own, as for write_program
        let copied = run(Command::new("cp").arg(PROGRAM).arg(&path), b"");
        assert_eq!(copied.status, 0, "{copied:?}");
        path
    }

    /// Writes an executable file in the site.
    pub(crate) fn write_program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        write_program(&path, text);
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

/// The payload of a request with another nonce in it, sound or not.
pub(crate) fn with_nonce(payload: &[u8], nonce: Vec<u8>) -> Vec<u8> {
    const CTI: i64 = 7;
    let Ok(Value::Map(mut claims)) = Value::from_slice(payload) else { panic!("no claims") };
    let claim = claims.iter_mut().find(|(name, _)| *name == Value::from(CTI)).unwrap();
    claim.1 = Value::Bytes(nonce);
    Value::Map(claims).to_vec().unwrap()
}
