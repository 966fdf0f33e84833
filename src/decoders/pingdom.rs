//! Pingdom's webhook: one JSON object per change of a check.
//!
//! Identity: the check's id, with its name as the check and its target as the host. `current_state`
//! `DOWN` is critical, `UP` the recovery, any other state unknown. Times: `state_changed_timestamp`,
//! seconds.

use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, times};
use crate::model::Status;

/// Pingdom.
pub(super) const DECODER: Decoder = Decoder {
    name: "pingdom",
    aliases: &["solarwinds_pingdom"],
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
    let state = json::text(object, "current_state").ok_or_else(|| {
        Failure::shape("`current_state` is missing; expected Pingdom's webhook body")
    })?;
    // What it does not know yet (`UNKNOWN`, `UNCONFIRMED_DOWN`) is no recovery.
    let grade = match state.to_ascii_uppercase().as_str() {
        "UP" | "SUCCESS" => Grade::Recovered,
        "DOWN" | "FAILING" => Grade::problem(state.clone(), Status::Critical),
        _ => Grade::problem(state.clone(), Status::Unknown),
    };
    let mut draft = Draft::new(grade);
    draft.key = json::text(object, "check_id").map(Into::into);
    draft.check = json::first(object, &["check_name", "check_id"]).map(Into::into);
    draft.host = json::first(
        object,
        &["check_params.hostname", "check_params.url", "check_params.full_url", "check_name"],
    )
    .map(Into::into);
    draft.at = times::value(object.get("state_changed_timestamp"), payload)
        .or_else(|| times::value(object.get("state_changed_utc_time"), payload));
    let text = json::first(object, &["long_description", "description"]);
    draft.description = text.map(Into::into).unwrap_or_default();
    draft.tag("check_type", json::text(object, "check_type").as_deref());
    draft.tag("importance", json::text(object, "importance_level").as_deref());
    draft.tag_list("tags", json::list(object, "tags").iter().filter_map(serde_json::Value::as_str));
    draft.link("check", json::text(object, "check_params.full_url").as_deref());
    found.push(draft.into());
    Ok(())
}
