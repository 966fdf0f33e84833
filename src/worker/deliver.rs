//! Drives notify: reads incident changes, commits the ledger, hands attempts to receivers.
//!
//! What must be told, and when, is `notify`'s to decide; how, its receivers'. This thread alone owns
//! the state. Nothing is sent before the rows that describe it are committed, and what a receiver
//! answered is committed after: a crash in between repeats the attempt under the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use std::sync::mpsc::{Receiver as Incoming, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{debug, error, info, warn};

use crate::board::Mutes;
use crate::clock::{SharedClock, Stopwatch};
use crate::journal::{Batch, Class, Commit, Feed, Group, Journal, JournalError, Polled};
use crate::live::Live;
use crate::model::silence::{Asked, Mute};
use crate::model::{Change, IncidentId, Pulse, Span};
use crate::notify::receiver::{Receiver, log::Lines};
use crate::notify::{Delivery, DeliveryId, Notify, Outcome, Report, Room, Settings};
use crate::shutdown::Shutdown;
use crate::stage::{Kind, Offset, Output, Record, RowError, Slot};
use crate::telemetry::{Health, Metrics};
use crate::wire;

/// The part that health speaks of.
const PART: &str = "notify";
/// The longest wait for records, so that a stop is noticed.
const POLL_IDLE: Duration = Duration::from_millis(50);
/// The longest wait for records while answers may come in.
const POLL_BUSY: Duration = Duration::from_millis(5);
/// Quiet for so long means that what had gathered while we were away has been read.
const QUIET: Duration = Duration::from_millis(100);
/// After so long we speak though more may wait to be read.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// How long a stop waits for attempts under way.
const DRAIN_MAX: Duration = Duration::from_secs(4);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const LAG_EVERY: Duration = Duration::from_secs(1);

/// What the worker needs from around it.
#[derive(Clone)]
pub struct Deliver {
    /// What notify goes by.
    pub settings: Live<Settings>,
    /// Where changes come from and rows go.
    pub journal: Arc<dyn Journal>,
    /// Where attempts run.
    pub runtime: Handle,
    /// The time of day.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
    /// Where part `notify` says how it is.
    pub health: Health,
    /// Where receivers of kind `log` write.
    pub lines: Lines,
    /// Knows what is muted; none: nothing is.
    pub mutes: Option<Mutes>,
    /// Given to stop.
    pub stop: Shutdown,
}

/// Runs until it is stopped. Blocks; give it a thread of its own.
///
/// # Errors
/// When the settings cannot be used, or the journal is beyond repair.
pub fn run(parts: Deliver) -> Result<(), JournalError> {
    let health = parts.health.clone();
    let ended = turns(&parts);
    if let Err(error) = &ended {
        error!(%error, "notify stopped");
        health.bad(PART, error.to_string());
    }
    ended
}

/// One worker after another, each by the settings of its time.
fn turns(parts: &Deliver) -> Result<(), JournalError> {
    let mut worker = Worker::new(parts.clone())?;
    loop {
        worker.run()?;
        worker = loop {
            if parts.stop.is_begun() {
                return Ok(());
            }
            match Worker::new(parts.clone()) {
                Ok(worker) => break worker,
                Err(error) if error.class == Class::Fatal => return Err(error),
                Err(error) => {
                    warn!(%error, "notify cannot begin anew yet");
                    parts.health.bad(PART, error.to_string());
                    let _stopping = parts.stop.wait_for(PAUSE_MAX);
                }
            }
        };
        info!("notify goes by other settings");
    }
}

/// Whether notify can go by these settings on this machine.
///
/// # Errors
/// Says what cannot be used.
pub fn check(settings: &Settings, clock: &SharedClock, lines: &Lines) -> Result<(), String> {
    receivers(settings, clock, lines).map(drop)
}

