//! Draws rule books and logs for the oracle.
//!
//! Few hosts, tags and statuses, and times in half minutes beside bounds in whole ones, so that
//! ties, bounds and collisions are frequent in logs that are short enough to read.

use std::fmt;

use muster::model::event::{Identity, Report};
use muster::model::topology::Builder;
use muster::model::update::{Seen, Touch};
use muster::model::{
    Chronic, ChronicSettings, CorrelateSettings, Event, FlappingSettings, MaintenanceId, Matchers,
    Near, Pattern, Plan, Span, Status, TagValue, Tags, Timestamp, Topology, Update,
};
use muster::wire;
use proptest::prelude::*;

use super::model::{Body, Book, Edge};
use plans::PlanSketch;
pub(super) use wishes::{Named, Wished};

mod plans;
mod wishes;

/// When drawn logs begin: 2026-01-01, in milliseconds.
const BEGIN: i64 = 1_767_225_600_000;
/// The grain of drawn times.
const HALF_MINUTE: i64 = 30_000;
/// How many identities there are; the last one is by key, and its host is not its own.
const IDENTITIES: u8 = 8;

/// A log and what it goes by.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) records: Vec<Drawn>,
    /// After so many records each, correlate is restored from its rows.
    pub(super) restart_every: usize,
}

/// A record, but for the ids in it that nobody knows before the log is read so far.
#[derive(Clone)]
pub(super) struct Drawn {
    pub(super) time: Timestamp,
    pub(super) what: Said,
}

#[derive(Clone)]
pub(super) enum Said {
    Body(Body),
    Wished(Wished),
}

impl fmt::Debug for Log {
    /// One record a line, with the seconds since the first one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "restored every {} records", self.restart_every)?;
        for (nth, record) in self.records.iter().enumerate() {
            let second = (record.time.as_millis() - BEGIN) / 1_000;
            let body = match &record.what {
                Said::Body(body) => body,
                Said::Wished(wished) => {
                    writeln!(f, "{nth}: {second} s {wished:?}")?;
                    continue;
                }
            };
            let (word, bytes) = match body {
                Body::Update(update) => ("update", wire::update::encode(update)),
                Body::Touch(touch) => ("touch", wire::update::encode_touch(touch)),
                Body::Tick => ("tick", Vec::new()),
                Body::Settings(book) => ("settings", wire::settings::encode(&book.settings)),
                Body::Topology(_) => ("topology", Vec::new()),
                Body::Command(command) => ("command", wire::command::encode(command)),
            };
            writeln!(f, "{nth}: {second} s {word} {}", String::from_utf8_lossy(&bytes))?;
        }
        Ok(())
    }
}

/// One step, before it is given its place in time.
#[derive(Debug, Clone)]
struct Step {
    /// Half minutes after the step before.
    wait: i64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Event(Sketch),
    Touch {
        who: u8,
        late: i64,
        repeats: u64,
    },
    Tick,
    /// Another of the rule books that were drawn.
    Settings(usize),
    Command(Wished),
}

#[derive(Debug, Clone)]
struct Sketch {
    who: u8,
    /// 0 is ok, 1 to 4 are worse and worse, 5 acknowledges.
    status: u8,
    /// Half minutes from the event to its place in the log.
    late: i64,
    tags: u8,
    text: u8,
    /// 1 and 2: it says itself when it loses its force.
    expires: u8,
    /// Repeats that collect kept to itself, and how many half minutes before the event the newest
    /// of them was.
    seen: (u64, i64),
}

/// What a log dwells on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// Everything there is.
    Anything,
    /// Few identities that change their status all the time.
    Flapping,
    /// One pattern with a gap, problems that come and go, events that come late.
    Joining,
    /// Patterns that ask for several alerts before anybody is told.
    Holding,
    /// Planned work: from the config, and by command.
    Maintenance,
    /// Checks that fire every day, and more often.
    Chronic,
    /// Patterns about what is near.
    Near,
    /// What people do, above all resolving by hand and undoing it.
    People,
}

