//! What tools print.

use std::io::{self, Write};
use std::sync::OnceLock;

/// Why something could not be printed.
static UNPRINTED: OnceLock<io::Error> = OnceLock::new();

/// The error if something could not be printed.
pub(super) fn unprinted() -> Option<&'static io::Error> {
    UNPRINTED.get()
}

/// Prints, as long as somebody reads: a reader that goes away is no error.
pub(super) fn say(text: &str) {
    say_octets(text.as_bytes());
}

/// The same, for octets.
pub(super) fn say_octets(octets: &[u8]) {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(octets).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(UNPRINTED.set(error)),
        _ => {}
    }
}
