//! Which alerts planned work is about, and what that does to them: rule 15.
//!
//! An alert in maintenance is kept and marked; `state` leaves it out of its incident's status. What
//! counts is log time: a plan is in force while its window holds `now`. An event that comes late
//! counts as planned, too, where it happened within the last window, so that a backlog read after the
//! work pages nobody. The mark outlives its window: the alert is quiet until a status that is not
//! `ok` and another than before, or until it fires anew.
//!
//! When a window begins or ends, or plans change, a *sweep* holds every alert against the plans: at
//! most [`LOOKED_MAX`] alerts a record of which at most [`MARKED_MAX`] change, and with each record
//! it goes on. Alerts that change meanwhile are held against the plans at once.

use std::collections::BTreeMap;

use super::commands::{Answer, Done};
use super::deadlines::Timer;
use super::state::State;
use super::touched::Touched;
use crate::model::command::{Command, Mode, Refused};
use crate::model::maintenance::{KEPT, PLANS_MAX, UNCONFIRMED_MAX};
use crate::model::matcher::{Labels, Values};
use crate::model::{
    Alert, AlertId, Event, Maintained, MaintenanceId, MatcherIndex, Plan, Span, Status, Timestamp,
    Window,
};
use crate::wire::maintenance::{self, StoredPlan, Sweep};

/// How many alerts a sweep looks at with one record.
const LOOKED_MAX: usize = 10_000;
/// How many of them it marks or lets go of: their rows and what is told of them fit into one commit.
const MARKED_MAX: usize = 500;
/// How long after its window an event that happened within it is still part of it, by log time.
const LATE_MAX: Span = Span::from_secs(86_400);

/// Where a plan is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The settings in force.
    Config,
    /// A command; it has a row.
    Command,
}

/// A plan, and where in its schedule the log is.
#[derive(Debug)]
struct Entry {
    plan: Plan,
    origin: Origin,
    /// When somebody ended it, which has passed.
    ended_at: Option<Timestamp>,
    /// The window that holds the time now.
    window: Option<Window>,
    /// The last one that is over, if not for long.
    recent: Option<Window>,
    /// When its timer is due.
    due: Option<Timestamp>,
}

impl Entry {
    fn new(plan: Plan, origin: Origin, ended_at: Option<Timestamp>) -> Self {
        Self { plan, origin, ended_at, window: None, recent: None, due: None }
    }

    /// Goes on to a time.
    fn settle(&mut self, now: Timestamp) {
        let ended_at = self.ended_at;
        let cut = |window: Window| Window {
            end: ended_at.map_or(window.end, |ended_at| ended_at.min(window.end)),
            ..window
        };
        let windows = self.plan.schedule.windows(now - LATE_MAX).map(cut);
        (self.window, self.recent) = (None, None);
        for window in windows.take_while(|window| window.start <= now) {
            match window.holds(now) {
                true => self.window = Some(window),
                false if window.start < window.end => self.recent = Some(window),
                false => {}
            }
        }
        let next = self.plan.schedule.next_boundary(now).filter(|_| ended_at.is_none());
        self.due = next.or(self.leaves_at());
    }

    /// When it may be forgotten; a plan of the config goes with that.
    fn leaves_at(&self) -> Option<Timestamp> {
        let over = self.ended_at.into_iter().chain(self.plan.schedule.over_at()).min();
        over.filter(|_| self.origin == Origin::Command).map(|over| over + KEPT)
    }

    fn stored(&self) -> StoredPlan {
        StoredPlan { plan: self.plan.clone(), ended_at: self.ended_at }
    }
}

/// Every plan, and how far a sweep is.
#[derive(Debug, Default)]
pub(super) struct Plans {
    entries: BTreeMap<MaintenanceId, Entry>,
    index: MatcherIndex<MaintenanceId>,
    sweep: Option<Sweep>,
}

impl Plans {
    /// Takes back a plan that somebody asked for.
    pub(super) fn restore(&mut self, StoredPlan { plan, ended_at }: StoredPlan) {
        self.entries.insert(plan.id, Entry::new(plan, Origin::Command, ended_at));
    }

    /// Takes back how far a sweep is.
    pub(super) fn restore_sweep(&mut self, sweep: Sweep) {
        self.sweep = Some(sweep);
    }

    /// Derives what rows do not hold; the timers that wait for plans.
    pub(super) fn restored(
        &mut self,
        now: Timestamp,
        configured: &[Plan],
    ) -> Vec<(Timestamp, Timer)> {
        for plan in configured {
            self.entries.insert(plan.id, Entry::new(plan.clone(), Origin::Config, None));
        }
        self.entries.values_mut().for_each(|entry| entry.settle(now));
        self.index();
        let due = |(id, entry): (&MaintenanceId, &Entry)| Some((entry.due?, Timer::Plan(*id)));
        self.entries.iter().filter_map(due).collect()
    }

