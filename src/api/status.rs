//! `/metrics` and `/health`: whether the process lives, whether it can do its work, and how it does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Parts;
use super::failure::Failure;

/// Answers `GET /metrics` in Prometheus' text format.
pub(super) async fn metrics(State(parts): State<Arc<Parts>>) -> Response {
    if let Some(board) = parts.board.as_ref().filter(|board| board.is_loaded()) {
        // Taken at the scrape, so that it grows while nobody follows.
        let age = parts.clock.now().since(board.as_of());
        parts.metrics.board_age_seconds.set(age.to_std().as_secs_f64());
    }
    match parts.metrics.render() {
        Ok(text) => {
            ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Failure::new(status, "internal", format!("metrics: {error}")).into_response()
        }
    }
}

/// Answers `GET /health/live`: that it answers is the answer.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// Answers `GET /health/ready`: whether every part can do its work, and if not, why.
pub(super) async fn ready(State(parts): State<Arc<Parts>>) -> Response {
    let mut troubles = parts.health.troubles();
    if parts.stop.is_begun() {
        troubles.insert("shutdown".to_owned(), "this instance is stopping".to_owned());
    }
    if troubles.is_empty() {
        return Json(json!({"ready": true})).into_response();
    }
    let body = json!({"ready": false, "troubles": troubles});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
