//! Taking up a job: its journal is read under its lock, mended if power was lost, and continued.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::FileSpool;
use crate::protocol::job::journal;
use crate::protocol::job::journal::Journal;
use crate::protocol::job::name::Name;
use crate::protocol::job::record::Record;
use crate::protocol::job::state::Damaged;
use crate::protocol::take::Locked;
use crate::system::aside::Aside;

/// The octets that a claim reserves on the disk for the records to come.
const ROOM: u64 = 4096;
/// How long a hastened journal waits for its disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The journal of one job, under its lock: the lock goes with the file.
#[derive(Debug)]
pub struct FileJournal {
    file: File,
    end: u64,
    hastened: Option<Hastened>,
}

/// A journal that has no time to lose: its disk is written to aside.
#[derive(Debug)]
struct Hastened {
    aside: Aside,
    file: Arc<File>,
    /// A write was given up: nobody knows whether it will yet be done, so none may follow it.
    is_lost: bool,
}

/// What a job's file was found to be.
#[derive(Debug)]
pub enum Found {
    /// Its runner is alive: leave it alone.
    Busy,
    /// Its octets are not a journal: the nonce stays spent.
    Damaged,
    /// There is no such job.
    Missing,
    /// It is ours now.
    Taken(Box<Locked<FileJournal>>),
}

impl FileSpool {
    /// Takes up a job, if nobody else has it.
    ///
    /// # Errors
    /// When the file cannot be read or synced, or somebody else could have written it.
    pub fn take(&self, name: &Name) -> io::Result<Found> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
            .open(self.path(name));
        match file {
            Ok(file) => self.take_file(name, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Missing),
            Err(error) => Err(error),
        }
    }

    /// Takes up a job whose file is open already, as the runner's standard input is: its lock comes with it.
    ///
    /// # Errors
    /// As [`FileSpool::take`].
    pub fn take_file(&self, name: &Name, mut file: File) -> io::Result<Found> {
        let metadata = file.metadata()?;
        let named = fs::symlink_metadata(self.path(name))?;
        let ours = metadata.is_file()
            && metadata.uid() == geteuid().as_raw()
            && metadata.permissions().mode() & 0o077 == 0
            && (metadata.dev(), metadata.ino()) == (named.dev(), named.ino());
        if !ours {
            return Err(io::Error::other(format!(
                "{name}: somebody else could have written this job"
            )));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(Found::Busy),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // nothing read before the lock would count: its last holder may have written since
        self.sync(name, &file)?;
        let mut octets = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut octets)?;
        match journal::read(&octets) {
            // only a power failure makes a hole: in the boot of the claim it is not a tear, and what it hides is unknown
            Ok((state, good))
                if state.boot == self.boot
                    && journal::has_hole(octets.get(good..).unwrap_or_default()) =>
            {
                Ok(Found::Damaged)
            }
            Ok((state, good)) => {
                // a torn record did not happen; a whole one may lack its line end
                let whole = octets.get(..good).unwrap_or(&octets);
                let mut journal = FileJournal::new(file, size(whole));
                journal.cut()?;
                if good > octets.len() {
                    journal.write(b"\n")?;
                }
                let name = name.clone();
                Ok(Found::Taken(Box::new(Locked { name, journal, state })))
            }
            Err(Damaged) => Ok(Found::Damaged),
        }
    }

    /// Takes up the job that a replayed request left unfinished, if its runner is gone.
    ///
    /// # Errors
    /// As [`FileSpool::take`].
    pub fn take_abandoned(&self, name: &Name) -> io::Result<Option<FileJournal>> {
        match self.take(name)? {
            Found::Taken(locked) if !locked.state.is_over() => Ok(Some(locked.journal)),
            Found::Busy | Found::Damaged | Found::Missing | Found::Taken(_) => Ok(None),
        }
    }

    /// Makes a job durable: its file, its bucket and the spool.
    pub(super) fn sync(&self, name: &Name, file: &File) -> io::Result<()> {
        file.sync_all()?;
        File::open(self.bucket(name.hour()))?.sync_all()?;
        File::open(self.state.join("spool"))?.sync_all()
    }
}

impl Journal for FileJournal {
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let line = record.to_line();
        match &mut self.hastened {
            None => self.write(line.as_bytes()),
            Some(hastened) => {
                hastened.write(line.clone().into_bytes(), self.end)?;
                self.end = self.end.saturating_add(size(line.as_bytes()));
                Ok(())
            }
        }
    }

    /// Without a thread or a descriptor to do it with, the journal stays as patient as it was.
    fn hasten(&mut self) {
        if let (Ok(aside), Ok(file)) = (Aside::new(), self.file.try_clone()) {
            self.hastened = Some(Hastened { aside, file: Arc::new(file), is_lost: false });
        }
    }
}

impl Hastened {
    fn write(&mut self, octets: Vec<u8>, at: u64) -> io::Result<()> {
        if self.is_lost {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "an earlier record is held up"));
        }
        let file = Arc::clone(&self.file);
        let written = self.aside.within(PATIENCE, move || {
            file.write_all_at(&octets, at).and_then(|()| file.sync_data())
        });
        let written = written.and_then(|written| written);
        self.is_lost = written.is_err();
        written
    }
}

impl FileJournal {
    /// A journal that ends there.
    pub(super) const fn new(file: File, end: u64) -> Self {
        Self { file, end, hastened: None }
    }

    /// The file once more, for a process that is to have the lock too.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The file, with its lock.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// Cuts off what is behind the end, only if there is something: a cut gives up the room for the records to come.
    fn cut(&self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.end {
            self.file.set_len(self.end)?;
            let _as_there_is = reserve(&self.file, self.end);
        }
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(octets, self.end).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // leave no half record for the next one to be glued to
            let _torn = self.cut();
            return Err(error);
        }
        self.end = self.end.saturating_add(size(octets));
        Ok(())
    }
}

/// Reserves room on the disk for the records behind `end`.
pub(super) fn reserve(file: &File, end: u64) -> Result<(), Errno> {
    fallocate(file, FallocateFlags::KEEP_SIZE, 0, end.saturating_add(ROOM))
}

pub(super) fn size(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}
