//! What a verified request gets: a verdict, which is an answer even when it is no.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::command::{Answering, Command, Misfit};
use super::cose::Lock;
use super::id::Id;
use super::keyring::{Key, Verified};
use super::refusal::{Deferral, Refusal, Stop};
use super::request::Request;
use super::sysrq::Keys;
use super::time::Time;

/// Commands that are built in, and need no `[command.X]`.
pub const BUILT_IN: [&str; 7] =
    ["ping", "help", "last", "revoke", "reboot-safe", "poweroff-safe", "reboot-now"];
/// The most requests that `last` tells of.
pub const LAST_MOST: usize = 20;
/// The name in front of SysRq keys: no command, no entry of `allow`.
pub const SYSRQ: &str = "sysrq";

/// What this machine is called and what it does.
#[derive(Debug, Default)]
pub struct Policy {
    /// What `aud` may say, lower case; the first is what answers are signed as.
    pub names: Vec<String>,
    /// The groups that this machine is in, lower case.
    pub groups: Vec<String>,
    /// How far a signer's clock may be ahead of ours.
    pub skew: Duration,
    /// The commands of the configuration.
    pub commands: BTreeMap<Id, Command>,
    /// Why SysRq keys cannot be pressed on this machine now, if so.
    pub sysrq_fault: Option<String>,
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

/// What is done when the verdict is yes.
#[derive(Clone, Debug)]
pub enum Action<'k> {
    /// Something that touches the world.
    Do(Deed<'k>),
    /// `help`: say what this key may do here.
    Help,
    /// `ping`: say who is there.
    Ping,
}

/// What touches the world: done once, after it is on the disk that it is begun.
#[derive(Clone, Debug)]
pub enum Deed<'k> {
    /// `last`: say what became of so many of this key's requests, and answer them again.
    Last(usize),
    /// Press SysRq keys.
    Press(Keys),
    /// `revoke`: deny everything that this key asks from now on.
    Revoke(Id),
    /// Run a command.
    Run {
        /// The command.
        command: &'k Command,
        /// Its words.
        argv: Vec<String>,
    },
}

impl Deed<'_> {
    /// Whether it is announced before it is done, because the machine may not be there to say so afterwards.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        match self {
            Self::Last(_) | Self::Revoke(_) => false,
            Self::Press(keys) => keys.is_drastic(),
            Self::Run { command, .. } => command.answer == Answering::Before,
        }
    }
}

/// The judgement of a verified request. Every verdict is claimed, so every verdict is answered once.
#[must_use]
#[derive(Clone, Debug)]
pub enum Verdict<'k> {
    /// Not allowed, or not well asked.
    Denied(Denial),
    /// Too late.
    Expired,
    /// More requests than the key is given.
    TooMany {
        /// Whether this one is answered: one an hour is.
        answered: bool,
    },
    /// Allowed, but this machine cannot: why.
    Unavailable(String),
    /// Yes.
    Run(Action<'k>),
}

impl Verdict<'_> {
    /// The word in log, journal and answer: stable.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Expired => "expired",
            Self::TooMany { .. } => "too-many",
            Self::Unavailable(_) => "unavailable",
            Self::Run(_) => "run",
        }
    }

    /// The word after `reason=` in the log: why it is not run.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.reason(),
            Self::Expired | Self::Run(_) | Self::TooMany { .. } | Self::Unavailable(_) => {
                self.word()
            }
        }
    }

    /// The reason in words, for the holder of the key.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Denied(denial) => denial.to_string(),
            Self::Expired => "it arrived after the time that it was good for".to_owned(),
            Self::TooMany { .. } => "this key has asked too often within the hour".to_owned(),
            Self::Unavailable(why) => why.clone(),
            Self::Run(_) => String::new(),
        }
    }
}

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// An argument is missing, left over, or not of its type.
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
            Self::Arguments(Misfit::Extra) => f.write_str("there are more arguments than it takes"),
            Self::Arguments(Misfit::Mismatch(name)) => {
                write!(f, "argument {name} is not of its type")
            }
            Self::Lifetime { asked, allowed } => write!(
                f,
                "it was signed to be good for {}, and this key may sign for {} at most",
                humantime::format_duration(*asked),
                humantime::format_duration(*allowed)
            ),
            Self::NoLonger => f.write_str("this key is no longer good"),
            Self::NotAllowed => f.write_str("this key may not do that here"),
            Self::NotYet => f.write_str("this key is not good yet"),
            Self::Old => f.write_str("this command takes younger requests only"),
            Self::Revoked => f.write_str("this key is revoked"),
            Self::UnknownCommand => f.write_str("there is no such command here"),
        }
    }
}

