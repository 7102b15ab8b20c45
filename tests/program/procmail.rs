//! procmail 3.22 with `examples/procmailrc` as it is: what reaches the program, and what reaches the inbox. As the
//! account that runs the tests and, where that is root, also as one without rights.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::support::{PROGRAM, Site, eventually, message, needed, run, write_script};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/procmailrc");
/// nobody, without a home or a shell.
const UNPRIVILEGED: u32 = 65534;

/// A site behind procmail, all of one account.
struct Post {
    site: Site,
    /// An account other than ours.
    uid: Option<u32>,
    procmail: PathBuf,
}

/// What procmail left behind.
#[derive(Debug, PartialEq, Eq)]
struct Delivered {
    status: i32,
    inbox: Option<Vec<u8>>,
    log: String,
}

impl Delivered {
    /// procmail writes the time into a first line of its own, 24 octets in the form of ctime(3), and logs that line.
    fn without_time(mut self) -> Self {
        if let Some(inbox) = &mut self.inbox
            && inbox.starts_with(b"From ")
        {
            let end = inbox.iter().position(|octet| *octet == b'\n').unwrap();
            inbox[end - 24..end].fill(b' ');
        }
        if self.log.starts_with("From ") {
            let end = self.log.find('\n').unwrap();
            self.log.replace_range(end - 24..end, &" ".repeat(24));
        }
        self
    }
}

impl Post {
    /// Runs a test under each account that we can be, at the same time: procmail rests a second after each mail.
    fn for_each(test: impl Fn(Self) + Sync) {
        let test = &test;
        let Some(procmail) = &needed("procmail") else { return };
        let mut uids = vec![None];
        if rustix::process::geteuid().is_root() && needed("setpriv").is_some() {
            uids.push(Some(UNPRIVILEGED));
        }
        thread::scope(|scope| {
            for uid in uids {
                scope.spawn(move || test(Self::new(procmail.clone(), uid)));
            }
        });
    }

    fn new(procmail: PathBuf, uid: Option<u32>) -> Self {
        let post = Self { site: Site::without_spool(), uid, procmail };
        // where the tests are built, another account may have no access
        for (from, to) in [(PROGRAM, "netsysrq-mail"), (RECIPE, "procmailrc")] {
            let copied = run(Command::new("cp").arg(from).arg(post.site.path(to)), b"");
            assert_eq!(copied.status, 0, "{copied:?}");
        }
        post.give(post.site.root());
        let made = run(
            post.command(&post.site.path("netsysrq-mail"))
                .arg("--config")
                .arg(post.site.path("config.toml"))
                .arg("init"),
            b"",
        );
        assert_eq!(made.status, 0, "{made:?}");
        post
    }

    fn give(&self, path: &Path) {
        if let Some(uid) = self.uid {
            let mut chown = Command::new("chown");
            let given = run(chown.args(["-R", &format!("{uid}:{uid}")]).arg(path), b"");
            assert_eq!(given.status, 0, "{given:?}");
        }
    }

    /// A program run as the account of this site.
    fn command(&self, program: &Path) -> Command {
        let Some(uid) = self.uid else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={uid}"), format!("--regid={uid}")]);
        command.args(["--clear-groups", "--"]).arg(program);
        command
    }

    /// Gives a mail to procmail; `words` are more settings, then files of recipes.
    fn procmail(&self, words: &[String], mail: &[u8]) -> Delivered {
        let directory = TempDir::with_prefix_in("box-", self.site.root()).unwrap();
        self.give(directory.path());
        let mut procmail = self.command(&self.procmail);
        procmail.arg(format!("MAILDIR={}", directory.path().display()));
        procmail.args(["DEFAULT=inbox", "LOGFILE=log"]);
        procmail.arg(format!("ORGMAIL={}", directory.path().join("inbox").display()));
        let ran = run(procmail.args(words), mail);
        Delivered {
            status: ran.status,
            inbox: fs::read(directory.path().join("inbox")).ok(),
            log: fs::read_to_string(directory.path().join("log")).unwrap_or_default(),
        }
    }

    /// Through the example, with another program in place of ours.
    fn deliver_by(&self, program: &str, mail: &[u8]) -> Delivered {
        self.procmail(&[format!("NETSYSRQ={program}"), self.path("procmailrc")], mail)
    }

    /// Through the example.
    fn deliver(&self, mail: &[u8]) -> Delivered {
        self.deliver_by(&self.program(), mail)
    }

    fn program(&self) -> String {
        format!("{} --config {}", self.path("netsysrq-mail"), self.path("config.toml"))
    }

    /// Without the example.
    fn deliver_plainly(&self, mail: &[u8]) -> Delivered {
        self.procmail(&["/dev/null".to_owned()], mail)
    }

