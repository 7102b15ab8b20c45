//! The runner's stages: a claimed job is taken up under its lock, judged again, and carried to its answer.
//!
//! [`Job::take`] is the only maker of the right to act beside the claim itself, and it goes through verify and judge
//! again with today's configuration: a job file holds octets that somebody signed, and no instruction.

use std::io;

use super::answer::Stage;
use super::claim::Here;
use super::command::{Argument, Command};
use super::id::Id;
use super::job::{End, Journal, Name, Next, Notice, Record, State};
use super::keyring::{Key, Keyring, Verified};
use super::letter::{Letterhead, Outcome, Report};
use super::message::Candidate;
use super::policy::{Action, Deed, Ledger, Policy, Verdict};
use super::refusal::Stop;
use super::request::Request;
use super::time::Time;

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

/// A job that nobody can be answered about.
#[must_use]
#[derive(Debug)]
pub struct Lost<J> {
    journal: J,
    owes_mail: bool,
}

/// A job whose outcome is known and not written down.
#[must_use]
#[derive(Debug)]
pub struct Settled<'k, J> {
    held: Held<'k, J>,
    verdict: &'static str,
    why: String,
    outcome: Outcome,
}

/// A job whose answer is written down and not handed over.
#[must_use]
#[derive(Debug)]
pub struct Unsent<J> {
    journal: J,
    name: Name,
    to: String,
    mail: Option<Vec<u8>>,
    end: End,
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
        let today = Ledger {
            now: here.now.max(self.state.received),
            low_water: ledger.low_water,
            revoked: ledger.revoked.clone(),
            ..Ledger::default()
        };
        let (key, request) = (self.verified.key(), self.verified.request());
        let verdict = match self.verified.verdict(policy, &today) {
            Ok(verdict) => verdict,
            Err(Stop::Refused(refusal)) => Verdict::Unavailable(refusal.to_string()),
            Err(Stop::Deferred(deferral)) => Verdict::Unavailable(deferral.to_string()),
        };
        match verdict {
            Verdict::Run(Action::Ping) => {
                let words = ping(key, request, policy, here);
                self.settled("run", String::new(), Outcome::said(words))
            }
            Verdict::Run(Action::Help) => {
                let words = help(key, policy);
                self.settled("run", String::new(), Outcome::said(words))
            }
            Verdict::Run(Action::Do(deed)) if request.dry => {
                let mut outcome = Outcome::said(would(&deed));
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
                    deed @ (Deed::Last(_) | Deed::Press(_) | Deed::Revoke(_)) => would(deed),
                };
                let report = self.held.report(Stage::Notice, "run", plan.trim_end(), &nothing, now);
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

impl<J: Journal> Settled<'_, J> {
    /// Writes the outcome and its answer down.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn finish(mut self, letterhead: &Letterhead, here: &Here) -> io::Result<Unsent<J>> {
        let (mut mail, mut written) = self.write_down(letterhead, here);
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if written.as_ref().is_err_and(|error| full.contains(&error.kind())) {
            // what the claim preallocated takes an answer without its output
            let output = std::mem::take(&mut self.outcome.output);
            let length = u64::try_from(output.len()).unwrap_or(u64::MAX);
            self.outcome.dropped = self.outcome.dropped.saturating_add(length);
            (mail, written) = self.write_down(letterhead, here);
        }
        written?;
        let to = self.held.verified.key().answer_to.clone();
        let (journal, name) = (self.held.journal, self.held.name);
        Ok(Unsent { journal, name, to, mail, end: self.outcome.end })
    }

    fn write_down(
        &mut self,
        letterhead: &Letterhead,
        here: &Here,
    ) -> (Option<Vec<u8>>, io::Result<()>) {
        let stage = self.outcome.end.stage();
        let report = self.held.report(stage, self.verdict, &self.why, &self.outcome, here.now);
        let mail = if self.held.state.silent { None } else { letterhead.write(&report) };
        let written = self.held.journal.append(&Record::Finished {
            at: here.now,
            end: self.outcome.end.clone(),
            duration: self.outcome.duration,
            mail: mail.clone(),
        });
        (mail, written)
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

/// A settled job in a line.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Who asked.
    pub key: Id,
    /// For what.
    pub command: String,
    /// The verdict's word.
    pub verdict: &'static str,
    /// How it ended.
    pub end: End,
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
    /// Hands the answer over, and writes down that it was.
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

/// The verdict's word as a constant; a word that this version does not know runs nothing.
fn word(claimed: &str) -> &'static str {
    ["expired", "too-many", "unavailable"]
        .into_iter()
        .find(|known| *known == claimed)
        .unwrap_or("denied")
}

fn ping(key: &Key, request: &Request, policy: &Policy, here: &Here) -> String {
    format!(
        "{} is here, and you are {}.\nIts clock says {}, your request says {}.\nnetsysrq-mail {}\n",
        policy.names.first().map_or("this machine", String::as_str),
        key.id,
        here.now,
        request.issued,
        env!("CARGO_PKG_VERSION"),
    )
}

fn help(key: &Key, policy: &Policy) -> String {
    let mut text = format!("{} may ask for:\n", key.id);
    for id in &key.allow {
        text.push_str("  ");
        text.push_str(id.as_str());
        match policy.commands.get(id) {
            Some(command) => text.push_str(&usage(command)),
            None if id.as_str() == "last" => text.push_str(" [COUNT]"),
            None if id.as_str() == "revoke" => text.push_str(" KEY"),
            None => {}
        }
        text.push('\n');
    }
    for keys in &key.sysrq {
        text.push_str(&format!("  sysrq {keys}\n"));
    }
    text
}

/// What a deed would do, in words.
fn would(deed: &Deed<'_>) -> String {
    match deed {
        Deed::Last(count) => format!("tell of the last {count}\n"),
        Deed::Press(keys) => {
            let keys: Vec<String> = keys.as_str().chars().map(String::from).collect();
            format!("pressing {}\n", keys.join(", "))
        }
        Deed::Revoke(id) => format!("revoke {id}\n"),
        Deed::Run { argv, .. } => format!("{argv:?}\n"),
    }
}

fn usage(command: &Command) -> String {
    let mut text = String::new();
    for name in command.placeholders() {
        let kind = match command.arguments.get(name) {
            Some(Argument::OneOf(words)) => words.join("|"),
            Some(Argument::Int { min, max }) => format!("{min}..{max}"),
            Some(Argument::Word { .. } | Argument::Text { .. }) | None => name.to_uppercase(),
            Some(Argument::Hostname) => "HOSTNAME".to_owned(),
            Some(Argument::Ip) => "IP".to_owned(),
        };
        text.push_str(&format!(" {kind}"));
    }
    if let Some(description) = &command.description {
        text.push_str(&format!(": {description}"));
    }
    text
}
