//! Datadog's webhooks: the body that comes with Muster (`deploy/sources/datadog/webhook.json`), others
//! of an administrator's making with the same variables under similar names, as JSON or as a form, and
//! the default body, which has the state only in its title.
//!
//! Identity: monitor and scope (`$ALERT_ID` and `$ALERT_SCOPE`), which outlive an episode; else
//! `$AGGREG_KEY`, else the title without its state. `$ALERT_CYCLE_KEY`, the episode, is the event's
//! `id`. Host: `$HOSTNAME`, else `host` of the scope or the tags. Check: the monitor's name.
//!
//! How bad: `$ALERT_TRANSITION`. `Triggered`, `Re-Triggered` critical; `Warn`, `Re-Warn` warning;
//! `No Data` unknown; of `Renotify` `$ALERT_TYPE` decides. Recovery: `Recovered`, `Warn Recovered`,
//! `No Data Recovered`. Times: `$LAST_UPDATED`, `$DATE`, milliseconds in a text.
//!
//! Traps: variables that a monitor does not set arrive as they are written. Events that are no
//! monitor's have no transition. Values in tags may have colons; the name ends at the first.

use std::borrow::Cow;

use super::loose::{self, Loose};
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, json, times};
use crate::model::Status;

/// Datadog.
pub(super) const DECODER: Decoder = Decoder {
    name: "datadog",
    aliases: &["datadog_webhook"],
    class: Class::Key,
    expire_after: None,
    decode,
};

const EXPECTED: &str =
    "expected Datadog's webhook body, best the one in deploy/sources/datadog/webhook.json";

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    loose::objects(payload, found, |object, found| one(object, payload, found))
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let fields = Loose::of(object);
    let titled = fields.text(&["eventtitle", "alerttitle", "title", "monitorname", "alertname"]);
    let transition = fields.text(&["alerttransition", "transition"]);
    let monitor = fields.text(&["alertid", "monitorid"]);
    if titled.is_none() && transition.is_none() && monitor.is_none() {
        let message = format!("no title, no transition and no monitor's id; {EXPECTED}");
        return Err(Failure::shape(message));
    }
    let title = Title::of(titled.as_deref().unwrap_or_default());
    if title.test {
        found.push(Found::Nothing("Datadog's test of a monitor's notification".to_owned()));
        return Ok(());
    }
    let kind = fields.text(&["alerttype", "type"]).unwrap_or_default().to_ascii_lowercase();
    let status = fields.text(&["alertstatus", "status", "state", "alertstate"]);
    let stated = [transition.as_deref(), title.state, status.as_deref()];
    let grade = stated
        .into_iter()
        .flatten()
        .find_map(|word| state(word, &kind))
        .or_else(|| by_kind(&kind, monitor.is_some()));
    let Some(grade) = grade else {
        let event = fields.text(&["eventtype"]).unwrap_or_default();
        if transition.is_none() && monitor.is_none() && !event.contains("alert") {
            found.push(Found::Nothing("an event of Datadog that is no monitor's".to_owned()));
            return Ok(());
        }
        let word = transition.or(status).unwrap_or(Cow::Borrowed("no transition"));
        found.push(draft(&fields, &title, Grade::problem(word, Status::Unknown), payload).into());
        return Ok(());
    };
    found.push(draft(&fields, &title, grade, payload).into());
    Ok(())
}

/// What a word for a transition or a state means; none for what is none.
fn state(word: &str, kind: &str) -> Option<Grade> {
    let word = word.trim();
    let lower = word.to_ascii_lowercase();
    let usual = match lower.as_str() {
        "recovered" | "warn recovered" | "no data recovered" | "ok" | "resolved" => {
            return Some(Grade::Recovered);
        }
        "triggered" | "re-triggered" | "alert" | "error" => Status::Critical,
        "warn" | "re-warn" | "warning" => Status::Warning,
        "no data" | "re-no data" => Status::Unknown,
        // Told again: how it stands is said elsewhere.
        "renotify" | "re-notify" => match kind {
            "warning" => Status::Warning,
            "success" => return Some(Grade::Recovered),
            "error" => Status::Critical,
            _ => return None,
        },
        _ => return None,
    };
    Some(Grade::problem(word, usual))
}

/// Without a state: events that a person wrote have a type, and only monitors recover.
fn by_kind(kind: &str, of_monitor: bool) -> Option<Grade> {
    match kind {
        "error" => Some(Grade::problem(kind, Status::Critical)),
        "warning" => Some(Grade::problem(kind, Status::Warning)),
        "success" if of_monitor => Some(Grade::Recovered),
        _ => None,
    }
}

