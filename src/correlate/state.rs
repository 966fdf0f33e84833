//! Everything correlate remembers, and which of its rows changed.
//!
//! Rows are the truth; indexes, counts and timers are derived from them, so that a state restored
//! from its rows is the same state. Whoever changes a row goes through here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chronic::Rates;
use super::pairs;
use super::requests::Requests;
use crate::model::update::refresh_every;
use crate::model::{
    Alert, AlertId, CorrelateSettings, Identity, Incident, IncidentId, Index, MatcherIndex, Pair,
    Resolution, Span, Status, Timestamp,
};
use crate::stage::{Offset, Open, Row, RowError};
use crate::wire::row::{self, CorrelateRow, Mark, RememberedOk};
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
    /// The append time of the last record of its alerts, or of a command that moved some.
    appended_at: Timestamp,
}

impl Held {
    fn new(row: Incident) -> Self {
        Self {
            appended_at: row.reshaped_at.unwrap_or(Timestamp::MIN),
            row,
            firing: BTreeSet::new(),
            flapping: BTreeSet::new(),
            members: BTreeSet::new(),
            hosts: Names::new(),
            checks: Names::new(),
            sources: BTreeSet::new(),
            events: 0,
            statuses: [0; Status::ALL.len()],
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
        if let Some(flaps) = alert.flaps() {
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
        if let Some(flaps) = alert.flaps() {
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
    /// The time for which somebody takes care of it is over.
    Unacknowledge(IncidentId),
    /// The time for which it is quiet is over.
    Unsnooze(IncidentId),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    Alert(AlertId),
    Incident(IncidentId),
    Ok(Identity),
    Settings,
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
    oks: BTreeMap<Identity, RememberedOk>,
    oks_by_age: BTreeSet<(Timestamp, Identity)>,
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
    open: u64,
    dirty: BTreeSet<Dirty>,
    oks_dropped: u64,
    pairs_cut: u64,
    alerts_cut: u64,
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
            oks: BTreeMap::new(),
            oks_by_age: BTreeSet::new(),
            timers: BTreeSet::new(),
            rates: Rates::default(),
            leaving: BTreeSet::new(),
            requests: Requests::default(),
            firing: 0,
            flapping: 0,
            chronic: 0,
            open: 0,
            dirty: BTreeSet::new(),
            oks_dropped: 0,
            pairs_cut: 0,
            alerts_cut: 0,
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
    pub(super) fn go_by(&mut self, settings: CorrelateSettings, bytes: &[u8]) {
        if self.settings_bytes == bytes {
            return;
        }
        self.patterns = pairs::index(&settings);
        self.settings = Arc::new(settings);
        self.settings_bytes = bytes.to_vec();
        self.dirty.insert(Dirty::Settings);
        self.leaving = BTreeSet::new();
        let resolved = self.incidents.iter().filter(|(_, held)| held.row.resolved.is_some());
        let leaving = resolved.map(|(id, held)| (leaves_at(&self.settings, held), *id)).collect();
        self.leaving = leaving;
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
        // What only grows is counted anew: rows alone must tell it.
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
        self.mark.commits += 1;
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
                let settings = settings::decode(&bytes)?;
                self.patterns = pairs::index(&settings);
                self.settings = Arc::new(settings);
                self.settings_bytes = bytes;
            }
            CorrelateRow::Result(result) => self.requests.restore_result(*result),
            CorrelateRow::Undoable(undoable) => self.requests.restore_undoable(*undoable),
            CorrelateRow::Rate(rate) => self.rates.restore(rate),
            CorrelateRow::Mark(mark) => self.mark = mark,
        }
        Ok(())
    }

    /// Derives everything from the rows that came back.
    pub(super) fn restored(&mut self) -> Result<(), RowError> {
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

    /// The remembered `ok` of an identity.
    pub(super) fn ok(&self, identity: &Identity) -> Option<&RememberedOk> {
        self.oks.get(identity)
    }

    /// How many alerts fire, how many of them flap, and how many incidents are open.
    pub(super) fn open(&self) -> Open {
        Open {
            alerts: self.firing,
            flapping: self.flapping,
            chronic: self.chronic,
            incidents: self.open,
        }
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
        if let Some(moved) = alert.why.moves.last() {
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
    }

    fn index_incident(&mut self, held: &Held) {
        let Incident { id, first, .. } = held.row;
        for pair in &held.row.pairs {
            let key = (held.row.shard.clone(), pair.clone());
            self.by_pair.entry_or(key, BTreeSet::new).insert((first, id));
        }
        match held.row.resolved {
            None => self.open += 1,
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
        }
        match held.row.resolved {
            None => self.open -= 1,
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
}

/// When an incident that is over may be forgotten, by log time.
fn leaves_at(settings: &CorrelateSettings, held: &Held) -> Timestamp {
    let leaves = held.appended_at + settings.memory();
    match held.row.resolved {
        Some((at, Resolution::ByHand)) => leaves.max(at + settings.dismissal_memory()),
        _ => leaves,
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

/// What ends by itself because somebody said when.
fn promised(incident: &Incident) -> impl Iterator<Item = (Timestamp, Timer)> + use<> {
    let id = incident.id;
    let acknowledged = incident.acknowledged.as_ref().and_then(|by| by.until);
    let snoozed = incident.snoozed.as_ref().map(|snoozed| snoozed.until);
    acknowledged
        .map(|until| (until, Timer::Unacknowledge(id)))
        .into_iter()
        .chain(snoozed.map(|until| (until, Timer::Unsnooze(id))))
}
