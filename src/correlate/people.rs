//! What people do to one incident that leaves its alerts as they are: rules 13 and 14.
//!
//! Acknowledging ends with the resolve, or at its time; a snooze ends at its time, or before by what
//! was named. All times are log time. Resolving by hand is `by_hand`'s work.

use super::commands::{Answer, Done, incident};
use super::state::{Held, State};
use super::touched::{Touch, Touched};
use crate::model::command::{Comment, Refused, SnoozeEnds, Snoozed};
use crate::model::incident::Acknowledged;
use crate::model::{AlertId, ChangeKind, IncidentId, Timestamp};

/// Somebody takes care of it; who does so last stands.
pub(super) fn acknowledge(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    actor: &str,
    (id, until): (IncidentId, Option<Timestamp>),
) -> Done {
    open(state, id)?;
    ahead(now, "until", until)?;
    touched.by(state, id, actor).acknowledged = true;
    state.change_incident(id, |incident| {
        incident.acknowledged = Some(Acknowledged { by: actor.into(), at: now, until });
    });
    Ok(Answer::done(vec![id], format!("{id} is acknowledged by {actor}")))
}

/// Nobody takes care of it any more, whoever did, in a source as well.
pub(super) fn unacknowledge(
    state: &mut State,
    touched: &mut Touched,
    actor: &str,
    id: IncidentId,
) -> Done {
    let Some(by) = incident(state, id)?.row.acknowledged.clone() else {
        let message = format!("nobody has acknowledged {id}");
        return Err(Answer::refused(Refused::NotAcknowledged, message));
    };
    touched.by(state, id, actor).unacknowledged = true;
    let_go(state, id);
    Ok(Answer::done(vec![id], format!("{id} is not acknowledged by {} any more", by.by)))
}

/// The time for which it was acknowledged is over.
pub(super) fn time_is_up(state: &mut State, touched: &mut Touched, id: IncidentId) {
    let Some(held) = state.incident(id) else { return };
    let changed_at = held.row.changed_at;
    touched.incident(state, id, changed_at).unacknowledged = true;
    let_go(state, id);
}

fn let_go(state: &mut State, id: IncidentId) {
    let Some(held) = state.incident(id) else { return };
    let acknowledged = |id: &&AlertId| state.alert(**id).is_some_and(|alert| alert.acknowledged);
    let alerts: Vec<AlertId> = held.members.iter().filter(acknowledged).copied().collect();
    for alert in alerts {
        state.change_alert(alert, |alert| alert.acknowledged = false);
    }
    state.change_incident(id, |incident| incident.acknowledged = None);
}

/// It is somebody's, or nobody's; also when it is over.
pub(super) fn assign(
    state: &mut State,
    touched: &mut Touched,
    actor: &str,
    id: IncidentId,
    to: Option<&str>,
) -> Done {
    let before = &incident(state, id)?.row.assignee;
    let message = match to {
        Some(to) => format!("{id} is {to}'s"),
        None => format!("{id} is nobody's"),
    };
    if before.as_deref() != to {
        touched.by(state, id, actor).assigned = true;
        state.change_incident(id, |incident| incident.assignee = to.map(Into::into));
    }
    Ok(Answer::done(vec![id], message))
}

/// It is quiet until then, or until what ends it before.
pub(super) fn snooze(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    actor: &str,
    (id, until, ends_on): (IncidentId, Timestamp, SnoozeEnds),
) -> Done {
    let status = open(state, id)?.status();
    ahead(now, "until", Some(until))?;
    touched.by(state, id, actor).snoozed = true;
    state.change_incident(id, |incident| {
        incident.snoozed = Some(Snoozed { by: actor.into(), until, ends_on, status });
    });
    Ok(Answer::done(vec![id], format!("{id} is snoozed by {actor}")))
}

/// It is quiet no more.
pub(super) fn unsnooze(
    state: &mut State,
    touched: &mut Touched,
    actor: &str,
    id: IncidentId,
) -> Done {
    if incident(state, id)?.row.snoozed.is_none() {
        return Err(Answer::refused(Refused::NotSnoozed, format!("{id} is not snoozed")));
    }
    touched.by(state, id, actor).unsnoozed = true;
    wake(state, id);
    Ok(Answer::done(vec![id], format!("{id} is snoozed no more")))
}

/// The time of a snooze is over.
pub(super) fn sleep_is_over(state: &mut State, touched: &mut Touched, id: IncidentId) {
    let Some(held) = state.incident(id) else { return };
    let changed_at = held.row.changed_at;
    touched.incident(state, id, changed_at).unsnoozed = true;
    wake(state, id);
}

/// Whether what a record did ends a snooze before its time.
pub(super) fn wakes(held: &Held, touch: &Touch) -> bool {
    let (Some(snoozed), Some(before)) = (&held.row.snoozed, touch.before) else { return false };
    let SnoozeEnds { new_alert, worse, reopened } = snoozed.ends_on;
    let open = held.row.resolved.is_none();
    // What a command moved there is not new, and what an undo opens again was open before.
    let undone = touch.undone || touch.reshaped == Some(ChangeKind::Undone);
    open && (new_alert && !touch.joined.is_empty() && touch.reshaped.is_none()
        || worse && held.status() > snoozed.status
        || reopened && !before.open && !undone)
}

/// Ends a snooze.
pub(super) fn wake(state: &mut State, id: IncidentId) {
    state.change_incident(id, |incident| incident.snoozed = None);
}

/// A remark; also on what is over.
pub(super) fn comment(
    state: &mut State,
    touched: &mut Touched,
    actor: &str,
    id: IncidentId,
    comment: Comment,
) -> Done {
    incident(state, id)?;
    touched.by(state, id, actor).comment = Some(comment);
    Ok(Answer::done(vec![id], format!("{actor}'s remark stands in the timeline of {id}")))
}

/// An incident that is open.
fn open(state: &State, id: IncidentId) -> Result<&Held, Answer> {
    let held = incident(state, id)?;
    if held.row.resolved.is_none() {
        return Ok(held);
    }
    Err(Answer::refused(Refused::Resolved, format!("{id} is resolved")))
}

fn ahead(now: Timestamp, name: &str, at: Option<Timestamp>) -> Result<(), Answer> {
    if at.is_none_or(|at| at > now) {
        return Ok(());
    }
    let message = format!("`{name}` has passed: it is {} by the log's time", now.as_millis());
    Err(Answer::refused(Refused::InThePast, message))
}
