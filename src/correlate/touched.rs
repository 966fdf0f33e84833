//! What one record did to incidents, gathered so that each has at most one revision a record.
//!
//! An incident's state before the record is kept when it is first touched; `report` compares it
//! with the state after, so that what is told is the net effect, wherever commits fall.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
use crate::model::command::Comment;
use crate::model::{AlertId, ChangeKind, IncidentId, Status, Timestamp};

/// How many alerts that flap a reminder names.
const REMINDED_MAX: usize = 50;

/// An incident as it was before the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) open: bool,
    pub(super) status: Status,
    pub(super) firing: usize,
    pub(super) flapping: bool,
    /// All that fired was in maintenance, or quiet after it.
    pub(super) maintained: bool,
    pub(super) window: bool,
    /// Nobody was told of it.
    pub(super) held: bool,
}

/// What happened to one incident.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// None where the record opened it.
    pub(super) before: Option<Before>,
    /// The event time of what happened last.
    pub(super) at: Timestamp,
    pub(super) joined: Vec<AlertId>,
    /// Alerts that went to another incident.
    pub(super) left: Vec<AlertId>,
    /// Which command moved alerts, as a change names it.
    pub(super) reshaped: Option<ChangeKind>,
    /// Alerts that changed, in order, each once.
    concerned: Vec<AlertId>,
    /// The same, so that a record that ends very many does not look through them each time.
    known: BTreeSet<AlertId>,
    /// An alert's tags, text or own status changed, or it fires again.
    pub(super) updated: bool,
    /// An `updated` that waited is due.
    pub(super) overdue: bool,
    /// It is time to say again that it flaps.
    pub(super) reminded: bool,
    pub(super) acknowledged: bool,
    pub(super) unacknowledged: bool,
    pub(super) assigned: bool,
    pub(super) snoozed: bool,
    pub(super) unsnoozed: bool,
    pub(super) comment: Option<Comment>,
    pub(super) continued: bool,
    /// The window of patterns that asked for more alerts is over.
    pub(super) lapsed: bool,
    /// It is open again because its resolve was undone: as if it had never been over.
    pub(super) undone: bool,
    /// Who asked for it, where somebody did.
    pub(super) actor: Option<Box<str>>,
}

impl Touch {
    /// It is about these alerts, too.
    pub(super) fn concern(&mut self, alerts: impl IntoIterator<Item = AlertId>) {
        let new = alerts.into_iter().filter(|alert| self.known.insert(*alert));
        self.concerned.extend(new);
    }

    /// Takes them out, once no more come.
    pub(super) fn take_concerned(&mut self) -> Vec<AlertId> {
        std::mem::take(&mut self.concerned)
    }

    /// Alerts that changed, in order, each once.
    pub(super) fn concerned(&self) -> &[AlertId] {
        &self.concerned
    }

    /// What left and joined again, or joined and left again, did neither.
    pub(super) fn net(&mut self) {
        let joined = &mut self.joined;
        self.left.retain(|left| match joined.iter().position(|one| one == left) {
            Some(at) => {
                joined.remove(at);
                false
            }
            None => true,
        });
    }
}

/// What one record did.
#[derive(Debug, Default)]
pub(super) struct Touched {
    order: Vec<IncidentId>,
    by_id: BTreeMap<IncidentId, Touch>,
    /// Alerts that show another status since they flap no more.
    other_statuses: Vec<AlertId>,
}

impl Touched {
    /// The touch of an incident. Must be asked for before the incident is changed.
    pub(super) fn incident(&mut self, state: &State, id: IncidentId, at: Timestamp) -> &mut Touch {
        let order = &mut self.order;
        let touch = self.by_id.entry(id).or_insert_with(|| {
            order.push(id);
            let before = state.incident(id).map(|held| Before {
                open: held.row.resolved.is_none(),
                status: held.status(),
                firing: held.firing.len(),
                flapping: held.is_flapping(),
                maintained: held.is_maintained(),
                window: held.has_window(),
                held: held.row.hold.is_some(),
            });
            Touch { before, at, ..Touch::default() }
        });
        touch.at = touch.at.max(at);
        touch
    }

    /// An incident one of whose alerts changes.
    pub(super) fn alert(
        &mut self,
        state: &State,
        incident: IncidentId,
        alert: AlertId,
        at: Timestamp,
    ) -> &mut Touch {
        let touch = self.incident(state, incident, at);
        touch.concern([alert]);
        touch
    }

    /// An alert shows another status, though it said nothing new.
    pub(super) fn shows_another_status(&mut self, alert: AlertId) {
        self.other_statuses.push(alert);
    }

    /// Takes the alerts that do.
    pub(super) fn take_other_statuses(&mut self) -> Vec<AlertId> {
        std::mem::take(&mut self.other_statuses)
    }

    /// An incident to which somebody does something. Must be asked for before it is changed.
    pub(super) fn by(&mut self, state: &State, id: IncidentId, actor: &str) -> &mut Touch {
        let at = state.incident(id).map_or(Timestamp::MIN, |held| held.row.changed_at);
        let touch = self.incident(state, id, at);
        touch.actor = Some(actor.into());
        touch
    }

    /// The `updated` of an incident has waited for its minute.
    pub(super) fn overdue(&mut self, state: &State, id: IncidentId) {
        if let Some(held) = state.incident(id) {
            let changed_at = held.row.changed_at;
            self.incident(state, id, changed_at).overdue = true;
        }
    }

    /// An incident has flapped for so long that it is said again, with the alerts that do.
    pub(super) fn remind(&mut self, state: &State, id: IncidentId) {
        if let Some(held) = state.incident(id) {
            let flapping = held.flapping.iter().map(|(_, alert)| *alert).take(REMINDED_MAX);
            let touch = self.incident(state, id, held.row.changed_at);
            touch.reminded = true;
            touch.concern(flapping);
        }
    }

    /// Each incident once, in the order in which they were first touched.
    pub(super) fn into_order(mut self) -> impl Iterator<Item = (IncidentId, Touch)> {
        self.order.into_iter().filter_map(move |id| Some((id, self.by_id.remove(&id)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;

    #[test]
    fn an_alert_is_told_once_in_whatever_way_it_was_touched() {
        let alert = |host: &str| {
            let identity = Identity::new("nagios", Some(host), None, None);
            AlertId::derive(Timestamp::from_millis(1), &identity, 0)
        };
        let (one, other) = (alert("web-1"), alert("web-2"));
        let mut touch = Touch::default();
        // As a recorrelation does, and what its record sets off after it.
        touch.concern([one, other]);
        touch.concern([other]);
        touch.concern([one]);
        assert_eq!(touch.concerned(), [one, other]);
    }
}
