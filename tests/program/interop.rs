//! Other implementations: requests and answers against the COSE of `tests/interop/peer.py`, keys against OpenSSH.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{PROGRAM, Ran, Site, message, needed, python, run};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.py");

/// The peer; `None` where there is no Python for it.
struct Peer {
    python: PathBuf,
}

impl Peer {
    fn find() -> Option<Self> {
        python().map(|python| Self { python })
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Ran {
        run(Command::new(&self.python).arg(PEER).args(arguments), stdin.as_bytes())
    }

    /// The text of a request for `web1`.
    fn request(&self, site: &Site, key: &str, alg: &str, words: &[&str]) -> String {
        let file = path(site, key);
        let common = ["request", "--kid", key, "--key", &file, "--alg", alg, "--aud", "web1"];
        let made = self.run(&[&common, words].concat(), "");
        assert_eq!(made.status, 0, "{made:?}");
        made.stdout
    }

    /// What the peer reads from something that it takes for genuine.
    fn check(&self, what: &str, site: &Site, key: &str, text: &str) -> Value {
        let checked = self.run(&[what, "--key", &path(site, key)], text);
        assert_eq!(checked.status, 0, "{checked:?}");
        serde_json::from_str(&checked.stdout).unwrap()
    }

    /// Asserts that the peer does not take it for one.
    fn assert_refuses(&self, what: &str, site: &Site, key: &str, text: &str) {
        let checked = self.run(&[what, "--key", &path(site, key)], text);
        assert_eq!((checked.status, checked.stdout.as_str()), (1, ""), "{checked:?}");
    }
}

fn path(site: &Site, name: &str) -> String {
    site.path(name).display().to_string()
}

#[test]
fn the_peers_requests_are_run_and_it_accepts_our_answers() {
    let Some(peer) = Peer::find() else { return };
    let site = Site::new();
    for (count, (key, alg)) in
        [("alice", "eddsa"), ("alice", "ed25519"), ("pager", "hmac")].into_iter().enumerate()
    {
        let request = peer.request(&site, key, alg, &["mark"]);
        let delivered = site.deliver(&message(&request));
        assert_eq!(delivered.status, 0, "{alg}: {delivered:?}");
        assert!(delivered.stderr.starts_with(&format!("accepted key={key} ")), "{delivered:?}");
        assert_eq!(site.marks(), count + 1, "{alg}");

        let again = site.deliver(&message(&request));
        assert!(again.stderr.contains("refused reason=replayed"), "{alg}: {again:?}");
        assert_eq!(site.marks(), count + 1, "{alg}");
    }
    let mut asked: Vec<String> = Vec::new();
    for answer in site.answers() {
        let checked = peer.check("check-answer", &site, "host.pub", &answer);
        assert_eq!((&checked["kid"], &checked["iss"]), (&json!("web1"), &json!("web1")));
        assert_eq!((&checked["stage"], &checked["verdict"]), (&json!("result"), &json!("run")));
        assert_eq!((&checked["status"], &checked["out"][0]), (&json!(0), &json!(5)), "{checked}");
        assert_eq!(checked["output_checked"], json!(true));
        asked.push(checked["sub"].as_str().unwrap().to_owned());
    }
    asked.sort();
    assert_eq!(asked, ["alice", "alice", "pager"]);
}

#[test]
fn what_the_peer_says_is_what_is_understood() {
    let Some(peer) = Peer::find() else { return };
    let site = Site::new();
    let dry = peer.request(&site, "alice", "eddsa", &["--dry", "mark"]);
    let ran = site.deliver(&message(&dry));
    assert_eq!((ran.status, site.marks()), (0, 0), "{ran:?}");
    let words = peer.request(&site, "alice", "eddsa", &["say", "gr\u{fc}\u{df} dich, \u{1f600}"]);
    let ran = site.deliver(&message(&words));
    assert_eq!(ran.status, 0, "{ran:?}");
    let words = peer.request(&site, "alice", "eddsa", &["unheard-of", "a", "b"]);
    let ran = site.deliver(&message(&words));
    assert_eq!(ran.status, 0, "{ran:?}");
    let mut verdicts: Vec<String> = site
        .answers()
        .iter()
        .map(|answer| peer.check("check-answer", &site, "host.pub", answer)["verdict"].to_string())
        .collect();
    verdicts.sort();
    assert_eq!(verdicts, ["\"denied\"", "\"run\"", "\"run\""]);

    let past = ["--iat", "1763665351", "--ttl", "3600", "mark"];
    let ran = site.deliver(&message(&peer.request(&site, "alice", "eddsa", &past)));
    assert!(ran.stderr.starts_with("refused reason="), "{ran:?}");
    assert_eq!((ran.status, site.marks()), (1, 0), "{ran:?}");
    // the id of one key and the secret or algorithm of another
    for (kid, file, alg) in
        [("alice", "pager", "hmac"), ("pager", "alice", "eddsa"), ("alice", "host", "eddsa")]
    {
        let file = path(&site, file);
        let arguments =
            ["request", "--kid", kid, "--key", &file, "--alg", alg, "--aud", "web1", "mark"];
        let made = peer.run(&arguments, "");
        let ran = site.deliver(&message(&made.stdout));
        assert!(
            ran.status == 1 && ran.stderr.starts_with("refused reason="),
            "{kid} {file}: {ran:?}"
        );
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 3));
}

