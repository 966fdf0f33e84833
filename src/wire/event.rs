//! The canonical event: what publishers send, what `muster.events` and updates carry.
//!
//! Written in full by `encode`; what publishers send is read leniently by `collect::decode`, what
//! Muster wrote itself is read strictly here.

use serde::{Deserialize, Serialize};

use super::WireError;
use super::common::{WireLinks, status};
use crate::model::event::Report;
use crate::model::{Event, Tags, Timestamp};

const ACKNOWLEDGED: &str = "acknowledged";

/// The word for what an event reports.
#[must_use]
pub fn report_word(report: Report) -> &'static str {
    match report {
        Report::Status(status) => status.as_str(),
        Report::Acknowledged => ACKNOWLEDGED,
    }
}

/// What an event reports, from its word.
#[must_use]
pub fn parse_report(word: &str) -> Option<Report> {
    if word.eq_ignore_ascii_case(ACKNOWLEDGED) {
        return Some(Report::Acknowledged);
    }
    crate::model::Status::parse(word).map(Report::Status)
}

#[derive(Serialize)]
struct Writing<'a> {
    source: &'a str,
    host: &'a str,
    check: &'a str,
    status: &'a str,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<i64>,
    description: &'a str,
    tags: &'a Tags,
    links: &'a WireLinks,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> Writing<'a> {
    fn new(event: &'a Event, arrival: Option<Timestamp>) -> Self {
        Self {
            source: &event.source,
            host: &event.host,
            check: &event.check,
            status: report_word(event.report),
            timestamp: event.timestamp.as_millis(),
            arrival: arrival.map(Timestamp::as_millis),
            description: &event.description,
            tags: &event.tags,
            links: &event.links,
            key: event.key.as_deref(),
            expires_at: event.expires_at.map(Timestamp::as_millis),
            id: event.id.as_deref(),
        }
    }
}

/// An event in canonical form, with its arrival: the value of `muster.events`.
#[must_use]
pub fn encode(event: &Event, arrival: Timestamp) -> Vec<u8> {
    serde_json::to_vec(&Writing::new(event, Some(arrival))).expect("an event has only text keys")
}

/// An event inside another form.
pub(super) fn nested<S: serde::Serializer>(
    event: &&Event,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Writing::new(event, None).serialize(serializer)
}

/// An event as Muster wrote it.
#[derive(Deserialize)]
pub(super) struct Reading {
    source: Box<str>,
    host: Box<str>,
    check: Box<str>,
    status: Box<str>,
    timestamp: i64,
    description: Box<str>,
    tags: Tags,
    links: WireLinks,
    key: Option<Box<str>>,
    expires_at: Option<i64>,
    id: Option<Box<str>>,
}

impl TryFrom<Reading> for Event {
    type Error = WireError;

    fn try_from(wire: Reading) -> Result<Self, WireError> {
        let report = parse_report(&wire.status).map_or_else(
            // `status` makes the error.
            || status(&wire.status).map(Report::Status),
            Ok,
        )?;
        Ok(Self {
            source: wire.source,
            host: wire.host,
            check: wire.check,
            key: wire.key,
            report,
            timestamp: Timestamp::from_millis(wire.timestamp),
            description: wire.description,
            tags: wire.tags,
            links: wire.links,
            expires_at: wire.expires_at.map(Timestamp::from_millis),
            id: wire.id,
        })
    }
}
