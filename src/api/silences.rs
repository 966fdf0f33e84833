//! `/v1/silences`: list, show, preview, create, edit and expire; answered once durable.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as UrlQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Parts, body};
use crate::board::Desk;
use crate::board::desk::{Draft, Ends, Preview, Refusal};
use crate::model::silence::SilenceState;
use crate::model::{Matchers, Silence, SilenceId, Span, Timestamp};
use crate::wire;

/// A silence as somebody wants it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    id: Option<String>,
    request_id: String,
    actor: String,
    matchers: Option<Vec<String>>,
    starts_at: Option<i64>,
    ends_at: Option<i64>,
    duration: Option<String>,
    comment: Option<Box<str>>,
    confirm: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Over {
    request_id: String,
    actor: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Looked {
    matchers: Vec<String>,
}

/// Answers `GET /v1/silences`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    pairs: Result<UrlQuery<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let UrlQuery(pairs) =
        pairs.map_err(|error| Failure::bad_request("bad_query", error.body_text()))?;
    let mut wanted = None;
    for (name, value) in &pairs {
        let state = SilenceState::ALL.into_iter().find(|state| state.as_str() == value);
        match (name.as_str(), state) {
            ("state", Some(state)) => wanted = Some(state),
            ("state", None) => {
                let message = "`state` is one of pending, active and expired";
                return Err(Failure::bad_request("bad_query", message));
            }
            _ => {
                let message = "the only parameter here is state";
                return Err(Failure::bad_request("bad_query", message));
            }
        }
    }
    let (desk, now) = (desk(&parts)?, parts.clock.now());
    let all = desk.silences().all();
    let kept = all.iter().filter(|one| wanted.is_none_or(|state| one.state(now) == state));
    let shown: Vec<Value> = kept.map(|one| wire::silence::to_json(one, now)).collect();
    let as_of = desk.silences().as_of().as_millis();
    Ok(Json(json!({"silences": shown, "as_of": as_of})))
}

/// Answers `GET /v1/silences/{id}`.
pub(super) async fn one(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Failure> {
    let id = named(path)?;
    let found = desk(&parts)?.silences().get(id);
    let silence = found.ok_or_else(|| failure(&Refusal::Unknown(id)))?;
    Ok(Json(wire::silence::to_json(&silence, parts.clock.now())))
}

/// Answers `POST /v1/silences/preview`.
pub(super) async fn preview(
    State(parts): State<Arc<Parts>>,
    request: Request,
) -> Result<Json<Value>, Failure> {
    let Looked { matchers } = body::json(&parts, request.into_body(), 2).await?;
    let matchers = read_matchers(&matchers)?;
    let (desk, now) = (desk(&parts)?, parts.clock.now());
    let preview = apart(move || desk.preview(&matchers)).await?;
    let preview = preview.map_err(|refusal| failure(&refusal))?;
    let Preview { alerts, incidents, muted_incidents, sample, as_of } = preview;
    let sample: Vec<Value> = sample
        .into_iter()
        .map(|(id, title)| json!({"id": id.to_string(), "title": title}))
        .collect();
    Ok(Json(json!({
        "alerts": alerts, "incidents": incidents, "muted_incidents": muted_incidents,
        "sample": sample, "as_of": as_of.as_millis(), "age_ms": now.since(as_of).as_millis(),
    })))
}

/// Answers `POST /v1/silences`: makes one, or edits the one that `id` names.
pub(super) async fn submit(
    State(parts): State<Arc<Parts>>,
    request: Request,
) -> Result<Response, Failure> {
    let wanted: Wanted = body::json(&parts, request.into_body(), 2).await?;
    let bad = |message: String| Failure::bad_request("bad_silence", message);
    let ends = match (wanted.ends_at, wanted.duration) {
        (Some(_), Some(_)) => {
            return Err(bad("give `ends_at` or `duration`, not both".to_owned()));
        }
        (Some(at), None) => Some(Ends::At(Timestamp::from_millis(at))),
        (None, Some(text)) => {
            let span = Span::parse(&text).map_err(|error| bad(format!("`duration`: {error}")))?;
            Some(Ends::After(span))
        }
        (None, None) => None,
    };
    let id = wanted.id.as_deref().map(SilenceId::parse).transpose();
    let draft = Draft {
        actor: wanted.actor.into(),
        request: wanted.request_id.into(),
        edit: id.map_err(|error| Failure::bad_request("bad_id", error.to_string()))?,
        matchers: wanted.matchers.as_deref().map(read_matchers).transpose()?,
        starts_at: wanted.starts_at.map(Timestamp::from_millis),
        ends,
        comment: wanted.comment,
        confirm: wanted.confirm,
    };
    let desk = desk(&parts)?;
    answered(&parts, apart(move || desk.submit(&draft)).await?)
}

/// Answers `POST /v1/silences/{id}/expire`.
pub(super) async fn expire(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let id = named(path)?;
    let Over { request_id, actor } = body::json(&parts, request.into_body(), 2).await?;
    let desk = desk(&parts)?;
    answered(&parts, apart(move || desk.expire(id, &actor, &request_id)).await?)
}

fn answered(parts: &Parts, done: Result<Arc<Silence>, Refusal>) -> Result<Response, Failure> {
    match done {
        Ok(silence) => {
            Ok(Json(wire::silence::to_json(&silence, parts.clock.now())).into_response())
        }
        Err(Refusal::Confirm(count)) => {
            let mut body = Failure::body("confirm", &Refusal::Confirm(count).to_string());
            body["count"] = count.into();
            Ok((StatusCode::CONFLICT, Json(body)).into_response())
        }
        Err(refusal) => Err(failure(&refusal)),
    }
}

pub(super) fn failure(refusal: &Refusal) -> Failure {
    let message = refusal.to_string();
    match refusal {
        Refusal::Bad(_) => Failure::bad_request("bad_silence", message),
        Refusal::Unknown(_) => Failure::new(StatusCode::NOT_FOUND, "no_such_silence", message),
        Refusal::Confirm(_) => Failure::new(StatusCode::CONFLICT, "confirm", message),
        Refusal::Full(_) => Failure::new(StatusCode::CONFLICT, "too_many_silences", message),
        Refusal::NotCurrent => Failure::unavailable("not_current", message),
        Refusal::Journal(_) => Failure::unavailable("journal", message),
    }
}

pub(super) fn desk(parts: &Parts) -> Result<Arc<Desk>, Failure> {
    let Some(desk) = &parts.desk else {
        let message = "this instance runs without the stage `api`; ask one that has it";
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_board", message));
    };
    if desk.silences().is_loaded() {
        return Ok(Arc::clone(desk));
    }
    Err(failure(&Refusal::NotCurrent))
}

fn named(path: Result<Path<String>, PathRejection>) -> Result<SilenceId, Failure> {
    let bad = |message: String| Failure::bad_request("bad_id", message);
    let Path(text) = path.map_err(|error| bad(error.body_text()))?;
    SilenceId::parse(&text).map_err(|error| bad(error.to_string()))
}

fn read_matchers(texts: impl AsRef<[String]>) -> Result<Matchers, Failure> {
    Matchers::parse(texts.as_ref().iter().map(String::as_str))
        .map_err(|error| Failure::bad_request("bad_matcher", error.to_string()))
}

/// Looking at every alert takes milliseconds and a commit longer: not on a thread that others wait
/// for.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let failed = |_| Failure::unavailable("internal", "the request broke off; see the log");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}
