//! Where the configuration and the state are, unless somebody says otherwise.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::system::accounts;

/// The file of root, and of everybody without one of their own.
pub const SYSTEM: &str = "/etc/netsysrq-mail/config.toml";

/// Which file is read: `named`, if given; for root, the one in `/etc`; for a user, their own, in the home that passwd
/// gives, or else the one in `/etc`.
#[must_use]
pub fn path(named: Option<&Path>) -> PathBuf {
    if let Some(named) = named {
        return std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
    }
    let own = own_path();
    if own.exists() { own } else { SYSTEM.into() }
}

/// Where `init` writes a configuration if none is named.
#[must_use]
pub fn own_path() -> PathBuf {
    if geteuid().is_root() {
        return SYSTEM.into();
    }
    Path::new(&accounts::own().home).join(".config/netsysrq-mail/config.toml")
}

/// The state directory, if the configuration names none.
#[must_use]
pub fn own_state() -> PathBuf {
    if geteuid().is_root() {
        return "/var/lib/netsysrq-mail".into();
    }
    Path::new(&accounts::own().home).join(".local/state/netsysrq-mail")
}
