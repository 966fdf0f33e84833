//! Bodies that an administrator writes: one field has many spellings.
//!
//! `alertTransition`, `ALERT_TRANSITION`, `alert.transition` and `{"alert":{"transition":…}}` are one
//! name here. Letters and digits count, case and everything between them does not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Failure, Found, Payload, json};

/// How deep names lie within names.
const DEPTH: usize = 5;

/// The fields of an object, and of objects in it, by name.
pub(super) struct Loose<'a>(BTreeMap<String, &'a Value>);

impl<'a> Loose<'a> {
    /// Of two fields of one name the one that is less deep counts.
    pub(super) fn of(object: &'a json::Object) -> Self {
        let mut fields = BTreeMap::new();
        let mut level: Vec<(String, &Value)> = Vec::new();
        let inner = |prefix: &str, object: &'a json::Object| -> Vec<(String, &'a Value)> {
            object.iter().map(|(name, value)| (format!("{prefix}{}", plain(name)), value)).collect()
        };
        level.extend(inner("", object));
        for _ in 0..DEPTH {
            let mut next = Vec::new();
            for (name, value) in level {
                if let Some(object) = value.as_object() {
                    // What a name may grow to is bounded: it is a name of this depth, or nobody's.
                    if name.len() <= 256 {
                        next.extend(inner(&name, object));
                    }
                }
                let old = fields.entry(name).or_insert(value);
                // A field that says nothing does not hide one that does.
                if json::scalar(old).is_none() && json::scalar(value).is_some() {
                    *old = value;
                }
            }
            level = next;
        }
        Self(fields)
    }

    /// The first of several names that is there; they are written without anything between letters,
    /// in lower case.
    pub(super) fn get(&self, names: &[&str]) -> Option<&'a Value> {
        names.iter().find_map(|name| self.0.get(*name).copied())
    }

    /// The first of several names that has a text; of a list its first.
    pub(super) fn text(&self, names: &[&str]) -> Option<Cow<'a, str>> {
        names.iter().find_map(|name| match self.0.get(*name).copied()? {
            Value::Array(list) => json::scalar(list.first()?),
            value => json::scalar(value),
        })
    }

    /// The texts of the first of several names that has any: a list, or a text with commas.
    pub(super) fn texts(&self, names: &[&str]) -> Vec<Cow<'a, str>> {
        let texts = names.iter().filter_map(|name| self.0.get(*name).copied()).map(texts);
        texts.into_iter().find(|texts| !texts.is_empty()).unwrap_or_default()
    }

    /// Whether one of several names is there, whatever it says.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.contains_key(*name))
    }
}

/// The texts of a list, or of a text with commas between them, or of a list in a text.
pub(super) fn texts(value: &Value) -> Vec<Cow<'_, str>> {
    match value {
        Value::Array(list) => list.iter().filter_map(json::scalar).collect(),
        Value::String(text) => {
            let text = text.trim();
            if text.starts_with('[')
                && let Ok(list) = serde_json::from_str::<Vec<String>>(text)
            {
                return list.into_iter().filter(|text| !text.is_empty()).map(Cow::Owned).collect();
            }
            text.split(',').filter_map(super::macros::present).map(Cow::Borrowed).collect()
        }
        _ => Vec::new(),
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The objects of a payload: JSON as `json::objects` reads it, or a form.
pub(super) fn objects(
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
    mut each: impl FnMut(&json::Object, &mut Vec<Found>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match form(payload) {
        Some(object) => each(&object, found),
        None => json::objects(payload, found, each),
    }
}

/// The fields of a form (`a=1&b=x%20y`); none where the payload is none. A field `payload` that holds
/// a JSON object is that object.
fn form(payload: &Payload<'_>) -> Option<json::Object> {
    let text = payload.text().ok()?.trim();
    let is_form = !text.starts_with(['{', '[', '"', '<'])
        && text.contains('=')
        && !text.contains(|c: char| c.is_whitespace() || c == '{' || c == '"');
    if !is_form {
        return None;
    }
    let fields: json::Object = text
        .split('&')
        .filter_map(|field| {
            let (name, value) = field.split_once('=')?;
            Some((decoded(name), Value::String(decoded(value))))
        })
        .collect();
    if let Some(inner) = fields.get("payload").and_then(Value::as_str)
        && json::depth(inner.as_bytes()) <= payload.depth
        && let Ok(Value::Object(inner)) = serde_json::from_str(inner)
    {
        return Some(inner);
    }
    Some(fields)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high * 16 + low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_many_spellings() {
        for text in [
            r#"{"alertTransition":"x"}"#,
            r#"{"ALERT_TRANSITION":"x"}"#,
            r#"{"alert.transition":"x"}"#,
            r#"{"alert":{"transition":"x"}}"#,
            r#"{"alert":{"transition":["x","y"]}}"#,
            r#"{"alertTransition":"$ALERT_TRANSITION","alert":{"transition":"x"}}"#,
        ] {
            let object: json::Object = serde_json::from_str(text).expect("JSON");
            let fields = Loose::of(&object);
            assert_eq!(fields.text(&["no", "alerttransition"]).as_deref(), Some("x"), "{text}");
        }
    }

    #[test]
    fn a_form_is_fields() {
        assert_eq!(decoded("a+b%20c%C3%BC%zz%"), "a b cü%zz%");
    }
}