pub(super) fn log(theme: Theme) -> impl Strategy<Value = Log> {
    let books = (prop::collection::vec(book(theme), 1..3), chronic(theme)).prop_map(
        |(mut books, chronic)| {
            // How many days back are counted is one number a log: no more are remembered.
            for book in &mut books {
                book.settings.chronic = match book.settings.chronic.episodes {
                    0 => ChronicSettings { episodes: 0, ..chronic },
                    _ => chronic,
                };
            }
            books
        },
    );
    let lives = prop::sample::select(match theme {
        Theme::People | Theme::Maintenance => vec![3 * 60_i64, 20 * 60, 7 * 86_400, 7 * 86_400],
        _ => vec![3 * 60_i64, 10 * 60, 7 * 86_400],
    });
    let steps = if theme == Theme::People { 10..50 } else { 5..40_usize };
    let steps = prop::collection::vec(step(theme), steps);
    let restarts = prop::sample::select(vec![usize::MAX, 7, 3]);
    let drawn = (books, lives, any::<bool>(), restarts, steps);
    drawn.prop_map(|(books, lives, two_shards, restart_every, steps)| {
        let mut now = BEGIN;
        let mut records = Vec::new();
        open(&books[0], millis(now), &mut records);
        for step in steps {
            now += step.wait * HALF_MINUTE;
            let life = Span::from_secs(lives);
            let body = match step.what {
                What::Command(wished) => {
                    records.push(Drawn { time: millis(now), what: Said::Wished(wished) });
                    continue;
                }
                What::Event(sketch) => {
                    Body::Update(Box::new(update(&sketch, now, life, two_shards)))
                }
                What::Touch { who, late, repeats } => {
                    let newest = millis(now - late * HALF_MINUTE);
                    let seen = Seen { repeats, newest: Some((newest, newest + life)) };
                    Body::Touch(Touch { identity: identity(who), seen })
                }
                What::Tick => Body::Tick,
                What::Settings(nth) => {
                    open(&books[nth % books.len()], millis(now), &mut records);
                    continue;
                }
            };
            records.push(Drawn { time: millis(now), what: Said::Body(body) });
        }
        Log { records, restart_every }
    })
}

fn millis(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn minutes(minutes: i64) -> Span {
    Span::from_secs(minutes * 60)
}

fn step(theme: Theme) -> impl Strategy<Value = Step> {
    let wait = match theme {
        Theme::Flapping => {
            prop_oneof![3 => Just(0), 6 => 1..4_i64, 1 => 4..12_i64, 1 => 12..40_i64].boxed()
        }
        // Once in a while a day passes, after which late events and plans are forgotten.
        Theme::Maintenance => {
            prop_oneof![40 => Just(0), 60 => 1..5_i64, 20 => 5..20_i64, 10 => 20..60_i64, 1 => 2_860..2_900_i64]
                .boxed()
        }
        Theme::Chronic => {
            prop_oneof![8 => Just(0), 20 => 1..5_i64, 2 => 5..60_i64, 3 => 2_400..3_300_i64].boxed()
        }
        _ => prop_oneof![4 => Just(0), 6 => 1..5_i64, 2 => 5..20_i64, 1 => 20..60_i64].boxed(),
    };
    let commands = match theme {
        Theme::Anything | Theme::Maintenance => 3,
        Theme::People => 14,
        _ => 0,
    };
    let what = prop_oneof![
        20 => sketch(theme).prop_map(What::Event),
        1 => (0..IDENTITIES, 0..4_i64, 0..3_u64)
            .prop_map(|(who, late, repeats)| What::Touch { who, late, repeats }),
        1 => Just(What::Tick),
        1 => (0..2_usize).prop_map(What::Settings),
        commands => wishes::wished(theme).prop_map(What::Command),
    ];
    (wait, what).prop_map(|(wait, what)| Step { wait, what })
}

fn sketch(theme: Theme) -> impl Strategy<Value = Sketch> {
    let who = match theme {
        Theme::Flapping => 0..3_u8,
        Theme::Chronic => 0..4,
        Theme::People | Theme::Maintenance => 0..5,
        _ => 0..IDENTITIES,
    };
    let status = prop_oneof![5 => Just(0), 1 => Just(1), 1 => Just(2), 3 => Just(3), 4 => Just(4), 1 => Just(5)];
    let late = match theme {
        Theme::Joining => prop_oneof![4 => Just(0), 3 => 1..5_i64, 1 => 5..30_i64],
        _ => prop_oneof![6 => Just(0), 2 => 1..4_i64, 1 => 4..20_i64],
    };
    let expires = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2)];
    let seen = prop_oneof![4 => Just((0, 0)), 1 => (1..4_u64, 0..4_i64)];
    (who, status, late, 0..8_u8, 0..3_u8, expires, seen).prop_map(
        |(who, status, late, tags, text, expires, seen)| Sketch {
            who,
            status,
            late,
            tags,
            text,
            expires,
            seen,
        },
    )
}

