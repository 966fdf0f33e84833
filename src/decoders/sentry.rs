//! Webhooks of Sentry's internal integrations: issues, issue alerts and metric alerts.
//!
//! Which of them it is says the header `Sentry-Hook-Resource`; where that is missing (a file, a queue
//! of bodies) the body's `data` does: `issue`, `event`, `metric_alert`.
//!
//! Identity: the issue's id, for the issue's own webhooks and for issue alerts alike, so that the
//! issue's `resolved` ends what an alert began; the rule's id for metric alerts, which stays from one
//! incident to the next. Severity: fatal and error critical, warning warning, info and debug info; the
//! action of metric alerts. `resolved` resolves; `archived` (once `ignored`) is acknowledged: the fault
//! is there, and somebody said that it may.
//!
//! Host: the project (issues are of many machines). Tags of an event that are its user's or machine's
//! (`user`, `url`, `browser`, …) differ from one event of an issue to the next and are left out.
//!
//! Traps: issue alerts know no recovery, and most issues are never resolved, so both expire a day
//! after the last word; times in the body are of the issue's events, so the header
//! `Sentry-Hook-Timestamp` counts where somebody acted; Sentry waits 1 s for the answer and does not
//! ask again.

use std::borrow::Cow;

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, When, json, times};
use crate::model::{Span, Status};

/// Sentry.
pub(super) const DECODER: Decoder = Decoder {
    name: "sentry",
    aliases: &["sentry_io"],
    class: Class::Key,
    expire_after: None,
    decode,
};

/// How long an issue lives without a further word.
const ISSUE: Span = Span::from_secs(86_400);

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| one(object, payload))
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let said = payload.header("sentry-hook-resource").map(str::to_ascii_lowercase);
    let guess = [
        ("metric_alert", "metric_alert"),
        ("event", "event_alert"),
        ("issue", "issue"),
        ("installation", "installation"),
        ("error", "error"),
        ("comment", "comment"),
        ("seer", "seer"),
    ];
    let data = json::object(object, "data");
    let guess = guess.iter().find(|(field, _)| data.is_some_and(|data| data.contains_key(*field)));
    let kind = said.as_deref().or(guess.map(|(_, kind)| *kind));
    let action = json::text(object, "action").unwrap_or_default();
    match (kind, data) {
        (Some("issue"), Some(data)) => issue(data, &action, payload),
        (Some("event_alert"), Some(data)) => event(data, payload),
        (Some("metric_alert"), Some(data)) => metric(data, &action, payload),
        (Some(other @ ("installation" | "error" | "comment" | "seer")), _) => {
            Ok(Found::Nothing(format!("Sentry's {other} {action}, no alert").replace("  ", " ")))
        }
        (Some(other), Some(_)) if said.is_some() => {
            Ok(Found::Nothing(format!("Sentry's {other} {action}, no alert").replace("  ", " ")))
        }
        _ => Err(Failure::shape(
            "expected a webhook of Sentry: `action` and `data` with `issue`, `event` or \
             `metric_alert`",
        )),
    }
}

/// When somebody acted.
fn acted(payload: &Payload<'_>) -> Option<When> {
    payload.header("sentry-hook-timestamp").and_then(|text| times::text(text, payload))
}

fn issue(data: &json::Object, action: &str, payload: &Payload<'_>) -> Result<Found, Failure> {
    let issue = json::object(data, "issue")
        .ok_or_else(|| Failure::shape("`data.issue` is missing; expected a webhook of an issue"))?;
    let id = json::text(issue, "id")
        .ok_or_else(|| Failure::shape("`data.issue.id` is missing; nothing else tells it apart"))?;
    let status = json::text(issue, "status").unwrap_or_default();
    let level = json::text(issue, "level").unwrap_or(Cow::Borrowed("error"));
    let grade = match action {
        "resolved" => Grade::Recovered,
        "archived" | "ignored" => Grade::Acknowledged,
        "created" | "unresolved" | "escalating" | "regressed" => self::level(&level),
        "assigned" | "unassigned" => {
            return Ok(Found::Nothing(format!("an issue of Sentry was {action}")));
        }
        // No word of what happened: what it is now.
        _ => match status.as_ref() {
            "resolved" => Grade::Recovered,
            "ignored" | "archived" => Grade::Acknowledged,
            _ => self::level(&level),
        },
    };
    let seen =
        if action == "created" { times::value(issue.get("lastSeen"), payload) } else { None };
    let over = grade.is_bare();
    let mut draft = Draft::new(grade);
    draft.key = Some(format!("issue:{id}"));
    draft.at = seen.or_else(|| acted(payload));
    if !over {
        draft.expires_at = Some(payload.arrival + ISSUE);
    }
    let title = json::first(issue, &["title", "metadata.title", "metadata.type", "shortId"]);
    draft.description = described(title.as_deref(), json::text(issue, "culprit").as_deref());
    draft.check = title.map(Into::into);
    draft.host = json::first(issue, &["project.slug", "project.name"]).map(Into::into);
    draft.tag("project", json::text(issue, "project.slug").as_deref());
    draft.tag("issue", json::text(issue, "shortId").as_deref());
    draft.tag("level", Some(level.as_ref()));
    draft.tag("platform", json::text(issue, "platform").as_deref());
    draft.tag("category", json::text(issue, "issueCategory").as_deref());
    draft.link("issue", json::first(issue, &["web_url", "permalink"]).as_deref());
    Ok(draft.into())
}

