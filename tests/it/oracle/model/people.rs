//! What people ask for, and what follows when they resolve by hand: rules 13 and 14.

use muster::model::command::{Action, Mode, Outcome, Refused, SnoozeEnds, Which};
use muster::model::{Matchers, RequestId};

use super::*;

/// How many things were touched, and the incidents among them; or why nothing was done, and how many
/// it would have been.
pub(super) type Done = Result<(u64, Vec<usize>), (Refused, u64)>;

/// What becomes of a command.
pub(super) enum Answer {
    /// With the incidents that it names if it is refused.
    New(Done, Vec<usize>),
    /// It was asked before.
    Again(Answered),
}

/// What somebody who asked is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) request: RequestId,
    pub(crate) at: Timestamp,
    pub(crate) action: Box<str>,
    pub(crate) confirm: Option<u64>,
    pub(crate) outcome: Outcome,
    pub(crate) count: u64,
    /// The incidents, with their revisions from then on.
    pub(crate) incidents: Vec<(IncidentId, u64)>,
}

/// A resolve by hand that can be taken back: what ended with the incidents.
#[derive(Debug, Clone)]
pub(super) struct Undoable {
    request: RequestId,
    pub(super) at: Timestamp,
    resolved: Vec<(IncidentId, Option<Acknowledged>, Option<Snoozed>)>,
}

/// An incident as it is shown: what matchers are held against.
struct Board {
    sources: Vec<Box<str>>,
    hosts: Vec<Box<str>>,
    checks: Vec<Box<str>>,
    status: Status,
    /// What its alerts have in common, and what its pairs say beside.
    tags: Tags,
}

impl Labels for Board {
    fn values(&self, name: &str) -> Values<'_> {
        match name {
            "source" => Values::Many(&self.sources),
            "host" => Values::Many(&self.hosts),
            "check" => Values::Many(&self.checks),
            "status" => Values::one(self.status.as_str()),
            _ => self.tags.values(name),
        }
    }
}

impl Model {
    /// A request id that is repeated within a day gets the first answer, and nothing is done.
    pub(super) fn asked(&mut self, command: &Command) -> Answer {
        match self.requests.iter().find(|known| known.request == command.request) {
            Some(known) => Answer::Again(known.clone()),
            None => {
                let shown = self.shown_for(command);
                Answer::New(self.act(command), shown)
            }
        }
    }

    /// Told once everything else of the record was. What only asks for a number is not remembered.
    pub(super) fn answered(&mut self, command: &Command, answer: Answer) -> Answered {
        let (done, shown) = match answer {
            Answer::Again(first) => return first,
            Answer::New(done, shown) => (done, shown),
        };
        let (outcome, count, incidents) = match done {
            Ok((count, incidents)) => (Outcome::Done, count, incidents),
            Err((reason, count)) => (Outcome::Refused(reason), count, shown),
        };
        let named = |number: usize| {
            let incident = self.incident(number);
            (incident.id.expect("it was told"), incident.revision)
        };
        let answered = Answered {
            request: command.request.clone(),
            at: self.now,
            action: command.action.as_str().into(),
            confirm: command.confirm,
            outcome,
            count,
            incidents: incidents.into_iter().map(named).collect(),
        };
        let only_counts = Mode::DryRun;
        let counted =
            matches!(command.action, Action::MaintenancePut { mode, .. } if mode == only_counts);
        if outcome != Outcome::Refused(Refused::Confirm) && !counted {
            self.requests.push(answered.clone());
        }
        answered
    }

    /// Whoever asks for several by what they are is shown which, and confirms their number.
    fn shown_for(&self, command: &Command) -> Vec<usize> {
        match &command.action {
            Action::Resolve(Which::Matching(matchers)) => self.matching(matchers),
            _ => Vec::new(),
        }
    }

