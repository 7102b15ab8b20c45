//! What is written with each client: texts with a request in them, as people send them.

use base64ct::{Base64, Encoding};

use self::Ability::{Answer, Attach, Html};
use super::{ADDRESS, Client};
use crate::host::Host;
use crate::outcomes::mail;

/// What a letter needs beyond plain text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ability {
    Html,
    Attach,
    /// Replies to a mail and forwards it, in the client's own way.
    Answer,
}

/// A kind of letter.
struct Case {
    name: &'static str,
    needs: Option<Ability>,
    /// Whether it is written in every style of a client, or only in its first.
    is_basic: bool,
    /// The files that a driver finds, with places for the request (see `Filling`).
    files: &'static [(&'static str, &'static str)],
}

impl Case {
    /// Written in every style.
    const fn basic(mut self) -> Self {
        self.is_basic = true;
        self
    }
}

type Files = &'static [(&'static str, &'static str)];

const fn case(name: &'static str, files: Files) -> Case {
    Case { name, needs: None, is_basic: false, files }
}

const fn with(ability: Ability, name: &'static str, files: Files) -> Case {
    Case { name, needs: Some(ability), is_basic: false, files }
}

const CASES: &[Case] = &[
    case("as printed", &[("text", "{printed}")]).basic(),
    case("between umlauts", &[("text", "Grüße!\n\n{printed}\nSchönes Wochenende\nJörg\n")]).basic(),
    case("in one line", &[("text", "Führe aus: {line} Das wär's.\n")]).basic(),
    case("above a quoted one", &[("text", "{printed}\nAm Samstag schrieb Jörg:\n{quoted}")])
        .basic(),
    case("below a quoted one", &[("text", "Jörg:\n{quoted}\n{printed}\n-- \nJ. Groß\n")]),
    case("above an unquoted one", &[("text", "{printed}\n-----Original Message-----\n{spent}")]),
    case(
        "forwarded in the text",
        &[("text", "Ja!\n\n-------- Forwarded Message --------\nFrom: Jo\n\n{printed}")],
    ),
    case("in the subject", &[("subject", "{line}"), ("text", "siehe oben\n")]),
    case(
        "in the subject behind umlauts",
        &[("subject", "Prüfe für Jörg: {line}"), ("text", "schöne Grüße\n")],
    ),
    with(Attach, "attached text", &[("text", "für später\n"), ("request.txt", "{printed}")]),
    with(Attach, "attached mail", &[("text", "für später\n"), ("request.eml", "{mail}")]),
    with(Html, "HTML alone", &[("html", "{html}")]),
    with(Html, "text and HTML", &[("text", "Grüße!\n{printed}"), ("html", "{html}")]),
    with(Answer, "reply", &[REPLY, ("original.eml", "{old}"), ("text", "{printed}")]).basic(),
    with(Answer, "quoted in a reply", &[REPLY, ("original.eml", "{mail}"), ("text", "Ü\n")])
        .basic(),
    with(Answer, "coded, quoted in a reply", &[REPLY, ("original.eml", "{QP}"), ("text", "Ü\n")]),
    with(Answer, "forward", &[FORWARD, ("original.eml", "{mail}"), ("text", "Ü\n")]),
    with(
        Answer,
        "forward of quoted-printable",
        &[FORWARD, ("original.eml", "{QP}"), ("text", "Ü\n")],
    ),
    with(Answer, "forward of base64", &[FORWARD, ("original.eml", "{base64}"), ("text", "Ü\n")]),
    with(Answer, "forward attached", &[ATTACH, ("original.eml", "{mail}"), ("text", "Ü\n")]),
];

const REPLY: (&str, &str) = ("manner", "reply");
const FORWARD: (&str, &str) = ("manner", "forward");
const ATTACH: (&str, &str) = ("manner", "attach");

/// A letter to be written: in one style of a client.
pub(super) struct Letter {
    style: &'static str,
    case: &'static Case,
}

