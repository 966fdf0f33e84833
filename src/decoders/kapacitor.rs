//! Kapacitor's HTTP post of alerts, and the HTTP endpoint of InfluxDB 2's checks.
//!
//! Identity: the alert's `id`; of InfluxDB the check's id and the series' tags. Host: the tag `host`.
//! Check: of an id as Kapacitor makes it by default (`cpu:host=web-1`) what stands before its groups,
//! else the id; of InfluxDB the check's name.
//!
//! How bad: `level`; `OK` is the recovery. Times: `time` (`_status_timestamp`), of the point.
//!
//! Traps: an alert with `.noRecoveries()` never says that it is over (`recoverable` is false): it is
//! taken for over after an hour without a further event. `details` is HTML, and not read.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, labels, macros, times};
use crate::model::{Span, Status};

/// Kapacitor.
pub(super) const DECODER: Decoder = Decoder {
    name: "kapacitor",
    aliases: &["influxdb"],
    class: Class::Key,
    expire_after: None,
    decode,
};

const EXPECTED: &str = "expected Kapacitor's alert with `id` and `level`";
const HOSTS: [&str; 4] = ["host", "hostname", "node", "instance"];

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| {
        if object.contains_key("_level") { check(object, payload) } else { alert(object, payload) }
    })
}

fn grade(level: &str) -> Grade {
    match level.to_ascii_uppercase().as_str() {
        "OK" => Grade::Recovered,
        "CRITICAL" | "CRIT" => Grade::problem(level, Status::Critical),
        "WARNING" | "WARN" => Grade::problem(level, Status::Warning),
        "INFO" => Grade::problem(level, Status::Info),
        _ => Grade::problem(level, Status::Unknown),
    }
}

fn alert(object: &json::Object, payload: &Payload<'_>) -> Result<Draft, Failure> {
    let level = json::text(object, "level")
        .ok_or_else(|| Failure::shape(format!("`level` is missing; {EXPECTED}")))?;
    let id = json::text(object, "id")
        .ok_or_else(|| Failure::shape(format!("`id` is missing; {EXPECTED}")))?;
    let mut draft = Draft::new(grade(&level));
    draft.at = times::value(object.get("time"), payload);
    draft.description = json::text(object, "message").map(Cow::into_owned).unwrap_or_default();
    // By default `measurement:group=value,group=value`, and `measurement:nil` without groups.
    let parts = id.split_once(':').filter(|(_, groups)| *groups == "nil" || groups.contains('='));
    let (name, groups) = parts.unwrap_or((&id, ""));
    draft.check = Some(name.to_owned());
    for group in groups.split(',') {
        if let Some((name, value)) = group.split_once('=') {
            draft.tag(name, value);
        }
    }
    let series = json::list(object, "data.series").first().and_then(Value::as_object);
    for (name, value) in
        series.and_then(|series| json::object(series, "tags")).into_iter().flatten()
    {
        draft.tag(name, json::scalar(value).as_deref());
    }
    draft.tag("measurement", series.and_then(|series| json::text(series, "name")).as_deref());
    draft.host = HOSTS.iter().find_map(|name| draft.tagged(name)).map(str::to_owned);
    draft.host = draft.host.map(|host| labels::without_port(&host).to_owned());
    if object.get("recoverable").and_then(json::flag) == Some(false) && !draft.grade.is_bare() {
        draft.expires_at = Some(payload.arrival + Span::from_secs(3_600));
    }
    draft.key = Some(id.into_owned());
    Ok(draft)
}

fn check(object: &json::Object, payload: &Payload<'_>) -> Result<Draft, Failure> {
    let level = json::text(object, "_level")
        .ok_or_else(|| Failure::shape(format!("`_level` is empty; {EXPECTED}")))?;
    let id = json::first(object, &["_check_id", "_check_name"]).ok_or_else(|| {
        Failure::shape("`_check_id` is missing; expected InfluxDB's notification")
    })?;
    let mut draft = Draft::new(grade(&level));
    draft.check = json::first(object, &["_check_name", "_check_id"]).map(Cow::into_owned);
    draft.at = times::value(object.get("_status_timestamp"), payload)
        .or_else(|| times::value(object.get("_time"), payload));
    draft.description = json::text(object, "_message").map(Cow::into_owned).unwrap_or_default();
    // Tags are texts, fields mostly numbers.
    let tags: Vec<(&str, Cow<'_, str>)> = object
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .filter_map(|(name, value)| Some((name.as_str(), macros::present(value.as_str()?)?.into())))
        .collect();
    for (name, value) in &tags {
        draft.tag(name, value.as_ref());
    }
    draft.tag("measurement", json::text(object, "_source_measurement").as_deref());
    draft.tag("rule", json::text(object, "_notification_rule_name").as_deref());
    draft.host = labels::host(&tags);
    draft.key = Some(format!("{id}|{}", labels::fingerprint(&tags)));
    Ok(draft)
}
