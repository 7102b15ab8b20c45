//! Leaving the mail system's control group: when a service is stopped, its manager kills whatever is in its group, and a
//! runner has to outlive the mail system that called it.

use std::fs;
use std::path::{Path, PathBuf};

/// Moves this process to the top of each hierarchy that it is in (cgroups(7)), as far as it may: root may, where the
/// hierarchy is mounted to be written to. What cannot be left is left alone.
pub fn leave() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let id = std::process::id().to_string();
    for top in tops(&own, Path::new("/sys/fs/cgroup")) {
        let _as_it_is = fs::write(top.join("cgroup.procs"), &id);
    }
}

/// The tops of the hierarchies that `/proc/self/cgroup` names, where this process is not at the top already.
fn tops(own: &str, mount: &Path) -> Vec<PathBuf> {
    let below_top = |line: &&str| !line.ends_with(":/");
    let names = own.lines().filter(below_top).filter_map(|line| line.split(':').nth(1));
    let places = names.map(|name| match name {
        // version 2, alone or beside version 1
        "" if mount.join("unified").is_dir() => mount.join("unified"),
        "" => mount.to_owned(),
        name => mount.join(name.strip_prefix("name=").unwrap_or(name)),
    });
    places.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_each_hierarchy_is_found() {
        let mount = tempfile::tempdir().unwrap();
        let at = |name: &str| mount.path().join(name);
        let unified = "0::/system.slice/postfix@-.service\n";
        assert_eq!(tops(unified, mount.path()), [mount.path()]);
        assert_eq!(tops("0::/\n", mount.path()), Vec::<PathBuf>::new(), "at the top already");
        let hybrid = "12:pids:/a\n1:name=systemd:/system.slice/exim4.service\n0::/a\n";
        fs::create_dir(at("unified")).unwrap();
        assert_eq!(tops(hybrid, mount.path()), [at("pids"), at("systemd"), at("unified")]);
    }
}
