//! The runner's stages: a claimed job is taken up under its lock, judged again, and carried to its answer.
//!
//! [`Job::take`] is the only maker of the right to act beside the claim itself, and it goes through verify and judge
//! again with today's configuration: a job file holds octets that somebody signed, and no instruction.

use std::io;

use super::answer::Stage;
use super::claim::Here;
use super::command::{Answering, Argument, Command, Word};
use super::job::{End, Journal, Name, Next, Notice, Record, State};
use super::keyring::{Key, Keyring};
use super::letter::{Letterhead, Outcome, Report};
use super::message::Candidate;
use super::policy::{Action, Clock, Judged, Policy, Verdict};
use super::refusal::{Refusal, Stop};
use super::request::Request;
use super::time::Time;

/// What the protocol needs done in the world, once it may be done.
pub trait Host {
    /// Now, and where we are.
    fn here(&self) -> Here;

    /// Runs a command to its end. It is on the disk that it has started.
    fn run(&mut self, command: &Command, argv: &[String], key: &Key, request: &Request) -> Outcome;

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

/// A job under its lock, and what is to be done with it.
#[must_use]
#[derive(Debug)]
pub enum Job<'k, J> {
    /// Nothing is left to do.
    Done,
    /// A command is to be started.
    Ready(Ready<'k, J>),
    /// The outcome is known without a command.
    Settled(Settled<'k, J>),
    /// The answer is written down, and is to be handed over.
    Unsent(Unsent<J>),
}

/// A job whose command may be started, once.
#[must_use]
#[derive(Debug)]
pub struct Ready<'k, J> {
    held: Held<'k, J>,
    command: &'k Command,
    argv: Vec<String>,
}

/// A job whose command has been started: it is on the disk.
#[must_use]
#[derive(Debug)]
pub struct Started<'k, J> {
    held: Held<'k, J>,
    command: &'k Command,
    argv: Vec<String>,
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
    judged: Judged<'k>,
}

impl<'k, J: Journal> Job<'k, J> {
    /// Takes up a job whose lock is held.
    ///
    /// # Errors
    /// The refusal of a request that no longer verifies, as when its key is gone: there is nobody to answer.
    pub fn take(
        name: Name,
        journal: J,
        state: State,
        keyring: &'k Keyring,
        policy: &'k Policy,
        here: &Here,
    ) -> Result<Self, Refusal> {
        let next = state.next(&here.boot);
        if next == Next::Nothing {
            return Ok(Self::Done);
        }
        let verified = Candidate::from_job(state.cose.clone()).verify(keyring)?;
        let to = verified.key().answer_to.clone();
        if let (Next::Send, Some(finished)) = (next, &state.finished) {
            let (mail, end) = (finished.mail.clone(), finished.end.clone());
            return Ok(Self::Unsent(Unsent { journal, name, to, mail, end }));
        }
        // The claim stands for window and replay; everything else is judged as of today.
        let clock =
            Clock { now: here.now.max(state.received), epoch: Time::default(), low_water: 0 };
        let judged = match verified.judge(policy, clock) {
            Ok(judged) => judged,
            Err(Stop::Refused(refusal)) => return Err(refusal),
            Err(Stop::Deferred(_)) => return Err(Refusal::TooOld),
        };
        Ok(Held { journal, name, state, judged }.settle(next, policy, here))
    }
}

impl<'k, J: Journal> Held<'k, J> {
    fn settle(self, next: Next, policy: &Policy, here: &Here) -> Job<'k, J> {
        let (claimed, why) = (word(&self.state.verdict), self.state.why.clone());
        match next {
            Next::Unknown => self.settled("run", String::new(), Outcome::bare(End::Unknown)),
            Next::NotStarted => {
                let why = format!(
                    "accepted at {}, and the machine was started anew since; send a new request",
                    self.state.received
                );
                self.settled("run", String::new(), Outcome::bare(End::NotStarted(why)))
            }
            Next::Say => self.settled(claimed, why, Outcome::bare(End::Unrun)),
            Next::Send | Next::Nothing => Job::Done,
            Next::Start => match self.judged.verdict().clone() {
                Verdict::Run(Action::Ping) => {
                    let words = ping(self.judged.key(), self.judged.request(), policy, here);
                    self.settled("run", String::new(), Outcome::said(words))
                }
                Verdict::Run(Action::Help) => {
                    let words = help(self.judged.key(), policy);
                    self.settled("run", String::new(), Outcome::said(words))
                }
                Verdict::Run(Action::Run { argv, .. }) if self.judged.request().dry => {
                    let mut outcome = Outcome::said(format!("{argv:?}\n"));
                    outcome.end = End::WouldRun;
                    self.settled("run", String::new(), outcome)
                }
                Verdict::Run(Action::Run { command, argv }) => {
                    Job::Ready(Ready { held: self, command, argv })
                }
                verdict @ (Verdict::Denied(_)
                | Verdict::Expired
                | Verdict::TooMany { .. }
                | Verdict::Unavailable(_)) => {
                    self.settled(verdict.word(), verdict.why(), Outcome::bare(End::Unrun))
                }
            },
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
            key: self.judged.key(),
            request: self.judged.request(),
            received: self.state.received,
            message_id: self.state.message_id.as_deref(),
            verdict,
            why,
            started: self.state.started,
            outcome,
            now,
        }
    }
}

