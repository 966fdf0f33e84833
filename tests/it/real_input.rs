//! Recorded alerts of a real system: the same incidents on Kafka, on SQLite and in a replay, and as
//! good as the example config says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use muster::clock::SystemClock;
use muster::config::{self, Config, JournalSettings};
use muster::journal::Journal;
use muster::journal::sqlite::Sqlite;
use muster::kafka;
use muster::kafka::bulk::{Publisher, create_topic};
use muster::model::Timestamp;
use muster::replay::Replay;
use muster::stage::{Kind, Topic};
use muster::testing::broker;
use muster::wire;
use serde_json::Value;

use crate::exactness::{joined, quiet, whole};
use crate::process::{Muster, free_port, metrics, wait_until};

const PATTERNS: &str = include_str!("../../config/examples/quality.yaml");

fn lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gaia_micross").join(name);
    let file = std::fs::File::open(path).expect("the fixture");
    BufReader::new(GzDecoder::new(file)).lines().map(|line| line.expect("text")).collect()
}

/// Which alert joined which incident, in order, and an incident's number by the order of opening:
/// what comes late is named by when it came, so that ids are not the same in every run.
type Joins = Vec<(usize, String)>;

fn joins<'a>(changes: impl Iterator<Item = &'a [u8]>) -> Joins {
    let (mut joins, mut numbers) = (Vec::new(), BTreeMap::new());
    for bytes in changes {
        let change = wire::change::decode(bytes).expect("a change");
        let next = numbers.len();
        let number = *numbers.entry(change.id).or_insert(next);
        joins.extend(joined(&change).map(|alert| (number, alert)));
    }
    joins
}

fn replayed(config: &Config) -> (Joins, BTreeMap<String, String>) {
    let mut replay = Replay::new(config.collect(), &config.correlate(), Timestamp::MAX);
    let (mut changes, mut places) = (Vec::new(), BTreeMap::new());
    for line in lines("events.jsonl.gz") {
        replay.record(
            line.as_bytes(),
            |change| changes.push(change.to_vec()),
            |assignment| {
                let event = assignment.event_id.expect("every event has an id").to_string();
                let (_, incident) = assignment.place.expect("every event has an alert");
                places.insert(event, incident.to_string());
            },
        );
    }
    (joins(changes.iter().map(Vec::as_slice)), places)
}

fn committed(journal: &Arc<dyn Journal>) -> Joins {
    let changes = whole(journal, Topic::Incidents);
    let changes = changes.iter().filter(|record| record.kind == Kind::Change);
    joins(changes.filter_map(|record| record.value.as_deref()))
}

/// The most frequent of some values; the first to be seen among equals.
fn commonest<'a>(values: &[&'a str]) -> &'a str {
    let mut best = (0, "");
    for value in values {
        let count = values.iter().filter(|other| *other == value).count();
        if count > best.0 {
            best = (count, value);
        }
    }
    best.1
}

#[test]
fn the_example_config_finds_the_faults() {
    let config = config::parse(PATTERNS).expect("a good config");
    let (_, places) = replayed(&config);
    // Units are repeats of one check; each belongs to the fault and the incident of most of them.
    let mut units: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for line in lines("truth.jsonl.gz") {
        let truth: Value = serde_json::from_str(&line).expect("JSON");
        let text = |key: &str| truth[key].as_str().expect("a text").to_owned();
        let unit = units.entry(text("dedup_id")).or_default();
        unit.0.push(text("truth_id"));
        unit.1.push(places[&text("alert_id")].clone());
    }
    let pairs: Vec<(&str, &str)> = units
        .values()
        .map(|(faults, incidents)| {
            let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
            let incidents: Vec<&str> = incidents.iter().map(String::as_str).collect();
            (commonest(&faults), commonest(&incidents))
        })
        .collect();
    let count = |keep: &dyn Fn(&(&str, &str)) -> bool| {
        u32::try_from(pairs.iter().filter(|pair| keep(pair)).count()).map(f64::from).expect("few")
    };
    let (mut precision, mut recall) = (0.0, 0.0);
    let mut cells: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for pair in &pairs {
        *cells.entry(*pair).or_default() += 1.0;
    }
    for ((fault, incident), both) in &cells {
        precision += both * both / count(&|pair| pair.1 == *incident);
        recall += both * both / count(&|pair| pair.0 == *fault);
    }
    let all = count(&|_| true);
    let (precision, recall) = (precision / all, recall / all);
    let f1 = 2.0 * precision * recall / (precision + recall);
    let faults: BTreeSet<&str> = pairs.iter().map(|pair| pair.0).collect();
    let pages = cells.len() as f64 / faults.len() as f64;
    assert!(f1 >= 0.97 && pages <= 1.1, "B-cubed F1 {f1:.4}, {pages:.3} pages a fault");
}