/// A verified request with its verdict: nothing is spent yet, so nothing may be done yet.
#[must_use]
#[derive(Debug)]
pub struct Judged<'k> {
    verified: Verified<'k>,
    verdict: Verdict<'k>,
}

impl<'k> Verified<'k> {
    /// Judges the request by today's policy.
    ///
    /// # Errors
    /// [`Stop::Refused`] for another host's request, and for one whose nonce this spool may have forgotten;
    /// [`Stop::Deferred`] for one from the future.
    pub fn judge(self, policy: &'k Policy, ledger: &Ledger) -> Result<Judged<'k>, Stop> {
        let verdict = self.verdict(policy, ledger)?;
        Ok(Judged { verified: self, verdict })
    }

    /// The verdict alone: for a job whose nonce is spent.
    ///
    /// # Errors
    /// As [`Verified::judge`].
    pub(super) fn verdict(&self, policy: &'k Policy, ledger: &Ledger) -> Result<Verdict<'k>, Stop> {
        let request = self.request();
        self.check_audience(policy)?;
        if request.issued.after(policy.skew) < ledger.epoch {
            return Err(Refusal::BeforeEpoch.into());
        }
        if request.expires.hour() <= ledger.low_water {
            return Err(Refusal::TooOld.into());
        }
        if request.issued.before(policy.skew) > ledger.now {
            return Err(Stop::Deferred(Deferral::Future));
        }
        Ok(verdict(self.key(), request, policy, ledger))
    }

    fn check_audience(&self, policy: &Policy) -> Result<(), Refusal> {
        let named = |names: &[String]| {
            names.iter().any(|name| name.eq_ignore_ascii_case(&self.request().audience))
        };
        match (named(&policy.names), named(&policy.groups), &self.key().lock) {
            (true, _, _) | (false, true, Lock::Ed25519(_)) => Ok(()),
            (false, true, Lock::Hmac(_)) => Err(Refusal::MacToGroup),
            (false, false, _) => Err(Refusal::WrongHost),
        }
    }
}

impl<'k> Judged<'k> {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.verified.request()
    }

    /// Who asks.
    #[must_use]
    pub fn key(&self) -> &'k Key {
        self.verified.key()
    }

    /// The octets received.
    #[must_use]
    pub fn cose(&self) -> &[u8] {
        self.verified.cose()
    }

    /// The verdict.
    pub fn verdict(&self) -> &Verdict<'k> {
        &self.verdict
    }

    /// The verified request.
    pub fn verified(&self) -> &Verified<'k> {
        &self.verified
    }

    /// The same request under a stricter verdict.
    pub(super) fn with(self, verdict: Verdict<'k>) -> Self {
        Self { verdict, ..self }
    }
}

fn verdict<'k>(key: &Key, request: &Request, policy: &'k Policy, ledger: &Ledger) -> Verdict<'k> {
    if ledger.now >= request.expires {
        return Verdict::Expired;
    }
    let action =
        standing(key, request, ledger).and_then(|()| action(key, request, policy, ledger.now));
    let fault = match &action {
        Ok(Action::Do(Deed::Run { command, .. })) => command.fault.as_ref(),
        Ok(Action::Do(Deed::Press(_))) => policy.sysrq_fault.as_ref(),
        Ok(Action::Do(Deed::Last(_) | Deed::Revoke(_)) | Action::Help | Action::Ping) | Err(_) => {
            None
        }
    };
    match (fault, action) {
        (Some(fault), _) => Verdict::Unavailable(fault.clone()),
        (None, Ok(action)) => Verdict::Run(action),
        (None, Err(denial)) => Verdict::Denied(denial),
    }
}

