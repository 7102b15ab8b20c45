//! Why a delivery did nothing: for ever, or for now.

use std::{fmt, io};

/// Nothing was done and nothing will be: the message is left to its readers, and nobody is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Issued before the spool was made or fenced: it may have run already, in a spool that is lost.
    BeforeEpoch,
    /// There is a marker, but no frame came through whole.
    Damaged,
    /// The CRC is right, but the octets are not COSE and CWT of the form that `docs/protocol.md` gives.
    Form,
    /// The key is of another type than the algorithm.
    KeyType,
    /// A request under HMAC that names a group: each member could forge it for the others.
    MacToGroup,
    /// No marker at all: ordinary mail.
    NoFrame,
    /// The nonce is spent.
    Replayed,
    /// The signature or MAC is wrong.
    Signature,
    /// Expired so long ago that its nonce may be forgotten.
    TooOld,
    /// After the last signature check that one message is given.
    TooManyFrames,
    /// No such key.
    UnknownKey,
    /// For another host.
    WrongHost,
}

impl Refusal {
    /// The word after `reason=` in the log: stable.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BeforeEpoch => "before-epoch",
            Self::Damaged => "damaged",
            Self::Form => "form",
            Self::KeyType => "key-type",
            Self::MacToGroup => "mac-to-group",
            Self::NoFrame => "no-frame",
            Self::Replayed => "replayed",
            Self::Signature => "signature",
            Self::TooOld => "too-old",
            Self::TooManyFrames => "too-many-frames",
            Self::UnknownKey => "unknown-key",
            Self::WrongHost => "wrong-host",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeEpoch => "issued before this spool was made or fenced",
            Self::Damaged => "there is a frame, but it is damaged",
            Self::Form => "the octets are not a request",
            Self::KeyType => "the key is of another type than the algorithm",
            Self::MacToGroup => "an HMAC request cannot name a group",
            Self::NoFrame => "no frame",
            Self::Replayed => "the nonce is spent",
            Self::Signature => "the signature is wrong",
            Self::TooOld => "expired before the oldest nonce that is remembered",
            Self::TooManyFrames => "too many frames in one message",
            Self::UnknownKey => "no such key",
            Self::WrongHost => "for another host",
        })
    }
}

/// Why a delivery ends without a claim.
#[derive(Debug)]
pub enum Stop {
    /// Nothing is claimed; the same message may do better later.
    Deferred(Deferral),
    /// Nothing is claimed, and never will be.
    Refused(Refusal),
}

/// What stands in the way of a request that may be good.
#[derive(Debug)]
pub enum Deferral {
    /// Issued later than our clock and its skew allow: our clock may yet be set.
    Future,
    /// The spool cannot be used.
    Spool(io::Error),
}

impl Deferral {
    /// The word after `reason=` in the log: stable.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Future => "future",
            Self::Spool(_) => "spool",
        }
    }
}

impl fmt::Display for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Future => f.write_str("issued in the future: one of the two clocks is wrong"),
            Self::Spool(error) => error.fmt(f),
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Deferred(Deferral::Spool(error))
    }
}
