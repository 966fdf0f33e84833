//! The laws of collect and correlate as properties, over histories that proptest draws and shrinks.
//!
//! A history is a list of small steps: each says how long after the last one it is, what happens,
//! and which faults meet it. `PROPTEST_CASES` changes how many are drawn. A failure prints the
//! least history that shows it.

use std::collections::{BTreeMap, BTreeSet};

use muster::collect::{self, SourceSettings};
use muster::correlate::Correlate;
use muster::model::alert::MoveKind;
use muster::model::command::{Audience, Mode, SnoozeEnds, Which};
use muster::model::maintenance::PlanText;
use muster::model::settings::Near;
use muster::model::topology::Builder;
use muster::model::update::refresh_every;
use muster::model::{
    Action, Alert, AlertId, Beat, Change, ChangeKind, Chronic, ChronicSettings, Command,
    CorrelateSettings, FlappingSettings, Heartbeat, Identity, IncidentId, MaintenanceId, Matchers,
    Member, Pattern, Plan, RequestId, Resolution, Span, Status, Tags, Timestamp, Topology, Watch,
};
use muster::stage::{EventOutcome, Kind, Offset, Output, Record, Slot, Stage};
use muster::testing::generate::{BEGIN, IDENTITIES, Sketch};
use muster::testing::pipeline::{Pipeline, Way};
use muster::wire;
use muster::wire::row::CorrelateRow;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// How many histories a property is tried with, where `PROPTEST_CASES` does not say.
const CASES: u32 = 256;

const BEGINNING: Timestamp = Timestamp::MIN;

/// Longer than any history.
const LONG: Span = Span::from_secs(7 * 86_400);

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { CASES };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 20_000, ..default }
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// An event; it happened `late` seconds before the step, whatever its own `second` says.
    Event(Sketch),
    /// Nothing but time.
    Tick,
    /// Other settings come into force.
    Settings(usize),
    /// Somebody asks for something: which kind, and numbers that choose to what and how.
    Command(u8, u8, u8),
    /// A heartbeat beats: which, and for which value.
    Beat(u8, u8),
    /// Collect says how it is, so many times at intervals of 20 s.
    Watch(u8, u8),
}

/// One step of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// Seconds after the step before.
    wait: i64,
    /// Seconds from the event to its arrival.
    late: i64,
    what: What,
    /// What goes wrong, or falls here: its meaning is the property's.
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Collect restarts, correlate restarts, or a commit falls here.
    Cut,
    /// Of what the batch forwards so many records reach the log; then it is read again.
    Failed(usize),
}

fn status() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0), 1 => Just(1), 1 => Just(2), 2 => Just(3), 3 => Just(4), 1 => Just(5)]
}

fn sketch(identities: u8, expires: bool) -> impl Strategy<Value = Sketch> {
    let expires = if expires { 0..6_u8 } else { 0..1 };
    (0..identities, status(), 0..6_u8, 0..4_u8, expires).prop_map(
        |(who, status, tags, text, expires)| {
            // Most events do not say when they lose their force.
            let expires = expires.saturating_sub(3);
            Sketch { who, status, second: 0, tags, text, expires }
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    let failed = (0..4_usize).prop_map(Fault::Failed);
    prop_oneof![5 => Just(Fault::None), 2 => Just(Fault::Cut), 1 => failed]
}

/// Steps of everything there is: expiry, ticks, other settings, events that come late.
fn anything() -> impl Strategy<Value = Vec<Step>> {
    let wait =
        prop_oneof![4 => Just(0), 6 => 1..90_i64, 2 => 90..1_200_i64, 1 => 1_200..10_000_i64];
    let late = prop_oneof![5 => Just(0), 2 => 1..300_i64, 1 => 300..900_i64];
    let what = prop_oneof![
        20 => sketch(IDENTITIES, true).prop_map(What::Event),
        1 => Just(What::Tick),
        1 => (0..BOOKS).prop_map(What::Settings),
        7 => (0..ASKED, any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| What::Command(a, b, c)),
        3 => (0..4_u8, 0..4_u8).prop_map(|(which, value)| What::Beat(which, value)),
        3 => (0..10_u8, 0..20_u8).prop_map(|(how, times)| What::Watch(how, times)),
    ];
    let step = (wait, late, what, fault()).prop_map(|(wait, late, what, fault)| Step {
        wait,
        late,
        what,
        fault,
    });
    prop::collection::vec(step, 1..40)
}

/// Steps in which the events of an identity arrive in time order; those of different ones do not.
fn in_order(identities: u8, expires: bool) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![6 => Just(0), 6 => 1..90_i64, 2 => 90..900_i64, 1 => 900..3_000_i64];
    let late = prop_oneof![4 => Just(0), 2 => 1..120_i64];
    let event = sketch(identities, expires).prop_map(What::Event);
    let step = (wait, late, event, fault()).prop_map(|(wait, late, what, fault)| Step {
        wait,
        late,
        what,
        fault,
    });
    prop::collection::vec(step, 1..40).prop_map(ordered)
}

/// The same of many identities, or of two that have a history.
fn many_or_few() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![in_order(IDENTITIES, false), in_order(2, false)]
}

/// Makes the events of each identity newer and newer by rule 1. At one time only a worse status is
/// newer, whatever the digests of contents are; what does not follow is moved on by a second.
fn ordered(mut steps: Vec<Step>) -> Vec<Step> {
    let mut newest: BTreeMap<u8, (i64, u8)> = BTreeMap::new();
    let mut now = 0;
    for step in &mut steps {
        now += step.wait;
        let What::Event(Sketch { who, status, .. }) = step.what else { continue };
        let mut at = now - step.late;
        if let Some(&(known, worst)) = newest.get(&who) {
            at = at.max(if status > worst { known } else { known + 1 });
        }
        // A second that is not there yet: the whole history waits for it.
        step.wait += (at - now).max(0);
        now = now.max(at);
        step.late = now - at;
        newest.insert(who, (at, status));
    }
    steps
}

fn pattern(name: &str, by: &[&str], minutes: i64) -> Pattern {
    Pattern {
        name: name.into(),
        matchers: Matchers::default(),
        by: by.iter().map(|tag| Box::from(*tag)).collect(),
        window: Span::from_secs(minutes * 60),
        gap: None,
        cross_source: true,
        max_alerts: 1_000,
        min_alerts: 1,
        chronic: Chronic::Separate,
        near: None,
    }
}

/// How many kinds of commands there are.
const ASKED: u8 = 18;

/// How many rule books there are.
const BOOKS: usize = 8;

