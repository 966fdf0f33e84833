//! `/v1/dead-letters`: how many there are by reason and source, and reading them once more.
//!
//! Only what the journal holds is read again: nobody can pass off bytes of his own, or an arrival,
//! as those of a dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Parts, body};
use crate::model::{Span, Timestamp};
use crate::worker::dead_letters::{
    Asked, DeadLetters, Done, Filter, LetterId, Refusal, Survey, Which,
};

/// The most letters that one retry may name.
const NAMED_MAX: usize = 1_000;
/// The most letters that one answer shows, and how many it does unless asked.
const SHOWN_MAX: usize = 1_000;
const SHOWN: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    actor: String,
    /// Taken from whoever sends one with every command; a retry needs none, since what was taken
    /// is not offered again.
    #[serde(rename = "request_id")]
    _request: Option<String>,
    ids: Option<Vec<String>>,
    reason: Option<String>,
    source: Option<String>,
    since: Option<String>,
    confirm: Option<u64>,
}

/// Answers `GET /v1/dead-letters`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    pairs: Result<UrlQuery<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let bad = |message: String| Failure::bad_request("bad_query", message);
    let UrlQuery(pairs) = pairs.map_err(|error| bad(error.body_text()))?;
    let (mut filter, mut limit) = (Filter::default(), SHOWN);
    for (name, value) in pairs {
        match name.as_str() {
            "reason" => filter.reason = Some(value),
            "source" => filter.source = Some(value),
            "since" => filter.since = Some(since(&parts, &value).map_err(bad)?),
            "limit" => {
                let number = value.parse().ok().filter(|limit| *limit <= SHOWN_MAX);
                limit = number.ok_or_else(|| {
                    bad(format!("`limit`: `{value}` is no number up to {SHOWN_MAX}"))
                })?;
            }
            _ => return Err(bad("parameters here are reason, source, since, limit".to_owned())),
        }
    }
    let found = letters(&parts)?.survey(filter, time(&parts)).await;
    found.map(|survey| Json(shown(&survey, limit))).map_err(|refusal| failure(&refusal))
}

/// Answers `POST /v1/dead-letters/retry`.
pub(super) async fn retry(
    State(parts): State<Arc<Parts>>,
    request: Request,
) -> Result<Response, Failure> {
    if parts.stop.is_begun() {
        let message = "this instance is stopping; send again in a moment, or to another one";
        return Err(Failure::unavailable("shutting_down", message));
    }
    let bad = |message: String| Failure::bad_request("bad_retry", message);
    let wanted: Wanted = body::json(&parts, request.into_body(), 4).await?;
    let filter = Filter {
        ids: None,
        reason: wanted.reason,
        source: wanted.source,
        since: wanted.since.map(|ago| since(&parts, &ago)).transpose().map_err(bad)?,
    };
    let which = match wanted.ids {
        Some(_) if filter != Filter::default() => {
            return Err(bad("give `ids`, or what they match, not both".to_owned()));
        }
        Some(ids) if ids.is_empty() || ids.len() > NAMED_MAX => {
            return Err(bad(format!("`ids`: give 1 to {NAMED_MAX}")));
        }
        Some(ids) => {
            let ids = ids.iter().map(|id| LetterId::parse(id)).collect::<Result<_, _>>();
            Which::These(ids.map_err(|why| Failure::bad_request("bad_id", why))?)
        }
        None => Which::Matching(filter),
    };
    let Some(intake) = &parts.intake else {
        let message = "this instance takes no events; ask one that runs the stage `api`";
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_intake", message));
    };
    let asked = Asked { which, confirm: wanted.confirm, by: wanted.actor };
    let settings = parts.collect.get();
    let letters = letters(&parts)?;
    let done = letters.retry(asked, (intake, &settings), parts.clock.now(), time(&parts)).await;
    match done {
        Ok(done) => Ok(Json(told(&done)).into_response()),
        Err(Refusal::Confirm(count)) => {
            let mut body = Failure::body("confirm", &Refusal::Confirm(count).to_string());
            body["count"] = count.into();
            Ok((StatusCode::CONFLICT, Json(body)).into_response())
        }
        Err(refusal) => Err(failure(&refusal)),
    }
}

/// The time that lies so long ago.
fn since(parts: &Parts, ago: &str) -> Result<Timestamp, String> {
    let ago = Span::parse(ago).map_err(|error| format!("`since`: {error}"))?;
    Ok(parts.clock.now() - ago)
}

fn letters(parts: &Parts) -> Result<&DeadLetters, Failure> {
    parts.dead_letters.as_ref().ok_or_else(|| {
        let message = "this instance runs without the stage `api`; ask one that has it";
        Failure::new(StatusCode::NOT_FOUND, "no_dead_letters", message)
    })
}

/// How long the work may take: an answer must come within the time for a request.
fn time(parts: &Parts) -> Duration {
    parts.settings.get().timeout.part(3).to_std()
}

fn failure(refusal: &Refusal) -> Failure {
    let message = refusal.to_string();
    match refusal {
        Refusal::Busy => Failure::unavailable("busy", message),
        Refusal::Confirm(_) => Failure::new(StatusCode::CONFLICT, "confirm", message),
        Refusal::Unknown(_) => Failure::new(StatusCode::NOT_FOUND, "no_such_dead_letter", message),
        Refusal::Journal(_) => Failure::unavailable("journal_unavailable", message),
        Refusal::Intake(refused) => Failure::unavailable(refused.reason(), message),
    }
}

/// What there is: numbers, and the newest ones, the newest first.
#[must_use]
pub fn shown(survey: &Survey, limit: usize) -> Value {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for brief in survey.letters.values() {
        *counts.entry((&brief.reason, &brief.source)).or_default() += 1;
    }
    let counts: Vec<Value> = counts
        .into_iter()
        .map(
            |((reason, source), count)| json!({"reason": reason, "source": source, "count": count}),
        )
        .collect();
    let mut newest: Vec<_> = survey.letters.iter().collect();
    newest.sort_by_key(|(id, brief)| std::cmp::Reverse((brief.at, **id)));
    let newest = newest.into_iter().take(limit).map(|(id, brief)| {
        json!({
            "id": id.to_string(), "at": brief.at.as_millis(), "arrival": brief.arrival.as_millis(),
            "reason": &*brief.reason, "source": &*brief.source, "bytes": brief.bytes,
        })
    });
    json!({
        "total": survey.letters.len(), "counts": counts, "retried": survey.retried,
        "left_out": survey.left_out, "dead_letters": newest.collect::<Vec<_>>(),
    })
}

fn told(done: &Done) -> Value {
    let failed = done.failed.iter().take(SHOWN).map(|failed| {
        json!({
            "id": failed.id.to_string(), "reason": failed.reason, "message": failed.message,
        })
    });
    json!({
        "selected": done.selected, "taken": done.taken, "events": done.events,
        "already": done.already, "failed": done.failed.len(),
        "failures": failed.collect::<Vec<_>>(), "left": done.left, "stopped": done.stopped,
    })
}