    /// The plans that somebody asked for, by id.
    pub(super) fn asked_for(&self) -> impl Iterator<Item = StoredPlan> {
        let asked_for = |entry: &&Entry| entry.origin == Origin::Command;
        self.entries.values().filter(asked_for).map(Entry::stored)
    }

    /// The row of a plan; none where there is no such plan any more.
    pub(super) fn row(&self, id: MaintenanceId) -> Option<Vec<u8>> {
        let entry = self.entries.get(&id).filter(|entry| entry.origin == Origin::Command)?;
        Some(maintenance::encode_plan(&entry.stored()))
    }

    /// The row of the sweep.
    pub(super) fn sweep_row(&self) -> Option<Vec<u8>> {
        self.sweep.map(maintenance::encode_sweep)
    }

    /// Since when a sweep is due, if one is.
    pub(super) fn sweep_due(&self) -> Option<Timestamp> {
        self.sweep.map(|sweep| sweep.since)
    }

    fn index(&mut self) {
        self.index = MatcherIndex::default();
        for (id, entry) in &self.entries {
            self.index.insert(*id, &entry.plan.matchers);
        }
    }

    /// The mark of what is so labelled and happened at `at`: by `kept` if that still holds, else by
    /// the first plan in force, else by one whose window it happened in.
    fn mark(
        &self,
        now: Timestamp,
        at: Timestamp,
        labels: &impl Labels,
        kept: Option<MaintenanceId>,
    ) -> Option<Maintained> {
        if self.entries.is_empty() {
            return None;
        }
        let mark = |entry: &Entry, ended_at| Maintained {
            plan: entry.plan.id,
            name: entry.plan.name.clone(),
            ended_at,
        };
        let (mut present, mut past) = (None, None);
        for id in self.index.candidates(labels) {
            let entry = self.entries.get(&id).expect("the index holds the plans there are");
            let open = entry.window.is_some();
            let recent = entry.recent.filter(|window| {
                window.holds(at) && now.since(window.end) < LATE_MAX && past.is_none()
            });
            let of_interest = open && (present.is_none() || kept == Some(id));
            if !(of_interest || recent.is_some()) || !entry.plan.matchers.matches(labels) {
                continue;
            }
            if of_interest {
                present = Some(mark(entry, None));
            }
            if let Some(window) = recent {
                past = Some(mark(entry, Some(window.end)));
            }
        }
        present.or(past)
    }
}

/// An alert as an event will leave it.
struct Heard<'a> {
    event: &'a Event,
    status: Status,
}

impl Labels for Heard<'_> {
    fn values(&self, name: &str) -> Values<'_> {
        match name {
            "status" => Values::one(self.status.as_str()),
            _ => self.event.values(name),
        }
    }
}

/// The mark of an alert that begins to fire, or does so again.
pub(super) fn fires(
    state: &State,
    now: Timestamp,
    event: &Event,
    status: Status,
) -> Option<Maintained> {
    state.plans().mark(now, event.timestamp, &Heard { event, status }, None)
}

/// The mark of an alert that fires, by an event that changes its status or its tags. `status` is
/// what it shows from then on, `said` what the event says.
pub(super) fn heard(
    state: &State,
    now: Timestamp,
    alert: &Alert,
    event: &Event,
    (status, said): (Status, Status),
) -> Option<Maintained> {
    let before = alert.maintenance.as_ref();
    let kept = before.map(|before| before.plan);
    let mark = state.plans().mark(now, event.timestamp, &Heard { event, status }, kept);
    let news = said != alert.said() && said != Status::Ok;
    if mark.is_some() || news {
        return mark;
    }
    let before = before?.clone();
    Some(Maintained { ended_at: before.ended_at.or(Some(now)), ..before })
}

/// Goes by the plans of the settings that are now in force.
pub(super) fn configured(state: &mut State, now: Timestamp) {
    let settings = state.shared_settings();
    let plans = &mut state.plans_mut().entries;
    let known = plans.values().filter(|entry| entry.origin == Origin::Config);
    let mut wanted: Vec<&Plan> = settings.maintenance.iter().collect();
    wanted.sort_unstable_by_key(|plan| plan.id);
    if known.map(|entry| &entry.plan).eq(wanted.iter().copied()) {
        return;
    }
    let old = plans.extract_if(.., |_, entry| entry.origin == Origin::Config);
    let timers: Vec<_> = old.map(|(id, entry)| (entry.due, Timer::Plan(id))).collect();
    for (due, timer) in timers {
        state.rearm(timer, due, None);
    }
    for plan in wanted {
        set(state, now, Entry::new(plan.clone(), Origin::Config, None));
    }
    changed(state, now);
}

