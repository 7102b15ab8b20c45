//! One step of a job, as its journal keeps it.

use std::time::Duration;

use super::outcome::End;
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Time;

/// One step of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The nonce is spent.
    Claimed {
        /// When.
        at: Time,
        /// In which boot.
        boot: String,
        /// The verdict.
        verdict: Ruling,
        /// The verdict's reason.
        why: String,
        /// Whether no answer is sent.
        silent: bool,
        /// The Message-ID of the mail that brought it.
        message_id: Option<String>,
        /// The octets received; nothing in here is executable.
        cose: Vec<u8>,
    },
    /// The notice of the command is about to be handed over.
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
        /// The whole mail; none if no answer is sent.
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
