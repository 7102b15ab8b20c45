//! `sign --wait-answer`: watches a mailbox until the host has answered.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::compose::verify::{self, Found, HostKey};
use crate::protocol::job::outcome::Stage;
use crate::protocol::time::Time;
use crate::protocol::wire::answer::Statement;
use crate::protocol::wire::nonce::Nonce;
use crate::system::clock;

/// How often the mailbox is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer is still awaited after the request has expired: its command may run until then.
const GRACE: Duration = Duration::from_secs(600);

/// A mailbox, and how much of it was there before.
pub(super) enum Mailbox {
    /// One file per mail, in `new` and `cur`.
    Maildir { path: PathBuf, known: BTreeSet<OsString> },
    /// All mails in one file (RFC 4155): how long it was, and where its last mail began, which may still be written.
    Mbox { path: PathBuf, seen: usize, last: usize },
}

impl Mailbox {
    /// Looks at a mailbox as it is before the request leaves.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: &io::Error| format!("--wait-answer {}: {error}", path.display());
        if path.join("new").is_dir() {
            let mut mailbox = Self::Maildir { path: path.to_owned(), known: BTreeSet::new() };
            mailbox.arrived().map_err(|error| failed(&error))?;
            return Ok(mailbox);
        }
        match fs::metadata(path) {
            Ok(file) if file.is_file() => {
                let seen = usize::try_from(file.len()).unwrap_or(usize::MAX);
                Ok(Self::Mbox { path: path.to_owned(), seen, last: seen })
            }
            Ok(_) => Err(format!("--wait-answer {}: neither a Maildir nor a file", path.display())),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The mails that have come since the last look.
    fn arrived(&mut self) -> io::Result<Vec<Vec<u8>>> {
        match self {
            Self::Maildir { path, known } => {
                let mut mails = Vec::new();
                for directory in ["new", "cur"] {
                    let Ok(entries) = fs::read_dir(path.join(directory)) else { continue };
                    for entry in entries.flatten() {
                        // flags follow the colon, and those change
                        let name = entry.file_name();
                        let base: OsString =
                            name.to_string_lossy().split(':').next().unwrap_or_default().into();
                        // one that is moved meanwhile is found at the next look
                        if !known.contains(&base)
                            && let Ok(mail) = fs::read(entry.path())
                        {
                            known.insert(base);
                            mails.push(mail);
                        }
                    }
                }
                Ok(mails)
            }
            Self::Mbox { path, seen, last } => {
                let mut file = File::open(path)?;
                let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
                if length < *seen {
                    // somebody has taken mails out of it
                    (*seen, *last) = (0, 0);
                }
                if length == *seen {
                    return Ok(Vec::new());
                }
                file.seek(SeekFrom::Start(u64::try_from(*last).unwrap_or(u64::MAX)))?;
                let mut text = Vec::new();
                file.read_to_end(&mut text)?;
                let (from, known) = (*last, seen.saturating_sub(*last));
                let mails = mails_of(&text);
                *last = from.saturating_add(mails.last().map_or(0, |mail| mail.start));
                *seen = from.saturating_add(text.len());
                let fresh = mails.into_iter().filter(|mail| mail.end > known);
                Ok(fresh.filter_map(|mail| text.get(mail).map(<[u8]>::to_vec)).collect())
            }
        }
    }

    /// Waits for answers to a request, and hands each to `show`; `true` if one came that is more than a notice.
    pub(super) fn wait(
        mut self,
        nonce: &Nonce,
        expires: Time,
        keys: &[HostKey],
        mut show: impl FnMut(&Statement, Option<&[u8]>),
    ) -> Result<bool, String> {
        let end = expires.after(GRACE);
        while clock::now() < end {
            for mail in self.arrived().map_err(|error| format!("--wait-answer: {error}"))? {
                if let Found::Genuine { statement, output } =
                    verify::check(&mail, keys, Some(nonce))
                    && statement.nonce == *nonce
                {
                    show(&statement, output.as_deref());
                    if statement.stage != Stage::Notice.word() {
                        return Ok(true);
                    }
                }
            }
            thread::sleep(INTERVAL);
        }
        Ok(false)
    }
}

/// Where the mails in a piece of an mbox are, each with the `From ` line above it.
fn mails_of(text: &[u8]) -> Vec<Range<usize>> {
    let mut mails: Vec<Range<usize>> = Vec::new();
    let mut at = 0_usize;
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let end = at.saturating_add(line.len());
        if line.starts_with(b"From ") {
            mails.push(at..end);
        } else if let Some(mail) = mails.last_mut() {
            mail.end = end;
        }
        at = end;
    }
    mails
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_gives_each_mail_once_whatever_happens_to_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("mbox");
        let write = |text: &str| fs::write(&path, text).unwrap();
        write("From a\nold\n");
        let mut mailbox = Mailbox::open(&path).unwrap();
        assert!(mailbox.arrived().unwrap().is_empty());
        write("From a\nold\nFrom b\n");
        assert_eq!(mailbox.arrived().unwrap(), [b"From b\n"]);
        // as far as it was written, and whole
        write("From a\nold\nFrom b\nnew\nwhole\n");
        assert_eq!(mailbox.arrived().unwrap(), [b"From b\nnew\nwhole\n"]);
        assert!(mailbox.arrived().unwrap().is_empty());
        write("From a\nold\nFrom b\nnew\nwhole\nFrom c\nx\nFrom d\ny\n");
        assert_eq!(mailbox.arrived().unwrap(), [b"From c\nx\n", b"From d\ny\n"]);
        write("From e\nshort\n");
        assert_eq!(mailbox.arrived().unwrap(), [b"From e\nshort\n"]);

        let maildir = directory.path().join("Maildir");
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(maildir.join(part)).unwrap();
        }
        fs::write(maildir.join("cur/1:2,S"), "old").unwrap();
        let mut mailbox = Mailbox::open(&maildir).unwrap();
        fs::write(maildir.join("new/2"), "new").unwrap();
        fs::write(maildir.join("tmp/3"), "half").unwrap();
        assert_eq!(mailbox.arrived().unwrap(), [b"new"]);
        fs::rename(maildir.join("new/2"), maildir.join("cur/2:2,S")).unwrap();
        fs::rename(maildir.join("cur/1:2,S"), maildir.join("cur/1:2,RS")).unwrap();
        assert!(mailbox.arrived().unwrap().is_empty());
    }
}
