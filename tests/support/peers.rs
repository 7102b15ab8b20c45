//! What a test needs from the machine: programs, libraries, rights. Without them a test says that it is skipped, or
//! fails where `CI` is set.

use std::path::{Path, PathBuf};

/// The Python that has the packages of the peers.
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var_os("NETSYSRQ_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        missing("the Python of NETSYSRQ_TEST_PYTHON");
    }
    python
}

/// A program that a test needs, if it is installed. Where CI is set a missing one is a failure.
pub(crate) fn needed(program: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/lib/dovecot"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists());
    if found.is_none() {
        missing(program);
    }
    found
}

/// Says loudly that a test is skipped for want of `what`, or fails it where CI is set.
pub(crate) fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is missing; ./test installs it");
    eprintln!("SKIPPED: {what} is missing; ./test installs it");
}

/// Whether this is root, which may switch users and mount; says loudly that a test is skipped if not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}

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
