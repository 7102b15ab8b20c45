//! Verified requests get their verdict: by this machine's policy, and by what the spool knows.

use super::id::Id;
use super::refusal::{Deferral, Refusal, Stop};
use super::rules::built_in;
use super::rules::keyring::Key;
use super::rules::policy::{Ledger, Policy};
use super::rules::verdict::{Action, Deed, Denial, Verdict};
use super::time::Time;
use super::verify::Verified;
use super::wire::cose::Verifier;
use super::wire::request::Request;

/// A verified request with its verdict: nothing is spent yet, so nothing may be done yet.
#[must_use]
#[derive(Debug)]
pub struct Judged<'k> {
    verified: Verified<'k>,
    verdict: Verdict<'k>,
}

impl<'k> Verified<'k> {
    /// Judges the request by today's policy.
    ///
    /// # Errors
    /// [`Stop::Refused`] for another host's request, and for one whose nonce this spool may have forgotten;
    /// [`Stop::Deferred`] for one from the future.
    pub fn judge(self, policy: &'k Policy, ledger: &Ledger) -> Result<Judged<'k>, Stop> {
        let verdict = self.verdict(policy, ledger)?;
        Ok(Judged { verified: self, verdict })
    }

    /// The verdict alone: for a job whose nonce is spent.
    ///
    /// # Errors
    /// As [`Verified::judge`].
    pub(super) fn verdict(&self, policy: &'k Policy, ledger: &Ledger) -> Result<Verdict<'k>, Stop> {
        let request = self.request();
        self.check_audience(policy)?;
        if request.issued.after(policy.skew) < ledger.epoch {
            return Err(Refusal::BeforeEpoch.into());
        }
        if request.expires.hour() <= ledger.low_water {
            return Err(Refusal::TooOld.into());
        }
        if request.issued.before(policy.skew) > ledger.now {
            return Err(Stop::Deferred(Deferral::Future));
        }
        Ok(verdict(self.key(), request, policy, ledger))
    }

    fn check_audience(&self, policy: &Policy) -> Result<(), Refusal> {
        let named = |names: &[String]| {
            names.iter().any(|name| name.eq_ignore_ascii_case(&self.request().audience))
        };
        match (named(&policy.names), named(&policy.groups), &self.key().verifier) {
            (true, _, _) | (false, true, Verifier::Ed25519(_)) => Ok(()),
            (false, true, Verifier::Hmac(_)) => Err(Refusal::MacToGroup),
            (false, false, _) => Err(Refusal::WrongHost),
        }
    }
}

impl<'k> Judged<'k> {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.verified.request()
    }

    /// Who asks.
    #[must_use]
    pub fn key(&self) -> &'k Key {
        self.verified.key()
    }

    /// The octets received.
    #[must_use]
    pub fn cose(&self) -> &[u8] {
        self.verified.cose()
    }

    /// The verdict.
    pub fn verdict(&self) -> &Verdict<'k> {
        &self.verdict
    }

    /// The verified request.
    pub fn verified(&self) -> &Verified<'k> {
        &self.verified
    }

    /// The same request under a stricter verdict.
    pub(super) fn with(self, verdict: Verdict<'k>) -> Self {
        Self { verdict, ..self }
    }
}

fn verdict<'k>(key: &Key, request: &Request, policy: &'k Policy, ledger: &Ledger) -> Verdict<'k> {
    if ledger.now >= request.expires {
        return Verdict::Expired;
    }
    let action =
        standing(key, request, ledger).and_then(|()| action(key, request, policy, ledger.now));
    match action {
        Ok(action) => match action.fault(policy) {
            Some(fault) => Verdict::Unavailable(fault.clone()),
            None => Verdict::Run(action),
        },
        Err(denial) => Verdict::Denied(denial),
    }
}

fn standing(key: &Key, request: &Request, ledger: &Ledger) -> Result<(), Denial> {
    let (asked, allowed) = (request.expires.since(request.issued), key.max_ttl);
    if key.revoked || ledger.revoked.contains(&key.id) {
        return Err(Denial::Revoked);
    }
    if key.not_before.is_some_and(|start| ledger.now < start) {
        return Err(Denial::NotYet);
    }
    if key.not_after.is_some_and(|end| ledger.now >= end) {
        return Err(Denial::NoLonger);
    }
    if asked > allowed {
        return Err(Denial::Lifetime { asked, allowed });
    }
    Ok(())
}

fn action<'k>(
    key: &Key,
    request: &Request,
    policy: &'k Policy,
    now: Time,
) -> Result<Action<'k>, Denial> {
    let (name, words) = request.command.split_first().ok_or(Denial::UnknownCommand)?;
    if name == built_in::SYSRQ {
        return built_in::press(key, words).map(Deed::Press).map(Action::Do);
    }
    let id = Id::new(name).ok_or(Denial::UnknownCommand)?;
    let Some(command) = policy.commands.get(&id) else {
        return built_in::action(key, &id, words);
    };
    if !key.allow.contains(&id) {
        return Err(Denial::NotAllowed);
    }
    if command.max_age.is_some_and(|age| now.since(request.issued) > age) {
        return Err(Denial::Old);
    }
    let argv = command.argv(words).map_err(Denial::Arguments)?;
    Ok(Action::Do(Deed::Run { command, argv }))
}
