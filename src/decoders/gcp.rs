//! Incidents of Google Cloud Monitoring: webhooks of versions 1.1 and 1.2, and the same in the
//! wrapper of a Pub/Sub push (base64 in `message.data`).
//!
//! Identity: the condition of the policy and the time series (labels of resource and metric), which
//! stay from one incident to the next; `incident_id` names one episode, is the event's id, and the
//! identity only where nothing else is said. Severity: Critical and Error critical, Warning warning,
//! none unknown. `closed` resolves.
//!
//! Host: the resource's label that names the thing (`pod_name`, `host`, `instance_name`, …), else the
//! machine's name in the metadata, else the resource's own name.
//!
//! Traps: the test message has version `test` and a state in capitals, and is nothing; times are
//! seconds, `ended_at` null while open; a policy that is edited closes its incidents, with a sentence
//! for `observed_value`.

use base64::Engine as _;
use serde_json::Value;

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, draft, json, times};
use crate::model::Status;

/// Google Cloud Monitoring.
pub(super) const DECODER: Decoder = Decoder {
    name: "gcp",
    aliases: &["google", "stackdriver", "google_cloud", "google_cloud_monitoring"],
    class: Class::Key,
    expire_after: None,
    decode,
};

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    json::objects(payload, found, |object, found| one(object, payload, found))
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    if object.contains_key("incident") {
        return incident(object, payload, found);
    }
    // A push has `message`; what was pulled may be the message alone.
    let message = json::object(object, "message").unwrap_or(object);
    let Some(data) = json::text(message, "data") else {
        return Err(Failure::shape(
            "expected `incident` of Google Cloud Monitoring, or a Pub/Sub `message` with `data`",
        ));
    };
    let inner = inner(&data)
        .and_then(|text| json::within(&text, payload.depth))
        .ok_or_else(|| Failure::shape("`message.data` is not base64 of a JSON object"))?;
    if inner.contains_key("incident") {
        return incident(&inner, payload, found);
    }
    found.push(Found::Nothing("a Pub/Sub message that holds no incident".to_owned()));
    Ok(())
}

fn inner(data: &str) -> Option<String> {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let bytes = STANDARD.decode(data).or_else(|_| URL_SAFE.decode(data)).ok()?;
    String::from_utf8(bytes).ok()
}

fn incident(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let incident = json::object(object, "incident")
        .ok_or_else(|| Failure::shape("`incident` is not an object"))?;
    if json::text(object, "version").is_some_and(|version| version.eq_ignore_ascii_case("test")) {
        found.push(Found::Nothing("Google Cloud Monitoring's test message".to_owned()));
        return Ok(());
    }
    let state = json::text(incident, "state")
        .ok_or_else(|| Failure::shape("`incident.state` is missing; expected open or closed"))?;
    let over = state.eq_ignore_ascii_case("closed") || state.eq_ignore_ascii_case("resolved");
    let mut draft = Draft::new(if over {
        Grade::Recovered
    } else {
        match json::text(incident, "severity") {
            Some(word) => Grade::word(&word),
            None => Grade::problem("No severity", Status::Unknown),
        }
    });
    draft.key = key(incident);
    draft.id = json::text(incident, "incident_id").map(Into::into);
    draft.host = host(incident);
    draft.check = check(incident);
    draft.at = if over {
        times::value(incident.get("ended_at"), payload)
    } else {
        times::value(incident.get("started_at"), payload)
    };
    describe(&mut draft, incident);
    tags(&mut draft, incident);
    draft.link("incident", json::text(incident, "url").as_deref());
    for link in json::list(incident, "documentation.links").iter().filter_map(Value::as_object) {
        let name = json::text(link, "display_name").or_else(|| json::text(link, "displayName"));
        draft.link(name.as_deref().unwrap_or("link"), json::text(link, "url").as_deref());
    }
    found.push(draft.into());
    Ok(())
}

