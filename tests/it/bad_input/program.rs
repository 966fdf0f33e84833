//! The corpus of bad input through the real program: HTTP on SQLite, source topics on Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Stopwatch, SystemClock};
use muster::config::{self, JournalSettings};
use muster::journal::Journal;
use muster::journal::sqlite::Sqlite;
use muster::kafka;
use muster::kafka::bulk::{Publisher, create_topic};
use muster::stage::{Kind, Reason, Topic};
use muster::wire::change;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::{good, unreadable, with};
use crate::exactness::whole;
use crate::process::{Muster, PATIENCE, free_port, metrics, wait_until};

/// The default limit on a record.
const RECORD_MAX: usize = 1 << 20;

/// A dead letter as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Letter {
    reason: String,
    topic: String,
    value: Vec<u8>,
}

impl Letter {
    fn new(headers: &BTreeMap<String, Vec<u8>>, value: Vec<u8>) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).unwrap_or_else(|| panic!("no header `{name}`"));
            String::from_utf8(value.clone()).expect("a header is text")
        };
        for name in ["partition", "offset"] {
            assert!(text(name).parse::<i64>().is_ok(), "{name} is a number");
        }
        assert!(!text("message").is_empty());
        Self { reason: text("reason"), topic: text("topic"), value }
    }
}

/// The same letters, told apart without printing a megabyte.
fn assert_letters(mut found: Vec<Letter>, mut wanted: Vec<Letter>) {
    found.sort();
    wanted.sort();
    let short = |letters: &[Letter]| -> Vec<String> {
        let line = |letter: &Letter| {
            let start = String::from_utf8_lossy(&letter.value[..letter.value.len().min(40)]);
            format!("{} {} {} {start}", letter.topic, letter.reason, letter.value.len())
        };
        letters.iter().map(line).collect()
    };
    assert_eq!(short(&found), short(&wanted));
    assert!(found == wanted, "the original bytes are kept");
}

/// Hosts that have an incident.
fn hosts(journal: &Arc<dyn Journal>) -> BTreeSet<String> {
    let changes = whole(journal, Topic::Incidents);
    let changes = changes.iter().filter(|record| record.kind == Kind::Change);
    let changes = changes.map(|record| {
        change::decode(record.value.as_deref().expect("a change has bytes")).expect("a change")
    });
    changes.flat_map(|change| change.hosts).map(Into::into).collect()
}

fn sum(port: u16, metric: &str) -> f64 {
    metrics(port, &[metric])[0].iter().sum()
}

fn assert_sum(port: u16, metric: &str, wanted: usize) {
    let found = sum(port, metric);
    assert!((found - wanted as f64).abs() < 0.5, "{metric} is {found}, not {wanted}");
}

/// `muster_events_total` says what became of each of them.
fn assert_counted(port: u16, good: usize, letters: &[Letter]) {
    assert_sum(port, "muster_events_total", good + letters.len());
    assert_sum(port, "muster_events_total{outcome=\"forwarded\"", good);
    for reason in Reason::ALL {
        let word = reason.as_str();
        let metric = format!("muster_events_total{{outcome=\"rejected\",reason=\"{word}\"");
        let wanted = letters.iter().filter(|letter| letter.reason == word).count();
        assert_sum(port, &metric, wanted);
    }
}

/// An event just below the limit, in bytes that do not compress.
fn largest(host: &str) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(5);
    let mut event: Value = serde_json::from_slice(&good(host)).expect("an event");
    for n in 0..1_980 {
        let value: String = (0..512).map(|_| random.alphanumeric()).collect();
        event["tags"][format!("tag-{n:05}")] = value.into();
    }
    let bytes = event.to_string().into_bytes();
    assert!((RECORD_MAX - 8_000..=RECORD_MAX).contains(&bytes.len()), "{}", bytes.len());
    bytes
}

/// The largest record that is set aside whole.
fn largest_bad() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(6);
    let text: String = (0..RECORD_MAX).map(|_| random.alphanumeric()).collect();
    text.into_bytes()
}

// ---- HTTP on SQLite -----------------------------------------------------------------------------

