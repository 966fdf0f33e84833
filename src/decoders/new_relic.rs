//! New Relic: issues from a workflow's webhook (the default template, or the one that comes with
//! Muster), and incidents from the webhook channels before that, as JSON or as a form.
//!
//! Identity: the issue's id, or account and incident of the old form: an issue gathers incidents of
//! several conditions and entities, so nothing else of it holds still. Each problem is thus an alert of
//! its own. Host: the first entity, or target; an issue may have several, or none. Check: the condition.
//!
//! How bad: `priority` `CRITICAL`, `HIGH` critical, `MEDIUM` warning, `LOW` info; of the old form
//! `severity`. Recovery: `state` `CLOSED`, `current_state` `closed`. A user's action on an open issue is
//! its acknowledgement. Times: `updatedAt`, else `createdAt`; `timestamp` of the old form.
//!
//! Traps: flags and lists may be texts. Incident 0 is a test.

use std::borrow::Cow;

use serde_json::Value;

use super::loose::{self, Loose};
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, Tag, json, times};
use crate::model::Status;

/// New Relic.
pub(super) const DECODER: Decoder =
    Decoder { name: "new_relic", aliases: &[], class: Class::Episode, expire_after: None, decode };

const EXPECTED: &str = "expected the body of a New Relic workflow or notification channel";

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    loose::objects(payload, found, |object, found| {
        let fields = Loose::of(object);
        let legacy = fields.has(&["currentstate", "incidentid"]) && !fields.has(&["issueurl"]);
        found.push(if legacy {
            incident(object, &fields, payload)
        } else {
            issue(object, &fields, payload)
        }?);
        Ok(())
    })
}

fn issue(
    object: &json::Object,
    fields: &Loose<'_>,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let state = fields
        .text(&["state", "issuestate", "status"])
        .ok_or_else(|| Failure::shape(format!("`state` is missing; {EXPECTED}")))?;
    let id = fields
        .text(&["id", "issueid"])
        .ok_or_else(|| Failure::shape(format!("`id`, the issue's, is missing; {EXPECTED}")))?;
    let trigger = fields.text(&["trigger", "triggerevent"]).unwrap_or_default();
    let priority = fields.text(&["priority", "severity"]);
    let state = state.to_ascii_uppercase();
    let grade = match (state.as_str(), trigger.as_ref()) {
        ("CLOSED" | "DEACTIVATED" | "RESOLVED", _) => Grade::Recovered,
        ("ACKNOWLEDGED", _) | (_, "USER_ACTION" | "ISSUE_ACKNOWLEDGED") => Grade::Acknowledged,
        _ => graded(priority.as_deref()),
    };
    let over = grade == Grade::Recovered;
    let mut draft = Draft::new(grade);
    draft.key = Some(id.into_owned());
    let entities = fields.texts(&["impactedentities", "entitiesdatanames", "entities"]);
    draft.host = entities.first().map(|name| name.clone().into_owned());
    let mut entities: Vec<&str> = entities.iter().map(AsRef::as_ref).collect();
    entities.sort_unstable();
    entities.dedup();
    let conditions = fields.texts(&["alertconditionnames", "conditionname", "conditions"]);
    let title = fields.text(&["title"]);
    let title = title.or_else(|| fields.text(&["annotationstitle"]));
    draft.check = conditions.first().cloned().or_else(|| title.clone()).map(Cow::into_owned);
    let closed = || times::value(fields.get(&["closedat"]), payload).filter(|_| over);
    draft.at = closed()
        .or_else(|| times::value(fields.get(&["updatedat"]), payload))
        .or_else(|| times::value(fields.get(&["activatedat", "createdat"]), payload));
    let more = fields.text(&["description", "annotationsdescription"]);
    draft.description = match (title, more) {
        (Some(title), Some(more)) if more != title => format!("{title}: {more}"),
        (title, more) => title.or(more).map(Cow::into_owned).unwrap_or_default(),
    };
    for (name, value) in ["tags", "accumulations.tag", "labels"]
        .iter()
        .filter_map(|path| json::object(object, path))
        .flatten()
    {
        named(&mut draft, name, value);
    }
    draft.tag_list("entities", entities.iter().copied());
    draft.tag_list("condition", conditions.iter().map(AsRef::as_ref));
    let policies = fields.texts(&["alertpolicynames", "policyname"]);
    draft.tag_list("policy", policies.iter().map(AsRef::as_ref));
    draft.tag("workflow", fields.text(&["workflowname"]).as_deref());
    draft.tag("account", fields.text(&["accountname", "accountid", "account"]).as_deref());
    draft.tag("priority", priority.as_deref());
    draft.link("issue", fields.text(&["issueurl", "issuepageurl"]).as_deref());
    draft.link("acknowledge", fields.text(&["issueackurl"]).as_deref());
    draft.link("close", fields.text(&["issuecloseurl"]).as_deref());
    draft.link("runbook", fields.text(&["runbookurl", "runbook"]).as_deref());
    draft.link("chart", fields.text(&["violationcharturl", "charturl"]).as_deref());
    Ok(draft.into())
}