/// A plan's window begins or ends, or it is over for long.
pub(super) fn boundary(state: &mut State, now: Timestamp, id: MaintenanceId) {
    let plans = state.plans_mut();
    let Some(entry) = plans.entries.get_mut(&id) else { return };
    let window = entry.window;
    if entry.leaves_at().is_some_and(|at| at <= now) {
        plans.entries.remove(&id);
        plans.index();
        state.plan_changed(id);
        if window.is_some() {
            // Nothing was read since its last window ended.
            start_sweep(state, now);
        }
        return;
    }
    entry.settle(now);
    let (due, moved) = (entry.due, entry.window != window);
    state.rearm(Timer::Plan(id), None, due);
    if moved {
        start_sweep(state, now);
    }
}

/// Puts a plan in the place of the one with its id.
fn set(state: &mut State, now: Timestamp, mut entry: Entry) {
    entry.settle(now);
    let (id, due) = (entry.plan.id, entry.due);
    let before = state.plans_mut().entries.insert(id, entry).and_then(|before| before.due);
    state.rearm(Timer::Plan(id), before, due);
}

/// Plans are others than before: every alert is to be held against them.
fn changed(state: &mut State, now: Timestamp) {
    state.plans_mut().index();
    start_sweep(state, now);
}

fn start_sweep(state: &mut State, now: Timestamp) {
    let plans = state.plans_mut();
    plans.sweep = Some(match plans.sweep {
        None => Sweep { since: now, next: AlertId::MIN, until: None, again: None },
        // What it has behind it is looked at once more.
        Some(Sweep { since, next, .. }) => Sweep { since, next, until: None, again: Some(next) },
    });
    state.sweep_changed();
}

/// Holds what shows another status though it said nothing new against the plans, and takes the sweep
/// one step on, if there is one. `actor` is who caused it with this very record.
pub(super) fn sweep(state: &mut State, touched: &mut Touched, now: Timestamp, actor: Option<&str>) {
    for id in touched.take_other_statuses() {
        // It may be part of planned work no more, or from now on.
        let Some(alert) = state.alert(id) else { continue };
        let (incident, fires) = (alert.incident, alert.is_firing());
        let Some(mark) = anew(state.plans(), now, alert).filter(|_| fires) else { continue };
        let at = state.incident(incident).map_or(now, |held| held.row.changed_at);
        let touch = touched.alert(state, incident, id, at);
        touch.updated = true;
        touch.actor = actor.map(Into::into).or(touch.actor.take());
        state.change_alert(id, |alert| alert.maintenance = Some(mark));
    }
    let (mut looked, mut marked) = (0, 0);
    while let Some(sweep) = state.plans().sweep {
        let mut changes = Vec::new();
        let mut next = None;
        for alert in state.alerts_from(sweep.next) {
            if sweep.until.is_some_and(|until| alert.id >= until) {
                break;
            }
            if looked == LOOKED_MAX || marked == MARKED_MAX {
                next = Some(alert.id);
                break;
            }
            looked += 1;
            if let Some(mark) = anew(state.plans(), now, alert) {
                marked += 1;
                let incident = alert.is_firing().then_some(alert.incident);
                changes.push((alert.id, incident, mark));
            }
        }
        for (id, incident, mark) in changes {
            if let Some(incident) = incident {
                let at = state.incident(incident).map_or(now, |held| held.row.changed_at);
                let touch = touched.alert(state, incident, id, at);
                touch.updated = true;
                if let Some(actor) = actor {
                    touch.actor = Some(actor.into());
                }
            }
            state.change_alert(id, |alert| alert.maintenance = Some(mark));
        }
        state.plans_mut().sweep = match (next, sweep.again) {
            (Some(next), _) => Some(Sweep { next, ..sweep }),
            (None, Some(until)) => {
                Some(Sweep { next: AlertId::MIN, until: Some(until), again: None, ..sweep })
            }
            (None, None) => None,
        };
        state.sweep_changed();
        if next.is_some() {
            return;
        }
    }
}

/// The mark of an alert that nothing new is known of, where it is another than before.
fn anew(plans: &Plans, now: Timestamp, alert: &Alert) -> Option<Maintained> {
    // What was resolved by hand may come back as it was.
    if !(alert.is_firing() || alert.is_dismissed()) {
        return None;
    }
    let before = alert.maintenance.as_ref();
    let lasting = before.filter(|before| before.ended_at.is_none());
    let mark = plans.mark(now, now, alert, lasting.map(|before| before.plan));
    match (mark, lasting) {
        (Some(mark), Some(before)) if mark.plan == before.plan => None,
        (Some(mark), _) => Some(mark),
        (None, Some(before)) => Some(Maintained { ended_at: Some(now), ..before.clone() }),
        (None, None) => None,
    }
}

