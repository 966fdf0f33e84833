//! Resolves incidents because somebody says so, whatever their checks say: rule 14.
//!
//! Each alert that fires is dismissed: resolved, but still followed, so that an undo or a change of
//! its status brings it back as it is by then. What is heard of it is `alerts`' work.

use super::commands::{Answer, Done, incident};
use super::report;
use super::state::State;
use super::touched::Touched;
use crate::model::command::{
    Command, IDS_MAX, NAMED_MAX, Refused, ResolvedByHand, Undo, Undoable, Which,
};
use crate::model::{AlertId, IncidentId, Matchers, RequestId, Resolution, Timestamp};

/// Resolves all of them, or none.
pub(super) fn resolve(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    command: &Command,
    which: &Which,
) -> Done {
    let ids = match which {
        Which::Incidents(ids) => named(state, command.confirm, ids)?,
        Which::Matching(matchers) => matching(state, command.confirm, matchers)?,
    };
    let mut resolved = Vec::with_capacity(ids.len());
    for &id in &ids {
        let row = &incident(state, id)?.row;
        let (acknowledged, snoozed) = (row.acknowledged.clone(), row.snoozed.clone());
        resolved.push(ResolvedByHand { incident: id, acknowledged, snoozed });
        dismiss(state, touched, now, &command.actor, id);
    }
    if !resolved.is_empty() {
        let (request, what) = (command.request.clone(), Undo::Resolve(resolved));
        state.requests.remember_undo(Undoable { request, at: now, what });
    }
    let message = match ids.as_slice() {
        [] => "no open incident matches".to_owned(),
        [one] => format!("{one} is resolved"),
        many => format!("{} incidents are resolved", many.len()),
    };
    Ok(Answer::done(ids, message))
}

fn named(
    state: &State,
    confirm: Option<u64>,
    ids: &[IncidentId],
) -> Result<Vec<IncidentId>, Answer> {
    let count = ids.len() as u64;
    if confirm.is_some_and(|confirmed| confirmed != count) {
        let message = format!("{count} incidents are named, and `confirm` is another number");
        return Err(Answer { count, ..Answer::refused(Refused::Confirm, message) });
    }
    for &id in ids {
        if incident(state, id)?.row.resolved.is_some() {
            return Err(Answer::refused(Refused::Resolved, format!("{id} is resolved already")));
        }
    }
    Ok(ids.to_vec())
}

fn matching(
    state: &State,
    confirm: Option<u64>,
    matchers: &Matchers,
) -> Result<Vec<IncidentId>, Answer> {
    let open = state.incidents().filter(|id| {
        state.incident(*id).is_some_and(|held| held.row.resolved.is_none())
            && report::labels(state, *id).is_some_and(|incident| matchers.matches(&incident))
    });
    let ids: Vec<IncidentId> = open.collect();
    let count = ids.len() as u64;
    let refuse = |reason, message: String| Answer {
        count,
        incidents: ids.iter().take(NAMED_MAX).copied().collect(),
        ..Answer::refused(reason, message)
    };
    if confirm.is_none() && count > 0 || confirm.is_some_and(|confirmed| confirmed != count) {
        let message = format!(
            "{count} open incidents match; to resolve them, send this again with `confirm` {count}"
        );
        return Err(refuse(Refused::Confirm, message));
    }
    if ids.len() > IDS_MAX {
        let message = format!("{count} incidents are more than {IDS_MAX}; narrow the matchers");
        return Err(refuse(Refused::TooMany, message));
    }
    Ok(ids)
}

fn dismiss(state: &mut State, touched: &mut Touched, now: Timestamp, actor: &str, id: IncidentId) {
    let Some(held) = state.incident(id) else { return };
    let fires = |id: &&AlertId| state.alert(**id).is_some_and(|alert| alert.is_firing());
    let firing: Vec<AlertId> = held.members.iter().filter(fires).copied().collect();
    touched.by(state, id, actor);
    for alert in firing {
        touched.alert(state, id, alert, now);
        state.change_alert(alert, |alert| alert.resolved = Some((now, Resolution::ByHand)));
    }
    state.change_incident(id, |incident| {
        incident.resolved = Some((now, Resolution::ByHand));
        incident.acknowledged = None;
        incident.snoozed = None;
    });
}

/// An incident that was resolved by hand is not over after all, since `at`: what was dismissed
/// with it fires again, as far as it has not been silent for too long by then.
pub(super) fn revive(state: &mut State, touched: &mut Touched, id: IncidentId, at: Timestamp) {
    for alert in dismissed(state, id) {
        if state.alert(alert).is_some_and(|alert| alert.alive_until >= at) {
            touched.alert(state, id, alert, at);
            state.change_alert(alert, |alert| {
                alert.resolved = None;
                alert.acknowledged = false;
            });
        }
    }
}

/// The alerts of an incident that are dismissed, but for those whose identity has a later one.
fn dismissed(state: &State, id: IncidentId) -> Vec<AlertId> {
    let members = state.incident(id).into_iter().flat_map(|held| &held.members);
    let alerts = members.filter_map(|id| state.alert(*id)).filter(|alert| {
        let in_force = state.current(&alert.identity).is_some_and(|known| known.id == alert.id);
        alert.is_dismissed() && in_force
    });
    alerts.map(|alert| alert.id).collect()
}

/// As if they had not been resolved: those that are so still and of which something still fires.
pub(super) fn undo(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    actor: &str,
    (request, at, resolved): (&RequestId, Timestamp, &[ResolvedByHand]),
) -> Done {
    let asked = resolved.len();
    let mut undone = Vec::new();
    for ResolvedByHand { incident: id, acknowledged, snoozed } in resolved {
        // Resolved by hand at another time, it is another command's.
        let ours = Some((at, Resolution::ByHand));
        let still = state.incident(*id).is_some_and(|held| held.row.resolved == ours);
        let mut alerts = if still { dismissed(state, *id) } else { Vec::new() };
        alerts.retain(|alert| state.alert(*alert).is_some_and(|alert| alert.resolved == ours));
        if alerts.is_empty() {
            continue;
        }
        touched.by(state, *id, actor).undone = true;
        for alert in alerts {
            touched.alert(state, *id, alert, now);
            state.change_alert(alert, |alert| alert.resolved = None);
        }
        let lasts = |until: Option<Timestamp>| until.is_none_or(|until| until > now);
        state.change_incident(*id, |incident| {
            incident.resolved = None;
            incident.acknowledged = acknowledged.clone().filter(|by| lasts(by.until));
            incident.snoozed = snoozed.clone().filter(|snoozed| lasts(Some(snoozed.until)));
        });
        undone.push(*id);
    }
    if undone.is_empty() {
        let message = format!("of what {request} resolved, nothing fires that it had dismissed");
        return Err(Answer::refused(Refused::NotUndoable, message));
    }
    state.requests.forget_undo(request);
    let message = match asked - undone.len() {
        0 => format!("{} open again, as before {request}", undone.len()),
        over => format!("{} open again; {over} recovered or reopened meanwhile", undone.len()),
    };
    Ok(Answer::done(undone, message))
}
