//! BigPanda's Alerts API.
//!
//! 201 also for what it takes twice: its own clients take the 204 of the original for a failure.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Parts;
use super::super::take::refusal;
use super::take_as;

/// Answers `POST /data/v2/alerts`.
pub(super) async fn alerts(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    match take_as(&parts, "bigpanda", request, |_| Vec::new()).await {
        Err(failure) => {
            let body = error(failure.status(), failure.message());
            failure.with(body)
        }
        Ok(answer) => match refusal(&answer) {
            Some((status, message)) => (status, error(status, message)).into_response(),
            None => (StatusCode::CREATED, Json(json!({"status": "created"}))).into_response(),
        },
    }
}

fn error(status: StatusCode, message: &str) -> Json<Value> {
    Json(json!({"status": status.as_u16(), "errors": [message]}))
}
