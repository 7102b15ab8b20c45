//! `resume`: takes up what a crash, a reboot or a mail system that was down has left; with `--only`, it is the runner.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use crate::config::{self, Configuration};
use crate::exit::Tool;
use crate::pipeline::{self, Left};
use crate::protocol::claim::Spool;
use crate::protocol::job::name::Name;
use crate::protocol::job::state::{Next, Owed};
use crate::protocol::take::{Job, Locked};
use crate::system::launcher;
use crate::system::log::{Line, Log};
use crate::system::runner::{self, Machine};
use crate::system::spool::{FileJournal, FileSpool, Found};

/// Options of `resume`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// This job alone, as the log names it
    #[arg(long, value_name = "JOB", value_parser = |job: &str| Name::parse(job).ok_or("not the name of a job"))]
    only: Option<Name>,
    /// Take up at most N jobs
    #[arg(long, value_name = "N", default_value_t = 100)]
    max: usize,
    /// Wait for commands that are started
    #[arg(long)]
    wait: bool,
}

/// Resumes. Prints nothing, since cron calls it; a person at a terminal sees the log.
pub(super) fn run(options: &Options, config: Option<&Path>) -> Tool {
    launcher::close_leaked_descriptors();
    match &options.only {
        Some(_) => runner::become_runner(),
        None => runner::outlive_the_mail_system(),
    }
    let log = Log { verbose: io::stderr().is_terminal(), ..Log::default() };
    let done = match config::load_or_say(&config::path(config)) {
        Ok(config) => match &options.only {
            Some(job) => only(&config, &log, job),
            None => all(&config, &log, options),
        },
        Err(fault) => Err(io::Error::other(fault)),
    };
    done.unwrap_or_else(|error| {
        log.write(&Line::error("not-resumed").with("error", &error.to_string()));
        Tool::CannotTell
    })
}

/// For the runner, whose standard input is the job with its lock, or for a person who names a job.
fn only(config: &Configuration, log: &Log, name: &Name) -> io::Result<Tool> {
    let spool = FileSpool::open(&config.state)?;
    let found = match spool.take_file(name, runner::inherited()?) {
        Ok(found) => found,
        Err(_) => spool.take(name)?,
    };
    match found {
        Found::Taken(locked) => Ok(conclude(config, log, &spool, *locked, None)),
        Found::Busy => Ok(Tool::No),
        Found::Missing => Err(io::Error::other(format!("there is no job {name}"))),
        Found::Damaged => Err(io::Error::other(format!("{name}: the journal is damaged"))),
    }
}

fn all(config: &Configuration, log: &Log, options: &Options) -> io::Result<Tool> {
    let spool = FileSpool::open(&config.state)?;
    let Some(_lock) = spool.resume_lock()? else {
        log.write(&Line::info("resume-busy"));
        return Ok(Tool::Yes);
    };
    let here = spool.here();
    let (mut taken, mut unsent) = (0_usize, false);
    for name in spool.jobs()? {
        let state = match spool.peek(&name) {
            Ok(state) if state.is_over() => continue,
            Ok(state) => state,
            Err(error) => {
                // a damaged one will not mend itself; one that cannot be read now may be readable later
                let damaged = error.kind() == io::ErrorKind::InvalidData;
                unsent |= !damaged;
                log.write(&failed(if damaged { "damaged" } else { "unread" }, &name, &error));
                continue;
            }
        };
        if !state.is_due(here.now) || taken >= options.max {
            unsent = true;
            continue;
        }
        taken = taken.saturating_add(1);
        match take_up(config, log, &spool, &name, options) {
            Ok(done) => unsent |= done != Tool::Yes,
            Err(error) => {
                unsent = true;
                log.write(&failed("unfinished", &name, &error));
            }
        }
    }
    prune(config, log, &spool);
    Ok(if unsent { Tool::No } else { Tool::Yes })
}

