//! One step of a job, and how a job ends.

use std::time::Duration;

use super::answer::Stage;
use super::time::Time;

/// One step of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The nonce is spent.
    Claimed {
        /// When.
        at: Time,
        /// In which boot.
        boot: String,
        /// The verdict's word.
        verdict: String,
        /// The verdict's reason.
        why: String,
        /// Whether nobody is answered.
        silent: bool,
        /// The Message-ID of the mail that brought it.
        message_id: Option<String>,
        /// The octets received; nothing in here is executable.
        cose: Vec<u8>,
    },
    /// A mail that says what is about to be done; it is about to be handed over.
    Notice {
        /// When.
        at: Time,
        /// The whole mail.
        mail: Vec<u8>,
    },
    /// The notice was handed over, or given up: the command goes on.
    Noticed {
        /// When.
        at: Time,
    },
    /// The command is about to start.
    Running {
        /// When.
        at: Time,
        /// In which boot.
        boot: String,
    },
    /// The outcome is known; its mail is about to be handed over.
    Finished {
        /// When.
        at: Time,
        /// How it ended.
        end: End,
        /// How long it ran.
        duration: Option<Duration>,
        /// The whole mail; none if nobody is answered.
        mail: Option<Vec<u8>>,
    },
    /// The answer was offered to the mail system, and not taken.
    Tried {
        /// When.
        at: Time,
    },
    /// The answer was handed over.
    Answered {
        /// When.
        at: Time,
    },
    /// The answer will not be handed over any more.
    GivenUp {
        /// When.
        at: Time,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine was started anew, as was asked: so long after the command or the keys.
    Back(Duration),
    /// A built-in said its piece.
    Done,
    /// The command exited with this status.
    Exited(i32),
    /// A signal ended the command.
    Killed(i32),
    /// The command did not start; why.
    NotStarted(String),
    /// It ran past its time limit and was stopped.
    TimedOut,
    /// It was started, and what came of it is not known.
    Unknown,
    /// The verdict was no: nothing was to be run.
    Unrun,
    /// A dry run: nothing was to be run.
    WouldRun,
}

impl End {
    /// Which answer says so.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Back(_) => Stage::Back,
            Self::Done
            | Self::Exited(_)
            | Self::Killed(_)
            | Self::NotStarted(_)
            | Self::TimedOut
            | Self::Unknown
            | Self::Unrun
            | Self::WouldRun => Stage::Result,
        }
    }

    /// The word in log and journal: stable.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Back(after) => format!("back:{}", after.as_secs()),
            Self::Done => "done".into(),
            Self::Exited(status) => format!("exit:{status}"),
            Self::Killed(signal) => format!("signal:{signal}"),
            Self::NotStarted(_) => "not-started".into(),
            Self::TimedOut => "timeout".into(),
            Self::Unknown => "unknown".into(),
            Self::Unrun => "not-run".into(),
            Self::WouldRun => "dry-run".into(),
        }
    }

    /// Reads what [`End::word`] writes; `why` is the reason of a command that did not start.
    #[must_use]
    pub fn parse(word: &str, why: &str) -> Option<Self> {
        Some(match word.split_once(':') {
            Some(("back", seconds)) => Self::Back(Duration::from_secs(seconds.parse().ok()?)),
            Some(("exit", status)) => Self::Exited(status.parse().ok()?),
            Some(("signal", signal)) => Self::Killed(signal.parse().ok()?),
            Some(_) => return None,
            None => match word {
                "done" => Self::Done,
                "not-started" => Self::NotStarted(why.to_owned()),
                "timeout" => Self::TimedOut,
                "unknown" => Self::Unknown,
                "not-run" => Self::Unrun,
                "dry-run" => Self::WouldRun,
                _ => return None,
            },
        })
    }
}
