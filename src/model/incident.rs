//! What an incident remembers beside its alerts.

use super::alert::Resolution;
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
    /// The tag and value of the alert that opened the incident, where the pattern is about what is
    /// near it; the others are within its hops of that node, not of each other.
    pub near: Option<(Box<str>, Box<str>)>,
}

/// Who acknowledged, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// A person or a source.
    pub by: Box<str>,
    /// By event time.
    pub at: Timestamp,
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
    /// The append time of the last `updated`.
    pub updated_at: Option<Timestamp>,
    /// By log time, when it is said again that it flaps; none while no alert of it does.
    pub remind_at: Option<Timestamp>,
    /// The alerts whose `updated` waits for its minute to pass; at most 50, the first ones.
    pub updates: Vec<AlertId>,
}
