//! Decides which incident a new alert belongs to: rules 8 to 12.
//!
//! By the first pattern in order that finds one, the alert joins the oldest incident that still
//! holds one of its pairs, has room, and whose window (and gap) covers its start; otherwise it
//! opens one. The oldest wins, so that a storm keeps one incident instead of starting a second at
//! each window's end.

use std::collections::BTreeSet;

use super::state::{Held, State};
use super::touched::Touched;
use super::{lifecycle, near, pairs};
use crate::model::alert::{Refusal, TurnedDown};
use crate::model::{Alert, IncidentId, Pair, Pattern, Timestamp, Why};

/// How many candidates that were turned down are named.
const NAMED_MAX: usize = 5;

/// Puts a new alert into an incident.
pub(super) fn place(state: &mut State, touched: &mut Touched, now: Timestamp, alert: Alert) {
    let settings = state.shared_settings();
    let (by_pattern, cut) = pairs::of(&settings, &alert);
    state.count_pairs_cut(cut);
    let mut turned_down = Vec::new();
    let applying: Vec<near::Applying<'_>> = by_pattern
        .into_iter()
        .map(|(pattern, pairs)| near::applying(state, pattern, pairs))
        .collect();
    for by in &applying {
        let found = oldest(state, touched, by.pattern, &by.shared, &alert, &mut turned_down);
        if let Some((incident, pair)) = found {
            let graph = settings.topology.as_ref().and_then(|topology| topology.graph.as_deref());
            let path = by.path(graph, &pair);
            let all: Vec<Pair> = applying.into_iter().flat_map(|by| by.shared).collect();
            let why = Why { path, ..why(Some(pair), state, incident, &alert, turned_down) };
            return lifecycle::join(state, touched, incident, &all, Alert { why, ..alert });
        }
    }
    let full = turned_down.iter().rev().find(|candidate| candidate.reason == Refusal::Full);
    let continues = full
        .map(|candidate| candidate.incident)
        .filter(|full| state.incident(*full).is_some_and(|held| held.row.continued_by.is_none()));
    let all = applying.into_iter().flat_map(|by| by.own).collect();
    let why = why(None, state, IncidentId::MIN, &alert, turned_down);
    lifecycle::open(state, touched, now, continues, all, Alert { why, ..alert });
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
        lifecycle::expire_before(state, touched, id, alert.started_at);
        lifecycle::calm_before(state, touched, id, alert.started_at);
        let Some(held) = state.incident(id) else { continue };
        match refusal(held, pattern, alert.started_at) {
            None => {
                let pair = pairs.iter().find(|pair| held.row.pairs.contains(pair))?;
                return Some((id, pair.clone()));
            }
            Some(reason) => turned_down.push(turn_down(held.row.first, id, pattern, alert, reason)),
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
        let before = holding.range(..from).rev().take(NAMED_MAX);
        let after = holding.range((to, IncidentId::MAX)..).take(NAMED_MAX);
        turned_down.extend(
            before
                .chain(after)
                .map(|(first, id)| turn_down(*first, *id, pattern, alert, Refusal::OutsideWindow)),
        );
    }
    within
}

fn turn_down(
    first: Timestamp,
    incident: IncidentId,
    pattern: &Pattern,
    alert: &Alert,
    reason: Refusal,
) -> TurnedDown {
    let apart = alert.started_at.apart(first);
    TurnedDown { incident, pattern: pattern.name.clone(), reason, apart }
}

/// Rule 8, and whether there is room; bounds are inclusive.
fn refusal(held: &Held, pattern: &Pattern, start: Timestamp) -> Option<Refusal> {
    let row = &held.row;
    if start.apart(row.first) > pattern.window {
        return Some(Refusal::OutsideWindow);
    }
    let reached =
        pattern.gap.is_none_or(|gap| row.first - gap <= start && start <= row.latest + gap);
    if !reached {
        return Some(Refusal::OutsideGap);
    }
    if row.resolved.is_some() && pattern.gap.is_none() {
        return Some(Refusal::Resolved);
    }
    if held.members.len() >= pattern.max_alerts as usize {
        return Some(Refusal::Full);
    }
    None
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
    }
}
