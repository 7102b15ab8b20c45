//! The commands that need no configuration: what their words ask for, and what `ping` and `help` say.

use super::command::{Argument, Command, Misfit};
use super::keyring::Key;
use super::policy::Policy;
use super::sysrq::Keys;
use super::verdict::{Action, Deed, Denial};
use crate::protocol::id::Id;
use crate::protocol::time::Here;
use crate::protocol::wire::request::Request;

/// Commands that are built in, and need no `[command.X]`.
pub const BUILT_IN: [&str; 7] =
    ["ping", "help", "last", "revoke", "reboot-safe", "poweroff-safe", "reboot-now"];
/// The most requests that `last` tells of.
pub const LAST_MOST: usize = 20;
/// The name in front of SysRq keys: no command, no entry of `allow`.
pub const SYSRQ: &str = "sysrq";

/// A key presses whole listed sequences only: a bare `b` out of a listed `sub` would lose data.
pub(in crate::protocol) fn press(key: &Key, words: &[String]) -> Result<Keys, Denial> {
    match words {
        [] => Err(Denial::Arguments(Misfit::Missing("keys".to_owned()))),
        [keys] if key.sysrq.iter().any(|listed| listed.as_str() == keys) => {
            Keys::parse(keys).ok_or(Denial::NotAllowed)
        }
        [_] => Err(Denial::NotAllowed),
        _ => Err(Denial::Arguments(Misfit::Extra)),
    }
}

/// What a built-in's words ask for.
pub(in crate::protocol) fn action(
    key: &Key,
    id: &Id,
    words: &[String],
) -> Result<Action<'static>, Denial> {
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

/// What `ping` says.
pub(in crate::protocol) fn ping(
    key: &Key,
    request: &Request,
    policy: &Policy,
    here: &Here,
) -> String {
    format!(
        "{} is here, and you are {}.\nIts clock says {}, your request says {}.\nnetsysrq-mail {}\n",
        policy.names.first().map_or("this machine", String::as_str),
        key.id,
        here.now,
        request.issued,
        env!("CARGO_PKG_VERSION"),
    )
}

/// What `help` says.
pub(in crate::protocol) fn help(key: &Key, policy: &Policy) -> String {
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
