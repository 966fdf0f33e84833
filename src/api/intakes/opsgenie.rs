//! Opsgenie's Alert API, and the same of Jira Service Management.
//!
//! Which alert is closed or acknowledged stands in the address, which the decoder gets to know by two
//! headers. An alert without an alias is told apart by entity and message, and where it names no entity
//! either, by its message: Opsgenie would open a new one each time, which nobody could close. Ids and
//! tiny ids are Opsgenie's own and unknown here; they are taken for aliases.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::Parts;
use super::super::failure::Failure;
use super::super::take::{Taken, refusal};
use super::{take_as, uuid};
use crate::clock::Stopwatch;
use crate::stage::Reason;
use crate::worker::intake::Answer;

/// The longest alias.
const ALIAS_CHARS: usize = 512;
/// What can be done to an alert; but for the first two it changes nothing here.
const ACTIONS: [&str; 16] = [
    "close",
    "acknowledge",
    "unacknowledge",
    "notes",
    "snooze",
    "assign",
    "escalate",
    "responders",
    "teams",
    "tags",
    "details",
    "actions",
    "priority",
    "message",
    "description",
    "attachments",
];

/// Answers `POST /v2/alerts`.
pub(super) async fn create(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    let told = |taken: &Taken| {
        let mut told = vec![header("muster-action", "create")];
        told.extend(stand_in(&taken.bytes).map(|alias| header("muster-alias", &alias)));
        told
    };
    answer(&parts, request, told).await
}

/// Answers `DELETE /v2/alerts/{identifier}`.
pub(super) async fn delete(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    match path {
        Ok(Path(alias)) => answer(&parts, request, |_| acted(&alias, "delete")).await,
        Err(error) => refused(Failure::bad_request("bad_path", error.body_text())),
    }
}

/// Answers `/v2/alerts/{identifier}/{action}`.
pub(super) async fn act(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let (alias, action) = match path {
        Ok(Path(pair)) => pair,
        Err(error) => return refused(Failure::bad_request("bad_path", error.body_text())),
    };
    let none = |status, message| refused(Failure::new(status, "no_such_route", message));
    if !ACTIONS.contains(&action.as_str()) {
        return none(StatusCode::NOT_FOUND, "there is no such action of an alert");
    }
    let changes = ["close", "acknowledge"].contains(&action.as_str());
    let method = request.method();
    if method == Method::GET || changes && method != Method::POST {
        return none(StatusCode::METHOD_NOT_ALLOWED, "this is done with POST");
    }
    answer(&parts, request, |_| acted(&alias, &action)).await
}

fn acted(alias: &str, action: &str) -> Vec<(String, Vec<u8>)> {
    vec![header("muster-action", action), header("muster-alias", alias)]
}

fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

/// The alias of a body that has none and names nothing else that tells its alert apart.
fn stand_in(body: &[u8]) -> Option<String> {
    let alert: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let has = |name: &str| match alert.get(name) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        _ => false,
    };
    if has("alias") || has("entity") || has("details") {
        return None;
    }
    let message = alert.get("message")?.as_str()?.trim();
    (!message.is_empty()).then(|| message.chars().take(ALIAS_CHARS).collect())
}

async fn answer(
    parts: &Parts,
    request: Request,
    told: impl FnOnce(&Taken) -> Vec<(String, Vec<u8>)>,
) -> Response {
    let watch = Stopwatch::start();
    match take_as(parts, "opsgenie", request, told).await {
        Err(failure) => refused(failure),
        Ok(answer) => match invalid(&answer) {
            Some((status, message)) => (status, error(status, message)).into_response(),
            None => {
                let took = watch.elapsed().as_secs_f64();
                let body = json!({
                    "result": "Request will be processed", "took": took, "requestId": uuid(),
                });
                (StatusCode::ACCEPTED, Json(body)).into_response()
            }
        },
    }
}

fn refused(failure: Failure) -> Response {
    let body = error(failure.status(), failure.message());
    failure.with(body)
}

fn error(status: StatusCode, message: &str) -> Json<Value> {
    let mut body = json!({"message": message, "took": 0.0, "requestId": uuid()});
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        body["message"] = "Request body is not processable. Please check the errors.".into();
        body["errors"] = json!({"message": message});
    }
    Json(body)
}

/// Why a body was not taken: unreadable, or without what the original insists on.
fn invalid(answer: &Answer) -> Option<(StatusCode, &str)> {
    let first = answer.rejected.first().filter(|_| answer.accepted == 0)?;
    let shape = || (StatusCode::UNPROCESSABLE_ENTITY, first.message.as_str());
    refusal(answer).or_else(|| (first.reason == Reason::NotAnEvent).then(shape))
}
