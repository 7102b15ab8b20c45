//! The journal of a job, and its text: one checksummed record per line, `<crc32> <length> <kind> <field>=<value> ...`.

use std::io;
use std::time::Duration;

use base64ct::{Base64, Encoding};

use super::outcome::End;
use super::record::Record;
use super::state::{Damaged, State};
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Time;
use crate::protocol::wire::crc::crc32;

/// The append-only journal of one job, under its lock.
pub trait Journal {
    /// Appends a record. When this returns, the record survives a power failure.
    ///
    /// # Errors
    /// When it may not survive.
    fn append(&mut self, record: &Record) -> io::Result<()>;

    /// From now on an append that takes more than a few seconds fails, and so do all after it: a disk that hangs must
    /// not hold up an emergency.
    fn hasten(&mut self);
}

impl Record {
    /// The record as one line, ended by LF.
    #[must_use]
    pub fn to_line(&self) -> String {
        let time = |time: &Time| time.unix().to_string();
        let (kind, fields): (&str, Vec<(&str, String)>) = match self {
            Self::Claimed { at, boot, verdict, why, silent, message_id, cose } => (
                "claimed",
                vec![
                    ("at", time(at)),
                    ("boot", boot.clone()),
                    ("verdict", verdict.to_string()),
                    ("why", why.clone()),
                    ("silent", silent.to_string()),
                    ("msgid", message_id.clone().unwrap_or_default()),
                    ("cose", Base64::encode_string(cose)),
                ],
            ),
            Self::Notice { at, mail } => {
                ("notice", vec![("at", time(at)), ("mail", Base64::encode_string(mail))])
            }
            Self::Noticed { at } => ("noticed", vec![("at", time(at))]),
            Self::Running { at, boot } => {
                ("running", vec![("at", time(at)), ("boot", boot.clone())])
            }
            Self::Finished { at, end, duration, mail } => {
                let why = if let End::NotStarted(why) = end { why.clone() } else { String::new() };
                let mut fields = vec![("at", time(at)), ("end", end.word()), ("why", why)];
                if let Some(duration) = duration {
                    fields.push(("ms", duration.as_millis().to_string()));
                }
                if let Some(mail) = mail {
                    fields.push(("mail", Base64::encode_string(mail)));
                }
                ("finished", fields)
            }
            Self::Tried { at } => ("tried", vec![("at", time(at))]),
            Self::Answered { at } => ("answered", vec![("at", time(at))]),
            Self::GivenUp { at } => ("given-up", vec![("at", time(at))]),
        };
        let mut text = kind.to_owned();
        for (name, value) in fields {
            text.push(' ');
            text.push_str(name);
            text.push('=');
            text.push_str(&escape(&value));
        }
        let counted = format!("{} {text}", text.len());
        format!("{:08x} {counted}\n", crc32(counted.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = words.next()?;
        let fields: Vec<(&str, String)> = words
            .map(|word| {
                word.split_once('=').and_then(|(name, value)| Some((name, unescape(value)?)))
            })
            .collect::<Option<_>>()?;
        let field =
            |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
        let octets = |name: &str| field(name).and_then(|value| Base64::decode_vec(&value).ok());
        let at = Time::from_unix(field("at")?.parse().ok()?);
        Some(match kind {
            "claimed" => Self::Claimed {
                at,
                boot: field("boot")?,
                // a word that this version does not know runs nothing
                verdict: Ruling::parse(&field("verdict")?).unwrap_or(Ruling::Denied),
                why: field("why")?,
                silent: field("silent")? == "true",
                message_id: field("msgid").filter(|id| !id.is_empty()),
                cose: octets("cose")?,
            },
            "notice" => Self::Notice { at, mail: octets("mail")? },
            "noticed" => Self::Noticed { at },
            "running" => Self::Running { at, boot: field("boot")? },
            "finished" => Self::Finished {
                at,
                end: End::parse(&field("end")?, &field("why")?)?,
                duration: match field("ms") {
                    Some(ms) => Some(Duration::from_millis(ms.parse().ok()?)),
                    None => None,
                },
                mail: match field("mail") {
                    Some(_) => Some(octets("mail")?),
                    None => None,
                },
            },
            "tried" => Self::Tried { at },
            "answered" => Self::Answered { at },
            "given-up" => Self::GivenUp { at },
            _ => return None,
        })
    }
}

/// Reads a journal: its state, and how many octets of it are good.
///
/// A last line that is cut short did not happen. One that ends with a line end and is wrong all the same, or any
/// other wrong line, is damage: what happened is then not known.
///
/// # Errors
/// [`Damaged`].
pub fn read(octets: &[u8]) -> Result<(State, usize), Damaged> {
    let (mut state, mut good): (Option<State>, usize) = (None, 0);
    while let Some(rest) = octets.get(good..).filter(|rest| !rest.is_empty()) {
        let (record, length) = match line(rest) {
            Line::Whole(record, length) => (record, length),
            Line::Torn => break,
            Line::Wrong => return Err(Damaged),
        };
        state = Some(match state {
            None => State::new(record)?,
            Some(state) => state.after(record)?,
        });
        good = good.saturating_add(length);
    }
    state.map(|state| (state, good)).ok_or(Damaged)
}

/// Whether a power failure tore a record: a sector that did not reach the disk reads as zeros, and a later one may have
/// a line end. No single changed bit makes two zeros, or turns a digit into one.
#[must_use]
pub fn has_hole(octets: &[u8]) -> bool {
    octets.starts_with(&[0]) || octets.windows(2).any(|pair| pair == [0, 0])
}

enum Line {
    Whole(Record, usize),
    Torn,
    Wrong,
}

/// The first line: its declared length tells a cut from a change, even where the line end itself was changed.
fn line(octets: &[u8]) -> Line {
    let torn = has_hole(octets) || !octets.contains(&b'\n');
    let wrong = if torn { Line::Torn } else { Line::Wrong };
    let head = octets.iter().position(|c| *c == b' ').and_then(|crc| {
        let length = octets.get(crc.checked_add(1)?..)?;
        let digits = length.iter().position(|c| *c == b' ')?;
        let count: usize = std::str::from_utf8(length.get(..digits)?).ok()?.parse().ok()?;
        let end = crc.checked_add(digits)?.checked_add(2)?.checked_add(count)?;
        let crc_text = std::str::from_utf8(octets.get(..crc)?).ok()?;
        let counted = octets.get(crc.checked_add(1)?..end)?;
        let text = octets.get(end.checked_sub(count)?..end)?;
        let right = crc_text == format!("{:08x}", crc32(counted));
        right.then_some((std::str::from_utf8(text).ok()?, end))
    });
    match head.and_then(|(text, end)| Some((Record::parse(text)?, end))) {
        Some((record, end)) => Line::Whole(record, end.saturating_add(1)),
        None => wrong,
    }
}

/// Percent-escapes `%`, and everything but printable ASCII.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for octet in value.bytes() {
        if octet.is_ascii_graphic() && octet != b'%' {
            text.push(char::from(octet));
        } else {
            text.push_str(&format!("%{octet:02x}"));
        }
    }
    text
}