fn standing(key: &Key, request: &Request, ledger: &Ledger) -> Result<(), Denial> {
    let (asked, allowed) = (request.expires.since(request.issued), key.max_ttl);
    if key.revoked || ledger.revoked.contains(&key.id) {
        return Err(Denial::Revoked);
    }
    if key.not_before.is_some_and(|start| ledger.now < start) {
        return Err(Denial::NotYet);
    }
    if key.not_after.is_some_and(|end| ledger.now >= end) {
        return Err(Denial::NoLonger);
    }
    if asked > allowed {
        return Err(Denial::Lifetime { asked, allowed });
    }
    Ok(())
}

fn action<'k>(
    key: &Key,
    request: &Request,
    policy: &'k Policy,
    now: Time,
) -> Result<Action<'k>, Denial> {
    let (name, words) = request.command.split_first().ok_or(Denial::UnknownCommand)?;
    if name == SYSRQ {
        return press(key, words).map(Deed::Press).map(Action::Do);
    }
    let id = Id::new(name).ok_or(Denial::UnknownCommand)?;
    let Some(command) = policy.commands.get(&id) else {
        return built_in(key, &id, words);
    };
    if !key.allow.contains(&id) {
        return Err(Denial::NotAllowed);
    }
    if command.max_age.is_some_and(|age| now.since(request.issued) > age) {
        return Err(Denial::Old);
    }
    let argv = command.argv(words).map_err(Denial::Arguments)?;
    Ok(Action::Do(Deed::Run { command, argv }))
}

/// A key presses whole listed sequences only: a bare `b` out of a listed `sub` would lose data.
fn press(key: &Key, words: &[String]) -> Result<Keys, Denial> {
    match words {
        [] => Err(Denial::Arguments(Misfit::Missing("keys".to_owned()))),
        [keys] if key.sysrq.iter().any(|listed| listed.as_str() == keys) => {
            Keys::parse(keys).ok_or(Denial::NotAllowed)
        }
        [_] => Err(Denial::NotAllowed),
        _ => Err(Denial::Arguments(Misfit::Extra)),
    }
}

fn built_in(key: &Key, id: &Id, words: &[String]) -> Result<Action<'static>, Denial> {
    let own_key = matches!(words, [word] if word == key.id.as_str());
    if !BUILT_IN.contains(&id.as_str()) {
        return Err(Denial::UnknownCommand);
    }
    // a lost key may always be taken out by whoever holds it
    let revokes_itself = id.as_str() == "revoke" && own_key;
    if !key.allow.contains(id) && !revokes_itself {
        return Err(Denial::NotAllowed);
    }
    let extra = Err(Denial::Arguments(Misfit::Extra));
    let mismatch = |name: &str| Denial::Arguments(Misfit::Mismatch(name.to_owned()));
    Ok(match (id.as_str(), words) {
        ("ping", []) => Action::Ping,
        ("help", []) => Action::Help,
        ("last", []) => Action::Do(Deed::Last(1)),
        ("last", [count]) => {
            let count = count.parse().ok().filter(|n| (1..=LAST_MOST).contains(n));
            Action::Do(Deed::Last(count.ok_or_else(|| mismatch("count"))?))
        }
        ("revoke", []) => return Err(Denial::Arguments(Misfit::Missing("key".to_owned()))),
        ("revoke", [word]) => {
            Action::Do(Deed::Revoke(Id::new(word).ok_or_else(|| mismatch("key"))?))
        }
        (name, []) => match Keys::of_command(name) {
            Some(keys) => Action::Do(Deed::Press(keys)),
            None => return Err(Denial::UnknownCommand),
        },
        _ => return extra,
    })
}
