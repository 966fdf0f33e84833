//! Decode, collect and correlate, each alone, on the load of the pipeline bench.
//!
//! Baseline of the same run: `serde_json` reading the same events into a `serde_json::Value`.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::sync::Arc;

use muster::collect::{self, Collect, Duty, Room, decode};
use muster::correlate::Correlate;
use muster::model::maintenance::PlanText;
use muster::model::{CorrelateSettings, MaintenanceId, Plan, Span, Timestamp};
use muster::stage::{Kind, Offset, Output, Record, Slot, Stage};
use muster::testing::bench::{Measure, is_test};
use muster::testing::load::{self, Load, by_cluster};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 1_000;

fn main() {
    let start = Timestamp::from_millis(1_763_913_600_000);
    let load = if is_test() { Load::small(start) } else { Load::large(start) };
    let events = if is_test() { load.events() } else { load.events() / 3 };
    let batches = batches(load, events);
    let base = value(&batches);
    let parsed = decode_all(&batches);
    let (collected, updates) = collect_all(&batches, load);
    let correlated = correlate_all(&updates, "correlate", Vec::new());
    let ten = correlate_all(&updates, "correlate, 10 maintenance plans", plans(10));
    let thousand = correlate_all(&updates, "correlate, 1000 maintenance plans", plans(1_000));
    println!("1000 plans/10 plans {:.2} (at most 3)", ten / thousand);
    println!(
        "decode/baseline {:.2}  collect/baseline {:.2}  correlate/baseline {:.2}",
        parsed / base,
        collected / base,
        correlated / base
    );
}

fn batches(load: Load, events: u64) -> Vec<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    let all: Vec<u64> = (0..events).collect();
    all.chunks(BATCH as usize)
        .map(|chunk| {
            let event = |n: &u64| {
                load.write(*n, &mut bytes);
                bytes.clone()
            };
            chunk.iter().map(event).collect()
        })
        .collect()
}

fn value(batches: &[Vec<Vec<u8>>]) -> f64 {
    let mut measure = Measure::new("baseline serde_json::Value");
    for batch in batches {
        measure.batch(batch.len() as u64, || {
            let read = |bytes: &Vec<u8>| {
                let value: serde_json::Value = serde_json::from_slice(bytes).expect("an event");
                u8::from(value["status"] == "ok")
            };
            vec![[batch.iter().map(read).fold(0, u8::wrapping_add)]]
        });
    }
    measure.print()
}

fn decode_all(batches: &[Vec<Vec<u8>>]) -> f64 {
    let mut measure = Measure::new("decode to events");
    let settings = collect::Settings::default();
    let origin = collect::Origin::canonical("bench");
    for batch in batches {
        measure.batch(batch.len() as u64, || {
            let read = |bytes: &Vec<u8>| {
                let arrival = Timestamp::MAX;
                let incoming = decode::Incoming { bytes, headers: &[], arrival, origin: &origin };
                let decoded = decode::decode(&incoming, &settings);
                decoded.events[0].host.as_bytes()[9]
            };
            vec![[batch.iter().map(read).fold(0, u8::wrapping_add)]]
        });
    }
    measure.print()
}

fn collect_all(batches: &[Vec<Vec<u8>>], load: Load) -> (f64, Vec<Vec<u8>>) {
    let mut measure = Measure::new("collect (suppress)");
    let settings = collect::Settings::default();
    let room = Room::new(settings.cache_max);
    let origins = Arc::new([collect::Origin::canonical("bench")]);
    let mut stage = Collect::new(Arc::new(settings), Duty::Suppress, origins, room, 1);
    let mut updates = Vec::new();
    for batch in batches {
        measure.batch(batch.len() as u64, || {
            let out = load::collect(&mut stage, batch, load.start + Span::from_secs(86_400));
            let forwarded = out.records.len().to_be_bytes();
            updates.extend(out.records.into_iter().map(|record| record.value));
            vec![forwarded]
        });
    }
    (measure.print(), updates)
}

/// Plans in force, each about one host; the window holds the time of every record.
fn plans(count: usize) -> Vec<Plan> {
    let plan = |nth: usize| {
        let text = PlanText {
            name: Some(format!("plan {nth}")),
            matchers: vec![format!("host=planned-{nth}"), "env=~\"prod|test\"".to_owned()],
            every: Some("day".to_owned()),
            at: Some("00:00".to_owned()),
            lasts: Some("23h".to_owned()),
            time_zone: Some("Europe/Berlin".to_owned()),
            ..PlanText::default()
        };
        text.read(MaintenanceId::of(&format!("plan {nth}")), "config").expect("a plan")
    };
    (0..count).map(plan).collect()
}

fn correlate_all(updates: &[Vec<u8>], name: &'static str, maintenance: Vec<Plan>) -> f64 {
    let mut measure = Measure::new(name);
    let settings = CorrelateSettings {
        maintenance,
        ..by_cluster(Span::from_secs(300), Span::from_secs(1_800))
    };
    let mut stage = Correlate::new(&settings);
    let slot = Slot::default();
    let opening = stage.opening(slot).pop().expect("settings to go by");
    let time = Timestamp::from_millis(1_763_913_600_000);
    let record =
        |kind, value| Record { offset: Offset(0), time, kind, key: None, value, headers: None };
    stage.apply(slot, &record(Kind::Settings, Some(&opening.value)), &mut Output::default());
    // The row of the settings is written once, not by any alert.
    stage.seal(&mut Output::default());
    for batch in updates.chunks(BATCH as usize) {
        measure.batch(batch.len() as u64, || {
            let mut out = Output::default();
            for update in batch {
                stage.apply(slot, &record(Kind::Update, Some(update)), &mut out);
            }
            stage.seal(&mut out);
            let rows = out.rows.into_iter().filter_map(|row| row.value);
            out.records.into_iter().map(|record| record.value).chain(rows).collect()
        });
    }
    measure.print()
}
