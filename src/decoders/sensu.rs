//! Sensu Go, and Sensu Core 1.
//!
//! Shapes, told apart by their fields:
//! - an event (`entity`, `check`), as a handler gets it and the API has it; also in the wrapped form
//!   (`type`, `api_version`, `spec`), as a list, or one a line;
//! - an event of Sensu Core 1 (`client`, `check`, `action`).
//!
//! Identity: entity and check. In another namespace than `default` the key `namespace/entity/check`
//! besides, for two namespaces may have entities of one name.
//!
//! Severity: status 0 is over, 1 warning, 2 critical, all others unknown. A keepalive is a check of the
//! name `keepalive`. Events without a check hold metrics alone and are nothing.
//!
//! Times: `timestamp`, else `check.executed`, in seconds.
//!
//! Traps: an event comes with each run of a check, not only with changes (the handler's filters decide);
//! occurrences, history and whether it is silenced change from one to the next and are left out.

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, nagios_family, times};
use crate::model::Status;

/// Sensu.
pub(super) const DECODER: Decoder = Decoder {
    name: "sensu",
    aliases: &["sensu_go", "sensu_core"],
    class: Class::State,
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
    // What a batching gateway makes of them.
    if !object.contains_key("entity")
        && let Some(list) = object.get("events").and_then(serde_json::Value::as_array)
    {
        json::elements(list, payload, found, |value, found| {
            let object = value.as_object();
            let object = object.ok_or_else(|| Failure::shape("an event is an object"))?;
            found.push(event(object, payload)?);
            Ok(())
        });
        return Ok(());
    }
    found.push(event(object, payload)?);
    Ok(())
}

fn event(object: &json::Object, payload: &Payload<'_>) -> Result<Found, Failure> {
    let event = match json::object(object, "spec") {
        Some(spec) => {
            let kind = json::text(object, "type");
            if let Some(kind) = kind.filter(|kind| kind != "Event") {
                return Ok(Found::Nothing(format!("a resource of the type {kind}")));
            }
            spec
        }
        None => object,
    };
    let entity = json::object(event, "entity").or_else(|| json::object(event, "client"));
    let Some(check) = json::object(event, "check") else {
        if entity.is_some() && event.contains_key("metrics") {
            return Ok(Found::Nothing("an event with metrics alone".to_owned()));
        }
        return Err(Failure::shape("no `check`; expected an event of Sensu"));
    };
    let empty = json::Object::new();
    let entity = entity.unwrap_or(&empty);
    let name = json::first(check, &["metadata.name", "name"]);
    let name = name.ok_or_else(|| Failure::shape("a check without `metadata.name`"))?;
    let host = json::first(entity, &["metadata.name", "name", "id", "ID"])
        .or_else(|| json::first(check, &["proxy_entity_name", "source"]));
    let status = check.get("status").ok_or_else(|| Failure::shape("a check without `status`"))?;
    let resolved = json::text(event, "action").is_some_and(|action| action == "resolve");
    let grade = match json::integer(status) {
        Some(0) => Grade::Recovered,
        _ if resolved => Grade::Recovered,
        Some(1) => Grade::problem("WARNING", Status::Warning),
        Some(2) => Grade::problem("CRITICAL", Status::Critical),
        _ => Grade::problem("UNKNOWN", Status::Unknown),
    };
    let mut draft = Draft::new(grade);
    let namespace = json::first(entity, &["metadata.namespace"])
        .or_else(|| json::first(check, &["metadata.namespace"]))
        .or_else(|| json::first(event, &["metadata.namespace"]))
        .or_else(|| json::first(object, &["metadata.namespace"]));
    if let Some(namespace) = namespace.as_deref().filter(|namespace| *namespace != "default") {
        let host = host.as_deref().unwrap_or_default();
        draft.key = Some(format!("{namespace}/{host}/{name}"));
    }
    draft.check = Some(name.into_owned());
    draft.host = host.map(Into::into);
    draft.at = times::value(event.get("timestamp"), payload)
        .or_else(|| times::value(check.get("executed"), payload))
        .or_else(|| times::value(check.get("issued"), payload));
    let output = check.get("output").and_then(serde_json::Value::as_str).unwrap_or_default();
    draft.description = nagios_family::output(output);
    draft.id = json::first(event, &["id"]).map(Into::into);
    draft.tag("namespace", namespace.as_deref());
    draft.tag("entity_class", json::text(entity, "entity_class").as_deref());
    draft.tag("address", json::text(entity, "address").as_deref());
    draft.tag("os", json::first(entity, &["system.os"]).as_deref());
    draft.tag("platform", json::first(entity, &["system.platform"]).as_deref());
    let subscriptions = json::list(entity, "subscriptions").iter();
    let subscriptions = subscriptions.filter_map(serde_json::Value::as_str);
    draft.tag_list("subscriptions", subscriptions.filter(|name| !name.starts_with("entity:")));
    for labels in [
        json::object(entity, "metadata.labels"),
        json::object(check, "metadata.labels"),
        json::object(event, "metadata.labels"),
    ] {
        for (name, value) in labels.into_iter().flatten() {
            draft.tag(name, json::scalar(value).as_deref());
        }
    }
    for annotations in
        [json::object(entity, "metadata.annotations"), json::object(check, "metadata.annotations")]
    {
        for (name, value) in annotations.into_iter().flatten() {
            draft.link(name.rsplit('/').next().unwrap_or(name), value.as_str());
        }
    }
    for name in ["runbook", "playbook", "dashboard"] {
        draft.link(name, json::text(check, name).as_deref());
    }
    Ok(draft.into())
}