#[test]
fn requests_that_we_make_are_taken_by_the_peer() {
    let Some(peer) = Peer::find() else { return };
    let site = Site::new();
    let signed: Value = serde_json::from_str(
        &site.sign(&["--json", "--ttl", "90m"], &["say", "gr\u{fc}\u{df} dich"]),
    )
    .unwrap();
    let frame = signed["frame"].as_str().unwrap();
    let expected = json!({
        "kid": "alice", "aud": "web1", "cmd": ["say", "gr\u{fc}\u{df} dich"],
        "cti": signed["cti"], "iat": signed["iat"], "exp": signed["exp"],
    });
    assert_eq!(peer.check("check-request", &site, "alice.pub", frame), expected);
    assert_eq!(signed["exp"].as_u64().unwrap() - signed["iat"].as_u64().unwrap(), 5400);

    let dry = site.sign(&["-n", "--issued-at", "2026-01-02T03:04:05Z"], &["mark"]);
    let checked = peer.check("check-request", &site, "alice.pub", &dry);
    assert_eq!((&checked["dry"], &checked["iat"]), (&json!(true), &json!(1_767_323_045)));

    let by_hmac = site.sign_as("pager", &[], "web1", &["ping"]);
    assert_eq!(peer.check("check-request", &site, "pager", &by_hmac)["kid"], json!("pager"));
    peer.assert_refuses("check-request", &site, "host.pub", frame);
    peer.assert_refuses("check-request", &site, "alice.pub", &by_hmac);
}

