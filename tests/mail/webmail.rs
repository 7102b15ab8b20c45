//! Roundcube in Chromium, driven as a person drives it: a request pasted from the clipboard is found, run once and
//! answered once, whatever Roundcube makes of it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::clients::{KEPT, Written};
use crate::host::{HOLDER, Host};
use crate::machine::Machine;
use crate::support::{PROGRAM, eventually, run};
use crate::ways::postfix::FORWARD;
use crate::ways::{Way, send_by_smtp};

/// Debian's Roundcube and Chromium, beside the mail system.
const LAYERS: &[&str] = &["webmail", "postfix", "common"];
const WAY: &Way = &FORWARD;
/// What alice has in her inbox: subject, type, text. With places for a request that is spent, or a fresh one.
const INBOX: &[(&str, &str, &str)] = &[
    ("spent", "text/plain", "You asked, and it was done:\n\n{spent}\nThanks\n"),
    (
        "spent, HTML",
        "text/html",
        "<p>You asked <b>this</b>, and it was done:</p>\n{spent html}\n<p>Thanks</p>\n",
    ),
    ("please forward", "text/plain", "Please send this on:\n\n{fresh}\nThanks\n"),
    (
        "please forward, HTML",
        "text/html",
        "<p>Grüße, please send <b>this</b> on:</p>\n{fresh html}\n<p>Thanks</p>\n",
    ),
    ("please forward attached", "text/plain", "Please send this on:\n\n{fresh}\nThanks\n"),
];

/// The mails that are written, as `webmail/compose.py` takes them: new ones, in text mode, unless they say otherwise.
/// `line` puts the request into one line, and `about` is the subject of a mail in the inbox.
fn cases() -> Vec<Value> {
    const ABOVE: &str = "Bitte möglichst bald ausführen!\nGrüße, Jörg\n\n";
    let html = json!({"htmleditor": 1});
    let cases = json!([
        {"name": "text"},
        {"name": "text, umlauts above", "above": ABOVE},
        {"name": "text, umlauts above, 7bit", "above": ABOVE, "settings": {"force_7bit": true}},
        {"name": "text, one line", "line": true},
        {"name": "text, one line, not flowed", "line": true, "settings": {"send_format_flowed": false}},
        {"name": "HTML", "settings": html},
        {"name": "HTML, bold umlauts above", "settings": html, "above": "*Führe aus*, möglichst *bald:*\n"},
        {"name": "HTML, out of a web page", "settings": html, "copied": "pre"},
        {"name": "Subject", "into": "subject", "line": true},
        {"name": "Subject, the block", "into": "subject"},
        {"name": "Subject, umlauts above", "into": "subject", "line": true, "above": "Führe aus für Jörg: "},
        {"name": "reply", "action": "reply", "about": "spent"},
        {"name": "reply to HTML", "action": "reply", "about": "spent, HTML"},
        {"name": "HTML reply", "action": "reply", "about": "spent", "settings": html},
        {"name": "HTML reply to HTML", "action": "reply", "about": "spent, HTML", "settings": html},
        {"name": "forward", "action": "forward", "about": "please forward"},
        {"name": "HTML forward of HTML", "action": "forward", "about": "please forward, HTML", "settings": html},
        {"name": "forward as attachment", "action": "forward", "about": "please forward attached",
            "settings": {"forward_attachment": true}},
    ]);
    cases.as_array().unwrap().clone()
}

/// A request: the text that a person is given, and its nonce.
struct Request {
    text: String,
    cti: String,
}

impl Request {
    fn new(host: &Host<'_>) -> Self {
        let text = host.sign(&["mark"]);
        let explained = run(Command::new(PROGRAM).args(["--json", "explain"]), text.as_bytes());
        let found: Value = serde_json::from_str(&explained.stdout).unwrap();
        let cti = found[0]["request"]["cti"].as_str().unwrap().to_owned();
        Self { text, cti }
    }

