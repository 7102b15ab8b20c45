//! Mail octets to candidates: every place of a message (RFC 5322, RFC 2045) where a frame may be.
//!
//! Leniency is harmless here, since nothing found is believed: a candidate only says that it is a request.
//! The caps below hold before anything is known about the sender, so they are constants.

use std::fmt;
use std::panic;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::html::html_to_text;
use mail_parser::{HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::cose::{self, Envelope};
use super::damage::Damage;
use super::frame::{self, Kind};
use super::request::Request;
use crate::protocol::refusal::Refusal;
use crate::protocol::time::Time;

/// How much of a message is searched, in octets; the rest is read and dropped.
pub const SEARCHED: usize = 256 * 1024;
/// How many signatures of one message are checked.
pub const SIGNATURE_CHECKS: usize = 8;
/// How many candidates of one message are looked at.
pub const CANDIDATES: usize = 128;
/// How deep forwarded messages (message/rfc822) are searched.
pub const FORWARDS: usize = 3;
/// How many texts of one message are searched, and how many blocks of base64 in its body.
pub const TEXTS: usize = 64;

/// The value of our `X-Loop` header: mail that has it is an answer of ours, and is not searched.
pub const LOOP: &str = "netsysrq-mail";

/// Where in a message a frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The Subject.
    Subject,
    /// A text part.
    Text,
    /// An HTML part, read as text.
    Html,
    /// An attachment that is text.
    Attachment,
    /// A forwarded message.
    Forwarded,
    /// The body as it came, because MIME lied.
    Raw,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "the Subject",
            Self::Text => "a text part",
            Self::Html => "an HTML part",
            Self::Attachment => "an attachment",
            Self::Forwarded => "a forwarded message",
            Self::Raw => "the body as it came",
        })
    }
}

/// Octets out of a frame whose CRC was right: a stranger may have written what they say.
#[must_use]
#[derive(Debug)]
pub struct Candidate {
    octets: Vec<u8>,
    place: Place,
}

/// What a search of one message found.
#[derive(Debug, Default)]
pub struct Search {
    /// In order of appearance, each body once.
    pub candidates: Vec<Candidate>,
    /// Where there was a marker without a whole frame after it, and what became of the frame.
    pub damaged: Vec<(Place, Damage)>,
    /// The Message-ID, if it is one sane id in angle brackets.
    pub message_id: Option<String>,
}

impl Candidate {
    /// Searches a message for requests; only the first [`SEARCHED`] octets count.
    #[must_use]
    pub fn find(message: &[u8]) -> Search {
        search(Kind::Request, message)
    }

    /// Takes the octets of a job file for what they were when they came: a stranger's.
    pub const fn from_job(octets: Vec<u8>) -> Self {
        Self { octets, place: Place::Raw }
    }

    /// The container.
    ///
    /// # Errors
    /// [`Refusal::Form`] if the octets are not one.
    pub fn envelope(&self) -> Result<Envelope, Refusal> {
        Envelope::open(&self.octets, cose::REQUEST_AAD).map_err(|_| Refusal::Form)
    }

    /// When this would expire, if it were true. Decides only whether a broken installation keeps a message.
    #[must_use]
    pub fn unverified_expiry(&self) -> Option<Time> {
        let envelope = self.envelope().ok()?;
        Request::decode(envelope.unverified_payload()).ok().map(|request| request.expires)
    }

    /// Where it was.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The octets received.
    #[must_use]
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}

/// Searches a message for frames of one kind.
#[must_use]
pub fn search(kind: Kind, message: &[u8]) -> Search {
    let message = message.get(..SEARCHED).unwrap_or(message);
    let mut texts = Texts::default();
    // mail-parser is fuzzed and forbids unsafe code; should it panic all the same, the raw body is left
    let parsed = panic::catch_unwind(|| MessageParser::default().parse(message)).ok().flatten();
    if let Some(parsed) = &parsed {
        texts.add_message(parsed, 0);
    }
    if texts.ours && kind == Kind::Request {
        return Search::default();
    }
    texts.found.sort_by_key(|(place, _)| *place);

    let mut found = Search {
        message_id: parsed
            .as_ref()
            .and_then(|parsed| parsed.header_raw(HeaderName::MessageId))
            .and_then(sane_id),
        ..Search::default()
    };
    for (place, text) in &texts.found {
        found.add(kind, *place, text);
    }
    if !texts.withheld {
        found.add_raw(kind, &String::from_utf8_lossy(body_of(message)));
    }
    found
}

