//! Power cuts: a claimed nonce is still claimed after one, at each point of the claim sequence and after.
//!
//! A guest delivers once, on a disk that writes down every write and flush. Then the power is cut at each point of
//! that list: see `power/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netsysrq_mail::protocol::job::journal;
use netsysrq_mail::protocol::job::state::{Answer, State};
use tempfile::TempDir;

use self::cut::{Cut, Flushes, cuts, notes};
use self::disk::{Disks, Event};
use crate::support::{PROGRAM, Site, message, missing, needed};

mod cut;
mod disk;

/// The numbers of the disks: one for notes, the others with file systems.
const NOTES: usize = 0;
const STATE: usize = 1;
const SIZE: usize = 16 << 20;
/// What is asked for; the second word tells the jobs apart.
const REQUESTS: [&[&str]; 5] = [
    &["mark", "job-0"],
    &["mark", "job-1"],
    &["unheard-of", "job-2"],
    &["mark", "job-3"],
    &["off", "job-4"],
];
/// How many of the cuts are tried for real, with the kernel's own recovery and the program itself.
const TRIED: usize = 6;
/// The note after which power may fail: `init` has returned.
const READY: &str = "ready 0";
const WORKERS: usize = 2;

/// A file system to lose power on.
#[derive(Clone, Copy, Debug)]
struct FileSystem {
    name: &'static str,
    features: &'static str,
    options: &'static str,
    /// Which of the kernels.
    kernel: &'static str,
}

/// Commits only when told to.
const JOURNALLED: FileSystem =
    FileSystem { name: "ext4", features: "has_journal", options: "rw,commit=900", kernel: "stock" };
/// Orders nothing that is not synced. Not for Linux 6.1, whose fsync of a directory does not flush the disk here.
const UNJOURNALLED: FileSystem = FileSystem {
    name: "ext4 without a journal",
    features: "^has_journal",
    options: "rw",
    kernel: "6.12",
};

/// A guest's programs, keys and requests, ready to start.
struct Guest {
    system: FileSystem,
    directory: TempDir,
    kernel: PathBuf,
}

/// What one guest did.
struct Recording {
    before: Vec<u8>,
    events: Vec<Event>,
}

/// What was found after one cut.
#[derive(Debug, Default)]
struct Recovered {
    /// By request: the nonce, and what its journal says.
    jobs: BTreeMap<String, (String, State)>,
    damaged: Vec<String>,
    answers: Vec<String>,
    /// Parts of the spool itself.
    missing: Vec<&'static str>,
}

