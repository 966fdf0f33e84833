//! How readers without a position follow a topic of the embedded journal.
//!
//! A topic of rows is read in the order of its changes; each row shows up with its latest value
//! only. While a follower of rows is open, deletions leave a mark that it reads, and that
//! retention drops once every follower is past it.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::writer::Change;
use super::{Failure, Store, read, schema};
use crate::journal::{Followed, Follower, From, JournalError};
use crate::stage::{Offset, Topic};

pub(super) struct SqliteFollower {
    store: Arc<Store>,
    topic: Topic,
    id: u64,
    /// None until the first use, and again after an error.
    connection: Option<Connection>,
    next: Offset,
    /// Where the topic ended when the follower was made.
    target: Offset,
    caught_up: bool,
    /// Whether a record is known to be the next; before the first one, the oldest is.
    begun: bool,
}

impl SqliteFollower {
    pub(super) fn new(store: Arc<Store>, topic: Topic, from: From) -> Result<Self, JournalError> {
        let mut seen = store.shared.lock();
        let id = seen.id();
        if schema::is_rows(topic) {
            seen.followers.insert(id, (topic, Offset(0)));
        }
        drop(seen);
        let mut follower = Self {
            store,
            topic,
            id,
            connection: None,
            next: Offset(0),
            target: Offset(0),
            caught_up: false,
            begun: false,
        };
        // An empty change through the writer: every transaction after it knows this follower, and
        // every one before it is in the head that is taken next.
        follower.store.write(&format!("follow of {topic}"), Change::default())?;
        follower.target = follower.store.shared.head(topic);
        if from == From::End {
            follower.next = follower.target;
            follower.begun = true;
        }
        follower.tell_progress();
        Ok(follower)
    }

    fn read(&mut self, until: Offset) -> Result<read::Read, JournalError> {
        let (topic, next) = (self.topic, self.next);
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => schema::open_reader(&self.store.shared.file),
        };
        let result = connection.and_then(|connection| {
            let read = read::batch(&connection, topic, next, until)?;
            self.connection = Some(connection);
            Ok(read)
        });
        result.map_err(|error| {
            let Failure { class, why } = schema::failure(&error);
            JournalError { class, doing: format!("follow of {topic} at {}", next.0), why }
        })
    }

    /// Whether retention took records that were not read yet.
    fn skipped(&self, read: &read::Read) -> bool {
        let first = read.records.first().map_or(read.next, |record| record.offset);
        self.begun && !schema::is_rows(self.topic) && first > self.next
    }

    fn tell_progress(&self) {
        if schema::is_rows(self.topic) {
            self.store.shared.lock().followers.insert(self.id, (self.topic, self.next));
        }
    }
}

impl Follower for SqliteFollower {
    fn poll(&mut self, wait: Duration) -> Result<Followed, JournalError> {
        if !self.caught_up && self.next >= self.target {
            self.caught_up = true;
            return Ok(Followed::CaughtUp);
        }
        let (topic, next) = (self.topic, self.next);
        let seen = self.store.shared.wait(wait, |seen| seen.heads.next(topic) > next);
        let head = seen.heads.next(topic);
        drop(seen);
        if head <= next {
            return Ok(Followed::Idle);
        }
        let read = self.read(head)?;
        let skipped = self.skipped(&read);
        if skipped {
            let first = read.records.first().map_or(read.next, |record| record.offset);
            self.next = first;
            return Err(JournalError::retry(
                format!("follow of {topic} at {}", next.0),
                format!("retention was faster; it goes on at {}", first.0),
            ));
        }
        self.next = read.next;
        self.begun = true;
        self.tell_progress();
        if read.records.is_empty() {
            return Ok(Followed::Idle);
        }
        Ok(Followed::Batch(Box::new(read.records)))
    }
}

impl Drop for SqliteFollower {
    fn drop(&mut self) {
        self.store.shared.lock().followers.remove(&self.id);
    }
}