/// Rule books: narrow ones with a gap and little room, others with little memory, none; and the
/// first again where alerts flap easily, soon calm down and are soon told again; one where they are
/// soon chronic, few are watched, and one pattern of three minds it not; one where work is planned; and
/// one where every pattern asks for several alerts before anybody is told.
fn rules(nth: usize) -> CorrelateSettings {
    let gap = Some(Span::from_secs(300));
    let (reopen_minutes, ok_memory_max, patterns) = match nth {
        0 | 3 | 5 => (
            30,
            1_000,
            vec![
                Pattern { max_alerts: 3, ..pattern("rack", &["rack", "cluster"], 10) },
                Pattern { gap, max_alerts: 3, ..pattern("cluster", &["cluster"], 60) },
                Pattern { cross_source: false, ..pattern("host", &["host"], 20) },
            ],
        ),
        1 => {
            let matchers = Matchers::parse(["status!=\"info\""]).expect("a matcher");
            let rack = Pattern { matchers, ..pattern("rack", &["rack"], 30) };
            (10, 2, vec![rack, Pattern { max_alerts: 2, ..pattern("cluster", &["cluster"], 30) }])
        }
        4 => {
            let rack = Pattern { gap, ..pattern("rack", &["rack"], 60) };
            let cluster =
                Pattern { chronic: Chronic::Join, ..pattern("cluster", &["cluster"], 30) };
            (10, 1_000, vec![rack, cluster, pattern("host", &["host"], 20)])
        }
        6 => {
            let near = Near { tag: "host".into(), hops: 1, kinds: vec!["next".into()] };
            let by_rack = Pattern { near: Some(near.clone()), ..pattern("rack", &["rack"], 20) };
            let next = Pattern { near: Some(near), gap, ..pattern("next", &[], 60) };
            (30, 1_000, vec![by_rack, Pattern { max_alerts: 4, ..next }])
        }
        7 => {
            let rack = Pattern { min_alerts: 3, ..pattern("rack", &["rack"], 10) };
            let cluster = Pattern { min_alerts: 4, gap, ..pattern("cluster", &["cluster"], 20) };
            let host = Pattern { min_alerts: 2, max_alerts: 2, ..pattern("host", &["host"], 30) };
            (30, 1_000, vec![rack, cluster, host])
        }
        _ => (30, 1_000, Vec::new()),
    };
    let reopen_window = Span::from_secs(reopen_minutes * 60);
    let minutes = |minutes: i64| Span::from_secs(minutes * 60);
    let easily = FlappingSettings {
        changes: 1,
        within: minutes(10),
        quiet_for: minutes(2),
        reminder: minutes(15),
    };
    let flapping = if nth == 3 { easily } else { FlappingSettings::default() };
    let soon = ChronicSettings { episodes: 2, days: 1, of: 1, identities_max: 4 };
    let chronic = if nth == 4 { soon } else { ChronicSettings::default() };
    CorrelateSettings {
        reopen_window,
        dismiss_for: Span::from_secs(40 * 60),
        flapping,
        chronic,
        ok_memory_max,
        patterns,
        maintenance: if nth == 5 { planned() } else { Vec::new() },
        heartbeats: beating(nth),
        topology: (nth == 6).then(chain),
    }
}

/// What must be heard of by a rule book: with others come and go, and change, heartbeats.
fn beating(nth: usize) -> Vec<Heartbeat> {
    let heartbeat = |name: &str, every: i64, each: Option<&str>| Heartbeat {
        name: name.into(),
        every: Span::from_secs(every),
        grace: Span::from_secs(5),
        matchers: Matchers::default(),
        each: each.map(Into::into),
        each_max: 2,
        schedule: None,
        status: Status::Warning,
        shard: "default".into(),
        tags: Tags::default(),
        forget_after: Span::from_secs(120),
    };
    match nth {
        0 | 3 => vec![heartbeat("one", 60, None), heartbeat("each", 30, Some("host"))],
        4 => vec![heartbeat("one", 20, None), heartbeat("each", 30, Some("rack"))],
        5 => vec![heartbeat("two", 40, None), heartbeat("each", 90, Some("host"))],
        _ => Vec::new(),
    }
}

/// Windows that begin and end within a history: by host, by what may change, and one that comes again.
fn planned() -> Vec<Plan> {
    let plan = |name: &str, text: PlanText| {
        let name = Some(name.to_owned());
        let text = PlanText { name, time_zone: Some("Asia/Kathmandu".to_owned()), ..text };
        text.read(MaintenanceId::of(text.name.as_deref().expect("a name")), "config")
            .expect("a plan")
    };
    let matching = |matchers: &str| vec![matchers.to_owned()];
    let once = |from: &str, to: &str| PlanText {
        from: Some(format!("2026-01-01T{from}Z")),
        to: Some(format!("2026-01-01T{to}Z")),
        ..PlanText::default()
    };
    vec![
        plan(
            "a",
            PlanText { matchers: matching("host=~\"host-[01]\""), ..once("00:05:00", "00:25:00") },
        ),
        plan("b", PlanText { matchers: matching("rack=r2"), ..once("00:01:00", "00:09:00") }),
        plan(
            "c",
            PlanText { matchers: matching("status!=warning"), ..once("00:20:00", "00:50:00") },
        ),
        plan(
            "d",
            PlanText {
                matchers: matching("cluster=c1"),
                every: Some("day".to_owned()),
                // 00:10 UTC.
                at: Some("05:55".to_owned()),
                lasts: Some("15m".to_owned()),
                ..PlanText::default()
            },
        ),
    ]
}

/// The first rule book, and those where alerts flap easily, where they are soon chronic, where work is
/// planned, by what is near, and where incidents are held.
fn book() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(3), Just(4), Just(5), Just(6), Just(7)]
}

/// Hosts in a row, each next to the one after it; the edges of another kind lead astray.
fn chain() -> Topology {
    let mut builder = Builder::new(100, 1_000);
    for nth in 0..IDENTITIES {
        let host = |nth: u8| format!("host-{nth}");
        let (here, there) = (host(nth), host(nth + 1));
        builder.edge(("host", &here), ("host", &there), "next").expect("within bounds");
        builder.edge(("host", &here), ("host", &host(0)), "astray").expect("within bounds");
    }
    Topology::new(builder.build().expect("a small graph"), 1_000)
}

fn sources(nagios: Span, others: Span, cache_max: usize) -> collect::Settings {
    let source =
        |name: &str, expire_after| SourceSettings { expire_after, ..SourceSettings::new(name) };
    collect::Settings {
        sources: vec![source("nagios", nagios), source("defaults", others)],
        cache_max,
        limits: collect::Limits::default(),
        ..collect::Settings::default()
    }
}

/// Sources of which one falls silent soon.
fn short_lived() -> collect::Settings {
    sources(Span::from_secs(300), Span::from_secs(7_200), 1_000)
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_millis(BEGIN + second * 1_000)
}

/// Drives the pipeline as workers do, and counts what goes in.
struct Run {
    pipeline: Pipeline,
    now: i64,
    /// How many seconds the clocks of senders are behind.
    behind: i64,
    events: u64,
    ticks: Ticks,
    /// The request ids so far.
    asked: Vec<RequestId>,
}

/// Whether a deadline gets its tick before the next record, or the next record fires its timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ticks {
    InTime,
    Behind,
}

fn ticks() -> impl Strategy<Value = Ticks> {
    prop_oneof![Just(Ticks::InTime), Just(Ticks::Behind)]
}

impl Run {
    fn new(collect: collect::Settings, correlate: CorrelateSettings, way: Way) -> Self {
        Self {
            pipeline: Pipeline::new(collect, correlate, way),
            now: 0,
            behind: 0,
            events: 0,
            ticks: Ticks::InTime,
            asked: Vec::new(),
        }
    }

    fn ticking(self, ticks: Ticks) -> Self {
        Self { ticks, ..self }
    }

