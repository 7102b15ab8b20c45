//! The two sentences of the program. Everything else is how their words are meant.

use std::io;

use crate::protocol::claim::{Claimed, Spool};
use crate::protocol::job::{End, Journal};
use crate::protocol::keyring::{Keyring, Verified};
use crate::protocol::letter::Letterhead;
use crate::protocol::message::Candidate;
use crate::protocol::policy::{Clock, Policy};
use crate::protocol::refusal::Stop;
use crate::protocol::take::{Host, Job};

/// The delivery: out of octets that anybody may have sent, a request whose nonce is spent.
///
/// `open` gives the spool and its clock; it is called for a verified request only. `noted` sees that request
/// whatever becomes of it.
///
/// # Errors
/// [`Stop`]: nothing was claimed.
pub fn accept<S: Spool>(
    candidate: Candidate,
    keyring: &Keyring,
    policy: &Policy,
    message_id: Option<String>,
    noted: impl FnOnce(&Verified<'_>),
    open: impl FnOnce() -> io::Result<(S, Clock)>,
) -> Result<(Claimed<S::Journal>, S), Stop> {
    let verified = candidate.verify(keyring)?;
    noted(&verified);
    let (mut spool, clock) = open()?;
    let claimed = verified.judge(policy, clock)?.claim(&mut spool, message_id)?;
    Ok((claimed, spool))
}

/// The runner, and whoever resumes for it: out of a job under its lock, an answer handed over.
///
/// # Errors
/// When a step cannot be made durable, or the answer was not taken: the job stays for the next to resume it.
pub fn conclude<J: Journal>(
    job: Job<'_, J>,
    letterhead: &Letterhead,
    host: &mut impl Host,
) -> io::Result<Option<End>> {
    let unsent = match job {
        Job::Done => return Ok(None),
        Job::Ready(ready) => {
            let started = ready.announce(letterhead, host)?.start(host.here())?;
            started.run(host).finish(letterhead, &host.here())?
        }
        Job::Settled(settled) => settled.finish(letterhead, &host.here())?,
        Job::Unsent(unsent) => unsent,
    };
    unsent.answer(host).map(Some)
}
