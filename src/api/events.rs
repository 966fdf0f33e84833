//! `POST /v1/events`: events in canonical form, or in a source's own, and what became of each.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Parts;
use super::failure::Failure;
use super::senders::{To, admit};
use super::take::{submit, take};
use crate::worker::intake::{Answer, Rejected};

/// How many rejected events an answer names; all of them are dead letters.
const NAMED_MAX: usize = 100;

/// Answers `POST /v1/events`.
pub(super) async fn take_any(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    answer(taken(&parts, To::Any, request).await)
}

/// Answers `POST /v1/events/{source}`: payloads in the source's own format.
pub(super) async fn take_from(
    State(parts): State<Arc<Parts>>,
    Path(source): Path<String>,
    request: Request,
) -> Response {
    answer(taken(&parts, To::Source(&source), request).await)
}

async fn taken(parts: &Parts, to: To<'_>, request: Request) -> Result<Answer, Failure> {
    // Before the body: where there is no such source, nobody need send it.
    to.exists(parts)?;
    let mut taken = take(parts, request).await?;
    let admitted = admit(parts, to, &mut taken).await?;
    submit(parts, taken, &admitted, Vec::new()).await
}

fn answer(outcome: Result<Answer, Failure>) -> Response {
    outcome.map_or_else(IntoResponse::into_response, |answer| shown(&answer))
}

fn shown(answer: &Answer) -> Response {
    let rejected: Vec<Value> = answer.rejected.iter().take(NAMED_MAX).map(named).collect();
    let mut body = match answer.rejected.first() {
        Some(first) if answer.accepted == 0 => {
            let more = match answer.rejected.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            Failure::body(first.reason.as_str(), &format!("{}{more}", first.message))
        }
        _ => json!({}),
    };
    body["accepted"] = answer.accepted.into();
    body["rejected"] = rejected.into();
    if !answer.ignored.is_empty() {
        let ignored = answer.ignored.iter().take(NAMED_MAX).map(String::as_str);
        body["ignored"] = ignored.collect::<Vec<_>>().into();
    }
    if answer.rejected.len() > NAMED_MAX {
        body["rejected_total"] = answer.rejected.len().into();
    }
    let nothing_good =
        answer.accepted == 0 && answer.ignored.is_empty() && !answer.rejected.is_empty();
    let status = if nothing_good { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    (status, Json(body)).into_response()
}

fn named(rejected: &Rejected) -> Value {
    let Rejected { index, reason, message } = rejected;
    json!({"index": index, "reason": reason.as_str(), "message": message})
}
