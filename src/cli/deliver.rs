//! `deliver`: a message on standard input, from a mail system. Prints nothing, and always reads to the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::resume;
use crate::config::{self, Configuration};
use crate::exit::{self, Ending, Profile};
use crate::pipeline;
use crate::protocol::job::Name;
use crate::protocol::keyring::Verified;
use crate::protocol::message::{Candidate, SEARCHED, SIGNATURE_CHECKS, Search};
use crate::protocol::refusal::{Deferral, Refusal, Stop};
use crate::system::log::{Line, Log};
use crate::system::runner;
use crate::system::spool::{FileJournal, FileSpool};
use crate::system::{clock, stdin};

/// Whether this process has made a claim: after that, "try again" would be of no use.
pub static CLAIMED: AtomicBool = AtomicBool::new(false);

/// The command line of a delivery.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who called.
    pub profile: Option<Profile>,
    /// Run inline.
    pub wait: bool,
    /// Copy the log to standard error.
    pub verbose: bool,
    /// Which configuration.
    pub config: Option<PathBuf>,
}

impl Options {
    /// Reads what follows the program's name. The profile is told even where the rest is wrong.
    ///
    /// # Errors
    /// The word that is wrong, and what was understood.
    pub fn parse(arguments: &[String]) -> Result<Self, (String, Self)> {
        let mut options = Self::default();
        let mut wrong = None;
        let mut words = arguments.iter();
        let mut named = false;
        while let Some(word) = words.next() {
            let (flag, mut value) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let takes_value = matches!(flag, "--profile" | "--config");
            if takes_value && value.is_none() {
                value = words.next().cloned();
            }
            let understood = match (flag, &value) {
                ("--profile", Some(word)) => {
                    options.profile = Profile::parse(word);
                    options.profile.is_some()
                }
                ("--config", Some(path)) if options.config.is_none() => {
                    options.config = Some(path.into());
                    true
                }
                ("--wait", None) => {
                    options.wait = true;
                    true
                }
                ("--verbose", None) => {
                    options.verbose = true;
                    true
                }
                ("deliver", None) if !named => {
                    named = true;
                    true
                }
                _ => false,
            };
            if !understood {
                wrong.get_or_insert_with(|| word.clone());
            }
        }
        match wrong {
            None => Ok(options),
            Some(word) => Err((word, options)),
        }
    }
}

