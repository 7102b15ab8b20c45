//! The readings of a text: what mail clients, gateways and phones do to pasted text, undone. What is harmless to
//! undo is always undone; escapes and quote marks, which ordinary text may have too, in readings of their own.

use std::iter;

use unicode_normalization::UnicodeNormalization;

/// The most characters of a tidied text that are looked at: NFKC can make a text 18 times as long.
const CHARACTERS: usize = 1 << 20;
/// How often escapes are undone: gateways escape what is already escaped.
const ROUNDS: usize = 4;
/// How many different quote prefixes of joined lines are looked for.
const PREFIXES: usize = 8;

/// Every reading of `text` that has `name` in it, reduced to `0-9a-z`.
#[must_use]
pub fn naming(name: &str, text: &str) -> Vec<Vec<u8>> {
    let text = tidied(text);
    let unescaped = unescaped(&text);
    let mut readings = Vec::new();
    for text in [Some(text), unescaped].into_iter().flatten() {
        let reading = alphanumerics(&text);
        if !contains(&reading, name.as_bytes()) {
            continue;
        }
        let unquoted = alphanumerics(&unquoted(&without_prefixes_of(name, &text)));
        let differs = unquoted != reading;
        readings.push(reading);
        readings.extend(differs.then_some(unquoted));
    }
    readings
}

/// NFKC of each character, in lower case, ASCII only, with line ends of one kind: this removes or folds odd blanks,
/// invisible characters, marks of direction and decoration.
fn tidied(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => tidy.push('\n'),
            c if c.is_ascii() => tidy.push(c.to_ascii_lowercase()),
            c => {
                let plain = iter::once(c).nfkc().flat_map(char::to_lowercase);
                tidy.extend(plain.filter(char::is_ascii));
            }
        }
        if tidy.len() >= CHARACTERS {
            break;
        }
    }
    tidy
}

fn alphanumerics(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_alphanumeric).collect()
}

/// The lines of a text, with quote marks removed, each reduced to `0-9a-z`.
#[must_use]
pub fn lines(text: &str) -> Vec<Vec<u8>> {
    unquoted(&tidied(text)).lines().map(alphanumerics).collect()
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Undoes the escapes of other layers, up to [`ROUNDS`] times over: URL escapes (`%20`), quoted-printable (`=20`; its
/// soft line breaks have no letters anyway), entities. `None` if there are none.
fn unescaped(text: &str) -> Option<String> {
    let mut text = undo_once(text)?;
    for _ in 1..ROUNDS {
        let Some(next) = undo_once(&text) else { break };
        text = next;
    }
    Some(text)
}

fn undo_once(text: &str) -> Option<String> {
    if !text.contains(['%', '=', '&']) {
        return None;
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let mut undone = false;
    while let Some((first, tail)) = rest.split_first() {
        let escape = match first {
            b'=' => hex_pair(tail),
            b'%' => hex_pair(over_a_break(tail)),
            b'&' => entity(tail),
            _ => None,
        };
        let Some((character, after)) = escape else {
            octets.push(*first);
            rest = tail;
            continue;
        };
        octets.extend(character);
        rest = after;
        undone = true;
    }
    undone.then(|| tidied(&String::from_utf8_lossy(&octets)))
}

/// What an escape stands for, and what follows it.
type Escape<'a> = Option<(Vec<u8>, &'a [u8])>;

/// Two digits; a line may have been broken between them.
fn hex_pair(text: &[u8]) -> Escape<'_> {
    let (high, tail) = text.split_first()?;
    let (low, after) = over_a_break(tail).split_first()?;
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((vec![digit(*high)? << 4 | digit(*low)?], after))
}

fn over_a_break(text: &[u8]) -> &[u8] {
    let broken = text.iter().take(4).take_while(|c| !c.is_ascii_alphanumeric()).count();
    text.get(broken..).unwrap_or_default()
}

fn entity(text: &[u8]) -> Escape<'_> {
    let end = text.iter().take(10).position(|c| *c == b';')?;
    let name = std::str::from_utf8(text.get(..end)?).ok()?;
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" | "apos" | "shy" | "zwj" | "zwnj" | "nbsp" | "ensp" | "emsp" | "thinsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((character.to_string().into_bytes(), text.get(end.checked_add(1)?..)?))
}

/// Drops prefixes such as `> `, `| `, `JD> ` and `> > ` from every line.
fn unquoted(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.lines() {
        let mut rest = line;
        while let Some(inner) = without_quote_prefix(rest) {
            rest = inner;
        }
        kept.push_str(rest);
        kept.push('\n');
    }
    kept
}

fn without_quote_prefix(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let letters = line.bytes().take_while(u8::is_ascii_alphabetic).count();
    if letters > 3 {
        return None;
    }
    line.get(letters..)?.strip_prefix(['>', '|', ':'])
}

/// Lines that were quoted by initials (`JD> `) and then joined: the initials in front of `name` are dropped everywhere.
fn without_prefixes_of(name: &str, text: &str) -> String {
    let mut prefixes: Vec<&str> =
        text.match_indices(name).filter_map(|(at, _)| initials_before(text.get(..at)?)).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.iter().take(PREFIXES).fold(text.to_owned(), |text, prefix| text.replace(prefix, ""))
}

/// `jd>` at the end of what comes before.
fn initials_before(text: &str) -> Option<&str> {
    let end = text.rfind(|c: char| c.is_ascii_alphanumeric())?.checked_add(1)?;
    let mark = text.get(end..)?.strip_prefix(['>', '|', ':']).map(|_| end.checked_add(1))??;
    let letters = text.get(..end)?.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    if letters > 3 {
        return None;
    }
    text.get(end.checked_sub(letters)?..mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<String> {
        let readings = naming("name", text);
        readings.into_iter().map(|reading| String::from_utf8(reading).unwrap()).collect()
    }

    #[test]
    fn a_text_without_the_name_has_no_reading() {
        for text in ["", "nam%2", "n%61", "&#110;am", "n\u{e4}me"] {
            assert!(readings(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn only_quoted_or_escaped_text_is_read_in_several_ways() {
        assert_eq!(readings("Name, 1 2.\n"), ["name12"]);
        assert_eq!(readings("> Name\n> 1"), ["name1"]);
        assert_eq!(readings("ab> name\nab> 1"), ["abnameab1", "name1"]);
        assert_eq!(
            readings("cd> ab> name\ncd> ab: 1\nabc> 2\nefgh> 3").last().unwrap(),
            "name12efgh3"
        );
        assert_eq!(readings("name%201"), ["name201", "name1"]);
        assert_eq!(readings("n%61me"), ["name"]);
    }

    #[test]
    fn escapes_are_undone_as_often_as_needed_within_a_bound() {
        for escaped in [
            "name%20",
            "name%2520",
            "name%25252520",
            "name=3D20",
            "name&amp;nbsp;",
            "&gt;name&lt;",
            "na=\nme",
            "na%6\nde",
        ] {
            assert_eq!(readings(escaped).last().unwrap(), "name", "{escaped}");
        }
        let often = format!("name%{}20", "25".repeat(ROUNDS));
        assert_eq!(readings(&often).last().unwrap(), "name20");
    }
}
