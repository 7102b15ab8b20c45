//! Before others: what a request that was verified, and what comes of it, may ask of a machine in trouble.
//!
//! Memory that is not taken away, a processor before others, and not to be the first that the kernel kills for its
//! memory. What we may not have we do without. Commands and mail systems get none of it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::setpriority_process;

/// proc_pid_oom_score_adj(5): never chosen; and chosen as any other.
const NEVER: &str = "-1000";
const LIKE_OTHERS: &str = "0";
const OOM: &str = "/proc/self/oom_score_adj";

/// Whether this process has risen.
static RISEN: AtomicBool = AtomicBool::new(false);

/// Goes before others, as far as this user may.
pub fn rise() {
    RISEN.store(true, Ordering::Relaxed);
    let _as_it_is = setpriority_process(None, -20);
    let _as_it_is = fs::write(OOM, NEVER);
}

/// Keeps the memory that we have by now: once all that an emergency needs is in it.
pub fn keep_memory() {
    let _as_it_is = mlockall(MlockAllFlags::CURRENT);
}

/// Is like others again: for what a command becomes. Locked memory is not inherited.
pub fn calm() {
    let _as_it_is = setpriority_process(None, 0);
    let _as_it_is = fs::write(OOM, LIKE_OTHERS);
}

/// Starts a process that is like others, whatever we are.
pub fn calmly<T>(start: impl FnOnce() -> T) -> T {
    if !RISEN.load(Ordering::Relaxed) {
        return start();
    }
    calm();
    let started = start();
    rise();
    started
}
