//! Nothing lost, nothing doubled, while the process is killed again and again.
//!
//! The oracles: the replay of the actual `muster.alerts` equals the committed incident changes byte
//! for byte; the rows are that replay's state; the state is that of an undisturbed run over the
//! input; the receiver has heard every incident's last word, with repeats under one id only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use muster::clock::{Clock, SystemClock};
use muster::collect;
use muster::config::{self, JournalSettings};
use muster::correlate::Correlate;
use muster::journal::sqlite::Sqlite;
use muster::journal::{Followed, From, Journal, OwnedRecord};
use muster::kafka;
use muster::kafka::bulk::{Publisher, create_topic};
use muster::model::{Change, ChangeKind, Identity, Member, Span, Status, Tags, Timestamp};
use muster::replay::Replay;
use muster::stage::{Kind, Output, Route, Stage, Topic};
use muster::testing::load::Load;
use muster::wire;

use crate::process::{Muster, Receiver, free_port, metrics, wait_until};

/// Events of a run.
const EVENTS: u64 = 200_000;
/// How often the process is killed at least.
const KILLS: u32 = 20;

/// 1,000 identities that report 200 times; the last rounds are calm, but for a few checks that
/// break and stay broken.
fn load() -> Load {
    let start = Timestamp::from_millis(1_763_913_600_000);
    Load { clusters: 20, hosts: 10, checks: 5, faults: 2, broken: 2, rounds: 194, start }
}

fn event(load: &Load, n: u64, bytes: &mut Vec<u8>) {
    load.write(n, bytes);
    let (round, identity) = (n / load.identities(), n % load.identities());
    // The fifth check takes no part in the faults of the load.
    if round >= 190 && identity % 35 == 4 {
        let text = String::from_utf8(std::mem::take(bytes)).expect("JSON is text");
        *bytes = text.replace("\"status\":\"ok\"", "\"status\":\"critical\"").into_bytes();
    }
}

fn patterns() -> &'static str {
    "  patterns:\n    - {name: cluster, by: [cluster], window: 1h, gap: 3m}\n"
}

fn notify(receiver: &Receiver) -> String {
    format!(
        "notify:\n  receivers:\n    - {{name: stub, webhook: {{url: \"{}\"}}}}\n  \
         route: {{receiver: stub, group_wait: 0s}}\n",
        receiver.url
    )
}

/// Kills the process at random moments until it was killed often enough and `done` holds.
fn kill_again_and_again(config: &Path, kills: &AtomicU32, done: impl Fn() -> bool) -> Muster {
    let seed = fastrand::u64(..);
    eprintln!("kill moments: seed={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    loop {
        let mut muster = Muster::start(config, &[]);
        if kills.load(Ordering::SeqCst) >= KILLS && done() {
            return muster;
        }
        std::thread::sleep(Duration::from_millis(chance.u64(400..4_500)));
        muster.assert_running();
        muster.kill();
        kills.fetch_add(1, Ordering::SeqCst);
    }
}

/// Every committed record of a topic.
pub(crate) fn whole(journal: &Arc<dyn Journal>, topic: Topic) -> Vec<OwnedRecord> {
    let mut follower = journal.follow(topic, From::Beginning).expect("the topic can be read");
    let mut all = Vec::new();
    loop {
        match follower.poll(Duration::from_millis(100)).expect("the topic can be read") {
            Followed::Batch(batch) => all.extend((0..batch.len()).map(|at| {
                let (slot, record) = batch.get(at);
                OwnedRecord::of(slot, &record)
            })),
            Followed::CaughtUp => return all,
            Followed::Idle => {}
        }
    }
}

/// Identity to status and tags, of what fires.
type FiringAlerts = BTreeMap<Identity, (Status, Tags)>;

fn firing(stage: &Correlate) -> FiringAlerts {
    // Which alerts flap, and fire though they said `ok`, depends on which events were late.
    let firing = stage.alerts().filter(|alert| alert.is_firing() && alert.said() > Status::Ok);
    firing.map(|alert| (alert.identity.clone(), (alert.said(), alert.tags.clone()))).collect()
}

