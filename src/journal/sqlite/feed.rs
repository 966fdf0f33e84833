//! How a worker reads and commits on the embedded journal.
//!
//! A feed reads over a connection of its own and commits through the writer. Where several feeds of
//! a group are open, the oldest holds the partition and the others wait for it to go.
//! After an error nothing read since the last commit counts: the partition is announced anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::writer::Change;
use super::{SLOT, Seen, Store, read, schema};
use crate::journal::{Commit, Feed, Group, JournalError, Polled};
use crate::stage::{Offset, Outgoing, Row, Slot, Topic};

pub(super) struct SqliteFeed {
    store: Arc<Store>,
    group: Group,
    member: u64,
    /// None until the first use, and again after an error.
    connection: Option<Connection>,
    /// The position committed and the next record to read; none while the partition is not
    /// announced.
    place: Option<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    committed: Offset,
    next: Offset,
}

impl SqliteFeed {
    pub(super) fn join(store: Arc<Store>, group: Group) -> Result<Self, JournalError> {
        // The position is there before the first record is read, so that retention respects it.
        store.write(&doing("join", group), Change { join: Some(group), ..Change::default() })?;
        let mut seen = store.shared.lock();
        let member = seen.id();
        seen.members.entry(group).or_default().push_back(member);
        drop(seen);
        Ok(Self { store, group, member, connection: None, place: None })
    }

    fn announce(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        let (group, member) = (self.group, self.member);
        let holds =
            |seen: &Seen| seen.members.get(&group).and_then(VecDeque::front) == Some(&member);
        if !holds(&self.store.shared.wait(wait, holds)) {
            return Ok(Polled::Idle);
        }
        let position = self.query("position", |connection| read::position(connection, group))?;
        let committed = position.unwrap_or_default();
        self.place = Some(Place { committed, next: committed });
        Ok(Polled::Assigned(vec![SLOT]))
    }

    fn query<T>(
        &mut self,
        what: &str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => schema::open_reader(&self.store.shared.file),
        };
        let result = connection.and_then(|connection| {
            let result = query(&connection)?;
            self.connection = Some(connection);
            Ok(result)
        });
        result.map_err(|error| {
            self.place = None;
            let failure = schema::failure(&error);
            JournalError { class: failure.class, doing: doing(what, self.group), why: failure.why }
        })
    }

    /// Commits reach the writer only if it can make all of them.
    fn check(&self, commit: Commit) -> Result<Change, JournalError> {
        let refuse = |why: &str| Err(JournalError::fatal(doing("commit", self.group), why));
        let foreign = |slot: &Slot| *slot != SLOT;
        if commit.positions.iter().any(|(slot, _)| foreign(slot))
            || commit.rows.iter().any(|(slot, _)| foreign(slot))
        {
            return refuse("it names a partition; the embedded journal has only partition 0");
        }
        let rows: Vec<(Topic, Row)> = match self.group.rows() {
            Some(topic) => commit.rows.into_iter().map(|(_, row)| (topic, row)).collect(),
            None if commit.rows.is_empty() => Vec::new(),
            None => return refuse("it holds rows; the group has none"),
        };
        check_records(&commit.records)?;
        let position = commit.positions.last().map(|(_, position)| (self.group, *position));
        Ok(Change { join: None, rows, records: commit.records, position })
    }
}

impl Feed for SqliteFeed {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        let topic = self.group.input();
        let Some(place) = self.place else { return self.announce(wait) };
        let seen = self.store.shared.wait(wait, |seen| seen.heads.next(topic) > place.next);
        let head = seen.heads.next(topic);
        drop(seen);
        if head <= place.next {
            return Ok(Polled::Idle);
        }
        let read =
            self.query("read", |connection| read::batch(connection, topic, place.next, head))?;
        // Offsets have no gaps, so that one shows that something is missing.
        if read.records.first().map(|record| record.offset) != Some(place.next) {
            return Err(JournalError::fatal(
                format!("read of {topic} at offset {}", place.next.0),
                "the record is gone though it was not read yet; restore the data directory",
            ));
        }
        self.place = Some(Place { next: read.next, ..place });
        Ok(Polled::Batch(Box::new(read.records)))
    }

    fn restore(&mut self, _: Slot, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), JournalError> {
        match self.group.rows() {
            Some(topic) => self.query("restore", |connection| read::rows(connection, topic, row)),
            None => Ok(()),
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        let doing = doing("commit", self.group);
        let Some(place) = self.place else {
            return Err(JournalError::retry(doing, "the partition is not announced yet"));
        };
        if commit.is_empty() {
            return Ok(());
        }
        let change = self.check(commit)?;
        let committed = change.position.map_or(place.committed, |(_, position)| position);
        // Void until the writer says otherwise.
        self.place = None;
        self.store.write(&doing, change)?;
        self.place = Some(Place { committed, ..place });
        Ok(())
    }

    fn lag(&self) -> Vec<(Slot, u64)> {
        let head = self.store.shared.head(self.group.input());
        let place = self.place.into_iter();
        place
            .map(|place| {
                let behind = head.0.saturating_sub(place.committed.0);
                (SLOT, u64::try_from(behind).unwrap_or_default())
            })
            .collect()
    }

    fn close(self: Box<Self>) -> Result<(), JournalError> {
        // A commit answers when it is durable, so nothing is under way.
        Ok(())
    }
}

impl Drop for SqliteFeed {
    fn drop(&mut self) {
        let mut seen = self.store.shared.lock();
        if let Some(members) = seen.members.get_mut(&self.group) {
            members.retain(|member| *member != self.member);
        }
        drop(seen);
        self.store.shared.woken.notify_all();
    }
}

/// Refuses records that the embedded journal has no place for.
pub(super) fn check_records(records: &[Outgoing]) -> Result<(), JournalError> {
    for Outgoing { topic, route, .. } in records {
        let partition = route.partition(1);
        if partition > 0 {
            return Err(JournalError::fatal(
                format!("append to {topic} partition {partition}"),
                "the embedded journal has only partition 0",
            ));
        }
        if schema::is_rows(*topic) {
            return Err(JournalError::fatal(
                format!("append to {topic}"),
                "it is a topic of rows, which only commits change",
            ));
        }
    }
    Ok(())
}

fn doing(what: &str, group: Group) -> String {
    format!("{what} of {} in {}", group.as_str(), group.input())
}
