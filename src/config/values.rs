//! The values of the configuration, each of a type that says what it may be.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ed25519_dalek::VerifyingKey;
use lettre::message::Mailbox;
use serde::Deserialize;
use toml::value::Datetime;

use crate::protocol::rules::command::{Argument, Word, character_set};
use crate::protocol::rules::sysrq::Sequence;
use crate::protocol::time::Time;
use crate::protocol::wire::openssh;

/// A host or group name: lower case.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) String);

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let plain = text
            .bytes()
            .all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'@'));
        if text.is_empty() || text.len() > 100 || !plain {
            return Err(format!(
                "{text:?} is not a name: use lower case letters, digits, '.', '-', '_', '@'"
            ));
        }
        Ok(Self(text))
    }
}

/// A duration such as `90s` or `1h30m`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Span(pub(super) Duration);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        humantime::parse_duration(&text)
            .map(Self)
            .map_err(|_| format!("{text:?} is not a duration: write 90s, 1h30m or 30d"))
    }
}

/// A size such as `64KiB`, or a number of octets.
#[derive(Deserialize)]
#[serde(try_from = "SizeText")]
pub(super) struct Size(pub(super) usize);

#[derive(Deserialize)]
#[serde(untagged)]
enum SizeText {
    Octets(usize),
    Text(String),
}

impl TryFrom<SizeText> for Size {
    type Error = String;
    fn try_from(text: SizeText) -> Result<Self, String> {
        let text = match text {
            SizeText::Octets(octets) => return Ok(Self(octets)),
            SizeText::Text(text) => text,
        };
        let units = [("KiB", 1024), ("MiB", 1024 * 1024), ("", 1)];
        let size = units.into_iter().find_map(|(unit, factor)| {
            text.strip_suffix(unit)?.trim().parse::<usize>().ok()?.checked_mul(factor)
        });
        size.map(Self).ok_or_else(|| {
            format!("{text:?} is not a size: write 64KiB, 1MiB or a number of octets")
        })
    }
}

/// An absolute path.
#[derive(Deserialize)]
#[serde(try_from = "PathBuf")]
pub(super) struct Absolute(pub(super) PathBuf);

impl TryFrom<PathBuf> for Absolute {
    type Error = String;
    fn try_from(path: PathBuf) -> Result<Self, String> {
        if path.is_absolute() {
            return Ok(Self(path));
        }
        Err(format!("{:?} is a relative path: write an absolute one", path.display().to_string()))
    }
}

/// `Name <address>` or an address.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MailboxText(pub(super) Mailbox);

impl TryFrom<String> for MailboxText {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is not a mail address"))
    }
}

/// An address.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address(pub(super) lettre::Address);

impl TryFrom<String> for Address {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            // one that looks like an option is asking for trouble with sendmail programs
            Ok(address) if !text.starts_with('-') => Ok(Self(address)),
            _ => Err(format!("{text:?} is not a mail address")),
        }
    }
}

/// An OpenSSH public key line.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PublicLine(pub(super) VerifyingKey);

impl TryFrom<String> for PublicLine {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        openssh::public_key(&text).map(Self).map_err(|why| why.to_string())
    }
}

/// A point in time, as TOML writes one in UTC.
#[derive(Deserialize)]
#[serde(try_from = "Datetime")]
pub(super) struct Moment(pub(super) Time);

impl TryFrom<Datetime> for Moment {
    type Error = String;
    fn try_from(moment: Datetime) -> Result<Self, String> {
        humantime::parse_rfc3339(&moment.to_string())
            .map(|time: SystemTime| Self(time.into()))
            .map_err(|_| format!("{moment} is not a time in UTC: write 2026-12-31T00:00:00Z"))
    }
}

/// One word of `run`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct WordText(pub(super) Word);

impl TryFrom<String> for WordText {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("run contains a NUL".to_owned());
        }
        Word::parse(&text).map(Self).ok_or_else(|| {
            format!(
                "{text:?}: a placeholder is a whole word {{name}}, and braces may appear nowhere else"
            )
        })
    }
}

/// A SysRq sequence.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SequenceText(pub(super) Sequence);

impl TryFrom<String> for SequenceText {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Sequence::parse(&text).map(Self).ok_or_else(|| {
            format!(
                "{text:?} is not a SysRq sequence: 1 to 16 of a-z and 0-9, and nothing after b, o or c"
            )
        })
    }
}

/// The type of an argument.
#[derive(Deserialize)]
#[serde(try_from = "ArgumentEntry")]
pub(super) struct ArgumentType(pub(super) Argument);

#[derive(Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ArgumentEntry {
    one_of: Option<Vec<String>>,
    #[serde(rename = "type")]
    kind: Option<String>,
    min: Option<i64>,
    max: Option<i64>,
    chars: Option<String>,
}

impl TryFrom<ArgumentEntry> for ArgumentType {
    type Error = String;
    fn try_from(mut entry: ArgumentEntry) -> Result<Self, String> {
        let argument = entry.argument()?;
        // each kind takes what it has; what is left over belongs to another
        let whole = argument.filter(|_| entry == ArgumentEntry::default());
        whole.map(Self).ok_or_else(|| {
            "an argument is { one_of = [...] }, { type = \"int\", min, max }, \
             { type = \"word\", chars, max }, { type = \"hostname\" }, { type = \"ip\" } or \
             { type = \"text\", max }"
                .to_owned()
        })
    }
}

impl ArgumentEntry {
    /// Takes what the kind needs out of the entry; nothing if any of it is missing.
    fn argument(&mut self) -> Result<Option<Argument>, String> {
        let Some(kind) = self.kind.take() else {
            let words = self.one_of.take().filter(|words| !words.is_empty());
            return Ok(words.map(Argument::OneOf));
        };
        Ok(match kind.as_str() {
            "int" => {
                let bounds = self.min.take().zip(self.max.take()).filter(|(min, max)| min <= max);
                bounds.map(|(min, max)| Argument::Int { min, max })
            }
            "word" => match (self.chars()?, self.length()?) {
                (Some(chars), Some(max)) => Some(Argument::Word { chars, max }),
                _ => None,
            },
            "hostname" => Some(Argument::Hostname),
            "ip" => Some(Argument::Ip),
            "text" => self.length()?.map(|max| Argument::Text { max }),
            _ => None,
        })
    }

    fn length(&mut self) -> Result<Option<usize>, String> {
        let max = self.max.take().map(usize::try_from).transpose();
        max.map_err(|_| "max is negative".to_owned())
    }

    fn chars(&mut self) -> Result<Option<Vec<char>>, String> {
        let set = |chars: String| {
            character_set(&chars).ok_or_else(|| format!("{chars:?} is not a set of characters"))
        };
        self.chars.take().map(set).transpose()
    }
}
