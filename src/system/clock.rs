//! The machine's clock and boot id.

use std::fs;
use std::io;
use std::time::SystemTime;

use crate::protocol::time::Time;

/// Now, by the machine's clock.
#[must_use]
pub fn now() -> Time {
    SystemTime::now().into()
}

/// When the kernel was started (proc_stat(5), `btime`); now, if it does not say.
#[must_use]
pub fn boot_time() -> Time {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    line.map_or_else(now, Time::from_unix)
}

/// The kernel's id of this boot (proc_sys_kernel(5), `random/boot_id`); `unknown` if there is none.
///
/// # Errors
/// When there is one and it cannot be read: to report another boot could be untrue.
pub fn boot_id() -> io::Result<String> {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("unknown".to_owned()),
        Err(error) => Err(error),
    }
}
