//! Rule 11, `min_alerts`: incidents that nobody is told of yet.

use super::*;

impl Model {
    /// Why an incident is held that opens with one alert: each pattern that holds it asks for more.
    pub(super) fn hold(
        &self,
        by_pattern: &[(Pattern, Vec<Pair>)],
        lapsed: &[Box<str>],
    ) -> Option<Hold> {
        let holding = by_pattern.iter().filter(|(_, pairs)| !pairs.is_empty());
        let asks: Vec<Ask> = holding
            .map(|(pattern, _)| Ask {
                pattern: pattern.name.clone(),
                min_alerts: pattern.min_alerts,
                until: self.now + pattern.window,
            })
            .collect();
        let held = !asks.is_empty() && asks.iter().all(|ask| ask.min_alerts > 1);
        held.then(|| Hold { asks, lapsed: lapsed.to_vec() })
    }

    /// Whether nobody was told of it, and nothing is waited for any more.
    pub(super) fn in_vain(&self, incident: usize) -> bool {
        let incident = self.incident(incident);
        incident.hold.is_some() && incident.asks().iter().all(|ask| ask.until < self.now)
    }

    /// The windows of patterns that asked for more are over: their pairs drop. What then holds no
    /// pair, and nobody acknowledged, gives its alerts to the patterns that did not ask.
    pub(super) fn lapse(&mut self, number: usize) {
        let first = self.incident(number).asks().iter().map(|ask| ask.until).min();
        let at = first.expect("it is due");
        // All of it is as of then, whichever record showed that it is over.
        let now = std::mem::replace(&mut self.now, at);
        let changed_at = self.incident(number).changed_at;
        self.note(number, changed_at).lapsed = true;
        let incident = self.incident_mut(number);
        let over: Vec<Box<str>> = incident
            .asks()
            .into_iter()
            .filter(|ask| ask.until == at)
            .map(|ask| ask.pattern)
            .collect();
        incident.pairs.retain(|pair| !over.contains(&pair.pattern));
        let hold = incident.hold.as_mut().expect("only what is held lapses");
        hold.lapsed.extend(over);
        let people = incident.acknowledged.is_some()
            || incident.assignee.is_some()
            || incident.snoozed.is_some();
        if incident.pairs.is_empty() && !people {
            self.go_on(number);
        }
        self.now = now;
    }

    pub(super) fn go_on(&mut self, number: usize) {
        let lapsed = self.incident(number).hold.clone().expect("it is held").lapsed;
        let patterns = self.settings.patterns.clone();
        let waited_for = |pattern: &Pattern| lapsed.contains(&pattern.name);
        let own = |alert: &Alert| -> Vec<Pair> {
            let others = patterns.iter().filter(|pattern| !waited_for(pattern));
            others.flat_map(|pattern| pairs(pattern, &alert.shown(), alert.chronic)).collect()
        };
        let any = |alert: &&Alert| !own(alert).is_empty();
        let firing = self.members(number).filter(|alert| alert.over.is_none());
        let mut going: Vec<Alert> = firing.filter(any).cloned().collect();
        if going.is_empty() {
            return;
        }
        going.sort_by_key(|alert| (alert.started_at, alert.id));
        let mut free = (going.len() == self.members(number).count()).then_some(number);
        self.alerts.retain(|alert| going.iter().all(|one| one.number != alert.number));
        let mut targets = BTreeSet::new();
        for mut alert in going {
            let (which, from) = (alert.number, self.incident(number).id.expect("it was told"));
            alert.own = own(&alert);
            let shared = |pattern: &Pattern| match waited_for(pattern) {
                true => Vec::new(),
                false => self.shared(pattern, &alert.shown(), alert.chronic),
            };
            let by_pattern: Vec<(Pattern, Vec<Pair>)> =
                patterns.iter().map(|pattern| (pattern.clone(), shared(pattern))).collect();
            alert.pairs = by_pattern.iter().flat_map(|(_, pairs)| pairs.clone()).collect();
            let used = self.incidents.len();
            self.place(alert, &by_pattern, &lapsed, free);
            let into = self.alert(which).incident;
            let note = self.note_alert(which, Timestamp::MIN);
            note.concerned.insert(which);
            let note = self.note(number, Timestamp::MIN);
            note.left.push(which);
            note.concerned.insert(which);
            if into == number {
                free = None;
            } else {
                assert!(
                    free.is_none() || used == self.incidents.len(),
                    "the free one was not used"
                );
                targets.insert(into);
                self.alert_mut(which).moved_from.push(from);
            }
        }
        self.alerts.sort_by_key(|alert| alert.number);
        let now = self.now;
        let empty = self.members(number).next().is_none();
        let latest = self.members(number).map(|alert| alert.started_at).max();
        let firing = self.members(number).any(|alert| alert.over.is_none());
        let last = self.members(number).filter_map(|alert| alert.over).max();
        let incident = self.incident_mut(number);
        incident.latest = latest.unwrap_or(incident.first).max(incident.first);
        if !targets.is_empty() {
            incident.reshaped_at = Some(now);
        }
        if empty {
            let one = targets.len() == 1;
            incident.over = Some((now, if one { Resolution::Merged } else { Resolution::Split }));
        } else if !firing {
            incident.over = last;
        }
    }

    /// An incident without alerts goes on as that of one, as if it opened now.
    pub(super) fn keep(
        &mut self,
        number: usize,
        mut alert: Alert,
        full: Option<usize>,
        hold: Option<Hold>,
    ) {
        let start = alert.started_at;
        if let Some(full) = full {
            self.note(full, start).continued = true;
            self.incident_mut(full).continued_by = Some(number);
        }
        let incident = self.incident_mut(number);
        (incident.first, incident.latest) = (start, start);
        incident.pairs = alert.own.clone();
        incident.tags = alert.content.tags.clone();
        incident.continues = full.or(incident.continues);
        incident.hold = hold;
        alert.incident = number;
        let which = alert.number;
        self.alerts.push(alert);
        self.note(number, Timestamp::MIN).joined.push(which);
    }
}