/// Delivers, and says the status.
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
    log.state = config.as_ref().ok().map(|config| config.state.clone());
    if search.candidates.is_empty() {
        log.write(&with_msgid(
            refused(Refusal::Damaged).unverified(),
            search.message_id.as_deref(),
        ));
        return Ending::NotForUs;
    }
    match config {
        Ok(config) => {
            Delivery { config: &config, log: &log, options, started: Vec::new() }.run(search)
        }
        Err(fault) => {
            let line =
                Line::error("deferred").with("reason", "configuration").with("error", &fault);
            log.write(&line);
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
    /// All requests of a message are claimed first, then started.
    fn run(mut self, search: Search) -> Ending {
        let (mut claimed, mut deferred, mut checks) = (false, false, 0_usize);
        for candidate in search.candidates {
            let msgid = search.message_id.as_deref();
            if checks >= SIGNATURE_CHECKS {
                let line = refused(Refusal::TooManyFrames).unverified();
                self.log.write(&with_msgid(line, msgid));
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
            // a claim beside it is safe from a second delivery: it is a replay then
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
        let mut about = None;
        let accepted = pipeline::accept(
            candidate,
            keyring,
            policy,
            msgid.map(ToOwned::to_owned),
            |verified| about = Some(About::new(verified)),
            || {
                let spool = FileSpool::open(state)?;
                let ledger = spool.ledger()?;
                Ok((spool, ledger))
            },
        );
        let described = |line: Line| match &about {
            Some(about) => about.describe(line),
            None => line.unverified(),
        };
        match accepted {
            Ok((claimed, _)) => {
                CLAIMED.store(true, Ordering::Relaxed);
                let line = match (claimed.verdict(), claimed.reason()) {
                    ("run", _) => Line::info("accepted"),
                    (verdict, reason) => {
                        Line::info("refused").with("reason", reason).with("verdict", verdict)
                    }
                };
                self.log.write(&with_msgid(described(line), msgid));
                match claimed.into_job() {
                    Some(job) => self.started.push(job),
                    None => self
                        .log
                        .write(&described(Line::error("not-started").with("left-to", "resume"))),
                }
                Ok(())
            }
            Err(Stop::Refused(refusal)) => {
                self.log.write(&with_msgid(described(refused(refusal)), msgid));
                if let (Refusal::Replayed, Some(about)) = (refusal, &about) {
                    self.take_abandoned(&about.name)?;
                }
                Err(refusal.into())
            }
            Err(Stop::Deferred(deferral)) => {
                let line = Line::error("deferred")
                    .with("reason", deferral.reason())
                    .with("error", &deferral.to_string());
                let line = match &deferral {
                    Deferral::Spool(_) => line.with("state", &state.to_string_lossy()),
                    Deferral::Configuration(_) | Deferral::Future => line,
                };
                self.log.write(&with_msgid(described(line), msgid));
                Err(Stop::Deferred(deferral))
            }
        }
    }

    /// A second delivery of a request whose runner is gone goes on where that left off.
    fn take_abandoned(&mut self, name: &Name) -> Result<(), Stop> {
        let spool = FileSpool::open(&self.config.state)?;
        let journal =
            spool.take_abandoned(name).map_err(Deferral::Spool).map_err(Stop::Deferred)?;
        self.started.extend(journal.map(|journal| (name.clone(), journal)));
        Ok(())
    }

    fn start(&self, name: &Name, journal: FileJournal) {
        if self.options.wait {
            resume::inline(self.config, self.log, name, journal.into_file());
        } else if let Err(error) = runner::detach(name, journal, &self.config.path) {
            // claimed, and to be resumed: nothing is lost, so nothing is to be tried again
            let line = Line::error("not-started").with("job", &name.to_string());
            self.log.write(&line.with("error", &error.to_string()));
        }
    }
}

/// What the log says of a verified request.
struct About {
    name: Name,
    command: String,
}

impl About {
    fn new(verified: &Verified<'_>) -> Self {
        let request = verified.request();
        Self {
            name: verified.job_name(),
            command: request.command.first().cloned().unwrap_or_default(),
        }
    }

    fn describe(&self, line: Line) -> Line {
        line.with("key", self.name.key.as_str())
            .with("cti", &self.name.cti)
            .with("cmd", &self.command)
    }
}

fn refused(refusal: Refusal) -> Line {
    Line::info("refused").with("reason", refusal.reason())
}

fn with_msgid(line: Line, msgid: Option<&str>) -> Line {
    match msgid {
        Some(msgid) => line.with("msgid", msgid),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, (String, Options)> {
        Options::parse(&line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_verb_may_be_left_out_and_flags_come_in_any_order() {
        let expected = Options {
            profile: Some(Profile::Mta),
            wait: true,
            verbose: false,
            config: Some("/f".into()),
        };
        for line in [
            "--profile mta --wait --config /f",
            "deliver --wait --config=/f --profile=mta",
            "--config /f deliver --profile mta --wait",
        ] {
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_wrong_word_is_told_and_the_profile_still_counts() {
        for (line, wrong) in [
            ("--profle mta", "--profle"),
            ("--profile", "--profile"),
            ("--profile procmail", "--profile"),
            ("delivr", "delivr"),
            ("deliver deliver", "deliver"),
            ("--config /a --config /b", "--config"),
            ("--wait=yes", "--wait=yes"),
        ] {
            assert_eq!(parse(line).unwrap_err().0, wrong, "{line}");
        }
        let (_, options) = parse("--bad --profile qmail").unwrap_err();
        assert_eq!(options.profile, Some(Profile::Qmail));
    }
}