    fn behind(self, behind: i64) -> Self {
        Self { behind, ..self }
    }

    /// The time by Muster's clock.
    fn arrival(&self) -> Timestamp {
        time(self.now + self.behind)
    }

    /// Time passes; each deadline on the way gets its tick.
    fn wait(&mut self, seconds: i64) {
        self.now += seconds;
        while let Some(deadline) = self.pipeline.correlate().next_deadline() {
            if deadline > self.arrival() || self.ticks == Ticks::Behind {
                break;
            }
            self.pipeline.tick(deadline);
        }
    }

    fn step(&mut self, step: &Step) {
        self.wait(step.wait);
        match step.what {
            What::Event(_) => {
                self.events += 1;
                let bytes = bytes(step, self.now);
                self.pipeline.arrive(time(self.now), Some(&bytes));
            }
            What::Tick => self.pipeline.tick(time(self.now)),
            What::Settings(nth) => self.pipeline.go_by(time(self.now), rules(nth)),
            What::Beat(which, value) => {
                let name = ["one", "two", "each", "each"][usize::from(which)];
                let value = if name == "each" { format!("v-{value}") } else { String::new() };
                let kept_back = Span::from_secs(i64::from(which));
                self.hear(&Beat::Of { name: name.into(), value: value.into(), kept_back });
            }
            What::Watch(how, times) => {
                let how = match how {
                    0 => Watch::Began,
                    1 => Watch::Behind,
                    _ => Watch::CaughtUp,
                };
                for _ in 0..times {
                    self.wait(20);
                    self.hear(&Beat::Watch(how));
                }
            }
            What::Command(kind, which, how) => {
                if let Some(command) = self.command(kind, which, how) {
                    self.asked.push(command.request.clone());
                    let bytes = wire::command::encode(&command);
                    self.pipeline.append(time(self.now), Kind::Command, bytes);
                }
            }
        }
    }

    fn hear(&mut self, beat: &Beat) {
        let bytes = wire::heartbeat::encode(beat);
        self.pipeline.append(time(self.now), Kind::Heartbeat, bytes);
    }

    /// A command about an incident that is known, or a request id that was used.
    fn command(&self, kind: u8, which: u8, how: u8) -> Option<Command> {
        let incidents = self.pipeline.correlate().incidents();
        let incident = incidents.get(usize::from(which) % incidents.len().max(1))?.id;
        let used = self.asked.get(usize::from(which) % self.asked.len().max(1));
        let open = incidents.iter().filter(|incident| incident.is_open()).count() as u64;
        let until = time(self.now + i64::from(how) * 20);
        let bit = |nth: u8| how >> nth & 1 == 1;
        let action = match kind {
            0 => Action::Acknowledge { incident, until: bit(0).then_some(until) },
            1 => Action::Unacknowledge { incident },
            2 => Action::Assign { incident, to: bit(0).then(|| "bob".into()) },
            3 => {
                let ends_on = SnoozeEnds { new_alert: bit(0), worse: bit(1), reopened: bit(2) };
                Action::Snooze { incident, until, ends_on }
            }
            4 => Action::Unsnooze { incident },
            5 | 6 => Action::Resolve(Which::Incidents(vec![incident])),
            7 => Action::Comment { incident, text: "so".into(), audience: Audience::Public },
            8 => {
                let all = Matchers::parse(["status=~\".*\""]).expect("a matcher");
                Action::Resolve(Which::Matching(all))
            }
            9..=11 => Action::Undo { request: used?.clone() },
            12 | 13 => {
                let from = |nth: usize| incidents.get((usize::from(how) + nth) % incidents.len());
                let from = (0..1 + usize::from(bit(7))).filter_map(from).map(|one| one.id);
                Action::Merge { into: incident, from: from.collect() }
            }
            14 | 15 => {
                let all = &incidents[usize::from(which) % incidents.len()].alerts;
                let some = all.iter().enumerate().filter(|(nth, _)| how >> (nth % 8) & 1 == 1);
                let alerts: Vec<AlertId> = some.map(|(_, alert)| alert.id).collect();
                if alerts.is_empty() {
                    return None;
                }
                Action::Split { incident, alerts }
            }
            16 => Action::SplitAll { incident },
            _ => {
                let mode = if bit(0) { Mode::Apply } else { Mode::DryRun };
                let new = RequestId::parse(&format!("r{}", self.asked.len())).expect("an id");
                let action = Action::Recorrelate { shard: None, mode };
                let confirm = Some(u64::from(which % 4));
                return Some(Command { request: new, actor: "ann".into(), confirm, action });
            }
        };
        let counted = kind >= 9;
        let confirm = (bit(3) && !counted).then_some(open);
        let new = RequestId::parse(&format!("r{}", self.asked.len())).expect("an id");
        let request = used.filter(|_| bit(6) && bit(7)).cloned().unwrap_or(new);
        Some(Command { request, actor: "ann".into(), confirm, action })
    }

    /// Until what waits for its minute was told.
    fn settle(&mut self) {
        self.wait(120);
        self.pipeline.tick(time(self.now));
        self.wait(120);
        self.pipeline.tick(time(self.now));
    }

    /// In = forwarded + repeats + late + rejected, and nothing was unreadable.
    fn conserved(&self) -> TestCaseResult {
        prop_assert_eq!(self.pipeline.counted(), self.events);
        let kinds = [EventOutcome::Forwarded, EventOutcome::Repeat, EventOutcome::Late];
        let sum: u64 = kinds.into_iter().map(|kind| self.pipeline.count(kind)).sum();
        prop_assert_eq!(sum, self.events, "something was rejected");
        prop_assert!(self.pipeline.dead().is_empty());
        let updates = self.pipeline.log().iter().filter(|logged| logged.kind == Kind::Update);
        prop_assert!(updates.count() as u64 <= self.pipeline.count(EventOutcome::Forwarded));
        Ok(())
    }

    fn changes(&self) -> Vec<Change> {
        decoded(self.pipeline.changes())
    }

    fn alerts(&self) -> Vec<Alert> {
        self.pipeline.correlate().alerts().cloned().collect()
    }
}

fn bytes(step: &Step, now: i64) -> Vec<u8> {
    let What::Event(sketch) = step.what else { return Vec::new() };
    Sketch { second: now - step.late, ..sketch }.bytes()
}

fn decoded(changes: &[Vec<u8>]) -> Vec<Change> {
    changes.iter().map(|bytes| wire::change::decode(bytes).expect("a change")).collect()
}

fn run(steps: &[Step], collect: collect::Settings, nth: usize, way: Way) -> Run {
    let mut run = Run::new(collect, rules(nth), way);
    steps.iter().for_each(|step| run.step(step));
    run
}

// Collect's law.

/// Without what a lost cache may change: repeat counts and what is volatile. What was turned down
/// is left out, too: an `ok` that is forwarded once more keeps its resolved incident in memory for
/// longer, where an explanation may still name it.
fn lasting(mut changes: Vec<Change>) -> Vec<Change> {
    for change in &mut changes {
        change.counts.events = 0;
        for member in &mut change.alerts {
            member.description = Box::default();
            member.links.clear();
            member.why.turned_down.clear();
            member.why.more = 0;
        }
    }
    changes
}

