//! Everything correlate remembers, and which of its rows changed.
//!
//! Rows are the truth; indexes, counts and timers are derived from them, so that a state restored
//! from its rows is the same state. Whoever changes a row goes through here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chronic::Rates;
use super::deadlines::{Timer, expires_at, leaves_at, promised, update_due};
use super::heartbeats::Heartbeats;
use super::held::Held;
use super::maintenance::Plans;
use super::pairs;
use super::requests::Requests;
use super::topology::{Graphs, Place};
use crate::model::{
    Alert, AlertId, CorrelateSettings, Identity, Incident, IncidentId, Index, MaintenanceId,
    MatcherIndex, Pair, Timestamp, Topology,
};
use crate::stage::{Offset, Open, Row, RowError};
use crate::wire;
use crate::wire::row::{self, CorrelateRow, Mark, RememberedOk};
use crate::wire::topology::{self, Part};
use crate::wire::{WireError, settings};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    Alert(AlertId),
    Incident(IncidentId),
    Ok(Identity),
    Plan(MaintenanceId),
    Sweep,
    Settings,
    Topology(Place),
}

/// Where incidents that hold a pair are found, in the order of their first start.
type ByPair = Index<(Box<str>, Pair), BTreeSet<(Timestamp, IncidentId)>>;

/// Everything correlate remembers.
pub(super) struct State {
    settings: Arc<CorrelateSettings>,
    settings_bytes: Vec<u8>,
    patterns: MatcherIndex<usize>,
    mark: Mark,
    alerts: BTreeMap<AlertId, Alert>,
    current: Index<Identity, AlertId>,
    /// Alerts by the request that moved them last.
    moved_by: BTreeMap<Box<str>, BTreeSet<AlertId>>,
    /// Alerts that are kept though a later one of their identity is in force; by identity.
    earlier: BTreeMap<Identity, BTreeSet<AlertId>>,
    incidents: BTreeMap<IncidentId, Held>,
    by_pair: ByPair,
    /// Of patterns about what is near: the values that incidents are at, and how many are.
    centres: BTreeMap<Box<str>, Index<Box<str>, u32>>,
    graphs: Graphs,
    oks: BTreeMap<Identity, RememberedOk>,
    oks_by_age: BTreeSet<(Timestamp, Identity)>,
    plans: Plans,
    /// What must be heard of.
    pub(super) heartbeats: Heartbeats,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// How often identities began to fire lately.
    rates: Rates,
    /// Resolved incidents by when they may be forgotten.
    leaving: BTreeSet<(Timestamp, IncidentId)>,
    /// What people asked for lately.
    pub(super) requests: Requests,
    firing: u64,
    flapping: u64,
    chronic: u64,
    maintained: u64,
    open: u64,
    held: u64,
    dirty: BTreeSet<Dirty>,
    oks_dropped: u64,
    pairs_cut: u64,
    alerts_cut: u64,
    near_cut: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            settings: Arc::default(),
            settings_bytes: Vec::new(),
            patterns: MatcherIndex::default(),
            mark: Mark { offset: -1, ..Mark::default() },
            alerts: BTreeMap::new(),
            current: Index::default(),
            moved_by: BTreeMap::new(),
            earlier: BTreeMap::new(),
            incidents: BTreeMap::new(),
            by_pair: Index::default(),
            centres: BTreeMap::new(),
            graphs: Graphs::default(),
            oks: BTreeMap::new(),
            oks_by_age: BTreeSet::new(),
            plans: Plans::default(),
            heartbeats: Heartbeats::default(),
            timers: BTreeSet::new(),
            rates: Rates::default(),
            leaving: BTreeSet::new(),
            requests: Requests::default(),
            firing: 0,
            flapping: 0,
            chronic: 0,
            maintained: 0,
            open: 0,
            held: 0,
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
        self.patterns = pairs::index(&settings);
        self.settings = Arc::new(settings);
        if let Some(before) = before.filter(|before| self.digest() != Some(&before.digest)) {
            let gone = self.graphs.forget(&before.digest);
            self.dirty.extend(gone.into_iter().map(Dirty::Topology));
        }
        self.settings_bytes = bytes.to_vec();
        self.dirty.insert(Dirty::Settings);
        self.leaving = BTreeSet::new();
        let resolved = self.incidents.iter().filter(|(_, held)| held.row.resolved.is_some());
        let leaving = resolved.map(|(id, held)| (leaves_at(&self.settings, held), *id)).collect();
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
        held.appended_at = held.appended_at.max(held.row.reshaped_at.unwrap_or(Timestamp::MIN));
        self.index_incident(&held);
        self.incidents.insert(id, held);
        self.dirty.insert(Dirty::Incident(id));
    }

    /// Moves alerts of one incident into others, each changed on the way.
    pub(super) fn move_alerts(
        &mut self,
        from: IncidentId,
        alerts: &[(AlertId, IncidentId)],
        mut change: impl FnMut(&mut Alert),
    ) {
        for (id, into) in alerts {
            let Some(mut alert) = self.alerts.remove(id) else { continue };
            self.unindex_alert(&alert);
            if let Some(held) = self.incidents.get_mut(&from) {
                held.members.remove(id);
            }
            change(&mut alert);
            alert.incident = *into;
            self.index_alert(&alert);
            self.alerts.insert(*id, alert);
            self.dirty.insert(Dirty::Alert(*id));
        }
        self.recount(from);
    }

    /// Takes an alert out of its incident, to put it elsewhere.
    pub(super) fn take_alert(&mut self, id: AlertId) -> Option<Alert> {
        let alert = self.alerts.remove(&id)?;
        self.unindex_alert(&alert);
        self.unindex_identity(&alert);
        if let Some(held) = self.incidents.get_mut(&alert.incident) {
            held.members.remove(&id);
        }
        self.dirty.insert(Dirty::Alert(id));
        Some(alert)
    }

    /// What only grows is counted anew after alerts left: rows alone must tell it.
    pub(super) fn recount(&mut self, from: IncidentId) {
        let Some(mut held) = self.incidents.remove(&from) else { return };
        self.unindex_incident(&held);
        let members = || held.members.iter().filter_map(|id| self.alerts.get(id));
        let last = members().map(|alert| alert.appended_at).max();
        let sources = members().map(|alert| Box::from(alert.identity.source())).collect();
        let latest = members().map(|alert| alert.started_at).max().unwrap_or(held.row.first);
        held.appended_at = last.max(held.row.reshaped_at).unwrap_or(Timestamp::MIN);
        held.row.latest = latest.max(held.row.first);
        held.sources = sources;
        self.index_incident(&held);
        self.incidents.insert(from, held);
        self.dirty.insert(Dirty::Incident(from));
    }

    /// The alerts that a request moved, and no other since.
    pub(super) fn moved_by(&self, request: &str) -> Option<&BTreeSet<AlertId>> {
        self.moved_by.get(request)
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
                self.chronic -= u64::from(alert.chronic);
            }
            self.stop_timers(&alert);
            self.unindex_move(&alert);
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

    /// Counts that an identity began to fire; whether it is chronic with it.
    pub(super) fn counts_episode(&mut self, identity: &Identity, at: Timestamp) -> bool {
        self.rates.count(self.settings.chronic, self.mark.now, identity, at)
    }

    /// Forgets how often those fired who were silent for long.
    pub(super) fn forget_rates(&mut self, now: Timestamp) {
        self.rates.forget(self.settings.chronic, now);
    }

    /// Takes the number of rates dropped for room.
    pub(super) fn take_rates_dropped(&mut self) -> u64 {
        self.rates.take_dropped()
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
        rows.extend(self.requests.take_rows());
        rows.extend(self.rates.take_rows());
        rows.extend(self.heartbeats.take_rows());
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
            CorrelateRow::Plan(stored) => self.plans.restore(*stored),
            CorrelateRow::Sweep(sweep) => self.plans.restore_sweep(sweep),
            CorrelateRow::Heartbeat(row) => self.heartbeats.restore(*row),
            CorrelateRow::Watched(watched) => self.heartbeats.restore_watched(watched),
            CorrelateRow::Settings(bytes) => {
                let settings = settings::decode(&bytes)?;
                self.patterns = pairs::index(&settings);
                self.settings = Arc::new(settings);
                self.settings_bytes = bytes;
            }
            CorrelateRow::Result(result) => self.requests.restore_result(*result),
            CorrelateRow::Undoable(undoable) => self.requests.restore_undoable(*undoable),
            CorrelateRow::Rate(rate) => self.rates.restore(rate),
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
        let timers = self.plans.restored(self.mark.now, &self.settings.maintenance);
        self.timers.extend(timers);
        Ok(())
    }

    /// Planned work.
    pub(super) fn plans(&self) -> &Plans {
        &self.plans
    }

    /// Planned work, to change; for `maintenance` alone, which says which rows changed.
    pub(super) fn plans_mut(&mut self) -> &mut Plans {
        &mut self.plans
    }

    /// The row of a plan changed, or is none any more.
    pub(super) fn plan_changed(&mut self, id: MaintenanceId) {
        self.dirty.insert(Dirty::Plan(id));
    }

    /// A sweep is further, or there is none any more.
    pub(super) fn sweep_changed(&mut self) {
        self.dirty.insert(Dirty::Sweep);
    }

    /// Moves a timer from one time to another.
    pub(super) fn rearm(&mut self, timer: Timer, from: Option<Timestamp>, to: Option<Timestamp>) {
        if let Some(from) = from {
            self.timers.remove(&(from, timer));
        }
        self.timers.extend(to.map(|to| (to, timer)));
    }

    /// Alerts by id, from one on.
    pub(super) fn alerts_from(&self, id: AlertId) -> impl Iterator<Item = &Alert> {
        self.alerts.range(id..).map(|(_, alert)| alert)
    }

    /// What correlate goes by.
    pub(super) fn settings(&self) -> &CorrelateSettings {
        &self.settings
    }

    /// The patterns by their matchers.
    pub(super) fn patterns(&self) -> &MatcherIndex<usize> {
        &self.patterns
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
        if topology.graph.is_some() {
            return Ok(());
        }
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

    /// How many alerts fire, how many of them flap or are in maintenance, and how many incidents are
    /// open.
    pub(super) fn open(&self) -> Open {
        Open {
            alerts: self.firing,
            flapping: self.flapping,
            chronic: self.chronic,
            maintenance: self.maintained,
            incidents: self.open,
            held: self.held,
            heartbeats: self.heartbeats.counted().0,
            missed: self.heartbeats.counted().1,
        }
    }

    /// When the next timer is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(deadline, _)| *deadline);
        let gone = self.heartbeats.has_gone().then_some(self.mark.now);
        timer.into_iter().chain(self.plans.sweep_due()).chain(gone).min()
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
            Dirty::Plan(id) => (wire::maintenance::plan_key(id), self.plans.row(id)),
            Dirty::Sweep => (wire::maintenance::SWEEP_KEY.to_vec(), self.plans.sweep_row()),
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

    fn index_move(&mut self, alert: &Alert) {
        if let Some(moved) = alert.why.moves.last().filter(|moved| !moved.request.is_empty()) {
            self.moved_by.entry(moved.request.clone()).or_default().insert(alert.id);
        }
    }

    fn unindex_move(&mut self, alert: &Alert) {
        let Some(moved) = alert.why.moves.last() else { return };
        if let Some(alerts) = self.moved_by.get_mut(&moved.request) {
            alerts.remove(&alert.id);
            if alerts.is_empty() {
                self.moved_by.remove(&moved.request);
            }
        }
    }

    fn index_alert(&mut self, alert: &Alert) {
        self.index_move(alert);
        if alert.is_firing() {
            self.firing += 1;
            self.chronic += u64::from(alert.chronic);
            self.timers.insert((expires_at(alert), Timer::Expire(alert.id)));
        }
        if let Some(flaps) = alert.flaps() {
            self.flapping += 1;
            self.timers.insert((flaps.calm_due, Timer::Calm(alert.id)));
        }
        self.maintained += u64::from(alert.is_maintained());
        if let Some(held) = self.incidents.get_mut(&alert.incident) {
            let before = leaves_at(&self.settings, held);
            held.add(alert);
            let after = leaves_at(&self.settings, held);
            if held.row.resolved.is_some() && before != after {
                let id = held.row.id;
                self.leaving.remove(&(before, id));
                self.leaving.insert((after, id));
            }
        }
    }

    fn unindex_alert(&mut self, alert: &Alert) {
        self.unindex_move(alert);
        if alert.is_firing() {
            self.firing -= 1;
            self.chronic -= u64::from(alert.chronic);
        }
        self.stop_timers(alert);
        if let Some(held) = self.incidents.get_mut(&alert.incident) {
            held.take_out(alert);
        }
    }

    fn stop_timers(&mut self, alert: &Alert) {
        self.timers.remove(&(expires_at(alert), Timer::Expire(alert.id)));
        if let Some(flaps) = alert.flaps() {
            self.flapping -= 1;
            self.timers.remove(&(flaps.calm_due, Timer::Calm(alert.id)));
        }
        self.maintained -= u64::from(alert.is_maintained());
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
            None => {
                self.open += 1;
                self.held += u64::from(held.row.hold.is_some());
            }
            Some(_) => {
                self.leaving.insert((leaves_at(&self.settings, held), id));
            }
        }
        if let Some(due) = update_due(&held.row) {
            self.timers.insert((due, Timer::Update(id)));
        }
        if let Some(due) = held.row.remind_at {
            self.timers.insert((due, Timer::Remind(id)));
        }
        self.timers.extend(promised(&held.row));
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
            None => {
                self.open -= 1;
                self.held -= u64::from(held.row.hold.is_some());
            }
            Some(_) => {
                self.leaving.remove(&(leaves_at(&self.settings, held), id));
            }
        }
        if let Some(due) = update_due(&held.row) {
            self.timers.remove(&(due, Timer::Update(id)));
        }
        if let Some(due) = held.row.remind_at {
            self.timers.remove(&(due, Timer::Remind(id)));
        }
        for promised in promised(&held.row) {
            self.timers.remove(&promised);
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
}
