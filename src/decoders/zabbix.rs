//! Zabbix.
//!
//! Shapes, told apart by their fields:
//! - the body of our media type (`deploy/sources/zabbix/media-type.yaml`), or any JSON object of
//!   Zabbix' macros, however they are spelt (`EVENT.ID`, `event_id`, `eventid`);
//! - real-time export and the streaming connector (since 6.4): a JSON object a line, problems with
//!   `eventid` and `value` 1, recoveries with `p_eventid`; item values and trends are nothing;
//! - Zabbix' own messages as mails or texts (`Problem name: …`, `Original problem ID: …`), also as
//!   `{"subject", "message"}`.
//!
//! Identity: of the media type the trigger (`trigger:13926`), so that a problem that comes back is the
//! same alert, or the problem's event where the media type says `identity: event` or there is no
//! trigger; of exports, connectors and messages the problem's `eventid`, which is all that a recovery
//! names (`p_eventid`). A recovery there has neither host nor check and needs none. One recovery may
//! close several problems: as many lines with one `eventid`, so that is no identity.
//!
//! Severity: Disaster and High are critical, Average and Warning are warning, Information is info,
//! "Not classified" and none at all (before 5.0.12 and 5.2.7) unknown. Recovery is value 0, or
//! `RESOLVED`.
//!
//! Times: `clock` and `ns`; of the media type `{EVENT.TIMESTAMP}` where that release has it, else
//! `{EVENT.DATE}` and `{EVENT.TIME}` in the source's time zone.
//!
//! Traps: hosts are texts in old releases and may be several; macros that cannot be resolved come as
//! they stand or as `*UNKNOWN*`; updates (acknowledged, commented, another severity) have the value of
//! the problem and its id.

use std::borrow::Cow;

use serde_json::Value;

use super::nagios_family::Fields;
use super::{
    Class, Decoder, Draft, Failure, Found, Grade, Payload, When, json, macros, mail, times,
};
use crate::model::Status;
use crate::stage::Reason;

/// Zabbix.
pub(super) const DECODER: Decoder = Decoder {
    name: "zabbix",
    aliases: &["zabbix_export", "zabbix_connector"],
    class: Class::Episode,
    expire_after: None,
    decode,
};

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let text = payload.text()?.trim_start();
    let looks_like_json = text.starts_with(['{', '[', '"'])
        || text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        || text.starts_with("null");
    if text.is_empty() || looks_like_json {
        return json::objects(payload, found, |object, found| one(object, payload, found));
    }
    let read = mail::read(text);
    match message(read.subject.as_deref(), &read.body, payload) {
        Some(one) => {
            found.push(one);
            Ok(())
        }
        None => Err(Failure::new(
            Reason::NotJson,
            "neither JSON of Zabbix nor one of its messages (`Original problem ID: …`)",
        )),
    }
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    if object.contains_key("itemid") {
        let trend = ["count", "min", "max", "avg"].iter().any(|name| object.contains_key(*name));
        let what = if trend { "a trend of an item" } else { "a value of an item" };
        found.push(Found::Nothing(what.to_owned()));
        return Ok(());
    }
    if object.contains_key("p_eventid") || object.contains_key("clock") {
        found.push(export(object)?);
        return Ok(());
    }
    // A batch of them in an object, as gateways make it.
    for name in ["events", "problems"] {
        if let Some(list) = object.get(name).and_then(Value::as_array) {
            json::elements(list, payload, found, |value, found| {
                let object = value.as_object();
                let object = object.ok_or_else(|| Failure::shape("an event is an object"))?;
                let one = if object.contains_key("clock") || object.contains_key("p_eventid") {
                    export(object)?
                } else {
                    macros_of(object, payload, found)?
                };
                found.push(one);
                Ok(())
            });
            return Ok(());
        }
    }
    for name in ["message", "body", "text"] {
        let text = object.get(name).and_then(Value::as_str).unwrap_or_default();
        if let Some(one) = message(json::text(object, "subject").as_deref(), text, payload) {
            found.push(one);
            return Ok(());
        }
    }
    let one = macros_of(object, payload, found)?;
    found.push(one);
    Ok(())
}

