//! The program under strace(1), which writes down its system calls and injects faults and signals.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{PROGRAM, Ran, Site, missing, needed, run};

/// strace, if it is installed and may trace.
pub(crate) fn strace() -> Option<PathBuf> {
    let strace = needed("strace")?;
    let tried = run(Command::new(&strace).args(["-o", "/dev/null", "/bin/true"]), b"");
    if tried.status != 0 {
        missing("the right to trace a process");
        return None;
    }
    Some(strace)
}

/// What a traced run left behind.
pub(crate) struct Traced {
    pub(crate) ran: Ran,
    pub(crate) calls: Vec<String>,
}

impl Traced {
    /// The lines that it sent to the log.
    pub(crate) fn log(&self) -> Vec<String> {
        let line = |call: &String| {
            let (_, text) = call.split_once("netsysrq-mail[")?.1.split_once("]: ")?;
            let (text, _) = text.rsplit_once(", MSG_NOSIGNAL")?.0.rsplit_once("\", ")?;
            call.contains("sendto(").then(|| text.to_owned())
        };
        self.calls.iter().filter_map(line).collect()
    }

    /// The first call that was made to fail.
    pub(crate) fn fault(&self) -> Option<usize> {
        self.calls.iter().position(|call| call.contains("(INJECTED)"))
    }

    /// Whether the claim was certainly on the disk before anything failed.
    pub(crate) fn was_durable(&self) -> bool {
        let before = &self.calls[..self.fault().unwrap_or(self.calls.len())];
        let named = before.iter().position(|call| {
            (call.starts_with("renameat2(") || call.starts_with("linkat("))
                && call.contains("/spool/")
                && call.ends_with("= 0")
        });
        let synced = |call: &&String| call.starts_with("fsync(") && call.ends_with("= 0");
        named.is_some_and(|named| before[named..].iter().filter(synced).count() >= 3)
    }
}

/// Runs the program under strace; `options` say what to inject and which processes to follow.
pub(crate) fn traced(
    site: &Site,
    strace: &PathBuf,
    options: &[String],
    arguments: &[&str],
    stdin: &str,
) -> Traced {
    let output = tempfile::NamedTempFile::new_in(site.root()).unwrap();
    let mut command = Command::new(strace);
    command.args(["-y", "-s", "2000", "-o"]).arg(output.path()).args(options);
    command.arg(PROGRAM).arg("--config").arg(site.path("config.toml")).args(arguments);
    let ran = run(&mut command, stdin.as_bytes());
    let text = String::from_utf8_lossy(&fs::read(output.path()).unwrap()).into_owned();
    Traced { ran, calls: text.lines().map(ToOwned::to_owned).collect() }
}