    fn act(&mut self, command: &Command) -> Done {
        let actor = &*command.actor;
        match &command.action {
            Action::Acknowledge { incident, until } => self.acknowledge(actor, *incident, *until),
            Action::Unacknowledge { incident } => self.unacknowledge(actor, *incident),
            Action::Assign { incident, to } => self.assign(actor, *incident, to.as_deref()),
            Action::Snooze { incident, until, ends_on } => {
                self.snooze(actor, *incident, *until, *ends_on)
            }
            Action::Unsnooze { incident } => self.unsnooze(actor, *incident),
            Action::Resolve(which) => self.resolve_by_hand(command, which),
            Action::Comment { incident, text, audience } => {
                let number = self.known(*incident)?;
                let comment = Comment { text: text.clone(), audience: *audience };
                self.note_by(number, actor).comment = Some(comment);
                Ok((1, vec![number]))
            }
            Action::Undo { request } => self.undo(actor, request),
            Action::MaintenancePut { plan, mode } => self.put(command, plan, *mode),
            Action::MaintenanceEnd { id } => self.end_plan(id),
            other => unreachable!("{} is not drawn", other.as_str()),
        }
    }

    fn known(&self, id: IncidentId) -> Result<usize, (Refused, u64)> {
        let known = self.incidents.iter().find(|one| one.id == Some(id));
        known.map(|one| one.number).ok_or((Refused::UnknownIncident, 0))
    }

    fn open_one(&self, id: IncidentId) -> Result<usize, (Refused, u64)> {
        let number = self.known(id)?;
        match self.incident(number).over {
            None => Ok(number),
            Some(_) => Err((Refused::Resolved, 0)),
        }
    }

    fn ahead(&self, until: Timestamp) -> Result<(), (Refused, u64)> {
        if until > self.now { Ok(()) } else { Err((Refused::InThePast, 0)) }
    }

    /// Somebody does something to an incident.
    fn note_by(&mut self, number: usize, actor: &str) -> &mut Note {
        let changed_at = self.incident(number).changed_at;
        let note = self.note(number, changed_at);
        note.actor = Some(actor.into());
        note
    }

    /// Who acknowledges last stands; until a time, if one is named, or the resolve.
    fn acknowledge(&mut self, by: &str, id: IncidentId, until: Option<Timestamp>) -> Done {
        let (number, at) = (self.open_one(id)?, self.now);
        until.map_or(Ok(()), |until| self.ahead(until))?;
        self.note_by(number, by).acknowledged = true;
        self.incident_mut(number).acknowledged = Some(Acknowledged { by: by.into(), at, until });
        Ok((1, vec![number]))
    }

    fn unacknowledge(&mut self, by: &str, id: IncidentId) -> Done {
        let number = self.known(id)?;
        if self.incident(number).acknowledged.is_none() {
            return Err((Refused::NotAcknowledged, 0));
        }
        self.note_by(number, by).unacknowledged = true;
        self.let_go(number);
        Ok((1, vec![number]))
    }

    /// Nobody takes care of it any more, whoever did, in a source as well.
    pub(super) fn let_go(&mut self, number: usize) {
        self.incident_mut(number).acknowledged = None;
        for alert in self.alerts.iter_mut().filter(|alert| alert.incident == number) {
            alert.acknowledged = false;
        }
    }

    /// Also of what is over. Whose it is already it need not become.
    fn assign(&mut self, by: &str, id: IncidentId, to: Option<&str>) -> Done {
        let number = self.known(id)?;
        if self.incident(number).assignee.as_deref() != to {
            self.note_by(number, by).assigned = true;
            self.incident_mut(number).assignee = to.map(Box::from);
        }
        Ok((1, vec![number]))
    }

    fn snooze(&mut self, by: &str, id: IncidentId, until: Timestamp, ends_on: SnoozeEnds) -> Done {
        let number = self.open_one(id)?;
        self.ahead(until)?;
        let status = self.status(number);
        self.note_by(number, by).snoozed = true;
        self.incident_mut(number).snoozed = Some(Snoozed { by: by.into(), until, ends_on, status });
        Ok((1, vec![number]))
    }

