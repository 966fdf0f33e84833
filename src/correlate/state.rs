//! Everything correlate remembers, and which of its rows changed.
//!
//! Rows are the truth; indexes, counts and timers are derived from them, so that a state restored
//! from its rows is the same state. Whoever changes a row goes through here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::topology::{Graphs, Place};
use crate::model::update::refresh_every;
use crate::model::{
    Alert, AlertId, CorrelateSettings, FlappingSettings, Identity, Incident, IncidentId, Index,
    Pair, Span, Status, Timestamp, Topology,
};
use crate::stage::{Offset, Open, Row, RowError};
use crate::wire::row::{self, CorrelateRow, Mark, RememberedOk};
use crate::wire::topology::{self, Part};
use crate::wire::{WireError, settings};

/// Names and how many alerts have each.
pub(super) type Names = BTreeMap<Box<str>, u32>;

fn count_name(names: &mut Names, name: &str) {
    if !name.is_empty() {
        *names.entry(name.into()).or_default() += 1;
    }
}

fn uncount_name(names: &mut Names, name: &str) {
    if let Some(count) = names.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            names.remove(name);
        }
    }
}

/// An incident with what is counted from its alerts.
#[derive(Debug, PartialEq)]
pub(super) struct Held {
    pub(super) row: Incident,
    /// Alerts that fire, those that end first in front.
    pub(super) firing: BTreeSet<(Timestamp, AlertId)>,
    /// Those of them that flap, by the event time at which they do so no more.
    pub(super) flapping: BTreeSet<(Timestamp, AlertId)>,
    pub(super) members: BTreeSet<AlertId>,
    pub(super) hosts: Names,
    pub(super) checks: Names,
    pub(super) sources: BTreeSet<Box<str>>,
    /// Wider than what one alert counts: no sum of theirs may overflow.
    pub(super) events: u128,
    statuses: [u32; Status::ALL.len()],
    /// The append time of the last record of its alerts.
    appended_at: Timestamp,
}

impl Held {
    fn new(row: Incident) -> Self {
        Self {
            row,
            firing: BTreeSet::new(),
            flapping: BTreeSet::new(),
            members: BTreeSet::new(),
            hosts: Names::new(),
            checks: Names::new(),
            sources: BTreeSet::new(),
            events: 0,
            statuses: [0; Status::ALL.len()],
            appended_at: Timestamp::MIN,
        }
    }

    /// The worst status that fires; `ok` where none does.
    pub(super) fn status(&self) -> Status {
        let worst = Status::ALL.into_iter().rev().find(|at| self.statuses[*at as usize] > 0);
        worst.unwrap_or_default()
    }

    /// Whether any of its alerts flaps.
    pub(super) fn is_flapping(&self) -> bool {
        !self.flapping.is_empty()
    }

    fn add(&mut self, alert: &Alert) {
        if let Some(flaps) = alert.flapping {
            self.flapping.insert((flaps.calm_at, alert.id));
        }
        self.members.insert(alert.id);
        count_name(&mut self.hosts, &alert.host);
        count_name(&mut self.checks, &alert.check);
        self.sources.insert(alert.identity.source().into());
        self.events += u128::from(alert.events);
        self.appended_at = self.appended_at.max(alert.appended_at);
        if alert.is_firing() {
            self.firing.insert((alert.alive_until, alert.id));
            self.statuses[alert.status as usize] += 1;
        }
    }

    fn take_out(&mut self, alert: &Alert) {
        if let Some(flaps) = alert.flapping {
            self.flapping.remove(&(flaps.calm_at, alert.id));
        }
        uncount_name(&mut self.hosts, &alert.host);
        uncount_name(&mut self.checks, &alert.check);
        self.events -= u128::from(alert.events);
        if alert.is_firing() {
            self.firing.remove(&(alert.alive_until, alert.id));
            self.statuses[alert.status as usize] -= 1;
        }
    }
}

/// Something that happens at a time though nothing arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The alert was silent for too long.
    Expire(AlertId),
    /// The alert flapped, and its status has not changed for long.
    Calm(AlertId),
    /// An `updated` has waited for its minute.
    Update(IncidentId),
    /// It is time to say again that it flaps; after `Calm`, which may end that at the same time.
    Remind(IncidentId),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    Alert(AlertId),
    Incident(IncidentId),
    Ok(Identity),
    Settings,
    Topology(Place),
}

