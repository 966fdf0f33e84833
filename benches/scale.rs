//! What the cost of a change grows with: the number of patterns, of maintenance plans and of silences,
//! and the size of an incident.
//!
//! Baselines of the same run: ten of each, and an incident of few alerts. Ratios are of medians of
//! batches, so that what else the machine does falls out. Bytes are those of changes and rows.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::sync::Arc;

use muster::clock::Stopwatch;
use muster::correlate::Correlate;
use muster::model::event::{Links, Report};
use muster::model::maintenance::PlanText;
use muster::model::update::{Seen, Update};
use muster::model::{
    AlertId, Chronic, CorrelateSettings, Event, Identity, MaintenanceId, Matchers, Member, Pattern,
    Plan, Silence, SilenceId, SilenceIndex, Span, Status, TagValue, Tags, Timestamp, Why,
};
use muster::stage::{Kind, Offset, Output, Record, Slot, Stage};
use muster::testing::bench::{Measure, is_test};
use muster::testing::load::by_cluster;
use muster::wire;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START: Timestamp = Timestamp::from_millis(1_763_913_600_000);
const SLOT: Slot = Slot { input: 0, partition: 0 };

fn main() {
    patterns();
    silences();
    joins();
    ends();
}

/// The same alerts under ten patterns and under a thousand, each for one team's alerts; and with a
/// thousand maintenance plans besides, each for one team and closed by now.
fn patterns() {
    let alerts = if is_test() { 400 } else { 40_000 };
    let updates: Vec<Vec<u8>> = (0..alerts)
        .flat_map(|n| [update(n, 10, Status::Critical), update(n, 10, Status::Ok)])
        .collect();
    let cost = |many: usize, plans: usize| {
        let maintenance = (0..plans).map(plan).collect();
        let mut stage = stage(CorrelateSettings { maintenance, ..teams(many) });
        let mut measure = Measure::new(&format!("{many} patterns, {plans} plans, changes"));
        let mut medians = Vec::new();
        for batch in updates.chunks(100) {
            measure.batch(batch.len() as u64, || {
                let watch = Stopwatch::start();
                let out = apply(&mut stage, batch);
                medians.push(watch.elapsed());
                out
            });
        }
        measure.print();
        median(medians)
    };
    let ten = cost(10, 10);
    let thousand = cost(1_000, 10);
    println!("a change under 1000 patterns / under 10: {:.2}", thousand / ten);
    let planned = cost(1_000, 1_000);
    println!("a change under 1000 patterns and 1000 plans / under 10 and 10: {:.2}", planned / ten);
}

/// What mutes an alert, asked of ten silences and of ten thousand.
fn silences() {
    let asks = if is_test() { 1_000 } else { 200_000 };
    let members: Vec<Member> = (0..100).map(member).collect();
    let cost = |many: usize| {
        let mut index = SilenceIndex::default();
        (0..many).for_each(|nth| index.insert(Arc::new(silence(nth))));
        let mut measure = Measure::new(&format!("{many} silences, questions"));
        let mut medians = Vec::new();
        for _ in 0..asks / members.len() {
            measure.batch(members.len() as u64, || {
                let watch = Stopwatch::start();
                let found =
                    members.iter().map(|alert| vec![index.muting(alert, START).0.len() as u8]);
                let found: Vec<Vec<u8>> = found.collect();
                medians.push(watch.elapsed());
                found
            });
        }
        measure.print();
        median(medians)
    };
    let ten = cost(10);
    println!("a question of 10000 silences / of 10: {:.2}", cost(10_000) / ten);
}

/// Planned work of one team, every night.
fn plan(nth: usize) -> Plan {
    let text = PlanText {
        name: Some(format!("night-{nth}")),
        matchers: vec![format!("team=team-{nth}")],
        every: Some("day".to_owned()),
        at: Some("03:00".to_owned()),
        lasts: Some("1h".to_owned()),
        time_zone: Some("Europe/Berlin".to_owned()),
        ..PlanText::default()
    };
    text.read(MaintenanceId::of(&format!("bench {nth}")), "bench").expect("a plan")
}

/// A silence of one team's alerts.
fn silence(nth: usize) -> Silence {
    Silence {
        id: SilenceId::of_request(&format!("bench-{nth}")),
        matchers: Matchers::parse([format!("env=prod,team=team-{nth}").as_str()])
            .expect("matchers"),
        starts_at: START - Span::MINUTE,
        ends_at: START + Span::from_secs(3_600),
        created_by: "bench".into(),
        created_at: START,
        updated_by: "bench".into(),
        updated_at: START,
        comment: Box::default(),
        requests: Vec::new(),
    }
}

/// What an incident shows of alert `n` of one of ten teams.
fn member(n: u64) -> Member {
    let identity = Identity::new("estate", Some(&format!("node-{n:05}")), Some("latency"), None);
    let tags =
        [("env", TagValue::one("prod")), ("team", TagValue::one(&format!("team-{}", n % 10)))];
    Member {
        id: AlertId::derive(START, &identity, 0),
        source: "estate".into(),
        host: format!("node-{n:05}").into(),
        check: "latency".into(),
        status: Status::Critical,
        firing: true,
        flapping: false,
        chronic: false,
        maintenance: None,
        description: "busy".into(),
        tags: tags.into_iter().collect(),
        links: Links::new(),
        started_at: START,
        changed_at: START,
        why: Why::default(),
    }
}

