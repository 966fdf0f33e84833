//! `collect`: sources and limits.
//!
//! An event's `source` names its entry; the entry called `defaults` stands for all others and gives
//! the rest what they do not say themselves. Only `topic` makes an entry be read from Kafka.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::journal_section::{Journal, brokers, check_topic, client_settings, mask};
use super::read::{Node, size};
use super::{enrich_section, heartbeat_section, senders_section};
use crate::api::{Sender, Senders};
use crate::collect::{Field, Heartbeats, Limits, Settings, SoftStates, SourceSettings};
use crate::decoders::{self, Decoder};
use crate::kafka::{SourceTopic, Start};
use crate::model::{Span, Status};

pub(super) const DEFAULTS: &str = "defaults";
/// The word for events in canonical form.
const CANONICAL: &str = "canonical";
/// Keys that say how a topic is read and mean nothing without one.
const TOPIC_KEYS: [&str; 5] = ["keyed", "start", "brokers", "settings", "settings_files"];
const WEEK: Span = Span::from_secs(7 * 86_400);
const YEAR: Span = Span::from_secs(365 * 86_400);
/// The range of `expire_after`.
pub(super) const EXPIRE_AFTER: (Span, Span) = (Span::MINUTE, YEAR);

/// The section.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Collect {
    pub(super) settings: Settings,
    pub(super) topics: Vec<SourceTopic>,
    pub(super) workers: usize,
    pub(super) senders: Arc<Senders>,
}

impl Collect {
    /// One line for people.
    pub(super) fn summary(&self) -> String {
        let sources = self.settings.sources.len().saturating_sub(1);
        let topics: Vec<&str> = self.topics.iter().map(|topic| topic.topic.as_str()).collect();
        match topics.as_slice() {
            [] => format!("{sources} named sources, events over HTTP only"),
            topics => {
                format!("{sources} named sources, events over HTTP and from {}", topics.join(", "))
            }
        }
    }
}

/// The same without secrets.
pub(super) fn masked(topic: &SourceTopic) -> SourceTopic {
    SourceTopic { extra: mask(&topic.extra), ..topic.clone() }
}

pub(super) fn read(mut node: Node<'_>, journal: &Journal) -> Collect {
    let (sources, topics, senders) = sources(&mut node, journal);
    let hosts = enrich_section::hosts(node.table("hosts"));
    let enrich = enrich_section::steps(&mut node);
    let settings = Settings {
        sources,
        hosts,
        enrich,
        // They stand with correlate, which goes by them.
        heartbeats: Heartbeats::default(),
        lag: heartbeat_section::lag(node.table("lag")),
        cache_max: size(node.count("cache_max", 1_000_000, 1_000, 1_000_000_000)),
        limits: limits(node.table("limits")),
    };
    let workers = size(node.count("workers", 2, 1, 256));
    node.finish();
    Collect { settings, topics, workers, senders: Arc::new(senders) }
}

