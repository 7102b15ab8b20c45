//! The spool's upkeep: making it, fencing it, forgetting what is past, and the reserve.
//!
//! What holds here: the marker is written last in a new spool and first in a fence; the low-water mark is durable before
//! the first file is removed, and what is owed is checked again after that.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;

use super::file::private;
use super::{FileSpool, check_owner, number};
use crate::protocol::job::journal;
use crate::protocol::time::Time;
use crate::system::{accounts, marker};

/// The octets that are given up when the disk is full.
const RESERVE: u64 = 256 * 1024;
/// The number of files that they are in.
const RESERVE_FILES: u64 = 8;
/// How long a claim may take to get its name: a delivery that was stopped for longer finds its file removed.
const NAMELESS: Duration = Duration::from_secs(86400);
/// How to mend a spool that has lost its memory.
const FENCE: &str = "run netsysrq-mail init --fence";
/// How many buckets are removed at a time.
const PRUNED_AT_ONCE: usize = 2;

/// What tells which nonces are spent and which keys are revoked: only a fence makes it again.
const MEMORY: [&str; 4] = ["spool", "spool/tmp", "revoked", "low-water"];
/// What can be lost without harm.
const REST: [&str; 3] = ["rate", "slots", "seen"];

/// What [`FileSpool::init`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was there, and whole.
    Nothing,
    /// It was there, and what it lacked was made.
    Parts,
    /// There was none.
    Spool,
}

impl FileSpool {
    /// Makes a spool, or what is missing of one.
    ///
    /// # Errors
    /// When a part of it cannot be made durable, or a missing part knew which nonces are spent or keys revoked.
    pub fn init(state: &Path, epoch: Time) -> io::Result<Made> {
        if !marker::exists(state) {
            make_directory(state)?;
            make_parts(state)?;
            make_reserve(state)?;
            marker::write(state, epoch)?;
            return Ok(Made::Spool);
        }
        check_owner(state)?;
        if let Some(part) = MEMORY.iter().find(|part| !state.join(part).exists()) {
            return Err(io::Error::other(format!("its {part} is missing; {FENCE}")));
        }
        let made = make_parts(state)? | remake_reserve(state);
        Ok(if made { Made::Parts } else { Made::Nothing })
    }

    /// Starts a new epoch in an existing spool: the history stays, what two clocks agreed on is forgotten. `true` if it
    /// had lost the list of revoked keys.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn fence(state: &Path, epoch: Time) -> io::Result<bool> {
        check_owner(state)?;
        let forgets = !state.join("revoked").exists();
        // first: from now on a spool that has lost its memory takes nothing of the old epoch
        marker::write(state, epoch)?;
        make_parts(state)?;
        number::write(&state.join("seen"), 0)?;
        if number::read(&state.join("low-water")).is_err() {
            // what it kept out was issued before this epoch
            number::write(&state.join("low-water"), 0)?;
        }
        remake_reserve(state);
        Ok(forgets)
    }

    /// What is missing, or cannot be written to, and how to mend it.
    #[must_use]
    pub fn faults(&self) -> Vec<(PathBuf, String, &'static str)> {
        let mend = |part: &str, error| match error {
            Errno::NOENT if MEMORY.contains(&part) => FENCE,
            Errno::NOENT => "run netsysrq-mail init",
            _ => "let this user write to it",
        };
        let faults = MEMORY.into_iter().chain(REST).filter_map(|part| {
            let path = self.state.join(part);
            let entered = if path.is_dir() { Access::EXEC_OK } else { Access::empty() };
            let error = accounts::may(&path, Access::WRITE_OK | entered).err()?;
            Some((path, error.to_string(), mend(part, error)))
        });
        faults.collect()
    }

    /// Makes the reserve again if it was given up, and forgets buckets that ended `history` ago by both clocks and owe
    /// nobody an answer, a few at a time.
    ///
    /// # Errors
    /// When the low-water mark cannot be made durable, or a bucket cannot be removed.
    pub fn prune(&self, history: Duration) -> io::Result<()> {
        remake_reserve(&self.state);
        self.sweep()?;
        let seen = number::read(&self.state.join("seen")).unwrap_or(0);
        let limit = Time::from_unix(seen).before(history);
        let mark = private().open(self.state.join("low-water"))?;
        let Ok(()) = mark.try_lock() else { return Ok(()) };
        let mut past: Vec<u64> = self.buckets()?;
        past.retain(|hour| hour.saturating_add(1).saturating_mul(3600) < limit.unix());
        past.sort_unstable();
        let mut removable = Vec::new();
        for hour in past {
            if removable.len() < PRUNED_AT_ONCE && self.owes_nothing(hour)? {
                removable.push(hour);
            }
        }
        let Some(newest) = removable.last() else { return Ok(()) };
        let low_water = self.low_water()?.max(*newest);
        number::rewrite(&mark, low_water)?;
        mark.sync_all()?;
        for hour in removable {
            // a claim that came before the mark may have been written since
            if self.owes_nothing(hour)? {
                fs::remove_dir_all(self.bucket(hour))?;
            }
        }
        File::open(self.state.join("spool"))?.sync_all()
    }

    /// Removes old, unlocked files: left by deliveries that were killed before they could name their claims.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.state.join("spool/tmp"))? {
            let path = entry?.path();
            let Ok(file) = private().open(&path) else { continue };
            let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > NAMELESS && file.try_lock().is_ok() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn owes_nothing(&self, hour: u64) -> io::Result<bool> {
        for entry in fs::read_dir(self.bucket(hour))? {
            let octets = fs::read(entry?.path())?;
            if journal::read(&octets).is_ok_and(|(state, _)| !state.is_over()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Makes whatever is missing except marker and reserve; `true` if anything was.
fn make_parts(state: &Path) -> io::Result<bool> {
    let mut made = false;
    for part in MEMORY.into_iter().chain(REST) {
        let path = state.join(part);
        let is_number = matches!(part, "low-water" | "seen");
        if !is_number {
            made |= make_directory(&path)?;
        } else if !path.exists() {
            number::write(&path, 0)?;
            made = true;
        }
    }
    File::open(state.join("spool"))?.sync_all()?;
    File::open(state)?.sync_all()?;
    Ok(made)
}

/// Makes a directory if it is missing; `true` if it was.
fn make_directory(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_owner(path).map(|()| false)
        }
        made => made.map(|()| true),
    }
}

/// Makes the reserve again if it was given up and there is room; `true` if it did.
fn remake_reserve(state: &Path) -> bool {
    let reserve = state.join("reserve");
    if reserve.exists() {
        return false;
    }
    let made = make_reserve(state).is_ok();
    if !made {
        let _still_full = fs::remove_dir_all(reserve);
    }
    made
}

/// Makes several files: a disk may run out of inodes too.
fn make_reserve(state: &Path) -> io::Result<()> {
    let directory = state.join("reserve");
    make_directory(&directory)?;
    let zeros = vec![0; usize::try_from(RESERVE / RESERVE_FILES).unwrap_or(0)];
    for n in 0..RESERVE_FILES {
        let path = directory.join(n.to_string());
        let file = private().create(true).truncate(true).open(path)?;
        file.write_all_at(&zeros, 0)?;
        file.sync_all()?;
    }
    File::open(directory)?.sync_all()
}
