//! What is wrong in a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::system::trusted_file::Untrusted;

/// What is wrong in a configuration, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, if it is known.
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

pub(super) fn untrusted(path: &Path, line: Option<usize>, fault: &Untrusted) -> Fault {
    let what = if fault.path == path {
        fault.why.clone()
    } else {
        format!("{}: {}", fault.path.display(), fault.why)
    };
    Fault { path: path.to_owned(), line, what, mend: fault.mend.clone() }
}

/// The line that an octet is in, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|c| *c == b'\n').count().saturating_add(1)
}
