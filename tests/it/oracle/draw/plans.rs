//! Draws planned work around a time.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use muster::model::maintenance::PlanText;
use muster::model::{Span, Timestamp};
use proptest::prelude::*;

const MATCH: [&str; 7] = [
    "host=\"h0\"",
    "host=~\"h0|h1\"",
    "cluster=\"a\"",
    "status=\"critical\"",
    "source=\"nagios\"",
    "check!=\"c0\"",
    "host=\"h2\"",
];
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"];

/// Planned work, before it is known from when on.
#[derive(Debug, Clone)]
pub(in super::super) struct PlanSketch {
    which: usize,
    /// Minutes from then to its first window.
    starts: i64,
    /// How many minutes it lasts.
    lasts: i64,
    /// 0 to 2 once, then every day, week, and month.
    every: u8,
    zone: usize,
    /// Minutes from then within which windows begin, where they come again.
    bounds: Option<(i64, i64)>,
}

pub(in super::super) fn plan() -> impl Strategy<Value = PlanSketch> {
    let lasts = prop_oneof![6 => 1..15_i64, 1 => 15..60_i64, 1 => 1_000..1_381_i64];
    let bounds = prop_oneof![4 => Just(None), 1 => (-2_000..20_i64, 20..3_000_i64).prop_map(Some)];
    (0..MATCH.len(), -10..20_i64, lasts, 0..9_u8, 0..ZONES.len(), bounds).prop_map(
        |(which, starts, lasts, every, zone, bounds)| PlanSketch {
            which,
            starts,
            lasts,
            every,
            zone,
            bounds,
        },
    )
}

fn shown(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis()).expect("in the calendar").to_string()
}

fn word(weekday: Weekday) -> &'static str {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        [usize::try_from(weekday.to_monday_zero_offset()).expect("below 7")]
}

impl PlanSketch {
    /// As somebody writes it down then.
    pub(in super::super) fn text(&self, then: Timestamp) -> PlanText {
        let minutes = |minutes: i64| Timestamp::from_millis(then.as_millis() + minutes * 60_000);
        let start = minutes(self.starts);
        let text = PlanText {
            name: Some("work".into()),
            matchers: vec![MATCH[self.which].into()],
            ..PlanText::default()
        };
        if self.every < 3 {
            let (from, to) = (Some(shown(start)), Some(shown(minutes(self.starts + self.lasts))));
            return PlanText { from, to, ..text };
        }
        let zone = ZONES[self.zone];
        let local = jiff::Timestamp::from_millisecond(start.as_millis()).expect("in the calendar");
        let local = TimeZone::get(zone).expect("a zone").to_datetime(local);
        let (day, weekday) = (local.day(), word(local.weekday()));
        let nth = usize::try_from((day - 1) / 7).expect("below 5");
        let (every, on) = match self.every {
            3 | 4 => ("day", vec![]),
            5 => ("week", vec![weekday.to_owned()]),
            6 => ("week", vec![weekday.to_owned(), word(local.weekday().next()).to_owned()]),
            7 => ("month", vec![day.to_string()]),
            _ => match ["first", "second", "third", "fourth"].get(nth) {
                Some(nth) => ("month", vec![format!("{nth} {weekday}")]),
                None => ("month", vec![format!("last {weekday}")]),
            },
        };
        PlanText {
            every: Some(every.into()),
            on,
            at: Some(format!("{:02}:{:02}", local.hour(), local.minute())),
            lasts: Some(Span::from_secs(self.lasts * 60).to_string()),
            time_zone: Some(zone.into()),
            from: self.bounds.map(|(from, _)| shown(minutes(from))),
            until: self.bounds.map(|(_, until)| shown(minutes(until))),
            ..text
        }
    }
}
