//! The frame: how octets travel in the text of a mail, and are found again after mail clients have handled it.
//!
//! Octets are `version(1) = 1 | length(2) | body | crc32(4)`, numbers big-endian, written as lower-case
//! Crockford base32. The decoder is lax about the text around the symbols and strict about the octets:
//! many texts decode to one body, which is harmless, since the body carries a signature and a nonce.

use super::crc::crc32;
use super::damage::{self, Damage};
use super::readings;

/// The most symbols that a frame may have.
pub const SYMBOLS_MAX: usize = 900;

/// The most markers of one text after which a frame is looked for.
pub const MARKERS_MAX: usize = 128;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const VERSION: u8 = 1;
const OVERHEAD: usize = 7;
const GROUP: usize = 5;
const GROUPS_A_LINE: usize = damage::LINE / GROUP;
const NAME: &str = "netsysrq";

/// Which of the two frames a text holds; each has a marker of its own, so that an answer is never taken for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `netsysrq answer begin`: from the host.
    Answer,
    /// `netsysrq begin`: to the host.
    Request,
}

/// What a text held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Bodies whose CRC was right, in order of appearance, each once.
    pub bodies: Vec<Vec<u8>>,
    /// What became of the first frame, if the text has a marker but no frame came through whole.
    pub damaged: Option<Damage>,
}

/// Writes `body` as a frame with its begin and end lines, each line ended by LF.
///
/// `None` if the frame would have more than [`SYMBOLS_MAX`] symbols.
#[must_use]
pub fn encode(kind: Kind, body: &[u8]) -> Option<String> {
    let length = u16::try_from(body.len()).ok()?;
    if symbols_for(body.len()) > SYMBOLS_MAX {
        return None;
    }
    let mut octets = vec![VERSION];
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(body);
    octets.extend_from_slice(&crc32(&octets).to_be_bytes());

    let words = match kind {
        Kind::Answer => "netsysrq answer",
        Kind::Request => "netsysrq",
    };
    let mut text = format!("{words} begin\n");
    let symbols = to_symbols(&octets);
    for line in symbols.as_bytes().chunks(GROUP.saturating_mul(GROUPS_A_LINE)) {
        for (n, group) in line.chunks(GROUP).enumerate() {
            if n > 0 {
                text.push(' ');
            }
            text.extend(group.iter().copied().map(char::from));
        }
        text.push('\n');
    }
    text.push_str(words);
    text.push_str(" end\n");
    Some(text)
}

/// How many symbols a frame around `body` octets has.
#[must_use]
pub fn symbols_for(body: usize) -> usize {
    body.saturating_add(OVERHEAD).saturating_mul(8).div_ceil(5)
}

/// Finds every frame of `kind` in `text`, in each of its [readings].
#[must_use]
pub fn find(kind: Kind, text: &str) -> Frames {
    let mut frames = Frames::default();
    let mut damaged = None;
    for reading in readings::naming(NAME, text) {
        let mut rest = reading.as_slice();
        for _ in 0..MARKERS_MAX {
            let Some(after) = after_marker(kind, rest) else { break };
            match decode(after) {
                Some(body) if !frames.bodies.contains(&body) => frames.bodies.push(body),
                Some(_) => {}
                None => {
                    damaged.get_or_insert_with(|| Damage {
                        line: odd_line(kind, text),
                        ..damage(after)
                    });
                }
            }
            rest = after;
        }
    }
    frames.damaged = damaged.filter(|_| frames.bodies.is_empty());
    frames
}

fn to_symbols(octets: &[u8]) -> String {
    let mut symbols = String::new();
    for chunk in octets.chunks(5) {
        let mut bits = [0_u8; 8];
        for (to, from) in bits.iter_mut().skip(3).zip(chunk) {
            *to = *from;
        }
        let bits = u64::from_be_bytes(bits);
        let count = chunk.len().saturating_mul(8).div_ceil(5);
        for shift in (0..8_u32).rev().map(|n| n.saturating_mul(5)).take(count) {
            let index = usize::try_from((bits >> shift) & 31).unwrap_or(0);
            symbols.extend(ALPHABET.get(index).copied().map(char::from));
        }
    }
    symbols
}

/// The value of a symbol, with the look-alikes that Crockford's base32 folds; `None` for what is not in the alphabet.
fn value(character: u8) -> Option<u8> {
    let canonical = match character {
        b'i' | b'l' => b'1',
        b'o' => b'0',
        other => other,
    };
    let position = ALPHABET.iter().position(|symbol| *symbol == canonical)?;
    u8::try_from(position).ok()
}

