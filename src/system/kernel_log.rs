//! The kernel's log, heard while it is written: a reader of its own goes on while a key is being pressed, since the
//! kernel overwrites what nobody has read.
//!
//! What holds here: what was lost is said where it was lost, with its count where the kernel tells it.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The most of a report that is mailed, in octets: 1,500 processes' stacks are some 3 MiB.
const REPORT: usize = 4 * 1024 * 1024;
/// How long the kernel is silent when its report is taken to be complete.
pub const SILENCE: Duration = Duration::from_millis(500);
/// How long a look at the log waits for more.
const TURN: Duration = Duration::from_millis(50);
/// The most records of one look, so that a kernel that never stops talking stops nobody.
const RECORDS: usize = 256;
/// The device number of /dev/kmsg (devices.txt: 1, 11).
const KMSG: u64 = 1 << 8 | 11;
/// The stack of the reader, in octets: it is locked into memory with everything else.
const STACK: usize = 256 * 1024;

/// The log from now on.
#[derive(Debug)]
pub struct KernelLog {
    heard: Arc<(Mutex<Heard>, Condvar)>,
    /// The reader, where the machine had no thread to give: it reads when we wait.
    here: Option<Reader>,
}

/// What was heard.
#[derive(Debug, Default)]
struct Heard {
    report: String,
    dropped: u64,
    /// How many records were lost before they were read.
    lost: u64,
    /// The end of a line that is waited for, and whether it has come.
    awaited: Option<(&'static str, bool)>,
    /// When something was heard last.
    last: Option<Instant>,
    /// Nobody listens any more.
    is_over: bool,
}

impl KernelLog {
    /// Listens to a file from its end on.
    #[must_use]
    pub fn new(mut file: File) -> Self {
        let next = to_its_end(&mut file);
        let heard = Arc::<(Mutex<Heard>, Condvar)>::default();
        let reader = |file| Reader { file, next, buffer: vec![0; 8192], rest: Vec::new() };
        let spawned = file.try_clone().and_then(|file| {
            let (mut reader, shared) = (reader(file), Arc::clone(&heard));
            thread::Builder::new().stack_size(STACK).spawn(move || reader.follow(&shared))
        });
        Self { heard, here: spawned.is_err().then(|| reader(file)) }
    }

    /// A line that ends so is about to come: to be said before what makes the kernel say it.
    pub fn expect(&self, end: &'static str) {
        lock(&self.heard.0).awaited = Some((end, false));
    }

    /// Waits for the expected line; whether it came.
    pub fn came(&mut self, patience: Duration) -> bool {
        self.wait(patience, |heard| heard.awaited.is_none_or(|(_, came)| came))
    }

    /// Waits until the kernel has been silent for a moment.
    pub fn silent(&mut self, patience: Duration) -> bool {
        let begun = Instant::now();
        self.wait(patience, |heard| heard.last.unwrap_or(begun).max(begun).elapsed() >= SILENCE)
    }

    /// What was heard, how many octets of it there was no room for, and how many records were lost.
    #[must_use]
    pub fn report(self) -> (String, u64, u64) {
        let mut heard = lock(&self.heard.0);
        heard.is_over = true;
        (std::mem::take(&mut heard.report), heard.dropped, heard.lost)
    }

    /// A line of our own among the kernel's.
    pub fn note(&self, line: &str) {
        lock(&self.heard.0).line(line);
    }

    fn wait(&mut self, patience: Duration, done: impl Fn(&Heard) -> bool) -> bool {
        let begun = Instant::now();
        loop {
            if let Some(reader) = &mut self.here {
                reader.look(&self.heard.0);
            }
            let heard = lock(&self.heard.0);
            if done(&heard) {
                return true;
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            let turn = left.min(TURN);
            match &self.here {
                None => drop(self.heard.1.wait_timeout(heard, turn)),
                Some(reader) => {
                    drop(heard);
                    reader.pause(turn);
                }
            }
        }
    }
}

impl Heard {
    fn line(&mut self, text: &str) {
        if self.report.len() < REPORT {
            self.report.push_str(text);
            self.report.push('\n');
        } else {
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            self.dropped = self.dropped.saturating_add(length).saturating_add(1);
        }
        self.last = Some(Instant::now());
        if let Some((end, came)) = &mut self.awaited {
            *came |= text.trim_end().ends_with(*end);
        }
    }

