//! LibreNMS' alert transports: the body that comes with Muster (`deploy/sources/librenms/body.txt`),
//! others of an administrator's making with the same placeholders, as JSON or as a form.
//!
//! Identity: host and check: the device's `hostname` and the rule's name. Class State.
//!
//! How bad: `severity` (`critical`, `warning`, `ok`) of the rule. Recovery: `state` 0 (and nothing
//! else: a rule of severity `ok` is a problem too). 1 alert, 3 worse, 4 better, 5 changed are problems;
//! 2 is acknowledged. Times: `timestamp`, without a zone: in the source's.
//!
//! Traps: everything is a text. What stands in `msg` is an HTML or plain template. Where the body has
//! no state the title's `recovered` must do.

use std::borrow::Cow;

use super::loose::{self, Loose};
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, times};
use crate::model::Status;

/// LibreNMS.
pub(super) const DECODER: Decoder =
    Decoder { name: "librenms", aliases: &[], class: Class::State, expire_after: None, decode };

const EXPECTED: &str =
    "expected LibreNMS' alert, best the body in deploy/sources/librenms/body.txt";

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    loose::objects(payload, found, |object, found| one(object, payload, found))
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let fields = Loose::of(object);
    let host = fields.text(&["hostname", "host", "sysname", "devicename", "display", "ip"]);
    let title = fields.text(&["title", "subject"]);
    let rule = fields.text(&["name", "rulename", "alertname", "check"]);
    if host.is_none() && rule.is_none() {
        let message = format!("neither `hostname` nor the rule's `name` is there; {EXPECTED}");
        return Err(Failure::shape(message));
    }
    let titled = title.as_deref().unwrap_or_default().to_ascii_lowercase();
    if rule.as_deref() == Some("Test-Rule") || titled.starts_with("testing transport") {
        found.push(Found::Nothing("LibreNMS' test of a transport".to_owned()));
        return Ok(());
    }
    let severity = fields.text(&["severity", "level"]);
    let state = fields.text(&["state", "alertstate", "status"]);
    let recovered = titled.contains("recovered") || titled.contains("has been cleared");
    let grade = match state.as_deref().map(str::trim) {
        Some("0" | "recovered" | "ok" | "OK" | "Recovered") => Grade::Recovered,
        Some("2" | "acknowledged" | "Acknowledged" | "ack") => Grade::Acknowledged,
        Some("1" | "3" | "4" | "5" | "alert" | "alerting" | "worse" | "better" | "changed") => {
            problem(severity.as_deref())
        }
        // Other words are how bad it is.
        Some(word) if severity.is_none() => problem(Some(word)),
        None if recovered => Grade::Recovered,
        _ => problem(severity.as_deref()),
    };
    let mut draft = Draft::new(grade);
    let check = rule.or_else(|| fields.text(&["rule"])).or_else(|| title.clone());
    draft.check = check.map(Cow::into_owned);
    draft.host = host.map(Cow::into_owned);
    draft.at = times::value(fields.get(&["timestamp", "time", "date"]), payload);
    let text = fields.text(&["msg", "message", "description", "text"]).or(title);
    draft.description = text.map(Cow::into_owned).unwrap_or_default();
    draft.id = fields.text(&["uid", "alertid", "id"]).map(Cow::into_owned);
    for (tag, names) in [
        ("sysname", &["sysname"][..]),
        ("os", &["os"]),
        ("type", &["type", "devicetype"]),
        ("hardware", &["hardware"]),
        ("location", &["location"]),
        ("ip", &["ip"]),
        ("device_id", &["deviceid"]),
        ("rule_id", &["ruleid"]),
        ("display", &["display"]),
    ] {
        draft.tag(tag, fields.text(names).as_deref());
    }
    let groups = fields.texts(&["devicegroups", "groups"]);
    draft.tag_list("device_groups", groups.iter().map(AsRef::as_ref));
    for (name, value) in json::object(object, "tags").into_iter().flatten() {
        draft.tag(name, json::scalar(value).as_deref());
    }
    draft.link("runbook", fields.text(&["proc", "procedure", "runbook"]).as_deref());
    draft.link("device", fields.text(&["link", "url", "deviceurl"]).as_deref());
    found.push(draft.into());
    Ok(())
}

fn problem(severity: Option<&str>) -> Grade {
    match severity {
        Some(word) if word.eq_ignore_ascii_case("ok") => Grade::problem(word, Status::Info),
        Some(word) => Grade::word(word),
        None => Grade::problem("alert", Status::Unknown),
    }
}
