//! What an operator's machine knows about hosts: `hosts.toml`, and the keys that answers are signed with.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::compose::hosts::Hosts;
use crate::compose::verify::HostKey;
use crate::protocol::wire::openssh;
use crate::system::accounts;

/// The operator's `hosts.toml`, if there is one.
pub(super) fn read() -> Result<Hosts, String> {
    let path = home("~/.config/netsysrq-mail/hosts.toml");
    // whoever can write it decides whose answers are genuine; its group may be the operator's own
    note_rights(&path, 0o002, "can be written by everybody: chmod o-w it");
    match std::fs::read_to_string(&path) {
        Ok(text) => Hosts::parse(&text).map_err(|fault| format!("{}:{fault}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Hosts::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Warns and goes on: this is the operator's own machine.
pub(super) fn note_rights(path: &Path, rights: u32, what: &str) {
    if std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & rights != 0) {
        note(&format!("{} {what}", path.display()));
    }
}

/// The host key of a file, or those of hosts.toml.
pub(super) fn keys(file: Option<&Path>) -> Result<Vec<HostKey>, String> {
    let Some(path) = file else {
        let hosts = read()?;
        let keys: Result<Vec<_>, String> = hosts
            .keys()
            .map(|(name, line)| {
                let key = openssh::public_key(line);
                let key = key.map_err(|why| format!("host_key of {name}: {why}"))?;
                Ok(HostKey { host: Some(name.to_owned()), key })
            })
            .collect();
        return match keys {
            Ok(keys) if keys.is_empty() => {
                Err("no host key is known: give --host-key FILE, or host_key in hosts.toml"
                    .to_owned())
            }
            keys => keys,
        };
    };
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
    let key = openssh::public_key(text.trim()).map_err(|e| failed(&e))?;
    Ok(vec![HostKey { host: None, key }])
}

/// Prints a note on standard error.
pub(super) fn note(text: &str) {
    drop(writeln!(io::stderr(), "netsysrq-mail: note: {text}"));
}

/// A path, with `~/` replaced by the home directory that passwd gives us.
pub(super) fn home(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => Path::new(&accounts::own().home).join(rest),
        None => path.into(),
    }
}
