//! Rules 1 to 6: what an event means for the alert of its identity.

use super::*;

impl Model {
    /// Rules 1 to 6: an event of an identity.
    pub(super) fn update(&mut self, update: &Update) {
        let event = &update.event;
        let (identity, at) = (event.identity(), event.timestamp);
        let Report::Status(status) = event.report else {
            return self.acknowledged(event);
        };
        let Some(number) = self.in_force(&identity).map(|alert| alert.number) else {
            return self.unknown(&identity, status, update);
        };
        self.seen(number, update.seen.newest, update.seen.repeats + 1);
        self.over_by_event_time(number, at);
        if !self.decides(number, status, event) {
            self.said_again(number, status, update);
            return;
        }
        self.calm_by_event_time(number, at, status);
        let alert = self.alert(number);
        match alert.over {
            Some((since, Resolution::ByHand)) => self.heard_of(number, since, status, update),
            None => self.goes_on(number, status, update),
            Some(_) if status == Status::Ok => self.still_fine(number, at),
            Some((ended_at, reason))
                if self.reopens(ended_at, reason, at) && !self.in_vain(alert.incident) =>
            {
                self.again(number, status, update);
            }
            Some(_) => self.begin(status, update),
        }
    }

    /// Rule 1: the newest timestamp decides, then the worse status, then the greater digest.
    pub(super) fn decides(&self, number: usize, status: Status, event: &Event) -> bool {
        let alert = self.alert(number);
        if event.timestamp != alert.newest {
            return event.timestamp > alert.newest;
        }
        if status != alert.said {
            return status > alert.said;
        }
        (self.greater)(event, &alert.content)
    }

    /// Rule 5: what a source says again, at the same time of its own, lives on by the log's time, once
    /// half a refresh has passed. What was dismissed begins anew so once it fires for long enough.
    fn said_again(&mut self, number: usize, status: Status, update: &Update) {
        let (now, event) = (self.now, &update.event);
        let alert = self.alert(number);
        let known = &alert.content;
        let same = (event.timestamp, status) == (alert.newest, alert.said)
            && (&event.host, &event.check, &event.tags) == (&known.host, &known.check, &known.tags);
        if !same || !(alert.over.is_none() || alert.dismissed()) {
            return;
        }
        let dismissed = alert.over.filter(|_| alert.dismissed());
        if dismissed.is_some_and(|(since, _)| now.since(since) > self.settings.dismiss_for) {
            self.begin(status, update);
        } else if alert.restates(now) {
            let alert = self.alert_mut(number);
            alert.lives_on(now, update);
            alert.appended_at = now;
        }
    }

    /// Counts, and what collect saw without forwarding it: it was a repeat, so that only the time of
    /// the newest event moves on.
    pub(super) fn seen(
        &mut self,
        number: usize,
        newest: Option<(Timestamp, Timestamp)>,
        events: u64,
    ) {
        let alert = self.alert_mut(number);
        alert.events += events;
        if let Some((at, alive_until)) = newest
            && at > alert.newest
        {
            alert.newest = at;
            alert.restated_at = None;
            if alert.over.is_none() || alert.dismissed() {
                alert.alive_until = alive_until;
            }
        }
    }

    /// The last word on an identity that collect forgets.
    pub(super) fn touch(&mut self, touch: &Touch) {
        let Some(number) = self.in_force(&touch.identity).map(|alert| alert.number) else {
            return;
        };
        self.seen(number, touch.seen.newest, touch.seen.repeats);
        let now = self.now;
        let alert = self.alert_mut(number);
        if alert.over.is_none() || alert.dismissed() {
            alert.appended_at = now;
        }
    }

