//! The vectors of `docs/vectors.json`, which another implementation made, against ours; and what `keys/` and
//! `docs/protocol.md` say about them.

#![cfg(test)]

use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use ed25519_dalek::VerifyingKey;
use netsysrq_mail::protocol::id::Id;
use netsysrq_mail::protocol::refusal::Refusal;
use netsysrq_mail::protocol::rules::keyring::{identity, is_published};
use netsysrq_mail::protocol::wire::answer::{Digested, Statement};
use netsysrq_mail::protocol::wire::cose::{ANSWER_AAD, Envelope, Forged, REQUEST_AAD, Verifier};
use netsysrq_mail::protocol::wire::crc::crc32;
use netsysrq_mail::protocol::wire::frame::{self, Kind};
use netsysrq_mail::protocol::wire::nonce::hex;
use netsysrq_mail::protocol::wire::openssh;
use netsysrq_mail::protocol::wire::request::Request;
use serde_json::{Value, json};
use zeroize::Zeroizing;

const VECTORS: &str = include_str!("../docs/vectors.json");
const PROTOCOL: &str = include_str!("../docs/protocol.md");
/// What a vector may expect besides `verified`: the refusals that the octets alone decide.
const REFUSALS: [Refusal; 6] = [
    Refusal::Damaged,
    Refusal::Form,
    Refusal::KeyType,
    Refusal::NoFrame,
    Refusal::Signature,
    Refusal::UnknownKey,
];

