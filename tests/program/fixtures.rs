//! Self-describing mails: each file of `tests/fixtures` says what should become of it.
//!
//! The README there has the grammar. To add a case, add a file; an unknown header or placeholder fails the test.

use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use ed25519_dalek::SigningKey;
use netsysrq_mail::compose::keys;
use netsysrq_mail::protocol::time::Time;
use netsysrq_mail::protocol::wire::cose::{self, Seal};
use netsysrq_mail::protocol::wire::frame::{self, Kind};
use netsysrq_mail::protocol::wire::nonce::Nonce;
use netsysrq_mail::protocol::wire::openssh;
use netsysrq_mail::protocol::wire::request::Request;
use sha2::{Digest, Sha256};

use crate::support::{Ran, Site, message, with_nonce};

/// A mail and what should become of it.
struct Fixture {
    name: String,
    /// What the log says, line by line, as [`digest`] shortens it.
    log: Vec<String>,
    runs: usize,
    crlf: bool,
    mail: Vec<u8>,
}

impl Fixture {
    fn parse(name: &str, octets: &[u8]) -> Result<Self, String> {
        let blank = octets.windows(2).position(|pair| pair == b"\n\n").ok_or("no blank line")?;
        let head = std::str::from_utf8(&octets[..blank]).map_err(|error| error.to_string())?;
        let (mut about, mut log, mut runs, mut crlf) = (None, None, None, false);
        for line in head.lines() {
            match line.split_once(": ").ok_or(format!("no header: {line:?}"))? {
                ("about", text) if about.is_none() => about = Some(text),
                ("expect", expected) => {
                    let log: &mut Vec<String> = log.get_or_insert_default();
                    log.extend(expected_lines(expected)?);
                }
                ("runs", count) if runs.is_none() => {
                    runs = Some(count.parse().map_err(|_| format!("runs: {count:?}"))?);
                }
                ("line-ends", "crlf") => crlf = true,
                _ => return Err(format!("unknown header: {line:?}")),
            }
        }
        about.ok_or("no about")?;
        let log = log.ok_or("no expect")?;
        let runs = runs.unwrap_or_else(|| log.iter().filter(|line| *line == "run").count());
        let mail = octets[blank + 2..].to_vec();
        Ok(Self { name: name.to_owned(), log, runs, crlf, mail })
    }

    /// Every verdict is claimed, and every claim is answered once.
    fn claims(&self) -> usize {
        let is_claim = |line: &&String| *line == "run" || line.contains(" verdict=");
        self.log.iter().filter(is_claim).count()
    }

    fn is_a_success(&self) -> bool {
        self.log.iter().any(|line| line == "run")
    }

