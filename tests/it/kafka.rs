//! The journal over Kafka against a real broker: what each feed promises, and what it refuses.
//!
//! All tests share one broker and differ by the prefix of their topics and groups. No test asserts
//! a timing; each waits for what it expects, within a generous limit. What every journal must do
//! alike is for the conformance suite, which takes a journal as `journal()` below makes it.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{ManualClock, SharedClock, Stopwatch, SystemClock};
use muster::journal::{
    Appender, Class, Commit, Feed, Followed, From, Group, Journal, JournalError, Polled,
};
use muster::kafka::bulk::{Publisher, create_topic, delete_before};
use muster::kafka::{
    Settings, SourceTopic, Sources, Start, TopicSettings, create_compacted, create_topics, open,
    sources,
};
use muster::model::{Span, Timestamp};
use muster::stage::{Kind, Offset, Outgoing, Route, Row, Slot, Topic};
use muster::testing::{broker, drain};

const LIMIT: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(100);

fn brokers() -> String {
    broker::shared().unwrap_or_else(|why| panic!("no broker: {why}"))
}

fn settings(prefix: &str, partitions: u32) -> Settings {
    let topic = |topic: Topic| {
        let name = format!("{prefix}.{topic}");
        (topic, TopicSettings { name, partitions })
    };
    Settings {
        brokers: brokers(),
        extra: BTreeMap::new(),
        topics: Topic::ALL.into_iter().map(topic).collect(),
        replication: 1,
        group: prefix.to_owned(),
        instance: "one".to_owned(),
    }
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

fn journal(prefix: &str, partitions: u32) -> (Settings, Arc<dyn Journal>) {
    let settings = settings(prefix, partitions);
    create_topics(&settings).expect("topics");
    let journal = open(&settings, clock()).expect("journal");
    (settings, journal)
}

fn other(settings: &Settings, instance: &str) -> Arc<dyn Journal> {
    let settings = Settings { instance: instance.to_owned(), ..settings.clone() };
    open(&settings, clock()).expect("journal")
}

fn out(topic: Topic, partition: u32, kind: Kind, value: &str) -> Outgoing {
    Outgoing {
        topic,
        route: Route::Partition(partition),
        kind,
        key: b"key".to_vec(),
        value: value.as_bytes().to_vec(),
        headers: Vec::new(),
    }
}

fn append(journal: &dyn Journal, topic: Topic, partition: u32, values: &[&str]) {
    let kind = if topic == Topic::Alerts { Kind::Update } else { Kind::Event };
    let records = values.iter().map(|value| out(topic, partition, kind, value)).collect();
    journal.appender().expect("appender").append(records).expect("append");
}

/// One record, owned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    slot: Slot,
    offset: Offset,
    kind: Kind,
    value: String,
}

/// What a poll found, owned.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Idle,
    Assigned(Vec<Slot>),
    Revoked(Vec<Slot>),
    Records(Vec<Seen>),
}

fn poll(feed: &mut dyn Feed) -> Result<Found, JournalError> {
    Ok(match feed.poll(STEP)? {
        Polled::Idle => Found::Idle,
        Polled::Assigned(slots) => Found::Assigned(slots),
        Polled::Revoked(slots) => Found::Revoked(slots),
        Polled::Batch(batch) => Found::Records(
            (0..batch.len())
                .map(|index| {
                    let (slot, record) = batch.get(index);
                    let value = record.value.unwrap_or_default();
                    Seen {
                        slot,
                        offset: record.offset,
                        kind: record.kind,
                        value: String::from_utf8_lossy(value).into_owned(),
                    }
                })
                .collect(),
        ),
    })
}

/// Polls until `done` says so of what was found; panics at the limit.
fn until<T>(feed: &mut dyn Feed, what: &str, mut done: impl FnMut(Found) -> Option<T>) -> T {
    let started = Stopwatch::start();
    while started.elapsed() < LIMIT {
        let found = poll(feed).unwrap_or_else(|error| panic!("{what}: {error}"));
        if let Some(result) = done(found) {
            return result;
        }
    }
    panic!("{what}: not within {LIMIT:?}")
}

fn assigned(feed: &mut dyn Feed) -> Vec<Slot> {
    until(feed, "assignment", |found| match found {
        Found::Assigned(slots) => Some(slots),
        _ => None,
    })
}