/// Alerts by incident, from changes in any order.
fn members<'a>(changes: impl Iterator<Item = &'a [u8]>) -> BTreeMap<String, BTreeSet<String>> {
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for bytes in changes {
        let change = wire::change::decode(bytes).expect("a change");
        members.entry(change.id.to_string()).or_default().extend(joined(&change));
    }
    members
}

/// What joined, by name and start: what comes late is named by when it came, so that the ids are not
/// the same in every run.
pub(crate) fn joined(change: &Change) -> impl Iterator<Item = String> {
    let alerts = change.alerts.iter().filter(|alert| change.joined.contains(&alert.id));
    alerts.map(|alert| {
        let Member { source, host, check, started_at, .. } = alert;
        format!("{source} {host}/{check} @{}", started_at.as_millis())
    })
}

/// What is known of the order in which events came.
#[derive(Clone, Copy, PartialEq)]
enum Arrival {
    /// All of them in the order of the input: the incidents are those of an undisturbed run.
    OneStream,
    /// Those of an identity in order, in several partitions: the alerts are the same, but which of
    /// them came first, and so what an incident is called, depends on how partitions interleave.
    InOrder,
    /// In any order: what fires is the same once everybody has repeated what holds, later than the
    /// cache was lost by more than times may lie ahead.
    AnyOrder,
}

fn judge(
    journal: &Arc<dyn Journal>,
    config: &config::Config,
    receiver: &Receiver,
    arrival: Arrival,
) {
    let changes = whole(journal, Topic::Incidents);
    let changes: Vec<&OwnedRecord> =
        changes.iter().filter(|record| record.kind == Kind::Change).collect();

    // The replay of the log is what was committed, byte for byte.
    let partitions = journal.partitions(Topic::Incidents);
    let mut stage = Correlate::new(&config.correlate());
    let mut expected: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    for record in whole(journal, Topic::Alerts) {
        let mut out = Output::default();
        stage.apply(record.slot, &record.record(), &mut out);
        for outgoing in out.records {
            assert_eq!(outgoing.topic, Topic::Incidents, "a dead letter of our own record");
            assert!(matches!(outgoing.route, Route::Hash(_)));
            expected.entry(outgoing.route.partition(partitions)).or_default().push(outgoing.value);
        }
    }
    let mut committed: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    for record in &changes {
        let value = record.value.clone().expect("a change has bytes");
        committed.entry(record.slot.partition).or_default().push(value);
    }
    let total: usize = expected.values().map(Vec::len).sum();
    assert!(total > 500, "only {total} changes: the load did not do its work");
    assert_eq!(
        committed.values().map(Vec::len).sum::<usize>(),
        total,
        "committed changes and the replay's differ in number"
    );
    assert!(
        committed == expected,
        "the replay of muster.alerts differs from the committed changes"
    );

    // Revisions rise by one.
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    for record in &changes {
        let change =
            wire::change::decode(record.value.as_deref().expect("bytes")).expect("a change");
        let last = revisions.entry(change.id.to_string()).or_default();
        assert_eq!(change.revision, *last + 1, "revisions of {}", change.id);
        *last = change.revision;
    }

    // The rows are the replay's state.
    let mut restored = Correlate::new(&config.correlate());
    let mut rows: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for row in whole(journal, Topic::State) {
        rows.insert(row.key, row.value);
    }
    for (key, value) in rows {
        if let Some(value) = value {
            restored.restore(&key, &value).expect("a row of ours");
        }
    }
    restored.restored().expect("rows that fit");
    assert!(restored.alerts().eq(stage.alerts()), "the rows are not the state of the log");

    // The state is that of an undisturbed run over the input.
    let calm_config = collect::Settings { cache_max: 1_000_000, ..config.collect() };
    let mut calm = Replay::new(calm_config, &config.correlate(), Timestamp::MAX);
    let (load, mut bytes, mut calm_changes) = (load(), Vec::new(), Vec::new());
    let repeats = if arrival == Arrival::AnyOrder { load.identities() } else { 0 };
    for n in 0..EVENTS + repeats {
        event(&load, n, &mut bytes);
        calm.record(&bytes, |change| calm_changes.push(change.to_vec()), |_| {});
    }
    let expected = firing(calm.stage());
    assert!(expected.len() > 20, "only {} alerts fire at the end", expected.len());
    let fires = firing(&restored);
    let lost: Vec<_> = expected.iter().filter(|(id, said)| fires.get(id) != Some(said)).collect();
    let extra: Vec<_> = fires.iter().filter(|(id, said)| expected.get(id) != Some(said)).collect();
    if let Some((identity, _)) = lost.iter().chain(&extra).next() {
        let told: Vec<String> = history(journal, identity);
        panic!(
            "what fires differs from an undisturbed run: {} lost, {} extra, one is {identity:?}; \
             correlate was told\n{}",
            lost.len(),
            extra.len(),
            told.join("\n")
        );
    }
    let committed = members(changes.iter().filter_map(|record| record.value.as_deref()));
    let calm = members(calm_changes.iter().map(Vec::as_slice));
    match arrival {
        Arrival::OneStream => {
            let sets = |of: BTreeMap<String, BTreeSet<String>>| {
                let mut sets: Vec<BTreeSet<String>> = of.into_values().collect();
                sets.sort();
                sets
            };
            assert!(sets(committed) == sets(calm), "incidents differ from a calm run's");
        }
        Arrival::InOrder => {
            let alerts = |of: BTreeMap<String, BTreeSet<String>>| -> BTreeSet<String> {
                of.into_values().flatten().collect()
            };
            assert!(alerts(committed) == alerts(calm), "alerts differ from a calm run's");
        }
        Arrival::AnyOrder => {}
    }

    told(&changes, receiver);
}

