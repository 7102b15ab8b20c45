//! `netsysrq-mail`: a delivery-time filter that runs one signed command, or presses Magic SysRq, for a mail.
//!
//! # Why nothing can run that should not
//!
//! The program is two sentences, and each word in them is a type that only the word before it can make.
//!
//! The delivery ([`pipeline::accept`]):
//!
//! | word | is | made by | and says |
//! |---|---|---|---|
//! | [`Candidate`] | octets out of a frame | `find` | nothing: a stranger's |
//! | [`Verified`] | a request under a key of ours | `Candidate::verify` | who asks for what |
//! | [`Judged`] | the same, with a verdict | `Verified::judge` | yes, or why not |
//! | [`Claimed`] | the same, its nonce spent on disk | `Judged::claim` | never again |
//!
//! The runner ([`pipeline::conclude`]):
//!
//! | word | is | made by |
//! |---|---|---|
//! | [`Ready`] | a claimed job under its lock, verified and judged again | `Job::take` |
//! | [`Started`] | a job whose start is on disk | `Ready::start` |
//! | [`Settled`] | a job whose outcome is known | `Started::run`, `Job::take`, `Ready::queue` |
//! | [`Unsent`] | a job whose answer is on disk | `Settled::finish` |
//!
//! Each consumes the one before it and none can be copied, so each is used at most once. The right to act has two
//! makers: [`Judged::claim`], which spends a nonce, and [`Job::take`], which takes up a job whose nonce is spent. A
//! command is run in one place, [`Started::run`]. An answer comes from [`Unsent`] alone, so only out of a claim:
//! strangers, forgers and replayers are never written to.
//!
//! # What does not compile
//!
//! Judging what nobody verified:
//!
//! ```compile_fail
//! # use netsysrq_mail::protocol::wire::message::Candidate;
//! # use netsysrq_mail::protocol::rules::policy::{Ledger, Policy};
//! fn judge(candidate: Candidate, policy: &Policy, ledger: &Ledger) {
//!     let _ = candidate.judge(policy, ledger);
//! }
//! ```
//!
//! as against
//!
//! ```
//! # use netsysrq_mail::protocol::rules::keyring::Keyring;
//! # use netsysrq_mail::protocol::wire::message::Candidate;
//! # use netsysrq_mail::protocol::rules::policy::{Ledger, Policy};
//! fn judge(candidate: Candidate, keyring: &Keyring, policy: &Policy, ledger: &Ledger) {
//!     let _ = candidate.verify(keyring).map(|verified| verified.judge(policy, ledger).map(drop));
//! }
//! ```
//!
//! Running what has not been started on disk:
//!
//! ```compile_fail
//! # use netsysrq_mail::protocol::job::journal::Journal;
//! # use netsysrq_mail::protocol::take::{Host, Ready};
//! fn run<J: Journal>(ready: Ready<'_, J>, host: &mut impl Host) {
//!     let _ = ready.run(host);
//! }
//! ```
//!
//! as against
//!
//! ```
//! # use netsysrq_mail::protocol::job::journal::Journal;
//! # use netsysrq_mail::protocol::take::{Host, Ready};
//! fn run<J: Journal>(ready: Ready<'_, J>, host: &mut impl Host) {
//!     if let Ok(started) = ready.start(host.here()) {
//!         let _ = started.run(host);
//!     }
//! }
//! ```
//!
//! Running twice:
//!
//! ```compile_fail
//! # use netsysrq_mail::protocol::job::journal::Journal;
//! # use netsysrq_mail::protocol::take::{Host, Started};
//! fn run<J: Journal>(started: Started<'_, J>, host: &mut impl Host) {
//!     let _ = started.run(host);
//!     let _ = started.run(host);
//! }
//! ```
//!
//! as against
//!
//! ```
//! # use netsysrq_mail::protocol::job::journal::Journal;
//! # use netsysrq_mail::protocol::take::{Host, Started};
//! fn run<J: Journal>(started: Started<'_, J>, host: &mut impl Host) {
//!     let _ = started.run(host);
//! }
//! ```
//!
//! Answering before the answer is on disk:
//!
//! ```compile_fail
//! # use netsysrq_mail::protocol::job::journal::Journal;
//! # use netsysrq_mail::protocol::take::{Host, Settled};
//! fn answer<J: Journal>(settled: Settled<'_, J>, host: &mut impl Host) {
//!     let _ = settled.answer(host);
//! }
//! ```
//!
//! as against
//!
//! ```
//! # use netsysrq_mail::protocol::job::journal::Journal;
//! # use netsysrq_mail::protocol::job::letter::Letterhead;
//! # use netsysrq_mail::protocol::take::{Host, Settled};
//! fn answer<J: Journal>(settled: Settled<'_, J>, letterhead: &Letterhead, host: &mut impl Host) {
//!     if let Ok(unsent) = settled.finish(letterhead, &host.here()) {
//!         let _ = unsent.answer(host);
//!     }
//! }
//! ```
//!
//! Making a claim out of nothing:
//!
//! ```compile_fail
//! # use netsysrq_mail::protocol::claim::Claimed;
//! # use netsysrq_mail::protocol::job::name::Name;
//! # use netsysrq_mail::protocol::ruling::Ruling;
//! fn forge<J>(name: Name, journal: J) -> Claimed<J> {
//!     Claimed { name, journal: Some(journal), verdict: Ruling::Run, reason: "run" }
//! }
//! ```
//!
//! as against
//!
//! ```
//! # use netsysrq_mail::protocol::claim::{Claimed, Spool};
//! # use netsysrq_mail::protocol::judge::Judged;
//! fn claim<S: Spool>(judged: Judged<'_>, spool: &mut S) -> Option<Claimed<S::Journal>> {
//!     judged.claim(spool, None).ok()
//! }
//! ```
//!
//! # What the types do not say
//!
//! That [`Candidate::verify`] checks the signature, that a claim survives a power failure, that a lock is held, that a
//! command gets the rights of its account and no more: those are the bodies of a few functions, in
//! `protocol/verify.rs`, `protocol/judge.rs`, `protocol/claim.rs`, `protocol/take.rs`, `system/spool/` and
//! `system/launcher.rs`. SECURITY.md names them for whoever audits this.
//!
//! # The house
//!
//! [`protocol`] is pure: it is told everything and touches nothing. Its files are the words above, in their order, and
//! three rooms of nouns: [`wire`] (octets), [`rules`] (who may ask for what), [`job`] (what becomes of a claim).
//! [`system`] touches, and decides nothing. [`compose`] is the operator's side, which nothing of the filter imports.
//! [`cli`] is one small file for each verb, [`exit`] the one table of statuses, [`config`] the one reader of the
//! configuration. Imports run one way, without circles: `tests/house.rs` checks.
//!
//! [`wire`]: protocol::wire
//! [`rules`]: protocol::rules
//! [`job`]: protocol::job
//! [`Candidate`]: protocol::wire::message::Candidate
//! [`Candidate::verify`]: protocol::wire::message::Candidate::verify
//! [`Verified`]: protocol::verify::Verified
//! [`Judged`]: protocol::judge::Judged
//! [`Judged::claim`]: protocol::judge::Judged::claim
//! [`Claimed`]: protocol::claim::Claimed
//! [`Ready`]: protocol::take::Ready
//! [`Started`]: protocol::take::Started
//! [`Started::run`]: protocol::take::Started::run
//! [`Settled`]: protocol::take::Settled
//! [`Unsent`]: protocol::take::Unsent
//! [`Job::take`]: protocol::take::Job::take

pub mod cli;
#[cfg(feature = "compose")]
pub mod compose;
pub mod config;
pub mod exit;
pub mod pipeline;
pub mod protocol;
pub mod system;
