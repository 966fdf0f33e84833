//! The JSON of the values that several forms share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::WireError;
use super::event::{parse_report, report_word};
use crate::model::alert::{Lack, MoveKind, Moved, Refusal, Side, TurnedDown};
use crate::model::event::Report;
use crate::model::incident::Acknowledged;
use crate::model::{
    AlertId, ChangeKind, IncidentId, Pair, Resolution, Span, Status, TagValue, Tags, Timestamp, Why,
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

pub(super) fn incident_id(text: &str) -> Result<IncidentId, WireError> {
    IncidentId::parse(text).map_err(|error| WireError(error.to_string()))
}

/// Left out where there is none, so that what was written before it was there is the same bytes.
pub(super) fn nothing<T>(list: &[T]) -> bool {
    list.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(super) fn is_none(count: &u32) -> bool {
    *count == 0
}

/// What is one text in every form: how it is written, and read again.
macro_rules! text {
    ($type:ty, $write:expr, $read:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&$write(*self))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
                $read(&text).map_err(D::Error::custom)
            }
        }
    };
}

fn known<T>(read: Option<T>, text: &str, what: &str) -> Result<T, String> {
    read.ok_or_else(|| format!("`{text}` is no {what}"))
}

text!(IncidentId, |id| id, IncidentId::parse);
text!(AlertId, |id| id, AlertId::parse);
text!(Status, Status::as_str, |text: &str| known(Status::parse(text), text, "status"));
text!(Report, report_word, |text: &str| known(parse_report(text), text, "status"));
text!(ChangeKind, ChangeKind::as_str, |text: &str| known(ChangeKind::parse(text), text, "change"));
text!(MoveKind, MoveKind::as_str, |text: &str| known(MoveKind::parse(text), text, "kind of move"));
text!(Refusal, Refusal::as_str, |text: &str| known(Refusal::parse(text), text, "refusal"));
text!(Side, Side::as_str, |text: &str| known(Side::parse(text), text, "side"));
text!(Resolution, Resolution::as_str, |text: &str| {
    known(Resolution::parse(text), text, "reason of a resolve")
});

/// What is one number of milliseconds in every form.
macro_rules! millis {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i64(self.as_millis())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                i64::deserialize(deserializer).map(Self::from_millis)
            }
        }
    };
}

millis!(Timestamp);
millis!(Span);

/// What is written and read by way of a form of its own.
macro_rules! by_way_of {
    ($type:ty, $form:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $form::from(self).serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $form::deserialize(deserializer).map(Into::into)
            }
        }
    };
}
pub(super) use by_way_of;

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

by_way_of!(Pair, WirePair);

/// A pair as every form shows it.
#[derive(Serialize, Deserialize)]
struct WirePair<'a> {
    name: Cow<'a, Box<str>>,
    by: BTreeMap<Cow<'a, Box<str>>, Cow<'a, Box<str>>>,
    /// The order of the tags, where it is not that of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    order: Vec<Cow<'a, Box<str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, Box<str>>>,
    #[serde(default, skip_serializing_if = "is_false")]
    chronic: bool,
}

/// For what is left out where it is not.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

impl<'a> From<&'a Pair> for WirePair<'a> {
    fn from(pair: &'a Pair) -> Self {
        let borrow =
            |(tag, value): &'a (Box<str>, Box<str>)| (Cow::Borrowed(tag), Cow::Borrowed(value));
        let sorted = pair.by.is_sorted_by(|a, b| a.0 < b.0);
        let order = if sorted { &[] } else { pair.by.as_slice() };
        Self {
            name: Cow::Borrowed(&pair.pattern),
            by: pair.by.iter().map(borrow).collect(),
            order: order.iter().map(|(tag, _)| Cow::Borrowed(tag)).collect(),
            source: pair.source.as_ref().map(Cow::Borrowed),
            chronic: pair.chronic,
        }
    }
}

impl From<WirePair<'_>> for Pair {
    fn from(mut wire: WirePair<'_>) -> Self {
        let own = |(tag, value): (Cow<'_, Box<str>>, Cow<'_, Box<str>>)| {
            (tag.into_owned(), value.into_owned())
        };
        let by = if wire.order.is_empty() {
            wire.by.into_iter().map(own).collect()
        } else {
            wire.order.iter().filter_map(|tag| wire.by.remove_entry(tag)).map(own).collect()
        };
        let source = wire.source.map(Cow::into_owned);
        Self { pattern: wire.name.into_owned(), by, source, chronic: wire.chronic }
    }
}

by_way_of!(TurnedDown, WireTurnedDown);

#[derive(Serialize, Deserialize)]
struct WireTurnedDown<'a> {
    incident: IncidentId,
    pattern: Cow<'a, Box<str>>,
    reason: Refusal,
    apart_ms: Span,
    /// Those from before it was kept have neither of the two, nor `besides`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed_ms: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    side: Option<Side>,
    #[serde(default, skip_serializing_if = "nothing")]
    besides: Cow<'a, [Refusal]>,
}

