//! How often an alert identity began to fire, by day, and whether that is steady.
//!
//! Days are UTC, by event time. Counting is here; what is remembered for how long, and what follows
//! from it, is `correlate`'s work.

use super::event::Identity;
use super::time::{Span, Timestamp};

const DAY: i64 = 86_400_000;

/// When an identity fires so steadily that its alerts are chronic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChronicSettings {
    /// How many episodes make a day count; none is ever chronic where this is 0.
    pub episodes: u32,
    /// On how many days so many.
    pub days: u32,
    /// Of how many last days, the present one among them; 1 to 31.
    pub of: u32,
    /// How many identities are watched; the ones heard of least recently are dropped.
    pub identities_max: usize,
}

impl Default for ChronicSettings {
    /// What a settings record goes by that says nothing of it: never to be changed. What comes less
    /// often than every four hours may be a fault that recurs: with 3 a day a labelled stream lost
    /// 0.01 of its F1, from 5 on nothing.
    fn default() -> Self {
        Self { episodes: 6, days: 5, of: 7, identities_max: 200_000 }
    }
}

impl ChronicSettings {
    /// The most days that count.
    pub const OF_MAX: u32 = 31;

    /// How long after its last episode an identity is remembered, by log time: until no day of it
    /// counts, wherever in a day it fell.
    #[must_use]
    pub fn memory(&self) -> Span {
        Span::from_millis((i64::from(self.of) + 1) * DAY)
    }
}

/// What a pattern does with alerts that are chronic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Chronic {
    /// They share incidents with each other only.
    #[default]
    Separate,
    /// They are like all others.
    Join,
}

impl Chronic {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Separate, Self::Join];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Separate => "separate",
            Self::Join => "join",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chronic| chronic.as_str() == text)
    }
}

/// How often an identity began to fire on each of its last days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Whose.
    pub identity: Identity,
    /// The newest day, counted from 1970-01-01.
    pub day: i64,
    /// Episodes a day, the newest day's first; no more days than count.
    pub counts: Vec<u32>,
    /// The append time of the record of the last episode.
    pub appended_at: Timestamp,
}

impl Rate {
    /// Nothing yet, as of a time.
    #[must_use]
    pub fn new(identity: Identity, at: Timestamp) -> Self {
        Self { identity, day: day(at), counts: Vec::new(), appended_at: Timestamp::MIN }
    }

    /// Counts an episode. One on a day before those that count changes nothing; no more days count
    /// than [`ChronicSettings::OF_MAX`], whatever a record asks for.
    pub fn count(&mut self, at: Timestamp, of: u32) {
        let (of, on) = (of.min(ChronicSettings::OF_MAX) as usize, day(at));
        let later = usize::try_from(on.saturating_sub(self.day)).unwrap_or(0).min(of);
        if later > 0 {
            self.counts.splice(0..0, std::iter::repeat_n(0, later));
            self.day = on;
        }
        self.counts.truncate(of);
        let back = usize::try_from(self.day.saturating_sub(on)).unwrap_or(usize::MAX);
        if back < of {
            self.counts.resize(self.counts.len().max(back + 1), 0);
            self.counts[back] = self.counts[back].saturating_add(1);
        }
    }

    /// Whether it fires steadily.
    #[must_use]
    pub fn is_chronic(&self, settings: ChronicSettings) -> bool {
        let last = self.counts.iter().take(settings.of as usize);
        let busy = last.filter(|count| **count >= settings.episodes).count();
        settings.episodes > 0 && busy >= settings.days as usize
    }
}

fn day(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(days: &[i64]) -> Rate {
        let at = |day: &i64| Timestamp::from_millis(day * DAY + 5);
        let identity = Identity::new("nagios", Some("web-1"), None, None);
        let mut rate = Rate::new(identity, at(&days[0]));
        days.iter().for_each(|day| rate.count(at(day), 7));
        rate
    }

    #[test]
    fn days_move_on_and_old_ones_fall_out() {
        let mut rate = counted(&[1]);
        rate.count(Timestamp::from_millis(i64::MAX), u32::MAX);
        assert_eq!(rate.counts.len(), 31, "a record may ask for more");
        assert_eq!(counted(&[1, 1, 2, 4]).counts, [1, 0, 1, 2]);
        assert_eq!(counted(&[1, 8]).counts, [1, 0, 0, 0, 0, 0, 0], "the first day is the eighth");
        assert_eq!(counted(&[1, 7]).counts, [1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(counted(&[-3, 9_000]).counts[0], 1);
    }

    #[test]
    fn what_comes_late_counts_on_its_day() {
        assert_eq!(counted(&[9, 7, 7, 3]).counts, [1, 0, 2, 0, 0, 0, 1]);
        assert_eq!(counted(&[9, 2]).counts, [1], "too late to count");
    }

    #[test]
    fn it_is_chronic_from_so_many_episodes_on_so_many_days_on() {
        let settings = ChronicSettings { episodes: 2, days: 2, ..ChronicSettings::default() };
        assert!(counted(&[1, 1, 7, 7]).is_chronic(settings));
        assert!(!counted(&[1, 1, 7]).is_chronic(settings), "one on the last day");
        assert!(!counted(&[1, 1, 8, 8]).is_chronic(settings), "the first is too long ago");
        assert!(!counted(&[1, 1]).is_chronic(settings), "one day");
        assert!(!counted(&[1]).is_chronic(ChronicSettings { episodes: 0, days: 0, ..settings }));
    }
}
