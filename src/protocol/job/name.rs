//! The name of a job, which is the nonce that it spent: made of signed octets alone.

use std::fmt;

use crate::protocol::id::Id;

/// A job: `<hour of exp>/<key id>.<cti in hex>`, from signed octets alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Whole hours since the Unix epoch: the bucket.
    pub hour: u64,
    /// The key.
    pub key: Id,
    /// The nonce, in lower-case hexadecimal.
    pub cti: String,
}

impl Name {
    /// The file's name inside its bucket.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.{}", self.key, self.cti)
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hour, file) = text.split_once('/')?;
        let (key, cti) = file.split_once('.')?;
        let whole = (16..=64).contains(&cti.len())
            && cti.len() % 2 == 0
            && cti.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let name = Self { hour: hour.parse().ok()?, key: Id::new(key)?, cti: cti.to_owned() };
        (whole && name.to_string() == text).then_some(name)
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
        let name = Name { hour: 489_907, key: Id::new("alice").unwrap(), cti: "9f".repeat(8) };
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
