//! Opens, fills, ends, reopens and forgets: straight work on what others have decided.
//!
//! An incident is resolved exactly while none of its alerts fires.

use super::by_hand;
use super::state::State;
use super::touched::Touched;
use crate::model::incident::Acknowledged;
use crate::model::{
    Alert, AlertId, Hold, Incident, IncidentId, Pair, Resolution, Span, Status, Timestamp,
};

/// How far a start may lie behind the log's time while nothing that was derived from it can have
/// been forgotten: events are at most so far ahead, and everything is kept for longer.
const SURE: Span = Span::from_secs(300);

/// Where the ids of what starts then begin to be counted. What comes so late that an earlier one may
/// have been forgotten takes the log's time in: to readers an id is used once, or they would take
/// its revisions for old ones.
pub(super) fn first_nth(start: Timestamp, now: Timestamp) -> u32 {
    if start + SURE >= now { 0 } else { nth_of(now) }
}

/// Where the ids of what takes the log's time in begin to be counted.
fn nth_of(now: Timestamp) -> u32 {
    // The lowest bits tell times of seven weeks apart; below the half, there is room to count on.
    u32::try_from(now.as_millis() & 0x7fff_ffff).unwrap_or_default().max(1)
}

/// What an alert opens that joined no other.
pub(super) struct Opening {
    /// The incident that is full.
    pub(super) continues: Option<IncidentId>,
    pub(super) pairs: Vec<Pair>,
    /// Why nobody is told of it.
    pub(super) hold: Option<Box<Hold>>,
    pub(super) alert: Alert,
}

/// Opens an incident with its first alert.
pub(super) fn open(state: &mut State, touched: &mut Touched, now: Timestamp, opening: Opening) {
    let first = first_nth(opening.alert.started_at, now);
    open_from(state, touched, now, opening, first);
}

/// Opens an incident with an alert that was in another one, which may be forgotten by now.
pub(super) fn open_again(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    opening: Opening,
) {
    open_from(state, touched, now, opening, nth_of(now));
}

fn open_from(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    opening: Opening,
    first_nth: u32,
) {
    let Opening { continues, pairs, hold, mut alert } = opening;
    let start = alert.started_at;
    let id = (first_nth..=u32::MAX)
        .map(|nth| IncidentId::derive(start, &alert.identity, nth))
        .find(|id| state.incident(*id).is_none())
        .expect("there are only finitely many incidents");
    if let Some(full) = continues {
        touched.incident(state, full, start).continued = true;
        state.change_incident(full, |incident| incident.continued_by = Some(id));
    }
    let touch = touched.alert(state, id, alert.id, start);
    touch.joined.push(alert.id);
    state.add_incident(Incident {
        id,
        revision: 0,
        shard: alert.shard.clone(),
        first: start,
        latest: start,
        opened_at: now,
        changed_at: start,
        resolved: None,
        severity: if alert.maintenance.is_some() { Status::Ok } else { alert.status },
        pairs,
        tags: alert.tags.clone(),
        continues,
        continued_by: None,
        acknowledged: None,
        assignee: None,
        snoozed: None,
        updated_at: None,
        remind_at: None,
        updates: Vec::new(),
        gone: None,
        merged_from: Vec::new(),
        split_from: None,
        split_into: Vec::new(),
        reshaped_at: None,
        hold,
    });
    alert.incident = id;
    state.add_alert(alert);
}

/// Adds an alert to an incident, which keeps only the pairs that the alert shares.
pub(super) fn join(
    state: &mut State,
    touched: &mut Touched,
    id: IncidentId,
    pairs: &[Pair],
    mut alert: Alert,
) {
    let start = alert.started_at;
    touched.alert(state, id, alert.id, start).joined.push(alert.id);
    state.change_incident(id, |incident| {
        incident.pairs.retain(|pair| pairs.contains(pair));
        incident.tags.keep_shared(&alert.tags);
        incident.latest = incident.latest.max(start);
        incident.resolved = None;
    });
    alert.incident = id;
    state.add_alert(alert);
}

/// Ends an alert, and its incident where no other alert of it fires.
pub(super) fn end(
    state: &mut State,
    touched: &mut Touched,
    id: AlertId,
    resolved: (Timestamp, Resolution),
    change: impl FnOnce(&mut Alert),
) {
    let Some(incident) = state.alert(id).map(|alert| alert.incident) else { return };
    touched.alert(state, incident, id, resolved.0);
    state.change_alert(id, |alert| {
        alert.resolved = Some(resolved);
        alert.acknowledged = false;
        change(alert);
    });
    if state.incident(incident).is_some_and(|held| held.firing.is_empty()) {
        state.change_incident(incident, |incident| {
            incident.resolved = Some(resolved);
            incident.acknowledged = None;
        });
    }
}

