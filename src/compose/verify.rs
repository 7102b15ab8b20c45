//! Checking an answer: only what the host signed is shown.

use std::fmt::Write as _;

use ed25519_dalek::VerifyingKey;
use mail_parser::{MessageParser, MimeHeaders};

use crate::protocol::answer::{Digested, Statement};
use crate::protocol::frame::Kind;
use crate::protocol::message::{self, Place};
use crate::protocol::request::hex;

/// What a mail was found to hold.
#[derive(Debug)]
pub enum Found {
    /// An answer that one of the keys signed.
    Genuine {
        /// What it states.
        statement: Box<Statement>,
        /// The output, if the mail has it with the length and digest that were signed.
        output: Option<Vec<u8>>,
    },
    /// An answer that none of the keys signed.
    Forged,
    /// No answer.
    Nothing,
}

/// The key of a host, as an operator knows it.
#[derive(Clone, Debug)]
pub struct HostKey {
    /// The only name that this key may answer as; any, if the operator named the key itself.
    pub host: Option<String>,
    /// The key.
    pub key: VerifyingKey,
}

/// Looks for an answer in a mail, or in a frame alone, and checks it against the keys of hosts.
///
/// A command's output may quote an older answer, so of several the one to `nonce` counts; without one the last of the
/// text, where a host writes its own.
#[must_use]
pub fn check(mail: &[u8], keys: &[HostKey], nonce: Option<&[u8]>) -> Found {
    // a frame alone has no header: give it an empty one
    let whole = if mail.starts_with(b"netsysrq") { [b"\n", mail].concat() } else { mail.to_vec() };
    let found = message::search(Kind::Answer, &whole);
    if found.candidates.is_empty() {
        return if found.damaged.is_empty() { Found::Nothing } else { Found::Forged };
    }
    let mut genuine: Vec<(Place, Statement)> = found
        .candidates
        .into_iter()
        .filter_map(|candidate| {
            let place = candidate.place();
            let octets = candidate.into_octets();
            keys.iter().find_map(|known| known.open(&octets)).map(|statement| (place, statement))
        })
        .collect();
    let asked = |(_, statement): &(Place, Statement)| Some(statement.nonce.as_slice()) == nonce;
    let in_text = |(place, _): &(Place, Statement)| *place == Place::Text;
    let chosen = genuine
        .iter()
        .position(asked)
        .or_else(|| genuine.iter().rposition(in_text))
        .or(genuine.len().checked_sub(1));
    let Some(chosen) = chosen else { return Found::Forged };
    let (_, statement) = genuine.swap_remove(chosen);
    let output = statement.output.as_ref().and_then(|signed| attached(&whole, signed));
    Found::Genuine { statement: Box::new(statement), output }
}

impl HostKey {
    fn open(&self, octets: &[u8]) -> Option<Statement> {
        let statement = Statement::open(octets, &self.key).ok()?;
        let its_own = self.host.as_ref().is_none_or(|host| *host == statement.host);
        its_own.then_some(statement)
    }
}

/// The attachment that has the length and digest that were signed.
fn attached(mail: &[u8], signed: &Digested) -> Option<Vec<u8>> {
    let parsed = MessageParser::default().parse(mail)?;
    let parts = parsed.parts.iter().filter(|part| part.attachment_name().is_some());
    parts.map(|part| part.contents().to_vec()).find(|octets| Digested::of(octets) == *signed)
}

/// What a statement says, a line a claim.
#[must_use]
pub fn describe(statement: &Statement) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // writing to a String cannot fail
        let _written = writeln!(text, "{name:<9} {value}");
    };
    line("Host", &statement.host.escape_debug());
    line("Key", &statement.key.escape_debug());
    line("Nonce", &hex(&statement.nonce));
    line("Answered", &statement.issued);
    line("Stage", &statement.stage.escape_debug());
    line("Verdict", &statement.verdict.escape_debug());
    if let Some(status) = statement.status {
        line("Status", &status);
    }
    if let Some(duration) = statement.duration {
        line("Took", &format!("{duration} ms"));
    }
    if let Some(output) = &statement.output {
        line("Output", &format!("{} octets, SHA-256 {}", output.length, hex(&output.sha256)));
    }
    text
}
