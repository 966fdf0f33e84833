//! The journal in memory: tests, simulation, replay.
//!
//! One lock around everything, so that a commit is atomic because nobody can look while it is
//! made. Durability is left to the other backs; dropping the last handle forgets all of it.
//! It keeps what every back keeps: a failed commit leaves nothing behind, append times of a
//! partition never go back, and readers see only what was committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    Appender, Commit, Feed, Followed, Follower, From, Group, Journal, JournalError, OwnedRecord,
    Polled,
};
use crate::clock::SharedClock;
use crate::model::Timestamp;
use crate::stage::{Kind, Offset, Outgoing, Route, Row, Slot, Topic};

/// The most records of one batch.
const BATCH_RECORDS: usize = 4_096;

/// A journal that lives as long as the last of it, its feeds, appenders and followers.
pub struct Memory(Arc<Store>);

struct Store {
    clock: SharedClock,
    counts: BTreeMap<Topic, u32>,
    inner: Mutex<Inner>,
    woken: Condvar,
}

#[derive(Default)]
struct Inner {
    logs: BTreeMap<(Topic, u32), Vec<OwnedRecord>>,
    last_times: BTreeMap<(Topic, u32), Timestamp>,
    tables: BTreeMap<(Topic, u32), Table>,
    positions: BTreeMap<(Group, u32), Offset>,
    /// Feeds by group, the oldest first: that one holds the partitions.
    members: BTreeMap<Group, VecDeque<u64>>,
    next_member: u64,
    failing_commits: u32,
    failing_appends: u32,
}

/// The rows of a partition. Each change has a version, the offset by which followers see it.
#[derive(Default)]
struct Table {
    rows: BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)>,
    versions: BTreeMap<i64, (Timestamp, Vec<u8>)>,
    next: i64,
}

impl Table {
    fn set(&mut self, time: Timestamp, row: Row) {
        if let Some((version, _)) = self.rows.get(&row.key) {
            self.versions.remove(version);
        }
        self.versions.insert(self.next, (time, row.key.clone()));
        self.rows.insert(row.key, (self.next, row.value));
        self.next += 1;
    }
}

impl Memory {
    /// An empty journal. A topic that `partitions` does not name has one partition; a topic of rows
    /// is to be given as many as the input its rows belong to.
    #[must_use]
    pub fn new(clock: SharedClock, partitions: BTreeMap<Topic, u32>) -> Arc<Self> {
        let (inner, woken) = (Mutex::default(), Condvar::new());
        Arc::new(Self(Arc::new(Store { clock, counts: partitions, inner, woken })))
    }

    /// Makes the next `times` commits of feeds fail with class `Retry`.
    pub fn fail_next_commits(&self, times: u32) {
        self.0.lock().failing_commits = times;
    }

    /// Makes the next `times` appends fail with class `Retry`.
    pub fn fail_next_appends(&self, times: u32) {
        self.0.lock().failing_appends = times;
    }

    /// Appends a record with a given time, or the partition's last one where that is later.
    pub fn push(&self, topic: Topic, partition: u32, time: Timestamp, kind: Kind, value: &[u8]) {
        self.push_keyed(topic, partition, time, kind, &[], Some(value));
    }

    /// Appends a record with a given time and key, or a tombstone.
    pub fn push_keyed(
        &self,
        topic: Topic,
        partition: u32,
        time: Timestamp,
        kind: Kind,
        key: &[u8],
        value: Option<&[u8]>,
    ) {
        let mut inner = self.0.lock();
        inner.append(topic, partition, time, kind, key.to_vec(), value.map(<[u8]>::to_vec), vec![]);
        drop(inner);
        self.0.woken.notify_all();
    }

    /// Every record of a topic, by partition and offset.
    #[must_use]
    pub fn records(&self, topic: Topic) -> Vec<OwnedRecord> {
        let inner = self.0.lock();
        let all = inner.logs.range((topic, 0)..=(topic, u32::MAX));
        all.flat_map(|(_, log)| log.iter().cloned()).collect()
    }