fn sources(
    node: &mut Node<'_>,
    journal: &Journal,
) -> (Vec<SourceSettings>, Vec<SourceTopic>, Senders) {
    let mut entries: Vec<Entry> = Vec::new();
    for mut table in node.tables("sources").unwrap_or_default() {
        if let Some(entry) = entry(&mut table, journal) {
            if entries.iter().any(|other| other.name == entry.name) {
                table.broken("name", Some(&entry.name), "is listed twice");
            }
            if let Some(topic) = &entry.topic
                && let Some(other) = entries.iter().find(|other| other.reads(topic))
            {
                let rule = format!("is read by source `{}` already", other.name);
                table.broken("topic", Some(&topic.topic), rule);
            }
            entries.push(entry);
        }
        table.finish();
    }
    let defaults = entries.iter().find(|entry| entry.name == DEFAULTS);
    let shard = defaults.and_then(|entry| entry.shard.clone()).unwrap_or_else(|| "default".into());
    let expire_after = defaults.and_then(|entry| entry.expire_after).unwrap_or(WEEK);
    let soft_states = defaults.and_then(|entry| entry.soft_states).unwrap_or_default();
    let time_zone = defaults.and_then(|entry| entry.time_zone.clone()).unwrap_or(TimeZone::UTC);
    let settings = |name: &str, entry: Option<&Entry>| SourceSettings {
        shard: entry.and_then(|e| e.shard.clone()).unwrap_or_else(|| shard.clone()).into(),
        expire_after: entry.and_then(Entry::expire_after).unwrap_or(expire_after),
        decoder: entry.and_then(|entry| entry.decoder),
        statuses: said(entry, defaults, |entry| &entry.statuses),
        fields: said(entry, defaults, |entry| &entry.fields),
        soft_states: entry.and_then(|entry| entry.soft_states).unwrap_or(soft_states),
        time_zone: entry.and_then(|entry| entry.time_zone.clone()).unwrap_or(time_zone.clone()),
        ..SourceSettings::new(name)
    };
    let named = entries.iter().filter(|entry| entry.name != DEFAULTS);
    let mut sources: Vec<SourceSettings> =
        named.map(|entry| settings(&entry.name, Some(entry))).collect();
    sources.push(settings(DEFAULTS, defaults));
    let senders = senders(&mut entries);
    (sources, entries.into_iter().filter_map(|entry| entry.topic).collect(), senders)
}

fn senders(entries: &mut [Entry]) -> Senders {
    let (mut listed, mut defaults) = (Vec::new(), Sender::open(DEFAULTS));
    for entry in entries {
        let sender = std::mem::replace(&mut entry.sender, Sender::open(DEFAULTS));
        if entry.name == DEFAULTS { defaults = sender } else { listed.push(sender) }
    }
    Senders::new(listed, defaults)
}

/// What an entry lists, or else what `defaults` does.
fn said<T: Clone>(
    entry: Option<&Entry>,
    defaults: Option<&Entry>,
    list: impl Fn(&Entry) -> &Vec<T>,
) -> Vec<T> {
    let lists = [entry, defaults].into_iter().flatten().map(list);
    lists.into_iter().find(|list| !list.is_empty()).cloned().unwrap_or_default()
}

/// One item of the list.
struct Entry {
    name: String,
    shard: Option<String>,
    expire_after: Option<Span>,
    decoder: Option<&'static Decoder>,
    statuses: Vec<(Box<str>, Status)>,
    fields: Vec<(Field, Vec<Box<str>>)>,
    soft_states: Option<SoftStates>,
    time_zone: Option<TimeZone>,
    topic: Option<SourceTopic>,
    sender: Sender,
}

impl Entry {
    /// What it says itself; else, for a format that never says that a problem is over, its usual.
    fn expire_after(&self) -> Option<Span> {
        self.expire_after.or_else(|| self.decoder.and_then(|decoder| decoder.expire_after))
    }

    fn reads(&self, topic: &SourceTopic) -> bool {
        self.topic
            .as_ref()
            .is_some_and(|own| own.topic == topic.topic && own.brokers == topic.brokers)
    }
}

fn entry(table: &mut Node<'_>, journal: &Journal) -> Option<Entry> {
    let name = table.required("name", "an event's `source` is found by it");
    let shard = table.text("shard");
    let expire_after = table.optional_span("expire_after", EXPIRE_AFTER.0, EXPIRE_AFTER.1);
    let has_topic = table.has("topic");
    let decoder = decoder(table);
    let statuses = statuses(table);
    let fields = fields(table);
    let soft_states = table.has("soft_states").then(|| {
        table.word(
            "soft_states",
            SoftStates::Drop,
            &[("drop", SoftStates::Drop), ("keep", SoftStates::Keep)],
        )
    });
    let time_zone = time_zone(table);
    let sender = senders_section::read(table, name.as_deref().unwrap_or(DEFAULTS));
    if name.as_deref() == Some(DEFAULTS) && decoder.is_some() {
        table.broken("decoder", None, "belongs to a source with a name of its own");
    }
    let given = TOPIC_KEYS.into_iter().filter(|key| table.has(key));
    for key in given.filter(|_| !has_topic).collect::<Vec<_>>() {
        table.broken(key, None, "says how to read a topic, but there is no `topic` beside it");
    }
    let topic = topic(table, name.as_deref().unwrap_or(DEFAULTS), journal);
    if let (Some(DEFAULTS), Some(topic)) = (name.as_deref(), &topic) {
        let rule = "belongs to a source with a name of its own, not to `defaults`";
        table.broken("topic", Some(&topic.topic), rule);
    }
    let name = name?;
    Some(Entry {
        name,
        shard,
        expire_after,
        decoder,
        statuses,
        fields,
        soft_states,
        time_zone,
        topic,
        sender,
    })
}

