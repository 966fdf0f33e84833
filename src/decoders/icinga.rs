//! Icinga 2 and Icinga Notifications.
//!
//! Shapes, told apart by their fields:
//! - the API's event stream (`/v1/events`): JSON objects with a `type` such as `StateChange`, one a line
//!   or a post; and what `/v1/objects/services` and `…/hosts` answer, to begin with or after a gap;
//! - Icinga Notifications' events as they are posted to `/process-event` (`tags`, `severity`);
//! - the JSON of our notification command (`deploy/sources/icinga/muster.conf`), or any JSON object of
//!   its macros (`HOSTNAME`, `SERVICESTATE`, …);
//! - notification mails.
//!
//! Identity: host and service, the host alone for states of hosts. Severity of states: see
//! [`nagios_family`]; of Icinga Notifications `emerg` to `err` are critical, `warning` is warning, the
//! rest info, and `ok` is over. Soft states are marked as such. Times: the event's `timestamp`, of an
//! object its last change of state; seconds with fractions.
//!
//! Traps: a host that is down has the state 1 in an event and 2 (or 3) in its check result; that it is
//! unreachable stands only in `vars_after.reachable`; numbers may be written as `1.0`; passive results
//! have the exit status 0 with any state; a stream replays nothing after a disconnect.

use std::borrow::Cow;

use serde_json::Value;

use super::nagios_family::{self, Fields, Thing, Told};
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, mail, times};
use crate::model::Status;
use crate::stage::Reason;

/// Icinga.
pub(super) const DECODER: Decoder = Decoder {
    name: "icinga",
    aliases: &["icinga2", "icinga_notifications"],
    class: Class::State,
    expire_after: None,
    decode,
};

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let text = payload.text()?.trim_start();
    if text.is_empty() || text.starts_with(['{', '[', '"']) {
        return json::objects(payload, found, |object, found| one(object, payload, found));
    }
    let mail = mail::read(text);
    let fields = nagios_family::mail(mail.subject.as_deref(), &mail.body);
    let mut fields = fields.ok_or_else(|| {
        Failure::new(Reason::NotJson, "neither JSON of Icinga nor one of its notification mails")
    })?;
    if let Some(date) = mail.date.as_deref() {
        fields.add("longdatetime", Cow::Borrowed(date));
    }
    found.push(nagios_family::notification(&fields, payload)?);
    Ok(())
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    if let Some(list) = object.get("results").and_then(Value::as_array) {
        json::elements(list, payload, found, |value, found| {
            let result = value.as_object().and_then(|result| json::object(result, "attrs"));
            let attributes =
                result.ok_or_else(|| Failure::shape("a result without `attrs` of an object"))?;
            found.push(object_state(attributes, payload)?);
            Ok(())
        });
        return Ok(());
    }
    let kind = json::text(object, "type");
    if let Some(kind) = kind.as_deref()
        && let Some(one) = stream(kind, object, payload)?
    {
        found.push(one);
        return Ok(());
    }
    if object.contains_key("severity") && object.contains_key("tags")
        || kind.as_deref().is_some_and(|kind| kind.contains('-') && object.contains_key("tags"))
    {
        found.push(process_event(kind.as_deref(), object, payload)?);
        return Ok(());
    }
    found.push(nagios_family::notification(&Fields::of(object), payload)?);
    Ok(())
}

/// An event of the stream; none where its type is none of them.
fn stream(
    kind: &str,
    object: &json::Object,
    payload: &Payload<'_>,
) -> Result<Option<Found>, Failure> {
    let nothing = |why: &str| Ok(Some(Found::Nothing(why.to_owned())));
    match kind {
        "StateChange" | "CheckResult" | "Notification" | "AcknowledgementSet" => {}
        "AcknowledgementCleared" => return nothing("an acknowledgement was taken back"),
        "CommentAdded" | "CommentRemoved" => return nothing("a comment"),
        "Flapping" => return nothing("a notice of flapping"),
        "ObjectCreated" | "ObjectModified" | "ObjectDeleted" => {
            return nothing("a change of Icinga's configuration");
        }
        kind if kind.starts_with("Downtime") => return nothing("a notice of a downtime"),
        _ => return Ok(None),
    }
    let host = json::text(object, "host");
    let host = host.ok_or_else(|| Failure::shape(format!("a `{kind}` without `host`")))?;
    let check = json::text(object, "service");
    let thing = if check.is_some() { Thing::Service } else { Thing::Host };
    let after = |name: &str| json::at(object, &format!("check_result.vars_after.{name}"));
    let reachable = after("reachable").and_then(json::flag) != Some(false);
    let state =
        state(thing, object.get("state"), json::at(object, "check_result.state"), reachable);
    let word = match kind {
        "AcknowledgementSet" => Some(Cow::Borrowed("ACKNOWLEDGEMENT")),
        "Notification" => json::text(object, "notification_type"),
        _ => None,
    };
    let told = nagios_family::told(word.as_deref(), state, thing)
        .ok_or_else(|| Failure::shape(format!("a `{kind}` without a state")))?;
    let grade = match told {
        Told::Grade(grade) => grade,
        Told::Nothing(why) => return nothing(why),
    };
    let mut draft = Draft::new(grade);
    draft.host = Some(host.into_owned());
    draft.check = check.map(Cow::into_owned);
    draft.at = times::value(object.get("timestamp"), payload)
        .or_else(|| times::value(json::at(object, "check_result.execution_end"), payload));
    let soft = object.get("state_type").or_else(|| after("state_type"));
    // Icinga notifies of hard states only.
    draft.soft = kind != "Notification"
        && draft.grade != Grade::Acknowledged
        && soft.and_then(json::integer) == Some(0);
    let comment = json::first(object, &["comment", "text"]);
    let author = json::text(object, "author");
    draft.description = match (&draft.grade, author, comment) {
        (Grade::Acknowledged, Some(author), Some(comment)) => format!("{author}: {comment}"),
        (Grade::Acknowledged, None, Some(comment)) => comment.into_owned(),
        _ => {
            let output = json::text(object, "check_result.output");
            nagios_family::output(output.as_deref().unwrap_or_default())
        }
    };
    Ok(Some(draft.into()))
}

