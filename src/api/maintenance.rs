//! Planned work over HTTP: plans are put in force, edited and ended by commands, and shown with the
//! windows they have.
//!
//! What people asked for is on the board; plans of the config are shown as this instance's config has
//! them. Which window is open is told by this machine's clock, while correlate goes by its log's.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Parts;
use super::commands::{bad, carry_out, fields};
use super::failure::Failure;
use super::incidents::{Pairs, limit, loaded};
use crate::model::maintenance::PlanText;
use crate::model::{MaintenanceId, Timestamp, Window};
use crate::wire;
use crate::wire::WireError;
use crate::wire::command::Fields;
use crate::wire::maintenance::StoredPlan;

/// How many plans an answer holds when the question does not say.
const LIMIT: usize = 100;
/// What of a body is the command's; the rest is the plan's.
const OF_COMMAND: [&str; 3] = ["request_id", "actor", "confirm"];

type Named<T> = Result<Path<T>, PathRejection>;

/// Answers `GET /v1/maintenance`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    pairs: Result<Query<Pairs>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let Query(pairs) =
        pairs.map_err(|error| Failure::bad_request("bad_query", error.body_text()))?;
    let wanted = Wanted::read(&pairs)?;
    let board = loaded(&parts)?;
    let as_of = board.as_of();
    // The calendar of thousands of plans takes milliseconds: not on a thread that others wait for.
    let listing = tokio::task::spawn_blocking(move || {
        let (plans, next) = page(&wanted, all(&parts, board.plans().all()), parts.clock.now());
        json!({"maintenance": plans, "next": next, "as_of": as_of.as_millis()})
    });
    let failed = |_| Failure::unavailable("internal", "the listing broke off; see the log");
    listing.await.map(Json).map_err(failed)
}

/// Answers `GET /v1/maintenance/{id}`.
pub(super) async fn one(
    State(parts): State<Arc<Parts>>,
    path: Named<String>,
) -> Result<Json<Value>, Failure> {
    let id = id(path)?;
    let board = loaded(&parts)?;
    let as_of = board.as_of();
    let asked_for = board.plans().get(id).into_iter().collect();
    let found = all(&parts, asked_for).into_iter().find(|shown| shown.stored.plan.id == id);
    let Some(shown) = found else {
        let message = format!("no maintenance plan {id} is known, or none any more");
        return Err(Failure::new(StatusCode::NOT_FOUND, "unknown_plan", message));
    };
    let (_, mut answer) = shown.at(parts.clock.now());
    answer["as_of"] = as_of.as_millis().into();
    Ok(Json(answer))
}

/// Answers `POST /v1/maintenance`.
pub(super) async fn create(
    State(parts): State<Arc<Parts>>,
    request: Request,
) -> Result<Response, Failure> {
    let fields = fields(&parts, request).await?;
    if fields.has("id") {
        return Err(bad("`id`: a new plan gets its own; to edit one, PUT it to \
                        /v1/maintenance/{id}"));
    }
    put(&parts, fields, None).await
}

/// Answers `PUT /v1/maintenance/{id}`.
pub(super) async fn edit(
    State(parts): State<Arc<Parts>>,
    path: Named<String>,
    request: Request,
) -> Result<Response, Failure> {
    let id = id(path)?;
    let mut fields = fields(&parts, request).await?;
    fields.set("id", id.to_string()).map_err(wrong)?;
    put(&parts, fields, Some(id)).await
}

/// Answers `POST /v1/maintenance/{id}/end`.
pub(super) async fn end(
    State(parts): State<Arc<Parts>>,
    path: Named<String>,
    request: Request,
) -> Result<Response, Failure> {
    let id = id(path)?.to_string();
    let fields = fields(&parts, request).await?;
    carry_out(&parts, fields, "maintenance_end", Some(("id", id.into()))).await
}

/// Has a plan put in force: a new one, or in the place of the one with the id.
async fn put(
    parts: &Parts,
    mut fields: Fields,
    id: Option<MaintenanceId>,
) -> Result<Response, Failure> {
    let sent: Map<String, Value> = fields.take_others(&OF_COMMAND);
    let sent = Value::Object(sent).to_string();
    // Read here as well as by correlate: what is wrong with it is known before anything is written.
    let plan = wire::maintenance::read(&sent, id.unwrap_or(MaintenanceId::MIN), "")
        .map_err(|error| Failure::bad_request("invalid_plan", error.to_string()))?;
    let plan = wire::maintenance::text_to_json(&PlanText::from(&plan), id).to_string();
    carry_out(parts, fields, "maintenance_put", Some(("plan", plan.into()))).await
}