/// Where incidents that hold a pair are found, in the order of their first start.
type ByPair = Index<(Box<str>, Pair), BTreeSet<(Timestamp, IncidentId)>>;

/// Everything correlate remembers.
pub(super) struct State {
    settings: Arc<CorrelateSettings>,
    settings_bytes: Vec<u8>,
    mark: Mark,
    alerts: BTreeMap<AlertId, Alert>,
    current: Index<Identity, AlertId>,
    /// Alerts that are kept though a later one of their identity is in force; by identity.
    earlier: BTreeMap<Identity, BTreeSet<AlertId>>,
    incidents: BTreeMap<IncidentId, Held>,
    by_pair: ByPair,
    /// Of patterns about what is near: the values that incidents are at, and how many are.
    centres: BTreeMap<Box<str>, Index<Box<str>, u32>>,
    graphs: Graphs,
    oks: BTreeMap<Identity, RememberedOk>,
    oks_by_age: BTreeSet<(Timestamp, Identity)>,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// Resolved incidents by when they may be forgotten.
    leaving: BTreeSet<(Timestamp, IncidentId)>,
    firing: u64,
    flapping: u64,
    open: u64,
    dirty: BTreeSet<Dirty>,
    oks_dropped: u64,
    pairs_cut: u64,
    alerts_cut: u64,
    near_cut: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            settings: Arc::new(CorrelateSettings {
                reopen_window: Span::from_secs(1_800),
                flapping: FlappingSettings::default(),
                ok_memory_max: 200_000,
                patterns: Vec::new(),
                topology: None,
            }),
            settings_bytes: Vec::new(),
            mark: Mark { offset: -1, ..Mark::default() },
            alerts: BTreeMap::new(),
            current: Index::default(),
            earlier: BTreeMap::new(),
            incidents: BTreeMap::new(),
            by_pair: Index::default(),
            centres: BTreeMap::new(),
            graphs: Graphs::default(),
            oks: BTreeMap::new(),
            oks_by_age: BTreeSet::new(),
            timers: BTreeSet::new(),
            leaving: BTreeSet::new(),
            firing: 0,
            flapping: 0,
            open: 0,
            dirty: BTreeSet::new(),
            oks_dropped: 0,
            pairs_cut: 0,
            alerts_cut: 0,
            near_cut: 0,
        }
    }
}

impl State {
    /// Moves the log's time on; the time now.
    pub(super) fn advance(&mut self, time: Timestamp, offset: Offset) -> Timestamp {
        self.mark.now = self.mark.now.max(time);
        self.mark.offset = offset.0;
        self.mark.now
    }

