//! Nagios, and what speaks like it: Naemon, Shinken, Nagios XI, and agents that submit results (NCPA,
//! `NSClient++`, `send_nrdp`).
//!
//! Shapes, told apart by the bytes:
//! - the JSON of our notification command (`deploy/sources/nagios/notify`), or any JSON object of
//!   macros (`HOSTNAME`, `NAGIOS_SERVICESTATE`, …); one, a list, or one a line;
//! - notification mails, whole or only their text, also as `{"subject", "body"}`;
//! - lines of `nagios.log` (`[epoch] SERVICE ALERT: …`), external commands
//!   (`PROCESS_SERVICE_CHECK_RESULT;…`) and the input of `send_nsca` (fields between tabs), also as
//!   the `message` of a log shipper's JSON;
//! - NRDP: the form with `json=`, `xml=` or `command=`, and the JSON or XML alone.
//!
//! Identity: host and service description, the host alone for states of hosts. Severity and kinds of
//! notification: see [`nagios_family`]. Soft states are marked as such, and dropped where the source
//! does not keep them. Recovery: a state that is over (OK, UP, 0), whatever the kind of notification.
//! Times: seconds since 1970 where there are any; a mail's without a zone are meant in the source's.
//!
//! Traps: mails name the host by its alias for services; a log has a problem as an alert and once
//! more for each contact (one payload tells it once); output may hold `;` and `|`; results of
//! passive checks have numbers for states, as texts in NRDP.

use std::borrow::Cow;

use super::nagios_family::{self, Fields};
use super::{Class, Decoder, Failure, Found, Payload, json, mail};
use crate::stage::Reason;

mod log;
mod nrdp;

/// Nagios.
pub(super) const DECODER: Decoder = Decoder {
    name: "nagios",
    aliases: &["nagios_core", "nagios_xi", "naemon", "shinken", "nrdp", "nsca"],
    class: Class::State,
    expire_after: None,
    decode,
};

fn decode(payload: &Payload<'_>, found: &mut Vec<Found>) -> Result<(), Failure> {
    let text = payload.text()?;
    let begin = text.trim_start();
    if begin.is_empty() {
        return Err(Failure::new(Reason::Empty, "no bytes at all"));
    }
    if log::is_line(begin.lines().next().unwrap_or_default()) {
        lines(text, payload, found);
        return Ok(());
    }
    if begin.starts_with('<') {
        return nrdp::xml(begin, payload, found);
    }
    if begin.starts_with(['{', '[', '"']) {
        return json::objects(payload, found, |object, found| one(object, payload, found));
    }
    if nrdp::is_form(begin) {
        return nrdp::form(begin, payload, found);
    }
    let mail = mail::read(begin);
    if let Some(fields) = nagios_family::mail(mail.subject.as_deref(), &mail.body) {
        found.push(written(fields, mail.date.as_deref(), payload)?);
        return Ok(());
    }
    // A log may begin with a line of another kind.
    if begin.lines().any(log::is_line) {
        lines(text, payload, found);
        return Ok(());
    }
    Err(Failure::shape(
        "neither our notification's JSON, a notification mail, lines of nagios.log, external \
         commands nor NRDP",
    ))
}

/// A mail's fields; its own date where its text has none.
fn written<'a>(
    mut fields: Fields<'a>,
    date: Option<&'a str>,
    payload: &Payload<'_>,
) -> Result<Found, Failure> {
    if let Some(date) = date {
        fields.add("longdatetime", Cow::Borrowed(date));
    }
    nagios_family::notification(&fields, payload)
}

fn lines(text: &str, payload: &Payload<'_>, found: &mut Vec<Found>) {
    let lines = text.split(['\n', '\u{17}']).map(str::trim);
    let mut told = log::Seen::new();
    let several = lines.clone().filter(|line| !line.is_empty()).nth(1).is_some();
    for (index, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        match log::line(line, payload, &mut told) {
            Ok(one) => found.push(one),
            Err(failure) if several => {
                let bytes = Some(line.as_bytes().to_vec());
                found.push(Found::Rejected { index: Some(index), failure, bytes });
            }
            Err(failure) => found.push(failure.into()),
        }
    }
}

fn one(
    object: &json::Object,
    payload: &Payload<'_>,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    if nrdp::is_result(object) {
        return nrdp::results(object, payload, found);
    }
    // What ships a log or a mail as JSON.
    for name in ["message", "line", "log", "text", "body", "content"] {
        let Some(text) = object.get(name).and_then(serde_json::Value::as_str) else { continue };
        if log::is_line(text.trim_start()) {
            lines(text, payload, found);
            return Ok(());
        }
        let read = mail::read(text);
        let subject = json::text(object, "subject");
        let subject = subject.as_deref().or(read.subject.as_deref());
        if let Some(fields) = nagios_family::mail(subject, &read.body) {
            found.push(written(fields, json::text(object, "date").as_deref(), payload)?);
            return Ok(());
        }
    }
    found.push(nagios_family::notification(&Fields::of(object), payload)?);
    Ok(())
}