fn symbols(folded: &[u8]) -> impl Iterator<Item = u8> {
    folded.iter().filter_map(|c| value(*c))
}

/// How many octets a frame says it carries.
fn declared(folded: &[u8]) -> Option<usize> {
    let head: Vec<u8> = symbols(folded).take(5).collect();
    let [VERSION, high, low] = *to_octets(&head).as_slice() else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    (symbols_for(length) <= SYMBOLS_MAX).then_some(length)
}

/// Counts the symbols after a marker.
fn damage(folded: &[u8]) -> Damage {
    let end = find_word(folded, NAME.as_bytes()).unwrap_or(folded.len());
    let found = symbols(folded.get(..end).unwrap_or_default()).count();
    Damage { expected: declared(folded).map(symbols_for), found, line: None }
}

/// The first line after the first marker that is not as it was written.
fn odd_line(kind: Kind, text: &str) -> Option<(usize, usize)> {
    let lines = readings::lines(text);
    let begins = |line: &Vec<u8>| after_marker(kind, line).is_some();
    let first = lines.iter().position(begins)?.checked_add(1)?;
    let is_over = |line: &Vec<u8>| find_word(line, NAME.as_bytes()).is_some();
    let frame = lines.get(first..)?.iter().take_while(|line| !is_over(line));
    let counts = frame.map(|line| symbols(line).count()).filter(|count| *count > 0);
    damage::odd_line(&counts.take(SYMBOLS_MAX).collect::<Vec<_>>())
}

fn decode(folded: &[u8]) -> Option<Vec<u8>> {
    let length = declared(folded)?;
    let count = symbols_for(length);
    let values: Vec<u8> = symbols(folded).take(count).collect();
    if values.len() < count {
        return None;
    }
    let octets = to_octets(&values);
    let (counted, crc) = octets.split_at_checked(length.checked_add(3)?)?;
    (crc == crc32(counted).to_be_bytes()).then(|| counted.get(3..).map(<[u8]>::to_vec))?
}

/// Spare bits of the last symbol are ignored.
fn to_octets(values: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let (mut bits, mut held) = (0_u16, 0_u32);
    for value in values {
        bits = (bits << 5) | u16::from(*value);
        held = held.saturating_add(5);
        if held >= 8 {
            held = held.saturating_sub(8);
            octets.push((bits >> held).to_le_bytes()[0]);
        }
    }
    octets
}

/// What follows the first marker of `kind`: its words may have anything but letters between them.
fn after_marker(kind: Kind, folded: &[u8]) -> Option<&[u8]> {
    let words: &[&[u8]] = match kind {
        Kind::Answer => &[b"answer", b"begin"],
        Kind::Request => &[b"begin"],
    };
    let mut rest = folded;
    loop {
        let at = find_word(rest, NAME.as_bytes())?.checked_add(NAME.len())?;
        rest = rest.get(at..)?;
        let end = words.iter().try_fold(rest, |text, word| {
            let letters = text.iter().position(u8::is_ascii_lowercase)?;
            text.get(letters..)?.strip_prefix(*word)
        });
        if end.is_some() {
            return end;
        }
    }
}

