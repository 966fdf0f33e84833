//! Feeds that are at least once: notify, suppression, and source topics.
//!
//! A position is committed only after what was made of its records is acknowledged. Collect's
//! feeds are pipelined one deep: while the records of one commit are on their way the next batch
//! is worked on. Any failure takes back everything that is not committed.

use std::time::Duration;

use rdkafka::consumer::CommitMode;
use tracing::warn;

use super::bounded::Backoff;
use super::consumer::{Event, GroupConsumer};
use super::producer::KafkaAppender;
use super::rows;
use super::settings::Cluster;
use super::slots::Seat;
use crate::journal::{Appender, Commit, Feed, JournalError, Polled};
use crate::stage::{Offset, Slot, Topic};

/// Where a feed's records go.
pub(super) enum Out {
    /// To the cluster that is read, with rows.
    Rows { appender: KafkaAppender, topic: Topic, name: String },
    /// To any journal, without rows.
    Any(Box<dyn Appender>),
}

/// Whether a commit waits for its own acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It does.
    Now,
    /// The next commit, or the next idle poll, waits for them.
    OneBehind,
}

pub(super) struct PlainFeed {
    pub(super) consumer: GroupConsumer,
    pub(super) out: Out,
    pub(super) depth: Depth,
    pub(super) cluster: Cluster,
    pub(super) group: String,
    /// Positions whose records are on their way.
    pub(super) pending: Option<Vec<(Slot, Offset)>>,
    /// What came after the last commit is void and the partitions are to be announced anew.
    pub(super) void: bool,
    pub(super) backoff: Backoff,
    /// Keeps this feed's name its own.
    pub(super) _seat: Seat,
}

impl PlainFeed {
    fn fail<T>(&mut self, error: JournalError) -> Result<T, JournalError> {
        warn!(%error, group = self.group, "back to the committed positions");
        self.void = true;
        self.backoff.failed();
        Err(error)
    }

    /// Waits for what is on its way and commits its positions.
    fn settle(&mut self, mode: CommitMode) -> Result<(), JournalError> {
        let Some(positions) = self.pending.take() else { return Ok(()) };
        self.appender().settle()?;
        if !positions.is_empty() {
            self.consumer.commit(&positions, mode)?;
        }
        self.backoff.succeeded();
        Ok(())
    }

    /// Forgets what is on its way. It may arrive all the same: at least once.
    fn forget(&mut self) {
        self.pending = None;
        if let Err(error) = self.appender().settle() {
            warn!(%error, group = self.group, "records under way were lost with their positions");
        }
    }

    fn appender(&mut self) -> &mut dyn Appender {
        match &mut self.out {
            Out::Rows { appender, .. } => appender,
            Out::Any(appender) => appender.as_mut(),
        }
    }

    /// Back to the committed positions. Nothing while it is too early.
    fn recover(&mut self, wait: Duration) -> Result<Option<Vec<Slot>>, JournalError> {
        let remaining = self.backoff.remaining();
        if !remaining.is_zero() {
            self.consumer.serve(wait.min(remaining))?;
            return Ok(None);
        }
        self.forget();
        match self.consumer.rewind() {
            Ok(slots) => {
                self.void = false;
                Ok(Some(slots))
            }
            Err(error) => self.fail(error),
        }
    }

    fn answer(&mut self, event: Event) -> Result<Polled, JournalError> {
        match event {
            Event::Idle => {
                self.settle(CommitMode::Async)?;
                Ok(Polled::Idle)
            }
            Event::Batch(batch) => Ok(Polled::Batch(Box::new(batch))),
            Event::Assign(slots) => {
                // What is committed in the background must be there before positions are fetched.
                self.settle(CommitMode::Sync)?;
                self.consumer.take(&slots)?;
                Ok(if slots.is_empty() { Polled::Idle } else { Polled::Assigned(slots) })
            }
            Event::Revoke { slots, lost } => {
                if lost {
                    self.forget();
                } else if let Err(error) = self.settle(CommitMode::Sync) {
                    // The next owner does it again. Others that were part of it are ours still.
                    self.consumer.release(&slots)?;
                    return Err(error);
                }
                self.consumer.release(&slots)?;
                Ok(Polled::Revoked(slots))
            }
        }
    }

    fn begin(&mut self, commit: Commit) -> Result<(), JournalError> {
        match &mut self.out {
            Out::Rows { appender, topic, .. } => {
                appender.begin_rows(*topic, &commit.rows)?;
                appender.begin(commit.records)?;
            }
            Out::Any(appender) => {
                debug_assert!(commit.rows.is_empty(), "a feed without rows was given rows");
                appender.begin(commit.records)?;
            }
        }
        self.pending = Some(commit.positions);
        Ok(())
    }
}

impl Feed for PlainFeed {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        if self.void {
            return Ok(match self.recover(wait)? {
                Some(slots) if !slots.is_empty() => Polled::Assigned(slots),
                _ => Polled::Idle,
            });
        }
        if let Some(error) = self.consumer.commit_failure() {
            return self.fail(error);
        }
        let wait = if self.pending.is_some() { Duration::from_millis(1).min(wait) } else { wait };
        match self.consumer.poll(wait).and_then(|event| self.answer(event)) {
            Ok(polled) => Ok(polled),
            Err(error) => self.fail(error),
        }
    }

    fn restore(
        &mut self,
        slot: Slot,
        row: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), JournalError> {
        let Out::Rows { name, .. } = &self.out else { return Ok(()) };
        let group = format!("{}.restore", self.group);
        // A rebalance is only noted here; what else goes wrong shows again at the next poll.
        let alive = || drop(self.consumer.serve(Duration::ZERO));
        match rows::restore(&self.cluster, &group, name, slot.partition, &alive, row) {
            Ok(()) => Ok(()),
            Err(error) => self.fail(error),
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        if commit.is_empty() {
            return Ok(());
        }
        let slots = commit.positions.iter().map(|(slot, _)| slot);
        let slots = slots.chain(commit.rows.iter().map(|(slot, _)| slot));
        if self.void || !self.consumer.owns(slots) {
            let why = "the partitions are not this member's any more";
            return self.fail(JournalError::retry(format!("commit of {}", self.group), why));
        }
        let done = match self.depth {
            Depth::Now => self.begin(commit).and_then(|()| self.settle(CommitMode::Sync)),
            Depth::OneBehind => self.settle(CommitMode::Async).and_then(|()| self.begin(commit)),
        };
        match done {
            Ok(()) => Ok(()),
            Err(error) => self.fail(error),
        }
    }

    fn lag(&self) -> Vec<(Slot, u64)> {
        self.consumer.lag()
    }

    fn close(mut self: Box<Self>) -> Result<(), JournalError> {
        if self.void {
            return Ok(());
        }
        self.settle(CommitMode::Sync)
    }
}
