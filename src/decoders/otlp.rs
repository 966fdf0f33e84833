//! Logs of OpenTelemetry by OTLP: JSON and protobuf, one request or one record of Kafka's exporter.
//!
//! Which of both it is says `content-type`; without one, what can be read as protobuf is.
//!
//! A log has neither identity nor recovery, so rules on attributes (of the record, then of its
//! resource) say both:
//! - **Key**: `muster.key`, `alert.key` or `alert.fingerprint`; without one host and check.
//! - **Host**: `muster.host`, `host.name`, `k8s.pod.name`, `k8s.node.name`, `container.name`,
//!   `service.instance.id`, `host.id`, `faas.name`, else `service.name`.
//! - **Check**: `muster.check`, `alert.name`, `alertname` or `check`; else `service.name: NAME`, where
//!   NAME is the event's name (`eventName`, `event.name`), else `exception.type`, else the scope.
//! - **Status**: a word in `muster.status`, `alert.status`, `alert.state`, `status` or `state`: ok,
//!   resolved, recovered, closed, inactive, normal end it, other words that are known say how bad it
//!   is; else `severityNumber` (17 and more critical, 13 to 16 warning, 9 to 12 info), else
//!   `severityText`. Below 9 (debug, trace) a record is nothing.
//!
//! Without such a rule a log never says that it is over: an alert lives an hour after the last one.
//!
//! Tags: all attributes of the resource; of the record all but numbers (measured values) and what
//! belongs to this one occurrence (`exception.message`, `exception.stacktrace`, `log.record.*`,
//! `thread.*`, ids). Traps: times are nanoseconds in texts, `timeUnixNano` may be 0; the attributes of
//! a resource stand for each of its records, so what they may take together is bounded.

use prost::Message as _;
use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, times};
use crate::model::{Span, Status};
use crate::stage::Reason;

mod proto;

/// OTLP logs.
pub(super) const DECODER: Decoder = Decoder {
    name: "otlp",
    aliases: &["opentelemetry", "otel", "otlp_logs"],
    class: Class::State,
    expire_after: Some(Span::from_secs(3_600)),
    decode,
};

/// What attributes of resources may take in all records together: this many times the payload, and
/// [`SHARED_LEAST`] bytes.
const SHARED_MOST: usize = 32;
const SHARED_LEAST: usize = 1 << 16;
/// What a tag costs beside its texts.
const TAG_COST: usize = 64;
/// How deep values in protobuf are read; what lies deeper is left out.
const VALUE_DEPTH: usize = 8;

/// Attributes by name, values plain.
type Attributes = Vec<(String, Value)>;

/// A log record, from either form.
struct Log {
    time: Option<Value>,
    observed: Option<Value>,
    number: i64,
    text: String,
    name: String,
    body: Value,
    attributes: Attributes,
}

/// What the records of a scope share.
#[derive(Default)]
struct Shared {
    resource: Attributes,
    cost: usize,
    scope: String,
}

impl Shared {
    fn new(resource: Attributes) -> Self {
        let length = |value: &Value| match value {
            Value::String(text) => text.len(),
            other => other.to_string().len(),
        };
        let cost = resource.iter().map(|(name, value)| TAG_COST + name.len() + length(value)).sum();
        Self { resource, cost, scope: String::new() }
    }
}

/// How much more the attributes of resources may take.
struct Room(usize);

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let kind = payload.header("content-type").unwrap_or_default().to_ascii_lowercase();
    // A message of protobuf begins with the byte of a line feed; so may JSON, but no JSON is one.
    let guessed = || payload.bytes.starts_with(b"\n") && proto::Logs::decode(payload.bytes).is_ok();
    let before = found.len();
    let mut room = Room(payload.bytes.len() * SHARED_MOST + SHARED_LEAST);
    if kind.contains("protobuf") || (kind.is_empty() && guessed()) {
        protobuf(payload, &mut room, found)
    } else {
        json::objects(payload, found, |object, found| request(object, payload, &mut room, found))
    }?;
    if found.len() == before {
        found.push(Found::Nothing("a request without log records".to_owned()));
    }
    Ok(())
}