/// A book comes into force, after the graph that it names.
fn open(book: &Book, time: Timestamp, records: &mut Vec<Drawn>) {
    if let Some(Topology { digest, graph, .. }) = &book.settings.topology {
        let bytes = graph.as_ref().map(|graph| graph.to_bytes()).unwrap_or_default();
        let parts = wire::topology::parts(digest, &bytes);
        let parts = parts.iter().map(|part| Body::Topology(wire::topology::encode(part)));
        records.extend(parts.map(|part| Drawn { time, what: Said::Body(part) }));
    }
    let body = Body::Settings(Box::new(book.clone()));
    records.push(Drawn { time, what: Said::Body(body) });
}

fn chronic(theme: Theme) -> impl Strategy<Value = ChronicSettings> {
    let easily = (1..4_u32, 1..3_u32, 0..2_u32, prop::sample::select(vec![1_usize, 2, 100]));
    let easily = easily.prop_map(|(episodes, days, more, identities_max)| ChronicSettings {
        episodes,
        days,
        of: days + more,
        identities_max,
    });
    match theme {
        Theme::Chronic => easily.boxed(),
        _ => prop_oneof![3 => Just(ChronicSettings::default()), 1 => easily].boxed(),
    }
}

/// Hosts in a row, hosts at two switches, racks in a row; some of it.
fn edges() -> impl Strategy<Value = Vec<Edge>> {
    const ALL: [[&str; 5]; 9] = [
        ["host", "h0", "host", "h1", "next"],
        ["host", "h1", "host", "h2", "next"],
        ["host", "h0", "switch", "s0", "linked"],
        ["host", "h1", "switch", "s0", "linked"],
        ["host", "h2", "switch", "s1", "linked"],
        ["switch", "s0", "switch", "s1", "linked"],
        ["rack", "r1", "rack", "r2", "next"],
        ["rack", "r2", "rack", "r3", "next"],
        ["rack", "r3", "host", "h0", "holds"],
    ];
    prop::sample::subsequence(ALL.to_vec(), 4..=9).prop_map(|edges| {
        let edge = |[from_tag, from, to_tag, to, kind]: [&str; 5]| Edge {
            from: (from_tag.into(), from.into()),
            to: (to_tag.into(), to.into()),
            kind: kind.into(),
        };
        edges.into_iter().map(edge).collect()
    })
}

/// So many times of ten.
fn now_and_then<S: Strategy>(tenths: u32, what: S) -> impl Strategy<Value = Option<S::Value>>
where
    S::Value: Clone,
{
    prop_oneof![10 - tenths => Just(None), tenths => what.prop_map(Some)]
}

fn topology(edges: &[Edge]) -> Topology {
    let mut builder = Builder::new(100, 100);
    for Edge { from, to, kind } in edges {
        builder.edge((&from.0, &from.1), (&to.0, &to.1), kind).expect("an edge");
    }
    Topology::new(builder.build().expect("a graph"), 10_000)
}

fn book(theme: Theme) -> impl Strategy<Value = Book> {
    let with_graph = match theme {
        Theme::Near => 10,
        Theme::Anything => 5,
        _ => 0,
    };
    let edges = now_and_then(with_graph, edges());
    (settings(theme), edges, prop::bool::weighted(0.1)).prop_map(|(settings, edges, never)| {
        let topology = edges.as_deref().map(topology);
        let mut settings = CorrelateSettings { topology, ..settings };
        settings.chronic.episodes = if never { 0 } else { 1 };
        Book { settings, edges: edges.unwrap_or_default() }
    })
}