/// The same of alerts; last-seen times besides.
fn lasting_alerts(mut alerts: Vec<Alert>) -> Vec<Alert> {
    for alert in &mut alerts {
        alert.description = Box::default();
        alert.links.clear();
        alert.why.turned_down.clear();
        alert.why.more = 0;
        alert.events = 0;
        alert.newest = Timestamp::MIN;
        alert.alive_until = Timestamp::MIN;
        alert.appended_at = Timestamp::MIN;
        alert.restated_at = None;
    }
    alerts
}

/// The events of one moment are one batch of collect's input.
fn batches(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut batches: Vec<Vec<Step>> = Vec::new();
    for step in steps {
        match batches.last_mut() {
            Some(batch) if step.wait == 0 => batch.push(*step),
            _ => batches.push(vec![*step]),
        }
    }
    batches
}

/// Runs with restarts of collect and failed forwards.
fn faulty(steps: &[Step], collect: collect::Settings, nth: usize, way: Way) -> Run {
    through(Run::new(collect, rules(nth), way), steps)
}

/// Takes a run through steps and their faults.
fn through(mut run: Run, steps: &[Step]) -> Run {
    for batch in batches(steps) {
        run.wait(batch[0].wait);
        for fault in batch.iter().map(|step| step.fault) {
            if let Fault::Failed(reached) = fault {
                let values: Vec<_> = batch.iter().map(|step| bytes(step, run.now)).collect();
                run.events += values.len() as u64;
                run.pipeline.arrive_in_vain(time(run.now), &values, reached);
            }
        }
        for step in batch {
            run.step(&Step { wait: 0, ..step });
            if step.fault == Fault::Cut {
                run.pipeline.forget_collected();
            }
        }
    }
    run
}

/// Compares what was told, and what is left once the resolved is forgotten.
fn same_incidents(mut one: Run, mut other: Run) -> TestCaseResult {
    one.conserved()?;
    other.conserved()?;
    one.wait(7_200);
    one.pipeline.tick(time(one.now));
    other.wait(7_200);
    other.pipeline.tick(time(other.now));
    prop_assert_eq!(lasting(one.changes()), lasting(other.changes()));
    prop_assert_eq!(lasting_alerts(one.alerts()), lasting_alerts(other.alerts()));
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_lost_cache_changes_no_incident(
        steps in many_or_few(),
        sent_on in any::<bool>(),
        nth in book(),
    ) {
        let way = if sent_on { Way::SentOn } else { Way::Straight };
        let calm = run(&steps, sources(LONG, LONG, 1_000), nth, Way::Straight);
        same_incidents(calm, faulty(&steps, sources(LONG, LONG, 1_000), nth, way))?;
    }

    #[test]
    fn a_small_cache_changes_no_incident(
        steps in many_or_few(),
        cache_max in 1..5_usize,
        losses in any::<bool>(),
        nth in book(),
    ) {
        let small = sources(LONG, LONG, cache_max);
        let other = if losses {
            faulty(&steps, small, nth, Way::Straight)
        } else {
            run(&steps, small, nth, Way::SentOn)
        };
        let calm = run(&steps, sources(LONG, LONG, 1_000), nth, Way::Straight);
        same_incidents(calm, other)?;
    }

    #[test]
    fn an_evicted_identity_is_told_first(
        steps in many_or_few(),
        cache_max in 1..5_usize,
        nth in book(),
    ) {
        // Not even last-seen times are lost, once strangers have taken every place.
        let mut small = run(&steps, sources(LONG, LONG, cache_max), nth, Way::Straight);
        for stranger in 0..12 {
            let ok = Sketch { who: 0, status: 0, second: small.now, tags: 0, text: 0, expires: 0 };
            let mut event = ok.json();
            event["host"] = format!("stranger-{stranger}").into();
            small.events += 1;
            small.pipeline.arrive(time(small.now), Some(event.to_string().as_bytes()));
        }
        small.conserved()?;
        let always: Vec<Step> =
            steps.iter().map(|step| Step { fault: Fault::Cut, ..*step }).collect();
        let told = faulty(&always, sources(LONG, LONG, 1_000), nth, Way::Straight);
        prop_assert_eq!(last_seen(&small), last_seen(&told));
    }

    #[test]
    fn both_ways_agree(steps in anything(), nth in book()) {
        let (straight, sent_on) = (
            run(&steps, short_lived(), nth, Way::Straight),
            run(&steps, short_lived(), nth, Way::SentOn),
        );
        straight.conserved()?;
        sent_on.conserved()?;
        prop_assert_eq!(straight.pipeline.log(), sent_on.pipeline.log());
        prop_assert_eq!(straight.changes(), sent_on.changes());
    }

    #[test]
    fn a_lost_cache_moves_an_expiry_by_one_refresh_at_most(
        steps in in_order(3, true),
        small in any::<bool>(),
    ) {
        // Without patterns, so that an alert that is over a little sooner moves nobody else; without
        // flapping, since one that is over ends that too, and one that is not yet goes on to flap.
        let flapping = FlappingSettings { changes: 0, ..FlappingSettings::default() };
        let rules = || CorrelateSettings { flapping, ..rules(2) };
        let collect = |cache_max| sources(Span::from_secs(300), Span::from_secs(900), cache_max);
        let calm = Run::new(collect(1_000), rules(), Way::Straight);
        let other = Run::new(collect(if small { 2 } else { 1_000 }), rules(), Way::Straight);
        let calm_steps: Vec<Step> =
            steps.iter().map(|step| Step { fault: Fault::None, ..*step }).collect();
        let calm = firing_times(&through(calm, &calm_steps))?;
        let other = firing_times(&through(other, &steps))?;
        let none = Vec::new();
        for place in calm.keys().chain(other.keys()) {
            let (calm, other) =
                (calm.get(place).unwrap_or(&none), other.get(place).unwrap_or(&none));
            let lives = if &*place.0 == "nagios" { [300, 600] } else { [900, 600] };
            let refresh = lives.map(|life| refresh_every(Span::from_secs(life)).as_millis());
            let longest = refresh[0].max(refresh[1]);
            for (one, two) in [(calm, other), (other, calm)] {
                for (from, to) in without(one, two) {
                    prop_assert!(to - from <= longest, "{}-{}: {:?} and {:?}", from, to, one, two);
                }
            }
        }
    }
}

/// The time of the newest event of each identity that has a problem. What is resolved is kept for
/// longer where an `ok` is forwarded once more, and what flaps and said `ok` was seen later then.
fn last_seen(run: &Run) -> BTreeMap<Identity, Timestamp> {
    problems(run).map(|alert| (alert.identity.clone(), alert.newest)).collect()
}

type Place = (Box<str>, Box<str>, Box<str>);
type Times = Vec<(i64, i64)>;

