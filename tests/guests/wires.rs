//! The wires between a guest and its test: console, QMP, mails and words, all in one list in the order in which they
//! came.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Where something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// What the kernel and syslogd print.
    Console,
    /// An event of QEMU.
    Qmp,
    /// A whole mail.
    Mail,
    /// What the guest's scene says.
    Word,
}

/// The wires by name, as the guest is started with them.
pub(crate) const WIRES: [(&str, Source); 4] = [
    ("console", Source::Console),
    ("qmp", Source::Qmp),
    ("mail", Source::Mail),
    ("words", Source::Word),
];

/// Something that was seen of a guest.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Since the guest was started.
    pub(crate) at: Duration,
    pub(crate) source: Source,
    pub(crate) text: String,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(pub(crate) Vec<Event>);

#[derive(Debug, Default)]
struct Shared {
    seen: Seen,
    /// How many wires are at their end.
    ended: usize,
    words: Option<UnixStream>,
}

/// The host's ends.
#[derive(Clone, Debug)]
pub(crate) struct Wires {
    begun: Instant,
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

impl Seen {
    /// When something with `text` in it first came.
    pub(crate) fn when(&self, source: Source, text: &str) -> Option<Duration> {
        self.0.iter().find(|e| e.source == source && e.text.contains(text)).map(|e| e.at)
    }

    /// When the guest said these words.
    pub(crate) fn word(&self, text: &str) -> Option<Duration> {
        self.when(Source::Word, text)
    }

    /// When the kernel, or syslogd, printed this.
    pub(crate) fn console(&self, text: &str) -> Option<Duration> {
        self.when(Source::Console, text)
    }

    /// The status with which a delivery ended.
    pub(crate) fn status(&self, message: &str) -> Option<i32> {
        let head = format!("status {message} ");
        let mut words = self.0.iter().filter(|event| event.source == Source::Word);
        words.find_map(|event| event.text.strip_prefix(&head)?.trim().parse().ok())
    }

    /// When the machine was reset.
    pub(crate) fn reset(&self) -> Option<Duration> {
        self.when(Source::Qmp, "guest-reset")
    }

    /// When the machine was switched off.
    pub(crate) fn off(&self) -> Option<Duration> {
        self.when(Source::Qmp, "guest-shutdown")
    }

    /// The mails that left, and when.
    pub(crate) fn mails(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().filter(|event| event.source == Source::Mail)
    }

    /// All of it, for a person.
    pub(crate) fn told(&self) -> String {
        let line = |e: &Event| {
            let text: String = e.text.chars().take(1500).collect();
            format!("{:7.2} {:?}: {text}\n", e.at.as_secs_f64(), e.source)
        };
        self.0.iter().map(line).collect()
    }
}

impl Wires {
    /// Listens in a directory, under the names of [`WIRES`].
    pub(crate) fn listen(directory: &Path) -> Self {
        let wires = Self { begun: Instant::now(), shared: Arc::default() };
        for (name, source) in WIRES {
            let socket = directory.join(name);
            drop(std::fs::remove_file(&socket));
            let listener = UnixListener::bind(socket).unwrap();
            let wires = wires.clone();
            std::thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                wires.read(stream, source);
                wires.change(|shared| shared.ended += 1);
            });
        }
        wires
    }

    fn change(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.shared.0.lock().unwrap());
        self.shared.1.notify_all();
    }

    fn read(&self, mut stream: UnixStream, source: Source) {
        if source == Source::Qmp {
            drop(stream.write_all(b"{\"execute\": \"qmp_capabilities\"}\n"));
        }
        let reader = BufReader::new(stream.try_clone().unwrap());
        if source == Source::Word {
            self.change(|shared| shared.words = Some(stream));
        }
        let mut mail = None;
        for line in reader.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            let text = match (source, line.as_str()) {
                (Source::Mail, "=== mail") => {
                    mail = Some(String::new());
                    continue;
                }
                (Source::Mail, "=== end") => mail.take().unwrap_or_default(),
                (Source::Mail, line) => {
                    mail.get_or_insert_default().extend([line, "\n"]);
                    continue;
                }
                _ => line,
            };
            let at = self.begun.elapsed();
            self.change(|shared| shared.seen.0.push(Event { at, source, text }));
        }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.shared.0.lock().unwrap().seen.clone()
    }

    /// Waits until `holds`; false if it does not within `deadline`, or until the guest is gone.
    pub(crate) fn wait(&self, deadline: Duration, holds: impl Fn(&Seen) -> bool) -> bool {
        let begun = Instant::now();
        let mut shared = self.shared.0.lock().unwrap();
        loop {
            if holds(&shared.seen) {
                return true;
            }
            let left = deadline.saturating_sub(begun.elapsed());
            if left.is_zero() || shared.ended == WIRES.len() {
                return false;
            }
            shared = self.shared.1.wait_timeout(shared, left).unwrap().0;
        }
    }

    /// A line for the guest's shell, which it reads once its scene is played.
    pub(crate) fn tell(&self, line: &str) {
        let mut shared = self.shared.0.lock().unwrap();
        // a guest that is gone hears nothing
        drop(shared.words.as_mut().map(|words| words.write_all(format!("{line}\n").as_bytes())));
    }
}
