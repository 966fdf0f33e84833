//! Correlate's feed: rows, outputs and positions in one Kafka transaction.
//!
//! After anything unclean the producer is thrown away. The next one goes by the same transactional
//! id: its start ends whatever the old one left open and fences every late request of it, which
//! the bundled client cannot do otherwise. Then the committed positions are fetched; they alone say
//! whether the last transaction counts.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer;
use tracing::{info, warn};

use super::bounded::{Backoff, within};
use super::consumer::{Event, GroupConsumer};
use super::error::journal_error;
use super::producer::{Sender, abandon};
use super::rows;
use super::settings::{Cluster, millis};
use super::slots::Seat;
use super::topics::Names;
use crate::clock::Stopwatch;
use crate::journal::{Commit, Feed, JournalError, Polled};
use crate::stage::{Slot, Topic};

/// So many times within so long a producer may be fenced before that is no accident any more.
const FENCED_MAX: u32 = 5;
const FENCED_WITHIN: Duration = Duration::from_secs(300);

/// What a transactional feed is made of.
pub(super) struct Parts {
    pub(super) cluster: Cluster,
    pub(super) names: Arc<Names>,
    pub(super) group: String,
    pub(super) rows: Topic,
    pub(super) consumer: GroupConsumer,
    pub(super) producer: ClientConfig,
    /// Keeps this feed's names its own.
    pub(super) _seat: Seat,
}

pub(super) struct TransactionalFeed {
    parts: Parts,
    sender: Option<Sender>,
    /// What came after the last commit is void and the partitions are to be announced anew.
    void: bool,
    backoff: Backoff,
    /// How often the producer was fenced lately, and since when that is counted.
    fenced: (u32, Stopwatch),
    socket_timeout: Duration,
    transaction_timeout: Duration,
}

impl TransactionalFeed {
    pub(super) fn open(parts: Parts) -> Result<Self, JournalError> {
        let mut feed = Self {
            socket_timeout: millis(&parts.producer, "socket.timeout.ms", 10_000),
            transaction_timeout: millis(&parts.producer, "transaction.timeout.ms", 15_000),
            parts,
            sender: None,
            void: false,
            backoff: Backoff::new(),
            fenced: (0, Stopwatch::start()),
        };
        feed.renew()?;
        Ok(feed)
    }

    /// A producer that has fenced all before it.
    fn renew(&mut self) -> Result<(), JournalError> {
        if let Some(old) = self.sender.take() {
            abandon(old);
            info!(group = self.parts.group, "transactional producer is made anew");
        }
        let sender = Sender::new(&self.parts.producer, Arc::clone(&self.parts.names))?;
        let producer = Arc::clone(sender.producer());
        // While a broker of the transaction log is away this waits for it, but not for ever.
        let limit = self.transaction_timeout + self.socket_timeout;
        let started = within(limit + Duration::from_secs(5), "kafka-init", move || {
            producer.init_transactions(limit)
        });
        match started {
            Some(Ok(())) => {
                // The log of finding the coordinator is no sign of an unclean transaction.
                sender.take_unclean();
                self.sender = Some(sender);
                Ok(())
            }
            Some(Err(error)) => {
                abandon(sender);
                Err(journal_error("begin a transactional producer", &error))
            }
            None => Err(JournalError::retry("begin a transactional producer", "no answer in time")),
        }
    }

    /// Makes everything after the last commit void.
    fn fail<T>(&mut self, error: JournalError) -> Result<T, JournalError> {
        self.void = true;
        self.backoff.failed();
        Err(error)
    }

    /// Back to the committed positions with a new producer. Nothing while it is too early.
    fn recover(&mut self, wait: Duration) -> Result<Option<Vec<Slot>>, JournalError> {
        let remaining = self.backoff.remaining();
        if !remaining.is_zero() {
            self.parts.consumer.serve(wait.min(remaining))?;
            return Ok(None);
        }
        if let Err(error) = self.renew() {
            return self.fail(error);
        }
        match self.parts.consumer.rewind() {
            Ok(slots) => {
                self.void = false;
                Ok(Some(slots))
            }
            Err(error) => self.fail(error),
        }
    }

