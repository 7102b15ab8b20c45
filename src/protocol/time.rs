//! Points in time: whole seconds since 1970-01-01T00:00:00Z, as in RFC 8392's NumericDate.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch, shown as RFC 3339 in UTC. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The first second that a request cannot name (2242-03-16).
    pub const END: Self = Self(1 << 33);

    /// The time `seconds` after the Unix epoch.
    #[must_use]
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// This time, `duration` later.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This time, `duration` earlier.
    #[must_use]
    pub const fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// How many whole hours after the Unix epoch this is.
    #[must_use]
    pub const fn hour(self) -> u64 {
        self.0 / 3600
    }
}

impl From<SystemTime> for Time {
    /// A time before 1970 is 1970.
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime ends at the year 9999
        let shown = UNIX_EPOCH.checked_add(Duration::from_secs(self.0.min(253_402_300_799)));
        match shown {
            Some(time) => humantime::format_rfc3339_seconds(time).fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// The time and the boot that a record is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Now.
    pub now: Time,
    /// The kernel's boot id.
    pub boot: String,
    /// When the kernel was started.
    pub booted: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_rfc_3339_in_utc() {
        assert_eq!(Time::from_unix(1_763_665_351).to_string(), "2025-11-20T19:02:31Z");
        assert_eq!(Time::from_unix(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn arithmetic_ends_at_the_ends() {
        assert_eq!(Time::from_unix(3).before(Duration::from_secs(9)), Time::from_unix(0));
        assert_eq!(Time::from_unix(3).since(Time::from_unix(9)), Duration::ZERO);
    }
}
