//! A person at a terminal: what the tools say about mistakes, and that what they could not do is not reported as done.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::{PROGRAM, Ran, Site, message, run};

/// Runs `keygen` in a site.
fn keygen(site: &Site, file: &str) -> Ran {
    run(Command::new(PROGRAM).args(["keygen", file]).current_dir(site.root()), b"")
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let site = Site::new();
    for words in [
        &["sign", "--key-id", "alice", "--key", "@ROOT@/alice", "web1", "ping"][..],
        &["keygen", "@ROOT@/new"],
        &["--config", "@ROOT@/config.toml", "check"],
        &["demo"],
        &["--help"],
        &["--version"],
    ] {
        let root = site.root().display().to_string();
        let mut command = Command::new(PROGRAM);
        command.args(words.iter().map(|word| word.replace("@ROOT@", &root)));
        command.stdin(Stdio::null()).stdout(File::create("/dev/full").unwrap());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(75), "{words:?}: {said}");
        assert!(said.contains("standard output: No space left"), "{words:?}: {said}");
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_not_signed() {
    let site = Site::new();
    let mut sign = Command::new(PROGRAM);
    sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice")).arg("web1");
    let ran = run(sign.args(["say"]).arg(OsStr::from_bytes(b"gr\xfc\xdfe")), b"");
    assert_eq!((ran.status, ran.stdout.as_str()), (64, ""), "{ran:?}");
}

#[test]
fn half_a_key_is_not_left_behind() {
    let site = Site::new();
    site.write("new.pub", "of another key");
    let ran = keygen(&site, "new");
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("new.pub: ") && ran.stderr.contains("move it away"), "{ran:?}");
    assert!(!site.path("new").exists());
    assert_eq!(site.read("new.pub"), "of another key");

    let ran = keygen(&site, "alice");
    assert!(ran.status == 1 && ran.stderr.contains("move it away"), "{ran:?}");
    let ran = keygen(&site, "nowhere/new");
    assert!(ran.status == 1 && ran.stderr.contains("make its directory"), "{ran:?}");
}

#[test]
fn the_stanza_of_keygen_allows_every_harmless_built_in() {
    let site = Site::new();
    let stanza = keygen(&site, "phone").stdout;
    site.write("config.toml", &format!("{}\n{stanza}", site.read("config.toml")));
    for words in [&["ping"][..], &["help"], &["last"], &["revoke", "phone"]] {
        let ran = site.deliver(&message(&site.sign_as("phone", &[], "web1", words)));
        assert!(ran.stderr.starts_with("accepted "), "{words:?}: {ran:?}");
    }
    assert_eq!(site.answers().len(), 4);
}

#[test]
fn what_sign_cannot_do_is_told_with_its_mend() {
    let site = Site::new();
    let sign = |words: &[&str]| {
        run(Command::new(PROGRAM).arg("sign").args(words).current_dir(site.root()), b"")
    };
    for (words, status, says) in [
        (
            &["--key", "alice", "wbe1", "ping"][..],
            1,
            "give --key-id, or key_id in [host.\"wbe1\"] of hosts.toml",
        ),
        (&["--key", "alice", "--key-id", "Alice", "web1", "ping"], 64, "use a-z, 0-9 and -"),
        (&["--key", "alice.pub", "--key-id", "alice", "web1", "ping"], 1, "name the private one"),
        (&["--key", "gone", "--key-id", "alice", "web1", "ping"], 1, "gone: No such file"),
    ] {
        let ran = sign(words);
        assert_eq!(ran.status, status, "{words:?}: {ran:?}");
        assert!(ran.stderr.contains(says) && ran.stdout.is_empty(), "{words:?}: {ran:?}");
    }
}