struct Vector {
    name: String,
    kind: Kind,
    expect: String,
    cose: Option<String>,
    frame: String,
    symbols: Option<u64>,
    kid: Value,
    claims: Value,
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

fn vectors() -> Vec<Vector> {
    let document: Value = serde_json::from_str(VECTORS).expect("JSON");
    let listed = document["vectors"].as_array().expect("a list");
    let vector = |v: &Value| Vector {
        name: text(v, "name"),
        kind: if text(v, "kind") == "answer" { Kind::Answer } else { Kind::Request },
        expect: text(v, "expect"),
        cose: v["cose"].as_str().map(str::to_owned),
        frame: text(v, "frame"),
        symbols: v["symbols"].as_u64(),
        kid: v["kid"].clone(),
        claims: v["claims"].clone(),
    };
    listed.iter().map(vector).collect()
}

fn named(name: &str) -> Vector {
    vectors().into_iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no vector {name}"))
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[expect(clippy::disallowed_methods, reason = "the keys are files, and this is no filter")]
fn file(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn public(line: &str) -> VerifyingKey {
    openssh::public_key(line).expect("a public key")
}

fn secret(text: &str) -> Verifier {
    Verifier::Hmac(Zeroizing::new(Base64::decode_vec(text.trim()).expect("base64")))
}

/// The key that a request's `kid` names. `Keyring` takes no published key, so this stands in for it.
fn by_kid(kid: &[u8]) -> Option<Verifier> {
    let id = Id::new(std::str::from_utf8(kid).ok()?)?;
    match id.as_str() {
        "example" => Some(Verifier::Ed25519(public(&file(&root("keys/example_ed25519.pub"))))),
        "pager" => Some(secret(&file(&root("keys/example.secret")))),
        _ => None,
    }
}

/// The key that an answer's `kid` names.
fn by_host(kid: &[u8]) -> Option<VerifyingKey> {
    (kid == b"web1.example.com").then(|| public(&file(&root("keys/example_host_ed25519.pub"))))
}

fn found(vector: &Vector) -> Result<Vec<u8>, Refusal> {
    let frames = frame::find(vector.kind, &vector.frame);
    assert!(frames.bodies.len() < 2, "{}: more than one frame", vector.name);
    let nothing = if frames.damaged.is_some() { Refusal::Damaged } else { Refusal::NoFrame };
    let body = frames.bodies.into_iter().next().ok_or(nothing)?;
    assert_eq!(Some(hex(&body)), vector.cose, "{}: other octets than its own", vector.name);
    Ok(body)
}

/// The order of `Candidate::verify`: form, key, proof, claims.
fn payload(envelope: &Envelope, lock: Option<Verifier>) -> Result<Vec<u8>, Refusal> {
    let lock = lock.ok_or(Refusal::UnknownKey)?;
    let payload = envelope.verify(&lock).map_err(|forged| match forged {
        Forged::KeyType => Refusal::KeyType,
        Forged::Signature => Refusal::Signature,
    })?;
    Ok(payload.to_vec())
}

fn request(body: &[u8]) -> Result<(String, Request), Refusal> {
    let envelope = Envelope::open(body, REQUEST_AAD).map_err(|_| Refusal::Form)?;
    let payload = payload(&envelope, by_kid(envelope.kid()))?;
    let request = Request::decode(&payload).map_err(|_| Refusal::Form)?;
    Ok((String::from_utf8_lossy(envelope.kid()).into_owned(), request))
}

fn answer(body: &[u8]) -> Result<(String, Statement), Refusal> {
    let envelope = Envelope::open(body, ANSWER_AAD).map_err(|_| Refusal::Form)?;
    let key = by_host(envelope.kid()).ok_or(Refusal::UnknownKey)?;
    payload(&envelope, Some(Verifier::Ed25519(key)))?;
    let statement = Statement::open(body, &key).map_err(|_| Refusal::Form)?;
    Ok((String::from_utf8_lossy(envelope.kid()).into_owned(), statement))
}

/// Key and claims as a vector shows them.
fn shown(vector: &Vector) -> Result<(Value, Value), Refusal> {
    let body = found(vector)?;
    if vector.kind == Kind::Answer {
        let (kid, s) = answer(&body)?;
        let mut claims = json!({
            "iss": s.host, "sub": s.key, "cti": s.nonce.to_string(), "iat": s.issued.unix(),
            "stage": s.stage, "verdict": s.verdict.word(),
        });
        if let Some(status) = s.status {
            claims["status"] = json!(status);
        }
        if let Some(duration) = s.duration {
            claims["duration"] = json!(duration);
        }
        if let Some(Digested { length, sha256 }) = s.output {
            claims["out"] = json!([length, hex(&sha256)]);
        }
        return Ok((json!(kid), claims));
    }
    let (kid, r) = request(&body)?;
    let mut claims = json!({
        "aud": r.audience, "iat": r.issued.unix(), "exp": r.expires.unix(),
        "cti": r.nonce.to_string(), "cmd": r.command,
    });
    if r.dry || vector.claims.get("dry").is_some() {
        claims["dry"] = json!(r.dry);
    }
    Ok((json!(kid), claims))
}

fn count(expect: &str) -> usize {
    vectors().iter().filter(|v| v.expect == expect).count()
}

#[test]
fn every_good_vector_is_found_and_verified_and_says_its_claims() {
    for vector in vectors().iter().filter(|v| v.expect == "verified") {
        let expected = (vector.kid.clone(), vector.claims.clone());
        assert_eq!(shown(vector), Ok(expected), "{}", vector.name);
    }
}

#[test]
fn every_bad_vector_is_refused_for_its_reason_and_no_other() {
    for vector in vectors().iter().filter(|v| v.expect != "verified") {
        let reason = shown(vector).map_err(Refusal::reason);
        assert_eq!(reason, Err(vector.expect.as_str()), "{}", vector.name);
    }
}

/// Refusals outnumber successes.
#[test]
fn every_refusal_that_octets_can_earn_has_vectors() {
    for refusal in REFUSALS {
        assert!(count(refusal.reason()) >= 5, "few vectors for {refusal:?}");
    }
    let refused: usize = REFUSALS.iter().map(|r| count(r.reason())).sum();
    assert_eq!(refused + count("verified"), vectors().len(), "a vector expects something else");
    assert!(refused > count("verified") * 2);
}

#[test]
fn a_frame_of_ours_is_the_frame_of_the_other_implementation() {
    for vector in vectors().iter().filter(|v| v.symbols.is_some()) {
        let body = unhex(vector.cose.as_deref().unwrap());
        assert_eq!(frame::encode(vector.kind, &body).as_ref(), Some(&vector.frame));
        let symbols = u64::try_from(frame::symbols_for(body.len())).unwrap();
        assert_eq!(Some(symbols), vector.symbols, "{}", vector.name);
    }
}

#[test]
fn the_signed_output_of_an_answer_is_that_of_the_vectors() {
    let document: Value = serde_json::from_str(VECTORS).unwrap();
    let body = found(&named("answer_with_output")).unwrap();
    let (_, statement) = answer(&body).unwrap();
    assert_eq!(statement.output, Some(Digested::of(text(&document, "output").as_bytes())));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "walks keys/")]
fn every_key_in_keys_is_refused_as_published() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root("keys")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let lock = match name.as_str() {
            "README.md" => continue,
            name if name.ends_with(".pub") => Verifier::Ed25519(public(&file(&path))),
            name if name.ends_with(".secret") => secret(&file(&path)),
            _ => Verifier::Ed25519(openssh::private_key(&file(&path)).unwrap().verifying_key()),
        };
        assert!(is_published(&identity(&lock)), "{name} is not in PUBLISHED");
        seen += 1;
    }
    assert_eq!(seen, 5);
    assert!(!is_published(&[0; 32]));
}

