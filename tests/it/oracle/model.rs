//! The rules of correlation once more, slow and plain, one function a rule.
//!
//! Written from the design (its section 5), not from `correlate`, and sharing nothing with it but
//! plain values: lists that are searched from end to end, no index, no row, no timer that is kept.
//! Where the design is silent the remark at the rule says what holds. Two things it does not know by
//! itself: ids, which it is told once something new was told ([`Model::name_incident`]), and which
//! of two contents has the greater digest, which it asks.
//!
//! A further rule is one more function here and one more line where it takes part.

use std::collections::{BTreeSet, VecDeque};

use muster::model::alert::{Refusal, Side};
use muster::model::event::{Identity, Report};
use muster::model::matcher::{Labels, Values};
use muster::model::update::Touch;
use muster::model::{
    AlertId, Ask, ChangeKind, CorrelateSettings, Event, Hold, IncidentId, Pair, Pattern,
    Resolution, Span, Status, Tags, Timestamp, Update,
};

/// A record of correlate's log.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// When it was appended.
    pub(super) time: Timestamp,
    pub(super) body: Body,
}

/// What it says.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Update(Box<Update>),
    Touch(Touch),
    Tick,
    Settings(CorrelateSettings),
}

/// Whether the first event's content has the greater digest of two.
pub(super) type Greater = fn(&Event, &Event) -> bool;

/// One episode of one identity. Its number is the order of births.
#[derive(Debug, Clone)]
pub(super) struct Alert {
    pub(super) number: usize,
    pub(super) id: Option<AlertId>,
    pub(super) identity: Identity,
    pub(super) shard: Box<str>,
    pub(super) incident: usize,
    /// What the newest event said.
    pub(super) said: Status,
    /// The worst it said since just before it began to flap.
    worst: Status,
    /// When its status changed, as far as that counts towards flapping.
    pub(super) changes: Vec<Timestamp>,
    pub(super) flaps: Option<Flaps>,
    /// The newest event; its time is `newest` only where no repeat was newer.
    pub(super) content: Event,
    pub(super) started_at: Timestamp,
    pub(super) changed_at: Timestamp,
    pub(super) newest: Timestamp,
    pub(super) alive_until: Timestamp,
    pub(super) restated_at: Option<Timestamp>,
    pub(super) appended_at: Timestamp,
    pub(super) events: u64,
    pub(super) acknowledged: bool,
    pub(super) over: Option<(Timestamp, Resolution)>,
    /// The pairs it had when it joined.
    pub(super) pairs: Vec<Pair>,
    /// The incidents it came from, since nobody was told of them.
    pub(super) moved_from: Vec<IncidentId>,
    pub(super) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flaps {
    pub(super) since: Timestamp,
    pub(super) calm_at: Timestamp,
    pub(super) calm_due: Timestamp,
}

/// Rule 12: why an alert is where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Why {
    pub(super) pair: Option<Pair>,
    pub(super) apart: Span,
    /// Everything that was turned down, the nearest first.
    pub(super) turned_down: Vec<TurnedDown>,
    /// Where it opened an incident: patterns, by name, that it fits but for a tag.
    pub(super) lacks: Vec<(Box<str>, Box<str>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TurnedDown {
    pub(super) incident: IncidentId,
    pub(super) apart: Span,
    /// Why, by each pattern under which it was looked at.
    pub(super) under: Vec<Under>,
}

/// Why a pattern did not join an alert to an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Under {
    pub(super) pattern: Box<str>,
    pub(super) reason: Refusal,
    /// How far outside the bounds it started.
    pub(super) missed: Option<(Span, Side)>,
    /// What else would have kept it out.
    pub(super) besides: Vec<Refusal>,
}

#[derive(Debug, Clone)]
pub(super) struct Incident {
    pub(super) number: usize,
    pub(super) id: Option<IncidentId>,
    pub(super) shard: Box<str>,
    pub(super) revision: u64,
    pub(super) first: Timestamp,
    pub(super) latest: Timestamp,
    pub(super) opened_at: Timestamp,
    pub(super) changed_at: Timestamp,
    pub(super) over: Option<(Timestamp, Resolution)>,
    pub(super) severity: Status,
    pub(super) pairs: Vec<Pair>,
    pub(super) tags: Tags,
    pub(super) continues: Option<usize>,
    pub(super) continued_by: Option<usize>,
    /// By whom, and when.
    pub(super) acknowledged: Option<(Box<str>, Timestamp)>,
    pub(super) updated_at: Option<Timestamp>,
    pub(super) remind_at: Option<Timestamp>,
    /// Alerts whose `updated` waits for its minute.
    pub(super) waiting: Vec<usize>,
    /// What is asked for before it is told, and what was in vain; none once it was told.
    pub(super) hold: Option<Hold>,
    /// By log time, when alerts of it went elsewhere by themselves.
    pub(super) reshaped_at: Option<Timestamp>,
}

/// A change that must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) incident: usize,
    pub(super) kinds: Vec<ChangeKind>,
    pub(super) joined: Vec<usize>,
    pub(super) concerned: BTreeSet<usize>,
}

