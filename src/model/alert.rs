//! The present state of one episode of one identity.

use super::event::{Identity, Links};
use super::id::{AlertId, IncidentId};
use super::incident::Pair;
use super::matcher::{Labels, Values};
use super::status::Status;
use super::tags::Tags;
use super::time::{Span, Timestamp};

/// Why an alert, or a whole incident, is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// The check reported `ok`.
    AllOk,
    /// The source fell silent for longer than the alert lives.
    Expired,
}

impl Resolution {
    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllOk => "all_ok",
            Self::Expired => "expired",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::AllOk, Self::Expired].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// Why a candidate incident was turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The start lies too far from the first alert's.
    OutsideWindow,
    /// The start lies too far from the latest alert's.
    OutsideGap,
    /// It has `max_alerts` alerts.
    Full,
    /// It is over, and its pattern has no gap that would reopen it.
    Resolved,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::OutsideWindow, Self::OutsideGap, Self::Full, Self::Resolved];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutsideWindow => "outside_window",
            Self::OutsideGap => "outside_gap",
            Self::Full => "full",
            Self::Resolved => "resolved",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A candidate incident that an alert did not join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedDown {
    /// Which one.
    pub incident: IncidentId,
    /// The pattern under which it was looked at.
    pub pattern: Box<str>,
    /// Why not.
    pub reason: Refusal,
    /// How far its first alert's start lies from the alert's.
    pub apart: Span,
}

/// A node on the way from an alert to what it is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The node's tag.
    pub tag: Box<str>,
    /// The node's value.
    pub value: Box<str>,
    /// The kind of the edge from the node before; none for the first.
    pub via: Option<Box<str>>,
}

/// Why an alert is in its incident.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Why {
    /// The pattern and the tag values it shared; none when it opened the incident.
    pub pair: Option<Pair>,
    /// Where the pattern is about what is near: the way from the alert's node to the incident's.
    pub path: Vec<Hop>,
    /// The time from the incident's first start to the alert's.
    pub apart: Span,
    /// The nearest candidates that were turned down, at most five.
    pub turned_down: Vec<TurnedDown>,
    /// How many more were turned down.
    pub more: u32,
}

/// What is known of an alert while it flaps: it fires, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaps {
    /// The event time of the change of status that was one too many.
    pub since: Timestamp,
    /// What the newest event said, which may be `ok`.
    pub said: Status,
    /// The event time at which it flaps no more, if its status has not changed by then.
    pub calm_at: Timestamp,
    /// The same by log time, for when nothing arrives.
    pub calm_due: Timestamp,
}

/// One episode of one identity: it fires, then it is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whose state it is.
    pub identity: Identity,
    /// The set of alerts it may correlate with.
    pub shard: Box<str>,
    /// The incident it belongs to.
    pub incident: IncidentId,
    /// The primary property.
    pub host: Box<str>,
    /// The secondary property; empty where there is none.
    pub check: Box<str>,
    /// What the newest event said; `ok` once resolved that way, the last word before the silence
    /// where it expired. While it flaps, the worst that it said since just before that began.
    pub status: Status,
    /// The event times of its last changes of status, oldest first: those that count towards
    /// flapping. None while it flaps.
    pub status_changes: Vec<Timestamp>,
    /// Whether it flaps.
    pub flapping: Option<Flaps>,
    /// The newest event's text.
    pub description: Box<str>,
    /// The newest event's tags.
    pub tags: Tags,
    /// The newest event's links.
    pub links: Links,
    /// When its first event happened.
    pub started_at: Timestamp,
    /// When its status or tags last changed.
    pub changed_at: Timestamp,
    /// The time of its newest event.
    pub newest: Timestamp,
    /// When it is over if nothing more is heard, by event time.
    pub alive_until: Timestamp,
    /// The append time of its last record.
    pub appended_at: Timestamp,
    /// How many events it stands for, repeats included.
    pub events: u64,
    /// Whether somebody acknowledged it in its source.
    pub acknowledged: bool,
    /// When and why it ended.
    pub resolved: Option<(Timestamp, Resolution)>,
    /// Why it is in its incident.
    pub why: Why,
}

impl Alert {
    /// Whether it is not over.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.resolved.is_none()
    }

    /// Whether it changes its status too often to be told each time.
    #[must_use]
    pub fn is_flapping(&self) -> bool {
        self.flapping.is_some()
    }

    /// What its newest event said, also while it flaps.
    #[must_use]
    pub fn said(&self) -> Status {
        self.flapping.map_or(self.status, |flaps| flaps.said)
    }
}

impl Labels for Alert {
    fn values(&self, name: &str) -> Values<'_> {
        match name {
            "source" => Values::one(self.identity.source()),
            "host" => Values::one(&self.host),
            "check" => Values::one(&self.check),
            "status" => Values::one(self.status.as_str()),
            _ => self.tags.values(name),
        }
    }
}
