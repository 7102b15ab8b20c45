//! The file of an HMAC secret: 32 octets or more, in base64 on one line.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// The fewest octets of a secret: HMAC 256/256 deserves as many as its hash has (RFC 2104 section 3).
const LEAST: usize = 32;

/// Reads a file. `None` if it is not base64, or too short.
#[must_use]
pub fn read(file: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(file).ok()?.trim_ascii();
    let octets = Zeroizing::new(Base64::decode_vec(text).ok()?);
    (octets.len() >= LEAST).then_some(octets)
}

/// Writes a file.
#[must_use]
pub fn write(octets: &[u8; LEAST]) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(octets) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_32_octets_or_more_and_reads_back() {
        assert_eq!(read(write(&[7; LEAST]).as_bytes()).unwrap().as_slice(), [7; LEAST]);
        let coded = |octets: usize| Base64::encode_string(&vec![7; octets]);
        assert!(read(coded(64).as_bytes()).is_some());
        for bad in [coded(31), String::new(), coded(32) + "!", coded(32).replacen('B', "\u{e4}", 1)]
        {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
