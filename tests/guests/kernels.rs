//! The kernels that guests boot, and what else a guest is made from.

use std::path::{Path, PathBuf};

use crate::support::{PROGRAM, missing};

/// One kernel: Debian's own, unpacked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// As the table calls it.
    pub(crate) name: &'static str,
    directory: &'static str,
    is_long: bool,
}

/// Of bookworm.
pub(crate) const LINUX_6_1: Kernel = Kernel { name: "6.1", directory: "stock", is_long: false };
/// Of bookworm, later.
pub(crate) const LINUX_6_12: Kernel = Kernel { name: "6.12", directory: "6.12", is_long: false };
/// Of bullseye.
pub(crate) const LINUX_5_10: Kernel = Kernel { name: "5.10", directory: "5.10", is_long: true };
/// Of trixie-backports, whatever that is today.
pub(crate) const NEWEST: Kernel = Kernel { name: "newest", directory: "newest", is_long: true };

/// Whether this run may take long.
pub(crate) fn is_long() -> bool {
    std::env::var_os("NETSYSRQ_TEST_LONG").is_some()
}

impl Kernel {
    /// Where it is; `None`, and that is said, if it is not for this run or missing.
    pub(crate) fn find(self) -> Option<PathBuf> {
        if self.is_long && !is_long() {
            eprintln!("SKIPPED: Linux {} is for ./test --long", self.name);
            return None;
        }
        let kernels = std::env::var_os("NETSYSRQ_TEST_KERNELS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/kernel"),
            PathBuf::from,
        );
        let kernel = kernels.join(self.directory);
        if kernel.join("modules/dm-mod.ko").exists() {
            return Some(kernel);
        }
        missing(&format!("Linux {} for guests", self.name));
        None
    }
}

/// The program under test, as guests run it: a static build where there is one, else with its libraries.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("NETSYSRQ_TEST_STATIC").map_or_else(|| PROGRAM.into(), PathBuf::from)
}
