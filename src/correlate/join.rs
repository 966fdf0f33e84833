//! Decides which incident a new alert belongs to: rules 8 to 12.
//!
//! By the first pattern in order that finds one, the alert joins the oldest incident that still
//! holds one of its pairs, has room, and whose window (and gap) covers its start; otherwise it
//! opens one. The oldest wins, so that a storm keeps one incident instead of starting a second at
//! each window's end.

use std::collections::BTreeSet;

use super::held::Held;
use super::lifecycle::Opening;
use super::state::State;
use super::touched::Touched;
use super::{hold, lifecycle, near, pairs, reshape};
use crate::model::alert::{Refusal, Side, TurnedDown};
use crate::model::{Alert, Incident, IncidentId, Pair, Pattern, Span, Timestamp, Why};

/// How many candidates that were turned down are named.
const NAMED_MAX: usize = 5;

/// Puts a new alert into an incident.
pub(super) fn place(state: &mut State, touched: &mut Touched, now: Timestamp, alert: Alert) {
    if let Some(opening) = join_other(state, touched, now, alert, &[]) {
        lifecycle::open(state, touched, now, opening);
    }
}

/// Whether a pattern applies to an alert beside those that were waited for in vain.
pub(super) fn is_anybodys(state: &State, alert: &Alert, lapsed: &[Box<str>]) -> bool {
    let (by_pattern, _) = pairs::of(state.settings(), state.patterns(), alert);
    by_pattern.iter().any(|(pattern, _)| !lapsed.contains(&pattern.name))
}

/// Lets an alert join an incident that is there, by the patterns beside those that were waited for in
/// vain; else says what it opens.
pub(super) fn join_other(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    alert: Alert,
    lapsed: &[Box<str>],
) -> Option<Opening> {
    let settings = state.shared_settings();
    let (mut by_pattern, cut) = pairs::of(&settings, state.patterns(), &alert);
    by_pattern.retain(|(pattern, _)| !lapsed.contains(&pattern.name));
    state.count_pairs_cut(cut);
    let applying = applying(state, by_pattern);
    let mut turned_down = Vec::new();
    for (by, applies) in applying.iter().enumerate() {
        let pairs = &applies.shared;
        let found = oldest(state, touched, applies.pattern, pairs, &alert, &mut turned_down);
        if let Some((incident, pair)) = found {
            let found = Found { by, incident, pair };
            enter(state, touched, now, applying, (found, turned_down), alert);
            return None;
        }
    }
    let full = turned_down.iter().rev().find(|candidate| candidate.reason == Refusal::Full);
    let continues = full
        .map(|candidate| candidate.incident)
        .filter(|full| state.incident(*full).is_some_and(|held| held.row.continued_by.is_none()));
    let lacks = pairs::lacking(&settings, state.patterns(), &alert, NAMED_MAX);
    let why = Why { lacks, ..why(None, state, IncidentId::MIN, &alert, turned_down) };
    let hold = hold::noted(now, applying.iter().map(|by| by.pattern), lapsed);
    let pairs = applying.into_iter().flat_map(|by| by.own).collect();
    Some(Opening { continues, pairs, hold, alert: Alert { why, ..alert } })
}

/// Puts an alert that comes back, as it would be were it new, into the incident that the first
/// pattern in order finds, unless that or the one it was in takes it by this pattern. Whether it did.
pub(super) fn elsewhere(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    home: IncidentId,
    alert: Alert,
) -> bool {
    let settings = state.shared_settings();
    let (by_pattern, cut) = pairs::of(&settings, state.patterns(), &alert);
    state.count_pairs_cut(cut);
    let applying = applying(state, by_pattern);
    lifecycle::expire_before(state, touched, home, alert.started_at);
    lifecycle::calm_before(state, touched, home, alert.started_at);
    let mut turned_down = Vec::new();
    for (by, applies) in applying.iter().enumerate() {
        let pairs = &applies.shared;
        let found = oldest(state, touched, applies.pattern, pairs, &alert, &mut turned_down);
        if keeps(state, home, applies, &alert) {
            return false;
        }
        let Some((incident, pair)) = found else { continue };
        if reshape::where_now(state, incident) == home {
            return false;
        }
        let found = Found { by, incident, pair };
        enter(state, touched, now, applying, (found, turned_down), alert);
        return true;
    }
    false
}