fn take(feed: &mut dyn Feed, count: usize) -> Vec<Seen> {
    let mut all = Vec::new();
    until(feed, "records", |found| {
        if let Found::Records(records) = found {
            all.extend(records);
        }
        (all.len() >= count).then(|| std::mem::take(&mut all))
    })
}

fn values(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.value.as_str()).collect()
}

fn positions(seen: &[Seen]) -> Vec<(Slot, Offset)> {
    let mut last = BTreeMap::new();
    for seen in seen {
        last.insert(seen.slot, seen.offset.next());
    }
    last.into_iter().collect()
}

fn row(slot: Slot, key: &str, value: Option<&str>) -> (Slot, Row) {
    let value = value.map(|value| value.as_bytes().to_vec());
    (slot, Row { key: key.as_bytes().to_vec(), value })
}

fn restored(feed: &mut dyn Feed, slot: Slot) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    feed.restore(slot, &mut |key, value| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(rows.insert(text(key), text(value)), None, "a row comes once");
    })
    .expect("restore");
    rows
}

/// Everything committed in a topic.
fn committed(journal: &dyn Journal, topic: Topic) -> Vec<Seen> {
    let mut follower = journal.follow(topic, From::Beginning).expect("follower");
    let mut all = Vec::new();
    let started = Stopwatch::start();
    while started.elapsed() < LIMIT {
        match follower.poll(STEP).expect("follow") {
            Followed::Batch(batch) => {
                for index in 0..batch.len() {
                    let (slot, record) = batch.get(index);
                    let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                    let value = value.into_owned();
                    all.push(Seen { slot, offset: record.offset, kind: record.kind, value });
                }
            }
            Followed::CaughtUp => return all,
            Followed::Idle => {}
        }
    }
    panic!("{topic}: not caught up")
}

#[test]
fn correlate_commits_rows_outputs_and_position_as_one() {
    let (_, journal) = journal("txn", 2);
    append(&*journal, Topic::Alerts, 1, &["a", "b", "c"]);
    let mut feed = journal.feed(Group::Correlate).expect("feed");
    let slots: BTreeSet<_> = assigned(&mut *feed).into_iter().collect();
    assert_eq!(slots.len(), 2);
    let slot = Slot { input: 0, partition: 1 };
    assert!(restored(&mut *feed, slot).is_empty());

    let seen = take(&mut *feed, 3);
    assert_eq!(values(&seen), ["a", "b", "c"]);
    assert!(seen.iter().all(|seen| seen.kind == Kind::Update && seen.slot == slot));
    feed.commit(Commit {
        rows: vec![row(slot, "r1", Some("v1")), row(slot, "r2", Some("v2"))],
        records: vec![out(Topic::Incidents, 0, Kind::Change, "opened")],
        positions: positions(&seen[..2]),
    })
    .expect("commit");
    feed.commit(Commit {
        rows: vec![row(slot, "r1", None), row(slot, "r2", Some("v3"))],
        records: Vec::new(),
        positions: positions(&seen[2..]),
    })
    .expect("second commit");
    assert_eq!(values(&committed(&*journal, Topic::Incidents)), ["opened"]);
    assert_eq!(committed(&*journal, Topic::Incidents)[0].kind, Kind::Change);
    feed.close().expect("close");

    append(&*journal, Topic::Alerts, 1, &["d"]);
    let mut feed = journal.feed(Group::Correlate).expect("feed");
    assert!(assigned(&mut *feed).contains(&slot));
    let rows = restored(&mut *feed, slot);
    assert_eq!(rows, BTreeMap::from([("r2".to_owned(), "v3".to_owned())]));
    assert_eq!(values(&take(&mut *feed, 1)), ["d"], "begins where the last commit ended");
}

