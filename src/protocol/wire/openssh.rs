//! OpenSSH's own formats for Ed25519 keys (PROTOCOL.key, RFC 4253 section 6.6): a public key on one line,
//! and a private key in a file, without a passphrase.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

const TYPE: &[u8] = b"ssh-ed25519";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";

/// Why a key cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The private key needs a passphrase.
    Encrypted,
    /// Not an Ed25519 key in OpenSSH's format.
    Form,
    /// A point of small order, or not in its canonical form: no program makes such a key.
    Weak,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Encrypted => "the key needs a passphrase",
            Self::Form => "not an OpenSSH Ed25519 key",
            Self::Weak => "the key is a point of small order or not canonical",
        })
    }
}

/// Reads `ssh-ed25519 AAAA... comment`.
///
/// # Errors
/// [`Unreadable::Form`] or [`Unreadable::Weak`].
pub fn public_key(line: &str) -> Result<VerifyingKey, Unreadable> {
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some("ssh-ed25519") {
        return Err(Unreadable::Form);
    }
    let blob = Base64::decode_vec(words.next().ok_or(Unreadable::Form)?);
    let blob = blob.map_err(|_| Unreadable::Form)?;
    let mut rest = blob.as_slice();
    let (kind, key) = (string(&mut rest)?, string(&mut rest)?);
    if kind != TYPE || !rest.is_empty() {
        return Err(Unreadable::Form);
    }
    point(key)
}

/// Writes a public key as one line, without a line end.
#[must_use]
pub fn public_line(key: &VerifyingKey, comment: &str) -> String {
    let line = format!("ssh-ed25519 {}", Base64::encode_string(&public_blob(key)));
    if comment.is_empty() { line } else { format!("{line} {comment}") }
}

/// Reads the text of a private key file that has no passphrase.
///
/// # Errors
/// [`Unreadable::Encrypted`] if it has one; [`Unreadable::Form`] otherwise.
pub fn private_key(text: &str) -> Result<SigningKey, Unreadable> {
    let inner = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let packed: Zeroizing<String> =
        Zeroizing::new(inner.ok_or(Unreadable::Form)?.split_ascii_whitespace().collect());
    let octets = Zeroizing::new(Base64::decode_vec(&packed).map_err(|_| Unreadable::Form)?);
    let mut rest = octets.strip_prefix(MAGIC).ok_or(Unreadable::Form)?;
    let (cipher, kdf, options) = (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    if (cipher, kdf, options) != (b"none", b"none", b"") {
        return Err(Unreadable::Encrypted);
    }
    let (count, public, mut private) = (number(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    if count != 1 || !rest.is_empty() {
        return Err(Unreadable::Form);
    }
    let (check, again) = (number(&mut private)?, number(&mut private)?);
    let (kind, point, pair) = (string(&mut private)?, string(&mut private)?, string(&mut private)?);
    let pair: &[u8; 64] = pair.try_into().map_err(|_| Unreadable::Form)?;
    let key = SigningKey::from_keypair_bytes(pair).map_err(|_| Unreadable::Form)?;
    let whole = check == again
        && kind == TYPE
        && point == key.verifying_key().as_bytes()
        && public == public_blob(&key.verifying_key());
    whole.then_some(key).ok_or(Unreadable::Form)
}

/// Writes a private key file without a passphrase. `check` is any number: OpenSSH draws it at random.
#[must_use]
pub fn private_file(key: &SigningKey, comment: &str, check: [u8; 4]) -> Zeroizing<String> {
    let public = public_blob(&key.verifying_key());
    let mut private = Zeroizing::new([check, check].concat());
    put(&mut private, TYPE);
    put(&mut private, key.verifying_key().as_bytes());
    put(&mut private, Zeroizing::new(key.to_keypair_bytes()).as_slice());
    put(&mut private, comment.as_bytes());
    let padding = private.len().wrapping_neg() % 8;
    private.extend((1_u8..).take(padding));

    let mut octets = Zeroizing::new(MAGIC.to_vec());
    for part in [b"none".as_slice(), b"none", b""] {
        put(&mut octets, part);
    }
    octets.extend_from_slice(&1_u32.to_be_bytes());
    put(&mut octets, &public);
    put(&mut octets, &private);
    let packed = Zeroizing::new(Base64::encode_string(&octets));
    let mut text = Zeroizing::new(format!("{BEGIN}\n"));
    for line in packed.as_bytes().chunks(70) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// The key of 32 octets, if it is in its canonical form and of large order.
fn point(octets: &[u8]) -> Result<VerifyingKey, Unreadable> {
    let octets: &[u8; 32] = octets.try_into().map_err(|_| Unreadable::Form)?;
    let key = VerifyingKey::from_bytes(octets).map_err(|_| Unreadable::Form)?;
    let canonical = key.to_edwards().compress().as_bytes() == octets;
    (canonical && !key.is_weak()).then_some(key).ok_or(Unreadable::Weak)
}

fn public_blob(key: &VerifyingKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put(&mut blob, TYPE);
    put(&mut blob, key.as_bytes());
    blob
}

fn put(octets: &mut Vec<u8>, string: &[u8]) {
    let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(string);
}

fn number(rest: &mut &[u8]) -> Result<u32, Unreadable> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or(Unreadable::Form)?;
    *rest = tail;
    Ok(u32::from_be_bytes(*head))
}

fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let length = usize::try_from(number(rest)?).map_err(|_| Unreadable::Form)?;
    let (string, tail) = rest.split_at_checked(length).ok_or(Unreadable::Form)?;
    *rest = tail;
    Ok(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn line_of(point: &[u8; 32]) -> String {
        let mut blob = Vec::new();
        put(&mut blob, TYPE);
        put(&mut blob, point);
        format!("ssh-ed25519 {}", Base64::encode_string(&blob))
    }

    #[test]
    fn a_written_private_key_reads_back() {
        for comment in ["", "a", "alice@laptop"] {
            let text = private_file(&key(), comment, [1, 2, 3, 4]);
            assert_eq!(private_key(&text).unwrap().to_bytes(), [7; 32]);
        }
    }

    #[test]
    fn a_written_public_key_reads_back() {
        let line = public_line(&key().verifying_key(), "alice@laptop");
        assert_eq!(public_key(&line), Ok(key().verifying_key()));
    }

    #[test]
    fn points_of_small_order_and_second_spellings_are_refused() {
        let identity = {
            let mut point = [0; 32];
            point[0] = 1;
            point
        };
        let zero = [0; 32];
        // y = p + 3 is a second spelling of y = 3, a point of large order
        let mut second = [0xff; 32];
        (second[0], second[31]) = (0xf0, 0x7f);
        let mut first = [0; 32];
        first[0] = 3;
        assert!(public_key(&line_of(&first)).is_ok());
        for point in [identity, zero, second] {
            assert_eq!(public_key(&line_of(&point)), Err(Unreadable::Weak));
        }
    }

    #[test]
    fn what_is_no_ed25519_line_is_refused() {
        let good = public_line(&key().verifying_key(), "");
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-rsa AAAA",
            "ssh-ed25519 !!!!",
            &good[..40],
            &good.replace("ssh-ed25519 ", "ssh-rsa "),
        ] {
            assert_eq!(public_key(bad), Err(Unreadable::Form), "{bad}");
        }
    }

    #[test]
    fn a_private_key_cut_anywhere_is_refused() {
        let text = private_file(&key(), "c", [0; 4]);
        for end in 0..text.len() - 1 {
            assert!(private_key(&text[..end]).is_err());
        }
    }
}
