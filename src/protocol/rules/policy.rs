//! What a verified request is judged by: this machine's policy, and what the spool knows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::Command;
use crate::protocol::id::Id;
use crate::protocol::time::Time;

/// What this machine is called and what it does.
#[derive(Debug, Default)]
pub struct Policy {
    /// What `aud` may say, lower case; the first is the name in signed answers.
    pub names: Vec<String>,
    /// The groups that this machine is in, lower case.
    pub groups: Vec<String>,
    /// How far a signer's clock may be ahead of ours.
    pub skew: Duration,
    /// The commands of the configuration.
    pub commands: BTreeMap<Id, Command>,
    /// Why SysRq keys cannot be pressed on this machine now, if they cannot.
    pub sysrq_fault: Option<String>,
    /// Why the keys that signal every process cannot be pressed on this machine now, if so.
    pub signal_fault: Option<String>,
}

/// What the spool knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The later of the machine's clock and the highest time that two clocks agreed on.
    pub now: Time,
    /// Requests issued before this, less the skew, may have run already.
    pub epoch: Time,
    /// Hours at or below this are forgotten; the hour is that of `exp`.
    pub low_water: u64,
    /// The keys that a request has revoked.
    pub revoked: Vec<Id>,
}
