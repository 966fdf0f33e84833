//! When something happens though nothing arrives, by log time.

use super::held::Held;
use super::hold;
use crate::model::update::refresh_every;
use crate::model::{
    Alert, AlertId, CorrelateSettings, Incident, IncidentId, MaintenanceId, Resolution, Span,
    Timestamp,
};

/// Something that happens at a time though nothing arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A window of planned work begins or ends, or a plan is over for long.
    Plan(MaintenanceId),
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
    /// The window of a pattern that asks it for more alerts is over.
    Lapse(IncidentId),
}

/// When an incident that is over may be forgotten, by log time.
pub(super) fn leaves_at(settings: &CorrelateSettings, held: &Held) -> Timestamp {
    let leaves = held.appended_at + settings.memory();
    match held.row.resolved {
        Some((at, Resolution::ByHand)) => leaves.max(at + settings.dismissal_memory()),
        _ => leaves,
    }
}

/// By log time: when an alert was silent for as long as it lives, and a refresh.
pub(super) fn expires_at(alert: &Alert) -> Timestamp {
    let said_at = alert.restated_at.map_or(alert.newest, |at| at.max(alert.newest));
    let lives = alert.alive_until.since(said_at);
    alert.appended_at + lives + refresh_every(lives)
}

/// When an `updated` that waits is due: a minute after the last one.
pub(super) fn update_due(incident: &Incident) -> Option<Timestamp> {
    let last = incident.updated_at?;
    (!incident.updates.is_empty()).then_some(last + Span::MINUTE)
}

/// What ends by itself because somebody said when, or a pattern does not ask for longer.
pub(super) fn promised(incident: &Incident) -> impl Iterator<Item = (Timestamp, Timer)> + use<> {
    let id = incident.id;
    let acknowledged = incident.acknowledged.as_ref().and_then(|by| by.until);
    let snoozed = incident.snoozed.as_ref().map(|snoozed| snoozed.until);
    acknowledged
        .map(|until| (until, Timer::Unacknowledge(id)))
        .into_iter()
        .chain(snoozed.map(|until| (until, Timer::Unsnooze(id))))
        .chain(hold::lapses_at(incident).map(|at| (at, Timer::Lapse(id))))
}