/// What a severity means, by its number or its word.
fn severity(number: Option<i64>, word: Option<&str>) -> Grade {
    let (usual_word, usual) = match number {
        Some(0) => ("Not classified", Status::Unknown),
        Some(1) => ("Information", Status::Info),
        Some(2) => ("Warning", Status::Warning),
        Some(3) => ("Average", Status::Warning),
        Some(4) => ("High", Status::Critical),
        Some(5) => ("Disaster", Status::Critical),
        _ => {
            return match word {
                Some(word) if word.eq_ignore_ascii_case("not classified") => {
                    Grade::problem(word, Status::Unknown)
                }
                Some(word) => Grade::word(word),
                None => Grade::problem("none", Status::Unknown),
            };
        }
    };
    // Severities may have other names, and settings know them by those.
    Grade::problem(word.unwrap_or(usual_word), usual)
}

/// An event of the export or the connector.
fn export(object: &json::Object) -> Result<Found, Failure> {
    let id = json::text(object, "eventid");
    let problem = json::text(object, "p_eventid");
    let value = object.get("value").and_then(json::integer);
    // What `problem.get` answers has the recovery beside the problem.
    let ended = json::text(object, "r_eventid").is_some_and(|id| id != "0");
    let recovered = problem.is_some() || value == Some(0) || ended;
    let key = if recovered { problem.or_else(|| id.clone()) } else { id.clone() };
    let key = key.ok_or_else(|| {
        Failure::shape("an event without `eventid`; expected the real-time export of events")
    })?;
    if !recovered && value.is_none() && !object.contains_key("name") {
        return Err(Failure::shape("an event with neither `value` nor `name`"));
    }
    let grade = if recovered {
        Grade::Recovered
    } else {
        severity(object.get("severity").and_then(json::integer), None)
    };
    let mut draft = Draft::new(grade);
    draft.key = Some(key.into_owned());
    draft.id = id.map(Cow::into_owned);
    draft.at = times::split(object.get("clock"), object.get("ns"));
    draft.check = json::text(object, "name").map(Cow::into_owned);
    draft.description = draft.check.clone().unwrap_or_default();
    let hosts: Vec<(Cow<'_, str>, Option<Cow<'_, str>>)> =
        json::list(object, "hosts").iter().filter_map(host).collect();
    if let Some((host, name)) = hosts.first() {
        draft.host = Some(host.clone().into_owned());
        draft.tag("host_name", name.as_deref().filter(|name| name != host));
    }
    if hosts.len() > 1 {
        draft.tag_list("hosts", hosts.iter().map(|(host, _)| host.as_ref()));
    }
    draft.tag_list("groups", json::list(object, "groups").iter().filter_map(Value::as_str));
    tags(json::list(object, "tags"), &mut draft);
    stand_in(&mut draft);
    Ok(draft.into())
}

/// A host's technical name, and the one that is shown.
fn host(value: &Value) -> Option<(Cow<'_, str>, Option<Cow<'_, str>>)> {
    let Some(object) = value.as_object() else { return Some((json::scalar(value)?, None)) };
    let name = json::text(object, "name");
    match json::text(object, "host") {
        Some(host) => Some((host, name)),
        None => Some((name?, None)),
    }
}

