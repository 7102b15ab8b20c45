//! Postfix 3.7, and what it calls.

use std::fs;
use std::path::Path;

use super::Way;
use crate::machine::{Machine, SINK};

/// Debian's installation, with as short a patience as it can have, and all mail to elsewhere sent to the sink. A mail that
/// is tried again before the last try has let go of its file goes to the incoming queue, which is read at each wakeup.
pub(crate) fn lay_out(machine: &Machine) {
    machine.shell(&format!(
        "postconf -e myhostname=mx.example.net mydestination=mx.example.net,example.net inet_protocols=ipv4 \
         'relayhost=[127.0.0.1]:{SINK}' smtp_dns_support_level=disabled smtp_tls_security_level=none \
         smtpd_tls_security_level=none maillog_file=/var/log/mail.log minimal_backoff_time=1s \
         maximal_backoff_time=1s queue_run_delay=1s transport_retry_time=1s message_size_limit=104857600; \
         postconf -F qmgr/unix/wakeup=1"
    ));
}

pub(crate) fn start(machine: &Machine) {
    machine.shell("postfix start 2>/dev/null");
    machine.await_port(25);
}

/// Its queues are looked into from outside, since postqueue(1) does not always answer while Postfix restarts. Each twice:
/// one round misses a mail that is moved from the deferred queue, which comes last, to one that was looked into before.
pub(crate) fn holds_mail(machine: &Machine) -> bool {
    let spool = machine.path("/var/spool/postfix");
    let twice = ["maildrop", "incoming", "active", "deferred"].repeat(2);
    twice.iter().any(|queue| has_a_file(&spool.join(queue)))
}

/// In it, or in a directory in it.
fn has_a_file(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let entry = entry.unwrap();
        !entry.file_type().is_ok_and(|kind| kind.is_dir()) || has_a_file(&entry.path())
    })
}

const RESTART: &[&str] = &["/etc/init.d/postfix", "restart"];

pub(crate) const PROCMAIL: Way = Way {
    name: "procmail",
    layers: &["postfix", "common"],
    user: "alice",
    set_up: |machine| {
        lay_out(machine);
        machine.install_at_home("alice", "procmailrc", ".procmailrc");
        start(machine);
    },
    holds_mail,
    restart: RESTART,
};

/// The owner of an address of our own, which no person reads.
const OWN: Way = Way {
    name: "",
    layers: &["postfix", "common"],
    user: "netsysrq",
    set_up: start,
    holds_mail,
    restart: RESTART,
};

pub(crate) const FORWARD: Way = Way {
    name: "postfix .forward",
    set_up: |machine| {
        lay_out(machine);
        machine.install_at_home("netsysrq", "postfix/forward", ".forward");
        start(machine);
    },
    ..OWN
};

pub(crate) const ALIAS: Way = Way {
    name: "postfix alias",
    set_up: |machine| {
        lay_out(machine);
        machine.install_example("postfix/aliases", "/etc/postfix/netsysrq-aliases");
        machine.shell(
            "chown netsysrq: /etc/postfix/netsysrq-aliases; \
             postconf -e 'alias_maps = hash:/etc/aliases, texthash:/etc/postfix/netsysrq-aliases'",
        );
        start(machine);
    },
    ..OWN
};

pub(crate) const PIPE: Way = Way {
    name: "postfix pipe(8)",
    set_up: |machine| {
        lay_out(machine);
        machine.append_example("postfix/master.cf", "/etc/postfix/master.cf");
        machine.append_example("postfix/main.cf", "/etc/postfix/main.cf");
        start(machine);
    },
    ..OWN
};

pub(crate) const MAILDROP: Way = Way {
    name: "maildrop",
    set_up: |machine| {
        lay_out(machine);
        machine.shell("postconf -e mailbox_command=/usr/bin/maildrop");
        machine.install_example("mailfilter", "/home/alice/.mailfilter");
        machine.shell("cd /home/alice; chown alice: .mailfilter; chmod 600 .mailfilter");
        start(machine);
    },
    ..PROCMAIL
};
