//! Collects every fault on the way from what serde read to what the pipeline is told.

use std::path::{Path, PathBuf};

use toml::Spanned;
use zeroize::Zeroizing;

use super::fault::{Fault, line_of, untrusted};
use crate::protocol::id::Id;
use crate::system::trusted_file::{self, Purpose, Untrusted};

/// Collects faults while it turns entries into what they mean.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) faults: Vec<Fault>,
}

impl Reader<'_> {
    pub(super) fn id(&mut self, name: &Spanned<String>) -> Option<Id> {
        let id = Id::new(name.get_ref());
        if id.is_none() {
            let what = format!("{:?} is not an id", name.get_ref());
            self.fault(name, &what, "use a-z, 0-9 and -, a letter first, 32 at most");
        }
        id
    }

    /// The path of a file that the configuration names, relative to its own directory.
    pub(super) fn beside(&self, file: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("/")).join(file)
    }

    pub(super) fn read<T>(&mut self, at: &Spanned<T>, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
        trusted_file::read(path, Purpose::Secret).map_err(|fault| self.untrusted(at, &fault)).ok()
    }

    pub(super) fn untrusted<T>(&mut self, at: &Spanned<T>, fault: &Untrusted) {
        let line = Some(line_of(self.text, at.span().start));
        self.faults.push(untrusted(self.path, line, fault));
    }

    pub(super) fn fault<T>(&mut self, at: &Spanned<T>, what: &str, mend: &str) {
        self.faults.push(Fault {
            path: self.path.to_owned(),
            line: Some(line_of(self.text, at.span().start)),
            what: what.to_owned(),
            mend: mend.to_owned(),
        });
    }
}
