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
//! What may be read without a lock is read here, numbers by `spool/number.rs`. `spool/claiming.rs` spends nonces,
//! `spool/taking.rs` takes up jobs under their locks, `spool/upkeep.rs` makes a spool and forgets what is past.

mod claiming;
mod file;
mod number;
mod taking;
mod upkeep;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;

use super::{accounts, clock, marker};
use crate::protocol::id::Id;
use crate::protocol::job::journal;
use crate::protocol::job::name::Name;
use crate::protocol::job::state::State;
use crate::protocol::rules::policy::Ledger;
use crate::protocol::time::Time;
use file::{named, private};
pub use taking::{FileJournal, Found};
pub use upkeep::Made;

/// An open spool of ours.
#[derive(Debug)]
pub struct FileSpool {
    state: PathBuf,
    epoch: Time,
    boot: String,
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

    /// Revokes a key, durably. This is lifted by hand, by removing `revoked/<key id>` in the state directory.
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
        let directory = self.state.join("revoked");
        for entry in fs::read_dir(&directory).map_err(|error| named(&directory, &error))? {
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

    /// What a job's journal says, read without its lock: for a live job, what it said a moment ago.
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

    /// Whether a nonce is spent.
    #[must_use]
    pub fn is_spent(&self, name: &Name) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Waits for one of `count` places to run a command in; the place is held until the file is dropped.
    ///
    /// # Errors
    /// When the places cannot be opened.
    pub fn slot(&self, count: u32) -> io::Result<File> {
        loop {
            for n in 0..count.max(1) {
                let path = self.state.join("slots").join(n.to_string());
                let file = private().create(true).truncate(false).open(&path);
                let file = file.map_err(|error| named(&path, &error))?;
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
        let seen = number::read(&self.state.join("seen")).unwrap_or(0);
        clock::now().max(Time::from_unix(seen))
    }

    fn low_water(&self) -> io::Result<u64> {
        number::read(&self.state.join("low-water"))
    }

    fn bucket(&self, hour: u64) -> PathBuf {
        self.state.join("spool").join(hour.to_string())
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.bucket(name.hour()).join(name.file())
    }
}

/// One user per spool: another would leave files that the first cannot read.
fn check_owner(state: &Path) -> io::Result<()> {
    let metadata = fs::metadata(state).map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let mend = if is_missing { format!("; {}", marker::MAKE) } else { String::new() };
        io::Error::new(error.kind(), format!("{}: {error}{mend}", state.display()))
    })?;
    let (owner, mode) = (metadata.uid(), metadata.permissions().mode());
    if owner != geteuid().as_raw() {
        let name = accounts::name_of(owner);
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
