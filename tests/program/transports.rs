//! How answers leave: through a sendmail program (a recording one, and msmtp), by SMTP to a server on loopback, and into
//! files; and what an answer that nobody takes leaves behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use netsysrq_mail::protocol::job::journal;
use netsysrq_mail::protocol::job::state::{Answer, State};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{PROGRAM, Ran, Site, eventually, message, needed, python, run, write_script};

/// A site whose answers leave by this transport.
fn site_with(transport: &str, stanza: &str) -> Site {
    let site = Site::new();
    site.configure("transport   = \"file\"", &format!("transport   = \"{transport}\""));
    let file = format!("[answer.file]\ndirectory = \"{}\"", site.path("answers").display());
    site.configure(&file, stanza);
    site
}

/// A site whose sendmail is a script.
fn site_with_sendmail(script: &str) -> Site {
    let site = Site::new();
    let path = site.path("sendmail");
    write_script(&path, &script.replace("ROOT", &site.root().display().to_string()));
    site.configure("transport   = \"file\"", "transport   = \"sendmail\"");
    let file = format!("[answer.file]\ndirectory = \"{}\"", site.path("answers").display());
    site.configure(&file, &format!("[answer.sendmail]\npath = \"{}\"", path.display()));
    site
}

/// A command that `alice` may run.
fn add_command(site: &Site, name: &str, run: &str) {
    site.configure("\"sleep\"]", &format!("\"sleep\", \"{name}\"]"));
    site.write(
        "config.toml",
        &format!("{}\n[command.{name}]\nrun = {run}\n", site.read("config.toml")),
    );
}

