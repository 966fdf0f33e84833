//! Keeps incidents untold whose patterns ask for more alerts than they have: rule 11, `min_alerts`.
//!
//! What each pattern asks for is noted when the incident opens, so that an edit touches new alerts
//! only. An incident is held while every pair that it holds is of a pattern that asks for more; once
//! it was told it is never held again. As a pattern's window ends, by log time, its pairs drop; where
//! none is left, the alerts that fire go through the patterns that were not waited for, by `join`, as
//! if they were new.

use std::collections::BTreeSet;

use super::join;
use super::lifecycle::{self, Opening};
use super::recorrelate::is_by_hand;
use super::report;
use super::reshape;
use super::state::State;
use super::touched::Touched;
use crate::model::alert::{MUSTER, MoveKind, Moved};
use crate::model::hold::ASKS_MAX;
use crate::model::{
    Alert, AlertId, Ask, CorrelateSettings, Hold, Incident, IncidentId, Pair, Pattern, Span,
    Status, Timestamp,
};

/// Why an incident is held that opens with one alert now: each of the patterns that hold it asks for
/// more. None where one does not, or none holds it. `lapsed` are those that its alert was held by.
pub(super) fn noted<'p>(
    now: Timestamp,
    patterns: impl IntoIterator<Item = &'p Pattern>,
    lapsed: &[Box<str>],
) -> Option<Box<Hold>> {
    let asks: Vec<Ask> = patterns.into_iter().map(|pattern| ask(now, pattern)).collect();
    let held = !asks.is_empty() && asks.iter().all(|ask| ask.min_alerts > 1);
    held.then(|| Box::new(Hold { asks, lapsed: lapsed.to_vec() }))
}

/// Why an incident is held whose alerts come from one that is, by command: what the patterns of its
/// pairs ask for from now on, though it may be fulfilled; `report` sees to that.
pub(super) fn inherited(
    settings: &CorrelateSettings,
    now: Timestamp,
    pairs: &[Pair],
    from: &Hold,
) -> Box<Hold> {
    let holds = |pattern: &&Pattern| pairs.iter().any(|pair| pair.pattern == pattern.name);
    let asks = settings.patterns.iter().filter(holds).map(|pattern| ask(now, pattern)).collect();
    Box::new(Hold { asks, lapsed: from.lapsed.clone() })
}

fn ask(now: Timestamp, pattern: &Pattern) -> Ask {
    let until = now + pattern.window;
    Ask { pattern: pattern.name.clone(), min_alerts: pattern.min_alerts, until }
}

/// The asks of patterns whose pairs an incident still holds.
fn asks(row: &Incident) -> impl Iterator<Item = &Ask> {
    let holds = |ask: &&Ask| row.pairs.iter().any(|pair| pair.pattern == ask.pattern);
    row.hold.iter().flat_map(|hold| &hold.asks).filter(holds)
}

/// When the next of its patterns was waited for long enough, by log time: just after its window, whose
/// end is still within.
pub(super) fn lapses_at(row: &Incident) -> Option<Timestamp> {
    if row.resolved.is_some() {
        return None;
    }
    asks(row).map(|ask| ask.until + Span::from_millis(1)).min()
}

/// What a change shows of it: the patterns that are still waited for, and those that were.
pub(super) fn shown(row: &Incident) -> Option<Box<Hold>> {
    let hold = row.hold.as_ref()?;
    let asks = asks(row).take(ASKS_MAX).cloned().collect();
    let lapsed = hold.lapsed.iter().take(ASKS_MAX).cloned().collect();
    Some(Box::new(Hold { asks, lapsed }))
}

/// Whether an incident is held and nothing is waited for any more: who begins anew has a new chance,
/// and nobody who was told of anything is told twice.
pub(super) fn is_in_vain(state: &State, now: Timestamp, id: IncidentId) -> bool {
    let Some(held) = state.incident(id) else { return false };
    held.row.hold.is_some() && asks(&held.row).all(|ask| ask.until < now)
}

/// Lets an incident be told that has as many alerts as one of its patterns asks for, or one of those
/// of an incident that was merged into it: they count as its own.
pub(super) fn release_what_has_enough(state: &mut State, id: IncidentId) {
    let Some(held) = state.incident(id).filter(|held| held.row.hold.is_some()) else { return };
    let merged = held.row.merged_from.iter().filter_map(|from| state.incident(*from));
    let here = |from: &&super::held::Held| {
        from.row.gone.as_ref().is_some_and(|gone| gone.into == Some(id))
    };
    let merged = merged.filter(here).flat_map(|from| asks(&from.row));
    let count = held.members.len();
    if asks(&held.row).chain(merged).any(|ask| ask.min_alerts as usize <= count) {
        release(state, id);
    }
}

/// It is told from now on, whatever its patterns ask for.
pub(super) fn release(state: &mut State, id: IncidentId) {
    if state.incident(id).is_some_and(|held| held.row.hold.is_some()) {
        state.change_incident(id, |row| row.hold = None);
    }
}

