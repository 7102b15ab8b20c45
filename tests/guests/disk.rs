//! A guest's disks, made before it and judged after it, without mounting them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::needed;

/// What a disk looks like after a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The data that nobody had synced is there, whole.
    pub(crate) is_data_there: bool,
    /// The file system was left as unmounting would leave it.
    pub(crate) is_journal_clean: bool,
}

/// A new file system.
pub(crate) fn make(image: &Path, mebibytes: u32) {
    let mut mkfs = Command::new(needed("mkfs.ext4").unwrap());
    mkfs.args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
    let made = mkfs.arg(image).arg(format!("{mebibytes}M")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// Reads a disk that no guest has any more.
pub(crate) fn judge(image: &Path) -> Judged {
    let read = |program: &str, arguments: &[&str]| {
        let ran = Command::new(needed(program).unwrap()).args(arguments).arg(image).output();
        String::from_utf8_lossy(&ran.unwrap().stdout).into_owned()
    };
    let header = read("dumpe2fs", &["-h"]);
    assert!(header.contains("Filesystem features"), "{header}");
    let data: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    Judged {
        is_data_there: read("debugfs", &["-R", "cat /data"]) == data,
        is_journal_clean: !header.contains("needs_recovery"),
    }
}

/// A copy, as a snapshot of what is there now.
pub(crate) fn copy(image: &Path, to: &Path) {
    fs::copy(image, to).unwrap();
}
