//! The read model: open and recent incidents for whoever asks, written after the commit only.
//!
//! One thread writes ([`follow`]), any number read and never hold it up. What is shown per incident
//! is its newest committed change with all of its alerts put together. Everything has a bound; what
//! is left out for it is counted, and an open incident goes last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dashmap::DashMap;
use tracing::warn;

use crate::model::command::Comment;
use crate::model::silence::InhibitRule;
use crate::model::{
    AlertId, Change, ChangeKind, CommandResult, IncidentId, Matchers, Member, Resolution, Span,
    Status, Timestamp,
};
use crate::telemetry::Metrics;
use crate::wire::maintenance::StoredPlan;

pub mod desk;
pub mod follow;
pub mod heartbeats;
mod inhibit;
pub mod mute;
pub mod plans;
pub mod results;
pub mod silences;

pub use desk::Desk;
pub use follow::{Follow, Loaded, RowLoader};
pub use heartbeats::Heartbeats;
use inhibit::Inhibitor;
pub use mute::Mutes;
pub use plans::Plans;
pub use results::Results;
pub use silences::Silences;

/// How many ids a reader takes from the index at a time, so that it never keeps the writer
/// waiting for long.
const IDS_AT_ONCE: usize = 256;

/// What the board goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a resolved incident is shown (default 24 h after its last change).
    pub keep: Span,
    /// How many incidents are shown (default 50,000); beyond it the one resolved longest goes.
    pub max: usize,
    /// How many alerts of an incident are shown (default 100,000, which is what a pattern may let
    /// in); beyond it the oldest that is over goes, then the oldest.
    pub alerts_max: usize,
    /// How many changes of an incident its timeline shows (default 200); beyond it the oldest go.
    pub timeline_max: usize,
    /// How many changes all timelines hold together (default 1,000,000); beyond it each new one
    /// takes the place of its incident's oldest.
    pub timelines_max: usize,
    /// How many alerts are shown in all (default 1,000,000); beyond it the incident resolved longest
    /// goes.
    pub alerts_in_all_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep: Span::from_secs(24 * 3_600),
            max: 50_000,
            alerts_max: 100_000,
            timeline_max: 200,
            timelines_max: 1_000_000,
            alerts_in_all_max: 1_000_000,
        }
    }
}

/// An incident as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its newest change; `alerts` is empty here, see [`Shown::whole`].
    pub change: Change,
    /// When the board learned of it.
    pub known_at: Timestamp,
    /// Its last changes, oldest first: those that the board saw itself.
    pub timeline: VecDeque<Happened>,
    alerts: BTreeMap<AlertId, Member>,
}

impl Shown {
    /// The alerts that are known of it, by start.
    pub fn alerts(&self) -> impl Iterator<Item = &Member> {
        self.alerts.values()
    }

    /// The incident with all alerts that are known of it, by start.
    #[must_use]
    pub fn whole(&self) -> Change {
        Change { alerts: self.alerts.values().cloned().collect(), ..self.change.clone() }
    }

    /// One of its alerts.
    #[must_use]
    pub fn alert(&self, id: AlertId) -> Option<&Member> {
        self.alerts.get(&id)
    }

    /// Its alerts by start: at most `limit` after one of them, how many come before those, and how
    /// many after.
    #[must_use]
    pub fn page(&self, after: Option<AlertId>, limit: usize) -> (Vec<Member>, usize, usize) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.alerts.range((from, Bound::Unbounded));
        let page: Vec<Member> = rest.take(limit).map(|(_, member)| member.clone()).collect();
        let before = after.map_or(0, |after| self.alerts.range(..=after).count());
        let behind = self.alerts.len() - before - page.len();
        (page, before, behind)
    }
}

