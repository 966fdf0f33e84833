//! Formats of monitoring systems: what reads a source's payloads. One format a file.
//!
//! A decoder turns bytes, and the headers that came with them, into drafts of events; what they
//! mean under a source's settings, and which limits hold, is `collect`'s work. Decoders are plain
//! functions: the same payload gives the same drafts, wherever and whenever.
//!
//! What a decoder owes everybody:
//! - **Identity.** It says of which class it is ([`Class`]), and gives the same identity for a
//!   problem, its repeats and its recovery.
//! - **Recovery comes from the state**, never from the severity beside it. No data, unknown and
//!   insufficient data are no recoveries.
//! - **Tags hold still.** What differs from one event of a problem to the next (values, counters,
//!   times, ids of events) belongs into the description, or is left out: a changed tag is news.
//! - **Unexpanded macros are absent** ([`macros`]), and so are empty texts and null.
//! - **Nothing is lost**: what cannot be read is rejected with a reason, what is readable but no
//!   alert (a test message, a confirmation) is said to be nothing, by name.

use jiff::tz::TimeZone;

use crate::model::{Span, Timestamp};
use crate::stage::Reason;

mod alertmanager;
mod azure;
mod bigpanda;
mod cacti;
mod checkmk;
mod cloudevents;
pub mod cloudwatch;
mod datadog;
pub mod draft;
mod dynatrace;
mod elk;
pub mod form;
mod gcp;
mod grafana;
mod graylog;
mod icinga;
mod jira;
pub mod json;
mod kapacitor;
mod labels;
mod librenms;
mod loose;
pub mod macros;
mod mail;
mod nagios;
mod nagios_family;
mod new_relic;
mod opsgenie;
mod otlp;
mod pagerduty;
mod pingdom;
mod sensu;
mod sentry;
pub mod times;
mod uptime_kuma;
mod uptimerobot;
mod zabbix;

pub use draft::{Draft, Grade, Tag, When};

/// A payload as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// The body, or the record's value.
    pub bytes: &'a [u8],
    /// The headers of the request or the record, names in lower case.
    pub headers: &'a [(String, Vec<u8>)],
    /// When it reached Muster.
    pub arrival: Timestamp,
    /// Where times without a zone are meant.
    pub zone: &'a TimeZone,
    /// The deepest nesting of objects and lists that is read.
    pub depth: usize,
}

impl<'a> Payload<'a> {
    /// A header's value, where it is there and readable; the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        std::str::from_utf8(value).ok().map(str::trim).filter(|value| !value.is_empty())
    }

    /// The bytes as text, without a byte order mark.
    ///
    /// # Errors
    /// When they are not UTF-8.
    pub fn text(&self) -> Result<&'a str, Failure> {
        let text = std::str::from_utf8(self.bytes)
            .map_err(|error| Failure::new(Reason::NotUtf8, error.to_string()))?;
        Ok(text.trim_start_matches('\u{feff}'))
    }
}

/// Why a payload, or an element of it, was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Of a closed set.
    pub reason: Reason,
    /// What was wrong, where, and what is expected.
    pub message: String,
}

impl Failure {
    /// A reason and what a person should know.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// JSON of another shape than the decoder's.
    pub fn shape(message: impl Into<String>) -> Self {
        Self::new(Reason::NotAnEvent, message)
    }
}

/// What a decoder found in a payload.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// An event.
    Event(Box<Draft>),
    /// Something readable that says nothing of an alert: a test, a confirmation, a measured value.
    Nothing(String),
    /// Something that cannot be read: of a list, this element of it; else all of it.
    Rejected {
        /// Its place in the payload's list; none where it is the whole payload.
        index: Option<usize>,
        /// Why.
        failure: Failure,
        /// The bytes of the element; none for those of the whole payload.
        bytes: Option<Vec<u8>>,
    },
}

impl Found {
    /// About how much memory it takes beyond itself, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Event(draft) => draft.bytes(),
            Self::Nothing(why) => why.len(),
            Self::Rejected { failure, bytes, .. } => {
                failure.message.len() + bytes.as_ref().map_or(0, Vec::len)
            }
        }
    }
}

impl From<Draft> for Found {
    fn from(draft: Draft) -> Self {
        Self::Event(Box::new(draft))
    }
}

impl From<Failure> for Found {
    fn from(failure: Failure) -> Self {
        Self::Rejected { index: None, failure, bytes: None }
    }
}

/// What makes two events of a format one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Host and check: the same for problem and recovery, and for the next problem.
    State,
    /// All labels.
    Labels,
    /// The sender's id of an episode: each problem is an alert of its own.
    Episode,
    /// A key that the sender chose.
    Key,
}

/// A format.
pub struct Decoder {
    /// Its word in configs and addresses: lower case, `_` between words.
    pub name: &'static str,
    /// Other words for it.
    pub aliases: &'static [&'static str],
    /// What makes two events one alert.
    pub class: Class,
    /// For formats that never say that a problem is over: how long an alert of theirs lives without
    /// a further event, where the source's settings say nothing.
    pub expire_after: Option<Span>,
    /// Reads a payload. Appends at least one find, but for an empty list of events; or fails, where all
    /// of the payload, or what is left of it, cannot be read.
    decode: fn(&Payload<'_>, &mut Vec<Found>) -> Result<(), Failure>,
}

impl Decoder {
    /// Reads a payload. Appends at least one find, but for an empty list of events.
    pub fn read(&self, payload: &Payload<'_>, found: &mut Vec<Found>) {
        if let Err(failure) = (self.decode)(payload, found) {
            found.push(failure.into());
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoder").field(&self.name).finish()
    }
}

impl PartialEq for Decoder {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Decoder {}

/// Every format but the canonical one, by name.
pub static ALL: &[&Decoder] = &[
    &alertmanager::DECODER,
    &azure::DECODER,
    &bigpanda::DECODER,
    &cacti::DECODER,
    &checkmk::DECODER,
    &cloudevents::DECODER,
    &cloudwatch::DECODER,
    &datadog::DECODER,
    &dynatrace::DECODER,
    &elk::DECODER,
    &gcp::DECODER,
    &grafana::DECODER,
    &graylog::DECODER,
    &icinga::DECODER,
    &jira::DECODER,
    &kapacitor::DECODER,
    &librenms::DECODER,
    &nagios::DECODER,
    &new_relic::DECODER,
    &opsgenie::DECODER,
    &otlp::DECODER,
    &pagerduty::DECODER,
    &pingdom::DECODER,
    &sensu::DECODER,
    &sentry::DECODER,
    &uptime_kuma::DECODER,
    &uptimerobot::DECODER,
    &zabbix::DECODER,
];

/// The names of all formats, for people.
#[must_use]
pub fn names() -> String {
    ALL.iter().map(|decoder| decoder.name).collect::<Vec<_>>().join(", ")
}

/// The format of a name; case, `-`, `_` and blanks do not matter.
#[must_use]
pub fn find(name: &str) -> Option<&'static Decoder> {
    let plain = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let wanted = plain(name);
    let named = |decoder: &&&Decoder| {
        plain(decoder.name) == wanted || decoder.aliases.iter().any(|alias| plain(alias) == wanted)
    };
    ALL.iter().find(named).copied()
}

#[cfg(test)]
mod tests;
