//! The times of events, and what they say of their senders' clocks.

use super::Limits;
use super::decode::Parsed;
use super::scan::Value;
use crate::decoders::Failure;
use crate::model::Timestamp;
use crate::stage::{Limit, Reason};

/// The event's time, how old it was by that as it arrived, and the limit that changed it.
pub(super) fn of_event(
    value: Option<&Value<'_>>,
    arrival: Timestamp,
    limits: &Limits,
) -> Result<(Timestamp, Option<i64>, Option<Limit>), Failure> {
    let Some(value) = value.filter(|value| **value != Value::Null) else {
        return Ok((arrival, None, None));
    };
    let Some(time) = read("timestamp", value)? else {
        // Zero, a negative number and unreadable text are what senders write for "none".
        return Ok((arrival, None, Some(Limit::TimeUnread)));
    };
    Ok(held(time, arrival, limits))
}

/// The same of a time that a decoder has read; what lies before 1970 is none.
pub(super) fn of_decoded(
    time: Timestamp,
    arrival: Timestamp,
    limits: &Limits,
) -> (Timestamp, Option<i64>, Option<Limit>) {
    if time.as_millis() <= 0 {
        return (arrival, None, Some(Limit::TimeUnread));
    }
    held(time, arrival, limits)
}

/// A time that lies too far ahead counts as the arrival.
fn held(
    time: Timestamp,
    arrival: Timestamp,
    limits: &Limits,
) -> (Timestamp, Option<i64>, Option<Limit>) {
    let age = Some(arrival.as_millis().saturating_sub(time.as_millis()));
    if time > arrival + limits.ahead {
        (arrival, age, Some(Limit::TimeClamped))
    } else {
        (time, age, None)
    }
}

/// Epoch seconds or milliseconds, as a number or a text of one, or RFC 3339.
pub(super) fn read(name: &str, value: &Value<'_>) -> Result<Option<Timestamp>, Failure> {
    match value {
        Value::Int(number) => Ok(Timestamp::from_epoch(*number)),
        Value::Uint(_) => Ok(Some(Timestamp::MAX)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float saturates; it is clamped later"
        )]
        Value::Float(number) if *number < 100_000_000_000.0 => {
            Ok((*number > 0.0).then(|| Timestamp::from_millis((number * 1_000.0) as i64)))
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float saturates; it is clamped later"
        )]
        Value::Float(number) => Ok(Timestamp::from_epoch(*number as i64)),
        Value::Text(text) => Ok(match text.trim().parse::<i64>() {
            Ok(number) => Timestamp::from_epoch(number),
            Err(_) => match text.trim().parse::<f64>() {
                // `nan` and `inf` are numbers to the parser, but no times.
                Ok(number) => {
                    return read(name, &Value::Float(number))
                        .map(|read| read.filter(|_| number.is_finite()));
                }
                Err(_) => text
                    .trim()
                    .parse::<jiff::Timestamp>()
                    .ok()
                    .map(|time| Timestamp::from_millis(time.as_millisecond()))
                    .filter(|time| time.as_millis() > 0),
            },
        }),
        _ => {
            let message = format!("`{name}` is not a number or a text");
            Err(Failure::new(Reason::BadTime, message))
        }
    }
}

/// How old the youngest event of each source was as it arrived, by its sender's clock. The youngest
/// was least on its way, and so shows best how far off that clock is.
#[derive(Debug, Default)]
pub(super) struct Youngest(Vec<(usize, i64)>);

impl Youngest {
    /// Notes an event that stated a time; `source` finds its source's place in the settings.
    pub(super) fn note(&mut self, event: &Parsed<'_>, source: impl FnOnce() -> usize) {
        let Some(age) = event.age else { return };
        let source = source();
        match self.0.iter_mut().find(|(other, _)| *other == source) {
            Some((_, youngest)) => *youngest = age.min(*youngest),
            None => self.0.push((source, age)),
        }
    }

    /// What was noted since it was last taken.
    pub(super) fn take(&mut self) -> Vec<(usize, i64)> {
        std::mem::take(&mut self.0)
    }
}
