//! The tables of the configuration, as serde reads them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::values::{
    Absolute, Address, ArgumentType, MailboxText, Moment, Name, PublicLine, SequenceText, Size,
    Span, WordText,
};

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
    pub(super) sysrq: Vec<SequenceText>,
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
    #[serde(default = "five_seconds")]
    pub(super) term_wait: Span,
}

impl Default for SysrqEntry {
    fn default() -> Self {
        let (wait, settle, term_wait) = (thirty_seconds(), ten_seconds(), five_seconds());
        Self { trigger: trigger(), kmsg: kmsg(), wait, settle, term_wait }
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
