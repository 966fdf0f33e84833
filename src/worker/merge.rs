//! Several feeds read as one, for a process that owns every identity: HTTP and source topics share
//! one suppression cache.
//!
//! A batch is of one feed, and what is made of it is committed through that feed. `Slot::input`
//! counts through the feeds' inputs in their order.

use std::time::Duration;

use crate::journal::{Batch, Commit, Feed, JournalError, Polled, Records};
use crate::stage::{Record, Slot};

/// How long one feed is waited for while others may have something.
const SHARE: Duration = Duration::from_millis(10);

/// Several feeds, each with its number of inputs.
pub struct Merged {
    feeds: Vec<Part>,
    next: usize,
    /// Whose batch is being folded.
    current: usize,
}

struct Part {
    feed: Box<dyn Feed>,
    first: u16,
}

impl Merged {
    /// Reads feeds of so many inputs each as one.
    #[must_use]
    pub fn new(feeds: Vec<(Box<dyn Feed>, u16)>) -> Self {
        let mut first = 0;
        let parts = feeds.into_iter().map(|(feed, inputs)| {
            let part = Part { feed, first };
            first += inputs;
            part
        });
        Self { feeds: parts.collect(), next: 0, current: 0 }
    }

    fn part_of(&self, slot: Slot) -> usize {
        let after = self.feeds.iter().position(|part| part.first > slot.input);
        after.unwrap_or(self.feeds.len()).saturating_sub(1)
    }
}

impl Feed for Merged {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        let count = self.feeds.len();
        for turn in 0..count {
            let at = (self.next + turn) % count;
            let last = turn + 1 == count;
            let part = &mut self.feeds[at];
            let polled = part.feed.poll(if last { wait.min(SHARE) } else { Duration::ZERO })?;
            let first = part.first;
            let up = |slots: Vec<Slot>| slots.into_iter().map(|slot| raise(slot, first)).collect();
            let polled = match polled {
                Polled::Idle => continue,
                Polled::Assigned(slots) => Polled::Assigned(up(slots)),
                Polled::Revoked(slots) => Polled::Revoked(up(slots)),
                Polled::Batch(batch) => Polled::Batch(Box::new(Raised { batch, first })),
            };
            self.next = (at + 1) % count;
            self.current = at;
            return Ok(polled);
        }
        Ok(Polled::Idle)
    }

    fn restore(
        &mut self,
        slot: Slot,
        row: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), JournalError> {
        let at = self.part_of(slot);
        let part = &mut self.feeds[at];
        part.feed.restore(lower(slot, part.first), row)
    }

    fn commit(&mut self, mut commit: Commit) -> Result<(), JournalError> {
        let part = &mut self.feeds[self.current];
        for (slot, _) in &mut commit.positions {
            *slot = lower(*slot, part.first);
        }
        for (slot, _) in &mut commit.rows {
            *slot = lower(*slot, part.first);
        }
        part.feed.commit(commit)
    }

    fn lag(&self) -> Vec<(Slot, u64)> {
        let of = |part: &Part| {
            let first = part.first;
            part.feed.lag().into_iter().map(move |(slot, lag)| (raise(slot, first), lag))
        };
        self.feeds.iter().flat_map(of).collect()
    }

    fn close(self: Box<Self>) -> Result<(), JournalError> {
        // Each gets its chance to finish; the first failure is told.
        let ends: Vec<_> = self.feeds.into_iter().map(|part| part.feed.close()).collect();
        ends.into_iter().collect()
    }
}

fn raise(slot: Slot, first: u16) -> Slot {
    Slot { input: slot.input + first, ..slot }
}

fn lower(slot: Slot, first: u16) -> Slot {
    Slot { input: slot.input - first, ..slot }
}

struct Raised {
    batch: Batch,
    first: u16,
}

impl Records for Raised {
    fn len(&self) -> usize {
        self.batch.len()
    }

    fn get(&self, index: usize) -> (Slot, Record<'_>) {
        let (slot, record) = self.batch.get(index);
        (raise(slot, self.first), record)
    }
}
