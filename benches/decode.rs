//! Every decoder over its own fixtures, and what enrichment costs; tables in Markdown.
//!
//! Baseline of the same run: `serde_json` reading the same bytes into a `serde_json::Value` (what is no
//! JSON as a JSON text). `cargo bench --bench decode -- nagios` measures one format, `-- tables` only
//! enrichment.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]
#![expect(clippy::cast_precision_loss, reason = "rates for people")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use muster::clock::Stopwatch;
use muster::collect::decode::{Decoded, Incoming, decode};
use muster::collect::{Collect, Duty, Origin, Room, Settings, table};
use muster::config;
use muster::decoders;
use muster::model::{Span, Timestamp};
use muster::testing::bench::{Measure, is_test};
use muster::testing::load::{self, Load};
use serde_json::Value;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ARRIVAL: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const FIXTURES: &str = "tests/fixtures/sources";

fn main() {
    let chosen: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|one| one == name);
    println!(
        "| format | payloads | bytes each | MB/s | events/s | p50 µs | p99 µs | max µs | of serde_json::Value | twice the input |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    if is_wanted("canonical") {
        format(&Origin::canonical("bench"), "canonical", &canonical());
    }
    for decoder in decoders::ALL.iter().filter(|decoder| is_wanted(decoder.name)) {
        let origin = Origin { decoder: Some(decoder), ..Origin::of_source("bench", decoder.name) };
        let payloads = fixtures(decoder.name);
        assert!(!payloads.is_empty(), "{} has no fixtures", decoder.name);
        format(&origin, decoder.name, &payloads);
    }
    if is_wanted("tables") {
        println!();
        mapping_table();
        enrichment();
    }
}

struct Posted {
    bytes: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    /// The same bytes as JSON.
    json: Vec<u8>,
}

impl Posted {
    fn new(bytes: Vec<u8>, headers: Vec<(String, Vec<u8>)>) -> Self {
        let is_json = serde_json::from_slice::<Value>(&bytes).is_ok();
        let text = String::from_utf8_lossy(&bytes);
        let json = if is_json { bytes.clone() } else { Value::from(text).to_string().into_bytes() };
        Self { bytes, headers, json }
    }
}

fn fixtures(name: &str) -> Vec<Posted> {
    let folder = Path::new(FIXTURES).join(name);
    let entries = std::fs::read_dir(folder).expect("fixtures");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let side =
        |path: &Path| path.extension().is_some_and(|end| end == "expected" || end == "headers");
    let payloads = paths.iter().filter(|path| !side(path)).map(|path| {
        let text = std::fs::read_to_string(path.with_extension("headers")).unwrap_or_default();
        let headers = text.lines().filter_map(|line| line.split_once(':'));
        let headers = headers
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().as_bytes().to_vec()));
        Posted::new(std::fs::read(path).expect("a payload"), headers.collect())
    });
    payloads.collect()
}

/// The load of the other benches.
fn canonical() -> Vec<Posted> {
    let load = Load::small(Timestamp::from_millis(1_795_000_000_000));
    let mut bytes = Vec::new();
    let mut event = |n: u64| {
        load.write(n, &mut bytes);
        Posted::new(bytes.clone(), Vec::new())
    };
    (0..200).map(|n| event(n * 7)).collect()
}

fn read(origin: &Origin, settings: &Settings, posted: &Posted) -> Decoded {
    let Posted { bytes, headers, .. } = posted;
    decode(&Incoming { bytes, headers, arrival: ARRIVAL, origin }, settings)
}

/// One row.
fn format(origin: &Origin, name: &str, payloads: &[Posted]) {
    let settings = Settings::default();
    let enough = Duration::from_millis(if is_test() { 0 } else { 700 });
    // Nanoseconds, up to ten seconds.
    let mut each = Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).expect("good bounds");
    let (mut busy, mut base) = (Duration::ZERO, Duration::ZERO);
    let (mut bytes, mut events, mut rounds, mut values) = (0_usize, 0_usize, 0_usize, 0_usize);
    while busy < enough || rounds == 0 {
        for posted in payloads {
            let watch = Stopwatch::start();
            let decoded = read(origin, &settings, posted);
            let took = watch.elapsed();
            busy += took;
            each.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            bytes += posted.bytes.len();
            events += decoded.events.len();
            drop(decoded);
            let watch = Stopwatch::start();
            let value = serde_json::from_slice::<Value>(&posted.json);
            base += watch.elapsed();
            values += usize::from(value.is_ok());
        }
        rounds += 1;
    }
    assert_eq!(values, rounds * payloads.len(), "the baseline reads everything");
    let seconds = busy.as_secs_f64();
    let micros = |quantile| each.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "| {name} | {} | {} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {:.2} |",
        payloads.len(),
        bytes / rounds / payloads.len(),
        bytes as f64 / seconds / 1e6,
        events as f64 / seconds,
        micros(0.5),
        micros(0.99),
        each.max() as f64 / 1_000.0,
        seconds / base.as_secs_f64(),
        growth(origin, &settings, payloads)
    );
}

/// By how much longer an input of twice the size takes at worst: 2 is linear, 4 quadratic. The inputs
/// are payloads one after the other, and with one long text full of what formats look for.
fn growth(origin: &Origin, settings: &Settings, payloads: &[Posted]) -> f64 {
    let size = if is_test() { 1 << 12 } else { 1 << 17 };
    let mut worst: f64 = 0.0;
    for posted in payloads {
        for long in [repeated, with_long_text] {
            let took = |size: usize| {
                let headers = posted.headers.clone();
                let grown = Posted { bytes: long(&posted.bytes, size), headers, json: Vec::new() };
                let one = |_| {
                    let watch = Stopwatch::start();
                    drop(read(origin, settings, &grown));
                    watch.elapsed()
                };
                (0..15).map(one).min().unwrap_or_default()
            };
            let (single, double) = (took(size), took(2 * size));
            // What is refused at a glance takes no time that could be compared.
            if single > Duration::from_micros(20) {
                worst = worst.max(double.as_secs_f64() / single.as_secs_f64());
            }
        }
    }
    worst
}

