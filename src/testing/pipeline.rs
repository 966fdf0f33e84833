//! Collect and correlate in a row, bytes in and bytes out, in virtual time.
//!
//! It leaves out journals and workers, but not what they rest on: rows are kept as a changelog
//! keeps them, so that a stage can be thrown away and restored after any record, and everything
//! correlate read is kept, so that its log can be read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::collect::{self, Collect, Duty, Origin, Room};
use crate::correlate::Correlate;
use crate::model::{CorrelateSettings, Timestamp};
use crate::stage::{
    EventOutcome, Kind, Limit, Offset, Outgoing, Output, Record, RowError, Slot, Stage, Tally,
};
use crate::wire;

/// The seed of the suppression caches; tests want the same run twice.
const SEED: u64 = 7;

/// A record of correlate's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// When it was appended.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// The way of an event to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// Collect reads it where it arrives.
    #[default]
    Straight,
    /// It is decoded first and sent on to the owner of its identity, as from a topic whose key
    /// does not determine the identity.
    SentOn,
}

/// Both stages and what went in and out.
pub struct Pipeline {
    settings: Arc<collect::Settings>,
    front: Option<Collect>,
    collect: Collect,
    correlate: Correlate,
    wanted: CorrelateSettings,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    log: Vec<Logged>,
    changes: Vec<Vec<u8>>,
    /// Each with how many changes were told before it.
    results: Vec<(usize, Vec<u8>)>,
    /// What was said of heartbeats, in order.
    pulses: Vec<Vec<u8>>,
    dead: Vec<Outgoing>,
    events: [u64; EventOutcome::COUNT],
    limited: [u64; Limit::ALL.len()],
    youngest: Vec<(usize, i64)>,
    late: u64,
    read: i64,
}

impl Pipeline {
    /// Both stages without a past.
    #[must_use]
    pub fn new(collect: collect::Settings, correlate: CorrelateSettings, way: Way) -> Self {
        let settings = Arc::new(collect);
        Self {
            front: (way == Way::SentOn).then(|| stage(&settings, Duty::SendOn)),
            collect: stage(&settings, Duty::Suppress),
            correlate: Correlate::new(&correlate),
            settings,
            wanted: correlate,
            rows: BTreeMap::new(),
            log: Vec::new(),
            changes: Vec::new(),
            results: Vec::new(),
            pulses: Vec::new(),
            dead: Vec::new(),
            events: [0; EventOutcome::COUNT],
            limited: [0; Limit::ALL.len()],
            youngest: Vec::new(),
            late: 0,
            read: 0,
        }
    }

    /// A publisher's record arrives.
    pub fn arrive(&mut self, arrival: Timestamp, value: Option<&[u8]>) {
        let forwarded = self.forwarded(arrival, vec![(Kind::Raw, value.map(<[u8]>::to_vec))]);
        for record in forwarded {
            self.append(arrival, record.kind, record.value);
        }
    }

    /// A batch of publisher's records arrives, but only the first `reached` of what collect makes of
    /// it get to correlate's log; as its worker does then, collect forgets everything. The batch
    /// is to be read again.
    pub fn arrive_in_vain(&mut self, arrival: Timestamp, values: &[Vec<u8>], reached: usize) {
        let batch = values.iter().map(|value| (Kind::Raw, Some(value.clone()))).collect();
        let forwarded = self.forwarded(arrival, batch);
        self.forget_collected();
        for record in forwarded.into_iter().take(reached) {
            self.append(arrival, record.kind, record.value);
        }
    }

    /// A record is appended to correlate's log; the wanted settings come before the first one.
    pub fn append(&mut self, time: Timestamp, kind: Kind, value: Vec<u8>) {
        // Asked once, as its worker does; settings that follow in the log stand.
        let opening = self.log.is_empty().then(|| self.correlate.opening(Slot::default()));
        for settings in opening.unwrap_or_default() {
            self.apply(Logged { time, kind: settings.kind, value: settings.value });
        }
        self.apply(Logged { time, kind, value });
    }

    /// Time passes.
    pub fn tick(&mut self, time: Timestamp) {
        self.append(time, Kind::Tick, Vec::new());
    }

    /// Other settings come into force.
    pub fn go_by(&mut self, time: Timestamp, settings: CorrelateSettings) {
        let graph = settings.topology.as_ref().and_then(|topology| topology.graph.as_ref());
        let bytes = graph.map(|graph| graph.to_bytes()).unwrap_or_default();
        let digest = settings.topology.as_ref().map_or("", |topology| &topology.digest);
        for part in wire::topology::parts(digest, &bytes) {
            self.append(time, Kind::Topology, wire::topology::encode(&part));
        }
        self.append(time, Kind::Settings, wire::settings::encode(&settings));
        self.wanted = settings;
        // Rows are what a stage with the new wish is made from.
        self.commit();
    }

    /// Collect forgets everything, as after a restart or a failed forward.
    pub fn forget_collected(&mut self) {
        self.collect = stage(&self.settings, Duty::Suppress);
    }