#[test]
fn kafka_sqlite_and_replay_make_the_same_incidents() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = broker::shared().expect("a broker");
    let prefix = format!("real-{}", free_port());
    let source = format!("{prefix}-source");
    create_topic(&brokers, &source, 1, &[]).expect("the source topic is made");
    let publisher = Publisher::open(&brokers, &source).expect("a publisher");
    let events = lines("events.jsonl.gz");
    for line in &events {
        publisher.put(0, &[], line.as_bytes()).expect("it is published");
    }
    publisher.flush().expect("all is published");
    let (expected, _) = replayed(&config::parse(PATTERNS).expect("a good config"));
    assert!(expected.len() > 4_000, "{} alerts", expected.len());
    let patterns = &PATTERNS[PATTERNS.find("correlate:").expect("the patterns")..];

    let topics: String = ["events", "alerts", "incidents", "dead_letters"]
        .map(|topic| format!("    {topic}: {{name: {prefix}.{topic}, partitions: 1}}\n"))
        .concat();
    let journal = format!(
        "journal:\n  kind: kafka\n  brokers: \"{brokers}\"\n  group: \"{prefix}\"\n  replication: 1\n  \
         topics:\n{topics}    state: {{name: {prefix}.state}}\n    deliveries: {{name: {prefix}.deliveries}}\n"
    );
    let on_kafka = config_file(directory.path(), "kafka", &journal, &source, None, patterns);
    let config = config::load(Some(&on_kafka.0)).expect("the config is good");
    let JournalSettings::Kafka(settings) = config.journal() else { panic!("Kafka it is") };
    kafka::create_topics(&settings).expect("the topics are made");
    run_to_the_end(&on_kafka, events.len());
    let journal = kafka::open(&settings, Arc::new(SystemClock)).expect("the journal opens");
    assert!(committed(&journal) == expected, "Kafka's incidents differ from the replay's");

    let journal = format!(
        "journal: {{kind: sqlite, path: \"{}\", group: \"{prefix}-sqlite\"}}\n",
        directory.path().join("data").display()
    );
    let on_sqlite =
        config_file(directory.path(), "sqlite", &journal, &source, Some(&brokers), patterns);
    run_to_the_end(&on_sqlite, events.len());
    let config = config::load(Some(&on_sqlite.0)).expect("the config is good");
    let JournalSettings::Sqlite(settings) = config.journal() else { panic!("SQLite it is") };
    let journal: Arc<dyn Journal> =
        Sqlite::open(&settings, Arc::new(SystemClock)).expect("the journal opens again");
    assert!(committed(&journal) == expected, "SQLite's incidents differ from the replay's");
}

fn config_file(
    directory: &Path,
    name: &str,
    journal: &str,
    source: &str,
    brokers: Option<&str>,
    patterns: &str,
) -> (std::path::PathBuf, u16) {
    let port = free_port();
    let brokers = brokers.map_or_else(String::new, |brokers| format!(", brokers: \"{brokers}\""));
    let text = format!(
        "{journal}collect:\n  sources:\n    - {{name: gaia, topic: {source}, keyed: true, start: earliest{brokers}}}\n    \
         - {{name: defaults, expire_after: 5m}}\n{patterns}api: {{listen: \"127.0.0.1:{port}\"}}\n"
    );
    let path = directory.join(format!("{name}.yaml"));
    std::fs::write(&path, text).expect("the config is written");
    (path, port)
}

/// Runs the program until every event was taken in and nothing is under way.
fn run_to_the_end((path, port): &(std::path::PathBuf, u16), events: usize) {
    let muster = Muster::start(path, &[]);
    wait_until("every event to be taken in", || {
        metrics(*port, &["muster_events_total"])[0].iter().sum::<f64>() >= events as f64
    });
    quiet(*port, &muster);
    muster.ends_in_order();
}