    /// Each profile with the status that the design's table gives this ending there.
    fn statuses(&self) -> [(Option<&'static str>, i32); 4] {
        let deferred = self.log.iter().any(|line| line.starts_with("deferred "));
        let [mailbox, mta, qmail, none] = match (deferred, self.claims()) {
            (true, _) => [75, 75, 111, 75],
            (false, 0) => [1, 0, 0, 75],
            (false, _) => [0, 0, 0, 0],
        };
        [(Some("mailbox"), mailbox), (Some("mta"), mta), (Some("qmail"), qmail), (None, none)]
    }

    /// Delivers the mail, made again each time, under every profile. Returns what is not as expected.
    fn complaints(&self) -> Vec<String> {
        let author = Author::new();
        let mut complaints = Vec::new();
        for (profile, status) in self.statuses() {
            let mut mail = match author.expand(&self.mail) {
                Ok(mail) => mail,
                Err(fault) => return vec![format!("{}: {fault}", self.name)],
            };
            if self.crlf {
                mail = with_crlf(&mail);
            }
            let (answers, runs) = (author.site.answers().len(), author.site.marks());
            let ran = deliver(&author.site, profile, &mail);
            let is = (
                ran.status,
                ran.stdout.as_str(),
                ran.stderr.lines().map(digest).collect::<Vec<_>>(),
                author.site.answers().len() - answers,
                author.site.marks() - runs,
            );
            let answered = vec!["answered".to_owned(); self.claims()];
            let log = [self.log.clone(), answered].concat();
            let expected = (status, "", log, self.claims(), self.runs);
            if is != expected {
                let profile = profile.unwrap_or("no profile");
                complaints.push(format!(
                    "{}, {profile}: status, output, log, answers, runs\n      is {is:?}\nexpected {expected:?}",
                    self.name
                ));
            }
        }
        let astray = author.site.answers().into_iter().filter(|answer| {
            !answer
                .lines()
                .any(|line| line.starts_with("To: ") && line.ends_with("@holder.example"))
        });
        complaints.extend(astray.map(|answer| format!("{}: answered astray: {answer}", self.name)));
        complaints
    }
}

/// The log lines that one `expect` stands for.
fn expected_lines(expected: &str) -> Result<Vec<String>, String> {
    let (line, count) = match expected.split_once(", ") {
        Some((line, count)) => {
            let count = count.strip_suffix(" times").and_then(|count| count.parse().ok());
            (line, count.ok_or(format!("expect: {expected:?}"))?)
        }
        None => (expected, 1),
    };
    let words: Vec<&str> = line.split(' ').collect();
    let known = match words.as_slice() {
        ["silence"] => return Ok(vec![]),
        ["run"] => true,
        ["refused", reason] | ["deferred", reason] => reason.starts_with("reason="),
        ["refused", reason, verdict] => {
            reason.starts_with("reason=") && verdict.starts_with("verdict=")
        }
        _ => false,
    };
    if known { Ok(vec![line.to_owned(); count]) } else { Err(format!("expect: {expected:?}")) }
}

/// A line of the log as fixtures write it: its word, reason and verdict.
fn digest(line: &str) -> String {
    if line.starts_with("accepted key=") {
        return "run".to_owned();
    }
    let told = |word: &&str| word.starts_with("reason=") || word.starts_with("verdict=");
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    std::iter::once(first).chain(rest.split(' ').filter(told)).collect::<Vec<_>>().join(" ")
}

fn deliver(site: &Site, profile: Option<&str>, mail: &[u8]) -> Ran {
    match profile {
        Some(profile) => site.deliver_as(profile, mail),
        None => site.tool_on(&["deliver", "--verbose", "--wait"], mail),
    }
}

fn with_crlf(text: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split(|octet| *octet == b'\n').collect();
    lines.join(&b"\r\n"[..])
}

/// The writer of the mails: it holds the keys of a site, and some that the site does not know.
struct Author {
    site: Site,
}

impl Author {
    fn new() -> Self {
        let site = Site::new();
        for (key, more) in [
            ("revoked", "revoked = true"),
            ("early", "not_before = 2200-01-01T00:00:00Z"),
            ("late", "not_after = 2001-01-01T00:00:00Z"),
        ] {
            let public = openssh::public_line(&signing_key(key).verifying_key(), key);
            let stanza = format!(
                "[key.{key}]\npublic = \"{public}\"\nanswer_to = \"{key}@holder.example\"\nallow = [\"ping\", \"mark\"]\n{more}\n\n"
            );
            site.configure("[command.mark]", &format!("{stanza}[command.mark]"));
        }
        site.configure(
            "[command.mark]",
            "[command.pick]\nrun = [\"/bin/echo\", \"{number}\", \"{unit}\"]\n[command.pick.args]\nnumber = { type = \"int\", min = -5, max = 5 }\nunit = { one_of = [\"nginx\", \"postgresql\"] }\n\n[command.fresh]\nrun = [\"/bin/echo\"]\nmax_age = \"1m\"\n\n[command.mark]",
        );
        site.configure("\"mark\", \"say\"", "\"mark\", \"say\", \"pick\", \"fresh\"");
        site.configure("\"alice@example.com\"", "\"alice@holder.example\"");
        site.configure("\"ops@example.com\"", "\"ops@holder.example\"");
        Self { site }
    }