fn settings(theme: Theme) -> impl Strategy<Value = CorrelateSettings> {
    let patterns = match theme {
        Theme::Joining => prop::collection::vec(pattern(Sort::Gapped, 0), 1..3).boxed(),
        Theme::Holding => prop::collection::vec(pattern(Sort::Holding, 0), 1..5).boxed(),
        Theme::People => prop::collection::vec(pattern(Sort::Gathering, 0), 1..3).boxed(),
        Theme::Near => prop::collection::vec(pattern(Sort::Any, 7), 1..4).boxed(),
        Theme::Anything => prop::collection::vec(pattern(Sort::Any, 1), 0..4).boxed(),
        Theme::Chronic => prop::collection::vec(pattern(Sort::Any, 0), 1..4).boxed(),
        _ => prop::collection::vec(pattern(Sort::Any, 0), 0..4).boxed(),
    };
    let off = FlappingSettings { changes: 0, ..FlappingSettings::default() };
    let easily = (1..4_u32, 2..5_i64, 1..4_i64, 1..4_i64).prop_map(
        |(changes, within, quiet_for, reminder)| FlappingSettings {
            changes,
            within: minutes(within),
            quiet_for: minutes(quiet_for),
            reminder: minutes(reminder),
        },
    );
    let flapping = match theme {
        Theme::Flapping => easily.boxed(),
        Theme::Maintenance => prop_oneof![1 => Just(off), 1 => easily].boxed(),
        _ => {
            prop_oneof![1 => Just(off), 1 => Just(FlappingSettings::default()), 1 => easily].boxed()
        }
    };
    let plans = match theme {
        Theme::Maintenance => 0..4_usize,
        Theme::Anything => 0..2,
        _ => 0..1,
    };
    let plans = prop::collection::vec(plans::plan(), plans);
    let reopen = prop::sample::select(match theme {
        // Within which a resolve by hand can be undone.
        Theme::People => vec![2_i64, 5, 10, 30],
        _ => vec![0_i64, 1, 2, 5],
    });
    let dismiss = prop::sample::select(vec![1_i64, 3, 10, 240]);
    let oks = prop::sample::select(vec![1_usize, 2, 1_000]);
    let drawn = (patterns, flapping, (reopen, dismiss), oks, plans);
    drawn.prop_map(|(patterns, flapping, (reopen, dismiss), ok_memory_max, plans)| {
        let mut patterns: Vec<Pattern> = patterns;
        for (nth, pattern) in patterns.iter_mut().enumerate() {
            pattern.name = format!("p{nth}").into();
        }
        CorrelateSettings {
            reopen_window: minutes(reopen),
            dismiss_for: minutes(dismiss),
            maintenance: configured(&plans),
            flapping,
            ok_memory_max,
            patterns,
            ..CorrelateSettings::default()
        }
    })
}

/// Plans of the config, each by its place.
fn configured(plans: &[PlanSketch]) -> Vec<Plan> {
    let read = |(nth, plan): (usize, &PlanSketch)| {
        let id = MaintenanceId::of(&format!("config plan {nth}"));
        plan.text(millis(BEGIN)).read(id, "config").expect("a plan")
    };
    plans.iter().enumerate().map(read).collect()
}

/// Beside or in place of the tags.
fn near(tenths: u32) -> impl Strategy<Value = (Option<Near>, bool)> {
    const KINDS: [&[&str]; 4] = [&[], &[], &["next"], &["linked", "holds"]];
    let near = (prop::sample::select(vec!["host", "host", "rack"]), 0..4_u32, 0..KINDS.len());
    let near = near.prop_map(|(tag, hops, kinds)| Near {
        tag: tag.into(),
        hops,
        kinds: KINDS[kinds].iter().map(|kind| Box::from(*kind)).collect(),
    });
    (now_and_then(tenths, near), prop::bool::weighted(0.3))
}

/// What sort of pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Any,
    /// Always with a gap.
    Gapped,
    /// Asks for several alerts.
    Holding,
    /// Has most alerts in one incident.
    Gathering,
}