/// Ends an alert that was silent for too long, as of when its last word lost its force.
pub(super) fn expire(state: &mut State, touched: &mut Touched, id: AlertId) {
    let Some(alert) = state.alert(id).filter(|alert| alert.is_firing()) else { return };
    if alert.said() == Status::Ok {
        // It flaps, and its last word was no problem: it is over as of then.
        return calm(state, touched, id);
    }
    let at = alert.alive_until;
    end(state, touched, id, (at, Resolution::Expired), |alert| {
        alert.status = alert.said();
        alert.flapping = None;
        alert.changed_at = at;
    });
}

/// Lets an alert flap no more: it is what it last said it is. Where that is `ok`, it is over since
/// then, and its incident since the last of its alerts was.
pub(super) fn calm(state: &mut State, touched: &mut Touched, id: AlertId) {
    if state.alert(id).is_some_and(Alert::is_dismissed) {
        // Over as it is; all there is to do is to forget that it flapped.
        return state.change_alert(id, |alert| {
            alert.status = alert.said();
            alert.flapping = None;
        });
    }
    let Some(alert) = state.alert(id).filter(|alert| alert.is_flapping()) else { return };
    let (said, incident, at) = (alert.said(), alert.incident, alert.changed_at);
    if said > Status::Ok {
        let other = said != alert.status;
        touched.alert(state, incident, id, at).updated = true;
        state.change_alert(id, |alert| {
            alert.status = said;
            alert.flapping = None;
        });
        if other {
            touched.shows_another_status(id);
        }
        return;
    }
    end(state, touched, id, (at, Resolution::AllOk), |alert| {
        alert.status = said;
        alert.flapping = None;
    });
    let Some(held) = state.incident(incident).filter(|held| held.firing.is_empty()) else { return };
    let ends = held.members.iter().filter_map(|id| state.alert(*id)?.resolved);
    let last = ends.map(|(at, _)| at).max().unwrap_or(at);
    state.change_incident(incident, |row| row.resolved = Some((last, Resolution::AllOk)));
}

/// Ends the alerts of an incident that were over before `start`, by event time.
pub(super) fn expire_before(
    state: &mut State,
    touched: &mut Touched,
    incident: IncidentId,
    start: Timestamp,
) {
    while let Some(held) = state.incident(incident) {
        match held.firing.first() {
            Some((alive_until, alert)) if *alive_until < start => {
                let alert = *alert;
                expire(state, touched, alert);
            }
            _ => break,
        }
    }
}

/// Ends what flapped in an incident and was calm by `start`, by event time.
pub(super) fn calm_before(
    state: &mut State,
    touched: &mut Touched,
    incident: IncidentId,
    start: Timestamp,
) {
    while let Some(held) = state.incident(incident) {
        match held.flapping.first() {
            Some((calm_at, alert)) if *calm_at <= start => {
                let alert = *alert;
                calm(state, touched, alert);
            }
            _ => break,
        }
    }
}

/// Lets an alert fire again, and with it its incident.
pub(super) fn reopen(
    state: &mut State,
    touched: &mut Touched,
    id: AlertId,
    at: Timestamp,
    change: impl FnOnce(&mut Alert),
) {
    let Some(incident) = state.alert(id).map(|alert| alert.incident) else { return };
    if state.incident(incident).is_some_and(|held| held.row.is_dismissed()) {
        // It is not over after all: everything that was dismissed with it is shown as it is.
        by_hand::revive(state, touched, incident, at);
    }
    // Where another alert ended in the same record, as many fire as before; it is told all the same.
    touched.alert(state, incident, id, at).updated = true;
    state.change_incident(incident, |incident| incident.resolved = None);
    state.change_alert(id, |alert| {
        alert.resolved = None;
        alert.acknowledged = false;
        change(alert);
    });
}

/// Notes who acknowledged an incident; the first one stands.
pub(super) fn acknowledge(state: &mut State, id: IncidentId, by: &str, at: Timestamp) {
    state.change_incident(id, |incident| {
        let until = None;
        incident.acknowledged.get_or_insert_with(|| Acknowledged { by: by.into(), at, until });
    });
}

/// Forgets what nothing can refer to any more, by log time.
pub(super) fn forget(state: &mut State, now: Timestamp) {
    while let Some(id) = state.stale_incident(now) {
        state.remove_incident(id);
    }
    while let Some(identity) = state.stale_ok(now) {
        state.forget_ok(&identity);
    }
    let window = state.settings().reopen_window;
    state.requests.forget(now, window);
    state.forget_rates(now);
}