    /// The error when another process under our name and we fence each other in turns. Once is
    /// normal: the broker fences us too, after a transaction that took too long.
    fn rival(&mut self) -> Option<JournalError> {
        use RDKafkaErrorCode as Code;
        let (code, _) = self.sender.as_ref()?.producer().client().fatal_error()?;
        if !matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) {
            return None;
        }
        if self.fenced.1.elapsed() > FENCED_WITHIN {
            self.fenced = (0, Stopwatch::start());
        }
        self.fenced.0 += 1;
        (self.fenced.0 >= FENCED_MAX).then(|| {
            JournalError::fatal(
                format!("commit for group {}", self.parts.group),
                format!(
                    "the producer was fenced {FENCED_MAX} times within {FENCED_WITHIN:?}: another \
                     process runs under the same instance name; give each its own"
                ),
            )
        })
    }

    fn transact(&mut self, commit: &Commit) -> Result<(), JournalError> {
        let Some(sender) = &self.sender else {
            return Err(JournalError::retry("commit", "there is no producer"));
        };
        let started = Stopwatch::start();
        let producer = Arc::clone(sender.producer());
        producer
            .begin_transaction()
            .map_err(|error| journal_error("begin a transaction", &error))?;
        sender.send_rows(self.parts.rows, &commit.rows)?;
        sender.send(&commit.records)?;
        sender.flush()?;
        let positions = self.parts.consumer.list(&commit.positions)?;
        // Asked anew each time: it is what fences us if the partitions are another's by now.
        let metadata = self.parts.consumer.metadata()?;
        let limit = self.transaction_timeout;
        let ended = within(limit + Duration::from_secs(5), "kafka-commit", move || {
            producer
                .send_offsets_to_transaction(&positions, &metadata, limit)
                .map_err(|error| journal_error("add positions to a transaction", &error))?;
            // Without a timeout of its own the client takes the rest of the transaction's.
            producer
                .commit_transaction(None)
                .map_err(|error| journal_error("commit a transaction", &error))
        });
        match ended {
            Some(result) => result?,
            // Known of the bundled client while a coordinator is away: the call never ends, and
            // this worker's partitions would stand still without a word.
            None => {
                return Err(JournalError::fatal(
                    "commit a transaction",
                    format!("the Kafka client hangs for more than {limit:?}; start again"),
                ));
            }
        }
        // It is committed. But a request that was repeated on the way may still arrive late, in
        // the middle of the next transaction, unless a new producer fences it.
        let slow = started.elapsed() > self.socket_timeout;
        if sender.take_unclean() || slow {
            warn!(group = self.parts.group, "commit was unclean on the way");
            self.renew()?;
        }
        Ok(())
    }
}

impl Feed for TransactionalFeed {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        if self.void {
            return Ok(match self.recover(wait)? {
                Some(slots) if !slots.is_empty() => Polled::Assigned(slots),
                _ => Polled::Idle,
            });
        }
        let event = match self.parts.consumer.poll(wait) {
            Ok(event) => event,
            Err(error) => return self.fail(error),
        };
        match event {
            Event::Idle => Ok(Polled::Idle),
            Event::Batch(batch) => Ok(Polled::Batch(Box::new(batch))),
            Event::Assign(slots) => match self.parts.consumer.take(&slots) {
                Ok(()) if slots.is_empty() => Ok(Polled::Idle),
                Ok(()) => Ok(Polled::Assigned(slots)),
                Err(error) => self.fail(error),
            },
            // Every commit has ended before the feed is polled again: there is nothing to settle.
            Event::Revoke { slots, lost } => {
                if lost {
                    warn!(?slots, "partitions were lost to another member");
                }
                match self.parts.consumer.release(&slots) {
                    Ok(()) => Ok(Polled::Revoked(slots)),
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    fn restore(
        &mut self,
        slot: Slot,
        row: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), JournalError> {
        let (topic, _) = self.parts.names.of(self.parts.rows);
        let group = format!("{}.restore", self.parts.group);
        // A rebalance is only noted here; what else goes wrong shows again at the next poll.
        let alive = || drop(self.parts.consumer.serve(Duration::ZERO));
        match rows::restore(&self.parts.cluster, &group, topic, slot.partition, &alive, row) {
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
        if self.void || !self.parts.consumer.owns(slots) {
            let why = "the partitions are not this member's any more";
            return self.fail(JournalError::retry("commit a transaction", why));
        }
        match self.transact(&commit) {
            Ok(()) => {
                self.backoff.succeeded();
                Ok(())
            }
            Err(error) => {
                warn!(%error, group = self.parts.group, "commit failed");
                let error = self.rival().unwrap_or(error);
                self.fail(error)
            }
        }
    }

    fn lag(&self) -> Vec<(Slot, u64)> {
        self.parts.consumer.lag()
    }

    fn close(self: Box<Self>) -> Result<(), JournalError> {
        // Every commit has ended by itself; dropping ends the rest.
        Ok(())
    }
}

impl Drop for TransactionalFeed {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            abandon(sender);
        }
    }
}
