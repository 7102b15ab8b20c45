//! The word for what was decided about a request: the same in journal, log, letter and answer.

use std::fmt;

/// What was decided about a verified request, without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Not allowed, or not asked for properly.
    Denied,
    /// Too late.
    Expired,
    /// Yes.
    Run,
    /// More requests than the allowance of the key.
    TooMany,
    /// Allowed, but this machine cannot do it.
    Unavailable,
}

impl Ruling {
    const ALL: [Self; 5] =
        [Self::Denied, Self::Expired, Self::Run, Self::TooMany, Self::Unavailable];

    /// The word: stable.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Run => "run",
            Self::TooMany => "too-many",
            Self::Unavailable => "unavailable",
        }
    }

    /// Reads what [`Ruling::word`] writes.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ruling| ruling.word() == word)
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_no_other_is_read() {
        for ruling in Ruling::ALL {
            assert_eq!(Ruling::parse(ruling.word()), Some(ruling));
        }
        for other in ["", "Run", "run ", "not-run"] {
            assert_eq!(Ruling::parse(other), None, "{other:?}");
        }
    }
}