fn id(path: Named<String>) -> Result<MaintenanceId, Failure> {
    let Path(text) = path.map_err(|error| Failure::bad_request("bad_id", error.body_text()))?;
    read_id(&text)
}

fn read_id(text: &str) -> Result<MaintenanceId, Failure> {
    MaintenanceId::parse(text).map_err(|error| Failure::bad_request("bad_id", error.to_string()))
}

fn wrong(error: WireError) -> Failure {
    bad(error.to_string())
}

/// How far a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// A window is open.
    Open,
    /// A window will open.
    Planned,
    /// There is none any more.
    Over,
}

impl Stands {
    const ALL: [(&'static str, Self); 3] =
        [("open", Self::Open), ("planned", Self::Planned), ("over", Self::Over)];

    fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, stands)| *stands == self).map_or("", |(word, _)| word)
    }
}

/// What a listing asks for.
#[derive(Debug)]
struct Wanted {
    /// None: however far.
    stands: Option<Stands>,
    limit: usize,
    after: Option<MaintenanceId>,
}

impl Wanted {
    fn read(pairs: &[(String, String)]) -> Result<Self, Failure> {
        let mut wanted = Self { stands: None, limit: LIMIT, after: None };
        for (name, value) in pairs {
            match name.as_str() {
                "state" => wanted.stands = stands(value)?,
                "limit" => wanted.limit = limit(value)?,
                "cursor" => wanted.after = Some(read_id(value)?),
                _ => {
                    let message = format!(
                        "`{}` is no parameter here; there are state, limit and cursor",
                        name.chars().take(40).collect::<String>()
                    );
                    return Err(Failure::bad_request("bad_query", message));
                }
            }
        }
        Ok(wanted)
    }
}

fn stands(text: &str) -> Result<Option<Stands>, Failure> {
    if text == "all" {
        return Ok(None);
    }
    let known = Stands::ALL.into_iter().find(|(word, _)| *word == text);
    known.map(|(_, stands)| Some(stands)).ok_or_else(|| {
        Failure::bad_request("bad_query", "`state` is one of open, planned, over and all")
    })
}

/// A plan, and whose it is.
struct Shown {
    stored: Arc<StoredPlan>,
    in_config: bool,
}

/// The plans of the config and those that people asked for, by id.
fn all(parts: &Parts, asked_for: Vec<Arc<StoredPlan>>) -> Vec<Shown> {
    let asked_for = asked_for.into_iter().map(|stored| Shown { stored, in_config: false });
    let rules = parts.rules.get();
    let configured = rules.maintenance.iter().map(|plan| Shown {
        stored: Arc::new(StoredPlan { plan: plan.clone(), ended_at: None }),
        in_config: true,
    });
    let mut all: Vec<Shown> = asked_for.chain(configured).collect();
    all.sort_by_key(|shown| shown.stored.plan.id);
    all
}

/// The plans that are wanted, and after which one to go on where there are more.
fn page(wanted: &Wanted, all: Vec<Shown>, now: Timestamp) -> (Vec<Value>, Option<String>) {
    let mut plans = Vec::new();
    let mut last = None;
    for shown in all {
        let id = shown.stored.plan.id;
        if wanted.after.is_some_and(|after| id <= after) {
            continue;
        }
        let (stands, plan) = shown.at(now);
        if wanted.stands.is_some_and(|wanted| wanted != stands) {
            continue;
        }
        if plans.len() == wanted.limit {
            return (plans, last);
        }
        plans.push(plan);
        last = Some(id.to_string());
    }
    (plans, None)
}

impl Shown {
    /// How far it is, and the plan in the config's words with its windows.
    fn at(&self, now: Timestamp) -> (Stands, Value) {
        let StoredPlan { plan, ended_at } = &*self.stored;
        let goes_on = ended_at.is_none();
        let window = plan.schedule.active_at(now).filter(|_| goes_on);
        let mut windows = plan.schedule.windows(now);
        let next = windows.find(|window| window.start > now).filter(|_| goes_on);
        let stands = match (window, next) {
            (Some(_), _) => Stands::Open,
            (None, Some(_)) => Stands::Planned,
            (None, None) => Stands::Over,
        };
        let shown = |window: Option<Window>| {
            window.map(|Window { start, end }| {
                json!({"starts_at": start.as_millis(), "ends_at": end.as_millis()})
            })
        };
        let mut value = wire::maintenance::to_json(plan);
        value["state"] = stands.as_str().into();
        value["in_config"] = self.in_config.into();
        value["window"] = shown(window).into();
        value["next"] = shown(next).into();
        value["ended_at"] = ended_at.map(Timestamp::as_millis).into();
        (stands, value)
    }
}
