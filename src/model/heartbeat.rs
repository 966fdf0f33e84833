//! What must be heard of again and again, and when its silence is a problem.
//!
//! Pure arithmetic on times; who notices a beat is `collect`'s work, and what a missed one leads to
//! is `correlate`'s.

use super::matcher::Matchers;
use super::schedule::Schedule;
use super::status::Status;
use super::tags::Tags;
use super::time::{Span, Timestamp};

/// How many heartbeats a config has at most.
pub const HEARTBEATS_MAX: usize = 1_000;
/// How many heartbeats and values of one correlate keeps for a partition of its log.
pub const KEPT_MAX: usize = 20_000;
/// The longest name of one, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// How many values of a list-valued tag one event is a beat of at most.
pub const VALUES_MAX: usize = 32;
/// The source of alerts that Muster raises itself.
pub const OWN_SOURCE: &str = "muster";
/// The check of the alert that a missed heartbeat is.
pub const CHECK: &str = "heartbeat";
/// The tag by which an event names the heartbeat that it is a beat of, and by which an alert names
/// the one that was missed.
pub const TAG: &str = "heartbeat";

/// The bounds of how long further beats of the same are kept from correlate.
const KEPT_BACK: (Span, Span) = (Span::from_secs(1), Span::from_secs(300));

/// Something that must be heard of again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its name; unique.
    pub name: Box<str>,
    /// The longest silence.
    pub every: Span,
    /// How much longer it may be late.
    pub grace: Span,
    /// Which events are beats of it; at least one matcher.
    pub matchers: Matchers,
    /// `host`, or the tag of which each value has a heartbeat of its own.
    pub each: Option<Box<str>>,
    /// How many values are watched at most.
    pub each_max: u32,
    /// When it is expected; none: always.
    pub schedule: Option<Schedule>,
    /// How bad it is that one was missed; never ok.
    pub status: Status,
    /// The set of alerts that the missed one may correlate with.
    pub shard: Box<str>,
    /// Tags of the alert.
    pub tags: Tags,
    /// How long after it was missed a value is forgotten.
    pub forget_after: Span,
}

impl Heartbeat {
    /// How long collect keeps further beats to itself: a quarter of `every`, at least a second and
    /// at most five minutes.
    #[must_use]
    pub fn kept_back(&self) -> Span {
        let (least, most) = KEPT_BACK;
        self.every.part(4).clamp(least, most)
    }

    /// When the next beat is late after one at a time; none where none is expected any more.
    ///
    /// Within a window of the schedule no silence may be longer than `every`; a beat whose `every`
    /// reaches over the window's end is enough for the rest of it.
    #[must_use]
    pub fn due_after(&self, beat: Timestamp) -> Option<Timestamp> {
        let next = beat + self.every;
        let Some(schedule) = &self.schedule else { return Some(next + self.grace) };
        match schedule.active_at(beat) {
            Some(window) if next <= window.end => Some(next + self.grace),
            Some(window) => self.due_from(window.end),
            None => self.due_from(beat),
        }
    }

    /// When the first beat is late that is awaited from a time on; none where none is expected.
    ///
    /// Each window of the schedule must have a beat: within `every` of its start, or by its end
    /// where that comes first.
    #[must_use]
    pub fn due_from(&self, from: Timestamp) -> Option<Timestamp> {
        let Some(schedule) = &self.schedule else { return Some(from + self.every + self.grace) };
        let window = schedule.windows(from).next()?;
        Some((window.start.max(from) + self.every).min(window.end) + self.grace)
    }
}

/// One heartbeat, or one value of it, as correlate has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beating {
    /// The heartbeat.
    pub name: Box<str>,
    /// The value it is about; empty where the heartbeat has none.
    pub value: Box<str>,
    /// By log time, since when it is watched.
    pub since: Timestamp,
    /// By log time, the last beat.
    pub beaten_at: Option<Timestamp>,
    /// When the next one is late, or a missed one is told again; none while none is expected.
    pub due: Option<Timestamp>,
    /// Since when it is missed.
    pub missed: Option<Timestamp>,
    /// It is in no config any more, and is about to be forgotten.
    pub gone: bool,
}

