//! Alertmanager's API (v2 and v1), as Prometheus and other senders use it: alerts in, and what they ask
//! to see whether an Alertmanager is there.
//!
//! As the original does it, the good alerts of a batch are taken though others are bad, and the answer
//! is 400 then. Prometheus drops a batch that is refused and sends what fires again within a minute.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Parts;
use super::super::failure::Failure;
use super::super::take::refusal;
use super::{rfc3339, take_as};
use crate::model::Timestamp;
use crate::worker::intake::Answer;

/// The only receiver that is shown: what happens after intake is not Alertmanager's.
pub(super) const RECEIVER: &str = "muster";
/// The version of the API that this is; clients choose their ways by it.
const VERSION: &str = concat!("0.28.0+muster.", env!("CARGO_PKG_VERSION"));
/// How many bad alerts an answer names.
const NAMED_MAX: usize = 10;

/// Answers `POST /api/v2/alerts`.
pub(super) async fn post_v2(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    match take_as(&parts, "alertmanager", request, |_| live()).await {
        Err(failure) => error_v2(failure),
        Ok(answer) => match wrong(&answer) {
            Some((status, message)) => (status, Json(message)).into_response(),
            None => StatusCode::OK.into_response(),
        },
    }
}

/// Answers `POST /api/v1/alerts`.
pub(super) async fn post_v1(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    let error = |kind: &str, message: &str| {
        Json(json!({"status": "error", "errorType": kind, "error": message}))
    };
    match take_as(&parts, "alertmanager", request, |_| live()).await {
        Err(failure) => {
            let kind = if failure.status().is_server_error() { "server_error" } else { "bad_data" };
            let body = error(kind, failure.message());
            failure.with(body)
        }
        Ok(answer) => match wrong(&answer) {
            Some((status, message)) => (status, error("bad_data", &message)).into_response(),
            None => Json(json!({"status": "success"})).into_response(),
        },
    }
}

/// Prometheus says what holds now, again and again: so the order of arrival counts.
fn live() -> Vec<(String, Vec<u8>)> {
    vec![("muster-live".to_owned(), b"true".to_vec())]
}

/// What is wrong with any of the alerts.
fn wrong(answer: &Answer) -> Option<(StatusCode, String)> {
    if let Some((status, message)) = refusal(answer) {
        return Some((status, message.to_owned()));
    }
    let named: Vec<&str> =
        answer.rejected.iter().take(NAMED_MAX).map(|bad| bad.message.as_str()).collect();
    (!named.is_empty()).then(|| (StatusCode::BAD_REQUEST, named.join("; ")))
}

/// An error as its second version has it: a text.
pub(super) fn error_v2(failure: Failure) -> Response {
    let body = Json(failure.message().to_owned());
    failure.with(body)
}

/// Answers `GET /api/v2/status`.
pub(super) async fn status(begun: Timestamp) -> Json<Value> {
    Json(json!({
        "cluster": {"name": "", "status": "disabled", "peers": []},
        "config": {"original": format!("route:\n  receiver: {RECEIVER}\nreceivers:\n  - name: {RECEIVER}\n")},
        "uptime": rfc3339(begun),
        "versionInfo": {
            "version": VERSION, "branch": "", "revision": "", "buildDate": "", "buildUser": "",
            "goVersion": "",
        },
    }))
}

/// Answers `GET /api/v2/receivers`.
pub(super) async fn receivers() -> Json<Value> {
    Json(json!([{"name": RECEIVER}]))
}

/// Answers `GET /-/healthy`: that it answers is the answer.
pub(super) async fn healthy() -> &'static str {
    "OK"
}

/// Answers `GET /-/ready`.
pub(super) async fn ready(State(parts): State<Arc<Parts>>) -> Response {
    if parts.health.troubles().is_empty() && !parts.stop.is_begun() {
        return "OK".into_response();
    }
    let message = "not ready; /health/ready says why";
    Failure::unavailable("not_ready", message).with(message)
}