impl<'a> From<&'a TurnedDown> for WireTurnedDown<'a> {
    fn from(candidate: &'a TurnedDown) -> Self {
        Self {
            incident: candidate.incident,
            pattern: Cow::Borrowed(&candidate.pattern),
            reason: candidate.reason,
            apart_ms: candidate.apart,
            missed_ms: candidate.missed.map(|(by, _)| by),
            side: candidate.missed.map(|(_, side)| side),
            besides: Cow::Borrowed(&candidate.besides),
        }
    }
}

impl From<WireTurnedDown<'_>> for TurnedDown {
    fn from(wire: WireTurnedDown<'_>) -> Self {
        Self {
            incident: wire.incident,
            pattern: wire.pattern.into_owned(),
            reason: wire.reason,
            apart: wire.apart_ms,
            missed: wire.missed_ms.zip(wire.side),
            besides: wire.besides.into_owned(),
        }
    }
}

by_way_of!(Lack, WireLack);

#[derive(Serialize, Deserialize)]
struct WireLack<'a> {
    pattern: Cow<'a, Box<str>>,
    tag: Cow<'a, Box<str>>,
}

impl<'a> From<&'a Lack> for WireLack<'a> {
    fn from(lack: &'a Lack) -> Self {
        Self { pattern: Cow::Borrowed(&lack.pattern), tag: Cow::Borrowed(&lack.tag) }
    }
}

impl From<WireLack<'_>> for Lack {
    fn from(wire: WireLack<'_>) -> Self {
        Self { pattern: wire.pattern.into_owned(), tag: wire.tag.into_owned() }
    }
}

by_way_of!(Moved, WireMoved);

/// How an alert came from one incident into another, as every form shows it.
#[derive(Serialize, Deserialize)]
struct WireMoved<'a> {
    kind: MoveKind,
    from: IncidentId,
    by: Cow<'a, Box<str>>,
    at: Timestamp,
    request: Cow<'a, Box<str>>,
}

impl<'a> From<&'a Moved> for WireMoved<'a> {
    fn from(moved: &'a Moved) -> Self {
        Self {
            kind: moved.kind,
            from: moved.from,
            by: Cow::Borrowed(&moved.by),
            at: moved.at,
            request: Cow::Borrowed(&moved.request),
        }
    }
}

impl From<WireMoved<'_>> for Moved {
    fn from(wire: WireMoved<'_>) -> Self {
        Self {
            kind: wire.kind,
            from: wire.from,
            by: wire.by.into_owned(),
            at: wire.at,
            request: wire.request.into_owned(),
        }
    }
}

by_way_of!(Why, WireWhy);

/// Why an alert is in its incident, as every form shows it.
#[derive(Serialize, Deserialize)]
struct WireWhy<'a> {
    pattern: Option<Cow<'a, Pair>>,
    apart_ms: Span,
    turned_down: Cow<'a, [TurnedDown]>,
    more: u32,
    #[serde(default, skip_serializing_if = "nothing")]
    lacks: Cow<'a, [Lack]>,
    /// Alerts that no command moved have none.
    #[serde(default, skip_serializing_if = "nothing")]
    moves: Cow<'a, [Moved]>,
}

impl<'a> From<&'a Why> for WireWhy<'a> {
    fn from(why: &'a Why) -> Self {
        Self {
            pattern: why.pair.as_ref().map(Cow::Borrowed),
            apart_ms: why.apart,
            turned_down: Cow::Borrowed(&why.turned_down),
            more: why.more,
            lacks: Cow::Borrowed(&why.lacks),
            moves: Cow::Borrowed(&why.moves),
        }
    }
}

impl From<WireWhy<'_>> for Why {
    fn from(wire: WireWhy<'_>) -> Self {
        Self {
            pair: wire.pattern.map(Cow::into_owned),
            apart: wire.apart_ms,
            turned_down: wire.turned_down.into_owned(),
            more: wire.more,
            lacks: wire.lacks.into_owned(),
            moves: wire.moves.into_owned(),
        }
    }
}

by_way_of!(Acknowledged, WireAcknowledged);

/// Who acknowledged, as every form shows it.
#[derive(Serialize, Deserialize)]
struct WireAcknowledged<'a> {
    by: Cow<'a, Box<str>>,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl<'a> From<&'a Acknowledged> for WireAcknowledged<'a> {
    fn from(acknowledged: &'a Acknowledged) -> Self {
        let Acknowledged { by, at, until } = acknowledged;
        Self { by: Cow::Borrowed(by), at: *at, until: *until }
    }
}

impl From<WireAcknowledged<'_>> for Acknowledged {
    fn from(wire: WireAcknowledged<'_>) -> Self {
        Self { by: wire.by.into_owned(), at: wire.at, until: wire.until }
    }
}
