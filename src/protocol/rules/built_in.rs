//! The commands that need no configuration: what their words ask for, and what `ping` and `help` say.

use super::command::{Command, Misfit};
use super::keyring::Key;
use super::policy::Policy;
use super::sysrq::Sequence;
use super::verdict::{Action, Deed, Denial, Saying};
use crate::protocol::id::Id;
use crate::protocol::time::Here;
use crate::protocol::wire::request::Request;

/// The most requests that `last` lists.
pub const LAST_MOST: usize = 20;
/// The word in front of SysRq keys: neither a command nor an entry of `allow`.
pub const SYSRQ: &str = "sysrq";

/// A command that is built in, and needs no `[command.X]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Who is there?
    Ping,
    /// What may this key do here?
    Help,
    /// What became of this key's requests?
    Last,
    /// Deny everything that a key asks for from now on.
    Revoke,
    /// Sync, remount read-only, reboot.
    RebootSafe,
    /// Sync, remount read-only, power off.
    PoweroffSafe,
    /// Reboot, at once.
    RebootNow,
}

impl BuiltIn {
    /// All of them; their order means nothing.
    pub const ALL: [Self; 7] = [
        Self::Ping,
        Self::Help,
        Self::Last,
        Self::Revoke,
        Self::RebootSafe,
        Self::PoweroffSafe,
        Self::RebootNow,
    ];

    /// Its name in requests and in `allow`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Help => "help",
            Self::Last => "last",
            Self::Revoke => "revoke",
            Self::RebootSafe => "reboot-safe",
            Self::PoweroffSafe => "poweroff-safe",
            Self::RebootNow => "reboot-now",
        }
    }

    /// Reads what [`BuiltIn::name`] writes.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|built_in| built_in.name() == name)
    }

    /// Whether a key may ask for it if its entry has no `allow`.
    #[must_use]
    pub const fn is_default(self) -> bool {
        match self {
            Self::Ping | Self::Help | Self::Last | Self::Revoke => true,
            Self::RebootSafe | Self::PoweroffSafe | Self::RebootNow => false,
        }
    }

    /// The SysRq keys that it presses.
    #[must_use]
    pub const fn sequence(self) -> Option<Sequence> {
        match self {
            Self::RebootSafe => Some(Sequence::SUB),
            Self::PoweroffSafe => Some(Sequence::SUO),
            Self::RebootNow => Some(Sequence::B),
            Self::Ping | Self::Help | Self::Last | Self::Revoke => None,
        }
    }

    /// Its arguments, as `help` shows them.
    const fn usage(self) -> &'static str {
        match self {
            Self::Last => " [COUNT]",
            Self::Revoke => " KEY",
            Self::Ping | Self::Help | Self::RebootSafe | Self::PoweroffSafe | Self::RebootNow => "",
        }
    }

    /// What its arguments ask for.
    fn asked(self, words: &[String]) -> Result<Action<'static>, Denial> {
        let press = |sequence| Action::Do(Deed::Press(sequence));
        match self {
            Self::Ping => none(words).map(|()| Action::Say(Saying::Ping)),
            Self::Help => none(words).map(|()| Action::Say(Saying::Help)),
            Self::Last => count(words).map(Deed::Last).map(Action::Do),
            Self::Revoke => revoked(words).map(Deed::Revoke).map(Action::Do),
            Self::RebootSafe => none(words).map(|()| press(Sequence::SUB)),
            Self::PoweroffSafe => none(words).map(|()| press(Sequence::SUO)),
            Self::RebootNow => none(words).map(|()| press(Sequence::B)),
        }
    }
}

/// A key presses whole listed sequences only: a bare `b` out of a listed `sub` would lose data.
pub(in crate::protocol) fn press(key: &Key, words: &[String]) -> Result<Sequence, Denial> {
    match words {
        [] => Err(missing("keys")),
        [keys] => {
            let listed = key.sysrq.iter().find(|listed| listed.as_str() == keys);
            listed.cloned().ok_or(Denial::NotAllowed)
        }
        _ => Err(Denial::Arguments(Misfit::Extra)),
    }
}