    /// The mail, with its placeholders filled in.
    fn expand(&self, mail: &[u8]) -> Result<Vec<u8>, String> {
        let (mut expanded, mut rest, mut last) = (Vec::new(), mail, String::new());
        while let Some(begin) = find(rest, b"@@") {
            let inside = &rest[begin + 2..];
            let end = find(inside, b"@@").ok_or("a placeholder without an end")?;
            let words = std::str::from_utf8(&inside[..end]).map_err(|error| error.to_string())?;
            let words: Vec<&str> = words.split_whitespace().collect();
            expanded.extend_from_slice(&rest[..begin]);
            let octets = self.replacement(&words, &mut last);
            expanded.extend(octets.map_err(|fault| format!("@@{}@@: {fault}", words.join(" ")))?);
            rest = &inside[end + 2..];
        }
        expanded.extend_from_slice(rest);
        Ok(expanded)
    }

    fn replacement(&self, words: &[&str], last: &mut String) -> Result<Vec<u8>, String> {
        let text = match words {
            ["request", words @ ..] => {
                let (wish, forms) = Wish::parse(words)?;
                *last = self.requests(&wish)?;
                transformed(last, &forms)?
            }
            ["again", forms @ ..] => transformed(last, forms)?,
            ["answer", "frame", forms @ ..] => {
                let answer = self.answer();
                let begin = answer.find("netsysrq answer begin").ok_or("no answer frame")?;
                transformed(&answer[begin..], forms)?
            }
            ["answer", "without-loop"] => {
                let answer = self.answer();
                let without = answer.replacen("X-Loop: netsysrq-mail\n", "", 1);
                if without == answer {
                    return Err("the answer has no X-Loop".to_owned());
                }
                without
            }
            ["answer"] => self.answer(),
            ["filler", count] => {
                let count = count.parse().map_err(|_| "how many octets?")?;
                "All is quiet, the lamps are green, and there is nothing to do tonight.\n"
                    .chars()
                    .cycle()
                    .take(count)
                    .collect()
            }
            _ => return Err("unknown placeholder".to_owned()),
        };
        Ok(text.into_bytes())
    }

    /// An answer of the site to a request of its own.
    fn answer(&self) -> String {
        let before = self.site.answers();
        let delivered = self.site.deliver(&message(&self.site.sign(&[], &["ping"])));
        assert_eq!(delivered.status, 0, "{delivered:?}");
        let mut answers = self.site.answers();
        answers.retain(|answer| !before.contains(answer));
        answers.concat()
    }

    fn requests(&self, wish: &Wish) -> Result<String, String> {
        let mut text = String::new();
        for _ in 0..wish.times {
            text.push_str(&self.request(wish)?);
        }
        if wish.spent {
            let delivered = self.site.deliver(&message(&text));
            assert_eq!(delivered.status, 0, "{delivered:?}");
        }
        Ok(text)
    }

    fn request(&self, wish: &Wish) -> Result<String, String> {
        let mut nonce = vec![0; wish.nonce];
        getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
        let sound = Nonce::new(vec![0; 16]).ok_or("a nonce")?;
        let request = Request {
            audience: wish.to.clone(),
            issued: wish.issued,
            expires: wish.expires,
            nonce: sound,
            command: wish.command.clone(),
            dry: wish.dry,
        };
        let kid = wish.kid.as_ref().unwrap_or(&wish.key).as_bytes();
        let aad = if wish.as_answer { cose::ANSWER_AAD } else { cose::REQUEST_AAD };
        let payload = request.encode().ok_or("a time out of bounds")?;
        let payload = with_nonce(&payload, nonce);
        let sealed = cose::seal(payload, kid, aad, &self.seal(&wish.key)).ok_or("not sealed")?;
        frame::encode(Kind::Request, &sealed).ok_or("too long".to_owned())
    }

    fn seal(&self, key: &str) -> Seal {
        match key {
            "alice" | "pager" | "host" => keys::read(&self.site.read(key), None).unwrap(),
            "other-secret" => Seal::Hmac(vec![7; 32].into()),
            _ => Seal::Ed25519(signing_key(key)),
        }
    }
}

/// A key that is derived from its name.
fn signing_key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(format!("fixture key {name}")).into())
}

