//! What became of a job, as `log` and the built-in `last` tell it.

use std::fmt;

use serde_json::{Value, json};

use super::name::Name;
use super::state::{Answer, State};
use crate::protocol::wire::cose::{Envelope, REQUEST_AAD};
use crate::protocol::wire::request::Request;

/// A job in one line.
#[derive(Debug)]
pub struct History<'a> {
    name: &'a Name,
    state: &'a State,
    command: String,
}

impl<'a> History<'a> {
    /// Of this job. The spool is ours, so what was verified at the claim is not verified again.
    #[must_use]
    pub fn of(name: &'a Name, state: &'a State) -> Self {
        let request = Envelope::open(&state.cose, REQUEST_AAD)
            .and_then(|envelope| Request::decode(envelope.unverified_payload()));
        let command = request.map(|request| request.command.join(" ")).unwrap_or_default();
        Self { name, state, command }
    }

    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let state = self.state;
        json!({
            "job": self.name.to_string(),
            "received": state.received.unix(),
            "key": self.name.key().as_str(),
            "cti": self.name.nonce().to_string(),
            "command": self.command,
            "verdict": state.verdict.word(),
            "why": state.why,
            "started": state.started.as_ref().map(|(at, _)| at.unix()),
            "end": state.finished.as_ref().map(|finished| finished.end.word()),
            "finished": state.finished.as_ref().map(|finished| finished.at.unix()),
            "answer": self.answer(),
        })
    }

    fn answer(&self) -> &'static str {
        match (&self.state.finished, self.state.answer) {
            (None, _) => "not yet",
            (Some(finished), _) if finished.mail.is_none() => "none",
            (Some(_), Answer::GivenUp) => "given up",
            (Some(_), Answer::HandedOver) => "handed over",
            (Some(_), Answer::Owed) => "owed",
        }
    }
}

impl fmt::Display for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { received, verdict, finished, started, .. } = self.state;
        let end = match (finished, started) {
            (Some(finished), _) => finished.end.word(),
            (None, Some(_)) => "running".to_owned(),
            (None, None) => "waiting".to_owned(),
        };
        write!(
            f,
            "{received} {} {} {verdict} {end}, answer {}: {}",
            self.name.key(),
            self.name.nonce(),
            self.answer(),
            self.command.escape_debug(),
        )
    }
}
