//! Graylog's HTTP notification (3.1 and later), and the alarm callback of versions before that.
//!
//! Identity: the event definition and the event's key (of an aggregation without one the groups it was
//! made by); of the old form stream and condition. Host: the fields `host`, `hostname` or `source` of
//! the event, its groups or, where they all name one, the messages that came along; never
//! `event.source`, which is Graylog itself. Check: the definition's title.
//!
//! How bad: `priority` 4 and 3 critical, 2 warning, 1 info. Times: the event's `timestamp`.
//!
//! Graylog never says that a problem is over. An event is told again with each search that finds it,
//! every few minutes, but for its grace period; after an hour without one it is taken for over.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, times};
use crate::model::{Span, Status};

/// Graylog.
pub(super) const DECODER: Decoder = Decoder {
    name: "graylog",
    aliases: &[],
    class: Class::Key,
    expire_after: Some(Span::from_secs(3_600)),
    decode,
};

const EXPECTED: &str = "expected the body of Graylog's HTTP notification";
const HOSTS: [&str; 5] = ["host", "hostname", "source", "source_host", "host_name"];

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| {
        if object.contains_key("check_result") {
            callback(object, payload)
        } else {
            event(object, payload)
        }
    })
}

fn event(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let event = json::object(object, "event")
        .ok_or_else(|| Failure::shape(format!("`event` is missing; {EXPECTED}")))?;
    let definition = json::text(object, "event_definition_id")
        .or_else(|| json::text(event, "event_definition_id"))
        .ok_or_else(|| Failure::shape(format!("`event_definition_id` is missing; {EXPECTED}")))?;
    if definition.ends_with("TestId") {
        return Ok(Found::Nothing("Graylog's test of a notification".to_owned()));
    }
    let mut draft = Draft::new(match event.get("priority").and_then(json::integer) {
        Some(0) => Grade::problem("info", Status::Info),
        Some(1) => Grade::problem("low", Status::Info),
        Some(2) => Grade::problem("normal", Status::Warning),
        Some(3) => Grade::problem("high", Status::Critical),
        Some(4) => Grade::problem("critical", Status::Critical),
        Some(other) => Grade::problem(other.to_string(), Status::Unknown),
        None => Grade::problem("no priority", Status::Unknown),
    });
    let groups = json::object(event, "group_by_fields");
    let parts: Vec<Cow<'_, str>> = match json::text(event, "key") {
        Some(key) => vec![key],
        None => {
            let tuple: Vec<_> =
                json::list(event, "key_tuple").iter().filter_map(json::scalar).collect();
            let by = groups.into_iter().flatten();
            if tuple.is_empty() {
                by.filter_map(|(_, value)| json::scalar(value)).collect()
            } else {
                tuple
            }
        }
    };
    draft.key = Some(format!("{definition}|{}", parts.join("|")));
    let fields = json::object(event, "fields");
    let named = |object: Option<&json::Object>| {
        let host = json::first(object?, &HOSTS)?;
        Some(host.into_owned())
    };
    let messages = || of_messages(json::list(object, "backlog"));
    draft.host = named(fields).or_else(|| named(groups)).or_else(messages);
    let title = json::text(object, "event_definition_title");
    let message = json::text(event, "message");
    draft.check = Some(title.clone().unwrap_or(definition).into_owned());
    draft.at = times::value(event.get("timestamp"), payload)
        .or_else(|| times::value(event.get("timestamp_processing"), payload));
    let description = json::text(object, "event_definition_description");
    let text = [message, description, title].into_iter().flatten().next();
    draft.description = text.map(Cow::into_owned).unwrap_or_default();
    // What an event is grouped by is what it is about; its other fields may be measured.
    for (name, value) in groups.into_iter().flatten() {
        draft.tag(name, json::scalar(value).as_deref());
    }
    for (name, value) in fields.into_iter().flatten() {
        if value.as_str().is_some_and(|text| text.parse::<f64>().is_err()) {
            draft.tag(name, value.as_str());
        }
    }
    let streams = json::list(event, "source_streams").iter().filter_map(Value::as_str);
    draft.tag_list("streams", streams);
    draft.tag("event_definition_type", json::text(object, "event_definition_type").as_deref());
    draft.id = json::text(event, "id").map(Cow::into_owned);
    Ok(draft.into())
}

/// The host of messages that all name the same.
fn of_messages(messages: &[Value]) -> Option<String> {
    let mut hosts = messages.iter().map(|message| {
        let message = message.as_object()?;
        let fields = json::object(message, "fields").and_then(|fields| json::first(fields, &HOSTS));
        fields.or_else(|| json::text(message, "source"))
    });
    let first = hosts.next()??;
    hosts.all(|host| host.as_ref() == Some(&first)).then(|| first.into_owned())
}

/// `{"check_result": {…}, "stream": {…}}` of Graylog 1 and 2.
fn callback(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let result = json::object(object, "check_result")
        .ok_or_else(|| Failure::shape(format!("`check_result` is no object; {EXPECTED}")))?;
    if result.get("triggered").and_then(json::flag) == Some(false) {
        return Ok(Found::Nothing("a condition that holds no more to alert".to_owned()));
    }
    let stream = json::first(object, &["stream.title", "stream.id"]);
    let condition = json::first(result, &["triggered_condition.title", "triggered_condition.type"]);
    let mut draft = Draft::new(Grade::problem("triggered", Status::Unknown));
    let id = json::first(object, &["stream.id", "stream.title"]);
    let of = json::first(result, &["triggered_condition.id", "triggered_condition.title"]);
    if id.is_none() && of.is_none() {
        let message = format!("neither `stream` nor `triggered_condition` has an id; {EXPECTED}");
        return Err(Failure::shape(message));
    }
    let (id, of) = (id.unwrap_or_default(), of.unwrap_or_default());
    draft.key = Some(format!("{id}|{of}"));
    draft.check = condition.or_else(|| stream.clone()).map(Cow::into_owned);
    draft.host = of_messages(json::list(result, "matching_messages"));
    draft.at = times::value(result.get("triggered_at"), payload);
    let text = json::text(result, "result_description")
        .or_else(|| json::text(object, "stream.description"));
    draft.description = text.map(Cow::into_owned).unwrap_or_default();
    draft.tag("stream", stream.as_deref());
    draft.link("stream", json::text(object, "stream_url").as_deref());
    Ok(draft.into())
}
