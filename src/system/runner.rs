//! The runner: our own binary started anew with a claimed job as its standard input, and what it needs of the world.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::thread;
use std::time::Duration;

use super::log::{Line, Log};
use super::mailer::{self, Transport};
use super::spool::{FileJournal, FileSpool};
use super::{clock, exec};
use crate::protocol::answer::Stage;
use crate::protocol::claim::{Here, Spool};
use crate::protocol::command::Command;
use crate::protocol::job::{End, Name};
use crate::protocol::keyring::Key;
use crate::protocol::letter::Outcome;
use crate::protocol::request::Request;
use crate::protocol::take::{Host, Letter};

/// How long a mail system may take to take a notice: what follows it is urgent.
const NOTICE_DEADLINE: Duration = Duration::from_secs(10);

/// Starts a runner for a job that is claimed, and does not wait for it. The lock goes along.
///
/// # Errors
/// When it cannot be started: the job stays claimed, for whoever resumes it.
pub fn detach(name: &Name, journal: FileJournal, config: &Path) -> io::Result<()> {
    Process::new("/proc/self/exe")
        .arg("resume")
        .arg("--config")
        .arg(config)
        .args(["--only", &name.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(journal.into_file()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

/// Standard input as a file: the job that [`detach`] gave us, on a descriptor that no child of ours inherits.
///
/// # Errors
/// When it cannot be duplicated.
pub fn inherited() -> io::Result<File> {
    use std::os::fd::AsFd;
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// This machine, to the protocol.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The spool.
    pub spool: &'a FileSpool,
    /// How answers leave.
    pub transport: &'a Transport,
    /// How many commands run at a time.
    pub jobs: u32,
    /// How long after a notice was handed over the command waits.
    pub settle: Duration,
    /// The log.
    pub log: &'a Log,
}

impl Host for Machine<'_> {
    fn here(&self) -> Here {
        self.spool.here()
    }

    fn run(&mut self, command: &Command, argv: &[String], key: &Key, request: &Request) -> Outcome {
        // held to the end of the command
        let _slot = match self.spool.slot(self.jobs) {
            Ok(slot) => slot,
            Err(error) => return Outcome::bare(End::NotStarted(error.to_string())),
        };
        exec::run(command, argv, key.id.as_str(), &request.cti())
    }

    fn hand_over(&mut self, letter: &Letter<'_>) -> io::Result<()> {
        let notice = letter.stage == Stage::Notice;
        let deadline = if notice { NOTICE_DEADLINE } else { mailer::DEADLINE };
        let sent = self.transport.send(letter, deadline);
        if let Err(error) = &sent {
            self.log.write(
                &Line::error("unanswered")
                    .with("job", &letter.job.to_string())
                    .with("stage", letter.stage.word())
                    .with("error", &error.to_string()),
            );
        } else if notice {
            thread::sleep(self.settle);
        }
        sent
    }
}

/// Now and here, without a spool.
#[must_use]
pub fn here() -> Here {
    Here { now: clock::now(), boot: clock::boot_id() }
}