/// The receivers of settings that can be used.
fn receivers(
    settings: &Settings,
    clock: &SharedClock,
    lines: &Lines,
) -> Result<BTreeMap<Arc<str>, Receiver>, String> {
    // A route to nowhere must show before the first partition is assigned.
    Notify::new(Arc::new(settings.clone())).map_err(|error| error.to_string())?;
    let receivers = settings.receivers.iter().map(|settings| {
        let receiver = Receiver::new(settings, Arc::clone(clock), lines);
        Ok((Arc::from(&*settings.name), receiver.map_err(|error| error.to_string())?))
    });
    receivers.collect()
}

/// Incident and receiver: of these, one attempt at most is under way.
type Pair = (IncidentId, Arc<str>);

/// An attempt and the assignment it belongs to.
struct Errand {
    slot: Slot,
    epoch: u64,
    delivery: Delivery,
}

/// What came of an attempt.
struct Answer {
    slot: Slot,
    epoch: u64,
    id: DeliveryId,
    at: crate::model::Timestamp,
    report: Report,
}

/// A partition that is ours.
struct Assigned {
    /// Which assignment made it; answers to attempts of an earlier one no longer concern it.
    epoch: u64,
    notify: Notify,
}

struct Worker {
    parts: Deliver,
    /// Of the settings it goes by.
    version: u64,
    settings: Arc<Settings>,
    feed: Box<dyn Feed>,
    stages: BTreeMap<Slot, Assigned>,
    /// Which partition is asked first for what is due, so that each gets its turn.
    turn: usize,
    receivers: BTreeMap<Arc<str>, Receiver>,
    room: Room,
    answers: Incoming<Answer>,
    answer: SyncSender<Answer>,
    /// Counts assignments.
    epoch: u64,
    flying: BTreeSet<Pair>,
    /// Attempts whose pair still has one of an earlier assignment under way.
    held: BTreeMap<Pair, Errand>,
    /// Runs while we read what had gathered before we were assigned.
    catching_up: Option<Stopwatch>,
    pause: Duration,
    lag_shown: Stopwatch,
}

impl Worker {
    fn new(parts: Deliver) -> Result<Self, JournalError> {
        let unusable = |error: String| JournalError::fatal("setting up notify", error);
        let version = parts.settings.version();
        let settings = parts.settings.get();
        let receivers = receivers(&settings, &parts.clock, &parts.lines).map_err(unusable)?;
        for name in receivers.keys() {
            // A counter that begins with its first count hides that count from `increase()`.
            parts.metrics.set_aside.with_label_values(&[name]).inc_by(0);
            for outcome in Outcome::WORDS {
                parts.metrics.deliveries.with_label_values(&[&**name, outcome]).inc_by(0);
            }
        }
        let room = Room::new(&settings);
        let (answer, answers) = sync_channel(room.total().max(1));
        let feed = parts.journal.feed(Group::Notify)?;
        Ok(Self {
            version,
            settings,
            feed,
            stages: BTreeMap::new(),
            turn: 0,
            receivers,
            room,
            answers,
            answer,
            epoch: 0,
            flying: BTreeSet::new(),
            held: BTreeMap::new(),
            catching_up: None,
            pause: PAUSE_MIN,
            lag_shown: Stopwatch::start(),
            parts,
        })
    }

    fn run(mut self) -> Result<(), JournalError> {
        while !self.is_over() {
            let round = self.round();
            self.survive(round)?;
        }
        let drained = self.drain();
        self.survive(drained)?;
        self.feed.close()?;
        info!("notify has stopped");
        Ok(())
    }

    /// Whether it must stop, or another one go by other settings.
    fn is_over(&self) -> bool {
        self.parts.stop.is_begun() || self.parts.settings.version() != self.version
    }