/// The word of a state: of the event's own, else of its check result's.
fn state(
    thing: Thing,
    own: Option<&Value>,
    result: Option<&Value>,
    reachable: bool,
) -> Option<&'static str> {
    let number = own.and_then(json::integer).or_else(|| result.and_then(json::integer));
    let own_is_known = own.and_then(json::integer).is_some();
    Some(match (thing, number?) {
        (Thing::Service, 0) => "OK",
        (Thing::Service, 1) => "WARNING",
        (Thing::Service, 2) => "CRITICAL",
        (Thing::Service, _) => "UNKNOWN",
        (Thing::Host, 0) => "UP",
        // A check result has the plugin's states, of which a host's first two are up.
        (Thing::Host, 1) if !own_is_known => "UP",
        (Thing::Host, _) if !reachable => "UNREACHABLE",
        (Thing::Host, _) => "DOWN",
    })
}

/// An object as the API has it.
fn object_state(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let service = json::text(object, "host_name").is_some();
    let thing = if service { Thing::Service } else { Thing::Host };
    let name = json::first(object, &["name", "__name"]);
    let host = if service { json::text(object, "host_name") } else { name.clone() };
    let host = host.ok_or_else(|| Failure::shape("an object without `name` or `host_name`"))?;
    if json::at(object, "last_check_result").is_some_and(Value::is_null) {
        return Ok(Found::Nothing("a state that is not known yet".to_owned()));
    }
    let reachable = json::at(object, "last_reachable").and_then(json::flag) != Some(false);
    let state = state(thing, object.get("state"), None, reachable);
    let told = nagios_family::told(None, state, thing)
        .ok_or_else(|| Failure::shape("an object without `state`"))?;
    let Told::Grade(grade) = told else {
        return Ok(Found::Nothing("a state that is not known yet".to_owned()));
    };
    let mut draft = Draft::new(grade);
    draft.host = Some(host.into_owned());
    draft.check = name.filter(|_| service).map(Cow::into_owned);
    draft.at = times::value(object.get("last_state_change"), payload);
    draft.soft = object.get("state_type").and_then(json::integer) == Some(0);
    let output = json::text(object, "last_check_result.output");
    draft.description = nagios_family::output(output.as_deref().unwrap_or_default());
    draft.link("notes", json::text(object, "notes_url").as_deref());
    draft.link("action", json::text(object, "action_url").as_deref());
    draft.tag("address", json::text(object, "address").as_deref());
    let groups = if service { "servicegroups" } else { "hostgroups" };
    draft.tag_list(groups, json::list(object, "groups").iter().filter_map(Value::as_str));
    draft.tag("zone", json::text(object, "zone").as_deref());
    for (name, value) in json::object(object, "vars").into_iter().flatten() {
        draft.tag(name, json::scalar(value).as_deref());
    }
    Ok(draft.into())
}

/// An event of Icinga Notifications.
fn process_event(
    kind: Option<&str>,
    object: &json::Object,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let severity = json::text(object, "severity");
    let grade = match kind.unwrap_or("state") {
        "state" | "" => match severity.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("ok") => Grade::Recovered,
            Some("none" | "") | None => {
                return Err(Failure::shape("an event without `severity`"));
            }
            Some("debug") => Grade::problem("debug", Status::Info),
            Some(word) => Grade::word(word),
        },
        "acknowledgement-set" => Grade::Acknowledged,
        kind => return Ok(Found::Nothing(format!("an event of the type {kind}"))),
    };
    let mut draft = Draft::new(grade);
    let name = json::text(object, "name");
    draft.host = json::first(object, &["tags.host", "relations.host.name", "extra_tags.host"])
        .map(Cow::into_owned);
    draft.check = json::text(object, "tags.service").map(Cow::into_owned);
    if draft.host.is_none() && draft.check.is_none() {
        let name = name.ok_or_else(|| Failure::shape("an event with neither `tags` nor `name`"))?;
        draft.check = Some(name.into_owned());
    }
    draft.at = times::value(object.get("timestamp").or_else(|| object.get("time")), payload);
    let text = json::first(object, &["message", "summary"]);
    let text = nagios_family::output(text.as_deref().unwrap_or_default());
    draft.description = match json::text(object, "username") {
        Some(user) if draft.grade == Grade::Acknowledged => format!("{user}: {text}"),
        _ => text,
    };
    draft.link("page", json::text(object, "url").as_deref());
    for tags in [json::object(object, "tags"), json::object(object, "extra_tags")] {
        for (name, value) in tags.into_iter().flatten() {
            if name != "host" && name != "service" {
                draft.tag(name, json::scalar(value).as_deref());
            }
        }
    }
    let names = |path: &str| -> Vec<Cow<'_, str>> {
        let list = json::list(object, path).iter().filter_map(Value::as_object);
        list.filter_map(|group| json::text(group, "name")).collect()
    };
    for groups in ["hostgroups", "servicegroups"] {
        let names = names(&format!("relations.{groups}"));
        draft.tag_list(groups, names.iter().map(AsRef::as_ref));
    }
    for vars in ["relations.host.vars", "relations.services.0.vars"] {
        for (name, value) in json::object(object, vars).into_iter().flatten() {
            draft.tag(name, json::scalar(value).as_deref());
        }
    }
    Ok(draft.into())
}
