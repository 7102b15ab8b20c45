//! `resume --only JOB`: the runner. It takes up one job under its lock and carries it to its answer.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::config::{self, Configuration};
use crate::exit::Tool;
use crate::pipeline;
use crate::protocol::job::{End, Name};
use crate::protocol::take::Job;
use crate::system::log::{Line, Log};
use crate::system::runner::{self, Machine};
use crate::system::spool::{FileSpool, Found};

/// The verb's own process: detached from the delivery that started it.
pub(super) fn run(config: Option<&Path>, job: &str) -> Tool {
    // fails where we lead a session already, which is as good
    let _leader = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let log = Log::default();
    let Some(name) = Name::parse(job) else { return Tool::Usage };
    match config::load(&config::path(config)) {
        Ok(config) => match runner::inherited() {
            Ok(file) => inline(&config, &log, &name, file),
            Err(error) => fault(&log, &name, &error.to_string()),
        },
        Err(faults) => {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            fault(&log, &name, &first)
        }
    }
}

/// Carries a job, whose open file has the lock, to its answer.
pub(super) fn inline(config: &Configuration, log: &Log, name: &Name, file: File) -> Tool {
    match conclude(config, log, name, file) {
        Ok(Some(end)) => {
            let line = Line::info("answered").with("key", name.key.as_str()).with("cti", &name.cti);
            log.write(&line.with("end", &end.word()));
            Tool::Yes
        }
        Ok(None) => Tool::Yes,
        Err(error) => fault(log, name, &error.to_string()),
    }
}

fn conclude(config: &Configuration, log: &Log, name: &Name, file: File) -> io::Result<Option<End>> {
    let spool = FileSpool::open(&config.state)?;
    let (journal, state) = match spool.take_file(name, file)? {
        Found::Taken(journal, state) => (journal, state),
        Found::Busy | Found::Missing => return Ok(None),
        Found::Damaged => return Err(io::Error::other("the job's journal is damaged")),
    };
    let here = runner::here();
    let job = Job::take(name.clone(), journal, *state, &config.keyring, &config.policy, &here)
        .map_err(|refusal| io::Error::other(refusal.to_string()))?;
    let mut machine = Machine {
        spool: &spool,
        transport: &config.transport,
        jobs: config.jobs,
        settle: config.sysrq.settle,
        log,
    };
    let end = pipeline::conclude(job, &config.letterhead, &mut machine);
    if let Err(error) = spool.prune(config.history) {
        log.write(&Line::error("not-pruned").with("error", &error.to_string()));
    }
    end
}

fn fault(log: &Log, name: &Name, error: &str) -> Tool {
    log.write(&Line::error("unfinished").with("job", &name.to_string()).with("error", error));
    Tool::CannotTell
}
