//! Postfix 3.7, and what it calls.

use super::{Way, send_by_smtp};
use crate::machine::{Machine, SINK};

/// Debian's installation, with as short a patience as it can have, and all mail to elsewhere sent to the sink.
pub(super) fn lay_out(machine: &Machine) {
    machine.shell(&format!(
        "postconf -e myhostname=mx.example.net mydestination=mx.example.net,example.net inet_protocols=ipv4 \
         'relayhost=[127.0.0.1]:{SINK}' smtp_dns_support_level=disabled smtp_tls_security_level=none \
         smtpd_tls_security_level=none maillog_file=/var/log/mail.log minimal_backoff_time=1s \
         maximal_backoff_time=1s queue_run_delay=1s transport_retry_time=1s message_size_limit=104857600"
    ));
}

pub(super) fn start(machine: &Machine) {
    machine.shell("postfix start 2>/dev/null");
    machine.await_port(25);
}

pub(super) fn holds_mail(machine: &Machine) -> bool {
    !machine.shell("postqueue -p").contains("Mail queue is empty")
}

const RESTART: &[&str] = &["/etc/init.d/postfix", "restart"];

pub(crate) const PROCMAIL: Way = Way {
    name: "procmail",
    layers: &["postfix", "common"],
    user: "alice",
    address: "alice@example.net",
    is_mailbox: true,
    set_up: |machine| {
        lay_out(machine);
        machine.install_example("procmailrc", "/home/alice/.procmailrc");
        machine.shell("chown alice: /home/alice/.procmailrc");
        start(machine);
    },
    send: send_by_smtp,
    holds_mail,
    restart: RESTART,
};
