//! Cacti with its plugin thold.
//!
//! Shapes, told apart by the bytes:
//! - the JSON of our commands (`deploy/sources/cacti`): the `THOLD_…` environment and, for thresholds,
//!   the state, which that environment does not have;
//! - lines of syslog (`CactiTholdLog[812]: ALERT: web-1 - Load [load] went above Threshold of … - url`);
//! - mails, whole or as `{"subject", "body"}`: their subject is what the syslog line says.
//!
//! Identity: host and check. A threshold's name is `host - graph`: before the first ` - ` is the host,
//! behind it, with the data source in brackets, the check. Devices have the host alone.
//!
//! Severity: `ALERT` (and baselines' `TRIGGER`) is critical, `WARNING` is warning, a device that is
//! down is critical; "restored to normal" and "returned from DOWN" are over. `ALERT > WARNING` is a
//! warning.
//!
//! Traps: subjects are templates that an administrator can change; commands are not run for warnings;
//! old releases write no word before the name; the value in the subject differs each time, and is the
//! description's.

use std::borrow::Cow;

use super::nagios_family::Fields;
use super::{Class, Decoder, Draft, Failure, Found, Grade, Payload, When, json, mail, times};
use crate::model::Status;
use crate::stage::Reason;

/// Cacti.
pub(super) const DECODER: Decoder = Decoder {
    name: "cacti",
    aliases: &["thold", "cacti_thold"],
    class: Class::State,
    expire_after: None,
    decode,
};

const EXPECTED: &str = "neither a line of thold (`ALERT: host - graph [data source] went above …`), one of \
                        its mails, nor our command's JSON";

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let text = payload.text()?.trim_start();
    if text.is_empty() || text.starts_with(['{', '[', '"']) {
        return json::objects(payload, found, |object, found| one(object, payload, found));
    }
    let mail = mail::read(text);
    if let Some(subject) = &mail.subject {
        let at = mail.date.as_deref().and_then(|date| times::text(date, payload));
        let draft = written(subject, &mail.body, at);
        found.push(draft.ok_or_else(|| Failure::new(Reason::NotJson, EXPECTED))?.into());
        return Ok(());
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (index, text) in lines.iter().enumerate() {
        match line(text, payload) {
            Some(draft) => found.push(draft.into()),
            None => found.push(Found::Rejected {
                index: (lines.len() > 1).then_some(index),
                failure: Failure::new(Reason::NotJson, EXPECTED),
                bytes: (lines.len() > 1).then(|| text.as_bytes().to_vec()),
            }),
        }
    }
    Ok(())
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let fields = Fields::of(object);
    // A log shipper's or a mail gateway's.
    let device = first(&fields, &["downup"]).is_some();
    let threshold = first(&fields, &["thresholdname", "threshold", "tholdid"]).is_some();
    if !device && !threshold {
        for name in ["message", "line", "log"] {
            if let Some(draft) = object
                .get(name)
                .and_then(serde_json::Value::as_str)
                .and_then(|text| line(text.trim(), payload))
            {
                found.push(draft.into());
                return Ok(());
            }
        }
        let subject = first(&fields, &["subject"]);
        let body = first(&fields, &["body", "text", "message"]).unwrap_or_default();
        let at = fields.time(&["date", "time", "timestamp"], payload);
        if let Some(draft) = subject.and_then(|subject| written(subject, &mail::plain(body), at)) {
            found.push(draft.into());
            return Ok(());
        }
    }
    found.push(command(&fields, device, payload)?.into());
    Ok(())
}

/// A field by its name, with or without `THOLD_`.
fn first<'f>(fields: &'f Fields<'_>, names: &[&str]) -> Option<&'f str> {
    names.iter().find_map(|name| {
        let long = format!("thold{name}");
        fields.first(&[long.as_str(), name])
    })
}