    /// The rows of a group's partition, by key.
    #[must_use]
    pub fn rows(&self, group: Group, partition: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.lock().rows(group, partition)
    }

    /// The committed position of a group in a partition; zero before its first commit.
    #[must_use]
    pub fn position(&self, group: Group, partition: u32) -> Offset {
        self.0.lock().positions.get(&(group, partition)).copied().unwrap_or_default()
    }
}

impl Store {
    fn count(&self, topic: Topic) -> u32 {
        self.counts.get(&topic).copied().unwrap_or(1).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that panics while it holds the lock must not hide its message behind another.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` or until `wait` is over.
    fn wait(&self, wait: Duration, ready: impl Fn(&Inner) -> bool) -> MutexGuard<'_, Inner> {
        let waited = self.woken.wait_timeout_while(self.lock(), wait, |inner| !ready(inner));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The partition a record goes to, if there is such a one.
    fn place(&self, record: &Outgoing) -> Result<u32, JournalError> {
        let count = self.count(record.topic);
        let partition = record.route.partition(count);
        if partition < count {
            return Ok(partition);
        }
        Err(JournalError::fatal(
            format!("append to {} partition {partition}", record.topic),
            format!("the topic has {count} partitions"),
        ))
    }

    /// Appends records that all have a place.
    fn append_all(&self, inner: &mut Inner, records: Vec<Outgoing>) -> Result<(), JournalError> {
        let places: Vec<u32> =
            records.iter().map(|record| self.place(record)).collect::<Result<_, _>>()?;
        let now = self.clock.now();
        for (record, partition) in records.into_iter().zip(places) {
            let Outgoing { topic, kind, key, value, headers, .. } = record;
            let headers =
                headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            inner.append(topic, partition, now, kind, key, Some(value), headers);
        }
        Ok(())
    }
}

impl Inner {
    #[expect(clippy::too_many_arguments, reason = "the columns of a record, all of them")]
    fn append(
        &mut self,
        topic: Topic,
        partition: u32,
        now: Timestamp,
        kind: Kind,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        headers: Vec<(String, Vec<u8>)>,
    ) {
        let last = self.last_times.entry((topic, partition)).or_insert(Timestamp::MIN);
        *last = (*last).max(now);
        let time = *last;
        let log = self.logs.entry((topic, partition)).or_default();
        let offset = Offset(i64::try_from(log.len()).unwrap_or(i64::MAX));
        let slot = Slot { input: 0, partition };
        log.push(OwnedRecord { slot, offset, time, kind, key, value, headers });
    }

    fn rows(&self, group: Group, partition: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let table = group.rows().and_then(|topic| self.tables.get(&(topic, partition)));
        let rows = table.into_iter().flat_map(|table| &table.rows);
        rows.filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?))).collect()
    }

    /// The next offset of a partition, of records or of row versions.
    fn head(&self, topic: Topic, partition: u32) -> Offset {
        let table = self.tables.get(&(topic, partition)).map(|table| table.next);
        let log = self.logs.get(&(topic, partition)).map_or(0, Vec::len);
        Offset(table.unwrap_or_else(|| i64::try_from(log).unwrap_or(i64::MAX)))
    }

    /// Records, or rows as records, from a position on.
    fn read(&self, topic: Topic, partition: u32, from: Offset, max: usize) -> Vec<OwnedRecord> {
        if let Some(table) = self.tables.get(&(topic, partition)) {
            let changed = table.versions.range(from.0..).take(max);
            return changed
                .map(|(version, (time, key))| OwnedRecord {
                    slot: Slot { input: 0, partition },
                    offset: Offset(*version),
                    time: *time,
                    kind: Kind::Row,
                    key: key.clone(),
                    value: table.rows.get(key).and_then(|(_, value)| value.clone()),
                    headers: Vec::new(),
                })
                .collect();
        }
        let start = usize::try_from(from.0).unwrap_or_default();
        let log = self.logs.get(&(topic, partition)).map_or(&[][..], Vec::as_slice);
        log.iter().skip(start).take(max).cloned().collect()
    }
}

impl Journal for Memory {
    fn partitions(&self, topic: Topic) -> u32 {
        self.0.count(topic)
    }

    fn feed(&self, group: Group) -> Result<Box<dyn Feed>, JournalError> {
        let mut inner = self.0.lock();
        let member = inner.next_member;
        inner.next_member += 1;
        inner.members.entry(group).or_default().push_back(member);
        drop(inner);
        let memory = Arc::clone(&self.0);
        Ok(Box::new(MemoryFeed { memory, group, member, next: None }))
    }

    fn appender(&self) -> Result<Box<dyn Appender>, JournalError> {
        Ok(Box::new(MemoryAppender { memory: Arc::clone(&self.0), begun: Ok(()) }))
    }

    fn follow(&self, topic: Topic, from: From) -> Result<Box<dyn Follower>, JournalError> {
        let inner = self.0.lock();
        let heads = (0..self.0.count(topic)).map(|partition| inner.head(topic, partition));
        let targets: Vec<Offset> = heads.collect();
        drop(inner);
        let next = match from {
            From::Beginning => vec![Offset(0); targets.len()],
            From::End => targets.clone(),
        };
        let memory = Arc::clone(&self.0);
        Ok(Box::new(MemoryFollower { memory, topic, next, targets, caught_up: false }))
    }
}

struct MemoryFeed {
    memory: Arc<Store>,
    group: Group,
    member: u64,
    /// The next record of each partition; none while the partitions are not announced.
    next: Option<Vec<Offset>>,
}

impl MemoryFeed {
    fn committed(&self, inner: &Inner) -> Vec<Offset> {
        let count = self.memory.count(self.group.input());
        let position = |partition| inner.positions.get(&(self.group, partition)).copied();
        (0..count).map(|partition| position(partition).unwrap_or_default()).collect()
    }

    fn holds(inner: &Inner, group: Group, member: u64) -> bool {
        inner.members.get(&group).and_then(VecDeque::front) == Some(&member)
    }

    fn join(&mut self, wait: Duration) -> Polled {
        let (group, member) = (self.group, self.member);
        let inner = self.memory.wait(wait, |inner| Self::holds(inner, group, member));
        if !Self::holds(&inner, group, member) {
            return Polled::Idle;
        }
        let next = self.committed(&inner);
        let partitions = (0u32..).take(next.len());
        drop(inner);
        self.next = Some(next);
        Polled::Assigned(partitions.map(|partition| Slot { input: 0, partition }).collect())
    }
}

impl Feed for MemoryFeed {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        let topic = self.group.input();
        let Some(next) = self.next.as_mut() else { return Ok(self.join(wait)) };
        let inner = self.memory.wait(wait, |inner| {
            (0u32..).zip(next.iter()).any(|(partition, next)| inner.head(topic, partition) > *next)
        });
        let mut batch: Vec<OwnedRecord> = Vec::new();
        for (partition, next) in (0u32..).zip(next) {
            let read = inner.read(topic, partition, *next, BATCH_RECORDS - batch.len());
            if let Some(last) = read.last() {
                *next = last.offset.next();
            }
            batch.extend(read);
        }
        Ok(if batch.is_empty() { Polled::Idle } else { Polled::Batch(Box::new(batch)) })
    }

    fn restore(
        &mut self,
        slot: Slot,
        row: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), JournalError> {
        let rows = self.memory.lock().rows(self.group, slot.partition);
        for (key, value) in rows {
            row(&key, &value);
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        let doing = || format!("commit of {}", self.group.as_str());
        if self.next.is_none() {
            return Err(JournalError::retry(doing(), "its partitions are not announced yet"));
        }
        let memory = &self.memory;
        let mut inner = memory.lock();
        if inner.failing_commits > 0 {
            inner.failing_commits -= 1;
            self.next = None;
            return Err(JournalError::retry(doing(), "made to fail"));
        }
        let topic = match (self.group.rows(), commit.rows.is_empty()) {
            (Some(topic), _) => topic,
            (None, true) => self.group.input(),
            (None, false) => return Err(JournalError::fatal(doing(), "the group has no rows")),
        };
        memory.append_all(&mut inner, commit.records)?;
        let now = memory.clock.now();
        for (slot, row) in commit.rows {
            inner.tables.entry((topic, slot.partition)).or_default().set(now, row);
        }
        for (slot, offset) in commit.positions {
            inner.positions.insert((self.group, slot.partition), offset);
        }
        drop(inner);
        memory.woken.notify_all();
        Ok(())
    }

    fn lag(&self) -> Vec<(Slot, u64)> {
        let inner = self.memory.lock();
        let positions = self.committed(&inner);
        let behind = |partition, position: Offset| {
            let head = inner.head(self.group.input(), partition);
            u64::try_from(head.0.saturating_sub(position.0)).unwrap_or_default()
        };
        (0u32..)
            .zip(positions)
            .map(|(partition, position)| {
                (Slot { input: 0, partition }, behind(partition, position))
            })
            .collect()
    }

    fn close(self: Box<Self>) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Drop for MemoryFeed {
    fn drop(&mut self) {
        let mut inner = self.memory.lock();
        if let Some(members) = inner.members.get_mut(&self.group) {
            members.retain(|member| *member != self.member);
        }
        drop(inner);
        self.memory.woken.notify_all();
    }
}

struct MemoryAppender {
    memory: Arc<Store>,
    begun: Result<(), JournalError>,
}

impl Appender for MemoryAppender {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        let mut inner = self.memory.lock();
        if inner.failing_appends > 0 {
            inner.failing_appends -= 1;
            self.begun = Err(JournalError::retry("append", "made to fail"));
            return Ok(());
        }
        self.memory.append_all(&mut inner, records)?;
        drop(inner);
        self.memory.woken.notify_all();
        Ok(())
    }

    fn put(&mut self, topic: Topic, rows: Vec<(Route, Row)>) -> Result<(), JournalError> {
        let mut inner = self.memory.lock();
        if inner.failing_appends > 0 {
            inner.failing_appends -= 1;
            return Err(JournalError::retry("append", "made to fail"));
        }
        let (now, count) = (self.memory.clock.now(), self.memory.count(topic));
        for (route, row) in rows {
            inner.tables.entry((topic, route.partition(count))).or_default().set(now, row);
        }
        drop(inner);
        self.memory.woken.notify_all();
        Ok(())
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        std::mem::replace(&mut self.begun, Ok(()))
    }
}

struct MemoryFollower {
    memory: Arc<Store>,
    topic: Topic,
    next: Vec<Offset>,
    targets: Vec<Offset>,
    caught_up: bool,
}

impl Follower for MemoryFollower {
    fn poll(&mut self, wait: Duration) -> Result<Followed, JournalError> {
        if !self.caught_up {
            self.caught_up = self.next.iter().zip(&self.targets).all(|(next, goal)| next >= goal);
            if self.caught_up {
                return Ok(Followed::CaughtUp);
            }
        }
        let (topic, next) = (self.topic, &mut self.next);
        let inner = self.memory.wait(wait, |inner| {
            (0u32..).zip(next.iter()).any(|(partition, next)| inner.head(topic, partition) > *next)
        });
        let mut batch: Vec<OwnedRecord> = Vec::new();
        for (partition, next) in (0u32..).zip(next) {
            let room = BATCH_RECORDS - batch.len();
            let read = inner.read(topic, partition, *next, room);
            // Versions of rows have gaps: where all there is was read, the head is reached.
            *next = match read.last() {
                Some(last) if read.len() == room => last.offset.next(),
                _ if room > 0 => inner.head(topic, partition),
                _ => *next,
            };
            batch.extend(read);
        }
        Ok(if batch.is_empty() { Followed::Idle } else { Followed::Batch(Box::new(batch)) })
    }
}
