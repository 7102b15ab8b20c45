//! How a job ended, what it left behind, and which answer says so.

use std::time::Duration;

use crate::protocol::id::Id;
use crate::protocol::ruling::Ruling;

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine was rebooted, as was asked, this long after the command or the keys; nothing where the two clocks
    /// cannot both be right.
    Back(Option<Duration>),
    /// A built-in said its piece.
    Done,
    /// The command exited with this status.
    Exited(i32),
    /// A signal ended the command.
    Killed(i32),
    /// The command did not start; why.
    NotStarted(String),
    /// It ran past its time limit and does not die, even of SIGKILL: it was left behind.
    Stuck,
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
            | Self::Stuck
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
            Self::Back(Some(after)) => format!("back:{}", after.as_secs()),
            Self::Back(None) => "back".into(),
            Self::Done => "done".into(),
            Self::Exited(status) => format!("exit:{status}"),
            Self::Killed(signal) => format!("signal:{signal}"),
            Self::NotStarted(_) => "not-started".into(),
            Self::Stuck => "stuck".into(),
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
            Some(("back", seconds)) => Self::Back(Some(Duration::from_secs(seconds.parse().ok()?))),
            Some(("exit", status)) => Self::Exited(status.parse().ok()?),
            Some(("signal", signal)) => Self::Killed(signal.parse().ok()?),
            Some(_) => return None,
            None => match word {
                "back" => Self::Back(None),
                "done" => Self::Done,
                "not-started" => Self::NotStarted(why.to_owned()),
                "stuck" => Self::Stuck,
                "timeout" => Self::TimedOut,
                "unknown" => Self::Unknown,
                "not-run" => Self::Unrun,
                "dry-run" => Self::WouldRun,
                _ => return None,
            },
        })
    }
}

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// How long it took.
    pub duration: Option<Duration>,
    /// Its output, both streams as they came, up to the cap.
    pub output: Vec<u8>,
    /// How many octets of it were dropped.
    pub dropped: u64,
    /// How many records of the kernel's log were overwritten before they could be read.
    pub lost: u64,
}

impl Outcome {
    /// An end without output.
    #[must_use]
    pub const fn bare(end: End) -> Self {
        Self { end, duration: None, output: Vec::new(), dropped: 0, lost: 0 }
    }

    /// A built-in's words.
    #[must_use]
    pub fn said(words: String) -> Self {
        Self { output: words.into_bytes(), ..Self::bare(End::Done) }
    }

    /// What a dry run says instead of doing it.
    #[must_use]
    pub fn planned(plan: &str) -> Self {
        Self { output: format!("{plan}\n").into_bytes(), ..Self::bare(End::WouldRun) }
    }

    /// What the host signs as its status: the exit status, or the signal as a negative number.
    #[must_use]
    pub fn status(&self) -> Option<i64> {
        match self.end {
            End::Exited(status) => Some(i64::from(status)),
            End::Killed(signal) => Some(i64::from(signal).saturating_neg()),
            End::Back(_)
            | End::Done
            | End::NotStarted(_)
            | End::Stuck
            | End::TimedOut
            | End::Unknown
            | End::Unrun
            | End::WouldRun => None,
        }
    }
}

/// Which of the answers to one request this is; there is at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After the machine was rebooted.
    Back,
    /// For whoever is told of requests: one line, not signed.
    Copy,
    /// Before something that the machine may not survive.
    Notice,
    /// What came of it.
    Result,
}

impl Stage {
    /// The word in answer and Message-ID: stable.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Back => "back",
            Self::Copy => "copy",
            Self::Notice => "notice",
            Self::Result => "result",
        }
    }
}

/// A settled job in one line.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Who asked.
    pub key: Id,
    /// For what.
    pub command: String,
    /// The verdict.
    pub verdict: Ruling,
    /// How it ended.
    pub end: End,
}