/// From when to when something fired, by event time, as the changes tell it; what fires still does
/// so until it would expire.
fn firing_times(run: &Run) -> Result<BTreeMap<Place, Times>, TestCaseError> {
    run.conserved()?;
    let mut since: BTreeMap<AlertId, i64> = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut times: BTreeMap<Place, Times> = BTreeMap::new();
    let changes = run.changes();
    for member in changes.iter().flat_map(|change| &change.alerts) {
        let place = (member.source.clone(), member.host.clone(), member.check.clone());
        let begins = if known.insert(member.id) { member.started_at } else { member.changed_at };
        if member.firing {
            since.entry(member.id).or_insert(begins.as_millis());
        } else if let Some(from) = since.remove(&member.id) {
            times.entry(place).or_default().push((from, member.changed_at.as_millis()));
        }
    }
    for alert in run.pipeline.correlate().alerts() {
        let place = (alert.identity.source().into(), alert.host.clone(), alert.check.clone());
        if let Some(from) = since.remove(&alert.id) {
            times.entry(place).or_default().push((from, alert.alive_until.as_millis()));
        }
    }
    prop_assert!(since.is_empty(), "told as firing, but forgotten: {:?}", since);
    Ok(times)
}

/// The parts of some times that are in none of others.
fn without(times: &Times, others: &Times) -> Times {
    let mut left = times.clone();
    for (from, to) in others {
        let cut = |(a, b): (i64, i64)| [(a, b.min(*from)), (a.max(*to), b)];
        left = left.into_iter().flat_map(cut).filter(|(a, b)| a < b).collect();
    }
    left
}

// Any arrival order.

// Which statuses changed from one newest event to the next depends on what arrived before it was
// late, and so does which alerts flap, how bad they look and which incidents are open. What an
// identity said last, and with what content, does not.

/// What the problem of an identity is: what it said, host, check, tags.
type Firing = BTreeMap<Identity, (Status, Box<str>, Box<str>, Tags)>;

fn firing(run: &Run) -> Firing {
    problems(run)
        .map(|alert| {
            let said = alert.said();
            let Alert { identity, host, check, tags, .. } = alert.clone();
            (identity, (said, host, check, tags))
        })
        .collect()
}

/// Alerts that fire, but for those that only flap and said `ok`.
fn problems(run: &Run) -> impl Iterator<Item = &Alert> {
    let firing = run.pipeline.correlate().alerts().filter(|alert| alert.is_firing());
    firing.filter(|alert| alert.said() > Status::Ok)
}

/// What is volatile besides: text and links.
fn texts(run: &Run) -> BTreeSet<(Identity, Box<str>, usize)> {
    let text =
        |alert: &Alert| (alert.identity.clone(), alert.description.clone(), alert.links.len());
    problems(run).map(text).collect()
}

/// Which statuses rule 1 says fire, by host and check of the sketch.
fn expected(sketches: &[(Sketch, u32)]) -> BTreeMap<u8, u8> {
    let mut newest: BTreeMap<u8, (i64, u8)> = BTreeMap::new();
    for (sketch, _) in sketches.iter().filter(|(sketch, _)| sketch.status < 5) {
        let new = (sketch.second, sketch.status);
        let known = newest.entry(sketch.who).or_insert(new);
        *known = new.max(*known);
    }
    newest.into_iter().map(|(who, (_, status))| (who, status)).filter(|(_, s)| *s > 0).collect()
}

/// Events within a quarter of an hour, and a number that draws an order. Half of the crowds speak
/// of two identities and three moments only, so that they meet themselves again and again.
fn crowd() -> impl Strategy<Value = Vec<(Sketch, u32)>> {
    let event = (sketch(IDENTITIES, false), 0..900_i64, any::<u32>())
        .prop_map(|(sketch, second, order)| (Sketch { second, ..sketch }, order));
    let dense = |(sketch, order): (Sketch, u32)| {
        let status = if sketch.status < 3 { sketch.status } else { 4 };
        let (who, second) = (sketch.who % 2, sketch.second % 3);
        (Sketch { who, status, second, tags: sketch.tags % 3, ..sketch }, order)
    };
    let wide = prop::collection::vec(event, 1..24);
    (wide, any::<bool>()).prop_map(move |(events, close)| {
        if close { events.into_iter().map(dense).collect() } else { events }
    })
}

/// The events arrive one after another, once all of them have happened.
fn arrive(run: &mut Run, sketches: &[(Sketch, u32)], lost: impl Fn(u32) -> bool) {
    for (sketch, order) in sketches {
        run.wait(5);
        run.events += 1;
        run.pipeline.arrive(run.arrival(), Some(&sketch.bytes()));
        if lost(*order) {
            run.pipeline.forget_collected();
        }
    }
}

fn later(rules: CorrelateSettings) -> Run {
    let mut run = Run::new(sources(LONG, LONG, 1_000), rules, Way::Straight);
    run.wait(900);
    run
}

fn shuffled(sketches: &[(Sketch, u32)]) -> Vec<(Sketch, u32)> {
    let mut shuffled = sketches.to_vec();
    shuffled.sort_by_key(|(_, order)| *order);
    shuffled
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_arrival_order_gives_the_same_alerts(sketches in crowd(), nth in 0..BOOKS) {
        let book = CorrelateSettings { ok_memory_max: 1_000, ..rules(nth) };
        let [mut one, mut two] = [later(book.clone()), later(book)];
        // Collect knows nothing, so that correlate gets every event.
        arrive(&mut one, &sketches, |_| true);
        arrive(&mut two, &shuffled(&sketches), |_| true);
        one.conserved()?;
        prop_assert_eq!(one.pipeline.count(EventOutcome::Forwarded), one.events);
        prop_assert_eq!(firing(&one), firing(&two));
        prop_assert_eq!(texts(&one), texts(&two));
        let statuses = |run: &Run| -> BTreeMap<Identity, Status> {
            firing(run).into_iter().map(|(identity, (status, ..))| (identity, status)).collect()
        };
        let all = [Status::Ok, Status::Info, Status::Unknown, Status::Warning, Status::Critical];
        let wanted = expected(&sketches).into_iter().map(|(who, status)| {
            (identity(who), all[usize::from(status)])
        });
        prop_assert_eq!(statuses(&one), wanted.collect());
    }

    #[test]
    fn any_arrival_order_gives_the_same_alerts_through_collect(
        sketches in crowd(),
        nth in 0..BOOKS,
    ) {
        let book = CorrelateSettings { ok_memory_max: 1_000, ..rules(nth) };
        let [mut direct, mut one] = [later(book.clone()), later(book.clone())];
        let mut two = later(book);
        arrive(&mut direct, &sketches, |_| true);
        arrive(&mut one, &sketches, |_| false);
        arrive(&mut two, &shuffled(&sketches), |_| false);
        one.conserved()?;
        two.conserved()?;
        prop_assert_eq!(firing(&direct), firing(&one));
        prop_assert_eq!(firing(&direct), firing(&two));
    }

    #[test]
    fn a_late_event_that_meets_a_lost_cache_is_put_right(
        sketches in crowd(),
        nth in 0..BOOKS,
        all_over in any::<bool>(),
        behind in prop_oneof![Just(0), Just(86_400)],
    ) {
        let book = CorrelateSettings { ok_memory_max: 1_000, ..rules(nth) };
        let [mut calm, mut lossy] = [later(book.clone()), later(book)].map(|run| run.behind(behind));
        arrive(&mut calm, &sketches, |_| false);
        arrive(&mut lossy, &shuffled(&sketches), |order| order % 3 == 0);
        // Whoever was heard of goes on to say what holds, or that it is over, for longer than a
        // refresh and than times may lie ahead.
        let wanted = expected(&sketches);
        let heard: BTreeSet<u8> = sketches.iter().map(|(sketch, _)| sketch.who).collect();
        for _ in 0..12 {
            for run in [&mut calm, &mut lossy] {
                run.wait(60);
                for who in &heard {
                    let status = wanted.get(who).copied().filter(|_| !all_over).unwrap_or(0);
                    let second = run.now;
                    let sketch = Sketch { who: *who, status, second, tags: 0, text: 0, expires: 0 };
                    run.events += 1;
                    run.pipeline.arrive(run.arrival(), Some(&sketch.bytes()));
                }
            }
        }
        lossy.conserved()?;
        prop_assert_eq!(firing(&calm), firing(&lossy));
    }
}