#[test]
fn the_private_example_keys_belong_to_the_public_ones() {
    for name in ["keys/example_ed25519", "keys/example_host_ed25519"] {
        let private = openssh::private_key(&file(&root(name))).unwrap();
        assert_eq!(private.verifying_key(), public(&file(&root(&format!("{name}.pub")))));
    }
}

#[test]
fn the_example_in_the_protocol_is_the_vector_it_names() {
    let vector = named("restart_nginx");
    assert!(PROTOCOL.contains("The vector `restart_nginx`"));
    assert!(PROTOCOL.contains(vector.frame.trim_end()), "its frame is another");
    let dump = block("```hexdump\n");
    let octets: String = dump
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().split_ascii_whitespace())
        .collect();
    let body = vector.cose.unwrap();
    let length = body.len() / 2;
    assert_eq!(&octets[..6], format!("01{length:04x}"), "head");
    assert_eq!(octets[6..octets.len() - 8], body, "container");
    let counted = unhex(&octets[..octets.len() - 8]);
    assert_eq!(octets[octets.len() - 8..], format!("{:08x}", crc32(&counted)), "CRC");
}

#[test]
fn the_sizes_in_the_protocol_are_those_of_the_vectors() {
    let mut rows = 0;
    for line in PROTOCOL.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, .., octets, symbols, lines, _] = cells.as_slice() else { continue };
        let (Ok(octets), Ok(symbols)) = (octets.parse::<usize>(), symbols.parse::<u64>()) else {
            continue;
        };
        let vector = named(name.trim_matches('`'));
        assert_eq!(vector.symbols, Some(symbols), "{name}");
        assert_eq!(vector.cose.unwrap().len() / 2, octets, "{name}");
        assert_eq!(vector.frame.lines().count() - 2, lines.parse::<usize>().unwrap(), "{name}");
        rows += 1;
    }
    assert_eq!(rows, 14);
}

/// The text between `fence` and the next one.
fn block(fence: &str) -> &'static str {
    let (_, rest) = PROTOCOL.split_once(fence).expect("the fence");
    rest.split_once("```").expect("its end").0
}

fn unhex(text: &str) -> Vec<u8> {
    let octet = |pair: &[u8]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal")
    };
    text.as_bytes().chunks(2).map(octet).collect()
}
