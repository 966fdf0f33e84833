//! Muster's topics on a cluster: making them, and checking that they are as exactness needs them.
//!
//! Nothing here changes a topic that exists; what is wrong with it is reported, with the setting
//! to change.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::context::Context;
use super::error::journal_error;
use super::settings::{Cluster, MESSAGE_MAX};
use super::{CALL, Settings};
use crate::journal::JournalError;
use crate::stage::Topic;

/// Names and partition counts, as the cluster has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names(BTreeMap<Topic, (String, u32)>);

impl Names {
    /// The name and the number of partitions.
    pub(super) fn of(&self, topic: Topic) -> (&str, u32) {
        let (name, count) = self.0.get(&topic).expect("every topic was checked on opening");
        (name, *count)
    }
}

/// What a topic must be made with: (setting, value, whether an existing topic must have it).
const fn wanted(topic: Topic) -> &'static [(&'static str, &'static str, Must)] {
    const DAY: &str = "86400000";
    const WEEK: &str = "604800000";
    const MONTH: &str = "2592000000";
    const STAMP: (&str, &str, Must) = ("message.timestamp.type", "LogAppendTime", Must::Have);
    const DELETE: (&str, &str, Must) = ("cleanup.policy", "delete", Must::Have);
    const COMPACT: (&str, &str, Must) = ("cleanup.policy", "compact", Must::Have);
    const LARGE: (&str, &str, Must) = ("max.message.bytes", MESSAGE_MAX, Must::Make);
    match topic {
        Topic::Events => &[DELETE, LARGE, ("retention.ms", DAY, Must::Make)],
        Topic::Alerts => &[DELETE, LARGE, STAMP, ("retention.ms", WEEK, Must::Make)],
        Topic::Incidents => &[DELETE, LARGE, STAMP, ("retention.ms", MONTH, Must::Make)],
        Topic::DeadLetters => &[DELETE, LARGE, ("retention.ms", MONTH, Must::Make)],
        Topic::State | Topic::Deliveries | Topic::Silences => &[
            COMPACT,
            LARGE,
            ("segment.ms", "3600000", Must::Make),
            ("min.cleanable.dirty.ratio", "0.2", Must::Make),
        ],
    }
}

/// How much a setting matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    /// Nothing is right without it.
    Have,
    /// New topics get it; an operator may have reasons for another value.
    Make,
}

/// Looks at every topic.
pub(super) fn check(cluster: &Cluster, settings: &Settings) -> Result<Names, JournalError> {
    let found = find(cluster, settings)?;
    let mut names = BTreeMap::new();
    for topic in Topic::ALL {
        let name = name(settings, topic)?;
        let count = found.get(&topic).copied().ok_or_else(|| missing(name))?;
        names.insert(topic, (name.to_owned(), count));
    }
    check_settings(cluster, settings, &Topic::ALL)?;
    let names = Names(names);
    check_counts(&names)?;
    Ok(names)
}

/// Makes what is missing; answers a line a topic.
pub(super) fn create(cluster: &Cluster, settings: &Settings) -> Result<Vec<String>, JournalError> {
    let found = find(cluster, settings)?;
    let old: Vec<_> = found.keys().copied().collect();
    check_settings(cluster, settings, &old)?;
    let mut fresh = Vec::new();
    for topic in Topic::ALL.into_iter().filter(|topic| !found.contains_key(topic)) {
        let Some(of) = settings.topics.get(&topic) else { return Err(unnamed(topic)) };
        let count = i32::try_from(of.partitions.max(1)).unwrap_or(i32::MAX);
        let replicas = TopicReplication::Fixed(settings.replication);
        let new = NewTopic::new(&of.name, count, replicas);
        fresh.push(wanted(topic).iter().fold(new, |new, (key, value, _)| new.set(key, value)));
    }
    if !fresh.is_empty() {
        let admin = admin(cluster)?;
        let options = AdminOptions::new().operation_timeout(Some(CALL));
        let results = wait(admin.create_topics(&fresh, &options))?
            .map_err(|error| journal_error("create topics", &error))?;
        for result in results {
            match result {
                // Somebody else made it meanwhile; the look below says whether it will do.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(JournalError::fatal(format!("create topic {name}"), code));
                }
            }
        }
        settle(cluster, settings)?;
    }
    let names = check(cluster, settings)?;
    let line = |topic| {
        let (name, count) = names.of(topic);
        let word = if found.contains_key(&topic) { "exists" } else { "created" };
        format!("{name}: {word}, {count} partitions")
    };
    Ok(Topic::ALL.into_iter().map(line).collect())
}

/// Makes one topic that is not Muster's; one that exists is left alone.
pub(super) fn create_one(
    cluster: &Cluster,
    name: &str,
    (partitions, replicas): (u32, i32),
    settings: &[(&str, &str)],
) -> Result<(), JournalError> {
    let count = i32::try_from(partitions.max(1)).unwrap_or(i32::MAX);
    let new = NewTopic::new(name, count, TopicReplication::Fixed(replicas));
    let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
    let options = AdminOptions::new().operation_timeout(Some(CALL));
    let results = wait(admin(cluster)?.create_topics([&new], &options))?
        .map_err(|error| journal_error(format!("create topic {name}"), &error))?;
    match results.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(JournalError::fatal(format!("create topic {name}"), code))
        }
        _ => Ok(()),
    }
}

