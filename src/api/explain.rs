//! `GET /v1/incidents/{id}/explain` and `GET /v1/alerts/{id}/explain`: why alerts are together.
//!
//! The facts as JSON, and in `text` what they mean; `explain` writes that.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Parts;
use super::failure::Failure;
use super::incidents::{Pairs, incident_id, limit, loaded};
use crate::board::{Board, Shown};
use crate::explain::{self, Known, Page};
use crate::model::{AlertId, Change, IncidentId, Member};

/// How many alerts an answer explains when the question does not say.
const LIMIT: usize = 100;

/// Answers `GET /v1/incidents/{id}/explain`.
pub(super) async fn incident(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<String>, PathRejection>,
    pairs: Result<UrlQuery<Pairs>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let id = incident_id(&text_of(path)?)?;
    let UrlQuery(pairs) =
        pairs.map_err(|error| Failure::bad_request("bad_query", error.body_text()))?;
    let (after, limit) = page_of(&pairs)?;
    let board = loaded(&parts)?;
    // Before reading, so that the age is never understated.
    let as_of = board.as_of();
    let shown = board.get(id).ok_or_else(|| {
        let message = format!("no incident {id} is open or was resolved lately");
        Failure::new(StatusCode::NOT_FOUND, "no_such_incident", message)
    })?;
    let (alerts, before, behind) = shown.page(after, limit);
    let known = |id| known(&board, id);
    let page = Page { alerts: &alerts, before, after: behind };
    let mut answer = about(&shown.change);
    let next = alerts.last().filter(|_| behind > 0).map(|last| last.id.to_string());
    answer["text"] = explain::incident(&shown.change, page, &known).into();
    answer["alerts"] = alerts.iter().map(|one| alert_facts(&shown.change, one, &board)).collect();
    answer["incidents"] = named(&alerts, &board);
    answer["next"] = next.into();
    answer["as_of"] = as_of.as_millis().into();
    Ok(Json(answer))
}

/// Answers `GET /v1/alerts/{id}/explain`.
pub(super) async fn alert(
    State(parts): State<Arc<Parts>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Failure> {
    let text = text_of(path)?;
    let id =
        AlertId::parse(&text).map_err(|error| Failure::bad_request("bad_id", error.to_string()))?;
    let board = loaded(&parts)?;
    let as_of = board.as_of();
    let home: Option<Arc<Shown>> = board.of_alert(id);
    let found = home.as_ref().and_then(|shown| Some((&shown.change, shown.alert(id)?)));
    let (change, member) = found.ok_or_else(|| {
        let message =
            format!("no alert {id} is in an incident that is open or was resolved lately");
        Failure::new(StatusCode::NOT_FOUND, "no_such_alert", message)
    })?;
    let mut answer = about(change);
    answer["text"] = explain::alert(change, member, &|id| known(&board, id)).into();
    answer["alert"] = alert_facts(change, member, &board);
    answer["incidents"] = named(std::slice::from_ref(member), &board);
    answer["as_of"] = as_of.as_millis().into();
    Ok(Json(answer))
}

fn text_of(path: Result<Path<String>, PathRejection>) -> Result<String, Failure> {
    let Path(text) = path.map_err(|error| Failure::bad_request("bad_id", error.body_text()))?;
    Ok(text)
}

fn page_of(pairs: &[(String, String)]) -> Result<(Option<AlertId>, usize), Failure> {
    let (mut after, mut count) = (None, LIMIT);
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => count = limit(value)?,
            "cursor" => {
                let id = AlertId::parse(value)
                    .map_err(|error| Failure::bad_request("bad_id", error.to_string()))?;
                after = Some(id);
            }
            _ => {
                let name: String = name.chars().take(40).collect();
                let message = format!("`{name}` is no parameter here; there are limit and cursor");
                return Err(Failure::bad_request("bad_query", message));
            }
        }
    }
    Ok((after, count))
}

/// The incident, and the pairs that it still holds.
fn about(change: &Change) -> Value {
    let pairs: Vec<_> = change.pair.iter().chain(&change.further).collect();
    json!({
        "id": change.id,
        "title": change.title,
        "state": if change.is_open() { "open" } else { "resolved" },
        "status": change.status,
        "started_at": change.started_at,
        "counts": {"firing": change.counts.firing, "total": change.counts.total},
        "pairs": pairs,
        "held": change.is_held(),
        "hold": change.hold,
        "pairs_cut": change.further_cut,
        "stands_alone": explain::stands_alone(change),
        "continues": change.continues,
        "continued_by": change.continued_by,
    })
}

fn alert_facts(change: &Change, alert: &Member, board: &Board) -> Value {
    json!({
        "id": alert.id,
        "source": alert.source,
        "host": alert.host,
        "check": alert.check,
        "status": alert.status,
        "state": if alert.firing { "firing" } else { "resolved" },
        "started_at": alert.started_at,
        "why": alert.why,
        "near_misses": explain::near_misses(change, alert, &|id| known(board, id)),
    })
}

/// Title and state of each incident that is named and known.
fn named(alerts: &[Member], board: &Board) -> Value {
    let ids = alerts.iter().flat_map(|alert| &alert.why.turned_down).map(|one| one.incident);
    let known = |id| {
        let Known { title, open } = known(board, id)?;
        let state = if open { "open" } else { "resolved" };
        Some((id.to_string(), json!({"title": title, "state": state})))
    };
    Value::Object(ids.filter_map(known).collect())
}

fn known(board: &Board, id: IncidentId) -> Option<Known> {
    let shown = board.get(id)?;
    Some(Known { title: shown.change.title.clone(), open: shown.change.is_open() })
}
