//! The marker: the last file that `init` writes, and the first that is read. It says which spool this is.
//!
//! It names the machine, the user and its own inode, so that a copied or restored spool is foreign until it is
//! fenced. What it cannot see is a file system that was rolled back.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;
use tempfile::NamedTempFile;

use crate::protocol::time::Time;
use crate::protocol::wire::crc::crc32;

const NAME: &str = "marker";
/// How to mend a missing spool. Only a fence refuses what a lost one had accepted.
pub(super) const MAKE: &str = "run netsysrq-mail init; with --fence if there was one before";
const FIRST_LINE: &str = "netsysrq-mail spool 1";

/// Reads the epoch of a spool that is ours.
///
/// # Errors
/// When there is no marker, or it is damaged, of another version, or of another machine, user or file.
pub fn read(state: &Path) -> io::Result<Time> {
    let path = state.join(NAME);
    let octets = fs::read(&path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return fault(state, "there is no spool here", MAKE);
        }
        error
    })?;
    let text = String::from_utf8_lossy(&octets);
    let (body, check) = text
        .trim_end()
        .rsplit_once('\n')
        .ok_or_else(|| fault(state, "the marker is damaged", "run netsysrq-mail init --fence"))?;
    if check != checksum(body) {
        return Err(fault(state, "the marker is damaged", "run netsysrq-mail init --fence"));
    }
    let epoch = body.lines().nth(1).and_then(|line| line.strip_prefix("epoch ")?.parse().ok());
    let epoch = epoch.map(Time::from_unix).unwrap_or_default();
    if !body.starts_with(FIRST_LINE) {
        return Err(fault(
            state,
            "the spool is of another version",
            "use the version that made it",
        ));
    }
    if body != content(epoch, fs::metadata(&path)?.ino()) {
        let why =
            "the spool was made on another machine, by another user, or was copied or restored";
        return Err(fault(state, why, "run netsysrq-mail init --fence"));
    }
    Ok(epoch)
}

/// Writes the marker, whole or not at all, and durably.
///
/// # Errors
/// When it cannot be made durable.
pub fn write(state: &Path, epoch: Time) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(state)?;
    let body = content(epoch, file.as_file().metadata()?.ino());
    writeln!(file, "{body}\n{}", checksum(&body))?;
    file.as_file().sync_all()?;
    file.persist(state.join(NAME))?;
    fs::File::open(state)?.sync_all()
}

/// Whether there is a marker, whatever it says.
#[must_use]
pub fn exists(state: &Path) -> bool {
    state.join(NAME).symlink_metadata().is_ok()
}

fn content(epoch: Time, inode: u64) -> String {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    format!(
        "{FIRST_LINE}\nepoch {}\nmachine {}\nuid {}\ninode {inode}",
        epoch.unix(),
        machine.trim(),
        geteuid().as_raw(),
    )
}

fn checksum(body: &str) -> String {
    format!("check {:08x}", crc32(body.as_bytes()))
}

fn fault(state: &Path, why: &str, mend: &str) -> io::Error {
    io::Error::other(format!("{}: {why}; {mend}", state.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_tells_its_epoch() {
        let state = tempfile::tempdir().unwrap();
        write(state.path(), Time::from_unix(1_763_665_351)).unwrap();
        assert_eq!(read(state.path()).unwrap(), Time::from_unix(1_763_665_351));
    }

    #[test]
    fn a_marker_cut_or_changed_anywhere_is_not_believed() {
        let state = tempfile::tempdir().unwrap();
        write(state.path(), Time::from_unix(1_763_665_351)).unwrap();
        let path = state.path().join(NAME);
        let good = fs::read(&path).unwrap();
        // written in place: the inode stays
        for end in 0..good.len() - 1 {
            fs::write(&path, &good[..end]).unwrap();
            assert!(read(state.path()).is_err(), "cut at {end}");
        }
        for bit in 0..(good.len() - 1) * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(read(state.path()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_copied_marker_is_foreign() {
        let (state, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(state.path(), Time::from_unix(1)).unwrap();
        fs::copy(state.path().join(NAME), copy.path().join(NAME)).unwrap();
        assert!(read(copy.path()).unwrap_err().to_string().contains("init --fence"));
    }
}
