//! Composing a request: octets, frame, and the plain words above it.

use std::fmt::Write as _;

use ed25519_dalek::{Signature, VerifyingKey};

use crate::protocol::id::Id;
use crate::protocol::wire::cose::{self, Seal};
use crate::protocol::wire::frame::{self, Kind, SYMBOLS_MAX};
use crate::protocol::wire::message::Candidate;
use crate::protocol::wire::request::Request;

/// A request, ready to be pasted or mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The request.
    pub request: Request,
    /// The key's id on the host.
    pub key_id: String,
    /// The frame, its marker lines included.
    pub frame: String,
}

/// Signs octets with Ed25519, or says why not.
pub type Sign<'a> = &'a mut dyn FnMut(&[u8]) -> Result<[u8; 64], String>;

/// Who signs.
pub enum Signer<'a> {
    /// A key that we hold.
    Own(&'a Seal),
    /// Another program, which holds the private half of this key.
    Other(&'a VerifyingKey, Sign<'a>),
}

impl std::fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Own(_) => "Own",
            Self::Other(..) => "Other",
        })
    }
}

/// Signs a request, and reads the result back as a host would.
///
/// # Errors
/// What does not fit, and how to mend it.
pub fn sign(request: Request, key_id: &Id, signer: Signer<'_>) -> Result<Signed, String> {
    let octets = request.encode().ok_or("a time is out of bounds")?;
    let (kid, aad) = (key_id.as_str().as_bytes(), cose::REQUEST_AAD);
    let sealed = match signer {
        Signer::Own(seal) => cose::seal(octets, kid, aad, seal),
        Signer::Other(key, sign) => cose::sign1(octets, kid, aad, |signed| {
            let signature = sign(signed)?;
            let genuine = key.verify_strict(signed, &Signature::from_bytes(&signature)).is_ok();
            genuine.then_some(signature).ok_or_else(|| "the signature is by another key".to_owned())
        })?,
    };
    let sealed = sealed.ok_or("the request cannot be encoded")?;
    let frame = frame::encode(Kind::Request, &sealed).ok_or_else(|| {
        let symbols = frame::symbols_for(sealed.len());
        format!("the request has {symbols} symbols, and {SYMBOLS_MAX} is the most; shorten its arguments")
    })?;
    let signed = Signed { request, key_id: key_id.to_string(), frame };
    let found = Candidate::find(format!("Subject: request\n\n{}", signed.text()).as_bytes());
    let read_back = found.candidates.first().and_then(|candidate| {
        Request::decode(candidate.envelope().ok()?.unverified_payload()).ok()
    });
    if read_back.as_ref() != Some(&signed.request) || found.candidates.len() != 1 {
        return Err(
            "the request does not read back as asked for: times or words are out of bounds"
                .to_owned(),
        );
    }
    Ok(signed)
}

impl Signed {
    /// The plain words and the frame: the body of a mail. No dots and no addresses, which mail clients turn into links.
    #[must_use]
    pub fn text(&self) -> String {
        let request = &self.request;
        let plain = |text: &str| -> String {
            text.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { ' ' }).collect()
        };
        let mut text = String::new();
        let words = request.command.iter().map(|word| plain(word)).collect::<Vec<_>>().join(" ");
        let dry = if request.dry { ", dry run" } else { "" };
        // writing to a String cannot fail
        let _written = writeln!(
            text,
            "{} asks {}: {words}{dry}\nGood until {}\n",
            self.key_id,
            plain(&request.audience),
            request.expires,
        );
        text + &self.frame
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::protocol::time::Time;
    use crate::protocol::wire::nonce::Nonce;

    fn signed(expires: u64, words: &[&str]) -> Result<Signed, String> {
        let request = Request {
            audience: "web1.example.com".to_owned(),
            issued: Time::from_unix(1_763_665_351),
            expires: Time::from_unix(expires),
            nonce: Nonce::new(vec![9; 16]).unwrap(),
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            dry: false,
        };
        let key = Seal::Ed25519(SigningKey::from_bytes(&[7; 32]));
        sign(request, &Id::new("alice").unwrap(), Signer::Own(&key))
    }

    /// Mail clients turn whatever looks like an address or a host into a link.
    #[test]
    fn nothing_above_the_frame_looks_like_a_link() {
        let signed = signed(1_763_668_951, &["mail-to", "bob@example.com"]).unwrap();
        let text = signed.text();
        let first = text.lines().next().unwrap();
        assert_eq!(first, "alice asks web1 example com: mail-to bob example com");
        assert!(text.ends_with(&signed.frame));
    }

    #[test]
    fn what_a_host_would_refuse_is_not_signed() {
        assert!(signed(1_763_668_951, &["ping"]).is_ok());
        for (expires, words) in [
            (1_763_665_351, &["ping"][..]),
            (1 << 33, &["ping"]),
            (1_763_668_951, &[]),
            (1_763_668_951, &["ping", &"x".repeat(900)]),
        ] {
            assert!(signed(expires, words).is_err(), "{expires} {words:?}");
        }
    }
}