#[test]
fn a_failed_commit_leaves_no_trace_and_rewinds() {
    let (settings, journal) = journal("void", 1);
    append(&*journal, Topic::Alerts, 0, &["a", "b"]);
    let mut feed = journal.feed(Group::Correlate).expect("feed");
    let slot = assigned(&mut *feed)[0];
    let seen = take(&mut *feed, 2);
    // A second producer of the same name, as another start of this instance has it: fences ours.
    let twin = Settings { group: settings.group.clone(), ..settings };
    let twin = open(&twin, clock()).expect("journal");
    let intruder = twin.feed(Group::Correlate).expect("feed");
    drop(intruder);

    let error = feed
        .commit(Commit {
            rows: vec![row(slot, "r", Some("v"))],
            records: vec![out(Topic::Incidents, 0, Kind::Change, "x")],
            positions: positions(&seen),
        })
        .expect_err("a fenced producer must not commit");
    assert_eq!(error.class, Class::Retry, "{error}");
    drop(feed);
    assert!(committed(&*journal, Topic::Incidents).is_empty());
    assert!(committed(&*journal, Topic::State).is_empty());

    let mut feed = journal.feed(Group::Correlate).expect("feed");
    let slot = assigned(&mut *feed)[0];
    assert!(restored(&mut *feed, slot).is_empty());
    assert_eq!(values(&take(&mut *feed, 2)), ["a", "b"]);
}

#[test]
fn a_refused_record_voids_the_transaction_and_the_feed_begins_anew() {
    let (_, journal) = journal("refused", 1);
    append(&*journal, Topic::Alerts, 0, &["a", "b"]);
    let mut feed = journal.feed(Group::Correlate).expect("feed");
    let slot = assigned(&mut *feed)[0];
    let seen = take(&mut *feed, 2);
    let huge = "x".repeat(5_000_000);
    let error = feed
        .commit(Commit {
            rows: vec![row(slot, "r", Some("v"))],
            records: vec![
                out(Topic::Incidents, 0, Kind::Change, "small"),
                out(Topic::Incidents, 0, Kind::Change, &huge),
            ],
            positions: positions(&seen),
        })
        .expect_err("too large");
    assert_eq!(error.class, Class::Retry, "{error}");

    assert_eq!(assigned(&mut *feed), [slot], "announced anew");
    assert!(restored(&mut *feed, slot).is_empty());
    let again = take(&mut *feed, 2);
    assert_eq!(again, seen, "from the committed position");
    let records = vec![out(Topic::Incidents, 0, Kind::Change, "small")];
    feed.commit(Commit {
        rows: vec![row(slot, "r", Some("v"))],
        records,
        positions: positions(&seen),
    })
    .expect("goes on");
    assert_eq!(values(&committed(&*journal, Topic::Incidents)), ["small"]);
}

#[test]
fn dropped_before_commit_nothing_is_visible() {
    let (_, journal) = journal("dropped", 1);
    append(&*journal, Topic::Alerts, 0, &["a"]);
    let mut feed = journal.feed(Group::Correlate).expect("feed");
    assigned(&mut *feed);
    take(&mut *feed, 1);
    drop(feed);
    let mut feed = journal.feed(Group::Correlate).expect("feed");
    assigned(&mut *feed);
    assert_eq!(values(&take(&mut *feed, 1)), ["a"]);
    assert!(committed(&*journal, Topic::State).is_empty());
}

#[test]
fn notify_writes_rows_before_its_position() {
    let (_, journal) = journal("notify", 2);
    let mut appender = journal.appender().expect("appender");
    appender.append(vec![out(Topic::Incidents, 1, Kind::Change, "c1")]).expect("append");
    let mut feed = journal.feed(Group::Notify).expect("feed");
    assigned(&mut *feed);
    let seen = take(&mut *feed, 1);
    let slot = Slot { input: 0, partition: 1 };
    let rows = vec![row(slot, "inc/oncall", Some("told")), row(slot, "inc/x", None)];
    feed.commit(Commit { rows, records: Vec::new(), positions: positions(&seen) }).expect("commit");
    feed.close().expect("close");

    appender.append(vec![out(Topic::Incidents, 1, Kind::Change, "c2")]).expect("append");
    let mut feed = journal.feed(Group::Notify).expect("feed");
    assigned(&mut *feed);
    let rows = restored(&mut *feed, slot);
    assert_eq!(rows, BTreeMap::from([("inc/oncall".to_owned(), "told".to_owned())]));
    assert_eq!(values(&take(&mut *feed, 1)), ["c2"]);
}