    fn gap(&mut self, records: u64) {
        self.lost = self.lost.saturating_add(records);
        self.line(&format!("[{records} records of the kernel's log were lost here]"));
    }
}

#[derive(Debug)]
struct Reader {
    file: File,
    /// The number of the record that has to come next.
    next: Option<u64>,
    buffer: Vec<u8>,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Reader {
    fn follow(&mut self, shared: &(Mutex<Heard>, Condvar)) {
        while !lock(&shared.0).is_over {
            self.look(&shared.0);
            shared.1.notify_all();
            self.pause(TURN);
        }
    }

    /// Reads what there is.
    fn look(&mut self, heard: &Mutex<Heard>) {
        for _ in 0..RECORDS {
            match self.file.read(&mut self.buffer) {
                Ok(count) if count > 0 => self.take(count, &mut lock(heard)),
                // the kernel overwrote what we had not read; the next record's number tells how much
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    if self.next.is_none() {
                        lock(heard).line("[records of the kernel's log were lost here]");
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Tells whole lines: /dev/kmsg gives one record at a time, and any other file whatever is there.
    fn take(&mut self, count: usize, heard: &mut Heard) {
        self.rest.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        let whole = match self.rest.iter().rposition(|octet| *octet == b'\n') {
            Some(end) => end.saturating_add(1),
            None if self.rest.len() < self.buffer.len() => return,
            None => self.rest.len(),
        };
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            let (number, text) = record(line);
            if let (Some(number), Some(next)) = (number, self.next)
                && number > next
            {
                heard.gap(number.saturating_sub(next));
            }
            self.next = number.map(|number| number.saturating_add(1)).or(self.next);
            heard.line(text);
        }
    }

    /// Waits until there may be more; a regular file is always ready, so it is asked again in a moment.
    fn pause(&self, most: Duration) {
        let begun = Instant::now();
        if let Ok(most) = Timespec::try_from(most) {
            let _ready = poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&most));
        }
        if begun.elapsed() < Duration::from_millis(1) {
            thread::sleep(most.min(Duration::from_millis(10)));
        }
    }
}

/// Goes to the end of a log: what is in it already is not news. The number of the record that comes next, if there are
/// numbers: without it, nobody could count what is overwritten before the first look.
fn to_its_end(file: &mut File) -> Option<u64> {
    if !file.metadata().is_ok_and(|metadata| metadata.rdev() == KMSG) {
        // a FIFO has no end to go to
        let _as_it_is = file.seek(SeekFrom::End(0));
        return None;
    }
    let (begun, mut buffer, mut next) = (Instant::now(), [0; 8192], None);
    while begun.elapsed() < SILENCE {
        match file.read(&mut buffer) {
            Ok(count) if count > 0 => {
                let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
                let number = text.lines().next().and_then(|line| record(line).0);
                next = number.map(|number| number.saturating_add(1)).or(next);
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Ok(_) | Err(_) => break,
        }
    }
    next
}

/// The number and the text of a record of /dev/kmsg (`priority,number,time,flags;text`), or a line of any other file.
fn record(line: &str) -> (Option<u64>, &str) {
    match line.split_once(';') {
        Some((prefix, text)) if prefix.split(',').count() >= 3 => {
            (prefix.split(',').nth(1).and_then(|number| number.parse().ok()), text)
        }
        _ => (None, line),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn told(lines: &str, end: &'static str) -> (String, u64, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file.as_file(), "6,1,1,-;old news").unwrap();
        let mut log = KernelLog::new(file.reopen().unwrap());
        log.expect(end);
        file.as_file().write_all(lines.as_bytes()).unwrap();
        assert!(log.came(PATIENCE));
        log.report()
    }

    #[test]
    fn a_gap_is_told_where_it_is_with_its_count() {
        let (report, dropped, lost) =
            told("6,7,1,-;one\n6,8,2,-;two\n6,20,3,-;three done\n", "done");
        assert_eq!(
            report,
            "one\ntwo\n[11 records of the kernel's log were lost here]\nthree done\n"
        );
        assert_eq!((dropped, lost), (0, 11));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let long = "x".repeat(4000);
        let lines: String = (0..1200).map(|n| format!("6,{n},1,-;{long}\n")).collect();
        let (report, dropped, lost) = told(&(lines + "6,1200,1,-;done\n"), "done");
        assert!((REPORT..REPORT + 4096).contains(&report.len()));
        assert_eq!(u64::try_from(report.len()).unwrap() + dropped, 1200 * 4001 + 5);
        assert_eq!(lost, 0);
    }
}
