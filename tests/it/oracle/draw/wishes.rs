//! Draws what people ask for, without the ids in it: those are known when it is read.

use muster::model::command::{Action, Audience, Mode, SnoozeEnds, Which};
use muster::model::{Command, IncidentId, MaintenanceId, Matchers, RequestId, Timestamp};
use muster::wire::maintenance::text_to_json;
use proptest::prelude::*;

use super::plans::{self, PlanSketch};
use super::{HALF_MINUTE, Theme, millis};

/// Something that somebody asks for.
#[derive(Debug, Clone)]
pub(in super::super) struct Wished {
    pub(in super::super) wish: Wish,
    actor: &'static str,
    confirm: Option<u64>,
    /// Under the request id of one of the last ones, as who sends it again, or takes an old id by
    /// mistake.
    again: Option<usize>,
}

/// What; things are named by how many such came after them.
#[derive(Debug, Clone)]
pub(in super::super) enum Wish {
    Acknowledge { which: usize, until: Option<i64> },
    Unacknowledge { which: usize },
    Assign { which: usize, to: Option<&'static str> },
    Snooze { which: usize, until: i64, ends_on: (bool, bool, bool) },
    Unsnooze { which: usize },
    Resolve { which: Vec<usize> },
    ResolveMatching { matchers: &'static [&'static str] },
    Comment { which: usize },
    Undo { which: usize },
    Put { plan: PlanSketch, edits: Option<usize>, dry_run: bool },
    End { which: usize },
}

/// What is there to be named, in order.
#[derive(Default)]
pub(in super::super) struct Named {
    pub(in super::super) incidents: Vec<IncidentId>,
    /// Every request.
    pub(in super::super) requests: Vec<RequestId>,
    /// Those that can be undone.
    pub(in super::super) undoable: Vec<RequestId>,
    pub(in super::super) plans: Vec<MaintenanceId>,
    /// Incidents that somebody acknowledged, and such that somebody snoozed.
    pub(in super::super) acknowledged: Vec<IncidentId>,
    pub(in super::super) snoozed: Vec<IncidentId>,
}

fn nth_last<T: Clone>(all: &[T], nth: usize) -> Option<T> {
    all.iter().rev().nth(nth).cloned()
}

pub(super) fn wished(theme: Theme) -> impl Strategy<Value = Wished> {
    let which = || prop_oneof![12 => Just(0_usize), 4 => Just(1), 1 => Just(2), 1 => Just(9)];
    let (people, plans) = match theme {
        Theme::Maintenance => (2, 6),
        Theme::People => (6, 0),
        _ => (4, 1),
    };
    const MATCH: [&[&str]; 5] = [
        &["host=\"h0\""],
        &["cluster=\"a\"", "status!=\"info\""],
        &["source=\"nagios\""],
        &["status=\"critical\""],
        &["rack=~\"r1|r3\""],
    ];
    let until = || prop_oneof![8 => 1..12_i64, 1 => -2..1_i64];
    let long = || prop_oneof![3 => 1..12_i64, 4 => 12..120_i64, 1 => -2..1_i64];
    let one = prop_oneof![
        3 => (which(), prop::option::of(until()))
            .prop_map(|(which, until)| Wish::Acknowledge { which, until }),
        2 => which().prop_map(|which| Wish::Unacknowledge { which }),
        1 => (which(), prop::sample::select(vec![None, Some("ann"), Some("bob")]))
            .prop_map(|(which, to)| Wish::Assign { which, to }),
        4 => (which(), long(), any::<(bool, bool, bool)>())
            .prop_map(|(which, until, ends_on)| Wish::Snooze { which, until, ends_on }),
        2 => which().prop_map(|which| Wish::Unsnooze { which }),
        1 => which().prop_map(|which| Wish::Comment { which }),
        6 => prop::collection::btree_set(which(), 1..3)
            .prop_map(|which| Wish::Resolve { which: which.into_iter().collect() }),
        2 => prop::sample::select(MATCH.to_vec())
            .prop_map(|matchers| Wish::ResolveMatching { matchers }),
        8 => which().prop_map(|which| Wish::Undo { which }),
    ];
    let plan = prop_oneof![
        3 => (plans::plan(), prop::option::weighted(0.3, which()), prop::bool::weighted(0.1))
            .prop_map(|(plan, edits, dry_run)| Wish::Put { plan, edits, dry_run }),
        1 => which().prop_map(|which| Wish::End { which }),
    ];
    let confirm =
        prop_oneof![3 => Just(None), 4 => Just(Some(1)), 2 => Just(Some(2)), 1 => Just(Some(0))];
    let again = prop_oneof![9 => Just(None), 1 => (0..4_usize).prop_map(Some)];
    let wish = prop_oneof![people => one, plans => plan];
    (wish, prop::sample::select(vec!["ann", "bob"]), confirm, again)
        .prop_map(|(wish, actor, confirm, again)| Wished { wish, actor, confirm, again })
}

