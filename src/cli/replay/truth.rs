//! A labelled truth as a file: one JSON object a line.
//!
//! `alert_id` is the sender's id of an event, `truth_id` the true incident or null for noise,
//! `dedup_id`, optional, what repeats have in common. Other keys are left alone.

use std::path::Path;

use serde_json::{Map, Value};

use super::input;
use crate::cli::Failure;
use crate::replay::score::{Label, Truth};

/// Reads a truth; says file, line and fault where it is none.
pub(in crate::cli) fn read(path: &Path) -> Result<Truth, Failure> {
    let bytes = input::whole(path, input::MEMORY_MAX)?;
    parse(&bytes).map_err(|why| Failure::data(format!("{}{why}", path.display())))
}

fn parse(bytes: &[u8]) -> Result<Truth, String> {
    let mut truth = Truth::default();
    for (nth, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            truth.add(label(line).map_err(|why| format!(":{}: {why}", nth + 1))?);
        }
    }
    if truth.is_empty() {
        return Err(": holds no line of a truth".to_owned());
    }
    Ok(truth)
}

pub(in crate::cli) fn label(line: &[u8]) -> Result<Label, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        format!("is not JSON: {error}").replace(" at line 1 column", " at column")
    })?;
    let Value::Object(object) = value else { return Err("is not a JSON object".to_owned()) };
    let event = id(&object, "alert_id")?;
    Ok(Label {
        event: event.flatten().ok_or("`alert_id`, the event's id, is missing")?,
        fault: id(&object, "truth_id")?.ok_or("`truth_id` is missing; null stands for noise")?,
        dedup: id(&object, "dedup_id")?.flatten(),
    })
}

/// A text, or a number as one; none where the key is not there, none within where it is null.
fn id(object: &Map<String, Value>, key: &str) -> Result<Option<Option<Box<str>>>, String> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) => Ok(Some(Some(text.as_str().into()))),
        Some(Value::Number(number)) => Ok(Some(Some(number.to_string().into()))),
        Some(other) => {
            let shown: String = other.to_string().chars().take(40).collect();
            Err(format!("`{key}` is `{shown}`, neither a text nor a number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_truth_says_line_and_fault() {
        let good = r#"{"alert_id":"a","truth_id":"f","dedup_id":"d","more":[1]}"#;
        for (line, told) in [
            ("{\"alert_id\":", ":3: is not JSON: EOF while parsing a value at column 12"),
            ("[]", ":3: is not a JSON object"),
            (r#"{"truth_id":"f"}"#, ":3: `alert_id`, the event's id, is missing"),
            (r#"{"alert_id":null,"truth_id":"f"}"#, ":3: `alert_id`, the event's id, is missing"),
            (r#"{"alert_id":"a"}"#, ":3: `truth_id` is missing; null stands for noise"),
            (r#"{"alert_id":"a","truth_id":[1]}"#, ":3: `truth_id` is `[1]`, neither a text nor"),
            (r#"{"alert_id":true,"truth_id":"f"}"#, ":3: `alert_id` is `true`, neither"),
            (r#"{"alert_id":"a","truth_id":"f","dedup_id":{}}"#, ":3: `dedup_id` is `{}`"),
            ("\u{fffd}", ":3: is not JSON"),
        ] {
            let error = parse(format!("{good}\n\n{line}\n{good}").as_bytes()).expect_err(line);
            assert!(error.starts_with(told), "{line}: {error}");
        }
        assert!(parse(b"\n \n").expect_err("empty").contains("holds no line"));
        assert!(parse(b"\xff\n").expect_err("no text").starts_with(":1: is not JSON"));
    }

    #[test]
    fn labels_are_read_as_they_stand() {
        let read = |line: &str| label(line.as_bytes()).expect("a label");
        let expected = Label { event: "7".into(), fault: None, dedup: None };
        assert_eq!(read(r#"{"alert_id":7,"truth_id":null}"#), expected);
        let expected =
            Label { event: "a".into(), fault: Some("f".into()), dedup: Some("d".into()) };
        assert_eq!(read(r#"{"dedup_id":"d","alert_id":"a","truth_id":"f"}"#), expected);
    }
}
