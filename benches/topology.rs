//! A large topology: reading its file, its bytes in the log, and what one alert costs by `near`.
//!
//! A random graph of 100,000 hosts and 1,000,000 edges. Alerts open and join incidents two hops
//! around; the baseline of the same run is the same alerts with a pattern by host alone.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::io::Write as _;

use muster::clock::Stopwatch;
use muster::config;
use muster::correlate::Correlate;
use muster::model::settings::Near;
use muster::model::topology::{Graph, Topology};
use muster::model::update::{Seen, Update};
use muster::model::{CorrelateSettings, Event, Pattern, Span, Status, Tags, Timestamp};
use muster::stage::{Offset, Output, Record, Slot, Stage};
use muster::testing::bench::{Measure, is_test};
use muster::testing::load::by_cluster;
use muster::wire;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START: i64 = 1_763_913_600_000;
const BATCH: usize = 100;

fn main() {
    let (nodes, edges, alerts) =
        if is_test() { (1_000, 5_000, 500) } else { (100_000, 1_000_000, 50_000) };
    let topology = read(nodes, edges);
    let graph = topology.graph.as_ref().expect("it was read");
    let watch = Stopwatch::start();
    let bytes = graph.to_bytes();
    let wrote = watch.elapsed();
    let watch = Stopwatch::start();
    let again = Graph::from_bytes(&bytes).expect("a graph");
    println!(
        "{} nodes, {} edges: {} KiB in memory, {} KiB in the log, written in {wrote:?}, read in {:?}",
        again.nodes(),
        again.edges(),
        graph.memory() >> 10,
        bytes.len() >> 10,
        watch.elapsed()
    );
    let updates = updates(nodes, alerts);
    let host = correlate("by host", &updates, None, &topology);
    for hops in [1, 2, 3] {
        let near = Near { tag: "host".into(), hops, kinds: Vec::new() };
        let rate = correlate(&format!("near, {hops} hops"), &updates, Some(near), &topology);
        println!("near {hops}/by host {:.2}", rate / host);
    }
}

fn read(nodes: u32, edges: u32) -> Topology {
    let path = std::env::temp_dir().join(format!("muster-topology-{}.csv", std::process::id()));
    let mut random = fastrand::Rng::with_seed(3);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    writeln!(file, "from_tag,from,to_tag,to,kind").expect("it can be written");
    for _ in 0..edges {
        let (from, to) = (random.u32(..nodes), random.u32(..nodes));
        writeln!(file, "host,host-{from},host,host-{to},linked").expect("it can be written");
    }
    file.flush().expect("it can be written");
    drop(file);
    let text = format!("correlate: {{topology: {{file: {}}}}}", path.display());
    let watch = Stopwatch::start();
    let config = config::parse(&text);
    println!("read from CSV in {:?}", watch.elapsed());
    std::fs::remove_file(&path).expect("it is ours");
    config.expect("a config").correlate().topology.expect("it names one")
}

fn updates(nodes: u32, count: u32) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(4);
    let update = |nth: u32| {
        let event = Event {
            source: "bench".into(),
            host: format!("host-{}", random.u32(..nodes)).into(),
            check: format!("check-{nth}").into(),
            report: muster::model::event::Report::Status(Status::Critical),
            timestamp: Timestamp::from_millis(START + i64::from(nth) * 20),
            description: "".into(),
            tags: Tags::default(),
            links: muster::model::event::Links::default(),
            key: None,
            expires_at: None,
            id: None,
        };
        let expire_after = Span::from_secs(86_400);
        let seen = Seen { repeats: 0, newest: None };
        wire::update::encode(&Update { shard: "default".into(), expire_after, seen, event })
    };
    (0..count).map(update).collect()
}

fn correlate(name: &str, updates: &[Vec<u8>], near: Option<Near>, topology: &Topology) -> f64 {
    let settings = by_cluster(Span::from_secs(60), Span::from_secs(1_800));
    let by = if near.is_some() { Vec::new() } else { vec!["host".into()] };
    let pattern = Pattern { by, near, ..settings.patterns[0].clone() };
    let settings =
        CorrelateSettings { patterns: vec![pattern], topology: Some(topology.clone()), ..settings };
    let mut stage = Correlate::new(&settings);
    let slot = Slot::default();
    let time = Timestamp::from_millis(START);
    let record =
        |kind, value| Record { offset: Offset(0), time, kind, key: None, value, headers: None };
    let openings = stage.opening(slot);
    for opening in &openings {
        stage.apply(slot, &record(opening.kind, Some(&opening.value)), &mut Output::default());
    }
    stage.seal(&mut Output::default());
    let mut measure = Measure::new(name);
    for batch in updates.chunks(BATCH) {
        measure.batch(batch.len() as u64, || {
            let mut out = Output::default();
            for update in batch {
                stage.apply(slot, &record(muster::stage::Kind::Update, Some(update)), &mut out);
            }
            stage.seal(&mut out);
            out.records.into_iter().map(|record| record.value).collect()
        });
    }
    measure.print()
}