impl Wished {
    /// With the ids in it, as it is sent then.
    pub(in super::super) fn command(&self, named: &Named, then: Timestamp) -> Command {
        let fresh = || RequestId::parse(&format!("R{}", named.requests.len())).expect("an id");
        let again = self.again.and_then(|nth| nth_last(&named.requests, nth));
        let request = again.unwrap_or_else(fresh);
        // One that is not there is one that nobody knows.
        let incident = |which: usize| nth_last(&named.incidents, which).unwrap_or(IncidentId::MIN);
        let plan = |which: usize| nth_last(&named.plans, which).unwrap_or(MaintenanceId::MIN);
        let later = |half_minutes: i64| millis(then.as_millis() + half_minutes * HALF_MINUTE);
        // Only several need their number, and a wrong one is refused.
        let mut confirm = None;
        let action = match &self.wish {
            Wish::Acknowledge { which, until } => {
                Action::Acknowledge { incident: incident(*which), until: until.map(later) }
            }
            Wish::Unacknowledge { which } => {
                let acknowledged = nth_last(&named.acknowledged, *which);
                Action::Unacknowledge { incident: acknowledged.unwrap_or_else(|| incident(*which)) }
            }
            Wish::Assign { which, to } => {
                Action::Assign { incident: incident(*which), to: to.map(Into::into) }
            }
            Wish::Snooze { which, until, ends_on: (new_alert, worse, reopened) } => {
                let (new_alert, worse, reopened) = (*new_alert, *worse, *reopened);
                let ends_on = SnoozeEnds { new_alert, worse, reopened };
                Action::Snooze { incident: incident(*which), until: later(*until), ends_on }
            }
            Wish::Unsnooze { which } => {
                let snoozed = nth_last(&named.snoozed, *which);
                Action::Unsnooze { incident: snoozed.unwrap_or_else(|| incident(*which)) }
            }
            Wish::Resolve { which } => {
                confirm = self.confirm.filter(|_| which.len() > 1);
                let mut ids: Vec<IncidentId> = Vec::new();
                for id in which.iter().map(|which| incident(*which)) {
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
                Action::Resolve(Which::Incidents(ids))
            }
            Wish::ResolveMatching { matchers } => {
                confirm = self.confirm;
                let matchers = Matchers::parse(matchers.iter().copied()).expect("matchers");
                Action::Resolve(Which::Matching(matchers))
            }
            Wish::Comment { which } => Action::Comment {
                incident: incident(*which),
                text: "a remark".into(),
                audience: Audience::Public,
            },
            Wish::Undo { which } => {
                let nobodys = || RequestId::parse("nobodys").expect("an id");
                let request = nth_last(&named.undoable, *which).unwrap_or_else(nobodys);
                Action::Undo { request }
            }
            Wish::Put { plan: sketch, edits, dry_run } => {
                let json = text_to_json(&sketch.text(then), edits.map(plan));
                let mode = if *dry_run { Mode::DryRun } else { Mode::Apply };
                Action::MaintenancePut { plan: json.to_string().into(), mode }
            }
            Wish::End { which } => Action::MaintenanceEnd { id: plan(*which).to_string().into() },
        };
        Command { request, actor: self.actor.into(), confirm, action }
    }
}
