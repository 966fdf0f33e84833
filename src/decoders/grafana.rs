//! Grafana: groups of alerts of its unified alerting (8 and later), and single states of the alerting
//! before that.
//!
//! Identity: Grafana's `fingerprint` of an alert's labels and rule, else their hash as `alertmanager`
//! has it; of the old form the organisation and the rule. Host: the labels `host`, `hostname`, or
//! `instance` without its port; of the old form the tag `host` or `instance` of the first series that
//! broke the rule. Check: the alert's name; for `DatasourceNoData` and `DatasourceError` the name of
//! the rule, which is then in `rulename`.
//!
//! How bad: the label (or tag) `severity`; without it the word is `alerting` (`unknown` unless the
//! settings say otherwise). No data and errors of a data source are `unknown` whatever the label says,
//! by the words `DatasourceNoData`, `DatasourceError` and `no_data`.
//!
//! Recovery: an alert's own `status`; `state` `ok` of the old form. Times: `startsAt`, and `endsAt` of
//! what is over; the old form has none. A rule that is paused says nothing of its problem; a `pending`
//! one is not sure yet.
//!
//! Traps: the group's `status` is not its alerts'. `alertname` may stand only in `commonLabels`. The
//! old form's recovery names no series, so it has no host; its identity does not need one.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, labels, times};
use crate::model::Status;

/// Grafana.
pub(super) const DECODER: Decoder = Decoder {
    name: "grafana",
    aliases: &["grafana_alerting"],
    class: Class::Labels,
    expire_after: None,
    decode,
};

const EXPECTED: &str =
    "expected the body of Grafana's webhook contact point or notification channel";
/// Alerts of a rule that could not be evaluated.
const SPECIAL: [&str; 2] = ["DatasourceNoData", "DatasourceError"];

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::objects(payload, found, |object, found| {
        if let Some(list) = object.get("alerts").and_then(Value::as_array) {
            unified(object, list, payload, found);
        } else if object.contains_key("ruleId") || object.contains_key("evalMatches") {
            found.push(legacy(object)?);
        } else {
            let message = format!("neither `alerts` nor `ruleId` is there; {EXPECTED}");
            return Err(Failure::shape(message));
        }
        Ok(())
    })
}

fn unified(object: &json::Object, list: &[Value], payload: &Payload<'_>, found: &mut Vec<Found>) {
    if list.is_empty() {
        found.push(Found::Nothing("a group without alerts".to_owned()));
    }
    json::elements(list, payload, found, |value, found| {
        let inner = value
            .as_object()
            .ok_or_else(|| Failure::shape(format!("the alert is not an object; {EXPECTED}")))?;
        found.push(alert(inner, object, payload)?);
        Ok(())
    });
    let truncated = object.get("truncatedAlerts").and_then(json::integer).unwrap_or_default();
    if truncated > 0 {
        found.push(Found::Nothing(format!(
            "{truncated} alerts of the group are not in it: the contact point cut them off"
        )));
    }
}

