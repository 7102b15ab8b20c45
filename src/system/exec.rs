//! Running a command: with the rights of its account, an environment built from nothing, a deadline on its whole
//! process group, and a cap on its output.
//!
//! A launcher starts the command, see `launcher.rs`. What goes wrong in it is reported over a pipe that a successful exec
//! closes.

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::launcher::LAUNCHER;
use crate::protocol::job::outcome::{End, Outcome};
use crate::protocol::rules::command::{Account, Command as Template};

/// The search path of everything that we start.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How long what was killed may take to die. A process in uninterruptible sleep may take for ever: it is left behind.
pub const LEFT_BEHIND: Duration = Duration::from_secs(2);
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
    let mut child = Command::new("/proc/self/exe")
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
    let fault = match told_within(&mut faults, template.timeout) {
        Ok(fault) if fault.is_empty() => return Ok(Running { child, group, output }),
        Ok(fault) => fault,
        // the program is on a disk that hangs, say
        Err(error) => format!("it did not start: {error}"),
    };
    let _gone = child.kill();
    ends_within(&mut child, LEFT_BEHIND)?;
    Err(io::Error::other(fault))
}

/// What a launcher has to say until it is closed, by its end or by the exec.
fn told_within(faults: &mut PipeReader, patience: Duration) -> io::Result<String> {
    let begun = Instant::now();
    let mut kept = Kept { octets: Vec::new(), limit: 4096, dropped: 0, at_end: false };
    while !kept.at_end {
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut ready = [PollFd::new(&*faults, PollFlags::IN)];
        poll_retrying(&mut ready, Some(left))?;
        let [is_ready] = ready.map(|fd| !fd.revents().is_empty());
        if is_ready {
            kept.read(faults)?;
        }
    }
    Ok(String::from_utf8_lossy(&kept.octets).into_owned())
}

impl Running {
    /// Reads output until the command has ended, stopping its process group at the deadline.
    fn watch(mut self, template: &Template) -> Outcome {
        let mut kept =
            Kept { octets: Vec::new(), limit: template.output_limit, dropped: 0, at_end: false };
        // the last one finds what does not die of SIGKILL
        let stops = [
            (template.timeout, Signal::TERM),
            (template.grace, Signal::KILL),
            (LEFT_BEHIND, Signal::KILL),
        ];
        let mut stops = stops.into_iter();
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
                if stop.is_none() {
                    break;
                }
            }
        }
        self.drain(&mut kept);
        // the leader has not been waited for yet, so its number still names this group
        let _gone = kill_process_group(self.group, Signal::KILL);
        let end = match ends_within(&mut self.child, LEFT_BEHIND) {
            Ok(None) => End::Stuck,
            Ok(Some(_)) if timed_out => End::TimedOut,
            Ok(Some(status)) => end_of(status),
            Err(_) => End::Unknown,
        };
        Outcome { end, duration: None, output: kept.octets, dropped: kept.dropped, lost: 0 }
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

/// Waits for a child that leads a process group. After `deadline` the group is killed, and the child left behind if it
/// does not die even of that, as one in uninterruptible sleep (D) does not: `None` either way.
///
/// # Errors
/// When it cannot be waited for.
pub fn wait(mut child: Child, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = ends_within(&mut child, deadline)? {
        return Ok(Some(status));
    }
    let _gone = kill_process_group(pid(&child)?, Signal::KILL);
    ends_within(&mut child, LEFT_BEHIND).map(|_| None)
}

/// The status of a child that ends in time.
fn ends_within(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    // a kernel before 5.3 has none, and a process may have no descriptor left
    let ended = pidfd_open(pid(child)?, PidfdFlags::empty());
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        match &ended {
            Ok(ended) => poll_retrying(&mut [PollFd::new(ended, PollFlags::IN)], Some(left))?,
            Err(_) => std::thread::sleep(left.min(Duration::from_millis(20))),
        }
    }
}
