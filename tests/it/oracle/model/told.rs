//! What is told: at most one revision an incident and record.

use super::*;

impl Model {
    /// At most one revision an incident and record: the difference between before and after.
    pub(super) fn tell(&mut self, before: &[Stood]) -> Vec<Told> {
        let notes = std::mem::take(&mut self.notes);
        notes.into_iter().filter_map(|note| self.told(before, note)).collect()
    }

    pub(super) fn told(&mut self, before: &[Stood], mut note: Note) -> Option<Told> {
        let number = note.incident;
        for left in std::mem::take(&mut note.left) {
            // What left and joined again did neither.
            match note.joined.iter().position(|joined| *joined == left) {
                Some(at) => drop(note.joined.remove(at)),
                None => note.left.push(left),
            }
        }
        let count = self.members(number).count();
        let incident = self.incident_mut(number);
        if incident.asks().iter().any(|ask| ask.min_alerts as usize <= count) {
            incident.hold = None;
        }
        let before = before.iter().find(|stood| stood.number == number);
        if self.wakes(before, &note) {
            self.incident_mut(number).snoozed = None;
            note.unsnoozed = true;
        }
        let after = self.stands(self.incident(number));
        let mut kinds = kinds(before, &after, &note);
        let now = self.now;
        if kinds.is_empty() && !self.updated_in_its_minute(&mut note) {
            return None;
        }
        if kinds.is_empty() {
            kinds.push(ChangeKind::Updated);
        }
        let reminder = self.settings.flapping.reminder;
        let incident = self.incident_mut(number);
        incident.revision += 1;
        incident.changed_at = note.at;
        incident.severity = incident.severity.max(after.status);
        note.concerned.extend(incident.waiting.drain(..));
        if kinds == [ChangeKind::Updated] {
            incident.updated_at = Some(now);
        }
        if kinds.contains(&ChangeKind::Flapping) {
            incident.remind_at = Some(now + reminder);
        } else if !after.flapping {
            incident.remind_at = None;
        }
        note.concerned.retain(|alert| self.alert(*alert).incident == number);
        let Note { joined, concerned, actor, comment, .. } = note;
        Some(Told { incident: number, kinds, joined, concerned, actor, comment })
    }

    /// `updated` at most once an incident and minute of log time; else it waits.
    pub(super) fn updated_in_its_minute(&mut self, note: &mut Note) -> bool {
        let now = self.now;
        let incident = self.incident_mut(note.incident);
        if !note.updated && !note.overdue {
            return false;
        }
        let early = incident.updated_at.is_some_and(|last| now < last + Span::from_secs(60));
        if early {
            for alert in &note.concerned {
                if !incident.waiting.contains(alert) {
                    incident.waiting.push(*alert);
                }
            }
        }
        !early
    }
}

fn kinds(before: Option<&Stood>, after: &Stood, note: &Note) -> Vec<ChangeKind> {
    let Some(before) = before else {
        // What others gave it may flap, and may be over by the end of the record.
        let flaps = after.flapping.then_some(ChangeKind::Flapping);
        let lapsed = note.lapsed.then_some(ChangeKind::Lapsed);
        let over = (!after.open).then_some(ChangeKind::Resolved);
        return [Some(ChangeKind::Opened), flaps, lapsed, over].into_iter().flatten().collect();
    };
    let more = !note.joined.is_empty() || before.open && after.firing > before.firing;
    let worse = before.open && after.status > before.status;
    let less = after.firing < before.firing || after.status < before.status;
    let mut kinds = Vec::new();
    if after.open && !before.open {
        kinds.push(ChangeKind::Reopened);
    }
    // What it was given at the end of a wait may be over by the end of the record.
    if more && (after.open || !note.joined.is_empty()) {
        kinds.push(ChangeKind::Grew);
    }
    if after.open && worse {
        kinds.push(ChangeKind::Worsened);
    }
    if after.open && before.open && less && !more && !worse {
        kinds.push(ChangeKind::Eased);
    }
    if note.unacknowledged {
        kinds.push(ChangeKind::Unacknowledged);
    }
    if note.acknowledged {
        kinds.push(ChangeKind::Acknowledged);
    }
    if note.assigned {
        kinds.push(ChangeKind::Assigned);
    }
    if note.unsnoozed {
        kinds.push(ChangeKind::Unsnoozed);
    }
    if note.snoozed {
        kinds.push(ChangeKind::Snoozed);
    }
    if note.comment.is_some() {
        kinds.push(ChangeKind::Commented);
    }
    if note.continued {
        kinds.push(ChangeKind::Continued);
    }
    if after.flapping && (!before.flapping || note.reminded) {
        kinds.push(ChangeKind::Flapping);
    }
    if before.flapping && !after.flapping {
        kinds.push(ChangeKind::Calmed);
    }
    if after.maintained && !before.maintained {
        kinds.push(ChangeKind::MaintenanceBegan);
    }
    if after.open && before.window && !after.window && after.quiet {
        kinds.push(ChangeKind::MaintenanceEnded);
    }
    if after.open && before.maintained && !after.maintained {
        kinds.push(ChangeKind::MaintenanceLeft);
    }
    if note.lapsed {
        kinds.push(ChangeKind::Lapsed);
    }
    if before.held && !after.held {
        kinds.push(ChangeKind::Released);
    }
    if before.open && !after.open {
        kinds.push(ChangeKind::Resolved);
    }
    kinds
}