impl Search {
    /// Searches a body as it came, where MIME lied: it may have a new frame beside one that was found. Damage there
    /// counts only if nothing else was found.
    fn add_raw(&mut self, kind: Kind, body: &str) {
        let damaged = std::mem::take(&mut self.damaged);
        self.add(kind, Place::Raw, body);
        if self.candidates.is_empty() && body.contains('<') {
            self.add(kind, Place::Raw, &html_to_text(body));
        }
        for block in base64_blocks(body).into_iter().take(TEXTS) {
            if let Some(octets) = base64_decode(block.as_bytes()) {
                self.add(kind, Place::Raw, &String::from_utf8_lossy(&octets));
            }
        }
        if !damaged.is_empty() || !self.candidates.is_empty() {
            self.damaged = damaged;
        }
    }

    fn add(&mut self, kind: Kind, place: Place, text: &str) {
        let frames = frame::find(kind, text);
        self.damaged.extend(frames.damaged.map(|damage| (place, damage)));
        for octets in frames.bodies {
            let known = self.candidates.iter().any(|known| known.octets == octets);
            if !known && self.candidates.len() < CANDIDATES {
                self.candidates.push(Candidate { octets, place });
            }
        }
    }
}

#[derive(Default)]
struct Texts {
    found: Vec<(Place, String)>,
    ours: bool,
    /// A part was skipped on purpose, so the body as it came is skipped too: it contains that part.
    withheld: bool,
}

impl Texts {
    fn add_message(&mut self, message: &Message<'_>, depth: usize) {
        if is_our_answer(message) {
            self.ours |= depth == 0;
            return;
        }
        if let Some(subject) = message.subject() {
            self.add(
                if depth == 0 { Place::Subject } else { Place::Forwarded },
                subject.to_owned(),
            );
        }
        self.add_part(message, 0, depth, 0);
    }

    fn add_part(&mut self, message: &Message<'_>, id: u32, forwards: usize, depth: usize) {
        let Some(part) = message.part(id) else { return };
        if is_report(part) || depth > 64 {
            self.withheld = true;
            return;
        }
        let at = |place| if forwards == 0 { place } else { Place::Forwarded };
        let attached = part.content_disposition().is_some_and(|how| how.ctype() == "attachment");
        let shown = |place| at(if attached { Place::Attachment } else { place });
        match &part.body {
            PartType::Text(text) => self.add(shown(Place::Text), text.to_string()),
            PartType::Html(html) => self.add(shown(Place::Html), html_to_text(html)),
            PartType::Binary(octets) | PartType::InlineBinary(octets) => {
                if let Ok(text) = std::str::from_utf8(octets) {
                    self.add(at(Place::Attachment), text.to_owned());
                }
            }
            PartType::Message(inner) if forwards < FORWARDS => {
                self.add_message(inner, forwards.saturating_add(1));
            }
            PartType::Message(_) => self.withheld = true,
            PartType::Multipart(parts) => {
                for inner in parts {
                    self.add_part(message, *inner, forwards, depth.saturating_add(1));
                }
            }
        }
    }

    fn add(&mut self, place: Place, text: String) {
        if self.found.len() < TEXTS && !text.is_empty() {
            self.found.push((place, text));
        }
    }
}

fn is_our_answer(message: &Message<'_>) -> bool {
    message
        .header_values(HeaderName::Other("X-Loop".into()))
        .any(|value| value.as_text().is_some_and(|text| text.trim() == LOOP))
}

fn is_report(part: &MessagePart<'_>) -> bool {
    part.content_type().is_some_and(|kind| {
        kind.ctype().eq_ignore_ascii_case("multipart")
            && kind.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case("report"))
    })
}

