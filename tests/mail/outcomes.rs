//! The ways in which a delivery can end, each brought about in any mail system, and what must hold in all of them: a
//! request is run once and answered, nobody else is sent a word, and no mail is lost.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{HOLDER, Host, INSTALLED};
use crate::machine::Machine;
use crate::support::eventually;
use crate::table;
use crate::ways::{Way, send_by_smtp};

/// The envelope sender of everything that is sent here.
const SENDER: &str = "somebody@example.org";
/// How long a mail system that tries again every second or two is watched before it counts as holding a mail.
const WATCH: Duration = Duration::from_secs(4);
/// How long a mail system may take for what it has no reason to hold, on a machine that is busy with other things. At
/// times getmail misses the end of a child, gives up on it after three minutes, and takes the mail at the next poll.
const PATIENCE: Duration = Duration::from_secs(400);

/// What a mail system did with a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is satisfied, and keeps no copy.
    Taken,
    /// In the mailbox, for people.
    Inbox,
    /// It tries again.
    Held,
    /// Returned to its sender.
    Bounced,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "taken",
            Self::Inbox => "inbox",
            Self::Held => "held",
            Self::Bounced => "bounced",
        })
    }
}

/// A way, set up on a machine of its own.
pub(crate) struct Site<'a> {
    way: &'a Way,
    machine: &'a Machine,
    host: Host<'a>,
    /// How long a mail is watched that arrives while something is wrong.
    watch: Duration,
}

impl<'a> Site<'a> {
    /// For a cell of the table: a mail that the page does not call held is watched for longer.
    pub(crate) fn new(way: &'a Way, machine: &'a Machine, outcome: &str) -> Self {
        let host = Host::set_up(machine, way.user, way.restart);
        (way.set_up)(machine);
        let watch = if table::says_held(way.name, outcome) { WATCH } else { PATIENCE };
        Self { way, machine, host, watch }
    }

    fn send(&self, mail: &str) {
        send_by_smtp(self.machine, SENDER, &[&self.way.address()], mail.as_bytes());
    }

    /// Sends a mail that there is no reason to hold, and returns what became of it.
    fn deliver(&self, mail: &str) -> Fate {
        self.send(mail);
        self.fate_of(mail, PATIENCE)
    }

    /// Waits until the mail system is done with a mail, or has held it for as long as `patience`.
    fn fate_of(&self, mail: &str, patience: Duration) -> Fate {
        let begun = Instant::now();
        while (self.way.holds_mail)(self.machine) {
            if begun.elapsed() > patience {
                return Fate::Held;
            }
            thread::sleep(Duration::from_millis(100));
        }
        if self.is_in_mailbox(mail) {
            return Fate::Inbox;
        }
        if self.machine.sunk().iter().any(|sunk| sunk.to == SENDER) {
            Fate::Bounced
        } else {
            Fate::Taken
        }
    }

    /// Whether the mail, as it was sent, is in the mailbox that people read.
    fn is_in_mailbox(&self, mail: &str) -> bool {
        self.copies_in_mailbox(mail) > 0
    }

    fn copies_in_mailbox(&self, mail: &str) -> usize {
        // the last is on the server that fetchers fetch from
        let find = "cat /var/mail/alice /home/alice/Maildir/new/* /srv/mail/alice/new/* 2>/dev/null || true";
        self.machine.shell(find).matches(mail.trim_end()).count()
    }

    /// No octet has left the machine except to the holder of the key.
    fn assert_silence(&self) {
        let strays: Vec<_> =
            self.machine.sunk().into_iter().filter(|mail| mail.to != HOLDER).collect();
        assert!(strays.is_empty(), "{strays:?}");
    }

    /// A mail that is not for us reaches people, where people read that mailbox.
    fn assert_left_alone(&self, mail: &str) -> Cell {
        let fate = self.deliver(mail);
        let expected = if self.way.is_mailbox() { Fate::Inbox } else { Fate::Taken };
        assert_eq!(fate, expected);
        assert_eq!(self.copies_in_mailbox(mail), usize::from(self.way.is_mailbox()));
        assert_eq!(self.host.marks(), 0);
        assert_eq!(self.host.answers().len(), 0);
        self.assert_silence();
        Cell::of(&[fate])
    }

