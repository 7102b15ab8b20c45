//! How answers leave through each mail system, and that nothing answers them.

use crate::host::{HOLDER, Host};
use crate::machine::{Machine, SINK};
use crate::outcomes::mail;
use crate::support::eventually;
use crate::ways::{Way, exim, opensmtpd, postfix, send_by_smtp};

/// The envelope sender of a mail that was handed to sendmail with this `-f`, and sendmail's status.
fn sent_from(machine: &Machine, user: &str, sender: &str) -> (i32, Option<String>) {
    let before = machine.sunk().len();
    let sendmail = ["/usr/sbin/sendmail", "-i", "-f", sender, "--", HOLDER];
    let ran = machine.run_as(user, &sendmail, b"Subject: hello\n\nhello\n");
    if ran.status == 0 {
        eventually("the mail leaves", || machine.sunk().len() > before);
    }
    (ran.status, machine.sunk().pop().map(|mail| mail.from))
}

/// `<>` is the null sender to each of them, for each user.
fn null_sender(way: &Way) -> Option<(i32, Option<String>)> {
    let machine = Machine::start(way.layers)?;
    (way.set_up)(&machine);
    for user in ["root", "netsysrq"] {
        assert_eq!(sent_from(&machine, user, "<>"), (0, Some(String::new())), "{user}");
    }
    Some(sent_from(&machine, "netsysrq", ""))
}

#[test]
fn both_spellings_are_the_null_sender_to_postfix() {
    if let Some(empty) = null_sender(&postfix::PROCMAIL) {
        assert_eq!(empty, (0, Some(String::new())));
    }
}

#[test]
fn both_spellings_are_the_null_sender_to_exim() {
    if let Some(empty) = null_sender(&exim::ROUTER) {
        assert_eq!(empty, (0, Some(String::new())));
    }
}

#[test]
fn both_spellings_are_the_null_sender_to_opensmtpd() {
    if let Some(empty) = null_sender(&opensmtpd::MDA) {
        assert_eq!(empty, (0, Some(String::new())));
    }
}

/// Its sendmail says 75 and keeps the mail all the same: sending it again would answer twice.
#[test]
fn opensmtpd_while_down_keeps_mail_of_one_spelling_only() {
    let way = &opensmtpd::MDA;
    let Some(machine) = Machine::start(way.layers) else { return };
    (way.set_up)(&machine);
    for (sender, kept) in [("<>", 0), ("", 1)] {
        machine.shell("/etc/init.d/opensmtpd stop");
        eventually("smtpd is down", || machine.run(&["pidof", "smtpd"], b"").status != 0);
        let sendmail = ["/usr/sbin/sendmail", "-i", "-f", sender, "--", HOLDER];
        let ran = machine.run_as("netsysrq", &sendmail, b"Subject: hello\n\nhello\n");
        assert_eq!(ran.status, 75, "{ran:?}");
        machine.shell("/etc/init.d/opensmtpd start >/dev/null 2>&1");
        machine.await_port(25);
        let stranded = || machine.shell("ls /var/spool/smtpd/offline").lines().count();
        eventually("smtpd has looked", || machine.sunk().len() == kept && stranded() == 1 - kept);
        machine.shell("rm -f /var/spool/smtpd/offline/*");
    }
}

#[test]
fn the_null_sender_is_spelt_out_for_msmtp() {
    let Some(machine) = Machine::start(&["common"]) else { return };
    let settings = format!("account default\nhost 127.0.0.1\nport {SINK}\nauto_from off\n");
    machine.write("/etc/msmtprc", settings.as_bytes());
    machine.shell("ln -s /usr/bin/msmtp /usr/sbin/sendmail");
    for user in ["root", "netsysrq"] {
        assert_eq!(sent_from(&machine, user, "<>"), (0, Some(String::new())), "{user}");
    }
    assert_eq!(sent_from(&machine, "netsysrq", "").0, 0);
}

