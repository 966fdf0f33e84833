//! An incident with what is counted from its alerts: each is added and taken out, so that no count is
//! ever made from the beginning.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Alert, AlertId, Incident, Status, Timestamp};

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
    /// How many of its alerts have a mark of maintenance, whether they fire or not.
    pub(super) marked: u32,
    /// How many of them fire.
    pub(super) maintained: usize,
    /// How many of those are in a window that lasts.
    pub(super) in_window: usize,
    pub(super) statuses: [u32; Status::ALL.len()],
    /// The append time of the last record of its alerts, or of a command that moved some.
    pub(super) appended_at: Timestamp,
}

impl Held {
    /// One without alerts.
    pub(super) fn new(row: Incident) -> Self {
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
            marked: 0,
            maintained: 0,
            in_window: 0,
            statuses: [0; Status::ALL.len()],
        }
    }

    /// The worst status that fires outside of maintenance; `ok` where none does.
    pub(super) fn status(&self) -> Status {
        let worst = Status::ALL.into_iter().rev().find(|at| self.statuses[*at as usize] > 0);
        worst.unwrap_or_default()
    }

    /// Whether any of its alerts flaps.
    pub(super) fn is_flapping(&self) -> bool {
        !self.flapping.is_empty()
    }

    /// Whether alerts of it fire and all of them are in maintenance, or quiet after it.
    pub(super) fn is_maintained(&self) -> bool {
        !self.firing.is_empty() && self.maintained == self.firing.len()
    }

    /// Whether an alert of it fires and is quiet after a window.
    pub(super) fn has_quiet(&self) -> bool {
        self.maintained > self.in_window
    }

    /// Whether an alert of it fires in a window that lasts.
    pub(super) fn has_window(&self) -> bool {
        self.in_window > 0
    }

    /// Counts an alert.
    pub(super) fn add(&mut self, alert: &Alert) {
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
            match &alert.maintenance {
                None => self.statuses[alert.status as usize] += 1,
                Some(mark) => {
                    self.maintained += 1;
                    self.in_window += usize::from(mark.ended_at.is_none());
                }
            }
        }
        self.marked += u32::from(alert.maintenance.is_some());
    }

    /// Counts an alert no more; whether it is a member stays.
    pub(super) fn take_out(&mut self, alert: &Alert) {
        if let Some(flaps) = alert.flaps() {
            self.flapping.remove(&(flaps.calm_at, alert.id));
        }
        uncount_name(&mut self.hosts, &alert.host);
        uncount_name(&mut self.checks, &alert.check);
        self.events -= u128::from(alert.events);
        if alert.is_firing() {
            self.firing.remove(&(alert.alive_until, alert.id));
            match &alert.maintenance {
                None => self.statuses[alert.status as usize] -= 1,
                Some(mark) => {
                    self.maintained -= 1;
                    self.in_window -= usize::from(mark.ended_at.is_none());
                }
            }
        }
        self.marked -= u32::from(alert.maintenance.is_some());
    }
}
