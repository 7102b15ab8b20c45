//! How often a key may ask: a token bucket, as 16 octets.

use crate::protocol::time::Time;

/// The parts of one token, so that refilling is not rounded away.
const UNIT: u64 = 3600;
/// The least time between two answers that say `too-many`, in seconds.
const ANSWER_EVERY: u64 = 3600;

/// Whether a key is within its allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Within,
    /// It is not. This is answered unless another was within the last hour.
    Over {
        /// Whether to answer.
        answered: bool,
    },
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Parts of tokens left.
    parts: u32,
    /// When `too-many` was last answered, in seconds since 1970.
    answered: u32,
    /// When the parts were counted, in seconds since 1970.
    at: u64,
}

impl Bucket {
    /// A bucket from which nothing was taken.
    #[must_use]
    pub const fn full(now: Time) -> Self {
        Self { parts: u32::MAX, answered: 0, at: now.unix() }
    }

    /// Reads what [`Bucket::to_octets`] writes.
    #[must_use]
    pub fn from_octets(octets: [u8; 16]) -> Self {
        let word = u128::from_be_bytes(octets).to_be_bytes();
        let [a, b, c, d, e, f, g, h, rest @ ..] = word;
        Self {
            parts: u32::from_be_bytes([a, b, c, d]),
            answered: u32::from_be_bytes([e, f, g, h]),
            at: u64::from_be_bytes(rest),
        }
    }

    /// Its file.
    #[must_use]
    pub fn to_octets(self) -> [u8; 16] {
        let mut octets = [0; 16];
        let fields = self.parts.to_be_bytes().into_iter().chain(self.answered.to_be_bytes());
        for (to, from) in octets.iter_mut().zip(fields.chain(self.at.to_be_bytes())) {
            *to = from;
        }
        octets
    }

    /// Takes a token from a bucket that holds `size` and fills up in `period` seconds.
    #[must_use]
    pub fn take(self, size: u32, period: u32, now: Time) -> (Self, Admission) {
        let (full, period) = (u64::from(size).saturating_mul(UNIT), u64::from(period.max(1)));
        let now = now.unix();
        let filled = now.saturating_sub(self.at).saturating_mul(full).checked_div(period);
        let parts = u64::from(self.parts).saturating_add(filled.unwrap_or(0)).min(full);
        let count = |parts: u64| u32::try_from(parts).unwrap_or(u32::MAX);
        // a clock that was ahead and has been set right must not hold anybody up until that time
        let at = now;
        if let Some(left) = parts.checked_sub(UNIT) {
            return (Self { parts: count(left), at, ..self }, Admission::Within);
        }
        let last = u64::from(self.answered);
        let answered = now < last || now.saturating_sub(last) >= ANSWER_EVERY;
        let last = if answered { count(now) } else { self.answered };
        (Self { parts: count(parts), answered: last, at }, Admission::Over { answered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_763_665_351;

    fn ask(bucket: &mut Bucket, size: u32, after: u64) -> Admission {
        let (left, admission) =
            bucket.take(size, 3600, Time::from_unix(START.saturating_add(after)));
        *bucket = Bucket::from_octets(left.to_octets());
        admission
    }

    #[test]
    fn a_bucket_gives_its_size_and_fills_again() {
        let mut bucket = Bucket::full(Time::from_unix(START));
        let mut ask = |after| ask(&mut bucket, 3, after);
        assert_eq!([ask(0), ask(0), ask(1)], [Admission::Within; 3]);
        assert_eq!(ask(2), Admission::Over { answered: true }, "the first refusal is answered");
        assert_eq!(ask(3), Admission::Over { answered: false });
        assert_eq!(ask(1203), Admission::Within);
        assert_eq!(ask(1204), Admission::Over { answered: false }, "one answer an hour");
        assert_eq!(ask(0), Admission::Over { answered: true }, "the clock went back");
        assert_eq!(ask(1200), Admission::Within, "and goes on from there");
    }

    #[test]
    fn a_bucket_of_nothing_gives_nothing() {
        let mut bucket = Bucket::full(Time::from_unix(START));
        assert_eq!(ask(&mut bucket, 0, 0), Admission::Over { answered: true });
    }
}
