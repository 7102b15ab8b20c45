//! The end of the runner's sentence: outcome and answer are written down, and the answer is handed over.

use std::io;

use lettre::Address;

use super::held::Held;
use super::host::{Host, Letter};
use crate::protocol::job::journal::Journal;
use crate::protocol::job::letter::Letterhead;
use crate::protocol::job::name::Name;
use crate::protocol::job::outcome::{End, Outcome, Summary};
use crate::protocol::job::record::Record;
use crate::protocol::job::state::Finished;
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Here;

/// A job about which nobody can be answered.
#[must_use]
#[derive(Debug)]
pub struct Lost<J> {
    pub(super) journal: J,
    pub(super) owes_mail: bool,
}

/// A job whose outcome is known, but not yet written down.
#[must_use]
#[derive(Debug)]
pub struct Settled<'k, J> {
    held: Held<'k, J>,
    verdict: Ruling,
    why: String,
    outcome: Outcome,
}

/// A job whose answer is written down, but not yet handed over.
#[must_use]
#[derive(Debug)]
pub struct Unsent<J> {
    journal: J,
    name: Name,
    to: Address,
    mail: Option<Vec<u8>>,
    end: End,
}

impl<'k, J> Held<'k, J> {
    /// The verdict was yes, and this came of it.
    pub(super) fn ran(self, outcome: Outcome) -> Settled<'k, J> {
        Settled { held: self, verdict: Ruling::Run, why: String::new(), outcome }
    }

    /// The verdict was no, and why.
    pub(super) fn unrun(self, verdict: Ruling, why: String) -> Settled<'k, J> {
        Settled { held: self, verdict, why, outcome: Outcome::bare(End::Unrun) }
    }

    /// The answer that is written down, if there is one.
    pub(super) fn unsent(self) -> Option<Unsent<J>> {
        let to = self.verified.key().answer_to.clone();
        let Finished { mail, end, .. } = self.state.finished?;
        Some(Unsent { journal: self.journal, name: self.name, to, mail, end })
    }
}

impl<J: Journal> Settled<'_, J> {
    /// Writes the outcome and its answer down.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn finish(mut self, letterhead: &Letterhead, here: &Here) -> io::Result<Unsent<J>> {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        let mail = match self.write_down(letterhead, here) {
            Err(error) if full.contains(&error.kind()) => {
                // what the claim preallocated has room for an answer without its output
                let output = std::mem::take(&mut self.outcome.output);
                let length = u64::try_from(output.len()).unwrap_or(u64::MAX);
                self.outcome.dropped = self.outcome.dropped.saturating_add(length);
                self.write_down(letterhead, here)?
            }
            written => written?,
        };
        let to = self.held.verified.key().answer_to.clone();
        let (journal, name) = (self.held.journal, self.held.name);
        Ok(Unsent { journal, name, to, mail, end: self.outcome.end })
    }

    fn write_down(&mut self, letterhead: &Letterhead, here: &Here) -> io::Result<Option<Vec<u8>>> {
        let stage = self.outcome.end.stage();
        let report = self.held.report(stage, self.verdict, &self.why, &self.outcome, here.now);
        let owed = !self.held.state.silent;
        let mail = owed.then(|| letterhead.write(&report)).transpose()?;
        self.held.journal.append(&Record::Finished {
            at: here.now,
            end: self.outcome.end.clone(),
            duration: self.outcome.duration,
            mail: mail.clone(),
        })?;
        Ok(mail)
    }

    /// What the log and whoever is notified are told: verdict, and how it ended.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let request = self.held.verified.request();
        Summary {
            key: self.held.verified.key().id.clone(),
            command: request.command.join(" "),
            verdict: self.verdict,
            end: self.outcome.end.clone(),
        }
    }
}

impl<J: Journal> Lost<J> {
    /// Writes down that nobody will be answered.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn close(mut self, here: &Here) -> io::Result<()> {
        let at = here.now;
        self.journal.append(&if self.owes_mail {
            Record::GivenUp { at }
        } else {
            Record::Finished { at, end: End::Unrun, duration: None, mail: None }
        })
    }
}

impl<J: Journal> Unsent<J> {
    /// Whether there is nothing to hand over.
    pub fn is_silent(&self) -> bool {
        self.mail.is_none()
    }

    /// Hands the answer over, and writes that down.
    ///
    /// # Errors
    /// When it was not taken: it stays owed.
    pub fn answer(mut self, host: &mut impl Host) -> io::Result<End> {
        let Some(mail) = &self.mail else { return Ok(self.end) };
        let Self { name: job, to, end, .. } = &self;
        let taken = host.hand_over(&Letter { stage: end.stage(), job, to, mail });
        let at = host.here().now;
        match taken {
            Ok(()) => self.journal.append(&Record::Answered { at })?,
            Err(error) => {
                self.journal.append(&Record::Tried { at })?;
                return Err(error);
            }
        }
        Ok(self.end)
    }
}
