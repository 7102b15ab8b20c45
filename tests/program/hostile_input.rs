//! Mail that is damaged, forged, huge or hostile, and callers that call us wrongly: nothing runs, nobody is answered,
//! and the mail system hears one of the few statuses that it understands.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use ed25519_dalek::{Signature, SigningKey, Verifier, VerifyingKey};
use netsysrq_mail::protocol::cose::{self, Lock, REQUEST_AAD, Seal};
use netsysrq_mail::protocol::frame::{self, Kind};
use netsysrq_mail::protocol::id::Id;
use netsysrq_mail::protocol::keyring::{Key, Keyring, MAX_TTL, PER_HOUR};
use netsysrq_mail::protocol::message::{Candidate, SEARCHED};
use netsysrq_mail::protocol::refusal::Refusal;
use netsysrq_mail::protocol::request::Request;
use netsysrq_mail::protocol::time::Time;

use crate::support::{PROGRAM, Ran, Site, message};

/// No delivery takes longer, in a debug build on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// All the address space that a delivery is given, in KiB: its resident set cannot be larger.
const MEMORY: u32 = 64 * 1024;
const MIB: usize = 1024 * 1024;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Runs a command that must take all of `mail`, be it long, and end within [`BOUND`].
fn feed(command: &mut Command, mail: Vec<u8>) -> Ran {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&mail));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap_or_else(|error| panic!("{command:?} left input: {error}"));
    assert!(begun.elapsed() < BOUND, "{command:?}: {:?}", begun.elapsed());
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Delivers inline for a mailbox, with no more than [`MEMORY`].
fn deliver(site: &Site, mail: Vec<u8>) -> Ran {
    let limited = format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &limited, PROGRAM, "--config"]).arg(site.path("config.toml"));
    feed(command.args(["deliver", "--verbose", "--wait", "--profile", "mailbox"]), mail)
}