/// What our commands send.
fn command(fields: &Fields<'_>, device: bool, payload: &Payload<'_>) -> Result<Draft, Failure> {
    let state =
        if device { first(fields, &["downup"]) } else { first(fields, &["state", "status"]) };
    let subject = first(fields, &["subject"]).filter(|subject| !subject.starts_with('<'));
    let said = subject.and_then(said);
    let grade = match state.map(str::to_ascii_uppercase).as_deref() {
        Some("NORMAL" | "RESTORED" | "RESTORAL" | "OK" | "UP" | "RECOVERING") => Grade::Recovered,
        Some("HI" | "HIGH" | "LOW" | "ALERT" | "TRIGGER") => {
            Grade::problem("ALERT", Status::Critical)
        }
        Some("DOWN" | "ERROR") => Grade::problem("DOWN", Status::Critical),
        Some(other) => Grade::word(other),
        None => said.as_ref().map(|said| said.grade.clone()).ok_or_else(|| {
            Failure::shape(
                "no `state` (high, low, normal) and no `THOLD_DOWNUP`; expected our command's JSON",
            )
        })?,
    };
    let mut draft = Draft::new(grade);
    let device_name = first(fields, &["description"]);
    let address = first(fields, &["hostname"]);
    if device {
        draft.host = device_name.or(address).map(str::to_owned);
        if draft.host.is_none() {
            return Err(Failure::shape("no `THOLD_DESCRIPTION` and no `THOLD_HOSTNAME`"));
        }
    } else {
        let name = first(fields, &["thresholdname", "threshold", "name"]);
        let said = said.as_ref().and_then(|said| said.name.clone());
        let name = name.map(str::to_owned).or(said);
        let id = first(fields, &["id"]).map(|id| format!("threshold {id}"));
        let name = name.or(id).ok_or_else(|| Failure::shape("no `THOLD_THRESHOLDNAME`"))?;
        let (host, check) = split(&name, device_name);
        draft.host = host.or_else(|| device_name.or(address).map(str::to_owned));
        let source = first(fields, &["dsname", "datasource"]);
        draft.check = Some(match source {
            Some(source) if !check.ends_with(']') => format!("{check} [{source}]"),
            _ => check,
        });
        draft.tag("data_source", source);
    }
    draft.at = fields.time(&["tholdtime", "time", "tholddaterfc822", "tholddate", "date"], payload);
    draft.description = told(fields, subject, device);
    draft.tag("address", address.filter(|address| Some(*address) != draft.host.as_deref()));
    for (tag, names) in [
        ("site", &["site"][..]),
        ("location", &["location", "snmplocation"]),
        ("external_id", &["externalid"]),
        ("threshold_type", &["tholdtype"]),
    ] {
        draft.tag(tag, first(fields, names));
    }
    fields.tag(&mut draft);
    draft.link("graph", first(fields, &["url", "detailsurl"]));
    Ok(draft)
}

fn told(fields: &Fields<'_>, subject: Option<&str>, device: bool) -> String {
    let message = first(fields, &["message"]).filter(|message| !message.starts_with('<'));
    let mut text = subject.or(message).unwrap_or_default().to_owned();
    if device
        && let Some(message) = message.filter(|message| Some(*message) != subject)
        && !text.is_empty()
    {
        text += ": ";
        text += message;
    }
    if text.is_empty() {
        let value = first(fields, &["currentvalue", "value"]);
        let high = first(fields, &["hi"]);
        let low = first(fields, &["low"]);
        let limits: Vec<String> = [("high", high), ("low", low)]
            .into_iter()
            .filter_map(|(name, limit)| limit.map(|limit| format!("{name} {limit}")))
            .collect();
        if let Some(value) = value {
            text = format!("value {value}");
        }
        if !limits.is_empty() {
            text = format!("{text} (limits: {})", limits.join(", ")).trim_start().to_owned();
        }
    }
    if let Some(notes) = first(fields, &["notes"]) {
        if !text.is_empty() {
            text.push('\n');
        }
        text += notes;
    }
    text
}