fn decoder(table: &mut Node<'_>) -> Option<&'static Decoder> {
    let word = table.text("decoder")?;
    if word == CANONICAL {
        return None;
    }
    let found = decoders::find(&word);
    if found.is_none() {
        let rule = format!("is no decoder; there are {CANONICAL}, {}", decoders::names());
        table.broken("decoder", Some(&word), rule);
    }
    found
}

/// The source's own words for how bad a problem is.
fn statuses(table: &mut Node<'_>) -> Vec<(Box<str>, Status)> {
    let mut statuses = Vec::new();
    for (word, status) in table.map("statuses") {
        match Status::parse(&status) {
            Some(status) => statuses.push((word.to_lowercase().into(), status)),
            None => {
                let key = format!("statuses.{word}");
                let rule = "is none of ok, info, unknown, warning, critical";
                table.broken(&key, Some(&status), rule);
            }
        }
    }
    statuses
}

/// Fields that stand for others; several names of one are tried in order.
fn fields(table: &mut Node<'_>) -> Vec<(Field, Vec<Box<str>>)> {
    let mut node = table.table("fields");
    let mut fields = Vec::new();
    for (name, field) in Field::ALL {
        let names = node.texts(name);
        if !names.is_empty() {
            fields.push((field, names.into_iter().map(Into::into).collect()));
        }
    }
    node.finish();
    fields
}

fn time_zone(table: &mut Node<'_>) -> Option<TimeZone> {
    let name = table.text("time_zone")?;
    let zone = TimeZone::get(&name).ok();
    if zone.is_none() {
        let rule = "is no time zone of the IANA database, such as Europe/Berlin or UTC";
        table.broken("time_zone", Some(&name), rule);
    }
    zone
}

fn topic(table: &mut Node<'_>, source: &str, journal: &Journal) -> Option<SourceTopic> {
    let name = table.text("topic");
    let keyed = table.flag("keyed", false);
    let start = start(table);
    let shared = !table.has("brokers");
    let brokers = brokers(table);
    let extra = client_settings(table);
    let name = name?;
    check_topic(table, &name, shared, journal);
    Some(SourceTopic { source: Arc::from(source), topic: name, keyed, start, brokers, extra })
}

fn start(table: &mut Node<'_>) -> Start {
    match table.text("start").as_deref() {
        None | Some("latest") => Start::Latest,
        Some("earliest") => Start::Earliest,
        Some(text) => match Span::parse(text) {
            Ok(age) if age <= YEAR => Start::Age(age),
            _ => {
                let rule = "is none of latest, earliest or an age up to 365d such as 24h";
                table.broken("start", Some(text), rule);
                Start::Latest
            }
        },
    }
}

fn limits(mut node: Node<'_>) -> Limits {
    let default = Limits::default();
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let limits = Limits {
        record_bytes: size(node.bytes(
            "record_bytes",
            number(default.record_bytes),
            1 << 10,
            64 << 20,
        )),
        depth: size(node.count("depth", number(default.depth), 1, 120)),
        tags: size(node.count("tags", number(default.tags), 1, 100_000)),
        value_bytes: size(node.bytes("value_bytes", number(default.value_bytes), 16, 1 << 20)),
        description_bytes: size(node.bytes(
            "description_bytes",
            number(default.description_bytes),
            16,
            1 << 20,
        )),
        ahead: node.span("ahead", default.ahead, Span::ZERO, Span::from_secs(86_400)),
    };
    node.finish();
    limits
}
