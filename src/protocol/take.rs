//! The runner takes up a claimed job, under its lock, and judges it again; what it starts and finishes is in the room
//! behind this file.
//!
//! [`Job::take`] is the only maker of the right to act besides the claim itself, and it goes through verify and judge
//! again with today's configuration: a job file holds octets that somebody signed, and no instruction.

mod finish;
mod held;
mod host;
mod start;

use std::time::Duration;

use super::job::journal::Journal;
use super::job::name::Name;
use super::job::outcome::{End, Outcome};
use super::job::state::{Next, Owed, State};
use super::refusal::Stop;
use super::rules::built_in;
use super::rules::keyring::Keyring;
use super::rules::policy::{Ledger, Policy};
use super::rules::verdict::{Action, Verdict};
use super::time::{Here, Time};
use super::wire::message::Candidate;
pub use finish::{Lost, Settled, Unsent};
use held::Held;
pub use host::{Host, Letter, Prepared};
pub use start::{Ready, Started, Turn};

/// How long a machine that comes back may have been away: beyond that, a wrong clock is the likelier reason.
const AWAY: Duration = Duration::from_secs(7 * 86400);

/// A job from the spool, under its lock.
#[derive(Debug)]
pub struct Locked<J> {
    /// Its name.
    pub name: Name,
    /// Its journal, which holds the lock.
    pub journal: J,
    /// What the journal says.
    pub state: State,
}

/// A job under its lock, and what is to be done with it.
#[must_use]
#[derive(Debug)]
pub enum Job<'k, J> {
    /// Nothing is left to do.
    Done,
    /// Nobody can be answered any more, and why.
    Lost(Lost<J>, String),
    /// There is something to begin.
    Ready(Ready<'k, J>),
    /// The outcome is known without a command.
    Settled(Settled<'k, J>),
    /// The answer is written down, but not yet handed over.
    Unsent(Unsent<J>),
}

impl<'k, J: Journal> Job<'k, J> {
    /// Takes up a job whose lock is held.
    pub fn take(
        locked: Locked<J>,
        keyring: &'k Keyring,
        policy: &'k Policy,
        ledger: &Ledger,
        here: &Here,
    ) -> Self {
        let Locked { name, journal, state } = locked;
        let lost = |journal, why: &str| {
            Self::Lost(Lost { journal, owes_mail: state.owes_mail() }, why.to_owned())
        };
        let owed = match state.next(here.now, &here.boot) {
            Next::Nothing => return Self::Done,
            Next::GiveUp => return lost(journal, "the answer was not accepted for five days"),
            Next::Owed(owed) => owed,
        };
        let verified = match Candidate::from_job(state.cose.clone()).verify(keyring) {
            Ok(verified) => verified,
            Err(refusal) => return lost(journal, refusal.reason()),
        };
        if verified.job_name() != name {
            return lost(journal, "the file is named after another request");
        }
        let held = Held { journal, name, state, verified };
        match owed {
            Owed::Start => held.begin(policy, ledger, here),
            Owed::Send => held.unsent().map_or(Self::Done, Self::Unsent),
            Owed::Back => {
                let began = held.state.started.as_ref().map_or(here.booted, |(at, _)| *at);
                Self::Settled(held.ran(back(began, here)))
            }
            Owed::Unknown => Self::Settled(held.ran(Outcome::bare(End::Unknown))),
            Owed::NotStarted => {
                let why = format!(
                    "accepted at {}, and the machine has been rebooted since; send a new request",
                    held.state.received
                );
                Self::Settled(held.ran(Outcome::bare(End::NotStarted(why))))
            }
            Owed::Say => {
                let (verdict, why) = (held.state.verdict, held.state.why.clone());
                Self::Settled(held.unrun(verdict, why))
            }
        }
    }
}

impl<'k, J: Journal> Held<'k, J> {
    /// By today's verdict: everything but the replay is judged again, at no time before the claim.
    fn begin(self, policy: &'k Policy, ledger: &Ledger, here: &Here) -> Job<'k, J> {
        let today = Ledger { now: here.now.max(self.state.received), ..ledger.clone() };
        let (key, request) = (self.verified.key(), self.verified.request());
        let verdict = match self.verified.verdict(policy, &today) {
            Ok(verdict) => verdict,
            Err(Stop::Refused(refusal)) => Verdict::Unavailable(refusal.to_string()),
            Err(Stop::Deferred(deferral)) => Verdict::Unavailable(deferral.to_string()),
        };
        match verdict {
            Verdict::Run(Action::Say(saying)) => {
                let words = built_in::words(saying, key, request, policy, here);
                Job::Settled(self.ran(Outcome::said(words)))
            }
            Verdict::Run(Action::Do(deed)) if request.dry => {
                Job::Settled(self.ran(Outcome::planned(&deed.plan())))
            }
            Verdict::Run(Action::Do(deed)) => {
                Job::Ready(Ready { held: self, deed, prepared: Prepared::default() })
            }
            verdict @ (Verdict::Denied(_)
            | Verdict::Expired
            | Verdict::TooMany { .. }
            | Verdict::Unavailable(_)) => Job::Settled(self.unrun(verdict.ruling(), verdict.why())),
        }
    }
}

/// The machine is back. Its clock may have been set meanwhile, or have lost its battery: what it says of the time in
/// between is passed on only if it can be true.
fn back(began: Time, here: &Here) -> Outcome {
    let after = here.booted.since(began);
    let can_be_true = here.booted > began && after < AWAY;
    let words = format!("It was booted at {}, by its own clock.\n", here.booted);
    Outcome { end: End::Back(can_be_true.then_some(after)), ..Outcome::said(words) }
}
