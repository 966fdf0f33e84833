//! Sends payloads to topics of sources, for whoever publishes to Muster: `muster publish`.
//!
//! One at a time, each acknowledged by all replicas before it counts; idempotent, so that the
//! client's own repeats leave one record. The partition is the one that Java's clients choose for a
//! key, so that several publishers of a topic agree.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use tracing::debug;

use super::bounded::within;
use super::context::Context;
use super::error::journal_error;
use super::settings::Cluster;
use crate::clock::Stopwatch;
use crate::journal::JournalError;
use crate::model::Timestamp;

/// How long to wait before the client is asked again.
const MOMENT: Duration = Duration::from_millis(1);
/// How long a client may take to end.
const CLOSE: Duration = Duration::from_millis(700);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Where to.
    pub topic: &'a str,
    /// By which it finds its partition; none for any.
    pub key: Option<&'a str>,
    /// What goes beside it.
    pub headers: &'a [(String, String)],
    /// The bytes.
    pub value: &'a [u8],
    /// When it was published first.
    pub at: Timestamp,
}

/// Why it was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsent {
    /// It may be another time.
    Later(String),
    /// The cluster will never take it.
    Never(String),
}

/// A producer for topics of others.
pub struct Publish {
    producer: BaseProducer<Context>,
}

impl Publish {
    /// A producer of a cluster; nothing is asked of it yet. `patience` is the longest that a payload
    /// may be under way.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn open(
        brokers: &str,
        extra: &BTreeMap<String, String>,
        patience: Duration,
    ) -> Result<Self, JournalError> {
        let mut config = Cluster::new(brokers, extra)?.producer();
        let patience = patience.as_millis().clamp(1, 300_000).to_string();
        let ours = [
            ("message.timeout.ms", patience.as_str()),
            // Somebody waits for each.
            ("linger.ms", "0"),
            ("partitioner", "murmur2_random"),
        ];
        for (key, value) in ours.into_iter().filter(|(key, _)| !extra.contains_key(*key)) {
            config.set(key, value);
        }
        let producer = config
            .create_with_context(Context::default())
            .map_err(|error| journal_error("make a publisher", &error))?;
        Ok(Self { producer })
    }

    /// Ends it, without waiting for the client longer than a moment.
    pub fn close(self) {
        // Nothing is under way: what was not acknowledged was given up. A client that is left
        // behind ends with the process.
        if within(CLOSE, "kafka-drop", move || drop(self.producer)).is_none() {
            debug!("a publisher did not close in time and is left behind");
        }
    }

    /// Sends a payload and waits for its acknowledgement, at most `longest`.
    ///
    /// # Errors
    /// When it is not known to be there; then it may be all the same.
    pub fn send(&self, message: &Message<'_>, longest: Duration) -> Result<(), Unsent> {
        let begun = Stopwatch::start();
        let mut headers = OwnedHeaders::new();
        for (name, value) in message.headers {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        let mut record = BaseRecord::<str, [u8]>::to(message.topic).headers(headers);
        record.key = message.key;
        record.payload = Some(message.value);
        record.timestamp = Some(message.at.as_millis());
        if let Err((error, _)) = self.producer.send(record) {
            return Err(unsent(message.topic, &error));
        }
        while self.producer.in_flight_count() > 0 {
            if begun.elapsed() > longest {
                // What was given up must not go out behind the back of whoever sends it again.
                self.producer.purge(PurgeConfig::default().queue().inflight());
                self.producer.poll(Duration::ZERO);
                let why = "no acknowledgement in time; is the broker there, and the topic?";
                return Err(Unsent::Later(format!("topic {}: {why}", message.topic)));
            }
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(MOMENT);
        }
        // The report of the last one comes with a poll of its own.
        self.producer.poll(Duration::ZERO);
        match self.producer.context().take_delivery_failure() {
            Some(error) => Err(unsent(message.topic, &error)),
            None => Ok(()),
        }
    }
}

fn unsent(topic: &str, error: &KafkaError) -> Unsent {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidRecord) => {
            Unsent::Never(format!("topic {topic}: {error}"))
        }
        Some(Code::MessageTimedOut) => Unsent::Later(format!(
            "topic {topic}: no acknowledgement in time; is the broker there, and the topic?"
        )),
        _ => Unsent::Later(format!("topic {topic}: {error}")),
    }
}
