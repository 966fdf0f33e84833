//! What a commit costs: rows, outputs and a position as one, on memory and on SQLite.
//!
//! Prints p50, p99 and max of a commit for 1, 100 and 10,000 records, and for eight appenders that
//! share their syncs. `cargo bench --bench journal`; as a test it runs a few commits only. The hash
//! at the end is of what the journals hold, so that two runs of the same size can be compared.
#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Stopwatch, SystemClock};
use muster::journal::memory::Memory;
use muster::journal::sqlite::{Settings, Sqlite};
use muster::journal::{Commit, Followed, From, Group, Journal};
use muster::model::Span;
use muster::stage::{Kind, Offset, Outgoing, Route, Row, Topic};
use muster::telemetry::Latency;
use muster::testing::conformance::assigned;
use siphasher::sip::SipHasher13;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// About the size of an update.
const VALUE_BYTES: usize = 450;

fn main() {
    // `cargo bench` says so; `cargo test --benches` does not.
    let full = std::env::args().any(|argument| argument == "--bench");
    let mut hash = SipHasher13::new();
    for (records, commits) in [(1, 1_000), (100, 300), (10_000, 30)] {
        let commits = if full { commits } else { 3 };
        let memory = Memory::new(Arc::new(SystemClock), BTreeMap::new());
        measure("memory", &*memory, records, commits, &mut hash);
        let directory = tempfile::TempDir::new().expect("a directory");
        let sqlite = open(directory.path());
        measure("sqlite", &*sqlite, records, commits, &mut hash);
    }
    let directory = tempfile::TempDir::new().expect("a directory");
    share(&*open(directory.path()), if full { 500 } else { 3 }, &mut hash);
    println!("result {:016x}", hash.finish());
}

fn measure(back: &str, journal: &dyn Journal, records: u64, commits: u64, hash: &mut SipHasher13) {
    let latency = Latency::new("commit_seconds", "a commit").expect("a good name");
    let mut feed = journal.feed(Group::Correlate).expect("a feed");
    let slot = assigned(&mut *feed)[0];
    let all = Stopwatch::start();
    for number in 0..commits {
        let commit = Commit {
            rows: (0..records).map(|n| (slot, row(number * records / 2 + n))).collect(),
            records: (0..records).map(|n| outgoing(number * records + n)).collect(),
            positions: vec![(slot, Offset(i64::try_from(number).expect("few")))],
        };
        let took = Stopwatch::start();
        feed.commit(commit).expect("a commit");
        latency.observe(took.elapsed());
    }
    report(&format!("{back} commits of {records} records and rows"), &latency, all, records);
    check(journal, records * commits, hash);
}

/// Eight threads that each wait for their own record: the sync is shared.
fn share(journal: &dyn Journal, each: u64, hash: &mut SipHasher13) {
    let latency = Latency::new("append_seconds", "an append").expect("a good name");
    let all = Stopwatch::start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut appender = journal.appender().expect("an appender");
                for _ in 0..each {
                    let took = Stopwatch::start();
                    appender.append(vec![outgoing(0)]).expect("an append");
                    latency.observe(took.elapsed());
                }
            });
        }
    });
    report("sqlite appends of 1 record by 8 threads", &latency, all, 1);
    check(journal, 8 * each, hash);
}

fn report(what: &str, latency: &Latency, all: Stopwatch, records: u64) {
    let quantiles = latency.quantiles();
    let rate = records * quantiles.count * 1_000
        / u64::try_from(all.elapsed().as_millis()).unwrap_or(1).max(1);
    println!(
        "{what}: p50 {:?}, p99 {:?}, max {:?}, {rate} records/s",
        quantiles.p50, quantiles.p99, quantiles.max
    );
}

/// Reads everything back.
fn check(journal: &dyn Journal, expected: u64, hash: &mut SipHasher13) {
    let mut follower = journal.follow(Topic::Incidents, From::Beginning).expect("a follower");
    let mut count = 0;
    loop {
        match follower.poll(Duration::from_secs(10)).expect("a poll") {
            Followed::CaughtUp => break,
            Followed::Idle => {}
            Followed::Batch(batch) => {
                for index in 0..batch.len() {
                    hash.write(batch.get(index).1.value.unwrap_or_default());
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, expected, "every record is there once");
}

fn open(path: &std::path::Path) -> Arc<Sqlite> {
    let settings = Settings {
        path: path.to_owned(),
        keep_alerts: Span::from_secs(86_400),
        keep_incidents: Span::from_secs(86_400),
        max_bytes: 4 << 30,
    };
    Sqlite::open(&settings, Arc::new(SystemClock)).expect("a journal")
}

fn row(number: u64) -> Row {
    Row { key: number.to_be_bytes().to_vec(), value: Some(vec![b'r'; VALUE_BYTES]) }
}

fn outgoing(number: u64) -> Outgoing {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_be_bytes());
    let key = number.to_be_bytes().to_vec();
    let (topic, route, kind) = (Topic::Incidents, Route::Partition(0), Kind::Change);
    Outgoing { topic, route, kind, key, value, headers: Vec::new() }
}
