//! Who may ask for what: the keys, and everything about their holders.

use std::collections::BTreeMap;
use std::time::Duration;

use lettre::Address;
use sha2::{Digest, Sha256};

use super::sysrq::Sequence;
use crate::protocol::id::Id;
use crate::protocol::time::Time;
use crate::protocol::wire::cose::Verifier;

/// The longest validity that a key may sign for, if its entry does not say.
pub const MAX_TTL: Duration = Duration::from_secs(4 * 3600);
/// How many requests an hour a key is given, if its entry does not say.
pub const PER_HOUR: u32 = 60;

/// SHA-256 of the octets of each published example key in `keys/`: whoever can read can sign with them.
const PUBLISHED: [[u8; 32]; 3] = [
    *b"\xb4\xbd\x1e\xb4\x14\xd0\xf7\x77\x51\x53\x09\xad\x5c\x3a\xbe\x87\x60\x35\x4e\xcf\x85\xd0\xe3\x4e\xa6\x1b\x30\x2d\x90\xe9\x55\x97",
    *b"\xc8\x1b\x82\x89\x60\x27\xd4\xd3\x54\x9b\x7c\x30\xd7\x66\x4a\xe2\xd8\x00\x0d\x9f\xa6\x8d\xce\x06\x0e\xfd\x6a\x6b\x5f\x31\x1e\xa1",
    *b"\xaa\x74\x12\x1d\xf8\xec\x54\xa3\xe5\x8a\x55\x44\x7f\xa8\x49\xa8\x11\xa8\xbb\x2f\x6b\x0c\x20\x18\xcc\x4a\x12\xd1\x6d\x28\xfe\x5d",
];

/// A key and everything about its holder.
#[derive(Debug)]
pub struct Key {
    /// Its name in the configuration, and the `kid` of its requests.
    pub id: Id,
    /// What its requests are checked with.
    pub verifier: Verifier,
    /// The one address that answers go to.
    pub answer_to: Address,
    /// The commands and built-ins that it may ask for.
    pub allow: Vec<Id>,
    /// The whole SysRq sequences that it may press.
    pub sysrq: Vec<Sequence>,
    /// The longest `exp - iat`.
    pub max_ttl: Duration,
    /// How many requests an hour are acted on.
    pub per_hour: u32,
    /// Requests are denied before this time.
    pub not_before: Option<Time>,
    /// Requests are denied from this time on.
    pub not_after: Option<Time>,
    /// All requests are denied.
    pub revoked: bool,
}

/// The keys of a configuration.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: BTreeMap<Id, Key>,
}

/// Why a key cannot be on the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its octets are published in `keys/`.
    Published,
    /// Another entry has the same octets.
    SharedWith(Id),
}

impl Keyring {
    /// Adds a key; another of the same id is replaced.
    ///
    /// # Errors
    /// [`Unfit`] if its octets are published, or on the keyring already.
    pub fn add(&mut self, key: Key) -> Result<(), Unfit> {
        let own = identity(&key.verifier);
        if is_published(&own) {
            return Err(Unfit::Published);
        }
        let twin = self.keys.values().find(|other| identity(&other.verifier) == own);
        if let Some(twin) = twin {
            return Err(Unfit::SharedWith(twin.id.clone()));
        }
        self.keys.insert(key.id.clone(), key);
        Ok(())
    }

    /// The key that a container names.
    #[must_use]
    pub fn by_kid(&self, kid: &[u8]) -> Option<&Key> {
        Id::new(std::str::from_utf8(kid).ok()?).and_then(|id| self.keys.get(&id))
    }

    /// The keys in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }
}

/// Whether this is a published example key.
#[must_use]
pub fn is_published(identity: &[u8]) -> bool {
    PUBLISHED.contains(&Sha256::digest(identity).into())
}

/// What tells one key from another: the public point, or the secret as HMAC uses it.
///
/// HMAC hashes a secret of more than 64 octets and fills a shorter one with zeros (RFC 2104 section 2), so secrets
/// that differ only in that are one key.
#[must_use]
pub fn identity(verifier: &Verifier) -> Vec<u8> {
    let mut octets = match verifier {
        Verifier::Ed25519(key) => return key.as_bytes().to_vec(),
        Verifier::Hmac(secret) if secret.len() > 64 => Sha256::digest(secret.as_slice()).to_vec(),
        Verifier::Hmac(secret) => secret.to_vec(),
    };
    while octets.last() == Some(&0) {
        octets.pop();
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn key(id: &str, secret: &[u8]) -> Key {
        Key {
            id: Id::new(id).unwrap(),
            verifier: Verifier::Hmac(Zeroizing::new(secret.to_vec())),
            answer_to: "a@b.example".parse().unwrap(),
            allow: vec![],
            sysrq: vec![],
            max_ttl: MAX_TTL,
            per_hour: PER_HOUR,
            not_before: None,
            not_after: None,
            revoked: false,
        }
    }

    #[test]
    fn two_spellings_of_one_hmac_key_are_one_key() {
        let long = [7; 100];
        let digest: [u8; 32] = Sha256::digest(long).into();
        for (one, other) in [(&[7; 32][..], &[&[7; 32][..], &[0]].concat()[..]), (&long, &digest)] {
            let mut keyring = Keyring::default();
            keyring.add(key("one", one)).unwrap();
            let shared = Err(Unfit::SharedWith(Id::new("one").unwrap()));
            assert_eq!(keyring.add(key("other", other)), shared);
        }
    }
}
