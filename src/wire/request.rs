//! Correlate's rows about what people asked for lately. Version 1 of each.
//!
//! Key `c/` and a request id: the result of a command, in the very form in which it was told. Key
//! `u/` and a request id: what it takes to undo the command.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::command::encode_result;
use super::common::{by_way_of, unknown, unread};
use super::{WireError, to_vec};
use crate::model::command::{ResolvedByHand, SnoozeEnds, Snoozed, Undo, Undoable};
use crate::model::incident::Acknowledged;
use crate::model::{CommandResult, IncidentId, RequestId, Status, Timestamp};

const VERSION: u8 = 1;

/// The key of a result.
#[must_use]
pub fn result_key(request: &RequestId) -> Vec<u8> {
    format!("c/{request}").into_bytes()
}

/// The key of what it takes to undo a command.
#[must_use]
pub fn undo_key(request: &RequestId) -> Vec<u8> {
    format!("u/{request}").into_bytes()
}

/// The bytes of a result's row.
#[must_use]
pub fn encode_result_row(result: &CommandResult) -> Vec<u8> {
    encode_result(result)
}

#[derive(Serialize, Deserialize)]
struct WireUndoable<'a> {
    v: u8,
    request_id: Cow<'a, str>,
    at: Timestamp,
    undo: WireUndo,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireUndo {
    Resolve(Vec<WireResolved>),
}

#[derive(Serialize, Deserialize)]
struct WireResolved {
    incident: IncidentId,
    acknowledged: Option<Acknowledged>,
    snoozed: Option<Snoozed>,
}

/// The bytes of what it takes to undo a command.
#[must_use]
pub fn encode_undo(undoable: &Undoable) -> Vec<u8> {
    let undo = match &undoable.what {
        Undo::Resolve(resolved) => WireUndo::Resolve(
            resolved
                .iter()
                .cloned()
                .map(|ResolvedByHand { incident, acknowledged, snoozed }| WireResolved {
                    incident,
                    acknowledged,
                    snoozed,
                })
                .collect(),
        ),
    };
    let request_id = Cow::Borrowed(undoable.request.as_str());
    to_vec(&WireUndoable { v: VERSION, request_id, at: undoable.at, undo }, 256)
}

/// What it takes to undo a command, from its bytes.
///
/// # Errors
/// Says what is not as the row has it.
pub fn decode_undo(bytes: &[u8]) -> Result<Undoable, WireError> {
    let unread = |error| unread(bytes, VERSION, "a row", error);
    let wire: WireUndoable<'_> = serde_json::from_slice(bytes).map_err(unread)?;
    if wire.v != VERSION {
        return Err(unknown(wire.v.into(), VERSION, "a row"));
    }
    let request = RequestId::parse(&wire.request_id);
    let what = match wire.undo {
        WireUndo::Resolve(resolved) => Undo::Resolve(
            resolved
                .into_iter()
                .map(|WireResolved { incident, acknowledged, snoozed }| ResolvedByHand {
                    incident,
                    acknowledged,
                    snoozed,
                })
                .collect(),
        ),
    };
    let request = request.map_err(|error| WireError(error.to_string()))?;
    Ok(Undoable { request, at: wire.at, what })
}

by_way_of!(Snoozed, WireSnoozed);

/// Who keeps an incident quiet, until when and unless what, as every form shows it.
#[derive(Serialize, Deserialize)]
struct WireSnoozed<'a> {
    by: Cow<'a, Box<str>>,
    until: Timestamp,
    /// Any of `new_alert`, `worse` and `reopened`.
    ends_on: SnoozeEnds,
    status: Status,
}

impl<'a> From<&'a Snoozed> for WireSnoozed<'a> {
    fn from(snoozed: &'a Snoozed) -> Self {
        let Snoozed { by, until, ends_on, status } = snoozed;
        Self { by: Cow::Borrowed(by), until: *until, ends_on: *ends_on, status: *status }
    }
}

impl From<WireSnoozed<'_>> for Snoozed {
    fn from(wire: WireSnoozed<'_>) -> Self {
        let WireSnoozed { by, until, ends_on, status } = wire;
        Self { by: by.into_owned(), until, ends_on, status }
    }
}
