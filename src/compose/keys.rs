//! Key files of an operator: OpenSSH private keys, with or without a passphrase, and HMAC secrets.

use std::fmt;

use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::protocol::wire::cose::Seal;
use crate::protocol::wire::openssh::{self, Unreadable};

/// Why a key file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It needs a passphrase.
    Encrypted,
    /// Neither an OpenSSH Ed25519 key nor a secret of 32 octets or more in base64.
    Form,
    /// The passphrase is wrong.
    Passphrase,
    /// The public half.
    Public,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted => "the key needs a passphrase; use a terminal or --passphrase-fd",
            Self::Form => "neither an OpenSSH Ed25519 private key nor an HMAC secret in base64",
            Self::Passphrase => "wrong passphrase",
            Self::Public => "this is the public half of a key; name the private one",
        })
    }
}

/// Reads a key file; its content tells which kind it is.
///
/// # Errors
/// [`Unusable`].
pub fn read(text: &str, passphrase: Option<&str>) -> Result<Seal, Unusable> {
    if openssh::public_key(text.trim()).is_ok() {
        return Err(Unusable::Public);
    }
    if !text.contains("PRIVATE KEY") {
        let secret =
            Zeroizing::new(Base64::decode_vec(text.trim_ascii()).map_err(|_| Unusable::Form)?);
        return if secret.len() < 32 { Err(Unusable::Form) } else { Ok(Seal::Hmac(secret)) };
    }
    match (openssh::private_key(text), passphrase) {
        (Ok(key), _) => Ok(Seal::Ed25519(key)),
        (Err(Unreadable::Encrypted), None) => Err(Unusable::Encrypted),
        (Err(Unreadable::Encrypted), Some(passphrase)) => {
            decrypt(text, passphrase).map(Seal::Ed25519)
        }
        (Err(Unreadable::Form | Unreadable::Weak), _) => Err(Unusable::Form),
    }
}

fn decrypt(text: &str, passphrase: &str) -> Result<SigningKey, Unusable> {
    let key = ssh_key::PrivateKey::from_openssh(text).map_err(|_| Unusable::Form)?;
    let key = key.decrypt(passphrase).map_err(|_| Unusable::Passphrase)?;
    let pair = key.key_data().ed25519().ok_or(Unusable::Form)?;
    SigningKey::from_keypair_bytes(&pair.to_bytes()).map_err(|_| Unusable::Form)
}

/// A new HMAC secret file: 32 octets in base64, one line.
#[must_use]
pub fn secret_file(octets: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(octets) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_32_octets_or_more() {
        let read = |octets: usize| read(&Base64::encode_string(&vec![7; octets]), None);
        assert!(matches!(read(31), Err(Unusable::Form)));
        assert!(matches!(read(32), Ok(Seal::Hmac(_))));
        assert!(matches!(read(64), Ok(Seal::Hmac(_))));
    }
}
