//! The name of a job, which is the nonce that it spent: made of signed octets alone.

use std::fmt;

use crate::protocol::id::Id;
use crate::protocol::wire::nonce::Nonce;

/// A job: `<hour of exp>/<key id>.<cti in hexadecimal>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    hour: u64,
    key: Id,
    nonce: Nonce,
}

impl Name {
    /// The job of a request with this nonce, by this key, that expires within this hour.
    #[must_use]
    pub const fn new(hour: u64, key: Id, nonce: Nonce) -> Self {
        Self { hour, key, nonce }
    }

    /// Whole hours since the Unix epoch: the bucket.
    #[must_use]
    pub const fn hour(&self) -> u64 {
        self.hour
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Id {
        &self.key
    }

    /// The nonce.
    #[must_use]
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// The file's name inside its bucket.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.{}", self.key, self.nonce)
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hour, file) = text.split_once('/')?;
        let (key, nonce) = file.split_once('.')?;
        let name = Self::new(hour.parse().ok()?, Id::new(key)?, Nonce::parse(nonce)?);
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hour, self.file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_name_reads_back_and_nothing_else_does() {
        let nonce = Nonce::new(vec![0x9f; 8]).unwrap();
        let name = Name::new(489_907, Id::new("alice").unwrap(), nonce);
        assert_eq!(Name::parse(&name.to_string()), Some(name.clone()));
        for bad in [
            "",
            "1/alice",
            "01/alice.9f9f9f9f9f9f9f9f",
            "1/../x.9f9f9f9f9f9f9f9f",
            "1/alice.9F9f9f9f9f9f9f9f",
            "1/alice.9f",
            "1/alice.9f9f9f9f9f9f9f9f9",
        ] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }
}
