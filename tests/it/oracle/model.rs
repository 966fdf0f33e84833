//! The rules of correlation once more, slow and plain, one function a rule.
//!
//! Written from the design (its section 5), not from `correlate`, and sharing nothing with it but
//! plain values: lists that are searched from end to end, no index, no row, no timer that is kept.
//! Where the design is silent the remark at the rule says what holds. Two things it does not know by
//! itself: ids, which it is told once something new was told ([`Model::name_incident`]), and which
//! of two contents has the greater digest, which it asks.
//!
//! Here is what there is; what becomes of it is in `alerts` (rules 1 to 6), `patterns` (7 to 12),
//! `held` (`min_alerts`), `maintenance` (15), `people` (what they ask for, 14), `time` (13) and
//! `told`. A further rule is one more function there and one more line where it takes part.

use std::collections::{BTreeSet, VecDeque};

use muster::model::alert::{Refusal, Side};
use muster::model::command::{Comment, Snoozed};
use muster::model::event::{Identity, Report};
use muster::model::incident::Acknowledged;
use muster::model::matcher::{Labels, Values};
use muster::model::update::Touch;
use muster::model::{
    Action, AlertId, Ask, ChangeKind, Chronic, Command, CorrelateSettings, Event, Hold, IncidentId,
    Maintained, Near, Pair, Pattern, Resolution, Span, Status, Tags, Timestamp, Update,
};

use chronic::Episode;
use maintenance::Planned;
use patterns::pairs;
pub(super) use people::Answered;
use people::{Answer, Undoable};

mod alerts;
mod chronic;
mod held;
mod maintenance;
mod patterns;
mod people;
mod time;
mod told;

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
    Settings(Box<Book>),
    /// A part of a graph: how correlate hears of edges. The model has them with the settings.
    Topology(Vec<u8>),
    Command(Box<Command>),
}

/// What is gone by, with the edges of the topology that the settings name.
#[derive(Debug, Clone)]
pub(super) struct Book {
    pub(super) settings: CorrelateSettings,
    pub(super) edges: Vec<Edge>,
}

/// A tag and a value of it.
pub(super) type Node = (Box<str>, Box<str>);

#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) from: Node,
    pub(super) to: Node,
    pub(super) kind: Box<str>,
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
    /// Rule 15: the planned work it is part of, or was and is quiet since.
    pub(super) maintenance: Option<Maintained>,
    /// When and why it ended; by hand, it is *dismissed* and still followed.
    pub(super) over: Option<(Timestamp, Resolution)>,
    /// The pairs that an incident holds which it opens.
    own: Vec<Pair>,
    /// The pairs that it shared with incidents when it joined.
    pub(super) pairs: Vec<Pair>,
    /// Whether its identity fired steadily by the time it began.
    pub(super) chronic: bool,
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
    /// Where the pair is about what is near: how many edges away.
    pub(super) hops: Option<u32>,
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
    pub(super) acknowledged: Option<Acknowledged>,
    pub(super) assignee: Option<Box<str>>,
    pub(super) snoozed: Option<Snoozed>,
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
    pub(super) actor: Option<Box<str>>,
    pub(super) comment: Option<Comment>,
}

/// What one record did to an incident, as far as its state before and after does not tell.
#[derive(Debug, Clone, Default)]
struct Note {
    incident: usize,
    at: Timestamp,
    joined: Vec<usize>,
    concerned: BTreeSet<usize>,
    updated: bool,
    overdue: bool,
    reminded: bool,
    acknowledged: bool,
    unacknowledged: bool,
    assigned: bool,
    snoozed: bool,
    unsnoozed: bool,
    /// It was opened again as if it had never been over.
    undone: bool,
    comment: Option<Comment>,
    actor: Option<Box<str>>,
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
    /// Alerts of it fire, and all of them are in maintenance or quiet after it.
    maintained: bool,
    /// An alert of it fires while its window lasts.
    window: bool,
    /// An alert of it fires and is quiet after its window.
    quiet: bool,
}

