//! Allowances as files: 16 octets each, under a lock, not synced. A lost one is full again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use crate::protocol::rules::allowance::{Admission, Bucket};
use crate::protocol::time::Time;

/// Takes a token out of the bucket at `path`, which holds `size` and fills up in `period` seconds.
///
/// # Errors
/// When the file cannot be read or written.
pub fn take(path: &Path, size: u32, period: u32, now: Time) -> io::Result<Admission> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if !lock(&file)? {
        return Ok(Admission::Within);
    }
    let mut octets = [0; 16];
    let bucket = match file.read_exact_at(&mut octets, 0) {
        Ok(()) => Bucket::from_octets(octets),
        Err(_) => Bucket::full(now),
    };
    let (bucket, admission) = bucket.take(size, period, now);
    file.write_all_at(&bucket.to_octets(), 0)?;
    Ok(admission)
}

/// Waits a second for the lock: a process that is stopped while holding it must not stop all others.
fn lock(file: &File) -> io::Result<bool> {
    for _ in 0..100 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_kept_in_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice");
        let ask = || take(&path, 1, 3600, Time::from_unix(1_763_665_351)).unwrap();
        assert_eq!(ask(), Admission::Within);
        assert_eq!(ask(), Admission::Over { answered: true });
        assert_eq!(ask(), Admission::Over { answered: false });
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ask(), Admission::Within, "a lost one is full");
    }
}
