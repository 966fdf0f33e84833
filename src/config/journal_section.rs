//! `journal`: where the logs live.
//!
//! Keys of the kind that is not chosen are read and checked all the same, so that the shipped file
//! can show all of them and a switch of `kind` brings no surprise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::read::Node;
use crate::journal::sqlite;
use crate::kafka::{self, TopicSettings};
use crate::model::Span;
use crate::stage::Topic;

const DAY: i64 = 86_400;
/// More partitions than any estate needs; each costs memory in every broker and client.
const PARTITIONS_MAX: u64 = 1_024;

/// Which back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JournalKind {
    Sqlite,
    Kafka,
}

/// The section, with what each kind goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Journal {
    pub(super) kind: JournalKind,
    pub(super) sqlite: sqlite::Settings,
    pub(super) kafka: kafka::Settings,
}

impl Journal {
    /// One line for people.
    pub(super) fn summary(&self) -> String {
        match self.kind {
            JournalKind::Sqlite => format!("sqlite in {}", self.sqlite.path.display()),
            JournalKind::Kafka => {
                format!("kafka at {}, group {}", self.kafka.brokers, self.kafka.group)
            }
        }
    }

    /// The same without secrets.
    pub(super) fn masked(&self) -> Self {
        let mut masked = self.clone();
        masked.kafka.extra = mask(&self.kafka.extra);
        masked
    }
}

pub(super) fn read(mut node: Node<'_>) -> Journal {
    let kinds = [("sqlite", JournalKind::Sqlite), ("kafka", JournalKind::Kafka)];
    let kind = node.word("kind", JournalKind::Sqlite, &kinds);
    let sqlite = sqlite::Settings {
        path: PathBuf::from(node.text("path").unwrap_or_else(|| "./muster-data".to_owned())),
        keep_alerts: keep(&mut node, "keep_alerts", 7),
        keep_incidents: keep(&mut node, "keep_incidents", 30),
        max_bytes: node.bytes("max_bytes", 4 << 30, 64 << 20, 1 << 50),
    };
    if kind == JournalKind::Kafka && !node.has("brokers") {
        node.missing("brokers", "kind: kafka needs them, such as \"k1:9092,k2:9092\"");
    }
    let kafka = kafka::Settings {
        brokers: brokers(&mut node).unwrap_or_default(),
        extra: client_settings(&mut node),
        topics: topics(node.table("topics")),
        replication: i32::try_from(node.count("replication", 3, 1, 9)).unwrap_or(3),
        group: node.text("group").unwrap_or_else(|| "muster".to_owned()),
        instance: node.text("instance").unwrap_or_default(),
    };
    node.finish();
    Journal { kind, sqlite, kafka }
}

fn keep(node: &mut Node<'_>, key: &'static str, days: i64) -> Span {
    let (hour, years) = (Span::from_secs(3_600), Span::from_secs(3_650 * DAY));
    node.span(key, Span::from_secs(days * DAY), hour, years)
}

/// `host:port`, comma separated.
pub(super) fn brokers(node: &mut Node<'_>) -> Option<String> {
    let text = node.text("brokers")?;
    let good = |broker: &str| match broker.trim().rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0),
        None => false,
    };
    if !text.split(',').all(good) {
        node.broken("brokers", Some(&text), "is not a list like \"k1:9092,k2:9092\"");
        return None;
    }
    Some(text)
}

/// Settings for librdkafka: those written out and those whose value is in a file.
pub(super) fn client_settings(node: &mut Node<'_>) -> BTreeMap<String, String> {
    let mut settings = node.map("settings");
    for (name, path) in node.map("settings_files") {
        let key = format!("settings_files.{name}");
        match std::fs::read_to_string(&path) {
            Ok(_) if settings.contains_key(&name) => {
                node.broken(&key, Some(&path), format!("is given beside settings.{name}"));
            }
            Ok(text) => {
                settings.insert(name, text.trim_end().to_owned());
            }
            Err(error) => node.broken(&key, Some(&path), format!("cannot be read: {error}")),
        }
    }
    for name in settings.keys().filter(|name| kafka::is_ours(name)) {
        node.broken(
            &format!("settings.{name}"),
            None,
            "is set by muster itself because exactness rests on it; leave it out",
        );
    }
    settings
}