    /// Hands the rows that changed to the changelog.
    pub fn commit(&mut self) {
        let mut out = Output::default();
        self.correlate.seal(&mut out);
        for row in out.rows {
            match row.value {
                Some(value) => self.rows.insert(row.key, value),
                None => self.rows.remove(&row.key),
            };
        }
        self.late += out.tally.late;
        for (sum, count) in self.limited.iter_mut().zip(out.tally.limited) {
            *sum += count;
        }
    }

    /// Commits, throws correlate away and restores it from its rows.
    ///
    /// # Errors
    /// When a row cannot be read back, or the rows do not fit each other.
    pub fn restart_correlate(&mut self) -> Result<(), RowError> {
        self.commit();
        self.correlate = Correlate::new(&self.wanted);
        // Backwards, since rows may come in any order.
        for (key, value) in self.rows.iter().rev() {
            self.correlate.restore(key, value)?;
        }
        self.correlate.restored()
    }

    /// Everything correlate read, in order.
    #[must_use]
    pub fn log(&self) -> &[Logged] {
        &self.log
    }

    /// The changelog, compacted.
    #[must_use]
    pub fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.rows
    }

    /// Incident changes, in order.
    #[must_use]
    pub fn changes(&self) -> &[Vec<u8>] {
        &self.changes
    }

    /// Results of commands, in order, each with how many changes were told before it.
    #[must_use]
    pub fn results(&self) -> &[(usize, Vec<u8>)] {
        &self.results
    }

    /// What was said of heartbeats, in order.
    #[must_use]
    pub fn pulses(&self) -> &[Vec<u8>] {
        &self.pulses
    }

    /// Dead letters, in order.
    #[must_use]
    pub fn dead(&self) -> &[Outgoing] {
        &self.dead
    }

    /// How many events collect found to be what.
    #[must_use]
    pub fn count(&self, outcome: EventOutcome) -> u64 {
        self.events[outcome.index()]
    }

    /// How many events collect counted at all.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.events.iter().sum()
    }

    /// How often a limit cut something short.
    #[must_use]
    pub fn limited(&self, limit: Limit) -> u64 {
        self.limited[limit as usize]
    }

    /// How old the youngest event of each source and batch was as it arrived, in milliseconds.
    #[must_use]
    pub fn youngest(&self) -> &[(usize, i64)] {
        &self.youngest
    }

    /// Late events that reached correlate, as of the last commit.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The correlate stage as it stands.
    #[must_use]
    pub fn correlate(&self) -> &Correlate {
        &self.correlate
    }

    fn apply(&mut self, logged: Logged) {
        let offset = Offset(i64::try_from(self.log.len()).unwrap_or(i64::MAX));
        let mut out = Output::default();
        let record = Record {
            offset,
            time: logged.time,
            kind: logged.kind,
            key: None,
            value: Some(&logged.value),
            headers: None,
        };
        self.correlate.apply(Slot::default(), &record, &mut out);
        self.log.push(logged);
        for record in out.records {
            match record.kind {
                Kind::Change => self.changes.push(record.value),
                Kind::Heartbeat => self.pulses.push(record.value),
                Kind::CommandResult => self.results.push((self.changes.len(), record.value)),
                _ => self.dead.push(record),
            }
        }
    }

    /// What collect forwards of records, by whichever way they come to it.
    fn forwarded(
        &mut self,
        arrival: Timestamp,
        mut sent: Vec<(Kind, Option<Vec<u8>>)>,
    ) -> Vec<Outgoing> {
        if let Some(mut front) = self.front.take() {
            let out = self.collected(&mut front, arrival, &sent);
            sent = out.into_iter().map(|record| (record.kind, Some(record.value))).collect();
            self.front = Some(front);
        }
        let fresh = stage(&self.settings, Duty::Suppress);
        let mut collect = std::mem::replace(&mut self.collect, fresh);
        let forwarded = self.collected(&mut collect, arrival, &sent);
        self.collect = collect;
        forwarded
    }

    /// What one collect stage makes of records; dead letters and counts are kept here.
    fn collected(
        &mut self,
        collect: &mut Collect,
        arrival: Timestamp,
        records: &[(Kind, Option<Vec<u8>>)],
    ) -> Vec<Outgoing> {
        let mut out = Output::default();
        for (kind, value) in records {
            let offset = Offset(self.read);
            self.read += 1;
            let value = value.as_deref();
            let record =
                Record { offset, time: arrival, kind: *kind, key: None, value, headers: None };
            collect.apply(Slot::default(), &record, &mut out);
        }
        collect.seal(&mut out);
        self.add(&out.tally);
        let (dead, sent) =
            out.records.into_iter().partition(|record| record.kind == Kind::DeadLetter);
        let dead: Vec<Outgoing> = dead;
        self.dead.extend(dead);
        sent
    }

    fn add(&mut self, tally: &Tally) {
        for counts in &tally.events {
            for outcome in EventOutcome::all() {
                self.events[outcome.index()] += counts[outcome.index()];
            }
        }
        for (sum, count) in self.limited.iter_mut().zip(tally.limited) {
            *sum += count;
        }
        self.youngest.extend(&tally.youngest);
    }
}

fn stage(settings: &Arc<collect::Settings>, duty: Duty) -> Collect {
    let room = Room::new(settings.cache_max);
    Collect::new(Arc::clone(settings), duty, Arc::new([Origin::canonical("input")]), room, SEED)
}