/// What was sent on and told of an identity, a line each.
fn history(journal: &Arc<dyn Journal>, identity: &Identity) -> Vec<String> {
    let Identity::Check { host, check, .. } = identity else { panic!("{identity:?} has a key") };
    let (host, check) = (format!("\"host\":\"{host}\""), format!("\"check\":\"{check}\""));
    let records = [Topic::Events, Topic::Alerts].into_iter().flat_map(|topic| {
        let records = whole(journal, topic).into_iter();
        records.filter_map(move |record| Some((topic, record.slot, record.time, record.value?)))
    });
    records
        .filter_map(|(topic, slot, time, value)| {
            let text = String::from_utf8_lossy(&value).into_owned();
            let of = text.contains(&host) && text.contains(&check);
            of.then(|| format!("{topic} {} appended {time:?}: {text}", slot.partition))
        })
        .collect()
}

/// The receiver has heard the last told change of every incident, repeats under one id only.
fn told(changes: &[&OwnedRecord], receiver: &Receiver) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for record in changes {
        let change =
            wire::change::decode(record.value.as_deref().expect("bytes")).expect("a change");
        let told = [
            ChangeKind::Opened,
            ChangeKind::Worsened,
            ChangeKind::Reopened,
            ChangeKind::Flapping,
            ChangeKind::Resolved,
        ];
        if change.kinds.iter().any(|kind| told.contains(kind)) {
            last.insert(change.id.to_string(), change.revision);
        }
    }
    let heard = || {
        let mut heard: BTreeMap<String, u64> = BTreeMap::new();
        for told in receiver.told() {
            let revision = heard.entry(told.incident).or_default();
            *revision = (*revision).max(told.revision);
        }
        heard
    };
    wait_until("every incident's last told change to be heard", || {
        let heard = heard();
        last.iter().all(|(id, revision)| heard.get(id).is_some_and(|heard| heard >= revision))
    });
    let mut ids: BTreeMap<(String, u64), (String, Vec<u8>)> = BTreeMap::new();
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    for told in receiver.told() {
        let key = (told.incident.clone(), told.revision);
        match ids.get(&key) {
            Some((id, body)) => {
                assert_eq!(id, &told.id, "a repeat of {key:?} under another webhook-id");
                assert!(*body == told.body, "a repeat of {key:?} with another body");
            }
            None => {
                let newest = newest.entry(told.incident).or_default();
                assert!(told.revision > *newest, "{key:?} came after revision {newest}");
                *newest = told.revision;
                ids.insert(key, (told.id, told.body));
            }
        }
    }
    let distinct: BTreeSet<&String> = ids.values().map(|(id, _)| id).collect();
    assert_eq!(distinct.len(), ids.len(), "one webhook-id for two notices");
}

