//! The runner: our own binary, started again with a claimed job as standard input, and what it needs from the world.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lettre::Address;

use super::aside::Aside;
use super::control_group;
use super::exec::{self, LEFT_BEHIND};
use super::log::{Line, Log};
use super::mailer::{self, Transport};
use super::spool::{FileJournal, FileSpool};
use super::sysrq::{Keyboard, Settings};
use super::urgency;
use crate::protocol::claim::Spool;
use crate::protocol::id::Id;
use crate::protocol::job::history::History;
use crate::protocol::job::letter::Letterhead;
use crate::protocol::job::name::Name;
use crate::protocol::job::outcome::End;
use crate::protocol::job::outcome::Outcome;
use crate::protocol::job::outcome::Stage;
use crate::protocol::job::outcome::Summary;
use crate::protocol::job::state::{Finished, State};
use crate::protocol::rules::keyring::{Key, Keyring};
use crate::protocol::rules::verdict::Deed;
use crate::protocol::take::{Host, Letter, Prepared};
use crate::protocol::time::Here;
use crate::protocol::wire::request::Request;

/// How long a mail system may take to accept a notice: what follows it is urgent.
const NOTICE_DEADLINE: Duration = Duration::from_secs(10);

/// Starts a runner for a claimed job, and does not wait for it. The lock goes with the job.
///
/// # Errors
/// When it cannot be started: the job stays claimed, for whoever resumes it.
pub fn detach(name: &Name, journal: &FileJournal, config: &Path) -> io::Result<()> {
    Process::new("/proc/self/exe")
        .arg("resume")
        .arg("--config")
        .arg(config)
        .args(["--only", &name.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(journal.share()?))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

/// Makes this process one that SIGTERM to the mail system's session does not end: a command that stops the mail system must
/// not stop its own answer. Uses a handler, which exec resets; commands would inherit a blocked signal.
pub fn outlive_the_mail_system() {
    // fails for the leader of a process group, such as a job of a shell: that one is not stopped with a mail system
    let _leader = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let _ends_as_before = signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::default());
}

/// Makes this process a runner: besides, it leaves the control group that a service manager would kill with the mail
/// system, and goes before others.
pub fn become_runner() {
    outlive_the_mail_system();
    control_group::leave();
    urgency::rise();
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
    /// The place of the command that this runner runs; released when the command ends.
    pub place: Option<File>,
    /// How SysRq keys are pressed.
    pub sysrq: &'a Settings,
    /// The keys that may be revoked.
    pub keyring: &'a Keyring,
    /// The log.
    pub log: &'a Log,
    /// Why no process can be started, if so: built-ins and keys need none.
    pub alone: Option<&'a str>,
    /// What an emergency needs, once it is prepared.
    pub ready: Option<Emergency>,
}

/// What an emergency needs, had before it is announced.
#[derive(Debug)]
pub struct Emergency {
    keyboard: Keyboard,
    /// Hands the notice over, which may hang; the machine may have no thread for it.
    hands: Option<Aside>,
}

impl Host for Machine<'_> {
    fn here(&self) -> Here {
        self.spool.here()
    }

    /// Commands wait for each other; built-ins and keys never wait.
    fn queue(&mut self, deed: &Deed<'_>) -> io::Result<()> {
        if matches!(deed, Deed::Run { .. }) {
            if let Some(why) = self.alone {
                return Err(io::Error::other(format!("{why}; left to resume")));
            }
            self.place = Some(self.spool.slot(self.jobs)?);
        }
        Ok(())
    }

    fn prepare(&mut self, deed: &Deed<'_>) -> Result<Prepared, String> {
        let Deed::Press(sequence) = deed else { return Ok(Prepared::default()) };
        urgency::rise();
        let keyboard = Keyboard::open(self.sysrq, sequence).map_err(|error| error.to_string())?;
        let is_last = keyboard.is_kernels() && sequence.ends_the_machine();
        self.ready = Some(Emergency { keyboard, hands: Aside::new().ok() });
        urgency::keep_memory();
        let remark = self.alone.map(|why| format!("within the delivery, since {why}"));
        Ok(Prepared { is_last, remark })
    }

    fn perform(&mut self, deed: &Deed<'_>, key: &Key, request: &Request) -> Outcome {
        let done = match deed {
            Deed::Last(count) => self.last(*count, key),
            Deed::Press(sequence) => match self.ready.take() {
                Some(ready) => Ok(ready.keyboard.press(sequence)),
                None => Err(io::Error::other("nothing was prepared")),
            },
            Deed::Revoke(id) => self.revoke(id),
            Deed::Run { command, argv } => {
                Ok(exec::run(command, argv, key.id.as_str(), &request.nonce.to_string()))
            }
        };
        done.unwrap_or_else(|error| Outcome::bare(End::NotStarted(error.to_string())))
    }

    fn hand_over(&mut self, letter: &Letter<'_>) -> io::Result<()> {
        let notice = letter.stage == Stage::Notice;
        let deadline = if notice { NOTICE_DEADLINE } else { mailer::DEADLINE };
        let sent = match self.ready.as_ref().and_then(|ready| ready.hands.as_ref()) {
            Some(hands) if notice => self.send_aside(hands, letter),
            _ => self.transport.send(letter, deadline),
        };
        if let Err(error) = &sent {
            self.log.write(
                &Line::error("unanswered")
                    .with("job", &letter.job.to_string())
                    .with("stage", letter.stage.word())
                    .with("error", &error.to_string()),
            );
        } else if notice {
            thread::sleep(self.sysrq.settle);
        }
        sent
    }
}