fn unescape(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits = [rest.next()?, rest.next()?];
            octets.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::job::state::{Next, Owed};

    fn at(seconds: u64) -> Time {
        Time::from_unix(seconds)
    }

    fn claimed(verdict: Ruling) -> Record {
        Record::Claimed {
            at: at(1),
            boot: "b1".into(),
            verdict,
            why: "a reason, 100 % plain\n".into(),
            silent: false,
            message_id: Some("<a@b>".into()),
            cose: vec![0, 255, 7],
        }
    }

    fn story() -> Vec<Record> {
        vec![
            claimed(Ruling::Run),
            Record::Notice { at: at(2), mail: b"soon".to_vec() },
            Record::Noticed { at: at(3) },
            Record::Running { at: at(4), boot: "b1".into() },
            Record::Finished {
                at: at(5),
                end: End::Exited(3),
                duration: Some(Duration::from_millis(1500)),
                mail: Some(b"done".to_vec()),
            },
            Record::Answered { at: at(6) },
        ]
    }

    fn journal(records: &[Record]) -> Vec<u8> {
        records.iter().map(Record::to_line).collect::<String>().into_bytes()
    }

    fn next(records: &[Record], boot: &str) -> Next {
        read(&journal(records)).unwrap().0.next(at(9), boot)
    }

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        let mut records = story();
        for end in [
            End::Done,
            End::Killed(9),
            End::NotStarted("no such file".into()),
            End::TimedOut,
            End::Unknown,
            End::Unrun,
            End::WouldRun,
        ] {
            records.push(Record::Finished { at: at(5), end, duration: None, mail: None });
        }
        for record in records {
            let line = record.to_line();
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
            let text = line.trim_end().splitn(3, ' ').nth(2).unwrap();
            assert_eq!(Record::parse(text), Some(record));
        }
    }

    #[test]
    fn each_step_says_what_is_next() {
        let story = story();
        let expected = [
            Next::Owed(Owed::Start),
            Next::Owed(Owed::Start),
            Next::Owed(Owed::Start),
            Next::Owed(Owed::Unknown),
            Next::Owed(Owed::Send),
            Next::Nothing,
        ];
        for (n, expected) in expected.into_iter().enumerate() {
            assert_eq!(next(&story[..=n], "b1"), expected, "after {n}");
        }
        assert_eq!(next(&story[..1], "b2"), Next::Owed(Owed::NotStarted));
        assert_eq!(next(&[claimed(Ruling::Denied)], "b1"), Next::Owed(Owed::Say));
        assert_eq!(next(&[claimed(Ruling::Expired)], "b2"), Next::Owed(Owed::Say));
    }

    #[test]
    fn a_record_out_of_order_is_damage() {
        let story = story();
        for (first, second) in [(0, 0), (0, 2), (0, 5), (3, 3), (4, 3), (4, 4), (5, 5), (3, 1)] {
            let mut records = story[..=first].to_vec();
            records.push(story[second].clone());
            assert_eq!(read(&journal(&records)), Err(Damaged), "{first} {second}");
        }
        assert_eq!(read(&journal(&story[1..])), Err(Damaged));
        assert_eq!(read(b""), Err(Damaged));
    }

    #[test]
    fn a_journal_cut_anywhere_is_at_its_last_whole_step() {
        let story = story();
        let octets = journal(&story);
        let ends: Vec<usize> = (1..=story.len()).map(|n| journal(&story[..n]).len()).collect();
        for end in 0..octets.len() {
            // a line that lacks only its end did happen
            let whole = ends.iter().filter(|e| **e <= end + 1).count();
            match read(&octets[..end]) {
                Ok((state, _)) => assert_eq!(state, read(&journal(&story[..whole])).unwrap().0),
                Err(Damaged) => assert_eq!(whole, 0),
            }
        }
    }

    #[test]
    fn no_flipped_bit_undoes_the_start_of_a_command() {
        let octets = journal(&story()[..4]);
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok((state, _)) = read(&flipped) {
                assert_eq!(state.next(at(9), "b1"), Next::Owed(Owed::Unknown), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_step_whose_record_has_a_hole_did_not_happen() {
        let story = story();
        let before = journal(&story[..3]);
        for hole in [0..10, 0..30, 20..31] {
            let mut octets = journal(&story[..4]);
            octets[before.len()..][hole].fill(0);
            assert_eq!(read(&octets).unwrap().1, before.len());
            assert!(has_hole(&octets[before.len()..]) && !has_hole(&before));
        }
    }
}
