//! Decides when an alert flaps, and what it says meanwhile: rule 6.
//!
//! Pure arithmetic on event times; ending it is `lifecycle`'s work, telling of it `report`'s. What
//! counts is a change of status from one newest event to the next, so that neither repeats nor late
//! events do, and what counts at one time counts once. An alert that flaps fires and shows the worst
//! it said since just before that began: what is told of it stays true while it is quiet.

use crate::model::{Alert, FlappingSettings, Flaps, Status, Timestamp};

/// What an alert knows of its status once an event was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// What it shows.
    pub(super) status: Status,
    pub(super) flapping: Option<Flaps>,
    changes: Vec<Timestamp>,
}

impl Word {
    /// What becomes of an alert's status by an event at `at`, the newest of its identity.
    pub(super) fn heard(
        settings: FlappingSettings,
        now: Timestamp,
        alert: &Alert,
        (at, said): (Timestamp, Status),
    ) -> Self {
        let before = Self {
            status: alert.status,
            flapping: alert.flapping,
            changes: alert.status_changes.clone(),
        };
        if said == alert.said() {
            return before;
        }
        let flaps = |since| Flaps {
            since,
            said,
            calm_at: at + settings.quiet_for,
            calm_due: now + settings.quiet_for,
        };
        let worst = alert.status.max(said);
        if let Some(known) = alert.flapping {
            return Self { status: worst, flapping: Some(flaps(known.since)), ..before };
        }
        let changes = counted(settings, before.changes, at);
        if settings.changes > 0 && changes.len() > settings.changes as usize {
            return Self { status: worst, flapping: Some(flaps(at)), changes: Vec::new() };
        }
        Self { status: said, flapping: None, changes }
    }

    /// Writes it into the alert.
    pub(super) fn put(self, alert: &mut Alert) {
        alert.status = self.status;
        alert.flapping = self.flapping;
        alert.status_changes = self.changes;
    }
}

/// The changes that count towards flapping after one more; at most one more than are let pass.
fn counted(
    settings: FlappingSettings,
    mut changes: Vec<Timestamp>,
    at: Timestamp,
) -> Vec<Timestamp> {
    if settings.changes == 0 {
        return Vec::new();
    }
    // At equal times the worse status replaces the other: the status at that time changed once.
    if changes.last() != Some(&at) {
        changes.push(at);
    }
    changes.retain(|change| at.since(*change) <= settings.within);
    let most = settings.changes as usize + 1;
    changes.drain(..changes.len().saturating_sub(most));
    changes
}
