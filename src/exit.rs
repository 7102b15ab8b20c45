//! How a run ends: the one table of statuses.
//!
//! A delivery never ends with any status but these, nor by a signal of its own making: 75 is the only status that every
//! mail system takes for "try again", and most others bounce the message to whoever it says it is from.

/// Who called the filter, which decides what "not for us" has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// On the way to a mailbox that people read (procmail, a Sieve test, maildrop's `cc`, fdm).
    Mailbox,
    /// At an address of our own, under Postfix, Exim, OpenSMTPD, sendmail.
    Mta,
    /// At an address of our own, under qmail.
    Qmail,
}

impl Profile {
    /// Reads the word after `--profile`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "mailbox" => Self::Mailbox,
            "mta" => Self::Mta,
            "qmail" => Self::Qmail,
            _ => return None,
        })
    }
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This delivery made a claim, whatever the verdict.
    Claimed,
    /// No frame, or one that gets nothing: replayed, for another host, before the epoch, damaged, forged.
    NotForUs,
    /// Something stands in the way of a request that may be good: configuration, spool, memory, clock.
    TryAgain,
    /// Our command line is wrong.
    BadArguments,
}

/// The status of a delivery.
#[must_use]
pub const fn delivery(ending: Ending, profile: Option<Profile>) -> u8 {
    match (ending, profile) {
        (Ending::Claimed, _) => 0,
        (Ending::NotForUs, Some(Profile::Mailbox)) => 1,
        (Ending::NotForUs, Some(Profile::Mta | Profile::Qmail)) => 0,
        (Ending::TryAgain | Ending::BadArguments, Some(Profile::Qmail)) => 111,
        (Ending::NotForUs, None) | (Ending::TryAgain | Ending::BadArguments, _) => 75,
    }
}

/// The status of a tool: yes, no or findings, a wrong command line (EX_USAGE), or no way to tell (EX_TEMPFAIL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// 0.
    Yes,
    /// 1.
    No,
    /// 2: a genuine answer, to another request; `verify` only.
    Other,
    /// 3: no answer found; `verify` only.
    None,
    /// 64.
    Usage,
    /// 75.
    CannotTell,
}

impl Tool {
    /// The number.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Other => 2,
            Self::None => 3,
            Self::Usage => 64,
            Self::CannotTell => 75,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_status_in_every_profile() {
        let profiles = [Some(Profile::Mailbox), Some(Profile::Mta), Some(Profile::Qmail), None];
        let table = [
            (Ending::Claimed, [0, 0, 0, 0]),
            (Ending::NotForUs, [1, 0, 0, 75]),
            (Ending::TryAgain, [75, 75, 111, 75]),
            (Ending::BadArguments, [75, 75, 111, 75]),
        ];
        for (ending, expected) in table {
            assert_eq!(profiles.map(|profile| delivery(ending, profile)), expected, "{ending:?}");
        }
    }
}
