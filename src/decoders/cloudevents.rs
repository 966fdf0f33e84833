//! CloudEvents 1.0 (and 0.3): structured, in batches, and binary over HTTP (`ce-*`) and Kafka
//! (`ce_*`).
//!
//! `data` that is an event in Muster's canonical form (it has a `status` of ours, and `host` or
//! another primary property) is read as such. Any other is mapped:
//! - **Status**: `status`, `state`, `alert_state`, `severity` or `level` of `data`, else an extension
//!   of such a name, else the last part of `type` (`….disk.resolved`). A word for "over" in any of the
//!   first three, or in the type, resolves; else the first word tells how bad it is, `severity` before
//!   the state. A CloudEvent that says nothing of the kind is nothing.
//! - **Host**: `host`, `hostname`, `node`, `instance` of `data`, else `subject`, else the last part of
//!   `source`. **Check**: `check`, `alertname`, `alert`, `rule`, `name`, `title` of `data`, else `type`
//!   without its last part where that is a word for a state.
//! - **Identity**: `key`, `dedup_key`, `alert_id` or `fingerprint` of `data`, or extension `key`; else
//!   `source`, host and check. `id` names one event only, and is its id.
//! - **Time**: `time`, else `timestamp` of `data`. **Description**: `description`, `message`, `summary`.
//! - **Tags**: extensions, `labels` and `tags`, and all other texts of `data`; numbers are measured
//!   values and none.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, draft, json, times};
use crate::model::Status;
use crate::stage::Reason;

/// CloudEvents.
pub(super) const DECODER: Decoder = Decoder {
    name: "cloudevents",
    aliases: &["cloudevent", "cloud_events"],
    class: Class::Key,
    expire_after: None,
    decode,
};

/// What a CloudEvent says besides its data.
#[derive(Default)]
struct Context<'a> {
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    extensions: Vec<(String, Cow<'a, str>)>,
}

impl<'a> Context<'a> {
    fn set(&mut self, name: &str, value: Cow<'a, str>) {
        match name {
            "id" => self.id = Some(value),
            "source" => self.source = Some(value),
            "type" => self.kind = Some(value),
            "subject" => self.subject = Some(value),
            "time" => self.time = Some(value),
            "specversion"
            | "datacontenttype"
            | "dataschema"
            | "schemaurl"
            | "traceparent"
            | "tracestate"
            | "sequence"
            | "sequencetype"
            | "datacontentencoding" => {}
            _ => self.extensions.push((name.to_owned(), value)),
        }
    }

    fn extension(&self, name: &str) -> Option<&str> {
        let found = self.extensions.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_ref())
    }
}

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    if let Some(context) = binary(payload) {
        found.push(binary_event(&context, payload)?);
        return Ok(());
    }
    json::each(payload, found, |object| structured(object, payload))
}

/// The attributes in the headers, where they are there.
fn binary<'a>(payload: &Payload<'a>) -> Option<Context<'a>> {
    let mut context = Context::default();
    let mut version = false;
    for (name, value) in payload.headers {
        let (name, http) = match (name.strip_prefix("ce-"), name.strip_prefix("ce_")) {
            (Some(name), _) => (name, true),
            (_, Some(name)) => (name, false),
            _ => continue,
        };
        let Ok(value) = std::str::from_utf8(value) else { continue };
        version |= name == "specversion";
        let value = if http { percent_decoded(value) } else { Cow::Borrowed(value) };
        if super::macros::present(&value).is_some() {
            context.set(name, value);
        }
    }
    (version || (context.kind.is_some() && context.source.is_some())).then_some(context)
}

