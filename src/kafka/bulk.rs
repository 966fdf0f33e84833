//! Fills and drains topics as fast as the client can: for benches and load, not for the stages.
//!
//! `drain` is the yardstick for everything that reads: native batches, nothing looked at.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset as Place, TopicPartitionList};

use super::consumer::leave;
use super::context::Context;
use super::error::{class, journal_error};
use super::native::{Kinds, Member, Reader};
use super::settings::{Cluster, Pace};
use super::{CALL, topics};
use crate::clock::Stopwatch;
use crate::journal::{JournalError, Records};
use crate::model::Timestamp;
use crate::stage::{Route, Slot};

/// Reads a whole topic once; how many records, and how many seconds from the first to the last.
///
/// # Errors
/// When the topic cannot be read.
pub fn drain(brokers: &str, topic: &str) -> Result<(u64, f64), JournalError> {
    let cluster = Cluster::new(brokers, &std::collections::BTreeMap::new())?;
    let failed = |error| journal_error(format!("drain {topic}"), &error);
    let count = count(&cluster, topic)?;
    let config = cluster.reader("muster.drain", Pace::Bulk);
    let member: Member = config.create_with_context(Context::default()).map_err(failed)?;
    let member = Arc::new(member);
    let mut reader = Reader::new(Arc::clone(&member), &[topic.to_owned()], Kinds::Raw, 10_000);
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        reader.forward(Slot { input: 0, partition });
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        list.add_partition_offset(topic, number, Place::Beginning).map_err(failed)?;
    }
    member.assign(&list).map_err(failed)?;

    let (mut records, mut ends) = (0, 0);
    let mut signals = Vec::new();
    let mut started = None;
    while ends < count {
        drop(member.poll(Duration::ZERO));
        let batch = reader.read(Duration::from_millis(50), &mut |_, _| true, &mut signals);
        if !batch.is_empty() {
            started.get_or_insert_with(Stopwatch::start);
            records += batch.len() as u64;
        }
        for signal in signals.drain(..) {
            match signal.code {
                RDKafkaErrorCode::PartitionEOF => ends += 1,
                code => {
                    let doing = format!("drain {topic}");
                    return Err(JournalError { class: class(code), doing, why: signal.text });
                }
            }
        }
    }
    let seconds = started.map_or(0.0, |started| started.elapsed().as_secs_f64());
    leave(&member);
    Ok((records, seconds))
}

/// Appends a publisher's records to a source topic, by key.
pub struct Publisher {
    producer: BaseProducer<Context>,
    topic: String,
    partitions: u32,
}

impl Publisher {
    /// A publisher to a topic that exists.
    ///
    /// # Errors
    /// When the cluster cannot be reached or has no such topic.
    pub fn open(brokers: &str, topic: &str) -> Result<Self, JournalError> {
        let cluster = Cluster::new(brokers, &std::collections::BTreeMap::new())?;
        let producer = cluster
            .producer()
            .create_with_context(Context::default())
            .map_err(|error| journal_error("make a publisher", &error))?;
        let partitions = count(&cluster, topic)?;
        Ok(Self { producer, topic: topic.to_owned(), partitions })
    }

    /// Sends one record; waits only while the client's queue is full. Records of one key go to one
    /// partition.
    ///
    /// # Errors
    /// When the client refuses it.
    pub fn send(&self, key: &[u8], value: &[u8]) -> Result<(), JournalError> {
        self.put(Route::Hash(spread(key)).partition(self.partitions), key, value)
    }

    /// Sends one record to a partition.
    ///
    /// # Errors
    /// When the client refuses it.
    pub fn put(&self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), JournalError> {
        self.hand_over(partition, key, Some(value), None)
    }

    /// Sends one record to a partition, with a timestamp of its own.
    ///
    /// # Errors
    /// When the client refuses it.
    pub fn put_at(
        &self,
        time: Timestamp,
        partition: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), JournalError> {
        self.hand_over(partition, key, Some(value), Some(time))
    }

    /// Sends a record without a value to a partition.
    ///
    /// # Errors
    /// When the client refuses it.
    pub fn tombstone(&self, partition: u32, key: &[u8]) -> Result<(), JournalError> {
        self.hand_over(partition, key, None, None)
    }

    fn hand_over(
        &self,
        partition: u32,
        key: &[u8],
        value: Option<&[u8]>,
        time: Option<Timestamp>,
    ) -> Result<(), JournalError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
        record.timestamp = time.map(Timestamp::as_millis);
        record.payload = value;
        record.key = (!key.is_empty()).then_some(key);
        record.partition = i32::try_from(partition).ok();
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(journal_error(format!("publish to {}", self.topic), &error));
            }
            self.producer.poll(Duration::from_millis(1));
            record = back;
        }
        Ok(())
    }

    /// Waits until everything sent is acknowledged.
    ///
    /// # Errors
    /// When a record was not.
    pub fn flush(&self) -> Result<(), JournalError> {
        let doing = || format!("publish to {}", self.topic);
        self.producer
            .flush(Duration::from_secs(60))
            .map_err(|error| journal_error(doing(), &error))?;
        match self.producer.context().take_delivery_failure() {
            Some(error) => Err(journal_error(doing(), &error)),
            None => Ok(()),
        }
    }
}

fn count(cluster: &Cluster, topic: &str) -> Result<u32, JournalError> {
    let counts = topics::counts(cluster)?;
    counts.get(topic).copied().ok_or_else(|| {
        JournalError::fatal(format!("use topic {topic}"), "it does not exist or has no leader")
    })
}

/// FNV-1a: plain, even, the same on every run.
fn spread(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Makes a topic with broker defaults.
///
/// # Errors
/// When the cluster refuses it; a topic that exists is left alone.
pub fn create_topic(
    brokers: &str,
    topic: &str,
    partitions: u32,
    settings: &[(&str, &str)],
) -> Result<(), JournalError> {
    let cluster = Cluster::new(brokers, &std::collections::BTreeMap::new())?;
    topics::create_one(&cluster, topic, (partitions, 1), settings)?;
    topics::await_leader(&cluster, topic)
}

/// Deletes the records of a partition before an offset.
///
/// # Errors
/// When the cluster refuses it.
pub fn delete_before(
    brokers: &str,
    topic: &str,
    partition: u32,
    offset: i64,
) -> Result<(), JournalError> {
    let cluster = Cluster::new(brokers, &std::collections::BTreeMap::new())?;
    let doing = || format!("delete records of {topic}");
    let mut list = TopicPartitionList::new();
    let number = i32::try_from(partition).unwrap_or(i32::MAX);
    list.add_partition_offset(topic, number, Place::Offset(offset))
        .map_err(|error| journal_error(doing(), &error))?;
    let options = rdkafka::admin::AdminOptions::new().operation_timeout(Some(CALL));
    topics::wait(topics::admin(&cluster)?.delete_records(&list, &options))?
        .map(drop)
        .map_err(|error| journal_error(doing(), &error))
}
