//! The loop that drives a stage: read a batch, fold it, commit, again.
//!
//! A worker is a thread and owns its stages outright; there is nothing to lock. What a commit
//! holds is shown to nobody before it succeeded. A failed commit throws the stages away and
//! restores them from what is committed: slower than an overlay, but there is only one way back,
//! and every test of restart tests it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::clock::{SharedClock, Stopwatch};
use crate::journal::{Appender, Batch, Class, Commit, Feed, JournalError, Polled};
use crate::model::{Span, Timestamp};
use crate::shutdown::Shutdown;
use crate::stage::{Kind, Offset, Open, Outgoing, Output, Route, Slot, Stage, Topic};
use crate::telemetry::health::{Lag, Reader};
use crate::telemetry::{Health, Metrics};

pub mod commands;
pub mod dead_letters;
pub mod deliver;
pub mod intake;
pub mod merge;
pub mod rows;

/// The longest wait for records, so that a stop and a deadline are noticed in time.
const WAIT: Duration = Duration::from_millis(100);

/// The shortest time between two ticks of a partition.
const TICK_EVERY: Span = Span::from_secs(1);

/// The waits after failures in a row: doubling, up to the last.
const BACKOFF_MS: [u64; 6] = [50, 100, 200, 500, 1_000, 2_000];

/// How often lag is asked for.
const LAG_EVERY: Duration = Duration::from_secs(2);

/// Whether each partition has a stage of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// A stage a partition.
    PerPartition,
    /// One stage for all: this process owns every identity, wherever its events arrive.
    Whole,
}

/// What a worker does to its stages when their settings were replaced.
pub trait Renew<S>: Send {
    /// How often they were replaced.
    fn version(&self) -> u64;

    /// Lets a stage go by those that hold now; records for its own input, if that takes any.
    fn renew(&mut self, slot: Slot, stage: &mut S) -> Vec<Outgoing>;

    /// Every stage goes by this version, and its records are in the log.
    fn applied(&self, version: u64);
}

/// For stages whose settings stay.
pub struct Never;

impl<S> Renew<S> for Never {
    fn version(&self) -> u64 {
        0
    }

    fn renew(&mut self, _: Slot, _: &mut S) -> Vec<Outgoing> {
        Vec::new()
    }

    fn applied(&self, _: u64) {}
}

/// A worker before it runs.
pub struct Worker<S> {
    /// Its name: thread, health part, `group` label.
    pub name: &'static str,
    /// The topics it reads, by `Slot::input`.
    pub inputs: Arc<[Arc<str>]>,
    /// Where records come from and commits go.
    pub feed: Box<dyn Feed>,
    /// Makes a stage for a partition that was assigned.
    pub make: Box<dyn FnMut(Slot) -> S + Send>,
    /// How its stages are told of other settings.
    pub renew: Box<dyn Renew<S>>,
    /// Whether each partition has a stage of its own.
    pub sharing: Sharing,
    /// Appends ticks and settings to the stage's own input.
    pub appender: Option<Box<dyn Appender>>,
    /// The time, for ticks and metrics only.
    pub clock: SharedClock,
    /// Instruments.
    pub metrics: Metrics,
    /// Whether it can do its work.
    pub health: Health,
    /// When to stop.
    pub stop: Shutdown,
    /// Given once the first partition is ours, and its settings are in the log.
    pub assigned: Shutdown,
}

impl<S: Stage> Worker<S> {
    /// Runs until the stop signal; what was read by then is committed.
    ///
    /// # Errors
    /// When the journal, or a row in it, is beyond repair from here.
    pub fn run(self) -> Result<(), JournalError> {
        let health = self.health.clone();
        let name = self.name;
        let running = Running {
            version: self.renew.version(),
            worker: self,
            stages: BTreeMap::new(),
            ticked: BTreeMap::new(),
            failures: 0,
            lag_asked: Stopwatch::start(),
            shown: BTreeSet::new(),
            next: BTreeMap::new(),
            reader: health.reader(name),
        };
        let ended = running.run();
        match &ended {
            Ok(()) => info!(worker = name, "stopped"),
            Err(error) => {
                error!(worker = name, error = %error, "cannot go on");
                health.bad(name, error.to_string());
            }
        }
        ended
    }
}

struct Running<S> {
    worker: Worker<S>,
    /// Of the settings that its stages go by.
    version: u64,
    stages: BTreeMap<Slot, S>,
    ticked: BTreeMap<Slot, Timestamp>,
    failures: usize,
    lag_asked: Stopwatch,
    /// Partitions whose open alerts and incidents are shown.
    shown: BTreeSet<Slot>,
    /// The first record of each partition that was not committed.
    next: BTreeMap<Slot, Offset>,
    /// Says how far it is.
    reader: Reader,
}

impl<S: Stage> Running<S> {
    fn run(mut self) -> Result<(), JournalError> {
        self.stand_in();
        while !self.worker.stop.is_begun() {
            if let Err(error) = self.renew().and_then(|()| self.step()) {
                self.begin_anew(error)?;
            }
            self.show_lag();
        }
        self.worker.feed.close()
    }

