//! Uptime Kuma's webhook, in its default form.
//!
//! Identity: the monitor. Host: its `hostname`, else the host of its URL, else its name. `status` 0 is
//! down (critical) and 1 up (the recovery); 2 (pending) is not sure yet, 3 is maintenance and says nothing. Times are
//! UTC though they have no zone. A certificate that ends soon, and tests, have no heartbeat and say
//! nothing here.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, labels, times};
use crate::model::Status;

/// Uptime Kuma.
pub(super) const DECODER: Decoder = Decoder {
    name: "uptime_kuma",
    aliases: &["kuma"],
    class: Class::Key,
    expire_after: None,
    decode,
};

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| one(object, payload))
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let Some(beat) = json::object(object, "heartbeat") else {
        if object.contains_key("heartbeat") && object.contains_key("msg") {
            let what =
                "a test, or a certificate that ends soon: Uptime Kuma has no heartbeat of it";
            return Ok(Found::Nothing(what.to_owned()));
        }
        return Err(Failure::shape("`heartbeat` is missing; expected Uptime Kuma's webhook body"));
    };
    let status = beat.get("status").ok_or_else(|| {
        Failure::shape("`heartbeat.status` is missing; expected Uptime Kuma's webhook body")
    })?;
    let mut draft = Draft::new(match json::integer(status) {
        Some(0) => Grade::problem("down", Status::Critical),
        Some(1) => Grade::Recovered,
        Some(2) => Grade::problem("pending", Status::Unknown),
        Some(3) => return Ok(Found::Nothing("a monitor in maintenance".to_owned())),
        _ => Grade::problem(status.to_string(), Status::Unknown),
    });
    draft.soft = json::integer(status) == Some(2);
    let name = json::first(object, &["monitor.name", "monitor.pathName"]);
    let id = json::first(object, &["heartbeat.monitorID", "heartbeat.monitor_id", "monitor.id"]);
    draft.key = id.clone().or_else(|| name.clone()).map(Cow::into_owned);
    if draft.key.is_none() {
        return Err(Failure::shape("neither `monitor.id` nor `monitor.name` is there"));
    }
    let hosts = ["monitor.hostname", "monitor.url"];
    // A monitor without an address has the beginning of one in its place.
    let host = hosts
        .iter()
        .filter_map(|path| json::text(object, path))
        .find(|host| !matches!(host.as_ref(), "https://" | "http://"));
    draft.host = host
        .map(|host| labels::without_port(&host).to_owned())
        .or_else(|| name.as_deref().map(str::to_owned));
    draft.check = name.or(id).map(Cow::into_owned);
    let utc = Payload { zone: &TimeZone::UTC, ..*payload };
    draft.at = times::value(beat.get("time"), &utc);
    let text = json::first(object, &["msg", "heartbeat.msg"]);
    draft.description = text.map(Cow::into_owned).unwrap_or_default();
    for tag in json::list(object, "monitor.tags").iter().filter_map(Value::as_object) {
        let value = json::text(tag, "value").unwrap_or(Cow::Borrowed("true"));
        if let Some(name) = json::text(tag, "name") {
            draft.tag(&name, value.as_ref());
        }
    }
    draft.tag("type", json::text(object, "monitor.type").as_deref());
    draft.link("monitor", json::text(object, "monitor.url").as_deref().filter(|url| url.len() > 8));
    Ok(draft.into())
}