struct Http {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    url: String,
}

impl Http {
    fn new(port: u16) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = format!("http://127.0.0.1:{port}");
        Self { runtime, client: reqwest::Client::new(), url }
    }

    /// Status and body of the answer.
    fn post(&self, body: &[u8]) -> (u16, Value) {
        self.runtime.block_on(async {
            let url = format!("{}/v1/events", self.url);
            let answer = self.client.post(url).body(body.to_vec()).send().await;
            let answer = answer.expect("an answer");
            let status = answer.status().as_u16();
            let body = answer.bytes().await.expect("a whole answer");
            (status, serde_json::from_slice(&body).expect("the answer is JSON"))
        })
    }

    fn is_up(&self) -> bool {
        let asked = self.client.get(format!("{}/health/ready", self.url)).send();
        self.runtime.block_on(asked).is_ok_and(|answer| answer.status() == 200)
    }
}

/// The journal's headers: lengths of name and value, name, value, over and over.
pub(crate) fn unpack(mut packed: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut headers = BTreeMap::new();
    while let Some((lengths, rest)) = packed.split_first_chunk::<8>() {
        let length = |at: usize| {
            let bytes = [0, 1, 2, 3].map(|byte| lengths[at + byte]);
            usize::try_from(u32::from_le_bytes(bytes)).expect("a length")
        };
        let (name, rest) = rest.split_at(length(0));
        let (value, rest) = rest.split_at(length(4));
        headers.insert(String::from_utf8(name.to_vec()).expect("a name"), value.to_vec());
        packed = rest;
    }
    headers
}

fn stored_letters(data: &Path) -> Vec<Letter> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(data.join("muster.db"), flags);
    let connection = connection.expect("the journal");
    let mut statement = connection
        .prepare("SELECT headers, value FROM records_dead_letters ORDER BY off")
        .expect("the table is there");
    let letter = |row: &rusqlite::Row<'_>| {
        let (headers, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        Ok(Letter::new(&unpack(&headers), value))
    };
    let letters = statement.query_map([], letter).expect("it can be read");
    letters.map(|letter| letter.expect("it can be read")).collect()
}