#[test]
fn suppress_forwards_and_commits_one_behind() {
    let (_, journal) = journal("suppress", 1);
    append(&*journal, Topic::Events, 0, &["e1", "e2", "e3"]);
    let mut feed = journal.feed(Group::Suppress).expect("feed");
    assigned(&mut *feed);
    let seen = take(&mut *feed, 3);
    assert!(seen.iter().all(|seen| seen.kind == Kind::Event));
    for one in &seen {
        let records = vec![out(Topic::Alerts, 0, Kind::Update, &one.value)];
        let positions = vec![(one.slot, one.offset.next())];
        feed.commit(Commit { rows: Vec::new(), records, positions }).expect("commit");
    }
    // Idle polls settle the last one.
    until(&mut *feed, "all forwarded", |found| {
        assert!(!matches!(found, Found::Records(_)), "nothing is read twice");
        (committed(&*journal, Topic::Alerts).len() == 3).then_some(())
    });
    feed.close().expect("close");

    append(&*journal, Topic::Events, 0, &["e4"]);
    let mut feed = journal.feed(Group::Suppress).expect("feed");
    assigned(&mut *feed);
    assert_eq!(values(&take(&mut *feed, 1)), ["e4"]);
}

#[test]
fn two_members_share_and_hand_over() {
    let (settings, first) = journal("share", 4);
    let second = other(&settings, "two");
    for partition in 0..4 {
        append(&*first, Topic::Alerts, partition, &["a", "b"]);
    }
    let mut one = first.feed(Group::Correlate).expect("feed");
    assert_eq!(assigned(&mut *one).len(), 4);
    let mut two = second.feed(Group::Correlate).expect("feed");

    // Each record is answered by one output of its own name, so that a doubled commit shows.
    let mut owned: [BTreeSet<Slot>; 2] = [(0..4).map(slot).collect(), BTreeSet::new()];
    let mut done = 0;
    let started = Stopwatch::start();
    let mut more = 0;
    while (done < 8 + more || owned[0].len() != 2 || owned[1].len() != 2)
        && started.elapsed() < LIMIT
    {
        for (index, feed) in [&mut one, &mut two].into_iter().enumerate() {
            done += step(&mut **feed, &mut owned[index]);
        }
        if more == 0 && owned[1].len() == 2 {
            for partition in 0..4 {
                append(&*first, Topic::Alerts, partition, &["c"]);
            }
            more = 4;
        }
    }
    assert_eq!((owned[0].len(), owned[1].len()), (2, 2), "{owned:?}");
    assert!(owned[0].is_disjoint(&owned[1]));

    // The second goes; the first takes over.
    two.close().expect("close");
    for partition in 0..4 {
        append(&*first, Topic::Alerts, partition, &["d"]);
    }
    while (done < 16 || owned[0].len() != 4) && started.elapsed() < LIMIT * 2 {
        done += step(&mut *one, &mut owned[0]);
    }
    let mut outputs = values(&committed(&*first, Topic::Incidents))
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    outputs.sort();
    let mut expected: Vec<_> =
        (0..4).flat_map(|p| ["a", "b", "c", "d"].map(|v| format!("{p}/{v}"))).collect();
    expected.sort();
    assert_eq!(outputs, expected, "nothing lost, nothing twice");
}

fn slot(partition: u32) -> Slot {
    Slot { input: 0, partition }
}

/// One poll; what it found is answered and committed. How many records were.
fn step(feed: &mut dyn Feed, owned: &mut BTreeSet<Slot>) -> usize {
    match poll(feed).expect("poll") {
        Found::Idle => 0,
        Found::Assigned(slots) => {
            owned.extend(slots);
            0
        }
        Found::Revoked(slots) => {
            owned.retain(|slot| !slots.contains(slot));
            0
        }
        Found::Records(seen) => {
            let record = |seen: &Seen| {
                let name = format!("{}/{}", seen.slot.partition, seen.value);
                out(Topic::Incidents, 0, Kind::Change, &name)
            };
            let records = seen.iter().map(record).collect();
            let commit = Commit { rows: Vec::new(), records, positions: positions(&seen) };
            feed.commit(commit).expect("commit");
            seen.len()
        }
    }
}