fn pattern(sort: Sort, near_share: u32) -> impl Strategy<Value = Pattern> {
    const BY: [&[&str]; 8] = [
        &["cluster"],
        &["cluster"],
        &["rack"],
        &["host"],
        &["check"],
        &["source", "check"],
        &["rack", "cluster"],
        &["cluster", "host"],
    ];
    const MATCH: [Option<&str>; 6] =
        [None, None, None, Some("status!=\"info\""), Some("cluster=~\"a|b\""), Some("host=\"h1\"")];
    let gap =
        prop::sample::select(vec![30_i64, 60, 120]).prop_map(|gap| Some(Span::from_secs(gap)));
    let (gapped, holds) = (sort == Sort::Gapped, sort == Sort::Holding);
    let gathers = sort == Sort::Gathering;
    let gap = if gapped { gap.boxed() } else { prop_oneof![2 => Just(None), 1 => gap].boxed() };
    (
        prop::sample::select(BY.to_vec()),
        prop::sample::select(if gathers { vec![None] } else { MATCH.to_vec() }),
        prop::sample::select(if gathers { vec![4, 8, 30] } else { vec![1_i64, 2, 4, 8] }),
        gap,
        prop::bool::weighted(0.8),
        prop::sample::select(if gathers { vec![3, 1_000] } else { vec![1_u32, 2, 3, 1_000] }),
        prop::sample::select(match sort {
            Sort::Holding => vec![1_u32, 2, 2, 3, 3, 4],
            Sort::Gathering => vec![1, 1, 1, 1, 2],
            _ => vec![1, 1, 1, 2, 3],
        }),
        prop::sample::select(vec![Chronic::Separate, Chronic::Separate, Chronic::Join]),
        near(near_share),
    )
        .prop_map(move |drawn| {
            let (by, matchers, window, gap, cross_source, max_alerts, min_alerts, chronic, near) =
                drawn;
            let (near, beside) = near;
            let by = if near.is_some() && !beside { &[] } else { by };
            Pattern {
                name: Box::default(),
                matchers: Matchers::parse(matchers).expect("a matcher"),
                by: by.iter().map(|tag| Box::from(*tag)).collect(),
                window: minutes(window),
                gap,
                cross_source,
                max_alerts,
                min_alerts: if holds { min_alerts } else { min_alerts.min(max_alerts) },
                chronic,
                near,
            }
        })
}

fn source(who: u8) -> &'static str {
    ["nagios", "zabbix"][usize::from(who % 2)]
}

fn identity(who: u8) -> Identity {
    if who == IDENTITIES - 1 {
        return Identity::new(source(who), None, None, Some("job"));
    }
    let (host, check) = (format!("h{}", who / 3), format!("c{}", who % 3));
    Identity::new(source(who), Some(&host), Some(&check), None)
}

fn tags(nth: u8) -> Tags {
    let list =
        |values: &[&str]| TagValue::List(values.iter().map(|text| Box::from(*text)).collect());
    let (cluster, rack) = match nth {
        0 | 1 => (Some(TagValue::one("a")), None),
        2 => (Some(TagValue::one("a")), Some(TagValue::one("r1"))),
        3 => (Some(TagValue::one("b")), Some(list(&["r2", "r1"]))),
        4 => (Some(list(&["a", "b"])), Some(TagValue::one("r2"))),
        5 => (Some(list(&["b", "c", "b"])), None),
        6 => (None, Some(list(&["r1", "r3"]))),
        _ => (None, None),
    };
    let mut tags = Tags::default();
    for (name, value) in [("cluster", cluster), ("rack", rack)] {
        if let Some(value) = value {
            tags.set(name, value);
        }
    }
    tags
}

fn update(sketch: &Sketch, now: i64, life: Span, two_shards: bool) -> Update {
    let Sketch { who, status, late, tags: nth, text, expires, seen: (repeats, before) } = *sketch;
    let at = millis(now - late * HALF_MINUTE);
    let by_key = who == IDENTITIES - 1;
    let host = if by_key { nth % 3 } else { who / 3 };
    let report = match status {
        5 => Report::Acknowledged,
        worse => Report::Status(Status::ALL[usize::from(worse)]),
    };
    let links =
        if text == 2 { Some(("graph".into(), "https://graphs.example/2".into())) } else { None };
    let newest = at - Span::from_millis(before * HALF_MINUTE);
    Update {
        shard: if two_shards && who % 4 == 3 { "other" } else { "default" }.into(),
        expire_after: life,
        seen: Seen { repeats, newest: (repeats > 0).then(|| (newest, newest + life)) },
        event: Event {
            source: source(who).into(),
            host: format!("h{host}").into(),
            check: format!("c{}", who % 3).into(),
            key: by_key.then(|| "job".into()),
            report,
            timestamp: at,
            description: format!("text {text}").into(),
            tags: tags(nth),
            links: links.into_iter().collect(),
            expires_at: match expires {
                1 => Some(at + Span::from_millis(HALF_MINUTE)),
                2 => Some(at + minutes(4)),
                _ => None,
            },
            id: None,
        },
    }
}