    /// Lets every stage go by the settings that hold now, between two batches.
    fn renew(&mut self) -> Result<(), JournalError> {
        let version = self.worker.renew.version();
        if version == self.version {
            return Ok(());
        }
        let records: Vec<Outgoing> = self
            .stages
            .iter_mut()
            .flat_map(|(slot, stage)| self.worker.renew.renew(*slot, stage))
            .collect();
        if let Some(appender) = self.worker.appender.as_mut().filter(|_| !records.is_empty()) {
            appender.append(records)?;
        }
        self.version = version;
        self.worker.renew.applied(version);
        Ok(())
    }

    fn step(&mut self) -> Result<(), JournalError> {
        match self.worker.feed.poll(WAIT)? {
            Polled::Idle => self.idle(),
            Polled::Assigned(slots) => slots.into_iter().try_for_each(|slot| self.assigned(slot)),
            Polled::Revoked(slots) => {
                self.revoked(&slots);
                Ok(())
            }
            Polled::Batch(batch) => self.fold(&batch),
        }
    }

    /// Where a partition's stage is kept.
    fn home(&self, slot: Slot) -> Slot {
        match self.worker.sharing {
            Sharing::PerPartition => slot,
            Sharing::Whole => Slot::default(),
        }
    }

    fn assigned(&mut self, slot: Slot) -> Result<(), JournalError> {
        let home = self.home(slot);
        if self.stages.contains_key(&home) {
            return Ok(());
        }
        let watch = Stopwatch::start();
        let mut stage = (self.worker.make)(slot);
        let mut refused = None;
        self.worker.feed.restore(slot, &mut |key, value| {
            if let Err(error) = stage.restore(key, value) {
                refused.get_or_insert(error);
            }
        })?;
        let refused = match refused {
            None => stage.restored().err(),
            some => some,
        };
        if let Some(error) = refused {
            let doing = format!("restore of {} partition {}", self.worker.name, slot.partition);
            return Err(JournalError::fatal(doing, error));
        }
        let took = watch.elapsed();
        let partition = slot.partition.to_string();
        let labels = [self.worker.name, &partition];
        self.worker.metrics.restore_seconds.with_label_values(&labels).set(took.as_secs_f64());
        info!(
            worker = self.worker.name,
            input = slot.input,
            partition = slot.partition,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "partition assigned"
        );
        let opening = stage.opening(slot);
        if let Some(appender) = self.worker.appender.as_mut().filter(|_| !opening.is_empty()) {
            appender.append(opening)?;
        }
        self.stages.insert(home, stage);
        self.worker.assigned.begin();
        Ok(())
    }

    fn revoked(&mut self, slots: &[Slot]) {
        for slot in slots {
            let home = self.home(*slot);
            self.stages.remove(&home);
            self.ticked.remove(&home);
            self.next.remove(slot);
            if self.shown.remove(&home) {
                self.show_open(home, Open::default());
            }
            info!(
                worker = self.worker.name,
                input = slot.input,
                partition = slot.partition,
                "partition revoked"
            );
        }
        self.stand_in();
    }

    /// One stage for all is there from the start, and starts anew when a partition went: of the
    /// identities that moved it knows nothing any more.
    fn stand_in(&mut self) {
        if self.worker.sharing == Sharing::Whole {
            let all = Slot::default();
            self.stages.insert(all, (self.worker.make)(all));
        }
    }

    fn fold(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let mut output = Output::default();
        let mut positions = BTreeMap::new();
        let mut touched: Vec<Slot> = Vec::new();
        let mut newest = Timestamp::MIN;
        let mut index = 0;
        while index < batch.len() {
            // Records of one partition come in runs; its stage is looked up once a run.
            let (slot, _) = batch.get(index);
            let home = self.home(slot);
            let Some(stage) = self.stages.get_mut(&home) else {
                let doing = format!("fold partition {} of {}", slot.partition, self.worker.name);
                return Err(JournalError::retry(doing, "it is not assigned to this worker"));
            };
            touched.push(home);
            let mut next = Offset::default();
            while index < batch.len() {
                let (of, record) = batch.get(index);
                if of != slot {
                    break;
                }
                stage.apply(slot, &record, &mut output);
                next = record.offset.next();
                newest = newest.max(record.time);
                index += 1;
            }
            positions.insert(slot, next);
        }
        touched.sort_unstable();
        touched.dedup();
        let mut commit = Commit { positions: positions.into_iter().collect(), ..Commit::default() };
        let mut tallies = Vec::with_capacity(touched.len());
        for slot in touched {
            let Some(stage) = self.stages.get_mut(&slot) else { continue };
            let causes = std::mem::take(&mut output.tally.change_causes);
            stage.seal(&mut output);
            commit.rows.extend(output.rows.drain(..).map(|row| (slot, row)));
            let mut tally = std::mem::take(&mut output.tally);
            tally.change_causes.extend(causes);
            tallies.push((slot, tally));
        }
        commit.records = output.records;
        let watch = Stopwatch::start();
        let reached = commit.positions.clone();
        self.worker.feed.commit(commit)?;
        self.next.extend(reached);
        self.worker.metrics.commit_seconds.observe(watch.elapsed());
        self.recovered();
        self.count(tallies, newest);
        Ok(())
    }