/// Somebody puts a plan in force, or another in its place, or asks how many alerts that would mark.
pub(super) fn put(
    state: &mut State,
    now: Timestamp,
    command: &Command,
    (json, mode): (&str, Mode),
) -> Done {
    let id = MaintenanceId::of(&format!("request {}", command.request));
    let plan = match maintenance::read(json, id, &command.actor) {
        Ok(plan) => plan,
        Err(error) => return Err(Answer::refused(Refused::InvalidPlan, error.to_string())),
    };
    let plans = state.plans();
    let known = plans.entries.get(&plan.id);
    match known.map(|known| known.origin) {
        Some(Origin::Config) => return Err(in_config(plan.id)),
        None if plan.id != id => return Err(unknown(plan.id)),
        None if plans.entries.len() >= PLANS_MAX => {
            let message = format!("there are {PLANS_MAX} maintenance plans already; end some");
            return Err(Answer::refused(Refused::TooMany, message));
        }
        _ => {}
    }
    if plan.schedule.next_boundary(now).is_none() {
        let message = "every window of the plan is over; give it a later one";
        return Err(Answer::refused(Refused::InThePast, message));
    }
    let count = would_mark(state, now, &plan);
    let free = count <= UNCONFIRMED_MAX;
    if mode == Mode::DryRun {
        let message = format!("{count} alerts that fire would be in maintenance at once");
        return Err(Answer { count, ..Answer::refused(Refused::Confirm, message) });
    }
    if !free && command.confirm.is_none_or(|confirmed| confirmed < count) {
        let message = format!(
            "{count} alerts that fire would be in maintenance at once; to do so, send this again \
             with `confirm` {count}"
        );
        return Err(Answer { count, ..Answer::refused(Refused::Confirm, message) });
    }
    let verb = if known.is_some() { "changed" } else { "put in force" };
    let message = format!("maintenance plan {} (`{}`) was {verb}", plan.id, plan.name);
    let line = maintenance::to_json(&plan).to_string().into();
    let id = plan.id;
    set(state, now, Entry::new(plan, Origin::Command, None));
    changed(state, now);
    state.plan_changed(id);
    Ok(done(count, message, line))
}

/// Somebody ends a plan.
pub(super) fn end(state: &mut State, now: Timestamp, id: &str) -> Done {
    let id = match MaintenanceId::parse(id) {
        Ok(id) => id,
        Err(error) => return Err(Answer::refused(Refused::UnknownPlan, error.to_string())),
    };
    let Some(entry) = state.plans().entries.get(&id) else { return Err(unknown(id)) };
    if entry.origin == Origin::Config {
        return Err(in_config(id));
    }
    let over = entry.ended_at.is_some() || entry.plan.schedule.next_boundary(now).is_none();
    if over {
        let message = format!("maintenance plan {id} is over already");
        return Err(Answer::refused(Refused::InThePast, message));
    }
    let ended = Entry::new(entry.plan.clone(), Origin::Command, Some(now));
    let message = format!("maintenance plan {id} (`{}`) was ended", ended.plan.name);
    let line = maintenance::to_json(&ended.plan).to_string().into();
    let marked = |alert: &&Alert| {
        let mark = alert.maintenance.as_ref().filter(|mark| mark.ended_at.is_none());
        alert.is_firing() && mark.is_some_and(|mark| mark.plan == id)
    };
    let count = state.alerts().filter(marked).count() as u64;
    set(state, now, ended);
    changed(state, now);
    state.plan_changed(id);
    Ok(done(count, message, line))
}

/// How many alerts that fire a plan would mark at once.
fn would_mark(state: &State, now: Timestamp, plan: &Plan) -> u64 {
    if plan.schedule.active_at(now).is_none() {
        return 0;
    }
    let firing = state.alerts().filter(|alert| alert.is_firing());
    firing.filter(|alert| plan.matchers.matches(*alert)).count() as u64
}

fn done(count: u64, message: String, plan: Box<str>) -> Answer {
    Answer { count, lines: vec![plan], ..Answer::done(Vec::new(), message) }
}

fn unknown(id: MaintenanceId) -> Answer {
    Answer::refused(Refused::UnknownPlan, format!("no maintenance plan {id} is known"))
}

fn in_config(id: MaintenanceId) -> Answer {
    let message = format!(
        "maintenance plan {id} stands in the config; change it under `correlate.maintenance` there"
    );
    Answer::refused(Refused::InConfig, message)
}
