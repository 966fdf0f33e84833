//! Reads one JSON object of an event's shape, borrowing from the payload.
//!
//! Only the syntax is judged here; what the values mean is `decode`'s work. Nothing is copied but
//! texts with escapes and numbers, since most events end right after, as repeats.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The value of a field whose type is not settled yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Map(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Value<'a> {
    /// A scalar as text; none for null, lists and maps.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(Cow::Owned(value.to_string())),
            Self::Int(value) => Some(Cow::Owned(value.to_string())),
            Self::Uint(value) => Some(Cow::Owned(value.to_string())),
            // Digits without an exponent would make 300 bytes of six.
            Self::Float(value) if *value != 0.0 && !(1e-5..1e16).contains(&value.abs()) => {
                Some(Cow::Owned(format!("{value:e}")))
            }
            Self::Float(value) => Some(Cow::Owned(value.to_string())),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// The fields of an event as they stand in the payload.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    pub(super) source: Option<Value<'a>>,
    pub(super) app_key: Option<Value<'a>>,
    pub(super) host: Option<Value<'a>>,
    pub(super) check: Option<Value<'a>>,
    pub(super) key: Option<Value<'a>>,
    pub(super) status: Option<Value<'a>>,
    pub(super) timestamp: Option<Value<'a>>,
    pub(super) arrival: Option<Value<'a>>,
    pub(super) expires_at: Option<Value<'a>>,
    pub(super) description: Option<Value<'a>>,
    pub(super) links: Option<Value<'a>>,
    pub(super) id: Option<Value<'a>>,
    pub(super) primary_property: Option<Value<'a>>,
    /// `tags`, then every field that is none of the others.
    pub(super) tags: Vec<(Cow<'a, str>, Value<'a>)>,
    /// What stands under `alerts`, unread, where that is a list.
    pub(super) alerts: Option<&'a RawValue>,
    /// `tags` was neither an object nor null.
    pub(super) bad_tags: bool,
}

/// Reads one object; `depth` is how deep objects and lists may lie within each other.
pub(super) fn object<'a>(bytes: &'a [u8], depth: usize) -> Result<Scan<'a>, serde_json::Error> {
    // Once for all of it is cheaper than once for every text in it, which `from_slice` does.
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let scan = json.deserialize_map(Fields { depth })?;
    json.end()?;
    Ok(scan)
}

/// Reads a list without looking at its elements.
pub(super) fn list(bytes: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_slice(bytes)
}

struct Fields {
    depth: usize,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Scan<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event: a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scan<'de>, A::Error> {
        let mut scan = Scan { tags: Vec::with_capacity(8), ..Scan::default() };
        let any = Any { depth: self.depth.saturating_sub(1) };
        while let Some(name) = map.next_key_seed(Name)? {
            let field = match name.as_ref() {
                "source" => &mut scan.source,
                "app_key" => &mut scan.app_key,
                "host" => &mut scan.host,
                "check" => &mut scan.check,
                "key" | "incident_identifier" => &mut scan.key,
                "status" => &mut scan.status,
                "timestamp" => &mut scan.timestamp,
                "arrival" => &mut scan.arrival,
                "expires_at" => &mut scan.expires_at,
                "description" => &mut scan.description,
                "links" => &mut scan.links,
                "id" => &mut scan.id,
                "primary_property" => &mut scan.primary_property,
                "alerts" => {
                    let raw: &RawValue = map.next_value()?;
                    if raw.get().starts_with('[') {
                        scan.alerts = Some(raw);
                    } else {
                        let mut json = serde_json::Deserializer::from_str(raw.get());
                        let value = any.deserialize(&mut json).map_err(A::Error::custom)?;
                        scan.tags.push((name, value));
                    }
                    continue;
                }
                "tags" => {
                    match map.next_value_seed(any)? {
                        Value::Map(tags) if scan.tags.is_empty() => scan.tags = tags,
                        Value::Map(tags) => scan.tags.extend(tags),
                        Value::Null => {}
                        _ => scan.bad_tags = true,
                    }
                    continue;
                }
                _ => {
                    let value = map.next_value_seed(any)?;
                    scan.tags.push((name, value));
                    continue;
                }
            };
            *field = Some(map.next_value_seed(any)?);
        }
        Ok(scan)
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Any value, to a bounded depth.
#[derive(Clone, Copy)]
struct Any {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Any {
    fn inner<E: Error>(self) -> Result<Self, E> {
        // The caller finds the true reason by measuring the depth of what failed.
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth })
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Value::Uint(value), Value::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::with_capacity(map.size_hint().unwrap_or(8));
        while let Some(name) = map.next_key_seed(Name)? {
            values.push((name, map.next_value_seed(inner)?));
        }
        Ok(Value::Map(values))
    }
}

/// Whether the bytes are JSON at all; tells a wrong shape from broken syntax.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    IgnoredAny::deserialize(&mut json).is_ok() && json.end().is_ok()
}

/// Whether a list has no elements.
pub(super) fn is_empty(list: &RawValue) -> bool {
    list.get().bytes().all(|byte| matches!(byte, b'[' | b']') || byte.is_ascii_whitespace())
        && list.get().bytes().filter(|byte| *byte == b'[').count() == 1
}