impl<'k, J: Journal> Ready<'k, J> {
    /// For a command that the machine may not survive: says so first, as far as the mail system takes it.
    ///
    /// # Errors
    /// When the journal cannot be written; nothing was started.
    pub fn announce(mut self, letterhead: &Letterhead, host: &mut impl Host) -> io::Result<Self> {
        if self.command.answer == Answering::After {
            return Ok(self);
        }
        let Here { now, .. } = host.here();
        let mail = match &self.held.state.notice {
            Notice::Over => return Ok(self),
            Notice::Written(mail) => mail.clone(),
            Notice::None => {
                let nothing = Outcome::bare(End::Unrun);
                let report = self.held.report(Stage::Notice, "run", "", &nothing, now);
                let mail = letterhead.write(&report).unwrap_or_default();
                self.held.journal.append(&Record::Notice { at: now, mail: mail.clone() })?;
                mail
            }
        };
        // An emergency does not wait for a mail system that is down: the result says what happened.
        let _untaken = host.hand_over(&Letter {
            stage: Stage::Notice,
            job: &self.held.name,
            to: &self.held.judged.key().answer_to,
            mail: &mail,
        });
        self.held.journal.append(&Record::Noticed { at: host.here().now })?;
        self.held.state.notice = Notice::Over;
        Ok(self)
    }

    /// Writes down that the command is started. After this it is, as far as anybody will ever know.
    ///
    /// # Errors
    /// When that cannot be made durable; nothing was started.
    pub fn start(mut self, here: Here) -> io::Result<Started<'k, J>> {
        let Here { now, boot } = here;
        self.held.journal.append(&Record::Running { at: now, boot })?;
        self.held.state.started = Some(now);
        Ok(Started { held: self.held, command: self.command, argv: self.argv })
    }
}

impl<'k, J: Journal> Started<'k, J> {
    /// Runs the command: the one place where one is run.
    pub fn run(self, host: &mut impl Host) -> Settled<'k, J> {
        let (key, request) = (self.held.judged.key(), self.held.judged.request());
        let outcome = host.run(self.command, &self.argv, key, request);
        Settled { held: self.held, verdict: "run", why: String::new(), outcome }
    }
}

impl<J: Journal> Settled<'_, J> {
    /// Writes the outcome and its answer down.
    ///
    /// # Errors
    /// When that cannot be made durable.
    pub fn finish(mut self, letterhead: &Letterhead, here: &Here) -> io::Result<Unsent<J>> {
        let report =
            self.held.report(Stage::Result, self.verdict, &self.why, &self.outcome, here.now);
        let mail = if self.held.state.silent { None } else { letterhead.write(&report) };
        self.held.journal.append(&Record::Finished {
            at: here.now,
            end: self.outcome.end.clone(),
            duration: self.outcome.duration,
            mail: mail.clone(),
        })?;
        let to = self.held.judged.key().answer_to.clone();
        Ok(Unsent {
            journal: self.held.journal,
            name: self.held.name,
            to,
            mail,
            end: self.outcome.end,
        })
    }
}

impl<J: Journal> Unsent<J> {
    /// Hands the answer over, and writes down that it was.
    ///
    /// # Errors
    /// When it was not taken: it stays owed.
    pub fn answer(mut self, host: &mut impl Host) -> io::Result<End> {
        if let Some(mail) = &self.mail {
            let Self { name: job, to, .. } = &self;
            host.hand_over(&Letter { stage: Stage::Result, job, to, mail })?;
            self.journal.append(&Record::Answered { at: host.here().now })?;
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
        if let Some(command) = policy.commands.get(id) {
            text.push_str(&usage(command));
        }
        text.push('\n');
    }
    for keys in &key.sysrq {
        text.push_str(&format!("  sysrq {keys}\n"));
    }
    text
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
    if command.run.iter().all(|word| matches!(word, Word::Literal(_))) && text.is_empty() {
        return String::new();
    }
    text
}
