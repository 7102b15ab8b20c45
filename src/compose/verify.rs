//! Checking an answer: only what the host signed is shown.

use std::fmt::Write as _;

use ed25519_dalek::VerifyingKey;
use mail_parser::{MessageParser, MimeHeaders};

use crate::protocol::wire::answer::{Digested, Statement};
use crate::protocol::wire::frame::Kind;
use crate::protocol::wire::message::{self, Place};
use crate::protocol::wire::nonce::{Nonce, hex};

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
/// A command's output may quote an older answer: if there are several, the one to `nonce` counts; failing that, the
/// last in the text, where a host writes its own.
#[must_use]
pub fn check(mail: &[u8], keys: &[HostKey], nonce: Option<&Nonce>) -> Found {
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
    let asked = |(_, statement): &(Place, Statement)| Some(&statement.nonce) == nonce;
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

/// What a statement says, one line for each of its fields.
#[must_use]
pub fn describe(statement: &Statement) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // writing to a String cannot fail
        let _written = writeln!(text, "{name:<9} {value}");
    };
    line("Host", &statement.host.escape_debug());
    line("Key", &statement.key.escape_debug());
    line("Nonce", &statement.nonce);
    line("Answered", &statement.issued);
    line("Stage", &statement.stage.escape_debug());
    line("Verdict", &statement.verdict);
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

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::protocol::ruling::Ruling;
    use crate::protocol::time::Time;
    use crate::protocol::wire::cose::Seal;
    use crate::protocol::wire::frame;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn sixteen(octet: u8) -> Nonce {
        Nonce::new(vec![octet; 16]).unwrap()
    }

    fn answer(host: &str, nonce: u8) -> String {
        let statement = Statement {
            host: host.to_owned(),
            key: "alice".to_owned(),
            nonce: sixteen(nonce),
            issued: Time::from_unix(1_763_665_351),
            stage: "result".to_owned(),
            verdict: Ruling::Run,
            status: Some(0),
            duration: None,
            output: None,
        };
        frame::encode(Kind::Answer, &statement.seal(&Seal::Ed25519(key())).unwrap()).unwrap()
    }

    /// The nonce of the answer that counts, among those that a host of this name may have signed.
    fn counts(mail: &str, host: Option<&str>, nonce: Option<u8>) -> Option<u8> {
        let host = host.map(ToOwned::to_owned);
        let keys = [HostKey { host, key: key().verifying_key() }];
        let nonce = nonce.map(sixteen);
        match check(mail.as_bytes(), &keys, nonce.as_ref()) {
            Found::Genuine { statement, .. } => statement.nonce.as_octets().first().copied(),
            Found::Forged => None,
            Found::Nothing => panic!("no answer in {mail}"),
        }
    }

    #[test]
    fn a_host_answers_in_its_own_name_alone() {
        let mail = answer("web1", 1);
        assert_eq!(counts(&mail, Some("web1"), None), Some(1));
        assert_eq!(counts(&mail, None, None), Some(1));
        assert_eq!(counts(&mail, Some("web2"), None), None);
    }

    /// If it is not among them, the last one in the text counts, not one in an attachment.
    #[test]
    fn of_several_answers_the_one_asked_for_counts() {
        let text = answer("web1", 1) + &answer("web1", 2);
        let mail = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n{text}\n--b\n\
             Content-Disposition: attachment; filename=a\n\n{}\n--b--\n",
            answer("web1", 3)
        );
        for (asked, expected) in [(Some(1), 1), (Some(2), 2), (Some(3), 3), (Some(4), 2), (None, 2)]
        {
            assert_eq!(counts(&mail, None, asked), Some(expected), "{asked:?}");
        }
        assert_eq!(counts(&answer("web1", 5), None, None), Some(5), "a frame alone");
    }
}