#[test]
fn a_zombies_commit_is_refused() {
    let mut settings = settings("zombie", 1);
    create_topics(&settings).expect("topics");
    // A worker that does not poll for this long is thrown out of its group.
    settings.extra.insert("max.poll.interval.ms".to_owned(), "6000".to_owned());
    settings.extra.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    let first = open(&settings, clock()).expect("journal");
    let second = other(&settings, "two");
    append(&*first, Topic::Alerts, 0, &["a"]);
    let mut zombie = first.feed(Group::Correlate).expect("feed");
    assigned(&mut *zombie);
    let seen = take(&mut *zombie, 1);

    // From here on the first does nothing, and the second gets its partition.
    let mut owner = second.feed(Group::Correlate).expect("feed");
    let taken = until(&mut *owner, "take-over", |found| match found {
        Found::Assigned(slots) if !slots.is_empty() => Some(slots),
        _ => None,
    });
    assert_eq!(taken, [slot(0)]);
    let again = take(&mut *owner, 1);
    let commit = |name: &str| Commit {
        rows: vec![row(slot(0), "r", Some(name))],
        records: vec![out(Topic::Incidents, 0, Kind::Change, name)],
        positions: positions(&seen),
    };
    assert_eq!(again, seen);
    owner.commit(commit("owner")).expect("the owner commits");
    let error = zombie.commit(commit("zombie")).expect_err("refused");
    assert_eq!(error.class, Class::Retry, "{error}");
    owner.commit(commit("owner again")).expect("the owner goes on");
    let outputs = committed(&*first, Topic::Incidents);
    assert_eq!(values(&outputs), ["owner", "owner again"]);
    drop(zombie);
}

#[test]
fn two_processes_under_one_name_are_found_out() {
    let (settings, first) = journal("rivals", 2);
    let second = open(&settings, clock()).expect("journal");
    let mut feeds = [first, second].map(|journal| {
        let feed = journal.feed(Group::Correlate).expect("feed");
        (journal, feed)
    });
    let started = Stopwatch::start();
    let error = 'found: loop {
        assert!(started.elapsed() < LIMIT * 2, "not found out");
        for (journal, feed) in &mut feeds {
            append(&**journal, Topic::Alerts, 0, &["a"]);
            append(&**journal, Topic::Alerts, 1, &["a"]);
            let Ok(Found::Records(seen)) = poll(&mut **feed) else { continue };
            let commit = Commit { positions: positions(&seen), ..Commit::default() };
            match feed.commit(commit) {
                Err(error) if error.class == Class::Fatal => break 'found error,
                _ => {}
            }
        }
    };
    assert!(error.to_string().contains("same instance name"), "{error}");
}

#[test]
fn a_killed_broker_stalls_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("directory");
    let mut broker =
        broker::Broker::start(dir.path()).unwrap_or_else(|why| panic!("no broker: {why}"));
    let settings = Settings { brokers: broker.brokers(), ..settings("bounce", 1) };
    create_topics(&settings).expect("topics");
    let journal = open(&settings, clock()).expect("journal");
    append(&*journal, Topic::Alerts, 0, &["a", "b"]);
    let mut feed = journal.feed(Group::Correlate).expect("feed");
    assigned(&mut *feed);
    let seen = take(&mut *feed, 2);
    let commit = |seen: &[Seen]| Commit {
        rows: vec![row(slot(0), "r", Some("v"))],
        records: seen
            .iter()
            .map(|seen| out(Topic::Incidents, 0, Kind::Change, &seen.value))
            .collect(),
        positions: positions(seen),
    };
    feed.commit(commit(&seen[..1])).expect("commit");
    broker.kill();
    let died = std::thread::spawn(move || {
        broker.restart().unwrap_or_else(|why| panic!("no broker: {why}"));
        broker
    });
    // Whether this one counts is for the committed positions to say.
    let first = feed.commit(commit(&seen[1..]));
    let _broker = died.join().expect("restarted");
    let started = Stopwatch::start();
    let mut settled = first.is_ok();
    while !settled && started.elapsed() < LIMIT * 2 {
        match poll(&mut *feed) {
            Ok(Found::Records(seen)) => settled = feed.commit(commit(&seen)).is_ok(),
            Ok(_) => {
                let outputs = committed_or_none(&*journal);
                settled = outputs.len() == 2;
            }
            Err(error) => assert_eq!(error.class, Class::Retry, "{error}"),
        }
    }
    assert!(settled, "it goes on after the broker is back");
    assert_eq!(values(&committed(&*journal, Topic::Incidents)), ["a", "b"]);
}

fn committed_or_none(journal: &dyn Journal) -> Vec<Seen> {
    match journal.follow(Topic::Incidents, From::Beginning) {
        Ok(_) => committed(journal, Topic::Incidents),
        Err(_) => Vec::new(),
    }
}