    /// A request arrives while something is wrong: it is not run, and not lost. Where the mail system holds it, it is
    /// run as soon as the fault is mended.
    fn assert_not_lost(&self, mend: impl FnOnce(&Self)) -> Cell {
        let mail = mail(&self.host.sign(&["mark"]));
        self.send(&mail);
        let fate = self.fate_of(&mail, self.watch);
        assert_ne!(fate, Fate::Taken, "the request is lost");
        assert_eq!(self.host.marks(), 0);
        if fate != Fate::Bounced {
            self.assert_silence();
        }
        mend(self);
        if fate != Fate::Held {
            return Cell::of(&[fate]);
        }
        let then = self.fate_of(&mail, PATIENCE);
        assert_eq!(then, Fate::Taken);
        self.assert_run_once_and_answered();
        Cell::of(&[fate, then])
    }

    fn assert_run_once_and_answered(&self) {
        let answer = self.host.await_answers(1);
        assert!(answer.contains("exit status 0"), "{answer}");
        assert_eq!(self.host.marks(), 1);
        self.assert_silence();
    }
}

/// What a cell of the table says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cell(pub(crate) String);

impl Cell {
    /// What became of a mail, and, where it was held, what became of it then.
    fn of(fates: &[Fate]) -> Self {
        Self(fates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then "))
    }

    fn with_calls(self, calls: usize) -> Self {
        Self(format!("{}, {calls}×", self.0))
    }
}

/// A mail as a client would send it.
pub(crate) fn mail(text: &str) -> String {
    mail_about("hello", text)
}

fn mail_about(subject: &str, text: &str) -> String {
    format!(
        "From: Somebody <{SENDER}>\nTo: them <them@example.net>\nSubject: {subject}\nMessage-ID: \
         <1@client.example>\nDate: Sat, 21 Nov 2026 12:00:00 +0000\nMIME-Version: 1.0\nContent-Type: text/plain; \
         charset=utf-8\n\n{text}"
    )
}

pub(crate) fn run(site: &Site<'_>) -> Cell {
    let fate = site.deliver(&mail(&site.host.sign(&["mark"])));
    assert_eq!(fate, Fate::Taken);
    site.assert_run_once_and_answered();
    Cell::of(&[fate]).with_calls(site.host.calls())
}

pub(crate) fn denied(site: &Site<'_>) -> Cell {
    let fate = site.deliver(&mail(&site.host.sign(&["poweroff-safe"])));
    assert_eq!(fate, Fate::Taken);
    let answer = site.host.await_answers(1);
    assert!(answer.contains("denied"), "{answer}");
    site.assert_silence();
    Cell::of(&[fate]).with_calls(site.host.calls())
}

pub(crate) fn replayed(site: &Site<'_>) -> Cell {
    let request = site.host.sign(&["mark"]);
    assert_eq!(site.deliver(&mail(&request)), Fate::Taken);
    site.assert_run_once_and_answered();
    let again = mail_about("hello again", &request);
    let fate = site.deliver(&again);
    let expected = if site.way.is_mailbox() { Fate::Inbox } else { Fate::Taken };
    assert_eq!(fate, expected);
    site.assert_run_once_and_answered();
    Cell::of(&[fate]).with_calls(site.host.calls() - 1)
}

/// Mail of a stranger, with what breaks mail: dots, blanks at the end, octets above 127. And where the address is one of
/// our own, the same mail to somebody else.
pub(crate) fn not_for_us(site: &Site<'_>) -> Cell {
    let text =
        "hello\n.\n..two dots\n\ttab, and trailing space \n8 bit: \u{e4}\n\nno newline at the end";
    let cell = site.assert_left_alone(&mail(text));
    if !site.way.is_mailbox() {
        let other = mail_about("to somebody else", text);
        send_by_smtp(site.machine, SENDER, &["alice@example.net"], other.as_bytes());
        eventually("it is in her mailbox", || site.copies_in_mailbox(&other) == 1);
        site.assert_silence();
    }
    cell
}

pub(crate) fn damaged(site: &Site<'_>) -> Cell {
    let request = site.host.sign(&["mark"]);
    let (head, tail) = request.split_at(request.len() / 2);
    let swapped = if tail.starts_with('7') { "8" } else { "7" };
    site.assert_left_alone(&mail(&format!("{head}{swapped}{}", &tail[1..])))
        .with_calls(site.host.calls())
}

pub(crate) fn forged(site: &Site<'_>) -> Cell {
    // somebody else's key under the name of ours
    let forger = tempfile::TempDir::new().unwrap();
    let key = forger.path().join("forger");
    let program = crate::support::PROGRAM;
    let mut keygen = std::process::Command::new(program);
    assert_eq!(crate::support::run(keygen.arg("keygen").arg(&key), b"").status, 0);
    let mut sign = std::process::Command::new(program);
    sign.args(["sign", "--key-id", "phone", "--key"]).arg(&key).args(["mx", "mark"]);
    let signed = crate::support::run(&mut sign, b"");
    site.assert_left_alone(&mail(&signed.stdout)).with_calls(site.host.calls())
}

pub(crate) fn configuration_broken(site: &Site<'_>) -> Cell {
    let whole = site.host.config();
    site.host.write_config(&whole.replacen("names", "nmaes", 1));
    site.assert_not_lost(|site| site.host.write_config(&whole))
}

pub(crate) fn spool_unusable(site: &Site<'_>) -> Cell {
    let state = site.host.state();
    site.machine.shell(&format!("chmod 000 {state}"));
    site.assert_not_lost(|site| {
        site.machine.shell(&format!("chmod 700 {state}"));
    })
}

/// The disk of the spool is full to the last octet, and what it keeps in reserve is used up.
pub(crate) fn disk_full(site: &Site<'_>) -> Cell {
    let state = site.host.state();
    let fill =
        format!("rm -r {state}/reserve; cat /dev/zero >{state}/../filler 2>/dev/null || true");
    site.machine.shell(&fill);
    site.assert_not_lost(|site| {
        site.machine.shell(&format!("rm {state}/../filler"));
    })
}

pub(crate) fn program_killed(site: &Site<'_>) -> Cell {
    site.host.install_instead("cat >/dev/null; kill -KILL $$");
    site.assert_not_lost(|site| site.host.install())
}

pub(crate) fn program_missing(site: &Site<'_>) -> Cell {
    site.machine.shell(&format!("rm {INSTALLED}"));
    site.assert_not_lost(|site| site.host.install())
}

/// The command waits; the delivery does not, nor does the next mail.
pub(crate) fn slow_command(site: &Site<'_>) -> Cell {
    let fate = site.deliver(&mail(&site.host.sign(&["wait"])));
    assert_eq!(fate, Fate::Taken);
    let next = mail_about("next", "hello\n");
    let expected = if site.way.is_mailbox() { Fate::Inbox } else { Fate::Taken };
    assert_eq!(site.deliver(&next), expected);
    assert_eq!(site.host.answers().len(), 0, "the command has ended before it was let go");
    site.host.go();
    let answer = site.host.await_answers(1);
    assert!(answer.contains("exit status 0"), "{answer}");
    site.assert_silence();
    Cell::of(&[fate]).with_calls(site.host.calls())
}

/// A request with a film behind it.
pub(crate) fn huge_mail(site: &Site<'_>) -> Cell {
    let film = "there is nothing to be seen in these 64 octets, line after line\n".repeat(150_000);
    let fate = site.deliver(&mail(&format!("{}\n{film}", site.host.sign(&["mark"]))));
    assert_eq!(fate, Fate::Taken);
    site.assert_run_once_and_answered();
    Cell::of(&[fate]).with_calls(site.host.calls())
}

/// Three megabytes of output, of which one may be mailed.
pub(crate) fn huge_output(site: &Site<'_>) -> Cell {
    let fate = site.deliver(&mail(&site.host.sign(&["flood"])));
    assert_eq!(fate, Fate::Taken);
    let answer = site.host.await_answers(1);
    assert!(answer.contains("exit status 0"), "{answer}");
    let sizes: Vec<usize> = site.host.answers().iter().map(|answer| answer.mail.len()).collect();
    assert!(sizes[0] > 1 << 20, "{sizes:?}");
    site.assert_silence();
    Cell::of(&[fate]).with_calls(site.host.calls())
}

pub(crate) fn mail_system_restarted(site: &Site<'_>) -> Cell {
    let fate = site.deliver(&mail(&site.host.sign(&["restart"])));
    assert_eq!(fate, Fate::Taken);
    let answer = site.host.await_answers(1);
    assert!(answer.contains("exit status 0"), "{answer}");
    site.assert_silence();
    Cell::of(&[fate]).with_calls(site.host.calls())
}

/// One mail to two addresses, both of which lead to the program.
pub(crate) fn two_recipients(site: &Site<'_>) -> Cell {
    let mail = mail(&site.host.sign(&["mark"]));
    let address = site.way.address();
    let other = address.replace("@example.net", "@mx.example.net");
    send_by_smtp(site.machine, SENDER, &[&address, &other], mail.as_bytes());
    let fate = site.fate_of(&mail, PATIENCE);
    let expected = if site.way.is_mailbox() { Fate::Inbox } else { Fate::Taken };
    assert_eq!(fate, expected);
    assert_eq!(site.copies_in_mailbox(&mail), usize::from(site.way.is_mailbox()));
    site.assert_run_once_and_answered();
    let fates = if site.way.is_mailbox() { "taken and inbox" } else { "taken" };
    Cell(fates.to_owned()).with_calls(site.host.calls())
}
