//! What people ask for: one line a command, each done or refused with a reason.
//!
//! Whatever is refused changes nothing. What a command does to incidents is told like anything
//! else, by `report`; here is only whether it may be done, and the answer.

use super::maintenance;
use super::state::State;
use super::touched::Touched;
use crate::collect::route_hash;
use crate::model::command::{Action, Command, CommandResult, NAMED_MAX, Outcome, Refused};
use crate::model::{IncidentId, Timestamp};
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

/// Does what is asked for, or says why not.
pub(super) fn apply(
    state: &mut State,
    _touched: &mut Touched,
    now: Timestamp,
    command: &Command,
) -> Answer {
    match &command.action {
        Action::Acknowledge { .. } => not_supported(command),
        Action::Unacknowledge { .. } => not_supported(command),
        Action::Assign { .. } => not_supported(command),
        Action::Snooze { .. } => not_supported(command),
        Action::Unsnooze { .. } => not_supported(command),
        Action::Resolve(_) => not_supported(command),
        Action::Comment { .. } => not_supported(command),
        Action::Merge { .. } => not_supported(command),
        Action::Split { .. } => not_supported(command),
        Action::SplitAll { .. } => not_supported(command),
        Action::Undo { .. } => not_supported(command),
        Action::Recorrelate { .. } => not_supported(command),
        Action::MaintenancePut { plan } => maintenance::put(state, now, command, plan),
        Action::MaintenanceEnd { id } => maintenance::end(state, now, id),
    }
}

/// Who changed maintenance plans with this command, if it did.
pub(super) fn plans_changed_by((command, answer): &(Command, Answer)) -> Option<&str> {
    let plans = matches!(
        command.action,
        Action::MaintenancePut { .. } | Action::MaintenanceEnd { .. }
    );
    (plans && answer.outcome == Outcome::Done).then_some(&*command.actor)
}

/// The result of a command, once what it did was told: with the revisions from then on.
pub(super) fn finish(
    state: &State,
    partition: u32,
    command: &Command,
    answer: Answer,
) -> CommandResult {
    let Answer { outcome, count, message, incidents, mut lines } = answer;
    let revision = |id: IncidentId| state.incident(id).map_or(0, |held| held.row.revision);
    lines.truncate(NAMED_MAX);
    CommandResult {
        request: command.request.clone(),
        partition,
        at: state.now(),
        action: command.action.as_str().into(),
        outcome,
        count,
        message: message.into(),
        incidents: incidents.into_iter().take(NAMED_MAX).map(|id| (id, revision(id))).collect(),
        lines,
    }
}

/// A result as a record of `muster.incidents`.
pub(super) fn to_incidents(result: &CommandResult) -> Outgoing {
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

fn not_supported(command: &Command) -> Answer {
    let message = format!("this version does not know how to {}", command.action.as_str());
    Answer::refused(Refused::NotSupported, message)
}