    /// The mail is in the inbox, and status, inbox and log are those of a procmail without the example.
    fn assert_is_ordinary(&self, what: &str, mail: &[u8]) {
        let [with, without] = thread::scope(|scope| {
            let with = scope.spawn(|| self.deliver(mail));
            let without = self.deliver_plainly(mail);
            [with.join().unwrap(), without].map(Delivered::without_time)
        });
        let length = |delivered: &Delivered| delivered.inbox.as_ref().map(Vec::len);
        let account = self.uid;
        assert_eq!(
            (with.status, length(&with), &with.log),
            (without.status, length(&without), &without.log),
            "{what}, {account:?}"
        );
        assert!(with.inbox == without.inbox, "{what}, {account:?}: the inbox differs");
        assert!(with.status == 0 && length(&with) >= Some(mail.len()), "{what}, {account:?}");
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.site.path(name);
        write_script(&path, text);
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.site.path(name).display().to_string()
    }
}

/// An inbox that has this mail, in procmail's form of a mailbox: a line before it and an empty one behind it.
fn ends_with_mail(inbox: &[u8], mail: &str) -> bool {
    inbox.ends_with(format!("{mail}\n").as_bytes())
}

#[test]
fn a_request_is_run_under_the_account_and_answered() {
    Post::for_each(|post| {
        let request = post.site.sign(&[], &["mark"]);
        let delivered = post.deliver(message(&request).as_bytes());
        assert_eq!((delivered.status, delivered.inbox), (0, None), "{}", delivered.log);
        eventually("an answer", || post.site.answers().len() == 1);
        assert_eq!(post.site.marks(), 1);
        let owner = fs::metadata(post.site.path("marks")).unwrap().uid();
        assert_eq!(owner, post.uid.unwrap_or(rustix::process::geteuid().as_raw()));

        let answer = &post.site.answers()[0];
        assert!(answer.contains("\nTo: alice@example.com\n"), "{answer}");
        post.site.write("request", &request);
        let verify =
            ["verify", "--host-key", &post.path("host.pub"), "--request", &post.path("request")];
        let verified = run(Command::new(PROGRAM).args(verify), answer.as_bytes());
        assert_eq!(verified.status, 0, "{verified:?}");
    });
}

#[test]
fn the_program_gets_the_octets_of_the_mail() {
    Post::for_each(|post| {
        let stored = post.path("stored");
        let program = post.script("store", &format!("cat >{stored}"));
        let head = "From bob@example.com Sat Nov 21 06:48:00 2026\nFrom: bob@example.com\n\n";
        for body in ["hello\n", "no final newline", "\r\n\r\n", "a\n\n\nFrom b\n"] {
            let mail = format!("{head}{body}");
            let delivered = post.deliver_by(&program, mail.as_bytes());
            assert_eq!((delivered.status, delivered.inbox), (0, None), "{}", delivered.log);
            assert_eq!(post.site.read("stored"), mail);
        }
    });
}

#[test]
fn a_request_beside_a_large_attachment_is_run() {
    Post::for_each(|post| {
        let photograph = "qUFBQUFB/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQN\n";
        let mail = format!(
            "From: alice@example.com\nSubject: hello\nMIME-Version: 1.0\n\
             Content-Type: multipart/mixed; boundary=part\n\n\
             --part\nContent-Type: text/plain\n\n{}\n\
             --part\nContent-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n{}--part--\n",
            post.site.sign(&[], &["mark"]),
            photograph.repeat(160_000),
        );
        let delivered = post.deliver(mail.as_bytes());
        assert_eq!((delivered.status, delivered.inbox), (0, None), "{}", delivered.log);
        eventually("an answer", || post.site.answers().len() == 1);
        assert_eq!(post.site.marks(), 1);
    });
}