/// Takes up one job that is not over; a command goes to a runner of its own, so that it does not hold up the rest.
fn take_up(
    config: &Configuration,
    log: &Log,
    spool: &FileSpool,
    name: &Name,
    options: &Options,
) -> io::Result<Tool> {
    let locked = match spool.take(name)? {
        Found::Taken(locked) => locked,
        Found::Busy | Found::Missing => return Ok(Tool::Yes),
        Found::Damaged => {
            log.write(&Line::error("damaged").with("job", &name.to_string()));
            return Ok(Tool::Yes);
        }
    };
    let here = spool.here();
    let mut alone = None;
    if locked.state.next(here.now, &here.boot) == Next::Owed(Owed::Start) && !options.wait {
        match runner::detach(name, &locked.journal, &config.path) {
            Ok(()) => return Ok(Tool::Yes),
            Err(error) => alone = Some(error.to_string()),
        }
    }
    Ok(conclude(config, log, spool, *locked, alone.as_deref()))
}

/// Carries a job to its answer within a delivery; its open file has the lock. `alone` says why no process can be started,
/// if so: then keys and built-ins are done here, and commands are left to whoever resumes them.
pub(super) fn inline(
    config: &Configuration,
    log: &Log,
    name: &Name,
    file: File,
    alone: Option<&str>,
) {
    if alone.is_some() {
        runner::become_runner();
    }
    let done = FileSpool::open(&config.state).and_then(|spool| {
        let Found::Taken(locked) = spool.take_file(name, file)? else {
            return Err(io::Error::other("the job is no longer ours"));
        };
        Ok(conclude(config, log, &spool, *locked, alone))
    });
    if let Err(error) = done {
        log.write(&failed("unfinished", name, &error));
    }
}

fn conclude(
    config: &Configuration,
    log: &Log,
    spool: &FileSpool,
    locked: Locked<FileJournal>,
    alone: Option<&str>,
) -> Tool {
    let name = locked.name.clone();
    let ended = carry_out(config, log, spool, locked, alone);
    prune(config, log, spool);
    let about = |word: &str| {
        Line::info(word).with("key", name.key().as_str()).with("cti", &name.nonce().to_string())
    };
    match ended {
        Ok(Left::Answered(end)) => log.write(&about("answered").with("end", &end.word())),
        Ok(Left::Silent(end)) => log.write(&about("silent").with("end", &end.word())),
        Ok(Left::Before) => {}
        Ok(Left::Lost(why)) => log.write(&about("given-up").with("reason", &why)),
        Err(error) => {
            log.write(&failed("unfinished", &name, &error));
            return Tool::No;
        }
    }
    Tool::Yes
}

fn carry_out(
    config: &Configuration,
    log: &Log,
    spool: &FileSpool,
    locked: Locked<FileJournal>,
    alone: Option<&str>,
) -> io::Result<Left> {
    let name = locked.name.clone();
    let ledger = spool.ledger()?;
    let job = Job::take(locked, &config.keyring, &config.policy, &ledger, &spool.here());
    let mut machine = Machine {
        spool,
        transport: &config.transport,
        jobs: config.jobs,
        place: None,
        sysrq: &config.sysrq,
        keyring: &config.keyring,
        log,
        alone,
        ready: None,
    };
    let mut summary = None;
    let ended = pipeline::conclude(job, &config.letterhead, &mut machine, |settled| {
        summary = Some(settled.clone());
    });
    if let Some(summary) = summary {
        machine.notify(&name, &summary, &config.letterhead, &config.notify);
    }
    ended
}

fn prune(config: &Configuration, log: &Log, spool: &FileSpool) {
    if let Err(error) = spool.prune(config.history) {
        log.write(&Line::error("not-pruned").with("error", &error.to_string()));
    }
}

fn failed(word: &str, name: &Name, error: &io::Error) -> Line {
    Line::error(word).with("job", &name.to_string()).with("error", &error.to_string())
}
