//! Dovecot 2.3 with Pigeonhole 0.5, called by Postfix.

use super::{Way, postfix};
use crate::machine::Machine;

/// Mail in Maildirs, and Sieve as the examples say.
fn lay_out(machine: &Machine) {
    machine.write("/etc/dovecot/local.conf", b"mail_location = maildir:~/Maildir\n");
    machine.install_example("sieve/netsysrq.sieve", "/etc/dovecot/sieve/netsysrq.sieve");
    machine.install_example("sieve/90-netsysrq.conf", "/etc/dovecot/conf.d/90-netsysrq.conf");
    machine.shell(
        "install -d /usr/lib/dovecot/sieve-execute; \
         ln -s /usr/bin/netsysrq-mail /usr/lib/dovecot/sieve-execute/; \
         sievec /etc/dovecot/sieve/netsysrq.sieve",
    );
}

/// Postfix calls it for each mail, as the user; there is no daemon of Dovecot's.
pub(crate) const LDA: Way = Way {
    name: "dovecot-lda",
    set_up: |machine| {
        postfix::lay_out(machine);
        lay_out(machine);
        machine.shell(
            "postconf -e 'mailbox_command = /usr/lib/dovecot/dovecot-lda -f \"$SENDER\" -a \"$RECIPIENT\"'",
        );
        postfix::start(machine);
    },
    ..postfix::PROCMAIL
};

/// Postfix hands mail over a socket to Dovecot's daemon.
pub(crate) const LMTP: Way = Way {
    name: "dovecot lmtp",
    set_up: |machine| {
        postfix::lay_out(machine);
        lay_out(machine);
        machine.write("/etc/dovecot/local.conf", LMTP_SETTINGS.as_bytes());
        machine.shell(
            "postconf -e mailbox_transport=lmtp:unix:private/dovecot-lmtp; dovecot >/dev/null 2>&1",
        );
        postfix::start(machine);
    },
    restart: &["/etc/init.d/dovecot", "restart"],
    ..postfix::PROCMAIL
};

/// Users without their domain, and the socket where Postfix looks.
const LMTP_SETTINGS: &str = "mail_location = maildir:~/Maildir
auth_username_format = %Ln
service lmtp {
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    mode = 0600
    user = postfix
    group = postfix
  }
}
";
