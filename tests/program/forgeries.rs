//! Requests that were changed by a bit or more, or forged by hand: none is taken for something signed. Here the library
//! is asked, thousands of times; `hostile_input.rs` asks the program for a few of them.

use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use ed25519_dalek::{Signature, SigningKey, Verifier as _, VerifyingKey};
use netsysrq_mail::protocol::id::Id;
use netsysrq_mail::protocol::refusal::Refusal;
use netsysrq_mail::protocol::rules::keyring::{Key, Keyring, MAX_TTL, PER_HOUR};
use netsysrq_mail::protocol::time::Time;
use netsysrq_mail::protocol::wire::cose::{self, REQUEST_AAD, Seal, Verifier};
use netsysrq_mail::protocol::wire::frame::{self, Kind};
use netsysrq_mail::protocol::wire::message::Candidate;
use netsysrq_mail::protocol::wire::nonce::Nonce;
use netsysrq_mail::protocol::wire::request::Request;

use crate::support::{message, with_nonce};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

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
            ("alice", Verifier::Ed25519(alice.verifying_key())),
            ("alicd", Verifier::Hmac(secret(2))),
            ("pager", Verifier::Hmac(secret(3))),
            ("pages", Verifier::Ed25519(SigningKey::from_bytes(&[4; 32]).verifying_key())),
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

fn key(id: &str, verifier: Verifier) -> Key {
    Key {
        id: Id::new(id).unwrap(),
        verifier,
        answer_to: "alice@example.com".parse().unwrap(),
        allow: vec![],
        sysrq: vec![],
        max_ttl: MAX_TTL,
        per_hour: PER_HOUR,
        not_before: None,
        not_after: None,
        revoked: false,
    }
}

fn request() -> Request {
    Request {
        audience: "web1".into(),
        issued: Time::from_unix(1_763_665_351),
        expires: Time::from_unix(1_763_668_951),
        nonce: Nonce::new(vec![7; 16]).unwrap(),
        command: vec!["restart".into(), "nginx".into()],
        dry: false,
    }
}

fn payload() -> Vec<u8> {
    request().encode().unwrap()
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

pub(crate) fn framed(octets: &[u8]) -> String {
    frame::encode(Kind::Request, octets).unwrap()
}

/// Every text that a frame becomes by one flipped bit of one symbol, and whether that bit is a spare one.
pub(crate) fn flipped_frames(frame: &str) -> Vec<(String, bool)> {
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

pub(crate) fn flip(octets: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = octets.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

#[test]
fn every_flipped_bit_of_a_mailed_frame_is_damage() {
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
fn every_flipped_bit_behind_a_good_crc_is_refused() {
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

/// Points whose order divides eight, each in every encoding, the non-canonical ones last.
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
fn a_signature_of_small_order_is_refused_under_every_key() {
    let bench = Bench::new();
    let (mut weak_keys, mut lax) = (0, 0);
    for signer in small_points() {
        let Ok(weak) = VerifyingKey::from_bytes(&signer) else { continue };
        weak_keys += 1;
        let mut keyring = Keyring::default();
        keyring.add(key("alice", Verifier::Ed25519(weak))).unwrap();
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
fn a_nonce_has_from_8_to_32_octets() {
    let bench = Bench::new();
    for length in 0..=64 {
        let payload = with_nonce(&payload(), vec![7; length]);
        let seal = Seal::Ed25519(bench.alice.clone());
        let octets = cose::seal(payload, b"alice", REQUEST_AAD, &seal).unwrap();
        let verified = Candidate::from_job(octets).verify(&bench.keyring);
        let expected = if (8..=32).contains(&length) { None } else { Some(Refusal::Form) };
        assert_eq!(verified.err(), expected, "{length} octets");
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_refused() {
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
fn a_changed_mail_holds_what_was_signed_or_nothing() {
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
