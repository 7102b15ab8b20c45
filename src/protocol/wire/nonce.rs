//! The nonce of a request: a number that is used once, by which log, spool and answers name the request.

use std::fmt;

/// 8 to 32 random octets (`cti`, RFC 8392), shown in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// `None` if there are fewer than 8 octets, or more than 32.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Option<Self> {
        (8..=32).contains(&octets.len()).then_some(Self(octets))
    }

    /// Reads what [`fmt::Display`] writes, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => c.checked_sub(b'0'),
            b'a'..=b'f' => c.checked_sub(b'a')?.checked_add(10),
            _ => None,
        };
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        let octets = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        odd.is_empty().then(|| Self::new(octets.collect::<Option<_>>()?))?
    }

    /// The octets.
    #[must_use]
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Octets in lower-case hexadecimal.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_8_to_32_octets_and_reads_back() {
        for length in 0..40 {
            let octets: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(7)).collect();
            let nonce = Nonce::new(octets.clone());
            assert_eq!(nonce.is_some(), (8..=32).contains(&length), "{length}");
            assert_eq!(Nonce::parse(&hex(&octets)), nonce, "{length}");
        }
    }

    #[test]
    fn what_no_nonce_shows_itself_as_is_not_read() {
        for bad in ["9F9f9f9f9f9f9f9f", "9f9f9f9f9f9f9f9f9", "9g9f9f9f9f9f9f9f", "+f9f9f9f9f9f9f9f"]
        {
            assert_eq!(Nonce::parse(bad), None, "{bad}");
        }
    }
}