fn request(
    object: &json::Object,
    payload: &Payload<'_>,
    room: &mut Room,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let resources = object.get("resourceLogs").or_else(|| object.get("resource_logs"));
    let Some(resources) = resources.and_then(Value::as_array) else {
        for (field, what) in [("resourceSpans", "traces"), ("resourceMetrics", "metrics")] {
            if object.contains_key(field) {
                found.push(Found::Nothing(format!("OTLP {what}, no logs")));
                return Ok(());
            }
        }
        return Err(Failure::shape("`resourceLogs` is missing; expected a request of OTLP logs"));
    };
    for resource in resources.iter().filter_map(Value::as_object) {
        let list = json::list(resource, "resource.attributes");
        let mut shared = Shared::new(attributes(list));
        let scopes = json::list(resource, "scopeLogs");
        // Before 0.15 of the protocol.
        let old = json::list(resource, "instrumentationLibraryLogs");
        for scope in scopes.iter().chain(old).filter_map(Value::as_object) {
            shared.scope = json::text(scope, "scope.name").unwrap_or_default().into_owned();
            let records = ["logRecords", "log_records", "logs"];
            let records = records.iter().map(|name| json::list(scope, name));
            for record in records.flatten() {
                let Some(record) = record.as_object() else {
                    let failure = Failure::shape("a log record that is not an object");
                    found.push(rejected(failure, record.to_string().into_bytes()));
                    continue;
                };
                let log = log_of(record);
                if let Err(failure) = one(&shared, &log, payload, room, found) {
                    let bytes = Value::Object(record.clone()).to_string().into_bytes();
                    found.push(rejected(failure, bytes));
                }
            }
        }
    }
    Ok(())
}

fn rejected(failure: Failure, bytes: Vec<u8>) -> Found {
    Found::Rejected { index: None, failure, bytes: Some(bytes) }
}

fn log_of(record: &json::Object) -> Log {
    let text = |name: &str| json::text(record, name).map(Into::into).unwrap_or_default();
    let number = record.get("severityNumber").or_else(|| record.get("severity_number"));
    Log {
        time: record.get("timeUnixNano").or_else(|| record.get("time_unix_nano")).cloned(),
        observed: record.get("observedTimeUnixNano").cloned(),
        number: number.map(severity_number).unwrap_or_default(),
        text: text("severityText"),
        name: text("eventName"),
        body: record.get("body").map(plain).unwrap_or_default(),
        attributes: attributes(json::list(record, "attributes")),
    }
}

