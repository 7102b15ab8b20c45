//! Pressing SysRq keys.
//!
//! Signals go to every process only if the trigger is the kernel's own: a file named `sysrq-trigger` on procfs, opened
//! by root in the first pid namespace. With any other file the letters `e` and `i` are written like the rest, so a
//! test's trigger can never reach a process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, OFlags, PROC_SUPER_MAGIC, fstatfs};
use rustix::process::{Pid, geteuid, kill_process_group};

use super::accounts;
use crate::protocol::job::outcome::End;
use crate::protocol::job::outcome::Outcome;
use crate::protocol::rules::sysrq::{Sequence, Signal, Step};

/// The inode of the first pid namespace (linux/proc_ns.h, PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
/// How long the kernel is silent when its report is taken to be complete.
const SILENCE: Duration = Duration::from_millis(500);
/// The most of a report that is mailed, in octets.
const REPORT: usize = 64 * 1024;

/// Where keys are pressed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file that takes keys.
    pub trigger: PathBuf,
    /// The kernel's log.
    pub kmsg: PathBuf,
    /// How long to wait for each "complete" line, and for sync(2).
    pub wait: Duration,
    /// How long the first key, or a command that ends the machine, waits after a notice was handed over.
    pub settle: Duration,
}

impl Settings {
    /// Why keys cannot be pressed here, if they cannot. Opens nothing: the reader of a FIFO would see that.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let access = accounts::may(&self.trigger, Access::WRITE_OK);
        access.err().map(|error| format!("{}: {error}", self.trigger.display()))
    }
}

/// Everything that pressing needs, open: after `u` nothing can be written, after `i` nothing started.
#[derive(Debug)]
pub struct Keyboard {
    trigger: File,
    kmsg: Option<File>,
    real: bool,
    wait: Duration,
    report: String,
    /// Octets of the report beyond [`REPORT`].
    dropped: u64,
}

impl Keyboard {
    /// Opens the trigger and the kernel's log, which may be missing.
    ///
    /// # Errors
    /// When the trigger cannot be written to. It is never created.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let trigger = open(
            &settings.trigger,
            OpenOptions::new().append(true),
            OFlags::NOFOLLOW | OFlags::NONBLOCK,
        )?;
        let kmsg = open(&settings.kmsg, OpenOptions::new().read(true), OFlags::NONBLOCK);
        let mut kmsg = kmsg.ok();
        if let Some(file) = &mut kmsg {
            // what is in the log already is not news; a FIFO has no end to go to
            let _as_it_is = file.seek(SeekFrom::End(0));
        }
        let real = is_real(&trigger, &settings.trigger);
        let (wait, report, dropped) = (settings.wait, String::new(), 0);
        Ok(Self { trigger, kmsg, real, wait, report, dropped })
    }

    /// Presses the keys. Does not return if they end the machine.
    #[must_use]
    pub fn press(mut self, sequence: &Sequence) -> Outcome {
        let begun = Instant::now();
        if self.real {
            // out of the mail system's service, which systemd ends when its processes die; without cgroups we stay
            let _as_it_is =
                std::fs::write("/sys/fs/cgroup/cgroup.procs", std::process::id().to_string());
        }
        let mut pressed = 0_usize;
        for step in sequence.steps() {
            if let Err(error) = self.step(step) {
                let fault = format!("{step:?}: {error}");
                self.report.push_str(&format!("{fault}, after {pressed} keys\n"));
                let end = if pressed == 0 { End::NotStarted(fault) } else { End::Unknown };
                return self.outcome(end, begun);
            }
            pressed = pressed
                .saturating_add(usize::from(matches!(step, Step::Press(_) | Step::Signal(..))));
        }
        self.listen(SILENCE, |_| false);
        self.outcome(End::Done, begun)
    }

    fn outcome(self, end: End, begun: Instant) -> Outcome {
        let (output, dropped) = (self.report.into_bytes(), self.dropped);
        Outcome { end, duration: Some(begun.elapsed()), output, dropped }
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Press(key) => self.write(key),
            Step::Signal(_, signal) if self.real => {
                let signal = match signal {
                    Signal::Kill => rustix::process::Signal::KILL,
                    Signal::Term => rustix::process::Signal::TERM,
                };
                // kill(-1, ..) spares the caller and process 1, as the key spares kernel threads and process 1
                Ok(kill_process_group(Pid::INIT, signal)?)
            }
            Step::Signal(key, _) => self.write(key),
            Step::Await(line) => {
                if self.kmsg.is_none() {
                    // the kernel cannot be heard: give it the time that it usually takes
                    thread::sleep(SILENCE);
                } else if !self.listen(self.wait, |text| text.trim_end().ends_with(line)) {
                    self.report.push_str(&format!("no \"{line}\" within {:?}\n", self.wait));
                }
                Ok(())
            }
            Step::Sync => {
                if !sync(self.wait) {
                    self.report.push_str(&format!("sync(2) took longer than {:?}\n", self.wait));
                }
                Ok(())
            }
        }
    }

    /// One write per key: a kernel before 6.8 takes only the first of several.
    fn write(&mut self, key: char) -> io::Result<()> {
        let mut octets = [0; 4];
        self.trigger.write_all(key.encode_utf8(&mut octets).as_bytes())
    }

    /// Reads the kernel's lines until `done` accepts one, or for `wait`; `true` if it did.
    fn listen(&mut self, wait: Duration, done: impl Fn(&str) -> bool) -> bool {
        let Some(kmsg) = &mut self.kmsg else { return false };
        let begun = Instant::now();
        let mut buffer = [0; 8192];
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            match kmsg.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    let lines = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
                    for text in lines.lines().map(message) {
                        if self.report.len() < REPORT {
                            self.report.push_str(text);
                            self.report.push('\n');
                        } else {
                            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
                            self.dropped = self.dropped.saturating_add(length).saturating_add(1);
                        }
                        if done(text) {
                            return true;
                        }
                    }
                }
                // EPIPE: the kernel overwrote what we had not read; go on with what is left
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => pause(kmsg, left),
            }
            if left.is_zero() {
                return false;
            }
        }
    }
}