    /// One round: read, fold, commit, send.
    fn round(&mut self) -> Result<(), JournalError> {
        let polled = self.feed.poll(self.poll_wait())?;
        let mut positions = BTreeMap::new();
        match polled {
            Polled::Idle => self.catching_up = None,
            Polled::Assigned(slots) => self.assigned(&slots)?,
            Polled::Revoked(slots) => self.revoked(&slots),
            Polled::Batch(batch) => positions = self.fold(&batch),
        }
        self.take_answers();
        let due = if self.may_speak() { self.due() } else { Vec::new() };
        if let Err(error) = self.commit(positions) {
            for errand in due {
                self.room.give_back(&errand.delivery.id.receiver);
            }
            return Err(error);
        }
        for errand in due {
            self.launch(errand);
        }
        self.show();
        self.parts.health.good(PART);
        self.pause = PAUSE_MIN;
        Ok(())
    }

    /// Decides whether a failure is the end.
    fn survive(&mut self, done: Result<(), JournalError>) -> Result<(), JournalError> {
        let Err(error) = done else { return Ok(()) };
        if error.class == Class::Fatal {
            return Err(error);
        }
        warn!(%error, "notify goes back to its committed position");
        self.parts.metrics.rewinds.with_label_values(&[Group::Notify.as_str()]).inc();
        self.parts.health.bad(PART, error.to_string());
        self.stages.clear();
        self.wait_for_answer(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }

    fn poll_wait(&self) -> Duration {
        if self.catching_up.is_some() {
            return QUIET;
        }
        if !self.flying.is_empty() {
            return POLL_BUSY;
        }
        let now = self.parts.clock.now();
        let next = self.stages.values().filter_map(|ours| ours.notify.next_deadline()).min();
        next.map_or(POLL_IDLE, |at| at.since(now).to_std().min(POLL_IDLE))
    }

    fn assigned(&mut self, slots: &[Slot]) -> Result<(), JournalError> {
        self.epoch += 1;
        self.catching_up = Some(Stopwatch::start());
        for slot in slots {
            let took = Stopwatch::start();
            let notify = self.restore(*slot)?;
            let seconds = took.elapsed().as_secs_f64();
            let partition = slot.partition.to_string();
            let labels = [Group::Notify.as_str(), partition.as_str()];
            self.parts.metrics.restore_seconds.with_label_values(&labels).set(seconds);
            info!(partition = slot.partition, rows = notify.len(), seconds, "deliveries restored");
            self.stages.insert(*slot, Assigned { epoch: self.epoch, notify });
        }
        Ok(())
    }

    fn restore(&mut self, slot: Slot) -> Result<Notify, JournalError> {
        let doing = || format!("restoring the delivery ledger of partition {}", slot.partition);
        let mut stage = Notify::new(Arc::clone(&self.settings))
            .map_err(|error| JournalError::fatal(doing(), error))?;
        let mut bad: Option<RowError> = None;
        self.feed.restore(slot, &mut |key, value| {
            if let Err(error) = stage.restore(key, value) {
                bad.get_or_insert(error);
            }
        })?;
        if let Some(error) = bad {
            return Err(JournalError::fatal(doing(), error));
        }
        stage.restored(self.parts.clock.now());
        Ok(stage)
    }

    fn revoked(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.stages.remove(slot);
            info!(partition = slot.partition, "deliveries given up");
        }
    }

    fn fold(&mut self, batch: &Batch) -> BTreeMap<Slot, Offset> {
        let now = self.parts.clock.now();
        let mut positions = BTreeMap::new();
        for index in 0..batch.len() {
            let (slot, record) = batch.get(index);
            // What arrives for a partition that was never announced, or taken away, is not ours.
            let Some(ours) = self.stages.get_mut(&slot) else { continue };
            positions.insert(slot, record.offset.next());
            if let Some((id, partition)) = probed(&record) {
                self.parts.health.saw(PART, &id, partition);
            }
            match read(&record) {
                Ok(Some(change)) => ours.notify.apply(now, &change),
                Ok(None) => {}
                Err(why) => {
                    let (partition, offset) = (slot.partition, record.offset.0);
                    error!(partition, offset, why, "incident change cannot be read and is skipped");
                    let group = Group::Notify.as_str();
                    self.parts.metrics.unreadable.with_label_values(&[group]).inc();
                }
            }
        }
        positions
    }

