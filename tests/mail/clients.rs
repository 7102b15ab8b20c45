//! What people and programs write mails with, the real ones: what each makes of a request is found, run once and
//! answered once.
//!
//! A driver (`clients/drivers`) has one client write one letter, in the client's own ways, from the files in its working
//! directory (`clients/letters.rs`). The mails as they arrived are left in `target/clients`.

mod desk;
mod letters;

use self::desk::Desk;
use self::letters::Ability::{self, Answer, Attach, Html};
use self::letters::{Filling, Letter};
use crate::host::{HOLDER, sorted};
use crate::machine::Machine;
use crate::ways::postfix;

/// An address of our own.
const ADDRESS: &str = "netsysrq@example.net";

struct Client {
    name: &'static str,
    /// The driver and what it is called with before the style.
    driver: &'static [&'static str],
    /// Settings in which it writes differently; all letters are written in the first.
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
            // a long Subject beyond ASCII corrupts its heap at times: glibc ends it
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
    let (runs, answered) = (desk.host.runs(), desk.host.answered());
    let (run, answers) = (runs.len() - 1, answered.len() - 1);
    let counts =
        format!("{}: {} messages, {run} run, {answers} answered", client.name, letters.len());
    println!("{counts}");
    let kept = desk.keep(&counts);
    let missed = letters.iter().zip(&fillings).filter(|(_, filling)| !runs.contains(&filling.cti));
    let missed: Vec<String> = missed.map(|(letter, _)| letter.name()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}; the mails are in {}", kept.display());
    let all = sorted(fillings.into_iter().map(|filling| filling.cti).chain([spent_cti]));
    assert_eq!(runs, all, "not each was run once");
    assert_eq!(answered, all, "not each was answered once");
    let replays = machine.log("reason=replayed").len();
    let spent = letters.iter().filter(|letter| letter.has_spent()).count();
    assert_eq!(replays, spent, "the spent request was not refused in each letter that has it");
    let strays: Vec<_> = machine.sunk().into_iter().filter(|mail| mail.to != HOLDER).collect();
    assert!(strays.is_empty(), "{strays:?}");
    assert_eq!(machine.read("/var/mail/alice"), "", "something came back");
}

#[test]
fn the_letters_are_at_least_200_by_at_least_12_clients() {
    let counts: Vec<usize> = CLIENTS.iter().map(|client| Letter::all(client).len()).collect();
    assert!(counts.len() >= 12, "{counts:?}");
    assert!(counts.iter().sum::<usize>() >= 200, "{counts:?}");
}
