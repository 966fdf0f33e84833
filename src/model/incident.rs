//! What an incident remembers beside its alerts.

use super::alert::{MoveKind, Resolution};
use super::command::Snoozed;
use super::hold::Hold;
use super::id::{AlertId, IncidentId};
use super::status::Status;
use super::tags::Tags;
use super::time::Timestamp;

/// A pattern and the values of its tags: what alerts of one incident share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The name of the pattern.
    pub pattern: Box<str>,
    /// Tag and value, in the pattern's order.
    pub by: Vec<(Box<str>, Box<str>)>,
    /// The source, where the pattern keeps sources apart.
    pub source: Option<Box<str>>,
    /// Whether it is of chronic alerts, which the pattern keeps apart.
    pub chronic: bool,
    /// The tag and value of the alert that opened the incident, where the pattern is about what is
    /// near it; the others are within its hops of that node, not of each other.
    pub near: Option<(Box<str>, Box<str>)>,
}

/// Who acknowledged, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// A person or a source.
    pub by: Box<str>,
    /// By event time, where a source did; else by log time.
    pub at: Timestamp,
    /// By log time, when it ends by itself.
    pub until: Option<Timestamp>,
}

/// How many incidents one names that its alerts came from or went to; the newest.
pub const LINKS_MAX: usize = 50;

/// What an incident was when all its alerts went to others by command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Where they went; none where each got an incident of its own.
    pub into: Option<IncidentId>,
    /// How.
    pub kind: MoveKind,
    /// By log time.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: Box<str>,
    /// The request by whose id it can be taken back.
    pub request: Box<str>,
    /// How it was over before that, where it was.
    pub resolved: Option<(Timestamp, Resolution)>,
    /// What it was called.
    pub title: Box<str>,
    /// Its hosts; at most 50.
    pub hosts: Vec<Box<str>>,
    /// Its checks; at most 50.
    pub checks: Vec<Box<str>>,
    /// Its sources; at most 50.
    pub sources: Vec<Box<str>>,
}

/// Alerts that belong together. What can be counted from its alerts is not in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// How many changes were told of it.
    pub revision: u64,
    /// The set of alerts it may draw from.
    pub shard: Box<str>,
    /// The start of the alert that opened it; fixed.
    pub first: Timestamp,
    /// The latest start of its alerts.
    pub latest: Timestamp,
    /// The append time of the record that opened it.
    pub opened_at: Timestamp,
    /// By event time, when something last happened to it.
    pub changed_at: Timestamp,
    /// When and why it ended.
    pub resolved: Option<(Timestamp, Resolution)>,
    /// The worst status it ever had.
    pub severity: Status,
    /// What all its alerts shared when they joined, in pattern order.
    pub pairs: Vec<Pair>,
    /// The tags that all its alerts had, with the same value, when they joined.
    pub tags: Tags,
    /// The incident that was full before this one.
    pub continues: Option<IncidentId>,
    /// The incident that was opened when this one was full.
    pub continued_by: Option<IncidentId>,
    /// Who acknowledged it.
    pub acknowledged: Option<Acknowledged>,
    /// Whose it is.
    pub assignee: Option<Box<str>>,
    /// By whom and until when it is kept quiet.
    pub snoozed: Option<Snoozed>,
    /// The append time of the last `updated`.
    pub updated_at: Option<Timestamp>,
    /// By log time, when it is said again that it flaps; none while no alert of it does.
    pub remind_at: Option<Timestamp>,
    /// The alerts whose `updated` waits for its minute to pass; at most 50, the first ones.
    pub updates: Vec<AlertId>,
    /// What it was, where all its alerts went to others by command.
    pub gone: Option<Box<Gone>>,
    /// The incidents that were merged into it; at most [`LINKS_MAX`].
    pub merged_from: Vec<IncidentId>,
    /// The incident that its alerts were split off from.
    pub split_from: Option<IncidentId>,
    /// The incidents that were split off from it; at most [`LINKS_MAX`].
    pub split_into: Vec<IncidentId>,
    /// The append time of the last command that moved its alerts, or of the end of a wait that did.
    pub reshaped_at: Option<Timestamp>,
    /// Why nobody is told of it; none once somebody is, or was.
    pub hold: Option<Box<Hold>>,
}

impl Incident {
    /// Whether somebody resolved it by hand, and nothing has reopened it since.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        matches!(self.resolved, Some((_, Resolution::ByHand)))
    }
}
