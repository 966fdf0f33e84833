//! Points in time and lengths of time, in milliseconds.
//!
//! Reading a clock is `clock`'s work; here is only arithmetic, which saturates instead of
//! overflowing: a hostile timestamp can be wrong, but cannot panic.

use std::fmt;
use std::ops::{Add, Sub};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z; may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time there is.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time there is.
    pub const MAX: Self = Self(i64::MAX);

    /// From here on a number of seconds would lie after the year 5138: it is milliseconds.
    const EPOCH_MILLIS_FROM: i64 = 100_000_000_000;

    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From a number that a sender wrote: seconds since the epoch, or from 10^11 on milliseconds;
    /// none for what is not after the epoch.
    #[must_use]
    pub const fn from_epoch(number: i64) -> Option<Self> {
        match number {
            ..=0 => None,
            1..Self::EPOCH_MILLIS_FROM => Some(Self(number * 1_000)),
            _ => Some(Self(number)),
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to here; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }

    /// The distance between two points, whichever comes first.
    #[must_use]
    pub fn apart(self, other: Self) -> Span {
        if self > other { self.since(other) } else { other.since(self) }
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// A length of time in milliseconds; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// One minute.
    pub const MINUTE: Self = Self(60_000);

    /// From milliseconds; a negative number counts as zero.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(if millis < 0 { 0 } else { millis })
    }

    /// From seconds; a negative number counts as zero.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1_000))
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// For the standard library's and tokio's waits.
    #[must_use]
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.unsigned_abs())
    }

    /// A whole part of this span, rounded down; `parts` of zero counts as one.
    #[must_use]
    pub fn part(self, parts: i64) -> Self {
        Self(self.0 / parts.max(1))
    }

    /// Parses `250ms`, `30s`, `5m`, `1h`, `7d`, or a sum such as `1h30m`.
    ///
    /// # Errors
    /// Says what a duration looks like when `text` is not one.
    pub fn parse(text: &str) -> Result<Self, SpanError> {
        let bad = || SpanError(text.chars().take(40).collect());
        let mut total: i64 = 0;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(bad()),
            };
            let number: i64 = number.parse().map_err(|_| bad())?;
            total = number
                .checked_mul(millis)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(bad)?;
            rest = tail;
        }
        Ok(Self(total))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Span {
    /// The shortest exact form, `1h30m`; what `parse` reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (millis, unit) in
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")]
        {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration; write a number and a unit of ms, s, m, h or d, such as 30s or 1h30m"
)]
pub struct SpanError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write_alike() {
        for text in ["250ms", "30s", "5m", "1h", "7d", "1h30m", "0s"] {
            let span = Span::parse(text).expect("a duration");
            assert_eq!(span.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "5", "m", "5 m", "-5m", "5y", "99999999999999999999s", "9223372036854775807d"]
        {
            assert!(Span::parse(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Span::MINUTE, Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Span::MINUTE, Timestamp::MIN);
        assert_eq!(Timestamp::MIN.apart(Timestamp::MAX).as_millis(), i64::MAX);
    }
}
