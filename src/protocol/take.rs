//! The runner's stages: a claimed job is taken up under its lock, judged again, and carried to its answer.
//!
//! [`Job::take`] is the only maker of the right to act beside the claim itself, and it goes through verify and judge
//! again with today's configuration: a job file holds octets that somebody signed, and no instruction.

mod finish;
mod held;
mod host;
mod start;

use super::job::journal::Journal;
use super::job::name::Name;
use super::job::outcome::{End, Outcome};
use super::job::state::{Next, State};
use super::refusal::Stop;
use super::rules::built_in;
use super::rules::keyring::Keyring;
use super::rules::policy::{Ledger, Policy};
use super::rules::verdict::{Action, Verdict};
use super::time::Here;
use super::wire::message::Candidate;
pub use finish::{Lost, Settled, Unsent};
use held::Held;
pub use host::{Host, Letter};
pub use start::{Ready, Started};

/// A job out of the spool, under its lock.
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
    /// Something is to be begun.
    Ready(Ready<'k, J>),
    /// The outcome is known without a command.
    Settled(Settled<'k, J>),
    /// The answer is written down, and is to be handed over.
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
        let next = state.next(here.now, &here.boot);
        let lost = |journal, why: &str| {
            Self::Lost(Lost { journal, owes_mail: state.owes_mail() }, why.to_owned())
        };
        match next {
            Next::Nothing => return Self::Done,
            Next::GiveUp => return lost(journal, "the answer was not taken for five days"),
            Next::Back
            | Next::NotStarted
            | Next::Say
            | Next::Send
            | Next::Start
            | Next::Unknown => {}
        }
        let verified = match Candidate::from_job(state.cose.clone()).verify(keyring) {
            Ok(verified) => verified,
            Err(refusal) => return lost(journal, refusal.reason()),
        };
        if verified.job_name() != name {
            return lost(journal, "the file is named after another request");
        }
        let to = verified.key().answer_to.clone();
        if let (Next::Send, Some(finished)) = (next, &state.finished) {
            let (mail, end) = (finished.mail.clone(), finished.end.clone());
            return Self::Unsent(Unsent { journal, name, to, mail, end });
        }
        Held { journal, name, state, verified }.settle(next, policy, ledger, here)
    }
}

impl<'k, J: Journal> Held<'k, J> {
    fn settle(self, next: Next, policy: &'k Policy, ledger: &Ledger, here: &Here) -> Job<'k, J> {
        let (claimed, why) = (word(&self.state.verdict), self.state.why.clone());
        match next {
            Next::Back => {
                let began = self.state.started.as_ref().map_or(here.booted, |(at, _)| *at);
                let outcome = Outcome::bare(End::Back(here.booted.since(began)));
                self.settled("run", String::new(), outcome)
            }
            Next::Unknown => self.settled("run", String::new(), Outcome::bare(End::Unknown)),
            Next::NotStarted => {
                let why = format!(
                    "accepted at {}, and the machine was started anew since; send a new request",
                    self.state.received
                );
                self.settled("run", String::new(), Outcome::bare(End::NotStarted(why)))
            }
            Next::Say => self.settled(claimed, why, Outcome::bare(End::Unrun)),
            Next::GiveUp | Next::Nothing | Next::Send => Job::Done,
            Next::Start => self.begin(policy, ledger, here),
        }
    }

    /// By today's verdict: the claim stands for window and replay, everything else is judged anew.
    fn begin(self, policy: &'k Policy, ledger: &Ledger, here: &Here) -> Job<'k, J> {
        let today = Ledger { now: here.now.max(self.state.received), ..ledger.clone() };
        let (key, request) = (self.verified.key(), self.verified.request());
        let verdict = match self.verified.verdict(policy, &today) {
            Ok(verdict) => verdict,
            Err(Stop::Refused(refusal)) => Verdict::Unavailable(refusal.to_string()),
            Err(Stop::Deferred(deferral)) => Verdict::Unavailable(deferral.to_string()),
        };
        match verdict {
            Verdict::Run(Action::Ping) => {
                let words = built_in::ping(key, request, policy, here);
                self.settled("run", String::new(), Outcome::said(words))
            }
            Verdict::Run(Action::Help) => {
                let words = built_in::help(key, policy);
                self.settled("run", String::new(), Outcome::said(words))
            }
            Verdict::Run(Action::Do(deed)) if request.dry => {
                let mut outcome = Outcome::said(format!("{}\n", deed.plan()));
                outcome.end = End::WouldRun;
                self.settled("run", String::new(), outcome)
            }
            Verdict::Run(Action::Do(deed)) => Job::Ready(Ready { held: self, deed }),
            verdict @ (Verdict::Denied(_)
            | Verdict::Expired
            | Verdict::TooMany { .. }
            | Verdict::Unavailable(_)) => {
                self.settled(verdict.word(), verdict.why(), Outcome::bare(End::Unrun))
            }
        }
    }

    pub(super) fn settled(
        self,
        verdict: &'static str,
        why: String,
        outcome: Outcome,
    ) -> Job<'k, J> {
        Job::Settled(Settled { held: self, verdict, why, outcome })
    }
}

/// The verdict's word as a constant; a word that this version does not know runs nothing.
fn word(claimed: &str) -> &'static str {
    ["expired", "too-many", "unavailable"]
        .into_iter()
        .find(|known| *known == claimed)
        .unwrap_or("denied")
}