fn find_word(text: &[u8], word: &[u8]) -> Option<usize> {
    let first = word.first()?;
    let mut from = 0_usize;
    loop {
        let tail = text.get(from..)?;
        let at = from.checked_add(tail.iter().position(|c| c == first)?)?;
        if text.get(at..)?.starts_with(word) {
            return Some(at);
        }
        from = at.checked_add(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"some octets, forty or so, to be carried safely";

    fn framed() -> String {
        encode(Kind::Request, BODY).unwrap()
    }

    fn found(text: &str) -> Vec<Vec<u8>> {
        find(Kind::Request, text).bodies
    }

    #[test]
    fn a_frame_decodes_to_the_octets_it_was_made_of() {
        for length in 0..60 {
            let body: Vec<u8> = (0..length).collect();
            let text = encode(Kind::Request, &body).unwrap();
            assert_eq!(found(&text), [body]);
        }
    }

    #[test]
    fn lines_have_at_most_59_columns() {
        assert!(encode(Kind::Request, &[7; 500]).unwrap().lines().all(|line| line.len() <= 59));
    }

    #[test]
    fn a_frame_of_900_symbols_is_the_longest() {
        assert_eq!(symbols_for(555), 900);
        assert_eq!(found(&encode(Kind::Request, &[9; 555]).unwrap()), [vec![9; 555]]);
        assert_eq!(encode(Kind::Request, &[9; 556]), None);
        // 899 symbols hold no whole number of octets; this is what a longer frame would be
        let mut octets = [&[VERSION, 2, 44][..], &[9; 556]].concat();
        octets.extend(crc32(&octets).to_be_bytes());
        let longer = format!("netsysrq begin {}", to_symbols(&octets));
        assert_eq!(to_symbols(&octets).len(), 901);
        assert!(find(Kind::Request, &longer).bodies.is_empty());
    }

    #[test]
    fn two_forms_of_one_frame_in_a_text_count_once() {
        let text = format!("{}\n> {}", framed(), framed().replace('\n', "\n> "));
        assert_eq!(found(&text), [BODY]);
    }

    #[test]
    fn a_frame_survives_what_mail_clients_do_to_text() {
        let frame = framed();
        let forms = [
            frame.to_uppercase(),
            frame.replace('\n', "\r\n"),
            frame.replace(['\n', ' '], ""),
            frame.replace(' ', "\u{a0}"),
            frame.replace(' ', "\u{200b} \u{ad}"),
            frame.replace('\n', "\n> > "),
            format!("JD> {}", frame.replace('\n', "\nJD> ")),
            format!("| {}", frame.replace('\n', "\n| ")),
            frame.replace(' ', "%20").replace('\n', "%0A"),
            frame.replace('\n', "=20\n"),
            frame.replace('1', "l").replace('0', "O"),
            format!("Alice wrote:{frame}--\nSent from my telephone"),
            frame.chars().map(|c| if c.is_ascii_graphic() { wide(c) } else { c }).collect(),
        ];
        for form in forms {
            assert_eq!(found(&form), [BODY], "{form}");
        }
    }

    fn wide(c: char) -> char {
        char::from_u32(u32::from(c).wrapping_add(0xfee0)).unwrap()
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_damage() {
        let symbols = to_symbols(
            &[&[1, 0, 3, 7, 8, 9][..], &crc32(&[1, 0, 3, 7, 8, 9]).to_be_bytes()].concat(),
        );
        let octets = to_octets(&symbols.bytes().map(|c| value(c).unwrap()).collect::<Vec<_>>());
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let frames = find(Kind::Request, &format!("netsysrq begin {}", to_symbols(&flipped)));
            assert!(frames.bodies.is_empty() && frames.damaged.is_some(), "bit {bit}");
        }
    }

    #[test]
    fn a_lost_line_is_damage_and_not_silence() {
        let lost: String = framed().lines().filter(|line| !line.contains("0f")).take(2).collect();
        assert!(find(Kind::Request, &lost).damaged.is_some());
    }

    #[test]
    fn damage_is_counted_and_its_line_told() {
        let whole = encode(Kind::Request, &[9; 150]).unwrap();
        let count = symbols_for(150);
        let lines: Vec<&str> = whole.lines().collect();
        let without = |line: usize, symbols: usize| -> String {
            let cut = |n: usize, text: &&str| {
                if n == line { text[symbols..].to_owned() } else { (*text).to_owned() }
            };
            lines.iter().enumerate().map(|(n, text)| cut(n, text) + "\n").collect()
        };
        let damage = |text: &str| find(Kind::Request, text).damaged.unwrap();
        let lost = Damage { expected: Some(count), found: count - 2, line: Some((3, 48)) };
        assert_eq!(damage(&without(3, 2)), lost);
        assert_eq!(damage(&without(3, 2).replace('\n', "\n> ")), lost);
        assert_eq!(damage(&without(3, 2).replace('\n', "\n\n")), lost);
        let named = format!("Netsysrq asks web1: netsysrq\n\n{}", without(3, 2));
        assert_eq!(damage(&named), lost, "plain words above the marker name it too");
        assert_eq!(damage(&without(3, 2).replace('\n', "")), Damage { line: None, ..lost });
        assert_eq!(damage(&without(1, 2)).expected, None);
        let changed = whole.replacen("9 ", "8 ", 1);
        assert_ne!(changed, whole);
        assert_eq!(damage(&changed), Damage { expected: Some(count), found: count, line: None });
    }

    #[test]
    fn ordinary_text_is_neither_a_frame_nor_damage() {
        for text in ["", "hello", "about netsysrq-mail: it is good", "begin netsysrq"] {
            assert_eq!(find(Kind::Request, text), Frames::default());
        }
    }

    #[test]
    fn an_answer_is_never_taken_for_a_request() {
        let answer = encode(Kind::Answer, BODY).unwrap();
        assert_eq!(find(Kind::Request, &answer), Frames::default());
        assert_eq!(find(Kind::Answer, &answer).bodies, [BODY]);
        assert_eq!(find(Kind::Answer, &framed()), Frames::default());
    }
}