/// Checks the name of a topic that is not Muster's, and that it has brokers: those beside it, or
/// the journal's where it shares them.
pub(super) fn check_topic(table: &mut Node<'_>, name: &str, is_shared: bool, journal: &Journal) {
    if !is_topic_name(name) {
        table.broken("topic", Some(name), TOPIC_NAME_RULE);
    }
    if is_shared && journal.kind == JournalKind::Sqlite {
        table.missing(
            "brokers",
            "the topic is on Kafka, and the embedded journal has no brokers it could share",
        );
    }
    let own = journal.kafka.topics.values().any(|topic| topic.name == name);
    if own && is_shared && journal.kind == JournalKind::Kafka {
        table.broken("topic", Some(name), "is a topic of muster's own (journal.topics)");
    }
}

/// The same settings with the values of those that look like secrets hidden.
pub(super) fn mask(settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let secret = |name: &str| {
        ["password", "secret", "key.pem", "token", "jaas"].iter().any(|word| name.contains(word))
            || matches!(name, "sasl.oauthbearer.config" | "ssl.key.pem")
    };
    let hide = |(name, value): (&String, &String)| {
        (name.clone(), if secret(name) { "***".to_owned() } else { value.clone() })
    };
    settings.iter().map(hide).collect()
}

/// The name of this machine, which a container keeps over restarts; `1` where there is none.
pub(super) fn host_name() -> String {
    let named = std::env::var("HOSTNAME").ok();
    let written = || std::fs::read_to_string("/etc/hostname").ok();
    let name = named.filter(|name| !name.is_empty()).or_else(written).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "1".to_owned() } else { name.to_owned() }
}

fn topics(mut node: Node<'_>) -> BTreeMap<Topic, TopicSettings> {
    let mut topics = BTreeMap::new();
    for (topic, partitions) in [
        (Topic::Events, Some(4)),
        (Topic::Alerts, Some(4)),
        (Topic::State, None),
        (Topic::Incidents, Some(4)),
        (Topic::Deliveries, None),
        (Topic::DeadLetters, Some(1)),
        (Topic::Silences, Some(1)),
    ] {
        let mut table = node.table(topic.as_str());
        let name = table
            .text("name")
            .unwrap_or_else(|| format!("muster.{}", topic.as_str().replace('_', "-")));
        if !is_topic_name(&name) {
            table.broken("name", Some(&name), TOPIC_NAME_RULE);
        }
        let partitions = match partitions {
            Some(default) => table.count("partitions", default, 1, PARTITIONS_MAX),
            // Rows have the partition number of the input they belong to.
            None => 0,
        };
        let same = topics.iter().find(|(_, other): &(_, &TopicSettings)| other.name == name);
        if let Some((other, _)) = same {
            table.broken("name", Some(&name), format!("is the name of topic {other} as well"));
        }
        table.finish();
        let partitions = u32::try_from(partitions).unwrap_or(1);
        topics.insert(topic, TopicSettings { name, partitions });
    }
    for (rows, input) in [(Topic::State, Topic::Alerts), (Topic::Deliveries, Topic::Incidents)] {
        let partitions = topics.get(&input).map_or(1, |input| input.partitions);
        topics.entry(rows).and_modify(|rows| rows.partitions = partitions);
    }
    node.finish();
    topics
}

/// What Kafka takes as a topic's name.
pub(super) const TOPIC_NAME_RULE: &str =
    "is no name of a topic; use up to 249 letters, digits, dots, - and _";

/// Whether Kafka takes it as a topic's name.
pub(super) fn is_topic_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.len() <= 249 && !matches!(name, "" | "." | "..") && name.chars().all(good)
}
