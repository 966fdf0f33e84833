//! Heartbeats: the records about them in `muster.alerts` and `muster.incidents`, their rows, and
//! how a settings record has them. Version 1 of each.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::common::{is_false, unknown, unread};
use super::maintenance::WirePlan;
use super::{WireError, to_vec};
use crate::model::maintenance::PlanText;
use crate::model::{
    Beat, Beating, Heartbeat, Matchers, Pulse, Span, Status, Tags, Timestamp, Watch,
};

const VERSION: u8 = 1;

/// The key of the row that says until when collect is known to read what is sent.
pub const WATCH_KEY: &[u8] = b"h";

/// What is known of whether collect reads what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watched {
    /// By log time, when a process of collect last said how it is; none: never.
    pub at: Option<Timestamp>,
    /// Until when nothing counts as missed, since one was behind.
    pub held_until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBeat<'a> {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_back: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<Cow<'a, str>>,
}

/// The bytes of a record about heartbeats.
#[must_use]
pub fn encode(beat: &Beat) -> Vec<u8> {
    let none =
        WireBeat { v: VERSION, name: None, value: None, kept_back: None, watch: None, probe: None };
    let some = |text: &str| Some(Cow::Owned(text.to_owned()));
    let wire = match beat {
        Beat::Of { name, value, kept_back } => WireBeat {
            name: some(name),
            value: some(value).filter(|value| !value.is_empty()),
            kept_back: Some(*kept_back).filter(|span| *span > Span::ZERO),
            ..none
        },
        Beat::Watch(watch) => WireBeat { watch: some(watch.as_str()), ..none },
        Beat::Probe(id) => WireBeat { probe: some(id), ..none },
    };
    to_vec(&wire, 128)
}