/// A change in short: a line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The incident's revision from then on.
    pub revision: u64,
    /// By log time.
    pub at: Timestamp,
    /// What happened.
    pub kinds: Vec<ChangeKind>,
    /// The incident's status from then on.
    pub status: Status,
    /// How many alerts fired from then on.
    pub firing: u32,
    /// Who asked for it, where somebody did.
    pub actor: Option<Box<str>>,
    /// Whose it was from then on.
    pub assignee: Option<Box<str>>,
    /// The remark that it is.
    pub comment: Option<Comment>,
    /// Why it is over, where it is.
    pub reason: Option<Resolution>,
}

impl Happened {
    fn of(change: &Change) -> Self {
        Self {
            revision: change.revision,
            at: change.at,
            kinds: change.kinds.clone(),
            status: change.status,
            firing: change.counts.firing,
            actor: change.actor.clone(),
            assignee: change.assignee.clone(),
            comment: change.comment.clone(),
            reason: change.resolved.map(|(_, reason)| reason),
        }
    }
}

/// Which incidents a reader wants, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// Those that are open.
    #[default]
    Open,
    /// Those that are over.
    Resolved,
    /// Both.
    All,
}

impl Wanted {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Open, Self::Resolved, Self::All];

    /// The word for it in queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::All => "all",
        }
    }

    fn takes(self, change: &Change) -> bool {
        match self {
            Self::Open => change.is_open(),
            Self::Resolved => !change.is_open(),
            Self::All => true,
        }
    }
}

/// What a reader asks for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// By state.
    pub wanted: Wanted,
    /// By content.
    pub matchers: Matchers,
    /// Only those that come after this one in the order of the answer.
    pub after: Option<IncidentId>,
    /// At most this many.
    pub limit: usize,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest start first.
    pub incidents: Vec<Arc<Shown>>,
    /// Where to go on, where there are more.
    pub next: Option<IncidentId>,
}

/// The read model.
pub struct Board {
    settings: Settings,
    metrics: Metrics,
    shown: DashMap<IncidentId, Arc<Shown>>,
    /// The incident of each alert that is shown.
    homes: DashMap<AlertId, IncidentId>,
    index: RwLock<Index>,
    results: Results,
    plans: Plans,
    heartbeats: Heartbeats,
    /// How many changes all timelines hold.
    timelines: AtomicUsize,
    inhibitor: RwLock<Inhibitor>,
    /// Held by who changes which alerts are shown, and by who puts other rules of inhibition in force.
    writing: Mutex<()>,
    loaded: AtomicBool,
    as_of: AtomicI64,
}

/// What is on the board, in the orders that are asked for; ids sort by start.
#[derive(Debug, Default)]
struct Index {
    all: BTreeSet<IncidentId>,
    open: BTreeSet<IncidentId>,
    over: BTreeSet<(Timestamp, IncidentId)>,
    /// How many alerts they have.
    alerts: usize,
}

impl Board {
    /// An empty board that has not been loaded.
    #[must_use]
    pub fn new(settings: Settings, metrics: Metrics) -> Self {
        let kinds = [
            "open_incident",
            "resolved_incident",
            "alert",
            "timeline",
            "result",
            "plan",
            "change",
            "listed",
        ];
        for what in kinds {
            // There from the start: an alarm on a rise does not see a counter appear.
            metrics.board_dropped.with_label_values(&[what]).inc_by(0);
        }
        Self {
            settings,
            metrics,
            shown: DashMap::new(),
            homes: DashMap::new(),
            index: RwLock::default(),
            results: Results::default(),
            plans: Plans::default(),
            heartbeats: Heartbeats::default(),
            timelines: AtomicUsize::new(0),
            inhibitor: RwLock::default(),
            writing: Mutex::default(),
            loaded: AtomicBool::new(false),
            as_of: AtomicI64::new(Timestamp::MIN.as_millis()),
        }
    }

    /// The same with rules of inhibition, whose sources it keeps from now on.
    #[must_use]
    pub fn inhibiting(self, rules: Vec<InhibitRule>) -> Self {
        Self { inhibitor: RwLock::new(Inhibitor::new(rules)), ..self }
    }

