//! What an answer vouches for: a CWT claims set under the host's own key, in a frame of its own.

use coset::CborSerializable;
use coset::cbor::Value;
use coset::cwt::{ClaimName, ClaimsSet, ClaimsSetBuilder};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};

use super::cose::{self, Envelope, Seal, Verifier};
use super::nonce::Nonce;
use super::request::{stamp, whole};
use super::walk::Malformed;
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Time;

/// The signed part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// `iss`: the host that answers.
    pub host: String,
    /// `sub`: the key that asked.
    pub key: String,
    /// `cti`: the nonce of the request.
    pub nonce: Nonce,
    /// `iat`: when the answer was written.
    pub issued: Time,
    /// `stage`: which answer.
    pub stage: String,
    /// `verdict`: what the host decided.
    pub verdict: Ruling,
    /// `status`: exit status, or the negative of the signal that ended the command; absent if none ran to its end.
    pub status: Option<i64>,
    /// `duration`: of the command, in milliseconds.
    pub duration: Option<u64>,
    /// `out`: length in octets and SHA-256 of the output as mailed.
    pub output: Option<Digested>,
}

/// Length and SHA-256 of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// In octets.
    pub length: u64,
    /// 32 octets.
    pub sha256: [u8; 32],
}

impl Digested {
    /// Of these octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        Self { length, sha256: Sha256::digest(octets).into() }
    }
}

impl Statement {
    /// The container, under the host's key. `None` if a number in it is out of bounds.
    #[must_use]
    pub fn seal(&self, host_key: &Seal) -> Option<Vec<u8>> {
        let mut claims = ClaimsSetBuilder::new()
            .issuer(self.host.clone())
            .subject(self.key.clone())
            .issued_at(stamp(self.issued)?)
            .cwt_id(self.nonce.as_octets().to_vec());
        if let Some(Digested { length, sha256 }) = &self.output {
            let pair = vec![Value::from(*length), Value::Bytes(sha256.to_vec())];
            claims = claims.text_claim("out".into(), Value::Array(pair));
        }
        claims = claims.text_claim("stage".into(), Value::Text(self.stage.clone()));
        if let Some(status) = self.status {
            claims = claims.text_claim("status".into(), Value::from(status));
        }
        claims = claims.text_claim("verdict".into(), Value::Text(self.verdict.to_string()));
        if let Some(duration) = self.duration {
            claims = claims.text_claim("duration".into(), Value::from(duration));
        }
        let payload = claims.build().to_vec().ok()?;
        cose::seal(payload, self.host.as_bytes(), cose::ANSWER_AAD, host_key)
    }

    /// What the holder of `host_key` states in `octets`.
    ///
    /// # Errors
    /// [`Malformed`] if the octets are not an answer, not signed by that key, or name one host outside and
    /// another inside.
    pub fn open(octets: &[u8], host_key: &VerifyingKey) -> Result<Self, Malformed> {
        let envelope = Envelope::open(octets, cose::ANSWER_AAD)?;
        let payload = envelope.verify(&Verifier::Ed25519(*host_key)).map_err(|_| Malformed)?;
        let statement = Self::decode(payload)?;
        let named = statement.host.as_bytes() == envelope.kid();
        named.then_some(statement).ok_or(Malformed)
    }

    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let ClaimsSet {
            issuer: Some(host),
            subject: Some(key),
            audience: None,
            expiration_time: None,
            not_before: None,
            issued_at: Some(issued),
            cwt_id: Some(nonce),
            rest,
        } = cose::claims(payload)?
        else {
            return Err(Malformed);
        };
        let (mut stage, mut verdict) = (None, None);
        let (mut status, mut duration, mut output) = (None, None, None);
        for (name, value) in rest {
            let ClaimName::Text(name) = name else { return Err(Malformed) };
            match (name.as_str(), value) {
                ("stage", Value::Text(text)) => stage = Some(text),
                ("verdict", Value::Text(text)) => {
                    verdict = Some(Ruling::parse(&text).ok_or(Malformed)?);
                }
                ("status", Value::Integer(n)) => {
                    status = Some(i64::try_from(n).map_err(|_| Malformed)?);
                }
                ("duration", Value::Integer(n)) => {
                    duration = Some(u64::try_from(n).map_err(|_| Malformed)?);
                }
                ("out", Value::Array(pair)) => output = Some(digested(pair)?),
                _ => return Err(Malformed),
            }
        }
        Ok(Self {
            host,
            key,
            nonce: Nonce::new(nonce).ok_or(Malformed)?,
            issued: whole(&issued)?,
            stage: stage.ok_or(Malformed)?,
            verdict: verdict.ok_or(Malformed)?,
            status,
            duration,
            output,
        })
    }
}

fn digested(pair: Vec<Value>) -> Result<Digested, Malformed> {
    let [Value::Integer(length), Value::Bytes(sha256)] = pair.as_slice() else {
        return Err(Malformed);
    };
    Ok(Digested {
        length: u64::try_from(*length).map_err(|_| Malformed)?,
        sha256: sha256.as_slice().try_into().map_err(|_| Malformed)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn statement() -> Statement {
        Statement {
            host: "web1.example.com".into(),
            key: "alice".into(),
            nonce: Nonce::new(vec![9; 16]).unwrap(),
            issued: Time::from_unix(1_763_665_360),
            stage: "result".into(),
            verdict: Ruling::Run,
            status: Some(-15),
            duration: Some(1500),
            output: Some(Digested::of(b"up 3 days\n")),
        }
    }

    #[test]
    fn an_answer_states_what_was_sealed_under_the_right_key_alone() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let bare = Statement { status: None, duration: None, output: None, ..statement() };
        for statement in [statement(), bare] {
            let octets = statement.seal(&Seal::Ed25519(key.clone())).unwrap();
            assert_eq!(Statement::open(&octets, &key.verifying_key()), Ok(statement));
            assert_eq!(Statement::open(&octets, &other.verifying_key()), Err(Malformed));
        }
    }

    #[test]
    fn the_claims_are_in_deterministic_order() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let octets = statement().seal(&Seal::Ed25519(key.clone())).unwrap();
        let envelope = Envelope::open(&octets, cose::ANSWER_AAD).unwrap();
        let Ok(Value::Map(pairs)) = Value::from_slice(envelope.unverified_payload()) else {
            panic!("a map")
        };
        let keys: Vec<Vec<u8>> = pairs.into_iter().map(|(key, _)| key.to_vec().unwrap()).collect();
        assert!(keys.is_sorted(), "{keys:x?}");
    }
}
