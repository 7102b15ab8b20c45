//! Candidates become verified requests: the octets received are checked under a key of ours, and only then read.

use super::job::name::Name;
use super::refusal::Refusal;
use super::rules::keyring::{Key, Keyring};
use super::wire::cose::Forged;
use super::wire::message::Candidate;
use super::wire::request::Request;

/// A request that the holder of a key on the keyring has made; whether it may be acted on is another question.
#[must_use]
#[derive(Debug)]
pub struct Verified<'k> {
    key: &'k Key,
    request: Request,
    cose: Vec<u8>,
}

impl Candidate {
    /// Checks the octets received, and only then reads what they say.
    ///
    /// # Errors
    /// [`Refusal::Form`], [`Refusal::UnknownKey`], [`Refusal::KeyType`] or [`Refusal::Signature`].
    pub fn verify(self, keyring: &Keyring) -> Result<Verified<'_>, Refusal> {
        let envelope = self.envelope()?;
        let key = keyring.by_kid(envelope.kid()).ok_or(Refusal::UnknownKey)?;
        let payload = envelope.verify(&key.verifier).map_err(|forged| match forged {
            Forged::KeyType => Refusal::KeyType,
            Forged::Signature => Refusal::Signature,
        })?;
        let request = Request::decode(payload).map_err(|_| Refusal::Form)?;
        Ok(Verified { key, request, cose: self.into_octets() })
    }
}

impl<'k> Verified<'k> {
    /// Who asks.
    #[must_use]
    pub fn key(&self) -> &'k Key {
        self.key
    }

    /// What is asked.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The octets received.
    #[must_use]
    pub fn cose(&self) -> &[u8] {
        &self.cose
    }

    /// The name of the job that this request is or will be: made of signed octets alone.
    #[must_use]
    pub fn job_name(&self) -> Name {
        let Request { expires, nonce, .. } = self.request();
        Name::new(expires.hour(), self.key().id.clone(), nonce.clone())
    }
}
