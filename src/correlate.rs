//! Stage 2: alerts to incidents. The only authority over both.
//!
//! A function of its log: the same records give the same changes, byte for byte, wherever commits
//! fall. `alerts` decides what an update means for its identity, `flapping` whether its status is
//! told, `chronic` whether it fires steadily, `maintenance` whether it counts, `join` which incident
//! an alert belongs to, `hold` whether that is told, `near` what is near it by the `topology`,
//! `heartbeats` which silence is a problem, `lifecycle` opens, ends and forgets, `report` tells what
//! became of an incident; `state` holds it all and knows which rows changed. What
//! people ask for comes by `commands`: `people`, `by_hand`, `reshape` and `recorrelate` do it,
//! `requests` remembers it. It cannot fail: what it cannot read is set aside as a dead letter.

use std::sync::Arc;

use crate::collect::decode::Rejected;
use crate::collect::{Origin, dead_letter};
use crate::model::{Beat, CorrelateSettings, IncidentId, Pulse, Timestamp, Topology};
use crate::stage::{
    Kind, Limit, Outgoing, Output, Reason, Record, Route, RowError, Slot, Stage, Tally, Topic,
};
use crate::wire;
use crate::wire::WireError;
use deadlines::Timer;
use state::State;
use touched::Touched;

mod alerts;
mod by_hand;
mod chronic;
mod commands;
mod deadlines;
mod flapping;
mod heartbeats;
mod held;
mod hold;
mod join;
mod lifecycle;
mod maintenance;
mod near;
mod pairs;
mod people;
mod recorrelate;
mod report;
mod requests;
mod reshape;
mod state;
mod topology;
mod touched;

/// The correlate stage of one partition of `muster.alerts`.
pub struct Correlate {
    state: State,
    /// The settings that should be in force, as a record has them.
    wanted: Arc<[u8]>,
    /// What became of the command that the present record is.
    asked: Option<commands::Asked>,
    /// The probe that the present record is.
    probed: Option<Box<str>>,
    /// The topology that they name, with its graph.
    wanted_topology: Option<Topology>,
    tally: Tally,
}

impl Correlate {
    /// A stage without a past, that will ask for `wanted` to come into force. Until a settings
    /// record is read it has no patterns: each alert is an incident of its own.
    #[must_use]
    pub fn new(wanted: &CorrelateSettings) -> Self {
        let mut state = State::default();
        state.have(wanted.topology.clone());
        Self {
            state,
            wanted: wire::settings::encode(wanted).into(),
            asked: None,
            probed: None,
            wanted_topology: wanted.topology.clone(),
            tally: Tally::default(),
        }
    }

    /// Other settings should be in force: `opening` asks for them where they are not.
    pub fn want(&mut self, wanted: &CorrelateSettings) {
        self.wanted = wire::settings::encode(wanted).into();
        self.wanted_topology = wanted.topology.clone();
        self.state.have(wanted.topology.clone());
    }

    /// The incident of the alert that is in force for an identity, with the alert's id.
    #[must_use]
    pub fn place_of(
        &self,
        identity: &crate::model::Identity,
    ) -> Option<(crate::model::AlertId, IncidentId)> {
        let alert = self.state.current(identity)?;
        Some((alert.id, alert.incident))
    }

    /// Every alert that is kept, in the order of ids: for comparing states.
    pub fn alerts(&self) -> impl Iterator<Item = &crate::model::Alert> {
        self.state.alerts()
    }

    /// Every incident that is kept as a change that concerns all its alerts: what a board begins
    /// with.
    #[must_use]
    pub fn incidents(&self) -> Vec<crate::model::Change> {
        self.state.incidents().map(|id| report::whole(&self.state, id)).collect()
    }

    /// What became of commands lately.
    pub fn results(&self) -> impl Iterator<Item = &crate::model::CommandResult> {
        self.state.requests.results()
    }

    /// The maintenance plans that somebody asked for, by id.
    pub fn plans(&self) -> impl Iterator<Item = wire::maintenance::StoredPlan> {
        self.state.plans().asked_for()
    }

