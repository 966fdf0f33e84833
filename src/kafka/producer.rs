//! Sends records and waits for their acknowledgement.
//!
//! Partitions are always named, never left to a partitioner. A record that was not acknowledged
//! fails the whole of what was begun.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tracing::warn;

use super::bounded::within;
use super::context::Context;
use super::error::journal_error;
use super::native::KIND_HEADER;
use super::topics::Names;
use crate::clock::Stopwatch;
use crate::journal::{Appender, JournalError};
use crate::stage::{Kind, Outgoing, Route, Row, Slot, Topic};

/// How long records may wait for room or for their acknowledgement.
const PATIENCE: Duration = Duration::from_secs(35);

/// How long to wait before the client is asked again.
const MOMENT: Duration = Duration::from_micros(200);

/// A producer and the topics it writes to.
pub(super) struct Sender {
    producer: Arc<BaseProducer<Context>>,
    names: Arc<Names>,
}

impl Sender {
    pub(super) fn new(config: &ClientConfig, names: Arc<Names>) -> Result<Self, JournalError> {
        let producer = config
            .create_with_context(Context::default())
            .map_err(|error| journal_error("make a producer", &error))?;
        Ok(Self { producer: Arc::new(producer), names })
    }

    /// The producer itself, for what concerns transactions.
    pub(super) fn producer(&self) -> &Arc<BaseProducer<Context>> {
        &self.producer
    }

    /// Whether a request went wrong on the way since this was last asked.
    pub(super) fn take_unclean(&self) -> bool {
        // Logs and errors are noted only when the producer is polled.
        self.producer.poll(Duration::ZERO);
        let context = self.producer.context();
        context.take_unclean()
    }

    /// Hands records to the client.
    pub(super) fn send(&self, records: &[Outgoing]) -> Result<(), JournalError> {
        records.iter().try_for_each(|record| {
            let (topic, count) = self.names.of(record.topic);
            let partition = record.route.partition(count);
            let key = (!record.key.is_empty()).then_some(record.key.as_slice());
            let headers = record.headers.iter().map(|(name, value)| (*name, value.as_slice()));
            self.put(topic, partition, record.kind, key, Some(&record.value), headers)
        })
    }

    /// Hands rows to the client, for the partition whose state they are.
    pub(super) fn send_rows(&self, topic: Topic, rows: &[(Slot, Row)]) -> Result<(), JournalError> {
        let (topic, _) = self.names.of(topic);
        rows.iter().try_for_each(|(slot, row)| {
            let value = row.value.as_deref();
            let none = std::iter::empty();
            self.put(topic, slot.partition, Kind::Row, Some(&row.key), value, none)
        })
    }

    fn put<'a>(
        &self,
        topic: &str,
        partition: u32,
        kind: Kind,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'static str, &'a [u8])>,
    ) -> Result<(), JournalError> {
        let doing = || format!("append to {topic} partition {partition}");
        let mut all = OwnedHeaders::new();
        if kind != Kind::Raw {
            all = all.insert(Header { key: KIND_HEADER, value: Some(kind.as_str()) });
        }
        for (key, value) in headers {
            all = all.insert(Header { key, value: Some(value) });
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).headers(all);
        record.partition = i32::try_from(partition).ok();
        record.key = key;
        record.payload = value;
        let mut started = None;
        while let Err((error, back)) = self.producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || started.get_or_insert_with(Stopwatch::start).elapsed() > PATIENCE {
                return Err(journal_error(doing(), &error));
            }
            self.serve();
            record = back;
        }
        Ok(())
    }

    /// Waits until everything sent is acknowledged.
    pub(super) fn flush(&self) -> Result<(), JournalError> {
        let started = Stopwatch::start();
        // The client's own flush looks only every 100 ms, and it would also cut `linger.ms` short;
        // so it is told once, without waiting, that there is no use in lingering.
        drop(self.producer.flush(Duration::ZERO));
        while self.producer.in_flight_count() > 0 {
            if started.elapsed() > PATIENCE {
                return Err(JournalError::retry("append", "no acknowledgement in time"));
            }
            self.serve();
        }
        match self.producer.context().take_delivery_failure() {
            Some(error) => Err(journal_error("append", &error)),
            None => Ok(()),
        }
    }

    /// Takes one report of the client, or waits a moment for the next. The wrapper's own wait rounds
    /// what is left of a millisecond down to nothing and spins until it is over, which took a
    /// quarter of correlate's time.
    fn serve(&self) {
        let before = self.producer.in_flight_count();
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() == before {
            std::thread::sleep(MOMENT);
        }
    }

    /// Whether the client is beyond repair and has to be made anew.
    fn broken(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }
}

/// Appends outside any transaction.
pub(super) struct KafkaAppender {
    config: ClientConfig,
    names: Arc<Names>,
    sender: Sender,
}

impl KafkaAppender {
    pub(super) fn new(config: ClientConfig, names: Arc<Names>) -> Result<Self, JournalError> {
        let sender = Sender::new(&config, Arc::clone(&names))?;
        Ok(Self { config, names, sender })
    }

    /// Hands rows to the client.
    pub(super) fn begin_rows(
        &mut self,
        topic: Topic,
        rows: &[(Slot, Row)],
    ) -> Result<(), JournalError> {
        self.renew()?;
        self.sender.send_rows(topic, rows)
    }

    /// An idempotent producer that lost count of its sequence cannot be used any more.
    fn renew(&mut self) -> Result<(), JournalError> {
        if self.sender.broken() {
            warn!("producer is beyond repair and is made anew");
            self.sender = Sender::new(&self.config, Arc::clone(&self.names))?;
        }
        Ok(())
    }
}

impl Appender for KafkaAppender {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        self.renew()?;
        self.sender.send(&records)
    }

    fn put(&mut self, topic: Topic, rows: Vec<(Route, Row)>) -> Result<(), JournalError> {
        let (_, count) = self.names.of(topic);
        let place = |route: Route| Slot { input: 0, partition: route.partition(count) };
        let rows: Vec<(Slot, Row)> =
            rows.into_iter().map(|(route, row)| (place(route), row)).collect();
        self.begin_rows(topic, &rows)?;
        self.settle()
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        self.sender.flush()
    }
}

/// Drops a producer without waiting for it longer than a moment: what it has under way is void.
pub(super) fn abandon(sender: Sender) {
    if within(Duration::from_secs(2), "kafka-drop", move || drop(sender)).is_none() {
        warn!("a producer did not close in time and is left behind");
    }
}
