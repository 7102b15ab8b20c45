//! OpenSSH's own ssh-agent signs requests; and what it, or a program in its place, may say instead.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{PROGRAM, Ran, Site, eventually, message, needed, run};

/// An agent of this test's own.
struct Agent {
    process: Child,
    socket: PathBuf,
    ssh_add: PathBuf,
}

impl Agent {
    fn start(site: &Site) -> Option<Self> {
        let (agent, ssh_add) = (needed("ssh-agent")?, needed("ssh-add")?);
        let socket = site.path("agent");
        let process = Command::new(agent)
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // the socket is there before anybody listens
        eventually("the agent's socket", || UnixStream::connect(&socket).is_ok());
        Some(Self { process, socket, ssh_add })
    }

    fn add(&self, key: &Path) {
        let mut add = Command::new(&self.ssh_add);
        let added = run(add.arg(key).env("SSH_AUTH_SOCK", &self.socket), b"");
        assert_eq!(added.status, 0, "{added:?}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn sign(socket: Option<&Path>, options: &[&str]) -> Ran {
    let mut sign = Command::new(PROGRAM);
    sign.args(["sign", "--agent", "--key-id", "alice"]).args(options).args(["web1", "mark"]);
    match socket {
        Some(socket) => sign.env("SSH_AUTH_SOCK", socket),
        None => sign.env_remove("SSH_AUTH_SOCK"),
    };
    run(&mut sign, b"")
}

fn refused(ran: &Ran, says: &str) {
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains(says), "{ran:?} does not say {says:?}");
}

#[test]
fn a_request_signed_by_ssh_agent_is_run() {
    let site = Site::new();
    let Some(agent) = Agent::start(&site) else { return };
    agent.add(&site.path("alice"));
    // its only key; the key of a private file; the key of a public file, the private one being elsewhere
    let [private, public] =
        ["alice", "alice.pub"].map(|name| site.path(name).display().to_string());
    for (count, options) in
        [vec![], vec!["--key", &private], vec!["--key", &public]].iter().enumerate()
    {
        let signed = sign(Some(&agent.socket), options);
        assert_eq!(signed.status, 0, "{signed:?}");
        assert_eq!(site.deliver(&message(&signed.stdout)).status, 0);
        assert_eq!(site.marks(), count + 1);
    }
}

#[test]
fn an_agent_without_the_key_is_told_apart_from_no_agent() {
    let site = Site::new();
    let other = site.path("other");
    let made = run(Command::new(PROGRAM).arg("keygen").arg(&other), b"");
    assert_eq!(made.status, 0, "{made:?}");
    let private = site.path("alice").display().to_string();
    refused(&sign(None, &[]), "there is no agent: SSH_AUTH_SOCK is not set");
    refused(&sign(Some(Path::new("")), &[]), "there is no agent: SSH_AUTH_SOCK is not set");
    refused(&sign(Some(&site.path("nowhere")), &[]), "there is no agent: ");

    let Some(agent) = Agent::start(&site) else { return };
    let socket = Some(agent.socket.as_path());
    refused(&sign(socket, &[]), "the agent has no Ed25519 key: ssh-add one");
    agent.add(&other);
    refused(&sign(socket, &["--key", &private]), "the agent does not have the key of ");
    agent.add(&site.path("alice"));
    refused(&sign(socket, &[]), "name one with --key FILE.pub");
    refused(&sign(socket, &["--key", "/dev/null"]), "asked for a key by its public half");
    let nowhere = site.path("nowhere").display().to_string();
    refused(&sign(socket, &["--key", &nowhere]), "asked for a key by its public half");
}

#[test]
fn what_is_no_agent_is_not_believed() {
    let site = Site::new();
    let private = site.path("alice").display().to_string();
    for (name, says) in
        [("closed", &b""[..]), ("http", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("huge", &[0xff; 64])]
    {
        let socket = site.path(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            drop(stream.write_all(says));
        });
        refused(&sign(Some(&socket), &["--key", &private]), "agent");
        answering.join().unwrap();
    }
}
