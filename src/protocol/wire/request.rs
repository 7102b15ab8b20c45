//! What a request says: a CWT claims set (RFC 8392), one command for one host or group.

use coset::CborSerializable;
use coset::cbor::Value;
use coset::cwt::{ClaimName, ClaimsSet, ClaimsSetBuilder, Timestamp};

use super::cose;
use super::nonce::Nonce;
use super::walk::Malformed;
use crate::protocol::time::Time;

/// One command for one host or group, as its signer wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `aud`: the host or group.
    pub audience: String,
    /// `iat`: when it was signed.
    pub issued: Time,
    /// `exp`: the first second at which it is too late; after `issued`, before [`Time::END`].
    pub expires: Time,
    /// `cti`: what tells this request from every other.
    pub nonce: Nonce,
    /// `cmd`: the command's name, then its arguments; at least the name.
    pub command: Vec<String>,
    /// `dry`: say what would run, and run nothing.
    pub dry: bool,
}

impl Request {
    /// Reads the payload of a container.
    ///
    /// # Errors
    /// [`Malformed`] for a missing, unknown or ill-typed claim, for times that are not in order, and for
    /// everything that [`super::walk`] refuses.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let claims = cose::claims(payload)?;
        let ClaimsSet {
            issuer: None,
            subject: None,
            audience: Some(audience),
            expiration_time: Some(expires),
            not_before: None,
            issued_at: Some(issued),
            cwt_id: Some(nonce),
            rest,
        } = claims
        else {
            return Err(Malformed);
        };
        let (mut command, mut dry) = (None, false);
        for (name, value) in rest {
            match (name, value) {
                (ClaimName::Text(name), Value::Array(words)) if name == "cmd" => {
                    command = words.into_iter().map(|word| word.into_text().ok()).collect();
                }
                (ClaimName::Text(name), Value::Bool(value)) if name == "dry" => dry = value,
                _ => return Err(Malformed),
            }
        }
        let command: Vec<String> = command.ok_or(Malformed)?;
        let nonce = Nonce::new(nonce).ok_or(Malformed)?;
        let (issued, expires) = (whole(&issued)?, whole(&expires)?);
        let well =
            issued < expires && expires < Time::END && !audience.is_empty() && !command.is_empty();
        well.then_some(Self { audience, issued, expires, nonce, command, dry }).ok_or(Malformed)
    }

    /// The payload of a container: keys in the order of RFC 8949 section 4.2.1.
    ///
    /// `None` if a time is more than a signed 64-bit number holds.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let words = self.command.iter().cloned().map(Value::Text).collect();
        let claims = ClaimsSetBuilder::new()
            .audience(self.audience.clone())
            .expiration_time(stamp(self.expires)?)
            .issued_at(stamp(self.issued)?)
            .cwt_id(self.nonce.as_octets().to_vec())
            .text_claim("cmd".into(), Value::Array(words));
        let claims =
            if self.dry { claims.text_claim("dry".into(), Value::Bool(true)) } else { claims };
        claims.build().to_vec().ok()
    }
}

/// A whole, unsigned number of seconds.
///
/// # Errors
/// [`Malformed`] for anything else.
pub(super) fn whole(stamp: &Timestamp) -> Result<Time, Malformed> {
    match stamp {
        Timestamp::WholeSeconds(seconds) => {
            u64::try_from(*seconds).map(Time::from_unix).map_err(|_| Malformed)
        }
        Timestamp::FractionalSeconds(_) => Err(Malformed),
    }
}

pub(super) fn stamp(time: Time) -> Option<Timestamp> {
    i64::try_from(time.unix()).ok().map(Timestamp::WholeSeconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            audience: "web1".into(),
            issued: Time::from_unix(1_763_665_351),
            expires: Time::from_unix(1_763_668_951),
            nonce: Nonce::new(vec![7; 16]).unwrap(),
            command: vec!["restart".into(), "nginx".into()],
            dry: false,
        }
    }

    #[test]
    fn a_request_decodes_to_what_was_encoded() {
        for request in [request(), Request { dry: true, ..request() }] {
            assert_eq!(Request::decode(&request.encode().unwrap()), Ok(request));
        }
    }

    #[test]
    fn claims_may_come_in_any_order() {
        let Ok(Value::Map(mut pairs)) = Value::from_slice(&request().encode().unwrap()) else {
            panic!("a map")
        };
        pairs.reverse();
        assert_eq!(Request::decode(&Value::Map(pairs).to_vec().unwrap()), Ok(request()));
    }

    #[test]
    fn a_request_that_is_not_whole_is_refused() {
        let cases = [
            ("empty audience", Request { audience: String::new(), ..request() }),
            ("no command", Request { command: vec![], ..request() }),
            ("expires when issued", Request { expires: request().issued, ..request() }),
            ("expires in 2242", Request { expires: Time::END, ..request() }),
        ];
        for (name, request) in cases {
            assert_eq!(Request::decode(&request.encode().unwrap()), Err(Malformed), "{name}");
        }
    }

    #[test]
    fn missing_unknown_and_ill_typed_claims_are_refused() {
        let Ok(Value::Map(pairs)) = Value::from_slice(&request().encode().unwrap()) else {
            panic!("a map")
        };
        let refused = |pairs: Vec<(Value, Value)>, what: &str| {
            assert_eq!(
                Request::decode(&Value::Map(pairs).to_vec().unwrap()),
                Err(Malformed),
                "{what}"
            );
        };
        for at in 0..pairs.len() {
            let mut without = pairs.clone();
            without.remove(at);
            refused(without, "missing");
            let mut long = pairs.clone();
            long[at].1 = Value::Bytes(vec![1; 33]);
            refused(long, "of 33 octets");
            let mut short = pairs.clone();
            short[at].1 = Value::Bytes(vec![1; 7]);
            refused(short, "of seven octets");
            let mut ill_typed = pairs.clone();
            ill_typed[at].1 = Value::Bool(true);
            refused(ill_typed, "ill-typed");
            let mut negative = pairs.clone();
            negative[at].1 = Value::Integer((-1).into());
            refused(negative, "negative");
        }
        for key in [
            Value::Integer(1.into()),
            Value::Integer(5.into()),
            Value::Integer(99.into()),
            Value::Text("x".into()),
        ] {
            let mut more = pairs.clone();
            more.push((key, Value::Text("x".into())));
            refused(more, "unknown");
        }
    }
}
