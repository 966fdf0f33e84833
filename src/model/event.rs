//! One observation of one check, in canonical form, and the identity it belongs to.
//!
//! Reading it from bytes and holding it to the limits is `wire`'s and `collect`'s work.

use std::collections::BTreeMap;

use super::matcher::{Labels, Values};
use super::status::Status;
use super::tags::{TagValue, Tags};
use super::time::Timestamp;

/// What tells one alert from another: (source, host, check), or (source, key) when the sender
/// gives a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The usual one: the source, the primary and the secondary property.
    Check {
        /// The monitoring system.
        source: Box<str>,
        /// The primary property.
        host: Box<str>,
        /// The secondary property; empty where there is none.
        check: Box<str>,
    },
    /// The sender's own key.
    Key {
        /// The monitoring system.
        source: Box<str>,
        /// The key, unique within the source.
        key: Box<str>,
    },
}

impl Identity {
    /// By key where there is one, else by host and check; absent counts as empty.
    #[must_use]
    pub fn new(source: &str, host: Option<&str>, check: Option<&str>, key: Option<&str>) -> Self {
        match key {
            Some(key) => Self::Key { source: source.into(), key: key.into() },
            None => Self::Check {
                source: source.into(),
                host: host.unwrap_or_default().into(),
                check: check.unwrap_or_default().into(),
            },
        }
    }

    /// The parts whose equality is the equality of identities; the first names the form.
    #[must_use]
    pub fn parts(&self) -> [&str; 4] {
        match self {
            Self::Check { source, host, check } => ["check", source, host, check],
            Self::Key { source, key } => ["key", source, key, ""],
        }
    }

    /// The monitoring system.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Check { source, .. } | Self::Key { source, .. } => source,
        }
    }
}

/// What an event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The check has this status now.
    Status(Status),
    /// Somebody acknowledged the problem in the source; its status is what it was.
    Acknowledged,
}

impl Report {
    /// Whether something is wrong; else a problem is over, or acknowledged.
    #[must_use]
    pub fn is_problem(self) -> bool {
        !matches!(self, Self::Acknowledged | Self::Status(Status::Ok))
    }
}

/// Named web addresses, sorted by name.
pub type Links = BTreeMap<Box<str>, Box<str>>;

/// One observation of one check at `timestamp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The monitoring system, such as `nagios` or `zabbix.dc2`.
    pub source: Box<str>,
    /// The primary property: what the event is about. Empty where an event says no more than that
    /// the problem of its key is over, or acknowledged: its alert keeps what it has.
    pub host: Box<str>,
    /// The secondary property: what was looked at; empty where there is none.
    pub check: Box<str>,
    /// The sender's own identity of it, where it gives one.
    pub key: Option<Box<str>>,
    /// What was seen.
    pub report: Report,
    /// When it was seen.
    pub timestamp: Timestamp,
    /// One or a few sentences for people.
    pub description: Box<str>,
    /// Everything else that can be matched.
    pub tags: Tags,
    /// Where to look.
    pub links: Links,
    /// When the report loses its force without a further event, where the sender says so.
    pub expires_at: Option<Timestamp>,
    /// The sender's id of this very event; for tracing only.
    pub id: Option<Box<str>>,
}

impl Event {
    /// The identity it belongs to.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::new(&self.source, Some(&self.host), Some(&self.check), self.key.as_deref())
    }

    /// The status it reports; none for an acknowledgement.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self.report {
            Report::Status(status) => Some(status),
            Report::Acknowledged => None,
        }
    }
}

impl Labels for Event {
    fn values(&self, name: &str) -> Values<'_> {
        match name {
            "source" => Values::one(&self.source),
            "host" => Values::one(&self.host),
            "check" => Values::one(&self.check),
            "status" => Values::one(self.status().map_or("acknowledged", Status::as_str)),
            _ => self.tags.values(name),
        }
    }
}

impl Labels for Tags {
    fn values(&self, name: &str) -> Values<'_> {
        match self.get(name) {
            None => Values::None,
            Some(TagValue::One(value)) => Values::one(value),
            Some(TagValue::List(values)) => Values::Many(values),
        }
    }
}