/// One incident grows and grows.
fn joins() {
    let (members, batch) = if is_test() { (2_000, 50) } else { (50_000, 500) };
    let updates: Vec<Vec<u8>> = (0..members).map(|n| update(n, 1, Status::Critical)).collect();
    let mut stage = stage(roomy());
    let mut few = Measure::new("joins while it is small");
    let mut many = Measure::new("joins while it is large");
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    let batches: Vec<&[Vec<u8>]> = updates[10..].chunks(batch).collect();
    apply(&mut stage, &updates[..10]);
    for (nth, batch) in batches.iter().enumerate() {
        let measure = if nth < batches.len() / 2 { &mut few } else { &mut many };
        measure.batch(batch.len() as u64, || {
            let watch = Stopwatch::start();
            let out = apply(&mut stage, batch);
            times.push(watch.elapsed());
            bytes.push(out.iter().map(Vec::len).sum::<usize>() / batch.len());
            out
        });
    }
    few.print();
    many.print();
    let tenth = batches.len().div_ceil(10);
    let last = batches.len() - 1 - tenth;
    let (first, last_times) = (times[..tenth].to_vec(), times[last..batches.len() - 1].to_vec());
    println!(
        "a join at {members} members / at the first {}: {:.2}; bytes a join {} / {}",
        tenth * batch,
        median(last_times) / median(first),
        bytes[batches.len() - 2],
        bytes[0],
    );
    assert!(bytes[batches.len() - 2] < 2 * bytes[0], "bytes a join grow: {bytes:?}");
}

/// All alerts of an incident fall silent and end by one record.
fn ends() {
    let cost = |members: u32| {
        let mut stage = stage(roomy());
        let updates: Vec<Vec<u8>> =
            (0..members).map(|n| update(n.into(), 1, Status::Critical)).collect();
        updates.chunks(500).for_each(|batch| drop(apply(&mut stage, batch)));
        let mut measure = Measure::new(&format!("{members} alerts end at once"));
        let mut took = 0.0;
        measure.batch(members.into(), || {
            let watch = Stopwatch::start();
            let mut out = Output::default();
            let time = START + Span::from_secs(30 * 86_400);
            let record = Record {
                offset: Offset(9),
                time,
                kind: Kind::Tick,
                key: None,
                value: None,
                headers: None,
            };
            stage.apply(SLOT, &record, &mut out);
            let told = told(stage, out);
            took = watch.elapsed().as_secs_f64();
            told
        });
        measure.print();
        took / f64::from(members)
    };
    let (few, many) = if is_test() { (50, 500) } else { (500, 50_000) };
    let few = cost(few);
    println!("an end among very many / among few: {:.2}", cost(many) / few);
}

fn median(mut times: Vec<std::time::Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn stage(settings: CorrelateSettings) -> Correlate {
    let mut stage = Correlate::new(&settings);
    let opening = stage.opening(SLOT).pop().expect("settings to go by");
    let record = record(Kind::Settings, &opening.value);
    stage.apply(SLOT, &record, &mut Output::default());
    stage
}

fn apply(stage: &mut Correlate, batch: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = Output::default();
    for update in batch {
        stage.apply(SLOT, &record(Kind::Update, update), &mut out);
    }
    stage.seal(&mut out);
    let rows = out.rows.into_iter().filter_map(|row| row.value);
    out.records.into_iter().map(|record| record.value).chain(rows).collect()
}

fn told(mut stage: Correlate, mut out: Output) -> Vec<Vec<u8>> {
    stage.seal(&mut out);
    out.records.into_iter().map(|record| record.value).collect()
}

fn record(kind: Kind, value: &[u8]) -> Record<'_> {
    Record { offset: Offset(0), time: START, kind, key: None, value: Some(value), headers: None }
}

fn roomy() -> CorrelateSettings {
    let mut settings = by_cluster(Span::from_secs(300), Span::from_secs(1_800));
    settings.patterns[0].max_alerts = 100_000;
    settings
}

fn teams(many: usize) -> CorrelateSettings {
    let pattern = |n: usize| Pattern {
        name: format!("team-{n}").into(),
        matchers: Matchers::parse([format!("env=\"prod\",team=\"team-{n}\"").as_str()])
            .expect("matchers"),
        by: vec!["cluster".into()],
        window: Span::from_secs(3_600),
        gap: None,
        cross_source: true,
        max_alerts: 100,
        min_alerts: 1,
        chronic: Chronic::Separate,
        near: None,
    };
    CorrelateSettings {
        patterns: (0..many).map(pattern).collect(),
        ..by_cluster(Span::from_secs(300), Span::from_secs(1_800))
    }
}

/// Alert `n` of one of so many teams, as it begins or ends.
fn update(n: u64, teams: u64, status: Status) -> Vec<u8> {
    let tag = |name: &'static str, value: String| (name, TagValue::One(value.into()));
    let tags: Tags = [
        // With one team all are one cluster's, else each is alone.
        tag("cluster", format!("cluster-{}", if teams == 1 { 0 } else { n })),
        tag("env", "prod".to_owned()),
        tag("team", format!("team-{}", n % teams)),
        tag("service", format!("service-{}", n % 7)),
    ]
    .into_iter()
    .collect();
    let event = Event {
        source: "estate".into(),
        host: format!("node-{n:05}.example.net").into(),
        check: "latency".into(),
        key: None,
        report: Report::Status(status),
        timestamp: if status == Status::Ok { START + Span::MINUTE } else { START },
        description: "p99 latency over 5 min is above its threshold".into(),
        tags,
        links: Links::new(),
        expires_at: None,
        id: None,
    };
    wire::update::encode(&Update {
        shard: "default".into(),
        expire_after: Span::from_secs(7 * 86_400),
        seen: Seen::default(),
        event,
    })
}
