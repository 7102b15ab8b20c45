//! `sign` beyond the text that is pasted: a link, a QR code that a real reader reads, a mail, an answer awaited.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{PROGRAM, Ran, Site, eventually, message, needed, run};

fn sign(site: &Site, options: &[&str]) -> Ran {
    let mut sign = Command::new(PROGRAM);
    sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
    run(sign.args(options).args(["web1", "mark"]), b"")
}

/// What a mail client makes of a mailto: link.
fn opened(link: &str) -> String {
    let (address, body) = link.trim_end().split_once("?subject=Request&body=").unwrap();
    assert_eq!(address, "mailto:netsysrq@web1.example.com");
    let mut octets = Vec::new();
    let mut rest = body.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = if *first == b'%' {
            let digits = std::str::from_utf8(&tail[..2]).unwrap();
            octets.push(u8::from_str_radix(digits, 16).unwrap());
            &tail[2..]
        } else {
            octets.push(*first);
            tail
        };
    }
    String::from_utf8(octets).unwrap()
}

const RCPT: [&str; 2] = ["--rcpt", "netsysrq@web1.example.com"];

#[test]
fn a_link_opens_as_a_request_and_is_one_itself() {
    let site = Site::new();
    let signed = sign(&site, &[&RCPT[..], &["--mailto"]].concat());
    assert_eq!(signed.status, 0, "{signed:?}");
    assert!(opened(&signed.stdout).lines().all(|line| line.len() <= 50), "{signed:?}");
    assert_eq!(site.deliver(&message(&opened(&signed.stdout))).status, 0);
    let pasted = sign(&site, &[&RCPT[..], &["--mailto"]].concat());
    assert_eq!(site.deliver(&message(&pasted.stdout)).status, 0);
    assert_eq!(site.marks(), 2);
}

#[test]
fn a_drawn_code_is_read_as_the_link() {
    let Some(zbarimg) = needed("zbarimg") else { return };
    let site = Site::new();
    let signed = sign(&site, &[&RCPT[..], &["--qr"]].concat());
    assert_eq!(signed.status, 0, "{signed:?}");
    // a picture of the terminal: light blocks on dark, each module three dots wide
    let rows = signed.stdout.lines().flat_map(|line| {
        [['\u{2588}', '\u{2580}'], ['\u{2588}', '\u{2584}']].map(|light| {
            let dots = line.chars().map(|c| if light.contains(&c) { "000" } else { "111" });
            dots.collect::<String>()
        })
    });
    let rows: Vec<String> = rows.flat_map(|row| [row.clone(), row.clone(), row]).collect();
    let picture = format!("P1\n{} {}\n{}\n", rows[0].len(), rows.len(), rows.join("\n"));
    site.write("code.pbm", &picture);
    let read =
        run(Command::new(zbarimg).args(["--quiet", "--raw"]).arg(site.path("code.pbm")), b"");
    assert_eq!(read.status, 0, "{read:?}");
    assert_eq!(site.deliver(&message(&opened(&read.stdout))).status, 0);
    assert_eq!(site.marks(), 1);
}

