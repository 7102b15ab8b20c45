//! `deliver`: takes a message from a mail system on standard input. Prints nothing, and always reads to the end.

mod notes;
mod options;

use std::sync::atomic::{AtomicBool, Ordering};

use super::resume;
use crate::config::{self, Configuration};
use crate::exit::{self, Ending};
use crate::pipeline;
use crate::protocol::job::name::Name;
use crate::protocol::refusal::{Deferral, Refusal, Stop};
use crate::protocol::wire::message::{Candidate, SEARCHED, SIGNATURE_CHECKS, Search};
use crate::system::log::{Line, Log};
use crate::system::runner;
use crate::system::spool::{FileJournal, FileSpool};
use crate::system::{clock, stdin, urgency};
use notes::Notes;
pub use options::Options;

/// Whether this process has made a claim: after that, "try again" would be useless.
pub static CLAIMED: AtomicBool = AtomicBool::new(false);

/// Delivers, and returns the status.
#[must_use]
pub fn run(arguments: &[String]) -> u8 {
    let (options, wrong) = match Options::parse(arguments) {
        Ok(options) => (options, None),
        Err((word, options)) => (options, Some(word)),
    };
    let log = Log { verbose: options.verbose, ..Log::default() };
    let message = stdin::read(SEARCHED);
    let ending = match (wrong, message) {
        (Some(word), _) => {
            log.write(&Line::error("deferred").with("reason", "arguments").with("word", &word));
            Ending::BadArguments
        }
        (None, Err(error)) => {
            let error = error.to_string();
            log.write(&Line::error("deferred").with("reason", "stdin").with("error", &error));
            Ending::TryAgain
        }
        (None, Ok(message)) => deliver(&message, &options, log),
    };
    exit::delivery(ending, options.profile)
}

fn deliver(message: &[u8], options: &Options, mut log: Log) -> Ending {
    let search = Candidate::find(message);
    if search.candidates.is_empty() && search.damaged.is_empty() {
        return Ending::NotForUs;
    }
    let config = config::load_or_say(&config::path(options.config.as_deref()));
    // without a usable configuration, the lines are counted in the default state directory
    log.state =
        Some(config.as_ref().map_or_else(|_| config::own_state(), |config| config.state.clone()));
    if search.candidates.is_empty() {
        let msgid = search.message_id.as_deref();
        notes::unverified(&log, Refusal::Damaged, msgid);
        return Ending::NotForUs;
    }
    match config {
        Ok(config) => {
            Delivery { config: &config, log: &log, options, started: Vec::new() }.run(search)
        }
        Err(fault) => {
            let line =
                Line::error("deferred").with("reason", "configuration").with("error", &fault);
            log.write(&line.unverified());
            let ahead = |candidate: &Candidate| candidate.unverified_expiry() > Some(clock::now());
            if search.candidates.iter().any(ahead) { Ending::TryAgain } else { Ending::NotForUs }
        }
    }
}

struct Delivery<'a> {
    config: &'a Configuration,
    log: &'a Log,
    options: &'a Options,
    started: Vec<(Name, FileJournal)>,
}

impl Delivery<'_> {
    /// Claims all requests of a message first, then starts them.
    fn run(mut self, search: Search) -> Ending {
        let (mut claimed, mut deferred, mut checks) = (false, false, 0_usize);
        for candidate in search.candidates {
            let msgid = search.message_id.as_deref();
            if checks >= SIGNATURE_CHECKS {
                notes::unverified(self.log, Refusal::TooManyFrames, msgid);
                break;
            }
            let ahead = candidate.unverified_expiry() > Some(clock::now());
            let outcome = self.accept(candidate, msgid);
            let unchecked = matches!(
                outcome,
                Err(Stop::Refused(Refusal::Form | Refusal::KeyType | Refusal::UnknownKey))
            );
            checks = checks.saturating_add(usize::from(!unchecked));
            claimed |= outcome.is_ok();
            // a second delivery cannot harm a claim in the same message: by then it is a replay
            deferred |= ahead && matches!(outcome, Err(Stop::Deferred(_)));
        }
        for (name, journal) in std::mem::take(&mut self.started) {
            self.start(&name, journal);
        }
        match (claimed, deferred) {
            (_, true) => Ending::TryAgain,
            (true, false) => Ending::Claimed,
            (false, false) => Ending::NotForUs,
        }
    }

    fn accept(&mut self, candidate: Candidate, msgid: Option<&str>) -> Result<(), Stop> {
        let Configuration { keyring, policy, state, .. } = self.config;
        let mut notes = Notes::new(self.log, state, msgid);
        let message_id = msgid.map(ToOwned::to_owned);
        let accepted = pipeline::accept(candidate, keyring, policy, message_id, |verified| {
            notes.about(verified);
            // somebody whom we know: the machine may be short of everything
            urgency::rise();
            let spool = FileSpool::open(state)?;
            let ledger = spool.ledger()?;
            Ok((spool, ledger))
        });
        match accepted {
            Ok(claimed) => {
                CLAIMED.store(true, Ordering::Relaxed);
                notes.claimed(&claimed);
                match claimed.into_job() {
                    Some(job) => self.started.push(job),
                    None => notes.left_to_resume(),
                }
                Ok(())
            }
            Err(stop) => {
                notes.stopped(&stop);
                if let (Stop::Refused(Refusal::Replayed), Some(name)) = (&stop, notes.job()) {
                    let abandoned = self.take_abandoned(name);
                    abandoned.inspect_err(|stop| notes.stopped(stop))?;
                }
                Err(stop)
            }
        }
    }

    /// If the runner of a request died, a second delivery of that request goes on where it left off.
    fn take_abandoned(&mut self, name: &Name) -> Result<(), Stop> {
        let spool = FileSpool::open(&self.config.state)?;
        let journal =
            spool.take_abandoned(name).map_err(Deferral::Spool).map_err(Stop::Deferred)?;
        self.started.extend(journal.map(|journal| (name.clone(), journal)));
        Ok(())
    }

    fn start(&self, name: &Name, journal: FileJournal) {
        if self.options.wait {
            return resume::inline(self.config, self.log, name, journal.into_file(), None);
        }
        if let Err(error) = runner::detach(name, &journal, &self.config.path) {
            // it is claimed and can be resumed: nothing is lost, so the mail system need not try again
            let error = error.to_string();
            let line = Line::error("not-started").with("job", &name.to_string());
            self.log.write(&line.with("error", &error));
            // but a machine that cannot fork is one to press keys on
            resume::inline(self.config, self.log, name, journal.into_file(), Some(&error));
        }
    }
}