#[test]
fn ordinary_mail_reaches_the_inbox_as_without_the_recipe() {
    let head = "From: bob@example.com\nTo: alice@example.com\nSubject: lunch\n";
    let with_body = |body: &[u8]| [head.as_bytes(), b"\n", body].concat();
    let mbox_line = "From bob@example.com Sat Nov 21 06:48:00 2026\n";
    let line = b"All work and no play makes a filter with an eye on the clock.\n";
    let mails: [(&str, Vec<u8>); 15] = [
        ("LF", with_body(b"At noon?\n\nBob\n")),
        ("CRLF", message("At noon?\n").replace('\n', "\r\n").into_bytes()),
        ("with a From_ line", [mbox_line.as_bytes(), &with_body(b"At noon?\n")].concat()),
        ("no final newline", with_body(b"At noon?")),
        ("many final newlines", with_body(b"At noon?\n\n\n\n")),
        ("8 bits, no UTF-8", with_body(b"caf\xe9 \xff\xfe\x80\n")),
        ("NUL and controls", with_body(b"a\0b\x1b[1m\r\r\n\x0c\n")),
        ("lines that start with From", with_body(b"\nFrom here on\n\nFrom there\n>From\n")),
        ("headers only", head.as_bytes().to_vec()),
        ("no headers", b"\nFrom nobody\n".to_vec()),
        ("one line of 100 kB", with_body(&[b'x'; 100_000])),
        ("1 MiB", with_body(&line.repeat(1024 * 1024 / line.len()))),
        ("50 MiB", with_body(&line.repeat(50 * 1024 * 1024 / line.len()))),
        ("a marker and nothing behind it", with_body(b"the line says: netsysrq begin\n")),
        (
            "our own X-Loop",
            [b"X-Loop: netsysrq-mail\n", with_body(b"netsysrq begin\n").as_slice()].concat(),
        ),
    ];
    Post::for_each(|post| {
        for (what, mail) in &mails {
            let t = std::time::Instant::now();
            post.assert_is_ordinary(what, mail);
            eprintln!("{what} {:?}", t.elapsed());
        }
        assert_eq!(post.site.answers().len(), 0);
    });
}

#[test]
fn spent_quoted_damaged_and_forged_requests_reach_the_inbox_unanswered() {
    Post::for_each(|post| {
        let request = post.site.sign(&[], &["mark"]);
        assert_eq!(post.deliver(message(&request).as_bytes()).status, 0);
        eventually("an answer", || post.site.answers().len() == 1);
        post.assert_is_ordinary("replayed", message(&request).as_bytes());
        let quoted: String = request.lines().map(|line| format!("> {line}\n")).collect();
        let reply = message(&format!("Did this restart it?\n\nAlice wrote:\n{quoted}"));
        post.assert_is_ordinary("a colleague's reply that quotes it", reply.as_bytes());

        let fresh = post.site.sign(&[], &["mark"]);
        let cut: String =
            fresh.split_inclusive('\n').filter(|line| !line.contains("end")).collect();
        let damaged = message(&cut[..cut.len() - 20]);
        post.assert_is_ordinary("damaged", damaged.as_bytes());

        let mut program = Command::new(PROGRAM);
        let made = run(program.args(["keygen", "mallory"]).current_dir(post.site.root()), b"");
        assert_eq!(made.status, 0, "{made:?}");
        let mut program = Command::new(PROGRAM);
        program.args(["sign", "--key-id", "alice", "--key"]).arg(post.site.path("mallory"));
        let forged = run(program.args(["web1", "mark"]), b"");
        post.assert_is_ordinary("forged", message(&forged.stdout).as_bytes());
        let other = post.site.sign_as("alice", &[], "web2", &["mark"]);
        post.assert_is_ordinary("for another host", message(&other).as_bytes());
        assert_eq!((post.site.marks(), post.site.answers().len()), (1, 1));
    });
}

#[test]
fn only_status_0_consumes_a_mail_and_only_75_defers_it() {
    Post::for_each(|post| {
        let mail = message("hello\n");
        let statuses = [
            ("cat >/dev/null; exit 0", 0, false),
            ("cat >/dev/null; exit 75", 75, false),
            ("cat >/dev/null; exit 1", 0, true),
            ("cat >/dev/null; exit 2", 0, true),
            ("cat >/dev/null; exit 64", 0, true),
            ("cat >/dev/null; exit 101", 0, true),
            ("cat >/dev/null; exit 127", 0, true),
            ("cat >/dev/null; exit 175", 0, true),
            ("cat >/dev/null; kill -KILL $$", 0, true),
            ("cat >/dev/null; kill -TERM $$", 0, true),
            ("kill -KILL $$", 0, true),
        ];
        let check = &|number: usize, text: &str, expected: (i32, bool)| {
            let program = post.script(&format!("stand-in-{number}"), text);
            let delivered = post.deliver_by(&program, mail.as_bytes());
            let found = (delivered.status, delivered.inbox.is_some());
            assert_eq!(found, expected, "{text}, {:?}: {}", post.uid, delivered.log);
            if let Some(octets) = delivered.inbox {
                assert!(ends_with_mail(&octets, &mail), "{text}");
            }
        };
        thread::scope(|scope| {
            for (number, (text, status, inbox)) in statuses.into_iter().enumerate() {
                scope.spawn(move || check(number, text, (status, inbox)));
            }
        });
    });
}