fn identity(who: u8) -> Identity {
    let sketch = Sketch { who, status: 0, second: 0, tags: 0, text: 0, expires: 0 };
    let event = sketch.json();
    Identity::new(
        event["source"].as_str().expect("a source"),
        event["host"].as_str(),
        event["check"].as_str(),
        event["key"].as_str(),
    )
}

// Restore, and the same log.

/// The rows, but for how many commits there were.
fn rows(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = rows.clone();
    let mark = rows.get(wire::row::MARK_KEY).expect("every commit writes the mark");
    let mark = wire::row::decode(wire::row::MARK_KEY, mark).expect("a mark");
    let CorrelateRow::Mark(mark) = mark else { panic!("the mark's row is a mark") };
    let mark = wire::row::encode_mark(wire::row::Mark { commits: 0, ..mark });
    rows.insert(wire::row::MARK_KEY.to_vec(), mark);
    rows
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn restored_rows_are_the_state(steps in anything(), ticks in ticks(), nth in book()) {
        let new = || Run::new(short_lived(), rules(nth), Way::Straight).ticking(ticks);
        let (mut calm, mut restarted) = (new(), new());
        steps.iter().for_each(|step| calm.step(step));
        for step in &steps {
            restarted.step(step);
            if step.fault == Fault::Cut {
                restarted.pipeline.restart_correlate().expect("rows can be restored");
            }
        }
        for run in [&mut calm, &mut restarted] {
            run.settle();
            run.pipeline.commit();
            run.conserved()?;
        }
        // The ticks are in the log: deadlines are restored, too.
        prop_assert_eq!(calm.pipeline.log(), restarted.pipeline.log());
        prop_assert_eq!(calm.changes(), restarted.changes());
        prop_assert_eq!(calm.pipeline.changes(), restarted.pipeline.changes());
        prop_assert_eq!(calm.pipeline.results(), restarted.pipeline.results());
        prop_assert_eq!(calm.pipeline.pulses(), restarted.pipeline.pulses());
        prop_assert_eq!(calm.alerts(), restarted.alerts());
        let (calm, restarted) = (&calm.pipeline, &restarted.pipeline);
        prop_assert_eq!(calm.correlate().incidents(), restarted.correlate().incidents());
        prop_assert_eq!(calm.late(), restarted.late());
        prop_assert!(rows(calm.rows()) == rows(restarted.rows()), "other rows");
    }

    #[test]
    fn the_same_log_is_the_same_bytes(
        steps in anything(),
        ticks in ticks(),
        commits in any::<u64>(),
        nth in book(),
    ) {
        let mut first = Run::new(short_lived(), rules(nth), Way::Straight).ticking(ticks);
        steps.iter().for_each(|step| first.step(step));
        first.pipeline.commit();
        let mut again = Correlate::new(&rules(2));
        let (mut changes, mut results, mut pulses) = (Vec::new(), Vec::new(), Vec::new());
        let mut compacted = BTreeMap::new();
        let mut seal = |stage: &mut Correlate| {
            let mut out = Output::default();
            stage.seal(&mut out);
            for row in out.rows {
                match row.value {
                    Some(value) => compacted.insert(row.key, value),
                    None => compacted.remove(&row.key),
                };
            }
        };
        for (offset, logged) in (0_u32..).zip(first.pipeline.log()) {
            let mut out = Output::default();
            let value = Some(logged.value.as_slice());
            let at = Offset(i64::from(offset));
            let record =
                Record { offset: at, time: logged.time, kind: logged.kind, key: None, value, headers: None };
            again.apply(Slot::default(), &record, &mut out);
            let (told, answers): (Vec<_>, Vec<_>) =
                out.records.into_iter().partition(|record| record.kind == Kind::Change);
            let (answers, heard): (Vec<_>, Vec<_>) =
                answers.into_iter().partition(|record| record.kind == Kind::CommandResult);
            pulses.extend(heard.into_iter().map(|record| record.value));
            let told: Vec<Vec<u8>> = told.into_iter().map(|record| record.value).collect();
            let commands = usize::from(logged.kind == Kind::Command);
            prop_assert_eq!(answers.len(), commands, "an answer to each command");
            results.extend(answers.into_iter().map(|record| record.value));
            let ids: BTreeSet<IncidentId> = decoded(&told).iter().map(|change| change.id).collect();
            prop_assert_eq!(ids.len(), told.len(), "two changes of one incident in one record");
            changes.extend(told);
            if commits.rotate_left(offset) & 1 == 1 {
                seal(&mut again);
            }
        }
        seal(&mut again);
        prop_assert_eq!(first.changes(), decoded(&changes));
        prop_assert_eq!(first.pipeline.changes(), changes);
        let answered = first.pipeline.results().iter().map(|(_, result)| result);
        prop_assert!(answered.eq(&results), "other answers");
        prop_assert_eq!(first.pipeline.pulses(), pulses);
        prop_assert!(rows(first.pipeline.rows()) == rows(&compacted), "other rows");
    }

    #[test]
    fn every_alert_is_in_one_incident_and_counted_there(
        steps in anything(),
        ticks in ticks(),
        nth in book(),
    ) {
        let mut run = Run::new(short_lived(), rules(nth), Way::Straight).ticking(ticks);
        for step in &steps {
            run.step(step);
            fits(&run)?;
        }
    }

    #[test]
    fn an_undone_merge_or_split_leaves_everything_as_it_was(
        steps in anything(),
        kind in 12..17_u8,
        (which, how) in any::<(u8, u8)>(),
        nth in book(),
    ) {
        let mut run = run(&steps, short_lived(), nth, Way::Straight);
        run.settle();
        // Links to what was opened for a while stay in the timeline, and how bad it ever was; a
        // snooze that ends when it is worse has ended. When and how one ended that was open for a
        // while is what its alerts say.
        let state = |run: &Run, known: &BTreeSet<IncidentId>| {
            let incidents = run.pipeline.correlate().incidents().into_iter();
            let quiet = |incident: Change| Change {
                revision: 0,
                changed_at: BEGINNING,
                severity: Status::Ok,
                resolved: incident.resolved.map(|_| (BEGINNING, Resolution::AllOk)),
                snoozed: None,
                // What was told once, as a part of another, stays so.
                hold: None,
                ..incident
            };
            let incidents = incidents.filter(|incident| known.contains(&incident.id)).map(quiet);
            (run.alerts(), incidents.collect::<Vec<_>>())
        };
        let all = run.pipeline.correlate().incidents();
        let known: BTreeSet<IncidentId> = all.iter().map(|incident| incident.id).collect();
        let before = state(&run, &known);
        let Some(command) = run.command(kind, which, how) else { return Ok(()) };
        let request = |text: &str| RequestId::parse(text).expect("an id");
        let undo = Action::Undo { request: request("law-1") };
        for (name, action) in [("law-1", command.action), ("law-2", undo)] {
            let command =
                Command { request: request(name), actor: "ann".into(), confirm: None, action };
            let bytes = wire::command::encode(&command);
            run.pipeline.append(time(run.now), Kind::Command, bytes);
            fits(&run)?;
            run.pipeline.restart_correlate().expect("rows that read back");
        }
        prop_assert_eq!(state(&run, &known), before);
    }

    #[test]
    fn an_undone_resolve_leaves_everything_as_it_was(
        steps in anything(),
        which in any::<usize>(),
        nth in book(),
    ) {
        let mut run = run(&steps, short_lived(), nth, Way::Straight);
        // Whatever is due by now happens before, not in between.
        run.settle();
        let state = |run: &Run| {
            let incidents = run.pipeline.correlate().incidents().into_iter();
            let quiet = |incident: Change| Change { revision: 0, changed_at: BEGINNING, ..incident };
            (run.alerts(), incidents.map(quiet).collect::<Vec<_>>())
        };
        let before = state(&run);
        let open: Vec<IncidentId> =
            before.1.iter().filter(|incident| incident.is_open()).map(|one| one.id).collect();
        let Some(id) = open.get(which % open.len().max(1)).copied() else { return Ok(()) };
        let request = |text: &str| RequestId::parse(text).expect("an id");
        for (name, action) in [
            ("law-1", Action::Resolve(Which::Incidents(vec![id]))),
            ("law-2", Action::Undo { request: request("law-1") }),
        ] {
            let command =
                Command { request: request(name), actor: "ann".into(), confirm: None, action };
            let bytes = wire::command::encode(&command);
            run.pipeline.append(time(run.now), Kind::Command, bytes);
            run.pipeline.restart_correlate().expect("rows that read back");
        }
        prop_assert_eq!(state(&run), before);
    }

    #[test]
    fn changes_tell_what_is(steps in anything(), ticks in ticks(), nth in book()) {
        let mut run = Run::new(short_lived(), rules(nth), Way::Straight).ticking(ticks);
        steps.iter().for_each(|step| run.step(step));
        run.settle();
        run.conserved()?;
        let mut reader = Reader::default();
        for change in run.changes() {
            reader.hear(change)?;
        }
        reader.knows(&run)?;
    }
}