#[test]
fn bad_requests_are_answered_and_stop_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, data) = (directory.path().join("muster.yaml"), directory.path().join("data"));
    let port = free_port();
    let text = format!(
        "journal: {{kind: sqlite, path: \"{}\"}}\napi: {{listen: \"127.0.0.1:{port}\"}}\n",
        data.display()
    );
    std::fs::write(&path, text).expect("the config is written");
    let mut muster = Muster::start(&path, &[]);
    let http = Http::new(port);
    wait_until("the program to be ready", || http.is_up());

    let (mut sent, mut wanted) = (BTreeSet::new(), Vec::new());
    let letter = |reason: Reason, value: Vec<u8>| Letter {
        reason: reason.as_str().to_owned(),
        topic: "http".to_owned(),
        value,
    };
    let mut send_good = |body: &dyn Fn(&str) -> Vec<u8>| {
        let host = format!("good-{}", sent.len());
        let (status, answer) = http.post(&body(&host));
        assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{answer}");
        sent.insert(host);
    };
    let bad = unreadable().into_iter();
    let bad = bad.filter_map(|(name, value, reason)| Some((name, value?, reason)));
    for (name, body, reason) in bad.chain([("the largest", largest_bad(), Reason::NotJson)]) {
        send_good(&good);
        let (status, answer) = http.post(&body);
        assert_eq!(status, 400, "{name}: {answer}");
        assert_eq!(answer["error"]["reason"], reason.as_str(), "{name}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(answer["accepted"], 0, "{name}");
        assert_eq!(answer["rejected"][0]["reason"], reason.as_str(), "{name}: {answer}");
        wanted.push(letter(reason, body));
    }
    // A body beyond the limit is no event yet: it is refused, and the sender has it still.
    let (status, answer) = http.post(&with(&json!({"description": "x".repeat(2_000_000)})));
    assert_eq!((status, &answer["error"]["reason"]), (413, &json!("too_large")), "{answer}");
    // What is clamped or odd is taken.
    for time in ["0", "-1", "4102444800", "9223372036854775807", "\"yesterday\"", "1e308"] {
        send_good(&|host| {
            let text = String::from_utf8(good(host)).expect("text");
            let times = format!("{{\"timestamp\":{time},\"expires_at\":{time},");
            text.replacen('{', &times, 1).into_bytes()
        });
    }
    send_good(&largest);
    send_good(&good);
    assert_eq!(http.post(b"[]"), (202, json!({"accepted": 0, "rejected": []})));
    // One of three.
    let purple = r#"{"source":"nagios","host":"two","status":"purple"}"#;
    let [one, three] = ["one", "three"].map(|host| String::from_utf8(good(host)).expect("text"));
    let (status, answer) = http.post(format!("[{one},{purple},{three}]").as_bytes());
    assert_eq!((status, &answer["accepted"]), (202, &json!(2)), "{answer}");
    assert_eq!(answer["rejected"][0]["index"], 1);
    assert_eq!(answer["rejected"][0]["reason"], "bad_status");
    wanted.push(letter(Reason::BadStatus, purple.into()));
    sent.extend(["one".to_owned(), "three".to_owned()]);

    wait_until("every good event to be an incident", || {
        muster.assert_running();
        sum(port, "muster_incidents_open") >= sent.len() as f64
    });
    assert_counted(port, sent.len(), &wanted);
    assert_sum(port, "muster_limited_total{limit=\"time_unread\"}", 3);
    assert_sum(port, "muster_limited_total{limit=\"time_clamped\"}", 3);
    assert!(!muster.log().contains("panicked"), "{}", muster.log());
    let config = config::load(Some(&path)).expect("the config is good");
    muster.ends_in_order();
    assert_letters(stored_letters(&data), wanted);
    let JournalSettings::Sqlite(settings) = config.journal() else { panic!("SQLite it is") };
    let journal: Arc<dyn Journal> =
        Sqlite::open(&settings, Arc::new(SystemClock)).expect("the journal opens again");
    assert_eq!(hosts(&journal), sent);
}

// ---- Kafka --------------------------------------------------------------------------------------

/// Reads the dead letters, of which there must be `count`.
fn published_letters(brokers: &str, topic: &str, count: usize) -> Vec<Letter> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bad-input-letters")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let ends = consumer.fetch_watermarks(topic, 0, Duration::from_secs(20));
    assert_eq!(ends.expect("its ends"), (0, i64::try_from(count).expect("few")), "dead letters");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("it is taken");
    let (mut letters, begun) = (Vec::new(), Stopwatch::start());
    while letters.len() < count {
        assert!(begun.elapsed() < PATIENCE, "only {} dead letters came", letters.len());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("a record");
        let headers = message.headers().expect("headers").iter();
        let headers = headers
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()));
        let headers: BTreeMap<_, _> = headers.collect();
        assert_eq!(headers["muster-kind"], b"dead_letter");
        letters.push(Letter::new(&headers, message.payload().unwrap_or_default().to_vec()));
    }
    letters
}