#[test]
fn an_answer_that_arrives_is_verified_and_shown() {
    let site = Site::new();
    for part in ["new", "cur", "tmp"] {
        fs::create_dir_all(site.path("Maildir").join(part)).unwrap();
    }
    let [mailbox, host_key] =
        ["Maildir", "host.pub"].map(|name| site.path(name).display().to_string());
    let mut sign = Command::new(PROGRAM);
    sign.args(["sign", "--key-id", "alice", "--key"]).arg(site.path("alice"));
    sign.args(["--wait-answer", &mailbox, "--host-key", &host_key, "web1", "mark"]);
    let stdout = site.path("stdout");
    sign.stdin(Stdio::null()).stdout(fs::File::create(&stdout).unwrap());
    let mut sign = sign.spawn().unwrap();
    eventually("the request", || site.read("stdout").contains("netsysrq end"));
    let mail = message(&site.read("stdout"));

    // these do not count: an answer to another request, and one that was changed on its way
    assert_eq!(site.deliver(&message(&site.sign(&[], &["ping"]))).status, 0);
    let arrive = |name: &str, text: &str| {
        // complete, as mail arrives in a Maildir: a file is read only once
        let (aside, new) = (site.path("Maildir/tmp").join(name), site.path("Maildir/new"));
        fs::write(&aside, text).unwrap();
        fs::rename(aside, new.join(name)).unwrap();
    };
    arrive("1", &site.answers()[0]);
    assert_eq!(site.deliver(&mail).status, 0);
    let answer = site.answers().into_iter().find(|answer| !answer.contains("ping")).unwrap();
    arrive("2", &answer.replace("netsysrq answer begin\n0", "netsysrq answer begin\n1"));
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(sign.try_wait().unwrap().is_none(), "{}", site.read("stdout"));
    arrive("3", &answer);
    assert_eq!(sign.wait().unwrap().code(), Some(0));
    let shown = site.read("stdout");
    assert!(shown.contains("\ngenuine\n") && shown.contains("Status    0\n"), "{shown}");
    assert!(shown.ends_with("\ndone\n"), "{shown}");
}

#[test]
fn waiting_for_an_answer_ends_when_the_request_has_expired() {
    let site = Site::new();
    site.write("mbox", "");
    let [mailbox, host_key] =
        ["mbox", "host.pub"].map(|name| site.path(name).display().to_string());
    let past = ["--issued-at", "2026-01-01T00:00:00Z"];
    let waited =
        sign(&site, &[&past[..], &["--wait-answer", &mailbox, "--host-key", &host_key]].concat());
    assert_eq!(waited.status, 75, "{waited:?}");
    assert!(
        waited.stderr.contains("no answer came") && waited.stderr.contains("it is safe"),
        "{waited:?}"
    );
}

#[test]
fn what_is_missing_is_said_before_anything_leaves() {
    let site = Site::new();
    let host_key = site.path("host.pub").display().to_string();
    let root = site.root().display().to_string();
    for (options, status, says) in [
        (&["--mailto"][..], 1, "give --rcpt ADDRESS"),
        (&["--qr"], 1, "give --rcpt ADDRESS"),
        (&["--send", "--rcpt", "b@example.net"], 1, "give --from ADDRESS"),
        (&["--send", "--from", "a@example.org"], 1, "give --rcpt ADDRESS"),
        (&["--mailto", "--rcpt", "nobody"], 1, "is not a mail address"),
        (&["--mailto", "--qr", "--rcpt", "b@example.net"], 64, "cannot be used with"),
        (&["--rcpt", "b@example.net"], 64, "required"),
        (&["--smtp", "localhost"], 64, "--send"),
        (&["--wait-answer", "/nonexistent"], 1, "--wait-answer /nonexistent: No such file"),
        (&["--wait-answer", &root, "--host-key", &host_key], 1, "neither a Maildir nor a file"),
        (
            &["--wait-answer", "/dev/null", "--host-key", &host_key],
            1,
            "neither a Maildir nor a file",
        ),
        (
            &[
                "--send",
                "--smtp",
                "localhost:smtp",
                "--from",
                "a@example.org",
                "--rcpt",
                "b@example.net",
            ],
            1,
            "the port is not a number",
        ),
        // nothing listens there
        (
            &[
                "--send",
                "--smtp",
                "127.0.0.1:1",
                "--from",
                "a@example.org",
                "--rcpt",
                "b@example.net",
            ],
            1,
            "not sent: 127.0.0.1:1",
        ),
    ] {
        let ran = sign(&site, options);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{options:?}: {ran:?}");
        assert!(ran.stderr.contains(says), "{options:?}: {ran:?}");
    }
}
