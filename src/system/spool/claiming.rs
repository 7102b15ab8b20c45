//! Claiming: a job appears under its name only once, and its nonce is spent.
//!
//! What holds here: a claim is durable before [`FileSpool::spend`] returns `First` (file, bucket and spool are synced);
//! the clock and the low-water mark are read again after that; whoever finds a name taken syncs it before concluding
//! anything; a lock is taken on a claim before it has a name.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;

use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::file::{named, private};
use super::taking::{FileJournal, reserve, size};
use super::{FileSpool, number};
use crate::protocol::claim::{Spent, Spool};
use crate::protocol::job::journal::Journal;
use crate::protocol::job::name::Name;
use crate::protocol::job::outcome::End;
use crate::protocol::job::record::Record;
use crate::protocol::rules::allowance::Admission;
use crate::protocol::rules::keyring::Key;
use crate::protocol::time::Here;
use crate::protocol::time::Time;
use crate::system::{clock, marker, rate};

impl FileSpool {
    /// A claim with its lock held and its octets on the disk, but no name.
    fn nameless(&self, line: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(self.state.join("spool/tmp"))?;
        file.as_file().try_lock().map_err(io::Error::other)?;
        file.write_all(line)?;
        // not every file system can; then the records have to find room when they come
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) =
            reserve(file.as_file(), size(line))
        {
            return Err(error.into());
        }
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Gives the claim its name: at this moment a nonce is spent.
    fn name(&self, name: &Name, line: &[u8]) -> io::Result<Option<File>> {
        let file = self.nameless(line)?;
        match DirBuilder::new().mode(0o700).create(self.bucket(name.hour())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match file.persist_noclobber(self.path(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error.error),
        }
    }

    /// Not durable, so not worth waiting or failing for.
    fn note_seen(&self, issued: Time) -> io::Result<()> {
        let agreed = clock::now().min(issued).unix();
        let file = private().open(self.state.join("seen"))?;
        let Ok(()) = file.try_lock() else { return Ok(()) };
        let seen = number::read(&self.state.join("seen")).unwrap_or(0);
        if agreed > seen {
            number::rewrite(&file, agreed)?;
        }
        Ok(())
    }
}

impl Spool for FileSpool {
    type Journal = FileJournal;

    fn recall(&mut self, name: &Name) -> io::Result<bool> {
        match File::open(self.path(name)) {
            Ok(file) => self.sync(name, &file).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn admit(&mut self, key: &Key) -> io::Result<Admission> {
        let path = self.state.join("rate").join(key.id.as_str());
        match rate::take(&path, key.per_hour, 3600, self.now()) {
            // an allowance that cannot be kept on a full disk must not stop whoever would empty it
            Err(error) if is_full(&error) => Ok(Admission::Within),
            admission => admission.map_err(|error| named(&path, &error)),
        }
    }

    fn spend(
        &mut self,
        name: &Name,
        claim: &Record,
        issued: Time,
    ) -> io::Result<Spent<FileJournal>> {
        let line = claim.to_line();
        let named = match self.name(name, line.as_bytes()) {
            Err(error) if is_full(&error) => {
                let _given_up = fs::remove_dir_all(self.state.join("reserve"));
                self.name(name, line.as_bytes())
            }
            // the bucket was pruned between mkdir and the name: the second try finds low-water risen
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.name(name, line.as_bytes())
            }
            named => named,
        };
        let Some(file) = named? else {
            self.recall(name)?;
            return Ok(Spent::Again);
        };
        self.sync(name, &file)?;
        let mut journal = FileJournal::new(file, size(line.as_bytes()));
        let (Ok(low_water), Ok(epoch)) = (self.low_water(), marker::read(&self.state)) else {
            return Ok(Spent::Kept);
        };
        // or a fence has begun a new epoch, in a spool that may have been lost
        if name.hour() <= low_water || epoch != self.epoch {
            let at = self.now();
            let end = End::Unrun;
            journal.append(&Record::Finished { at, end, duration: None, mail: None })?;
            return Ok(Spent::TooLate);
        }
        let _unseen = self.note_seen(issued);
        Ok(Spent::First(journal))
    }

    fn here(&self) -> Here {
        Here { now: self.now(), boot: self.boot.clone(), booted: clock::boot_time() }
    }
}

/// Whether the disk, or our share of it, is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
