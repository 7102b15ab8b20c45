//! The real clients and libraries that people and programs write mails with: a request in the form that each gives it
//! is found, run once and answered once.
//!
//! A driver (`clients/drivers`) has one client write one letter, in the client's own ways, from the files in its working
//! directory (`clients/letters.rs`). The mails as they arrived are left in `target/clients`.

mod desk;
mod letters;

use std::fs;

use self::desk::Desk;
use self::letters::Ability::{self, Answer, Attach, Html};
use self::letters::{Filling, Letter};
use crate::host::{HOLDER, Host, sorted};
use crate::machine::Machine;
use crate::ways::postfix;

/// Where the mails are left.
pub(crate) const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients");
/// An address of our own.
const ADDRESS: &str = "netsysrq@example.net";

struct Client {
    name: &'static str,
    /// The driver and what it is called with before the style.
    driver: &'static [&'static str],
    /// Settings under which it writes differently; all letters are written in the first.
    styles: &'static [&'static str],
    can: &'static [Ability],
    /// Letters that it cannot write for a reason of its own.
    cannot: &'static [&'static str],
}

macro_rules! clients {
    ($($test:ident = $client:expr;)*) => {
        const CLIENTS: &[Client] = &[$($client),*];

        $(
            #[test]
            fn $test() {
                assert_found_run_once_and_answered(&$client);
            }
        )*
    };
}

const fn client(
    name: &'static str,
    driver: &'static [&'static str],
    styles: &'static [&'static str],
) -> Client {
    Client { name, driver, styles, can: &[], cannot: &[] }
}

impl Client {
    const fn can(mut self, can: &'static [Ability]) -> Self {
        self.can = can;
        self
    }

    const fn cannot(mut self, cannot: &'static [&'static str]) -> Self {
        self.cannot = cannot;
        self
    }
}

clients! {
    mutt_requests_are_found_run_once_and_answered =
        client("mutt", &["mutt.sh", "mutt"], &["plain", "flowed", "utf-8", "7bit"]).can(&[Attach, Answer]);
    neomutt_requests_are_found_run_once_and_answered =
        client("neomutt", &["mutt.sh", "neomutt"], &["plain", "flowed", "7bit"]).can(&[Attach, Answer]);
    s_nail_requests_are_found_run_once_and_answered =
        client("s-nail", &["mailx.sh", "s-nail"], &["plain", "base64", "8bit"]).can(&[Attach, Answer]);
    bsd_mailx_requests_are_found_run_once_and_answered =
        client("bsd-mailx", &["mailx.sh", "bsd-mailx"], &["plain"]).can(&[Answer]).cannot(&["forward attached"]);
    gnu_mail_requests_are_found_run_once_and_answered =
        client("GNU mail", &["mailx.sh", "mail.mailutils"], &["plain"]).can(&[Attach]);
    alpine_requests_are_found_run_once_and_answered =
        client("alpine", &["alpine.sh"], &["plain", "unflowed"])
            .can(&[Attach, Answer])
            // a long Subject beyond ASCII at times corrupts its heap, and glibc ends it
            .cannot(&["forward attached", "in the subject behind umlauts"]);
    aerc_requests_are_found_run_once_and_answered =
        client("aerc", &["aerc.sh"], &["plain"]).can(&[Attach, Answer]);
    nmh_requests_are_found_run_once_and_answered =
        client("nmh", &["nmh.sh"], &["plain"]).can(&[Attach, Answer]);
    emacs_requests_are_found_run_once_and_answered =
        client("Emacs", &["emacs.sh"], &["plain", "flowed", "filled"]).can(&[Attach, Answer]);
    swaks_requests_are_found_run_once_and_answered =
        client("swaks", &["swaks.sh"], &["plain"]).can(&[Attach]);
    sendemail_requests_are_found_run_once_and_answered =
        client("sendemail", &["sendemail.sh"], &["plain", "utf-8"]).can(&[Attach, Html]).cannot(&["text and HTML"]);
    mpack_requests_are_found_run_once_and_answered =
        client("mpack", &["mpack.sh"], &["plain"]).can(&[Attach]).cannot(&["attached mail"]);
    mime_lite_requests_are_found_run_once_and_answered =
        client("MIME::Lite", &["lite.pl"], &["plain", "quoted-printable", "base64"]).can(&[Attach, Html]);
    email_stuffer_requests_are_found_run_once_and_answered =
        client("Email::Stuffer", &["stuffer.pl"], &["plain"]).can(&[Attach, Html]);
    python_email_requests_are_found_run_once_and_answered =
        client("Python email", &["python.py"], &["default", "base64", "quoted-printable"]).can(&[Attach, Html]);
    python_mimetext_requests_are_found_run_once_and_answered =
        client("Python MIMEText", &["python.py"], &["MIMEText", "compat32"]).can(&[Attach, Html]);
    nodemailer_requests_are_found_run_once_and_answered =
        client("nodemailer", &["nodemailer.js"], &["plain", "base64"]).can(&[Attach, Html]);
    phpmailer_requests_are_found_run_once_and_answered =
        client("PHPMailer", &["phpmailer.php"], &["plain", "wrapped", "quoted-printable", "base64"])
            .can(&[Attach, Html]);
    php_mail_requests_are_found_run_once_and_answered =
        client("PHP mail()", &["mail.php"], &["plain"]).can(&[Html]).cannot(&["text and HTML"]);
    ruby_mail_requests_are_found_run_once_and_answered =
        client("Ruby mail", &["mail.rb"], &["plain"]).can(&[Attach, Html]);
}

