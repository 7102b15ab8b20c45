//! The runner's stages: a claimed job is taken up under its lock, judged again, and carried to its answer.
//!
//! [`Job::take`] is the only maker of the right to act beside the claim itself, and it goes through verify and judge
//! again with today's configuration: a job file holds octets that somebody signed, and no instruction.

mod finish;

use std::io;

use super::built_in;
use super::job::{Journal, Name, Next, Notice, State};
use super::keyring::{Key, Keyring};
use super::letter::{Letterhead, Report};
use super::message::Candidate;
use super::outcome::{End, Outcome, Stage};
use super::policy::{Ledger, Policy};
use super::record::Record;
use super::refusal::Stop;
use super::request::Request;
use super::time::{Here, Time};
use super::verdict::{Action, Deed, Verdict};
use super::verify::Verified;
pub use finish::{Lost, Settled, Unsent};

/// What the protocol needs done in the world, once it may be done.
pub trait Host {
    /// Now, and where we are.
    fn here(&self) -> Here;

    /// Waits until the deed may be begun beside others, and keeps its place.
    ///
    /// # Errors
    /// When there is no way to tell.
    fn queue(&mut self, deed: &Deed<'_>) -> io::Result<()>;

    /// Does a deed to its end. It is on the disk that it is begun. It need not return.
    fn perform(&mut self, deed: &Deed<'_>, key: &Key, request: &Request) -> Outcome;

    /// Hands a mail over to the mail system, and waits a little after one that comes before something drastic.
    ///
    /// # Errors
    /// When it was not taken.
    fn hand_over(&mut self, letter: &Letter<'_>) -> io::Result<()>;
}

/// A mail to be handed over.
#[derive(Debug)]
pub struct Letter<'a> {
    /// Which answer.
    pub stage: Stage,
    /// The job that it answers.
    pub job: &'a Name,
    /// The address.
    pub to: &'a str,
    /// The whole mail, line ends LF.
    pub mail: &'a [u8],
}

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

/// A job whose deed may be begun, once.
#[must_use]
#[derive(Debug)]
pub struct Ready<'k, J> {
    held: Held<'k, J>,
    deed: Deed<'k>,
}

/// A job whose deed is begun: it is on the disk.
#[must_use]
#[derive(Debug)]
pub struct Started<'k, J> {
    held: Held<'k, J>,
    deed: Deed<'k>,
}

#[derive(Debug)]
struct Held<'k, J> {
    journal: J,
    name: Name,
    state: State,
    verified: Verified<'k>,
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

    fn settled(self, verdict: &'static str, why: String, outcome: Outcome) -> Job<'k, J> {
        Job::Settled(Settled { held: self, verdict, why, outcome })
    }

    fn report<'a>(
        &'a self,
        stage: Stage,
        verdict: &'a str,
        why: &'a str,
        outcome: &'a Outcome,
        now: Time,
    ) -> Report<'a> {
        Report {
            stage,
            key: self.verified.key(),
            request: self.verified.request(),
            received: self.state.received,
            message_id: self.state.message_id.as_deref(),
            verdict,
            why,
            started: self.state.started.as_ref().map(|(at, _)| *at),
            outcome,
            now,
        }
    }
}

impl<'k, J: Journal> Ready<'k, J> {
    /// Waits for a place to do it in; a request may expire over that.
    ///
    /// # Errors
    /// When there is no way to tell whether there is a place; nothing was begun.
    pub fn queue(self, host: &mut impl Host) -> io::Result<Job<'k, J>> {
        host.queue(&self.deed)?;
        if host.here().now < self.held.verified.request().expires {
            return Ok(Job::Ready(self));
        }
        let late = Verdict::Expired;
        Ok(self.held.settled(late.word(), late.why(), Outcome::bare(End::Unrun)))
    }

    /// For what the machine may not survive: says so first, as far as the mail system takes it.
    ///
    /// # Errors
    /// When the journal cannot be written; nothing was started.
    pub fn announce(mut self, letterhead: &Letterhead, host: &mut impl Host) -> io::Result<Self> {
        if !self.deed.is_announced() {
            return Ok(self);
        }
        let Here { now, .. } = host.here();
        let mail = match &self.held.state.notice {
            Notice::Over => return Ok(self),
            Notice::Written(mail) => mail.clone(),
            Notice::None => {
                let nothing = Outcome::bare(End::Unrun);
                let plan = match &self.deed {
                    Deed::Run { command, .. } => format!("starting {}", command.id),
                    deed @ (Deed::Last(_) | Deed::Press(_) | Deed::Revoke(_)) => deed.plan(),
                };
                let report = self.held.report(Stage::Notice, "run", &plan, &nothing, now);
                let mail = letterhead.write(&report).unwrap_or_default();
                self.held.journal.append(&Record::Notice { at: now, mail: mail.clone() })?;
                mail
            }
        };
        // An emergency does not wait for a mail system that is down: the result says what happened.
        let _untaken = host.hand_over(&Letter {
            stage: Stage::Notice,
            job: &self.held.name,
            to: &self.held.verified.key().answer_to,
            mail: &mail,
        });
        self.held.journal.append(&Record::Noticed { at: host.here().now })?;
        self.held.state.notice = Notice::Over;
        Ok(self)
    }

    /// Writes down that the deed is begun. After this it is, as far as anybody will ever know.
    ///
    /// # Errors
    /// When that cannot be made durable; nothing was started.
    pub fn start(mut self, here: Here) -> io::Result<Started<'k, J>> {
        let Here { now, boot, .. } = here;
        self.held.journal.append(&Record::Running { at: now, boot: boot.clone() })?;
        self.held.state.started = Some((now, boot));
        Ok(Started { held: self.held, deed: self.deed })
    }
}

impl<'k, J: Journal> Started<'k, J> {
    /// Does the deed: the one place where anything is done.
    pub fn run(self, host: &mut impl Host) -> Settled<'k, J> {
        let (key, request) = (self.held.verified.key(), self.held.verified.request());
        let outcome = host.perform(&self.deed, key, request);
        Settled { held: self.held, verdict: "run", why: String::new(), outcome }
    }
}

/// The verdict's word as a constant; a word that this version does not know runs nothing.
fn word(claimed: &str) -> &'static str {
    ["expired", "too-many", "unavailable"]
        .into_iter()
        .find(|known| *known == claimed)
        .unwrap_or("denied")
}