    fn line(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn html(&self) -> String {
        format!("<p>{}</p>", self.text.trim().replace('\n', "<br>\n"))
    }
}

/// Starts alice's mailbox, Roundcube and the mail system.
fn set_up(machine: &Machine) {
    machine.write("/etc/dovecot/dovecot.conf", include_bytes!("webmail/dovecot.conf"));
    machine.write("/etc/dovecot/users", b"alice:{PLAIN}correct horse\n");
    machine.write("/etc/roundcube/config.inc.php", include_bytes!("webmail/config.inc.php"));
    machine.write("/etc/roundcube/case.json", b"{}");
    machine.write("/usr/local/lib/compose.py", include_bytes!("webmail/compose.py"));
    (WAY.set_up)(machine);
    machine.shell(
        "postconf -e home_mailbox=Maildir/ mailbox_command=
        postfix reload 2>/dev/null
        dovecot >/dev/null 2>&1
        PHP_CLI_SERVER_WORKERS=4 setsid setpriv --reuid www-data --regid www-data --clear-groups \
          php -d opcache.enable_cli=1 -S 127.0.0.1:8080 -t /var/lib/roundcube/public_html \
          >/var/log/php.log 2>&1 </dev/null &",
    );
    machine.await_port(143);
    machine.await_port(8080);
}

fn mail(subject: &str, media: &str, text: &str) -> String {
    format!(
        "From: The Operator <{}>\nTo: Alice <alice@example.net>\nSubject: {subject}\nMessage-ID: <{}@example.net>\n\
         Date: Sat, 21 Nov 2026 12:00:00 +0000\nMIME-Version: 1.0\nContent-Type: {media}; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\n{text}",
        WAY.address(),
        subject.replace(|symbol: char| !symbol.is_ascii_alphanumeric(), "-"),
    )
}

/// Puts the mails into alice's inbox; gives the request for each case.
fn prepare(machine: &Machine, host: &Host<'_>, cases: &[Value], spent: &Request) -> Vec<Request> {
    let requests: Vec<Request> = cases.iter().map(|_| Request::new(host)).collect();
    for (subject, media, text) in INBOX {
        let case = cases.iter().position(|case| case["about"] == *subject).unwrap();
        let fresh = &requests[case];
        let text = text
            .replace("{spent}", &spent.text)
            .replace("{spent html}", &spent.html())
            .replace("{fresh}", &fresh.text)
            .replace("{fresh html}", &fresh.html());
        let mail = mail(subject, media, &text);
        send_by_smtp(machine, &WAY.address(), &["alice@example.net"], mail.as_bytes());
    }
    let inbox = machine.path("/home/alice/Maildir/new");
    eventually("alice has her mail", || {
        fs::read_dir(&inbox).is_ok_and(|mails| mails.count() == INBOX.len())
    });
    requests
}

/// Has the mails written and sent.
fn write(machine: &Machine, cases: &[Value], requests: &[Request]) {
    let mut cases = cases.to_vec();
    for (case, request) in cases.iter_mut().zip(requests) {
        let text = if case["action"] == "forward" {
            "See below.\n".to_owned()
        } else if case["line"] == true {
            request.line()
        } else {
            request.text.clone()
        };
        case["text"] = text.into();
    }
    let names: Vec<&str> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    let input = json!(cases).to_string();
    let ran = machine.run(&["python3", "/usr/local/lib/compose.py"], input.as_bytes());
    assert_eq!(ran.status, 0, "{ran:?}\n{}", machine.read("/var/log/roundcube/errors.log"));
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), names);
}

/// Leaves what Roundcube has sent.
fn keep(machine: &Machine) {
    fs::create_dir_all(KEPT).unwrap();
    let sent = "cd /home/alice/Maildir/.Sent; for mail in $(ls -d cur/* new/* 2>/dev/null); do \
                echo From alice; cat $mail; echo; done";
    fs::write(format!("{KEPT}/Roundcube.mbox"), machine.shell(sent)).unwrap();
}

#[test]
fn requests_written_in_roundcube_are_found_run_once_and_answered() {
    let Some(machine) = Machine::start(LAYERS) else { return };
    let host = Host::set_up(&machine, WAY.user, WAY.restart);
    host.tell_requests_apart();
    set_up(&machine);
    let spent = Request::new(&host);
    let first = mail("hello", "text/plain", &spent.text);
    send_by_smtp(&machine, HOLDER, &[&WAY.address()], first.as_bytes());
    host.await_answers(1);

    let cases = cases();
    let requests = prepare(&machine, &host, &cases, &spent);
    write(&machine, &cases, &requests);
    keep(&machine);
    host.settle(cases.len() + 1, WAY.holds_mail);
    let names = cases.iter().map(|case| case["name"].as_str().unwrap().to_owned());
    let written = Written {
        client: "Roundcube",
        with_spent: cases.iter().filter(|case| case["action"] == "reply").count(),
        requests: names.zip(requests.into_iter().map(|request| request.cti)).collect(),
        spent: spent.cti,
    };
    written.assert_run_once_and_answered(&machine, &host);
}
