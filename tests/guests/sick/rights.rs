//! The kernel's trigger in the hands of a runner that the kernel would not spare.

use std::time::Duration;

use super::{Sick, on_kernels};
use crate::guest::{PATIENCE, Plan};
use crate::kernels::Kernel;

on_kernels! {
    sisub_from_a_pid_namespace_is_unavailable_and_kills_nobody,
    sisub_by_a_user_is_unavailable_and_kills_nobody,
}

fn sisub_from_a_pid_namespace_is_unavailable_and_kills_nobody(kernel: Kernel) {
    is_unavailable(kernel, "root in another pid namespace", "namespace");
}

fn sisub_by_a_user_is_unavailable_and_kills_nobody(kernel: Kernel) {
    is_unavailable(kernel, "a user who may write to the trigger", "group");
}

fn is_unavailable(kernel: Kernel, wrong: &'static str, whose: &str) {
    let mut plan = Plan::new(kernel, "elsewhere", &["sysrq", "sisub"]);
    plan.case = format!("whose={whose}\n");
    let Some(sick) = Sick::new(wrong, plan) else { return };
    let boot = sick.boot();
    boot.wait(PATIENCE, |seen| seen.word("bystander").is_some());
    let seen = boot.end(Duration::ZERO);
    let lives = seen.word("bystander lives").is_some();
    let answers = sick.guest.answers(&seen, "request");
    let verdicts: Vec<(&str, &str)> =
        answers.iter().map(|a| (a.stage.as_str(), a.verdict.as_str())).collect();
    let is_said = verdicts == [("result", "unavailable")];
    let happened = match (lives, is_said) {
        (true, true) => "unavailable, nobody is killed",
        (true, false) => "not said, nobody is killed",
        (false, _) => "all processes are killed",
    };
    sick.enter(happened, None, "-");
    assert!(lives && is_said, "{wrong}: {happened}, {verdicts:?}:\n{}", seen.told());
    assert!(seen.console("sysrq:").is_none(), "a key was pressed:\n{}", seen.told());
}