    /// A newer event of an alert that fires: rules 2, 3 and 6.
    pub(super) fn goes_on(&mut self, number: usize, status: Status, update: &Update) {
        let (now, at) = (self.now, update.event.timestamp);
        let before = self.alert(number).clone();
        if status == Status::Ok && before.said == Status::Ok {
            // It flaps, and this repeats what it said; a repeat changes nothing.
            let alert = self.alert_mut(number);
            alert.newest = at;
            alert.alive_until = update.alive_until();
            alert.restated_at = None;
            alert.appended_at = now;
            return;
        }
        self.flap(number, at, status);
        if status == Status::Ok && self.alert(number).flaps.is_none() {
            return self.resolve(number, update);
        }
        let event = &update.event;
        let other_tags = (&before.content.tags, &before.content.host, &before.content.check)
            != (&event.tags, &event.host, &event.check);
        let changed = other_tags || status != before.said;
        let mark =
            if changed { self.marked(number, &before, event) } else { before.maintenance.clone() };
        let alert = self.alert(number);
        let shown = alert.status() != before.status()
            || alert.flaps.is_some() != before.flaps.is_some()
            || mark != before.maintenance;
        if other_tags || shown {
            self.note_alert(number, at).updated = true;
        }
        let alert = self.alert_mut(number);
        alert.maintenance = mark;
        if changed {
            alert.changed_at = at;
        }
        alert.take(now, update);
    }

    /// Rule 3: `ok` resolves.
    pub(super) fn resolve(&mut self, number: usize, update: &Update) {
        let (now, at) = (self.now, update.event.timestamp);
        self.end(number, at, Resolution::AllOk);
        let alert = self.alert_mut(number);
        let alive_until = alert.alive_until;
        alert.changed_at = at;
        alert.take(now, update);
        alert.alive_until = alive_until;
    }

    /// Nothing is wrong, as before; kept for as long as an older problem may come.
    pub(super) fn still_fine(&mut self, number: usize, at: Timestamp) {
        let now = self.now;
        let alert = self.alert_mut(number);
        alert.said = Status::Ok;
        alert.newest = at;
        alert.restated_at = None;
        alert.appended_at = now;
    }

    /// Rules 3 and 5: within the window of the resolve; what expired does not reopen.
    pub(super) fn reopens(&self, ended_at: Timestamp, reason: Resolution, at: Timestamp) -> bool {
        reason == Resolution::AllOk && at.since(ended_at) <= self.settings.reopen_window
    }

    /// Rule 3: as a new one it would belong elsewhere, and not to its own incident: then it is a new
    /// one there. What begins to flap stays.
    pub(super) fn again(&mut self, number: usize, status: Status, update: &Update) {
        let at = update.event.timestamp;
        let before = self.alert(number).clone();
        self.flap(number, at, status);
        let after = std::mem::replace(self.alert_mut(number), before.clone());
        if after.flaps.is_some() {
            self.count_episode(&before.identity, at);
        } else {
            let (as_new, by_pattern) = self.newborn(status, update);
            let as_new = Alert { changes: after.changes, ..as_new };
            self.bring_up_to(before.incident, at);
            if self.goes_elsewhere(as_new, &by_pattern, before.incident) {
                return;
            }
        }
        self.reopen(number, status, update);
    }

    /// Puts an alert where patterns want it, unless it has no other place than this incident.
    pub(super) fn goes_elsewhere(
        &mut self,
        alert: Alert,
        by_pattern: &[(Pattern, Vec<Pair>)],
        home: usize,
    ) -> bool {
        let mut refused = Vec::new();
        for (pattern, pairs) in by_pattern {
            let found = self.oldest(&alert, pattern, pairs, &mut refused);
            let shares = pairs.iter().any(|pair| self.incident(home).pairs.contains(pair));
            let refusal = self.refusal(home, pattern, alert.started_at);
            // It has room for what was in it.
            let stays = shares && matches!(refusal, None | Some(Refusal::Full));
            match found {
                Some((incident, _)) if incident == home => return false,
                Some(_) if stays => return false,
                Some(found) => {
                    self.take_in(alert, found, refused);
                    return true;
                }
                // By an earlier pattern than any other: there is none that is full but this one.
                None if stays => return false,
                None => {}
            }
        }
        false
    }

