//! The grammar of the configuration: what serde reads, each value of a type that says what it may be.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ed25519_dalek::VerifyingKey;
use lettre::message::Mailbox;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use crate::protocol::command::{Argument, Word, character_set};
use crate::protocol::openssh;
use crate::protocol::sysrq::Keys;
use crate::protocol::time::Time;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) names: Spanned<Vec<Name>>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<Name>>,
    pub(super) state: Option<Absolute>,
    #[serde(default = "five_minutes")]
    pub(super) skew: Span,
    #[serde(default = "thirty_days")]
    pub(super) history: Span,
    #[serde(default = "four")]
    pub(super) jobs: NonZeroU32,
    pub(super) answer: AnswerEntry,
    #[serde(default)]
    pub(super) key: BTreeMap<Spanned<String>, KeyEntry>,
    #[serde(default)]
    pub(super) command: BTreeMap<Spanned<String>, CommandEntry>,
    #[serde(default)]
    pub(super) sysrq: SysrqEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerEntry {
    pub(super) from: MailboxText,
    #[serde(default = "sendmail")]
    pub(super) transport: Spanned<TransportName>,
    pub(super) signing_key: Spanned<Absolute>,
    pub(super) sendmail: Option<SendmailEntry>,
    pub(super) smtp: Option<SmtpEntry>,
    pub(super) file: Option<FileEntry>,
    #[serde(default)]
    pub(super) notify: Vec<Address>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TransportName {
    Sendmail,
    Smtp,
    File,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SendmailEntry {
    pub(super) path: Absolute,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) directory: Spanned<Absolute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SmtpEntry {
    pub(super) host: String,
    #[serde(default = "smtp_port")]
    pub(super) port: u16,
    #[serde(default = "no_tls")]
    pub(super) tls: Spanned<Tls>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    None,
    Required,
}

impl Tls {
    pub(super) const fn is_required(self) -> bool {
        matches!(self, Self::Required)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyEntry {
    pub(super) public: Option<PublicLine>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
    pub(super) answer_to: Address,
    pub(super) allow: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) sysrq: Vec<Sequence>,
    pub(super) max_ttl: Option<Span>,
    pub(super) per_hour: Option<u32>,
    pub(super) not_before: Option<Moment>,
    pub(super) not_after: Option<Moment>,
    #[serde(default)]
    pub(super) revoked: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandEntry {
    pub(super) run: Spanned<Vec<WordText>>,
    #[serde(default)]
    pub(super) args: BTreeMap<String, ArgumentType>,
    #[serde(default = "one_minute")]
    pub(super) timeout: Span,
    #[serde(default = "five_seconds")]
    pub(super) grace: Span,
    #[serde(default = "sixty_four_kib")]
    pub(super) output_limit: Size,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    pub(super) cwd: Option<Absolute>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) answer: When,
    pub(super) max_age: Option<Span>,
    #[serde(default = "yes")]
    pub(super) no_new_privileges: bool,
    pub(super) description: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    #[default]
    After,
    Before,
}

impl When {
    pub(super) const fn is_before(self) -> bool {
        matches!(self, Self::Before)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SysrqEntry {
    #[serde(default = "trigger")]
    pub(super) trigger: Absolute,
    #[serde(default = "kmsg")]
    pub(super) kmsg: Absolute,
    #[serde(default = "thirty_seconds")]
    pub(super) wait: Span,
    #[serde(default = "ten_seconds")]
    pub(super) settle: Span,
}

impl Default for SysrqEntry {
    fn default() -> Self {
        let (wait, settle) = (thirty_seconds(), ten_seconds());
        Self { trigger: trigger(), kmsg: kmsg(), wait, settle }
    }
}

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
                "{text:?} is no name: use lower case letters, digits, '.', '-', '_', '@'"
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
            .map_err(|_| format!("{text:?} is no duration: write 90s, 1h30m or 30d"))
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
        size.map(Self)
            .ok_or_else(|| format!("{text:?} is no size: write 64KiB, 1MiB or a number of octets"))
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
        Err(format!("{:?} is a relative path: write it from / on", path.display().to_string()))
    }
}

/// `Name <address>` or an address.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MailboxText(pub(super) Mailbox);

impl TryFrom<String> for MailboxText {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is no mail address"))
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
            _ => Err(format!("{text:?} is no mail address")),
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
            .map_err(|_| format!("{moment} is no time in UTC: write 2026-12-31T00:00:00Z"))
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
            return Err("a NUL in run".to_owned());
        }
        Word::parse(&text).map(Self).ok_or_else(|| {
            format!(
                "{text:?}: a placeholder is a whole word {{name}}, and braces stand nowhere else"
            )
        })
    }
}

/// A SysRq sequence.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Sequence(pub(super) Keys);

impl TryFrom<String> for Sequence {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Keys::parse(&text).map(Self).ok_or_else(|| {
            format!(
                "{text:?} is no SysRq sequence: 1 to 16 of a-z and 0-9, and nothing after b, o or c"
            )
        })
    }
}

/// The type of an argument.
#[derive(Deserialize)]
#[serde(try_from = "ArgumentEntry")]
pub(super) struct ArgumentType(pub(super) Argument);

#[derive(Deserialize)]
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
    fn try_from(entry: ArgumentEntry) -> Result<Self, String> {
        let ArgumentEntry { one_of, kind, min, max, chars } = entry;
        let length = max.and_then(|max| usize::try_from(max).ok());
        let argument = match (one_of, kind.as_deref(), min, max, chars) {
            (Some(words), None, None, None, None) if !words.is_empty() => Argument::OneOf(words),
            (None, Some("int"), Some(min), Some(max), None) if min <= max => {
                Argument::Int { min, max }
            }
            (None, Some("word"), None, Some(_), Some(chars)) => {
                let chars = character_set(&chars)
                    .ok_or_else(|| format!("{chars:?} is no set of characters"))?;
                Argument::Word { chars, max: length.ok_or("max is negative")? }
            }
            (None, Some("hostname"), None, None, None) => Argument::Hostname,
            (None, Some("ip"), None, None, None) => Argument::Ip,
            (None, Some("text"), None, Some(_), None) => {
                Argument::Text { max: length.ok_or("max is negative")? }
            }
            _ => {
                return Err("an argument is { one_of = [...] }, { type = \"int\", min, max }, \
                     { type = \"word\", chars, max }, { type = \"hostname\" }, { type = \"ip\" } or \
                     { type = \"text\", max }"
                    .to_owned());
            }
        };
        Ok(Self(argument))
    }
}

fn five_minutes() -> Span {
    Span(Duration::from_secs(300))
}

fn thirty_days() -> Span {
    Span(Duration::from_secs(30 * 86400))
}

fn trigger() -> Absolute {
    Absolute("/proc/sysrq-trigger".into())
}

fn kmsg() -> Absolute {
    Absolute("/dev/kmsg".into())
}

fn thirty_seconds() -> Span {
    Span(Duration::from_secs(30))
}

fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

fn four() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(3)
}

fn sixty_four_kib() -> Size {
    Size(64 * 1024)
}

fn sendmail() -> Spanned<TransportName> {
    Spanned::new(0..0, TransportName::Sendmail)
}

fn smtp_port() -> u16 {
    25
}

fn no_tls() -> Spanned<Tls> {
    Spanned::new(0..0, Tls::None)
}

fn yes() -> bool {
    true
}
