//! Runs events through collect and correlate in virtual time, as fast as it can.
//!
//! No journal, no network, no clock: arrival is the larger of the time so far and the event's
//! timestamp, but never past the limit given at the start; time ends at the last event, and timers
//! due later do not fire. What correlate has read before goes through it again by `log`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::collect::{self, Collect, Duty, Origin, Room, decode};
use crate::correlate::Correlate;
use crate::model::{AlertId, ChangeKind, CorrelateSettings, Identity, IncidentId, Timestamp};
use crate::stage::{EventOutcome, Kind, Offset, Outgoing, Output, Record, Slot, Stage, Tally};
use crate::wire;

pub mod compare;
pub mod log;
pub mod score;

/// How many records correlate reads before its rows are dropped.
const SEAL_EVERY: i64 = 1_000;

/// The seed of the suppression cache; a replay reads files, nobody can flood it.
const SEED: u64 = 0;

/// Where an event of the input ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The sender's id of the event.
    pub event_id: Option<Box<str>>,
    /// The alert of its identity, and that one's incident; none where there was no alert.
    pub place: Option<(AlertId, IncidentId)>,
}

/// What a replay counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Events read.
    pub events: u64,
    /// Events that said nothing new.
    pub repeats: u64,
    /// Events older than the newest of their identity.
    pub late: u64,
    /// Records or events that could not be read.
    pub rejected: u64,
    /// Events that the settings say do not count, and payloads that say nothing of an alert.
    pub dropped: u64,
    /// Alerts that began.
    pub alerts: u64,
    /// Incidents that were opened.
    pub incidents: u64,
    /// Incident changes.
    pub changes: u64,
    /// Records of the log that this version cannot read, or knows of no use for.
    pub unread: u64,
}

impl Summary {
    /// The part of events that made no incident of their own, in percent.
    #[must_use]
    pub fn compression(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        let part = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        100.0 * (1.0 - part(self.incidents, self.events))
    }
}

/// A replay under way.
pub struct Replay {
    collect: Collect,
    correlate: Correlate,
    settings: Arc<collect::Settings>,
    now: Timestamp,
    latest: Timestamp,
    read: i64,
    appended: i64,
    told: Told,
}

/// What correlate told, and what was counted.
#[derive(Debug, Default)]
struct Told {
    opened: BTreeMap<IncidentId, Timestamp>,
    /// Incidents that nobody was told of.
    held: BTreeSet<IncidentId>,
    summary: Summary,
}

impl Told {
    /// Takes what correlate handed out for a record; each change goes to `changes`.
    fn take(&mut self, records: Vec<Outgoing>, changes: &mut impl FnMut(&[u8])) {
        for record in records {
            if record.kind != Kind::Change {
                continue;
            }
            self.summary.changes += 1;
            if let Ok(change) = wire::change::decode(&record.value) {
                self.summary.alerts += change.joined.len() as u64;
                if change.kinds.contains(&ChangeKind::Opened) {
                    self.summary.incidents += 1;
                    self.opened.insert(change.id, change.at);
                }
                if change.is_held() {
                    self.held.insert(change.id);
                } else {
                    self.held.remove(&change.id);
                }
            }
            changes(&record.value);
        }
    }
}

impl Replay {
    /// A replay by these settings; no arrival lies after `latest`.
    #[must_use]
    pub fn new(
        collect: collect::Settings,
        correlate: &CorrelateSettings,
        latest: Timestamp,
    ) -> Self {
        let room = Room::new(collect.cache_max);
        let settings = Arc::new(collect);
        let origins = Arc::new([Origin::canonical("input")]);
        Self {
            collect: Collect::new(Arc::clone(&settings), Duty::Suppress, origins, room, SEED),
            correlate: Correlate::new(correlate),
            settings,
            now: Timestamp::MIN,
            latest,
            read: 0,
            appended: 0,
            told: Told::default(),
        }
    }

    /// Takes one record of the input: an event, a list, or a wrapper. Each incident change goes to
    /// `changes` as it is written to the log, each event's place to `assignments`.
    pub fn record(
        &mut self,
        bytes: &[u8],
        mut changes: impl FnMut(&[u8]),
        mut assignments: impl FnMut(Assignment),
    ) {
        let mut newest = Timestamp::MIN;
        let mut events: Vec<(Option<Box<str>>, Identity)> = Vec::new();
        decode::peek(bytes, self.latest, &self.settings, |time, id, identity| {
            newest = newest.max(time);
            events.push((id.map(Box::from), identity));
        });
        self.now = self.now.max(newest.min(self.latest));
        if self.now == Timestamp::MIN {
            self.now = self.latest;
        }
        let mut out = Output::default();
        let record = self.next_record(Kind::Raw, bytes);
        self.collect.apply(Slot::default(), &record, &mut out);
        self.collect.seal(&mut out);
        self.count_events(&out.tally);
        for forwarded in std::mem::take(&mut out.records) {
            if forwarded.kind != Kind::DeadLetter {
                self.correlate(forwarded.kind, &forwarded.value, &mut changes);
            }
        }
        for (event_id, identity) in events {
            let place = self.correlate.place_of(&identity);
            assignments(Assignment { event_id, place });
        }
    }

    /// When an incident was opened, by log time.
    #[must_use]
    pub fn opened_at(&self, incident: IncidentId) -> Option<Timestamp> {
        self.told.opened.get(&incident).copied()
    }

    /// The incidents that nobody was told of, since their patterns asked for more alerts.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<IncidentId> {
        &self.told.held
    }

    /// What was counted so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.told.summary
    }

    /// The correlate stage as it stands.
    #[must_use]
    pub fn stage(&self) -> &Correlate {
        &self.correlate
    }

    fn correlate(&mut self, kind: Kind, value: &[u8], changes: &mut impl FnMut(&[u8])) {
        let slot = Slot::default();
        let mut out = Output::default();
        for settings in self.correlate.opening(slot) {
            let record = self.appended_record(settings.kind, &settings.value);
            self.correlate.apply(slot, &record, &mut out);
        }
        let record = self.appended_record(kind, value);
        self.correlate.apply(slot, &record, &mut out);
        let records = std::mem::take(&mut out.records);
        if self.appended % SEAL_EVERY == 0 {
            // Nobody wants the rows; sealing lets go of what is noted of them.
            self.correlate.seal(&mut out);
        }
        self.told.take(records, changes);
    }

    fn count_events(&mut self, tally: &Tally) {
        for counts in &tally.events {
            for outcome in EventOutcome::all() {
                let count = counts[outcome.index()];
                let summary = &mut self.told.summary;
                summary.events += count;
                match outcome {
                    EventOutcome::Forwarded => {}
                    EventOutcome::Repeat => summary.repeats += count,
                    EventOutcome::Late => summary.late += count,
                    EventOutcome::Dropped | EventOutcome::Ignored => summary.dropped += count,
                    EventOutcome::Rejected(_) => summary.rejected += count,
                }
            }
        }
    }

    fn next_record<'a>(&mut self, kind: Kind, bytes: &'a [u8]) -> Record<'a> {
        let offset = Offset(self.read);
        self.read += 1;
        Record { offset, time: self.now, kind, key: None, value: Some(bytes), headers: None }
    }

    fn appended_record<'a>(&mut self, kind: Kind, bytes: &'a [u8]) -> Record<'a> {
        let offset = Offset(self.appended);
        self.appended += 1;
        Record { offset, time: self.now, kind, key: None, value: Some(bytes), headers: None }
    }
}
