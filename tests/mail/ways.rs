//! The ways of being called: which machine, which examples, and how to look into that mail system.

pub(crate) mod dovecot;
pub(crate) mod exim;
pub(crate) mod fetch;
pub(crate) mod opensmtpd;
pub(crate) mod postfix;

use crate::machine::Machine;

/// One way.
pub(crate) struct Way {
    /// Its column in the table.
    pub(crate) name: &'static str,
    /// The layers of its machine, topmost first.
    pub(crate) layers: &'static [&'static str],
    /// The account whose configuration is used: `alice`, who reads her mail, or `netsysrq`, whose mail only the program
    /// reads.
    pub(crate) user: &'static str,
    /// Puts the examples into their places, and starts the mail system.
    pub(crate) set_up: fn(&Machine),
    /// Whether the mail system still holds a mail that it means to deliver; where nothing delivers by itself, this has
    /// it deliver once.
    pub(crate) holds_mail: fn(&Machine) -> bool,
    /// The command that restarts the mail system, for root.
    pub(crate) restart: &'static [&'static str],
}

impl Way {
    /// Where mail for the program goes.
    pub(crate) fn address(&self) -> String {
        format!("{}@example.net", self.user)
    }

    /// Whether a person reads what comes to that address.
    pub(crate) fn is_mailbox(&self) -> bool {
        self.user == "alice"
    }
}

/// Sends a mail over SMTP to the mail system of the machine.
pub(crate) fn send_by_smtp(machine: &Machine, from: &str, to: &[&str], mail: &[u8]) {
    let to = to.join(",");
    let swaks = ["swaks", "--server", "127.0.0.1", "--from", from, "--to", &to];
    let options = ["--data", "-", "--no-data-fixup", "--suppress-data"];
    let sent = machine.run(&[&swaks[..], &options].concat(), &on_the_wire(mail));
    assert_eq!(sent.status, 0, "{sent:?}");
}

/// RFC 5321's form of a mail: CR LF, dots doubled, a dot at the end, whose CR LF is left to swaks.
fn on_the_wire(mail: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(mail.len() + mail.len() / 32);
    for line in mail.strip_suffix(b"\n").unwrap_or(mail).split(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
        wire.extend_from_slice(b"\r\n");
    }
    wire.push(b'.');
    wire
}
