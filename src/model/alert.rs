//! The present state of one episode of one identity.

use super::event::{Identity, Links};
use super::id::{AlertId, IncidentId};
use super::incident::Pair;
use super::maintenance::Maintained;
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
    /// Somebody said so, whatever the check says.
    ByHand,
    /// Its alerts are another incident's; only of incidents.
    Merged,
    /// Each of its alerts has an incident of its own; only of incidents.
    Split,
}

impl Resolution {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::AllOk, Self::Expired, Self::ByHand, Self::Merged, Self::Split];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllOk => "all_ok",
            Self::Expired => "expired",
            Self::ByHand => "by_hand",
            Self::Merged => "merged",
            Self::Split => "split",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
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
    /// The last alert of its identity was split off from it.
    SplitOff,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::OutsideWindow, Self::OutsideGap, Self::Full, Self::Resolved, Self::SplitOff];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutsideWindow => "outside_window",
            Self::OutsideGap => "outside_gap",
            Self::Full => "full",
            Self::Resolved => "resolved",
            Self::SplitOff => "split_off",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// On which side of an incident's bounds a start lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The alert started before them.
    Early,
    /// It started after them.
    Late,
}

impl Side {
    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Late => "late",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Early, Self::Late].into_iter().find(|side| side.as_str() == text)
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
    /// By how much the alert's start misses the pattern's window and gap around it, and on which
    /// side; none where it lies within both.
    pub missed: Option<(Span, Side)>,
    /// What else stood in the way: what the reason would have been, had it started within.
    pub besides: Vec<Refusal>,
}

/// A pattern that an alert fits but for a tag that it does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The pattern.
    pub pattern: Box<str>,
    /// The first of its tags that is missing.
    pub tag: Box<str>,
}

/// How an alert came from one incident into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MoveKind {
    /// Its incident was merged into the other.
    Merged,
    /// It was split off.
    Split,
    /// The patterns that were in force by then put it there.
    Recorrelated,
    /// The patterns that held it asked in vain for more alerts; another one put it there.
    Lapsed,
}

impl MoveKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Merged, Self::Split, Self::Recorrelated, Self::Lapsed];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Split => "split",
            Self::Recorrelated => "recorrelated",
            Self::Lapsed => "lapsed",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One step of an alert from one incident into another, by command or at the end of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// How.
    pub kind: MoveKind,
    /// The incident it was in before.
    pub from: IncidentId,
    /// Who asked for it; [`MUSTER`] where nobody did.
    pub by: Box<str>,
    /// By log time.
    pub at: Timestamp,
    /// The request by whose id it can be taken back; empty where nobody asked for it.
    pub request: Box<str>,
}

/// Who moved an alert where no person did.
pub const MUSTER: &str = "muster";

/// How many moves of an alert are remembered; of more the oldest is forgotten, and stands.
pub const MOVES_MAX: usize = 16;

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
    /// Where it joined no other alert: the first patterns, at most five, that it fits but for a tag.
    pub lacks: Vec<Lack>,
    /// How commands moved it since it joined, the newest last; at most [`MOVES_MAX`].
    pub moves: Vec<Moved>,
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
    /// where it expired or was dismissed. While it flaps, the worst that it said since just before that began.
    pub status: Status,
    /// The event times of its last changes of status, oldest first: those that count towards
    /// flapping. None while it flaps.
    pub status_changes: Vec<Timestamp>,
    /// Whether it flaps.
    pub flapping: Option<Flaps>,
    /// The planned work it is part of, or was and has not changed since; once it is over, what it was
    /// part of at its end.
    pub maintenance: Option<Maintained>,
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
    /// When its newest event was said once more, by log time: a source that does not move the time of
    /// what it repeats still says so.
    pub restated_at: Option<Timestamp>,
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
    /// Whether its identity fired steadily by the time it began.
    pub chronic: bool,
}

impl Alert {
    /// Whether it is not over.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.resolved.is_none()
    }

    /// Whether somebody resolved it by hand, and its status has not changed since.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        matches!(self.resolved, Some((_, Resolution::ByHand)))
    }

    /// Whether it changes its status too often to be told each time.
    #[must_use]
    pub fn is_flapping(&self) -> bool {
        self.flaps().is_some()
    }

    /// What is known of it while it fires and flaps. What was dismissed keeps it for an undo.
    #[must_use]
    pub fn flaps(&self) -> Option<Flaps> {
        self.flapping.filter(|_| self.is_firing())
    }

    /// Whether it fires, but does not count for its incident's status: planned work is about it, or
    /// was and it is quiet since.
    #[must_use]
    pub fn is_maintained(&self) -> bool {
        self.is_firing() && self.maintenance.is_some()
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
