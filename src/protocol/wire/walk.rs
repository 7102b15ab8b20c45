//! A strict walk over CBOR octets (RFC 8949), before any library decodes them.
//!
//! Allowed: definite lengths, shortest forms, UTF-8 text, integers, octet strings, text, arrays, maps without a
//! duplicate key, true and false. Refused: everything else, nesting beyond [`DEPTH`], octets left over.

/// How deep arrays and maps may nest.
pub const DEPTH: usize = 4;

/// The octets are not CBOR of the one form that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Walks one item that makes up all of `octets`.
///
/// # Errors
/// [`Malformed`] for anything that the head of this file does not allow.
pub fn item(octets: &[u8]) -> Result<(), Malformed> {
    let rest = walk(octets, 0)?;
    if rest.is_empty() { Ok(()) } else { Err(Malformed) }
}

/// Walks one item after a one-octet tag, which together make up all of `octets`, and returns the tag.
///
/// # Errors
/// [`Malformed`] if there is no such tag, or if what follows it is not allowed.
pub fn tagged(octets: &[u8]) -> Result<u8, Malformed> {
    match octets {
        [head @ 0xc0..=0xd7, rest @ ..] => item(rest).map(|()| head & 0x1f),
        _ => Err(Malformed),
    }
}

fn walk(octets: &[u8], depth: usize) -> Result<&[u8], Malformed> {
    let (head, _) = octets.split_first().ok_or(Malformed)?;
    let (major, value, rest) = number(octets)?;
    match major {
        0 | 1 => Ok(rest),
        2 | 3 => {
            let length = usize::try_from(value).map_err(|_| Malformed)?;
            let (string, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
            if major == 3 && std::str::from_utf8(string).is_err() {
                return Err(Malformed);
            }
            Ok(rest)
        }
        4 | 5 if depth >= DEPTH => Err(Malformed),
        4 => (0..value).try_fold(rest, |rest, _| walk(rest, depth.saturating_add(1))),
        5 => map(rest, value, depth.saturating_add(1)),
        7 if matches!(head, 0xf4 | 0xf5) => Ok(rest),
        _ => Err(Malformed),
    }
}

fn map(octets: &[u8], pairs: u64, depth: usize) -> Result<&[u8], Malformed> {
    let mut keys = Vec::new();
    (0..pairs).try_fold(octets, |octets, _| {
        let after_key = walk(octets, depth)?;
        let length = octets.len().saturating_sub(after_key.len());
        // shortest forms only, so equal keys are equal octets
        let key = octets.get(..length).ok_or(Malformed)?;
        if keys.contains(&key) {
            return Err(Malformed);
        }
        keys.push(key);
        walk(after_key, depth)
    })
}

/// Major type, argument and what follows them; indefinite lengths and forms longer than needed are refused.
fn number(octets: &[u8]) -> Result<(u8, u64, &[u8]), Malformed> {
    let (head, rest) = octets.split_first().ok_or(Malformed)?;
    let info = head & 0x1f;
    let (width, least) = match info {
        0..=23 => return Ok((head >> 5, u64::from(info), rest)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return Err(Malformed),
    };
    let (argument, rest) = rest.split_at_checked(width).ok_or(Malformed)?;
    let value = argument.iter().fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
    if value < least { Err(Malformed) } else { Ok((head >> 5, value, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_items_are_allowed() {
        for octets in [
            &b"\x00"[..],
            b"\x18\x18",
            b"\x1a\x00\x01\x00\x00",
            b"\x20",
            b"\x42ab",
            b"\x62ab",
            b"\x82\x01\x02",
            b"\xa2\x01\x02\x03\x04",
            b"\xf5",
            b"\x81\x81\x81\x80",
        ] {
            assert_eq!(item(octets), Ok(()), "{octets:x?}");
        }
        assert_eq!(tagged(b"\xd2\x80"), Ok(18));
    }

    #[test]
    fn every_other_form_is_refused() {
        let cases: [(&str, &[u8]); 21] = [
            ("nothing", b""),
            ("trailing octets", b"\x00\x00"),
            ("one-octet integer longer than needed", b"\x18\x17"),
            ("two-octet integer longer than needed", b"\x19\x00\xff"),
            ("four-octet integer longer than needed", b"\x1a\x00\x00\xff\xff"),
            ("eight-octet integer longer than needed", b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff"),
            ("length longer than needed", b"\x58\x01a"),
            ("indefinite octets", b"\x5f\x41a\xff"),
            ("indefinite text", b"\x7f\x61a\xff"),
            ("indefinite array", b"\x9f\x00\xff"),
            ("indefinite map", b"\xbf\x00\x00\xff"),
            ("half float", b"\xf9\x3c\x00"),
            ("double float", b"\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
            ("null", b"\xf6"),
            ("undefined", b"\xf7"),
            ("simple value", b"\xe0"),
            ("nested tag", b"\x81\xc0\x00"),
            ("duplicate key", b"\xa2\x01\x02\x01\x03"),
            ("text that is not UTF-8", b"\x61\xff"),
            ("length past the end", b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff"),
            ("nesting of five", b"\x81\x81\x81\x81\x80"),
        ];
        for (name, octets) in cases {
            assert_eq!(item(octets), Err(Malformed), "{name}");
        }
        assert_eq!(tagged(b"\x80"), Err(Malformed), "untagged");
        assert_eq!(tagged(b"\xd8\x12\x80"), Err(Malformed), "tag longer than needed");
        assert_eq!(tagged(b"\xd8\x3d\x80"), Err(Malformed), "CWT tag");
    }

    #[test]
    fn an_array_that_claims_a_huge_length_ends_at_once() {
        assert_eq!(item(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), Err(Malformed));
    }
}
