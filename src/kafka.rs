//! The journal over Kafka, and Kafka topics as sources. The only module that names rdkafka.
//!
//! Consumer groups are the scale-out, transactions the atomicity. The clients' settings are in
//! `settings`, what a member of a group reads in `consumer`, the two sorts of feed in
//! `transactional` and `plain`. What stages make of records is none of its business.
//! A position is never committed before what it stands for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::journal::{Appender, Feed, Follower, From, Group, Journal, JournalError};
use crate::model::Span;
use crate::stage::Topic;
use bounded::Backoff;
use consumer::{GroupConsumer, Input};
use native::Kinds;
use plain::{Depth, Out, PlainFeed};
use producer::KafkaAppender;
use settings::{Cluster, Pace};
use slots::Seats;
use topics::Names;
use transactional::{Parts, TransactionalFeed};

mod bounded;
pub mod bulk;
mod consumer;
mod context;
mod error;
mod follower;
mod native;
mod plain;
mod producer;
pub mod publish;
mod rows;
mod settings;
mod slots;
mod topics;
mod transactional;

/// How long a call to the cluster may take.
const CALL: Duration = Duration::from_secs(15);

/// One of Muster's own topics on Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Its name.
    pub name: String,
    /// How many partitions `topics --create` gives it.
    pub partitions: u32,
}

/// How to reach a cluster and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// Further librdkafka settings, such as `security.protocol`; they win over ours, except those
    /// that exactness rests on, which are refused.
    pub extra: BTreeMap<String, String>,
    /// Muster's topics.
    pub topics: BTreeMap<Topic, TopicSettings>,
    /// Replicas that `topics --create` asks for.
    pub replication: i32,
    /// Prefix of consumer groups and transactional ids.
    pub group: String,
    /// Tells this instance from others of the same group; stable over restarts.
    pub instance: String,
}

/// Where a source topic is begun when the group has no position in it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// What is published from now on.
    #[default]
    Latest,
    /// The oldest record kept.
    Earliest,
    /// What was published this long ago or later.
    Age(Span),
}

/// A topic that monitoring systems publish to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTopic {
    /// The source it is configured under.
    pub source: Arc<str>,
    /// The topic's name.
    pub topic: String,
    /// Whether its key determines the identity, so that it can be suppressed where it is read.
    pub keyed: bool,
    /// Where to begin.
    pub start: Start,
    /// Its own cluster, where it is not the journal's.
    pub brokers: Option<String>,
    /// Further librdkafka settings for that cluster.
    pub extra: BTreeMap<String, String>,
}

/// Opens the journal after a look at its topics.
///
/// # Errors
/// When the cluster cannot be reached, or a topic is missing or not as exactness needs it.
pub fn open(settings: &Settings, clock: SharedClock) -> Result<Arc<dyn Journal>, JournalError> {
    let cluster = Cluster::new(&settings.brokers, &settings.extra)?;
    let names = Arc::new(topics::check(&cluster, settings)?);
    Ok(Arc::new(KafkaJournal {
        cluster,
        names,
        group: settings.group.clone(),
        instance: settings.instance.clone(),
        clock,
        seats: Seats::default(),
    }))
}

/// Whether Muster sets this librdkafka key itself, because exactness rests on it.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    settings::REFUSED.contains(&key)
}

/// Makes the topics that are missing; answers a line a topic.
///
/// # Errors
/// When the cluster refuses, or a topic exists with settings that exactness does not allow.
pub fn create_topics(settings: &Settings) -> Result<Vec<String>, JournalError> {
    let cluster = Cluster::new(&settings.brokers, &settings.extra)?;
    topics::create(&cluster, settings)
}

/// Where source topics are read from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Their cluster, `host:port`, comma separated.
    pub brokers: String,
    /// Further librdkafka settings for it.
    pub extra: BTreeMap<String, String>,
    /// The consumer group.
    pub group: String,
    /// This reader's name in the group, stable over restarts; each feed of a process needs its own.
    pub instance: String,
}

/// Reads source topics, all of one cluster; what is made of them goes to any journal.
/// `Slot::input` is the index into `topics`.
///
/// # Errors
/// When the cluster cannot be reached, or a topic does not exist.
pub fn sources(
    from: &Sources,
    topics: &[SourceTopic],
    appender: Box<dyn Appender>,
    clock: SharedClock,
) -> Result<Box<dyn Feed>, JournalError> {
    let cluster = Cluster::new(&from.brokers, &from.extra)?;
    let known = topics::counts(&cluster)?;
    if let Some(missing) = topics.iter().find(|topic| !known.contains_key(&topic.topic)) {
        return Err(JournalError::fatal(
            format!("read source topic {} of source {}", missing.topic, missing.source),
            format!("{} has no such topic; create it or correct its name", from.brokers),
        ));
    }
    let config = cluster.consumer(&from.group, &from.instance, Pace::Bulk);
    let input = Input {
        topics: topics.iter().map(|topic| topic.topic.clone()).collect(),
        starts: topics.iter().map(|topic| topic.start).collect(),
        kinds: Kinds::Raw,
    };
    Ok(Box::new(PlainFeed {
        consumer: GroupConsumer::join(&config, input, clock)?,
        out: Out::Any(appender),
        depth: Depth::OneBehind,
        cluster,
        group: from.group.clone(),
        pending: None,
        void: false,
        backoff: Backoff::new(),
        _seat: Seats::default().take(&from.group),
    }))
}

