//! The mail that answers a request: words for its reader, and a frame that says the same under the host's key.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lettre::Message;
use lettre::address::{Address, Envelope};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, MessageBuilder, MultiPart, SinglePart};

use super::name::Name;
use super::outcome::{End, Outcome, Stage, Summary};
use crate::protocol::rules::keyring::Key;
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Time;
use crate::protocol::wire::answer::{Digested, Statement};
use crate::protocol::wire::cose::Seal;
use crate::protocol::wire::frame::{self, Kind};
use crate::protocol::wire::message;
use crate::protocol::wire::request::Request;

/// The most output that is shown in the text, in octets; all of it is attached.
const SHOWN: usize = 16 * 1024;

/// Who answers.
#[derive(Debug)]
pub struct Letterhead {
    /// The From address.
    pub from: Mailbox,
    /// The host's name, as in signed answers.
    pub host: String,
    /// The host's Ed25519 key.
    pub key: Seal,
}

/// What an answer is about.
#[derive(Debug)]
pub struct Report<'a> {
    /// Which answer.
    pub stage: Stage,
    /// Who asked.
    pub key: &'a Key,
    /// What was asked.
    pub request: &'a Request,
    /// When it came.
    pub received: Time,
    /// The Message-ID of the mail that brought it.
    pub message_id: Option<&'a str>,
    /// The verdict.
    pub verdict: Ruling,
    /// The verdict's reason.
    pub why: &'a str,
    /// When the command started.
    pub started: Option<Time>,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// Now.
    pub now: Time,
}

impl Letterhead {
    /// The whole mail, line ends LF.
    ///
    /// # Errors
    /// When the library cannot write it, which no report of ours causes: better no mail than half of one.
    pub fn write(&self, report: &Report<'_>) -> io::Result<Vec<u8>> {
        self.mail(report).ok_or_else(|| io::Error::other("the answer cannot be written as a mail"))
    }

    fn mail(&self, report: &Report<'_>) -> Option<Vec<u8>> {
        let statement = self.statement(report);
        let frame = frame::encode(Kind::Answer, &statement.seal(&self.key)?)?;
        let cti = &report.request.nonce;
        let id = format!("<{cti}.{}@{}>", report.stage.word(), self.host);
        let mut builder = self
            .to(&report.key.answer_to)?
            .subject(format!("{} answers {}: {}", self.host, report.key.id, headline(report)))
            .message_id(Some(id))
            .date(system_time(report.now));
        if let Some(original) = report.message_id {
            builder = builder.in_reply_to(original.to_owned()).references(original.to_owned());
        }
        // always encoded, so that no line of an output can pass for a boundary
        let text = self.text(report, &frame);
        let text = Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable).ok()?;
        let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text);
        let mut parts = MultiPart::mixed().boundary(format!("=_{cti}")).singlepart(text);
        if !report.outcome.output.is_empty() {
            parts = parts.singlepart(attachment(&report.outcome.output)?);
        }
        let mut mail = builder.multipart(parts).ok()?;
        stamp(&mut mail, "auto-replied")?;
        let octets = mail.formatted();
        Some(String::from_utf8(octets).ok()?.replace("\r\n", "\n").into_bytes())
    }

    /// One line for the `nth` other address: what was asked, and what became of it. `None` if the library cannot
    /// write it.
    #[must_use]
    pub fn notify(
        &self,
        (nth, to): (usize, &Address),
        job: &Name,
        summary: &Summary,
        now: Time,
    ) -> Option<Vec<u8>> {
        let Summary { key, command, verdict, end } = summary;
        let line = format!(
            "{key} asked {} for {}: {verdict}, {}",
            self.host,
            shown(command, ""),
            end.word()
        );
        let mut mail = self
            .to(to)?
            .subject(format!("{}: a request by {key}", self.host))
            .message_id(Some(format!(
                "<{}.{}.{nth}@{}>",
                job.nonce(),
                Stage::Copy.word(),
                self.host
            )))
            .date(system_time(now))
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{line}\nNonce {}\n", job.nonce()))
            .ok()?;
        stamp(&mut mail, "auto-generated")?;
        String::from_utf8(mail.formatted()).ok().map(|text| text.replace("\r\n", "\n").into_bytes())
    }

    /// A mail to an address. Its envelope is given, not read back from the header: the library reads neither quoted
    /// local parts nor address literals correctly.
    fn to(&self, address: &Address) -> Option<MessageBuilder> {
        let envelope = Envelope::new(None, vec![address.clone()]).ok()?;
        let (from, to) = (self.from.clone(), Mailbox::new(None, address.clone()));
        Some(Message::builder().envelope(envelope).from(from).to(to))
    }

    fn statement(&self, report: &Report<'_>) -> Statement {
        let outcome = report.outcome;
        Statement {
            host: self.host.clone(),
            key: report.key.id.to_string(),
            nonce: report.request.nonce.clone(),
            issued: report.now,
            stage: report.stage.word().to_owned(),
            verdict: report.verdict,
            status: outcome.status(),
            duration: outcome.duration.and_then(|d| u64::try_from(d.as_millis()).ok()),
            output: (!outcome.output.is_empty()).then(|| Digested::of(&outcome.output)),
        }
    }

    fn text(&self, report: &Report<'_>, frame: &str) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // writing to a String cannot fail
            let _written = writeln!(text, "{name:<9} {}", shown(value, ""));
        };
        let request = report.request;
        line("Answer", &headline(report));
        line("Host", &self.host);
        line("Asked", &asked(request));
        line("Key", report.key.id.as_str());
        line("Signed", &signed(request, report.received));
        if let Some(started) = report.started {
            line("Started", &started.to_string());
        }
        if let Some(duration) = report.outcome.duration {
            line("Took", &format!("{}.{:03} s", duration.as_secs(), duration.subsec_millis()));
        }
        line("Nonce", &request.nonce.to_string());
        if report.stage != Stage::Notice {
            text.push_str(&output(report.outcome));
        }
        text.push_str(
            "\nThe words above are not signed. The frame below says the same, signed with\n\
             this host's key; \"netsysrq-mail verify\" checks it and the attached output.\n\n",
        );
        text + frame
    }
}

