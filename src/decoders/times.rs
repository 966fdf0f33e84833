//! Times as senders write them.
//!
//! Seconds, milliseconds, microseconds and nanoseconds are told apart by magnitude, never by who
//! sent them. A time without a zone is meant in the source's zone. What cannot be read is `Unread`,
//! never an error: the arrival counts then.

use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use super::Payload;
use super::draft::When;
use crate::model::Timestamp;

/// From this year on a time is one.
const FIRST_YEAR: i16 = 1970;

/// With a zone of its own.
const ZONED: [&str; 8] = [
    "%Y-%m-%dT%H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M:%S%.f %z",
    "%Y-%m-%d %H:%M:%S%.f%z",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
];

/// Without one.
const LOCAL: [&str; 12] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y.%m.%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %H:%M:%S",
    "%m-%d-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S",
    "%Y-%m-%d %H:%M",
];

/// The time in a JSON value; none where there is none, or a word for none.
#[must_use]
pub fn value(value: Option<&Value>, payload: &Payload<'_>) -> Option<When> {
    match value? {
        Value::Null => None,
        Value::Number(number) => match number.as_i64() {
            Some(0) => None,
            Some(number) => Some(from_number(number)),
            None => match number.as_f64() {
                Some(seconds) if number.is_f64() => from_float(seconds),
                // More than 63 bits: nanoseconds end in the year 2262, and nothing else comes near.
                _ => Some(When::Unread),
            },
        },
        Value::String(text) => self::text(text, payload),
        _ => Some(When::Unread),
    }
}

/// The time in a text; none where it is a word for none.
#[must_use]
pub fn text(text: &str, payload: &Payload<'_>) -> Option<When> {
    let text = super::macros::present(text)?;
    if text.starts_with("0001-01-01") || text == "0" || text.eq_ignore_ascii_case("null") {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(from_number(number));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.bytes().filter(|byte| *byte == b'.').count() == 1
        && let Ok(seconds) = text.parse::<f64>()
    {
        return from_float(seconds);
    }
    Some(written(text, payload).filter(|time| time.as_millis() > 0).map_or(When::Unread, When::At))
}

/// Seconds and nanoseconds apart, as Zabbix has them.
#[must_use]
pub fn split(seconds: Option<&Value>, nanos: Option<&Value>) -> Option<When> {
    let seconds = super::json::integer(seconds?).filter(|seconds| *seconds != 0)?;
    let nanos = nanos.and_then(super::json::integer).unwrap_or_default();
    match from_number(seconds) {
        When::At(time) if (0..1_000_000_000).contains(&nanos) => {
            Some(When::At(Timestamp::from_millis(time.as_millis() + nanos / 1_000_000)))
        }
        other => Some(other),
    }
}

/// Seconds up to 10^11, then milliseconds up to 10^14, microseconds up to 10^17, nanoseconds.
fn from_number(number: i64) -> When {
    let millis = match number {
        ..=0 => return When::Unread,
        1..100_000_000_000 => number * 1_000,
        100_000_000_000..100_000_000_000_000 => number,
        100_000_000_000_000..100_000_000_000_000_000 => number / 1_000,
        _ => number / 1_000_000,
    };
    When::At(Timestamp::from_millis(millis))
}

fn from_float(number: f64) -> Option<When> {
    if number == 0.0 {
        return None;
    }
    if !number.is_finite() || !(0.0..9e18).contains(&number) {
        return Some(When::Unread);
    }
    #[expect(clippy::cast_possible_truncation, reason = "within the range by the line above")]
    let millis = |number: f64| When::At(Timestamp::from_millis(number as i64));
    Some(match number {
        number if number < 1e11 => millis((number * 1_000.0).round()),
        number if number < 1e14 => millis(number),
        number if number < 1e17 => millis(number / 1e3),
        number => millis(number / 1e6),
    })
}

fn written(text: &str, payload: &Payload<'_>) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_millis(time.as_millisecond()));
    }
    // Go prints the zone twice, and sometimes a monotonic reading: `… +0000 UTC m=+0.5`.
    let text = text.split(" m=").next().unwrap_or(text);
    let text = match text.rsplit_once(' ') {
        Some((rest, zone)) if rest.len() > 20 && has_offset(rest) && is_word(zone) => rest,
        _ => text,
    };
    for format in ZONED {
        if let Ok(broken) = strtime::parse(format, text)
            && let Ok(time) = broken.to_timestamp()
        {
            return Some(Timestamp::from_millis(time.as_millisecond()));
        }
    }
    if let Some(local) = local(text) {
        return zoned(local, payload.zone);
    }
    if let Some((local, zone)) = with_abbreviation(text) {
        return abbreviated(local, zone, payload.zone);
    }
    without_year(text, payload)
}