    /// Puts other rules of inhibition in force, over everything that is shown. Nothing new is shown
    /// meanwhile; readers go by the rules before.
    pub fn inhibit_by(&self, rules: Vec<InhibitRule>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inhibitor = Inhibitor::new(rules);
        if !inhibitor.is_empty() {
            for shown in self.shown.iter().filter(|shown| shown.change.is_open()) {
                let here = |alert: &Member| {
                    self.homes.get(&alert.id).is_some_and(|home| *home == shown.change.id)
                };
                for alert in shown.alerts().filter(|alert| alert.firing && here(alert)) {
                    inhibitor.set(alert.id, Some(alert));
                }
            }
        }
        *self.inhibitor.write().unwrap_or_else(PoisonError::into_inner) = inhibitor;
    }

    /// Shows what a change says, unless something as new is shown already; says whether it did.
    /// Alerts that the change does not concern stay as they were.
    pub fn apply(&self, now: Timestamp, change: Change) -> bool {
        if self.shown.get(&change.id).is_some_and(|shown| shown.change.revision >= change.revision)
        {
            return false;
        }
        // What went to another incident is shown there.
        let left: BTreeSet<AlertId> = change.left.iter().copied().collect();
        let elsewhere = [Resolution::Merged, Resolution::Split];
        let all = change.resolved.is_some_and(|(_, reason)| elsewhere.contains(&reason));
        self.put(now, change, |alert| !all && !left.contains(&alert));
        self.trim();
        true
    }

    /// Takes all of correlate's present incidents, with all their alerts, in place of what was
    /// shown. An open incident that is not among them ended while nobody was following, so long
    /// ago that correlate has forgotten it: it goes.
    pub fn load(&self, now: Timestamp, incidents: Vec<Change>) {
        let present: BTreeSet<IncidentId> = incidents.iter().map(|change| change.id).collect();
        for change in incidents {
            let newer = self
                .shown
                .get(&change.id)
                .is_some_and(|shown| shown.change.revision > change.revision);
            if !newer {
                let all: BTreeSet<AlertId> = change.alerts.iter().map(|alert| alert.id).collect();
                self.put(now, change, |alert| all.contains(&alert));
            }
        }
        let gone: Vec<IncidentId> =
            self.write_index(|index| index.open.difference(&present).copied().collect());
        for id in gone {
            self.remove(id);
        }
        self.trim();
        self.loaded.store(true, Ordering::Release);
    }

    /// Drops what has been over for longer than it is kept.
    pub fn sweep(&self, now: Timestamp) {
        self.plans.sweep(now);
        let oldest_kept = (now - self.settings.keep, IncidentId::MIN);
        let gone: Vec<IncidentId> =
            self.write_index(|index| index.over.range(..oldest_kept).map(|(_, id)| *id).collect());
        for &id in &gone {
            self.remove(id);
        }
        if !gone.is_empty() {
            self.gauge();
        }
    }

    /// What became of commands.
    #[must_use]
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// Takes what became of a command.
    pub fn learn(&self, result: CommandResult) {
        // A repeat is the first result once more, and says nothing of what came since.
        if !self.results.has(&result) {
            let (what, count) = match self.plans.learn(&result) {
                plans::Kept::Yes => ("plan", 0),
                plans::Kept::NoRoom => ("plan", 1),
                plans::Kept::Unreadable => ("change", 1),
            };
            self.metrics.board_dropped.with_label_values(&[what]).inc_by(count);
        }
        let dropped = self.results.put(result);
        self.metrics.board_dropped.with_label_values(&["result"]).inc_by(dropped);
    }

    /// Takes correlate's present maintenance plans, by partition, in place of what was shown.
    pub fn load_plans(&self, plans: Vec<(u32, StoredPlan)>) {
        let dropped = self.plans.load(plans);
        self.metrics.board_dropped.with_label_values(&["plan"]).inc_by(dropped);
    }