/// Every alert is in exactly one incident, every one that fires in one that is open, and what is
/// counted of an incident is what its alerts are.
fn fits(run: &Run) -> TestCaseResult {
    let mut placed = BTreeSet::new();
    for incident in run.pipeline.correlate().incidents() {
        let counts = incident.counts;
        let firing = incident.alerts.iter().filter(|alert| alert.firing);
        prop_assert_eq!(counts.total as usize, incident.alerts.len(), "{:?}", &incident);
        prop_assert_eq!(counts.firing as usize, firing.clone().count(), "{:?}", &incident);
        prop_assert_eq!(incident.is_open(), counts.firing > 0, "{:?}", &incident);
        let counted = firing.filter(|alert| alert.maintenance.is_none());
        let worst = counted.map(|alert| alert.status).max().unwrap_or_default();
        prop_assert_eq!(incident.status, worst, "{:?}", &incident);
        let asks = incident.hold.iter().flat_map(|hold| &hold.asks);
        let enough = asks.filter(|ask| ask.min_alerts <= counts.total).count();
        prop_assert_eq!(enough, 0, "held, and has enough: {:?}", &incident);
        for alert in &incident.alerts {
            prop_assert!(placed.insert(alert.id), "{} is in two incidents", alert.id);
        }
    }
    let all: BTreeSet<AlertId> = run.pipeline.correlate().alerts().map(|alert| alert.id).collect();
    prop_assert_eq!(placed, all);
    Ok(())
}

/// How often the end of a wait put an alert elsewhere; from there it may have followed what was merged.
fn lapses(member: &Member) -> usize {
    member.why.moves.iter().filter(|moved| moved.kind == MoveKind::Lapsed).count()
}

/// Reads changes as a receiver does and holds each against what it knows.
#[derive(Default)]
struct Reader {
    last: BTreeMap<IncidentId, Change>,
    members: BTreeMap<AlertId, Member>,
    /// Tags, host, check and source of alerts as they joined, by incident.
    joined: BTreeMap<IncidentId, Vec<Member>>,
    /// The same of each alert, wherever it is.
    first: BTreeMap<AlertId, Member>,
    seen: BTreeSet<AlertId>,
    /// Incidents of which pairs dropped.
    lapsed: BTreeSet<IncidentId>,
    /// Alerts that were put elsewhere at the end of a wait and changed in the same record: what they
    /// shared by then was not told.
    unsure: BTreeSet<AlertId>,
}

impl Reader {
    /// Whether the end of a wait put an alert elsewhere since it was last told.
    fn put_elsewhere(&self, member: &Member) -> bool {
        lapses(member) > self.members.get(&member.id).map_or(0, lapses)
    }

