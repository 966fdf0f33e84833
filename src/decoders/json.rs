//! Reading JSON of other systems: by path, with numbers for texts and texts for numbers.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Draft, Failure, Found, Payload, macros};
use crate::stage::Reason;

/// A JSON object.
pub type Object = Map<String, Value>;

/// The payload as one JSON value.
///
/// # Errors
/// When it is not UTF-8, too deep or not JSON.
pub fn value(payload: &Payload<'_>) -> Result<Value, Failure> {
    let text = guarded(payload)?;
    serde_json::from_str(text).map_err(|error| Failure::new(Reason::NotJson, error.to_string()))
}

/// The JSON objects of a payload: one, a list of them, or one after the other (lines of JSON). Hands
/// each over with its place in the list or among the lines; what is none is rejected by itself.
///
/// # Errors
/// When the payload is not UTF-8, empty, too deep, or not JSON from its beginning.
pub fn objects(
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
    mut each: impl FnMut(&Object, &mut Vec<Found>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let text = guarded(payload)?;
    if text.trim_start().starts_with('[') {
        let list: Vec<Value> = serde_json::from_str(text)
            .map_err(|error| Failure::new(Reason::NotJson, error.to_string()))?;
        elements(&list, payload, found, |value, found| match value.as_object() {
            Some(object) => each(object, found),
            None => Err(Failure::shape("the list's element is not an object")),
        });
        return Ok(());
    }
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut index = 0;
    loop {
        let begin = documents.byte_offset();
        let outcome = match documents.next() {
            None => return Ok(()),
            Some(Ok(Value::Object(object))) => each(&object, found),
            Some(Ok(_)) => Err(Failure::shape("not a JSON object")),
            Some(Err(error)) => {
                let failure = Failure::new(Reason::NotJson, error.to_string());
                if index == 0 {
                    return Err(failure);
                }
                // What follows broken JSON has no beginning; all of it goes the same way.
                let bytes = Some(text.as_bytes()[begin..].to_vec());
                found.push(Found::Rejected { index: Some(index), failure, bytes });
                return Ok(());
            }
        };
        if let Err(failure) = outcome {
            let bytes = text.as_bytes()[begin..documents.byte_offset()].to_vec();
            let whole = index == 0 && text[documents.byte_offset()..].trim().is_empty();
            let (index, bytes) = if whole { (None, None) } else { (Some(index), Some(bytes)) };
            found.push(Found::Rejected { index, failure, bytes });
        }
        index += 1;
    }
}

/// What a list's elements may be altogether once they are read: this many times the payload, and
/// [`SPREAD_LEAST`] bytes. What stands around a list may stand in each event of it.
const SPREAD_MOST: usize = 16;
const SPREAD_LEAST: usize = 1 << 20;

/// Makes one find of each JSON object of a payload, as [`objects`] finds them.
///
/// # Errors
/// As [`objects`].
pub fn each<F: Into<Found>>(
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
    mut one: impl FnMut(&Object) -> Result<F, Failure>,
) -> Result<(), Failure> {
    objects(payload, found, |object, found| {
        found.push(one(object)?.into());
        Ok(())
    })
}

/// Hands over the elements of a list; one that fails is rejected by itself, and so are those for
/// which there is no room any more.
pub fn elements(
    list: &[Value],
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
    mut each: impl FnMut(&Value, &mut Vec<Found>) -> Result<(), Failure>,
) {
    let mut room = payload.bytes.len() * SPREAD_MOST + SPREAD_LEAST;
    for (index, value) in list.iter().enumerate() {
        let before = found.len();
        let outcome = if room > 0 { each(value, found) } else { Err(no_room()) };
        let made = found[before..].iter().map(Found::bytes).sum();
        room = room.saturating_sub(made);
        if let Err(failure) = outcome {
            let bytes = Some(value.to_string().into_bytes());
            found.push(Found::Rejected { index: Some(index), failure, bytes });
        }
    }
}

fn no_room() -> Failure {
    let message = "what the list's elements have in common takes too much in all of them together; \
                   send fewer in one payload";
    Failure::new(Reason::TooLarge, message)
}

fn guarded<'a>(payload: &Payload<'a>) -> Result<&'a str, Failure> {
    let text = payload.text()?;
    if text.trim().is_empty() {
        return Err(Failure::new(Reason::Empty, "no bytes at all"));
    }
    let depth = depth(text.as_bytes());
    if depth > payload.depth {
        let message = format!("nested {depth} deep; at most {} are taken", payload.depth);
        return Err(Failure::new(Reason::TooDeep, message));
    }
    Ok(text)
}