/// Whether an incident would take an alert back that was in it: it has room for it.
fn keeps(state: &State, home: IncidentId, by: &near::Applying<'_>, alert: &Alert) -> bool {
    state.incident(home).is_some_and(|held| {
        by.shared.iter().any(|pair| held.row.pairs.contains(pair))
            && matches!(refusal(state, held, by.pattern, alert), None | Some(Refusal::Full))
    })
}

/// The incident that takes an alert, and under which of the patterns that apply.
struct Found {
    by: usize,
    incident: IncidentId,
    pair: Pair,
}

fn applying<'s>(
    state: &mut State,
    by_pattern: Vec<(&'s Pattern, Vec<Pair>)>,
) -> Vec<near::Applying<'s>> {
    by_pattern.into_iter().map(|(pattern, pairs)| near::applying(state, pattern, pairs)).collect()
}

/// Puts an alert into the incident that takes it.
fn enter(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    applying: Vec<near::Applying<'_>>,
    (found, turned_down): (Found, Vec<TurnedDown>),
    alert: Alert,
) {
    let Found { by, incident, pair } = found;
    let settings = state.shared_settings();
    let graph = settings.topology.as_ref().and_then(|topology| topology.graph.as_deref());
    let path = applying[by].path(graph, &pair);
    let all: Vec<Pair> = applying.into_iter().flat_map(|by| by.shared).collect();
    let why = Why { path, ..why(Some(pair), state, incident, &alert, turned_down) };
    let alert = Alert { why, ..alert };
    if reshape::where_now(state, incident) != incident {
        return reshape::follow(state, touched, now, incident, &all, alert);
    }
    lifecycle::join(state, touched, incident, &all, alert);
}

/// The oldest incident that takes the alert under a pattern, and the pair they share.
fn oldest(
    state: &mut State,
    touched: &mut Touched,
    pattern: &Pattern,
    pairs: &[Pair],
    alert: &Alert,
    turned_down: &mut Vec<TurnedDown>,
) -> Option<(IncidentId, Pair)> {
    for (_, id) in candidates(state, pattern, pairs, alert, turned_down) {
        // What was merged is looked at as it would be, but its alerts are elsewhere.
        let now_in = reshape::where_now(state, id);
        lifecycle::expire_before(state, touched, now_in, alert.started_at);
        lifecycle::calm_before(state, touched, now_in, alert.started_at);
        let Some(held) = state.incident(id) else { continue };
        match refusal(state, held, pattern, alert) {
            None => {
                let pair = pairs.iter().find(|pair| held.row.pairs.contains(pair))?;
                return Some((id, pair.clone()));
            }
            Some(reason) => {
                let incident = now_in;
                let refused = turn_down(state, held, pattern, alert, reason);
                turned_down.push(TurnedDown { incident, ..refused });
            }
        }
    }
    None
}

/// Incidents of the shard that hold one of the pairs and began within the window of the alert's
/// start, oldest first. The nearest outside it are noted as turned down.
fn candidates(
    state: &State,
    pattern: &Pattern,
    pairs: &[Pair],
    alert: &Alert,
    turned_down: &mut Vec<TurnedDown>,
) -> BTreeSet<(Timestamp, IncidentId)> {
    let start = alert.started_at;
    let from = (start - pattern.window, IncidentId::MIN);
    let to = start + pattern.window;
    let mut within = BTreeSet::new();
    for pair in pairs {
        let Some(holding) = state.holding(&alert.shard, pair) else { continue };
        within.extend(holding.range(from..).take_while(|(first, _)| *first <= to));
        // One of them may be what a later pattern lets it join.
        let before = holding.range(..from).rev().take(NAMED_MAX + 1);
        let after = holding.range((to, IncidentId::MAX)..).take(NAMED_MAX + 1);
        turned_down.extend(
            before
                .chain(after)
                .filter_map(|(_, id)| state.incident(*id))
                .map(|held| turn_down(state, held, pattern, alert, Refusal::OutsideWindow)),
        );
    }
    within
}

