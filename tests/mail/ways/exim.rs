//! Exim 4.96, in Debian's split configuration, and what it calls.

use super::Way;
use crate::machine::{Machine, SINK};

/// This ends the listener and the queue runner, waits two seconds, and starts them again.
const RESTART: &[&str] = &["/etc/init.d/exim4", "restart"];

/// Debian's installation as debconf would lay it out for a smarthost, with as short a patience as it can have. The
/// smarthost, the sink, is this machine: `self`.
fn lay_out(machine: &Machine) {
    let answers = format!(
        "dc_eximconfig_configtype='smarthost'\ndc_other_hostnames='mx.example.net:example.net'\n\
         dc_local_interfaces='127.0.0.1'\ndc_readhost=''\ndc_relay_domains=''\ndc_minimaldns='true'\n\
         dc_relay_nets=''\ndc_smarthost='127.0.0.1::{SINK}'\nCFILEMODE='644'\ndc_use_split_config='true'\n\
         dc_hide_mailname='false'\ndc_mailname_in_oh='true'\ndc_localdelivery='mail_spool'\n"
    );
    machine.write("/etc/exim4/update-exim4.conf.conf", answers.as_bytes());
    machine.write("/etc/exim4/conf.d/retry/10_patience", b"* * F,1d,1s\n");
    machine.shell(
        "sed -i '/route_list = . DCsmarthost/a self = send' /etc/exim4/conf.d/router/200_exim4-config_primary\n\
         sed -i \"s/^QUEUEINTERVAL=.*/QUEUEINTERVAL='1s'/\" /etc/default/exim4",
    );
}

fn start(machine: &Machine) {
    machine.shell("/etc/init.d/exim4 start >/dev/null 2>&1");
    machine.await_port(25);
}

/// Frozen mails are held too. While it restarts, and its configuration is generated again, it may not say.
fn holds_mail(machine: &Machine) -> bool {
    machine.shell("exim4 -bpc || echo unknown").trim() != "0"
}

pub(crate) const ROUTER: Way = Way {
    name: "exim router",
    layers: &["exim", "common"],
    user: "netsysrq",
    set_up: |machine| {
        lay_out(machine);
        machine.install_example("exim/router", "/etc/exim4/conf.d/router/350_netsysrq");
        machine.install_example("exim/transport", "/etc/exim4/conf.d/transport/30_netsysrq");
        start(machine);
    },
    holds_mail,
    restart: RESTART,
};

pub(crate) const FORWARD: Way = Way {
    name: "exim .forward",
    set_up: |machine| {
        lay_out(machine);
        machine.install_at_home("netsysrq", "exim/forward", ".forward");
        start(machine);
    },
    ..ROUTER
};

pub(crate) const PROCMAIL: Way = Way {
    name: "procmail under exim",
    user: "alice",
    set_up: |machine| {
        lay_out(machine);
        machine.install_at_home("alice", "procmailrc", ".procmailrc");
        start(machine);
    },
    ..ROUTER
};