    fn hear(&mut self, change: Change) -> TestCaseResult {
        let before = self.last.get(&change.id);
        let known = before.map_or((0, Status::Ok), |last| (last.revision, last.severity));
        prop_assert_eq!(change.revision, known.0 + 1, "{:?}", change);
        prop_assert!(change.severity >= known.1.max(change.status), "{:?}", change);
        let opened = change.kinds.first() == Some(&ChangeKind::Opened);
        prop_assert_eq!(before.is_none(), opened, "{:?}", change);
        let split = change.kinds.contains(&ChangeKind::Split)
            || change.kinds.contains(&ChangeKind::Recorrelated);
        // What it got from one of which nobody was told may flap, or be over in the same record.
        let given = change.kinds.contains(&ChangeKind::Lapsed)
            || change.alerts.iter().any(|alert| self.put_elsewhere(alert));
        prop_assert!(!opened || split || given || change.kinds.len() == 1, "{:?}", change);
        prop_assert_eq!(change.is_open(), change.counts.firing > 0, "{:?}", change);
        // Open and ok is only what is all in maintenance.
        prop_assert_eq!(
            change.is_open(),
            change.status > Status::Ok || change.maintenance,
            "{:?}",
            change
        );
        prop_assert!(!change.maintenance || change.status == Status::Ok, "{:?}", change);
        let planned = before.is_some_and(|last| last.maintenance);
        let begins = before.is_some() && change.maintenance && !planned;
        prop_assert_eq!(
            change.kinds.contains(&ChangeKind::MaintenanceBegan),
            begins,
            "{:?}",
            change
        );
        let left = planned && change.is_open() && !change.maintenance;
        prop_assert_eq!(change.kinds.contains(&ChangeKind::MaintenanceLeft), left, "{:?}", change);
        let was_open = before.is_some_and(Change::is_open);
        let is = |kind| change.kinds.contains(&kind);
        let ends = (was_open || opened) && !change.is_open();
        prop_assert_eq!(is(ChangeKind::Resolved), ends, "{:?}", change);
        let reopened = before.is_some() && !was_open && change.is_open();
        prop_assert_eq!(is(ChangeKind::Reopened), reopened, "{:?}", change);
        let flapped = before.is_some_and(|last| last.flapping);
        let begins = change.flapping && !flapped;
        prop_assert!(is(ChangeKind::Flapping) || !begins, "{:?}", change);
        prop_assert!(change.flapping || !is(ChangeKind::Flapping), "{:?}", change);
        prop_assert_eq!(is(ChangeKind::Calmed), flapped && !change.flapping, "{:?}", change);
        prop_assert!(change.is_open() || !change.flapping, "{:?}", change);
        prop_assert!(!change.kinds.is_empty(), "{:?}", change);
        let moves =
            [ChangeKind::Merged, ChangeKind::Split, ChangeKind::Undone, ChangeKind::Recorrelated];
        let moved = moves.into_iter().any(is);
        let lapsed = is(ChangeKind::Lapsed);
        prop_assert!(change.left.is_empty() || moved || lapsed, "{:?}", change);
        let held = before.is_none_or(Change::is_held);
        prop_assert!(held || !change.is_held(), "told and held again: {:?}", change);
        let released = before.is_some() && held && !change.is_held();
        prop_assert_eq!(is(ChangeKind::Released), released, "{:?}", change);
        if lapsed {
            self.lapsed.insert(change.id);
        }
        let elsewhere = change.alerts.iter().filter(|member| self.put_elsewhere(member));
        let elsewhere: BTreeSet<AlertId> = elsewhere.map(|member| member.id).collect();
        let joined = self.joined.entry(change.id).or_default();
        joined.retain(|member| !change.left.contains(&member.id));
        for id in &change.joined {
            let member = change.alerts.iter().find(|member| member.id == *id);
            let by_itself = elsewhere.contains(id);
            prop_assert!(self.seen.insert(*id) || moved || by_itself, "{} joined twice", id);
            joined.retain(|known| known.id != *id);
            // What goes back is what it was when it joined there.
            let member = member.map(|member| match self.first.get(id) {
                Some(first) if is(ChangeKind::Undone) => {
                    Member { why: member.why.clone(), ..first.clone() }
                }
                _ => member.clone(),
            });
            if !moved {
                self.first.extend(member.clone().map(|member| (*id, member)));
            }
            joined.extend(member);
        }
        for member in &change.alerts {
            let put = lapsed || elsewhere.contains(&member.id);
            let known = self.members.get(&member.id);
            let content =
                |member: &Member| (member.host.clone(), member.check.clone(), member.tags.clone());
            if put && known.is_some_and(|known| content(known) != content(member)) {
                self.unsure.insert(member.id);
            }
        }
        if lapsed {
            // Those that were put here anew share what they share by then.
            for member in &change.alerts {
                for known in joined.iter_mut().filter(|known| known.id == member.id) {
                    *known = member.clone();
                }
                self.first.insert(member.id, member.clone());
            }
        }
        if is(ChangeKind::Recorrelated) {
            // What they share is asked anew.
            joined.clear();
            joined.extend(change.alerts.iter().cloned());
            self.first.extend(change.alerts.iter().map(|member| (member.id, member.clone())));
        }
        prop_assert_eq!(joined.len(), change.counts.total as usize, "{:?}", change);
        // What commands moved there says by whom; the others share what the incident names.
        let by_hand = |member: &&Member| {
            let last = member.why.moves.last();
            let by_pattern = [MoveKind::Recorrelated, MoveKind::Lapsed];
            last.is_some_and(|moved| !by_pattern.contains(&moved.kind))
        };
        let own: Vec<&Member> = joined.iter().filter(|member| !by_hand(member)).collect();
        let own: Vec<&Member> =
            own.into_iter().filter(|member| !self.unsure.contains(&member.id)).collect();
        // Of what was waited for in vain nothing is left that they share.
        if own.len() > 1 && !self.lapsed.contains(&change.id) {
            prop_assert!(change.pair.is_some(), "no name for what they share: {:?}", change);
        }
        for member in own {
            let shares =
                change.pair.iter().flat_map(|pair| &pair.by).all(|(tag, value)| match &**tag {
                    "host" => member.host == *value,
                    "check" => member.check == *value,
                    "source" => member.source == *value,
                    _ => {
                        member.tags.get(tag).is_some_and(|tag| tag.values().any(|v| *v == **value))
                    }
                });
            prop_assert!(shares, "{:?} does not share {:?}", member, change.pair);
            // Only the chain's book has these, and one hop: hosts in a row, known by their numbers.
            let nth = |host: &str| host.trim_start_matches("host-").parse::<i64>();
            let near = change.pair.iter().filter_map(|pair| pair.near.as_ref());
            for (_, centre) in near {
                let apart = nth(&member.host).expect("a number") - nth(centre).expect("a number");
                prop_assert!(apart.abs() <= 1, "{:?} is not near {}", member, centre);
            }
            let source = change.pair.as_ref().and_then(|pair| pair.source.as_ref());
            prop_assert!(source.is_none_or(|source| *source == member.source), "{:?}", change);
            let apart = change
                .pair
                .as_ref()
                .is_some_and(|pair| pair.chronic || member.chronic && &*pair.pattern != "cluster");
            let chronic = change.pair.as_ref().is_some_and(|pair| pair.chronic);
            prop_assert!(!apart || chronic && member.chronic, "{:?}", change);
        }
        self.members.extend(change.alerts.iter().map(|member| (member.id, member.clone())));
        self.last.insert(change.id, change);
        Ok(())
    }

    /// What was told last is what is, but for what is volatile.
    fn knows(&self, run: &Run) -> TestCaseResult {
        for alert in run.pipeline.correlate().alerts() {
            let told = self.members.get(&alert.id).expect("every alert was told as it joined");
            let (flapped, planned) = (told.flapping, told.maintenance.clone());
            let told = (told.status, told.firing, &told.host, &told.check, &told.tags);
            let is = (alert.status, alert.is_firing(), &alert.host, &alert.check, &alert.tags);
            if alert.is_firing() {
                prop_assert_eq!(told, is);
                prop_assert_eq!(flapped, alert.is_flapping());
                prop_assert_eq!(planned, alert.maintenance.clone());
            } else {
                prop_assert_eq!(told.1, is.1, "{:?}", alert);
            }
            prop_assert!(self.joined[&alert.incident].iter().any(|one| one.id == alert.id));
        }
        for whole in run.pipeline.correlate().incidents() {
            let mut told = self.last[&whole.id].clone();
            told.kinds.clear();
            told.joined.clear();
            told.left.clear();
            told.alerts.clear();
            told.actor = None;
            told.comment = None;
            told.at = whole.at;
            told.counts.events = whole.counts.events;
            if !whole.is_open() {
                // What is over is marked and unmarked in silence.
                told.counts.maintenance = whole.counts.maintenance;
            }
            if whole.merged_into.is_some() {
                // What follows into the other one still narrows what is shared, in silence.
                (told.pair, told.further) = (whole.pair.clone(), whole.further.clone());
                (told.further_cut, told.tags) = (whole.further_cut, whole.tags.clone());
                told.hold = whole.hold.clone();
            }
            prop_assert_eq!(told, Change { alerts: Vec::new(), ..whole });
        }
        Ok(())
    }
}
