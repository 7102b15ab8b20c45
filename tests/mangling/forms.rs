//! The forms in which a mail carries a text: MIME as it should be, and as it is.

use base64ct::{Base64, Encoding};
use unicode_normalization::UnicodeNormalization;

use crate::{escaped, quoted_printable};

/// A form of a mail around a text.
type Form = (&'static str, fn(&str) -> Vec<u8>);

const HEAD: &str = "From: a@example.org\nTo: b@example.net\nSubject: hello\nMIME-Version: 1.0\n";

/// A mail of one part: the lines of its head that matter, and its body.
fn part(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [HEAD.as_bytes(), head.as_bytes(), b"\n\n", body.as_ref()].concat()
}

fn text(charset: &str, encoding: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    part(
        &format!(
            "Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}"
        ),
        body,
    )
}

pub(crate) fn plain(body: &str) -> Vec<u8> {
    text("utf-8", "8bit", body)
}

fn base64(octets: impl AsRef<[u8]>) -> String {
    let encoded = Base64::encode_string(octets.as_ref());
    let lines =
        encoded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned());
    lines.map(|line| line + "\n").collect()
}

fn utf16(text: &str, to_octets: fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(to_octets).collect()
}

/// One octet per character; one that has none is replaced by a similar one, as iconv(1) does, or a question mark.
fn latin1(text: &str) -> Vec<u8> {
    text.nfkc().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Japanese around the text, and an ideographic space for every blank.
fn iso_2022_jp(text: &str) -> Vec<u8> {
    let ascii: String = text.nfkc().filter(char::is_ascii).collect();
    let hello = "\u{1b}$B$3$s$K$A$O\u{1b}(B";
    format!("{hello}\n{}\n{hello}\n", ascii.replace(' ', "\u{1b}$B!!\u{1b}(B")).into_bytes()
}

fn html(body: &str) -> Vec<u8> {
    part("Content-Type: text/html; charset=utf-8", format!("<html><body>{body}</body></html>"))
}

fn lines(text: &str, open: &str, close: &str) -> String {
    text.lines().map(|line| format!("{open}{}{close}", escaped(line))).collect()
}

/// An empty element in the middle of every group.
fn strewn_with(text: &str, tag: &str) -> String {
    let mut body = String::new();
    for (n, c) in text.chars().enumerate() {
        body.push_str(&escaped(&c.to_string()).replace('\n', "<br>\n"));
        if n % 9 == 4 {
            body.push_str(tag);
        }
    }
    body
}

fn multipart(kind: &str, parts: &[(&str, String)]) -> String {
    let mut body = format!("Content-Type: multipart/{kind}; boundary=\"b0\"\n\npreamble\n");
    for (head, text) in parts {
        body.push_str(&format!("--b0\n{head}\n\n{text}\n"));
    }
    body + "--b0--\nepilogue\n"
}

fn mixed(kind: &str, parts: &[(&str, String)]) -> Vec<u8> {
    format!("{HEAD}{}", multipart(kind, parts)).into_bytes()
}

fn forwarded(text: &str, depth: usize) -> String {
    if depth == 0 {
        return String::from_utf8(plain(text)).unwrap();
    }
    let inner = forwarded(text, depth - 1);
    format!(
        "{HEAD}{}",
        multipart(
            "mixed",
            &[
                ("Content-Type: text/plain", "see below".into()),
                ("Content-Type: message/rfc822", inner)
            ]
        )
    )
}

/// A mail with nothing but a Subject.
fn subject(value: &str) -> Vec<u8> {
    format!("From: a@example.org\nSubject: {value}\n\n\n").into_bytes()
}

/// Encoded words (RFC 2047) of this many characters each.
fn words(text: &str, size: usize, with: &str, word: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let characters: Vec<char> = text.chars().collect();
    let pieces = characters.chunks(size).map(|piece| piece.iter().collect::<String>());
    let words: Vec<String> = pieces.map(|piece| word(piece.as_bytes())).collect();
    subject(&words.join(with))
}

fn q(octets: &[u8]) -> String {
    let encode = |octet: &u8| match octet {
        b' ' => "_".to_owned(),
        octet if octet.is_ascii_alphanumeric() => char::from(*octet).to_string(),
        octet => format!("={octet:02X}"),
    };
    format!("=?utf-8?Q?{}?=", octets.iter().map(encode).collect::<String>())
}

fn b(octets: &[u8]) -> String {
    format!("=?UTF-8?B?{}?=", Base64::encode_string(octets))
}

/// The text of a header that nobody encoded: one line, folded at blanks.
fn folded(text: &str, fold: &str) -> Vec<u8> {
    let line = text.split_whitespace().collect::<Vec<_>>();
    let lines: Vec<String> = line.chunks(8).map(|words| words.join(" ")).collect();
    subject(&lines.join(fold))
}

pub(crate) const FORMS: &[Form] = &[
    ("no MIME headers", |t| format!("From: a@example.org\nSubject: hello\n\n{t}").into_bytes()),
    ("no headers at all", |t| format!("\n{t}").into_bytes()),
    ("quoted-printable", |t| text("utf-8", "quoted-printable", quoted_printable(t))),
    ("base64", |t| text("utf-8", "base64", base64(t))),
    ("said to be base64", |t| text("utf-8", "base64", t)),
    ("said to be quoted-printable", |t| text("utf-8", "quoted-printable", t)),
    ("quoted-printable, said to be 7bit", |t| text("utf-8", "7bit", quoted_printable(t))),
    ("base64, said to be 7bit", |t| text("utf-8", "7bit", base64(t))),
    ("base64, not said", |t| part("Content-Type: text/plain", base64(t))),
    ("an encoding that there is not", |t| text("utf-8", "x-uuencode", t)),
    ("binary", |t| text("utf-8", "binary", t)),
    ("no charset", |t| part("Content-Type: text/plain", t)),
    ("a charset that there is not", |t| text("x-unknown", "8bit", t)),
    ("said to be us-ascii", |t| text("us-ascii", "8bit", t)),
    ("UTF-8 said to be iso-8859-1", |t| text("iso-8859-1", "8bit", t)),
    ("Latin-1 said to be UTF-8", |t| text("utf-8", "8bit", latin1(t))),
    ("iso-8859-1", |t| text("iso-8859-1", "8bit", latin1(t))),
    ("windows-1252", |t| {
        text("windows-1252", "8bit", [&latin1(t)[..], b"\x93quoted\x94\n"].concat())
    }),
    ("UTF-16, little end first", |t| text("utf-16", "base64", base64(utf16(t, u16::to_le_bytes)))),
    ("UTF-16, big end first", |t| text("utf-16", "base64", base64(utf16(t, u16::to_be_bytes)))),
    ("UTF-16LE", |t| text("utf-16le", "base64", base64(utf16(t, u16::to_le_bytes)))),
    ("iso-2022-jp", |t| text("iso-2022-jp", "7bit", iso_2022_jp(t))),
    ("flowed", |t| part("Content-Type: text/plain; charset=utf-8; format=flowed", t)),
    ("flowed with DelSp", |t| {
        part("Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes", t)
    }),
    ("CR LF throughout", |t| {
        String::from_utf8(plain(t)).unwrap().replace('\n', "\r\n").into_bytes()
    }),
    ("HTML, an element a line", |t| html(&lines(t, "<div>", "</div>"))),
    ("HTML, paragraphs", |t| html(&lines(t, "<p class=MsoNormal><span>", "</span></p>"))),
    ("HTML, line breaks", |t| html(&lines(t, "", "<br/>\n"))),
    ("HTML, preformatted", |t| html(&format!("<pre>{}</pre>", escaped(t)))),
    ("HTML, quoted", |t| {
        html(&format!(
            "<blockquote type=cite><blockquote>{}</blockquote></blockquote>",
            lines(t, "", "<br>\n")
        ))
    }),
    ("HTML, no-break spaces", |t| html(&lines(t, "<div>", "</div>").replace(' ', "&nbsp;"))),
    ("HTML, numbered entities", |t| {
        html(&lines(t, "<DIV>", "</DIV>").replace(' ', "&#160;").replace("0", "&#x30;"))
    }),
    ("HTML, places to break", |t| html(&strewn_with(t, "<wbr>"))),
    ("HTML, words in pieces", |t| html(&strewn_with(t, "</span><span style=\"color:red\">"))),
    ("HTML, soft hyphens", |t| html(&strewn_with(t, "&shy;"))),
    ("HTML, comments", |t| html(&strewn_with(t, "<!-- x > y -->"))),
    ("HTML, a table", |t| html(&format!("<table>{}</table>", lines(t, "<tr><td>", "</td></tr>")))),
    ("HTML, styles and scripts before", |t| {
        html(&format!(
            "<style>p > b {{ x: y }}</style><script>a<b</script>{}",
            lines(t, "<p>", "</p>")
        ))
    }),
    ("HTML said to be text", |t| plain(&format!("<html>{}</html>", lines(t, "<div>", "</div>")))),
    ("HTML in quoted-printable", |t| {
        part(
            "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
            quoted_printable(&format!("<html>{}</html>", lines(t, "<div>", "</div>"))),
        )
    }),
    ("alternative, HTML first", |t| {
        mixed(
            "alternative",
            &[
                ("Content-Type: text/html", lines(t, "<p>", "</p>")),
                ("Content-Type: text/plain; charset=utf-8", t.into()),
            ],
        )
    }),
    ("alternative, the text is of no use", |t| {
        mixed(
            "alternative",
            &[
                ("Content-Type: text/plain", "Get an HTML reader.".into()),
                ("Content-Type: text/html; charset=utf-8", lines(t, "<p>", "</p>")),
            ],
        )
    }),
    ("alternative, HTML of no use", |t| {
        mixed(
            "alternative",
            &[
                ("Content-Type: text/plain; charset=utf-8", t.into()),
                ("Content-Type: text/html", "<img src=cid:x>".into()),
            ],
        )
    }),
    ("a list's footer in a part of its own", |t| {
        mixed(
            "mixed",
            &[
                ("Content-Type: text/plain; charset=utf-8", t.into()),
                ("Content-Type: text/plain", "-- \nlist@lists.example".into()),
            ],
        )
    }),
    ("Outlook's winmail.dat beside the text", |t| {
        mixed(
            "mixed",
            &[
                ("Content-Type: text/plain; charset=utf-8", t.into()),
                (
                    "Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64",
                    base64(b"\x78\x9f\x3e\x22\x01\x00"),
                ),
            ],
        )
    }),
    ("an attachment of text", |t| {
        mixed(
            "mixed",
            &[
                ("Content-Type: text/plain", "see attachment".into()),
                (
                    "Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename=a.txt\nContent-Transfer-Encoding: base64",
                    base64(t),
                ),
            ],
        )
    }),
    ("an attachment of octets", |t| {
        mixed(
            "mixed",
            &[
                ("Content-Type: text/plain", "see attachment".into()),
                (
                    "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=a.bin\nContent-Transfer-Encoding: base64",
                    base64(t),
                ),
            ],
        )
    }),
    ("signed (RFC 1847)", |t| {
        mixed(
            "signed; protocol=\"application/pgp-signature\"",
            &[
                ("Content-Type: text/plain; charset=utf-8", t.into()),
                (
                    "Content-Type: application/pgp-signature",
                    "-----BEGIN PGP SIGNATURE-----\n\niHU=\n-----END PGP SIGNATURE-----".into(),
                ),
            ],
        )
    }),
    ("forwarded as a message", |t| forwarded(t, 1).into_bytes()),
    ("forwarded three times", |t| forwarded(t, 3).into_bytes()),
    ("multipart without its end", |t| {
        format!("{HEAD}Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: text/plain; charset=utf-8\n\n{t}").into_bytes()
    }),
    ("multipart without its boundary", |t| {
        format!(
            "{HEAD}Content-Type: multipart/mixed\n\n--b0\nContent-Type: text/plain\n\n{t}\n--b0--\n"
        )
        .into_bytes()
    }),
    ("multipart of another boundary", |t| {
        format!("{HEAD}Content-Type: multipart/mixed; boundary=b1\n\n--b0\nContent-Type: text/plain\n\n{t}\n--b0--\n").into_bytes()
    }),
    ("multipart within multipart, cut", |t| {
        format!("{HEAD}Content-Type: multipart/mixed; boundary=b1\n\n--b1\nContent-Type: multipart/alternative; boundary=b0\n\n--b0\nContent-Type: text/plain; charset=utf-8\n\n{t}\n--b1--\n").into_bytes()
    }),
    ("Subject, on one line", |t| folded(t, " ")),
    ("Subject, folded", |t| folded(t, "\n ")),
    ("Subject, folded by nine blanks", |t| folded(t, "\n         ")),
    ("Subject, marked and answered", |t| {
        let mut s = folded(t, "\n\t");
        let at = s.windows(9).position(|w| w == b"Subject: ").unwrap() + 9;
        s.splice(at..at, *b"Re: [list] [EXTERNAL] Fwd: ");
        s
    }),
    ("Subject, Q words", |t| words(t, 20, "\n ", q)),
    ("Subject, B words", |t| words(t, 30, "\n ", b)),
    ("Subject, one Q word", |t| words(t, t.len(), "", q)),
    ("Subject, one B word", |t| words(t, t.len(), "", b)),
    ("Subject, Q words and B words", |t| {
        words(t, 17, "\n ", |octets| if octets[0] % 2 == 0 { q(octets) } else { b(octets) })
    }),
    ("Subject, words with two blanks between", |t| words(t, 20, "\n  ", q)),
];
