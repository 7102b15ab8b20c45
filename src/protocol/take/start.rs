//! How a deed begins: a place to do it in, all that it needs, the notice before it, and its start on the disk.
//!
//! What holds here: an emergency that was announced comes. What it needs it has before the notice, and after the notice
//! nothing that hangs or fails holds it up: not the mail system, and not the disk that the journal is on. That is safe,
//! since after it there is another boot, in which nothing is begun again.

use std::io;

use super::finish::Settled;
use super::held::Held;
use super::host::{Host, Letter, Prepared};
use crate::protocol::job::journal::Journal;
use crate::protocol::job::letter::Letterhead;
use crate::protocol::job::outcome::{End, Outcome, Stage};
use crate::protocol::job::record::Record;
use crate::protocol::job::state::Notice;
use crate::protocol::rules::verdict::{Deed, Verdict};
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Here;

/// A job whose deed may be begun, once.
#[must_use]
#[derive(Debug)]
pub struct Ready<'k, J> {
    pub(super) held: Held<'k, J>,
    pub(super) deed: Deed<'k>,
    pub(super) prepared: Prepared,
}

/// A job whose start is on the disk.
#[must_use]
#[derive(Debug)]
pub struct Started<'k, J> {
    held: Held<'k, J>,
    deed: Deed<'k>,
}

/// What came of waiting for a place and of getting ready.
#[must_use]
#[derive(Debug)]
pub enum Turn<'k, J> {
    /// It may begin.
    Come(Ready<'k, J>),
    /// The request has expired, or this machine cannot do it: nothing was begun, and nothing will be.
    Missed(Settled<'k, J>),
}

impl<'k, J: Journal> Ready<'k, J> {
    /// Waits for a place to do it in, and gets what it needs; meanwhile the request may expire.
    ///
    /// # Errors
    /// When there is no way to tell whether there is a place; nothing was begun.
    pub fn queue(self, host: &mut impl Host) -> io::Result<Turn<'k, J>> {
        host.queue(&self.deed)?;
        let missed = if host.here().now >= self.held.verified.request().expires {
            Verdict::Expired
        } else {
            match host.prepare(&self.deed) {
                Ok(prepared) => return Ok(Turn::Come(Self { prepared, ..self })),
                Err(why) => Verdict::Unavailable(why),
            }
        };
        Ok(Turn::Missed(self.held.unrun(missed.ruling(), missed.why())))
    }

    /// Announces what the machine may not survive, if the mail system takes the notice.
    ///
    /// # Errors
    /// When the journal cannot be written; nothing was started. An emergency goes on all the same.
    pub fn announce(mut self, letterhead: &Letterhead, host: &mut impl Host) -> io::Result<Self> {
        if !self.deed.is_announced() {
            return Ok(self);
        }
        if self.prepared.is_last {
            self.held.journal.hasten();
        }
        let Here { now, .. } = host.here();
        let mail = match &self.held.state.notice {
            Notice::Over => return Ok(self),
            Notice::Written(mail) => mail.clone(),
            Notice::None => {
                // an emergency does not wait for a mail that cannot be written
                let plan = self.plan();
                let nothing = Outcome::bare(End::Unrun);
                let report = self.held.report(Stage::Notice, Ruling::Run, &plan, &nothing, now);
                let Ok(mail) = letterhead.write(&report) else { return Ok(self) };
                self.append(&Record::Notice { at: now, mail: mail.clone() })?;
                mail
            }
        };
        // nor for a mail system that is down: the result says what happened
        let _untaken = host.hand_over(&Letter {
            stage: Stage::Notice,
            job: &self.held.name,
            to: &self.held.verified.key().answer_to,
            mail: &mail,
        });
        self.append(&Record::Noticed { at: host.here().now })?;
        self.held.state.notice = Notice::Over;
        Ok(self)
    }

    /// Writes down that the deed has begun. From then on it has, as far as anybody can know.
    ///
    /// # Errors
    /// When that cannot be made durable; nothing was started. An emergency goes on all the same.
    pub fn start(mut self, here: Here) -> io::Result<Started<'k, J>> {
        let Here { now, boot, .. } = here;
        self.append(&Record::Running { at: now, boot: boot.clone() })?;
        self.held.state.started = Some((now, boot));
        Ok(Started { held: self.held, deed: self.deed })
    }

    /// Appends a record, which an emergency does without.
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let written = self.held.journal.append(record);
        if self.prepared.is_last { Ok(()) } else { written }
    }

    fn plan(&self) -> String {
        let plan = self.deed.announcement();
        match &self.prepared.remark {
            Some(remark) => format!("{plan} ({remark})"),
            None => plan,
        }
    }
}

impl<'k, J: Journal> Started<'k, J> {
    /// Does the deed: the one place where anything is done.
    pub fn run(self, host: &mut impl Host) -> Settled<'k, J> {
        let (key, request) = (self.held.verified.key(), self.held.verified.request());
        let outcome = host.perform(&self.deed, key, request);
        self.held.ran(outcome)
    }
}