/// Lines of base64 among others: some clients forward what they have not decoded. All lines of
/// a block but the last are full.
fn base64_blocks(text: &str) -> Vec<String> {
    let is_base64 =
        |line: &str| line.bytes().all(|c| c.is_ascii_alphanumeric() || b"+/=".contains(&c));
    let mut blocks = Vec::new();
    let mut block = String::new();
    for line in text.lines().map(|line| line.trim_end_matches('\r')) {
        if !line.is_empty() && is_base64(line) && (!block.is_empty() || line.len() >= 57) {
            block.push_str(line);
        } else if !block.is_empty() {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks.extend((!block.is_empty()).then_some(block));
    blocks
}

/// What follows the first empty line; all of it if there is none.
fn body_of(message: &[u8]) -> &[u8] {
    let ends = [b"\n\n".as_slice(), b"\r\n\r\n", b"\n\r\n"];
    let at = ends.iter().filter_map(|end| message.windows(end.len()).position(|w| w == *end)).min();
    at.and_then(|at| message.get(at..)).unwrap_or(message)
}

/// The id in angle brackets, if the field is one short id of printable ASCII: what an answer may refer to.
fn sane_id(field: &str) -> Option<String> {
    let id = field.trim_matches([' ', '\t', '\r', '\n']);
    let sane = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_graphic() && !b"<>@".contains(&c))
    };
    let (left, right) = id.strip_prefix('<')?.strip_suffix('>')?.split_once('@')?;
    (id.len() <= 200 && sane(left) && sane(right)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};

    use super::*;

    fn framed(body: &[u8]) -> String {
        frame::encode(Kind::Request, body).unwrap()
    }

    /// In lines of `width` octets.
    fn base64(text: &str, width: usize) -> String {
        let coded = Base64::encode_string(text.as_bytes());
        let lines = coded.as_bytes().chunks(width).map(String::from_utf8_lossy);
        lines.collect::<Vec<_>>().join("\n")
    }

    fn found(message: &str) -> Vec<(Place, Vec<u8>)> {
        let search = Candidate::find(message.as_bytes());
        search.candidates.into_iter().map(|c| (c.place, c.octets)).collect()
    }

    fn html(frame: &str) -> String {
        let lines: String = frame
            .lines()
            .map(|line| format!("<div>{}<wbr></div>", line.replace(' ', "&nbsp;")))
            .collect();
        format!("<html><body>{lines}</body></html>")
    }

    #[test]
    fn a_frame_is_found_in_every_place_of_a_message() {
        let frame = framed(b"octets");
        let packed = frame.replace('\n', " ");
        let cases = [
            (Place::Text, format!("Subject: x\n\nhello\n{frame}bye\n")),
            (Place::Subject, format!("Subject: {}\n\nhello\n", packed.replace("end", "\n end"))),
            (Place::Text, format!("From a@b Sat Nov 21 05:53:00 2026\nSubject: x\n\n{frame}")),
            (Place::Text, format!("Subject: x\r\n\r\n{}", frame.replace('\n', "\r\n"))),
            (Place::Html, format!("Content-Type: text/html\n\n{}", html(&frame))),
            (
                Place::Attachment,
                format!(
                    "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\n{frame}\n--b--\n"
                ),
            ),
            (
                Place::Attachment,
                format!(
                    "Content-Type: text/html\nContent-Disposition: attachment; filename=a.html\nContent-Transfer-Encoding: quoted-printable\n\n{}",
                    html(&frame).replace('=', "=3D")
                ),
            ),
            (
                Place::Forwarded,
                format!(
                    "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\n{frame}\n--b--\n"
                ),
            ),
            (
                Place::Raw,
                format!("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n{frame}"),
            ),
        ];
        for (place, message) in cases {
            assert_eq!(found(&message), [(place, b"octets".to_vec())], "{message}");
        }
    }

    #[test]
    fn a_mailbox_from_line_hides_nothing_of_a_message() {
        let frame = framed(b"octets").replace('\n', " ");
        for line in [
            "From a@b Sat Nov 21 05:53:00 2026",
            "From a Sat Nov 21 05:53:00 2026 remote from x",
            "From a",
            "From ",
        ] {
            let message = format!("{line}\nSubject: {frame}\nMessage-ID: <a@b>\n\nhello\n");
            assert_eq!(found(&message), [(Place::Subject, b"octets".to_vec())], "{line}");
            let id = Candidate::find(message.as_bytes()).message_id;
            assert_eq!(id.as_deref(), Some("<a@b>"), "{line}");
        }
    }

    #[test]
    fn header_fields_but_the_subject_are_not_searched() {
        let frame = framed(b"octets").replace('\n', " ");
        assert_eq!(found(&format!("Comments: {frame}\n\nhello\n")), []);
    }

    #[test]
    fn damage_in_the_raw_body_counts_only_without_a_find() {
        let (frame, damaged) =
            (framed(b"octets"), framed(b"other").replacen("begin\n", "begin\nzzz", 1));
        let damages = |part: &str| {
            let parts = "Content-Type: multipart/mixed; boundary=b\n\n";
            let message = format!("{parts}{damaged}\n--b\n\n{part}\n--b--\n");
            Candidate::find(message.as_bytes()).damaged.len()
        };
        assert_eq!((damages("hello"), damages(&frame)), (1, 0));
    }

    #[test]
    fn the_halves_of_an_alternative_are_one_candidate() {
        let frame = framed(b"octets");
        let message = format!(
            "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n{}\n--b\nContent-Type: text/plain\n\n{frame}\n--b--\n",
            html(&frame)
        );
        assert_eq!(found(&message), [(Place::Text, b"octets".to_vec())]);
    }

    #[test]
    fn the_subject_comes_first_and_quoted_frames_come_last() {
        let (new, old) = (framed(b"new"), framed(b"old").replace('\n', "\n> "));
        let subject = framed(b"subject").replace('\n', " ");
        let message = format!("Subject: {subject}\n\n{new}\nAlice wrote:\n> {old}\n");
        let bodies: Vec<_> = found(&message).into_iter().map(|(_, octets)| octets).collect();
        assert_eq!(bodies, [b"subject".to_vec(), b"new".to_vec(), b"old".to_vec()]);
    }

    #[test]
    fn reports_and_our_own_answers_are_not_searched() {
        let frame = framed(b"octets");
        let report = format!(
            "Content-Type: multipart/report; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\n{frame}\n--b--\n"
        );
        let ours = format!("Subject: x\nX-Loop: netsysrq-mail\n\n{frame}");
        let theirs = format!("Subject: x\nX-Loop: netsysrq-mail-fan\n\n{frame}");
        assert!(Candidate::find(ours.as_bytes()).candidates.is_empty());
        assert_eq!(found(&report).first().map(|(place, _)| *place), None);
        assert_eq!(found(&theirs).len(), 1);
    }

    #[test]
    fn forwards_are_searched_to_a_depth_of_three_only() {
        let frame = framed(b"octets");
        let nested = |depth: usize| {
            "Content-Type: message/rfc822\n\n".repeat(depth) + "Subject: x\n\n" + &frame
        };
        for depth in 1..=FORWARDS {
            assert_eq!(found(&nested(depth)), [(Place::Forwarded, b"octets".to_vec())], "{depth}");
        }
        assert_eq!(found(&nested(FORWARDS + 1)), []);
    }

    #[test]
    fn so_many_candidates_and_so_many_texts_count_and_no_more() {
        let frames: String = (0..=CANDIDATES).map(|n| framed(&n.to_be_bytes())).collect();
        assert_eq!(found(&format!("Subject: x\n\n{frames}")).len(), CANDIDATES);
        // lines too short to be taken for base64 in the body as it came
        let short = base64(&framed(b"octets"), 40);
        let last = format!("Content-Transfer-Encoding: base64\n\n{short}\n");
        let nth = |texts: usize| {
            let head = "Content-Type: multipart/mixed; boundary=b\n";
            let parts = "\n--b\n\nhello\n".repeat(texts - 1);
            found(&format!("{head}{parts}\n--b\n{last}\n--b--\n")).len()
        };
        assert_eq!((nth(TEXTS), nth(TEXTS + 1)), (1, 0));
    }

    #[test]
    fn only_the_first_256_kib_count() {
        let frame = framed(b"octets");
        let message = |n: usize| format!("Subject: x\n\n{}\n{frame}", "x".repeat(n));
        assert_eq!(found(&message(SEARCHED - 1000)).len(), 1);
        assert_eq!(found(&message(SEARCHED)).len(), 0);
    }

    #[test]
    fn only_a_single_sane_message_id_is_kept() {
        let id = |value: &str| {
            Candidate::find(format!("Message-ID: {value}\n\nhello\n").as_bytes()).message_id
        };
        assert_eq!(id("<a.b@c.d>").as_deref(), Some("<a.b@c.d>"));
        for bad in ["<ab>", "<a@b@c>", "", &format!("<{}@x>", "a".repeat(200))] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }

    #[test]
    fn octets_that_are_no_mail_at_all_are_no_frame() {
        let many_parts =
            format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(10_000));
        for message in
            [&b""[..], b"\0\0\0", b"Subject: x\n", b"\r\r\r", &[0xff; 4000], many_parts.as_bytes()]
        {
            let search = Candidate::find(message);
            assert!(search.candidates.is_empty() && search.damaged.is_empty());
        }
    }

    #[test]
    fn a_frame_behind_dashes_that_look_like_boundaries_is_found() {
        let (old, new) = (framed(b"spent"), framed(b"new"));
        let mail = format!(
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"-\"\n\n---\n\n{old}\n-----Original \
             Message-----\n{new}\n-----\n"
        );
        let octets: Vec<Vec<u8>> = found(&mail).into_iter().map(|(_, octets)| octets).collect();
        assert_eq!(octets, [b"spent".to_vec(), b"new".to_vec()]);
    }

    #[test]
    fn a_frame_is_found_in_a_forward_that_was_not_decoded() {
        let coded = base64(&format!("Gr\u{fc}\u{df}e\n{}", framed(b"body")), 76);
        let mail = format!(
            "Subject: Fwd\n\nSee below.\n\n--- Forwarded\nContent-Transfer-Encoding: base64\n\n{coded}\n\n--- end\n"
        );
        assert_eq!(found(&mail), [(Place::Raw, b"body".to_vec())]);
    }
}
