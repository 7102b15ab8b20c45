//! A guest: made of a kernel, an initramfs with the program, and two disks; started, watched, and ended by its own id.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::disk;
use crate::kernels::{Kernel, program};
use crate::support::{Site, message, needed};
use crate::wires::{Seen, WIRES, Wires};

/// How many guests run at once.
const GUESTS: usize = 2;
/// No guest lives longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// What a guest is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kernel: Kernel,
    /// A file of `scenes/`.
    pub(crate) scene: &'static str,
    /// Lines of shell that the scene reads first.
    pub(crate) case: String,
    /// Requests by name; `request` is the one that a second boot delivers again.
    pub(crate) requests: Vec<(&'static str, Vec<&'static str>)>,
    /// Parts of the configuration that are to be others.
    pub(crate) configured: Vec<(&'static str, &'static str)>,
    /// In MiB.
    pub(crate) memory: u32,
    /// Programs of this system that the guest has too.
    pub(crate) programs: Vec<&'static str>,
}

impl Plan {
    /// One request in a scene.
    pub(crate) fn new(kernel: Kernel, scene: &'static str, request: &[&'static str]) -> Self {
        Self {
            kernel,
            scene,
            case: String::new(),
            requests: vec![("request", request.to_vec())],
            configured: Vec::new(),
            memory: 256,
            programs: Vec::new(),
        }
    }

    /// With another one.
    pub(crate) fn and(mut self, name: &'static str, request: &[&'static str]) -> Self {
        self.requests.push((name, request.to_vec()));
        self
    }

    /// With another part of the configuration.
    pub(crate) fn with(mut self, from: &'static str, to: &'static str) -> Self {
        self.configured.push((from, to));
        self
    }

    /// With programs of this system.
    pub(crate) fn having(mut self, programs: &[&'static str]) -> Self {
        self.programs.extend(programs);
        self
    }
}

/// A guest that can be started.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) plan: Plan,
    pub(crate) site: Site,
    directory: TempDir,
    kernel: PathBuf,
    /// One of the places for guests, held while this is there.
    _place: File,
}

/// A guest that was started. It ends with this.
#[derive(Debug)]
pub(crate) struct Boot {
    qemu: Child,
    wires: Wires,
}

