//! Runs the alerts of open incidents through the present patterns, as if they were new.
//!
//! A plan is made on a state of its own by `join`, so that the rules are the same; what an alert was
//! told of stays. It is shown first, and carried out where the number of alerts it moves is
//! confirmed. What people shaped, acknowledged or took by hand is left as it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::commands::Answer;
use super::join;
use super::lifecycle;
use super::reshape::{self, MOVED_MAX, Order, counted};
use super::state::State;
use super::touched::Touched;
use crate::model::alert::MoveKind;
use crate::model::command::{Mode, NAMED_MAX};
use crate::model::{
    Alert, AlertId, ChangeKind, Command, Incident, IncidentId, Resolution, Status, Timestamp, Why,
};

/// Alerts that belong together by the present patterns.
struct Group {
    /// The incident that becomes it; none where a new one is opened.
    id: Option<IncidentId>,
    members: Vec<AlertId>,
    /// As it would be, were it new.
    row: Incident,
    why: BTreeMap<AlertId, Why>,
}

/// What would become of the alerts.
struct Plan {
    groups: Vec<Group>,
    /// Which group an incident of the state that the plan was made on stands for.
    numbers: BTreeMap<IncidentId, usize>,
    /// Each alert that moves, from where and to which group.
    moves: Vec<(AlertId, IncidentId, usize)>,
    /// Incidents that lose all their alerts.
    ended: BTreeSet<IncidentId>,
    /// Open incidents that are left as people made them.
    left_alone: usize,
}

/// Shows what the present patterns would change, or changes it.
pub(super) fn recorrelate(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    command: &Command,
    (shard, mode): (Option<&str>, Mode),
) -> Answer {
    let open = state.incidents().filter_map(|id| state.incident(id)).filter(|held| {
        held.row.resolved.is_none() && shard.is_none_or(|shard| *held.row.shard == *shard)
    });
    let (by_hand, free): (Vec<_>, Vec<_>) = open.partition(|held| is_by_hand(&held.row));
    let left_alone = by_hand.len();
    let mut alerts: Vec<(Timestamp, AlertId)> = free
        .iter()
        .flat_map(|held| held.members.iter().filter_map(|id| state.alert(*id)))
        .map(|alert| (alert.started_at, alert.id))
        .collect();
    if alerts.len() > MOVED_MAX {
        return reshape::too_many(alerts.len());
    }
    alerts.sort_unstable();
    let plan = Plan { left_alone, ..plan(state, now, &alerts) };
    let count = plan.moves.len();
    let lines = lines(state, &plan);
    if mode == Mode::DryRun {
        let message = format!("would move {}", summary(&plan));
        return Answer { count: count as u64, lines, ..Answer::done(Vec::new(), message) };
    }
    if let Some(refused) = reshape::unconfirmed(command, count, 0, "move", "alert") {
        return Answer { lines, ..refused };
    }
    let message = format!("moved {}", summary(&plan));
    let order = Order::new(now, MoveKind::Recorrelated, command);
    let changed = carry_out(state, touched, order, plan);
    Answer { count: count as u64, lines, ..Answer::done(changed, message) }
}

/// Whether people had a hand in which alerts it has, or took it on.
pub(super) fn is_by_hand(row: &Incident) -> bool {
    let shaped =
        !row.merged_from.is_empty() || row.split_from.is_some() || !row.split_into.is_empty();
    let taken = row.acknowledged.is_some() || row.assignee.is_some() || row.snoozed.is_some();
    shaped || taken
}

fn plan(state: &State, now: Timestamp, alerts: &[(Timestamp, AlertId)]) -> Plan {
    let mut anew = State::default();
    let went = anew.go_by((*state.shared_settings()).clone(), state.settings_bytes());
    went.expect("the topology in force is at hand");
    let mut ends: BTreeSet<(Timestamp, AlertId, Resolution)> = BTreeSet::new();
    let mut untold = Touched::default();
    for (start, id) in alerts {
        while let Some((at, over, why)) = ends.first().copied().filter(|(at, ..)| at < start) {
            ends.pop_first();
            lifecycle::end(&mut anew, &mut untold, over, (at, why), |_| {});
        }
        let Some(alert) = state.alert(*id) else { continue };
        ends.extend(alert.resolved.map(|(at, why)| (at, *id, why)));
        let status = as_it_began(state, alert);
        let alert = Alert { resolved: None, status, why: Why::default(), ..alert.clone() };
        join::place(&mut anew, &mut untold, now, alert);
    }
    let groups: Vec<Group> = anew.incidents().filter_map(|id| group(&anew, id)).collect();
    assign(state, groups)
}

/// What an alert that is over said before is not known; as bad as its incident ever was comes near.
fn as_it_began(state: &State, alert: &Alert) -> Status {
    match (alert.status, state.incident(alert.incident)) {
        (Status::Ok, Some(held)) => held.row.severity,
        (status, _) => status,
    }
}

fn group(anew: &State, id: IncidentId) -> Option<Group> {
    let held = anew.incident(id)?;
    let why = held.members.iter().filter_map(|id| Some((*id, anew.alert(*id)?.why.clone())));
    Some(Group {
        id: None,
        members: held.members.iter().copied().collect(),
        row: held.row.clone(),
        why: why.collect(),
    })
}