/// What a `request` placeholder asks for.
struct Wish {
    key: String,
    kid: Option<String>,
    to: String,
    issued: Time,
    expires: Time,
    nonce: usize,
    command: Vec<String>,
    dry: bool,
    as_answer: bool,
    spent: bool,
    times: usize,
}

impl Wish {
    /// The wish, and the words that follow it: forms of the text.
    fn parse<'w>(words: &[&'w str]) -> Result<(Self, Vec<&'w str>), String> {
        // one for all: a second may end between two
        let now = Time::from(std::time::SystemTime::now());
        let mut wish = Self {
            key: "alice".to_owned(),
            kid: None,
            to: "web1".to_owned(),
            issued: now,
            expires: relative(now, "+1h")?,
            nonce: 16,
            command: vec!["mark".to_owned()],
            dry: false,
            as_answer: false,
            spent: false,
            times: 1,
        };
        let number = |text: &str| text.parse().map_err(|_| format!("no number: {text:?}"));
        let mut forms = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some(("key", value)) => wish.key = value.to_owned(),
                Some(("kid", value)) => wish.kid = Some(unescaped(value)?),
                Some(("to", value)) => wish.to = unescaped(value)?,
                Some(("issued", value)) => wish.issued = relative(now, value)?,
                Some(("expires", value)) => wish.expires = relative(now, value)?,
                Some(("nonce", value)) => wish.nonce = number(value)?,
                Some(("times", value)) => wish.times = number(value)?,
                Some(("command", value)) => {
                    wish.command = value.split(',').map(unescaped).collect::<Result<_, _>>()?;
                }
                None if *word == "dry" => wish.dry = true,
                None if *word == "as-answer" => wish.as_answer = true,
                None if *word == "spent" => wish.spent = true,
                _ => forms.push(*word),
            }
        }
        Ok((wish, forms))
    }
}

/// A time such as `-3m` or `+1h`, counted from `now`.
fn relative(now: Time, text: &str) -> Result<Time, String> {
    let duration =
        |text| humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}"));
    match text.split_at_checked(1) {
        Some(("+", later)) => Ok(now.after(duration(later)?)),
        Some(("-", earlier)) => Ok(now.before(duration(earlier)?)),
        _ => Err(format!("neither + nor -: {text:?}")),
    }
}

/// Undoes `%0A` and the like.
fn unescaped(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).ok_or(format!("no escape: {text:?}"))?;
        let code = u8::from_str_radix(code, 16).map_err(|_| format!("no escape: {text:?}"))?;
        plain.push(char::from(code));
        plain.push_str(rest);
    }
    Ok(plain)
}

/// Puts a text through what mail clients, gateways and forgers do to it, in the order given.
fn transformed(text: &str, forms: &[&str]) -> Result<String, String> {
    forms.iter().try_fold(text.to_owned(), |text, form| form_of(&text, form))
}

