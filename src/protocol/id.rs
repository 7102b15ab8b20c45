//! The names that a configuration gives to keys and commands.

use std::fmt;

/// `[a-z][a-z0-9-]{0,31}`: safe as a file name, in a log line, in a header and as a TOML key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// `None` if `text` is not such a name.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let (first, rest) = text.as_bytes().split_first()?;
        let allowed = |c: &u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-');
        (first.is_ascii_lowercase() && rest.len() <= 31 && rest.iter().all(allowed))
            .then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It has 1 to 32 lower-case letters, digits and hyphens.
    #[test]
    fn a_name_is_short_and_starts_with_a_letter() {
        for good in ["a", "alice", "web-1", &"a".repeat(32)] {
            assert_eq!(Id::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "1a", "-a", "A", "a.b", "a/b", "a_b", "ä", &"a".repeat(33)] {
            assert_eq!(Id::new(bad), None, "{bad}");
        }
    }
}
