//! The launcher: our own binary once more, which becomes the command. Without unsafe code a process can only change its
//! own rights: it sets session, limits, groups, gid, uid and no-new-privileges, then execs.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit, setsid, umask};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::urgency;

/// The verb of the launcher: not for people.
pub const LAUNCHER: &str = "launch";

/// Closes what mail systems leave open in their children (Dovecot: a dozen, the client's socket among them): with it, a
/// runner would hold a delivery open, and a command could read it. Call this before anything of ours is open.
pub fn close_leaked_descriptors() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // the directory's own descriptor is closed already
        let _gone = nix::unistd::close(number);
    }
}

/// The launcher: takes on the rights of an account and becomes the command. Returns only to say why it could not.
#[must_use]
pub fn launch(arguments: &[String]) -> String {
    close_leaked_descriptors();
    let Ok(fault_pipe) = io::stderr().as_fd().try_clone_to_owned() else {
        return "no descriptor left".to_owned();
    };
    let error = match become_command(arguments) {
        Ok(error) | Err(error) => error.to_string(),
    };
    // the runner reads this; without one there is nobody to tell
    drop(File::from(fault_pipe).write_all(error.as_bytes()));
    error
}

/// Returns the error of a step, or of the exec; after a success there is nothing to return to.
fn become_command(arguments: &[String]) -> io::Result<io::Error> {
    let invalid = || io::Error::from(ErrorKind::InvalidInput);
    let [uid, gid, groups, confined, dashes, program, words @ ..] = arguments else {
        return Err(invalid());
    };
    if dashes != "--" {
        return Err(invalid());
    }
    rustix::stdio::dup2_stderr(io::stdout())?;
    setsid()?;
    urgency::calm();
    umask(Mode::from_raw_mode(0o077));
    raise_soft_limits();
    let number = |text: &String| text.parse::<u32>().map_err(|_| invalid());
    let (uid, gid) = (number(uid)?, number(gid)?);
    if rustix::process::geteuid().is_root() {
        let groups = groups.split(',').map(|g| g.parse().map(Gid::from_raw).map_err(|_| invalid()));
        set_thread_groups(&groups.collect::<io::Result<Vec<_>>>()?)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    if rustix::process::geteuid().as_raw() != uid {
        return Err(io::Error::other(
            "cannot take on the rights of another user without being root",
        ));
    }
    if confined == "confined" {
        set_no_new_privs(true)?;
    }
    let_signals_through()?;
    let error = Command::new(program).args(words).exec();
    Ok(io::Error::new(error.kind(), format!("{program}: {error}")))
}

/// Mail systems leave signals ignored (Exim: HUP, INT, USR1, TERM) or blocked, and a command would inherit that: a daemon
/// that it restarts could not be stopped again. A signal with a handler gets its default back at exec; SIGPIPE is left
/// to [`CommandExt::exec`].
fn let_signals_through() -> io::Result<()> {
    use signal_hook::consts::FORBIDDEN;
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    // all but the real-time ones
    let mut signals = (1..32).filter(|signal| !FORBIDDEN.contains(signal));
    signals.try_for_each(|signal| signal_hook::flag::register(signal, Arc::default()).map(drop))
}

/// Mail systems lower them (Dovecot: 256 MiB of address space); what cannot be raised stays as it is.
fn raise_soft_limits() {
    for resource in [Resource::As, Resource::Data, Resource::Cpu, Resource::Fsize] {
        let maximum = getrlimit(resource).maximum;
        let _as_it_is = setrlimit(resource, Rlimit { current: maximum, maximum });
    }
}