fn form_of(text: &str, form: &str) -> Result<String, String> {
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    if lines.len() < 5 {
        return Err(format!("{form:?} needs the lines of a frame"));
    }
    match form {
        "cut" => lines.truncate(3),
        "first-half" => lines.truncate(lines.len() / 2),
        "second-half" => drop(lines.drain(..lines.len() / 2)),
        "footer-inside" => lines.insert(3, "-- \nSent from my telephone".to_owned()),
        "line-doubled" => lines.insert(2, lines[2].clone()),
        "line-dropped" => drop(lines.remove(2)),
        "lines-swapped" => lines.swap(2, 3),
        "marker-misspelt" => lines[0] = lines[0].replace("netsysrq", "netsysrc"),
        "without-marker" => drop(lines.remove(0)),
        "symbol-changed" => {
            let other = if lines[2].starts_with('x') { "y" } else { "x" };
            lines[2].replace_range(..1, other);
        }
        "symbol-doubled" => {
            let symbol = lines[2][..1].to_owned();
            lines[2].insert_str(0, &symbol);
        }
        "symbol-dropped" => drop(lines[2].remove(0)),
        "quoted" => lines.iter_mut().for_each(|line| line.insert_str(0, "> ")),
        "upper-case" => lines.iter_mut().for_each(|line| *line = line.to_uppercase()),
        "one-line" => lines = vec![lines.join(" ")],
        "folded" => lines = vec![lines.join("\n ")],
        "html" => {
            let markup = |line: &String| format!("<div>{}<wbr></div>", line.replace(' ', "&nbsp;"));
            lines = lines.iter().map(markup).collect();
        }
        "encoded-words" => {
            let words = text.as_bytes().chunks(42).map(Base64::encode_string);
            lines = vec![
                words.map(|word| format!("=?UTF-8?B?{word}?=")).collect::<Vec<_>>().join("\n "),
            ];
        }
        "base64" => {
            let packed = Base64::encode_string(text.as_bytes());
            let rows = packed.as_bytes().chunks(76);
            lines = rows.map(|row| String::from_utf8_lossy(row).into_owned()).collect();
        }
        "quoted-printable" => {
            let escaped = |line: &String| line.replace('=', "=3D").replace(' ', "=\n=20");
            lines = lines.iter().map(escaped).collect();
        }
        _ => return Err(format!("unknown form: {form:?}")),
    }
    Ok(lines.join("\n"))
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Every fixture, by name.
fn fixtures() -> Vec<Fixture> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy();
        let parsed = Fixture::parse(&name, &fs::read(path).unwrap());
        parsed.unwrap_or_else(|fault| panic!("{name}: {fault}"))
    };
    paths.iter().map(read).collect()
}

#[test]
fn every_fixture_meets_its_expectation_under_every_profile() {
    let fixtures = fixtures();
    let (some, others) = fixtures.split_at(fixtures.len() / 2);
    let complaints = |part: &[Fixture]| part.iter().flat_map(Fixture::complaints).collect();
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let beside = scope.spawn(|| -> Vec<String> { complaints(some) });
        let here: Vec<String> = complaints(others);
        [beside.join().unwrap(), here].concat()
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn four_of_five_fixtures_are_refusals() {
    let fixtures = fixtures();
    let successes = fixtures.iter().filter(|fixture| fixture.is_a_success()).count();
    assert!(successes > 0 && successes * 5 <= fixtures.len(), "{successes} of {}", fixtures.len());
}

#[test]
fn every_reason_a_mail_alone_can_cause_has_a_fixture() {
    // too-many and too-old take more than one mail: a busy hour, a spool that forgets
    let reasons = [
        "argument",
        "argument-extra",
        "argument-missing",
        "before-epoch",
        "damaged",
        "expired",
        "form",
        "future",
        "key-type",
        "mac-to-group",
        "max-age",
        "max-ttl",
        "not-after",
        "not-allowed",
        "not-before",
        "replayed",
        "revoked",
        "signature",
        "too-many-frames",
        "unknown-command",
        "unknown-key",
        "wrong-host",
    ];
    let fixtures = fixtures();
    let told: Vec<&str> = fixtures
        .iter()
        .flat_map(|fixture| &fixture.log)
        .filter_map(|line| line.split(' ').nth(1)?.strip_prefix("reason="))
        .collect();
    for reason in reasons {
        assert!(told.contains(&reason), "{reason}");
    }
    for reason in told {
        assert!(reasons.contains(&reason), "{reason}");
    }
}

#[test]
fn a_header_or_placeholder_that_nobody_knows_fails_a_fixture() {
    for head in [
        "about: a\nexpect: run\nexpcet: run",
        "about: a\nexpect: ran",
        "about: a\nexpect: refused because=damaged",
        "about: a\nexpect: run, many times",
        "about: a",
        "expect: run",
        "about: a\nexpect: run\nruns: all",
    ] {
        assert!(Fixture::parse("bad", format!("{head}\n\nmail").as_bytes()).is_err(), "{head}");
    }
    let author = Author::new();
    for placeholder in [
        "@@reqeust@@",
        "@@request kye=alice@@",
        "@@request dyr@@",
        "@@request issued=3m@@",
        "@@request",
        "@@answer quoted@@",
        "@@filler much@@",
        "@@@@",
    ] {
        assert!(author.expand(placeholder.as_bytes()).is_err(), "{placeholder}");
    }
}