/// `17` and, as some write it, `SEVERITY_NUMBER_ERROR`.
fn severity_number(value: &Value) -> i64 {
    json::integer(value).unwrap_or_else(|| {
        let name = value.as_str().unwrap_or_default();
        let name = name.strip_prefix("SEVERITY_NUMBER_").unwrap_or(name);
        let levels =
            [("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17), ("FATAL", 21)];
        let found = levels.iter().find(|(level, _)| name.starts_with(level));
        found.map(|(_, number)| *number).unwrap_or_default()
    })
}

fn attributes(list: &[Value]) -> Attributes {
    list.iter()
        .filter_map(Value::as_object)
        .filter_map(|pair| {
            let name = pair.get("key")?.as_str()?;
            Some((name.to_owned(), plain(pair.get("value")?)))
        })
        .collect()
}

/// An `AnyValue` of JSON without its wrapper; the guard on the payload's depth bounds the recursion.
fn plain(value: &Value) -> Value {
    let Some(object) = value.as_object() else { return value.clone() };
    let Some((kind, inner)) = object.iter().next() else { return Value::Null };
    match kind.as_str() {
        "intValue" | "int_value" => json::integer(inner).map_or(Value::Null, Value::from),
        "arrayValue" | "array_value" => {
            let values = inner.as_object().map_or(&[][..], |inner| json::list(inner, "values"));
            Value::Array(values.iter().map(plain).collect())
        }
        "kvlistValue" | "kvlist_value" => {
            let values = inner.as_object().map_or(&[][..], |inner| json::list(inner, "values"));
            Value::Object(attributes(values).into_iter().collect())
        }
        "stringValue" | "string_value" | "boolValue" | "bool_value" | "doubleValue"
        | "double_value" | "bytesValue" | "bytes_value" => inner.clone(),
        // Some write their own JSON there.
        _ => value.clone(),
    }
}

fn protobuf(payload: &Payload<'_>, room: &mut Room, found: &mut Vec<Found>) -> Result<(), Failure> {
    let logs = proto::Logs::decode(payload.bytes).map_err(|error| {
        Failure::new(Reason::NotAnEvent, format!("no request of OTLP logs in protobuf: {error}"))
    })?;
    for resource in logs.resource_logs {
        let attributes = resource.resource.map(|resource| resource.attributes);
        let mut shared = Shared::new(attributes_of(attributes.unwrap_or_default(), VALUE_DEPTH));
        for scope in resource.scope_logs {
            shared.scope = scope.scope.map(|scope| scope.name).unwrap_or_default();
            for record in scope.log_records {
                let bytes = record.encoded_len();
                let nanos = |nanos: u64| (nanos != 0).then(|| Value::from(nanos));
                let log = Log {
                    time: nanos(record.time_unix_nano),
                    observed: nanos(record.observed_time_unix_nano),
                    number: record.severity_number.into(),
                    text: record.severity_text,
                    name: record.event_name,
                    body: record.body.map(|body| value_of(body, VALUE_DEPTH)).unwrap_or_default(),
                    attributes: attributes_of(record.attributes, VALUE_DEPTH),
                };
                if let Err(failure) = one(&shared, &log, payload, room, found) {
                    let note = format!("a log record of {bytes} bytes: {}", log.body);
                    found.push(rejected(failure, note.into_bytes()));
                }
            }
        }
    }
    Ok(())
}

fn attributes_of(list: Vec<proto::KeyValue>, depth: usize) -> Attributes {
    list.into_iter().filter_map(|pair| Some((pair.key, value_of(pair.value?, depth)))).collect()
}

fn value_of(value: proto::AnyValue, depth: usize) -> Value {
    use base64::Engine as _;
    use proto::any::Value as Any;
    match value.value {
        None => Value::Null,
        Some(Any::Text(text)) => Value::String(text),
        Some(Any::Bool(yes)) => Value::Bool(yes),
        Some(Any::Int(number)) => Value::from(number),
        Some(Any::Double(number)) => Value::from(number),
        Some(Any::Bytes(bytes)) => {
            Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Some(Any::Array(_) | Any::Map(_)) if depth == 0 => Value::Null,
        Some(Any::Array(array)) => {
            Value::Array(array.values.into_iter().map(|value| value_of(value, depth - 1)).collect())
        }
        Some(Any::Map(map)) => {
            Value::Object(attributes_of(map.values, depth - 1).into_iter().collect())
        }
    }
}

fn one(
    shared: &Shared,
    log: &Log,
    payload: &Payload<'_>,
    room: &mut Room,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let Some(grade) = grade(log) else {
        found.push(Found::Nothing("a log record of debug level".to_owned()));
        return Ok(());
    };
    room.0 = room.0.checked_sub(shared.cost + shared.scope.len()).ok_or_else(|| {
        let message = "the attributes of resources take too much in all their records together; \
                       send fewer records in one request";
        Failure::new(Reason::TooLarge, message)
    })?;
    let attribute = |name: &&str| {
        let of = |list: &'_ Attributes| {
            list.iter()
                .find(|(other, _)| other == name)
                .and_then(|(_, value)| json::scalar(value).map(std::borrow::Cow::into_owned))
        };
        of(&log.attributes).or_else(|| of(&shared.resource))
    };
    let mut draft = Draft::new(grade);
    let service = attribute(&"service.name");
    draft.key = ["muster.key", "alert.key", "alert.fingerprint"].iter().find_map(attribute);
    let hosts = [
        "muster.host",
        "host.name",
        "k8s.pod.name",
        "k8s.node.name",
        "container.name",
        "service.instance.id",
        "host.id",
        "faas.name",
    ];
    draft.host = hosts.iter().find_map(attribute).or_else(|| service.clone());
    draft.check = ["muster.check", "alert.name", "alertname", "check"].iter().find_map(attribute);
    if draft.check.is_none() {
        let name = super::macros::present(&log.name)
            .map(str::to_owned)
            .or_else(|| ["event.name", "exception.type"].iter().find_map(attribute))
            .or_else(|| super::macros::present(&shared.scope).map(str::to_owned));
        draft.check = match (service, name) {
            (Some(service), Some(name)) => Some(format!("{service}: {name}")),
            (service, name) => name.or(service).or_else(|| Some("log".to_owned())),
        };
    }
    draft.at = times::value(log.time.as_ref(), payload)
        .or_else(|| times::value(log.observed.as_ref(), payload));
    draft.id = attribute(&"log.record.uid");
    draft.description = match &log.body {
        Value::Null => attribute(&"exception.message").unwrap_or_default(),
        Value::String(text) => text.clone(),
        other => {
            let object = other.as_object();
            let said = object.and_then(|object| json::first(object, &["message", "msg", "body"]));
            said.map_or_else(|| other.to_string(), Into::into)
        }
    };
    for (name, value) in &shared.resource {
        json::tag(&mut draft, name, value);
    }
    for (name, value) in &log.attributes {
        if !value.is_number() && !is_of_occurrence(name) {
            json::tag(&mut draft, name, value);
        }
    }
    for (name, attribute_name) in
        [("runbook", "runbook_url"), ("runbook", "alert.runbook_url"), ("source", "url.full")]
    {
        draft.link(name, attribute(&attribute_name).as_deref());
    }
    found.push(draft.into());
    Ok(())
}

/// Whether an attribute tells of this one record, or of what was read already.
fn is_of_occurrence(name: &str) -> bool {
    let begins = ["exception.message", "exception.stacktrace", "log.record.", "thread.", "muster."];
    begins.iter().any(|begin| name.starts_with(begin))
        || ["log.iostream", "trace_id", "span_id", "trace.id", "span.id", "event.id", "url.full"]
            .contains(&name)
        || STATES.contains(&name)
}

/// Attributes that may say how it stands.
const STATES: [&str; 5] = ["muster.status", "alert.status", "alert.state", "status", "state"];

/// How bad it is; none for what nobody is to hear of.
fn grade(log: &Log) -> Option<Grade> {
    let state = STATES.iter().find_map(|name| {
        let (_, value) = log.attributes.iter().find(|(other, _)| other == name)?;
        of_word(value.as_str()?)
    });
    if state.is_some() {
        return state;
    }
    let word = if log.text.trim().is_empty() { log.number.to_string() } else { log.text.clone() };
    match log.number {
        1..=8 => None,
        9..=12 => Some(Grade::problem(word, Status::Info)),
        13..=16 => Some(Grade::problem(word, Status::Warning)),
        17.. => Some(Grade::problem(word, Status::Critical)),
        _ => match word.to_ascii_lowercase().as_str() {
            "debug" | "trace" | "verbose" => None,
            _ => Some(Grade::word(&word)),
        },
    }
}

/// What a word says of a state; none for words that say nothing of the kind.
fn of_word(word: &str) -> Option<Grade> {
    match word.trim().to_ascii_lowercase().as_str() {
        "ok" | "resolved" | "recovered" | "closed" | "inactive" | "normal" => {
            Some(Grade::Recovered)
        }
        "acknowledged" => Some(Grade::Acknowledged),
        "unknown" => Some(Grade::problem(word.trim(), Status::Unknown)),
        _ => match Grade::word(word) {
            Grade::Problem { usual: Status::Unknown, .. } => None,
            known => Some(known),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use jiff::tz::TimeZone;

    #[test]
    fn attributes_of_a_resource_do_not_multiply_without_bound() {
        let resource = "x".repeat(20_000);
        let records = vec![r#"{"severityNumber":17}"#; 4_000].join(",");
        let text = format!(
            r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"a","value":{{"stringValue":"{resource}"}}}}]}},
            "scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#
        );
        let payload = Payload {
            bytes: text.as_bytes(),
            headers: &[],
            arrival: Timestamp::from_millis(1_795_521_600_000),
            zone: &TimeZone::UTC,
            depth: 32,
        };
        let mut found = Vec::new();
        DECODER.read(&payload, &mut found);
        assert_eq!(found.len(), 4_000, "each record has an answer");
        let events = found.iter().filter(|found| matches!(found, Found::Event(_))).count();
        assert!((1..=200).contains(&events), "{events} copies of {} bytes", resource.len());
        let too_large = |found: &&Found| matches!(found, Found::Rejected { failure, .. } if failure.reason == Reason::TooLarge);
        assert_eq!(found.iter().filter(too_large).count(), 4_000 - events);
    }
}