impl Letter {
    /// All that a client writes.
    pub(super) fn all(client: &Client) -> Vec<Self> {
        let mut letters = Vec::new();
        for (number, &style) in client.styles.iter().enumerate() {
            let written = CASES.iter().filter(|case| {
                let can = case.needs.is_none_or(|ability| client.can.contains(&ability));
                can && !client.cannot.contains(&case.name) && (case.is_basic || number == 0)
            });
            letters.extend(written.map(|case| Self { style, case }));
        }
        letters
    }

    pub(super) fn style(&self) -> &'static str {
        self.style
    }

    /// Its description, for whoever reads that it was not found.
    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.case.name, self.style)
    }

    /// Whether it also has the request that has been run before.
    pub(super) fn has_spent(&self) -> bool {
        let spent = ["{old}", "{spent}", "{quoted}"];
        self.case.files.iter().any(|(_, text)| spent.iter().any(|place| text.contains(place)))
    }

    /// The files that a driver finds.
    pub(super) fn files(&self, filling: &Filling) -> Vec<(&'static str, String)> {
        let subject = (!self.case.files.iter().any(|(name, _)| *name == "subject"))
            .then(|| ("subject", "hello".to_owned()));
        let filled = self.case.files.iter().map(|(name, text)| (*name, filling.fill(text)));
        let mut files: Vec<_> = filled.chain(subject).collect();
        if let Some((_, original)) = files.iter().find(|(name, _)| *name == "original.eml") {
            files.push((
                "box",
                format!("From jo@example.org Sat Nov 21 12:00:00 2026\n{original}\n"),
            ));
        }
        files
    }
}

/// A request, in all forms in which it is put into a letter.
pub(super) struct Filling {
    /// Its nonce.
    pub(super) cti: String,
    places: [(&'static str, String); 9],
}

impl Filling {
    /// A new request; `spent` is the text of one that has been run.
    pub(super) fn new(host: &Host<'_>, spent: &str) -> Self {
        let signed = host.sign_with(&["--json"], &["mark"]);
        let signed: serde_json::Value = serde_json::from_str(&signed).unwrap();
        let frame = signed["frame"].as_str().unwrap();
        let (prose, _) = spent.split_once("netsysrq begin").unwrap();
        let printed = format!("{prose}{frame}");
        let original = |encoding: &str, text: &str| {
            let headers = format!("Reply-To: {ADDRESS}\nContent-Transfer-Encoding: {encoding}\n");
            headers + &mail(text)
        };
        let greeted = format!("Grüße!\n\n{printed}");
        let paragraph = frame.replace('\n', "<br>\n");
        let places = [
            ("{mail}", original("7bit", &printed)),
            ("{QP}", original("quoted-printable", &quoted_printable(&greeted))),
            ("{base64}", original("base64", &base64(&greeted))),
            ("{old}", original("7bit", spent)),
            ("{printed}", printed),
            ("{line}", frame.trim_end().replace('\n', " ")),
            ("{html}", format!("<p>Gr&uuml;&szlig;e</p>\n<p>{paragraph}</p>\n")),
            ("{spent}", spent.to_owned()),
            ("{quoted}", spent.lines().map(|line| format!("> {line}\n")).collect()),
        ];
        Self { cti: signed["cti"].as_str().unwrap().to_owned(), places }
    }

    fn fill(&self, text: &str) -> String {
        self.places.iter().fold(text.to_owned(), |text, (place, with)| text.replace(place, with))
    }
}

/// With a soft line break after every 40 octets.
fn quoted_printable(text: &str) -> String {
    let code = |line: &[u8]| -> String {
        let code = |octet: &u8| match octet {
            b'=' | 0x80.. => format!("={octet:02X}"),
            _ => char::from(*octet).to_string(),
        };
        line.iter().map(code).collect()
    };
    let soft = |line: &str| line.as_bytes().chunks(40).map(code).collect::<Vec<_>>().join("=\n");
    text.lines().map(|line| soft(line) + "\n").collect()
}

fn base64(text: &str) -> String {
    let coded = Base64::encode_string(text.as_bytes());
    coded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line) + "\n").collect()
}
