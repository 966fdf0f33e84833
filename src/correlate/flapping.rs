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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn up_to(changes: u32, minutes: &[i64]) -> Vec<Timestamp> {
        let settings = FlappingSettings {
            changes,
            within: Span::from_secs(600),
            ..FlappingSettings::default()
        };
        minutes.iter().fold(Vec::new(), |known, minute| counted(settings, known, at(*minute)))
    }

    #[test]
    fn changes_that_are_too_old_are_let_go() {
        assert_eq!(up_to(4, &[0, 10, 11, 20]), [at(10), at(11), at(20)]);
    }

    #[test]
    fn what_counts_at_one_time_counts_once() {
        assert_eq!(up_to(4, &[1, 2, 2, 2, 3]), [at(1), at(2), at(3)]);
    }

    #[test]
    fn no_more_is_remembered_than_decides() {
        assert_eq!(up_to(2, &[1, 2, 3, 4, 5]), [at(3), at(4), at(5)]);
        assert_eq!(up_to(0, &[1, 2, 3]), []);
    }
}