    fn count(&mut self, tallies: Vec<(Slot, crate::stage::Tally)>, newest: Timestamp) {
        let now = self.worker.clock.now();
        for (slot, tally) in tallies {
            self.worker.metrics.add(&tally);
            for cause in &tally.change_causes {
                self.worker.metrics.correlated_seconds.observe(now.since(*cause).to_std());
            }
            if let Some(fingerprints) = tally.fingerprints {
                self.worker.metrics.fingerprints.set(gauge(fingerprints));
            }
            if let Some(open) = tally.open {
                self.shown.insert(slot);
                self.show_open(slot, open);
            }
        }
        // Only the log of our own topics tells the broker's time.
        if self.worker.appender.is_some() {
            let ahead = newest.since(now).to_std().as_secs_f64();
            self.worker.metrics.log_ahead_seconds.set(ahead);
            if ahead > 300.0 {
                warn!(
                    worker = self.worker.name,
                    ahead_s = ahead,
                    "the log's time is ahead of this clock"
                );
            }
        }
    }

    fn show_open(&self, slot: Slot, open: Open) {
        let Open { alerts, flapping, chronic, maintenance, incidents, held, heartbeats, missed } =
            open;
        let partition = slot.partition.to_string();
        let metrics = &self.worker.metrics;
        metrics.alerts_open.with_label_values(&[&partition]).set(gauge(alerts));
        metrics.alerts_flapping.with_label_values(&[&partition]).set(gauge(flapping));
        metrics.alerts_chronic.with_label_values(&[&partition]).set(gauge(chronic));
        metrics.alerts_maintenance.with_label_values(&[&partition]).set(gauge(maintenance));
        metrics.incidents_open.with_label_values(&[&partition]).set(gauge(incidents));
        metrics.incidents_held.with_label_values(&[&partition]).set(gauge(held));
        let heartbeat = |state| metrics.heartbeats.with_label_values(&[partition.as_str(), state]);
        heartbeat("ok").set(gauge(heartbeats - missed));
        heartbeat("missed").set(gauge(missed));
    }

    /// Nothing arrives: where a deadline has passed, a tick moves the log's time on.
    fn idle(&mut self) -> Result<(), JournalError> {
        self.recovered();
        let now = self.worker.clock.now();
        let Some(appender) = &mut self.worker.appender else { return Ok(()) };
        let mut ticks = Vec::new();
        for (slot, stage) in &self.stages {
            let passed = stage.next_deadline().is_some_and(|deadline| deadline <= now);
            let last = self.ticked.get(slot).copied().unwrap_or(Timestamp::MIN);
            if passed && last + TICK_EVERY <= now {
                self.ticked.insert(*slot, now);
                ticks.push(Outgoing {
                    topic: Topic::Alerts,
                    route: Route::Partition(slot.partition),
                    kind: Kind::Tick,
                    key: Vec::new(),
                    value: Vec::new(),
                    headers: Vec::new(),
                });
            }
        }
        if ticks.is_empty() { Ok(()) } else { appender.append(ticks) }
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            info!(worker = self.worker.name, after = self.failures, "works again");
        }
        self.failures = 0;
        self.worker.health.good(self.worker.name);
    }

    /// Back to the committed positions, after a pause that grows with the failures in a row.
    fn begin_anew(&mut self, error: JournalError) -> Result<(), JournalError> {
        if error.class == Class::Fatal {
            return Err(error);
        }
        warn!(worker = self.worker.name, error = %error, "back to the committed position");
        self.worker.health.bad(self.worker.name, error.to_string());
        self.worker.metrics.rewinds.with_label_values(&[self.worker.name]).inc();
        self.stages.clear();
        self.ticked.clear();
        self.next.clear();
        self.stand_in();
        let pause = BACKOFF_MS[self.failures.min(BACKOFF_MS.len() - 1)];
        self.failures += 1;
        // Either answer is fine: the loop looks at the signal next.
        let _stopping = self.worker.stop.wait_for(Duration::from_millis(pause));
        Ok(())
    }

    fn show_lag(&mut self) {
        if self.lag_asked.elapsed() < LAG_EVERY {
            return;
        }
        self.lag_asked = Stopwatch::start();
        let mut lags = Vec::new();
        for (slot, lag) in self.worker.feed.lag() {
            let topic = self.worker.inputs.get(usize::from(slot.input));
            let topic = topic.map_or_else(|| "".into(), Arc::clone);
            let labels = [self.worker.name, &topic, &slot.partition.to_string()];
            self.worker.metrics.lag.with_label_values(&labels).set(gauge(lag));
            let next = self.next.get(&slot).map(|next| next.0);
            lags.push(Lag { topic, partition: slot.partition, records: lag, next });
        }
        self.reader.is_at(lags);
    }
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
