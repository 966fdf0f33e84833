//! A member of a consumer group: what it is assigned, from where it reads, what it committed.
//!
//! Rebalances happen in two steps: the client's callback notes one, and the feed answers it at its
//! next poll, when nothing is half done. Positions are kept by the broker alone; after a failure
//! the committed ones are fetched again. A record is handed out only if its partition is assigned
//! and its offset is the next or later, whatever still lies in the client's queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset as Place, TopicPartitionList};
use tracing::{info, warn};

use super::bounded::within;
use super::context::{self, Context, Move};
use super::error::{class, journal_error};
use super::native::{Kinds, Member, NativeBatch, Reader, Signal};
use super::settings::millis;
use super::{CALL, Start};
use crate::clock::{SharedClock, Stopwatch};
use crate::journal::{JournalError, Records};
use crate::stage::{Offset, Slot};

/// How many records are taken at once.
const BATCH: usize = 10_000;
/// How long the queue of rebalances may wait while there are no records.
const ROUND: Duration = Duration::from_millis(10);
/// How long leaving the group may take.
const CLOSE: Duration = Duration::from_secs(5);

/// What a poll found.
pub(super) enum Event {
    Idle,
    Assign(Vec<Slot>),
    Revoke { slots: Vec<Slot>, lost: bool },
    Batch(NativeBatch),
}

/// What a member reads.
pub(super) struct Input {
    /// The topics; `Slot::input` is the index.
    pub(super) topics: Vec<String>,
    /// Where each begins when the group has no position in it.
    pub(super) starts: Vec<Start>,
    pub(super) kinds: Kinds,
}

/// A member of a group.
pub(super) struct GroupConsumer {
    member: Arc<Member>,
    reader: Reader,
    input: Input,
    clock: SharedClock,
    /// The next offset to hand out, for each partition that is ours.
    next: BTreeMap<Slot, Offset>,
    /// A failure that came behind records, for the next poll.
    failure: Option<JournalError>,
    /// How long a fetch of committed positions may take: a dead producer's open transaction holds
    /// them back until it times out.
    settle: Duration,
}

impl GroupConsumer {
    /// Joins.
    pub(super) fn join(
        config: &ClientConfig,
        input: Input,
        clock: SharedClock,
    ) -> Result<Self, JournalError> {
        let doing = || format!("join the group that reads {}", input.topics.join(", "));
        let member: Member = config
            .create_with_context(Context::default())
            .map_err(|error| journal_error(doing(), &error))?;
        let member = Arc::new(member);
        let names: Vec<_> = input.topics.iter().map(String::as_str).collect();
        member.subscribe(&names).map_err(|error| journal_error(doing(), &error))?;
        let reader = Reader::new(Arc::clone(&member), &input.topics, input.kinds, BATCH);
        let settle = millis(config, "transaction.timeout.ms", 15_000) + CALL;
        let next = BTreeMap::new();
        Ok(Self { member, reader, input, clock, next, failure: None, settle })
    }

