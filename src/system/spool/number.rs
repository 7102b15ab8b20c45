//! A number in a file, rewritten in place so that it never needs room, and read without a lock.
//!
//! What holds here: a reader gets a number that was written. The file has it twice; a reader that looks during a write
//! finds two that differ, and looks again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::file::{named, private};

/// How often a reader looks, and how long it waits in between: a writer may be held up in mid-copy.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Puts a number into a file that has one; not durable until the file is synced.
pub(super) fn rewrite(file: &File, value: u64) -> io::Result<()> {
    file.write_all_at(format!("{value:020} {value:020}\n").as_bytes(), 0)
}

/// Writes a number durably; the file is made if it is not there.
pub(super) fn write(path: &Path, value: u64) -> io::Result<()> {
    let file = private().create(true).truncate(false).open(path)?;
    rewrite(&file, value)?;
    file.sync_all()
}

/// The number in a file.
///
/// # Errors
/// When the file cannot be read, holds no number, or stays half written for a second.
pub(super) fn read(path: &Path) -> io::Result<u64> {
    for _ in 0..LOOKS {
        match parse(&fs::read_to_string(path).map_err(|error| named(path, &error))?) {
            Some((first, second)) if first == second => return Ok(first),
            Some(_) => std::thread::sleep(PAUSE),
            None => break,
        }
    }
    let mend = "is damaged; run netsysrq-mail init --fence";
    Err(io::Error::other(format!("{} {mend}", path.display())))
}

fn parse(text: &str) -> Option<(u64, u64)> {
    let (first, second) = text.trim_end().split_once(' ')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_number_is_read_once_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seen");
        write(&path, 1_795_999_999).unwrap();
        let file = private().open(&path).unwrap();
        // what a reader saw once in a million looks: the first 16 octets are new, the others old
        file.write_all_at(b"0000000000179600", 0).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || read(&path)
        });
        std::thread::sleep(PAUSE * 5);
        assert!(!reader.is_finished(), "it took half a number for a number");
        rewrite(&file, 1_796_000_000).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 1_796_000_000);
    }

    #[test]
    fn a_number_that_stays_half_written_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("low-water");
        for text in
            ["00000000000000000001 00000000000000000002\n", "00000000000000000001\n", "", "high\n"]
        {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(
                error.ends_with("low-water is damaged; run netsysrq-mail init --fence"),
                "{error}"
            );
        }
    }
}