/// What the words of a request ask of a built-in command.
pub(in crate::protocol) fn action(
    key: &Key,
    id: &Id,
    words: &[String],
) -> Result<Action<'static>, Denial> {
    let built_in = BuiltIn::parse(id.as_str()).ok_or(Denial::UnknownCommand)?;
    // whoever holds a key may always take it out of use
    let own_key = matches!(words, [word] if word == key.id.as_str());
    let revokes_itself = built_in == BuiltIn::Revoke && own_key;
    if !key.allow.contains(id) && !revokes_itself {
        return Err(Denial::NotAllowed);
    }
    built_in.asked(words)
}

fn none(words: &[String]) -> Result<(), Denial> {
    if words.is_empty() { Ok(()) } else { Err(Denial::Arguments(Misfit::Extra)) }
}

fn count(words: &[String]) -> Result<usize, Denial> {
    match words {
        [] => Ok(1),
        [count] => {
            let count = count.parse().ok().filter(|n| (1..=LAST_MOST).contains(n));
            count.ok_or_else(|| mismatch("count"))
        }
        _ => Err(Denial::Arguments(Misfit::Extra)),
    }
}

fn revoked(words: &[String]) -> Result<Id, Denial> {
    match words {
        [] => Err(missing("key")),
        [id] => Id::new(id).ok_or_else(|| mismatch("key")),
        _ => Err(Denial::Arguments(Misfit::Extra)),
    }
}

fn missing(argument: &str) -> Denial {
    Denial::Arguments(Misfit::Missing(argument.to_owned()))
}

fn mismatch(argument: &str) -> Denial {
    Denial::Arguments(Misfit::Mismatch(argument.to_owned()))
}

/// What is said by a command that only says something.
pub(in crate::protocol) fn words(
    saying: Saying,
    key: &Key,
    request: &Request,
    policy: &Policy,
    here: &Here,
) -> String {
    match saying {
        Saying::Help => help(key, policy),
        Saying::Ping => ping(key, request, policy, here),
    }
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
        let usage = match policy.commands.get(id) {
            Some(command) => usage(command),
            None => BuiltIn::parse(id.as_str()).map_or("", BuiltIn::usage).to_owned(),
        };
        text.push_str(&format!("  {id}{usage}\n"));
    }
    for sequence in &key.sysrq {
        text.push_str(&format!("  {SYSRQ} {sequence}\n"));
    }
    text
}

fn usage(command: &Command) -> String {
    let mut text = String::new();
    for name in command.placeholders() {
        let shown =
            command.arguments.get(name).map_or(name.to_uppercase(), |kind| kind.usage(name));
        text.push_str(&format!(" {shown}"));
    }
    if let Some(description) = &command.description {
        text.push_str(&format!(": {description}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for built_in in BuiltIn::ALL {
            assert_eq!(BuiltIn::parse(built_in.name()), Some(built_in));
            assert!(Id::new(built_in.name()).is_some(), "{built_in:?}");
        }
        assert_eq!(BuiltIn::parse(SYSRQ), None);
    }

    #[test]
    fn a_key_without_allow_may_ping_help_last_and_revoke() {
        let default = BuiltIn::ALL.into_iter().filter(|built_in| built_in.is_default());
        let names: Vec<&str> = default.map(BuiltIn::name).collect();
        assert_eq!(names, ["ping", "help", "last", "revoke"]);
    }

    #[test]
    fn what_presses_keys_presses_those_that_it_names() {
        for built_in in BuiltIn::ALL {
            let pressed = match built_in.asked(&[]) {
                Ok(Action::Do(Deed::Press(sequence))) => Some(sequence),
                _ => None,
            };
            assert_eq!(pressed, built_in.sequence(), "{built_in:?}");
        }
    }
}