    /// Every heartbeat that is watched, by name and value.
    pub fn heartbeats(&self) -> impl Iterator<Item = &crate::model::Beating> {
        self.state.heartbeats.all()
    }

    fn read(&mut self, slot: Slot, record: &Record<'_>, out: &mut Output) -> Touched {
        let mut touched = Touched::default();
        let now = self.state.advance(record.time, record.offset);
        self.fire_timers(now, &mut touched);
        let bytes = record.value.unwrap_or_default();
        let read = match record.kind {
            Kind::Update => wire::update::decode(bytes).map(|update| {
                let late = alerts::update(&mut self.state, &mut touched, now, update);
                self.tally.late += u64::from(late == alerts::Arrived::Late);
            }),
            Kind::Touch => wire::update::decode_touch(bytes)
                .map(|touch| alerts::touch(&mut self.state, now, &touch)),
            Kind::Command => wire::command::decode(bytes).map(|command| {
                self.asked = Some(commands::take(&mut self.state, &mut touched, now, command));
            }),
            Kind::Settings => wire::settings::decode(bytes).and_then(|settings| {
                let before = self.state.shared_settings();
                self.state.go_by(settings, bytes)?;
                maintenance::configured(&mut self.state, now);
                heartbeats::configured(&mut self.state, now, &before);
                Ok(())
            }),
            Kind::Topology => {
                wire::topology::decode(bytes).and_then(|part| self.state.add_part(part))
            }
            Kind::Heartbeat => {
                wire::heartbeat::decode(bytes).map(|beat| self.hear(&mut touched, now, beat))
            }
            Kind::Tick => Ok(()),
            _ => Err(WireError(format!("a {} record", record.kind.as_str()))),
        };
        heartbeats::tidy(&mut self.state, &mut touched, now);
        let by = self.asked.as_ref().and_then(commands::plans_changed_by);
        maintenance::sweep(&mut self.state, &mut touched, now, by);
        if let Err(error) = read {
            let message = format!(
                "{error}; correlate reads updates, touches, ticks, settings, topologies, \
                 heartbeats and commands"
            );
            let rejected = Rejected {
                index: None,
                reason: Reason::BadRecord,
                message,
                bytes: bytes.to_vec(),
                app_key: None,
            };
            out.records.push(dead_letter(
                &Origin::canonical(Topic::Alerts.as_str()),
                slot.partition,
                record,
                rejected,
            ));
        }
        touched
    }

    fn hear(&mut self, touched: &mut Touched, now: Timestamp, beat: Beat) {
        match beat {
            Beat::Of { name, value, kept_back } => {
                heartbeats::beat(&mut self.state, touched, now, (name, value), kept_back);
            }
            Beat::Watch(watch) => heartbeats::watch(&mut self.state, touched, now, watch),
            Beat::Probe(id) => self.probed = Some(id),
        }
    }

    fn fire_timers(&mut self, now: Timestamp, touched: &mut Touched) {
        // First what is over for long: what a timer ends now must still be told.
        lifecycle::forget(&mut self.state, now);
        while let Some(timer) = self.state.due(now) {
            match timer {
                Timer::Plan(plan) => maintenance::boundary(&mut self.state, now, plan),
                Timer::Expire(alert) => lifecycle::expire(&mut self.state, touched, alert),
                Timer::Calm(alert) => lifecycle::calm(&mut self.state, touched, alert),
                Timer::Update(incident) => touched.overdue(&self.state, incident),
                Timer::Remind(incident) => touched.remind(&self.state, incident),
                Timer::Lapse(incident) => hold::lapse(&mut self.state, touched, incident),
                Timer::Unacknowledge(incident) => {
                    people::time_is_up(&mut self.state, touched, incident);
                }
                Timer::Unsnooze(incident) => {
                    people::sleep_is_over(&mut self.state, touched, incident);
                }
            }
        }
    }