/// Each group goes on as the incident that had most of its alerts, the older one of equals; what is
/// then left over is new, or ends.
fn assign(state: &State, mut groups: Vec<Group>) -> Plan {
    let was_in = |id: &AlertId| state.alert(*id).map(|alert| alert.incident);
    let mut common: BTreeMap<(usize, IncidentId), usize> = BTreeMap::new();
    for (number, group) in groups.iter().enumerate() {
        for incident in group.members.iter().filter_map(was_in) {
            *common.entry((number, incident)).or_default() += 1;
        }
    }
    let mut all: Vec<_> =
        common.iter().map(|((number, id), count)| (Reverse(*count), *id, *number)).collect();
    all.sort_unstable();
    let mut taken = BTreeSet::new();
    for (_, id, number) in all {
        if groups[number].id.is_none() && taken.insert(id) {
            groups[number].id = Some(id);
        }
    }
    let mut moves = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let from = group.members.iter().filter_map(|id| Some((*id, was_in(id)?)));
        moves.extend(
            from.filter(|(_, from)| Some(*from) != group.id).map(|(id, from)| (id, from, number)),
        );
    }
    let before: BTreeSet<IncidentId> = common.keys().map(|(_, id)| *id).collect();
    Plan {
        numbers: groups.iter().enumerate().map(|(number, group)| (group.row.id, number)).collect(),
        groups,
        moves,
        ended: before.difference(&taken).copied().collect(),
        left_alone: 0,
    }
}

fn summary(plan: &Plan) -> String {
    let new = plan.groups.iter().filter(|group| group.id.is_none()).count();
    format!(
        "{}; incidents: {} new, {} ended, {} left as people made them",
        counted(plan.moves.len(), "alert"),
        new,
        plan.ended.len(),
        plan.left_alone
    )
}

fn lines(state: &State, plan: &Plan) -> Vec<Box<str>> {
    let line = |(id, from, number): &(AlertId, IncidentId, usize)| {
        let alert = state.alert(*id)?;
        let group = &plan.groups[*number];
        let to = group.id.map_or_else(|| format!("new incident {number}"), |id| id.to_string());
        let shared = group.row.pairs.first().map_or_else(
            || "alone".to_owned(),
            |pair| {
                let values: Vec<&str> = pair.by.iter().map(|(_, value)| &**value).collect();
                format!("{}({})", pair.pattern, values.join(","))
            },
        );
        let source = alert.identity.source();
        Some(
            format!("{id} {source} {}/{}: {from} -> {to}, {shared}", alert.host, alert.check)
                .into(),
        )
    };
    plan.moves.iter().filter_map(line).take(NAMED_MAX).collect()
}

/// Does what the plan says; the incidents that changed.
fn carry_out(
    state: &mut State,
    touched: &mut Touched,
    order: Order<'_>,
    mut plan: Plan,
) -> Vec<IncidentId> {
    let gains: BTreeSet<usize> = plan.moves.iter().map(|(.., number)| *number).collect();
    let loses: BTreeSet<IncidentId> = plan.moves.iter().map(|(_, from, _)| *from).collect();
    for group in plan.groups.iter_mut().filter(|group| group.id.is_none()) {
        group.id = reshape::open(state, touched, order, &group.members, None);
    }
    let ids: BTreeMap<IncidentId, IncidentId> = plan
        .numbers
        .iter()
        .filter_map(|(planned, number)| Some((*planned, plan.groups[*number].id?)))
        .collect();
    let mut by_source: BTreeMap<IncidentId, Vec<(AlertId, IncidentId)>> = BTreeMap::new();
    for (alert, from, number) in &plan.moves {
        let Some(into) = plan.groups[*number].id else { continue };
        by_source.entry(*from).or_default().push((*alert, into));
    }
    let mut changed: BTreeSet<IncidentId> = loses.clone();
    for (from, alerts) in &by_source {
        reshape::hand_over(state, touched, order, *from, alerts);
    }
    for (number, group) in plan.groups.into_iter().enumerate() {
        let Some(id) = group.id else { continue };
        let same = state.incident(id).is_some_and(|held| held.row.pairs == group.row.pairs);
        if same && !gains.contains(&number) && !loses.contains(&id) {
            continue;
        }
        changed.insert(id);
        turn_into(state, touched, order, id, group, &ids);
    }
    changed.iter().for_each(|id| reshape::settle(state, *id));
    changed.into_iter().collect()
}

/// An incident holds what its alerts share by the present patterns, and each says so.
fn turn_into(
    state: &mut State,
    touched: &mut Touched,
    order: Order<'_>,
    id: IncidentId,
    group: Group,
    ids: &BTreeMap<IncidentId, IncidentId>,
) {
    let touch = reshape::tell(state, touched, order, id, ChangeKind::Recorrelated);
    touch.concern(group.members.iter().copied());
    let Incident { first, latest, pairs, tags, continues, continued_by, hold, .. } = group.row;
    state.change_incident(id, |row| {
        (row.first, row.latest, row.pairs, row.tags) = (first, latest, pairs, tags);
        row.continues = continues.and_then(|id| ids.get(&id).copied()).or(row.continues);
        let by = continued_by.and_then(|id| ids.get(&id).copied());
        row.continued_by = by.or(row.continued_by);
        row.reshaped_at = Some(order.now);
        // What was told stays so.
        row.hold = hold.filter(|_| row.hold.is_some());
    });
    for (alert, mut why) in group.why {
        // Candidates that were only planned have other names, or none.
        why.turned_down.retain_mut(|candidate| {
            let known = ids.get(&candidate.incident);
            candidate.incident = known.copied().unwrap_or(candidate.incident);
            known.is_some_and(|known| *known != id)
        });
        state.change_alert(alert, |alert| {
            why.moves = std::mem::take(&mut alert.why.moves);
            alert.why = why;
        });
    }
}