/// A record about heartbeats from its bytes.
///
/// # Errors
/// When the version is not known, or the bytes are not as such a record has them.
pub fn decode(bytes: &[u8]) -> Result<Beat, WireError> {
    let unread = |error| unread(bytes, VERSION, "a heartbeat", error);
    let wire: WireBeat<'_> = serde_json::from_slice(bytes).map_err(unread)?;
    version(wire.v, "a heartbeat")?;
    match wire {
        WireBeat { name: Some(name), value, kept_back, watch: None, probe: None, .. } => {
            Ok(Beat::Of {
                name: name.into(),
                value: value.unwrap_or_default().into(),
                kept_back: kept_back.unwrap_or_default(),
            })
        }
        WireBeat { name: None, watch: Some(word), probe: None, .. } => {
            let known = Watch::ALL.into_iter().find(|(known, _)| *known == word);
            let known = known.map(|(_, watch)| Beat::Watch(watch));
            known.ok_or_else(|| WireError(format!("`watch: {word}` is not known here")))
        }
        WireBeat { name: None, watch: None, probe: Some(id), .. } => Ok(Beat::Probe(id.into())),
        _ => Err(WireError("a heartbeat has one of `name`, `watch` and `probe`".to_owned())),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBeating<'a> {
    v: u8,
    name: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    since: Timestamp,
    beaten_at: Option<Timestamp>,
    due: Option<Timestamp>,
    missed: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_false")]
    gone: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireWatched {
    v: u8,
    at: Option<Timestamp>,
    held_until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireProbed<'a> {
    v: u8,
    probe: Cow<'a, str>,
    partition: u32,
}

/// The key of a heartbeat's row.
#[must_use]
pub fn key(name: &str, value: &str) -> Vec<u8> {
    // The length keeps a name with odd characters apart from the value.
    format!("h/{}:{name}{value}", name.len()).into_bytes()
}

/// The bytes of a heartbeat's row, and of what is told of it.
#[must_use]
pub fn encode_row(beating: &Beating) -> Vec<u8> {
    let wire = WireBeating {
        v: VERSION,
        name: Cow::Borrowed(&beating.name),
        value: Some(Cow::Borrowed(&*beating.value)).filter(|value| !value.is_empty()),
        since: beating.since,
        beaten_at: beating.beaten_at,
        due: beating.due,
        missed: beating.missed,
        gone: beating.gone,
    };
    to_vec(&wire, 192)
}

/// A heartbeat's row from its bytes.
///
/// # Errors
/// When the version is not known, or the bytes are not as the row has them.
pub fn decode_row(bytes: &[u8]) -> Result<Beating, WireError> {
    let unread = |error| unread(bytes, VERSION, "a heartbeat's row", error);
    let wire: WireBeating<'_> = serde_json::from_slice(bytes).map_err(unread)?;
    version(wire.v, "a heartbeat's row")?;
    Ok(Beating {
        name: wire.name.into(),
        value: wire.value.unwrap_or_default().into(),
        since: wire.since,
        beaten_at: wire.beaten_at,
        due: wire.due,
        missed: wire.missed,
        gone: wire.gone,
    })
}

/// The bytes of the row under [`WATCH_KEY`].
#[must_use]
pub fn encode_watched(Watched { at, held_until }: Watched) -> Vec<u8> {
    to_vec(&WireWatched { v: VERSION, at, held_until }, 96)
}

/// The row under [`WATCH_KEY`] from its bytes.
///
/// # Errors
/// When the version is not known, or the bytes are not as the row has them.
pub fn decode_watched(bytes: &[u8]) -> Result<Watched, WireError> {
    let unread = |error| unread(bytes, VERSION, "a watch", error);
    let wire: WireWatched = serde_json::from_slice(bytes).map_err(unread)?;
    version(wire.v, "a watch")?;
    Ok(Watched { at: wire.at, held_until: wire.held_until })
}

/// The bytes of what correlate says of heartbeats.
#[must_use]
pub fn encode_pulse(pulse: &Pulse) -> Vec<u8> {
    match pulse {
        Pulse::Is(beating) => encode_row(beating),
        Pulse::Probed { id, partition } => {
            let probe = Cow::Borrowed(&**id);
            to_vec(&WireProbed { v: VERSION, probe, partition: *partition }, 96)
        }
    }
}

/// What correlate says of heartbeats, from its bytes.
///
/// # Errors
/// When the version is not known, or the bytes are none of its forms.
pub fn decode_pulse(bytes: &[u8]) -> Result<Pulse, WireError> {
    match serde_json::from_slice::<WireProbed<'_>>(bytes) {
        Ok(WireProbed { v, probe, partition }) => {
            version(v, "an answer to a probe")?;
            Ok(Pulse::Probed { id: probe.into(), partition })
        }
        Err(_) => decode_row(bytes).map(Pulse::Is),
    }
}

fn version(found: u8, what: &str) -> Result<(), WireError> {
    if found == VERSION {
        return Ok(());
    }
    Err(unknown(found.into(), VERSION, what))
}

/// A heartbeat in a settings record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireHeartbeat {
    name: Box<str>,
    every: Span,
    grace: Span,
    r#match: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    each: Option<Box<str>>,
    each_max: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<WirePlan>,
    status: Status,
    shard: Box<str>,
    tags: Tags,
    forget_after: Span,
}

impl From<&Heartbeat> for WireHeartbeat {
    fn from(heartbeat: &Heartbeat) -> Self {
        Self {
            name: heartbeat.name.clone(),
            every: heartbeat.every,
            grace: heartbeat.grace,
            r#match: heartbeat.matchers.iter().map(ToString::to_string).collect(),
            each: heartbeat.each.clone(),
            each_max: heartbeat.each_max,
            schedule: heartbeat.schedule.as_ref().map(|schedule| PlanText::from(schedule).into()),
            status: heartbeat.status,
            shard: heartbeat.shard.clone(),
            tags: heartbeat.tags.clone(),
            forget_after: heartbeat.forget_after,
        }
    }
}

