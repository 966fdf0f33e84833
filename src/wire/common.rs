//! The JSON of the values that several forms share.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::WireError;
use crate::model::alert::{Refusal, TurnedDown};
use crate::model::event::Links;
use crate::model::incident::Acknowledged;
use crate::model::{
    AlertId, IncidentId, Pair, Resolution, Span, Status, TagValue, Tags, Timestamp, Why,
};

/// Why bytes were not read: first of all because their version is not the known one, since a form
/// of the future may differ in anything else.
pub(super) fn unread(bytes: &[u8], known: u8, what: &str, error: serde_json::Error) -> WireError {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    match serde_json::from_slice(bytes) {
        Ok(Version { v }) if v != u64::from(known) => unknown(v, known, what),
        _ => error.into(),
    }
}

pub(super) fn unknown(found: u64, known: u8, what: &str) -> WireError {
    WireError(format!("version {found} of {what} is not known here; {known} is"))
}

pub(super) fn millis(time: Timestamp) -> i64 {
    time.as_millis()
}

pub(super) fn incident_id(text: &str) -> Result<IncidentId, WireError> {
    IncidentId::parse(text).map_err(|error| WireError(error.to_string()))
}

pub(super) fn alert_id(text: &str) -> Result<AlertId, WireError> {
    AlertId::parse(text).map_err(|error| WireError(error.to_string()))
}

pub(super) fn status(text: &str) -> Result<Status, WireError> {
    Status::parse(text).ok_or_else(|| WireError(format!("`{text}` is no status")))
}

pub(super) fn resolution(text: &str) -> Result<Resolution, WireError> {
    Resolution::parse(text).ok_or_else(|| WireError(format!("`{text}` is no reason of a resolve")))
}

impl Serialize for TagValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(value) => serializer.serialize_str(value),
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(value)?;
                }
                list.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for TagValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = TagValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<TagValue, E> {
                Ok(TagValue::one(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TagValue, A::Error> {
                let mut values: Vec<Box<str>> = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(TagValue::List(values.into()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_map(Deserialize::deserialize(deserializer)?))
    }
}

/// A pair as every form shows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WirePair {
    name: Box<str>,
    by: std::collections::BTreeMap<Box<str>, Box<str>>,
    /// The order of the tags, where it is not that of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    order: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Box<str>>,
}

impl From<&Pair> for WirePair {
    fn from(pair: &Pair) -> Self {
        let sorted = pair.by.is_sorted_by(|a, b| a.0 < b.0);
        Self {
            name: pair.pattern.clone(),
            by: pair.by.iter().cloned().collect(),
            order: if sorted {
                Vec::new()
            } else {
                pair.by.iter().map(|(tag, _)| tag.clone()).collect()
            },
            source: pair.source.clone(),
        }
    }
}

impl From<WirePair> for Pair {
    fn from(mut wire: WirePair) -> Self {
        let by = if wire.order.is_empty() {
            wire.by.into_iter().collect()
        } else {
            wire.order.into_iter().filter_map(|tag| wire.by.remove_entry(&tag)).collect()
        };
        Self { pattern: wire.name, by, source: wire.source }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct WireTurnedDown {
    incident: String,
    pattern: Box<str>,
    reason: String,
    apart_ms: i64,
}

/// Why an alert is in its incident, as every form shows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireWhy {
    pattern: Option<WirePair>,
    apart_ms: i64,
    turned_down: Vec<WireTurnedDown>,
    more: u32,
}

impl From<&Why> for WireWhy {
    fn from(why: &Why) -> Self {
        let turned_down = why.turned_down.iter().map(|candidate| WireTurnedDown {
            incident: candidate.incident.to_string(),
            pattern: candidate.pattern.clone(),
            reason: candidate.reason.as_str().to_owned(),
            apart_ms: candidate.apart.as_millis(),
        });
        Self {
            pattern: why.pair.as_ref().map(WirePair::from),
            apart_ms: why.apart.as_millis(),
            turned_down: turned_down.collect(),
            more: why.more,
        }
    }
}

impl TryFrom<WireWhy> for Why {
    type Error = WireError;

    fn try_from(wire: WireWhy) -> Result<Self, WireError> {
        let turned_down = wire.turned_down.into_iter().map(|candidate| {
            let reason = Refusal::ALL
                .into_iter()
                .find(|reason| reason.as_str() == candidate.reason)
                .ok_or_else(|| WireError(format!("`{}` is no refusal", candidate.reason)))?;
            Ok(TurnedDown {
                incident: incident_id(&candidate.incident)?,
                pattern: candidate.pattern,
                reason,
                apart: Span::from_millis(candidate.apart_ms),
            })
        });
        Ok(Self {
            pair: wire.pattern.map(Pair::from),
            apart: Span::from_millis(wire.apart_ms),
            turned_down: turned_down.collect::<Result<_, WireError>>()?,
            more: wire.more,
        })
    }
}

/// Who acknowledged, as every form shows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireAcknowledged {
    by: Box<str>,
    at: i64,
}

impl From<&Acknowledged> for WireAcknowledged {
    fn from(acknowledged: &Acknowledged) -> Self {
        Self { by: acknowledged.by.clone(), at: acknowledged.at.as_millis() }
    }
}

impl From<WireAcknowledged> for Acknowledged {
    fn from(wire: WireAcknowledged) -> Self {
        Self { by: wire.by, at: Timestamp::from_millis(wire.at) }
    }
}

/// Links, sorted by name.
pub(super) type WireLinks = Links;
