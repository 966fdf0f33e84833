//! BigPanda's Alerts API: one alert, a list, or `{app_key, alerts}`.
//!
//! Identity: primary and secondary property (host and check) within `app_key`, which is the event's
//! source, as in Muster's canonical form; `incident_identifier` (once `incident_key`) replaces both.
//! Primary is what `primary_property` names, else `host`, `service`, `application` or `device`;
//! secondary what `secondary_property` names, else `check` or `sensor`. An alert with an identifier and
//! no primary property has the identifier for its host. Status: ok resolves,
//! acknowledged acknowledges, critical, warning and unknown are themselves; any other word is taken by
//! its usual meaning. Every other field is a tag; what holds a web address is a link as well.
//!
//! Traps: times are seconds; one of an item may be missing, and the wrapper's `app_key` may stand in
//! each item instead.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, times};
use crate::stage::Reason;

/// BigPanda.
pub(super) const DECODER: Decoder = Decoder {
    name: "bigpanda",
    aliases: &["big_panda"],
    class: Class::State,
    expire_after: None,
    decode,
};

/// Fields that are read by themselves.
const READ: [&str; 13] = [
    "app_key",
    "status",
    "timestamp",
    "description",
    "incident_identifier",
    "incident_key",
    "primary_property",
    "secondary_property",
    "host",
    "check",
    "alerts",
    "links",
    "tags",
];

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let each = |object: &json::Object, found: &mut Vec<Found>| {
        let Some(alerts) = object.get("alerts").and_then(Value::as_array) else {
            found.push(one(object, None, payload)?.into());
            return Ok(());
        };
        let app_key = app_key(object);
        if alerts.is_empty() {
            found.push(Found::Nothing("a list without alerts".to_owned()));
        }
        json::elements(alerts, payload, found, |alert, found| {
            let alert = alert
                .as_object()
                .ok_or_else(|| Failure::shape("an alert of the list is not an object"))?;
            found.push(one(alert, app_key.as_deref(), payload)?.into());
            Ok(())
        });
        Ok(())
    };
    json::objects(payload, found, each)
}

/// Each event gets a copy of it: what is cut later may as well be cut once.
fn app_key(object: &json::Object) -> Option<String> {
    json::text(object, "app_key").map(|key| key.chars().take(512).collect())
}

fn one(alert: &json::Object, outer: Option<&str>, payload: &Payload<'_>) -> Result<Draft, Failure> {
    let status = json::text(alert, "status").ok_or_else(|| {
        let message =
            "`status` is missing; expected ok, critical, warning, unknown or acknowledged";
        Failure::new(Reason::NoStatus, message)
    })?;
    let mut draft = Draft::new(match status.to_ascii_lowercase().as_str() {
        "ok" => Grade::Recovered,
        "acknowledged" => Grade::Acknowledged,
        _ => Grade::word(&status),
    });
    draft.source = app_key(alert).or_else(|| outer.map(str::to_owned));
    draft.key = json::first(alert, &["incident_identifier", "incident_key"]).map(Into::into);
    let property = |name: &str| {
        let name = json::text(alert, name)?;
        scalar(alert, &name)
    };
    let usual = |names: &[&str]| names.iter().find_map(|name| scalar(alert, name));
    draft.host = property("primary_property")
        .or_else(|| usual(&["host", "service", "application", "device"]))
        .map(Into::into);
    draft.check =
        property("secondary_property").or_else(|| usual(&["check", "sensor"])).map(Into::into);
    if !draft.grade.is_bare() {
        draft.host = draft.host.take().or_else(|| draft.key.clone());
    }
    if draft.host.is_none() && draft.key.is_none() {
        let message = "neither `host`, `service`, `application`, `device` nor what \
                       `primary_property` names is there";
        return Err(Failure::new(Reason::NoPrimary, message));
    }
    draft.at = times::value(alert.get("timestamp"), payload);
    draft.description = json::text(alert, "description").map(Into::into).unwrap_or_default();
    if let Some(tags) = json::object(alert, "tags") {
        json::tags(&mut draft, tags, &[]);
    } else if let Some(tags) = alert.get("tags") {
        json::tag(&mut draft, "tags", tags);
    }
    json::tags(&mut draft, alert, &READ);
    for (name, value) in alert {
        draft.link(name, value.as_str());
    }
    // What was named otherwise keeps its name; these two keep it where they were not chosen.
    let chosen = [json::text(alert, "primary_property"), json::text(alert, "secondary_property")];
    for (name, chosen) in ["host", "check"].iter().zip(chosen) {
        if chosen.is_some_and(|chosen| chosen != *name) {
            draft.tag(name, scalar(alert, name).as_deref());
        }
    }
    Ok(draft)
}

/// A field by its whole name, dots and all.
fn scalar<'a>(alert: &'a json::Object, name: &str) -> Option<Cow<'a, str>> {
    alert.get(name).and_then(json::scalar)
}
