//! Turns a file into a configuration, or into the list of its faults.

use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use super::entries::File;
use super::fault::{Fault, line_of, untrusted};
use super::meaning::Configuration;
use super::place::{SYSTEM, own_path};
use super::reader::Reader;
use crate::system::accounts;
use crate::system::trusted_file::{self, Purpose};

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

/// Reads a configuration, for a caller with room for one fault.
///
/// # Errors
/// The first of its faults, in words.
pub fn load_or_say(path: &Path) -> Result<Configuration, String> {
    load(path).map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())
}

/// What to do if there is no configuration, or none that this user may read.
fn mend_of_absence(path: &Path) -> Option<String> {
    // not opened: it may be a FIFO
    let error = accounts::may(path, Access::READ_OK).err()?;
    if error == Errno::NOENT {
        return Some("run netsysrq-mail init, or name another with --config".to_owned());
    }
    let is_roots = error == Errno::ACCESS && path == Path::new(SYSTEM);
    is_roots.then(|| format!("it is root's; netsysrq-mail init makes {}", own_path().display()))
}
