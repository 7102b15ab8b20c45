//! Machines that are well: each sequence does what it says, is announced first, and is not pressed again.

use std::time::Duration;

use crate::guest::{Guest, PATIENCE, Plan};
use crate::kernels::{Kernel, is_long};
use crate::rows::{enter, yes};
use crate::wires::Seen;

/// How a sequence ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Reset,
    Off,
    Panic,
}

/// One request.
#[derive(Clone, Copy, Debug)]
struct Case {
    words: &'static [&'static str],
    fate: Fate,
    /// Whether nothing may be lost.
    is_safe: bool,
    /// By procmail, not by a plain pipe.
    by_procmail: bool,
}

const fn safe(words: &'static [&'static str], fate: Fate) -> Case {
    Case { words, fate, is_safe: true, by_procmail: false }
}

const fn unsafe_(words: &'static [&'static str], fate: Fate) -> Case {
    Case { is_safe: false, ..safe(words, fate) }
}

impl Fate {
    fn when(self, seen: &Seen) -> Option<Duration> {
        match self {
            Self::Reset => seen.console("sysrq: Resetting").and(seen.reset()),
            Self::Off => seen.console("sysrq: Power Off").and(seen.off()),
            Self::Panic => seen.console("sysrq: Trigger a crash").and(seen.reset()),
        }
    }
}

fn ends_the_machine(kernel: Kernel, case: Case) {
    let mut plan = Plan::new(kernel, "well", case.words);
    if case.by_procmail {
        plan = plan.having(&["procmail"]);
        plan.case.push_str("way=procmail\n");
    }
    let Some(guest) = Guest::new(plan) else { return };
    let seen = guest.boot(1, &[]).end(PATIENCE);
    let told = seen.told();
    let ended = case.fate.when(&seen);
    let notice = guest.answers(&seen, "request").into_iter().find(|a| a.stage == "notice");
    let disk = guest.judge();

    let boot = guest.boot(2, &[]);
    let has_back = |seen: &Seen| seen.mails().count() > 0 && seen.word("resumed").is_some();
    boot.wait(PATIENCE, has_back);
    boot.tell("leave");
    let after = boot.end(Duration::from_secs(30));
    let stages: Vec<String> =
        guest.answers(&after, "request").into_iter().map(|a| a.stage).collect();
    let is_inert = after.status("request").is_some_and(|status| status != 75)
        && after.reset().is_none()
        && after.console("sysrq:").is_none();
    let is_back = stages == ["back"];
    let was_first = notice.as_ref().is_some_and(|notice| Some(notice.at) < ended);
    enter(
        "well",
        &[
            kernel.name,
            case.words.last().unwrap(),
            yes(ended.is_some()),
            yes(was_first),
            yes(disk.is_data_there),
            yes(disk.is_journal_clean),
            yes(is_inert),
            yes(is_back),
        ],
    );
    assert!(ended.is_some(), "it did not happen:\n{told}");
    assert!(was_first, "the notice did not leave first:\n{told}");
    assert!(!case.is_safe || disk.is_data_there, "the data is gone:\n{told}");
    assert!(!case.is_safe || disk.is_journal_clean, "the journal is not clean:\n{told}");
    assert!(is_inert, "it was pressed again:\n{}", after.told());
    assert!(is_back, "{stages:?} after it was back:\n{}", after.told());
}

fn reports(kernel: Kernel) {
    let Some(guest) = Guest::new(Plan::new(kernel, "well", &["sysrq", "mtwlpqh"])) else { return };
    let boot = guest.boot(1, &[]);
    boot.wait(PATIENCE, |seen| seen.mails().count() > 0);
    boot.tell("leave");
    let seen = boot.end(Duration::from_secs(30));
    let answers = guest.answers(&seen, "request");
    let [answer] = answers.as_slice() else { panic!("{}", seen.told()) };
    let said = ["Show Memory", "Show State", "Show Blocked State", "HELP : "];
    let is_whole = said.iter().all(|said| answer.output.contains(said));
    let happened = yes(is_whole && answer.stage == "result");
    enter("well", &[kernel.name, "mtwlpqh", happened, "-", "-", "-", "-", "-"]);
    assert!(is_whole, "{}\n{}", answer.output, seen.told());
    assert!(seen.reset().is_none() && seen.off().is_some(), "{}", seen.told());
}

macro_rules! kernels {
    ($($name:ident: $kernel:ident,)*) => {$(
        mod $name {
            use super::{Case, Fate, ends_the_machine, is_long, reports, safe, unsafe_};
            use crate::kernels::$kernel as KERNEL;

            fn at_length(case: Case) {
                if is_long() {
                    ends_the_machine(KERNEL, case);
                } else {
                    eprintln!("SKIPPED: for ./test --long");
                }
            }

            #[test]
            fn reboot_safe_loses_nothing_and_is_announced_and_answered() {
                ends_the_machine(KERNEL, safe(&["reboot-safe"], Fate::Reset));
            }
            #[test]
            fn poweroff_safe_by_procmail_loses_nothing_and_switches_off() {
                let case = safe(&["poweroff-safe"], Fate::Off);
                ends_the_machine(KERNEL, Case { by_procmail: true, ..case });
            }
            #[test]
            fn sisub_outlives_its_own_kill_and_loses_nothing() {
                ends_the_machine(KERNEL, safe(&["sysrq", "sisub"], Fate::Reset));
            }
            #[test]
            fn reports_are_mailed_and_the_machine_goes_on() {
                reports(KERNEL);
            }
            #[test]
            fn sub_loses_nothing() {
                at_length(safe(&["sysrq", "sub"], Fate::Reset));
            }
            #[test]
            fn reisub_outlives_its_own_signals_and_loses_nothing() {
                at_length(safe(&["sysrq", "reisub"], Fate::Reset));
            }
            #[test]
            fn suo_loses_nothing_and_switches_off() {
                at_length(safe(&["sysrq", "suo"], Fate::Off));
            }
            #[test]
            fn o_switches_off_and_is_not_pressed_again() {
                at_length(unsafe_(&["sysrq", "o"], Fate::Off));
            }
            #[test]
            fn c_crashes_and_is_not_pressed_again() {
                at_length(unsafe_(&["sysrq", "c"], Fate::Panic));
            }
            #[test]
            fn reboot_now_resets_and_is_not_pressed_again() {
                at_length(unsafe_(&["reboot-now"], Fate::Reset));
            }
        }
    )*};
}

kernels! {
    linux_5_10: LINUX_5_10,
    linux_6_1: LINUX_6_1,
    linux_6_12: LINUX_6_12,
    linux_newest: NEWEST,
}
