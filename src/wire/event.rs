//! The canonical event: what publishers send, what `muster.events` and updates carry.
//!
//! Written in full by `encode`; what publishers send is read leniently by `collect::decode`, what
//! Muster wrote itself is read strictly here.

use serde::{Deserialize, Serialize};

use super::to_vec;
use crate::model::event::{Links, Report};
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
    status: Report,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<Timestamp>,
    description: &'a str,
    tags: &'a Tags,
    links: &'a Links,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> Writing<'a> {
    fn new(event: &'a Event, arrival: Option<Timestamp>) -> Self {
        Self {
            source: &event.source,
            host: &event.host,
            check: &event.check,
            status: event.report,
            timestamp: event.timestamp,
            arrival,
            description: &event.description,
            tags: &event.tags,
            links: &event.links,
            key: event.key.as_deref(),
            expires_at: event.expires_at,
            id: event.id.as_deref(),
        }
    }
}

/// An event in canonical form, with its arrival: the value of `muster.events`.
#[must_use]
pub fn encode(event: &Event, arrival: Timestamp) -> Vec<u8> {
    to_vec(&Writing::new(event, Some(arrival)), 768)
}

/// An event in canonical form as a publisher would send it.
#[must_use]
pub fn canonical(event: &Event) -> Vec<u8> {
    to_vec(&Writing::new(event, None), 768)
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
    status: Report,
    timestamp: Timestamp,
    description: Box<str>,
    tags: Tags,
    links: Links,
    key: Option<Box<str>>,
    expires_at: Option<Timestamp>,
    id: Option<Box<str>>,
}

impl From<Reading> for Event {
    fn from(wire: Reading) -> Self {
        Self {
            source: wire.source,
            host: wire.host,
            check: wire.check,
            key: wire.key,
            report: wire.status,
            timestamp: wire.timestamp,
            description: wire.description,
            tags: wire.tags,
            links: wire.links,
            expires_at: wire.expires_at,
            id: wire.id,
        }
    }
}
