//! What a mail system leaves in the processes that it starts, and that none of it reaches a command of ours.

use crate::host::Host;
use crate::machine::Machine;
use crate::outcomes::mail;
use crate::support::eventually;
use crate::ways::{Way, dovecot, exim, opensmtpd, postfix, send_by_smtp};

/// What a command sees when its request comes this way.
pub(crate) fn look(way: &Way) -> Option<String> {
    let machine = Machine::start(way.layers)?;
    let host = Host::set_up(&machine, way.user, way.restart);
    (way.set_up)(&machine);
    let request = mail(&host.sign(&["look"]));
    send_by_smtp(&machine, "somebody@example.org", &[&way.address()], request.as_bytes());
    // where nothing delivers by itself, this has it deliver
    eventually("the mail is taken", || !(way.holds_mail)(&machine));
    let output = host.output_of(&host.await_answers(1));
    Some(output)
}

/// Descriptors, signals and environment are those that we give it.
pub(crate) fn sees_nothing_of_the_mail_system(way: &Way) {
    let Some(seen) = look(way) else { return };
    let after = |start: &str| -> Vec<String> {
        seen.lines().filter_map(|line| line.strip_prefix(start)).map(ToOwned::to_owned).collect()
    };
    let links = seen.lines().filter_map(|line| line.split_once(" -> "));
    let open: Vec<&str> = links.filter_map(|(link, _)| link.rsplit(' ').next()).collect();
    assert_eq!(open, ["0", "1", "2"], "{seen}");
    for set in ["SigBlk:\t", "SigIgn:\t"] {
        let set = u64::from_str_radix(&after(set)[0], 16).unwrap();
        // the C library reserves two of the 64 signals, 32 and 33
        assert_eq!(set & !(3 << 31), 0, "{seen}");
    }
    let environment = seen.lines().skip_while(|line| !line.contains('=')).filter_map(|line| {
        let name = line.split_once('=')?.0;
        (!matches!(name, "PWD" | "OLDPWD" | "SHLVL" | "_")).then_some(name)
    });
    let mut environment: Vec<&str> = environment.collect();
    environment.sort_unstable();
    let ours = ["HOME", "LANG", "LOGNAME", "NETSYSRQ_CTI", "NETSYSRQ_KEY", "PATH", "SHELL", "USER"];
    assert_eq!(environment, ours, "{seen}");
    assert_eq!(after("PATH="), ["/usr/sbin:/usr/bin:/sbin:/bin"], "{seen}");
}

/// LMTP sets both limits on memory, but only the soft one on time.
#[test]
fn of_dovecots_limits_a_command_keeps_only_what_cannot_be_lifted() {
    let Some(seen) = look(&dovecot::LMTP) else { return };
    let limit = |name: &str| {
        let line = seen.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(limit("vmemory(kbytes)"), "262144", "{seen}");
    assert_eq!(limit("data(kbytes)"), "262144", "{seen}");
    assert_eq!(limit("time(seconds)"), "unlimited", "{seen}");
}

/// A name without its path, in a .forward file.
fn bare_name(way: &Way) {
    let Some(machine) = Machine::start(way.layers) else { return };
    let host = Host::set_up(&machine, way.user, way.restart);
    (way.set_up)(&machine);
    machine.write("/home/netsysrq/.forward", b"\"|netsysrq-mail deliver --profile mta\"\n");
    machine.shell("chown netsysrq: /home/netsysrq/.forward");
    let send = || {
        let request = mail(&host.sign(&["mark"]));
        send_by_smtp(&machine, "somebody@example.org", &[&way.address()], request.as_bytes());
    };
    send();
    host.await_answers(1);
    machine.shell("mv /usr/bin/netsysrq-mail /usr/local/bin/");
    send();
    let bounced = || machine.sunk().iter().any(|mail| mail.to == "somebody@example.org");
    eventually("the mail is returned", bounced);
    assert_eq!(host.marks(), 1);
}

#[test]
fn postfix_finds_a_bare_name_in_usr_bin_alone() {
    bare_name(&postfix::FORWARD);
}

#[test]
fn exim_finds_a_bare_name_in_usr_bin_alone() {
    bare_name(&exim::FORWARD);
}

#[test]
fn opensmtpd_finds_a_bare_name_in_usr_bin_alone() {
    bare_name(&opensmtpd::FORWARD);
}