/// Whether collect reads what is sent now, as one process knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// It has just begun to: what was sent before may not have been read, or never will be.
    Began,
    /// It has read what there is.
    CaughtUp,
    /// It is behind: beats may be waiting to be read.
    Behind,
}

impl Watch {
    /// All, with their words.
    pub const ALL: [(&'static str, Self); 3] =
        [("began", Self::Began), ("caught_up", Self::CaughtUp), ("behind", Self::Behind)];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, watch)| *watch == self).map_or("", |(word, _)| word)
    }
}

/// What a record about heartbeats says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    /// A heartbeat beats.
    Of {
        /// Which.
        name: Box<str>,
        /// The value it is about; empty where the heartbeat has none.
        value: Box<str>,
        /// How long further beats are kept back by whoever says this.
        kept_back: Span,
    },
    /// Whether collect reads what is sent.
    Watch(Watch),
    /// Asks for an answer: whether the way through the log is open.
    Probe(Box<str>),
}

/// What correlate says of heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulse {
    /// How one is now; it is forgotten where it is `gone`.
    Is(Beating),
    /// The answer to a probe.
    Probed {
        /// Which.
        id: Box<str>,
        /// Of which partition.
        partition: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::maintenance::PlanText;

    fn at(text: &str) -> Timestamp {
        let instant: jiff::Timestamp = format!("2026-01-0{text}Z").parse().expect("a time");
        Timestamp::from_millis(instant.as_millisecond())
    }

    fn heartbeat(every: i64, grace: i64, window: Option<(&str, &str)>) -> Heartbeat {
        let text = |(at, lasts): (&str, &str)| PlanText {
            every: Some("day".into()),
            at: Some(at.into()),
            lasts: Some(lasts.into()),
            time_zone: Some("UTC".into()),
            ..PlanText::default()
        };
        Heartbeat {
            name: "backup".into(),
            every: Span::from_secs(every * 60),
            grace: Span::from_secs(grace * 60),
            matchers: Matchers::parse(["source=backup"]).expect("a matcher"),
            each: None,
            each_max: 1,
            schedule: window.map(|window| text(window).read_schedule().expect("a schedule")),
            status: Status::Critical,
            shard: "default".into(),
            tags: Tags::default(),
            forget_after: Span::from_secs(86_400),
        }
    }

    #[test]
    fn without_a_schedule_every_silence_counts() {
        let heartbeat = heartbeat(5, 1, None);
        assert_eq!(heartbeat.due_after(at("1T12:00:00")), Some(at("1T12:06:00")));
        assert_eq!(heartbeat.due_from(at("1T12:00:00")), Some(at("1T12:06:00")));
        assert_eq!(heartbeat.kept_back(), Span::from_secs(75));
    }

    #[test]
    fn outside_its_schedule_nothing_is_awaited() {
        let heartbeat = heartbeat(30, 1, Some(("02:00", "2h")));
        for (from, due) in [
            ("1T00:10:00", "1T02:31:00"),
            ("1T02:10:00", "1T02:41:00"),
            ("1T03:50:00", "1T04:01:00"),
            ("1T04:00:00", "2T02:31:00"),
        ] {
            assert_eq!(heartbeat.due_from(at(from)), Some(at(due)), "from {from}");
        }
        for (beat, due) in [
            ("1T01:59:00", "1T02:31:00"),
            ("1T03:30:00", "1T04:01:00"),
            ("1T03:31:00", "2T02:31:00"),
            ("1T12:00:00", "2T02:31:00"),
        ] {
            assert_eq!(heartbeat.due_after(at(beat)), Some(at(due)), "beat {beat}");
        }
    }

    #[test]
    fn a_nightly_job_beats_once_a_window() {
        let heartbeat = heartbeat(24 * 60, 5, Some(("02:00", "2h")));
        assert_eq!(heartbeat.due_from(at("1T00:00:00")), Some(at("1T04:05:00")));
        assert_eq!(heartbeat.due_after(at("1T02:10:00")), Some(at("2T04:05:00")));
        assert_eq!(heartbeat.kept_back(), Span::from_secs(300));
    }
}