impl Guest {
    /// `None` if something that it needs is missing.
    fn new(system: FileSystem, with_strace: bool) -> Option<Self> {
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/kernel");
        let kernel = kernels.join(system.kernel);
        if !kernel.join("vmlinuz").exists() {
            missing("a kernel for guests");
            return None;
        }
        for program in
            ["qemu-system-x86_64", "busybox", "cpio", "strip", "mkfs.ext4", "e2fsck", "debugfs"]
        {
            needed(program)?;
        }
        let mut programs = vec![PathBuf::from(PROGRAM)];
        if with_strace {
            programs.push(needed("strace")?);
        }
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let guest = Self { system, directory, kernel };
        guest.furnish();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/durability/power");
        let mut made = Command::new(script.join("initramfs.sh"));
        made.arg(guest.path("initramfs")).arg(guest.path("tree")).arg(&guest.kernel);
        let made = made.args(programs).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Some(guest)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Configuration, keys, requests and scripts.
    fn furnish(&self) {
        let site = Site::without_spool();
        let (etc, messages) = (self.path("tree/etc"), self.path("tree/messages"));
        for directory in [&etc, &messages, &self.path("tree/bin")] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::copy(site.path("host"), etc.join("host")).unwrap();
        fs::write(etc.join("machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(etc.join("passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
        fs::write(etc.join("group"), "root:x:0:\n").unwrap();
        fs::write(
            etc.join("config.toml"),
            format!(
                r#"names = ["web1"]
state = "/disk/state"

[answer]
from        = "netsysrq@web1.example.com"
transport   = "file"
signing_key = "/etc/host"

[answer.file]
directory = "/disk/answers"

[sysrq]
settle = "0s"

[key.alice]
public    = "{}"
answer_to = "alice@example.com"
allow     = ["mark", "off"]

[command.mark]
run  = ["/bin/note", "run", "{{job}}"]
args = {{ job = {{ type = "word", chars = "a-z0-9-", max = 8 }} }}

[command.off]
run    = ["/bin/note", "run", "{{job}}"]
args   = {{ job = {{ type = "word", chars = "a-z0-9-", max = 8 }} }}
answer = "before"
"#,
                site.read("alice.pub").trim()
            ),
        )
        .unwrap();
        for request in REQUESTS {
            let text = message(&site.sign(&["--ttl", "2h"], request));
            fs::write(messages.join(request[1]), text).unwrap();
        }
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/durability/power");
        fs::copy(scripts.join("init"), self.path("tree/init")).unwrap();
        fs::copy(scripts.join("note"), self.path("tree/bin/note")).unwrap();
    }

    /// A new file system, with a directory for answers and nothing else.
    fn make(&self) -> Vec<u8> {
        let (image, root) = (self.path("image"), self.path("root"));
        fs::create_dir_all(root.join("answers")).unwrap();
        let mut mkfs = Command::new(needed("mkfs.ext4").unwrap());
        mkfs.args(["-q", "-F", "-b", "4096", "-I", "256", "-m", "0", "-O", self.system.features]);
        mkfs.args(["-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0", "-d"]);
        let made = mkfs.arg(&root).arg(&image).arg(format!("{}k", SIZE / 1024)).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::read(image).unwrap()
    }

    /// Boots, runs a scenario to its end, and says what was done to the disks.
    fn run(&self, scenario: &str, options: &str, images: Vec<Vec<u8>>) -> Disks {
        let (socket, log) = (self.path("disks"), self.path(&format!("{scenario}.log")));
        drop(fs::remove_file(&socket));
        let count = images.len() + 1;
        let all = std::iter::once(vec![0; SIZE]).chain(images).collect();
        let disks = Disks::serve(all, &socket).unwrap();
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args("-accel tcg -M q35 -cpu max,-cx16 -smp 1 -m 256 -nodefaults".split(' '));
        qemu.args("-no-user-config -display none -monitor none -no-reboot".split(' '));
        qemu.arg("-kernel").arg(self.kernel.join("vmlinuz"));
        qemu.arg("-initrd").arg(self.path("initramfs"));
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        qemu.arg("-append").arg(format!(
            "console=ttyS0 panic=-1 quiet loglevel=4 scenario={scenario} options={options}"
        ));
        for disk in 0..count {
            let socket = socket.display();
            qemu.arg("-drive");
            qemu.arg(format!("file=nbd:unix:{socket}:exportname={disk},format=raw,if=virtio"));
        }
        let ended = wait(&mut qemu, Duration::from_secs(600));
        let console = fs::read_to_string(&log).unwrap_or_default();
        let said = notes(&disks.events());
        let whole = ended && said.last().is_some_and(|note| note.ends_with("end"));
        assert!(whole, "the guest did not come to its end: {said:?}\n{console}");
        disks
    }

    /// Delivers all requests on a new file system.
    fn record(&self, scenario: &str) -> Recording {
        let before = self.make();
        let disks = self.run(scenario, self.system.options, vec![before.clone()]);
        let mut events = disks.events();
        // what the guest's end flushes, the program has not
        let is_end = |event: &Event| notes(std::slice::from_ref(event)) == ["end"];
        let end = events.iter().position(is_end).unwrap();
        events.truncate(end + 1);
        Recording { before, events }
    }

    /// What e2fsck makes of a disk, read without mounting it.
    fn recover(&self, image: &[u8], name: &str) -> (Recovered, Vec<u8>) {
        let (path, tree) = (self.path(name), self.path(&format!("{name}.tree")));
        fs::write(&path, image).unwrap();
        let mended = Command::new(needed("e2fsck").unwrap()).arg("-fy").arg(&path).output();
        let mended = mended.unwrap();
        // 1: there were errors, and they are corrected
        assert!(matches!(mended.status.code(), Some(0..=3)), "{mended:?}");
        fs::create_dir(&tree).unwrap();
        let dumped = Command::new(needed("debugfs").unwrap())
            .args(["-R", &format!("rdump / {}", tree.display())])
            .arg(&path)
            .output()
            .unwrap();
        assert!(dumped.status.success(), "{dumped:?}");
        let recovered = Recovered::read(&tree);
        let image = fs::read(&path).unwrap();
        fs::remove_dir_all(&tree).unwrap();
        (recovered, image)
    }
}

/// Runs a program to its end, or ends it.
fn wait(command: &mut Command, deadline: Duration) -> bool {
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

fn names(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

impl Recovered {
    fn read(tree: &Path) -> Self {
        let mut recovered = Self::default();
        for part in ["marker", "seen", "low-water", "spool/tmp", "rate", "revoked", "slots"] {
            if !tree.join("state").join(part).exists() {
                recovered.missing.push(part);
            }
        }
        for bucket in names(&tree.join("state/spool")) {
            if bucket.ends_with("tmp") {
                continue;
            }
            for job in names(&bucket) {
                let name = job.file_name().unwrap().to_string_lossy().into_owned();
                let cti = name.trim_start_matches("alice.").to_owned();
                match journal::read(&fs::read(&job).unwrap()) {
                    Ok((state, _)) => {
                        drop(recovered.jobs.insert(request_of(&state), (cti, state)));
                    }
                    Err(_) => recovered.damaged.push(format!("{name} is damaged")),
                }
            }
        }
        for answer in names(&tree.join("answers")) {
            recovered.answers.push(answer.file_name().unwrap().to_string_lossy().into_owned());
        }
        recovered
    }

    /// What the world had seen by then and this disk does not have, and whatever else is wrong.
    fn faults(&self, seen: &[String]) -> Vec<String> {
        let mut faults: Vec<String> = self.damaged.clone();
        faults.extend(self.missing.iter().map(|part| format!("init had made it: {part}")));
        for note in seen {
            let words: Vec<&str> = note.split(' ').collect();
            let fault = match words[..] {
                ["run", request] => match self.jobs.get(request) {
                    None => Some("had run, and is not claimed"),
                    Some((_, state)) if state.started.is_none() => {
                        Some("had run, and is not started")
                    }
                    Some(_) => None,
                },
                ["status", request, _] if !self.jobs.contains_key(request) => {
                    Some("was accepted or called a replay, and is not claimed")
                }
                _ => None,
            };
            faults.extend(fault.map(|fault| format!("{note}: {fault}")));
        }
        for (request, (cti, state)) in &self.jobs {
            let handed_over = state.answer == Answer::HandedOver;
            let end = state.finished.as_ref().map(|finished| finished.end.stage().word());
            let written = self.answers.iter().any(|name| {
                end.is_some_and(|stage| name.ends_with(&format!(".{stage}.eml")))
                    && name.contains(cti.as_str())
            });
            if handed_over && !written {
                faults.push(format!("{request}: answered, and there is no answer"));
            }
        }
        faults
    }
}

/// The second word of the request that a job is about.
fn request_of(state: &State) -> String {
    let word = |request: &&[&str]| {
        let word = request[1].as_bytes();
        state.cose.windows(word.len()).any(|octets| octets == word)
    };
    REQUESTS.into_iter().find(word).unwrap()[1].to_owned()
}

/// Cuts the power everywhere. Returns what was lost, by cut.
fn lost(guest: &Guest, recording: &Recording, cuts: &[Cut]) -> Vec<(usize, Vec<String>)> {
    let worker = |first: usize| {
        let mut lost = Vec::new();
        for (n, cut) in cuts.iter().enumerate().skip(first).step_by(WORKERS) {
            let image = cut.image(&recording.before, &recording.events);
            let (recovered, _) = guest.recover(&image, &format!("cut-{first}"));
            let faults = recovered.faults(&cut.notes);
            lost.extend((!faults.is_empty()).then_some((n, faults)));
        }
        lost
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|n| scope.spawn(move || worker(n))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// Starts a machine on what some of the cuts left, delivers everything again and resumes: what was claimed is not run
/// again, what was not is run once, and everything is answered.
fn try_for_real(guest: &Guest, recording: &Recording, cuts: &[Cut]) -> usize {
    let system = guest.system;
    let chosen: Vec<&Cut> = cuts.iter().step_by(cuts.len().div_ceil(TRIED)).collect();
    let mut images = Vec::new();
    let mut claimed = Vec::new();
    for cut in &chosen {
        let image = cut.image(&recording.before, &recording.events);
        let (recovered, mended) = guest.recover(&image, "tried");
        claimed.push(recovered.jobs);
        // a journal is for the kernel to recover
        images.push(if system.features == "has_journal" { image } else { mended });
    }
    let disks = guest.run("recover", "rw", images);
    let said = notes(&disks.events());
    for (n, cut) in chosen.iter().enumerate() {
        let here = format!("{}, cut at {}, disk {n}: {said:?}", system.name, cut.at);
        let (after, _) = guest.recover(&disks.image(STATE + n), "after");
        assert_eq!(after.faults(&[]), Vec::<String>::new(), "{here}");
        for request in REQUESTS {
            let word = request[1];
            let ran = format!("run {word}");
            let before = cut.notes.iter().filter(|note| **note == ran).count();
            let again = said.iter().filter(|note| **note == format!("{n} {ran}")).count();
            let (_, state) = after.jobs.get(word).unwrap_or_else(|| panic!("no {word}: {here}"));
            assert_eq!(state.answer, Answer::HandedOver, "{word}: {here}");
            let wanted = usize::from(request[0] != "unheard-of" && !claimed[n].contains_key(word));
            assert_eq!(again, wanted, "{word}: {here}");
            assert!(before + again <= 1, "{word} ran {before} times and {again} times: {here}");
        }
    }
    chosen.len()
}

fn power_cuts(system: FileSystem) {
    let Some(guest) = Guest::new(system, false) else { return };
    let begun = Instant::now();
    let recording = guest.record("record");
    let recorded = begun.elapsed();
    let said = notes(&recording.events);
    assert!(said.contains(&"status job-0 0".to_owned()), "{said:?}");
    assert!(said.contains(&"status job-0 1".to_owned()), "a replay: {said:?}");
    let times = if std::env::var_os("NETSYSRQ_TEST_LONG").is_some() { 8 } else { 1 };
    let cuts = cuts(&recording.events, READY, times, Flushes::Honest);
    let lost = lost(&guest, &recording, &cuts);
    let tried = try_for_real(&guest, &recording, &cuts);
    let flushed = cuts.iter().filter(|cut| cut.flushed_only).count();
    eprintln!(
        "power: {}: {} events, {flushed} cuts with what was flushed and {} with some of the rest, {} lost something; \
         {tried} tried for real; guest {recorded:.1?}, all {:.1?}",
        system.name,
        recording.events.len(),
        cuts.len() - flushed,
        lost.len(),
        begun.elapsed(),
    );
    let told: Vec<String> = lost
        .iter()
        .map(|(n, faults)| format!("at {} of {:?}: {faults:?}", cuts[*n].at, cuts[*n].notes.last()))
        .collect();
    assert!(told.is_empty(), "{}: {told:#?}", system.name);
}

#[test]
fn no_power_cut_loses_a_claim() {
    power_cuts(JOURNALLED);
}

#[test]
fn no_power_cut_loses_a_claim_without_a_file_system_journal() {
    power_cuts(UNJOURNALLED);
}

#[test]
fn missing_syncs_and_disks_that_lie_are_found_out() {
    let Some(guest) = Guest::new(JOURNALLED, true) else { return };
    let recording = guest.record("record");
    let lies = cuts(&recording.events, READY, 1, Flushes::Ignored);
    let lied = lost(&guest, &recording, &lies);
    let recording = guest.record("unsynced");
    let unsynced = cuts(&recording.events, READY, 1, Flushes::Honest);
    let forgot = lost(&guest, &recording, &unsynced);
    eprintln!(
        "power: controls: on a disk that lies {} of {} cuts lose something, without syncs {} of {}",
        lied.len(),
        lies.len(),
        forgot.len(),
        unsynced.len(),
    );
    assert!(!lied.is_empty() && !forgot.is_empty(), "this harness cannot fail");
}