/// A machine where `alice` has the filter, and the holder of the key reads mail at `netsysrq`, whose mailbox answers by
/// itself.
fn with_responder(responder: fn(&Machine), test: fn(&Machine, &Host<'_>)) {
    let way = &postfix::PROCMAIL;
    let Some(machine) = Machine::start(way.layers) else { return };
    let host = Host::set_up(&machine, way.user, way.restart);
    let config = host.config().replace("netsysrq@mx.example.net", "alice@example.net");
    host.write_config(&config.replace(HOLDER, "netsysrq@example.net"));
    (way.set_up)(&machine);
    responder(&machine);
    // it does answer people
    let stranger = "somebody@example.org";
    let hello = mail("hello\n").replace("them@", "netsysrq@");
    send_by_smtp(&machine, stranger, &["netsysrq@example.net"], hello.as_bytes());
    eventually("the stranger is answered", || machine.sunk().len() == 1);
    assert_eq!(machine.sunk()[0].to, stranger);

    let request = mail(&host.sign(&["mark"]));
    send_by_smtp(&machine, HOLDER, &["alice@example.net"], request.as_bytes());
    eventually("the answer is in its mailbox", || answers_in(&machine, "netsysrq") == 1);
    eventually("nothing is under way", || !(way.holds_mail)(&machine));
    test(&machine, &host);
    assert_eq!(machine.sunk().len(), 1);
    assert_eq!((answers_in(&machine, "netsysrq"), host.marks(), host.calls()), (1, 1, 1));
}

fn answers_in(machine: &Machine, user: &str) -> usize {
    let mailbox = format!("cat /var/mail/{user} /home/{user}/Maildir/new/* 2>/dev/null || true");
    machine.shell(&mailbox).matches("\nSubject: mx answers phone").count()
}

/// What is in the mailbox of the filter's user.
fn nothing_came_back(machine: &Machine, _: &Host<'_>) {
    assert_eq!(machine.read("/var/mail/alice"), "");
}

#[test]
fn a_vacation_script_of_sieve_does_not_answer_an_answer() {
    with_responder(
        |machine| {
            machine.write(
                "/etc/dovecot/conf.d/99-lda.conf",
                b"mail_location = maildir:~/Maildir\nprotocol lda {\n  mail_plugins = sieve\n}\n",
            );
            machine.write(
                "/home/netsysrq/.dovecot.sieve",
                b"require \"vacation\";\nvacation :addresses \"netsysrq@example.net\" \"I am away.\";\n",
            );
            machine.write(
                "/etc/postfix/mailbox_commands",
                b"netsysrq /usr/lib/dovecot/dovecot-lda -f \"$SENDER\"\n",
            );
            machine.shell(
                "chown -R netsysrq: /home/netsysrq; postfix reload 2>/dev/null; \
                 postconf -e mailbox_command_maps=texthash:/etc/postfix/mailbox_commands",
            );
        },
        nothing_came_back,
    );
}

/// The recipe of procmailex(5).
#[test]
fn a_vacation_recipe_of_procmail_does_not_answer_an_answer() {
    with_responder(
        |machine| {
            let recipe = r#"SHELL=/bin/sh
:0 Whc: vacation.lock
* !^FROM_DAEMON
* !^X-Loop: netsysrq@example.net
| formail -rD 8192 vacation.cache

  :0 ehc
  | (formail -rA"Precedence: junk" -A"X-Loop: netsysrq@example.net"; echo "I am away.") | $SENDMAIL -oi -t
"#;
            machine.write("/home/netsysrq/.procmailrc", recipe.as_bytes());
            machine.shell("chown -R netsysrq: /home/netsysrq");
        },
        nothing_came_back,
    );
}

#[test]
fn a_responder_that_answers_whatever_comes_is_not_answered() {
    with_responder(
        |machine| {
            let recipe = r#"SHELL=/bin/sh
:0 Wc
* ^From: *\/[^ ].*
| (echo "To: $MATCH"; echo "Subject: Re: your mail"; echo; cat) | $SENDMAIL -oi -t
"#;
            machine.write("/home/netsysrq/.procmailrc", recipe.as_bytes());
            machine.shell("chown -R netsysrq: /home/netsysrq");
        },
        |machine, _| {
            // its answer quotes ours, and is for people
            let came_back = machine.read("/var/mail/alice");
            assert_eq!(came_back.matches("Subject: Re: your mail").count(), 1, "{came_back}");
        },
    );
}

#[test]
fn an_answer_delivered_to_the_filter_is_not_answered() {
    let way = &postfix::PROCMAIL;
    let Some(machine) = Machine::start(way.layers) else { return };
    let host = Host::set_up(&machine, way.user, way.restart);
    host.write_config(&host.config().replace(HOLDER, &way.address()));
    (way.set_up)(&machine);
    let request = mail(&host.sign(&["mark"]));
    send_by_smtp(&machine, HOLDER, &[&way.address()], request.as_bytes());
    eventually("the answer is in the mailbox", || answers_in(&machine, "alice") == 1);
    eventually("nothing is under way", || !(way.holds_mail)(&machine));
    assert_eq!((answers_in(&machine, "alice"), host.marks(), host.calls()), (1, 1, 1));
    assert_eq!(machine.sunk().len(), 0);
}