/// Publishes every kind of bad record between good ones; the hosts of the good ones and the dead
/// letters to come.
fn publish(brokers: &str, topic: &str, word: &str) -> (BTreeSet<String>, Vec<Letter>) {
    let publisher = Publisher::open(brokers, topic).expect("a publisher");
    let (mut sent, mut wanted) = (BTreeSet::new(), Vec::new());
    let two_mb = with(&json!({"description": "x".repeat(2_000_000)}));
    let mut bad: Vec<(Option<Vec<u8>>, Vec<u8>, Reason)> = unreadable()
        .into_iter()
        .map(|(_, value, reason)| (value.clone(), value.unwrap_or_default(), reason))
        .collect();
    // Of what is too large the start is kept.
    bad.push((Some(two_mb.clone()), two_mb[..4_096].to_vec(), Reason::TooLarge));
    bad.push((Some(largest_bad()), largest_bad(), Reason::NotJson));
    let long_key = vec![b'k'; 1_000_000];
    for (nth, (value, kept, reason)) in bad.into_iter().enumerate() {
        let host = format!("{word}-{nth}");
        publisher.put(0, if nth % 2 == 0 { b"key" } else { b"" }, &good(&host)).expect("published");
        sent.insert(host);
        // Every other one has no key; that of the largest is as long as a record.
        let key: &[u8] = match nth {
            _ if kept.len() == RECORD_MAX => &long_key,
            _ if nth % 2 == 0 => b"key",
            _ => b"",
        };
        match value {
            Some(value) => publisher.put(0, key, &value).expect("published"),
            None => publisher.tombstone(0, key).expect("published"),
        }
        let (reason, topic) = (reason.as_str().to_owned(), topic.to_owned());
        wanted.push(Letter { reason, topic, value: kept });
    }
    for host in [format!("{word}-largest"), format!("{word}-last")] {
        let value = if host.ends_with("largest") { largest(&host) } else { good(&host) };
        publisher.put(0, b"", &value).expect("published");
        sent.insert(host);
    }
    publisher.flush().expect("all is published");
    (sent, wanted)
}

#[test]
fn bad_records_stop_no_partition() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = muster::testing::broker::shared().expect("a broker");
    let port = free_port();
    let prefix = format!("bad-{port}");
    let sources = ["keyed", "mixed"].map(|word| (format!("{prefix}-{word}"), word));
    for (topic, _) in &sources {
        create_topic(&brokers, topic, 1, &[("max.message.bytes", "4194304")]).expect("a topic");
    }
    let path = directory.path().join("muster.yaml");
    let text = format!(
        "journal:\n  kind: kafka\n  brokers: \"{brokers}\"\n  group: \"{prefix}\"\n  \
         replication: 1\n  \
         topics:\n    events: {{name: {prefix}.events, partitions: 1}}\n    \
         alerts: {{name: {prefix}.alerts, partitions: 1}}\n    \
         state: {{name: {prefix}.state}}\n    \
         incidents: {{name: {prefix}.incidents, partitions: 1}}\n    \
         deliveries: {{name: {prefix}.deliveries}}\n    \
         dead_letters: {{name: {prefix}.dead-letters, partitions: 1}}\n    silences: {{name: {prefix}.silences}}\n\
         collect:\n  sources:\n    \
         - {{name: one, topic: {}, keyed: true, start: earliest}}\n    \
         - {{name: two, topic: {}, keyed: false, start: earliest}}\n\
         api: {{listen: \"127.0.0.1:{port}\"}}\n",
        sources[0].0, sources[1].0
    );
    std::fs::write(&path, text).expect("the config is written");
    let config = config::load(Some(&path)).expect("the config is good");
    let JournalSettings::Kafka(settings) = config.journal() else { panic!("Kafka it is") };
    kafka::create_topics(&settings).expect("the topics are made");
    let (mut sent, mut wanted) = (BTreeSet::new(), Vec::new());
    for (topic, word) in &sources {
        let (hosts, letters) = publish(&brokers, topic, word);
        sent.extend(hosts);
        wanted.extend(letters);
    }
    let mut muster = Muster::start(&path, &[]);
    let begun = Stopwatch::start();
    wait_until("every record to have its outcome", || {
        muster.assert_running();
        let open = sum(port, "muster_incidents_open");
        let counted = sum(port, "muster_events_total");
        let (good, all) = (sent.len() as f64, (sent.len() + wanted.len()) as f64);
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{open} of {good} incidents, {counted} of {all} records:\n{}",
            muster.log()
        );
        open >= good && counted >= all
    });
    assert_counted(port, sent.len(), &wanted);
    assert!(!muster.log().contains("panicked"), "{}", muster.log());
    muster.ends_in_order();
    let letters = published_letters(&brokers, &format!("{prefix}.dead-letters"), wanted.len());
    assert_letters(letters, wanted);
    let journal = kafka::open(&settings, Arc::new(SystemClock)).expect("the journal opens");
    assert_eq!(hosts(&journal), sent);
}
