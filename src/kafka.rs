//! The journal over Kafka, and Kafka topics as sources. The only module that names rdkafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::Span;
use crate::stage::Topic;

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
