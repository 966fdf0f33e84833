//! How records come into the embedded journal from outside any feed.
//!
//! What was begun waits in the writer's queue with everybody else's and shares their sync.
//! `settle` answers only when all of it is durable, and fails if any of it is not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::feed::check_records;
use super::writer::Change;
use super::{Answer, Store, settled};
use crate::journal::{Appender, JournalError};
use crate::stage::{Outgoing, Route, Row, Topic};

/// How many appends may be under way; the next one first waits for the oldest.
const UNDER_WAY_MAX: usize = 1_024;

pub(super) struct SqliteAppender {
    store: Arc<Store>,
    under_way: VecDeque<Receiver<Answer>>,
    /// The first failure since the last `settle`.
    failed: Option<JournalError>,
}

impl SqliteAppender {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, under_way: VecDeque::new(), failed: None }
    }

    fn settle_oldest(&mut self) {
        if let Some(answered) = self.under_way.pop_front()
            && let Err(error) = settled("append", &answered)
        {
            self.failed.get_or_insert(error);
        }
    }
}

impl Appender for SqliteAppender {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        check_records(&records)?;
        if self.under_way.len() >= UNDER_WAY_MAX {
            self.settle_oldest();
        }
        let change = Change { records, ..Change::default() };
        self.under_way.push_back(self.store.submit(change)?);
        Ok(())
    }

    fn put(&mut self, topic: Topic, rows: Vec<(Route, Row)>) -> Result<(), JournalError> {
        let rows = rows.into_iter().map(|(_, row)| (topic, row)).collect();
        self.store.write(&format!("put of rows into {topic}"), Change { rows, ..Change::default() })
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        while !self.under_way.is_empty() {
            self.settle_oldest();
        }
        self.failed.take().map_or(Ok(()), Err)
    }
}