fn incident(
    object: &json::Object,
    fields: &Loose<'_>,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let state = fields
        .text(&["currentstate"])
        .ok_or_else(|| Failure::shape(format!("`current_state` is missing; {EXPECTED}")))?;
    let id = fields.text(&["incidentid"]);
    if state.eq_ignore_ascii_case("test") || id.as_deref() == Some("0") {
        return Ok(Found::Nothing("New Relic's test of a notification channel".to_owned()));
    }
    let id = id.ok_or_else(|| Failure::shape(format!("`incident_id` is missing; {EXPECTED}")))?;
    let severity = fields.text(&["severity", "priority"]);
    let mut draft = Draft::new(match state.to_ascii_lowercase().as_str() {
        "closed" | "resolved" => Grade::Recovered,
        "acknowledged" => Grade::Acknowledged,
        _ => graded(severity.as_deref()),
    });
    let account = fields.text(&["accountid"]).unwrap_or(Cow::Borrowed("account"));
    draft.key = Some(format!("{account}|{id}"));
    // A form has the list in a text.
    let inner: Vec<Value> = match object.get("targets") {
        Some(Value::Array(list)) => list.clone(),
        Some(Value::String(text)) if json::depth(text.as_bytes()) <= payload.depth => {
            serde_json::from_str(text).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let targets: Vec<&json::Object> = inner.iter().filter_map(Value::as_object).collect();
    draft.host = targets.iter().find_map(|target| json::text(target, "name")).map(Into::into);
    let condition = fields.text(&["conditionname"]);
    draft.check = condition.clone().or_else(|| fields.text(&["policyname"])).map(Into::into);
    draft.at = times::value(fields.get(&["timestamp"]), payload);
    draft.description = fields.text(&["details"]).or(condition).map(Into::into).unwrap_or_default();
    if let Some(target) = targets.first() {
        for (name, value) in json::object(target, "labels").into_iter().flatten() {
            named(&mut draft, name, value);
        }
        draft.tag("target_type", json::text(target, "type").as_deref());
        draft.tag("product", json::text(target, "product").as_deref());
        draft.link("target", json::text(target, "link").as_deref());
    }
    let mut names: Vec<Cow<'_, str>> =
        targets.iter().filter_map(|target| json::text(target, "name")).collect();
    names.sort_unstable();
    names.dedup();
    draft.tag_list("entities", names.iter().map(AsRef::as_ref));
    draft.tag("condition", fields.text(&["conditionname"]).as_deref());
    draft.tag("policy", fields.text(&["policyname"]).as_deref());
    draft.tag("account", fields.text(&["accountname", "accountid"]).as_deref());
    draft.link("issue", fields.text(&["incidenturl"]).as_deref());
    draft.link("acknowledge", fields.text(&["incidentacknowledgeurl"]).as_deref());
    draft.link("runbook", fields.text(&["runbookurl"]).as_deref());
    draft.link("chart", fields.text(&["violationcharturl"]).as_deref());
    Ok(draft.into())
}

fn graded(word: Option<&str>) -> Grade {
    word.map_or_else(|| Grade::problem("no priority", Status::Unknown), Grade::word)
}

/// A tag of one value or several; in what order several come changes nothing.
fn named(draft: &mut Draft, name: &str, value: &Value) {
    let mut values: Vec<Cow<'_, str>> = match value {
        Value::Array(list) => list.iter().filter_map(json::scalar).collect(),
        value => json::scalar(value).into_iter().collect(),
    };
    values.sort_unstable();
    values.dedup();
    match values.as_slice() {
        [] => {}
        [one] => draft.tags.push((name.to_owned(), Tag::One(one.clone().into_owned()))),
        _ => draft.tag_list(name, values.iter().map(AsRef::as_ref)),
    }
}