impl WireHeartbeat {
    /// The heartbeat that was written so.
    pub(super) fn heartbeat(self) -> Result<Heartbeat, WireError> {
        let matchers = Matchers::parse(self.r#match.iter().map(String::as_str))
            .map_err(|error| WireError(error.to_string()))?;
        Ok(Heartbeat {
            name: self.name,
            every: self.every,
            grace: self.grace,
            matchers,
            each: self.each,
            each_max: self.each_max,
            schedule: self.schedule.map(WirePlan::schedule).transpose()?,
            status: self.status,
            shard: self.shard,
            tags: self.tags,
            forget_after: self.forget_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEATS: &str = include_str!("../../tests/fixtures/wire/heartbeats.v1.jsonl");
    const ROW: &[u8] = include_bytes!("../../tests/fixtures/wire/heartbeat.row.v1.json");
    const WATCHED: &[u8] = include_bytes!("../../tests/fixtures/wire/watched.v1.json");
    const PROBED: &[u8] = include_bytes!("../../tests/fixtures/wire/probed.v1.json");

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn records_of_version_1_are_what_they_were() {
        let of = |value: &str, kept_back: i64| Beat::Of {
            name: "web \"each\"".into(),
            value: value.into(),
            kept_back: Span::from_secs(kept_back),
        };
        let mut beats = vec![of("", 0), of("web-1", 75), Beat::Probe("1a2b".into())];
        beats.extend(Watch::ALL.map(|(_, watch)| Beat::Watch(watch)));
        let lines: Vec<String> =
            beats.iter().map(|beat| String::from_utf8(encode(beat)).expect("text")).collect();
        assert_eq!(lines, BEATS.lines().collect::<Vec<_>>());
        for (beat, line) in beats.iter().zip(BEATS.lines()) {
            assert_eq!(decode(line.as_bytes()).as_ref(), Ok(beat));
        }
    }

    #[test]
    fn rows_of_version_1_are_what_they_were() {
        let row = Beating {
            name: "web".into(),
            value: "web-1".into(),
            since: at(1_763_913_600_000),
            beaten_at: Some(at(1_763_913_700_000)),
            due: Some(at(1_763_914_000_000)),
            missed: None,
            gone: false,
        };
        assert_eq!(encode_row(&row), ROW.trim_ascii());
        assert_eq!(decode_row(ROW), Ok(row.clone()));
        assert_eq!(decode_pulse(ROW), Ok(Pulse::Is(row)));
        let watched = Watched { at: Some(at(1_763_913_600_000)), held_until: None };
        assert_eq!(encode_watched(watched), WATCHED.trim_ascii());
        assert_eq!(decode_watched(WATCHED), Ok(watched));
        let probed = Pulse::Probed { id: "1a2b".into(), partition: 3 };
        assert_eq!(encode_pulse(&probed), PROBED.trim_ascii());
        assert_eq!(decode_pulse(PROBED), Ok(probed));
    }

    #[test]
    fn what_is_no_such_record_is_refused_by_name() {
        for (bytes, says) in [
            (r#"{"v":9,"name":"a"}"#, "version 9 of a heartbeat"),
            (r#"{"v":1}"#, "one of `name`, `watch` and `probe`"),
            (r#"{"v":1,"name":"a","watch":"began"}"#, "one of `name`, `watch` and `probe`"),
            (r#"{"v":1,"watch":"asleep"}"#, "`watch: asleep` is not known here"),
            (r#"{"v":1,"name":"a","other":1}"#, "unknown field `other`"),
        ] {
            let error = decode(bytes.as_bytes()).expect_err(bytes).to_string();
            assert!(error.contains(says), "{error}");
        }
        for decode in [
            |bytes: &[u8]| decode_row(bytes).map(drop),
            |bytes: &[u8]| decode_watched(bytes).map(drop),
            |bytes: &[u8]| decode_pulse(bytes).map(drop),
        ] {
            let error = decode(br#"{"v":9}"#).expect_err("version 9").to_string();
            assert!(error.contains("version 9 of"), "{error}");
        }
    }

    #[test]
    fn names_and_values_do_not_run_into_each_other() {
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }
}
