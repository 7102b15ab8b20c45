//! The act that spends a nonce: a judged request becomes a claimed one, once in the life of a spool.

use std::io;

use super::job::journal::Journal;
use super::job::name::Name;
use super::job::record::Record;
use super::judge::Judged;
use super::refusal::{Refusal, Stop};
use super::rules::allowance::Admission;
use super::rules::keyring::Key;
use super::rules::verdict::Verdict;
use super::ruling::Ruling;
use super::time::{Here, Time};

/// The durable memory of nonces, as the protocol needs it.
pub trait Spool {
    /// The journal of one job.
    type Journal: Journal;

    /// Whether the nonce in `name` is spent. If so, that survives a power failure.
    ///
    /// # Errors
    /// When there is no way to tell, or it cannot be made durable.
    fn recall(&mut self, name: &Name) -> io::Result<bool>;

    /// Takes one request out of the hourly allowance of `key`.
    ///
    /// # Errors
    /// When the allowance cannot be read; nothing is spent then.
    fn admit(&mut self, key: &Key) -> io::Result<Admission>;

    /// Spends the nonce in `name`, of a request signed at `issued`. When this returns [`Spent::First`], the claim
    /// survives a power failure.
    ///
    /// # Errors
    /// When it cannot be made durable. The name may exist all the same: a later try is then a replay.
    fn spend(
        &mut self,
        name: &Name,
        claim: &Record,
        issued: Time,
    ) -> io::Result<Spent<Self::Journal>>;

    /// Now, and where we are: for the record.
    fn here(&self) -> Here;
}

/// What became of a nonce.
#[derive(Debug)]
pub enum Spent<J> {
    /// It was spent before.
    Again,
    /// It is spent now; its journal is locked.
    First(J),
    /// It is spent now, and whether it may be acted on is not known: whoever resumes it finds out.
    Kept,
    /// Its hour was forgotten in the meantime.
    TooLate,
}

/// A request whose nonce is spent for good: its job is on the disk and locked. Ends the delivery.
#[must_use]
#[derive(Debug)]
pub struct Claimed<J> {
    name: Name,
    journal: Option<J>,
    verdict: Ruling,
    reason: &'static str,
}

impl Judged<'_> {
    /// Spends the nonce.
    ///
    /// # Errors
    /// [`Refusal::Replayed`] if it is spent, [`Refusal::TooOld`] if its hour is forgotten,
    /// [`Stop::Deferred`] if the claim cannot be made durable.
    pub fn claim<S: Spool>(
        self,
        spool: &mut S,
        message_id: Option<String>,
    ) -> Result<Claimed<S::Journal>, Stop> {
        let name = self.verified().job_name();
        // first: whoever has an old mail could otherwise use up the allowance of its key
        if spool.recall(&name)? {
            return Err(Refusal::Replayed.into());
        }
        let judged = match spool.admit(self.key())? {
            Admission::Over { answered } => self.with(Verdict::TooMany { answered }),
            Admission::Within => self,
        };
        let Here { now, boot, .. } = spool.here();
        let record = Record::Claimed {
            at: now,
            boot,
            verdict: judged.verdict().ruling(),
            why: judged.verdict().why(),
            silent: matches!(judged.verdict(), Verdict::TooMany { answered: false }),
            message_id,
            cose: judged.cose().to_vec(),
        };
        let journal = match spool.spend(&name, &record, judged.request().issued)? {
            Spent::Again => return Err(Refusal::Replayed.into()),
            Spent::TooLate => return Err(Refusal::TooOld.into()),
            Spent::First(journal) => Some(journal),
            Spent::Kept => None,
        };
        let (verdict, reason) = (judged.verdict().ruling(), judged.verdict().reason());
        Ok(Claimed { name, journal, verdict, reason })
    }
}

impl<J> Claimed<J> {
    /// What was decided.
    #[must_use]
    pub fn verdict(&self) -> Ruling {
        self.verdict
    }

    /// The word after `reason=` in the log.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The job, for the runner; `None` if it is left to whoever resumes it.
    #[must_use]
    pub fn into_job(self) -> Option<(Name, J)> {
        self.journal.map(|journal| (self.name, journal))
    }
}