fn draft(fields: &Loose<'_>, title: &Title<'_>, grade: Grade, payload: &Payload<'_>) -> Draft {
    let mut draft = Draft::new(grade);
    let scope = fields.text(&["alertscope", "scope"]);
    let scope = scope.as_deref().or(title.scope).unwrap_or_default();
    let monitor = fields.text(&["alertid", "monitorid"]);
    draft.key = Some(match (monitor, fields.text(&["aggregkey", "aggregationkey"])) {
        (Some(monitor), _) => format!("{monitor}|{scope}"),
        (None, Some(group)) => group.into_owned(),
        (None, None) => format!("{}|{scope}", title.name),
    });
    draft.id = fields.text(&["alertcyclekey", "cyclekey", "id", "eventid"]).map(Into::into);
    let name = (!title.name.is_empty()).then(|| title.name.to_owned());
    draft.check = name.or_else(|| fields.text(&["alertid", "monitorid"]).map(Into::into));
    tags(&mut draft, fields, scope);
    let host = fields.text(&["hostname", "host"]).map(Cow::into_owned);
    draft.host = host.or_else(|| draft.tagged("host").map(str::to_owned));
    draft.at = times::value(fields.get(&["lastupdated"]), payload)
        .or_else(|| times::value(fields.get(&["date", "timestamp"]), payload));
    let text = fields.text(&["textonlymsg", "text", "eventmsg", "body", "message", "description"]);
    let text = text.unwrap_or_default().replace("%%%", "");
    draft.description = if text.trim().is_empty() { title.name } else { text.trim() }.to_owned();
    draft.link("datadog", fields.text(&["link", "url", "eventlink", "monitorurl"]).as_deref());
    draft.link("snapshot", fields.text(&["snapshot"]).as_deref());
    draft
}

fn tags(draft: &mut Draft, fields: &Loose<'_>, scope: &str) {
    let mut named: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut plain: Vec<&str> = Vec::new();
    let listed = fields.texts(&["tags", "alerttags"]);
    let all = listed.iter().map(|tag| tag.trim()).chain(scope.split(',').map(str::trim));
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for tag in all.filter(|tag| super::macros::present(tag).is_some() && *tag != "*") {
        match tag.split_once(':') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                pairs.push((name, value));
            }
            _ => plain.push(tag),
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    for (name, value) in pairs {
        match named.last_mut() {
            Some((last, values)) if *last == name => values.push(value),
            _ => named.push((name, vec![value])),
        }
    }
    plain.sort_unstable();
    plain.dedup();
    draft.tag_list("tags", plain);
    for (name, values) in named {
        draft.tag_list(name, values);
    }
    draft.tag("priority", fields.text(&["alertpriority", "priority"]).as_deref());
    draft.tag("metric", fields.text(&["alertmetric", "metric"]).as_deref());
    draft.tag("org", fields.text(&["orgname"]).as_deref());
    draft.tag("monitor", fields.text(&["alertid", "monitorid"]).as_deref());
}

/// `[P2] [Triggered on {host:web-1}] CPU is high`.
struct Title<'a> {
    /// Such as `Triggered`.
    state: Option<&'a str>,
    /// Such as `host:web-1,env:prod`.
    scope: Option<&'a str>,
    /// What is left.
    name: &'a str,
    /// Somebody tries out a monitor's notification.
    test: bool,
}

impl<'a> Title<'a> {
    fn of(title: &'a str) -> Self {
        let mut read = Self { state: None, scope: None, name: title.trim(), test: false };
        while let Some(rest) = read.name.strip_prefix('[') {
            // A scope may have brackets of its own; it ends with its brace.
            let scoped = rest.find(" on {").filter(|at| !rest[..*at].contains(']'));
            let (word, scope, rest) = match scoped {
                Some(at) => {
                    let Some((scope, after)) = rest[at + 5..].split_once("}]") else { break };
                    (&rest[..at], Some(scope), after)
                }
                None => {
                    let Some((word, rest)) = rest.split_once(']') else { break };
                    (word, None, rest)
                }
            };
            let word = word.trim();
            match word.to_ascii_uppercase().as_str() {
                "TEST" => read.test = true,
                "P1" | "P2" | "P3" | "P4" | "P5" => {}
                _ if state(word, "error").is_some() && read.state.is_none() => {
                    read.state = Some(word);
                    read.scope = scope;
                }
                _ => break,
            }
            read.name = rest.trim_start();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_state_scope_and_name() {
        for (title, state, scope, name) in [
            ("[Triggered] CPU", Some("Triggered"), None, "CPU"),
            ("[P2] [Warn on {host:a}] CPU [x]", Some("Warn"), Some("host:a"), "CPU [x]"),
            ("[No Data on {host:a,x:[b]}] CPU", Some("No Data"), Some("host:a,x:[b]"), "CPU"),
            ("[prod] CPU on {host:a}", None, None, "[prod] CPU on {host:a}"),
            ("[Triggered] [Memory Alert]", Some("Triggered"), None, "[Memory Alert]"),
            ("[Triggered on {host:a", None, None, "[Triggered on {host:a"),
            ("[", None, None, "["),
        ] {
            let read = Title::of(title);
            assert_eq!((read.state, read.scope, read.name), (state, scope, name), "{title}");
        }
        assert!(Title::of("[TEST] [Triggered on {host:a}] CPU").test);
    }
}