fn has_offset(text: &str) -> bool {
    let tail = text.rsplit(' ').next().unwrap_or_default();
    tail.len() >= 5 && tail.starts_with(['+', '-'])
}

fn is_word(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase())
        || text.starts_with(['+', '-'])
}

fn local(text: &str) -> Option<DateTime> {
    LOCAL.iter().find_map(|format| {
        let local = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        (local.year() >= FIRST_YEAR).then_some(local)
    })
}

fn zoned(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let time = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Some(Timestamp::from_millis(time.as_millisecond()))
}

/// `Thu Jun 5 12:21:18 CEST 2014` and `2014-06-05 12:21:18 CEST`.
fn with_abbreviation(text: &str) -> Option<(DateTime, &str)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let place = words.iter().position(|word| {
        (2..=5).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
    })?;
    let zone = words[place];
    if matches!(zone, "AM" | "PM") {
        return None;
    }
    let mut rest = words;
    rest.remove(place);
    Some((local(&rest.join(" "))?, zone))
}

/// An abbreviation means what the source's own zone means by it; else what it mostly means.
fn abbreviated(local: DateTime, name: &str, own: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = own.to_ambiguous_timestamp(local).compatible()
        && own.to_offset_info(time).abbreviation() == name
    {
        return Some(Timestamp::from_millis(time.as_millisecond()));
    }
    let moscow =
        if local < jiff::civil::date(2014, 10, 26).at(2, 0, 0, 0) { 4 * 60 } else { 3 * 60 };
    let minutes: i32 = match name {
        "UTC" | "GMT" | "WET" | "UT" => 0,
        "CET" | "BST" | "WEST" | "MEZ" => 60,
        "CEST" | "EET" | "SAST" | "MESZ" => 120,
        "EEST" | "TRT" => 180,
        "MSK" => moscow,
        "MSD" => 240,
        "IST" => 330,
        "SGT" | "HKT" | "AWST" => 480,
        "JST" | "KST" => 540,
        "AEST" => 600,
        "AEDT" => 660,
        "NZST" => 720,
        "NZDT" => 780,
        "BRT" | "ART" => -180,
        "EDT" => -240,
        "EST" | "CDT" => -300,
        "CST" | "MDT" => -360,
        "MST" | "PDT" => -420,
        "PST" => -480,
        "HST" => -600,
        _ => return None,
    };
    let offset = Offset::from_seconds(minutes * 60).ok()?;
    zoned(local, &TimeZone::fixed(offset))
}