    /// Tells of heartbeats that changed, and answers a probe.
    fn tell_heartbeats(&mut self, partition: u32, out: &mut Output) {
        let told = self.state.heartbeats.take_told().map(Pulse::Is);
        let probed = self.probed.take().map(|id| Pulse::Probed { id, partition });
        for pulse in told.chain(probed) {
            let key = match &pulse {
                Pulse::Is(beating) => wire::heartbeat::key(&beating.name, &beating.value),
                Pulse::Probed { .. } => Vec::new(),
            };
            out.records.push(Outgoing {
                topic: Topic::Incidents,
                route: Route::Hash(u64::from(partition)),
                kind: Kind::Heartbeat,
                key,
                value: wire::heartbeat::encode_pulse(&pulse),
                headers: Vec::new(),
            });
        }
    }

    fn report(&mut self, cause: Timestamp, touched: Touched, out: &mut Output) {
        for (id, touch) in touched.into_order() {
            let Some(change) = report::change(&mut self.state, id, touch) else { continue };
            for kind in &change.kinds {
                self.tally.changes[*kind as usize] += 1;
            }
            out.tally.change_causes.push(cause);
            out.records.push(Outgoing {
                topic: Topic::Incidents,
                route: Route::Hash(id.spread()),
                kind: Kind::Change,
                key: id.to_string().into_bytes(),
                value: wire::change::encode(&change),
                headers: Vec::new(),
            });
        }
    }
}

impl Stage for Correlate {
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        let row = wire::row::decode(key, value);
        row.and_then(|row| self.state.restore(row)).map_err(|error| RowError {
            key: String::from_utf8_lossy(key).into_owned(),
            why: error.to_string(),
        })
    }

    fn restored(&mut self) -> Result<(), RowError> {
        self.state.restored()
    }

    fn apply(&mut self, slot: Slot, record: &Record<'_>, out: &mut Output) {
        let touched = self.read(slot, record, out);
        self.report(record.time, touched, out);
        self.tell_heartbeats(slot.partition, out);
        if let Some(asked) = self.asked.take() {
            out.records.push(commands::answer(&mut self.state, slot.partition, asked));
        }
    }

    fn seal(&mut self, out: &mut Output) {
        out.rows.extend(self.state.take_rows());
        let causes = std::mem::take(&mut out.tally.change_causes);
        out.tally = std::mem::take(&mut self.tally);
        out.tally.change_causes = causes;
        out.tally.limited[Limit::OkForgotten as usize] += self.state.take_oks_dropped();
        out.tally.limited[Limit::RequestsForgotten as usize] += self.state.requests.take_dropped();
        out.tally.limited[Limit::PairsCut as usize] += self.state.take_pairs_cut();
        out.tally.limited[Limit::AlertsCut as usize] += self.state.take_alerts_cut();
        out.tally.limited[Limit::ChronicForgotten as usize] += self.state.take_rates_dropped();
        out.tally.limited[Limit::NearCut as usize] += self.state.take_near_cut();
        let (full, unknown) = self.state.heartbeats.take_dropped();
        out.tally.limited[Limit::HeartbeatsFull as usize] += full;
        out.tally.limited[Limit::BeatUnknown as usize] += unknown;
        out.tally.open = Some(self.state.open());
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.state.next_deadline()
    }

    fn opening(&mut self, slot: Slot) -> Vec<Outgoing> {
        if *self.wanted == *self.state.settings_bytes() {
            return Vec::new();
        }
        let record = |kind: Kind, value: Vec<u8>| Outgoing {
            topic: Topic::Alerts,
            route: Route::Partition(slot.partition),
            kind,
            key: Vec::new(),
            value,
            headers: Vec::new(),
        };
        let mut records = Vec::new();
        // The graph first, all of it, where it is another one than that in force.
        let other = |topology: &&Topology| self.state.digest() != Some(&*topology.digest);
        if let Some(topology) = self.wanted_topology.as_ref().filter(other) {
            let bytes = topology.graph.as_ref().map(|graph| graph.to_bytes()).unwrap_or_default();
            let parts = wire::topology::parts(&topology.digest, &bytes);
            let parts = parts.iter().map(wire::topology::encode);
            records.extend(parts.map(|part| record(Kind::Topology, part)));
        }
        records.push(record(Kind::Settings, self.wanted.to_vec()));
        records
    }
}
