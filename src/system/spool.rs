//! The spool: the replay cache and the history, as files.
//!
//! ```text
//! <state>/marker                      written last by init, see marker.rs
//! <state>/spool/tmp/                  claims without a name yet
//! <state>/spool/<hour of exp>/<key id>.<cti>    one job: its name is the spent nonce
//! <state>/low-water                   hours up to this one are forgotten
//! <state>/seen                        the highest time that a signer's clock and ours agreed on
//! <state>/rate/<key id>, slots/<n>    allowances and running commands; nothing durable
//! <state>/revoked/<key id>            keys that a request has revoked
//! <state>/resume.lock                 one resume at a time
//! <state>/reserve/                    given up when the disk is full
//! ```
//!
//! What holds here, and where: a claim is durable before [`FileSpool::spend`] returns `First` (file, bucket and spool
//! are synced); the clock and the low-water mark are read again after that; whoever finds a name taken syncs it before
//! concluding anything; a lock is taken on a claim before it has a name. Making and forgetting is in `spool/upkeep.rs`.

mod upkeep;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use rustix::process::geteuid;
use tempfile::NamedTempFile;

use super::{accounts, clock, marker, rate};
use crate::protocol::claim::{Admission, Here, Spent, Spool};
use crate::protocol::id::Id;
use crate::protocol::job::{Damaged, End, Journal, Name, Record, State};
use crate::protocol::journal;
use crate::protocol::keyring::Key;
use crate::protocol::policy::Ledger;
use crate::protocol::take::Locked;
use crate::protocol::time::Time;

/// What a claim takes of the disk for the records to come.
const PREALLOCATED: u64 = 4096;

/// An open spool of ours.
#[derive(Debug)]
pub struct FileSpool {
    state: PathBuf,
    epoch: Time,
    boot: String,
}

/// The journal of one job, under its lock: the lock goes with the file.
#[derive(Debug)]
pub struct FileJournal {
    file: File,
    end: u64,
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
    /// Opens a spool.
    ///
    /// # Errors
    /// When it is missing, damaged, foreign, or another user's; the text says how to mend it.
    pub fn open(state: &Path) -> io::Result<Self> {
        check_owner(state)?;
        let epoch = marker::read(state)?;
        Ok(Self { state: state.to_owned(), epoch, boot: clock::boot_id()? })
    }

    /// What the spool knows.
    ///
    /// # Errors
    /// When the low-water mark or the revocations cannot be read.
    pub fn ledger(&self) -> io::Result<Ledger> {
        let low_water = self.low_water()?;
        Ok(Ledger { now: self.now(), epoch: self.epoch, low_water, revoked: self.revoked()? })
    }