    pub(super) fn reopen(&mut self, number: usize, status: Status, update: &Update) {
        let (now, at) = (self.now, update.event.timestamp);
        let incident = self.alert(number).incident;
        if self.incident(incident).by_hand() {
            self.revive(incident, at);
        }
        self.note_alert(number, at).updated = true;
        self.flap(number, at, status);
        let alert = self.alert_mut(number);
        alert.over = None;
        alert.acknowledged = false;
        alert.changed_at = at;
        alert.take(now, update);
        // Rule 15: it fires anew, and is part of planned work or is not.
        let fires = self.alert(number).shown();
        self.alert_mut(number).maintenance = self.mark(at, &fires, None);
        self.incident_mut(incident).over = None;
    }

    /// Rule 4: `ok` of an unknown identity is remembered; an older problem stays closed.
    pub(super) fn unknown(&mut self, identity: &Identity, status: Status, update: &Update) {
        let at = update.event.timestamp;
        let known = self.oks.iter().position(|ok| ok.identity == *identity);
        if status > Status::Ok {
            if let Some(known) = known {
                if at < self.oks[known].at {
                    return;
                }
                self.oks.remove(known);
            }
            return self.begin(status, update);
        }
        let before = known.map(|known| self.oks.remove(known).at);
        let at = before.map_or(at, |before| before.max(at));
        self.oks.push(RememberedOk { appended_at: self.now, identity: identity.clone(), at });
        while self.oks.len() > self.settings.ok_memory_max {
            let oldest = self.oks.iter().map(|ok| (ok.appended_at, &ok.identity)).min();
            let oldest = oldest.expect("there are some").1.clone();
            self.oks.retain(|ok| ok.identity != oldest);
        }
    }

    /// Rule 4: `acknowledged` marks the alert and keeps its status. One that is older than what the
    /// alert says is about something else.
    pub(super) fn acknowledged(&mut self, event: &Event) {
        let Some(alert) = self.in_force(&event.identity()) else {
            return;
        };
        let (number, incident) = (alert.number, alert.incident);
        if alert.over.is_some() || alert.acknowledged || event.timestamp < alert.changed_at {
            return;
        }
        self.note_alert(number, event.timestamp).acknowledged = true;
        self.alert_mut(number).acknowledged = true;
        let (by, at) = (event.source.clone(), event.timestamp);
        let by = Acknowledged { by, at, until: None };
        self.incident_mut(incident).acknowledged.get_or_insert(by);
    }

    /// Rule 5, by event time: over once its last word lost its force before an event of its own.
    pub(super) fn over_by_event_time(&mut self, number: usize, at: Timestamp) {
        let alert = self.alert(number);
        if alert.over.is_none() && alert.alive_until < at {
            self.expire(number);
        }
    }

    /// Rule 5. What flaps and said `ok` last had no problem that could expire.
    pub(super) fn expire(&mut self, number: usize) {
        let alert = self.alert(number);
        if alert.said == Status::Ok {
            return self.calm(number);
        }
        let at = alert.alive_until;
        self.end(number, at, Resolution::Expired);
        let alert = self.alert_mut(number);
        alert.flaps = None;
        alert.changed_at = at;
    }

    /// Rule 6: what an event that changes the status does to flapping. Changes at one time count
    /// once; no more is remembered than may decide by the settings in force.
    pub(super) fn flap(&mut self, number: usize, at: Timestamp, status: Status) {
        let (now, settings) = (self.now, self.settings.flapping);
        let alert = self.alert_mut(number);
        if status == alert.said {
            return;
        }
        let shown = alert.status();
        alert.said = status;
        let fresh = |since| Flaps {
            since,
            calm_at: at + settings.quiet_for,
            calm_due: now + settings.quiet_for,
        };
        if let Some(flaps) = alert.flaps {
            alert.worst = shown.max(status);
            alert.flaps = Some(fresh(flaps.since));
            return;
        }
        let allowed = settings.changes as usize;
        if !alert.changes.contains(&at) {
            alert.changes.push(at);
        }
        alert.changes.retain(|change| allowed > 0 && at.since(*change) <= settings.within);
        while alert.changes.len() > allowed + 1 {
            alert.changes.remove(0);
        }
        if allowed > 0 && alert.changes.len() > allowed {
            alert.changes.clear();
            alert.worst = shown.max(status);
            alert.flaps = Some(fresh(at));
        }
    }

