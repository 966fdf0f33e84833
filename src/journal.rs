//! The seam between the stages and where their logs live.
//!
//! A journal keeps topics of records in partitions, rows beside them, and positions. Three backs:
//! `memory` (tests, replay), `sqlite` (the embedded default) and `kafka`. What a feed promises is
//! the same for all: whatever a commit holds becomes durable as one, or not at all.

use std::time::Duration;

use crate::model::Timestamp;
use crate::stage::{Kind, Offset, Outgoing, Record, Route, Row, Slot, Topic};

pub mod memory;
pub mod sqlite;

/// What reads a topic of Muster's, with its own positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Suppression of `muster.events`: no rows; at least once.
    Suppress,
    /// Correlate: `muster.alerts`, rows in `muster.state`; rows, outputs and position as one.
    Correlate,
    /// Notify: `muster.incidents`, rows in `muster.deliveries`; rows before position.
    Notify,
}

impl Group {
    /// What it reads.
    #[must_use]
    pub const fn input(self) -> Topic {
        match self {
            Self::Suppress => Topic::Events,
            Self::Correlate => Topic::Alerts,
            Self::Notify => Topic::Incidents,
        }
    }

    /// Where its rows live.
    #[must_use]
    pub const fn rows(self) -> Option<Topic> {
        match self {
            Self::Suppress => None,
            Self::Correlate => Some(Topic::State),
            Self::Notify => Some(Topic::Deliveries),
        }
    }

    /// The word for it in group names, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Correlate => "correlate",
            Self::Notify => "notify",
        }
    }
}

/// What to do about a journal's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Whatever came after the last successful commit is void; the feed will hand out its
    /// partitions again, from their committed positions. Drop the state and go on.
    Retry,
    /// No use going on; a person must act.
    Fatal,
}

/// Something the journal could not do.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct JournalError {
    /// What to do about it.
    pub class: Class,
    /// What was attempted, with topic, partition and offset where there are.
    pub doing: String,
    /// What went wrong and, where it is known, what to do.
    pub why: String,
}

impl JournalError {
    /// Worth another try.
    pub fn retry(doing: impl Into<String>, why: impl ToString) -> Self {
        Self { class: Class::Retry, doing: doing.into(), why: why.to_string() }
    }

    /// Beyond repair from here.
    pub fn fatal(doing: impl Into<String>, why: impl ToString) -> Self {
        Self { class: Class::Fatal, doing: doing.into(), why: why.to_string() }
    }
}

/// Records that were read together.
pub trait Records: Send {
    /// How many.
    fn len(&self) -> usize;

    /// One of them, with the partition it is from. In order within a partition.
    fn get(&self, index: usize) -> (Slot, Record<'_>);

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Records that were read together.
pub type Batch = Box<dyn Records>;

/// What polling a feed found.
pub enum Polled {
    /// Nothing within the time given.
    Idle,
    /// These partitions are ours from now on: restore, then expect records.
    Assigned(Vec<Slot>),
    /// These partitions are not ours any more: drop what was held for them.
    Revoked(Vec<Slot>),
    /// Records.
    Batch(Batch),
}

/// What becomes durable as one.
#[derive(Debug, Default)]
pub struct Commit {
    /// Changed rows, with the partition whose state they are.
    pub rows: Vec<(Slot, Row)>,
    /// Records for other topics.
    pub records: Vec<Outgoing>,
    /// The next record to read, for each partition read from.
    pub positions: Vec<(Slot, Offset)>,
}

impl Commit {
    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.records.is_empty() && self.positions.is_empty()
    }
}

/// Reads partitions and commits what was made of them. One thread owns it.
///
/// After an error of class `Retry`, from whichever call, everything since the last successful
/// commit is void and the feed announces its partitions by `Assigned` anew.
pub trait Feed: Send {
    /// Waits for records or a change of assignment, at most `wait`.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError>;

    /// Hands over every row of a partition that was just assigned.
    ///
    /// # Errors
    /// When the rows cannot be read.
    fn restore(
        &mut self,
        slot: Slot,
        row: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), JournalError>;