    /// Revokes a key, durably. It is lifted by hand: by removing `revoked/<key id>` in the state directory.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn revoke(&self, key: &Id) -> io::Result<()> {
        let directory = self.state.join("revoked");
        let file = private().create(true).truncate(false).open(directory.join(key.as_str()))?;
        file.sync_all()?;
        File::open(directory)?.sync_all()
    }

    fn revoked(&self) -> io::Result<Vec<Id>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.state.join("revoked"))? {
            ids.extend(entry?.file_name().to_str().and_then(Id::new));
        }
        Ok(ids)
    }

    /// All jobs, newest bucket first.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn jobs(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for hour in self.buckets()? {
            let entries = match fs::read_dir(self.bucket(hour)) {
                Ok(entries) => entries,
                // pruned meanwhile
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let file = entry?.file_name();
                names.extend(file.to_str().and_then(|file| Name::parse(&format!("{hour}/{file}"))));
            }
        }
        names.sort_unstable();
        names.reverse();
        Ok(names)
    }

    /// What a job's journal says, without its lock: of a job that is alive, what it said a moment ago.
    ///
    /// # Errors
    /// When it cannot be read; [`io::ErrorKind::InvalidData`] when it is damaged.
    pub fn peek(&self, name: &Name) -> io::Result<State> {
        let octets = fs::read(self.path(name))?;
        let damaged = |_| {
            let what = format!("{name}: the journal is damaged");
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        journal::read(&octets).map(|(state, _)| state).map_err(damaged)
    }

    /// The right to resume, if nobody has it.
    ///
    /// # Errors
    /// When the lock's file cannot be opened.
    pub fn resume_lock(&self) -> io::Result<Option<File>> {
        let file = private().create(true).truncate(false).open(self.state.join("resume.lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

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
        // what was there before the lock says nothing: its last holder may have written since
        self.sync(name, &file)?;
        let mut octets = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut octets)?;
        match journal::read(&octets) {
            // only lost power makes a hole: in the boot of the claim it is no tear, and what it hides is not known
            Ok((state, good))
                if state.boot == self.boot
                    && journal::has_hole(octets.get(good..).unwrap_or_default()) =>
            {
                Ok(Found::Damaged)
            }
            Ok((state, good)) => {
                // a torn record did not happen; a whole one may lack its line end
                let whole = octets.get(..good).unwrap_or(&octets);
                file.set_len(size(whole))?;
                let mut journal = FileJournal { file, end: size(whole) };
                if good > octets.len() {
                    journal.write(b"\n")?;
                }
                let name = name.clone();
                Ok(Found::Taken(Box::new(Locked { name, journal, state })))
            }
            Err(Damaged) => Ok(Found::Damaged),
        }
    }

    /// Whether a nonce is spent.
    #[must_use]
    pub fn is_spent(&self, name: &Name) -> bool {
        self.path(name).symlink_metadata().is_ok()
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

    /// Waits for one of `count` places to run a command in; the place is held until the file is dropped.
    ///
    /// # Errors
    /// When the places cannot be opened.
    pub fn slot(&self, count: u32) -> io::Result<File> {
        loop {
            for n in 0..count.max(1) {
                let path = self.state.join("slots").join(n.to_string());
                let file = private().create(true).truncate(false).open(path)?;
                match file.try_lock() {
                    Ok(()) => return Ok(file),
                    Err(fs::TryLockError::WouldBlock) => {}
                    Err(fs::TryLockError::Error(error)) => return Err(error),
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn buckets(&self) -> io::Result<Vec<u64>> {
        let mut hours = Vec::new();
        for entry in fs::read_dir(self.state.join("spool"))? {
            hours.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        Ok(hours)
    }

    fn now(&self) -> Time {
        let seen = read_number(&self.state.join("seen")).unwrap_or(0);
        clock::now().max(Time::from_unix(seen))
    }

    fn low_water(&self) -> io::Result<u64> {
        read_number(&self.state.join("low-water"))
    }

    fn bucket(&self, hour: u64) -> PathBuf {
        self.state.join("spool").join(hour.to_string())
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.bucket(name.hour).join(name.file())
    }

    fn sync(&self, name: &Name, file: &File) -> io::Result<()> {
        file.sync_all()?;
        File::open(self.bucket(name.hour))?.sync_all()?;
        File::open(self.state.join("spool"))?.sync_all()
    }

    /// A claim with its lock held and its octets on the disk, but no name.
    fn nameless(&self, line: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(self.state.join("spool/tmp"))?;
        file.as_file().try_lock().map_err(io::Error::other)?;
        file.write_all(line)?;
        let length = PREALLOCATED.saturating_add(size(line));
        let room = fallocate(file.as_file(), FallocateFlags::KEEP_SIZE, 0, length);
        // not every file system can; the records then have to find room when they come
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) = room {
            return Err(error.into());
        }
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Gives the claim its name: this is the moment in which a nonce is spent.
    fn name(&self, name: &Name, line: &[u8]) -> io::Result<Option<File>> {
        let file = self.nameless(line)?;
        match DirBuilder::new().mode(0o700).create(self.bucket(name.hour)) {
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
        let seen = read_number(&self.state.join("seen")).unwrap_or(0);
        if agreed > seen {
            file.write_all_at(number(agreed).as_bytes(), 0)?;
        }
        Ok(())
    }
}

impl Spool for FileSpool {
    type Journal = FileJournal;

    fn admit(&mut self, key: &Key) -> io::Result<Admission> {
        let path = self.state.join("rate").join(key.id.as_str());
        match rate::take(&path, key.per_hour, 3600, self.now()) {
            // an allowance that cannot be kept on a full disk must not stop the one who would empty it
            Err(error) if is_full(&error) => Ok(Admission::Within),
            admission => admission,
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
            self.sync(name, &File::open(self.path(name))?)?;
            return Ok(Spent::Again);
        };
        self.sync(name, &file)?;
        let mut journal = FileJournal { file, end: size(line.as_bytes()) };
        let Ok(low_water) = self.low_water() else { return Ok(Spent::Kept) };
        if name.hour <= low_water {
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

impl Journal for FileJournal {
    fn append(&mut self, record: &Record) -> io::Result<()> {
        self.write(record.to_line().as_bytes())
    }
}

impl FileJournal {
    /// The file, with its lock.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(octets, self.end).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // leave no half of a record for the next one to be glued to
            let _torn = self.file.set_len(self.end);
            return Err(error);
        }
        self.end = self.end.saturating_add(size(octets));
        Ok(())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// One user a spool: another would leave files that the first cannot read.
fn check_owner(state: &Path) -> io::Result<()> {
    let metadata = fs::metadata(state).map_err(|error| {
        let mend = "; run netsysrq-mail init";
        let mend = if error.kind() == io::ErrorKind::NotFound { mend } else { "" };
        io::Error::new(error.kind(), format!("{}: {error}{mend}", state.display()))
    })?;
    let (owner, mode) = (metadata.uid(), metadata.permissions().mode());
    if owner != geteuid().as_raw() {
        let name = accounts::find(&owner.to_string()).map_or(owner.to_string(), |a| a.name);
        return Err(io::Error::other(format!(
            "{} belongs to {name}; use: runuser -u {name} -- netsysrq-mail ...",
            state.display()
        )));
    }
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "{} is open to others; use: chmod 700 {0}",
            state.display()
        )));
    }
    Ok(())
}

fn size(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

/// Whether the disk, or our share of it, is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Twenty digits and a line end: rewritten in place, so that the file never grows.
fn number(value: u64) -> String {
    format!("{value:020}\n")
}

fn write_number(path: &Path, value: u64) -> io::Result<()> {
    let file = private().create(true).truncate(false).open(path)?;
    file.write_all_at(number(value).as_bytes(), 0)?;
    file.sync_all()
}

fn read_number(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    text.trim_end().parse().map_err(|_| {
        io::Error::other(format!("{} is damaged; run netsysrq-mail init --fence", path.display()))
    })
}
