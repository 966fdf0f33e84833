//! Heartbeats over HTTP: beaten by a script, and listed with when the next one is due.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::failure::Failure;
use super::incidents::{Pairs, limit, loaded};
use super::{Parts, senders};
use crate::collect::heartbeats::record;
use crate::model::{Beating, Heartbeat, Span, Timestamp};

/// How many heartbeats an answer holds when the question does not say.
const LIMIT: usize = 1_000;
/// How many names a refusal lists.
const NAMED_MAX: usize = 20;
/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 512;
const STATES: [&str; 3] = ["ok", "missed", "waiting"];

/// Answers `POST /v1/heartbeats/{name}`.
pub(super) async fn beat(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<String>, PathRejection>,
    pairs: Result<Query<Pairs>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    senders::admit_beat(&parts, &headers)?;
    let Path(name) = path.map_err(|error| Failure::bad_request("bad_id", error.body_text()))?;
    let Query(pairs) =
        pairs.map_err(|error| Failure::bad_request("bad_query", error.body_text()))?;
    let rules = parts.rules.get();
    let Some(rule) = rules.heartbeats.iter().find(|rule| *rule.name == *name) else {
        return Err(unknown(&name, &rules.heartbeats));
    };
    let value = value(rule, &pairs)?;
    let Some(commands) = &parts.commands else {
        let message = "this instance runs without the stage `api`; ask one that has it";
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_such_route", message));
    };
    if parts.stop.is_begun() {
        let message = "this instance is stopping; send again in a moment, or to another one";
        return Err(Failure::unavailable("shutting_down", message));
    }
    let sent = commands.append(vec![record(rule, value, Span::ZERO)]).await;
    sent.map_err(|refused| Failure::unavailable(refused.reason(), refused.to_string()))?;
    Ok((StatusCode::ACCEPTED, Json(json!({"heartbeat": name}))).into_response())
}

/// The value that is beaten: there must be one exactly where the heartbeat has several.
fn value<'p>(rule: &Heartbeat, pairs: &'p [(String, String)]) -> Result<&'p str, Failure> {
    let bad = |message: String| Failure::bad_request("bad_query", message);
    let mut value = None;
    for (name, given) in pairs {
        let known = name == "value" || rule.each.as_deref() == Some(&**name);
        if !known || value.replace(given.as_str()).is_some() {
            let shown: String = name.chars().take(40).collect();
            let each = rule.each.as_deref().unwrap_or("value");
            return Err(bad(format!("`{shown}` is no parameter here, or not twice; `{each}` is")));
        }
    }
    match (rule.each.as_deref(), value) {
        (None, None) => Ok(""),
        (None, Some(_)) => {
            Err(bad(format!("the heartbeat `{}` has one value only; leave it out", rule.name)))
        }
        (Some(_), Some(value)) if !value.is_empty() && value.len() <= VALUE_BYTES_MAX => Ok(value),
        (Some(each), _) => Err(bad(format!(
            "the heartbeat `{}` is one of each {each}: say which, as `?{each}=`, with 1 to \
             {VALUE_BYTES_MAX} bytes",
            rule.name
        ))),
    }
}

fn unknown(name: &str, rules: &[Heartbeat]) -> Failure {
    let names: Vec<&str> = rules.iter().take(NAMED_MAX).map(|rule| &*rule.name).collect();
    let more = rules.len().saturating_sub(NAMED_MAX);
    let there = match (names.is_empty(), more) {
        (true, _) => "there is none; see correlate.heartbeats in the config".to_owned(),
        (false, 0) => format!("there are {}", names.join(", ")),
        (false, more) => format!("there are {} and {more} more", names.join(", ")),
    };
    let shown: String = name.chars().take(128).collect();
    let message = format!("no heartbeat `{shown}` is configured; {there}");
    Failure::new(StatusCode::NOT_FOUND, "unknown_heartbeat", message)
}

/// Answers `GET /v1/heartbeats`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    pairs: Result<Query<Pairs>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let Query(pairs) =
        pairs.map_err(|error| Failure::bad_request("bad_query", error.body_text()))?;
    let (mut name, mut state, mut most) = (None, None, LIMIT);
    for (key, given) in &pairs {
        match key.as_str() {
            "name" => name = Some(given.as_str()),
            "state" if STATES.contains(&&**given) => state = Some(given.as_str()),
            "limit" => most = limit(given)?,
            _ => {
                let message = "there are name, state (ok, missed, waiting) and limit";
                return Err(Failure::bad_request("bad_query", message));
            }
        }
    }
    let board = loaded(&parts)?;
    let as_of = board.as_of();
    let rules = parts.rules.get();
    let wanted = |row: &Beating| {
        name.is_none_or(|name| *row.name == *name) && state.is_none_or(|state| how(row) == state)
    };
    let all: Vec<Beating> = board.heartbeats().all().into_iter().filter(wanted).collect();
    let rule = |row: &Beating| rules.heartbeats.iter().find(|rule| rule.name == row.name);
    let heartbeats: Vec<Value> = all.iter().take(most).map(|row| shown(row, rule(row))).collect();
    let more = all.len() - heartbeats.len();
    Ok(Json(json!({"heartbeats": heartbeats, "more": more, "as_of": as_of.as_millis()})))
}

fn how(row: &Beating) -> &'static str {
    match (row.missed, row.beaten_at) {
        (Some(_), _) => "missed",
        (None, Some(_)) => "ok",
        (None, None) => "waiting",
    }
}

fn shown(row: &Beating, rule: Option<&Heartbeat>) -> Value {
    let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
    let due = row.due.filter(|_| row.missed.is_none());
    json!({
        "name": row.name,
        "value": Some(&row.value).filter(|value| !value.is_empty()),
        "state": how(row),
        "since": row.since.as_millis(),
        "last_beat": millis(row.beaten_at),
        "due_at": millis(due),
        "missed_since": millis(row.missed),
        "every": rule.map(|rule| rule.every.to_string()),
        "grace": rule.map(|rule| rule.grace.to_string()),
    })
}