/// A mail.
fn written(subject: &str, body: &str, at: Option<When>) -> Option<Draft> {
    let mut draft = from_subject(subject)?;
    draft.at = at;
    for line in body.lines().map(str::trim) {
        let Some((label, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match label.to_ascii_lowercase().as_str() {
            "url" | "link" => draft.link("graph", value),
            // `Device: web-1 (10.4.0.11)`.
            "device" | "host" => {
                if let Some(address) =
                    value.strip_suffix(')').and_then(|value| value.rsplit_once('('))
                {
                    draft.tag("address", address.1);
                }
            }
            _ => {}
        }
    }
    Some(draft)
}

/// A line of syslog, or only what thold wrote.
fn line(line: &str, payload: &Payload<'_>) -> Option<Draft> {
    let (head, text) = match line.split_once("CactiTholdLog") {
        Some((head, rest)) => (head, rest.split_once(": ").map_or(rest, |(_, text)| text)),
        None => ("", line),
    };
    let (subject, url) = match text.rsplit_once(" - http") {
        Some((subject, url)) => (subject, Some(format!("http{}", url.trim()))),
        None => (text, None),
    };
    let mut draft = from_subject(subject)?;
    draft.link("graph", url.as_deref());
    let head = match head.strip_prefix('<').and_then(|head| head.split_once('>')) {
        Some((_, head)) => head,
        None => head,
    };
    let stamp = head.split_whitespace().find(|word| word.contains('T') && word.contains(':'));
    let stamp = stamp.or_else(|| head.get(..15));
    draft.at = stamp.and_then(|stamp| times::text(stamp, payload)).filter(|at| *at != When::Unread);
    Some(draft)
}

/// What a subject says.
struct Said {
    grade: Grade,
    /// The threshold's name, or the device's.
    name: Option<String>,
    /// The address of a device.
    address: Option<String>,
    /// Whether it is of a device.
    device: bool,
}

fn from_subject(subject: &str) -> Option<Draft> {
    let said = said(subject)?;
    let name = said.name?;
    let mut draft = Draft::new(said.grade);
    if said.device {
        draft.host = Some(name);
    } else {
        let (host, check) = split(&name, None);
        draft.host = host;
        draft.check = Some(check);
    }
    draft.tag("address", said.address.as_deref());
    draft.description = subject.trim().to_owned();
    Some(draft)
}

fn said(subject: &str) -> Option<Said> {
    let subject = subject.trim();
    // Bytes stay where they are.
    let lower = subject.to_ascii_lowercase();
    for begin in ["device error: ", "host error: ", "device notice: ", "host notice: "] {
        if let Some(at) = lower.find(begin) {
            return device(subject.get(at + begin.len()..)?);
        }
    }
    let (word, name) = match subject.split_once(": ") {
        Some((word, name)) if is_phase(word) => (Some(word.trim()), name),
        _ => (None, subject),
    };
    let lower = name.to_ascii_lowercase();
    // The first of what can follow a name.
    let marks = [
        " went above ",
        " went below ",
        " is still ",
        " restored to ",
        " is now ",
        " went over ",
        " went under ",
        " exceeded ",
        " violated ",
        " triggered ",
        " changed to ",
        " is above ",
        " is below ",
    ];
    let end = marks.iter().filter_map(|mark| lower.find(mark)).min();
    let restored = lower.contains(" restored to ");
    let grade = match word.map(|word| word.rsplit('>').next().unwrap_or(word).trim()) {
        _ if restored => Grade::Recovered,
        Some(word) if word.eq_ignore_ascii_case("normal") => Grade::Recovered,
        Some(word) if word.eq_ignore_ascii_case("warning") => {
            Grade::problem("WARNING", Status::Warning)
        }
        Some(_) => Grade::problem("ALERT", Status::Critical),
        // Old releases have no word.
        None if end.is_some() => Grade::problem("ALERT", Status::Critical),
        None => return None,
    };
    let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default().trim();
    let name = (!name.is_empty()).then(|| name.to_owned());
    Some(Said { grade, name, address: None, device: false })
}

fn is_phase(word: &str) -> bool {
    word.split('>').all(|word| {
        let word = word.trim().to_ascii_uppercase();
        matches!(word.as_str(), "ALERT" | "WARNING" | "NORMAL" | "TRIGGER" | "RESTORAL" | "NOTICE")
    })
}

/// `web-1 (10.4.0.11) is DOWN` and `web-1 (10.4.0.11) returned from DOWN state`.
fn device(text: &str) -> Option<Said> {
    let lower = text.to_ascii_lowercase();
    let (end, grade) = if let Some(end) = lower.find(" returned from down") {
        (end, Grade::Recovered)
    } else {
        let end = lower.rfind(" is ")?;
        let state = lower.get(end + 4..)?.trim().trim_end_matches(['!', '.']);
        let grade = match state.split_whitespace().next()? {
            "up" | "recovering" | "recovered" => Grade::Recovered,
            _ => Grade::problem("DOWN", Status::Critical),
        };
        (end, grade)
    };
    let name = text.get(..end)?.trim();
    let (name, address) = match name.strip_suffix(')').and_then(|name| name.rsplit_once(" (")) {
        Some((name, address)) => (name.trim(), Some(address.to_owned())),
        None => (name, None),
    };
    (!name.is_empty()).then(|| Said { grade, name: Some(name.to_owned()), address, device: true })
}

/// A threshold's name: the host, and what is behind it.
fn split(name: &str, device: Option<&str>) -> (Option<String>, String) {
    let name = name.trim();
    // Where the device is known its name may hold a ` - ` of its own.
    let known = device.and_then(|device| {
        let rest = name.strip_prefix(device)?.strip_prefix(" - ")?;
        Some((device, rest))
    });
    match known.or_else(|| name.split_once(" - ")) {
        Some((host, check)) if !host.trim().is_empty() && !check.trim().is_empty() => {
            (Some(host.trim().to_owned()), check.trim().to_owned())
        }
        _ => (None, Cow::Borrowed(name).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(subject: &str) -> (String, String, Grade) {
        let draft = from_subject(subject).expect("a subject of thold");
        (draft.host.unwrap_or_default(), draft.check.unwrap_or_default(), draft.grade)
    }

    #[test]
    fn one_threshold_has_one_name_in_all_its_subjects() {
        for subject in [
            "ALERT: web-1 - Load Average [load_1min] went above Threshold of 10 with 12.3",
            "ALERT: web-1 - Load Average [load_1min] is still above Threshold of 10 with 12.3",
            "WARNING: web-1 - Load Average [load_1min] went above Warning Threshold of 5 with 6",
            "ALERT > WARNING: web-1 - Load Average [load_1min] Changed to Warning Threshold with Value 6",
            "NORMAL: web-1 - Load Average [load_1min] Restored to Normal Threshold with Value 1",
            "web-1 - Load Average [load_1min] went above threshold of 10 with 12",
            "web-1 - Load Average [load_1min] restored to normal threshold with value 1",
        ] {
            let (host, check, _) = of(subject);
            assert_eq!(
                (host.as_str(), check.as_str()),
                ("web-1", "Load Average [load_1min]"),
                "{subject}"
            );
        }
        assert_eq!(
            of("NORMAL: a - b restored to Normal Threshold with value 1").2,
            Grade::Recovered
        );
        assert_eq!(
            of("ALERT > WARNING: a - b is now x").2,
            Grade::problem("WARNING", Status::Warning)
        );
    }

    #[test]
    fn other_subjects_are_none() {
        for subject in ["", "Re: lunch", "ALERT", "web-1 is fine", "Cacti: weekly report"] {
            assert!(from_subject(subject).is_none(), "{subject}");
        }
    }
}