#[test]
fn the_peer_accepts_every_answer_and_no_changed_one() {
    let Some(peer) = Peer::find() else { return };
    let site = Site::new();
    for command in [&["ping"][..], &["help"], &["fail"], &["flood"], &["sleep"], &["say", ".dot"]] {
        let ran = site.deliver(&message(&site.sign(&[], command)));
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    let answers = site.answers();
    assert_eq!(answers.len(), 6);
    let mut failed = 0;
    for answer in &answers {
        let checked = peer.check("check-answer", &site, "host.pub", answer);
        failed += usize::from(checked["status"] == json!(3));
        // mail systems change line ends
        let crlf = answer.replace('\n', "\r\n");
        assert_eq!(peer.check("check-answer", &site, "host.pub", &crlf)["cti"], checked["cti"]);
        peer.assert_refuses("check-answer", &site, "alice.pub", answer);
    }
    assert_eq!(failed, 1);
    let forged = answers[0].replacen(
        "Content-Transfer-Encoding: base64\n\n",
        "Content-Transfer-Encoding: base64\n\nQUJD",
        1,
    );
    assert_ne!(forged, answers[0]);
    peer.assert_refuses("check-answer", &site, "host.pub", &forged);
}

/// A key made by OpenSSH, and registered as `carol`.
fn make_carol(ssh_keygen: &Path, site: &Site, passphrase: &str) {
    let mut keygen = Command::new(ssh_keygen);
    keygen.args(["-q", "-t", "ed25519", "-C", "carol@laptop", "-N", passphrase, "-f"]);
    let made = run(keygen.arg(site.path("carol")), b"");
    assert_eq!(made.status, 0, "{made:?}");
    let stanza = format!(
        "[key.carol]\npublic = \"{}\"\nanswer_to = \"carol@example.com\"\nallow = [\"mark\"]\n\n",
        site.read("carol.pub").trim()
    );
    site.configure("[key.pager]", &format!("{stanza}[key.pager]"));
}

#[test]
fn a_key_that_openssh_made_signs_requests_that_are_run() {
    let Some(ssh_keygen) = needed("ssh-keygen") else { return };
    let site = Site::new();
    make_carol(&ssh_keygen, &site, "");
    let ran = site.deliver(&message(&site.sign_as("carol", &[], "web1", &["mark"])));
    assert_eq!((ran.status, site.marks()), (0, 1), "{ran:?}");
    assert!(site.answers()[0].contains("\nTo: carol@example.com\n"));
}

#[test]
fn a_protected_key_signs_only_with_its_passphrase() {
    let Some(ssh_keygen) = needed("ssh-keygen") else { return };
    let site = Site::new();
    make_carol(&ssh_keygen, &site, "correct horse");
    let key = path(&site, "carol");
    let sign = ["sign", "--key-id", "carol", "--key", &key, "--passphrase-fd"];
    let by_stdin = |passphrase: &str| {
        let words = [&sign[..], &["0", "web1", "mark"]].concat();
        run(Command::new(PROGRAM).args(words), passphrase.as_bytes())
    };
    let signed = by_stdin("correct horse\n");
    assert_eq!(signed.status, 0, "{signed:?}");
    let ran = site.deliver(&message(&signed.stdout));
    assert_eq!((ran.status, site.marks()), (0, 1), "{ran:?}");

    site.write("passphrase", "correct horse");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"exec "$@" 3<"$0""#]).arg(site.path("passphrase")).arg(PROGRAM);
    let signed = run(shell.args([&sign[..], &["3", "web1", "mark"]].concat()), b"");
    let ran = site.deliver(&message(&signed.stdout));
    assert_eq!((ran.status, site.marks()), (0, 2), "{signed:?} {ran:?}");

    for wrong in ["wrong horse\n", "", "\n", "correct horse \n"] {
        let refused = by_stdin(wrong);
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{wrong:?}: {refused:?}");
        assert!(refused.stderr.starts_with(&format!("netsysrq-mail: {key}: ")), "{refused:?}");
        assert!(!refused.stderr.contains("horse"), "{refused:?}");
    }
    // there is nobody to ask
    let unasked = run(Command::new(PROGRAM).args(&sign[..5]).args(["web1", "mark"]), b"");
    assert_eq!((unasked.status, unasked.stdout.as_str()), (1, ""), "{unasked:?}");
    assert!(unasked.stderr.contains("passphrase"), "{unasked:?}");
}

#[test]
fn openssh_keys_of_other_types_are_refused() {
    let Some(ssh_keygen) = needed("ssh-keygen") else { return };
    let site = Site::new();
    for kind in ["ecdsa", "rsa"] {
        let mut keygen = Command::new(&ssh_keygen);
        keygen.args(["-q", "-t", kind, "-N", "", "-f"]);
        let made = run(keygen.arg(site.path(kind)), b"");
        assert_eq!(made.status, 0, "{made:?}");
        let key = path(&site, kind);
        let arguments = ["sign", "--key-id", "alice", "--key", &key, "web1", "mark"];
        let refused = run(Command::new(PROGRAM).args(arguments), b"");
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{refused:?}");
        assert!(refused.stderr.contains(&key), "{refused:?}");
    }
}

#[test]
fn openssh_reads_the_keys_that_we_make() {
    let Some(ssh_keygen) = needed("ssh-keygen") else { return };
    let site = Site::without_spool();
    fs::remove_file(site.path("host")).unwrap();
    fs::remove_file(site.path("host.pub")).unwrap();
    // init makes the host's key where it is missing
    let made = site.tool(&["init"]);
    assert_eq!(made.status, 0, "{made:?}");
    for (name, comment) in [("alice", "alice"), ("host", "netsysrq-mail@web1")] {
        let openssh = |option: &str, file: &str| {
            let read = run(Command::new(&ssh_keygen).args([option, "-f", &path(&site, file)]), b"");
            assert_eq!(read.status, 0, "{file}: {read:?}");
            read.stdout
        };
        let public = site.read(&format!("{name}.pub"));
        assert!(public.ends_with(&format!(" {comment}\n")), "{public}");
        assert_eq!(openssh("-y", name), public);
        let fingerprint = openssh("-l", name);
        assert_eq!(fingerprint, openssh("-l", &format!("{name}.pub")));
        assert!(fingerprint.starts_with("256 SHA256:"), "{fingerprint}");
        assert!(fingerprint.ends_with(&format!(" {comment} (ED25519)\n")), "{fingerprint}");
    }
    assert!(made.stdout.contains(site.read("host.pub").trim()), "{made:?}");
}