fn assert_found_run_once_and_answered(client: &Client) {
    let Some(machine) = Machine::start(&["clients", "postfix", "common"]) else { return };
    let desk = Desk::new(client, &machine);
    let (spent, spent_cti) = desk.spend();
    let letters = Letter::all(client);
    let fillings: Vec<Filling> = letters.iter().map(|_| Filling::new(&desk.host, &spent)).collect();
    desk.write(&letters, &fillings);
    desk.host.settle(letters.len() + 1, postfix::holds_mail);
    desk.keep();
    let names = letters.iter().map(Letter::name);
    let written = Written {
        client: client.name,
        with_spent: letters.iter().filter(|letter| letter.has_spent()).count(),
        requests: names.zip(fillings.into_iter().map(|filling| filling.cti)).collect(),
        spent: spent_cti,
    };
    written.assert_run_once_and_answered(&machine, &desk.host);
    assert_eq!(machine.read("/var/mail/alice"), "", "something came back");
}

/// What was written with a client.
pub(crate) struct Written {
    pub(crate) client: &'static str,
    /// The name of each letter, and the request in it.
    pub(crate) requests: Vec<(String, String)>,
    /// The request that had been run before.
    pub(crate) spent: String,
    /// How many letters quote that one too.
    pub(crate) with_spent: usize,
}

impl Written {
    pub(crate) fn assert_run_once_and_answered(self, machine: &Machine, host: &Host<'_>) {
        let Self { client, requests, spent, with_spent } = self;
        let (runs, answered) = (host.runs(), host.answered());
        let (run, answers) = (runs.len() - 1, answered.len() - 1);
        let counts =
            format!("{client}: {} messages, {run} run, {answers} answered\n", requests.len());
        fs::write(format!("{KEPT}/{client}.count"), counts).unwrap();
        let missed = requests.iter().filter(|(_, cti)| !runs.contains(cti));
        let missed: Vec<&String> = missed.map(|(name, _)| name).collect();
        assert!(missed.is_empty(), "not found: {missed:?}; the mails are in {KEPT}/{client}.mbox");
        let all = sorted(requests.into_iter().map(|(_, cti)| cti).chain([spent]));
        assert_eq!(runs, all, "not each was run once");
        assert_eq!(answered, all, "not each was answered once");
        assert_eq!(machine.log(": accepted ").len(), all.len());
        let replays = machine.log("reason=replayed").len();
        assert_eq!(replays, with_spent, "the spent request was not refused in each letter");
        let strays: Vec<_> = machine.sunk().into_iter().filter(|mail| mail.to != HOLDER).collect();
        assert!(strays.is_empty(), "{strays:?}");
    }
}

#[test]
fn the_letters_are_at_least_200_by_at_least_12_clients() {
    let counts: Vec<usize> = CLIENTS.iter().map(|client| Letter::all(client).len()).collect();
    assert!(counts.len() >= 12, "{counts:?}");
    assert!(counts.iter().sum::<usize>() >= 200, "{counts:?}");
}