    fn unsnooze(&mut self, by: &str, id: IncidentId) -> Done {
        let number = self.known(id)?;
        if self.incident(number).snoozed.is_none() {
            return Err((Refused::NotSnoozed, 0));
        }
        self.note_by(number, by).unsnoozed = true;
        self.incident_mut(number).snoozed = None;
        Ok((1, vec![number]))
    }

    /// Whether what a record did ends a snooze before its time. What happened before somebody asked
    /// for it does not.
    pub(super) fn wakes(&self, before: Option<&Stood>, note: &Note) -> bool {
        let incident = self.incident(note.incident);
        let (Some(snoozed), Some(before)) = (&incident.snoozed, before) else {
            return false;
        };
        if incident.over.is_some() || note.snoozed {
            return false;
        }
        let SnoozeEnds { new_alert, worse, reopened } = snoozed.ends_on;
        new_alert && !note.joined.is_empty()
            || worse && self.status(note.incident) > snoozed.status
            || reopened && !before.open && !note.undone
    }

    /// Rule 14: all of them, or none. What fires is dismissed.
    fn resolve_by_hand(&mut self, command: &Command, which: &Which) -> Done {
        let numbers = match which {
            Which::Incidents(ids) => {
                let count = ids.len() as u64;
                if command.confirm.is_some_and(|confirmed| confirmed != count) {
                    return Err((Refused::Confirm, count));
                }
                ids.iter().map(|id| self.open_one(*id)).collect::<Result<Vec<_>, _>>()?
            }
            Which::Matching(matchers) => {
                let numbers = self.matching(matchers);
                let count = numbers.len() as u64;
                if command.confirm.unwrap_or(0) != count {
                    return Err((Refused::Confirm, count));
                }
                numbers
            }
        };
        let at = self.now;
        let mut resolved = Vec::new();
        for &number in &numbers {
            self.note_by(number, &command.actor);
            let firing: Vec<usize> = self
                .members(number)
                .filter(|alert| alert.over.is_none())
                .map(|alert| alert.number)
                .collect();
            for alert in firing {
                self.note_alert(alert, at);
                self.alert_mut(alert).over = Some((at, Resolution::ByHand));
            }
            let incident = self.incident_mut(number);
            incident.over = Some((at, Resolution::ByHand));
            let (acknowledged, snoozed) = (incident.acknowledged.take(), incident.snoozed.take());
            resolved.push((incident.id.expect("it was told"), acknowledged, snoozed));
        }
        if !resolved.is_empty() {
            let request = command.request.clone();
            self.undoable.retain(|known| known.request != request);
            self.undoable.push(Undoable { request, at, resolved });
        }
        Ok((numbers.len() as u64, numbers))
    }

