//! Checkmk.
//!
//! Shapes, told apart by the bytes:
//! - the JSON of our notification script (`deploy/sources/checkmk`): the `NOTIFY_…` environment of a
//!   notification, one, a list, or one a line; also without the prefix, in lower case, or under
//!   `context`;
//! - `NAME=value` lines, as Checkmk gives bulk notifications to a script: blocks of parameters and of
//!   notifications with an empty line between them, line ends in values as `\x01`;
//! - JSON of people's own scripts, with a change such as `"event": "DOWN -> UP"`.
//!
//! Identity: host and service description, the host alone for states of hosts; the site is a tag.
//! Severity and kinds of notification: see [`nagios_family`]. Checkmk notifies of hard states only.
//!
//! Times: `MICROTIME`, else the other times there; without a zone they are in the source's.
//!
//! Traps: in notifications of hosts `SERVICEDESC` is `$SERVICEDESC$`; addresses of pages are relative
//! and need the prefix that the script adds; notifications of the Event Console carry `EC_…` and no
//! state that ends.

use std::borrow::Cow;

use serde_json::Value;

use super::nagios_family::{self, Fields};
use super::{Class, Decoder, Failure, Found, Payload, json, mail};
use crate::stage::Reason;

/// Checkmk.
pub(super) const DECODER: Decoder = Decoder {
    name: "checkmk",
    aliases: &["check_mk", "cmk"],
    class: Class::State,
    expire_after: None,
    decode,
};

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let text = payload.text()?.trim_start();
    if text.is_empty() || text.starts_with(['{', '[', '"']) {
        return json::objects(payload, found, |object, found| one(object, payload, found));
    }
    let named = |line: &str| line.split_once('=').is_some_and(|(name, _)| is_name(name));
    if text.lines().next().is_some_and(named) {
        return blocks(text, payload, found);
    }
    let mail = mail::read(text);
    if let Some(fields) = nagios_family::mail(mail.subject.as_deref(), &mail.body) {
        found.push(nagios_family::notification(&fields, payload)?);
        return Ok(());
    }
    Err(Failure::new(
        Reason::NotJson,
        "neither JSON nor `NAME=value` lines of a notification of Checkmk",
    ))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Blocks of `NAME=value` lines.
fn blocks(text: &str, payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let before = found.len();
    let mut index = 0;
    let mut block: Vec<&str> = Vec::new();
    // An empty line more ends the last block.
    for line in text.lines().map(|line| line.trim_end_matches('\r')).chain([""]) {
        if !line.is_empty() {
            block.push(line);
            continue;
        }
        let lines = std::mem::take(&mut block);
        if lines.is_empty() {
            continue;
        }
        let mut fields = Fields::default();
        let mut notification = false;
        for line in &lines {
            let Some((name, value)) = line.split_once('=') else { continue };
            notification |= !name.trim_start_matches("NOTIFY_").starts_with("PARAMETER_")
                && !name.starts_with("bulk");
            let value = if value.contains('\u{1}') {
                Cow::Owned(value.replace('\u{1}', "\n"))
            } else {
                Cow::Borrowed(value)
            };
            fields.add(name, value);
        }
        if notification {
            match self::notification(&fields, payload) {
                Ok(one) => found.push(one),
                Err(failure) => {
                    let bytes = Some(lines.join("\n").into_bytes());
                    found.push(Found::Rejected { index: Some(index), failure, bytes });
                }
            }
            index += 1;
        }
    }
    if found.len() == before {
        return Err(Failure::shape("parameters without a notification of Checkmk"));
    }
    Ok(())
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    for name in ["contexts", "notifications"] {
        if let Some(list) = object.get(name).and_then(Value::as_array) {
            json::elements(list, payload, found, |value, found| {
                let object = value.as_object();
                let object = object.ok_or_else(|| Failure::shape("a notification is an object"))?;
                found.push(notification(&Fields::of(object), payload)?);
                Ok(())
            });
            return Ok(());
        }
    }
    let object = json::object(object, "context").unwrap_or(object);
    found.push(notification(&Fields::of(object), payload)?);
    Ok(())
}

fn notification(fields: &Fields<'_>, payload: &Payload<'_>) -> Result<Found, Failure> {
    let found = nagios_family::notification(fields, payload)?;
    let Found::Event(mut draft) = found else { return Ok(found) };
    let rule = fields.first(&["ecruleid"]);
    draft.tag("rule", rule);
    draft.tag("facility", fields.first(&["ecfacility"]));
    if let Some(id) = fields.first(&["ecid"]) {
        draft.id = Some(id.to_owned());
    }
    if draft.description.is_empty() {
        draft.description = fields.first(&["ectext"]).unwrap_or_default().to_owned();
    }
    let tags = fields.first(&["hosttags"]).unwrap_or_default();
    draft.tag_list("host_tags", tags.split_whitespace().filter(|tag| !tag.starts_with('/')));
    draft.tag("folder", fields.first(&["hosttagwatofolder", "hostfolder", "folder"]));
    let contacts = fields.first(&["servicecontactgroupnames", "hostcontactgroupnames"]);
    draft.tag_list("contact_groups", contacts.unwrap_or_default().split(',').map(str::trim));
    draft.tag("service_level", fields.first(&["svcsl", "hostsl"]).filter(|level| *level != "0"));
    // Addresses of pages are relative, and complete with the prefix.
    let prefix = fields
        .first(&["parameterurlprefix1", "parameterurlprefix", "urlprefix", "baseurl", "siteurl"])
        .filter(|prefix| prefix.starts_with("http"));
    if let Some(prefix) = prefix {
        let page = match draft.check {
            Some(_) => fields.first(&["serviceurl"]).or_else(|| fields.first(&["hosturl"])),
            None => fields.first(&["hosturl"]),
        };
        if let Some(page) = page.filter(|page| page.starts_with('/')) {
            // Both may name `/check_mk`.
            let page = page.strip_prefix("/check_mk").filter(|_| prefix.contains("/check_mk"));
            let page =
                page.or_else(|| fields.first(&["serviceurl", "hosturl"])).unwrap_or_default();
            let base = prefix.trim_end_matches('/');
            draft.link("page", format!("{base}{page}").as_str());
        }
    }
    Ok(Found::Event(draft))
}
