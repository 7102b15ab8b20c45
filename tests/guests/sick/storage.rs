//! The disk: full, or read-only.

use std::time::Duration;

use super::{Sick, on_kernels};
use crate::guest::{PATIENCE, Plan};
use crate::kernels::Kernel;

on_kernels! {
    a_full_disk_stops_no_reboot,
    a_read_only_spool_ends_in_a_reset_or_75,
}

const LIMIT: Duration = Duration::from_secs(60);

fn storage(kernel: Kernel, how: &str) -> Plan {
    let mut plan = Plan::new(kernel, "storage", &["reboot-safe"]);
    plan.case = format!("how={how}\n");
    plan
}

fn a_full_disk_stops_no_reboot(kernel: Kernel) {
    let Some(sick) = Sick::new("the disk is full", storage(kernel, "full")) else { return };
    let seen = sick.resets_within(LIMIT);
    sick.was_announced(&seen);
    sick.loses_nothing();
}

fn a_read_only_spool_ends_in_a_reset_or_75(kernel: Kernel) {
    let plan = storage(kernel, "errors");
    let Some(sick) = Sick::new("read-only after an error", plan) else { return };
    let boot = sick.boot();
    boot.wait(PATIENCE, |seen| seen.word("delivering request").is_some());
    boot.wait(LIMIT, |seen| seen.status("request").is_some_and(|status| status != 0));
    let seen = boot.end(Duration::from_secs(1));
    let (reset, status) = (seen.reset(), seen.status("request"));
    let happened = match (reset, status) {
        (Some(_), _) => "reset".to_owned(),
        (None, Some(status)) => format!("status {status}, no reset"),
        (None, None) => "the delivery never ended".to_owned(),
    };
    let ended = reset.or(seen.word("status request"));
    let after = ended.zip(seen.word("delivering request")).map(|(end, begun)| end - begun);
    sick.enter(&happened, after, "-");
    assert!(seen.console("Remounting filesystem read-only").is_some(), "{}", seen.told());
    assert!(reset.is_some() || status == Some(75), "{happened}:\n{}", seen.told());
}