/// Tags under their own names, several of one name as a list; those without a value under `tags`.
fn tags(list: &[Value], draft: &mut Draft) {
    let mut all: Vec<(&str, &str)> = list
        .iter()
        .filter_map(Value::as_object)
        .filter_map(|tag| {
            let name = tag.get("tag").or_else(|| tag.get("name"))?.as_str()?.trim();
            let value = tag.get("value").and_then(Value::as_str).unwrap_or_default().trim();
            (!name.is_empty()).then_some((name, value))
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    let bare = all.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| *name);
    draft.tag_list("tags", bare);
    for same in all.chunk_by(|one, other| one.0 == other.0) {
        let Some((name, _)) = same.first() else { continue };
        draft.tag_list(name, same.iter().map(|(_, value)| *value));
    }
}

/// A problem of no host (of Zabbix itself) is one of its name.
fn stand_in(draft: &mut Draft) {
    if draft.host.is_none() && draft.check.is_none() && !draft.grade.is_bare() {
        draft.check = Some("Zabbix problem".to_owned());
    }
}

/// Names that stand for the same macro, in the spelling of [`Fields`].
mod names {
    pub(super) const EVENT: &[&str] = &["eventid", "problemid", "id"];
    pub(super) const TRIGGER: &[&str] = &["triggerid"];
    pub(super) const VALUE: &[&str] = &["eventvalue", "triggervalue"];
    pub(super) const STATUS: &[&str] = &["eventstatus", "status", "triggerstatus", "state"];
    pub(super) const NAME: &[&str] =
        &["eventname", "name", "triggername", "problem", "problemname", "subject", "alertsubject"];
    pub(super) const HOST: &[&str] =
        &["hosthost", "host", "hostname", "hostvisible", "hostip", "ip"];
    pub(super) const NUMBER: &[&str] =
        &["eventnseverity", "nseverity", "triggernseverity", "severityid"];
    pub(super) const SEVERITY: &[&str] =
        &["eventseverity", "severity", "triggerseverity", "priority"];
    pub(super) const ACTION: &[&str] = &["eventupdateaction", "updateaction"];
}

/// The macros of a media type. What an update says besides is put in `found` before.
fn macros_of(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<Found, Failure> {
    let fields = Fields::of(object);
    let event = fields.first(names::EVENT);
    let trigger = fields.first(names::TRIGGER).filter(|id| *id != "0");
    let name = fields.first(names::NAME);
    let host = fields.first(names::HOST);
    let status = fields.first(names::STATUS);
    // Under `value` people also send what was measured.
    let value = fields
        .first(names::VALUE)
        .or_else(|| fields.first(&["value"]).filter(|_| status.is_none()))
        .filter(|value| matches!(*value, "0" | "1"));
    let number = fields.first(names::NUMBER);
    let word = fields.first(names::SEVERITY);
    let source = fields.first(&["eventsource", "source"]).unwrap_or("0");
    if event.is_none() && trigger.is_none() && (name.is_none() || host.is_none()) {
        return Err(Failure::shape(
            "no `event_id`, `trigger_id` or `eventid`; expected our media type's body, or events of the export",
        ));
    }
    if value.is_none() && status.is_none() && number.is_none() && word.is_none() {
        return Err(Failure::shape(
            "no `value`, `status` or severity; expected our media type's body, or events of the export",
        ));
    }
    match source {
        "1" => return Ok(Found::Nothing("an event of network discovery".to_owned())),
        "2" => return Ok(Found::Nothing("an event of autoregistration".to_owned())),
        _ => {}
    }
    let recovered = match value {
        Some(value) => value == "0",
        None => status.is_some_and(|status| {
            let status = status.to_ascii_uppercase();
            matches!(status.as_str(), "RESOLVED" | "OK" | "RECOVERY" | "RECOVERED" | "CLOSED" | "0")
        }),
    };
    let problem = severity(
        number.or(word).and_then(|number| number.parse().ok()).filter(|n| (0..=5).contains(n)),
        word.filter(|word| word.parse::<u8>().is_err()),
    );
    let update = fields.first(&["eventupdatestatus", "updatestatus"]) == Some("1");
    let action = fields.first(names::ACTION).filter(|_| !recovered);
    let (grades, nothing) = match action {
        Some(action) => updated(action, &problem),
        None if update && !recovered => (Vec::new(), "an update of a problem"),
        None => (vec![if recovered { Grade::Recovered } else { problem }], ""),
    };
    let Some((last, before)) = grades.split_last() else {
        return Ok(Found::Nothing(nothing.to_owned()));
    };
    let by_event = fields.first(&["identity"]) == Some("event");
    let key = match (trigger.filter(|_| !by_event && source == "0"), event) {
        (Some(trigger), _) => Some(format!("trigger:{trigger}")),
        (None, event) => event.map(str::to_owned),
    };
    let mut draft = Draft::new(last.clone());
    draft.key = key;
    draft.id = event.map(str::to_owned);
    draft.host = host.map(str::to_owned);
    draft.check = name.map(str::to_owned);
    draft.at = time(&fields, recovered, action.is_some() || update, payload);
    draft.description = description(&fields, name);
    let shown = fields.first(&["hostname", "hostvisible"]).filter(|name| Some(*name) != host);
    draft.tag("host_name", shown);
    draft
        .tag("address", fields.first(&["hostip", "hostconn", "ip"]).filter(|ip| Some(*ip) != host));
    let groups =
        fields.first(&["triggerhostgroupname", "hostgroups", "groups"]).unwrap_or_default();
    draft.tag_list("groups", groups.split(',').map(str::trim));
    draft.tag("item", fields.first(&["itemname"]));
    draft.tag("template", fields.first(&["triggertemplatename"]));
    draft.tag("service", fields.first(&["servicename"]).filter(|_| source == "4"));
    fields.tag(&mut draft);
    own_tags(object, &mut draft);
    links(&fields, trigger, &mut draft);
    stand_in(&mut draft);
    for grade in before {
        found.push(Draft { grade: grade.clone(), ..draft.clone() }.into());
    }
    Ok(draft.into())
}

/// What an update makes of a problem, by the words of `{EVENT.UPDATE.ACTION}`.
fn updated(action: &str, problem: &Grade) -> (Vec<Grade>, &'static str) {
    let mut grades = Vec::new();
    for word in action.split(", ").flat_map(|words| words.split(" and ")).map(str::trim) {
        if word.starts_with("changed severity") || word.starts_with("unacknowledged") {
            grades.push(problem.clone());
        } else if word.starts_with("acknowledged") {
            grades.push(Grade::Acknowledged);
        }
    }
    // Said twice is said once: each is an event with all of the payload in it.
    grades.sort_by_key(|grade| *grade == Grade::Acknowledged);
    grades.dedup();
    (grades, "a note on a problem that changes nothing")
}

fn time(fields: &Fields<'_>, recovered: bool, update: bool, payload: &Payload<'_>) -> Option<When> {
    let of = |stamps: &[&str], date: &[&str], time: &[&str]| -> Option<When> {
        let stamp = fields.time(stamps, payload);
        if matches!(stamp, Some(When::At(_))) {
            return stamp;
        }
        let both = match (fields.first(date), fields.first(time)) {
            (Some(date), Some(time)) => times::text(&format!("{date} {time}"), payload),
            _ => None,
        };
        both.or(stamp)
    };
    let began = || {
        of(
            &["eventtimestamp", "timestamp", "eventclock", "datetime"],
            &["eventdate", "date"],
            &["eventtime", "time"],
        )
    };
    if recovered {
        let ended = of(
            &["eventrecoverytimestamp", "recoverytimestamp"],
            &["eventrecoverydate", "recoverydate"],
            &["eventrecoverytime", "recoverytime"],
        );
        // When the problem began is no time of its end: the arrival is nearer.
        return ended;
    }
    if update {
        return of(
            &["eventupdatetimestamp", "updatetimestamp"],
            &["eventupdatedate", "updatedate"],
            &["eventupdatetime", "updatetime"],
        );
    }
    began()
}

fn description(fields: &Fields<'_>, name: Option<&str>) -> String {
    let note = fields.first(&["eventupdatemessage", "updatemessage"]);
    let data = fields.first(&[
        "eventopdata",
        "opdata",
        "triggerdescription",
        "message",
        "alertmessage",
        "itemvalue",
    ]);
    let mut text = name.unwrap_or_default().to_owned();
    for more in [data, note].into_iter().flatten().filter(|more| Some(*more) != name) {
        if !text.is_empty() {
            text += ": ";
        }
        text += more;
    }
    text
}

/// `{EVENT.TAGSJSON}`, as the list it is or as a text of one, or `{EVENT.TAGS}` (`a:1, b`).
fn own_tags(object: &json::Object, draft: &mut Draft) {
    let names =
        ["tags", "event_tags", "eventtags", "event_tagsjson", "EVENT.TAGSJSON", "EVENT.TAGS"];
    for value in names.iter().filter_map(|name| object.get(*name)) {
        let text = match value {
            Value::Array(list) => {
                tags(list, draft);
                continue;
            }
            Value::String(text) => text.trim(),
            _ => continue,
        };
        if text.starts_with('[') && json::depth(text.as_bytes()) <= 8 {
            if let Ok(list) = serde_json::from_str::<Vec<Value>>(text) {
                tags(&list, draft);
            }
            continue;
        }
        if macros::present(text).is_none() {
            continue;
        }
        let list: Vec<Value> = text
            .split(',')
            .map(|tag| {
                let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                serde_json::json!({"tag": name.trim(), "value": value.trim()})
            })
            .collect();
        tags(&list, draft);
    }
}

fn links(fields: &Fields<'_>, trigger: Option<&str>, draft: &mut Draft) {
    draft.link("trigger", fields.first(&["triggerurl", "eventurl", "url"]));
    let Some(base) = fields.first(&["zabbixurl"]) else { return };
    let event = fields.first(names::EVENT);
    if let (Some(trigger), Some(event)) = (trigger, event) {
        let base = base.trim_end_matches('/');
        let page = format!("{base}/tr_events.php?triggerid={trigger}&eventid={event}");
        draft.link("zabbix", page.as_str());
    }
}

/// One of Zabbix' own messages; none where it is another text.
fn message(subject: Option<&str>, body: &str, payload: &Payload<'_>) -> Option<Found> {
    let mut draft = Draft::new(Grade::Recovered);
    let (mut word, mut when, mut resolved, mut update) = (None, None, None, None);
    for line in body.lines().map(str::trim) {
        if let Some((name, value)) = line.split_once(':') {
            let value = macros::present(value);
            match name.to_ascii_lowercase().as_str() {
                "problem name" => draft.check = value.map(str::to_owned),
                "host" => draft.host = value.map(str::to_owned),
                "severity" => word = value,
                "operational data" => draft.description = value.unwrap_or_default().to_owned(),
                "original problem id" => draft.key = value.map(str::to_owned),
                _ => {}
            }
        }
        let lower = line.to_ascii_lowercase();
        if let Some(at) = lower.strip_prefix("problem started at ") {
            (resolved, when) = (Some(false), Some(at.to_owned()));
        } else if let Some(at) = lower.strip_prefix("problem has been resolved at ") {
            (resolved, when) = (Some(true), Some(at.to_owned()));
        } else if lower.contains("current problem status is") {
            update = Some("a note on a problem that changes nothing");
        }
        if line.starts_with("http") {
            draft.link("trigger", line);
        }
    }
    if let Some(subject) = subject.map(str::trim) {
        let begins = |words: &str| subject.starts_with(words);
        if resolved.is_none() && begins("Problem:") {
            resolved = Some(false);
        } else if resolved.is_none() && (begins("Resolved") || begins("Resolved in")) {
            resolved = Some(true);
        } else if begins("Updated problem") {
            update = update.or(Some("a note on a problem that changes nothing"));
        }
        if draft.check.is_none() {
            let name = subject.split_once(": ").map(|(_, name)| name);
            draft.check = name.and_then(macros::present).map(str::to_owned);
        }
    }
    if resolved.is_none()
        && let Some(why) = update
    {
        return Some(Found::Nothing(why.to_owned()));
    }
    let resolved = resolved?;
    if draft.key.is_none() && (draft.host.is_none() || draft.check.is_none()) {
        return None;
    }
    if !resolved {
        draft.grade = severity(None, word);
    }
    // `12:00:00 on 2026.11.24`.
    let at = when.as_deref().and_then(|when| when.split_once(" on "));
    draft.at = at.and_then(|(time, date)| times::text(&format!("{date} {time}"), payload));
    if let Some(name) = &draft.check {
        let data = std::mem::take(&mut draft.description);
        draft.description = if data.is_empty() { name.clone() } else { format!("{name}: {data}") };
    }
    Some(draft.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_say_what_they_change() {
        let high = severity(Some(4), None);
        let of = |action| updated(action, &high).0;
        assert_eq!(of("acknowledged"), [Grade::Acknowledged]);
        assert_eq!(of("acknowledged, commented"), [Grade::Acknowledged]);
        assert_eq!(
            of("acknowledged and changed severity from Warning to High"),
            [high.clone(), Grade::Acknowledged]
        );
        assert_eq!(of("unacknowledged").as_slice(), std::slice::from_ref(&high));
        assert!(of("commented").is_empty());
        assert!(of("closed").is_empty());
    }

    #[test]
    fn severities_by_number_and_by_word() {
        assert_eq!(
            severity(Some(5), Some("Weltuntergang")),
            Grade::problem("Weltuntergang", Status::Critical)
        );
        assert_eq!(severity(None, Some("Average")), Grade::problem("Average", Status::Warning));
        assert_eq!(severity(Some(0), None), Grade::problem("Not classified", Status::Unknown));
        assert_eq!(severity(None, None), Grade::problem("none", Status::Unknown));
    }
}
