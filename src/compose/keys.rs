//! Key files of an operator: OpenSSH private keys, with or without a passphrase, and HMAC secrets.

use std::fmt;

use ed25519_dalek::SigningKey;

use crate::protocol::wire::cose::Seal;
use crate::protocol::wire::openssh::{self, Unreadable};
use crate::protocol::wire::secret;

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
        return secret::read(text.as_bytes()).map(Seal::Hmac).ok_or(Unusable::Form);
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
