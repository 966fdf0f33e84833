//! Rule 15: planned work, the alerts that are part of it, and their quiet after it.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use muster::model::command::{Mode, Refused};
use muster::model::schedule::{Every, MonthDay, Recurring};
use muster::model::{MaintenanceId, Plan, Schedule, Window};

use super::people::Done;
use super::*;

/// An event that comes up to a day late belongs to the window it happened in, and a plan is kept for
/// so long once it is over.
const DAY: Span = Span::from_secs(86_400);
/// For how many days, from some before a plan comes into force, its windows are written down.
const DAYS: (i64, i64) = (-40, 80);

/// A plan with all its windows, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    /// The config says so; else somebody asked for it.
    pub(crate) configured: bool,
    pub(crate) ended_at: Option<Timestamp>,
    windows: Vec<Window>,
}

impl Planned {
    fn new(plan: Plan, configured: bool, now: Timestamp) -> Self {
        let windows = match &plan.schedule {
            Schedule::Once(window) => vec![*window],
            Schedule::Recurring(recurring) => written_down(recurring, now),
        };
        Self { plan, configured, ended_at: None, windows }
    }

    /// Its windows as far as somebody who ended it let them go on.
    fn windows(&self) -> impl Iterator<Item = Window> {
        let cut = |window: &Window| Window {
            end: self.ended_at.map_or(window.end, |at| at.min(window.end)),
            ..*window
        };
        self.windows.iter().map(cut).filter(|window| window.start < window.end)
    }

    fn lasts(&self, now: Timestamp) -> bool {
        self.windows().any(|window| window.holds(now))
    }

    /// A window that is over, though not for a day yet, in which an event happened.
    fn held(&self, now: Timestamp, at: Timestamp) -> Option<Window> {
        self.windows().find(|one| one.holds(at) && one.end <= now && now < one.end + DAY)
    }

    /// No window begins or ends any more.
    fn is_over(&self, now: Timestamp) -> bool {
        self.ended_at.is_some() || self.windows.iter().all(|window| window.end <= now)
    }

    /// When it goes: a day after it is over. What the config says stays.
    pub(super) fn leaves_at(&self) -> Option<Timestamp> {
        let last = match &self.plan.schedule {
            Schedule::Once(window) => Some(window.end),
            Schedule::Recurring(recurring) => recurring.until.map(|until| until + recurring.lasts),
        };
        let over = [self.ended_at, last].into_iter().flatten().min()?;
        (!self.configured).then_some(over + DAY)
    }
}

/// Every day is asked whether a window begins on it.
fn written_down(recurring: &Recurring, now: Timestamp) -> Vec<Window> {
    let zone = TimeZone::get(recurring.zone.name()).expect("a zone");
    let today = jiff::Timestamp::from_millisecond(now.as_millis()).expect("in the calendar");
    let today = zone.to_datetime(today).date();
    let days = (DAYS.0..DAYS.1).map(|day| today.checked_add(day.days()).expect("a day"));
    let days = days.filter(|day| begins_on(&recurring.every, *day));
    let (hour, minute) = recurring.at;
    let windows = days.map(|day| {
        // A local time that does not exist is as much later, one that comes twice is the first.
        let start = day.at(hour, minute, 0, 0).to_zoned(zone.clone()).expect("in the calendar");
        let start = Timestamp::from_millis(start.timestamp().as_millisecond());
        Window { start, end: start + recurring.lasts }
    });
    let within = |window: &Window| {
        recurring.from.is_none_or(|from| from <= window.start)
            && recurring.until.is_none_or(|until| window.start < until)
    };
    windows.filter(within).collect()
}

fn begins_on(every: &Every, day: Date) -> bool {
    let nth = (day.day() - 1) / 7 + 1;
    let is_last =
        |weekday: Weekday| day.weekday() == weekday && day.day() + 7 > day.days_in_month();
    match every {
        Every::Day => true,
        Every::Week(weekdays) => weekdays.contains(&day.weekday()),
        Every::Month(MonthDay::Day(number)) => day.day() == *number,
        Every::Month(MonthDay::Last) => day.day() == day.days_in_month(),
        Every::Month(MonthDay::Nth(number, weekday)) => day.weekday() == *weekday && nth == *number,
        Every::Month(MonthDay::LastOf(weekday)) => is_last(*weekday),
    }
}

impl Model {
    /// Other settings, and with them the plans that the config names.
    pub(super) fn go_by(&mut self, Book { settings, edges }: &Book) {
        self.settings = settings.clone();
        self.edges = edges.clone();
        self.plans.retain(|known| !known.configured);
        let now = self.now;
        let configured = settings.maintenance.iter().cloned();
        self.plans.extend(configured.map(|plan| Planned::new(plan, true, now)));
    }

