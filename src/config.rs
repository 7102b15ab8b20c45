//! The configuration: TOML text to what the pipeline is told. Every fault has its line and its mend.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads the files that it names"
)]

mod answer;
mod commands;
mod entries;
mod keys;
mod reader;
mod values;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::protocol::job::letter::Letterhead;
use crate::protocol::rules::keyring::Keyring;
use crate::protocol::rules::policy::Policy;
use crate::system::accounts;
use crate::system::mailer::Transport;
use crate::system::sysrq::Settings;
use crate::system::trusted_file::{self, Purpose, Untrusted};
use entries::File;
use reader::Reader;

/// The file of root, and of everybody who has none of their own.
pub const SYSTEM: &str = "/etc/netsysrq-mail/config.toml";

/// A configuration that can be used.
#[derive(Debug)]
pub struct Configuration {
    /// Where it was read from.
    pub path: PathBuf,
    /// The keys.
    pub keyring: Keyring,
    /// Names, groups and commands.
    pub policy: Policy,
    /// The state directory.
    pub state: PathBuf,
    /// How long finished jobs are remembered.
    pub history: Duration,
    /// How many commands run at a time.
    pub jobs: u32,
    /// Who answers.
    pub letterhead: Letterhead,
    /// How answers leave.
    pub transport: Transport,
    /// Addresses that get a line for each accepted or denied request.
    pub notify: Vec<String>,
    /// How SysRq keys are pressed.
    pub sysrq: Settings,
}

/// What is wrong in a configuration, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1 on, if one can be told.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}; {}", self.what, self.mend)
    }
}

/// Which file is read: `named`; else root's in `/etc`, a user's own in their home as passwd gives it, or the one in `/etc`.
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

/// The state directory where the configuration does not say.
#[must_use]
pub fn own_state() -> PathBuf {
    if geteuid().is_root() {
        return "/var/lib/netsysrq-mail".into();
    }
    Path::new(&accounts::own().home).join(".local/state/netsysrq-mail")
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines.
pub fn load(path: &Path) -> Result<Configuration, Vec<Fault>> {
    let octets = trusted_file::read(path, Purpose::Public).map_err(|fault| {
        let fault = untrusted(path, None, &fault);
        vec![Fault { mend: mend_of_absence(path).unwrap_or(fault.mend), ..fault }]
    })?;
    let text = String::from_utf8(octets.to_vec()).map_err(|_| {
        let what = "not UTF-8".to_owned();
        vec![Fault { path: path.to_owned(), line: None, what, mend: "write it in UTF-8".into() }]
    })?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| line_of(&text, span.start));
        let mend = "see netsysrq-mail.toml(5)".to_owned();
        vec![Fault { path: path.to_owned(), line, what: error.message().to_owned(), mend }]
    })?;
    let mut reader = Reader { path, text: &text, faults: Vec::new() };
    let configuration = reader.configuration(file);
    reader.faults.sort_by_key(|fault| fault.line);
    configuration.filter(|_| reader.faults.is_empty()).ok_or(reader.faults)
}

/// Reads a configuration, for who has room for one fault.
///
/// # Errors
/// The first of its faults, in words.
pub fn load_or_say(path: &Path) -> Result<Configuration, String> {
    load(path).map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())
}

fn untrusted(path: &Path, line: Option<usize>, fault: &Untrusted) -> Fault {
    let what = if fault.path == path {
        fault.why.clone()
    } else {
        format!("{}: {}", fault.path.display(), fault.why)
    };
    Fault { path: path.to_owned(), line, what, mend: fault.mend.clone() }
}

/// What to do where there is no configuration, or none that this user may read.
fn mend_of_absence(path: &Path) -> Option<String> {
    // not opened: it may be a FIFO
    let error = accounts::may(path, Access::READ_OK).err()?;
    if error == Errno::NOENT {
        return Some("run netsysrq-mail init, or name another by --config".to_owned());
    }
    let is_roots = error == Errno::ACCESS && path == Path::new(SYSTEM);
    is_roots.then(|| format!("it is root's; netsysrq-mail init makes {}", own_path().display()))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|c| *c == b'\n').count().saturating_add(1)
}

/// The octets of a secret file: base64 on one line, 32 octets or more.
#[must_use]
pub fn secret(file: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    use base64ct::{Base64, Encoding};
    let text = std::str::from_utf8(file).ok()?.trim_ascii();
    let octets = Zeroizing::new(Base64::decode_vec(text).ok()?);
    (octets.len() >= 32).then_some(octets)
}
