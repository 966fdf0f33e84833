//! Prometheus and Alertmanager: groups of alerts from Alertmanager's webhook (version 4, and 3 of
//! 2016), and what Prometheus itself sends to an Alertmanager (`POST /api/v2/alerts`, and v1): a
//! list of alerts. Also what both answer when they are asked for their alerts.
//!
//! Identity: all labels but those of replicas, hashed as Prometheus does it; the sender's own
//! `fingerprint` is not in every shape, and knows of replicas, so it is not asked. Host: the labels
//! `host`, `hostname`, or `instance` without its port. Check: `alertname`.
//!
//! How bad: the label `severity` (`critical`, `page`, `error`; `warning`; `info`, `none`); without it
//! the word is `firing`, and means `unknown` unless the source's settings say otherwise.
//!
//! Recovery: an alert's own `status`, never its group's; in the list form an `endsAt` that is past.
//! An `endsAt` ahead says there how long the alert lives unless it is sent again. Times: `startsAt`,
//! also of repeats, so that one which is delivered late is older than the recovery; `endsAt` of what
//! is over.
//!
//! The header `muster-live`, which our HTTP layer sets where Prometheus itself sends (`/api/v2/alerts`),
//! says that the list is what holds now: then the order of arrival counts, as in Alertmanager. What
//! fires is heard anew with each repeat, so that it outlives the `endsAt` of the one before, and ends
//! by it once nobody repeats it; soon after its start (at most a minute) `startsAt` stands.
//!
//! Traps: a group tells everything again whenever one alert changes. `truncatedAlerts` are neither
//! firing nor resolved. `endsAt` is year 1 while an alert fires.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    Class, Decoder, Draft, Failure, Found, Grade, Payload, When, json, labels, macros, times,
};
use crate::model::{Span, Status};

/// Alertmanager.
pub(super) const DECODER: Decoder = Decoder {
    name: "alertmanager",
    aliases: &["prometheus"],
    class: Class::Labels,
    expire_after: None,
    decode,
};

/// Says that a list is what its sender holds to be so now.
const LIVE: &str = "muster-live";
/// How long after its start an alert that is heard of counts as heard of at its start, at most: a
/// quarter of how long its sender's word holds, so that what is said next comes while it does.
const AT_ONCE: Span = Span::MINUTE;

const EXPECTED: &str = "expected Alertmanager's webhook body or a list of alerts with `labels`";

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::objects(payload, found, |object, found| {
        match alerts(object) {
            Some(list) => group(object, list, payload, found),
            None if object.contains_key("labels") => {
                found.push(alert(object, None, payload)?.into());
            }
            None => return Err(Failure::shape(format!("no `alerts` and no `labels`; {EXPECTED}"))),
        }
        Ok(())
    })
}

/// The alerts of a webhook, or of an answer to a question: `{"data":[…]}`, `{"data":{"alerts":[…]}}`.
fn alerts(object: &json::Object) -> Option<&[Value]> {
    ["alerts", "data.alerts", "data"]
        .iter()
        .find_map(|path| json::at(object, path)?.as_array())
        .map(Vec::as_slice)
}

fn group(object: &json::Object, list: &[Value], payload: &Payload<'_>, found: &mut Vec<Found>) {
    if list.is_empty() {
        found.push(Found::Nothing("a group without alerts".to_owned()));
    }
    json::elements(list, payload, found, |value, found| {
        let inner = value
            .as_object()
            .ok_or_else(|| Failure::shape(format!("the alert is not an object; {EXPECTED}")))?;
        let mut draft = alert(inner, Some(object), payload)?;
        draft.link("alertmanager", object.get("externalURL").and_then(Value::as_str));
        found.push(draft.into());
        Ok(())
    });
    let truncated = object.get("truncatedAlerts").and_then(json::integer).unwrap_or_default();
    if truncated > 0 {
        found.push(Found::Nothing(format!(
            "{truncated} alerts of the group are not in it: max_alerts cut them off"
        )));
    }
}

/// One alert, of a group or by itself.
fn alert(
    object: &json::Object,
    group: Option<&json::Object>,
    payload: &Payload<'_>,
) -> Result<Draft, Failure> {
    let mut labels = labels::of(object, "labels")
        .ok_or_else(|| Failure::shape(format!("the alert has no `labels`; {EXPECTED}")))?;
    if labels.is_empty()
        && let Some(common) = group.and_then(|group| labels::of(group, "commonLabels"))
    {
        labels = common;
    }
    if labels.is_empty() {
        return Err(Failure::shape(
            "the alert's `labels` are empty; its name at least is expected",
        ));
    }
    let ends = times::value(object.get("endsAt"), payload);
    let own = json::first(object, &["status.state", "status", "state"]);
    // An answer's `status` is of the question; a webhook's of the group, for an alert without one.
    let of_group = || {
        let status = json::text(group?, "status")?;
        matches!(status.as_ref(), "firing" | "resolved").then_some(status)
    };
    let state = own.or_else(of_group).unwrap_or(Cow::Borrowed(""));
    let is_past = matches!(ends, Some(When::At(end)) if end <= payload.arrival);
    let over = match state.to_ascii_lowercase().as_str() {
        "resolved" | "inactive" => true,
        "" | "active" | "suppressed" | "unprocessed" => is_past,
        _ => false,
    };
    let starts = object.get("startsAt").or_else(|| object.get("activeAt"));
    let mut draft = Draft::new(grade(&labels, over));
    let live = group.is_none() && payload.header(LIVE).is_some();
    if over {
        draft.at = ends.filter(|_| !live);
    } else {
        draft.at = times::value(starts, payload);
        let at_once = match ends {
            Some(When::At(end)) => AT_ONCE.min(end.since(payload.arrival).part(4)),
            _ => AT_ONCE,
        };
        if let Some(When::At(start)) = draft.at
            && live
            && start + at_once < payload.arrival
        {
            draft.at = None;
        }
        // A webhook's `endsAt` says nothing while the alert fires.
        if group.is_none()
            && let Some(When::At(end)) = ends
        {
            draft.expires_at = Some(end);
        }
    }
    draft.soft = state == "pending";
    draft.key = Some(labels::fingerprint(&labels));
    draft.host = labels::host(&labels);
    draft.check = Some(name(&labels));
    labels::describe(&mut draft, &labels, json::object(object, "annotations"));
    draft.link("source", object.get("generatorURL").and_then(Value::as_str));
    Ok(draft)
}

fn grade(labels: &[(&str, Cow<'_, str>)], over: bool) -> Grade {
    let severity =
        ["severity", "level", "priority"].iter().find_map(|name| labels::get(labels, name));
    match severity {
        _ if over => Grade::Recovered,
        Some(word) => Grade::word(word),
        None => Grade::problem("firing", Status::Unknown),
    }
}

/// The alert's name; where it has none its labels.
fn name(labels: &[(&str, Cow<'_, str>)]) -> String {
    if let Some(name) = labels::get(labels, "alertname") {
        return name.to_owned();
    }
    let all: Vec<String> = labels
        .iter()
        .filter(|(_, value)| macros::present(value).is_some())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    all.join(", ")
}
