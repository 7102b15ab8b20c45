//! The log: one line per event to `/dev/log`, facility LOG_AUTHPRIV, fields `name=value`.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::{clock, rate};
use crate::protocol::rules::allowance::Admission;

/// LOG_AUTHPRIV (10 << 3) with LOG_INFO (6), and with LOG_ERR (3).
const INFO: u8 = 86;
const ERR: u8 = 83;
/// A line is cut here, in octets: syslog daemons take 1024.
const LINE: usize = 960;
/// The most lines about unverified mail per minute.
const UNVERIFIED: u32 = 60;

/// The most lines about unverified mail that one process writes if they cannot be counted.
const UNCOUNTED: u32 = 8;

/// Where lines go.
#[derive(Debug, Default)]
pub struct Log {
    /// Also to standard error: by hand only, never for a mail system.
    pub verbose: bool,
    /// The state directory: where the lines about unverified mail are counted.
    pub state: Option<PathBuf>,
    /// How many lines were written without being counted there.
    pub uncounted: Cell<u32>,
}

/// One line: a word and its fields.
#[derive(Clone, Debug)]
pub struct Line {
    text: String,
    priority: u8,
    unverified: bool,
}

impl Line {
    /// Something that happened.
    #[must_use]
    pub fn info(word: &str) -> Self {
        Self { text: word.to_owned(), priority: INFO, unverified: false }
    }

    /// Something that the administrator must mend.
    #[must_use]
    pub fn error(word: &str) -> Self {
        Self { text: word.to_owned(), priority: ERR, unverified: false }
    }

    /// Adds a field. A value that is not one plain word is quoted, its controls escaped.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let plain = !value.is_empty()
            && value.bytes().all(|c| c.is_ascii_graphic() && c != b'"' && c != b'\\' && c != b'=');
        // writing to a String cannot fail
        let _written = if plain || is_message_id(value) {
            write!(self.text, " {name}={value}")
        } else {
            write!(self.text, " {name}=\"{}\"", value.escape_default())
        };
        self
    }

    /// Marks a line that any stranger can cause: only a limited number is written per minute.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.unverified = true;
        self
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let mut end = self.text.len().min(LINE);
        while !self.text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        self.text.get(..end).unwrap_or_default()
    }
}

impl Log {
    /// Writes a line. A log that does not take it stops nothing.
    pub fn write(&self, line: &Line) {
        if line.unverified && self.is_flooded() {
            return;
        }
        let text = line.as_str();
        if self.verbose {
            // if standard error is closed, there is nobody to tell
            drop(writeln!(std::io::stderr(), "{text}"));
        }
        let datagram = format!("<{}>netsysrq-mail[{}]: {text}", line.priority, std::process::id());
        if let Ok(socket) = UnixDatagram::unbound() {
            drop(socket.set_nonblocking(true));
            drop(socket.send_to(datagram.as_bytes(), "/dev/log"));
        }
    }

    fn is_flooded(&self) -> bool {
        let counted = self.state.as_ref().and_then(|state| {
            rate::take(&state.join("rate/_unverified"), UNVERIFIED, 60, clock::now()).ok()
        });
        counted.map_or_else(
            || self.uncounted.replace(self.uncounted.get().saturating_add(1)) >= UNCOUNTED,
            |admission| admission != Admission::Within,
        )
    }
}

fn is_message_id(value: &str) -> bool {
    value.starts_with('<') && value.ends_with('>') && value.bytes().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        let line = Line::info("refused")
            .with("reason", "expired")
            .with("cmd", "a b\n\"=\u{1b}ä")
            .with("msgid", "<a=b@c>")
            .with("empty", "");
        assert_eq!(
            line.as_str(),
            r#"refused reason=expired cmd="a b\n\"=\u{1b}\u{e4}" msgid=<a=b@c> empty="""#
        );
        assert_eq!(Line::info("x").with("y", &"ä".repeat(900)).as_str().len(), LINE);
    }
}