#[test]
fn sqlite_loses_and_doubles_nothing_under_kill_9() {
    let directory = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start();
    let port = free_port();
    let path = directory.path().join("muster.yaml");
    let data = directory.path().join("data");
    let text = format!(
        "journal: {{kind: sqlite, path: \"{}\"}}\ncorrelate:\n{}{}api: {{listen: \"127.0.0.1:{port}\"}}\n",
        data.display(),
        patterns(),
        notify(&receiver)
    );
    std::fs::write(&path, &text).expect("the config is written");
    let kills = Arc::new(AtomicU32::new(0));
    let feeder = {
        let kills = Arc::clone(&kills);
        std::thread::spawn(move || feed_http(port, &kills))
    };
    let last = kill_again_and_again(&path, &kills, || feeder.is_finished());
    feeder.join().expect("every event was answered 202");
    quiet(port, &last);
    let config = config::load(Some(&path)).expect("the config is good");
    last.ends_in_order();
    let JournalSettings::Sqlite(settings) = config.journal() else { panic!("SQLite it is") };
    let journal: Arc<dyn Journal> =
        Sqlite::open(&settings, Arc::new(SystemClock)).expect("the journal opens again");
    judge(&journal, &config, &receiver, Arrival::OneStream);
}

/// Posts every event, in order, each until it is answered 202; not faster than the kills.
fn feed_http(port: u16, kills: &AtomicU32) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client =
        reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
    let (load, mut bytes) = (load(), Vec::new());
    let url = format!("http://127.0.0.1:{port}/v1/events");
    let mut n = 0;
    while n < EVENTS {
        let share = EVENTS / u64::from(KILLS) * u64::from(kills.load(Ordering::SeqCst) + 1);
        if n >= share {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let until = (n + 200).min(EVENTS);
        let mut body = String::from("[");
        for at in n..until {
            event(&load, at, &mut bytes);
            if at > n {
                body.push(',');
            }
            body.push_str(std::str::from_utf8(&bytes).expect("JSON is text"));
        }
        body.push(']');
        let sent = runtime.block_on(async { client.post(&url).body(body).send().await });
        match sent {
            Ok(answer) if answer.status() == 202 => n = until,
            Ok(answer) if answer.status() == 503 => {}
            Ok(answer) => {
                let (status, text) = (answer.status(), runtime.block_on(answer.text()));
                panic!("neither taken nor asked to wait: {status} {text:?}");
            }
            // Killed: the same events again.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Waits until nothing is under way any more, by the metrics that operators have.
pub(crate) fn quiet(port: u16, muster: &Muster) {
    let mut calm = 0;
    wait_until("lag and pending deliveries to be zero", || {
        let found = metrics(port, &["muster_lag_records", "muster_queue_depth"]);
        let (lag, waiting) = (&found[0], &found[1]);
        let none = |all: &[f64]| all.iter().all(|one| *one < 1.0);
        calm = if !lag.is_empty() && none(lag) && none(waiting) { calm + 1 } else { 0 };
        // Lag is asked for every two seconds: all must stay at rest for longer than that.
        calm > 60
    });
    assert!(!muster.log().contains("panicked"), "{}", muster.log());
}

#[test]
fn kafka_loses_and_doubles_nothing_under_kill_9_keyed() {
    kafka_under_kill_9(Arrival::InOrder);
}

#[test]
fn kafka_loses_and_doubles_nothing_under_kill_9_round_robin() {
    kafka_under_kill_9(Arrival::AnyOrder);
}

fn kafka_under_kill_9(arrival: Arrival) {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = muster::testing::broker::shared().expect("a broker");
    let receiver = Receiver::start();
    let port = free_port();
    let prefix = format!("exact-{port}");
    let source = format!("{prefix}-source");
    create_topic(&brokers, &source, 3, &[]).expect("the source topic is made");
    let path = directory.path().join("muster.yaml");
    let keyed = arrival == Arrival::InOrder;
    let text = format!(
        "journal:\n  kind: kafka\n  brokers: \"{brokers}\"\n  group: \"{prefix}\"\n  replication: 1\n  \
         settings: {{session.timeout.ms: \"2000\", heartbeat.interval.ms: \"500\"}}\n  \
         topics:\n    events: {{name: {prefix}.events, partitions: 2}}\n    alerts: {{name: {prefix}.alerts, partitions: 1}}\n    \
         state: {{name: {prefix}.state}}\n    incidents: {{name: {prefix}.incidents, partitions: 2}}\n    \
         deliveries: {{name: {prefix}.deliveries}}\n    dead_letters: {{name: {prefix}.dead-letters, partitions: 1}}\n\
         collect:\n  sources:\n    - {{name: estate, topic: {source}, keyed: {keyed}, start: earliest}}\n\
         correlate:\n  reopen_window: {}\n{}{}api: {{listen: \"127.0.0.1:{port}\"}}\n",
        if keyed { "30m" } else { "1d" },
        patterns(),
        notify(&receiver)
    );
    std::fs::write(&path, &text).expect("the config is written");
    let config = config::load(Some(&path)).expect("the config is good");
    let JournalSettings::Kafka(settings) = config.journal() else { panic!("Kafka it is") };
    kafka::create_topics(&settings).expect("the topics are made");
    let kills = Arc::new(AtomicU32::new(0));
    let feeder = {
        let (kills, brokers, source) = (Arc::clone(&kills), brokers.clone(), source.clone());
        std::thread::spawn(move || publish(&brokers, &source, arrival, &kills))
    };
    let last = kill_again_and_again(&path, &kills, || feeder.is_finished());
    feeder.join().expect("every event was published");
    if arrival == Arrival::AnyOrder {
        repeat(&brokers, &source);
    }
    quiet(port, &last);
    last.ends_in_order();
    let journal = kafka::open(&settings, Arc::new(SystemClock)).expect("the journal opens");
    judge(&journal, &config, &receiver, arrival);
}

fn publish(brokers: &str, topic: &str, arrival: Arrival, kills: &AtomicU32) {
    let publisher = Publisher::open(brokers, topic).expect("a publisher");
    let (load, mut bytes, mut key) = (load(), Vec::new(), Vec::new());
    let mut n = 0;
    while n < EVENTS {
        let share = EVENTS / u64::from(KILLS) * u64::from(kills.load(Ordering::SeqCst) + 1);
        if n >= share {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        event(&load, n, &mut bytes);
        match arrival {
            Arrival::InOrder => {
                load.write_key(n, &mut key);
                publisher.send(&key, &bytes).expect("it is published");
            }
            Arrival::OneStream | Arrival::AnyOrder => {
                let partition = u32::try_from(n % 3).expect("a small number");
                publisher.put(partition, &[], &bytes).expect("it is published");
            }
        }
        n += 1;
    }
    publisher.flush().expect("all is published");
}

/// One more round, an hour later by the clock of Kafka.
fn repeat(brokers: &str, topic: &str) {
    let publisher = Publisher::open(brokers, topic).expect("a publisher");
    let (load, mut bytes) = (load(), Vec::new());
    let time = SystemClock.now() + Span::from_secs(3_600);
    for n in EVENTS..EVENTS + load.identities() {
        event(&load, n, &mut bytes);
        let partition = u32::try_from(n % 3).expect("a small number");
        publisher.put_at(time, partition, &[], &bytes).expect("it is published");
    }
    publisher.flush().expect("all is published");
}
