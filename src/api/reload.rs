//! `POST /-/reload`: the config anew, as SIGHUP does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Parts;
use super::failure::Failure;

/// A config that was put into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The parts whose settings are other ones now.
    pub changed: Vec<&'static str>,
    /// Keys that differ from what runs and need a restart.
    pub needs_restart: Vec<&'static str>,
}

/// What is wrong with a config, one line a key; the one before stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReloaded(pub Vec<String>);

/// Puts the config into force anew; blocks for as long as it takes to read it.
pub type Reload = Arc<dyn Fn() -> Result<Reloaded, NotReloaded> + Send + Sync>;

/// Answers `POST /-/reload`: 200 with what changed, 422 with what is wrong.
pub(super) async fn take(State(parts): State<Arc<Parts>>) -> Response {
    let Some(reload) = parts.reload.clone() else {
        let message = "this instance has no config file to read again";
        return Failure::new(StatusCode::NOT_FOUND, "no_config", message).into_response();
    };
    match tokio::task::spawn_blocking(move || reload()).await {
        Ok(Ok(Reloaded { changed, needs_restart })) => {
            Json(json!({"changed": changed, "needs_restart": needs_restart})).into_response()
        }
        Ok(Err(NotReloaded(problems))) => {
            let message = problems.join("\n");
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_config", message).into_response()
        }
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Failure::new(status, "internal", format!("reload: {error}")).into_response()
        }
    }
}