    /// Open incidents, in the order of their ids, that fulfil all conditions.
    fn matching(&self, matchers: &Matchers) -> Vec<usize> {
        let open = self.incidents.iter().filter(|one| one.over.is_none());
        let matching = open.filter(|one| matchers.matches(&self.board(one)));
        let mut found: Vec<(Option<IncidentId>, usize)> =
            matching.map(|one| (one.id, one.number)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, number)| number).collect()
    }

    fn board(&self, incident: &Incident) -> Board {
        let names = |of: fn(&Alert) -> &Box<str>| -> Vec<Box<str>> {
            self.members(incident.number).map(|alert| of(alert).clone()).collect()
        };
        let mut tags = incident.tags.clone();
        for (tag, value) in incident.pairs.iter().flat_map(|pair| &pair.by) {
            let is_name = ["source", "host", "check"].contains(&&**tag);
            if !is_name && tags.get(tag).is_none() {
                tags.set(tag, muster::model::TagValue::One(value.clone()));
            }
        }
        Board {
            sources: names(|alert| &alert.content.source),
            hosts: names(|alert| &alert.content.host),
            checks: names(|alert| &alert.content.check),
            status: self.status(incident.number),
            tags,
        }
    }

    /// What is heard of an alert that was dismissed: `ok` ends it as any other, a repeat of its status
    /// changes nothing, another one reopens it; after `dismiss_for`, or a silence longer than it
    /// lives, it begins anew.
    pub(super) fn heard_of(
        &mut self,
        number: usize,
        since: Timestamp,
        status: Status,
        update: &Update,
    ) {
        let (now, at) = (self.now, update.event.timestamp);
        let alert = self.alert(number);
        let over = alert.alive_until < at || at.since(since) > self.settings.dismiss_for;
        let (old, new) = (&alert.content, &update.event);
        let other_tags = (&old.tags, &old.host, &old.check) != (&new.tags, &new.host, &new.check);
        if status == Status::Ok {
            let alert = self.alert_mut(number);
            (alert.said, alert.flaps) = (Status::Ok, None);
            (alert.newest, alert.appended_at, alert.changed_at) = (at, now, at);
            alert.restated_at = None;
            alert.acknowledged = false;
            alert.over = Some((at, Resolution::AllOk));
        } else if over {
            self.begin(status, update);
        } else if status == self.alert(number).said {
            if other_tags {
                self.note_alert(number, at).updated = true;
                let before = self.alert(number).clone();
                self.alert_mut(number).maintenance = self.marked(number, &before, &update.event);
            }
            self.alert_mut(number).take(now, update);
        } else {
            self.count_episode(&update.event.identity(), at);
            self.reopen(number, status, update);
        }
    }

    /// What was dismissed with an incident, but for what has begun anew.
    fn dismissed(&self, incident: usize) -> Vec<usize> {
        let in_force = |alert: &&Alert| {
            self.in_force(&alert.identity).is_some_and(|known| known.number == alert.number)
        };
        let members = self.members(incident).filter(|alert| alert.dismissed());
        members.filter(in_force).map(|alert| alert.number).collect()
    }

    /// It is not over after all: all that was dismissed with it fires, as far as it lives.
    pub(super) fn revive(&mut self, incident: usize, at: Timestamp) {
        for number in self.dismissed(incident) {
            if self.alert(number).alive_until >= at {
                self.note_alert(number, at);
                let alert = self.alert_mut(number);
                alert.over = None;
                alert.acknowledged = false;
            }
        }
    }

    /// As if they had not been resolved: those that are so still, of which something was dismissed by
    /// that and is still.
    fn undo(&mut self, actor: &str, request: &RequestId) -> Done {
        let known = self.undoable.iter().find(|known| known.request == *request);
        let Undoable { at, resolved, .. } = known.ok_or((Refused::UnknownRequest, 0))?.clone();
        let ours = Some((at, Resolution::ByHand));
        let now = self.now;
        let mut undone = Vec::new();
        for (id, acknowledged, snoozed) in resolved {
            let Ok(number) = self.known(id) else { continue };
            let dismissed = self.dismissed(number).into_iter();
            let dismissed: Vec<usize> =
                dismissed.filter(|alert| self.alert(*alert).over == ours).collect();
            if self.incident(number).over != ours || dismissed.is_empty() {
                continue;
            }
            self.note_by(number, actor).undone = true;
            for alert in dismissed {
                self.note_alert(alert, now);
                self.alert_mut(alert).over = None;
            }
            let incident = self.incident_mut(number);
            incident.over = None;
            incident.acknowledged =
                acknowledged.filter(|by| by.until.is_none_or(|until| until > now));
            incident.snoozed = snoozed.filter(|snoozed| snoozed.until > now);
            undone.push(number);
        }
        if undone.is_empty() {
            return Err((Refused::NotUndoable, 0));
        }
        self.undoable.retain(|known| known.request != *request);
        Ok((undone.len() as u64, undone))
    }
}
