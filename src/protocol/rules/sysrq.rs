//! Magic SysRq (kernel `admin-guide/sysrq.rst`): which sequences there are, and what pressing one takes.
//!
//! Keys written back to back lose data: `s` and `u` only queue work, and `b` does not wait for it. So each of them is
//! followed by a wait for the kernel's own message. `e` and `i` reach the process that writes them, so they are sent as
//! signals by a process that the kernel then spares.

use std::borrow::Cow;
use std::fmt;

/// The most keys of a sequence.
pub const KEYS_MAX: usize = 16;

/// A sequence of keys: 1 to 16 of `0-9a-z`, with nothing after one that ends the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence(Cow<'static, str>);

/// One step of pressing a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait, as long as configured, for a line of the kernel that ends in these words.
    Await(&'static str),
    /// Wait, as long as configured, for processes to end as they were asked to.
    Pause,
    /// Write this key.
    Press(char),
    /// Send every process this signal, which spares us; where the trigger is not the kernel's, write the key.
    Signal(char, Signal),
    /// sync(2), for as long as configured.
    Sync,
}

/// What `e` and `i` send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL, for `i`.
    Kill,
    /// SIGTERM, for `e`.
    Term,
}

impl Sequence {
    /// Sync, remount read-only, reboot.
    pub const SUB: Self = Self(Cow::Borrowed("sub"));
    /// Sync, remount read-only, power off.
    pub const SUO: Self = Self(Cow::Borrowed("suo"));
    /// Reboot at once: what was not written is lost.
    pub const B: Self = Self(Cow::Borrowed("b"));

    /// `None` if `text` is no such sequence.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let keys = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let ends = text.find(['b', 'o', 'c']);
        let last = ends.is_none_or(|at| at.saturating_add(1) == text.len());
        (keys && last && (1..=KEYS_MAX).contains(&text.len()))
            .then(|| Self(Cow::Owned(text.to_owned())))
    }

    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may leave nobody to answer afterwards.
    #[must_use]
    pub fn is_drastic(&self) -> bool {
        self.0.contains(['u', 'e', 'i', 'b', 'o', 'c'])
    }

    /// Whether the machine does not survive it.
    #[must_use]
    pub fn ends_the_machine(&self) -> bool {
        self.0.ends_with(['b', 'o', 'c'])
    }

    /// Whether it signals every process.
    #[must_use]
    pub fn signals(&self) -> bool {
        self.0.contains(['e', 'i'])
    }

    /// What is to be done, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.0.contains(['s', 'u']) {
            steps.push(Step::Sync);
        }
        let mut keys = self.0.chars().peekable();
        while let Some(key) = keys.next() {
            match key {
                'e' => steps.push(Step::Signal(key, Signal::Term)),
                'i' => steps.push(Step::Signal(key, Signal::Kill)),
                _ => steps.push(Step::Press(key)),
            }
            match key {
                's' => steps.push(Step::Await("Emergency Sync complete")),
                'u' => steps.push(Step::Await("Emergency Remount complete")),
                // what ends cleanly when it is asked to should get to it
                'e' if keys.peek().is_some() => steps.push(Step::Pause),
                _ => {}
            }
        }
        steps
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_key_that_ends_the_machine() {
        for good in ["s", "sub", "suo", "reisub", "mtw", "0", "b", "c"] {
            assert_eq!(Sequence::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "bs", "subb", "oc", "cs", "S", "s u", "s-b", &"s".repeat(17)] {
            assert_eq!(Sequence::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sync_and_remount_are_waited_for_and_signals_are_not_written() {
        assert_eq!(
            Sequence::parse("eisub").unwrap().steps(),
            [
                Step::Sync,
                Step::Signal('e', Signal::Term),
                Step::Pause,
                Step::Signal('i', Signal::Kill),
                Step::Press('s'),
                Step::Await("Emergency Sync complete"),
                Step::Press('u'),
                Step::Await("Emergency Remount complete"),
                Step::Press('b'),
            ]
        );
        assert_eq!(Sequence::parse("b").unwrap().steps(), [Step::Press('b')]);
    }

    #[test]
    fn reports_are_not_drastic_and_what_ends_the_machine_is() {
        assert!(!Sequence::parse("mtwlpqh").unwrap().is_drastic());
        for keys in ["sub", "suo", "u", "e", "i", "c"] {
            assert!(Sequence::parse(keys).unwrap().is_drastic(), "{keys}");
        }
    }

    #[test]
    fn the_sequences_of_built_in_commands_are_sequences() {
        for sequence in [Sequence::SUB, Sequence::SUO, Sequence::B] {
            assert_eq!(Sequence::parse(sequence.as_str()), Some(sequence.clone()));
            assert!(sequence.is_drastic(), "{sequence}");
        }
    }
}
