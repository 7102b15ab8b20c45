//! The kernel's log: too much in it, or none.

use std::time::Duration;

use super::{Sick, on_kernels};
use crate::guest::{PATIENCE, Plan};
use crate::kernels::Kernel;

on_kernels! {
    a_report_on_many_processes_is_whole_or_counts_its_losses,
    a_flooded_log_stops_no_reboot,
    a_missing_log_stops_no_reboot,
}

const PROCESSES: usize = 1500;
const LIMIT: Duration = Duration::from_secs(80);

fn loud(kernel: Kernel, how: &str, request: &[&'static str]) -> Plan {
    let mut plan = Plan::new(kernel, "loud", request);
    plan.case = format!("how={how}\n");
    plan
}

fn a_report_on_many_processes_is_whole_or_counts_its_losses(kernel: Kernel) {
    let mut plan = loud(kernel, "crowd", &["sysrq", "t"]);
    plan.case.push_str(&format!("processes={PROCESSES}\n"));
    plan.memory = 1024;
    let Some(sick) = Sick::new("1,500 processes", plan) else { return };
    let boot = sick.boot();
    boot.wait(PATIENCE, |seen| seen.mails().count() > 0);
    let seen = boot.end(Duration::ZERO);
    let answers = sick.guest.answers(&seen, "request");
    let [answer] = answers.as_slice() else { panic!("{}", seen.told()) };
    let tasks = answer.output.matches("task:").count();
    let losses = losses(&answer.text);
    let said = losses.clone().unwrap_or_else(|| "nothing said of losses".to_owned());
    let after = seen.word("delivering request").map(|begun| answer.at - begun);
    sick.enter(&format!("{tasks} tasks told, {said}"), after, "-");
    assert!(tasks >= PROCESSES || losses.is_some(), "{tasks} tasks, {said}:\n{}", answer.text);
}

/// The line that says with a count what the kernel overwrote before it was read.
fn losses(mail: &str) -> Option<String> {
    let words = ["lost", "missed", "missing", "overwritten", "overwrote"];
    let is_count = |line: &&str| {
        line.chars().any(|c| c.is_ascii_digit()) && words.iter().any(|word| line.contains(word))
    };
    mail.lines().find(is_count).map(|line| line.trim().to_owned())
}

fn a_flooded_log_stops_no_reboot(kernel: Kernel) {
    let Some(sick) = Sick::new("the log is flooded", loud(kernel, "flood", &["sysrq", "sub"]))
    else {
        return;
    };
    let seen = sick.resets_within(LIMIT);
    sick.was_announced(&seen);
    sick.loses_nothing();
}

fn a_missing_log_stops_no_reboot(kernel: Kernel) {
    let Some(sick) = Sick::new("no /dev/kmsg", loud(kernel, "silent", &["reboot-safe"])) else {
        return;
    };
    let seen = sick.resets_within(LIMIT);
    sick.was_announced(&seen);
    sick.loses_nothing();
}