/// The window of one of its patterns, or of several at once, is over: their pairs drop. Where it
/// holds no pair then, its alerts go through the patterns that were not waited for, unless people had
/// a hand in it.
///
/// All of it is as of the window's end, not of the record that showed that it is over: which one that
/// is must not matter.
pub(super) fn lapse(state: &mut State, touched: &mut Touched, id: IncidentId) {
    let Some(held) = state.incident(id) else { return };
    let Some(at) = asks(&held.row).map(|ask| ask.until).min() else { return };
    let changed_at = held.row.changed_at;
    let over: Vec<Box<str>> =
        asks(&held.row).filter(|ask| ask.until == at).map(|ask| ask.pattern.clone()).collect();
    touched.incident(state, id, changed_at).lapsed = true;
    state.change_incident(id, |row| {
        row.pairs.retain(|pair| !over.contains(&pair.pattern));
        let pairs = &row.pairs;
        if let Some(hold) = &mut row.hold {
            hold.asks.retain(|ask| pairs.iter().any(|pair| pair.pattern == ask.pattern));
            hold.lapsed.extend(over);
        }
    });
    let Some(held) = state.incident(id) else { return };
    if held.row.pairs.is_empty() && !is_by_hand(&held.row) {
        go_on(state, touched, at, id);
    }
}

/// Puts the alerts of an incident that fire where the patterns that were not waited for put them, in
/// the order of their starts. The first that finds no other incident keeps this one, unless alerts stay
/// in it that are over or to which no such pattern applies.
fn go_on(state: &mut State, touched: &mut Touched, now: Timestamp, id: IncidentId) {
    let Some(held) = state.incident(id) else { return };
    let lapsed = held.row.hold.as_ref().map(|hold| hold.lapsed.clone()).unwrap_or_default();
    let firing = held.firing.iter().filter_map(|(_, alert)| state.alert(*alert));
    let going = firing.filter(|alert| join::is_anybodys(state, alert, &lapsed));
    let mut going: Vec<(Timestamp, AlertId)> =
        going.map(|alert| (alert.started_at, alert.id)).collect();
    if going.is_empty() {
        return;
    }
    going.sort_unstable();
    let mut free = going.len() == held.members.len();
    let name = report::name(held, Status::Ok);
    // All of them first: what is kept must not be narrowed by one that goes.
    let alerts: Vec<Alert> =
        going.into_iter().filter_map(|(_, alert)| state.take_alert(alert)).collect();
    let mut targets = BTreeSet::new();
    for mut alert in alerts {
        let (alert_id, mut moves) = (alert.id, std::mem::take(&mut alert.why.moves));
        match join::join_other(state, touched, now, alert, &lapsed) {
            None => {}
            Some(opening) if free => {
                free = false;
                keep(state, touched, id, opening);
            }
            Some(opening) => lifecycle::open_again(state, touched, now, opening),
        }
        let Some(into) = state.alert(alert_id).map(|alert| alert.incident) else { continue };
        touched.alert(state, id, alert_id, Timestamp::MIN).left.push(alert_id);
        if into != id {
            targets.insert(into);
            let (from, by, request) = (id, MUSTER.into(), Box::default());
            let moved = Moved { kind: MoveKind::Lapsed, from, by, at: now, request };
            reshape::push(&mut moves, moved);
        }
        state.change_alert(alert_id, |alert| {
            // What it followed into by then comes last.
            for moved in std::mem::take(&mut alert.why.moves) {
                reshape::push(&mut moves, moved);
            }
            alert.why.moves = moves;
        });
    }
    if !targets.is_empty() {
        state.change_incident(id, |row| row.reshaped_at = Some(now));
    }
    if state.incident(id).is_some_and(|held| held.members.is_empty()) {
        let into = targets.first().copied().filter(|_| targets.len() == 1);
        let (by, request) = (MUSTER, "");
        let order = reshape::Order { now, kind: MoveKind::Lapsed, by, request };
        reshape::leave_empty(state, order, id, into, name);
    }
    state.recount(id);
    reshape::settle(state, id);
}

/// An incident that lost all its alerts goes on as that of one of them, as if it opened now.
fn keep(state: &mut State, touched: &mut Touched, id: IncidentId, opening: Opening) {
    let Opening { continues, pairs, hold, mut alert } = opening;
    let start = alert.started_at;
    if let Some(full) = continues {
        touched.incident(state, full, start).continued = true;
        state.change_incident(full, |incident| incident.continued_by = Some(id));
    }
    state.change_incident(id, |row| {
        (row.first, row.latest, row.pairs, row.hold) = (start, start, pairs, hold);
        row.tags = alert.tags.clone();
        row.continues = continues.or(row.continues);
    });
    touched.incident(state, id, Timestamp::MIN).joined.push(alert.id);
    alert.incident = id;
    state.add_alert(alert);
}