/// A request as `alice` or `pager` signs it, and the keyring that knows them and a neighbour of each: a key of the
/// other type, whose name is one bit away.
struct Bench {
    keyring: Keyring,
    alice: SigningKey,
    requests: [(&'static str, Vec<u8>); 2],
}

impl Bench {
    fn new() -> Self {
        let alice = SigningKey::from_bytes(&[1; 32]);
        let secret = |octet| vec![octet; 32].into();
        let mut keyring = Keyring::default();
        for (id, lock) in [
            ("alice", Lock::Ed25519(alice.verifying_key())),
            ("alicd", Lock::Hmac(secret(2))),
            ("pager", Lock::Hmac(secret(3))),
            ("pages", Lock::Ed25519(SigningKey::from_bytes(&[4; 32]).verifying_key())),
        ] {
            keyring.add(key(id, lock)).unwrap();
        }
        let sealed = |kid: &'static str, seal: &Seal| {
            (kid, cose::seal(payload(), kid.as_bytes(), REQUEST_AAD, seal).unwrap())
        };
        let requests = [
            sealed("alice", &Seal::Ed25519(alice.clone())),
            sealed("pager", &Seal::Hmac(secret(3))),
        ];
        Self { keyring, alice, requests }
    }
}

fn key(id: &str, lock: Lock) -> Key {
    Key {
        id: Id::new(id).unwrap(),
        lock,
        answer_to: "alice@example.com".into(),
        allow: vec![],
        sysrq: vec![],
        max_ttl: MAX_TTL,
        per_hour: PER_HOUR,
        not_before: None,
        not_after: None,
        revoked: false,
    }
}

fn payload() -> Vec<u8> {
    let request = Request {
        audience: "web1".into(),
        issued: Time::from_unix(1_763_665_351),
        expires: Time::from_unix(1_763_668_951),
        nonce: vec![7; 16],
        command: vec!["restart".into(), "nginx".into()],
        dry: false,
    };
    request.encode().unwrap()
}

/// The container as `signature` would have it.
fn signed_with(signature: &[u8]) -> Vec<u8> {
    let header =
        HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(b"alice".to_vec()).build();
    CoseSign1Builder::new()
        .protected(header)
        .payload(payload())
        .signature(signature.to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}

fn framed(octets: &[u8]) -> String {
    frame::encode(Kind::Request, octets).unwrap()
}

/// Every text that a frame becomes by one flipped bit of one symbol, and whether that bit is a spare one.
fn flipped_frames(frame: &str) -> Vec<(String, bool)> {
    let begin = frame.find('\n').unwrap();
    let end = frame.rfind("netsysrq end").unwrap();
    let symbols: Vec<usize> =
        (begin..end).filter(|at| frame.as_bytes()[*at].is_ascii_alphanumeric()).collect();
    let last = symbols.len() - 1;
    let spare = symbols.len() * 5 % 8;
    let mut flipped = Vec::new();
    for (n, at) in symbols.into_iter().enumerate() {
        for bit in 0..5 {
            let symbol = frame.as_bytes()[at];
            let value = ALPHABET.iter().position(|known| *known == symbol).unwrap();
            let mut text = frame.to_owned();
            let other = char::from(ALPHABET[value ^ (1 << bit)]);
            text.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
            flipped.push((text, n == last && bit < spare));
        }
    }
    flipped
}

fn flip(octets: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = octets.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

#[test]
fn every_flipped_bit_of_a_frame_is_damage_and_none_is_a_request() {
    for (kid, octets) in Bench::new().requests {
        let (mut damaged, mut spare) = (0, 0);
        for (text, is_spare) in flipped_frames(&framed(&octets)) {
            let search = Candidate::find(message(&text).as_bytes());
            if is_spare {
                let found: Vec<_> =
                    search.candidates.into_iter().map(Candidate::into_octets).collect();
                assert_eq!(found, std::slice::from_ref(&octets), "{kid}: {text}");
                spare += 1;
            } else {
                assert!(search.candidates.is_empty(), "{kid}: {text}");
                assert!(!search.damaged.is_empty(), "{kid}: {text}");
                damaged += 1;
            }
        }
        assert_eq!(damaged, (octets.len() + 7) * 8, "{kid}: version, length, octets, CRC");
        assert!(spare < 5, "{kid}");
    }
}

#[test]
fn every_flipped_bit_behind_a_good_crc_is_refused_for_form_key_or_signature() {
    let bench = Bench::new();
    for (kid, octets) in &bench.requests {
        assert!(Candidate::from_job(octets.clone()).verify(&bench.keyring).is_ok(), "{kid}");
        let (mut form, mut unknown, mut key_type, mut signature) = (0, 0, 0, 0);
        for bit in 0..octets.len() * 8 {
            let mail = message(&framed(&flip(octets, bit)));
            let mut found = Candidate::find(mail.as_bytes()).candidates;
            assert_eq!(found.len(), 1, "{kid}: bit {bit}");
            match found.remove(0).verify(&bench.keyring) {
                Err(Refusal::Form) => form += 1,
                Err(Refusal::UnknownKey) => unknown += 1,
                Err(Refusal::KeyType) => key_type += 1,
                Err(Refusal::Signature) => signature += 1,
                other => panic!("{kid}: bit {bit}: {other:?}"),
            }
        }
        let counts = [form, unknown, key_type, signature];
        assert!(counts.iter().all(|count| *count > 0), "{kid}: {counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), octets.len() * 8, "{kid}");
        assert_eq!(key_type, 1, "{kid}: the neighbour");
    }
}

/// Points whose order divides eight, each in every way of writing it, the non-canonical ones last.
fn small_points() -> Vec<[u8; 32]> {
    let written = |first: u8, middle: u8, last: u8| {
        let mut octets = [middle; 32];
        (octets[0], octets[31]) = (first, last);
        octets
    };
    let eighth = *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05";
    let other = *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a";
    let negative = |mut octets: [u8; 32]| {
        octets[31] |= 0x80;
        octets
    };
    let positive = [
        written(0x01, 0, 0),
        written(0xec, 0xff, 0x7f),
        written(0x00, 0, 0),
        eighth,
        other,
        written(0xed, 0xff, 0x7f),
        written(0xee, 0xff, 0x7f),
    ];
    positive.into_iter().flat_map(|octets| [octets, negative(octets)]).collect()
}

#[test]
fn a_signature_of_points_of_small_order_is_refused_under_every_key() {
    let bench = Bench::new();
    let (mut weak_keys, mut lax) = (0, 0);
    for signer in small_points() {
        let Ok(weak) = VerifyingKey::from_bytes(&signer) else { continue };
        weak_keys += 1;
        let mut keyring = Keyring::default();
        keyring.add(key("alice", Lock::Ed25519(weak))).unwrap();
        for point in small_points() {
            // R is the point and S is zero: good for any message, as far as a lax check goes
            let signature = [point, [0; 32]].concat();
            let octets = signed_with(&signature);
            let read = CoseSign1::from_tagged_slice(&octets).unwrap();
            let signed = read.tbs_data(REQUEST_AAD);
            let parsed = Signature::from_slice(&signature).unwrap();
            lax += usize::from(weak.verify(&signed, &parsed).is_ok());
            let verified = Candidate::from_job(octets).verify(&keyring);
            assert_eq!(verified.err(), Some(Refusal::Signature), "{signer:x?} {point:x?}");
        }
    }
    assert!(weak_keys >= 8, "{weak_keys}");
    assert!(lax > 0, "the forgery is none: this test shows nothing");
    for point in small_points() {
        let octets = signed_with(&[point, [0; 32]].concat());
        let verified = Candidate::from_job(octets).verify(&bench.keyring);
        assert_eq!(verified.err(), Some(Refusal::Signature), "{point:x?}");
    }
}

#[test]
fn a_good_signature_written_in_another_way_is_refused() {
    const ORDER: [u8; 32] = *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";
    let bench = Bench::new();
    let (_, octets) = &bench.requests[0];
    let good = CoseSign1::from_tagged_slice(octets).unwrap().signature;
    let seal = Seal::Ed25519(bench.alice.clone());
    assert_eq!(cose::seal(payload(), b"alice", REQUEST_AAD, &seal).unwrap(), signed_with(&good));

    let mut unreduced = good.clone();
    let mut carry = 0;
    for (octet, of_order) in unreduced[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*octet) + u16::from(of_order) + carry;
        *octet = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    let mut negative = good.clone();
    negative[31] ^= 0x80;
    for (what, signature) in [("S plus the order", unreduced), ("R with its other sign", negative)]
    {
        let verified = Candidate::from_job(signed_with(&signature)).verify(&bench.keyring);
        assert_eq!(verified.err(), Some(Refusal::Signature), "{what}");
    }
    for (what, signature) in [("63 octets", &good[..63]), ("none", &[])] {
        let verified = Candidate::from_job(signed_with(signature)).verify(&bench.keyring);
        assert_eq!(verified.err(), Some(Refusal::Form), "{what}");
    }
}

#[test]
fn a_nonce_of_any_length_but_8_to_32_octets_is_refused() {
    let bench = Bench::new();
    for length in 0..=64 {
        let request = Request { nonce: vec![7; length], ..Request::decode(&payload()).unwrap() };
        let seal = Seal::Ed25519(bench.alice.clone());
        let payload = request.encode().unwrap();
        let octets = cose::seal(payload, b"alice", REQUEST_AAD, &seal).unwrap();
        let verified = Candidate::from_job(octets).verify(&bench.keyring);
        let expected = if (8..=32).contains(&length) { None } else { Some(Refusal::Form) };
        assert_eq!(verified.err(), expected, "{length} octets");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_where_an_argument_stands() {
    let bench = Bench::new();
    let mut payload = payload();
    let at = payload.windows(5).position(|window| window == b"nginx").unwrap();
    payload[at] = 0xff;
    let seal = Seal::Ed25519(bench.alice.clone());
    let octets = cose::seal(payload, b"alice", REQUEST_AAD, &seal).unwrap();
    let verified = Candidate::from_job(octets).verify(&bench.keyring);
    assert_eq!(verified.err(), Some(Refusal::Form));
}

#[test]
fn a_mail_that_was_changed_anywhere_holds_what_was_signed_or_nothing() {
    let bench = Bench::new();
    let (_, octets) = &bench.requests[0];
    let frame = framed(octets);
    let html = frame.replace(' ', "&nbsp;").replace('\n', "<br>\n");
    let mail = format!(
        "From: a@b.example\nSubject: =?utf-8?q?a_b?=\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n{frame}\n--b\nContent-Type: text/html\n\n<p>{html}</p>\n--b\nContent-Type: message/rfc822\n\nSubject: {}\n\nx\n--b--\n",
        frame.trim_end().replace('\n', "\n ")
    );
    let mut state = 1_u64;
    let mut random = |below: usize| {
        // Knuth's MMIX generator
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut found, mut lost) = (0, 0);
    for round in 0..2000 {
        let mut changed = mail.clone().into_bytes();
        for _ in 0..=random(40) {
            let at = random(changed.len());
            match random(4) {
                0 => changed[at] = random(256).to_le_bytes()[0],
                1 => drop(changed.remove(at)),
                2 => changed.insert(at, b"<>=%-:; \n\r\0&"[random(12)]),
                _ => changed.truncate(changed.len() - random(9).min(changed.len() - 1)),
            }
        }
        let candidates = Candidate::find(&changed).candidates;
        lost += usize::from(candidates.is_empty());
        found += usize::from(!candidates.is_empty());
        for candidate in candidates {
            assert_eq!(candidate.into_octets(), *octets, "round {round}");
        }
    }
    assert!(found > 0 && lost > 0, "found {found}, lost {lost}");
}

#[test]
fn the_program_refuses_flipped_bits_by_name() {
    let site = Site::new();
    let signed = site.sign(&[], &["mark"]);
    let mut found = Candidate::find(message(&signed).as_bytes()).candidates;
    let octets = found.remove(0).into_octets();
    let frame = framed(&octets);

    for (text, is_spare) in flipped_frames(&frame).into_iter().step_by(151) {
        assert!(!is_spare);
        let ran = deliver(&site, message(&text).into_bytes());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.starts_with("refused reason=damaged "), "{ran:?}");
    }
    let at = |text: &str| octets.windows(text.len()).position(|part| part == text.as_bytes());
    let (kid, command) = (at("alice").unwrap(), at("mark").unwrap());
    for (bit, reason) in [
        (0, "form"),
        (kid * 8, "unknown-key"),
        (command * 8, "signature"),
        (octets.len() * 8 - 1, "signature"),
    ] {
        let ran = deliver(&site, message(&framed(&flip(&octets, bit))).into_bytes());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.starts_with(&format!("refused reason={reason} ")), "{ran:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 0));

    let ran = deliver(&site, message(&frame).into_bytes());
    assert_eq!((ran.status, site.marks(), site.answers().len()), (0, 1, 1), "{ran:?}");
}

#[test]
fn input_without_a_mail_in_it_is_not_for_us() {
    let site = Site::new();
    for mail in [
        &b""[..],
        b"\n",
        b"\r",
        b"\0",
        b"\n\n\n\n",
        b"From ",
        b"From \n",
        b":",
        b"Subject:",
        b"--",
        b"\xff\xfe\xfd",
        &[0; 4096],
        &[0xff; 4096],
    ] {
        let ran = deliver(&site, mail.to_vec());
        assert_eq!((ran.status, ran.stdout, ran.stderr), (1, String::new(), String::new()));
    }
}

#[test]
fn a_request_among_nul_octets_is_run() {
    let site = Site::new();
    let strewn = site.sign(&[], &["mark"]).replace(' ', "\0 ");
    let surrounded = format!("\0\0\0\n{}\0\0\0", site.sign(&[], &["mark"]));
    let in_headers = message(&site.sign(&[], &["mark"])).replace("hello", "hel\0lo");
    for mail in [message(&strewn), message(&surrounded), in_headers] {
        let ran = deliver(&site, mail.into_bytes());
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (3, 3));
}

#[test]
fn a_request_between_bare_carriage_returns_is_run() {
    let site = Site::new();
    let in_text = message(&site.sign(&[], &["mark"]).replace('\n', "\r"));
    let everywhere = message(&site.sign(&[], &["mark"])).replace('\n', "\r");
    let doubled = message(&site.sign(&[], &["mark"])).replace('\n', "\r\r\n");
    for mail in [in_text, everywhere, doubled] {
        let ran = deliver(&site, mail.into_bytes());
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (3, 3));
}

#[test]
fn a_mail_of_50_mib_is_read_in_bounded_memory_and_searched_at_its_head() {
    let site = Site::new();
    let line = b"All is quiet, the lamps are green, and there is nothing to do tonight.\n";
    let filler = |octets: usize| line.iter().copied().cycle().take(octets);

    let mut first = message(&site.sign(&[], &["mark"])).into_bytes();
    first.extend(filler(50 * MIB));
    let ran = deliver(&site, first);
    assert_eq!((ran.status, site.marks(), site.answers().len()), (0, 1, 1), "{ran:?}");

    for distance in [SEARCHED, 50 * MIB] {
        let mut behind = message("").into_bytes();
        behind.extend(filler(distance));
        behind.extend(site.sign(&[], &["mark"]).into_bytes());
        let ran = deliver(&site, behind);
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (1, "", ""));
    }
    assert_eq!((site.marks(), site.answers().len()), (1, 1));
}

#[test]
fn a_request_in_a_mail_of_ten_thousand_parts_is_found_unless_all_are_packed() {
    let site = Site::new();
    let parts = |count: usize, at: usize, text: &str, other: &str| {
        let mut mail =
            "Message-ID: <1@client.example>\nContent-Type: multipart/mixed; boundary=b\n\n"
                .to_owned();
        for n in 0..count {
            mail.push_str(if n == at {
                "--b\nContent-Transfer-Encoding: base64\n\n"
            } else {
                "--b\n\n"
            });
            mail.push_str(if n == at { text } else { other });
        }
        mail + "--b--\n"
    };
    let packed = |text: &str| {
        use base64ct::{Base64, Encoding};
        Base64::encode_string(text.as_bytes()) + "\n"
    };
    for at in [0, 9_999] {
        let mail = parts(10_000, at, &packed(&site.sign(&[], &["mark"])), "x\n");
        assert!(mail.len() < SEARCHED);
        assert_eq!(deliver(&site, mail.into_bytes()).status, 0);
    }
    assert_eq!(site.marks(), 2);

    // only so many texts are unpacked
    let other = packed(&"there is nothing to be seen here\n".repeat(2));
    let last = parts(200, 199, &packed(&site.sign(&[], &["mark"])), &other);
    assert!(last.len() < SEARCHED);
    let ran = deliver(&site, last.into_bytes());
    assert_eq!((ran.status, ran.stderr.as_str(), site.marks()), (1, "", 2));
}

/// Mails that were made to cost time, stack or memory.
fn hostile_mails() -> Vec<(&'static str, String)> {
    let nested = |depth: usize| {
        let mut mail = String::new();
        for n in 0..depth {
            mail.push_str(&format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"));
        }
        mail
    };
    let html = |body: String| format!("Content-Type: text/html\n\nnetsysrq begin{body}");
    let in_header = |text: String| format!("Subject: x\nFrom: {text}\nTo: {text}\n\nx\n");
    let marker = "netsysrq begin\n";
    vec![
        ("multiparts in multiparts", nested(4000)),
        ("forwards in forwards", "Content-Type: message/rfc822\n\n".repeat(8000)),
        ("parts of one boundary", format!("{}{}", nested(1), "--b0\n".repeat(40_000))),
        (
            "parts with a marker each",
            format!("{}{}", nested(1), "--b0\n\nnetsysrq begin\n".repeat(11_000)),
        ),
        ("header lines", "a: b\n".repeat(50_000)),
        ("a header line of 250 KiB", format!("Subject: {}\n\nx\n", "x".repeat(250 * 1024))),
        ("a header folded 80,000 times", format!("Subject: x{}\n\nx\n", "\n x".repeat(80_000))),
        ("encoded words", format!("Subject:{}\n\nx\n", " =?utf-8?q?netsysrq?=".repeat(12_000))),
        ("addresses", in_header("a@b,".repeat(30_000))),
        ("comments in comments", in_header("(".repeat(120_000))),
        ("quotes", in_header("\"".repeat(120_001))),
        ("groups", in_header("a:".repeat(60_000))),
        ("parameters", format!("Content-Type: text/plain; {}\n\nx\n", "a*0*=b; ".repeat(30_000))),
        ("message ids", format!("Message-ID: {}\n\nx\n", "<a@b>".repeat(50_000))),
        ("tags that open", html("<".repeat(250_000))),
        ("tags in tags", html("<div>".repeat(50_000))),
        ("comments that do not end", html("<!--".repeat(60_000))),
        ("entities", html("&#x41;".repeat(40_000))),
        ("entities that do not end", html("&".repeat(250_000))),
        ("markers", format!("Subject: x\n\n{}", marker.repeat(17_000))),
        ("names of the marker", format!("Subject: x\n\n{}", "netsysrq ".repeat(29_000))),
        (
            "markers that promise much",
            format!("Subject: x\n\n{}", "netsysrq begin 0408b ".repeat(12_000)),
        ),
        (
            "letters that NFKC makes eighteen of",
            format!("Subject: x\n\n{marker}{}", "\u{fdfa}".repeat(80_000)),
        ),
        (
            "marks on one letter",
            format!("Subject: x\n\n{marker}a{}", "\u{301}\u{323}".repeat(60_000)),
        ),
        ("quote marks", format!("Subject: x\n\n{marker}{}", ">".repeat(250_000))),
        ("initials before each marker", {
            let initials =
                |n: usize| [n / 676, n / 26, n].map(|n| b"abcdefghijklmnopqrstuvwxyz"[n % 26]);
            let quoted = |n| format!("{}> {marker}", String::from_utf8_lossy(&initials(n)));
            format!("Subject: x\n\n{}", (0..12_000).map(quoted).collect::<String>())
        }),
        ("initials of many letters", format!("Subject: x\n\n{}>{marker}", "a".repeat(250_000))),
        (
            "escapes in escapes",
            format!("Subject: x\n\n{marker}{}", format!("%{}", "25".repeat(100)).repeat(1200)),
        ),
        ("escapes that are broken", format!("Subject: x\n\n{marker}{}", "%\n-=".repeat(60_000))),
        ("soft line breaks", format!("Subject: x\n\n{marker}{}", "= \n".repeat(80_000))),
        ("entities in text", format!("Subject: x\n\n{marker}{}", "&amp;#65018;".repeat(20_000))),
        (
            "entities in text that do not end",
            format!("Subject: x\n\n{marker}{}", "&".repeat(250_000)),
        ),
        (
            "a Subject of a megabyte",
            format!("Subject: {}\n\n{marker}\n", marker.replace('\n', " ").repeat(70_000)),
        ),
        (
            "encoded words of a megabyte",
            format!("Subject:{}\n\nx\n", " =?iso-2022-jp?b?GyRC?=".repeat(45_000)),
        ),
        (
            "shifts of iso-2022-jp",
            format!(
                "Content-Type: text/plain; charset=iso-2022-jp\n\n{marker}{}",
                "\u{1b}$B\u{1b}(B".repeat(40_000)
            ),
        ),
        ("escapes", format!("Subject: x\n\n{marker}{}", "%25".repeat(80_000))),
        (
            "quoted-printable that lies",
            format!(
                "Content-Transfer-Encoding: quoted-printable\n\n{marker}{}",
                "=".repeat(250_000)
            ),
        ),
        (
            "base64 that lies",
            format!("Content-Transfer-Encoding: base64\n\n{marker}{}", "=".repeat(250_000)),
        ),
        (
            "an unknown character set",
            format!(
                "Content-Type: text/plain; charset=x-none\n\n{marker}{}",
                "\u{e9}".repeat(120_000)
            ),
        ),
    ]
}

#[test]
fn mails_made_to_cost_time_stack_or_memory_end_as_not_for_us() {
    let site = Site::new();
    for (what, mail) in hostile_mails() {
        let ran = deliver(&site, mail.into_bytes());
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{what}: {ran:?}");
        assert!(
            ran.stderr.is_empty() || ran.stderr.starts_with("refused reason=damaged"),
            "{what}: {ran:?}"
        );
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 0));
}

fn assert_thousands_of_frames_fill_no_log(site: &Site) {
    let frames: String = (0..4000_u32).map(|n| framed(&n.to_be_bytes())).collect();
    let mail = message(&frames).into_bytes();
    assert!(mail.len() < SEARCHED);
    let ran = deliver(site, mail);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.starts_with("refused reason=form "));
    let lines = ran.stderr.lines().count();
    assert!(lines <= 60, "{lines} lines");
}

#[test]
fn a_mail_of_thousands_of_frames_fills_no_log() {
    assert_thousands_of_frames_fill_no_log(&Site::new());
}

#[test]
fn a_mail_of_thousands_of_frames_fills_no_log_where_there_is_no_spool() {
    assert_thousands_of_frames_fill_no_log(&Site::without_spool());
}

#[test]
fn every_delivery_reads_its_input_to_the_end_and_says_nothing() {
    let site = Site::new();
    let missing = site.path("missing.toml");
    let mailbox = ["deliver", "--wait", "--profile", "mailbox"];
    let (good, bad) = (site.sign(&[], &["mark"]), site.sign(&[], &["unheard-of"]));
    let config = |path: &std::path::Path| {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(path).args(mailbox);
        command
    };
    let here = site.path("config.toml");
    let mut wrongly = config(&here);
    wrongly.arg("--bogus");
    for (mut command, text, status) in [
        (config(&here), "", 1),
        (config(&here), good.as_str(), 0),
        (config(&here), &good, 1),
        (config(&here), &bad, 0),
        (config(&here), "netsysrq begin", 1),
        (config(&missing), "", 1),
        (config(&missing), &good, 75),
        (wrongly, &good, 75),
    ] {
        let mut mail = message(text).into_bytes();
        mail.extend(b"x\n".repeat(MIB / 2));
        let ran = feed(&mut command, mail);
        assert_eq!(
            (ran.status, ran.stdout.as_str(), ran.stderr.as_str()),
            (status, "", ""),
            "{command:?}"
        );
    }
    assert_eq!(site.marks(), 1);
}

#[test]
fn a_wrong_command_line_is_a_failure_for_now_and_nothing_is_run() {
    let site = Site::new();
    let mut mail = message(&site.sign(&[], &["mark"])).into_bytes();
    mail.extend(b"x\n".repeat(MIB / 2));
    let not_utf_8 = OsStr::from_bytes(b"--profile=\xff");
    let words = |line: &'static str| line.split(' ').map(OsStr::new).collect::<Vec<_>>();
    for (arguments, status) in [
        (words("--bogus"), 75),
        (words("-x"), 75),
        (words("delivr"), 75),
        (words("deliver deliver"), 75),
        (words("deliver sign"), 75),
        (words("deliver --help"), 75),
        (words("deliver --version"), 75),
        (words("--wait=yes"), 75),
        (words("--verbos"), 75),
        (words("--profile"), 75),
        (words("--profile procmail"), 75),
        (words("--profile mailbox --config"), 75),
        (words("--profile mailbox mailbox"), 75),
        (words("--profile mailbox --bogus"), 75),
        (words("--profile mta --bogus"), 75),
        (words("--profile qmail --bogus"), 111),
        (words("--bogus --profile=qmail"), 111),
        (words("--profile=qmail deliver --config /a --config /b"), 111),
        (words("-- deliver"), 75),
        (words(""), 75),
        (vec![not_utf_8], 75),
        (vec![OsStr::new("deliver"), not_utf_8], 75),
    ] {
        let ran = feed(site.program().args(&arguments), mail.clone());
        let told = (ran.status, ran.stdout.as_str(), ran.stderr.as_str());
        assert_eq!(told, (status, "", ""), "{arguments:?}");
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 0));
}

#[test]
fn standard_streams_that_are_closed_full_or_no_files_change_no_ending() {
    let site = Site::new();
    let delivered = |redirected: &str, mail: String| {
        let script = format!("exec \"$0\" \"$@\" {redirected}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, PROGRAM, "--config"]).arg(site.path("config.toml"));
        command.args(["deliver", "--verbose", "--wait", "--profile", "mailbox"]);
        crate::support::run(&mut command, mail.as_bytes()).status
    };
    for (n, redirected) in
        ["2>&-", ">&-", ">&- 2>&-", ">/dev/full 2>/dev/full", "2</dev/null"].into_iter().enumerate()
    {
        assert_eq!(delivered(redirected, message(&site.sign(&[], &["mark"]))), 0, "{redirected}");
        assert_eq!((site.marks(), site.answers().len()), (n + 1, n + 1), "{redirected}");
    }
    for (redirected, status) in [("<&-", 1), ("</dev/null", 1), ("</", 75)] {
        assert_eq!(delivered(redirected, String::new()), status, "{redirected}");
    }
}

#[test]
fn a_strangers_mail_gets_no_answer_and_leaves_nothing_behind() {
    let site = Site::new();
    let made = crate::support::run(
        Command::new(PROGRAM).args(["keygen", "stranger"]).current_dir(site.root()),
        b"",
    );
    assert_eq!(made.status, 0, "{made:?}");
    let sign = |key_id: &str, host: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["sign", "--key-id", key_id, "--key"]).arg(site.path("stranger"));
        let signed = crate::support::run(command.args([host, "mark"]), b"");
        assert_eq!(signed.status, 0, "{signed:?}");
        signed.stdout
    };
    let files = || {
        let mut files = Vec::new();
        let mut folders = vec![site.path("state"), site.path("answers")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                files.push(path);
            }
        }
        // how many lines the log was given is all that a stranger may change
        files.retain(|path| !path.ends_with("rate/_unverified"));
        files.sort();
        files
    };
    let before = files();
    for text in [
        String::new(),
        "netsysrq begin\n00000\n".to_owned(),
        sign("stranger", "web1"),
        sign("alice", "web1"),
        sign("alice", "web2"),
        sign("pager", "web1"),
    ] {
        for (profile, status) in [("mailbox", 1), ("mta", 0), ("qmail", 0)] {
            let mail = message(&text).replace("alice@example.com", "stranger@stranger.example");
            let ran = site.deliver_as(profile, mail.as_bytes());
            assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{text}: {ran:?}");
        }
    }
    assert_eq!(files(), before);
    assert_eq!(site.marks(), 0);
}

#[test]
fn explain_says_where_a_request_is_damaged() {
    let site = Site::new();
    let request = site.sign(&[], &["mark"]);
    let second = request.lines().filter(|line| line.len() == 59).nth(1).unwrap();
    let explained = |request: &str| {
        let ran = site.tool_on(&["explain"], message(request).as_bytes());
        assert_eq!(ran.status, 1, "{ran:?}");
        ran.stdout
    };
    let place = "in a text part: refused reason=damaged: ";
    let lost = explained(&request.replace(second, &second[3..]));
    assert!(lost.starts_with(place) && lost.contains("3 of its 2"), "{lost}");
    assert!(lost.ends_with("; its line 2 has 47 instead of 50\n"), "{lost}");
    let swapped = if second.starts_with('7') { "8" } else { "7" };
    let changed = explained(&request.replace(second, &format!("{swapped}{}", &second[1..])));
    assert!(changed.starts_with(place) && changed.contains("some are changed"), "{changed}");
}

#[test]
fn the_longest_request_is_run_and_a_longer_one_is_not_signed() {
    let site = Site::new();
    let sign = |length: usize| {
        let mut sign = Command::new(PROGRAM);
        sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
        feed(sign.args(["web1", "say", &"x".repeat(length)]), Vec::new())
    };
    let longest = (300..600).take_while(|length| sign(*length).status == 0).last().unwrap();
    let refused = sign(longest + 1);
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("901 symbols, and 900 is the most"), "{refused:?}");
    site.configure("max = 80", &format!("max = {longest}"));
    assert_eq!(site.deliver(&message(&sign(longest).stdout)).status, 0);
    assert_eq!(site.answers().len(), 1);
    assert!(site.answers()[0].contains("exit status 0"), "{}", site.answers()[0]);
}
