//! Running a command: with the rights of its account, an environment built from nothing, a deadline on its whole
//! process group, and a cap on its output.
//!
//! A launcher starts the command: our own binary once more, since without unsafe code a process can only change its own
//! rights. It sets session, limits, groups, gid, uid and no-new-privileges, then execs. What goes wrong in it is
//! reported over a pipe that a successful exec closes.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::process::{
    Gid, Pid, PidfdFlags, Resource, Rlimit, Signal, Uid, getrlimit, kill_process_group, pidfd_open,
    setrlimit, setsid, umask,
};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::protocol::job::outcome::End;
use crate::protocol::job::outcome::Outcome;
use crate::protocol::rules::command::{Account, Command as Template};

/// The verb of the launcher: not for people.
pub const LAUNCHER: &str = "launch";
/// The search path of everything that we start.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How long output is awaited after the command itself has ended.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Runs `argv` as its template says.
#[must_use]
pub fn run(template: &Template, argv: &[String], key: &str, cti: &str) -> Outcome {
    let begun = Instant::now();
    let mut outcome = match start(template, argv, key, cti) {
        Ok(running) => running.watch(template),
        Err(error) => Outcome::bare(End::NotStarted(error.to_string())),
    };
    outcome.duration = Some(begun.elapsed());
    outcome
}

struct Running {
    child: Child,
    group: Pid,
    output: PipeReader,
}

fn start(template: &Template, argv: &[String], key: &str, cti: &str) -> io::Result<Running> {
    let (output, stdout) = io::pipe()?;
    let (mut faults, stderr) = io::pipe()?;
    let Account { name, uid, gid, groups, home, shell } = &template.account;
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let child = Command::new("/proc/self/exe")
        .arg0("netsysrq-mail")
        .args([LAUNCHER, &uid.to_string(), &gid.to_string(), &groups.join(",")])
        .arg(if template.no_new_privileges { "confined" } else { "free" })
        .arg("--")
        .args(argv)
        .env_clear()
        .envs([("PATH", PATH), ("LANG", "C.UTF-8"), ("HOME", home), ("SHELL", shell)])
        .envs([("USER", name), ("LOGNAME", name)])
        .envs([("NETSYSRQ_KEY", key), ("NETSYSRQ_CTI", cti)])
        .envs(&template.env)
        .current_dir(&template.cwd)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("in {}: {error}", template.cwd)))?;
    let group = pid(&child)?;
    let mut fault = String::new();
    faults.read_to_string(&mut fault)?;
    if fault.is_empty() {
        return Ok(Running { child, group, output });
    }
    let mut child = child;
    child.wait()?;
    Err(io::Error::other(fault))
}

impl Running {
    /// Reads output until the command has ended, stopping its process group at the deadline.
    fn watch(mut self, template: &Template) -> Outcome {
        let mut kept =
            Kept { octets: Vec::new(), limit: template.output_limit, dropped: 0, at_end: false };
        let mut stops =
            [(template.timeout, Signal::TERM), (template.grace, Signal::KILL)].into_iter();
        let mut stop = stops.next();
        let mut timed_out = false;
        let mut begun = Instant::now();
        let ended = pidfd_open(self.group, PidfdFlags::empty());
        while let Ok(ended) = &ended {
            let wait = stop.map(|(after, _)| after.saturating_sub(begun.elapsed()));
            match self.turn(ended.as_fd(), wait, &mut kept) {
                Ok(Turn::Ended) => break,
                Ok(Turn::Waiting) => {}
                Err(_) => break,
            }
            if let Some((after, signal)) = stop
                && begun.elapsed() >= after
            {
                timed_out = true;
                let _gone = kill_process_group(self.group, signal);
                stop = stops.next();
                begun = Instant::now();
            }
        }
        self.drain(&mut kept);
        // the leader has not been waited for yet, so its number still names this group
        let _gone = kill_process_group(self.group, Signal::KILL);
        let end = match self.child.wait() {
            Ok(_) if timed_out => End::TimedOut,
            Ok(status) => end_of(status),
            Err(_) => End::Unknown,
        };
        Outcome { end, duration: None, output: kept.octets, dropped: kept.dropped }
    }

    fn turn(
        &mut self,
        ended: std::os::fd::BorrowedFd<'_>,
        wait: Option<Duration>,
        kept: &mut Kept,
    ) -> io::Result<Turn> {
        let mut ready = [
            PollFd::from_borrowed_fd(ended, PollFlags::IN),
            PollFd::new(&self.output, PollFlags::IN),
        ];
        let watched = if kept.at_end { &mut ready[..1] } else { ready.as_mut_slice() };
        poll_retrying(watched, wait)?;
        let [ended, output] = ready.map(|fd| !fd.revents().is_empty());
        if output {
            kept.read(&mut self.output)?;
        }
        Ok(if ended { Turn::Ended } else { Turn::Waiting })
    }

    /// A child that outlives the command may hold the pipe open: it gets a second.
    fn drain(&mut self, kept: &mut Kept) {
        let begun = Instant::now();
        while !kept.at_end && begun.elapsed() < AFTERMATH {
            let mut ready = [PollFd::new(&self.output, PollFlags::IN)];
            let left = AFTERMATH.saturating_sub(begun.elapsed());
            if poll_retrying(&mut ready, Some(left)).is_err() {
                return;
            }
            let [output] = ready.map(|fd| !fd.revents().is_empty());
            if output && kept.read(&mut self.output).is_err() {
                return;
            }
        }
    }
}

enum Turn {
    Ended,
    Waiting,
}

/// The first octets of an output, and how many more there were.
struct Kept {
    octets: Vec<u8>,
    limit: usize,
    dropped: u64,
    at_end: bool,
}

impl Kept {
    fn read(&mut self, from: &mut PipeReader) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        self.at_end = count == 0;
        let read = buffer.get(..count).unwrap_or_default();
        let room = self.limit.saturating_sub(self.octets.len());
        let (kept, dropped) = read.split_at(room.min(read.len()));
        self.octets.extend_from_slice(kept);
        self.dropped = self.dropped.saturating_add(u64::try_from(dropped.len()).unwrap_or(0));
        Ok(())
    }
}

fn poll_retrying(fds: &mut [PollFd<'_>], wait: Option<Duration>) -> io::Result<()> {
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
    match poll(fds, wait.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => End::Unknown,
    }
}

fn pid(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| ErrorKind::NotFound.into())
}

/// Waits for a child that leads a process group; `None`, and the group killed, if it takes longer than `deadline`.
///
/// # Errors
/// When it cannot be waited for.
pub fn wait(mut child: Child, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let ended = pidfd_open(pid(&child)?, PidfdFlags::empty())?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_sub(begun.elapsed());
        if left.is_zero() {
            kill_process_group(pid(&child)?, Signal::KILL)?;
            child.wait()?;
            return Ok(None);
        }
        poll_retrying(&mut [PollFd::new(&ended, PollFlags::IN)], Some(left))?;
    }
}

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
