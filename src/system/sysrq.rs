//! Pressing SysRq keys.
//!
//! A trigger on procfs is the kernel's own. There `e` and `i` are sent as signals, which spare their sender, and only by
//! root in the first pid namespace: anybody else would be killed by them, and the rest of the sequence would never come.
//! With any other file the letters are written like the rest, so a test's trigger can never reach a process.
//!
//! What holds here: once a keyboard is open, nothing that hangs and nothing that fails keeps the last key from being
//! pressed; every wait ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, OFlags, PROC_SUPER_MAGIC, fstatfs, statfs};
use rustix::process::{Pid, geteuid, kill_process_group};

use super::accounts;
use super::aside::Aside;
use super::kernel_log::{KernelLog, SILENCE};
use crate::protocol::job::outcome::{End, Outcome};
use crate::protocol::rules::sysrq::{Sequence, Signal, Step};

/// The inode of the first pid namespace (linux/proc_ns.h, PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

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
    /// How long processes have between `e` and what follows it.
    pub term_wait: Duration,
}

impl Settings {
    /// Why keys cannot be pressed here, if they cannot. Opens nothing: the reader of a FIFO would see that.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let access = accounts::may(&self.trigger, Access::WRITE_OK);
        access.err().map(|error| format!("{}: {error}", self.trigger.display()))
    }

    /// Why `e` and `i` cannot be pressed here, if they cannot: the kernel would take them, and they would not spare us.
    #[must_use]
    pub fn signal_fault(&self) -> Option<String> {
        let kernels = statfs(&self.trigger).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC);
        (kernels && !spares_us()).then(|| UNSPARED.to_owned())
    }
}

/// Why a sequence with `e` or `i` is not pressed.
const UNSPARED: &str = "e and i would kill what presses them, and nothing would follow: \
                        that takes root in the first pid namespace";

/// Everything that pressing needs, open and in memory: after `u` nothing can be written, after `i` nothing started.
#[derive(Debug)]
pub struct Keyboard {
    trigger: File,
    /// The trigger is the kernel's own.
    is_kernels: bool,
    /// There may be none.
    log: Option<KernelLog>,
    /// Does what may hang; the machine may have no thread for it.
    aside: Option<Aside>,
    settings: Settings,
    notes: String,
}

impl Keyboard {
    /// Opens the trigger, which is never created, and gets the rest as far as it can be had.
    ///
    /// # Errors
    /// When the trigger cannot be written to, or the sequence would kill us before its end.
    pub fn open(settings: &Settings, sequence: &Sequence) -> io::Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let trigger = open(&settings.trigger, OpenOptions::new().append(true), flags)?;
        let is_kernels = fstatfs(&trigger).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC);
        if is_kernels && sequence.signals() && !spares_us() {
            return Err(io::Error::other(UNSPARED));
        }
        let kmsg = open(&settings.kmsg, OpenOptions::new().read(true), OFlags::NONBLOCK);
        let log = kmsg.ok().map(KernelLog::new);
        let (aside, settings) = (Aside::new().ok(), settings.clone());
        Ok(Self { trigger, is_kernels, log, aside, settings, notes: String::new() })
    }

    /// Whether keys reach the kernel.
    #[must_use]
    pub const fn is_kernels(&self) -> bool {
        self.is_kernels
    }

    /// Presses the keys. Does not return if they end the machine. What fails before such a key is passed over: it is
    /// what was announced.
    #[must_use]
    pub fn press(mut self, sequence: &Sequence) -> Outcome {
        let begun = Instant::now();
        let (steps, mut pressed, mut fault) = (sequence.steps(), 0_usize, None);
        for (nth, step) in steps.iter().enumerate() {
            if let Some(Step::Await(line)) = steps.get(nth.saturating_add(1))
                && let Some(log) = &self.log
            {
                // the kernel may say it while the key is being written
                log.expect(line);
            }
            match self.step(*step) {
                Ok(()) => pressed = pressed.saturating_add(usize::from(is_key(*step))),
                Err(error) => {
                    let what = format!("{step:?}: {error}");
                    self.note(&format!("{what}, after {pressed} keys"));
                    fault.get_or_insert(what);
                    if !sequence.ends_the_machine() {
                        break;
                    }
                }
            }
        }
        if let Some(log) = &mut self.log {
            let _still_talking = log.silent(self.settings.wait);
        }
        let end = match fault {
            None => End::Done,
            Some(fault) if pressed == 0 => End::NotStarted(fault),
            Some(_) => End::Unknown,
        };
        self.outcome(end, begun)
    }

    fn outcome(self, end: End, begun: Instant) -> Outcome {
        let (mut output, dropped, lost) = self.log.map_or_else(Default::default, KernelLog::report);
        output.push_str(&self.notes);
        Outcome { end, duration: Some(begun.elapsed()), output: output.into_bytes(), dropped, lost }
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Press(key) => self.write(key),
            Step::Signal(_, signal) if self.is_kernels => {
                let signal = match signal {
                    Signal::Kill => rustix::process::Signal::KILL,
                    Signal::Term => rustix::process::Signal::TERM,
                };
                // kill(-1, ..) spares the caller and process 1, as the key spares kernel threads and process 1
                Ok(kill_process_group(Pid::INIT, signal)?)
            }
            Step::Signal(key, _) => self.write(key),
            Step::Pause => {
                thread::sleep(self.settings.term_wait);
                Ok(())
            }
            Step::Await(line) => {
                let wait = self.settings.wait;
                let came = self.log.as_mut().map(|log| log.came(wait));
                match came {
                    // the kernel cannot be heard: give it the time that it usually takes
                    None => thread::sleep(SILENCE),
                    Some(true) => {}
                    Some(false) => self.note(&format!("no \"{line}\" within {wait:?}")),
                }
                Ok(())
            }
            Step::Sync => {
                let wait = self.settings.wait;
                let synced = self.aside.as_ref().map(|aside| aside.within(wait, rustix::fs::sync));
                match synced {
                    Some(Ok(())) => {}
                    Some(Err(error)) => self.note(&format!("sync(2): {error}")),
                    None => self.note("sync(2) was left out: no thread could be made for it"),
                }
                Ok(())
            }
        }
    }

    /// A line of our own in the report, where it belongs.
    fn note(&mut self, line: &str) {
        match &self.log {
            Some(log) => log.note(line),
            None => self.notes.push_str(&format!("{line}\n")),
        }
    }

    /// One write per key: a kernel before 6.8 takes only the first of several.
    fn write(&mut self, key: char) -> io::Result<()> {
        let mut octets = [0; 4];
        self.trigger.write_all(key.encode_utf8(&mut octets).as_bytes())
    }
}