    /// Waits for records or a rebalance. The same rebalance is found again until it is answered
    /// by `take` or `release`.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<Event, JournalError> {
        let started = Stopwatch::start();
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            self.serve(Duration::ZERO)?;
            if let Some(moved) = self.member.context().next_move() {
                return Ok(self.event(&moved));
            }
            let left = wait.saturating_sub(started.elapsed()).min(ROUND);
            let batch = self.read(left);
            if !batch.is_empty() {
                return Ok(Event::Batch(batch));
            }
            if self.failure.is_none() && started.elapsed() >= wait {
                return Ok(Event::Idle);
            }
        }
    }

    /// Serves the client without taking records, so that it stays in the group.
    pub(super) fn serve(&self, wait: Duration) -> Result<(), JournalError> {
        match self.member.poll(wait) {
            // No record comes by this way: each partition is forwarded before it is assigned.
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                let error = journal_error(format!("read {}", self.names()), &error);
                // What is no more than a hiccup of the connection heals by itself.
                if error.class == crate::journal::Class::Fatal { Err(error) } else { Ok(()) }
            }
        }
    }

    fn event(&self, moved: &Move) -> Event {
        match moved {
            Move::Assign(list) => Event::Assign(self.slots(list)),
            Move::Revoke(list) => {
                Event::Revoke { slots: self.slots(list), lost: self.member.assignment_lost() }
            }
        }
    }

    fn read(&mut self, wait: Duration) -> NativeBatch {
        let next = &mut self.next;
        let mut keep = |slot: Slot, offset: Offset| match next.get_mut(&slot) {
            Some(next) if offset >= *next => {
                *next = offset.next();
                true
            }
            _ => false,
        };
        let mut signals = Vec::new();
        let batch = self.reader.read(wait, &mut keep, &mut signals);
        self.failure = signals.iter().find_map(|signal| self.trouble(signal));
        batch
    }

    fn trouble(&self, signal: &Signal) -> Option<JournalError> {
        let next = self.next.get(&signal.slot)?;
        let topic = self.name(signal.slot);
        let partition = signal.slot.partition;
        if signal.code == RDKafkaErrorCode::PartitionEOF {
            return None;
        }
        let doing = format!("read {topic} partition {partition} at offset {}", next.0);
        if matches!(
            signal.code,
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange
        ) {
            let why = format!(
                "the record is gone ({}). Records were deleted before they were read: keep them \
                 longer, then set the group's position by hand (kafka-consumer-groups \
                 --reset-offsets --to-earliest --topic {topic}:{partition}) and start again",
                signal.text
            );
            return Some(JournalError::fatal(doing, why));
        }
        let class = class(signal.code);
        Some(JournalError { class, doing, why: signal.text.clone() })
    }

    /// Takes the partitions of the rebalance that was found, from their committed positions.
    pub(super) fn take(&mut self, slots: &[Slot]) -> Result<(), JournalError> {
        let begin = self.positions(slots)?;
        let mut list = TopicPartitionList::new();
        for (slot, place) in &begin {
            self.reader.forward(*slot);
            self.add(&mut list, *slot, *place)?;
        }
        self.member.incremental_assign(&list).map_err(|error| {
            journal_error(format!("take partitions of {}", self.names()), &error)
        })?;
        self.next.extend(begin.into_iter().map(|(slot, place)| (slot, first(place))));
        self.member.context().moved();
        info!(?slots, topics = self.names(), "partitions assigned");
        Ok(())
    }

    /// Gives up the partitions of the rebalance that was found.
    pub(super) fn release(&mut self, slots: &[Slot]) -> Result<(), JournalError> {
        let mut list = TopicPartitionList::new();
        for slot in slots {
            self.next.remove(slot);
            list.add_partition(self.name(*slot), partition(*slot));
        }
        let released = context::release(&self.member, &list);
        self.member.context().moved();
        info!(?slots, topics = self.names(), "partitions revoked");
        released.map_err(|error| journal_error(format!("give up {}", self.names()), &error))
    }

    /// Goes back to the committed positions; answers what is assigned.
    pub(super) fn rewind(&mut self) -> Result<Vec<Slot>, JournalError> {
        let slots: Vec<_> = self.next.keys().copied().collect();
        if slots.is_empty() {
            return Ok(slots);
        }
        let doing = || format!("go back to the committed positions of {}", self.names());
        let begin = self.positions(&slots)?;
        let mut list = TopicPartitionList::new();
        for (slot, place) in &begin {
            self.add(&mut list, *slot, *place)?;
        }
        let sought = self
            .member
            .seek_partitions(list, CALL)
            .map_err(|error| journal_error(doing(), &error))?;
        for at in sought.elements() {
            at.error().map_err(|error| journal_error(doing(), &error))?;
        }
        self.next = begin.into_iter().map(|(slot, place)| (slot, first(place))).collect();
        // What went wrong behind the records that were just thrown away will show again if it
        // still holds.
        self.failure = None;
        self.member.context().take_commit_failure();
        Ok(slots)
    }

    /// Where to begin: the committed positions, else what the topic's `start` says, which is then
    /// committed at once so that a restart does not look again and skip.
    fn positions(&self, slots: &[Slot]) -> Result<Vec<(Slot, Place)>, JournalError> {
        let doing = || format!("fetch the committed positions of {}", self.names());
        let mut list = TopicPartitionList::new();
        for slot in slots {
            list.add_partition(self.name(*slot), partition(*slot));
        }
        let committed = self
            .member
            .committed_offsets(list, self.settle)
            .map_err(|error| journal_error(doing(), &error))?;
        let mut begin = Vec::with_capacity(slots.len());
        let mut resolved = Vec::new();
        for slot in slots {
            let at = committed
                .find_partition(self.name(*slot), partition(*slot))
                .ok_or_else(|| JournalError::retry(doing(), "the answer lacks a partition"))?;
            at.error().map_err(|error| journal_error(doing(), &error))?;
            match at.offset() {
                place @ Place::Offset(_) => begin.push((*slot, place)),
                _ => {
                    let offset = self.start(*slot)?;
                    resolved.push((*slot, offset));
                    begin.push((*slot, Place::Offset(offset.0)));
                }
            }
        }
        if !resolved.is_empty() {
            self.commit(&resolved, CommitMode::Sync)?;
        }
        Ok(begin)
    }

    fn start(&self, slot: Slot) -> Result<Offset, JournalError> {
        let (topic, partition) = (self.name(slot), partition(slot));
        let doing = || format!("find the start of {topic} partition {partition}");
        let failed = |error| journal_error(doing(), &error);
        let ends = || self.member.fetch_watermarks(topic, partition, CALL).map_err(failed);
        let start = self.input.starts.get(usize::from(slot.input)).copied().unwrap_or_default();
        let offset = match start {
            Start::Earliest => ends()?.0,
            Start::Latest => ends()?.1,
            Start::Age(age) => {
                let since = self.clock.now() - age;
                let mut list = TopicPartitionList::new();
                self.add(&mut list, slot, Place::Offset(since.as_millis().max(0)))?;
                let found = self.member.offsets_for_times(list, CALL).map_err(failed)?;
                let found = found.find_partition(topic, partition);
                let found =
                    found.ok_or_else(|| JournalError::retry(doing(), "no answer for it"))?;
                found.error().map_err(failed)?;
                match found.offset() {
                    Place::Offset(offset) => offset,
                    // Nothing was published since: what comes from now on is younger.
                    _ => ends()?.1,
                }
            }
        };
        info!(topic, partition, offset, ?start, "no position yet, begun by `start`");
        Ok(Offset(offset))
    }

    /// Commits positions outside any transaction.
    pub(super) fn commit(
        &self,
        positions: &[(Slot, Offset)],
        mode: CommitMode,
    ) -> Result<(), JournalError> {
        let list = self.list(positions)?;
        self.member
            .commit(&list, mode)
            .map_err(|error| journal_error(format!("commit positions of {}", self.names()), &error))
    }

    /// A commit in the background that failed since this was last asked.
    pub(super) fn commit_failure(&self) -> Option<JournalError> {
        let error = self.member.context().take_commit_failure()?;
        Some(journal_error(format!("commit positions of {}", self.names()), &error))
    }

    /// What fences a transaction of a member that lost its partitions.
    ///
    /// A member that was thrown out has an empty name and no generation, and a broker lets a
    /// transaction with those pass. So both are looked at before it is sent.
    pub(super) fn metadata(&self) -> Result<ConsumerGroupMetadata, JournalError> {
        let doing = || format!("commit positions of {}", self.names());
        let out = || JournalError::retry(doing(), "this member is out of its group");
        let before = self.reader.generation();
        let metadata = self.member.group_metadata().ok_or_else(out)?;
        let after = self.reader.generation();
        if before.is_none() || before != after || self.member.assignment_lost() {
            return Err(out());
        }
        Ok(metadata)
    }

    /// Positions as the client wants them.
    pub(super) fn list(
        &self,
        positions: &[(Slot, Offset)],
    ) -> Result<TopicPartitionList, JournalError> {
        let mut list = TopicPartitionList::new();
        for (slot, offset) in positions {
            self.add(&mut list, *slot, Place::Offset(offset.0))?;
        }
        Ok(list)
    }

    fn add(
        &self,
        list: &mut TopicPartitionList,
        slot: Slot,
        place: Place,
    ) -> Result<(), JournalError> {
        list.add_partition_offset(self.name(slot), partition(slot), place)
            .map_err(|error| journal_error(format!("name a position of {}", self.names()), &error))
    }

    /// Whether all of these are ours.
    pub(super) fn owns<'a>(&self, mut slots: impl Iterator<Item = &'a Slot>) -> bool {
        slots.all(|slot| self.next.contains_key(slot))
    }

    /// Records behind what was handed out.
    pub(super) fn lag(&self) -> Vec<(Slot, u64)> {
        // The client's own position also counts the marks of transactions, which are no records.
        let reached = self.member.position().ok();
        let reached = |slot: Slot| {
            let at = reached.as_ref()?.find_partition(self.name(slot), partition(slot))?;
            at.offset().to_raw()
        };
        let behind = |(slot, next): (&Slot, &Offset)| {
            let end = self.reader.known_end(*slot)?;
            let at = reached(*slot).unwrap_or(0).max(next.0);
            Some((*slot, u64::try_from(end - at).unwrap_or(0)))
        };
        self.next.iter().filter_map(behind).collect()
    }

    pub(super) fn names(&self) -> String {
        self.input.topics.join(", ")
    }

    fn slots(&self, list: &[(String, i32)]) -> Vec<Slot> {
        let slot = |(topic, partition): &(String, i32)| {
            let input = self.input.topics.iter().position(|name| name == topic)?;
            let input = u16::try_from(input).ok()?;
            Some(Slot { input, partition: u32::try_from(*partition).ok()? })
        };
        list.iter().filter_map(slot).collect()
    }

    fn name(&self, slot: Slot) -> &str {
        self.input.topics.get(usize::from(slot.input)).map_or("", String::as_str)
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        leave(&self.member);
    }
}

/// Leaves the group. Closing a client may hang while brokers are away, so it gets a thread and a
/// limit; batches that are still held keep the client's memory, not its membership.
pub(super) fn leave(member: &Arc<Member>) {
    let member = Arc::clone(member);
    member.context().close();
    // A rebalance that was noted and not answered would never be asked again.
    let pending = member.context().next_move();
    let close = move || {
        if member.close_queue().is_ok() {
            if pending.is_some() {
                drop(member.unassign());
            }
            while !member.closed() {
                drop(member.poll(Duration::from_millis(50)));
            }
        }
    };
    if within(CLOSE, "kafka-close", close).is_none() {
        warn!("a consumer did not close in time and is left behind");
    }
}

pub(super) fn partition(slot: Slot) -> i32 {
    i32::try_from(slot.partition).expect("Kafka counts partitions in 31 bits")
}

fn first(place: Place) -> Offset {
    Offset(place.to_raw().unwrap_or(0).max(0))
}