    /// Rule 6, by event time: a change of status after it was calm for long enough is the first one
    /// of a calm alert. A repeat shows nothing, since collect may have kept it to itself.
    pub(super) fn calm_by_event_time(&mut self, number: usize, at: Timestamp, status: Status) {
        let alert = self.alert(number);
        let calm = alert.flaps.is_some_and(|flaps| flaps.calm_at <= at);
        if calm && status != alert.said {
            self.calm(number);
        }
    }

    /// Rule 6: it flaps no more and is what it last said. Where that is `ok` it is over since then,
    /// and its incident since the last of its alerts was.
    pub(super) fn calm(&mut self, number: usize) {
        if self.alert(number).dismissed() {
            // Over as it is; all there is to do is to forget that it flapped.
            self.alert_mut(number).flaps = None;
            return;
        }
        let alert = self.alert(number);
        let (said, at, incident) = (alert.said, alert.changed_at, alert.incident);
        if said > Status::Ok {
            self.note_alert(number, at).updated = true;
            self.alert_mut(number).flaps = None;
            return;
        }
        self.end(number, at, Resolution::AllOk);
        self.alert_mut(number).flaps = None;
        if self.members(incident).all(|alert| alert.over.is_some()) {
            let last =
                self.members(incident).filter_map(|alert| alert.over).map(|(at, _)| at).max();
            let last = last.expect("the one that just ended");
            self.incident_mut(incident).over = Some((last, Resolution::AllOk));
        }
    }

    /// Rule 14: an incident is over once none of its alerts fires, for the last one's reason.
    pub(super) fn end(&mut self, number: usize, at: Timestamp, reason: Resolution) {
        self.note_alert(number, at);
        let alert = self.alert_mut(number);
        alert.over = Some((at, reason));
        alert.acknowledged = false;
        let incident = alert.incident;
        if self.members(incident).all(|alert| alert.over.is_some()) {
            let incident = self.incident_mut(incident);
            incident.over = Some((at, reason));
            incident.acknowledged = None;
        }
    }

    /// A new alert, and its place.
    pub(super) fn begin(&mut self, status: Status, update: &Update) {
        let (alert, by_pattern) = self.newborn(status, update);
        self.place(alert, &by_pattern, &[], None);
    }

    /// A new alert without a place, and its pairs by pattern.
    pub(super) fn newborn(
        &mut self,
        status: Status,
        update: &Update,
    ) -> (Alert, Vec<(Pattern, Vec<Pair>)>) {
        let event = &update.event;
        let at = event.timestamp;
        let chronic = self.count_episode(&event.identity(), at);
        let by_pattern: Vec<(Pattern, Vec<Pair>)> = self
            .settings
            .patterns
            .iter()
            .map(|pattern| (pattern.clone(), self.shared(pattern, event, chronic)))
            .collect();
        let patterns = self.settings.patterns.iter();
        let alert = Alert {
            number: self.alerts_born,
            id: None,
            identity: event.identity(),
            shard: update.shard.clone(),
            incident: usize::MAX,
            said: status,
            worst: status,
            changes: Vec::new(),
            flaps: None,
            content: event.clone(),
            started_at: at,
            changed_at: at,
            newest: at,
            alive_until: update.alive_until(),
            restated_at: None,
            appended_at: self.now,
            events: update.seen.repeats + 1,
            acknowledged: false,
            maintenance: self.mark(at, event, None),
            over: None,
            own: patterns.flat_map(|pattern| pairs(pattern, event, chronic)).collect(),
            pairs: by_pattern.iter().flat_map(|(_, pairs)| pairs.clone()).collect(),
            chronic,
            moved_from: Vec::new(),
            why: Why::default(),
        };
        (alert, by_pattern)
    }
}
