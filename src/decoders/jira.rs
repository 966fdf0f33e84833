//! Issues of Jira and Jira Service Management: webhooks, issues as automation rules send them, and the
//! form of a "report an incident" button (`{summary, description, reporter, service, priority}`).
//!
//! Identity: the issue's id, which stays when the issue moves to another project; of the form, service
//! and summary. An issue whose status is of the category "done", and one that was deleted, resolves;
//! one that was just put in progress is acknowledged; any other is a problem. Severity by priority:
//! Blocker, Highest, Critical, High, P1, P2 critical; Medium, Major, Moderate, P3 warning; Low, Lowest,
//! Minor, Trivial, P4, P5 info.
//!
//! Host: a label `host:NAME` or `host=NAME`, else the first component, else the project. Check: the
//! summary. Traps: times are milliseconds; the description is text or Atlassian's document format;
//! comments, worklogs, sprints and users come to the same address and are nothing. The form never says
//! that it is over and expires after a day, unless its `status` says so.

use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, draft, json, times};
use crate::model::{Span, Status};

/// Jira.
pub(super) const DECODER: Decoder = Decoder {
    name: "jira",
    aliases: &["jsm", "jira_service_management", "jira_software"],
    class: Class::Key,
    expire_after: None,
    decode,
};

/// How long what was reported by the form lives.
const FORM: Span = Span::from_secs(86_400);

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::each(payload, found, |object| one(object, payload))
}

fn one(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let event = json::text(object, "webhookEvent").unwrap_or_default();
    if !event.is_empty() && !event.contains("issue_") {
        return Ok(Found::Nothing(format!("Jira's {event}")));
    }
    if event.contains("issuelink") || event.contains("issue_property") {
        return Ok(Found::Nothing(format!("Jira's {event}")));
    }
    if let Some(issue) = json::object(object, "issue") {
        return issue_of(issue, object, payload);
    }
    if object.contains_key("fields") && (object.contains_key("key") || object.contains_key("id")) {
        return issue_of(object, object, payload);
    }
    if object.contains_key("summary") {
        return Ok(form(object, payload).into());
    }
    Err(Failure::shape(
        "expected a webhook of Jira (`webhookEvent`, `issue`), an issue (`key`, `fields`) or a report \
         with a `summary`",
    ))
}

fn severity(word: &str) -> Grade {
    let usual = match word.trim().to_ascii_lowercase().as_str() {
        "blocker" | "highest" | "urgent" => Status::Critical,
        "moderate" | "normal" => Status::Warning,
        "lowest" | "minor" | "trivial" => Status::Info,
        _ => return Grade::word(word),
    };
    Grade::problem(word, usual)
}

