//! What a verified request gets: a verdict, which is an answer even when it is no; and if it is yes, what is done.

use std::fmt;
use std::time::Duration;

use super::command::{Answering, Command, Misfit};
use super::policy::Policy;
use super::sysrq::Sequence;
use crate::protocol::id::Id;
use crate::protocol::ruling::Ruling;

/// What is done when the verdict is yes.
#[derive(Clone, Debug)]
pub enum Action<'k> {
    /// Something that touches the world.
    Do(Deed<'k>),
    /// Something that is only said.
    Say(Saying),
}

/// What is only said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// What this key may do here.
    Help,
    /// Who is here.
    Ping,
}

/// What touches the world. It is done once, after its start is on the disk.
#[derive(Clone, Debug)]
pub enum Deed<'k> {
    /// `last`: say what became of this many of this key's requests, and send their answers again.
    Last(usize),
    /// Press SysRq keys.
    Press(Sequence),
    /// `revoke`: deny everything that this key asks for from now on.
    Revoke(Id),
    /// Run a command.
    Run {
        /// The command.
        command: &'k Command,
        /// Its words.
        argv: Vec<String>,
    },
}

impl Action<'_> {
    /// Why this machine cannot do it now, if it cannot.
    pub(in crate::protocol) fn fault<'p>(&'p self, policy: &'p Policy) -> Option<&'p String> {
        match self {
            Self::Do(Deed::Run { command, .. }) => command.fault.as_ref(),
            Self::Do(Deed::Press(sequence)) => {
                let signals = policy.signal_fault.as_ref().filter(|_| sequence.signals());
                policy.sysrq_fault.as_ref().or(signals)
            }
            Self::Do(Deed::Last(_) | Deed::Revoke(_)) | Self::Say(_) => None,
        }
    }
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(Saying::Help) => f.write_str("built in: help"),
            Self::Say(Saying::Ping) => f.write_str("built in: ping"),
            Self::Do(deed @ (Deed::Last(_) | Deed::Revoke(_))) => {
                write!(f, "built in: {}", deed.plan())
            }
            Self::Do(Deed::Press(sequence)) => write!(f, "SysRq keys {sequence}"),
            Self::Do(deed @ Deed::Run { command, .. }) => {
                write!(f, "{} as {}", deed.plan(), command.account.name)
            }
        }
    }
}

impl Deed<'_> {
    /// Whether it is announced before it is done, because the machine may not be there to say so afterwards.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        match self {
            Self::Last(_) | Self::Revoke(_) => false,
            Self::Press(sequence) => sequence.is_drastic(),
            Self::Run { command, .. } => command.answer == Answering::Before,
        }
    }

    /// What is said before it is done: one line.
    pub(in crate::protocol) fn announcement(&self) -> String {
        match self {
            Self::Run { command, .. } => format!("starting {}", command.id),
            Self::Last(_) | Self::Press(_) | Self::Revoke(_) => self.plan(),
        }
    }

    /// What it would do, in words: one line.
    #[must_use]
    pub fn plan(&self) -> String {
        match self {
            Self::Last(count) => format!("list the last {count}"),
            Self::Press(sequence) => {
                let keys: Vec<String> = sequence.as_str().chars().map(String::from).collect();
                format!("pressing {}", keys.join(", "))
            }
            Self::Revoke(id) => format!("revoke {id}"),
            Self::Run { argv, .. } => format!("{argv:?}"),
        }
    }
}

/// The judgement of a verified request. Every verdict is claimed, so none is given twice; every one is answered, except
/// [`Verdict::TooMany`] after the first in an hour.
#[must_use]
#[derive(Clone, Debug)]
pub enum Verdict<'k> {
    /// Not allowed, or not asked for properly.
    Denied(Denial),
    /// Too late.
    Expired,
    /// More requests than the allowance of the key.
    TooMany {
        /// Whether this one is answered: the first in an hour is.
        answered: bool,
    },
    /// Allowed, but this machine cannot do it, and why.
    Unavailable(String),
    /// Yes.
    Run(Action<'k>),
}

impl Verdict<'_> {
    /// The verdict without its reasons.
    #[must_use]
    pub const fn ruling(&self) -> Ruling {
        match self {
            Self::Denied(_) => Ruling::Denied,
            Self::Expired => Ruling::Expired,
            Self::TooMany { .. } => Ruling::TooMany,
            Self::Unavailable(_) => Ruling::Unavailable,
            Self::Run(_) => Ruling::Run,
        }
    }

    /// The word after `reason=` in the log: why it is not run.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.reason(),
            Self::Expired | Self::Run(_) | Self::TooMany { .. } | Self::Unavailable(_) => {
                self.ruling().word()
            }
        }
    }

    /// The reason in words, for the holder of the key.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Denied(denial) => denial.to_string(),
            Self::Expired => "it expired before it could be run".to_owned(),
            Self::TooMany { .. } => "this key has asked too often in the last hour".to_owned(),
            Self::Unavailable(why) => why.clone(),
            Self::Run(_) => String::new(),
        }
    }
}

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// An argument is missing, left over, or does not match its type.
    Arguments(Misfit),
    /// `exp - iat` is longer than the key's `max_ttl`.
    Lifetime {
        /// What was asked.
        asked: Duration,
        /// What is allowed.
        allowed: Duration,
    },
    /// The key's `not_after` is past.
    NoLonger,
    /// The key is not allowed this command.
    NotAllowed,
    /// The key's `not_before` is ahead.
    NotYet,
    /// Older than the command's `max_age`.
    Old,
    /// The key is revoked.
    Revoked,
    /// No such command.
    UnknownCommand,
}

impl Denial {
    /// The word after `reason=` in the log: stable.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Arguments(Misfit::Missing(_)) => "argument-missing",
            Self::Arguments(Misfit::Extra) => "argument-extra",
            Self::Arguments(Misfit::Mismatch(_)) => "argument",
            Self::Lifetime { .. } => "max-ttl",
            Self::NoLonger => "not-after",
            Self::NotAllowed => "not-allowed",
            Self::NotYet => "not-before",
            Self::Old => "max-age",
            Self::Revoked => "revoked",
            Self::UnknownCommand => "unknown-command",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(Misfit::Missing(name)) => write!(f, "argument {name} is missing"),
            Self::Arguments(Misfit::Extra) => f.write_str("more arguments than the command takes"),
            Self::Arguments(Misfit::Mismatch(name)) => {
                write!(f, "argument {name} does not match its type")
            }
            Self::Lifetime { asked, allowed } => write!(
                f,
                "it is valid for {}, and this key may sign for {} at most",
                humantime::format_duration(*asked),
                humantime::format_duration(*allowed)
            ),
            Self::NoLonger => f.write_str("this key is no longer valid"),
            Self::NotAllowed => f.write_str("this key may not do that here"),
            Self::NotYet => f.write_str("this key is not valid yet"),
            Self::Old => f.write_str("the request is too old for this command"),
            Self::Revoked => f.write_str("this key is revoked"),
            Self::UnknownCommand => f.write_str("there is no such command here"),
        }
    }
}
