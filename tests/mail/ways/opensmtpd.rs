//! OpenSMTPD 6.8, and what it calls.

use super::Way;
use crate::machine::{Machine, SINK};

/// Where the harness puts what `RESTART` runs.
const RESTARTER: &str = "/usr/sbin/restart-smtpd";
const RESTART: &[&str] = &[RESTARTER];

/// Debian's file with its domain filled in, and all mail to elsewhere sent to the sink. It warns a sender whose mail is
/// delayed only after four hours; told to try ten times a second, it does so after four seconds.
fn lay_out(machine: &Machine) {
    machine.shell(&format!(
        "sed -i -e '1i bounce warn-interval 6d' -e 's|^match for local|match from any for domain {{ example.net, mx.example.net }}|' \
         -e 's|^action \"relay\" relay|& host smtp://127.0.0.1:{SINK}|' /etc/smtpd.conf"
    ));
    // "/etc/init.d/opensmtpd restart" starts smtpd while the old one is still there, and then both end. So this waits for
    // the old one to end, as systemd would, and then until the new one listens: before that its sendmail says 75.
    machine.write(
        RESTARTER,
        b"#!/bin/sh\n/etc/init.d/opensmtpd stop\nwhile pidof smtpd >/dev/null; do sleep 0.1; done\n\
          /etc/init.d/opensmtpd start\nuntil smtpctl show stats >/dev/null 2>&1; do sleep 0.1; done\n",
    );
    machine.shell(&format!("chmod 755 {RESTARTER}"));
}

fn start(machine: &Machine) {
    machine.shell("/etc/init.d/opensmtpd start >/dev/null 2>&1");
    machine.await_port(25);
}

/// It would wait 10 seconds before it tries again, then 40, then 90; here it is told to. While it restarts it can be
/// neither told nor asked.
fn holds_mail(machine: &Machine) -> bool {
    let ask = "smtpctl show queue 2>/dev/null || echo unknown; smtpctl schedule all >/dev/null 2>&1 || true";
    !machine.shell(ask).is_empty()
}

pub(crate) const MDA: Way = Way {
    name: "opensmtpd mda",
    layers: &["opensmtpd", "common"],
    user: "netsysrq",
    set_up: |machine| {
        lay_out(machine);
        machine.install_example("opensmtpd/smtpd.conf", "/etc/smtpd.netsysrq.conf");
        machine.shell(
            "sed -i '0,/^match/s|^match|include \"/etc/smtpd.netsysrq.conf\"\\n&|' /etc/smtpd.conf",
        );
        start(machine);
    },
    holds_mail,
    restart: RESTART,
};

pub(crate) const FORWARD: Way = Way {
    name: "opensmtpd .forward",
    set_up: |machine| {
        lay_out(machine);
        machine.install_at_home("netsysrq", "opensmtpd/forward", ".forward");
        start(machine);
    },
    ..MDA
};