/// What is due though nothing arrives, in the order in which it fires at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Expire(AlertId),
    Calm(AlertId),
    Update(IncidentId),
    Remind(IncidentId),
    Unacknowledge(IncidentId),
    Unsnooze(IncidentId),
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
    /// Planned work, by whoever asked for it.
    pub(super) plans: Vec<Planned>,
    /// What became of commands within a day.
    requests: Vec<Answered>,
    undoable: Vec<Undoable>,
    /// What began to fire.
    episodes: Vec<Episode>,
    edges: Vec<Edge>,
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
            plans: Vec::new(),
            requests: Vec::new(),
            undoable: Vec::new(),
            episodes: Vec::new(),
            edges: Vec::new(),
            notes: Vec::new(),
            fresh: VecDeque::new(),
        }
    }

    /// Reads a record; what must be told, in order, and what a command is answered. Ids of incidents
    /// that open are given to them in order.
    pub(super) fn apply(
        &mut self,
        record: &Record,
        ids: VecDeque<IncidentId>,
    ) -> (Vec<Told>, Option<Answered>) {
        self.fresh = ids;
        // Time is in the log: the largest append time seen.
        self.now = self.now.max(record.time);
        let before: Vec<Stood> = self.incidents.iter().map(|one| self.stands(one)).collect();
        self.notes.clear();
        self.forget();
        self.fire();
        let mut answer: Option<Answer> = None;
        match &record.body {
            Body::Update(update) => self.update(update),
            Body::Touch(touch) => self.touch(touch),
            Body::Tick | Body::Topology(_) => {}
            Body::Settings(book) => self.go_by(book),
            Body::Command(command) => answer = Some(self.asked(command)),
        }
        let by = match (&record.body, &answer) {
            (Body::Command(command), Some(Answer::New(Ok(_), _)))
                if is_about_plans(&command.action) =>
            {
                Some(&*command.actor)
            }
            _ => None,
        };
        self.hold_against_plans(by);
        let told = self.tell(&before);
        let answered = match (&record.body, answer) {
            (Body::Command(command), Some(answer)) => Some(self.answered(command, answer)),
            _ => None,
        };
        (told, answered)
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

    /// The worst status that fires; rule 14. Rule 15: what is in maintenance does not count.
    pub(super) fn status(&self, incident: usize) -> Status {
        let firing = self.members(incident).filter(|alert| alert.over.is_none());
        let counts = firing.filter(|alert| alert.maintenance.is_none());
        counts.map(Alert::status).max().unwrap_or(Status::Ok)
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

    /// Rule 15: whether alerts of it fire, and all of them are in maintenance or quiet after it.
    pub(super) fn maintained(&self, incident: usize) -> bool {
        let firing: Vec<&Alert> =
            self.members(incident).filter(|alert| alert.over.is_none()).collect();
        !firing.is_empty() && firing.iter().all(|alert| alert.maintenance.is_some())
    }

    fn stands(&self, incident: &Incident) -> Stood {
        let firing: Vec<&Alert> =
            self.members(incident.number).filter(|alert| alert.over.is_none()).collect();
        let marks: Vec<&Maintained> =
            firing.iter().filter_map(|alert| alert.maintenance.as_ref()).collect();
        Stood {
            number: incident.number,
            open: incident.over.is_none(),
            status: self.status(incident.number),
            firing: firing.len(),
            flapping: firing.iter().any(|alert| alert.flaps.is_some()),
            held: incident.hold.is_some(),
            maintained: self.maintained(incident.number),
            window: marks.iter().any(|mark| mark.ended_at.is_none()),
            quiet: marks.iter().any(|mark| mark.ended_at.is_some()),
        }
    }

    fn note(&mut self, incident: usize, at: Timestamp) -> &mut Note {
        let known = self.notes.iter().position(|note| note.incident == incident);
        let index = known.unwrap_or_else(|| {
            self.notes.push(Note { incident, at, ..Note::default() });
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
}

fn is_about_plans(action: &Action) -> bool {
    matches!(action, Action::MaintenancePut { .. } | Action::MaintenanceEnd { .. })
}

impl Incident {
    /// Rule 14: somebody resolved it, and nothing has reopened it since.
    fn by_hand(&self) -> bool {
        matches!(self.over, Some((_, Resolution::ByHand)))
    }

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

    /// Rule 14: somebody resolved it, and its status has not changed since.
    fn dismissed(&self) -> bool {
        matches!(self.over, Some((_, Resolution::ByHand)))
    }

    /// Whether it flaps; what is over does not.
    pub(super) fn flapping(&self) -> Option<Flaps> {
        self.flaps.filter(|_| self.over.is_none())
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
