//! A machine: started from layers, looked into from outside, and ended when it is dropped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::support::{Ran, eventually, is_root, missing, run};

/// The script that makes the namespaces' first process.
const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/machine/init.sh");
/// Where the examples are.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
/// Where mail that leaves the machine goes: Postfix's smtp-sink.
pub(crate) const SINK: u16 = 2525;

pub(crate) struct Machine {
    unshare: Child,
    /// The first process ends with its standard input, and with it everything in the machine.
    lifeline: Option<ChildStdin>,
    /// The first process's number outside.
    init: u32,
    log: Arc<Mutex<Vec<String>>>,
    sink: Option<Child>,
    sunk: TempDir,
}

/// A mail that has left the machine.
#[derive(Debug)]
pub(crate) struct Sunk {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) mail: String,
}

impl Machine {
    /// Starts a machine of these layers, topmost first. Says loudly that a test is skipped if it cannot.
    pub(crate) fn start(layers: &[&str]) -> Option<Self> {
        let directory = std::env::var_os("NETSYSRQ_TEST_MACHINES").map(PathBuf::from);
        let Some(directory) = directory else {
            missing("the machines of NETSYSRQ_TEST_MACHINES");
            return None;
        };
        if !is_root() {
            return None;
        }
        if let Some(layer) = layers.iter().find(|layer| !directory.join(layer).exists()) {
            missing(&format!("the layer {layer} of NETSYSRQ_TEST_MACHINES"));
            return None;
        }
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"])
            .args(["bash", INIT])
            .args(layers.iter().map(|layer| directory.join(layer)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the machine did not come up");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        let lifeline = unshare.stdin.take();
        let sunk = TempDir::with_prefix("netsysrq-sink-").unwrap();
        let mut machine = Self { unshare, lifeline, init, log: Arc::default(), sink: None, sunk };
        machine.listen_to_its_log();
        machine.sink = Some(machine.open_sink(&directory.join("postfix")));
        Some(machine)
    }

    /// The path, outside, of a file in the machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--pid", "--net", "--uts"]);
        command.args(["--ipc", "--root", "--wd", "--", "env", "--ignore-environment"]);
        command.arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a program in the machine as root.
    pub(crate) fn run(&self, argv: &[&str], stdin: &[u8]) -> Ran {
        run(self.inside().args(["HOME=/root"]).args(argv), stdin)
    }

    /// Runs a program in the machine as one of its users.
    pub(crate) fn run_as(&self, user: &str, argv: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.inside();
        command.args([format!("HOME=/home/{user}"), format!("USER={user}")]);
        command.arg(format!("LOGNAME={user}")).args(["setpriv", "--reuid", user, "--regid", user]);
        run(command.args(["--init-groups", "--"]).args(argv), stdin)
    }

    /// Runs a script of the shell in the machine as root; it must succeed.
    pub(crate) fn shell(&self, script: &str) -> String {
        let ran = self.run(&["sh", "-euc", script], b"");
        assert_eq!(ran.status, 0, "{script}\n{ran:?}");
        ran.stdout
    }

    /// Writes a file, mode 644, of root, and the directories on its way.
    pub(crate) fn write(&self, path: &str, octets: &[u8]) {
        let outside = self.path(path);
        fs::create_dir_all(outside.parent().unwrap()).unwrap();
        fs::write(&outside, octets).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// The text of a file; nothing if there is none.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read(self.path(path)).map_or_else(|_| String::new(), |octets| lossy(&octets))
    }

    /// Puts an example, as it is, into its place.
    pub(crate) fn install_example(&self, example: &str, path: &str) {
        self.write(path, &fs::read(Path::new(EXAMPLES).join(example)).unwrap());
    }

    /// Puts an example, as it is, into a user's home; the file is the user's.
    pub(crate) fn install_at_home(&self, user: &str, example: &str, name: &str) {
        let path = format!("/home/{user}/{name}");
        self.install_example(example, &path);
        self.shell(&format!("chown {user}: {path}"));
    }

    /// Appends an example, as it is, to an existing file.
    pub(crate) fn append_example(&self, example: &str, path: &str) {
        let mut octets = fs::read(self.path(path)).unwrap();
        octets.extend(fs::read(Path::new(EXAMPLES).join(example)).unwrap());
        self.write(path, &octets);
    }

    /// What was logged to `/dev/log` with this tag, one line per element, without time and priority.
    pub(crate) fn log(&self, tag: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(tag)).cloned().collect()
    }

    /// The mails that have left the machine, oldest first.
    pub(crate) fn sunk(&self) -> Vec<Sunk> {
        let entries = fs::read_dir(self.sunk.path()).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        // the sink removes a mail whose client went away
        let read = |path: &PathBuf| Sunk::read(&lossy(&fs::read(path).ok()?));
        paths.iter().filter_map(read).collect()
    }

    /// Waits until something listens on a port of the machine.
    pub(crate) fn await_port(&self, port: u16) {
        let listening = format!(":{port:04X} ");
        let table = self.path("/proc/1/net/tcp");
        eventually(&format!("port {port}"), || {
            let mut lines = fs::read_to_string(&table).unwrap();
            lines.push_str(&fs::read_to_string(self.path("/proc/1/net/tcp6")).unwrap_or_default());
            lines.lines().any(|line| line.contains(&listening) && line.contains(" 0A "))
        });
    }

    /// Our program loses a line rather than wait: after ten lines that a busy machine has not read, the next is lost. So
    /// there is room for more, which a socket gets from its network (unix(7), `max_dgram_qlen`).
    fn listen_to_its_log(&self) {
        let path = self.path("/dev/log");
        self.shell("echo 10000 >/proc/sys/net/unix/max_dgram_qlen");
        let network = File::open(format!("/proc/{}/ns/net", self.init)).unwrap();
        let (log, place) = (Arc::clone(&self.log), path.clone());
        std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).unwrap();
            let socket = UnixDatagram::bind(place).unwrap();
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                log.lock().unwrap().push(lossy(&buffer[..length]));
            }
        });
        eventually("the log", || path.exists());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    }

    /// For whoever has to find out why a test failed.
    fn tell_what_happened(&self) {
        eprintln!("-- logged\n{}", self.log("").join("\n"));
        for log in ["/var/log/mail.log", "/var/log/exim4/mainlog", "/var/log/fetched"] {
            let text = self.read(log);
            let lines: Vec<&str> = text.lines().rev().take(30).collect();
            eprintln!("-- {log}, newest first\n{}", lines.join("\n"));
        }
        for mail in self.sunk() {
            eprintln!("-- sunk from <{}> to <{}>\n{:.2000}", mail.from, mail.to, mail.mail);
        }
        eprintln!("-- running\n{}", self.run(&["ps", "axf"], b"").stdout);
    }

    /// smtp-sink runs on this system's files, in the machine's network, and ends with the machine.
    fn open_sink(&self, postfix: &Path) -> Child {
        let libraries =
            ["usr/lib/postfix", "usr/lib/x86_64-linux-gnu"].map(|path| postfix.join(path));
        let libraries = libraries.map(|path| path.display().to_string()).join(":");
        let mut sink = Command::new("nsenter");
        sink.args(["--target", &self.init.to_string(), "--net", "--pid", "--"]);
        sink.arg(postfix.join("usr/sbin/smtp-sink")).args(["-u", "root", "-d"]);
        sink.arg(self.sunk.path().join("%Y%m%d%H%M%S."));
        sink.args([format!("127.0.0.1:{SINK}"), "100".to_owned()]);
        sink.env("LD_LIBRARY_PATH", libraries).stdin(Stdio::null());
        let sink = sink.spawn().unwrap();
        self.await_port(SINK);
        sink
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_what_happened();
        }
        drop(self.lifeline.take());
        drop(self.unshare.wait());
        drop(self.sink.take().map(|mut sink| sink.wait()));
    }
}

impl Sunk {
    /// Reads what smtp-sink wrote: headers of its own, the mail, and an empty line, without which it is still writing.
    fn read(text: &str) -> Option<Self> {
        if !text.ends_with("\n\n") {
            return None;
        }
        let (own, mail) = text.split_once("Received: ")?;
        let arguments = |name: &str| {
            let lines = own.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let addresses =
                lines.map(|line| line.split(['<', '>']).nth(1).unwrap_or(line).to_owned());
            addresses.collect::<Vec<_>>().join(",")
        };
        let mail = format!("Received: {mail}");
        Some(Self { from: arguments("X-Mail-Args"), to: arguments("X-Rcpt-Args"), mail })
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