    /// Makes all of it durable. A feed that is at least once may answer before that and report a
    /// failure at a later call, but never commits a position before what it stands for.
    ///
    /// # Errors
    /// When it could not be made durable; nothing of it counts then.
    fn commit(&mut self, commit: Commit) -> Result<(), JournalError>;

    /// How many records wait behind the position, as far as is known.
    fn lag(&self) -> Vec<(Slot, u64)>;

    /// Waits for what is under way and gives the partitions up.
    ///
    /// # Errors
    /// When what was under way could not be made durable.
    fn close(self: Box<Self>) -> Result<(), JournalError>;
}

/// Appends records from outside any feed. One thread owns it.
pub trait Appender: Send {
    /// Sends records; they need not be durable yet.
    ///
    /// # Errors
    /// When they cannot be taken.
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError>;

    /// Waits until everything begun is durable.
    ///
    /// # Errors
    /// When any of it is not; the caller must take all of it for lost.
    fn settle(&mut self) -> Result<(), JournalError>;

    /// Sets or deletes rows of a topic that no group owns, and waits until that is durable.
    ///
    /// # Errors
    /// When it could not be made durable, or rows cannot be set here.
    fn put(&mut self, topic: Topic, _: Vec<(Route, Row)>) -> Result<(), JournalError> {
        Err(JournalError::fatal(format!("put of rows into {topic}"), "only records go here"))
    }

    /// Sends records and waits until they are durable.
    ///
    /// # Errors
    /// As `begin` and `settle`.
    fn append(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        self.begin(records)?;
        self.settle()
    }
}

/// From where a follower reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The oldest record kept.
    Beginning,
    /// What is appended from now on.
    End,
}

/// What a follower found.
pub enum Followed {
    /// Committed records, of any partition; `Slot::input` is 0.
    Batch(Batch),
    /// Everything that was committed when the follower was made has been handed out. Said once.
    CaughtUp,
    /// Nothing new within the time given.
    Idle,
}

/// Reads all partitions of a topic without a position of its own, committed records only. For a
/// topic of rows it hands out each row as a record; none for a deleted one.
pub trait Follower: Send {
    /// Waits for records, at most `wait`.
    ///
    /// # Errors
    /// When the topic cannot be read.
    fn poll(&mut self, wait: Duration) -> Result<Followed, JournalError>;
}

/// Where the logs live. Shared by all workers.
pub trait Journal: Send + Sync {
    /// How many partitions a topic has.
    fn partitions(&self, topic: Topic) -> u32;

    /// Joins a group.
    ///
    /// # Errors
    /// When the journal cannot be reached or does not fit.
    fn feed(&self, group: Group) -> Result<Box<dyn Feed>, JournalError>;

    /// A way to append.
    ///
    /// # Errors
    /// When the journal cannot be reached.
    fn appender(&self) -> Result<Box<dyn Appender>, JournalError>;

    /// A way to read along.
    ///
    /// # Errors
    /// When the journal cannot be reached.
    fn follow(&self, topic: Topic, from: From) -> Result<Box<dyn Follower>, JournalError>;
}

/// A record that owns its bytes: what the memory and SQLite backs hand out, and tests compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The partition it is from.
    pub slot: Slot,
    /// Where it stands.
    pub offset: Offset,
    /// When it was appended.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// Its key; empty for none.
    pub key: Vec<u8>,
    /// Its bytes; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Further headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl OwnedRecord {
    /// A record of a batch, with bytes of its own; further headers are not in it.
    #[must_use]
    pub fn of(slot: Slot, record: &Record<'_>) -> Self {
        Self {
            slot,
            offset: record.offset,
            time: record.time,
            kind: record.kind,
            key: record.key.unwrap_or_default().to_vec(),
            value: record.value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    /// As a stage sees it.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record {
            offset: self.offset,
            time: self.time,
            kind: self.kind,
            key: (!self.key.is_empty()).then_some(&self.key),
            value: self.value.as_deref(),
            headers: Some(&self.headers),
        }
    }
}

impl Records for Vec<OwnedRecord> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, index: usize) -> (Slot, Record<'_>) {
        let owned = &self[index];
        (owned.slot, owned.record())
    }
}