/// Text with `%20` for a blank; what is no such code stays as it is.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2)));
        match code.filter(|_| *byte == b'%') {
            Some((high, low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn binary_event(context: &Context<'_>, payload: &Payload<'_>) -> Result<Found, Failure> {
    let kind = payload.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let is_json = kind.is_empty() || kind.contains("json");
    match json::value(payload) {
        Ok(data) => event(context, Some(&data), payload),
        // No data at all is allowed; it is the attributes that speak then.
        Err(failure) if failure.reason == Reason::Empty => event(context, None, payload),
        Err(failure) if is_json || failure.reason != Reason::NotJson => Err(failure),
        Err(_) => event(context, Some(&Value::String(payload.text()?.to_owned())), payload),
    }
}

fn structured(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    for name in ["specversion", "type", "source"] {
        if json::text(object, name).is_none() {
            return Err(Failure::shape(format!(
                "`{name}` is missing; expected a CloudEvent, or its attributes in headers `ce-*` or \
                 `ce_*`"
            )));
        }
    }
    let mut context = Context::default();
    for (name, value) in object {
        if let Some(value) = json::scalar(value)
            && name != "data"
            && name != "data_base64"
        {
            context.set(name, value);
        }
    }
    let decoded = match json::text(object, "data_base64") {
        Some(text) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text =
                text.ok_or_else(|| Failure::shape("`data_base64` is no base64 of a text"))?;
            Some(json::within(&text, payload.depth).map_or(Value::String(text), Value::Object))
        }
        None => None,
    };
    let data = decoded.as_ref().or_else(|| object.get("data"));
    match data {
        // Some SDKs write JSON as a text.
        Some(Value::String(text)) => match json::within(text, payload.depth) {
            Some(inner) => event(&context, Some(&Value::Object(inner)), payload),
            None => event(&context, data, payload),
        },
        data => event(&context, data, payload),
    }
}

fn event(
    context: &Context<'_>,
    data: Option<&Value>,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let empty = json::Object::new();
    let object = data.and_then(Value::as_object);
    if let Some(object) = object
        && let Some(draft) = canonical(context, object, payload)
    {
        return Ok(draft.into());
    }
    mapped(context, object.unwrap_or(&empty), data.and_then(Value::as_str), payload)
}

/// Fields that the canonical form knows; all others are tags.
const CANONICAL: [&str; 16] = [
    "source",
    "app_key",
    "host",
    "check",
    "key",
    "incident_identifier",
    "status",
    "timestamp",
    "expires_at",
    "description",
    "links",
    "id",
    "primary_property",
    "tags",
    "arrival",
    "alerts",
];

fn canonical(context: &Context<'_>, data: &json::Object, payload: &Payload<'_>) -> Option<Draft> {
    let status = json::text(data, "status")?;
    let grade = match status.to_ascii_lowercase().as_str() {
        "ok" => Grade::Recovered,
        "acknowledged" => Grade::Acknowledged,
        "info" | "unknown" | "warning" | "critical" => Grade::word(&status),
        _ => return None,
    };
    let named = json::text(data, "primary_property");
    let host = json::first(data, &["host", "service", "application", "device"]).or_else(|| {
        let name = named.as_deref()?;
        data.get(name).or_else(|| json::object(data, "tags")?.get(name)).and_then(json::scalar)
    })?;
    let mut draft = Draft::new(grade);
    draft.source = json::first(data, &["source", "app_key"]).map(Into::into);
    draft.host = Some(host.into_owned());
    draft.check = json::text(data, "check").map(Into::into);
    draft.key = json::first(data, &["key", "incident_identifier"]).map(Into::into);
    draft.at = times::value(data.get("timestamp"), payload)
        .or_else(|| context.time.as_deref().and_then(|time| times::text(time, payload)));
    if let Some(super::When::At(time)) = times::value(data.get("expires_at"), payload) {
        draft.expires_at = Some(time);
    }
    draft.description = json::text(data, "description").map(Into::into).unwrap_or_default();
    draft.id = json::text(data, "id").or_else(|| context.id.clone()).map(Into::into);
    if let Some(tags) = json::object(data, "tags") {
        json::tags(&mut draft, tags, &[]);
    }
    json::tags(&mut draft, data, &CANONICAL);
    if let Some(links) = json::object(data, "links") {
        for (name, url) in links {
            draft.link(name, url.as_str());
        }
    }
    Some(draft)
}

/// Words for "over".
fn is_over(word: &str) -> bool {
    [
        "ok",
        "okay",
        "resolved",
        "resolve",
        "recovered",
        "recovery",
        "closed",
        "close",
        "cleared",
        "clear",
        "normal",
        "up",
        "healthy",
        "inactive",
        "deactivated",
        "fixed",
        "success",
        "succeeded",
        "passing",
    ]
    .iter()
    .any(|other| word.eq_ignore_ascii_case(other))
}

/// Words for "begun", in a type or a state, that say nothing of how bad it is.
fn is_begun(word: &str) -> bool {
    [
        "firing",
        "triggered",
        "trigger",
        "opened",
        "open",
        "active",
        "activated",
        "problem",
        "failing",
        "failed",
        "failure",
        "alerting",
        "alert",
        "raised",
        "unhealthy",
        "degraded",
        "fired",
        "new",
    ]
    .iter()
    .any(|other| word.eq_ignore_ascii_case(other))
}

fn is_acknowledged(word: &str) -> bool {
    ["acknowledged", "acknowledge", "acked"].iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// How bad a word for a level is; none where it is no such word.
fn how_bad(word: &str) -> Option<Status> {
    match Grade::word(word) {
        Grade::Problem { usual, .. }
            if usual != Status::Unknown || word.eq_ignore_ascii_case("unknown") =>
        {
            Some(usual)
        }
        _ => None,
    }
}

/// Fields that say how it stands.
const STATES: [&str; 4] = ["status", "state", "alert_state", "alertstate"];
/// Fields that say how bad it is.
const LEVELS: [&str; 3] = ["severity", "level", "priority"];

/// What it says of a state; none where it says nothing of the kind.
fn grade(context: &Context<'_>, data: &json::Object) -> Option<Grade> {
    let field =
        |name: &&str| json::text(data, name).or_else(|| context.extension(name).map(Cow::Borrowed));
    let state = STATES.iter().find_map(field);
    let level = LEVELS.iter().find_map(field);
    let last = context.kind.as_deref().and_then(last_part).unwrap_or_default();
    let words = || [state.as_deref(), Some(last)].into_iter().flatten();
    if let Some(word) = words().find(|word| is_over(word) || is_acknowledged(word)) {
        // The type may speak of the process (`….check.failed`) where the state speaks of the thing.
        let contradicted =
            state.as_deref().is_some_and(|state| is_begun(state) || how_bad(state).is_some());
        if !contradicted {
            return Some(if is_over(word) { Grade::Recovered } else { Grade::Acknowledged });
        }
    }
    if let Some(level) = level {
        return Some(if is_over(&level) { Grade::Recovered } else { Grade::word(&level) });
    }
    if let Some(state) = state {
        return Some(Grade::word(&state));
    }
    if let Some(usual) = how_bad(last).filter(|_| !last.eq_ignore_ascii_case("alert")) {
        return Some(Grade::problem(last, usual));
    }
    is_begun(last).then(|| Grade::problem(last, Status::Unknown))
}

fn last_part(kind: &str) -> Option<&str> {
    kind.rsplit(['.', '/', ':', '-', '_']).next()
}

fn mapped(
    context: &Context<'_>,
    data: &json::Object,
    said: Option<&str>,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let kind = context.kind.as_deref().unwrap_or_default();
    let Some(grade) = grade(context, data) else {
        return Ok(Found::Nothing(format!("a CloudEvent that names no state: {kind}")));
    };
    let mut draft = Draft::new(grade);
    let source = context.source.as_deref().unwrap_or_default();
    let host = json::first(data, &["host", "hostname", "node", "instance"])
        .or_else(|| context.subject.clone())
        .or_else(|| last_of_source(source).map(Cow::Borrowed));
    let check = json::first(data, &["check", "alertname", "alert", "rule", "name", "title"])
        .unwrap_or_else(|| Cow::Borrowed(without_state(kind)));
    let own = json::first(data, &["key", "dedup_key", "alert_id", "fingerprint"])
        .or_else(|| context.extension("key").map(Cow::Borrowed));
    draft.key = Some(match own {
        Some(own) => own.into_owned(),
        None => draft::key([source, host.as_deref().unwrap_or_default(), check.as_ref()]),
    });
    draft.host = host.map(Into::into);
    draft.check = Some(check.into_owned()).filter(|check| !check.is_empty());
    let time = context.time.as_deref().and_then(|time| times::text(time, payload));
    draft.at = time.or_else(|| times::value(data.get("timestamp"), payload));
    let text = json::first(data, &["description", "message", "summary", "text"]);
    draft.description = text
        .or_else(|| said.map(|said| Cow::Borrowed(said.trim())))
        .map(Into::into)
        .unwrap_or_default();
    draft.id = context.id.clone().map(Into::into);
    tags(&mut draft, context, data);
    let links = [
        ("runbook", "runbook_url"),
        ("runbook", "runbook"),
        ("dashboard", "dashboard_url"),
        ("source", "url"),
        ("source", "link"),
    ];
    for (name, field) in links {
        draft.link(name, json::text(data, field).as_deref());
    }
    Ok(draft.into())
}

/// The last part of a URI reference, without what asks for more.
fn last_of_source(source: &str) -> Option<&str> {
    let path = source.split(['?', '#']).next()?.trim_end_matches('/');
    path.rsplit(['/', ':']).next().filter(|part| !part.is_empty())
}

/// A type without its last part where that is a word for a state.
fn without_state(kind: &str) -> &str {
    match last_part(kind) {
        Some(last)
            if last.len() < kind.len()
                && !last.eq_ignore_ascii_case("alert")
                && (is_over(last)
                    || is_begun(last)
                    || is_acknowledged(last)
                    || how_bad(last).is_some()) =>
        {
            &kind[..kind.len() - last.len() - 1]
        }
        _ => kind,
    }
}

fn tags(draft: &mut Draft, context: &Context<'_>, data: &json::Object) {
    draft.tag("ce_source", context.source.as_deref());
    draft.tag("ce_type", context.kind.as_deref().map(without_state));
    draft.tag("subject", context.subject.as_deref());
    for (name, value) in &context.extensions {
        if !STATES.contains(&name.as_str()) && !LEVELS.contains(&name.as_str()) {
            draft.tag(name, value.as_ref());
        }
    }
    let read = [
        "host",
        "hostname",
        "check",
        "key",
        "dedup_key",
        "alert_id",
        "fingerprint",
        "timestamp",
        "time",
        "description",
        "message",
        "summary",
        "text",
        "labels",
        "tags",
        "id",
        "runbook_url",
        "dashboard_url",
        "url",
        "link",
    ];
    let read = |name: &str| [&read[..], &STATES, &LEVELS].iter().any(|list| list.contains(&name));
    for (name, value) in data {
        if !read(name) && !value.is_number() {
            json::tag(draft, name, value);
        }
    }
    for labels in ["labels", "tags"] {
        match data.get(labels) {
            Some(Value::Object(labels)) => json::tags(draft, labels, &[]),
            Some(list @ Value::Array(_)) => json::tag(draft, labels, list),
            _ => {}
        }
    }
}
