//! PagerDuty's Events API, for whatever can send to it: v2 (`/v2/enqueue`) and v1
//! (`/generic/2010-04-15/create_event.json`).
//!
//! Identity: the sender's `dedup_key` (v1: `incident_key`), which holds within one integration key
//! only, so a digest of that key stands behind it (`web-1/disk@1f2e3d4c`): the integration key itself
//! is a secret. What stands in for a missing `dedup_key` is the header `muster-dedup-key`, which our
//! HTTP layer sets to the key it makes up and returns; without either, host and check.
//! Severity: critical and error critical, warning warning, info info; v1 has none and is critical,
//! unless its details have a `severity` or a Nagios state. `resolve` resolves, `acknowledge`
//! acknowledges; neither carries a payload. Times: `payload.timestamp`, RFC 3339; others count when
//! they arrive.
//!
//! Host: `payload.source`; v1: the details' host. Check: `payload.class`, else `component`, else the
//! summary. Details whose values differ from one event to the next (numbers, several lines, counts of
//! Alertmanager) are no tags.
//!
//! Traps: `custom_details` is an object or a text; change events (`/v2/change/enqueue`) have no
//! `event_action` and are nothing.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, draft, json, times};
use crate::model::Status;

/// PagerDuty's Events API.
pub(super) const DECODER: Decoder = Decoder {
    name: "pagerduty",
    aliases: &["pager_duty", "pagerduty_events"],
    class: Class::Key,
    expire_after: None,
    decode,
};

/// The longest detail that becomes a tag, in bytes.
const DETAIL_BYTES: usize = 200;

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| one(object, payload))
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    // The first version calls it `event_type`, its key `incident_key` and its details `details`.
    let action = json::first(object, &["event_action", "event_type"]);
    let inner = json::object(object, "payload");
    let Some(action) = action else {
        if inner
            .is_some_and(|inner| inner.contains_key("summary") && !inner.contains_key("severity"))
        {
            return Ok(Found::Nothing("a change event of PagerDuty".to_owned()));
        }
        return Err(Failure::shape(
            "`event_action` is missing; expected an event of PagerDuty's Events API",
        ));
    };
    let grade = match action.to_ascii_lowercase().as_str() {
        "trigger" => severity(object, inner),
        "acknowledge" => Grade::Acknowledged,
        "resolve" => Grade::Recovered,
        _ => {
            let message = format!("`{action}` is not trigger, acknowledge or resolve");
            return Err(Failure::shape(message));
        }
    };
    let bare = grade.is_bare();
    let mut draft = Draft::new(grade);
    draft.key = key(object, payload);
    if bare && draft.key.is_none() {
        return Err(Failure::shape(format!(
            "`{action}` without `dedup_key`: nobody knows of what"
        )));
    }
    let details = details(object, inner);
    let source = inner.and_then(|inner| json::text(inner, "source"));
    draft.host = source.or_else(|| details.and_then(host_in)).map(Into::into);
    let summary = inner
        .and_then(|inner| json::text(inner, "summary"))
        .or_else(|| json::text(object, "description"));
    if inner.is_none() && !bare && summary.is_none() && details.is_none() {
        return Err(Failure::shape("`trigger` without `payload` (v2) or `description` (v1)"));
    }
    let named = |name: &str| inner.and_then(|inner| json::text(inner, name));
    let title = summary.as_deref().map(draft::plain_title).filter(|_| !bare);
    draft.check = named("class")
        .or_else(|| named("component"))
        .or_else(|| details.and_then(check_in))
        .map(Into::into)
        .or_else(|| title.map(str::to_owned));
    draft.at = inner.and_then(|inner| times::value(inner.get("timestamp"), payload));
    draft.description = summary.map(Into::into).unwrap_or_default();
    if let Some(text) = json::first(object, &["payload.custom_details", "details"]) {
        draft.description = format!("{}\n{text}", draft.description).trim().to_owned();
    }
    for name in ["component", "group", "class"] {
        draft.tag(name, named(name).as_deref());
    }
    draft.tag("client", json::text(object, "client").as_deref());
    if let Some(details) = details {
        holding_details(&mut draft, details);
    }
    links(&mut draft, object);
    Ok(draft.into())
}

fn severity(object: &json::Object, inner: Option<&json::Object>) -> Grade {
    if let Some(word) = inner.and_then(|inner| json::text(inner, "severity")) {
        return Grade::word(&word);
    }
    let own = ["details.severity", "details.SERVICESTATE", "details.HOSTSTATE"];
    match json::first(object, &own) {
        Some(word) => Grade::word(&word),
        None if inner.is_some() => Grade::problem("no severity", Status::Unknown),
        None => Grade::problem("trigger", Status::Critical),
    }
}

fn key(object: &json::Object, payload: &Payload<'_>) -> Option<String> {
    let own = json::first(object, &["dedup_key", "incident_key"]);
    let own = own.or_else(|| payload.header("muster-dedup-key").map(Cow::Borrowed))?;
    Some(match json::first(object, &["routing_key", "service_key"]) {
        Some(secret) => format!("{own}@{}", &draft::digest(&secret)[..8]),
        None => own.into_owned(),
    })
}

fn details<'a>(
    object: &'a json::Object,
    inner: Option<&'a json::Object>,
) -> Option<&'a json::Object> {
    inner
        .and_then(|inner| json::object(inner, "custom_details"))
        .or_else(|| json::object(object, "details"))
}

fn host_in(details: &json::Object) -> Option<Cow<'_, str>> {
    json::first(details, &["host", "hostname", "host_name", "HOSTNAME", "instance", "node"])
}

fn check_in(details: &json::Object) -> Option<Cow<'_, str>> {
    json::first(details, &["check", "alertname", "SERVICEDESC", "service_desc"])
}

/// Details as tags, but for those that differ from one event to the next.
fn holding_details(draft: &mut Draft, details: &json::Object) {
    let moves = |name: &str| {
        ["num_firing", "num_resolved", "firing", "resolved"].contains(&name)
            || ["SERVICEOUTPUT", "HOSTOUTPUT", "TIMET", "SERVICESTATE", "HOSTSTATE", "severity"]
                .contains(&name)
    };
    for (name, value) in details {
        let long = |text: &str| text.len() > DETAIL_BYTES || text.contains('\n');
        if moves(name) || value.is_number() || value.as_str().is_some_and(long) {
            continue;
        }
        json::tag(draft, name, value);
    }
}

fn links(draft: &mut Draft, object: &json::Object) {
    draft.link("client", json::text(object, "client_url").as_deref());
    // The first version has both in one list.
    for list in ["links", "images", "contexts"] {
        for link in json::list(object, list).iter().filter_map(Value::as_object) {
            let image = link.contains_key("src");
            let name = json::first(link, &["text", "alt"]);
            let name = name.as_deref().unwrap_or(if image { "image" } else { "link" });
            draft.link(name, json::first(link, &["href", "src"]).as_deref());
        }
    }
}