    /// The maintenance plans that people asked for.
    #[must_use]
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// What must be heard of, and when it was.
    #[must_use]
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// What is shown is known to be current as of this time.
    pub fn current_as_of(&self, at: Timestamp) {
        self.as_of.fetch_max(at.as_millis(), Ordering::Relaxed);
    }

    /// Whether it can be asked yet.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Since when nothing is known to have been missed.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        Timestamp::from_millis(self.as_of.load(Ordering::Relaxed))
    }

    /// One incident.
    #[must_use]
    pub fn get(&self, id: IncidentId) -> Option<Arc<Shown>> {
        self.shown.get(&id).map(|shown| Arc::clone(&shown))
    }

    /// The incident that an alert belongs to.
    #[must_use]
    pub fn of_alert(&self, id: AlertId) -> Option<Arc<Shown>> {
        let home = self.homes.get(&id).map(|home| *home)?;
        self.get(home)
    }

    /// The incidents that a reader asks for. What changes meanwhile may be in it or not, but
    /// nothing is in two pages.
    #[must_use]
    pub fn list(&self, query: &Query) -> Page {
        let mut incidents = Vec::new();
        let mut after = query.after;
        loop {
            let ids = self.ids(query.wanted, after);
            for &id in &ids {
                let Some(shown) = self.get(id) else { continue };
                if !query.wanted.takes(&shown.change) || !query.matchers.matches(&shown.change) {
                    continue;
                }
                if incidents.len() == query.limit {
                    let next = incidents.last().map(|last: &Arc<Shown>| last.change.id);
                    return Page { incidents, next };
                }
                incidents.push(shown);
            }
            match ids.last() {
                Some(&last) => after = Some(last),
                None => return Page { incidents, next: None },
            }
        }
    }

    fn ids(&self, wanted: Wanted, after: Option<IncidentId>) -> Vec<IncidentId> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let ids = if wanted == Wanted::Open { &index.open } else { &index.all };
        let below = after.map_or(Bound::Unbounded, Bound::Excluded);
        ids.range((Bound::Unbounded, below)).rev().take(IDS_AT_ONCE).copied().collect()
    }

    /// Shows a change; of the alerts that were shown before it only those that stay.
    fn put(&self, now: Timestamp, mut change: Change, stays: impl Fn(AlertId) -> bool) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let members = std::mem::take(&mut change.alerts);
        // What comes from the rows is the state, and nothing that happened.
        let happened = (!change.kinds.is_empty()).then(|| Happened::of(&change));
        let (id, open, at) = (change.id, change.is_open(), change.at);
        let mut entry = self.shown.entry(id).or_insert_with(|| {
            Arc::new(Shown {
                change: change.clone(),
                known_at: now,
                timeline: VecDeque::new(),
                alerts: BTreeMap::new(),
            })
        });
        let was_at = entry.change.at;
        // Copies only where a reader holds the old one just now.
        let shown = Arc::make_mut(&mut entry);
        let inhibiting = self.has_rules();
        let mut fate: Vec<(AlertId, Option<Member>)> = Vec::new();
        if inhibiting {
            let firing = |member: &Member| (open && member.firing).then(|| member.clone());
            fate.extend(members.iter().map(|member| (member.id, firing(member))));
            if !open {
                // An end says of every alert that it fires no more.
                fate.extend(shown.alerts.keys().map(|id| (*id, None)));
            }
        }
        shown.change = change;
        shown.known_at = now;
        let cut = self.note(&mut shown.timeline, happened);
        let had = shown.alerts.len();
        shown.alerts.retain(|alert, _| {
            let stays = stays(*alert);
            // It may be shown where it came to already.
            if !stays && self.homes.remove_if(alert, |_, home| *home == id).is_some() {
                fate.push((*alert, None));
            }
            stays
        });
        for member in members {
            self.homes.insert(member.id, id);
            shown.alerts.insert(member.id, member);
        }
        let mut dropped = 0;
        while shown.alerts.len() > self.settings.alerts_max {
            let over = shown.alerts.iter().find(|(_, member)| !member.firing).map(|(id, _)| *id);
            let gone = match over {
                Some(id) => shown.alerts.remove(&id).map(|_| id),
                None => shown.alerts.pop_first().map(|(id, _)| id),
            };
            if let Some(alert) = gone {
                self.homes.remove(&alert);
                fate.push((alert, None));
            }
            dropped += 1;
        }
        let has = shown.alerts.len();
        drop(entry);
        if inhibiting {
            self.inhibit(fate);
        }
        self.metrics.board_dropped.with_label_values(&["alert"]).inc_by(dropped);
        self.metrics.board_dropped.with_label_values(&["timeline"]).inc_by(cut);
        self.write_index(|index| {
            index.alerts = index.alerts + has - had;
            index.all.insert(id);
            index.over.remove(&(was_at, id));
            if open {
                index.open.insert(id);
            } else {
                index.open.remove(&id);
                index.over.insert((at, id));
            }
        });
    }

    /// Puts a change at the end of a timeline; how many are cut from its beginning for that.
    fn note(&self, timeline: &mut VecDeque<Happened>, happened: Option<Happened>) -> u64 {
        let Some(happened) = happened else { return 0 };
        let full = self.timelines.load(Ordering::Relaxed) >= self.settings.timelines_max;
        let room = timeline.len() < self.settings.timeline_max && (!full || timeline.is_empty());
        timeline.push_back(happened);
        if room {
            self.timelines.fetch_add(1, Ordering::Relaxed);
            return 0;
        }
        timeline.pop_front();
        1
    }

    fn trim(&self) {
        loop {
            let victim = self.write_index(|index| {
                let fit = index.alerts <= self.settings.alerts_in_all_max;
                if index.all.len() <= self.settings.max && fit {
                    return None;
                }
                let over = index.over.first().map(|(_, id)| (*id, "resolved_incident"));
                over.or_else(|| index.open.first().map(|id| (*id, "open_incident")))
            });
            let Some((id, what)) = victim else { break };
            if what == "open_incident" {
                warn!(incident = %id, max = self.settings.max, "open incident left off the board");
            }
            self.metrics.board_dropped.with_label_values(&[what]).inc();
            self.remove(id);
        }
        self.gauge();
    }

    fn remove(&self, id: IncidentId) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = self.shown.remove(&id);
        if let Some((_, shown)) = &removed {
            self.timelines.fetch_sub(shown.timeline.len(), Ordering::Relaxed);
            let mut fate = Vec::new();
            for alert in shown.alerts.keys() {
                if self.homes.remove_if(alert, |_, home| *home == id).is_some() {
                    fate.push((*alert, None));
                }
            }
            if self.has_rules() {
                self.inhibit(fate);
            }
        }
        self.write_index(|index| {
            index.all.remove(&id);
            index.open.remove(&id);
            if let Some((_, shown)) = removed {
                index.alerts -= shown.alerts.len();
                index.over.remove(&(shown.change.at, id));
            }
        });
    }

    fn gauge(&self) {
        let (all, open) = self.write_index(|index| (index.all.len(), index.open.len()));
        let set = |state, count: usize| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.board_incidents.with_label_values(&[state]).set(count);
        };
        set("open", open);
        set("resolved", all - open);
    }

    fn has_rules(&self) -> bool {
        !self.inhibitor.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn inhibit(&self, fate: Vec<(AlertId, Option<Member>)>) {
        if fate.is_empty() {
            return;
        }
        let mut inhibitor = self.inhibitor.write().unwrap_or_else(PoisonError::into_inner);
        for (id, firing) in fate {
            inhibitor.set(id, firing.as_ref());
        }
    }

    fn write_index<T>(&self, with: impl FnOnce(&mut Index) -> T) -> T {
        with(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