    fn take_answers(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.answered(answer);
        }
    }

    fn wait_for_answer(&mut self, wait: Duration) {
        match self.answers.recv_timeout(wait) {
            Ok(answer) => self.answered(answer),
            // Never disconnected: `self.answer` holds the other end.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    fn answered(&mut self, answer: Answer) {
        let now = self.parts.clock.now();
        self.count(&answer);
        self.room.give_back(&answer.id.receiver);
        let pair = (answer.id.incident, Arc::clone(&answer.id.receiver));
        self.flying.remove(&pair);
        let ours = self.stages.get_mut(&answer.slot);
        if let Some(ours) = ours.filter(|ours| ours.epoch == answer.epoch) {
            ours.notify.completed(now, &answer.id, &answer.report);
        }
        if let Some(errand) = self.held.remove(&pair) {
            self.launch(errand);
        }
    }

    fn count(&self, answer: &Answer) {
        let Answer { id, at, report: Report { outcome, .. }, .. } = answer;
        let metrics = &self.parts.metrics;
        let (receiver, incident, revision) = (&*id.receiver, id.incident, id.revision);
        metrics.deliveries.with_label_values(&[receiver, outcome.as_str()]).inc();
        match outcome {
            Outcome::Delivered => {
                let took = self.parts.clock.now().since(*at);
                metrics.delivered_seconds.observe(took.to_std());
                debug!(receiver, %incident, revision, "delivered");
            }
            Outcome::Retry { after, why } => {
                let after = after.map(|span: Span| span.to_string());
                warn!(receiver, %incident, revision, after, why, "delivery failed, to be repeated");
            }
            Outcome::SetAside { why } => {
                metrics.set_aside.with_label_values(&[receiver]).inc();
                warn!(receiver, %incident, revision, why, "delivery refused for good and set aside");
            }
        }
    }

    /// Whether enough was read to know the present: who was away must not tell the past.
    fn may_speak(&mut self) -> bool {
        if self.catching_up.as_ref().is_some_and(|since| since.elapsed() >= CATCH_UP_MAX) {
            self.catching_up = None;
        }
        self.catching_up.is_none()
    }

    fn due(&mut self) -> Vec<Errand> {
        let now = self.parts.clock.now();
        let mut slots: Vec<Slot> = self.stages.keys().copied().collect();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % slots.len().max(1);
        slots.rotate_left(first);
        let mut due = Vec::new();
        for slot in slots {
            let Some(ours) = self.stages.get_mut(&slot) else { continue };
            ours.notify.advance(now);
            let epoch = ours.epoch;
            let mutes = &self.parts.mutes;
            let mut ask = |asked: &Asked| mutes.as_ref().map_or(Mute::No, |it| it.ask(now, asked));
            let taken = ours.notify.take_due_unless(now, &mut self.room, &mut ask).into_iter();
            let held = ours.notify.take_held();
            for (reason, count) in [
                ("silence", held.silenced),
                ("inhibition", held.inhibited),
                ("unsure", held.unsure),
            ] {
                self.parts.metrics.muted.with_label_values(&[reason]).inc_by(count);
            }
            due.extend(taken.map(|delivery| Errand { slot, epoch, delivery }));
        }
        due
    }

    fn commit(&mut self, positions: BTreeMap<Slot, Offset>) -> Result<(), JournalError> {
        let mut commit = Commit { positions: positions.into_iter().collect(), ..Commit::default() };
        for (slot, ours) in &mut self.stages {
            let mut out = Output::default();
            ours.notify.seal(&mut out);
            commit.rows.extend(out.rows.into_iter().map(|row| (*slot, row)));
        }
        if commit.is_empty() { Ok(()) } else { self.feed.commit(commit) }
    }

    /// Starts an attempt, or holds it while one of an earlier assignment is under way: its fate is
    /// open, and the newer must not overtake it.
    fn launch(&mut self, errand: Errand) {
        let id = &errand.delivery.id;
        let pair = (id.incident, Arc::clone(&id.receiver));
        let ours = self.stages.get(&errand.slot);
        if ours.is_none_or(|ours| ours.epoch != errand.epoch) {
            self.room.give_back(&pair.1);
            return;
        }
        if self.flying.contains(&pair) {
            if let Some(older) = self.held.insert(pair, errand) {
                self.room.give_back(&older.delivery.id.receiver);
            }
            return;
        }
        let receiver = self.receivers.get(&pair.1).cloned().expect("room is of known receivers");
        self.flying.insert(pair);
        let ticket = Ticket::new(&errand, self.answer.clone());
        self.parts.runtime.spawn(async move {
            let report = receiver.deliver(&errand.delivery).await;
            ticket.hand_in(report);
        });
    }

    fn show(&mut self) {
        let depth = |queue: &str, count: usize| {
            let gauge = self.parts.metrics.queue_depth.with_label_values(&[queue]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        depth("deliveries", self.flying.len());
        depth("pending", self.stages.values().map(|ours| ours.notify.waiting()).sum());
        if self.lag_shown.elapsed() < LAG_EVERY {
            return;
        }
        self.lag_shown = Stopwatch::start();
        for (slot, lag) in self.feed.lag() {
            let partition = slot.partition.to_string();
            let topic = Group::Notify.input().as_str();
            let labels = [Group::Notify.as_str(), topic, partition.as_str()];
            let gauge = self.parts.metrics.lag.with_label_values(&labels);
            gauge.set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }

    /// Waits for what is under way and commits what came of it; starts nothing. A worker that comes
    /// after this one must not overtake its attempts: only a stop has a limit, each attempt has its
    /// own.
    fn drain(&mut self) -> Result<(), JournalError> {
        let mut stopping: Option<Stopwatch> = None;
        self.held.clear();
        while !self.flying.is_empty() {
            if self.parts.stop.is_begun() {
                let since = stopping.get_or_insert_with(Stopwatch::start);
                if since.elapsed() >= DRAIN_MAX {
                    break;
                }
            }
            self.wait_for_answer(POLL_IDLE);
        }
        if !self.flying.is_empty() {
            let count = self.flying.len();
            warn!(
                count,
                "stopped with deliveries under way; they will be repeated with the same id"
            );
        }
        self.commit(BTreeMap::new())
    }
}

/// The answer to a probe in a record: of which, and of which partition.
fn probed(record: &Record<'_>) -> Option<(Box<str>, u32)> {
    let bytes = record.value.filter(|_| record.kind == Kind::Heartbeat)?;
    match wire::heartbeat::decode_pulse(bytes) {
        Ok(Pulse::Probed { id, partition }) => Some((id, partition)),
        _ => None,
    }
}

/// The change in a record; none where the record is of another kind.
fn read(record: &Record<'_>) -> Result<Option<Change>, String> {
    if record.kind != Kind::Change {
        return Ok(None);
    }
    let bytes = record.value.ok_or("it has no bytes")?;
    wire::change::decode(bytes).map(Some).map_err(|error| error.to_string())
}

/// Sees to it that every attempt has an answer, even one whose task dies.
struct Ticket {
    answer: Option<Answer>,
    to: SyncSender<Answer>,
}

impl Ticket {
    fn new(errand: &Errand, to: SyncSender<Answer>) -> Self {
        let why = "the attempt ended without an answer".to_owned();
        let answer = Answer {
            slot: errand.slot,
            epoch: errand.epoch,
            id: errand.delivery.id.clone(),
            at: errand.delivery.change.at,
            report: Outcome::Retry { after: None, why }.into(),
        };
        Self { answer: Some(answer), to }
    }

    fn hand_in(mut self, report: Report) {
        if let Some(answer) = &mut self.answer {
            answer.report = report;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take()
            && self.to.try_send(answer).is_err()
        {
            // The channel holds as many as can be under way: only a worker that ended is not there.
            debug!("an answer came after the end");
        }
    }
}