/// Reads a whole topic that is not Muster's along, from its beginning and without a position, such as
/// a compacted one of a topology's edges.
///
/// # Errors
/// When the cluster cannot be reached, or has no such topic.
pub fn follow_other(from: &Sources, topic: &str) -> Result<Box<dyn Follower>, JournalError> {
    let cluster = Cluster::new(&from.brokers, &from.extra)?;
    let Some(partitions) = topics::counts(&cluster)?.get(topic).copied() else {
        return Err(JournalError::fatal(
            format!("follow topic {topic}"),
            format!("{} has no such topic; create it or correct its name", from.brokers),
        ));
    };
    let at = (Kinds::Raw, topic, partitions);
    Ok(Box::new(follower::KafkaFollower::open(&cluster, &from.group, at, From::Beginning)?))
}

/// Makes a compacted topic that is not one of Muster's own, if it is missing; answers a line.
///
/// # Errors
/// When the cluster refuses it.
pub fn create_compacted(settings: &Settings, topic: &str) -> Result<String, JournalError> {
    let cluster = Cluster::new(&settings.brokers, &settings.extra)?;
    if let Some(partitions) = topics::counts(&cluster)?.get(topic) {
        return Ok(format!("{topic}: exists, {partitions} partitions"));
    }
    let compact = [("cleanup.policy", "compact")];
    topics::create_one(&cluster, topic, (1, settings.replication), &compact)?;
    topics::await_leader(&cluster, topic)?;
    Ok(format!("{topic}: created, 1 partitions"))
}

struct KafkaJournal {
    cluster: Cluster,
    names: Arc<Names>,
    group: String,
    instance: String,
    clock: SharedClock,
    seats: Seats,
}

impl KafkaJournal {
    fn appender(&self) -> Result<KafkaAppender, JournalError> {
        KafkaAppender::new(self.cluster.producer(), Arc::clone(&self.names))
    }

    fn transactional(&self, parts: Parts) -> Result<Box<dyn Feed>, JournalError> {
        Ok(Box::new(TransactionalFeed::open(parts)?))
    }
}

impl Journal for KafkaJournal {
    fn partitions(&self, topic: Topic) -> u32 {
        self.names.of(topic).1
    }

    fn feed(&self, group: Group) -> Result<Box<dyn Feed>, JournalError> {
        let name = format!("{}.{}", self.group, group.as_str());
        let seat = self.seats.take(&name);
        let instance = format!("{}.{}", self.instance, seat.number());
        let pace = match group {
            Group::Suppress => Pace::Bulk,
            Group::Correlate | Group::Notify => Pace::Latency,
        };
        let config = self.cluster.consumer(&name, &instance, pace);
        let input = Input {
            topics: vec![self.names.of(group.input()).0.to_owned()],
            // What was appended before the first start waits to be read like everything after.
            starts: vec![Start::Earliest],
            kinds: Kinds::Header,
        };
        let consumer = GroupConsumer::join(&config, input, Arc::clone(&self.clock))?;
        if group == Group::Correlate {
            return self.transactional(Parts {
                cluster: self.cluster.clone(),
                names: Arc::clone(&self.names),
                rows: Topic::State,
                consumer,
                producer: self.cluster.transactional(&format!("{name}.{instance}")),
                group: name,
                _seat: seat,
            });
        }
        let appender = self.appender()?;
        let (out, depth) = match group.rows() {
            Some(topic) => {
                let rows = self.names.of(topic).0.to_owned();
                (Out::Rows { appender, topic, name: rows }, Depth::Now)
            }
            None => (Out::Any(Box::new(appender)), Depth::OneBehind),
        };
        Ok(Box::new(PlainFeed {
            consumer,
            out,
            depth,
            cluster: self.cluster.clone(),
            group: name,
            pending: None,
            void: false,
            backoff: Backoff::new(),
            _seat: seat,
        }))
    }

    fn appender(&self) -> Result<Box<dyn Appender>, JournalError> {
        Ok(Box::new(Self::appender(self)?))
    }

    fn follow(&self, topic: Topic, from: From) -> Result<Box<dyn Follower>, JournalError> {
        let (name, partitions) = self.names.of(topic);
        let group = format!("{}.follow", self.group);
        let at = (follower::kinds(topic), name, partitions);
        Ok(Box::new(follower::KafkaFollower::open(&self.cluster, &group, at, from)?))
    }
}