fn repeated(bytes: &[u8], size: usize) -> Vec<u8> {
    let one = [bytes.trim_ascii_end(), b"\n"].concat();
    one.repeat(size / one.len() + 1)
}

fn with_long_text(bytes: &[u8], size: usize) -> Vec<u8> {
    let more = "; =$ {A} %20 acknowledged, <b> ".repeat(size / 31);
    let text = String::from_utf8_lossy(bytes);
    // Before the last quote, where there is one: within a text of JSON.
    let at = text.rfind('"').unwrap_or(text.trim_end().len());
    let (head, tail) = text.split_at(at);
    format!("{head}{more}{tail}").into_bytes()
}

/// A table of a million rows: how long it takes to read, what it takes, and what a look into it costs.
fn mapping_table() {
    let rows: usize = if is_test() { 1_000 } else { 1_000_000 };
    let path = std::env::temp_dir().join(format!("muster-bench-{}.csv", std::process::id()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    writeln!(file, "host,team,service,env").expect("writable");
    for row in 0..rows {
        writeln!(file, "node-{row:07},team-{:03},service-{:04},prod", row % 500, row % 5_000)
            .expect("writable");
    }
    file.into_inner().expect("writable").sync_all().expect("writable");
    let bytes = std::fs::metadata(&path).expect("a file").len();
    let text = format!(
        "collect:\n  enrich:\n    - map: {{file: {}, by: [host], tags: [team, service, env]}}\n",
        path.display()
    );
    let before = resident();
    let watch = Stopwatch::start();
    let read = config::parse(&text).expect("a config");
    let took = watch.elapsed();
    let settings = read.collect();
    let after = resident();
    println!("| a mapping table | |\n|---|--:|");
    println!("| rows | {rows} ({:.0} MB of CSV) |", bytes as f64 / 1e6);
    println!("| load | {:.2} s |", took.as_secs_f64());
    println!(
        "| resident | {:.0} MB, {:.0} bytes a row |",
        after.saturating_sub(before) as f64 / 1e6,
        after.saturating_sub(before) as f64 / rows as f64
    );
    std::fs::remove_file(&path).expect("it was written");
    let mut builder = table::Builder::new(1, rows);
    for row in 0..rows {
        let cell = format!("team-{}", row % 500);
        builder.row(&[format!("node-{row:07}")], &[cell]).expect("there is room");
    }
    let table = builder.build();
    let keys: Vec<String> =
        (0..rows).map(|n| format!("node-{:07}", n * 7_919 % (rows * 2))).collect();
    let watch = Stopwatch::start();
    let found = keys.iter().filter(|key| table.rows(key).next().is_some()).count();
    let took = watch.elapsed();
    println!(
        "| a look into it | {:.0} ns ({found} of {} are there) |\n",
        took.as_nanos() as f64 / keys.len() as f64,
        keys.len()
    );
    drop(settings);
}

/// Resident memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok());
    kilobytes.unwrap_or(0_u64) * 1_024
}

/// Collect with twenty steps of enrichment and without any, on the load of the pipeline bench: repeats
/// cost nothing more, since no step sees them.
fn enrichment() {
    let mut steps = String::from("collect:\n  enrich:\n");
    for n in 0..10 {
        writeln!(
            steps,
            "    - extract: {{from: host, regex: '^(?P<site_{n}>[a-z]+)-(?P<nth_{n}>[0-9]+)'}}"
        )
        .expect("a string takes it");
        writeln!(steps, "    - set: {{made_{n}: '{{{{ host }}}}-{{{{ tags.env }}}}'}}")
            .expect("a string takes it");
    }
    let with = config::parse(&steps).expect("a config").collect();
    let start = Timestamp::from_millis(1_763_913_600_000);
    let load = if is_test() { Load::small(start) } else { Load::large(start) };
    let events = if is_test() { load.events() } else { load.events() / 5 };
    let mut bytes = Vec::new();
    let all: Vec<Vec<u8>> = (0..events)
        .map(|n| {
            load.write(n, &mut bytes);
            bytes.clone()
        })
        .collect();
    // The first round is new to collect, those after it are repeats but for the faults.
    let (first, rest) = all.split_at(usize::try_from(load.identities()).unwrap_or(all.len()));
    let run = |settings: &Settings, name: &str| {
        let room = Room::new(settings.cache_max);
        let origins = Arc::new([Origin::canonical("bench")]);
        let mut stage = Collect::new(Arc::new(settings.clone()), Duty::Suppress, origins, room, 1);
        let mut measure = |name: &str, events: &[Vec<u8>]| {
            let mut measure = Measure::new(name);
            for batch in events.chunks(1_000) {
                measure.batch(batch.len() as u64, || {
                    let arrival = load.start + Span::from_secs(86_400);
                    let out = load::collect(&mut stage, batch, arrival);
                    vec![out.records.len().to_be_bytes()]
                });
            }
            measure.print()
        };
        let new = measure(&format!("collect, new, {name}"), first);
        (new, measure(&format!("collect, repeats, {name}"), rest))
    };
    let (new, repeats) = run(&Settings::default(), "no enrich");
    let (new_with, repeats_with) = run(&with, "20 steps");
    println!(
        "20 steps/none: new {:.2}  repeats {:.2} (near 1)",
        new / new_with,
        repeats / repeats_with
    );
}
