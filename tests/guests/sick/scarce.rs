//! Nothing can be made: no thread, no process.

use std::time::Duration;

use super::{Sick, on_kernels};
use crate::guest::Plan;
use crate::kernels::Kernel;

on_kernels! {
    an_announced_reboot_comes_where_no_thread_can_be_made,
    a_delivery_presses_itself_where_nothing_can_be_forked,
    reboot_now_comes_where_nothing_can_be_forked,
}

const LIMIT: Duration = Duration::from_secs(60);

fn scarce(kernel: Kernel, request: &[&'static str], options: &str) -> Plan {
    let mut plan = Plan::new(kernel, "scarce", request);
    plan.case = format!("options={options}\n");
    plan
}

fn an_announced_reboot_comes_where_no_thread_can_be_made(kernel: Kernel) {
    let plan = scarce(kernel, &["reboot-safe"], "--wait").with(
        "[answer.sendmail]\npath = \"/bin/sendmail\"",
        "transport = \"file\"\n[answer.file]\ndirectory = \"/disk\"",
    );
    let Some(sick) = Sick::new("no thread can be made", plan) else { return };
    sick.resets_within(LIMIT);
    assert!(sick.guest.list("/").contains(".notice.eml"), "{}", sick.guest.list("/"));
    sick.loses_nothing();
}

fn a_delivery_presses_itself_where_nothing_can_be_forked(kernel: Kernel) {
    let Some(sick) = Sick::new("nothing can be forked", scarce(kernel, &["reboot-safe"], ""))
    else {
        return;
    };
    sick.resets_within(LIMIT);
    sick.loses_nothing();
}

fn reboot_now_comes_where_nothing_can_be_forked(kernel: Kernel) {
    let Some(sick) = Sick::new("nothing can be forked", scarce(kernel, &["reboot-now"], "")) else {
        return;
    };
    sick.resets_within(LIMIT);
}
