//! The message on standard input.

use std::io::{self, IsTerminal, Read, Write};

/// Reads standard input to its end and keeps the first `most` octets.
///
/// Always to its end: a mail system takes unread input for a failed delivery (OpenSMTPD, procmail, Sieve).
///
/// # Errors
/// When it cannot be read.
pub fn read(most: usize) -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        // a person; if standard error is closed, there is nobody to tell
        drop(writeln!(io::stderr(), "reading a message from this terminal; end it with ^D"));
    }
    let mut kept = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    stdin.by_ref().take(limit).read_to_end(&mut kept)?;
    io::copy(&mut stdin, &mut io::sink())?;
    Ok(kept)
}
