//! Rules 5, 6 and 13: what happens though nothing arrives, and what is forgotten.

use super::*;

impl Model {
    /// Rule 13: a resolved incident is forgotten once its last record was appended longer ago than
    /// anything may still refer to it, and ten minutes in which events may be late; an `ok` that was
    /// remembered after the reopen window.
    pub(super) fn forget(&mut self) {
        let gaps = self.settings.patterns.iter().filter_map(|pattern| pattern.gap);
        let longest = gaps.chain([self.settings.reopen_window]).max().expect("there is one");
        let kept = longest + Span::from_secs(600);
        let over = self.incidents.iter().filter(|one| one.over.is_some());
        let gone: Vec<usize> = over
            .filter(|one| {
                let last = self.members(one.number).map(|alert| alert.appended_at).max();
                let last = last.max(one.reshaped_at);
                let leaves = last.expect("without alerts is only what they left") + kept;
                // What still fires after `dismiss_for` must find that it was dismissed.
                let dismissed = self.settings.dismiss_for + Span::from_secs(600);
                let dismissed = one.over.filter(|_| one.by_hand()).map(|(at, _)| at + dismissed);
                dismissed.map_or(leaves, |until| until.max(leaves)) < self.now
            })
            .map(|one| one.number)
            .collect();
        self.incidents.retain(|one| !gone.contains(&one.number));
        self.alerts.retain(|alert| !gone.contains(&alert.incident));
        let (now, window) = (self.now, self.settings.reopen_window);
        self.oks.retain(|ok| ok.appended_at + window >= now);
        self.requests.retain(|known| known.at + Span::from_secs(86_400) >= now);
        self.undoable.retain(|known| known.at + window >= now);
        self.forget_episodes();
        self.plans.retain(|plan| plan.leaves_at().is_none_or(|at| at > now));
    }

    /// Due timers fire before the record, ordered by deadline, kind and id, each once.
    pub(super) fn fire(&mut self) {
        let mut fired: Vec<(Timestamp, Due)> = Vec::new();
        loop {
            let due = self.deadlines().into_iter().filter(|one| one.0 <= self.now);
            let Some(next) = due.filter(|one| !fired.contains(one)).min() else {
                break;
            };
            fired.push(next);
            match next.1 {
                Due::Expire(id) => self.expire(self.number_of(id)),
                Due::Calm(id) => self.calm(self.number_of(id)),
                Due::Update(id) => {
                    let incident = self.incident_of(id);
                    self.note(incident.0, incident.1).overdue = true;
                }
                Due::Remind(id) => {
                    let (number, changed_at) = self.incident_of(id);
                    let flapping: Vec<usize> = self
                        .members(number)
                        .filter(|alert| alert.flapping().is_some())
                        .map(|alert| alert.number)
                        .collect();
                    let note = self.note(number, changed_at);
                    note.reminded = true;
                    note.concerned.extend(flapping);
                }
                Due::Unacknowledge(id) => {
                    let (number, changed_at) = self.incident_of(id);
                    self.note(number, changed_at).unacknowledged = true;
                    self.let_go(number);
                }
                Due::Unsnooze(id) => {
                    let (number, changed_at) = self.incident_of(id);
                    self.note(number, changed_at).unsnoozed = true;
                    self.incident_mut(number).snoozed = None;
                }
                Due::Lapse(id) => self.lapse(self.incident_of(id).0),
            }
        }
    }

    pub(super) fn number_of(&self, id: AlertId) -> usize {
        let found = self.alerts.iter().find(|alert| alert.id == Some(id));
        found.expect("what is due is kept").number
    }

    pub(super) fn incident_of(&self, id: IncidentId) -> (usize, Timestamp) {
        let found = self.incidents.iter().find(|one| one.id == Some(id));
        let found = found.expect("what is due is kept");
        (found.number, found.changed_at)
    }

    pub(super) fn deadlines(&self) -> Vec<(Timestamp, Due)> {
        let mut all = Vec::new();
        for alert in &self.alerts {
            let id = alert.id.expect("it was told");
            if alert.over.is_none() {
                // Rule 5, by log time: silent for as long as it lives, and a refresh.
                let lives = alert.alive_until.since(alert.said_at());
                let minute = Span::from_secs(60);
                let refresh = lives.part(4).clamp(minute, Span::from_secs(600));
                all.push((alert.appended_at + lives + refresh, Due::Expire(id)));
            }
            if let Some(flaps) = alert.flapping() {
                all.push((flaps.calm_due, Due::Calm(id)));
            }
        }
        for incident in &self.incidents {
            let id = incident.id.expect("it was told");
            if let (Some(last), false) = (incident.updated_at, incident.waiting.is_empty()) {
                all.push((last + Span::from_secs(60), Due::Update(id)));
            }
            if let Some(at) = incident.remind_at {
                all.push((at, Due::Remind(id)));
            }
            if let Some(until) = incident.acknowledged.as_ref().and_then(|by| by.until) {
                all.push((until, Due::Unacknowledge(id)));
            }
            if let Some(snoozed) = &incident.snoozed {
                all.push((snoozed.until, Due::Unsnooze(id)));
            }
            if incident.over.is_none() {
                // The end of the window is within it.
                let just_after = |ask: Ask| ask.until + Span::from_millis(1);
                let first = incident.asks().into_iter().map(just_after).min();
                all.extend(first.map(|at| (at, Due::Lapse(id))));
            }
        }
        all
    }
}