/// The headers that keep machines from answering a machine (RFC 3834 section 5).
fn stamp(mail: &mut Message, submitted: &str) -> Option<()> {
    for (name, value) in [("Auto-Submitted", submitted), ("X-Loop", message::LOOP)] {
        let name = HeaderName::new_from_ascii(name.to_owned()).ok()?;
        mail.headers_mut().insert_raw(HeaderValue::new(name, value.to_owned()));
    }
    Some(())
}

fn system_time(time: Time) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(time.unix())).unwrap_or(UNIX_EPOCH)
}

/// One line that says what became of the request.
fn headline(report: &Report<'_>) -> String {
    if report.stage == Stage::Notice {
        return format!("{}; the machine may not be able to say more", report.why);
    }
    if report.verdict != Ruling::Run {
        return if report.why.is_empty() {
            report.verdict.to_string()
        } else {
            format!("{}: {}", report.verdict, report.why)
        };
    }
    match &report.outcome.end {
        End::Back(Some(after)) => {
            format!("back up: rebooted {} s after the command", after.as_secs())
        }
        End::Back(None) => {
            "back up: rebooted, and its clock cannot say how long that took".to_owned()
        }
        End::Done => "done".to_owned(),
        End::Exited(status) => format!("exit status {status}"),
        End::Killed(signal) => format!("ended by signal {signal}"),
        End::NotStarted(why) => format!("not started: {why}"),
        End::Stuck => "at its time limit, and it cannot be stopped: left behind".to_owned(),
        End::TimedOut => "stopped at its time limit".to_owned(),
        End::Unknown => "started, outcome unknown".to_owned(),
        End::Unrun => "not run".to_owned(),
        End::WouldRun => "would run; nothing was run".to_owned(),
    }
}

fn asked(request: &Request) -> String {
    let words = request.command.join(" ");
    if request.dry { format!("{words} (dry run)") } else { words }
}

fn signed(request: &Request, received: Time) -> String {
    let (early, late) = (received.since(request.issued), request.issued.since(received));
    let distance = if late.is_zero() {
        format!("{} before it arrived", humantime::format_duration(early))
    } else {
        format!("{} after it arrived: one of the clocks is wrong", humantime::format_duration(late))
    };
    format!("{}, {distance}", request.issued)
}

fn output(outcome: &Outcome) -> String {
    let length = outcome.output.len();
    let mut cut = String::new();
    if outcome.dropped > 0 {
        cut.push_str(&format!(", cut: {} more were dropped", outcome.dropped));
    }
    if outcome.lost > 0 {
        cut.push_str(&format!(", {} records of the kernel's log were lost", outcome.lost));
    }
    match std::str::from_utf8(&outcome.output) {
        _ if length == 0 && outcome.dropped == 0 => "\nNo output.\n".to_owned(),
        _ if length == 0 => format!("\nOutput: {} octets, dropped: no room\n", outcome.dropped),
        Ok(text) if length <= SHOWN && !text.contains('\0') => {
            format!(
                "\nOutput ({length} octets{cut}):\n\n{}\n",
                shown(text.trim_end_matches('\n'), "\n\t")
            )
        }
        _ => format!("\nOutput: {length} octets{cut}, attached.\n"),
    }
}

/// Text with every control that is not `kept`, and every bidirectional control, made visible.
fn shown(text: &str, kept: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let bidi = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && !kept.contains(c)) || bidi {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn attachment(output: &[u8]) -> Option<SinglePart> {
    let (name, kind) = if std::str::from_utf8(output).is_ok() {
        ("output.txt", "text/plain; charset=utf-8")
    } else {
        ("output.bin", "application/octet-stream")
    };
    let body = Body::new_with_encoding(output.to_vec(), ContentTransferEncoding::Base64).ok()?;
    Some(Attachment::new(name.to_owned()).body(body, kind.parse().ok()?))
}
