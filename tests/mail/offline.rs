//! Machines that are not always online: mail waits for them on a server, and is judged when they come to fetch it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use netsysrq_mail::protocol::time::Time;

use crate::host::{Host, INSTALLED};
use crate::machine::Machine;
use crate::outcomes::mail;
use crate::support::{eventually, libfaketime};
use crate::ways::{self, Way, send_by_smtp};

const DAY: u64 = 24 * 3600;

/// A machine that was set up four days ago.
struct Away<'a> {
    way: &'a Way,
    host: Host<'a>,
}

impl<'a> Away<'a> {
    fn new(way: &'a Way, machine: &'a Machine, libfaketime: &Path) -> Self {
        let host = Host::set_up(machine, way.user, way.restart);
        (way.set_up)(machine);
        machine.shell(&format!("rm -r {}", host.state()));
        let clock = ["env", &format!("LD_PRELOAD={}", libfaketime.display()), "FAKETIME=-4d"];
        let made = machine.run_as(way.user, &[&clock[..], &[INSTALLED, "init"]].concat(), b"");
        assert_eq!(made.status, 0, "{made:?}");
        Self { way, host }
    }

    /// A mail with a request that was signed this many days ago.
    fn asked(&self, days: u64, ttl: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let issued = Time::from_unix(now - days * DAY).to_string();
        let signed = self.host.sign_with(&["--issued-at", &issued, "--ttl", ttl], &["mark"]);
        mail(&signed)
    }

    fn send(&self, mail: &str) {
        let address = self.way.address();
        send_by_smtp(self.host.machine, "somebody@example.org", &[&address], mail.as_bytes());
    }

    /// Fetches until nothing is left waiting.
    fn fetch(&self) {
        let machine = self.host.machine;
        eventually("all mail is taken", || !(self.way.holds_mail)(machine));
        let resumed = self.host.tool(&["resume", "--wait"]);
        assert_eq!(resumed.status, 0, "{resumed:?}");
    }

    fn log(&self, word: &str) -> usize {
        let log = self.host.machine.log("netsysrq-mail[");
        log.iter().filter(|line| line.contains(word)).count()
    }
}

/// Signed while the machine was away, and valid for longer than that.
fn request_of_three_days_ago(away: &Away<'_>) {
    let mail = away.asked(3, "5d");
    away.send(&mail);
    away.fetch();
    let answer = away.host.await_answers(1);
    assert!(answer.contains("exit status 0"), "{answer}");
    assert!(answer.contains("3d"), "{answer}");
    assert_eq!(away.host.marks(), 1);
    away.send(&mail);
    away.fetch();
    assert_eq!((away.host.marks(), away.host.answers().len()), (1, 1));
}

/// Whoever asked hears that it was too late, once, though the server has it twice.
fn request_that_has_expired(away: &Away<'_>) {
    let mail = away.asked(3, "2d");
    away.send(&mail);
    away.send(&mail);
    away.fetch();
    let answer = away.host.await_answers(1);
    assert!(answer.contains("expired"), "{answer}");
    away.send(&mail);
    away.fetch();
    assert_eq!((away.host.marks(), away.host.answers().len()), (0, 1));
}

/// A spool that no longer exists may have run it: nobody is answered, and the log says why.
fn request_older_than_the_spool(away: &Away<'_>) {
    away.send(&away.asked(5, "8d"));
    away.fetch();
    assert_eq!(away.host.marks(), 0);
    assert_eq!(away.log("refused reason=before-epoch"), 1);
    assert!(away.host.machine.sunk().is_empty());
}

/// The program dies of one mail at each poll; what came after it is taken.
fn mail_that_kills_the_program(away: &Away<'_>) {
    let host = &away.host;
    host.machine.shell(&format!("mv {INSTALLED} /usr/bin/unhurt"));
    // before all of it was read
    host.install_instead(
        "mail=$(mktemp); head -c 5000 >$mail; ! grep -q poison $mail || kill -KILL $$; \
         { cat $mail; cat; } | /usr/bin/unhurt \"$@\"",
    );
    away.send(&mail(&"poison, more than a pipe holds\n".repeat(10_000)));
    eventually("it waits before the request", || {
        // find may meet a file that has been taken meanwhile
        !host.machine.shell("find /srv/mail -path '*/new/*' || true").is_empty()
    });
    away.send(&away.asked(0, "1h"));
    eventually("the request is run", || {
        (away.way.holds_mail)(host.machine);
        host.marks() == 1
    });
    host.await_answers(1);
    assert!((away.way.holds_mail)(host.machine), "the mail that kills is lost");
}

macro_rules! offline {
    ($($module:ident, $way:path;)*) => {
        $(
            mod $module {
                use super::*;

                offline! { @tests $way;
                    a_request_of_three_days_ago_is_run_once = request_of_three_days_ago;
                    a_request_that_has_expired_is_answered_once = request_that_has_expired;
                    a_request_older_than_the_spool_is_not_answered = request_older_than_the_spool;
                    a_mail_that_kills_the_program_stops_no_other = mail_that_kills_the_program;
                }
            }
        )*
    };
    (@tests $way:path; $($name:ident = $test:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let Some(libfaketime) = libfaketime() else { return };
                let Some(machine) = Machine::start($way.layers) else { return };
                $test(&Away::new(&$way, &machine, &libfaketime));
            }
        )*
    };
}

offline! {
    fetchmail, ways::fetch::FETCHMAIL;
    getmail, ways::fetch::GETMAIL;
}
