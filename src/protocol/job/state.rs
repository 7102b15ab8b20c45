//! What becomes of a claimed request, step by step; every step is on the disk before its effect.
//!
//! ```text
//! claimed -> [notice -> noticed] -> running -> finished -> [tried ...] -> answered | given-up
//!         \-> finished (a verdict that runs nothing)
//! ```
//!
//! [`State`] is pure: [`State::after`] says which record may follow which, and [`State::next`] what a runner that
//! holds the lock must do now. A record that is torn did not happen.

use std::time::Duration;

use super::outcome::End;
use super::record::Record;
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Time;

/// How long, and at least how often, an answer is offered to a mail system that does not take it: neither a machine
/// that was off nor a clock that jumped is a reason to give it up.
pub const GIVE_UP: (Duration, u32) = (Duration::from_secs(5 * 86400), 20);
/// How long to wait after each try that failed; the last of these from then on.
pub const BACK_OFF: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(6 * 3600),
];

/// The octets of a journal are not what a runner of this or an earlier version wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// When it was claimed.
    pub received: Time,
    /// In which boot.
    pub boot: String,
    /// The verdict at the claim.
    pub verdict: Ruling,
    /// The verdict's reason at the claim.
    pub why: String,
    /// Whether no answer is sent.
    pub silent: bool,
    /// The Message-ID of the mail that brought it.
    pub message_id: Option<String>,
    /// The octets received.
    pub cose: Vec<u8>,
    /// How far the notice before the command has got.
    pub notice: Notice,
    /// When the command was started, and in which boot.
    pub started: Option<(Time, String)>,
    /// What came of it.
    pub finished: Option<Finished>,
    /// How often the answer was offered and not taken, and when last.
    pub tried: Option<(u32, Time)>,
    /// What became of the answer.
    pub answer: Answer,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Given up.
    GivenUp,
    /// Handed over.
    HandedOver,
    /// Neither, yet.
    Owed,
}

/// How far the notice before a command has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// There is none (yet).
    None,
    /// Written down; whether it was handed over is not known.
    Written(Vec<u8>),
    /// Handed over, or given up.
    Over,
}

/// The end of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// When.
    pub at: Time,
    /// How.
    pub end: End,
    /// How long it ran.
    pub duration: Option<Duration>,
    /// The answer; none if none is sent.
    pub mail: Option<Vec<u8>>,
}

/// What a runner that holds the lock must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer has been offered long and often enough: write down that it is given up.
    GiveUp,
    /// Nothing is left.
    Nothing,
    /// Whoever asked is owed something.
    Owed(Owed),
}

/// What is owed to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// It was begun in another boot and the machine was meant to go down: say that it is back.
    Back,
    /// It was claimed in another boot and not started: say so, and do not start it.
    NotStarted,
    /// Say the verdict of the claim.
    Say,
    /// Hand the answer over.
    Send,
    /// Judge again, and start the command if the verdict is still yes.
    Start,
    /// It was started, and its runner did not finish it: say so.
    Unknown,
}

impl State {
    /// The state after the first record.
    ///
    /// # Errors
    /// [`Damaged`] if it is not a claim.
    pub fn new(record: Record) -> Result<Self, Damaged> {
        let Record::Claimed { at, boot, verdict, why, silent, message_id, cose } = record else {
            return Err(Damaged);
        };
        Ok(Self {
            received: at,
            boot,
            verdict,
            why,
            silent,
            message_id,
            cose,
            notice: Notice::None,
            started: None,
            finished: None,
            tried: None,
            answer: Answer::Owed,
        })
    }

    /// The state after one more record.
    ///
    /// # Errors
    /// [`Damaged`] if `record` cannot follow.
    pub fn after(mut self, record: Record) -> Result<Self, Damaged> {
        let open = self.started.is_none() && self.finished.is_none();
        match record {
            Record::Notice { mail, .. } if open && self.notice == Notice::None => {
                self.notice = Notice::Written(mail);
            }
            Record::Noticed { .. } if open && matches!(self.notice, Notice::Written(_)) => {
                self.notice = Notice::Over;
            }
            Record::Running { at, boot } if open && !matches!(self.notice, Notice::Written(_)) => {
                self.started = Some((at, boot));
            }
            Record::Finished { at, end, duration, mail } if self.finished.is_none() => {
                self.finished = Some(Finished { at, end, duration, mail });
            }
            Record::Tried { at } if self.owes_mail() => {
                let times = self.tried.map_or(0, |(times, _)| times);
                self.tried = Some((times.saturating_add(1), at));
            }
            Record::Answered { .. } if self.owes_mail() => self.answer = Answer::HandedOver,
            Record::GivenUp { .. } if self.owes_mail() => self.answer = Answer::GivenUp,
            Record::Answered { .. }
            | Record::Claimed { .. }
            | Record::Finished { .. }
            | Record::GivenUp { .. }
            | Record::Notice { .. }
            | Record::Noticed { .. }
            | Record::Running { .. }
            | Record::Tried { .. } => return Err(Damaged),
        }
        Ok(self)
    }

    /// What the holder of the lock must do now, in the boot `boot`.
    #[must_use]
    pub fn next(&self, now: Time, boot: &str) -> Next {
        if let Some(finished) = &self.finished {
            let times = self.tried.map_or(0, |(times, _)| times);
            return match self.owes_mail() {
                true if now.since(finished.at) > GIVE_UP.0 && times >= GIVE_UP.1 => Next::GiveUp,
                true => Next::Owed(Owed::Send),
                false => Next::Nothing,
            };
        }
        match &self.started {
            Some((_, began)) if began != boot && self.notice == Notice::Over => {
                Next::Owed(Owed::Back)
            }
            Some(_) => Next::Owed(Owed::Unknown),
            None if self.verdict != Ruling::Run => Next::Owed(Owed::Say),
            None if self.boot == boot => Next::Owed(Owed::Start),
            None => Next::Owed(Owed::NotStarted),
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.finished.is_some() && !self.owes_mail()
    }

    /// Whether it is time to offer the answer again to a mail system that did not take it.
    #[must_use]
    pub fn is_due(&self, now: Time) -> bool {
        let Some((times, last)) = self.tried else { return true };
        let nth = usize::try_from(times).unwrap_or(usize::MAX).saturating_sub(1);
        let pause = BACK_OFF.get(nth).or(BACK_OFF.last()).copied().unwrap_or_default();
        // a try made while the clock was ahead is no reason to wait until that time
        now < last || now >= last.after(pause)
    }

    /// Whether an answer is written down and not handed over.
    #[must_use]
    pub fn owes_mail(&self) -> bool {
        self.answer == Answer::Owed
            && self.finished.as_ref().is_some_and(|finished| finished.mail.is_some())
    }
}