/// The value at a path of names, such as `data.issue.id`; names with dots need `get`.
#[must_use]
pub fn at<'a>(object: &'a Object, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let mut value = object.get(names.next()?)?;
    for name in names {
        value = match value {
            Value::Object(inner) => inner.get(name)?,
            Value::Array(list) => list.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// A scalar as a text; none where it is absent, null, empty, an unexpanded macro, a list or an
/// object.
#[must_use]
pub fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => macros::present(text).map(Cow::Borrowed),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(yes) => Some(Cow::Owned(yes.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The scalar at a path as a text.
#[must_use]
pub fn text<'a>(object: &'a Object, path: &str) -> Option<Cow<'a, str>> {
    scalar(at(object, path)?)
}

/// The first of several paths that has a text.
#[must_use]
pub fn first<'a>(object: &'a Object, paths: &[&str]) -> Option<Cow<'a, str>> {
    paths.iter().find_map(|path| text(object, path))
}

/// The object at a path.
#[must_use]
pub fn object<'a>(outer: &'a Object, path: &str) -> Option<&'a Object> {
    at(outer, path)?.as_object()
}

/// The list at a path; empty where there is none.
#[must_use]
pub fn list<'a>(outer: &'a Object, path: &str) -> &'a [Value] {
    at(outer, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The JSON object in a text, as in the envelopes of queues; none where it is none, or nested deeper
/// than `depth`.
#[must_use]
pub fn within(text: &str, depth: usize) -> Option<Object> {
    let text = text.trim();
    if !text.starts_with('{') || self::depth(text.as_bytes()) > depth {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Adds a field as a tag: scalars as texts, lists of scalars as lists, fields within it as
/// `name.field` up to [`TAG_DEPTH`] deep. What else there is, is left out.
pub fn tag(draft: &mut Draft, name: &str, value: &Value) {
    tag_within(draft, name, value, TAG_DEPTH);
}

/// Adds the fields of an object as tags under their own names, but for some.
pub fn tags(draft: &mut Draft, object: &Object, but: &[&str]) {
    for (name, value) in object {
        if !but.contains(&name.as_str()) {
            tag(draft, name, value);
        }
    }
}

/// How deep fields within fields become tags.
pub const TAG_DEPTH: usize = 4;
/// The longest name that such a field gets, in bytes: names in front of names multiply.
const TAG_NAME_BYTES: usize = 512;

fn tag_within(draft: &mut Draft, name: &str, value: &Value, left: usize) {
    match value {
        Value::Array(list) => {
            let texts: Vec<Cow<'_, str>> = list.iter().filter_map(scalar).collect();
            draft.tag_list(name, texts.iter().map(AsRef::as_ref));
        }
        Value::Object(inner) if left > 0 => {
            for (field, value) in inner {
                if name.len() + field.len() < TAG_NAME_BYTES {
                    tag_within(draft, &format!("{name}.{field}"), value, left - 1);
                }
            }
        }
        other => draft.tag(name, scalar(other).as_deref()),
    }
}

/// A whole number, also where it is written as a text or as `2.0`.
#[must_use]
pub fn integer(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "only what is whole and fits")]
    let whole = |number: f64| {
        (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
    };
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    }
}

/// A yes or no, also where it is written as a text or a number.
#[must_use]
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// How deep objects and lists lie within each other, up to where the bytes end.
#[must_use]
pub fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
