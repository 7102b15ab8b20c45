//! Something hangs in the kernel, and whoever touches it cannot even be killed.

use std::time::Duration;

use super::{Sick, on_kernels};
use crate::guest::{PATIENCE, Plan};
use crate::kernels::Kernel;
use crate::wires::{Seen, Source};

on_kernels! {
    a_sendmail_that_cannot_be_killed_stops_no_announced_reboot,
    a_second_file_system_that_hangs_stops_no_reboot,
    a_spool_that_hangs_during_settle_stops_no_reboot,
    a_command_that_cannot_be_killed_is_answered_and_gives_its_place_back,
}

/// Notice, sync(2), `s` and `u` take 10 s each at most, here.
const LIMIT: Duration = Duration::from_secs(80);
/// For a delivery to a spool that hangs.
const DEFERRED: Duration = Duration::from_secs(60);
/// For a command with a time-out of 2 s and a grace of 1 s.
const ANSWERED: Duration = Duration::from_secs(15);

fn hung(kernel: Kernel, what: &str, request: &[&'static str]) -> Plan {
    let mut plan = Plan::new(kernel, "hung", request).having(&["dmsetup"]);
    plan.case = format!("hung={what}\n");
    plan
}

fn a_sendmail_that_cannot_be_killed_stops_no_announced_reboot(kernel: Kernel) {
    let plan = hung(kernel, "queue", &["reboot-safe"]);
    let Some(sick) = Sick::new("sendmail hangs on its queue", plan) else { return };
    sick.resets_within(LIMIT);
}

fn a_second_file_system_that_hangs_stops_no_reboot(kernel: Kernel) {
    let plan = hung(kernel, "other", &["reboot-safe"]);
    let Some(sick) = Sick::new("a second file system hangs", plan) else { return };
    let seen = sick.resets_within(LIMIT);
    sick.was_announced(&seen);
}

#[test]
#[ignore = "issue 10: a delivery still waits for a spool that hangs"]
fn a_hung_spool_ends_a_delivery_on_linux_6_1() {
    a_hung_spool_ends_a_delivery_and_the_mail_comes_again(crate::kernels::LINUX_6_1);
}

fn a_hung_spool_ends_a_delivery_and_the_mail_comes_again(kernel: Kernel) {
    let plan = hung(kernel, "spool", &["mark"]);
    let Some(sick) = Sick::new("the spool hangs before", plan) else { return };
    let boot = sick.boot();
    boot.wait(PATIENCE, |seen| seen.word("delivering request").is_some());
    boot.wait(DEFERRED, |seen| seen.status("request").is_some());
    let status = boot.seen().status("request");
    boot.tell("unhang spool; deliver request");
    boot.wait(ANSWERED, |seen| seen.mails().count() > 0);
    boot.tell("leave");
    let seen = boot.end(Duration::from_secs(30));
    let words = (seen.word("status request"), seen.word("delivering request"));
    let after = status.and(words.0.zip(words.1)).map(|(status, begun)| status - begun);
    let stages: Vec<String> =
        sick.guest.answers(&seen, "request").into_iter().map(|a| a.stage).collect();
    let is_answered = stages == ["result"];
    let status = status.map_or("never ended".to_owned(), |status| format!("status {status}"));
    let answered = if is_answered { "answered" } else { "not answered" };
    sick.enter(&format!("{status}, then {answered}"), after, "-");
    assert_eq!(status, "status 75", "{}", seen.told());
    assert!(is_answered, "{stages:?}:\n{}", seen.told());
    assert_eq!(sick.guest.read("/marks"), "ran\n", "{}", seen.told());
}

fn a_spool_that_hangs_during_settle_stops_no_reboot(kernel: Kernel) {
    let mut plan =
        hung(kernel, "spool", &["reboot-safe"]).with(r#"settle = "2s""#, r#"settle = "6s""#);
    plan.case.push_str("when=settle\n");
    let Some(sick) = Sick::new("the spool hangs during settle", plan) else { return };
    let boot = sick.boot();
    boot.wait(PATIENCE, |seen| seen.mails().count() > 0);
    boot.tell("hang spool; say hung");
    let seen = sick.resets(boot, LIMIT);
    assert!(seen.word("hung") < seen.console("sysrq:"), "too late:\n{}", seen.told());
    sick.was_announced(&seen);
}

fn a_command_that_cannot_be_killed_is_answered_and_gives_its_place_back(kernel: Kernel) {
    let plan = hung(kernel, "command", &["stuck"]).and("mark", &["mark"]);
    let Some(sick) = Sick::new("a command hangs", plan) else { return };
    let boot = sick.boot();
    boot.wait(PATIENCE, |seen| seen.word("status request").is_some());
    boot.tell("deliver mark");
    boot.wait(ANSWERED, |seen| seen.mails().count() > 0);
    boot.wait(ANSWERED, |seen| seen.mails().count() > 1);
    let seen = boot.end(Duration::ZERO);
    let answer = sick.guest.answers(&seen, "request").into_iter().next();
    let after = answer.as_ref().zip(seen.word("delivering request")).map(|(a, begun)| a.at - begun);
    let next = sick.guest.answers(&seen, "mark");
    let happened = match (&answer, next.as_slice()) {
        (Some(_), [_]) => "answered, and the next one too",
        (Some(_), _) => "answered; its place is gone",
        (None, _) => "not answered",
    };
    sick.enter(happened, after, "-");
    assert!(answer.is_some() && next.len() == 1, "{happened}:\n{}", seen.told());
    assert!(is_in_d_state(&seen), "it could be killed:\n{}", seen.told());
}

/// The scene of a command lists the processes that cannot be killed.
fn is_in_d_state(seen: &Seen) -> bool {
    seen.when(Source::Word, "in D state: dd").is_some()
}