fn alert(
    object: &json::Object,
    group: &json::Object,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let mut labels = labels::of(object, "labels").unwrap_or_default();
    if labels::get(&labels, "alertname").is_none()
        && let Some(name) = json::text(group, "commonLabels.alertname")
    {
        labels.push(("alertname", name));
        labels.sort_unstable();
    }
    let key = json::text(object, "fingerprint");
    if labels.is_empty() && key.is_none() {
        let message = format!("the alert has neither `labels` nor `fingerprint`; {EXPECTED}");
        return Err(Failure::shape(message));
    }
    let name = labels::get(&labels, "alertname");
    if name == Some("TestAlert") && labels::get(&labels, "instance") == Some("Grafana") {
        return Ok(Found::Nothing("Grafana's test of a contact point".to_owned()));
    }
    let special = name.filter(|name| SPECIAL.contains(name));
    let status = json::first(object, &["status", "state"])
        .or_else(|| json::first(group, &["status", "state"]))
        .unwrap_or(Cow::Borrowed("firing"));
    let over =
        matches!(status.to_ascii_lowercase().as_str(), "resolved" | "ok" | "normal" | "inactive");
    let severity =
        ["severity", "level", "priority"].iter().find_map(|name| labels::get(&labels, name));
    let mut draft = Draft::new(match (special, severity) {
        _ if over => Grade::Recovered,
        (Some(word), _) => Grade::problem(word, Status::Unknown),
        (None, Some(word)) => Grade::word(word),
        (None, None) => Grade::problem("alerting", Status::Unknown),
    });
    draft.at = times::value(object.get(if over { "endsAt" } else { "startsAt" }), payload);
    draft.key = Some(key.map_or_else(|| labels::fingerprint(&labels), Cow::into_owned));
    draft.host = labels::host(&labels);
    let rule = special.and(labels::get(&labels, "rulename")).or(name);
    let rule =
        rule.map(str::to_owned).or_else(|| Some(json::text(object, "ruleUID")?.into_owned()));
    draft.check = Some(rule.unwrap_or_else(|| "Grafana alert".to_owned()));
    labels::describe(&mut draft, &labels, json::object(object, "annotations"));
    if draft.description.is_empty() {
        let values = json::text(object, "valueString");
        draft.description = values.map(Cow::into_owned).unwrap_or_default();
    }
    draft.tag("rule_uid", json::text(object, "ruleUID").as_deref());
    for (name, field) in [
        ("source", "generatorURL"),
        ("dashboard", "dashboardURL"),
        ("panel", "panelURL"),
        ("silence", "silenceURL"),
        ("image", "imageURL"),
    ] {
        draft.link(name, object.get(field).and_then(Value::as_str));
    }
    Ok(draft.into())
}

fn legacy(object: &json::Object) -> Result<Found, Failure> {
    let state = json::text(object, "state")
        .ok_or_else(|| Failure::shape(format!("`state` is missing; {EXPECTED}")))?;
    let title = json::text(object, "title");
    let name = json::text(object, "ruleName");
    let id = json::text(object, "ruleId");
    if id.as_deref() == Some("0") || name.as_deref() == Some("Test notification") {
        return Ok(Found::Nothing("Grafana's test of a notification channel".to_owned()));
    }
    let severity = json::first(object, &["tags.severity", "tags.priority"]);
    let state = state.to_ascii_lowercase();
    let mut draft = Draft::new(match (state.as_str(), severity) {
        ("ok", _) => Grade::Recovered,
        ("paused", _) => return Ok(Found::Nothing("a rule that is paused".to_owned())),
        ("alerting" | "pending", Some(word)) => Grade::word(&word),
        // Also `no_data` and `unknown`.
        _ => Grade::problem(state.as_str(), Status::Unknown),
    });
    draft.soft = state == "pending";
    let organisation = json::text(object, "orgId").unwrap_or(Cow::Borrowed("1"));
    draft.key = id.map(|id| format!("{organisation}|{id}")).or_else(|| {
        let name = name.as_ref()?;
        Some(format!("{organisation}|{name}"))
    });
    if draft.key.is_none() {
        return Err(Failure::shape(format!("`ruleId` and `ruleName` are missing; {EXPECTED}")));
    }
    draft.check = name.or_else(|| title.clone()).map(Cow::into_owned);
    let matches = json::list(object, "evalMatches");
    if let Some(tags) = object.get("tags").and_then(Value::as_object) {
        for (name, value) in tags {
            draft.tag(name, json::scalar(value).as_deref());
        }
    }
    let of_series = || {
        let first = matches.first()?.as_object()?;
        let names = ["tags.host", "tags.hostname", "tags.instance", "tags.node"];
        json::first(first, &names)
    };
    let host = json::first(object, &["tags.host", "tags.hostname", "tags.instance"]);
    draft.host = host.or_else(of_series).map(|host| labels::without_port(&host).to_owned());
    draft.description =
        json::text(object, "message").or(title).map(Cow::into_owned).unwrap_or_default();
    let values: Vec<String> = matches
        .iter()
        .take(5)
        .filter_map(Value::as_object)
        .filter_map(|series| {
            let metric = json::text(series, "metric")?;
            Some(format!("{metric} = {}", json::text(series, "value")?))
        })
        .collect();
    if !values.is_empty() && state != "ok" {
        draft.description = format!("{} ({})", draft.description, values.join(", "));
    }
    draft.link("rule", object.get("ruleUrl").and_then(Value::as_str));
    draft.link("image", object.get("imageUrl").and_then(Value::as_str));
    Ok(draft.into())
}