fn described(title: Option<&str>, culprit: Option<&str>) -> String {
    match (title, culprit) {
        (Some(title), Some(culprit)) => format!("{title} in {culprit}"),
        (title, culprit) => title.or(culprit).unwrap_or_default().to_owned(),
    }
}

fn level(word: &str) -> Grade {
    // `sample` is what Sentry calls the level of examples.
    if word == "sample" { Grade::problem(word, Status::Info) } else { Grade::word(word) }
}

fn event(data: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let event = json::object(data, "event")
        .ok_or_else(|| Failure::shape("`data.event` is missing; expected an issue alert"))?;
    let issue = json::first(event, &["issue_id", "issue.id", "groupID"]).ok_or_else(|| {
        Failure::shape("`data.event.issue_id` is missing; nothing else tells it apart")
    })?;
    let level = json::text(event, "level").unwrap_or(Cow::Borrowed("error"));
    let mut draft = Draft::new(self::level(&level));
    draft.key = Some(format!("issue:{issue}"));
    draft.id = json::text(event, "event_id").map(Into::into);
    draft.at = times::value(event.get("datetime"), payload)
        .or_else(|| times::value(event.get("timestamp"), payload));
    draft.expires_at = Some(payload.arrival + ISSUE);
    let title = json::first(event, &["title", "metadata.title", "message", "issue_id"]);
    draft.description = described(title.as_deref(), json::text(event, "culprit").as_deref());
    draft.check = title.map(Into::into);
    let url = json::text(event, "url").unwrap_or_default();
    let project = json::first(event, &["project_slug", "project_name"])
        .or_else(|| project_in(&url).map(Cow::Borrowed))
        .or_else(|| json::text(event, "project"));
    draft.tag("project", project.as_deref());
    draft.host = project.map(Into::into);
    draft.tag("level", Some(level.as_ref()));
    draft.tag("platform", json::text(event, "platform").as_deref());
    draft.tag("rule", json::text(data, "triggered_rule").as_deref());
    for pair in json::list(event, "tags") {
        let (name, value) = match pair {
            Value::Array(pair) => (pair.first(), pair.get(1)),
            Value::Object(pair) => (pair.get("key"), pair.get("value")),
            _ => (None, None),
        };
        if let (Some(name), Some(value)) = (name.and_then(json::scalar), value)
            && !varies(&name)
        {
            json::tag(&mut draft, &name, value);
        }
    }
    draft.link("event", json::text(event, "web_url").as_deref());
    Ok(draft.into())
}

/// `shop` in `https://sentry.io/api/0/projects/acme/shop/events/…/`.
fn project_in(url: &str) -> Option<&str> {
    url.split_once("/projects/")?.1.split('/').nth(1).filter(|slug| !slug.is_empty())
}

/// Whether a tag differs from one event of an issue to the next.
fn varies(name: &str) -> bool {
    let first = name.split(['.', ':']).next().unwrap_or_default();
    matches!(
        first,
        "browser"
            | "client_os"
            | "device"
            | "handled"
            | "level"
            | "mechanism"
            | "os"
            | "referer"
            | "referrer"
            | "replayId"
            | "replay_id"
            | "runtime"
            | "sentry"
            | "span"
            | "trace"
            | "transaction"
            | "url"
            | "user"
    )
}

fn metric(data: &json::Object, action: &str, payload: &Payload<'_>) -> Result<Found, Failure> {
    let incident = json::object(data, "metric_alert")
        .ok_or_else(|| Failure::shape("`data.metric_alert` is missing; expected a metric alert"))?;
    let grade = match action {
        "resolved" => Grade::Recovered,
        "" => {
            return Err(Failure::shape(
                "`action` is missing; expected critical, warning or resolved",
            ));
        }
        word => Grade::word(word),
    };
    let over = grade.is_bare();
    let mut draft = Draft::new(grade);
    let rule = json::first(incident, &["alert_rule.id", "identifier", "id"]).ok_or_else(|| {
        Failure::shape("`data.metric_alert.alert_rule.id` is missing; nothing else tells it apart")
    })?;
    draft.key = Some(format!("metric:{rule}"));
    draft.id = json::first(incident, &["identifier", "id"]).map(Into::into);
    let ended = incident.get("date_closed").filter(|_| over);
    draft.at = acted(payload)
        .or_else(|| times::value(ended, payload))
        .or_else(|| times::value(incident.get("date_detected").filter(|_| !over), payload));
    let name = json::first(incident, &["alert_rule.name", "title"]);
    draft.check = name.or_else(|| json::text(data, "description_title")).map(Into::into);
    let projects: Vec<Cow<'_, str>> =
        [json::list(incident, "projects"), json::list(incident, "alert_rule.projects")]
            .into_iter()
            .find(|list| !list.is_empty())
            .unwrap_or_default()
            .iter()
            .filter_map(json::scalar)
            .collect();
    draft.host = projects.first().map(|project| project.clone().into_owned());
    let text = [json::text(data, "description_title"), json::text(data, "description_text")];
    let text: Vec<Cow<'_, str>> = text.into_iter().flatten().collect();
    draft.description = text.join("\n");
    draft.tag_list("project", projects.iter().map(AsRef::as_ref));
    let environment = json::first(incident, &["alert_rule.environment", "environment"]);
    draft.tag("environment", environment.as_deref());
    draft.tag("aggregate", json::text(incident, "alert_rule.aggregate").as_deref());
    draft.tag("query", json::text(incident, "alert_rule.query").as_deref());
    draft.tag("organization", json::text(incident, "organization_id").as_deref());
    draft.link("alert", json::text(data, "web_url").as_deref());
    Ok(draft.into())
}
