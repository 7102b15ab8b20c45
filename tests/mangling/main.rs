//! What mail clients and gateways were seen to do to text that somebody pasted, each alone, each after every other, and
//! in each form in which a mail can carry it: the request must come out whole.
//!
//! Changes that lose a symbol of the frame are not here: such a request is damaged, and reported as damaged.

#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

mod forms;

use forms::FORMS;
use netsysrq_mail::protocol::wire::frame::{self, Kind};
use netsysrq_mail::protocol::wire::message::Candidate;

/// A change of text, under the name of what makes it.
type Row = (&'static str, fn(&str) -> String);
/// The octets of some frames: short, usual, and as long as one may be.
fn bodies() -> [Vec<u8>; 3] {
    let octets = |count: usize| {
        // all octets occur, and no pattern of five
        (0..count).map(|n| u8::try_from((n * n * 7 + n * 31 + 11) % 251).unwrap()).collect()
    };
    [octets(91), octets(150), octets(555)]
}

/// What somebody sends: a frame between words of their own.
fn pasted(body: &[u8]) -> String {
    let framed = frame::encode(Kind::Request, body).unwrap();
    format!(
        "Please run \"this\" -- it's urgent (see web1.example.com):\n\n{framed}\nThanks...\n-- \nAlice\n"
    )
}

/// Breaks a text every `width` characters, wherever that is.
fn broken(text: &str, width: usize, with: &str) -> String {
    let lines = text.lines().map(|line| {
        let characters: Vec<char> = line.chars().collect();
        let pieces: Vec<String> =
            characters.chunks(width).map(|piece| piece.iter().collect()).collect();
        pieces.join(with)
    });
    lines.map(|line| line + "\n").collect()
}

/// Breaks lines at blanks, as late as `width` allows.
fn filled(text: &str, width: usize, end: &str) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        let mut column = 0;
        for word in line.split(' ') {
            if column > 0 && column + 1 + word.chars().count() > width {
                filled.push_str(end);
                column = 0;
            } else if column > 0 {
                filled.push(' ');
                column += 1;
            }
            filled.push_str(word);
            column += word.chars().count();
        }
        filled.push('\n');
    }
    filled
}

fn each_line(text: &str, change: impl Fn(&str) -> String) -> String {
    text.lines().map(|line| change(line) + "\n").collect()
}

/// Puts `with` after every `every`th character, except line ends.
fn strewn(text: &str, every: usize, with: &str) -> String {
    let mut strewn = String::new();
    for (n, c) in text.chars().enumerate() {
        strewn.push(c);
        if n % every == every - 1 && c != '\n' {
            strewn.push_str(with);
        }
    }
    strewn
}

/// What nroff's hyphens and word processors do at a line's end.
fn hyphenated(text: &str) -> String {
    broken(text, 57, "-\n")
}

