//! What comes after: another clock, or a boot that nobody pressed for.

use std::time::Duration;

use super::{Sick, on_kernels};
use crate::guest::{PATIENCE, Plan};
use crate::kernels::Kernel;
use crate::wires::Seen;

on_kernels! {
    a_clock_years_ahead_makes_no_nonsense_of_the_answer,
    a_clock_years_behind_makes_no_nonsense_of_the_answer,
    a_power_cut_between_s_and_b_presses_nothing_again,
}

fn a_clock_years_ahead_makes_no_nonsense_of_the_answer(kernel: Kernel) {
    comes_back(kernel, "the clock is years ahead when it is back", "base=2036-02-29T12:00:00");
}

fn a_clock_years_behind_makes_no_nonsense_of_the_answer(kernel: Kernel) {
    comes_back(kernel, "the clock is years behind when it is back", "base=2020-02-29T12:00:00");
}

fn comes_back(kernel: Kernel, wrong: &'static str, clock: &str) {
    let plan = Plan::new(kernel, "well", &["reboot-now"]);
    let Some(sick) = Sick::new(wrong, plan) else { return };
    let seen = sick.boot().end(PATIENCE);
    assert!(seen.reset().is_some(), "{}", seen.told());
    let after = again(&sick, &["-rtc", clock]);
    let answers = sick.guest.answers(&after, "request");
    let headlines: Vec<&str> = answers.iter().filter_map(|a| headline(&a.text)).collect();
    let happened =
        if headlines.is_empty() { "not answered".to_owned() } else { headlines.join("; ") };
    let is_sane =
        headlines.len() == 1 && !headlines[0].contains(" 0 s ") && seconds(headlines[0]) < 86_400;
    sick.enter(&happened, None, "-");
    assert!(is_sane, "{happened}:\n{}", after.told());
}

/// Boots once more, and delivers the mail again.
fn again(sick: &Sick, options: &[&str]) -> Seen {
    let boot = sick.guest.boot(2, options);
    boot.wait(PATIENCE, |seen| seen.mails().count() > 0 && seen.word("resumed").is_some());
    boot.tell("leave");
    boot.end(Duration::from_secs(30))
}

/// The line of an answer that says that the machine is back.
fn headline(mail: &str) -> Option<&str> {
    mail.lines().find(|line| line.contains("back up")).map(str::trim)
}

/// The first number of a line that is followed by `s`.
fn seconds(line: &str) -> u64 {
    let words: Vec<&str> = line.split_whitespace().collect();
    let before_s = words.windows(2).find(|pair| pair[1] == "s");
    before_s.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

fn a_power_cut_between_s_and_b_presses_nothing_again(kernel: Kernel) {
    let mut plan = Plan::new(kernel, "hung", &["reboot-safe"]).having(&["dmsetup"]);
    // it makes `s` and `u` take long
    plan.case = "hung=other\n".to_owned();
    let Some(sick) = Sick::new("the power is cut between s and b", plan) else { return };
    let mut boot = sick.boot();
    boot.wait(PATIENCE, |seen| seen.console("sysrq: Emergency Sync").is_some());
    boot.cut();
    let seen = boot.end(Duration::ZERO);
    assert!(seen.console("sysrq: Emergency Sync").is_some(), "{}", seen.told());
    assert!(seen.reset().is_none(), "{}", seen.told());
    let lost = sick.lost();
    let after = again(&sick, &[]);
    let stages: Vec<String> =
        sick.guest.answers(&after, "request").into_iter().map(|a| a.stage).collect();
    sick.enter(&format!("answered {} when it was back", stages.join(", ")), None, &lost);
    assert!(after.reset().is_none() && after.console("sysrq:").is_none(), "{}", after.told());
    assert_eq!(stages, ["back"], "{}", after.told());
}
