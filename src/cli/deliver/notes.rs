//! What the log says of a delivery: words and fields that administrators search for, so they do not change.

use std::path::Path;

use crate::protocol::claim::Claimed;
use crate::protocol::job::name::Name;
use crate::protocol::refusal::{Deferral, Refusal, Stop};
use crate::protocol::ruling::Ruling;
use crate::protocol::verify::Verified;
use crate::system::log::{Line, Log};

/// The lines about one candidate.
pub(super) struct Notes<'a> {
    log: &'a Log,
    state: &'a Path,
    msgid: Option<&'a str>,
    about: Option<About>,
}

/// What a verified request is called.
struct About {
    name: Name,
    command: String,
}

impl<'a> Notes<'a> {
    pub(super) const fn new(log: &'a Log, state: &'a Path, msgid: Option<&'a str>) -> Self {
        Self { log, state, msgid, about: None }
    }

    /// From here on the lines say who asks for what; before that they are about a stranger.
    pub(super) fn about(&mut self, verified: &Verified<'_>) {
        let command = verified.request().command.first().cloned().unwrap_or_default();
        self.about = Some(About { name: verified.job_name(), command });
    }

    /// The job that a verified request is or will be.
    pub(super) fn job(&self) -> Option<&Name> {
        self.about.as_ref().map(|about| &about.name)
    }

    pub(super) fn claimed<J>(&self, claimed: &Claimed<J>) {
        self.write(match claimed.verdict() {
            Ruling::Run => Line::info("accepted"),
            ruling @ (Ruling::Denied | Ruling::Expired | Ruling::TooMany | Ruling::Unavailable) => {
                Line::info("refused")
                    .with("reason", claimed.reason())
                    .with("verdict", ruling.word())
            }
        });
    }

    pub(super) fn left_to_resume(&self) {
        self.write(Line::error("not-started").with("left-to", "resume"));
    }

    pub(super) fn stopped(&self, stop: &Stop) {
        self.write(match stop {
            Stop::Refused(refusal) => refused(*refusal),
            Stop::Deferred(deferral @ Deferral::Spool(_)) => {
                deferred(deferral).with("state", &self.state.to_string_lossy())
            }
            Stop::Deferred(deferral @ Deferral::Future) => deferred(deferral),
        });
    }

    fn write(&self, line: Line) {
        let line = match &self.about {
            Some(About { name, command }) => line
                .with("key", name.key().as_str())
                .with("cti", &name.nonce().to_string())
                .with("cmd", command),
            None => line.unverified(),
        };
        self.log.write(&with_msgid(line, self.msgid));
    }
}

/// One line about a mail in which nothing was verified.
pub(super) fn unverified(log: &Log, refusal: Refusal, msgid: Option<&str>) {
    log.write(&with_msgid(refused(refusal).unverified(), msgid));
}

fn refused(refusal: Refusal) -> Line {
    Line::info("refused").with("reason", refusal.reason())
}

fn deferred(deferral: &Deferral) -> Line {
    Line::error("deferred").with("reason", deferral.reason()).with("error", &deferral.to_string())
}

fn with_msgid(line: Line, msgid: Option<&str>) -> Line {
    match msgid {
        Some(msgid) => line.with("msgid", msgid),
        None => line,
    }
}