    /// What something so labelled that happened at a time is part of: the plan it was part of, if that
    /// lasts, else the first by id, else the first one in a window of which it happened.
    pub(super) fn mark(
        &self,
        at: Timestamp,
        labels: &Event,
        kept: Option<MaintenanceId>,
    ) -> Option<Maintained> {
        let mut matching: Vec<&Planned> =
            self.plans.iter().filter(|known| known.plan.matchers.matches(labels)).collect();
        matching.sort_by_key(|known| (Some(known.plan.id) != kept, known.plan.id));
        let mark = |known: &Planned, ended_at| {
            let Plan { id: plan, name, .. } = known.plan.clone();
            Maintained { plan, name, ended_at }
        };
        if let Some(lasts) = matching.iter().find(|known| known.lasts(self.now)) {
            return Some(mark(lasts, None));
        }
        matching.sort_by_key(|known| known.plan.id);
        let held = |known: &&Planned| Some(mark(known, Some(known.held(self.now, at)?.end)));
        matching.iter().find_map(held)
    }

    /// An event changes the status or the tags of an alert that fires: part of planned work, or quiet
    /// after it until a status that is not `ok` and another than before.
    pub(super) fn marked(
        &self,
        number: usize,
        before: &Alert,
        event: &Event,
    ) -> Option<Maintained> {
        let (alert, known) = (self.alert(number), before.maintenance.clone());
        let shown = Event { report: Report::Status(alert.status()), ..event.clone() };
        let mark = self.mark(event.timestamp, &shown, known.as_ref().map(|known| known.plan));
        let news = alert.said != before.said && alert.said != Status::Ok;
        if mark.is_some() || news {
            return mark;
        }
        let known = known?;
        Some(Maintained { ended_at: known.ended_at.or(Some(self.now)), ..known })
    }

    /// After every record each alert is held against the plans: windows begin and end. What was
    /// dismissed is part of it, since it may come back as it is.
    pub(super) fn hold_against_plans(&mut self, by: Option<&str>) {
        let mut order: Vec<(Option<AlertId>, usize)> =
            self.alerts.iter().map(|alert| (alert.id, alert.number)).collect();
        order.sort_unstable();
        for (_, number) in order {
            self.hold_one_against_plans(number, by);
        }
    }

    pub(super) fn hold_one_against_plans(&mut self, number: usize, by: Option<&str>) {
        let (now, alert) = (self.now, self.alert(number));
        if alert.over.is_some() && !alert.dismissed() {
            return;
        }
        let lasting = alert.maintenance.clone().filter(|mark| mark.ended_at.is_none());
        let plan = lasting.as_ref().map(|mark| mark.plan);
        let mark = match (self.mark(now, &alert.shown(), plan), lasting) {
            (Some(mark), Some(lasting)) if mark.plan == lasting.plan => return,
            (Some(mark), _) => mark,
            (None, Some(lasting)) => Maintained { ended_at: Some(now), ..lasting },
            (None, None) => return,
        };
        let (fires, incident) = (alert.over.is_none(), alert.incident);
        self.alert_mut(number).maintenance = Some(mark);
        if fires {
            let changed_at = self.incident(incident).changed_at;
            let note = self.note(incident, changed_at);
            note.concerned.insert(number);
            note.updated = true;
            note.actor = by.map(Box::from).or(note.actor.take());
        }
    }

    /// Somebody puts a plan in force, or another in its place, or asks what that would do.
    pub(super) fn put(&mut self, command: &Command, json: &str, mode: Mode) -> Done {
        // A plan's id comes from the request.
        let own = MaintenanceId::of(&format!("request {}", command.request));
        let plan = muster::wire::maintenance::read(json, own, &command.actor);
        let plan = plan.map_err(|_| (Refused::InvalidPlan, 0))?;
        match self.plans.iter().find(|known| known.plan.id == plan.id) {
            Some(known) if known.configured => return Err((Refused::InConfig, 0)),
            None if plan.id != own => return Err((Refused::UnknownPlan, 0)),
            _ => {}
        }
        let planned = Planned::new(plan, false, self.now);
        if planned.is_over(self.now) {
            return Err((Refused::InThePast, 0));
        }
        let firing = self.alerts.iter().filter(|alert| alert.over.is_none());
        let matching = firing.filter(|alert| planned.plan.matchers.matches(&alert.shown()));
        let count = if planned.lasts(self.now) { matching.count() as u64 } else { 0 };
        let unconfirmed = command.confirm.is_none_or(|confirmed| confirmed < count);
        if mode == Mode::DryRun || count > 10 && unconfirmed {
            return Err((Refused::Confirm, count));
        }
        self.plans.retain(|known| known.plan.id != planned.plan.id);
        self.plans.push(planned);
        Ok((count, Vec::new()))
    }

    /// Somebody ends a plan; so many alerts were part of it.
    pub(super) fn end_plan(&mut self, id: &str) -> Done {
        let id = MaintenanceId::parse(id).map_err(|_| (Refused::UnknownPlan, 0))?;
        let now = self.now;
        let marked = |alert: &&Alert| {
            let mark = alert.maintenance.as_ref().filter(|mark| mark.ended_at.is_none());
            alert.over.is_none() && mark.is_some_and(|mark| mark.plan == id)
        };
        let count = self.alerts.iter().filter(marked).count() as u64;
        let known = self.plans.iter_mut().find(|known| known.plan.id == id);
        let known = known.ok_or((Refused::UnknownPlan, 0))?;
        if known.configured {
            return Err((Refused::InConfig, 0));
        }
        if known.is_over(now) {
            return Err((Refused::InThePast, 0));
        }
        known.ended_at = Some(now);
        Ok((count, Vec::new()))
    }
}
