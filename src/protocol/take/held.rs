//! A job under its lock, verified again, and what an answer says of it.

use crate::protocol::job::letter::Report;
use crate::protocol::job::name::Name;
use crate::protocol::job::outcome::{Outcome, Stage};
use crate::protocol::job::state::State;
use crate::protocol::ruling::Ruling;
use crate::protocol::time::Time;
use crate::protocol::verify::Verified;

/// A job under its lock, with the request that is in it: verified, as at the delivery.
#[derive(Debug)]
pub(super) struct Held<'k, J> {
    pub(super) journal: J,
    pub(super) name: Name,
    pub(super) state: State,
    pub(super) verified: Verified<'k>,
}

impl<J> Held<'_, J> {
    pub(super) fn report<'a>(
        &'a self,
        stage: Stage,
        verdict: Ruling,
        why: &'a str,
        outcome: &'a Outcome,
        now: Time,
    ) -> Report<'a> {
        Report {
            stage,
            key: self.verified.key(),
            request: self.verified.request(),
            received: self.state.received,
            message_id: self.state.message_id.as_deref(),
            verdict,
            why,
            started: self.state.started.as_ref().map(|(at, _)| *at),
            outcome,
            now,
        }
    }
}