#[test]
fn explain_names_the_key_and_what_this_host_is_called() {
    let site = Site::new();
    let explain = |key_id: &str, host: &str| {
        let mut sign = Command::new(PROGRAM);
        sign.args(["sign", "--key-id", key_id, "--key"]).arg(site.path("alice"));
        let mail = message(&run(sign.args([host, "ping"]), b"").stdout);
        site.tool_on(&["explain"], mail.as_bytes()).stdout
    };
    let unknown = explain("alcie", "web1");
    assert!(unknown.contains("no such key\n  key \"alcie\" asks \"web1\""), "{unknown}");
    let wrong = explain("alice", "wbe1");
    assert!(
        wrong.contains("for another host: this one is web1, web1.example.com, web\n"),
        "{wrong}"
    );
}

#[test]
fn a_key_that_others_can_read_signs_and_is_told_of() {
    let site = Site::new();
    let sign = || {
        let mut sign = Command::new(PROGRAM);
        sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
        run(sign.args(["web1", "ping"]), b"")
    };
    assert_eq!((sign().status, sign().stderr), (0, String::new()));
    fs::set_permissions(site.path("alice"), fs::Permissions::from_mode(0o644)).unwrap();
    let signed = sign();
    assert!(signed.status == 0 && signed.stderr.contains("chmod 600 it"), "{signed:?}");
}

#[test]
fn an_option_behind_the_command_is_an_argument_and_noted() {
    let site = Site::new();
    let sign = |command: &[&str]| {
        let mut sign = Command::new(PROGRAM);
        sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
        run(sign.arg("web1").args(command), b"")
    };
    let says = "note: --ttl comes after the command, so it is an argument of it";
    for (command, is_told) in [
        (&["mark", "--ttl", "4h"][..], true),
        (&["mark", "--ttl=4h"], true),
        (&["mark", "--fast"], false),
        (&["say", "ttl"], false),
    ] {
        let signed = sign(command);
        assert_eq!(signed.status, 0, "{signed:?}");
        assert_eq!(signed.stderr.contains(says), is_told, "{signed:?}");
    }
}

/// What a program says to a terminal.
fn on_a_terminal(words: &str) -> String {
    let mut script = Command::new("script");
    run(script.args(["-qec", &format!("{PROGRAM} {words}"), "/dev/null"]), b"\x04").stdout
}

#[test]
fn only_a_person_at_a_terminal_is_told_what_happens() {
    let site = Site::new();
    let config = site.path("config.toml").display().to_string();
    let explained = on_a_terminal(&format!("--config {config} explain"));
    assert!(explained.contains("end it with ^D"), "{explained}");
    site.write("config.toml", "x");
    let resumed = on_a_terminal(&format!("--config {config} resume"));
    assert!(resumed.contains("not-resumed error="), "{resumed}");
    let resume = site.tool(&["resume"]);
    assert_eq!((resume.status, resume.stderr.as_str()), (75, ""), "cron would mail it");
    let misnamed = site.tool(&["resume", "--only", "nope"]);
    assert!(
        misnamed.status == 64 && misnamed.stderr.contains("not the name of a job"),
        "{misnamed:?}"
    );
}

#[test]
fn deliver_tells_a_person_who_asks_for_help() {
    for words in [&["deliver", "--help"][..], &["deliver", "-h"]] {
        let ran = run(Command::new(PROGRAM).args(words), b"");
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.stdout.contains("[--profile mailbox|mta|qmail]"), "{ran:?}");
    }
}

#[test]
fn a_missing_configuration_is_made_by_init() {
    let site = Site::new();
    fs::remove_file(site.path("config.toml")).unwrap();
    let checked = site.tool(&["check"]);
    assert_eq!(checked.status, 1, "{checked:?}");
    assert!(
        checked.stdout.contains("there is no such file; run netsysrq-mail init"),
        "{checked:?}"
    );
    fs::create_dir(site.path("gone")).unwrap();
    fs::remove_dir(site.path("gone")).unwrap();
    let config = site.path("gone/config.toml");
    let ran = run(Command::new(PROGRAM).arg("--config").arg(&config).arg("check"), b"");
    let says = format!("{}: there is no such file; run netsysrq-mail init", config.display());
    assert!(ran.stdout.contains(&says), "{ran:?}");
}
