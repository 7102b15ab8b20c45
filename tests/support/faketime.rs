//! Where libfaketime is; shared with the tests of mail systems.

use std::path::PathBuf;

use crate::support::missing;

/// The library that gives a program another clock.
pub(crate) fn libfaketime() -> Option<PathBuf> {
    let found = ["x86_64", "aarch64"]
        .map(|m| PathBuf::from(format!("/usr/lib/{m}-linux-gnu/faketime/libfaketime.so.1")))
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        missing("libfaketime");
    }
    found
}