    /// The next timer that is due, taken out.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Timer> {
        let (deadline, _) = self.timers.first()?;
        if *deadline > now {
            return None;
        }
        self.timers.pop_first().map(|(_, timer)| timer)
    }

    /// Goes by other settings from here on; they touch new alerts only.
    ///
    /// # Errors
    /// When they name a topology that is not wholly here; those in force stay so.
    pub(super) fn go_by(
        &mut self,
        mut settings: CorrelateSettings,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        if self.settings_bytes == bytes {
            return Ok(());
        }
        let before = self.topology().cloned();
        self.with_graph(&mut settings).map_err(WireError)?;
        self.settings = Arc::new(settings);
        if let Some(before) = before.filter(|before| self.digest() != Some(&before.digest)) {
            let gone = self.graphs.forget(&before.digest);
            self.dirty.extend(gone.into_iter().map(Dirty::Topology));
        }
        self.settings_bytes = bytes.to_vec();
        self.dirty.insert(Dirty::Settings);
        self.leaving = BTreeSet::new();
        let resolved = self.incidents.iter().filter(|(_, held)| held.row.resolved.is_some());
        let leaving = resolved.map(|(id, held)| (self.leaves_at(held), *id)).collect();
        self.leaving = leaving;
        Ok(())
    }

    /// Takes a part of a topology that settings may come to name.
    ///
    /// # Errors
    /// When it does not fit the others of its graph.
    pub(super) fn add_part(&mut self, part: Part) -> Result<(), WireError> {
        let in_force = self.digest().map(Box::from);
        let changed = self.graphs.add(part, in_force.as_deref()).map_err(WireError)?;
        self.dirty.extend(changed.into_iter().map(Dirty::Topology));
        Ok(())
    }

    /// Has a graph at hand, which saves decoding it.
    pub(super) fn have(&mut self, topology: Option<Topology>) {
        self.graphs.have(topology);
    }

    /// Adds an alert to the incident it names.
    pub(super) fn add_alert(&mut self, alert: Alert) {
        self.dirty.insert(Dirty::Alert(alert.id));
        self.index_identity(&alert);
        self.index_alert(&alert);
        self.alerts.insert(alert.id, alert);
    }

    /// Changes an alert, and everything counted from it.
    pub(super) fn change_alert(&mut self, id: AlertId, change: impl FnOnce(&mut Alert)) {
        let Some(mut alert) = self.alerts.remove(&id) else { return };
        self.unindex_alert(&alert);
        change(&mut alert);
        self.index_alert(&alert);
        self.alerts.insert(id, alert);
        self.dirty.insert(Dirty::Alert(id));
    }

    /// Adds an incident that has no alerts yet.
    pub(super) fn add_incident(&mut self, incident: Incident) {
        let held = Held::new(incident);
        self.index_incident(&held);
        self.dirty.insert(Dirty::Incident(held.row.id));
        self.incidents.insert(held.row.id, held);
    }

    /// Changes an incident's row, and everything derived from it.
    pub(super) fn change_incident(&mut self, id: IncidentId, change: impl FnOnce(&mut Incident)) {
        let Some(mut held) = self.incidents.remove(&id) else { return };
        self.unindex_incident(&held);
        change(&mut held.row);
        self.index_incident(&held);
        self.incidents.insert(id, held);
        self.dirty.insert(Dirty::Incident(id));
    }

    /// Drops an incident and its alerts for good.
    pub(super) fn remove_incident(&mut self, id: IncidentId) {
        let Some(held) = self.incidents.remove(&id) else { return };
        self.unindex_incident(&held);
        self.dirty.insert(Dirty::Incident(id));
        for id in &held.members {
            let Some(alert) = self.alerts.remove(id) else { continue };
            if alert.is_firing() {
                self.firing -= 1;
            }
            self.stop_timers(&alert);
            self.unindex_identity(&alert);
            self.dirty.insert(Dirty::Alert(alert.id));
        }
    }

    /// Remembers an `ok` of an identity without an alert; the oldest give way for room.
    pub(super) fn remember_ok(&mut self, identity: Identity, at: Timestamp) {
        let appended_at = self.mark.now;
        let known = self.forget_ok(&identity);
        let at = known.map_or(at, |known| known.at.max(at));
        self.oks_by_age.insert((appended_at, identity.clone()));
        self.dirty.insert(Dirty::Ok(identity.clone()));
        self.oks.insert(identity.clone(), RememberedOk { identity, at, appended_at });
        while self.oks.len() > self.settings.ok_memory_max {
            let Some((_, oldest)) = self.oks_by_age.first().cloned() else { break };
            self.forget_ok(&oldest);
            self.oks_dropped += 1;
        }
    }

    /// Takes a remembered `ok` out.
    pub(super) fn forget_ok(&mut self, identity: &Identity) -> Option<RememberedOk> {
        let known = self.oks.remove(identity)?;
        self.oks_by_age.remove(&(known.appended_at, known.identity.clone()));
        self.dirty.insert(Dirty::Ok(known.identity.clone()));
        Some(known)
    }

    /// An `ok` whose time to be remembered is over.
    pub(super) fn stale_ok(&self, now: Timestamp) -> Option<Identity> {
        let (appended_at, identity) = self.oks_by_age.first()?;
        (*appended_at + self.settings.reopen_window < now).then(|| identity.clone())
    }

    /// A resolved incident whose time to be remembered is over.
    pub(super) fn stale_incident(&self, now: Timestamp) -> Option<IncidentId> {
        let (leaves_at, id) = self.leaving.first()?;
        (*leaves_at < now).then_some(*id)
    }

    /// Counts pairs that were left out.
    pub(super) fn count_pairs_cut(&mut self, cut: u64) {
        self.pairs_cut += cut;
    }

    /// Takes the number of remembered oks dropped for room.
    pub(super) fn take_oks_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.oks_dropped)
    }

    /// Counts alerts that were left out of a change.
    pub(super) fn count_alerts_cut(&mut self, cut: u64) {
        self.alerts_cut += cut;
    }

    /// Takes the number of alerts left out of changes.
    pub(super) fn take_alerts_cut(&mut self) -> u64 {
        std::mem::take(&mut self.alerts_cut)
    }

    /// Counts a search for what is near that stopped at its bound.
    pub(super) fn count_near_cut(&mut self) {
        self.near_cut += 1;
    }

    /// Takes the number of searches that stopped at their bound.
    pub(super) fn take_near_cut(&mut self) -> u64 {
        std::mem::take(&mut self.near_cut)
    }

    /// Takes the number of pairs left out.
    pub(super) fn take_pairs_cut(&mut self) -> u64 {
        std::mem::take(&mut self.pairs_cut)
    }

    /// The rows that changed since the last call, and the mark.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut rows: Vec<Row> = dirty.into_iter().map(|dirty| self.row(dirty)).collect();
        self.mark.commits += 1;
        if let Some(digest) = self.digest().map(Box::<str>::from) {
            self.graphs.settle(&digest);
        }
        rows.push(Row { key: row::MARK_KEY.to_vec(), value: Some(row::encode_mark(self.mark)) });
        rows
    }

    /// Takes a row back.
    pub(super) fn restore(&mut self, row: CorrelateRow) -> Result<(), WireError> {
        match row {
            CorrelateRow::Alert(alert) => {
                self.alerts.insert(alert.id, *alert);
            }
            CorrelateRow::Incident(incident) => {
                self.incidents.insert(incident.id, Held::new(*incident));
            }
            CorrelateRow::Ok(ok) => {
                self.oks_by_age.insert((ok.appended_at, ok.identity.clone()));
                self.oks.insert(ok.identity.clone(), ok);
            }
            CorrelateRow::Settings(bytes) => {
                self.settings = Arc::new(settings::decode(&bytes)?);
                self.settings_bytes = bytes;
            }
            CorrelateRow::Mark(mark) => self.mark = mark,
            CorrelateRow::Topology(part) => self.graphs.restore(part),
        }
        Ok(())
    }

    /// Derives everything from the rows that came back.
    pub(super) fn restored(&mut self) -> Result<(), RowError> {
        let mut settings = CorrelateSettings::clone(&self.settings);
        self.with_graph(&mut settings).map_err(|why| RowError {
            key: String::from_utf8_lossy(row::SETTINGS_KEY).into_owned(),
            why,
        })?;
        self.settings = Arc::new(settings);
        if let Some(digest) = self.digest().map(Box::<str>::from) {
            self.graphs.settle(&digest);
        }
        let alerts = std::mem::take(&mut self.alerts);
        for alert in alerts.values() {
            if !self.incidents.contains_key(&alert.incident) {
                let key = String::from_utf8_lossy(&row::alert_key(alert.id)).into_owned();
                let why = format!("its incident {} has no row", alert.incident);
                return Err(RowError { key, why });
            }
            self.index_alert(alert);
            // Ids sort by start, so that the newest alert of an identity comes last.
            self.index_identity(alert);
        }
        self.alerts = alerts;
        let incidents = std::mem::take(&mut self.incidents);
        for held in incidents.values() {
            self.index_incident(held);
        }
        self.incidents = incidents;
        Ok(())
    }

    /// What correlate goes by.
    pub(super) fn settings(&self) -> &CorrelateSettings {
        &self.settings
    }

    /// What correlate goes by, to hold while the state changes.
    pub(super) fn shared_settings(&self) -> Arc<CorrelateSettings> {
        Arc::clone(&self.settings)
    }

    /// The settings as the record has them; empty where none was read.
    pub(super) fn settings_bytes(&self) -> &[u8] {
        &self.settings_bytes
    }

    /// The largest append time seen.
    pub(super) fn now(&self) -> Timestamp {
        self.mark.now
    }

    /// Every alert, by id.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// Every incident's id.
    pub(super) fn incidents(&self) -> impl Iterator<Item = IncidentId> {
        self.incidents.keys().copied()
    }

    /// An alert.
    pub(super) fn alert(&self, id: AlertId) -> Option<&Alert> {
        self.alerts.get(&id)
    }

    /// The alert in force for an identity.
    pub(super) fn current(&self, identity: &Identity) -> Option<&Alert> {
        self.alerts.get(self.current.get(identity)?)
    }

    /// An incident.
    pub(super) fn incident(&self, id: IncidentId) -> Option<&Held> {
        self.incidents.get(&id)
    }

    /// The incidents of a shard that hold a pair, by first start.
    pub(super) fn holding(
        &self,
        shard: &str,
        pair: &Pair,
    ) -> Option<&BTreeSet<(Timestamp, IncidentId)>> {
        self.by_pair.get(&(Box::from(shard), pair.clone()))
    }

    /// Whether no incident is at any node by this pattern.
    pub(super) fn is_centre_of_none(&self, pattern: &str) -> bool {
        !self.centres.contains_key(pattern)
    }

    /// Whether an incident is at this value by this pattern.
    pub(super) fn is_centre(&self, pattern: &str, value: &str) -> bool {
        self.centres.get(pattern).is_some_and(|values| values.contains(value))
    }

    /// The digest of the topology in force.
    pub(super) fn digest(&self) -> Option<&str> {
        self.topology().map(|topology| &*topology.digest)
    }

    fn topology(&self) -> Option<&Topology> {
        self.settings.topology.as_ref()
    }

    /// Gives settings the graph that they name.
    fn with_graph(&self, settings: &mut CorrelateSettings) -> Result<(), String> {
        let Some(topology) = &mut settings.topology else { return Ok(()) };
        let in_force = self.topology().filter(|other| other.digest == topology.digest);
        topology.graph = match in_force.and_then(|other| other.graph.clone()) {
            Some(graph) => Some(graph),
            None => Some(self.graphs.whole(topology)?),
        };
        Ok(())
    }

    /// The remembered `ok` of an identity.
    pub(super) fn ok(&self, identity: &Identity) -> Option<&RememberedOk> {
        self.oks.get(identity)
    }

    /// How many alerts fire, how many of them flap, and how many incidents are open.
    pub(super) fn open(&self) -> Open {
        Open { alerts: self.firing, flapping: self.flapping, incidents: self.open }
    }

    /// When the next timer is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    fn row(&self, dirty: Dirty) -> Row {
        let (key, value) = match dirty {
            Dirty::Alert(id) => (row::alert_key(id), self.alerts.get(&id).map(row::encode_alert)),
            Dirty::Incident(id) => {
                let held = self.incidents.get(&id);
                (row::incident_key(id), held.map(|held| row::encode_incident(&held.row)))
            }
            Dirty::Ok(identity) => {
                (row::ok_key(&identity), self.oks.get(&identity).map(row::encode_ok))
            }
            Dirty::Topology((digest, number)) => {
                let part = self.graphs.part(&digest, number).map(topology::encode);
                (topology::key(&digest, number), part)
            }
            Dirty::Settings => (row::SETTINGS_KEY.to_vec(), Some(self.settings_bytes.clone())),
        };
        Row { key, value }
    }

    /// The alert with the highest id is in force for its identity.
    fn index_identity(&mut self, alert: &Alert) {
        if let Some(before) = self.current.insert(alert.identity.clone(), alert.id) {
            self.earlier.entry(alert.identity.clone()).or_default().insert(before);
        }
    }

    /// When the alert in force goes, the one before it is: rows alone must tell which one is.
    fn unindex_identity(&mut self, alert: &Alert) {
        let identity = &alert.identity;
        let in_force = self.current.get(identity) == Some(&alert.id);
        let earlier = self.earlier.get_mut(identity);
        match (in_force, earlier) {
            (true, Some(earlier)) => {
                let before = earlier.pop_last().expect("a set without alerts is taken out");
                self.current.insert(identity.clone(), before);
            }
            (true, None) => {
                self.current.remove(identity);
            }
            (false, Some(earlier)) => {
                earlier.remove(&alert.id);
            }
            (false, None) => {}
        }
        if self.earlier.get(identity).is_some_and(BTreeSet::is_empty) {
            self.earlier.remove(identity);
        }
    }

    fn index_alert(&mut self, alert: &Alert) {
        if alert.is_firing() {
            self.firing += 1;
            self.timers.insert((expires_at(alert), Timer::Expire(alert.id)));
        }
        if let Some(flaps) = alert.flapping {
            self.flapping += 1;
            self.timers.insert((flaps.calm_due, Timer::Calm(alert.id)));
        }
        if let Some(held) = self.incidents.get_mut(&alert.incident) {
            let before = held.row.resolved.map(|_| held.appended_at);
            held.add(alert);
            if let Some(before) = before.filter(|before| *before != held.appended_at) {
                let memory = self.settings.memory();
                let id = held.row.id;
                self.leaving.remove(&(before + memory, id));
                self.leaving.insert((held.appended_at + memory, id));
            }
        }
    }

    fn unindex_alert(&mut self, alert: &Alert) {
        if alert.is_firing() {
            self.firing -= 1;
        }
        self.stop_timers(alert);
        if let Some(held) = self.incidents.get_mut(&alert.incident) {
            held.take_out(alert);
        }
    }

    fn stop_timers(&mut self, alert: &Alert) {
        self.timers.remove(&(expires_at(alert), Timer::Expire(alert.id)));
        if let Some(flaps) = alert.flapping {
            self.flapping -= 1;
            self.timers.remove(&(flaps.calm_due, Timer::Calm(alert.id)));
        }
    }

    fn index_incident(&mut self, held: &Held) {
        let Incident { id, first, .. } = held.row;
        for pair in &held.row.pairs {
            let key = (held.row.shard.clone(), pair.clone());
            self.by_pair.entry_or(key, BTreeSet::new).insert((first, id));
            if let Some((_, value)) = &pair.near {
                let values = self.centres.entry(pair.pattern.clone()).or_default();
                *values.entry_or(value.clone(), || 0) += 1;
            }
        }
        match held.row.resolved {
            None => self.open += 1,
            Some(_) => {
                self.leaving.insert((self.leaves_at(held), id));
            }
        }
        if let Some(due) = update_due(&held.row) {
            self.timers.insert((due, Timer::Update(id)));
        }
        if let Some(due) = held.row.remind_at {
            self.timers.insert((due, Timer::Remind(id)));
        }
    }

    fn unindex_incident(&mut self, held: &Held) {
        let Incident { id, first, .. } = held.row;
        for pair in &held.row.pairs {
            let key = (held.row.shard.clone(), pair.clone());
            if let Some(holding) = self.by_pair.get_mut(&key) {
                holding.remove(&(first, id));
                if holding.is_empty() {
                    self.by_pair.remove(&key);
                }
            }
            if let Some((_, value)) = &pair.near {
                self.leave_centre(&pair.pattern, value);
            }
        }
        match held.row.resolved {
            None => self.open -= 1,
            Some(_) => {
                self.leaving.remove(&(self.leaves_at(held), id));
            }
        }
        if let Some(due) = update_due(&held.row) {
            self.timers.remove(&(due, Timer::Update(id)));
        }
        if let Some(due) = held.row.remind_at {
            self.timers.remove(&(due, Timer::Remind(id)));
        }
    }

    fn leave_centre(&mut self, pattern: &str, value: &str) {
        let Some(values) = self.centres.get_mut(pattern) else { return };
        let count = values.get_mut(value).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if count == 0 {
            values.remove(value);
        }
        if values.is_empty() {
            self.centres.remove(pattern);
        }
    }

    fn leaves_at(&self, held: &Held) -> Timestamp {
        held.appended_at + self.settings.memory()
    }
}

/// By log time: when an alert was silent for as long as it lives, and a refresh.
fn expires_at(alert: &Alert) -> Timestamp {
    let lives = alert.alive_until.since(alert.newest);
    alert.appended_at + lives + refresh_every(lives)
}

/// When an `updated` that waits is due: a minute after the last one.
fn update_due(incident: &Incident) -> Option<Timestamp> {
    let last = incident.updated_at?;
    (!incident.updates.is_empty()).then_some(last + Span::MINUTE)
}