const fn is_key(step: Step) -> bool {
    matches!(step, Step::Press(_) | Step::Signal(..))
}

fn open(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let opened = options.custom_flags(flags).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Whether a signal to every process, of the kernel or of ours, would leave us alive.
fn spares_us() -> bool {
    let first =
        std::fs::metadata("/proc/self/ns/pid").is_ok_and(|ns| ns.ino() == FIRST_PID_NAMESPACE);
    first && geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn sequence(keys: &str) -> Sequence {
        Sequence::parse(keys).unwrap()
    }

    fn settings(directory: &Path) -> Settings {
        Settings {
            trigger: directory.join("sysrq-trigger"),
            kmsg: directory.join("kmsg"),
            wait: Duration::from_millis(200),
            settle: Duration::ZERO,
            term_wait: Duration::ZERO,
        }
    }

    /// Nobody is signalled: `e` and `i` are letters like the others.
    #[test]
    fn a_trigger_that_is_an_ordinary_file_gets_every_letter() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        std::fs::write(&settings.trigger, "").unwrap();
        let keyboard = Keyboard::open(&settings, &sequence("reisub")).unwrap();
        assert!(!keyboard.is_kernels);
        let outcome = keyboard.press(&sequence("reisub"));
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
        let keyboard = Keyboard::open(&settings, &sequence("su")).unwrap();
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
        let outcome = keyboard.press(&sequence("su"));
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
            let keyboard = Keyboard::open(&settings, &sequence("s")).unwrap();
            done.send(keyboard.press(&sequence("s"))).unwrap();
        });
        let outcome = finished.recv_timeout(Duration::from_secs(30)).expect("it still listens");
        assert_eq!(outcome.end, End::Done);
        assert!(outcome.output.len() > 8192, "{}", outcome.output.len());
    }

    /// It is missing, a link, or a FIFO that nobody reads.
    #[test]
    fn an_unusable_trigger_is_refused_and_never_made() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        assert!(Keyboard::open(&settings, &sequence("s")).is_err());
        assert!(!settings.trigger.exists());
        assert!(settings.fault().is_some());
        let target = directory.path().join("target");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &settings.trigger).unwrap();
        assert!(Keyboard::open(&settings, &sequence("s")).is_err());
        std::fs::remove_file(&settings.trigger).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &settings.trigger, mode).unwrap();
        assert!(Keyboard::open(&settings, &sequence("s")).is_err());
    }
}