impl Guest {
    /// `None`, and that is said, if something that it needs is missing.
    pub(crate) fn new(plan: Plan) -> Option<Self> {
        let kernel = plan.kernel.find()?;
        for program in
            ["qemu-system-x86_64", "busybox", "cpio", "strip", "mkfs.ext4", "dumpe2fs", "debugfs"]
        {
            needed(program)?;
        }
        let mut programs = vec![program()];
        for program in &plan.programs {
            programs.push(needed(program)?);
        }
        let place = place();
        let site = Site::without_spool();
        let directory = TempDir::with_prefix("netsysrq-guest-").unwrap();
        let guest = Self { plan, site, directory, kernel, _place: place };
        guest.furnish();
        let script = source("tests/durability/power/initramfs.sh");
        let mut made = Command::new(script);
        made.arg(guest.path("initramfs")).arg(guest.path("tree")).arg(&guest.kernel);
        let made = made.args(programs).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        disk::make(&guest.path("disk"), 64);
        disk::make(&guest.path("other"), 32);
        Some(guest)
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The mail with a request.
    pub(crate) fn message(&self, request: &str) -> PathBuf {
        self.path("tree/messages").join(request)
    }

    /// Configuration, keys, requests and scripts.
    fn furnish(&self) {
        let (etc, tree) = (self.path("tree/etc/netsysrq-mail"), self.path("tree"));
        for name in ["bin", "disk", "etc/netsysrq-mail", "messages", "other", "root", "run", "usr"]
        {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/bin", tree.join("usr/bin")).unwrap();
        fs::copy(self.site.path("host"), etc.join("host")).unwrap();
        let mut config =
            include_str!("guest/config.toml").replace("PUBLIC", self.site.read("alice.pub").trim());
        for (from, to) in &self.plan.configured {
            assert!(config.contains(from), "{from:?} is not in the configuration");
            config = config.replacen(from, to, 1);
        }
        fs::write(etc.join("config.toml"), config).unwrap();
        let plain = [
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n"),
            ("etc/group", "root:x:0:\nalice:x:1000:\n"),
            ("etc/case", self.plan.case.as_str()),
        ];
        for (name, text) in plain {
            fs::write(tree.join(name), text).unwrap();
        }
        let scene = format!("tests/guests/scenes/{}.sh", self.plan.scene);
        for (from, to) in [
            ("tests/guests/guest/init", "init"),
            ("tests/guests/guest/sendmail", "bin/sendmail"),
            ("tests/guests/guest/parts.sh", "parts.sh"),
            ("examples/procmailrc", "root/.procmailrc"),
            (&scene, "scene.sh"),
        ] {
            fs::copy(source(from), tree.join(to)).unwrap();
        }
        for (name, words) in &self.plan.requests {
            let text = message(&self.site.sign(&["--ttl", "2h"], words));
            fs::write(self.message(name), text).unwrap();
        }
    }

    /// Starts it for the first or second time, with further options of QEMU.
    pub(crate) fn boot(&self, nth: u32, options: &[&str]) -> Boot {
        let directory = self.directory.path().display();
        let wires = Wires::listen(self.directory.path());
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args("-accel tcg -M q35 -cpu max,-cx16 -smp 1 -nodefaults".split(' '));
        qemu.args("-no-user-config -display none -monitor none -no-reboot".split(' '));
        qemu.args(["-m", &self.plan.memory.to_string()]);
        qemu.arg("-kernel").arg(self.kernel.join("vmlinuz"));
        qemu.arg("-initrd").arg(self.path("initramfs"));
        qemu.args([
            "-append",
            &format!(
                "console=ttyS0 panic=-1 loglevel=5 no_timer_check printk.devkmsg=on boot={nth}"
            ),
        ]);
        for (name, _) in WIRES {
            qemu.args(["-chardev", &format!("socket,id={name},path={directory}/{name}")]);
        }
        qemu.args(["-serial", "chardev:console", "-mon", "chardev=qmp,mode=control"]);
        qemu.args(["-device", "virtio-serial-pci"]);
        for (port, name) in [(1, "mail"), (2, "words")] {
            qemu.args(["-device", &format!("virtserialport,nr={port},chardev={name},name={name}")]);
        }
        for name in ["disk", "other"] {
            let drive = format!("file={directory}/{name},format=raw,if=virtio,cache=unsafe");
            qemu.args(["-drive", &drive]);
        }
        qemu.args(options).stdin(Stdio::null());
        Boot { qemu: qemu.spawn().unwrap(), wires }
    }
}

impl Boot {
    /// Waits until `holds`; whether it did before the deadline and the guest's end.
    pub(crate) fn wait(&self, deadline: Duration, holds: impl Fn(&Seen) -> bool) -> bool {
        self.wires.wait(deadline, holds)
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.wires.seen()
    }

    /// A line for the guest's shell, once its scene is played.
    pub(crate) fn tell(&self, line: &str) {
        self.wires.tell(line);
    }

    /// Waits for the end of the guest, or ends it; what was seen of it.
    pub(crate) fn end(mut self, deadline: Duration) -> Seen {
        self.wires.wait(deadline, |_| false);
        self.cut();
        self.wires.seen()
    }

    /// Cuts its power.
    pub(crate) fn cut(&mut self) {
        // it may have ended by itself
        drop(self.qemu.kill());
        self.qemu.wait().unwrap();
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        self.cut();
        if std::thread::panicking() {
            eprintln!("what was seen of the guest:\n{}", self.wires.seen().told());
        }
    }
}

/// A file of this project.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// One of the places for guests: tests wait for it, in however many processes they run.
fn place() -> File {
    let directory = source("target/guests");
    fs::create_dir_all(&directory).unwrap();
    let begun = Instant::now();
    loop {
        for nth in 0..GUESTS {
            let file = File::create(directory.join(format!("place-{nth}"))).unwrap();
            if file.try_lock().is_ok() {
                return file;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(3 * 3600), "no place for a guest");
        std::thread::sleep(Duration::from_millis(100));
    }
}