impl Machine<'_> {
    /// Hands a notice over, whatever the mail system or its disk does.
    fn send_aside(&self, hands: &Aside, letter: &Letter<'_>) -> io::Result<()> {
        let transport = self.transport.clone();
        let (stage, job, to) = (letter.stage, letter.job.clone(), letter.to.clone());
        let mail = letter.mail.to_vec();
        let send = move || {
            let letter = Letter { stage, job: &job, to: &to, mail: &mail };
            transport.send(&letter, NOTICE_DEADLINE)
        };
        hands.within(NOTICE_DEADLINE.saturating_add(LEFT_BEHIND), send)?
    }

    /// Lists a key's newest jobs that are over, and hands their answers over again: the same mails.
    fn last(&mut self, count: usize, key: &Key) -> io::Result<Outcome> {
        let mut text = String::new();
        let own = self.spool.jobs()?.into_iter().filter(|name| *name.key() == key.id);
        let mut told: Vec<(Name, State)> =
            own.filter_map(|name| Some((name.clone(), self.spool.peek(&name).ok()?))).collect();
        told.sort_by_key(|(_, state)| std::cmp::Reverse(state.received));
        // the request that asks is not over
        for (job, state) in told.iter().filter(|(_, state)| state.is_over()).take(count) {
            text.push_str(&History::of(job, state).to_string());
            text.push('\n');
            if let Some(Finished { mail: Some(mail), end, .. }) = &state.finished {
                let letter = Letter { stage: end.stage(), job, to: &key.answer_to, mail };
                if let Err(error) = self.hand_over(&letter) {
                    text.push_str(&format!("  its answer was not taken: {error}\n"));
                }
            }
        }
        if text.is_empty() {
            text.push_str("no finished requests\n");
        }
        Ok(Outcome::said(text))
    }

    fn revoke(&self, key: &Id) -> io::Result<Outcome> {
        if self.keyring.by_kid(key.as_str().as_bytes()).is_none() {
            return Ok(Outcome::bare(End::NotStarted(format!("there is no key {key}"))));
        }
        self.spool.revoke(key)?;
        Ok(Outcome::said(format!(
            "{key} is revoked, until somebody lifts the revocation by hand\n"
        )))
    }

    /// Notifies the addresses that hear of every request; delivery is not promised.
    pub fn notify(
        &self,
        job: &Name,
        summary: &Summary,
        letterhead: &Letterhead,
        addresses: &[Address],
    ) {
        for (nth, to) in addresses.iter().enumerate() {
            let mail = letterhead.notify((nth, to), job, summary, self.here().now);
            let letter = mail.as_ref().map(|mail| Letter { stage: Stage::Copy, job, to, mail });
            let sent = letter.map(|letter| self.transport.send(&letter, NOTICE_DEADLINE));
            if let Some(Err(error)) = sent {
                let line = Line::error("not-notified")
                    .with("job", &job.to_string())
                    .with("to", to.as_ref());
                self.log.write(&line.with("error", &error.to_string()));
            }
        }
    }
}
