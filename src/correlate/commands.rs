//! What people ask for: one line a command, each done or refused with a reason.
//!
//! Whatever is refused changes nothing. What a command does to incidents is told like anything
//! else, by `report`; here is only whether it may be done, and the answer.

use super::held::Held;
use super::state::State;
use super::touched::Touched;
use super::{by_hand, maintenance, people, recorrelate, reshape};
use crate::collect::route_hash;
use crate::model::command::{
    Action, Command, CommandResult, Comment, NAMED_MAX, Outcome, Refused, Undo,
};
use crate::model::{IncidentId, RequestId, Timestamp};
use crate::stage::{Kind, Outgoing, Route, Topic};
use crate::wire;

/// What becomes of a command; `finish` makes it the result that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// How many things it touched, or would touch.
    pub(super) count: u64,
    /// One sentence for people.
    pub(super) message: String,
    /// The incidents it concerns.
    pub(super) incidents: Vec<IncidentId>,
    /// What there is to say beyond that.
    pub(super) lines: Vec<Box<str>>,
}

impl Answer {
    /// Done, to these incidents.
    pub(super) fn done(incidents: Vec<IncidentId>, message: impl Into<String>) -> Self {
        let count = incidents.len() as u64;
        let (outcome, message) = (Outcome::Done, message.into());
        Self { outcome, count, message, incidents, lines: Vec::new() }
    }

    /// Not done.
    pub(super) fn refused(reason: Refused, message: impl Into<String>) -> Self {
        let (outcome, message) = (Outcome::Refused(reason), message.into());
        Self { outcome, count: 0, message, incidents: Vec::new(), lines: Vec::new() }
    }
}

/// A command that was done, or why it was not.
pub(super) type Done = Result<Answer, Answer>;

/// What a command record asks for.
pub(super) enum Asked {
    /// For the first time.
    New(Command, Answer),
    /// Once more: nothing is done, and the first result is told again.
    Again(CommandResult),
}

/// Takes a command.
pub(super) fn take(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    command: Command,
) -> Asked {
    if let Some(result) = state.requests.result(&command.request) {
        return Asked::Again(result.clone());
    }
    let answer = apply(state, touched, now, &command).unwrap_or_else(|refused| refused);
    Asked::New(command, answer)
}

/// Does what is asked for, or says why not.
fn apply(state: &mut State, touched: &mut Touched, now: Timestamp, command: &Command) -> Done {
    let actor = &*command.actor;
    match &command.action {
        Action::Acknowledge { incident, until } => {
            people::acknowledge(state, touched, now, actor, (*incident, *until))
        }
        Action::Unacknowledge { incident } => {
            people::unacknowledge(state, touched, actor, *incident)
        }
        Action::Assign { incident, to } => {
            people::assign(state, touched, actor, *incident, to.as_deref())
        }
        Action::Snooze { incident, until, ends_on } => {
            people::snooze(state, touched, now, actor, (*incident, *until, *ends_on))
        }
        Action::Unsnooze { incident } => people::unsnooze(state, touched, actor, *incident),
        Action::Resolve(which) => by_hand::resolve(state, touched, now, command, which),
        Action::Comment { incident, text, audience } => {
            let comment = Comment { text: text.clone(), audience: *audience };
            people::comment(state, touched, actor, *incident, comment)
        }
        Action::Merge { into, from } => {
            Ok(reshape::merge(state, touched, now, command, (*into, from)))
        }
        Action::Split { incident, alerts } => {
            Ok(reshape::split(state, touched, now, command, (*incident, alerts)))
        }
        Action::SplitAll { incident } => {
            Ok(reshape::split_all(state, touched, now, command, *incident))
        }
        Action::Undo { request } if state.moved_by(request.as_str()).is_some() => {
            Ok(reshape::undo(state, touched, now, command, request.as_str()))
        }
        Action::Undo { request } => undo(state, touched, now, actor, request),
        Action::Recorrelate { shard, mode } => {
            Ok(recorrelate::recorrelate(state, touched, now, command, (shard.as_deref(), *mode)))
        }
        Action::MaintenancePut { plan, mode } => {
            maintenance::put(state, now, command, (plan, *mode))
        }
        Action::MaintenanceEnd { id } => maintenance::end(state, now, id),
    }
}

/// Who changed maintenance plans with this command, if it did.
pub(super) fn plans_changed_by(asked: &Asked) -> Option<&str> {
    let Asked::New(command, answer) = asked else { return None };
    let plans =
        matches!(command.action, Action::MaintenancePut { .. } | Action::MaintenanceEnd { .. });
    (plans && answer.outcome == Outcome::Done).then_some(&*command.actor)
}

fn undo(
    state: &mut State,
    touched: &mut Touched,
    now: Timestamp,
    actor: &str,
    request: &RequestId,
) -> Done {
    let Some(undoable) = state.requests.undoable(request) else {
        let message = format!(
            "{request} did nothing that can be undone, was undone, or is longer ago than reopen_window"
        );
        return Err(Answer::refused(Refused::UnknownRequest, message));
    };
    let undoable = undoable.clone();
    match &undoable.what {
        Undo::Resolve(resolved) => {
            by_hand::undo(state, touched, now, actor, (request, undoable.at, resolved))
        }
    }
}

/// An incident that is known.
pub(super) fn incident(state: &State, id: IncidentId) -> Result<&Held, Answer> {
    state.incident(id).ok_or_else(|| {
        let message = format!("{id} is not known here, or was resolved too long ago");
        Answer::refused(Refused::UnknownIncident, message)
    })
}

/// The record of the result of a command, once what it did was told.
pub(super) fn answer(state: &mut State, partition: u32, asked: Asked) -> Outgoing {
    match asked {
        Asked::Again(result) => to_incidents(&result),
        Asked::New(command, answer) => {
            let only_counts = command.action.only_counts();
            let result = finish(state, partition, command, answer);
            let record = to_incidents(&result);
            // Whoever sends the count along must not get the answer that asked for it.
            if result.outcome != Outcome::Refused(Refused::Confirm) && !only_counts {
                state.requests.remember(result);
            }
            record
        }
    }
}

/// The result: with the revisions from then on.
fn finish(state: &State, partition: u32, command: Command, answer: Answer) -> CommandResult {
    let Answer { outcome, count, message, incidents, mut lines } = answer;
    let revision = |id: IncidentId| state.incident(id).map_or(0, |held| held.row.revision);
    lines.truncate(NAMED_MAX);
    CommandResult {
        request: command.request,
        partition,
        at: state.now(),
        action: command.action.as_str().into(),
        confirm: command.confirm,
        outcome,
        count,
        message: message.into(),
        incidents: incidents.into_iter().take(NAMED_MAX).map(|id| (id, revision(id))).collect(),
        lines,
    }
}

fn to_incidents(result: &CommandResult) -> Outgoing {
    let request = result.request.as_str();
    Outgoing {
        topic: Topic::Incidents,
        route: Route::Hash(route_hash(&[request])),
        kind: Kind::CommandResult,
        key: request.as_bytes().to_vec(),
        value: wire::command::encode_result(result),
        headers: Vec::new(),
    }
}
