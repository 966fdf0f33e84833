//! What the client calls back: logs, errors, rebalances, acknowledgements.
//!
//! Callbacks run inside a poll, on the thread that owns the client. They only note what happened;
//! the feed acts on it after the poll. Only while closing does a rebalance act at once, since
//! nobody polls a feed then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tracing::{debug, info, warn};

/// A change of what a member of a group reads, by topic and partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    Assign(Vec<(String, i32)>),
    Revoke(Vec<(String, i32)>),
}

/// Notes of one client.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// At most one rebalance is under way; the client waits for our answer before the next.
    moves: Mutex<VecDeque<Move>>,
    closing: AtomicBool,
    /// The first commit of positions that failed in the background.
    commit_failure: Mutex<Option<KafkaError>>,
    /// The first record that was not acknowledged.
    delivery_failure: Mutex<Option<KafkaError>>,
    /// A request went wrong on the way, even where the client tried it again by itself.
    unclean: AtomicBool,
}

impl Context {
    /// The rebalance that waits for an answer.
    pub(super) fn next_move(&self) -> Option<Move> {
        lock(&self.moves).front().cloned()
    }

    /// The rebalance was answered.
    pub(super) fn moved(&self) {
        lock(&self.moves).pop_front();
    }

    /// From here on rebalances are answered where they arrive.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn take_commit_failure(&self) -> Option<KafkaError> {
        lock(&self.commit_failure).take()
    }

    pub(super) fn take_delivery_failure(&self) -> Option<KafkaError> {
        lock(&self.delivery_failure).take()
    }

    /// Whether a request went wrong on the way since this was last asked.
    pub(super) fn take_unclean(&self) -> bool {
        self.unclean.swap(false, Ordering::AcqRel)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What the client repeats by itself shows in its log only: requests that timed out or
        // were cut off with their connection.
        if matches!(facility, "FAIL" | "REQTMOUT" | "TXNERR") {
            self.unclean.store(true, Ordering::Release);
        }
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(facility, message, "kafka client"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!(facility, message, "kafka client");
            }
            RDKafkaLogLevel::Debug => debug!(facility, message, "kafka client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.unclean.store(true, Ordering::Release);
        warn!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assign = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            if !assign && let Err(error) = release(consumer, partitions) {
                warn!(%error, "partitions not released on close");
            }
            return;
        }
        let names = partitions.elements();
        let list = names.iter().map(|at| (at.topic().to_owned(), at.partition())).collect();
        let moved = if assign { Move::Assign(list) } else { Move::Revoke(list) };
        debug!(?moved, "rebalance");
        lock(&self.moves).push_back(moved);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            lock(&self.commit_failure).get_or_insert(error);
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            lock(&self.delivery_failure).get_or_insert_with(|| error.clone());
        }
    }
}

/// Gives partitions up, by the protocol that the group goes by.
pub(super) fn release(
    consumer: &BaseConsumer<Context>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
