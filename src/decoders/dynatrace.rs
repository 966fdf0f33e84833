//! Dynatrace's problem notifications by a custom integration, with its own placeholders.
//!
//! Identity: `PID`, else `ProblemID`: a problem is an episode, and has what it is about only by name.
//! Host: the impacted entity. Check: `ProblemTitle`.
//!
//! How bad: `ProblemSeverity`: `AVAILABILITY` and `ERROR` critical; `PERFORMANCE` (slowdown),
//! `RESOURCE_CONTENTION` and `CUSTOM_ALERT` warning; `MONITORING_UNAVAILABLE` unknown. `State`
//! `RESOLVED` is the recovery; `MERGED` too: what is wrong is told by the other problem.
//!
//! Times: `timestamp` of the body, where its template has one; else the arrival.
//!
//! Traps: `{State}` and others stay as they are where Dynatrace does not know them. Problem 999 is a test.

use std::borrow::Cow;

use super::loose::Loose;
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, times};
use crate::model::Status;

/// Dynatrace.
pub(super) const DECODER: Decoder =
    Decoder { name: "dynatrace", aliases: &[], class: Class::Episode, expire_after: None, decode };

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| one(object, payload))
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let fields = Loose::of(object);
    let text = |names: &[&str]| fields.text(names).filter(|text| !is_placeholder(text));
    let missing = |name: &str| {
        let message = format!("`{name}` is missing; expected Dynatrace's problem notification");
        Failure::shape(message)
    };
    let state = text(&["state", "problemstate", "status"]).ok_or_else(|| missing("State"))?;
    let id = text(&["pid", "problemid"]).ok_or_else(|| missing("PID"))?;
    if text(&["problemid"]).as_deref() == Some("999") {
        return Ok(Found::Nothing("Dynatrace's test of an integration".to_owned()));
    }
    let severity = text(&["problemseverity", "severity", "severitylevel"]);
    let mut draft = Draft::new(match (state.to_ascii_uppercase().as_str(), severity.as_deref()) {
        ("RESOLVED" | "CLOSED" | "MERGED", _) => Grade::Recovered,
        (_, None) => Grade::problem("open", Status::Unknown),
        (_, Some(word)) => match word.to_ascii_uppercase().as_str() {
            "AVAILABILITY" | "ERROR" => Grade::problem(word, Status::Critical),
            "PERFORMANCE" | "SLOWDOWN" | "RESOURCE_CONTENTION" | "RESOURCE" | "CUSTOM_ALERT" => {
                Grade::problem(word, Status::Warning)
            }
            "INFO" => Grade::problem(word, Status::Info),
            _ => Grade::problem(word, Status::Unknown),
        },
    });
    draft.key = Some(id.into_owned());
    let title = text(&["problemtitle", "title"]);
    // Objects in a list have the name in `name`; a list in words has it before the comma.
    let entities =
        json::list(object, "ImpactedEntities").iter().filter_map(serde_json::Value::as_object);
    let mut names = entities.filter_map(|entity| json::first(entity, &["name", "entityName"]));
    let host = names.next().or_else(|| text(&["impactedentitynames"]));
    draft.host = host.map(|host| host.split(',').next().unwrap_or(&host).trim().to_owned());
    if draft.host.is_none() {
        // `CPU saturation on Host web-1`: what follows the title.
        let of_title = |entity: &str| {
            let rest = entity.strip_prefix(title.as_deref()?)?.strip_prefix(" on ")?;
            Some(rest.to_owned())
        };
        draft.host = text(&["impactedentity"])
            .map(|entity| of_title(&entity).unwrap_or_else(|| entity.into_owned()));
    }
    draft.check = title.clone().map(Cow::into_owned);
    draft.at = times::value(fields.get(&["timestamp", "problemtime", "starttime"]), payload);
    let details = text(&["problemdetailstext", "impactedentity"]).or(title);
    draft.description = details.map(Cow::into_owned).unwrap_or_default();
    // `env:prod, [AWS]team:shop, customer`
    let listed = fields.texts(&["tags", "problemtags"]);
    let mut plain = Vec::new();
    for tag in listed.iter().map(|tag| tag.trim()).filter(|tag| !is_placeholder(tag)) {
        let name =
            tag.strip_prefix('[').and_then(|tag| tag.split_once(']')).map_or(tag, |(_, tag)| tag);
        match name.split_once(':') {
            Some((name, value)) if !name.is_empty() => draft.tag(name, value),
            _ => plain.push(tag),
        }
    }
    draft.tag_list("tags", plain);
    draft.tag("impact", text(&["problemimpact"]).as_deref());
    draft.tag("severity", severity.as_deref());
    draft.id = text(&["problemid"]).map(Cow::into_owned);
    draft.link("problem", text(&["problemurl", "url"]).as_deref());
    Ok(draft.into())
}

/// `{ProblemTitle}` as it stands in the integration.
fn is_placeholder(text: &str) -> bool {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    inner.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()))
}
