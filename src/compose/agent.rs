//! ssh-agent: a signature by a key that we never see (draft-miller-ssh-agent, sections 4 and 5).

use std::fmt;
use std::io::{self, Read, Write};

use ed25519_dalek::{SIGNATURE_LENGTH, VerifyingKey};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const ED25519: &[u8] = b"ssh-ed25519";
/// The largest message that OpenSSH's agent sends, in octets.
const LARGEST: u32 = 256 * 1024;

/// Why an agent did not do what was asked.
#[derive(Debug)]
pub enum Unwilling {
    /// It said no: it is locked, or somebody was asked and declined.
    Refused,
    /// It does not speak the protocol.
    Garbled,
    /// Talking to it failed.
    Io(io::Error),
}

impl fmt::Display for Unwilling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => {
                f.write_str("the agent refused: it may be locked, or its user may have declined")
            }
            Self::Garbled => f.write_str("what answers at SSH_AUTH_SOCK is not an agent"),
            Self::Io(error) => write!(f, "the agent: {error}"),
        }
    }
}

impl From<io::Error> for Unwilling {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A key that the agent holds, with its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The public key.
    pub key: VerifyingKey,
    /// What its owner calls it.
    pub comment: String,
}

/// An agent at the other end of a stream.
#[derive(Debug)]
pub struct Agent<S>(pub S);

impl<S: Read + Write> Agent<S> {
    /// The Ed25519 keys that it holds.
    ///
    /// # Errors
    /// [`Unwilling`].
    pub fn keys(&mut self) -> Result<Vec<Held>, Unwilling> {
        let answer = self.ask(&[REQUEST_IDENTITIES], IDENTITIES_ANSWER)?;
        let mut fields = Fields(&answer);
        let count = fields.number()?;
        let mut held = Vec::new();
        for _ in 0..count {
            let (blob, comment) = (fields.string()?, fields.string()?);
            if let Some(key) = ed25519(blob) {
                let comment = String::from_utf8_lossy(comment).into_owned();
                held.push(Held { key, comment });
            }
        }
        Ok(held)
    }

    /// Signs `octets`.
    ///
    /// # Errors
    /// [`Unwilling`].
    pub fn sign(
        &mut self,
        key: &VerifyingKey,
        octets: &[u8],
    ) -> Result<[u8; SIGNATURE_LENGTH], Unwilling> {
        let blob = [string(ED25519), string(key.as_bytes())].concat();
        let flags = 0_u32.to_be_bytes();
        let question = [&[SIGN_REQUEST][..], &string(&blob), &string(octets), &flags].concat();
        let answer = self.ask(&question, SIGN_RESPONSE)?;
        let mut fields = Fields(Fields(&answer).string()?);
        let (algorithm, signature) = (fields.string()?, fields.string()?);
        if algorithm != ED25519 {
            return Err(Unwilling::Garbled);
        }
        signature.try_into().map_err(|_| Unwilling::Garbled)
    }

    fn ask(&mut self, question: &[u8], expected: u8) -> Result<Vec<u8>, Unwilling> {
        self.0.write_all(&string(question))?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > LARGEST {
            return Err(Unwilling::Garbled);
        }
        let mut answer = Vec::new();
        Read::take(&mut self.0, length.into()).read_to_end(&mut answer)?;
        match answer.split_first() {
            Some((kind, rest)) if *kind == expected => Ok(rest.to_vec()),
            Some((&FAILURE, _)) => Err(Unwilling::Refused),
            _ => Err(Unwilling::Garbled),
        }
    }
}

/// A string of RFC 4251: its length, and its octets.
fn string(octets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(octets.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length, octets].concat()
}

fn ed25519(blob: &[u8]) -> Option<VerifyingKey> {
    let mut fields = Fields(blob);
    let (kind, key) = (fields.string().ok()?, fields.string().ok()?);
    (kind == ED25519).then(|| VerifyingKey::from_bytes(key.try_into().ok()?).ok())?
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u32, Unwilling> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Unwilling::Garbled)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Result<&'a [u8], Unwilling> {
        let length = usize::try_from(self.number()?).map_err(|_| Unwilling::Garbled)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Unwilling::Garbled)?;
        self.0 = rest;
        Ok(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a canned answer, and keeps the question.
    struct Canned(Vec<u8>, io::Cursor<Vec<u8>>);

    impl Read for Canned {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.1.read(to)
        }
    }

    impl Write for Canned {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn agent(answer: &[u8]) -> Agent<Canned> {
        Agent(Canned(Vec::new(), io::Cursor::new(answer.to_vec())))
    }

    #[test]
    fn nothing_that_an_agent_may_say_is_believed_without_a_look() {
        let whole = string(
            &[&[SIGN_RESPONSE][..], &string(&[string(ED25519), string(&[7; 64])].concat())]
                .concat(),
        );
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key();
        assert_eq!(agent(&whole).sign(&key, b"x").unwrap(), [7; 64]);
        for length in 0..whole.len() {
            assert!(agent(&whole[..length]).sign(&key, b"x").is_err(), "{length}");
        }
        let another = string(
            &[&[SIGN_RESPONSE][..], &string(&[string(b"ssh-rsa"), string(&[7; 64])].concat())]
                .concat(),
        );
        for answer in [
            &another[..],
            b"",
            &string(b""),
            &string(&[6]),
            &string(&[IDENTITIES_ANSWER]),
            &[0xff; 8],
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert!(agent(answer).sign(&key, b"x").is_err(), "{answer:?}");
        }
        assert!(matches!(agent(&string(&[FAILURE])).sign(&key, b"x"), Err(Unwilling::Refused)));
        // 2^32 - 1 keys, and none there
        let many = string(&[IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(agent(&many).keys(), Err(Unwilling::Garbled)));
    }
}