/// Waits until a new topic that is not Muster's can be used.
pub(super) fn await_leader(cluster: &Cluster, name: &str) -> Result<(), JournalError> {
    let known = || Ok(counts(cluster)?.contains_key(name));
    until(known, || JournalError::retry(format!("create topic {name}"), "it has no leader yet"))
}

/// A new topic takes a moment until every broker knows it.
fn settle(cluster: &Cluster, settings: &Settings) -> Result<(), JournalError> {
    let known = || Ok(find(cluster, settings)?.len() == Topic::ALL.len());
    until(known, || JournalError::retry("create topics", "the new topics have no leaders yet"))
}

/// Looks a hundred times in about ten seconds.
fn until(
    known: impl Fn() -> Result<bool, JournalError>,
    never: impl Fn() -> JournalError,
) -> Result<(), JournalError> {
    for _ in 0..100 {
        if known()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(never())
}

/// Partition counts of those topics that exist.
fn find(cluster: &Cluster, settings: &Settings) -> Result<BTreeMap<Topic, u32>, JournalError> {
    let counts = counts(cluster)?;
    let mut found = BTreeMap::new();
    for topic in Topic::ALL {
        if let Some(count) = counts.get(name(settings, topic)?) {
            found.insert(topic, *count);
        }
    }
    Ok(found)
}

/// Partition counts of all topics of a cluster whose partitions all have a leader.
pub(super) fn counts(cluster: &Cluster) -> Result<BTreeMap<String, u32>, JournalError> {
    let doing = || format!("look at the topics of {}", cluster.brokers);
    let client: BaseConsumer<Context> = cluster
        .looker()
        .create_with_context(Context::default())
        .map_err(|error| journal_error(doing(), &error))?;
    let metadata =
        client.fetch_metadata(None, CALL).map_err(|error| journal_error(doing(), &error))?;
    let topics = metadata.topics().iter().filter(|topic| {
        let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
        topic.error().is_none() && led
    });
    let count = |len| u32::try_from(len).unwrap_or(u32::MAX);
    Ok(topics.map(|topic| (topic.name().to_owned(), count(topic.partitions().len()))).collect())
}

fn check_settings(
    cluster: &Cluster,
    settings: &Settings,
    topics: &[Topic],
) -> Result<(), JournalError> {
    if topics.is_empty() {
        return Ok(());
    }
    let mut asked = Vec::new();
    for topic in topics {
        asked.push(ResourceSpecifier::Topic(name(settings, *topic)?));
    }
    let admin = admin(cluster)?;
    let options = AdminOptions::new().request_timeout(Some(CALL));
    let results = wait(admin.describe_configs(&asked, &options))?
        .map_err(|error| journal_error("look at topic settings", &error))?;
    for (topic, result) in topics.iter().zip(results) {
        let name = name(settings, *topic)?;
        let resource = result.map_err(|code| JournalError {
            class: super::error::class(code),
            ..JournalError::fatal(format!("look at the settings of topic {name}"), code)
        })?;
        check_one(*topic, name, &resource)?;
    }
    Ok(())
}

fn check_one(topic: Topic, name: &str, resource: &ConfigResource) -> Result<(), JournalError> {
    for (key, value, _) in wanted(topic).iter().filter(|(_, _, must)| *must == Must::Have) {
        let has = resource.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or("nothing");
        if has != *value {
            return Err(JournalError::fatal(
                format!("use topic {name} for {topic}"),
                format!(
                    "its {key} is {has} and must be {value}: set it (kafka-configs --alter \
                     --topic {name} --add-config {key}={value}), or delete the topic and let \
                     `muster topics --create` make it"
                ),
            ));
        }
    }
    Ok(())
}

fn check_counts(names: &Names) -> Result<(), JournalError> {
    for (rows, input) in [(Topic::State, Topic::Alerts), (Topic::Deliveries, Topic::Incidents)] {
        let ((rows, has), (input, needs)) = (names.of(rows), names.of(input));
        if has != needs {
            return Err(JournalError::fatal(
                format!("use topic {rows}"),
                format!(
                    "it has {has} partitions and {input} has {needs}; they must be equal, since \
                     rows of an input partition live in the partition of the same number. Delete \
                     the one that is wrong and run `muster topics --create`"
                ),
            ));
        }
    }
    Ok(())
}

fn name(settings: &Settings, topic: Topic) -> Result<&str, JournalError> {
    settings.topics.get(&topic).map(|of| of.name.as_str()).ok_or_else(|| unnamed(topic))
}

fn unnamed(topic: Topic) -> JournalError {
    JournalError::fatal(format!("use the topic for {topic}"), "the settings give it no name")
}

fn missing(name: &str) -> JournalError {
    JournalError::fatal(
        format!("use topic {name}"),
        "it does not exist; run `muster topics --create`",
    )
}

pub(super) fn admin(cluster: &Cluster) -> Result<AdminClient<Context>, JournalError> {
    cluster
        .looker()
        .create_with_context(Context::default())
        .map_err(|error| journal_error("make an admin client", &error))
}

/// Admin calls are futures; this module's callers are threads.
pub(super) fn wait<T>(call: impl Future<Output = T>) -> Result<T, JournalError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| JournalError::fatal("wait for the cluster", error))?;
    Ok(runtime.block_on(call))
}
