//! What mail systems do to a program that they call, reproduced by hand: the forms of a mail, its envelope, closed and
//! full descriptors, little memory.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{PROGRAM, Site, message, run};

/// A delivery as a mail system would start it, with nothing in its environment.
fn delivery(site: &Site, profile: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--config").arg(site.path("config.toml"));
    command.args(["deliver", "--wait", "--profile", profile]);
    command
}

fn status(mut delivery: Command, mail: &[u8]) -> i32 {
    let ran = run(&mut delivery, mail);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    ran.status
}

#[test]
fn a_request_is_found_however_mail_systems_hand_it_over() {
    let site = Site::new();
    type Form = fn(&str) -> String;
    let forms: [(&str, Form); 9] = [
        ("as it came", |mail| mail.to_owned()),
        ("Sieve: CR LF", |mail| mail.replace('\n', "\r\n")),
        ("procmail: a line end more", |mail| format!("{mail}\n")),
        ("no line end at the end", |mail| mail.trim_end().to_owned()),
        ("Postfix and Exim: a From line first", |mail| {
            format!("From alice@example.com  Sat Nov 21 12:00:00 2026\n{mail}")
        }),
        ("an escaped From line first", |mail| {
            format!(">From alice@example.com  Sat Nov 21 12:00:00 2026\n{mail}")
        }),
        ("OpenSMTPD: its headers first", |mail| {
            format!("Return-Path: alice@example.com\nDelivered-To: netsysrq@example.net\n{mail}")
        }),
        ("mpop: Received before Return-Path", |mail| {
            format!(
                "Received: from x by y; Sat, 21 Nov 2026 12:00:00 +0000\nReturn-Path: <>\n{mail}"
            )
        }),
        ("From lines in the text", |mail| mail.replace("\n\n", "\n\nFrom here on:\n>From me\n")),
    ];
    for (count, (what, form)) in forms.into_iter().enumerate() {
        let mail = form(&message(&site.sign(&[], &["mark"])));
        assert_eq!(status(delivery(&site, "mailbox"), mail.as_bytes()), 0, "{what}");
        assert_eq!(site.marks(), count + 1, "{what}");
    }
}

#[test]
fn a_null_sender_in_any_spelling_changes_nothing() {
    let site = Site::new();
    // unset: Sieve; empty: Postfix, Exim, OpenSMTPD; the last is pipe(8)'s
    let senders = [None, Some(""), Some("<>"), Some("MAILER-DAEMON"), Some("MAILER-DAEMON@mx")];
    let mut expected = 0;
    for sender in senders {
        for path in ["", "Return-Path: <>\n", "Return-Path: MAILER-DAEMON\n", "Return-Path:\n"] {
            let mail = format!("{path}{}", message(&site.sign(&[], &["mark"])));
            let mut delivery = delivery(&site, "mta");
            delivery.envs(sender.map(|sender| ("SENDER", sender)));
            assert_eq!(status(delivery, mail.as_bytes()), 0, "{sender:?} {path}");
            expected += 1;
        }
    }
    assert_eq!((site.marks(), site.answers().len()), (expected, expected));
}

#[test]
fn closed_or_truncated_input_is_not_for_us() {
    let site = Site::new();
    let mail = message(&site.sign(&[], &["mark"]));
    for (profile, expected) in [("mailbox", 1), ("mta", 0), ("qmail", 0)] {
        let mut closing = Command::new("/bin/sh");
        closing.args(["-c", r#"exec "$@" <&-"#, "sh", PROGRAM, "--config"]);
        closing.arg(site.path("config.toml")).args(["--profile", profile]);
        assert_eq!(status(closing, b""), expected, "{profile}: closed");
        // every tenth length, up to the end of the symbols, which is before the end line
        let end = mail.find("netsysrq end").unwrap() - 2;
        for length in (0..end).step_by(10).chain([end - 1]) {
            let cut = &mail.as_bytes()[..length];
            assert_eq!(status(delivery(&site, profile), cut), expected, "{profile}: {length}");
        }
    }
    assert_eq!((site.marks(), site.answers().len()), (0, 0));
}

#[test]
fn a_standard_error_that_takes_nothing_does_not_change_the_status() {
    let site = Site::new();
    let (_reader, full) = std::io::pipe().unwrap();
    // as Postfix makes it
    rustix::fs::fcntl_setfl(&full, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut filled = full.try_clone().unwrap();
    while filled.write(&[0; 4096]).is_ok() {}
    let full_disk = File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(full), Stdio::from(full_disk)] {
        let mail = message(&site.sign(&[], &["mark"]));
        let mut delivery = delivery(&site, "mta")
            .arg("--verbose")
            .stdin(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        delivery.stdin.take().unwrap().write_all(mail.as_bytes()).unwrap();
        assert_eq!(delivery.wait().unwrap().code(), Some(0));
    }
    assert_eq!(site.marks(), 2);
}

#[test]
fn thirty_two_mebibytes_of_address_space_are_enough_for_any_mail() {
    let site = Site::new();
    let huge = "there is nothing to be seen in these 64 octets, line after line\n".repeat(800_000);
    for text in ["", &huge] {
        let mail = message(&format!("{}\n{text}", site.sign(&[], &["mark"])));
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", r#"ulimit -v 32768 && exec "$@""#, "sh", PROGRAM, "--config"]);
        limited.arg(site.path("config.toml")).args(["--profile", "mta", "--wait"]);
        assert_eq!(status(limited, mail.as_bytes()), 0);
    }
    assert_eq!(site.marks(), 2);
}
