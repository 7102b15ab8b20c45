//! The composing side on a machine with mail: a request sent by the real sendmail, or by SMTP, and its answer awaited in a
//! real mailbox.

use crate::host::{HOLDER, Host, INSTALLED};
use crate::machine::Machine;
use crate::ways::postfix;

/// Alice signs and reads mail on the machine that she asks.
fn sent_and_answered(mailbox: &str, settings: &str, options: &[&str]) {
    let way = &postfix::FORWARD;
    let Some(machine) = Machine::start(way.layers) else { return };
    let host = Host::set_up(&machine, way.user, way.restart);
    host.write_config(&host.config().replace(HOLDER, "alice@example.net"));
    (way.set_up)(&machine);
    machine.shell(settings);
    let host_key = machine.read("/home/netsysrq/.config/netsysrq-mail/host_ed25519.pub");
    let hosts = format!(
        "[host.mx]\nmail = \"netsysrq@example.net\"\nfrom = \"alice@example.net\"\nkey = \"~/.ssh/phone\"\n\
         key_id = \"phone\"\nhost_key = \"{}\"\n",
        host_key.trim()
    );
    machine.write("/home/alice/.config/netsysrq-mail/hosts.toml", hosts.as_bytes());
    machine.write("/home/alice/.ssh/phone", &host.private_key());
    machine.shell("chown -R alice: /home/alice; chmod 600 /home/alice/.ssh/phone");

    let sign = ["timeout", "120", INSTALLED, "sign", "--send", "--wait-answer", mailbox];
    let ran = machine.run_as("alice", &[&sign[..], options, &["mx", "mark"]].concat(), b"");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("sent to netsysrq@example.net by "), "{ran:?}");
    assert!(ran.stdout.contains("\ngenuine\n") && ran.stdout.ends_with("\ndone\n"), "{ran:?}");
    assert_eq!(host.marks(), 1);
}

#[test]
fn a_request_sent_by_sendmail_is_answered_into_an_mbox() {
    let touch =
        "touch /var/mail/alice; chown alice:mail /var/mail/alice; chmod 660 /var/mail/alice";
    sent_and_answered("/var/mail/alice", touch, &[]);
}

#[test]
fn a_request_sent_by_smtp_is_answered_into_a_maildir() {
    let maildir = "postconf -e home_mailbox=Maildir/ mailbox_command=; postfix reload 2>/dev/null; \
        install -d -o alice /home/alice/Maildir /home/alice/Maildir/new /home/alice/Maildir/cur /home/alice/Maildir/tmp";
    sent_and_answered("/home/alice/Maildir", maildir, &["--smtp", "127.0.0.1"]);
}