/// What one record did to an incident, as far as its state before and after does not tell.
#[derive(Debug, Clone)]
struct Note {
    incident: usize,
    at: Timestamp,
    joined: Vec<usize>,
    concerned: BTreeSet<usize>,
    updated: bool,
    overdue: bool,
    reminded: bool,
    acknowledged: bool,
    continued: bool,
    lapsed: bool,
    left: Vec<usize>,
}

/// How an incident stood before the record.
struct Stood {
    number: usize,
    open: bool,
    status: Status,
    firing: usize,
    flapping: bool,
    held: bool,
}

/// What is due though nothing arrives, in the order in which it fires at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Expire(AlertId),
    Calm(AlertId),
    Update(IncidentId),
    Remind(IncidentId),
    Lapse(IncidentId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RememberedOk {
    pub(super) appended_at: Timestamp,
    pub(super) identity: Identity,
    pub(super) at: Timestamp,
}

/// All there is.
pub(super) struct Model {
    greater: Greater,
    now: Timestamp,
    settings: CorrelateSettings,
    pub(super) alerts: Vec<Alert>,
    pub(super) incidents: Vec<Incident>,
    pub(super) oks: Vec<RememberedOk>,
    alerts_born: usize,
    incidents_born: usize,
    notes: Vec<Note>,
    /// The ids of the incidents that the record opens, in order.
    fresh: VecDeque<IncidentId>,
}

impl Model {
    /// Before any record: no patterns, and the defaults of everything else.
    pub(super) fn new(greater: Greater) -> Self {
        Self {
            greater,
            now: Timestamp::MIN,
            settings: CorrelateSettings::default(),
            alerts: Vec::new(),
            incidents: Vec::new(),
            oks: Vec::new(),
            alerts_born: 0,
            incidents_born: 0,
            notes: Vec::new(),
            fresh: VecDeque::new(),
        }
    }

    /// Reads a record; what must be told, in order. Ids of incidents that open are given to them in
    /// order.
    pub(super) fn apply(&mut self, record: &Record, ids: VecDeque<IncidentId>) -> Vec<Told> {
        self.fresh = ids;
        // Time is in the log: the largest append time seen.
        self.now = self.now.max(record.time);
        let before: Vec<Stood> = self.incidents.iter().map(|one| self.stands(one)).collect();
        self.notes.clear();
        self.forget();
        self.fire();
        match &record.body {
            Body::Update(update) => self.update(update),
            Body::Touch(touch) => self.touch(touch),
            Body::Tick => {}
            Body::Settings(settings) => self.settings = settings.clone(),
        }
        self.tell(&before)
    }

    /// The id of an incident that was told for the first time.
    pub(super) fn name_incident(&mut self, number: usize, id: IncidentId) {
        self.incident_mut(number).id = Some(id);
    }

    /// The id of an alert that was told for the first time.
    pub(super) fn name_alert(&mut self, number: usize, id: AlertId) {
        self.alert_mut(number).id = Some(id);
    }

    pub(super) fn alert(&self, number: usize) -> &Alert {
        self.alerts.iter().find(|alert| alert.number == number).expect("an alert that is kept")
    }

    pub(super) fn incident(&self, number: usize) -> &Incident {
        self.incidents.iter().find(|one| one.number == number).expect("an incident that is kept")
    }

    pub(super) fn members(&self, incident: usize) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(move |alert| alert.incident == incident)
    }

    /// The worst status that fires; rule 14.
    pub(super) fn status(&self, incident: usize) -> Status {
        let firing = self.members(incident).filter(|alert| alert.over.is_none());
        firing.map(Alert::status).max().unwrap_or(Status::Ok)
    }

    fn alert_mut(&mut self, number: usize) -> &mut Alert {
        let found = self.alerts.iter_mut().find(|alert| alert.number == number);
        found.expect("an alert that is kept")
    }

    fn incident_mut(&mut self, number: usize) -> &mut Incident {
        let found = self.incidents.iter_mut().find(|one| one.number == number);
        found.expect("an incident that is kept")
    }

    /// The alert in force for an identity: the one that began last, of those that are kept.
    fn in_force(&self, identity: &Identity) -> Option<&Alert> {
        self.alerts.iter().rev().find(|alert| alert.identity == *identity)
    }

    fn stands(&self, incident: &Incident) -> Stood {
        let members: Vec<&Alert> = self.members(incident.number).collect();
        Stood {
            number: incident.number,
            open: incident.over.is_none(),
            status: self.status(incident.number),
            firing: members.iter().filter(|alert| alert.over.is_none()).count(),
            flapping: members.iter().any(|alert| alert.flaps.is_some()),
            held: incident.hold.is_some(),
        }
    }

    fn note(&mut self, incident: usize, at: Timestamp) -> &mut Note {
        let known = self.notes.iter().position(|note| note.incident == incident);
        let index = known.unwrap_or_else(|| {
            self.notes.push(Note {
                incident,
                at,
                joined: Vec::new(),
                concerned: BTreeSet::new(),
                updated: false,
                overdue: false,
                reminded: false,
                acknowledged: false,
                continued: false,
                lapsed: false,
                left: Vec::new(),
            });
            self.notes.len() - 1
        });
        let note = &mut self.notes[index];
        note.at = note.at.max(at);
        note
    }

    fn note_alert(&mut self, number: usize, at: Timestamp) -> &mut Note {
        let incident = self.alert(number).incident;
        let note = self.note(incident, at);
        note.concerned.insert(number);
        note
    }

    // Alerts.

    /// Rules 1 to 6: an event of an identity.
    fn update(&mut self, update: &Update) {
        let event = &update.event;
        let (identity, at) = (event.identity(), event.timestamp);
        let Report::Status(status) = event.report else { return self.acknowledged(event) };
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
    fn decides(&self, number: usize, status: Status, event: &Event) -> bool {
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
    /// half a refresh has passed.
    fn said_again(&mut self, number: usize, status: Status, update: &Update) {
        let (now, event) = (self.now, &update.event);
        let alert = self.alert_mut(number);
        let known = &alert.content;
        let same = (event.timestamp, status) == (alert.newest, alert.said)
            && (&event.host, &event.check, &event.tags) == (&known.host, &known.check, &known.tags);
        if same && alert.over.is_none() && alert.restates(now) {
            alert.lives_on(now, update);
            alert.appended_at = now;
        }
    }

    /// Counts, and what collect saw without forwarding it: it was a repeat, so that only the time of
    /// the newest event moves on.
    fn seen(&mut self, number: usize, newest: Option<(Timestamp, Timestamp)>, events: u64) {
        let alert = self.alert_mut(number);
        alert.events += events;
        if let Some((at, alive_until)) = newest
            && at > alert.newest
        {
            alert.newest = at;
            alert.restated_at = None;
            if alert.over.is_none() {
                alert.alive_until = alive_until;
            }
        }
    }

    /// The last word on an identity that collect forgets.
    fn touch(&mut self, touch: &Touch) {
        let Some(number) = self.in_force(&touch.identity).map(|alert| alert.number) else { return };
        self.seen(number, touch.seen.newest, touch.seen.repeats);
        let now = self.now;
        let alert = self.alert_mut(number);
        if alert.over.is_none() {
            alert.appended_at = now;
        }
    }

    /// A newer event of an alert that fires: rules 2, 3 and 6.
    fn goes_on(&mut self, number: usize, status: Status, update: &Update) {
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
        let alert = self.alert(number);
        let shown =
            alert.status() != before.status() || alert.flaps.is_some() != before.flaps.is_some();
        if other_tags || shown {
            self.note_alert(number, at).updated = true;
        }
        let alert = self.alert_mut(number);
        if other_tags || status != before.said {
            alert.changed_at = at;
        }
        alert.take(now, update);
    }

    /// Rule 3: `ok` resolves.
    fn resolve(&mut self, number: usize, update: &Update) {
        let (now, at) = (self.now, update.event.timestamp);
        self.end(number, at, Resolution::AllOk);
        let alert = self.alert_mut(number);
        let alive_until = alert.alive_until;
        alert.changed_at = at;
        alert.take(now, update);
        alert.alive_until = alive_until;
    }

    /// Nothing is wrong, as before; kept for as long as an older problem may come.
    fn still_fine(&mut self, number: usize, at: Timestamp) {
        let now = self.now;
        let alert = self.alert_mut(number);
        alert.said = Status::Ok;
        alert.newest = at;
        alert.restated_at = None;
        alert.appended_at = now;
    }

    /// Rules 3 and 5: within the window of the resolve; what expired does not reopen.
    fn reopens(&self, ended_at: Timestamp, reason: Resolution, at: Timestamp) -> bool {
        reason == Resolution::AllOk && at.since(ended_at) <= self.settings.reopen_window
    }

    /// Rule 3: as a new one it would belong elsewhere, and not to its own incident: then it is a new
    /// one there. What begins to flap stays.
    fn again(&mut self, number: usize, status: Status, update: &Update) {
        let at = update.event.timestamp;
        let before = self.alert(number).clone();
        self.flap(number, at, status);
        let after = std::mem::replace(self.alert_mut(number), before.clone());
        if after.flaps.is_none() {
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
    fn goes_elsewhere(
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

    fn reopen(&mut self, number: usize, status: Status, update: &Update) {
        let (now, at) = (self.now, update.event.timestamp);
        self.note_alert(number, at).updated = true;
        self.flap(number, at, status);
        let alert = self.alert_mut(number);
        alert.over = None;
        alert.changed_at = at;
        alert.take(now, update);
        let incident = alert.incident;
        self.incident_mut(incident).over = None;
    }

    /// Rule 4: `ok` of an unknown identity is remembered; an older problem stays closed.
    fn unknown(&mut self, identity: &Identity, status: Status, update: &Update) {
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
    fn acknowledged(&mut self, event: &Event) {
        let Some(alert) = self.in_force(&event.identity()) else { return };
        let (number, incident) = (alert.number, alert.incident);
        if alert.over.is_some() || alert.acknowledged || event.timestamp < alert.changed_at {
            return;
        }
        self.note_alert(number, event.timestamp).acknowledged = true;
        self.alert_mut(number).acknowledged = true;
        let by = (event.source.clone(), event.timestamp);
        self.incident_mut(incident).acknowledged.get_or_insert(by);
    }

    /// Rule 5, by event time: over once its last word lost its force before an event of its own.
    fn over_by_event_time(&mut self, number: usize, at: Timestamp) {
        let alert = self.alert(number);
        if alert.over.is_none() && alert.alive_until < at {
            self.expire(number);
        }
    }

    /// Rule 5. What flaps and said `ok` last had no problem that could expire.
    fn expire(&mut self, number: usize) {
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
    fn flap(&mut self, number: usize, at: Timestamp, status: Status) {
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
    fn calm_by_event_time(&mut self, number: usize, at: Timestamp, status: Status) {
        let alert = self.alert(number);
        let calm = alert.flaps.is_some_and(|flaps| flaps.calm_at <= at);
        if calm && status != alert.said {
            self.calm(number);
        }
    }

    /// Rule 6: it flaps no more and is what it last said. Where that is `ok` it is over since then,
    /// and its incident since the last of its alerts was.
    fn calm(&mut self, number: usize) {
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
    fn end(&mut self, number: usize, at: Timestamp, reason: Resolution) {
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
    fn begin(&mut self, status: Status, update: &Update) {
        let (alert, by_pattern) = self.newborn(status, update);
        self.place(alert, &by_pattern, &[], None);
    }

    /// A new alert without a place, and its pairs by pattern.
    fn newborn(&self, status: Status, update: &Update) -> (Alert, Vec<(Pattern, Vec<Pair>)>) {
        let event = &update.event;
        let at = event.timestamp;
        let by_pattern: Vec<(Pattern, Vec<Pair>)> = self
            .settings
            .patterns
            .iter()
            .map(|pattern| (pattern.clone(), pairs(pattern, event)))
            .collect();
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
            over: None,
            pairs: by_pattern.iter().flat_map(|(_, pairs)| pairs.clone()).collect(),
            moved_from: Vec::new(),
            why: Why::default(),
        };
        (alert, by_pattern)
    }

    // Patterns.

    /// Rules 9 to 12: the first pattern in order that finds an incident, or an incident of its own.
    /// Where there is a free one, that is used in place of a new one.
    fn place(
        &mut self,
        mut alert: Alert,
        by_pattern: &[(Pattern, Vec<Pair>)],
        lapsed: &[Box<str>],
        free: Option<usize>,
    ) {
        let mut refused: Vec<(usize, TurnedDown)> = Vec::new();
        for (pattern, pairs) in by_pattern {
            if let Some(found) = self.oldest(&alert, pattern, pairs, &mut refused) {
                return self.take_in(alert, found, refused);
            }
        }
        let full = refused.iter().rev().find(|(_, one)| one.under[0].reason == Refusal::Full);
        let links = full
            .map(|(number, _)| *number)
            .filter(|full| self.incident(*full).continued_by.is_none());
        let patterns = by_pattern.iter().map(|(pattern, _)| pattern);
        let fits = patterns.filter(|pattern| pattern.matchers.matches(&alert.shown()));
        let lacks = fits.filter_map(|pattern| lack(pattern, &alert.content)).take(5).collect();
        let turned_down = nearest(refused, None);
        alert.why = Why { pair: None, apart: Span::ZERO, turned_down, lacks };
        let hold = self.hold(by_pattern, lapsed);
        match free {
            Some(free) => self.keep(free, alert, links, hold),
            None => self.open(alert, links, hold),
        }
    }

    /// Rule 12, and into the incident that takes it.
    fn take_in(
        &mut self,
        mut alert: Alert,
        (incident, pair): (usize, Pair),
        refused: Vec<(usize, TurnedDown)>,
    ) {
        let apart = alert.started_at.apart(self.incident(incident).first);
        let turned_down = nearest(refused, Some(incident));
        alert.why = Why { pair: Some(pair), apart, turned_down, lacks: Vec::new() };
        self.join(incident, alert);
    }

    /// Rule 9: the oldest incident of the shard that holds one of the pairs and takes the alert; by
    /// id where two are as old. What is looked at is first brought up to the alert's start.
    fn oldest(
        &mut self,
        alert: &Alert,
        pattern: &Pattern,
        pairs: &[Pair],
        refused: &mut Vec<(usize, TurnedDown)>,
    ) -> Option<(usize, Pair)> {
        let start = alert.started_at;
        let holds = |incident: &&Incident| {
            incident.shard == alert.shard && pairs.iter().any(|pair| incident.pairs.contains(pair))
        };
        let mut candidates: Vec<(Timestamp, Option<IncidentId>, usize)> = self
            .incidents
            .iter()
            .filter(holds)
            .map(|incident| (incident.first, incident.id, incident.number))
            .collect();
        candidates.sort_unstable();
        // Whatever lies outside the window is turned down, whichever takes the alert.
        let (near, far): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(first, _, _)| start.apart(*first) <= pattern.window);
        for (_, _, number) in far {
            self.turn_down(number, pattern, Refusal::OutsideWindow, start, refused);
        }
        for (_, _, number) in near {
            self.bring_up_to(number, start);
            let Some(reason) = self.refusal(number, pattern, start) else {
                let incident = self.incident(number);
                let pair = pairs.iter().find(|pair| incident.pairs.contains(pair));
                return Some((number, pair.expect("it holds one").clone()));
            };
            self.turn_down(number, pattern, reason, start, refused);
        }
        None
    }

    /// Rule 12: what was turned down, and why.
    fn turn_down(
        &self,
        number: usize,
        pattern: &Pattern,
        reason: Refusal,
        start: Timestamp,
        refused: &mut Vec<(usize, TurnedDown)>,
    ) {
        let incident = self.incident(number);
        let (first, latest) = (incident.first, incident.latest);
        // How far it would have to move to lie within the window and the gap at once.
        let gap = pattern.gap.unwrap_or(pattern.window);
        let early = [first - pattern.window, first - gap].map(|from| from.since(start));
        let late = if pattern.gap.is_some() { latest + gap } else { first + pattern.window };
        let late = [first + pattern.window, late].map(|to| start.since(to));
        let far =
            |by: [Span; 2], side| (by[0].max(by[1]) > Span::ZERO).then(|| (by[0].max(by[1]), side));
        let missed = far(early, Side::Early).or_else(|| far(late, Side::Late));
        let over = incident.over.is_some() && pattern.gap.is_none();
        let full = self.members(number).count() >= pattern.max_alerts as usize;
        let besides = [(over, Refusal::Resolved), (full, Refusal::Full)];
        let besides = besides.into_iter().filter(|(so, other)| *so && *other != reason);
        let besides = besides.map(|(_, other)| other).collect();
        let under = vec![Under { pattern: pattern.name.clone(), reason, missed, besides }];
        let (incident, apart) = (incident.id.expect("it was told"), start.apart(first));
        refused.push((number, TurnedDown { incident, apart, under }));
    }

    /// Rules 5 and 6 for an incident that a new alert could join: what was over or calm by the
    /// alert's start is so at that moment, in the order in which it came to be.
    fn bring_up_to(&mut self, incident: usize, start: Timestamp) {
        loop {
            let firing = self.members(incident).filter(|alert| alert.over.is_none());
            let first = firing.map(|alert| (alert.alive_until, alert.id, alert.number)).min();
            match first {
                Some((alive_until, _, number)) if alive_until < start => self.expire(number),
                _ => break,
            }
        }
        loop {
            let flapping = self
                .members(incident)
                .filter_map(|alert| Some((alert.flaps?.calm_at, alert.id, alert.number)));
            match flapping.min() {
                Some((calm_at, _, number)) if calm_at <= start => self.calm(number),
                _ => break,
            }
        }
    }

    /// Rules 8, 9 and 11: why an incident does not take an alert that starts then.
    fn refusal(&self, incident: usize, pattern: &Pattern, start: Timestamp) -> Option<Refusal> {
        let room = self.members(incident).count() < pattern.max_alerts as usize;
        let incident = self.incident(incident);
        if start.apart(incident.first) > pattern.window {
            return Some(Refusal::OutsideWindow);
        }
        if let Some(gap) = pattern.gap
            && (start < incident.first - gap || start > incident.latest + gap)
        {
            return Some(Refusal::OutsideGap);
        }
        if incident.over.is_some() && pattern.gap.is_none() {
            return Some(Refusal::Resolved);
        }
        (!room).then_some(Refusal::Full)
    }

    /// Rule 9: it keeps only the pairs, and tags, that this alert shares.
    fn join(&mut self, number: usize, mut alert: Alert) {
        let incident = self.incident_mut(number);
        incident.pairs.retain(|pair| alert.pairs.contains(pair));
        incident.tags.keep_shared(&alert.content.tags);
        incident.latest = incident.latest.max(alert.started_at);
        incident.over = None;
        alert.incident = number;
        self.add(alert);
    }

    /// Rule 10; rule 11 where one that was full is continued.
    fn open(&mut self, mut alert: Alert, continues: Option<usize>, hold: Option<Hold>) {
        let (number, start) = (self.incidents_born, alert.started_at);
        self.incidents_born += 1;
        if let Some(full) = continues {
            self.note(full, start).continued = true;
            self.incident_mut(full).continued_by = Some(number);
        }
        self.incidents.push(Incident {
            number,
            id: self.fresh.pop_front(),
            shard: alert.shard.clone(),
            revision: 0,
            first: start,
            latest: start,
            opened_at: self.now,
            changed_at: start,
            over: None,
            severity: alert.status(),
            pairs: alert.pairs.clone(),
            tags: alert.content.tags.clone(),
            continues,
            continued_by: None,
            acknowledged: None,
            updated_at: None,
            remind_at: None,
            waiting: Vec::new(),
            hold,
            reshaped_at: None,
        });
        alert.incident = number;
        self.add(alert);
    }

    fn add(&mut self, alert: Alert) {
        let (number, start) = (alert.number, alert.started_at);
        self.alerts_born += 1;
        self.alerts.push(alert);
        self.note_alert(number, start).joined.push(number);
    }

    // Rule 11, `min_alerts`.

    /// Why an incident is held that opens with one alert: each pattern that holds it asks for more.
    fn hold(&self, by_pattern: &[(Pattern, Vec<Pair>)], lapsed: &[Box<str>]) -> Option<Hold> {
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
    fn in_vain(&self, incident: usize) -> bool {
        let incident = self.incident(incident);
        incident.hold.is_some() && incident.asks().iter().all(|ask| ask.until < self.now)
    }

    /// The windows of patterns that asked for more are over: their pairs drop. What then holds no
    /// pair, and nobody acknowledged, gives its alerts to the patterns that did not ask.
    fn lapse(&mut self, number: usize) {
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
        if incident.pairs.is_empty() && incident.acknowledged.is_none() {
            self.go_on(number);
        }
        self.now = now;
    }

    fn go_on(&mut self, number: usize) {
        let lapsed = self.incident(number).hold.clone().expect("it is held").lapsed;
        let patterns = self.settings.patterns.clone();
        let remaining = |alert: &Alert| -> Vec<(Pattern, Vec<Pair>)> {
            let pairs = |pattern: &Pattern| {
                if lapsed.contains(&pattern.name) { vec![] } else { pairs(pattern, &alert.shown()) }
            };
            patterns.iter().map(|pattern| (pattern.clone(), pairs(pattern))).collect()
        };
        let any = |alert: &&Alert| remaining(alert).iter().any(|(_, pairs)| !pairs.is_empty());
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
            let by_pattern = remaining(&alert);
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
    fn keep(&mut self, number: usize, mut alert: Alert, full: Option<usize>, hold: Option<Hold>) {
        let start = alert.started_at;
        if let Some(full) = full {
            self.note(full, start).continued = true;
            self.incident_mut(full).continued_by = Some(number);
        }
        let incident = self.incident_mut(number);
        (incident.first, incident.latest) = (start, start);
        incident.pairs = alert.pairs.clone();
        incident.tags = alert.content.tags.clone();
        incident.continues = full.or(incident.continues);
        incident.hold = hold;
        alert.incident = number;
        let which = alert.number;
        self.alerts.push(alert);
        self.note(number, Timestamp::MIN).joined.push(which);
    }

    // Time.

    /// Rule 13: a resolved incident is forgotten once its last record was appended longer ago than
    /// anything may still refer to it, and ten minutes in which events may be late; an `ok` that was
    /// remembered after the reopen window.
    fn forget(&mut self) {
        let gaps = self.settings.patterns.iter().filter_map(|pattern| pattern.gap);
        let longest = gaps.chain([self.settings.reopen_window]).max().expect("there is one");
        let kept = longest + Span::from_secs(600);
        let over = self.incidents.iter().filter(|one| one.over.is_some());
        let gone: Vec<usize> = over
            .filter(|one| {
                let last = self.members(one.number).map(|alert| alert.appended_at).max();
                let last = last.max(one.reshaped_at);
                last.expect("without alerts is only what they left") + kept < self.now
            })
            .map(|one| one.number)
            .collect();
        self.incidents.retain(|one| !gone.contains(&one.number));
        self.alerts.retain(|alert| !gone.contains(&alert.incident));
        let (now, window) = (self.now, self.settings.reopen_window);
        self.oks.retain(|ok| ok.appended_at + window >= now);
    }

    /// Due timers fire before the record, ordered by deadline, kind and id, each once.
    fn fire(&mut self) {
        let mut fired: Vec<(Timestamp, Due)> = Vec::new();
        loop {
            let due = self.deadlines().into_iter().filter(|one| one.0 <= self.now);
            let Some(next) = due.filter(|one| !fired.contains(one)).min() else { break };
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
                        .filter(|alert| alert.flaps.is_some())
                        .map(|alert| alert.number)
                        .collect();
                    let note = self.note(number, changed_at);
                    note.reminded = true;
                    note.concerned.extend(flapping);
                }
                Due::Lapse(id) => self.lapse(self.incident_of(id).0),
            }
        }
    }

    fn number_of(&self, id: AlertId) -> usize {
        let found = self.alerts.iter().find(|alert| alert.id == Some(id));
        found.expect("what is due is kept").number
    }

    fn incident_of(&self, id: IncidentId) -> (usize, Timestamp) {
        let found = self.incidents.iter().find(|one| one.id == Some(id));
        let found = found.expect("what is due is kept");
        (found.number, found.changed_at)
    }

    fn deadlines(&self) -> Vec<(Timestamp, Due)> {
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
            if let Some(flaps) = alert.flaps {
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
            if incident.over.is_none() {
                // The end of the window is within it.
                let just_after = |ask: Ask| ask.until + Span::from_millis(1);
                let first = incident.asks().into_iter().map(just_after).min();
                all.extend(first.map(|at| (at, Due::Lapse(id))));
            }
        }
        all
    }

    // What is told.

    /// At most one revision an incident and record: the difference between before and after.
    fn tell(&mut self, before: &[Stood]) -> Vec<Told> {
        let notes = std::mem::take(&mut self.notes);
        notes.into_iter().filter_map(|note| self.told(before, note)).collect()
    }

    fn told(&mut self, before: &[Stood], mut note: Note) -> Option<Told> {
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
        Some(Told { incident: number, kinds, joined: note.joined, concerned: note.concerned })
    }

    /// `updated` at most once an incident and minute of log time; else it waits.
    fn updated_in_its_minute(&mut self, note: &mut Note) -> bool {
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

impl Incident {
    /// What the patterns ask for whose pairs it still holds.
    pub(super) fn asks(&self) -> Vec<Ask> {
        let asks = self.hold.iter().flat_map(|hold| &hold.asks);
        let holds = |ask: &&Ask| self.pairs.iter().any(|pair| pair.pattern == ask.pattern);
        asks.filter(holds).cloned().collect()
    }
}

impl Alert {
    /// What it shows: rule 6, the worst of what it said while it flaps.
    pub(super) fn status(&self) -> Status {
        if self.flaps.is_some() { self.worst } else { self.said }
    }

    /// What patterns see of it: its newest event, with the status that it shows.
    fn shown(&self) -> Event {
        Event { report: Report::Status(self.status()), ..self.content.clone() }
    }

    /// Rule 2: tags and text follow the newest event.
    fn take(&mut self, now: Timestamp, update: &Update) {
        if let Report::Status(status) = update.event.report {
            self.said = status;
        }
        self.content = update.event.clone();
        if update.event.timestamp > self.newest || self.restates(now) {
            self.lives_on(now, update);
        } else if self.restated_at.is_none() {
            self.alive_until = update.alive_until();
        }
        self.appended_at = now;
    }

    /// When it was last said.
    fn said_at(&self) -> Timestamp {
        self.restated_at.map_or(self.newest, |at| at.max(self.newest))
    }

    fn restates(&self, now: Timestamp) -> bool {
        let lives = self.alive_until.since(self.said_at());
        let refresh = lives.part(4).clamp(Span::from_secs(60), Span::from_secs(600));
        now >= self.appended_at + refresh.part(2)
    }

    fn lives_on(&mut self, now: Timestamp, update: &Update) {
        if update.event.timestamp > self.newest {
            self.newest = update.event.timestamp;
            self.alive_until = update.alive_until();
            self.restated_at = None;
        } else {
            let until = update.event.expires_at.unwrap_or(now + update.expire_after);
            self.alive_until = self.alive_until.max(until);
            self.restated_at = Some(now);
        }
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
    if note.acknowledged {
        kinds.push(ChangeKind::Acknowledged);
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

/// What was turned down, but for the one that was joined, the nearest first; each once, with every
/// pattern under which it was looked at.
fn nearest(refused: Vec<(usize, TurnedDown)>, joined: Option<usize>) -> Vec<TurnedDown> {
    let mut turned_down: Vec<TurnedDown> = Vec::new();
    for (number, one) in refused {
        let known = turned_down.iter_mut().find(|known| known.incident == one.incident);
        match known {
            _ if joined == Some(number) => {}
            Some(known) => known.under.extend(one.under),
            None => turned_down.push(one),
        }
    }
    turned_down.sort_by_key(|one| (one.apart, one.incident));
    turned_down
}

/// The first tag of a pattern that an event does not have.
fn lack(pattern: &Pattern, event: &Event) -> Option<(Box<str>, Box<str>)> {
    let tag = pattern.by.iter().find(|tag| event.values(tag).iter().all(str::is_empty))?;
    Some((pattern.name.clone(), tag.clone()))
}

/// Rule 7: the pairs an alert has under a pattern, by value; at most 32.
pub(super) fn pairs(pattern: &Pattern, event: &Event) -> Vec<Pair> {
    if !pattern.matchers.matches(event) {
        return Vec::new();
    }
    let mut rows: Vec<Vec<(Box<str>, Box<str>)>> = vec![Vec::new()];
    for tag in &pattern.by {
        let values: BTreeSet<Box<str>> = match event.values(tag) {
            Values::None => BTreeSet::new(),
            Values::One(value) => [value.into()].into(),
            Values::Many(values) => {
                values.iter().filter(|value| !value.is_empty()).cloned().collect()
            }
        };
        let with = |row: &Vec<(Box<str>, Box<str>)>, value: &str| {
            row.iter().cloned().chain([(tag.clone(), value.into())]).collect()
        };
        rows = rows.iter().flat_map(|row| values.iter().map(|value| with(row, value))).collect();
    }
    rows.truncate(32);
    let source = (!pattern.cross_source).then(|| event.source.clone());
    let pair = |by| Pair {
        pattern: pattern.name.clone(),
        by,
        source: source.clone(),
        chronic: false,
        near: None,
    };
    rows.into_iter().map(pair).collect()
}
