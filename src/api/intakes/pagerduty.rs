//! PagerDuty's Events API, versions 2 and 1.
//!
//! A trigger without `dedup_key` gets one that is made up, returned and handed on, so that the sender
//! can resolve by it. What is no event to the original either (no `event_action`, a `resolve` that does
//! not say of what) is `invalid event` here too, and a dead letter. Change events say nothing of an
//! alert.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::Parts;
use super::super::failure::Failure;
use super::super::senders::{To, admit};
use super::super::take::{submit, take};
use super::{count_nothing, decoder, made_up};
use crate::stage::Reason;
use crate::worker::intake::Answer;

/// Says which key was made up for a trigger without one.
const MADE_UP: &str = "muster-dedup-key";

/// Answers `POST /v2/enqueue`.
pub(super) async fn enqueue(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    event(&parts, request, ("event_action", "dedup_key"), StatusCode::ACCEPTED).await
}

/// Answers `POST /generic/2010-04-15/create_event.json`.
pub(super) async fn create_event(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    event(&parts, request, ("event_type", "incident_key"), StatusCode::OK).await
}

async fn event(
    parts: &Parts,
    request: Request,
    (action, key): (&str, &str),
    good: StatusCode,
) -> Response {
    let outcome = async {
        let mut taken = take(parts, request).await?;
        let admitted = admit(parts, To::Format(decoder("pagerduty")), &mut taken).await?;
        let said = serde_json::from_slice::<Map<String, Value>>(&taken.bytes).unwrap_or_default();
        let own = said.get(key).and_then(text);
        let made = own.is_none() && said.get(action).and_then(Value::as_str) == Some("trigger");
        let named = own.unwrap_or_else(|| format!("{:032x}", made_up()));
        let told = made.then(|| (MADE_UP.to_owned(), named.clone().into_bytes()));
        let answer = submit(parts, taken, &admitted, told.into_iter().collect()).await?;
        Ok((answer, named))
    };
    match outcome.await {
        Err(failure) => refused(failure),
        Ok((answer, named)) => match invalid(&answer) {
            Some((status, message)) => (status, not_an_event(message)).into_response(),
            None => {
                let mut body = json!({"status": "success", "message": "Event processed"});
                body[key] = named.into();
                (good, Json(body)).into_response()
            }
        },
    }
}

/// Answers `POST /v2/change/enqueue`.
pub(super) async fn change(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    let outcome = async {
        let mut taken = take(&parts, request).await?;
        let admitted = admit(&parts, To::Format(decoder("pagerduty")), &mut taken).await?;
        if serde_json::from_slice::<Map<String, Value>>(&taken.bytes).is_err() {
            return Err(Failure::bad_request("not_json", "the body is no JSON object"));
        }
        count_nothing(&parts, admitted.origin.source.as_deref().unwrap_or_default());
        Ok(())
    };
    match outcome.await {
        Err(failure) => refused(failure),
        Ok(()) => {
            let body = json!({"status": "success", "message": "Change event processed"});
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
    }
}

fn refused(failure: Failure) -> Response {
    let word = match failure.status() {
        StatusCode::BAD_REQUEST => {
            return {
                let body = not_an_event(failure.message());
                failure.with(body)
            };
        }
        StatusCode::UNAUTHORIZED => "unauthorized",
        status if status.is_server_error() => "throttle exceeded",
        _ => "invalid request",
    };
    let body = Json(json!({"status": word, "message": failure.message(), "errors": []}));
    failure.with(body)
}

fn not_an_event(message: &str) -> Json<Value> {
    Json(json!({
        "status": "invalid event", "message": "Event object is invalid", "errors": [message],
    }))
}

/// Why the one event of a body was not taken.
fn invalid(answer: &Answer) -> Option<(StatusCode, &str)> {
    let first = answer.rejected.first().filter(|_| answer.accepted == 0)?;
    let refused = super::super::take::refusal(answer);
    let shape = || (StatusCode::BAD_REQUEST, first.message.as_str());
    refused.or_else(|| (first.reason == Reason::NotAnEvent).then(shape))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