#[test]
fn where_the_program_is_missing_mail_reaches_the_inbox() {
    Post::for_each(|post| {
        let request = message(&post.site.sign(&[], &["mark"]));
        post.site.write("no-program", "no program\n");
        let large = message(&"hello\n".repeat(100_000));
        // as good as missing: a mail that was not read has not been dealt with
        let deaf = post.script("deaf", "exit 0");
        let delivered = post.deliver_by(&deaf, large.as_bytes());
        assert_eq!(delivered.status, 0, "{}", delivered.log);
        assert!(ends_with_mail(&delivered.inbox.unwrap(), &large));
        for program in ["/nonexistent/netsysrq-mail".to_owned(), post.path("no-program")] {
            for mail in [&request, &large] {
                let delivered = post.deliver_by(&program, mail.as_bytes());
                assert_eq!(delivered.status, 0, "{program}: {}", delivered.log);
                assert!(ends_with_mail(&delivered.inbox.unwrap(), mail), "{program}");
            }
        }
    });
}

#[test]
fn a_broken_configuration_defers_requests_and_no_other_mail() {
    Post::for_each(|post| {
        let request = message(&post.site.sign(&[], &["mark"]));
        let past = post.site.sign(&["--issued-at", "2026-01-01T00:00:00Z"], &["mark"]);
        post.site.configure("groups =", "gruops =");
        let deferred = post.deliver(request.as_bytes());
        assert_eq!((deferred.status, deferred.inbox), (75, None), "{}", deferred.log);
        post.assert_is_ordinary("ordinary mail", message("hello\n").as_bytes());
        post.assert_is_ordinary("a request of long ago", message(&past).as_bytes());

        post.site.configure("gruops =", "groups =");
        let again = post.deliver(request.as_bytes());
        assert_eq!((again.status, again.inbox), (0, None), "{}", again.log);
        eventually("an answer", || post.site.answers().len() == 1);
        assert_eq!(post.site.marks(), 1);
    });
}

#[test]
fn a_mail_the_inbox_cannot_take_is_not_called_delivered() {
    Post::for_each(|post| {
        let mail = message("hello\n");
        let full_disk = post.site.path("full-disk");
        std::os::unix::fs::symlink("/dev/full", &full_disk).unwrap();
        let settings = ["DEFAULT", "ORGMAIL"].map(|name| format!("{name}={}", full_disk.display()));
        let filter = [format!("NETSYSRQ={}", post.program()), post.path("procmailrc")];
        let with = post.procmail(&[&settings[..], &filter].concat(), mail.as_bytes());
        let plainly = [&settings[..], &["/dev/null".to_owned()]].concat();
        let without = post.procmail(&plainly, mail.as_bytes());
        assert_eq!((with.status, without.status), (73, 73), "{}", with.log);
    });
}

#[test]
fn what_comes_before_and_behind_the_recipe_keeps_its_meaning() {
    Post::for_each(|post| {
        let recipe = post.path("procmailrc");
        let include = format!("EXITCODE = 3\n\nINCLUDERC = {recipe}\n\n:0\nfiled-away\n");
        post.site.write("including", &include);
        post.site.write("further", ":0\nfiled-away\n");
        let [including, further] = ["including", "further"].map(|name| post.path(name));
        for (status, rcs, expected, filed) in [
            (1, vec![&including], 3, true),
            (0, vec![&including], 3, false),
            (75, vec![&including], 75, false),
            // procmail reads a second file where the first is left by a wrong HOST
            (75, vec![&recipe, &further], 75, false),
        ] {
            let program = post.script("stand-in", &format!("cat >/dev/null; exit {status}"));
            let mut words = vec![format!("NETSYSRQ={program}")];
            words.extend(rcs.into_iter().cloned());
            let delivered = post.procmail(&words, message("hello\n").as_bytes());
            assert_eq!((delivered.status, delivered.inbox), (expected, None), "{words:?}");
            assert_eq!(delivered.log.contains("Folder: filed-away"), filed, "{words:?}");
        }
    });
}

#[test]
fn mail_a_condition_leaves_out_ignores_an_earlier_status() {
    Post::for_each(|post| {
        let recipe = post.site.read("procmailrc");
        let selecting = recipe.replacen(":0 rW\n", ":0 rW\n* ^TO_netsysrq@\n", 1);
        assert_ne!(selecting, recipe);
        let earlier = post.script("earlier", "cat >/dev/null; exit 75");
        post.site.write("selecting", &format!(":0 Wic\n| {earlier}\n\n{selecting}"));
        let words = [format!("NETSYSRQ={earlier}"), post.path("selecting")];
        let mail = message("hello\n");
        let selected = post.procmail(&words, mail.as_bytes());
        assert_eq!((selected.status, selected.inbox), (75, None), "{}", selected.log);
        let other = mail.replace("To: netsysrq@", "To: bob@");
        let left_out = post.procmail(&words, other.as_bytes());
        assert_eq!(left_out.status, 0, "{}", left_out.log);
        assert!(ends_with_mail(&left_out.inbox.unwrap(), &other));
    });
}