/// Rule 12: why not, and what would have had to be otherwise.
fn turn_down(
    state: &State,
    held: &Held,
    pattern: &Pattern,
    alert: &Alert,
    reason: Refusal,
) -> TurnedDown {
    let Incident { id, first, .. } = held.row;
    let besides = hindrances(state, held, pattern, alert).filter(|other| *other != reason);
    TurnedDown {
        incident: id,
        pattern: pattern.name.clone(),
        reason,
        apart: alert.started_at.apart(first),
        missed: missed(&held.row, pattern, alert.started_at),
        besides: besides.collect(),
    }
}

/// Rule 8, and what else stands in the way; bounds are inclusive.
fn refusal(state: &State, held: &Held, pattern: &Pattern, alert: &Alert) -> Option<Refusal> {
    let (row, start) = (&held.row, alert.started_at);
    if was_split_off(state, alert, row.id) {
        return Some(Refusal::SplitOff);
    }
    if start.apart(row.first) > pattern.window {
        return Some(Refusal::OutsideWindow);
    }
    if missed(row, pattern, start).is_some() {
        return Some(Refusal::OutsideGap);
    }
    hindrances(state, held, pattern, alert).next()
}

/// Why an incident takes no alert, whenever it starts; what was merged has its room and its end
/// where its alerts are.
fn hindrances(
    state: &State,
    held: &Held,
    pattern: &Pattern,
    alert: &Alert,
) -> impl Iterator<Item = Refusal> {
    let holder = state.incident(reshape::where_now(state, held.row.id)).unwrap_or(held);
    let gone = held.row.gone.as_ref();
    let over = holder.row.resolved.is_some() || gone.is_some_and(|gone| gone.resolved.is_some());
    // What was split up takes nothing; what somebody resolved by hand has not resolved by itself:
    // a new fault is a new incident.
    let never = holder.row.gone.is_some() || holder.row.is_dismissed();
    let resolved = never || over && pattern.gap.is_none();
    let full = holder.members.len() >= pattern.max_alerts as usize;
    let split_off = was_split_off(state, alert, held.row.id);
    [(resolved, Refusal::Resolved), (full, Refusal::Full), (split_off, Refusal::SplitOff)]
        .into_iter()
        .filter_map(|(holds, refusal)| holds.then_some(refusal))
}

/// Whether somebody said of the last alert of this identity that it does not belong there.
fn was_split_off(state: &State, alert: &Alert, candidate: IncidentId) -> bool {
    let last = state.current(&alert.identity).and_then(|last| state.incident(last.incident));
    last.is_some_and(|held| held.row.split_from == Some(candidate))
}

/// By how much a start lies outside the window and the gap around an incident, and on which side.
fn missed(row: &Incident, pattern: &Pattern, start: Timestamp) -> Option<(Span, Side)> {
    let (mut from, mut to) = (row.first - pattern.window, row.first + pattern.window);
    if let Some(gap) = pattern.gap {
        (from, to) = (from.max(row.first - gap), to.min(row.latest + gap));
    }
    if start < from {
        return Some((from.since(start), Side::Early));
    }
    (start > to).then(|| (start.since(to), Side::Late))
}

/// Rule 12: the nearest candidates that were turned down are named, the others counted.
fn why(
    pair: Option<Pair>,
    state: &State,
    incident: IncidentId,
    alert: &Alert,
    mut turned_down: Vec<TurnedDown>,
) -> Why {
    let first = state.incident(incident).map_or(alert.started_at, |held| held.row.first);
    turned_down.sort_by_key(|candidate| (candidate.apart, candidate.incident));
    let mut known = BTreeSet::new();
    turned_down
        .retain(|candidate| candidate.incident != incident && known.insert(candidate.incident));
    let more = turned_down.len().saturating_sub(NAMED_MAX);
    turned_down.truncate(NAMED_MAX);
    Why {
        pair,
        path: Vec::new(),
        apart: alert.started_at.apart(first),
        turned_down,
        more: u32::try_from(more).unwrap_or(u32::MAX),
        lacks: Vec::new(),
        moves: Vec::new(),
    }
}
