//! A guest's disks, made before it and judged after it, without mounting them.

use std::path::Path;
use std::process::Command;

use crate::guest::Guest;
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

fn judge(image: &Path) -> Judged {
    let header = ran("dumpe2fs", &["-h"], image);
    assert!(header.contains("Filesystem features"), "{header}");
    let data: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    Judged {
        is_data_there: debugfs(image, "cat /data") == data,
        is_journal_clean: !header.contains("needs_recovery"),
    }
}

fn debugfs(image: &Path, request: &str) -> String {
    ran("debugfs", &["-R", request], image)
}

fn ran(program: &str, arguments: &[&str], image: &Path) -> String {
    let ran = Command::new(needed(program).unwrap()).args(arguments).arg(image).output();
    String::from_utf8_lossy(&ran.unwrap().stdout).into_owned()
}

impl Guest {
    /// What its disk looks like now.
    pub(crate) fn judge(&self) -> Judged {
        judge(&self.path("disk"))
    }

    /// A file of its disk; nothing if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        debugfs(&self.path("disk"), &format!("cat {name}"))
    }

    /// The names in a directory of its disk.
    pub(crate) fn list(&self, name: &str) -> String {
        debugfs(&self.path("disk"), &format!("ls -p {name}"))
    }
}