/// Condition and time series.
fn key(incident: &json::Object) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let condition = json::text(incident, "condition.name");
    let named = [json::text(incident, "policy_name"), json::text(incident, "condition_name")];
    match condition {
        Some(condition) => parts.push(condition.into_owned()),
        None => {
            let project =
                json::first(incident, &["scoping_project_id", "resource.labels.project_id"]);
            let named = [project].into_iter().chain(named).flatten();
            parts.extend(named.map(std::borrow::Cow::into_owned));
        }
    }
    let rule = parts.len();
    for outer in ["resource", "metric"] {
        parts.extend(json::text(incident, &format!("{outer}.type")).map(Into::into));
        if let Some(labels) = json::object(incident, &format!("{outer}.labels")) {
            let mut labels: Vec<String> = labels
                .iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", json::scalar(value)?)))
                .collect();
            labels.sort_unstable();
            parts.extend(labels);
        }
    }
    if parts.len() == rule {
        parts.extend(json::first(incident, &["resource_id", "resource_name"]).map(Into::into));
    }
    // A rule without a series may have several incidents at a time; a series without a rule, too.
    if rule == 0 || parts.len() == rule {
        return json::text(incident, "incident_id").map(Into::into);
    }
    Some(draft::key(parts))
}

fn host(incident: &json::Object) -> Option<String> {
    let labels = [
        "pod_name",
        "host",
        "instance_name",
        "node_name",
        "database_id",
        "function_name",
        "service_name",
        "job_name",
        "queue_id",
        "subscription_id",
        "topic_id",
        "bucket_name",
        "load_balancer_name",
        "url_map_name",
    ];
    let label = |name: &&str| json::text(incident, &format!("resource.labels.{name}"));
    labels
        .iter()
        .find_map(label)
        .or_else(|| json::text(incident, "metadata.system_labels.name"))
        .or_else(|| json::text(incident, "resource_display_name"))
        .or_else(|| json::text(incident, "resource.labels.instance_id"))
        .or_else(|| json::text(incident, "resource.labels.cluster_name"))
        .or_else(|| json::text(incident, "resource_name"))
        .or_else(|| json::text(incident, "resource_id"))
        .map(Into::into)
}

fn check(incident: &json::Object) -> Option<String> {
    let policy = json::text(incident, "policy_name");
    let condition = json::first(incident, &["condition_name", "condition.displayName"]);
    match (policy, condition) {
        (Some(policy), Some(condition)) if policy != condition => {
            Some(format!("{policy}: {condition}"))
        }
        (policy, condition) => policy.or(condition).map(Into::into),
    }
}

fn describe(draft: &mut Draft, incident: &json::Object) {
    let summary = json::text(incident, "summary").unwrap_or_default();
    let mut text = summary.into_owned();
    if let Some(documentation) = json::text(incident, "documentation.content") {
        draft.link_within("runbook", &documentation);
        text = format!("{text}\n{documentation}");
    } else if let Some(documentation) = json::text(incident, "documentation") {
        draft.link_within("runbook", &documentation);
        text = format!("{text}\n{documentation}");
    }
    draft.description = text.trim().to_owned();
}

fn tags(draft: &mut Draft, incident: &json::Object) {
    let system = json::object(incident, "metadata.system_labels");
    if let Some(labels) = system {
        json::tags(draft, labels, &["name"]);
    }
    for labels in ["metadata.user_labels", "metric.labels", "resource.labels", "policy_user_labels"]
    {
        if let Some(labels) = json::object(incident, labels) {
            json::tags(draft, labels, &[]);
        }
    }
    let project = json::first(incident, &["scoping_project_id", "resource.labels.project_id"]);
    draft.tag("project", project.as_deref());
    draft.tag("policy", json::text(incident, "policy_name").as_deref());
    draft.tag("condition", json::text(incident, "condition_name").as_deref());
    let kind = json::first(incident, &["resource.type", "resource_type_display_name"]);
    draft.tag("resource_type", kind.as_deref());
    draft.tag("metric", json::text(incident, "metric.type").as_deref());
}