/// `Nov 24 10:15:07`, as syslog writes it: the year is the one nearest to the arrival.
fn without_year(text: &str, payload: &Payload<'_>) -> Option<Timestamp> {
    let broken = strtime::parse("%b %d %H:%M:%S", text).ok()?;
    let (month, day) = (broken.month()?, broken.day()?);
    let time = Time::new(broken.hour()?, broken.minute()?, broken.second()?, 0).ok()?;
    let arrival = jiff::Timestamp::from_millisecond(payload.arrival.as_millis()).ok()?;
    let year = payload.zone.to_datetime(arrival).year();
    let candidates = [year - 1, year, year + 1].into_iter().filter_map(|year| {
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        zoned(date.to_datetime(time), payload.zone)
    });
    candidates.min_by_key(|time| time.as_millis().abs_diff(payload.arrival.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_in(zone: &TimeZone, value: &Value) -> Option<When> {
        let arrival = at("2026-11-24T12:00:00Z");
        let payload = Payload { bytes: b"", headers: &[], arrival, zone, depth: 32 };
        super::value(Some(value), &payload)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond())
    }

    fn says(value: &Value, expected: &str) {
        assert_eq!(read_in(&TimeZone::UTC, value), Some(When::At(at(expected))), "{value}");
    }

    #[test]
    fn numbers_go_by_magnitude() {
        let expected = "2025-02-15T14:59:03Z";
        says(&json!(1_739_631_543), expected);
        says(&json!("1739631543"), expected);
        says(&json!(1_739_631_543_000_i64), expected);
        says(&json!("1739631543000"), expected);
        says(&json!(1_739_631_543_000_000_i64), expected);
        says(&json!("1739631543000000000"), expected);
        says(&json!(1_739_631_543.0), expected);
        says(&json!(1_739_631_543.25), "2025-02-15T14:59:03.250Z");
        says(&json!("1739631543.25"), "2025-02-15T14:59:03.250Z");
    }

    #[test]
    fn texts_with_a_zone() {
        for text in [
            "2025-02-15T14:59:03Z",
            "2025-02-15T15:59:03+01:00",
            "2025-02-15T14:59:03+0000",
            "2025-02-15 14:59:03 +0000 UTC",
            "2025-02-15 14:59:03.000000 +0000 UTC m=+0.5",
            "2025-02-15 15:59:03 +0100 CET",
            "Sat, 15 Feb 2025 14:59:03 +0000",
            "15 Feb 2025 14:59:03 +0000",
            "2025-02-15T14:59:03.0000000Z",
            "Sat, 15 Feb 2025 14:59:03 GMT",
            "Sat Feb 15 15:59:03 CET 2025",
            "2025-02-15 09:59:03 EST",
        ] {
            says(&json!(text), "2025-02-15T14:59:03Z");
        }
        says(&json!("2025-02-02T12:06:35.472+0000"), "2025-02-02T12:06:35.472Z");
        says(&json!("Thu Jun 5 12:21:18 CEST 2014"), "2014-06-05T10:21:18Z");
    }

    #[test]
    fn texts_without_a_zone_are_in_the_sources() {
        let berlin = TimeZone::get("Europe/Berlin").expect("compiled in");
        for text in [
            "2019-03-22 13:58:24",
            "2019.03.22 13:58:24",
            "22-03-2019 13:58:24",
            "03-22-2019 13:58:24",
            "3/22/2019 1:58:24 PM",
            "2019-03-22T13:58:24",
            "Fri Mar 22 13:58:24 2019",
        ] {
            says(&json!(text), "2019-03-22T13:58:24Z");
            let there = read_in(&berlin, &json!(text));
            assert_eq!(there, Some(When::At(at("2019-03-22T12:58:24Z"))), "{text}");
        }
    }

    #[test]
    fn an_abbreviation_is_first_the_sources_own() {
        let dublin = TimeZone::get("Europe/Dublin").expect("compiled in");
        let text = json!("Thu Jun 5 12:00:00 IST 2014");
        assert_eq!(read_in(&dublin, &text), Some(When::At(at("2014-06-05T11:00:00Z"))));
        says(&text, "2014-06-05T06:30:00Z");
        says(&json!("Sat Oct 25 12:00:00 MSK 2014"), "2014-10-25T08:00:00Z");
        says(&json!("Mon Oct 27 12:00:00 MSK 2014"), "2014-10-27T09:00:00Z");
    }

    #[test]
    fn a_year_is_the_nearest_to_the_arrival() {
        says(&json!("Nov 24 10:15:07"), "2026-11-24T10:15:07Z");
        says(&json!("Jan  2 10:15:07"), "2027-01-02T10:15:07Z");
        says(&json!("Jun 24 10:15:07"), "2026-06-24T10:15:07Z");
    }

    #[test]
    fn words_for_none_are_none() {
        for value in [
            json!(null),
            json!(0),
            json!("0"),
            json!(""),
            json!("0001-01-01T00:00:00Z"),
            json!("$DATE"),
        ] {
            assert_eq!(read_in(&TimeZone::UTC, &value), None, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        for value in [
            json!("123123123129312381923"),
            json!("+8000"),
            json!("+01.00"),
            json!(-5),
            json!({}),
            json!([1]),
            json!(true),
            json!("yesterday"),
            json!(18_000_000_000_000_000_000_u64),
            json!("Feb 30 10:00:00"),
        ] {
            let read = read_in(&TimeZone::UTC, &value);
            // `+8000` is a number, of seconds in 1970.
            let early = matches!(read, Some(When::At(time)) if time < at("1971-01-01T00:00:00Z"));
            assert!(read == Some(When::Unread) || early, "{value}: {read:?}");
        }
    }
}