/// Quoted-printable (RFC 2045), with soft line breaks.
fn quoted_printable(text: &str) -> String {
    each_line(text, |line| {
        let octets = line.trim_end_matches('\r').bytes();
        let last = octets.len().saturating_sub(1);
        let mut encoded = String::new();
        let mut column = 0;
        for (n, octet) in octets.enumerate() {
            let plain = octet.is_ascii_graphic() && octet != b'=' || octet == b' ' && n != last;
            let symbol =
                if plain { char::from(octet).to_string() } else { format!("={octet:02X}") };
            if column + symbol.len() > 75 {
                encoded.push_str("=\n");
                column = 0;
            }
            column += symbol.len();
            encoded.push_str(&symbol);
        }
        encoded
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn full_width(text: &str) -> String {
    let wide = |c: char| {
        if c.is_ascii_graphic() { char::from_u32(u32::from(c) + 0xfee0).unwrap() } else { c }
    };
    text.chars().map(wide).collect()
}

fn percent(text: &str) -> String {
    let escape = |octet: u8| {
        if octet.is_ascii_alphanumeric() {
            char::from(octet).to_string()
        } else {
            format!("%{octet:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

fn capitalised(text: &str) -> String {
    each_line(text, |line| {
        let mut characters = line.chars();
        characters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
    })
}

/// Typed by hand, or read in a font in which they look alike.
fn look_alikes(text: &str) -> String {
    let swapped = text.lines().map(|line| {
        let is_frame = !line.contains("netsysrq") && line.split(' ').all(|word| word.len() <= 5);
        if is_frame { line.replace('0', "O").replace('1', "l") } else { line.to_owned() }
    });
    swapped.map(|line| line + "\n").collect()
}

const ROWS: &[Row] = &[
    ("hard wrap at 78, in words", |t| broken(t, 78, "\n")),
    ("hard wrap at 72, in words", |t| broken(t, 72, "\n")),
    ("hard wrap at 71, after - and / (Evolution)", |t| filled(&t.replace('-', "- "), 71, "\n")),
    ("soft wrap at 72", |t| filled(t, 72, "\n")),
    ("wrap at 40", |t| filled(t, 40, "\n")),
    ("wrap at 30, in words", |t| broken(t, 30, "\n")),
    ("lines joined by a blank", |t| t.replace('\n', " ")),
    ("lines joined by nothing", |t| t.replace('\n', "")),
    ("a blank line after each", |t| t.replace('\n', "\n\n")),
    ("CR LF", |t| t.replace('\n', "\r\n")),
    ("CR", |t| t.replace('\n', "\r")),
    ("CR CR LF", |t| t.replace('\n', "\r\r\n")),
    ("blanks at the end of lines", |t| each_line(t, |line| format!("{line}  "))),
    ("no blanks at the end of lines", |t| each_line(t, |line| line.trim_end().to_owned())),
    ("indented", |t| each_line(t, |line| format!("    {line}"))),
    ("indented by a tab", |t| each_line(t, |line| format!("\t{line}"))),
    ("blanks become a tab", |t| t.replace(' ', "\t")),
    ("blanks doubled", |t| t.replace(' ', "  ")),
    ("quoted", |t| each_line(t, |line| format!("> {line}"))),
    ("quoted without a blank", |t| each_line(t, |line| format!(">{line}"))),
    ("quoted twice and filled", |t| each_line(&filled(t, 60, "\n"), |line| format!("> > {line}"))),
    ("quoted by a bar", |t| each_line(t, |line| format!("| {line}"))),
    ("quoted by initials", |t| each_line(t, |line| format!("JD> {line}"))),
    ("flowed, not unfolded", |t| filled(t, 66, " \n")),
    ("flowed with DelSp, not unfolded", |t| broken(t, 66, " \n")),
    ("stuffed with blanks", |t| {
        each_line(t, |line| {
            let stuff = [" ", ">", "From "].iter().any(|start| line.starts_with(start));
            format!("{}{line}", if stuff { " " } else { "" })
        })
    }),
    ("From escaped", |t| t.replace("\nFrom ", "\n>From ")),
    ("dots stuffed", |t| {
        each_line(t, |line| line.replacen('.', "..", usize::from(line.starts_with('.'))))
    }),
    ("a layer of quoted-printable too many", quoted_printable),
    ("= escaped once more", |t| t.replace('=', "=3D")),
    ("split at 998 (Postfix)", |t| broken(t, 998, "\r\n ")),
    ("split at 990 with ! (sendmail)", |t| broken(t, 990, "!\r\n ")),
    ("no-break spaces", |t| t.replace(' ', "\u{a0}")),
    ("narrow no-break spaces", |t| t.replace(' ', "\u{202f}")),
    ("ideographic spaces", |t| t.replace(' ', "\u{3000}")),
    ("zero-width spaces", |t| strewn(t, 20, "\u{200b}")),
    ("zero-width joiners", |t| strewn(t, 7, "\u{200d}")),
    ("soft hyphens", |t| strewn(t, 12, "\u{ad}")),
    ("a byte order mark in front", |t| format!("\u{feff}{t}")),
    ("marks of direction", |t| each_line(t, |line| format!("\u{200e}{line}\u{200f}"))),
    ("smart quotes", |t| t.replace('"', "\u{201d}").replace('\'', "\u{2019}")),
    ("dashes", |t| t.replace("--", "\u{2014}").replace(" - ", " \u{2013} ")),
    ("ellipses", |t| t.replace("...", "\u{2026}")),
    ("markdown eaten", |t| t.replace(['_', '*'], "")),
    ("symbols substituted", |t| {
        t.replace("(c)", "\u{a9}").replace("1/2", "\u{bd}").replace(":)", "\u{1f642}")
    }),
    ("first letters capitalised", capitalised),
    ("upper case", |t| t.to_uppercase()),
    ("lower case", |t| t.to_lowercase()),
    ("full-width letters", full_width),
    ("entities escaped", escaped),
    ("entities escaped twice", |t| escaped(&escaped(t))),
    ("names become links", |t| {
        t.replace("web1.example.com", "web1.example.com <http://web1.example.com>")
    }),
    ("links rewritten", |t| t.replace("http://", "https://safelinks.example/?url=http%3A%2F%2F")),
    ("a signature below", |t| format!("{t}-- \nSent from my phone\n")),
    ("an attribution above", |t| format!("On 11/20/26 Bob <bob@example.com> wrote:{t}")),
    ("a list's footer below", |t| {
        format!("{t}_______________\nlist mailing list -- list@lists.example\n")
    }),
    ("a banner above", |t| format!("[EXTERNAL] CAUTION: do not click links!{t}")),
    ("a disclaimer glued to its end", |t| {
        format!("{}This mail may be confidential.", t.trim_end())
    }),
    ("an inline forward", |t| {
        format!("-------- Original Message --------\nSubject: x\nFrom: a@example.org\n\n{t}")
    }),
    ("percent escapes (mailto)", percent),
    ("look-alikes", look_alikes),
    ("hyphenated", hyphenated),
    ("trailing backslashes", |t| each_line(t, |line| format!("{line}\\"))),
    ("lines numbered by bullets", |t| each_line(t, |line| format!("\u{2022} {line}"))),
];

fn found(message: &[u8], body: &[u8]) -> bool {
    let search = Candidate::find(message);
    let octets: Vec<Vec<u8>> = search.candidates.into_iter().map(Candidate::into_octets).collect();
    octets.len() == 1 && octets[0] == body
}

fn assert_none(lost: &[impl std::fmt::Debug]) {
    let lines: Vec<String> = lost.iter().map(|lost| format!("{lost:?}")).collect();
    assert!(lost.is_empty(), "{} lost:\n{}", lost.len(), lines.join("\n"));
}

#[test]
fn each_row_alone_leaves_the_request_whole() {
    let mut lost = Vec::new();
    for body in bodies() {
        for (name, row) in ROWS {
            if !found(&forms::plain(&row(&pasted(&body))), &body) {
                lost.push((body.len(), name));
            }
        }
    }
    println!("{} rows, {} bodies", ROWS.len(), bodies().len());
    assert_none(&lost);
}

#[test]
fn each_row_after_each_other_leaves_the_request_whole() {
    let mut lost = Vec::new();
    for body in bodies() {
        for (first_name, first) in ROWS {
            let once = first(&pasted(&body));
            for (second_name, second) in ROWS {
                if !found(&forms::plain(&second(&once)), &body) {
                    lost.push((body.len(), first_name, second_name));
                }
            }
        }
    }
    println!("{} ordered pairs, {} bodies", ROWS.len() * ROWS.len(), bodies().len());
    assert_none(&lost);
}

#[test]
fn each_form_of_a_mail_leaves_the_request_whole() {
    let mut lost = Vec::new();
    for body in bodies() {
        for (name, form) in FORMS {
            if !found(&form(&pasted(&body)), &body) {
                lost.push((body.len(), name));
            }
        }
    }
    println!("{} forms, {} bodies", FORMS.len(), bodies().len());
    assert_none(&lost);
}

#[test]
fn each_row_in_each_form_leaves_the_request_whole() {
    let mut lost = Vec::new();
    for body in bodies() {
        for (row_name, row) in ROWS {
            let text = row(&pasted(&body));
            for (form_name, form) in FORMS {
                if !found(&form(&text), &body) {
                    lost.push((body.len(), row_name, form_name));
                }
            }
        }
    }
    println!("{} rows in {} forms, {} bodies", ROWS.len(), FORMS.len(), bodies().len());
    assert_none(&lost);
}
