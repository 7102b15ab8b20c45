//! Token buckets: 16 octets a file, under a lock, not synced. A lost one is full again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use crate::protocol::claim::Admission;
use crate::protocol::time::Time;

/// Parts of a token, so that refilling does not round away.
const UNIT: u64 = 3600;
/// How often a refusal for want of tokens is answered.
const ANSWER_EVERY: u64 = 3600;

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
    let full = u64::from(size).saturating_mul(UNIT);
    let bucket = match file.read_exact_at(&mut octets, 0) {
        Ok(()) => Bucket::from_octets(octets),
        Err(_) => Bucket { parts: u32::MAX, answered: 0, at: now.unix() },
    };
    let (bucket, admission) = bucket.take(full, u64::from(period.max(1)), now.unix());
    file.write_all_at(&bucket.to_octets(), 0)?;
    Ok(admission)
}

/// Waits a second for the lock: who is stopped while holding it must not stop everybody else.
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

#[derive(Clone, Copy)]
struct Bucket {
    /// Parts of tokens left.
    parts: u32,
    /// When want of tokens was last answered, in seconds since 1970.
    answered: u32,
    /// When the parts were counted, in seconds since 1970.
    at: u64,
}

impl Bucket {
    fn from_octets(octets: [u8; 16]) -> Self {
        let word = u128::from_be_bytes(octets).to_be_bytes();
        let [a, b, c, d, e, f, g, h, rest @ ..] = word;
        Self {
            parts: u32::from_be_bytes([a, b, c, d]),
            answered: u32::from_be_bytes([e, f, g, h]),
            at: u64::from_be_bytes(rest),
        }
    }

    fn to_octets(self) -> [u8; 16] {
        let mut octets = [0; 16];
        let fields = self.parts.to_be_bytes().into_iter().chain(self.answered.to_be_bytes());
        for (to, from) in octets.iter_mut().zip(fields.chain(self.at.to_be_bytes())) {
            *to = from;
        }
        octets
    }

    fn take(self, full: u64, period: u64, now: u64) -> (Self, Admission) {
        let filled = now.saturating_sub(self.at).saturating_mul(full).checked_div(period);
        let parts = u64::from(self.parts).saturating_add(filled.unwrap_or(0)).min(full);
        let count = |parts: u64| u32::try_from(parts).unwrap_or(u32::MAX);
        // a clock that was ahead and is right again must not hold anybody up until then
        let at = now;
        if let Some(left) = parts.checked_sub(UNIT) {
            return (Self { parts: count(left), at, ..self }, Admission::Within);
        }
        let last = u64::from(self.answered);
        let answered = now < last || now.saturating_sub(last) >= ANSWER_EVERY;
        let last = if answered { count(now) } else { self.answered };
        (Self { parts: count(parts), answered: last, at }, Admission::Over { answered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_bucket_answers_once_an_hour_and_fills_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice");
        let start = 1_763_665_351;
        let ask = |after: u64| take(&path, 3, 3600, Time::from_unix(start + after)).unwrap();
        assert_eq!([ask(0), ask(0), ask(1)], [Admission::Within; 3]);
        assert_eq!(ask(2), Admission::Over { answered: true });
        assert_eq!(ask(3), Admission::Over { answered: false });
        assert_eq!(ask(1203), Admission::Within);
        assert_eq!(ask(1204), Admission::Over { answered: false });
        assert_eq!(ask(0), Admission::Over { answered: true }, "the clock went back");
        assert_eq!(ask(1200), Admission::Within, "and goes on from there");
    }

    #[test]
    fn a_bucket_of_nothing_gives_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice");
        let now = Time::from_unix(1_763_665_351);
        assert_eq!(take(&path, 0, 3600, now).unwrap(), Admission::Over { answered: true });
    }
}