/// Waits until there may be more to read; a regular file is always ready, so it is asked again in a moment.
fn pause(file: &File, most: Duration) {
    let turn = most.min(Duration::from_millis(50));
    let begun = Instant::now();
    if let Ok(turn) = Timespec::try_from(turn) {
        let _ready = poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&turn));
    }
    if begun.elapsed() < Duration::from_millis(1) {
        thread::sleep(turn.min(Duration::from_millis(10)));
    }
}

/// The text of a record of /dev/kmsg (`prefix;text`), or of a line of any other file.
fn message(line: &str) -> &str {
    match line.split_once(';') {
        Some((prefix, text)) if prefix.split(',').count() >= 3 => text,
        _ => line,
    }
}

/// Waits for sync(2), but no longer than `wait`: it hangs if a disk does.
fn sync(wait: Duration) -> bool {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        rustix::fs::sync();
        // nobody listens any more if it took too long
        let _unheard = done.send(());
    });
    finished.recv_timeout(wait).is_ok()
}

fn open(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let opened = options.custom_flags(flags).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Whether signals to every process are meant: see the head of this file.
fn is_real(trigger: &File, path: &Path) -> bool {
    let proc = fstatfs(trigger).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC);
    let named = path.file_name().is_some_and(|name| name == "sysrq-trigger");
    let first =
        std::fs::metadata("/proc/self/ns/pid").is_ok_and(|ns| ns.ino() == FIRST_PID_NAMESPACE);
    proc && named && first && geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directory: &Path) -> Settings {
        Settings {
            trigger: directory.join("sysrq-trigger"),
            kmsg: directory.join("kmsg"),
            wait: Duration::from_millis(200),
            settle: Duration::ZERO,
        }
    }

    /// Nobody is signalled: `e` and `i` are letters like the others.
    #[test]
    fn a_trigger_that_is_an_ordinary_file_gets_every_letter() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        std::fs::write(&settings.trigger, "").unwrap();
        let keyboard = Keyboard::open(&settings).unwrap();
        assert!(!keyboard.real);
        let outcome = keyboard.press(&Sequence::parse("reisub").unwrap());
        assert_eq!(outcome.end, End::Done);
        assert_eq!(std::fs::read_to_string(&settings.trigger).unwrap(), "reisub");
    }

    #[test]
    fn the_kernels_word_is_waited_for_and_its_lines_are_reported() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { wait: Duration::from_secs(120), ..settings(directory.path()) };
        std::fs::write(&settings.trigger, "").unwrap();
        std::fs::write(&settings.kmsg, "old news\n").unwrap();
        let (trigger, kmsg) = (settings.trigger.clone(), settings.kmsg.clone());
        let keyboard = Keyboard::open(&settings).unwrap();
        let kernel = thread::spawn(move || {
            while std::fs::read(&trigger).unwrap() != b"s" {
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(std::fs::read(&trigger).unwrap(), b"s", "u waits");
            let mut log = OpenOptions::new().append(true).open(kmsg).unwrap();
            log.write_all(b"6,1,2,-;sysrq: Emergency Sync\n4,2,3,-;Emergency Sync complete\n")
                .unwrap();
            while std::fs::read(&trigger).unwrap() != b"su" {
                thread::sleep(Duration::from_millis(5));
            }
            log.write_all(b"4,3,4,-;Emergency Remount complete\n").unwrap();
        });
        let outcome = keyboard.press(&Sequence::parse("su").unwrap());
        kernel.join().unwrap();
        let report = String::from_utf8(outcome.output).unwrap();
        assert_eq!(
            report,
            "sysrq: Emergency Sync\nEmergency Sync complete\nEmergency Remount complete\n"
        );
    }

    /// Up to a time and a length; the rest is counted.
    #[test]
    fn a_kernel_that_never_stops_talking_is_heard_in_part() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { kmsg: "/dev/zero".into(), ..settings(directory.path()) };
        std::fs::write(&settings.trigger, "").unwrap();
        let (done, finished) = mpsc::channel();
        thread::spawn(move || {
            done.send(Keyboard::open(&settings).unwrap().press(&Sequence::parse("s").unwrap()))
                .unwrap();
        });
        let outcome = finished.recv_timeout(Duration::from_secs(30)).expect("it still listens");
        assert_eq!(outcome.end, End::Done);
        assert!((REPORT..REPORT + 9000).contains(&outcome.output.len()));
        assert!(outcome.dropped > 8192, "{}", outcome.dropped);
    }

    /// It is missing, a link, or a FIFO that nobody reads.
    #[test]
    fn an_unusable_trigger_is_refused_and_never_made() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        assert!(Keyboard::open(&settings).is_err());
        assert!(!settings.trigger.exists());
        assert!(settings.fault().is_some());
        let target = directory.path().join("target");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &settings.trigger).unwrap();
        assert!(Keyboard::open(&settings).is_err());
        std::fs::remove_file(&settings.trigger).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &settings.trigger, mode).unwrap();
        assert!(Keyboard::open(&settings).is_err());
    }
}