#[derive(Default)]
struct Collected(Arc<std::sync::Mutex<Vec<Outgoing>>>);

impl Appender for Collected {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        self.0.lock().expect("lock").extend(records);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

fn source(name: &str, start: Start) -> SourceTopic {
    SourceTopic {
        source: "nagios".into(),
        topic: name.to_owned(),
        keyed: true,
        start,
        brokers: None,
        extra: BTreeMap::new(),
    }
}

fn reader(group: &str, topics: &[SourceTopic], clock: SharedClock) -> Box<dyn Feed> {
    let from = Sources {
        brokers: brokers(),
        extra: BTreeMap::new(),
        group: group.to_owned(),
        instance: "one".to_owned(),
    };
    sources(&from, topics, Box::new(Collected::default()), clock).expect("sources")
}

fn publish(topic: &str, values: &[&str]) {
    let publisher = Publisher::open(&brokers(), topic).expect("publisher");
    for value in values {
        publisher.put(0, b"k", value.as_bytes()).expect("send");
    }
    publisher.flush().expect("flush");
}

#[test]
fn sources_begin_as_told_and_only_once() {
    create_topic(&brokers(), "src.start", 1, &[]).expect("topic");
    publish("src.start", &["old"]);
    // Latest: what is there is not read, what comes is; also if nothing was committed before a stop.
    let topics = [source("src.start", Start::Latest)];
    let mut feed = reader("src.latest", &topics, clock());
    assigned(&mut *feed);
    drop(feed);
    publish("src.start", &["new"]);
    let mut feed = reader("src.latest", &topics, clock());
    assigned(&mut *feed);
    let seen = take(&mut *feed, 1);
    assert_eq!(values(&seen), ["new"], "a restart does not look for the end again");
    assert_eq!(seen[0].kind, Kind::Raw);
    feed.commit(Commit { positions: positions(&seen), ..Commit::default() }).expect("commit");
    feed.close().expect("close");

    let mut feed = reader("src.earliest", &[source("src.start", Start::Earliest)], clock());
    assigned(&mut *feed);
    assert_eq!(values(&take(&mut *feed, 2)), ["old", "new"]);

    // An age: by this clock everything is older than a second, by the other nothing is.
    let age = Start::Age(Span::from_millis(1_000));
    let future = ManualClock::at(Timestamp::from_millis(4_000_000_000_000));
    let mut feed = reader("src.young", &[source("src.start", age)], future);
    assigned(&mut *feed);
    publish("src.start", &["newest"]);
    assert_eq!(values(&take(&mut *feed, 1)), ["newest"]);
    let past = ManualClock::at(Timestamp::from_millis(1_000_000));
    let mut feed = reader("src.aged", &[source("src.start", age)], past);
    assigned(&mut *feed);
    assert_eq!(values(&take(&mut *feed, 3)), ["old", "new", "newest"]);
}

#[test]
fn several_source_topics_are_told_apart() {
    for name in ["src.x", "src.y"] {
        create_topic(&brokers(), name, 1, &[]).expect("topic");
        publish(name, &[name]);
    }
    let topics = [source("src.y", Start::Earliest), source("src.x", Start::Earliest)];
    let mut feed = reader("src.both", &topics, clock());
    assigned(&mut *feed);
    let mut seen = take(&mut *feed, 2);
    seen.sort();
    assert_eq!(values(&seen), ["src.y", "src.x"]);
    assert_eq!(seen.iter().map(|seen| seen.slot.input).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn an_offset_that_is_gone_is_fatal_and_named() {
    create_topic(&brokers(), "src.gone", 1, &[]).expect("topic");
    publish("src.gone", &["a", "b", "c"]);
    let topics = [source("src.gone", Start::Earliest)];
    let mut feed = reader("src.gone", &topics, clock());
    assigned(&mut *feed);
    let seen = take(&mut *feed, 3);
    feed.commit(Commit { positions: positions(&seen[..1]), ..Commit::default() }).expect("commit");
    feed.close().expect("close");
    delete_before(&brokers(), "src.gone", 0, 3).expect("delete");
    publish("src.gone", &["d"]);

    let mut feed = reader("src.gone", &topics, clock());
    let started = Stopwatch::start();
    let error = loop {
        assert!(started.elapsed() < LIMIT, "no error");
        match poll(&mut *feed) {
            Ok(Found::Records(seen)) => panic!("skipped to {seen:?}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.class, Class::Fatal, "{error}");
    let text = error.to_string();
    for part in ["src.gone", "partition 0", "offset 1", "--reset-offsets"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_follower_sees_committed_records_only_and_says_when_it_caught_up() {
    let (_, journal) = journal("follow", 2);
    append(&*journal, Topic::Events, 0, &["a"]);
    append(&*journal, Topic::Events, 1, &["b"]);
    let mut all = committed(&*journal, Topic::Events);
    all.sort();
    assert_eq!(values(&all), ["a", "b"]);

    let mut follower = journal.follow(Topic::Events, From::End).expect("follower");
    append(&*journal, Topic::Events, 1, &["c"]);
    let started = Stopwatch::start();
    let (mut caught_up, mut seen) = (0, Vec::new());
    while (caught_up == 0 || seen.is_empty()) && started.elapsed() < LIMIT {
        match follower.poll(STEP).expect("follow") {
            Followed::CaughtUp => caught_up += 1,
            Followed::Idle => {}
            Followed::Batch(batch) => {
                for index in 0..batch.len() {
                    let value = batch.get(index).1.value.unwrap_or_default();
                    seen.push(String::from_utf8_lossy(value).into_owned());
                }
            }
        }
    }
    assert_eq!((caught_up, seen), (1, vec!["c".to_owned()]));
}

#[test]
fn topics_are_made_once_and_with_their_settings() {
    let settings = settings("made", 3);
    let first = create_topics(&settings).expect("create");
    assert!(first.iter().all(|line| line.contains("created, 3 partitions")), "{first:?}");
    let second = create_topics(&settings).expect("again");
    assert!(second.iter().all(|line| line.contains("exists, 3 partitions")), "{second:?}");
    let journal = open(&settings, clock()).expect("open");
    assert_eq!(journal.partitions(Topic::State), 3);
    let edges = || create_compacted(&settings, "made.edges").expect("a topic");
    assert_eq!(edges(), "made.edges: created, 1 partitions");
    assert_eq!(edges(), "made.edges: exists, 1 partitions");
}

#[test]
fn topics_that_do_not_fit_are_refused_by_name() {
    let fails = |settings: &Settings, parts: &[&str]| {
        let error = match open(settings, clock()) {
            Ok(_) => panic!("{} opened", settings.group),
            Err(error) => error,
        };
        assert_eq!(error.class, Class::Fatal, "{error}");
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
    };
    let missing = settings("missing", 1);
    fails(&missing, &["missing.events", "muster topics --create"]);

    let stamped = settings("stamped", 1);
    create_topic(&stamped.brokers, "stamped.alerts", 1, &[]).expect("topic");
    let error = create_topics(&stamped).expect_err("existing topic does not fit");
    assert!(error.to_string().contains("message.timestamp.type"), "{error}");

    let compacted = settings("uncompacted", 1);
    create_topic(&compacted.brokers, "uncompacted.state", 1, &[]).expect("topic");
    let error = create_topics(&compacted).expect_err("existing topic does not fit");
    assert!(error.to_string().contains("cleanup.policy"), "{error}");

    let mut uneven = settings("uneven", 2);
    uneven.topics.get_mut(&Topic::State).expect("topic").partitions = 3;
    let error = create_topics(&uneven).expect_err("counts differ");
    assert!(error.to_string().contains("must be equal"), "{error}");
    fails(&uneven, &["uneven.state", "uneven.alerts", "3", "2"]);

    let mut refused = settings("refused.key", 1);
    refused.extra.insert("enable.auto.commit".to_owned(), "true".to_owned());
    fails(&refused, &["enable.auto.commit"]);
}

#[test]
fn everything_published_is_drained() {
    create_topic(&brokers(), "drain", 4, &[]).expect("topic");
    let keys: Vec<_> = (0..50_000_u32).map(u32::to_le_bytes).collect();
    let value = [b'x'; 200];
    let records = keys.iter().map(|key| (key.as_slice(), value.as_slice()));
    assert_eq!(drain::produce(&brokers(), "drain", records), Ok(50_000));
    let (count, _) = drain::raw_drain(&brokers(), "drain").expect("drain");
    assert_eq!(count, 50_000);
}
