//! Machines that are sick: what was announced comes, what cannot be done is said, and nobody waits for ever.

use std::time::Duration;

use crate::guest::{Boot, Guest, PATIENCE, Plan};
use crate::kernels::{Kernel, is_long};
use crate::rows::enter;
use crate::wires::Seen;

mod hung;
mod later;
mod loud;
mod rights;
mod scarce;
mod storage;

/// One thing that is wrong with a machine.
#[derive(Debug)]
struct Sick {
    guest: Guest,
    wrong: &'static str,
}

impl Sick {
    /// `None`, and that is said, if something that it needs is missing.
    fn new(wrong: &'static str, plan: Plan) -> Option<Self> {
        Some(Self { guest: Guest::new(plan)?, wrong })
    }

    fn boot(&self) -> Boot {
        self.guest.boot(1, &[])
    }

    /// Leaves the row of this case.
    fn enter(&self, happened: &str, after: Option<Duration>, lost: &str) {
        let seconds = after.map_or("-".to_owned(), |after| format!("{:.1}", after.as_secs_f64()));
        let plan = &self.guest.plan;
        let asked = plan.requests[0].1.last().unwrap();
        enter("sick", &[plan.kernel.name, self.wrong, asked, happened, &seconds, lost]);
    }

    /// A mail ends in a reset, within `limit` of its delivery.
    fn resets_within(&self, limit: Duration) -> Seen {
        let boot = self.boot();
        boot.wait(PATIENCE, |seen| seen.word("delivering request").is_some());
        self.resets(boot, limit)
    }

    /// The same, of a guest that is at its delivery.
    fn resets(&self, boot: Boot, limit: Duration) -> Seen {
        let seen = boot.end(limit);
        let begun = seen.word("delivering request");
        let after = seen.reset().zip(begun).map(|(reset, begun)| reset - begun);
        let is_reset = after.is_some() && seen.console("sysrq: Resetting").is_some();
        self.enter(if is_reset { "reset" } else { "no reset" }, after, &self.lost());
        assert!(is_reset, "{}: no reset within {limit:?}:\n{}", self.wrong, seen.told());
        seen
    }

    /// What is not on the disk, of what should be.
    fn lost(&self) -> String {
        let disk = self.guest.judge();
        let lost = [(disk.is_data_there, "data"), (disk.is_journal_clean, "clean journal")];
        let lost: Vec<&str> = lost.into_iter().filter(|part| !part.0).map(|part| part.1).collect();
        if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") }
    }

    fn loses_nothing(&self) {
        assert_eq!(self.lost(), "nothing", "{}", self.wrong);
    }

    /// A notice left before the machine was reset.
    fn was_announced(&self, seen: &Seen) {
        let notice = self.guest.answers(seen, "request").into_iter().find(|a| a.stage == "notice");
        let first = notice.is_some_and(|notice| Some(notice.at) < seen.reset());
        assert!(first, "{}: no notice first:\n{}", self.wrong, seen.told());
    }
}

/// Another kernel than the first is for a long run.
fn is_for_now(kernel: Kernel) -> bool {
    let now = kernel.name == "6.1" || is_long();
    if !now {
        eprintln!("SKIPPED: for ./test --long");
    }
    now
}

/// Each case once on each kernel.
macro_rules! on_kernels {
    ($($name:ident,)*) => {
        on_kernels!(@linux_5_10 LINUX_5_10 $($name,)*);
        on_kernels!(@linux_6_1 LINUX_6_1 $($name,)*);
        on_kernels!(@linux_6_12 LINUX_6_12 $($name,)*);
        on_kernels!(@linux_newest NEWEST $($name,)*);
    };
    (@$module:ident $kernel:ident $($name:ident,)*) => {
        mod $module {
            $(#[test]
            fn $name() {
                if crate::sick::is_for_now(crate::kernels::$kernel) {
                    super::$name(crate::kernels::$kernel);
                }
            })*
        }
    };
}
use on_kernels;
