//! What the clients are told: one place for every librdkafka setting that Muster chooses.
//!
//! A user's own settings win, except those that exactness rests on; these are refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::journal::JournalError;

/// The largest record that Muster writes, in bytes: four times the default limit on what it reads,
/// since a change shows as much of alerts, and once more what they share.
pub(super) const MESSAGE_MAX: &str = "4194304";

/// Settings that would break what a feed promises.
pub(super) const REFUSED: [&str; 17] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "enabled_events",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "log.queue",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "transactional.id",
];

/// A cluster and what the user adds to every client of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) brokers: String,
    pub(super) extra: BTreeMap<String, String>,
}

/// How a consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The firehose: large fetches, a deep queue.
    Bulk,
    /// Few records that somebody waits for.
    Latency,
}

impl Cluster {
    /// Takes the settings after a look at what may not be set.
    pub(super) fn new(
        brokers: &str,
        extra: &BTreeMap<String, String>,
    ) -> Result<Self, JournalError> {
        match REFUSED.into_iter().find(|key| extra.contains_key(*key)) {
            Some(key) => Err(JournalError::fatal(
                format!("use Kafka setting `{key}`"),
                "Muster sets it itself because exactness rests on it; remove it",
            )),
            None => Ok(Self { brokers: brokers.to_owned(), extra: extra.clone() }),
        }
    }

    /// A consumer that joins a group; `instance` is how the broker's tools show it.
    ///
    /// Not a static member (`group.instance.id`): a broker that dies while it answers a join leaves
    /// the bundled client with its old member id, and then it is fenced by itself, for good.
    pub(super) fn consumer(&self, group: &str, instance: &str, pace: Pace) -> ClientConfig {
        let mut config = self.reading(group, pace);
        config.set("client.id", instance);
        self.finished(config)
    }

    /// A consumer that is given its partitions and keeps no positions.
    pub(super) fn reader(&self, group: &str, pace: Pace) -> ClientConfig {
        let mut config = self.reading(group, pace);
        config.set("enable.partition.eof", "true");
        self.finished(config)
    }

    /// A client for looking at the cluster; sees what is not committed yet.
    pub(super) fn looker(&self) -> ClientConfig {
        let mut config = self.base();
        config.set("isolation.level", "read_uncommitted");
        self.finished(config)
    }

    /// An idempotent producer.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.writing();
        config.set("message.timeout.ms", "30000");
        self.finished(config)
    }

    /// A transactional producer.
    pub(super) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.writing();
        // One lost EndTxn must be noticed inside one transaction, so the socket gives up first.
        config
            .set("transactional.id", id)
            // Somebody waits for each commit, and its records are handed over at once.
            .set("linger.ms", "1")
            .set("transaction.timeout.ms", "15000")
            .set("socket.timeout.ms", "10000");
        self.finished(config)
    }

    fn reading(&self, group: &str, pace: Pace) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", group)
            // The broker-run protocol stalls and leaves in the bundled client; classic does not.
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            // Any other value skips records in silence when a position is gone.
            .set("auto.offset.reset", "error")
            .set("session.timeout.ms", "15000")
            .set("heartbeat.interval.ms", "3000")
            .set("max.poll.interval.ms", "120000")
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.min.messages", "100000")
            .set("allow.auto.create.topics", "false");
        match pace {
            Pace::Bulk => config
                .set("fetch.wait.max.ms", "20")
                .set("fetch.min.bytes", "65536")
                .set("fetch.max.bytes", "16777216")
                .set("queued.max.messages.kbytes", "65536"),
            Pace::Latency => config
                .set("fetch.wait.max.ms", "10")
                .set("fetch.min.bytes", "1")
                .set("queued.max.messages.kbytes", "16384"),
        };
        config
    }

    fn writing(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.codec", "lz4")
            .set("linger.ms", "5")
            // A record of the default limit with what Muster adds to it; the client's own default
            // refuses it, and a record that no topic takes stops its partition.
            .set("message.max.bytes", MESSAGE_MAX)
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "200000")
            // The default of 1 GiB is no bound at all.
            .set("queue.buffering.max.kbytes", "65536");
        config
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "muster")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("socket.timeout.ms", "10000")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "60000")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    fn finished(&self, mut config: ClientConfig) -> ClientConfig {
        for (key, value) in &self.extra {
            config.set(key, value);
        }
        config
    }
}

/// A setting in milliseconds, as it was given to a client.
pub(super) fn millis(config: &ClientConfig, key: &str, default: u64) -> Duration {
    let given = config.get(key).and_then(|value| value.parse().ok());
    Duration::from_millis(given.unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(extra: &[(&str, &str)]) -> Result<Cluster, JournalError> {
        let extra = extra.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Cluster::new("broker:9092", &extra.collect())
    }

    #[test]
    fn refuses_by_name_what_exactness_rests_on() {
        for key in REFUSED {
            let error = cluster(&[(key, "x")]).expect_err("refused");
            assert!(error.doing.contains(key), "{error}");
        }
    }

    #[test]
    fn a_users_setting_wins() {
        let cluster = cluster(&[("compression.codec", "zstd"), ("socket.timeout.ms", "7000")])
            .expect("allowed");
        let producer = cluster.transactional("id");
        assert_eq!(producer.get("compression.codec"), Some("zstd"));
        assert_eq!(millis(&producer, "socket.timeout.ms", 0), Duration::from_secs(7));
        assert_eq!(producer.get("enable.idempotence"), Some("true"));
    }
}
