//! `GET /v1/incidents` and `GET /v1/incidents/{id}`: what the board shows, and how old it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Parts;
use super::failure::Failure;
use crate::board::{Board, Query, Wanted};
use crate::model::{IncidentId, Matchers};
use crate::wire;

/// How many incidents an answer holds when the question does not say.
const LIMIT: usize = 100;
/// How many it holds at most.
const LIMIT_MAX: usize = 1_000;
/// How many matchers a question may have; each is held against every incident.
const MATCHERS_MAX: usize = 50;

pub(super) type Pairs = Vec<(String, String)>;

/// Answers `GET /v1/incidents`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    pairs: Result<UrlQuery<Pairs>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let UrlQuery(pairs) =
        pairs.map_err(|error| Failure::bad_request("bad_query", error.body_text()))?;
    let query = read(&pairs)?;
    let board = loaded(&parts)?;
    // Before reading, so that the age is never understated.
    let as_of = board.as_of();
    // A regular expression held against every incident takes milliseconds: not on a thread that
    // other requests wait for.
    let answer = tokio::task::spawn_blocking(move || {
        let page = board.list(&query);
        let incidents: Vec<Value> =
            page.incidents.iter().map(|shown| without_alerts(&shown.change)).collect();
        let next = page.next.map(|id| id.to_string());
        json!({"incidents": incidents, "next": next, "as_of": as_of.as_millis()})
    });
    let failed = |_| Failure::unavailable("internal", "the listing broke off; see the log");
    answer.await.map(Json).map_err(failed)
}

/// Answers `GET /v1/incidents/{id}`.
pub(super) async fn one(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Failure> {
    let Path(text) = path.map_err(|error| Failure::bad_request("bad_id", error.body_text()))?;
    let id = incident_id(&text)?;
    let board = loaded(&parts)?;
    let as_of = board.as_of();
    let Some(shown) = board.get(id) else {
        let message = format!("no incident {id} is open or was resolved lately");
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_such_incident", message));
    };
    let mut answer = wire::change::to_json(&shown.whole());
    answer["as_of"] = as_of.as_millis().into();
    Ok(Json(answer))
}

fn read(pairs: &[(String, String)]) -> Result<Query, Failure> {
    let mut query = Query { limit: LIMIT, ..Query::default() };
    let mut matchers = Vec::new();
    for (name, value) in pairs {
        match name.as_str() {
            "state" => query.wanted = wanted(value)?,
            "limit" => query.limit = limit(value)?,
            "cursor" => query.after = Some(incident_id(value)?),
            "match" => matchers.push(value.as_str()),
            _ => {
                let message = format!(
                    "`{}` is no parameter here; there are state, limit, cursor and match",
                    name.chars().take(40).collect::<String>()
                );
                return Err(Failure::bad_request("bad_query", message));
            }
        }
    }
    query.matchers = Matchers::parse(matchers)
        .map_err(|error| Failure::bad_request("bad_matcher", error.to_string()))?;
    if query.matchers.iter().count() > MATCHERS_MAX {
        let message = format!("more than {MATCHERS_MAX} matchers in one question");
        return Err(Failure::bad_request("bad_matcher", message));
    }
    Ok(query)
}

fn wanted(text: &str) -> Result<Wanted, Failure> {
    Wanted::ALL.into_iter().find(|wanted| wanted.as_str() == text).ok_or_else(|| {
        Failure::bad_request("bad_query", "`state` is one of open, resolved and all")
    })
}

pub(super) fn limit(text: &str) -> Result<usize, Failure> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        Failure::bad_request("bad_query", format!("`limit` is a number from 1 to {LIMIT_MAX}"))
    })
}

pub(super) fn incident_id(text: &str) -> Result<IncidentId, Failure> {
    IncidentId::parse(text).map_err(|error| Failure::bad_request("bad_id", error.to_string()))
}

pub(super) fn loaded(parts: &Parts) -> Result<Arc<Board>, Failure> {
    let Some(board) = &parts.board else {
        let message = "this instance runs without the stage `api`; ask one that has it";
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_board", message));
    };
    if board.is_loaded() {
        return Ok(Arc::clone(board));
    }
    let message = "the open incidents are still being loaded; /health/ready says how it goes";
    Err(Failure::unavailable("board_not_loaded", message))
}

fn without_alerts(change: &crate::model::Change) -> Value {
    let mut incident = wire::change::to_json(change);
    if let Some(fields) = incident.as_object_mut() {
        fields.remove("alerts");
    }
    incident
}