/// The journal of the one job.
fn job(site: &Site) -> State {
    let mut jobs: Vec<PathBuf> = Vec::new();
    for bucket in fs::read_dir(site.path("state/spool")).unwrap() {
        let bucket = bucket.unwrap();
        if bucket.file_name() != "tmp" {
            jobs.extend(fs::read_dir(bucket.path()).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let octets = fs::read(&jobs[0]).unwrap();
    // space behind the records is kept for the next ones
    let end = octets.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    journal::read(&octets[..end]).unwrap().0
}

/// The answer as the journal has it.
fn written(site: &Site) -> String {
    String::from_utf8(job(site).finished.unwrap().mail.unwrap()).unwrap()
}

fn crlf(mail: &str) -> String {
    mail.replace('\n', "\r\n")
}

/// The log line of an answer that nobody took.
fn assert_unanswered(site: &Site, ran: &Ran, why: &str) {
    assert_eq!(ran.status, 0, "{ran:?}");
    let line = ran.stderr.lines().find(|line| line.starts_with("unanswered "));
    let line = line.unwrap_or_else(|| panic!("{ran:?}"));
    assert!(line.contains(" job=") && line.contains(" stage=result "), "{line}");
    assert!(line.contains(why), "{why:?} is not in {line}");
    assert!(job(site).owes_mail(), "{:?}", job(site));
    assert_eq!(site.marks(), 1);
}

/// A second delivery of a job whose answer is owed sends it, and runs nothing.
fn assert_redelivery_answers(site: &Site, mail: &str) {
    let again = site.deliver(mail);
    assert_eq!(again.status, 1, "{again:?}");
    assert!(again.stderr.contains("refused reason=replayed"), "{again:?}");
    assert!(again.stderr.contains("answered key=alice"), "{again:?}");
    assert!((job(site).answer == Answer::HandedOver));
    assert_eq!(site.marks(), 1);
    let once_more = site.deliver(mail);
    assert!(!once_more.stderr.contains("answered"), "{once_more:?}");
}

/// An SMTP server of Python's aiosmtpd, stopped when dropped.
struct Sink {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Sink {
    fn start(site: &Site, python: &Path) -> Self {
        let directory = site.path("sink");
        fs::create_dir_all(&directory).unwrap();
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/sink.py"))
            .arg(&directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("sink.py says {line:?}"));
        Self { child, port, directory }
    }

    /// From now on answers a command with this; if it is empty, takes it.
    fn refuse(&self, reply: &str) {
        let path = self.directory.join("refuse");
        if reply.is_empty() {
            fs::remove_file(path).unwrap()
        } else {
            fs::write(path, reply).unwrap()
        }
    }

    /// The mails so far.
    fn mails(&self) -> Vec<String> {
        (1..)
            .map(|number| self.directory.join(format!("{number}.eml")))
            .take_while(|path| path.exists())
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }

    /// The arguments of MAIL and RCPT of the first mail.
    fn envelope(&self) -> Value {
        serde_json::from_slice(&fs::read(self.directory.join("1.json")).unwrap()).unwrap()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A site whose answers go to a server.
fn site_with_sink() -> Option<(Site, Sink)> {
    let python = python()?;
    let site = site_with("smtp", "[answer.smtp]\nhost = \"127.0.0.1\"\nport = 1");
    let sink = Sink::start(&site, &python);
    site.configure("port = 1", &format!("port = {}", sink.port));
    Some((site, sink))
}

const RECORD: &str = r#"printf '%s\n' "$@" >ROOT/argv
tr '\0' '\n' </proc/$$/environ >ROOT/environment
pwd >ROOT/cwd
cat >ROOT/mail"#;

/// And the null sender, and the mail as it was written.
#[test]
fn sendmail_gets_one_address_and_an_environment_of_its_own() {
    let site = site_with_sendmail(RECORD);
    let mail = message(&site.sign(&[], &["mark"]));
    let mut deliver = site.program();
    deliver.args(["deliver", "--wait", "--profile", "mailbox"]);
    deliver.envs([("LD_PRELOAD", "/nowhere.so"), ("MAILRC", "x"), ("PATH", "/nowhere")]);
    let ran = run(&mut deliver, mail.as_bytes());
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert_eq!(site.read("argv"), "-i\n-f\n<>\n--\nalice@example.com\n");
    let environment = site.read("environment");
    let names: Vec<&str> =
        environment.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(names, ["HOME", "LOGNAME", "PATH", "USER"], "{environment}");
    assert!(environment.contains("PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"), "{environment}");
    assert_eq!(site.read("cwd"), "/\n");
    assert_eq!(site.read("mail"), written(&site));
    assert!(!site.read("mail").contains('\r'));
    assert!((job(&site).answer == Answer::HandedOver));
}

#[test]
fn while_sendmail_fails_the_answer_is_owed() {
    for (script, why) in [
        ("cat >/dev/null; exit 75", "exit status: 75"),
        // without reading a mail that is larger than a pipe
        ("exit 1", "exit status: 1"),
        ("kill -KILL $$", "signal: 9"),
    ] {
        let site = site_with_sendmail(script);
        add_command(
            &site,
            "much",
            &format!(
                "[\"/bin/sh\", \"-c\", \"echo ran >>{}; head -c 60000 /dev/zero | tr '\\\\0' x\"]",
                site.path("marks").display()
            ),
        );
        let mail = message(&site.sign(&[], &["much"]));
        let ran = site.deliver(&mail);
        assert_unanswered(&site, &ran, why);
        let first = written(&site);
        assert!(first.len() > 65536, "{}", first.len());

        write_script(
            &site.path("sendmail"),
            &RECORD.replace("ROOT", &site.root().display().to_string()),
        );
        assert_redelivery_answers(&site, &mail);
        assert_eq!(site.read("mail"), first, "the answer was written again");
    }
}

#[test]
fn a_sendmail_may_take_the_mail_without_reading_it() {
    let site = site_with_sendmail("exit 0");
    let ran = site.deliver(&message(&site.sign(&[], &["mark"])));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!((job(&site).answer == Answer::HandedOver), "{ran:?}");
}

#[test]
fn a_sendmail_that_hangs_holds_up_nothing_but_its_own_answer() {
    let site =
        site_with_sendmail("echo $$ >ROOT/pid.new; mv ROOT/pid.new ROOT/pid; exec sleep 600");
    let mail = message(&site.sign(&[], &["mark"]));
    let deliver = ["deliver", "--profile", "mailbox"];
    assert_eq!(site.tool_on(&deliver, mail.as_bytes()).status, 0);
    eventually("sendmail", || site.path("pid").exists());
    // nobody waited for it: otherwise it would have been stopped after a minute, and that recorded
    assert!(job(&site).owes_mail() && job(&site).tried.is_none());

    // while its runner is alive, others leave it alone
    let again = site.deliver(&mail);
    assert_eq!((again.status, site.marks()), (1, 1), "{again:?}");
    assert!(job(&site).owes_mail());

    let pid = Pid::from_raw(site.read("pid").trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    write_script(
        &site.path("sendmail"),
        &RECORD.replace("ROOT", &site.root().display().to_string()),
    );
    eventually("an answer after the runner is gone", || {
        drop(site.deliver(&mail));
        job(&site).answer == Answer::HandedOver
    });
    assert_eq!(site.marks(), 1);
    assert_eq!(site.read("mail"), written(&site));
}

#[test]
fn a_sendmail_that_hangs_is_stopped_after_a_minute() {
    if std::env::var_os("NETSYSRQ_TEST_LONG").is_none() {
        return;
    }
    let site = site_with_sendmail("echo $$ >ROOT/pid; exec sleep 600");
    let ran = site.deliver(&message(&site.sign(&[], &["mark"])));
    assert_unanswered(&site, &ran, "took longer than 60s");
    assert!(!Path::new("/proc").join(site.read("pid").trim()).exists());
}

#[test]
fn msmtp_hands_an_answer_to_a_server_from_the_null_sender() {
    let (Some(msmtp), Some(python)) = (needed("msmtp"), python()) else { return };
    let site = site_with_sendmail("");
    let sink = Sink::start(&site, &python);
    // a sender of its own, which ours has to win over
    site.write(
        "msmtprc",
        &format!("account default\nhost 127.0.0.1\nport {}\nfrom relay@example.com\n", sink.port),
    );
    write_script(
        &site.path("sendmail"),
        &format!("exec {} -C {} \"$@\"", msmtp.display(), site.path("msmtprc").display()),
    );
    let mail = message(&site.sign(&[], &["mark"]));
    sink.refuse("RCPT 550 5.1.1 nobody here");
    assert_unanswered(&site, &site.deliver(&mail), "exit status: 65");
    sink.refuse("RCPT 451 4.3.0 not now");
    let owed = site.deliver(&mail);
    assert!(owed.stderr.contains("exit status: 69") && job(&site).owes_mail(), "{owed:?}");
    sink.refuse("");
    assert_redelivery_answers(&site, &mail);
    assert_eq!(sink.mails(), [crlf(&written(&site))]);
    let envelope = sink.envelope();
    let mail_from = envelope["MAIL"][0].as_str().unwrap_or_else(|| panic!("{envelope}"));
    assert!(mail_from == "FROM:<>" || mail_from.starts_with("FROM:<> "), "{envelope}");
}

#[test]
fn smtp_sends_the_whole_mail_from_the_null_sender() {
    let Some((site, sink)) = site_with_sink() else { return };
    add_command(&site, "dots", r"['/usr/bin/printf', '.\n..\n.x\n\n.\nend\303\251 From\nFrom\n']");
    let ran = site.deliver(&message(&site.sign(&[], &["dots"])));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!((job(&site).answer == Answer::HandedOver), "{ran:?}");
    let mail = written(&site);
    assert_eq!(sink.mails(), [crlf(&mail)]);
    assert!(mail.contains("\n.\n..\n.x\n\n.\n"), "{mail}");
    let envelope = sink.envelope();
    let mail_from = envelope["MAIL"][0].as_str().unwrap();
    assert!(mail_from == "FROM:<>" || mail_from.starts_with("FROM:<> "), "{envelope}");
    assert_eq!(envelope["MAIL"].as_array().unwrap().len(), 1);
    assert_eq!(envelope["RCPT"], json!(["TO:<alice@example.com>"]));
}

#[test]
fn while_the_server_refuses_the_answer_is_owed() {
    for (refusal, why) in [
        ("MAIL 451 4.3.0 not now", "451"),
        ("RCPT 550 5.1.1 nobody here", "550"),
        ("RCPT 451 4.3.0 not now", "451"),
        ("DATA 554 5.6.0 not this", "554"),
    ] {
        let Some((site, sink)) = site_with_sink() else { return };
        sink.refuse(refusal);
        let mail = message(&site.sign(&[], &["mark"]));
        assert_unanswered(&site, &site.deliver(&mail), why);
        assert_eq!(sink.mails().len(), 0);
        let first = written(&site);
        sink.refuse("");
        assert_redelivery_answers(&site, &mail);
        assert_eq!(sink.mails(), [crlf(&first)], "{refusal}");
    }
}

#[test]
fn while_the_server_is_absent_the_answer_is_owed() {
    let Some(python) = python() else { return };
    // nothing listens on that port, and no process is ever assigned it
    let port = "port = 1";
    let site = site_with("smtp", &format!("[answer.smtp]\nhost = \"127.0.0.1\"\n{port}"));
    let mail = message(&site.sign(&[], &["mark"]));
    assert_unanswered(&site, &site.deliver(&mail), "Connection refused");
    let sink = Sink::start(&site, &python);
    site.configure(port, &format!("port = {}", sink.port));
    assert_redelivery_answers(&site, &mail);
    assert_eq!(sink.mails(), [crlf(&written(&site))]);
}

/// By the time, the key, the nonce and the stage.
#[test]
fn an_answer_file_is_private_and_named_after_its_request() {
    let site = Site::new();
    let signed: Value = serde_json::from_str(&site.sign(&["--json"], &["mark"])).unwrap();
    let ran = site.deliver(&message(signed["frame"].as_str().unwrap()));
    assert_eq!(ran.status, 0, "{ran:?}");
    let entries: Vec<_> = fs::read_dir(site.path("answers")).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    let name = entries[0].file_name().into_string().unwrap();
    let (time, rest) = name.split_once('.').unwrap();
    assert_eq!(rest, format!("alice.{}.result.eml", signed["cti"].as_str().unwrap()));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "99999999T999999Z");
    assert_eq!(entries[0].metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_to_string(entries[0].path()).unwrap(), written(&site));
}

#[test]
fn the_directory_never_shows_a_part_of_an_answer() {
    let site = Site::new();
    add_command(&site, "much", r#"["/bin/sh", "-c", "head -c 60000 /dev/urandom"]"#);
    let directory = site.path("answers");
    let (over, looks) = (AtomicBool::new(false), 10);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0_usize;
            loop {
                // the last look sees all of them
                let last = over.load(Ordering::Acquire);
                for entry in fs::read_dir(&directory).unwrap() {
                    let path = entry.unwrap().path();
                    if path.extension().is_some_and(|extension| extension == "eml") {
                        let mail = fs::read_to_string(&path).unwrap();
                        assert!(mail.ends_with("--\n"), "{} octets of {path:?}", mail.len());
                        seen += 1;
                    }
                }
                if last {
                    return seen;
                }
            }
        });
        for _ in 0..looks {
            let ran = site.deliver(&message(&site.sign(&[], &["much"])));
            assert_eq!(ran.status, 0, "{ran:?}");
        }
        over.store(true, Ordering::Release);
        assert!(watcher.join().unwrap() >= looks);
    });
    assert_eq!(fs::read_dir(&directory).unwrap().count(), looks, "something else is left behind");
}

#[test]
fn a_directory_that_is_gone_or_full_leaves_the_answer_owed() {
    let site = Site::new();
    add_command(
        &site,
        "remove",
        &format!(
            "[\"/bin/sh\", \"-c\", \"echo ran >>{0}/marks; rmdir {0}/answers\"]",
            site.root().display()
        ),
    );
    let mail = message(&site.sign(&[], &["remove"]));
    assert_unanswered(&site, &site.deliver(&mail), "No such file or directory");
    fs::create_dir(site.path("answers")).unwrap();
    assert_redelivery_answers(&site, &mail);
    assert_eq!(site.answers(), [written(&site)]);
}

/// The header fields of a mail, unfolded.
fn fields(mail: &str) -> Vec<(String, String)> {
    let head = mail.split_once("\n\n").unwrap().0.replace("\n ", " ").replace("\n\t", " ");
    head.lines()
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?}")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect()
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields.iter().filter(|field| field.0 == name).map(|field| field.1.as_str()).collect()
}

#[test]
fn an_answer_takes_no_text_or_address_from_its_mail() {
    let site = site_with_sendmail(RECORD);
    let signed: Value = serde_json::from_str(&site.sign(&["--json"], &["mark"])).unwrap();
    let frame = signed["frame"].as_str().unwrap();
    let mail = format!(
        "Return-Path: <stray-path@example.net>\n\
         From: Stray <stray-from@example.net>\nSender: stray-sender@example.net\n\
         Reply-To: stray-reply@example.net\nErrors-To: stray-errors@example.net\n\
         Disposition-Notification-To: stray-receipt@example.net\n\
         To: netsysrq@web1.example.com\nCc: stray-cc@example.net\n\
         Subject: stray subject\nX-Stray: stray field\nMessage-ID: <first@client.example>\n\n\
         stray words\n\n{frame}\nstray signature\n"
    );
    let ran = site.deliver(&mail);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(site.read("argv"), "-i\n-f\n<>\n--\nalice@example.com\n");
    let answer = site.read("mail");
    assert!(!answer.to_lowercase().contains("stray"), "{answer}");
    assert!(!answer.contains(frame.lines().nth(1).unwrap()), "{answer}");

    let fields = fields(&answer);
    let cti = signed["cti"].as_str().unwrap();
    for (name, expected) in [
        ("to", "alice@example.com"),
        ("from", "netsysrq@web1.example.com"),
        ("subject", "web1 answers alice: exit status 0"),
        ("auto-submitted", "auto-replied"),
        ("x-loop", "netsysrq-mail"),
        ("message-id", &format!("<{cti}.result@web1>")),
        ("in-reply-to", "<first@client.example>"),
        ("references", "<first@client.example>"),
        ("mime-version", "1.0"),
    ] {
        assert_eq!(values(&fields, name), [expected], "{name}");
    }
    for name in ["cc", "bcc", "reply-to", "return-path", "sender"] {
        assert_eq!(values(&fields, name), [""; 0], "{name}");
    }
    assert_eq!(values(&fields, "date").len(), 1);
}

#[test]
fn an_answer_refers_only_to_a_single_sane_message_id() {
    let long = format!("<{}@client.example>", "x".repeat(240));
    let cases = [
        ("Message-ID: <a.b+c=d@client.example>\n", Some("<a.b+c=d@client.example>")),
        ("Message-Id:\n <folded@client.example>\n", Some("<folded@client.example>")),
        ("", None),
        ("Message-ID:\n", None),
        ("Message-ID: <>\n", None),
        ("Message-ID: <no-host>\n", None),
        ("Message-ID: <two@client.example> <ids@client.example>\n", None),
        ("Message-ID: <a b@client.example>\n", None),
        ("Message-ID: <a@b@client.example>\n", None),
        ("Message-ID: <a@client.example\r>\n", None),
        ("Message-ID: <caf\u{e9}@client.example>\n", None),
        ("Message-ID: =?utf-8?Q?<a@b>=0ABcc:_x@y?=\n", None),
        (&format!("Message-ID: {long}\n"), None),
    ];
    let site = Site::new();
    let found = cases.map(|(ids, _)| {
        let request = site.sign(&[], &["mark"]);
        let mail = format!("From: a@client.example\n{ids}Subject: hello\n\n{request}");
        let ran = site.deliver(&mail);
        assert_eq!(ran.status, 0, "{ids:?}: {ran:?}");
        let answer = fs::read_dir(site.path("answers")).unwrap().next().unwrap().unwrap().path();
        let fields = fields(&fs::read_to_string(&answer).unwrap());
        fs::remove_file(answer).unwrap();
        assert_eq!(values(&fields, "bcc"), [""; 0], "{ids:?}");
        assert_eq!(values(&fields, "in-reply-to"), values(&fields, "references"), "{ids:?}");
        (ids, values(&fields, "in-reply-to").join(" and "))
    });
    assert_eq!(found, cases.map(|(ids, expected)| (ids, expected.unwrap_or_default().to_owned())));
}

#[test]
fn our_own_answer_is_not_taken_for_a_request() {
    let site = Site::new();
    assert_eq!(site.deliver(&message(&site.sign(&[], &["mark"]))).status, 0);
    let answer = site.answers().remove(0);
    let fed_back = site.deliver(&answer);
    assert_eq!((fed_back.status, fed_back.stderr.as_str()), (1, ""), "{fed_back:?}");
    let verify = ["verify", "--host-key", &site.path("host.pub").display().to_string()];
    let verified = run(Command::new(PROGRAM).args(verify), answer.as_bytes());
    assert_eq!(verified.status, 0, "{verified:?}");
    assert_eq!((site.marks(), site.answers().len()), (1, 1));
}