fn issue_of(
    issue: &json::Object,
    outer: &json::Object,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    let id = json::first(issue, &["id", "key"])
        .ok_or_else(|| Failure::shape("the issue has neither `id` nor `key`"))?;
    let empty = json::Object::new();
    let fields = json::object(issue, "fields").unwrap_or(&empty);
    let event = json::text(outer, "webhookEvent").unwrap_or_default();
    let category = json::text(fields, "status.statusCategory.key")
        .or_else(|| json::text(fields, "status.statusCategory.name"))
        .unwrap_or_default()
        .to_ascii_lowercase();
    // Old servers send no category.
    let resolved = category.is_empty() && fields.get("resolution").is_some_and(Value::is_object);
    let over = event.ends_with("issue_deleted") || category == "done" || resolved;
    let grade = if over {
        Grade::Recovered
    } else if category == "indeterminate" && moved(outer) {
        Grade::Acknowledged
    } else {
        match json::text(fields, "priority.name").or_else(|| json::text(fields, "priority")) {
            Some(word) => severity(&word),
            None => Grade::problem("no priority", Status::Unknown),
        }
    };
    let mut draft = Draft::new(grade);
    draft.key = Some(id.into_owned());
    draft.at = times::value(outer.get("timestamp"), payload)
        .or_else(|| times::value(fields.get("updated"), payload))
        .or_else(|| times::value(fields.get("created"), payload));
    let key = json::text(issue, "key");
    let summary = json::text(fields, "summary");
    draft.check = summary.or_else(|| key.clone()).map(Into::into);
    let project = json::text(fields, "project.key")
        .map(std::borrow::Cow::into_owned)
        .or_else(|| Some(key.as_deref()?.rsplit_once('-')?.0.to_owned()));
    let labels = || json::list(fields, "labels").iter().filter_map(Value::as_str);
    let labelled = labels()
        .find_map(|label| label.strip_prefix("host:").or_else(|| label.strip_prefix("host=")));
    let components: Vec<_> = json::list(fields, "components")
        .iter()
        .filter_map(Value::as_object)
        .filter_map(|component| json::text(component, "name"))
        .collect();
    draft.host = labelled
        .and_then(super::macros::present)
        .map(str::to_owned)
        .or_else(|| components.first().map(|name| name.clone().into_owned()))
        .or_else(|| project.clone());
    draft.description = fields.get("description").map(document).unwrap_or_default();
    draft.tag("issue", key.as_deref());
    draft.tag("project", project.as_deref());
    draft.tag("issue_type", json::text(fields, "issuetype.name").as_deref());
    draft.tag(
        "reporter",
        json::first(fields, &["reporter.displayName", "reporter.name"]).as_deref(),
    );
    draft.tag_list("labels", labels());
    draft.tag_list("component", components.iter().map(AsRef::as_ref));
    let address = json::text(issue, "self").unwrap_or_default();
    if let (Some((site, _)), Some(key)) = (address.split_once("/rest/"), &key) {
        draft.link("issue", format!("{site}/browse/{key}").as_str());
    }
    Ok(draft.into())
}

/// Whether this very change was one of the status.
fn moved(outer: &json::Object) -> bool {
    json::list(outer, "changelog.items")
        .iter()
        .filter_map(Value::as_object)
        .any(|item| json::text(item, "field").as_deref() == Some("status"))
}

/// The text of a description: as it stands, or that of Atlassian's document format.
fn document(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let mut text = String::new();
    let mut left = vec![value];
    while let Some(node) = left.pop() {
        let Some(node) = node.as_object() else { continue };
        match json::text(node, "type").as_deref() {
            Some("hardBreak") => text.push('\n'),
            Some("paragraph" | "heading" | "listItem" | "codeBlock") if !text.is_empty() => {
                text.push('\n');
            }
            _ => {}
        }
        // Blanks around a piece of a sentence belong to it.
        text.push_str(node.get("text").and_then(Value::as_str).unwrap_or_default());
        left.extend(json::list(node, "content").iter().rev());
    }
    text
}

/// What somebody reported by a button.
fn form(object: &json::Object, payload: &Payload<'_>) -> Draft {
    let status = json::text(object, "status").unwrap_or_default().to_ascii_lowercase();
    let over =
        ["resolved", "done", "closed", "ok", "cancelled", "canceled"].contains(&status.as_str());
    let mut draft = Draft::new(match json::text(object, "priority") {
        _ if over => Grade::Recovered,
        Some(word) => severity(&word),
        None => Grade::problem("no priority", Status::Unknown),
    });
    let summary = json::text(object, "summary").unwrap_or_default();
    let service = json::first(object, &["service", "host", "component", "project"]);
    let own = json::first(object, &["key", "id"]);
    draft.key = Some(match own {
        Some(own) => own.into_owned(),
        None => draft::key([service.as_deref().unwrap_or_default(), summary.as_ref()]),
    });
    draft.tag("service", service.as_deref());
    draft.host = service.map(Into::into);
    draft.check = Some(summary.into_owned()).filter(|summary| !summary.is_empty());
    draft.description = object.get("description").map(document).unwrap_or_default();
    let at = ["timestamp", "created"].iter().find_map(|name| object.get(*name));
    draft.at = times::value(at, payload);
    if !over {
        draft.expires_at = Some(payload.arrival + FORM);
    }
    let read = [
        "summary",
        "description",
        "service",
        "priority",
        "status",
        "timestamp",
        "created",
        "key",
        "id",
    ];
    json::tags(&mut draft, object, &read);
    draft
}
