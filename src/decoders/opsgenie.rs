//! Opsgenie's Alert API and that of its successor in Jira Service Management, for whatever can send to
//! them; and their outgoing webhooks.
//!
//! A body that creates an alert says so by itself. What closes, acknowledges or annotates one says in
//! its address which alert and what: our HTTP layer takes both from `/v2/alerts/{alias}/{action}` and
//! hands them over in two headers.
//! - `muster-alias`: the alert's identifier in the address. It also stands in for a missing `alias` of
//!   a body that creates (the id that the HTTP layer makes up and returns).
//! - `muster-action`: `create` (as without it), `close` (also `delete`), `acknowledge`; any other
//!   (`notes`, `snooze`, `unacknowledge`, `assign`, `tags`, …) changes nothing here. The body may be
//!   empty then.
//!
//! An outgoing webhook has both inside: `action` (Create, Close, Acknowledge, …) and `alert`.
//!
//! Identity: the alias; without one, host and check. Severity: P1 and P2 critical, P3 (also where none
//! is given) warning, P4 and P5 info. Recovery is an action,
//! `close` or `delete`. Times: a webhook's `updatedAt`, else `createdAt`; the API has none. Host: `entity`, else a host in the details. Check: an alert's
//! name in the details, else the message. Tags: the details; `tags` as a list; source, teams.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, draft, json, times};
use crate::model::Status;

/// Opsgenie.
pub(super) const DECODER: Decoder = Decoder {
    name: "opsgenie",
    aliases: &["jsm_ops", "ops_genie", "jsm_operations"],
    class: Class::Key,
    expire_after: None,
    decode,
};

/// What is done to an alert.
enum Action {
    Create,
    Close,
    Acknowledge,
    Other,
}

impl Action {
    fn of(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "create" => Self::Create,
            "close" | "delete" => Self::Close,
            "acknowledge" | "ack" => Self::Acknowledge,
            _ => Self::Other,
        }
    }
}

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    match payload.header("muster-action") {
        Some(word) if !matches!(Action::of(word), Action::Create) => {
            acted(word, payload).map(|one| found.push(one))
        }
        _ => json::each(payload, found, |object| one(object, payload)),
    }
}

/// What the address says.
fn acted(word: &str, payload: &Payload<'_>) -> Result<Found, Failure> {
    let grade = match Action::of(word) {
        Action::Close => Grade::Recovered,
        Action::Acknowledge => Grade::Acknowledged,
        Action::Create | Action::Other => {
            return Ok(Found::Nothing(format!("{word} of an alert of Opsgenie")));
        }
    };
    let alias = payload.header("muster-alias").ok_or_else(|| {
        Failure::shape(format!("header `muster-alias` is missing; expected which alert to {word}"))
    })?;
    let mut draft = Draft::new(grade);
    draft.key = Some(alias.to_owned());
    if let Ok(body) = json::value(payload)
        && let Some(body) = body.as_object()
    {
        draft.description = note(body);
    }
    Ok(draft.into())
}

/// Who did it, and what they said to it.
fn note(body: &json::Object) -> String {
    match (json::text(body, "user"), json::text(body, "note")) {
        (Some(user), Some(note)) => format!("{user}: {note}"),
        (user, note) => note.or(user).map(Into::into).unwrap_or_default(),
    }
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let outgoing = json::object(object, "alert").zip(json::text(object, "action"));
    let Some((alert, word)) = outgoing else {
        if !object.contains_key("message") {
            return Err(Failure::shape(
                "`message` is missing; expected a body that creates an alert, or a webhook with \
                 `action` and `alert`",
            ));
        }
        return Ok(created(object, payload).into());
    };
    let grade = match Action::of(&word) {
        Action::Create => return Ok(created(alert, payload).into()),
        Action::Close => Grade::Recovered,
        Action::Acknowledge => Grade::Acknowledged,
        Action::Other => {
            return Ok(Found::Nothing(format!("{word} of an alert of Opsgenie")));
        }
    };
    let key = json::first(alert, &["alias", "alertId"]).ok_or_else(|| {
        Failure::shape(format!("`alert.alias` is missing; expected which alert to {word}"))
    })?;
    let mut draft = created(alert, payload);
    draft.grade = grade;
    draft.key = Some(key.into_owned());
    let said = note(alert);
    if !said.is_empty() {
        draft.description = said;
    }
    Ok(draft.into())
}

fn created(alert: &json::Object, payload: &Payload<'_>) -> Draft {
    let word = json::text(alert, "priority").unwrap_or(Cow::Borrowed("P3"));
    let usual = match word.to_ascii_uppercase().as_str() {
        "P1" | "P2" => Status::Critical,
        "P3" => Status::Warning,
        "P4" | "P5" => Status::Info,
        _ => Status::Unknown,
    };
    let mut draft = Draft::new(Grade::problem(word, usual));
    let alias = json::text(alert, "alias")
        .or_else(|| payload.header("muster-alias").map(Cow::Borrowed))
        .or_else(|| json::text(alert, "alertId"));
    draft.key = alias.map(Into::into);
    let empty = json::Object::new();
    let details = json::object(alert, "details").unwrap_or(&empty);
    draft.host = json::text(alert, "entity")
        .or_else(|| json::first(details, &["host", "hostname", "Host", "Hostname", "instance"]))
        .map(Into::into);
    let message = json::text(alert, "message").unwrap_or_default();
    let title = Some(draft::plain_title(&message)).filter(|title| !title.is_empty());
    draft.check = json::first(details, &["check", "alertname", "service"])
        .map(Into::into)
        .or_else(|| title.map(str::to_owned));
    // Only outgoing webhooks have a time.
    draft.at = times::value(alert.get("updatedAt").or_else(|| alert.get("createdAt")), payload);
    let description = json::text(alert, "description").unwrap_or_default();
    draft.link_within("link", &description);
    draft.description = format!("{message}\n{description}").trim().to_owned();
    json::tags(&mut draft, details, &[]);
    draft.tag_list("tags", json::list(alert, "tags").iter().filter_map(Value::as_str));
    draft.tag("source", json::text(alert, "source").as_deref());
    let responders = json::list(alert, "responders").iter().chain(json::list(alert, "teams"));
    let teams: Vec<Cow<'_, str>> = responders
        .filter_map(|responder| match responder {
            Value::Object(responder) => json::first(responder, &["name", "username", "id"]),
            other => json::scalar(other),
        })
        .collect();
    draft.tag_list("team", teams.iter().map(AsRef::as_ref));
    draft
}
