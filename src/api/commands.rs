//! What people ask for over HTTP: reads a command, has it written to correlate's log, and answers
//! with the result once that is committed.
//!
//! Whether it may be done is correlate's to decide. Every command has a request id, so that one
//! whose answer was lost can be sent again; where none is given, one is made and returned. The board
//! knows the shard of an incident, and the shard the partition; what concerns all shards goes to
//! each partition, and the results are added up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Parts;
use super::failure::Failure;
use super::incidents::{incident_id, loaded};
use crate::board::Board;
use crate::clock::Stopwatch;
use crate::model::command::{Outcome, Refused, Which};
use crate::model::maintenance::UNCONFIRMED_MAX;
use crate::model::{Action, Command, CommandResult, IncidentId, RequestId, Span, Timestamp};
use crate::wire;
use crate::wire::WireError;
use crate::wire::command::Fields;
use crate::worker::commands::Commands;

/// How long an answer is awaited before 202 says where it will be.
const WAIT: Duration = Duration::from_secs(5);
/// How long the board may take to show what a command did, once that is known.
const SHOWN_WITHIN: Duration = Duration::from_millis(500);
const SHOWN_EVERY: Duration = Duration::from_millis(5);
/// The largest command, in bytes.
const BODY_MAX: usize = 256 << 10;
/// The header that may hold the request id.
const KEY: &str = "idempotency-key";

type Named<T> = Result<Path<T>, PathRejection>;

/// Answers `POST /v1/incidents/{id}/{action}`.
pub(super) async fn on_incident(
    State(parts): State<Arc<Parts>>,
    path: Named<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    let Path((text, word)) = path.map_err(|error| bad(error.body_text()))?;
    let word = word.replace('-', "_");
    let field = match word.as_str() {
        "merge" => "into",
        "acknowledge" | "unacknowledge" | "assign" | "snooze" | "unsnooze" | "comment"
        | "split" | "split_all" => "incident",
        "resolve" => "incidents",
        _ => return Err(super::no_such_route().await),
    };
    let id = incident_id(&text)?.to_string();
    let id = if word == "resolve" { json!([id]) } else { json!(id) };
    let fields = timed_fields(&parts, request).await?;
    carry_out(&parts, fields, &word, Some((field, id))).await
}

/// Answers `POST /v1/incidents/resolve`.
pub(super) async fn resolve(
    State(parts): State<Arc<Parts>>,
    request: Request,
) -> Result<Response, Failure> {
    let fields = fields(&parts, request).await?;
    carry_out(&parts, fields, "resolve", None).await
}

/// Answers `POST /v1/commands/{action}`: what is about no incident of its own.
pub(super) async fn at_large(
    State(parts): State<Arc<Parts>>,
    path: Named<String>,
    request: Request,
) -> Result<Response, Failure> {
    let Path(word) = path.map_err(|error| bad(error.body_text()))?;
    let word = word.replace('-', "_");
    if !matches!(word.as_str(), "undo" | "recorrelate") {
        return Err(super::no_such_route().await);
    }
    let fields = fields(&parts, request).await?;
    carry_out(&parts, fields, &word, None).await
}

/// Answers `GET /v1/commands/{request_id}`.
pub(super) async fn result(
    State(parts): State<Arc<Parts>>,
    path: Named<String>,
) -> Result<Json<Value>, Failure> {
    let Path(text) = path.map_err(|error| bad(error.body_text()))?;
    let request = RequestId::parse(&text).map_err(|error| bad(error.to_string()))?;
    let results = loaded(&parts)?.results().of(&request);
    match Sum::of(&results) {
        Some(sum) => Ok(Json(sum.shown(&request))),
        None => {
            let message = format!(
                "nothing is known here of a command {request}, at least not yet; it is safe to send \
                 it again under the same request id"
            );
            Err(Failure::new(StatusCode::NOT_FOUND, "unknown_request", message))
        }
    }
}

/// Answers `GET /v1/incidents/{id}/timeline`.
pub(super) async fn timeline(
    State(parts): State<Arc<Parts>>,
    path: Named<String>,
) -> Result<Json<Value>, Failure> {
    let Path(text) = path.map_err(|error| bad(error.body_text()))?;
    let id = incident_id(&text)?;
    let board = loaded(&parts)?;
    let as_of = board.as_of();
    let shown = board.get(id).ok_or_else(|| unknown(id))?;
    let changes = shown.timeline.iter().map(|change| {
        let comment = change.comment.as_ref().map(wire::change::comment_to_json);
        json!({
            "revision": change.revision,
            "at": change.at.as_millis(),
            "change": change.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
            "status": change.status.as_str(),
            "firing": change.firing,
            "actor": change.actor,
            "assignee": change.assignee,
            "comment": comment,
            "reason": change.reason.map(|reason| reason.as_str()),
        })
    });
    let changes: Vec<Value> = changes.collect();
    // Whatever came before the board saw it, or was cut for room, is in `muster.incidents` only.
    let complete = shown.timeline.front().is_some_and(|first| first.revision == 1);
    Ok(Json(json!({
        "id": id.to_string(), "changes": changes, "complete": complete,
        "as_of": as_of.as_millis(),
    })))
}

/// The fields of a body, with the request id.
pub(super) async fn fields(parts: &Parts, request: Request) -> Result<Fields, Failure> {
    if parts.stop.is_begun() {
        let message = "this instance is stopping; send again in a moment, or to another one";
        return Err(Failure::unavailable("shutting_down", message));
    }
    let (head, body) = request.into_parts();
    let mut fields = read(parts, body).await?;
    let wrong = |error: WireError| bad(error.to_string());
    let key = key(&head.headers)?;
    if let Some(key) = key {
        fields.set("request_id", key).map_err(wrong)?;
    } else if !fields.has("request_id") {
        let made = format!("req_{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        fields.set("request_id", made).map_err(wrong)?;
    }
    Ok(fields)
}

/// The same, with the time that something ends as a command has it.
async fn timed_fields(parts: &Parts, request: Request) -> Result<Fields, Failure> {
    let mut fields = fields(parts, request).await?;
    let wrong = |error: WireError| bad(error.to_string());
    if let Some(span) = fields.text("for").map_err(wrong)? {
        let span = Span::parse(&span).map_err(|error| bad(format!("`for`: {error}")))?;
        if fields.has("until") {
            return Err(bad("give `until` or `for`, not both"));
        }
        fields.set("until", (parts.clock.now() + span).as_millis()).map_err(wrong)?;
    } else if let Some(until) = fields.take("until") {
        let at = moment(&until).ok_or_else(|| {
            bad("`until` is no time: give RFC 3339, or seconds or milliseconds since 1970")
        })?;
        fields.set("until", at.as_millis()).map_err(wrong)?;
    }
    Ok(fields)
}

async fn read(parts: &Parts, body: Body) -> Result<Fields, Failure> {
    let settings = parts.settings.get();
    let limit = settings.timeout.part(2).to_std();
    let max = BODY_MAX.min(settings.body_bytes);
    let bytes = match tokio::time::timeout(limit, to_bytes(body, max)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let message = format!("the body is larger than {max} bytes, or broke off");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).close());
        }
        Err(_) => {
            let message = "the body was not complete in time";
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Failure::new(status, "body_timeout", message).close());
        }
    };
    if bytes.is_empty() {
        return Ok(Fields::default());
    }
    Fields::parse(&bytes).map_err(|error| bad(error.to_string()))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let text = key.to_str().map_err(|_| bad("`Idempotency-Key` is not plain text"))?;
    Ok(Some(text.trim().to_owned()))
}

fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => Timestamp::from_epoch(number.as_i64()?),
        Value::String(text) => {
            let read = text.trim().parse::<jiff::Timestamp>().ok()?;
            Some(Timestamp::from_millis(read.as_millisecond()))
        }
        _ => None,
    }
}

/// Has a command written, and waits for what becomes of it.
pub(super) async fn carry_out(
    parts: &Parts,
    mut fields: Fields,
    word: &str,
    about: Option<(&'static str, Value)>,
) -> Result<Response, Failure> {
    let board = loaded(parts)?;
    let Some(commands) = &parts.commands else {
        let message = "this instance takes no commands; send them to one that runs the stage `api`";
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_commands", message));
    };
    let wrong = |error: WireError| bad(error.to_string());
    fields.set("action", word).map_err(wrong)?;
    if let Some((field, id)) = about {
        fields.set(field, id).map_err(wrong)?;
    }
    let command = wire::command::read(fields).map_err(wrong)?;
    let known = board.results().of(&command.request);
    if let Some(other) = known.iter().find(|known| *known.action != *command.action.as_str()) {
        let message = format!(
            "{} is the request id of a command to {}; another command needs another one",
            command.request, other.action
        );
        return Err(Failure::new(StatusCode::CONFLICT, "request_reused", message));
    }
    let count = |outcome: &str| {
        let action = command.action.as_str();
        parts.metrics.commands.with_label_values(&[action, outcome]).inc();
    };
    let errand = Errand { commands, board: &board, watch: Stopwatch::start() };
    let answer = errand.answered(&command).await?;
    count(match answer.status() {
        StatusCode::OK => "done",
        StatusCode::ACCEPTED => "pending",
        _ => "refused",
    });
    Ok(answer)
}

/// One command under way.
struct Errand<'a> {
    commands: &'a Commands,
    board: &'a Board,
    watch: Stopwatch,
}

type Targets = Vec<(u32, Command)>;

/// Which results count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// Those that will be the same, however often the command is sent.
    Final,
    /// Those that only say how many things it would touch as well.
    All,
}

/// What became of asking each partition for its count first.
enum Counted {
    /// They add up to what was confirmed: each gets its own.
    As(Targets),
    /// They do not, or are not known in time.
    Otherwise(Response),
}

impl Errand<'_> {
    /// Has a command written where it belongs, and waits for what becomes of it.
    async fn answered(&self, command: &Command) -> Result<Response, Failure> {
        let to = self.targets(command)?;
        if let Some(results) = self.results(&to, Take::Final) {
            // It was sent before.
            return Ok(self.answer(command, &results).await);
        }
        let plans = matches!(command.action, Action::MaintenancePut { .. });
        let counts = plans || (command.confirm.is_some() && command.action.is_counted());
        let to = if to.len() > 1 && counts {
            match self.counted(command, to).await? {
                Counted::As(to) => to,
                Counted::Otherwise(response) => return Ok(response),
            }
        } else {
            to
        };
        match self.run(&to).await? {
            Some(results) => Ok(self.answer(command, &results).await),
            None => Ok(pending(&command.request)),
        }
    }

    /// The partitions that a command goes to, and what each of them gets.
    fn targets(&self, command: &Command) -> Result<Targets, Failure> {
        let one = |id: IncidentId| Ok(vec![(self.partition(id)?, command.clone())]);
        match &command.action {
            Action::Acknowledge { incident, .. }
            | Action::Unacknowledge { incident }
            | Action::Assign { incident, .. }
            | Action::Snooze { incident, .. }
            | Action::Unsnooze { incident }
            | Action::Comment { incident, .. }
            | Action::Split { incident, .. }
            | Action::SplitAll { incident } => one(*incident),
            Action::Merge { into, from } => {
                let shard = self.shard(*into)?;
                for other in from {
                    if self.shard(*other)? != shard {
                        let message = format!("{into} and {other} are of different shards");
                        return Err(Failure::new(StatusCode::CONFLICT, "other_shard", message));
                    }
                }
                one(*into)
            }
            Action::Resolve(Which::Incidents(ids)) => {
                let mut by_partition: BTreeMap<u32, Vec<IncidentId>> = BTreeMap::new();
                for id in ids {
                    by_partition.entry(self.partition(*id)?).or_default().push(*id);
                }
                let right = command.confirm == Some(ids.len() as u64);
                let part = |(to, ids): (u32, Vec<IncidentId>)| {
                    // Each is to do its own; a wrong count is wrong for all of them.
                    let own = ids.len() as u64;
                    let confirm = if right { Some(own) } else { command.confirm };
                    let action = Action::Resolve(Which::Incidents(ids));
                    (to, Command { confirm, action, ..command.clone() })
                };
                Ok(by_partition.into_iter().map(part).collect())
            }
            Action::Recorrelate { shard: Some(shard), .. } => {
                Ok(vec![(self.commands.partition_of(shard), command.clone())])
            }
            Action::Resolve(Which::Matching(_))
            | Action::Undo { .. }
            | Action::Recorrelate { shard: None, .. }
            | Action::MaintenancePut { .. }
            | Action::MaintenanceEnd { .. } => {
                let all = self.commands.partitions().into_iter();
                Ok(all.map(|to| (to, command.clone())).collect())
            }
        }
    }

    fn shard(&self, id: IncidentId) -> Result<Box<str>, Failure> {
        self.board.get(id).map(|shown| shown.change.shard.clone()).ok_or_else(|| unknown(id))
    }

    fn partition(&self, id: IncidentId) -> Result<u32, Failure> {
        Ok(self.commands.partition_of(&self.shard(id)?))
    }

    /// Asks each partition how many things it would touch, and gives each its own count to confirm
    /// where they add up to what was confirmed.
    async fn counted(&self, command: &Command, to: Targets) -> Result<Counted, Failure> {
        let ask = |(to, command): &(u32, Command)| {
            (*to, Command { confirm: None, action: command.action.dry_run(), ..command.clone() })
        };
        let asked: Targets = to.iter().map(ask).collect();
        let Some(results) = self.run(&asked).await? else {
            return Ok(Counted::Otherwise(pending(&command.request)));
        };
        let counts: u64 = results.iter().map(|result| result.count).sum();
        let confirmed = match command.action {
            // Few need not be confirmed, and what else a partition refuses goes for all of them.
            Action::MaintenancePut { .. } => {
                let known = |result: &CommandResult| {
                    matches!(result.outcome, Outcome::Done | Outcome::Refused(Refused::Confirm))
                };
                let enough = command.confirm.is_some_and(|confirmed| confirmed >= counts);
                results.iter().all(known) && (enough || counts <= UNCONFIRMED_MAX)
            }
            _ => command.confirm == Some(counts),
        };
        if !confirmed {
            return Ok(Counted::Otherwise(self.answer(command, &results).await));
        }
        let own = |((to, command), result): ((u32, Command), &CommandResult)| {
            (to, Command { confirm: Some(result.count), ..command })
        };
        Ok(Counted::As(to.into_iter().zip(&results).map(own).collect()))
    }

    /// Writes commands and waits for their results, in the order of the partitions; none where
    /// they do not come in time.
    async fn run(&self, to: &Targets) -> Result<Option<Vec<CommandResult>>, Failure> {
        let mut news = self.board.results().news();
        if let Some((_, command)) = to.first() {
            // What a count was before is no matter; it may be another one by now.
            self.board.results().forget_counts(&command.request);
        }
        self.commands
            .send(to)
            .await
            .map_err(|error| Failure::unavailable(error.reason(), error.to_string()))?;
        loop {
            news.mark_unchanged();
            if let Some(results) = self.results(to, Take::All) {
                return Ok(Some(results));
            }
            let rest = WAIT.saturating_sub(self.watch.elapsed());
            if !matches!(tokio::time::timeout(rest, news.changed()).await, Ok(Ok(()))) {
                return Ok(None);
            }
        }
    }

    fn results(&self, to: &Targets, take: Take) -> Option<Vec<CommandResult>> {
        let (_, first) = to.first()?;
        let known = self.board.results().of(&first.request);
        to.iter()
            .map(|(partition, command)| {
                let ours = |known: &&CommandResult| {
                    // A count that was asked for is no answer to one that was confirmed.
                    let asks = known.outcome == Outcome::Refused(Refused::Confirm);
                    let counts = take == Take::All && known.confirm == command.confirm;
                    known.partition == *partition && (!asks || counts)
                };
                known.iter().find(ours).cloned()
            })
            .collect()
    }

    /// The answer, once the board shows what was done.
    async fn answer(&self, command: &Command, results: &[CommandResult]) -> Response {
        let Some(sum) = Sum::of(results) else { return pending(&command.request) };
        let shown = || {
            let mut changed = results.iter().flat_map(|result| &result.incidents);
            changed.all(|(id, revision)| {
                self.board.get(*id).is_none_or(|shown| shown.change.revision >= *revision)
            })
        };
        let watch = Stopwatch::start();
        while sum.outcome == Outcome::Done && !shown() && watch.elapsed() < SHOWN_WITHIN {
            tokio::time::sleep(SHOWN_EVERY).await;
        }
        (sum.status(), Json(sum.shown(&command.request))).into_response()
    }
}

/// The results of several partitions as one.
struct Sum<'a> {
    outcome: Outcome,
    count: u64,
    message: String,
    results: &'a [CommandResult],
}

impl<'a> Sum<'a> {
    /// Done where any did it and none refused but for not knowing of it; else why it was refused.
    fn of(results: &'a [CommandResult]) -> Option<Self> {
        let refused = |result: &&CommandResult| match result.outcome {
            Outcome::Done => None,
            Outcome::Refused(reason) => Some(reason),
        };
        // A partition that refused a plan does not know it when it ends.
        let elsewhere = |result: &&CommandResult| match refused(result) {
            Some(Refused::UnknownRequest) => results.len() > 1,
            Some(Refused::UnknownPlan) => *result.action == *"maintenance_end" && results.len() > 1,
            _ => false,
        };
        let done = results.iter().filter(|result| refused(result).is_none());
        let told = results
            .iter()
            .filter(|result| !elsewhere(result))
            // A number to confirm comes last: with it alone nothing is won.
            .max_by_key(|result| {
                let reason = refused(result);
                (reason.is_some(), reason != Some(Refused::Confirm), result.count)
            })
            .or(results.first())?;
        let count: u64 = results.iter().map(|result| result.count).sum();
        let did = done.count();
        let message = match told.outcome {
            // A partition found more between the question and the command.
            Outcome::Refused(Refused::Confirm) if did > 0 => format!(
                "{count} would be touched by now, and {did} of {} partitions did it already; to do it in all, send this again with `confirm` {count} and the same \
                 request id, {}",
                results.len(),
                told.request
            ),
            Outcome::Refused(Refused::Confirm) if results.len() > 1 => format!(
                "{count} would be touched; to do it, send this again with `confirm` {count}"
            ),
            Outcome::Refused(_) if did > 0 => format!(
                "{} of {} partitions did it; another one refused: {}",
                did,
                results.len(),
                told.message
            ),
            Outcome::Done if did > 1 && plan_of(told).is_none() => {
                format!("{count} done in {did} partitions")
            }
            _ => told.message.to_string(),
        };
        Some(Self { outcome: told.outcome, count, message, results })
    }

    fn status(&self) -> StatusCode {
        match self.outcome {
            Outcome::Done => StatusCode::OK,
            Outcome::Refused(reason) => match reason {
                Refused::UnknownIncident
                | Refused::UnknownAlert
                | Refused::UnknownRequest
                | Refused::UnknownPlan => StatusCode::NOT_FOUND,
                Refused::InThePast
                | Refused::Itself
                | Refused::OtherShard
                | Refused::InvalidPlan => StatusCode::BAD_REQUEST,
                Refused::NotSupported => StatusCode::NOT_IMPLEMENTED,
                Refused::Resolved
                | Refused::NotAcknowledged
                | Refused::NotSnoozed
                | Refused::Confirm
                | Refused::TooMany
                | Refused::Gone
                | Refused::InConfig
                | Refused::NothingLeft
                | Refused::NotUndoable => StatusCode::CONFLICT,
            },
        }
    }

    fn shown(&self, request: &RequestId) -> Value {
        let incidents = self.results.iter().flat_map(|result| &result.incidents);
        let incidents: Vec<Value> = incidents
            .map(|(id, revision)| json!({"id": id.to_string(), "revision": revision}))
            .collect();
        let plan = self.results.iter().find_map(plan_of);
        let lines = self.results.iter().filter(|result| plan_of(result).is_none());
        let lines: Vec<&str> = lines.flat_map(|result| &result.lines).map(AsRef::as_ref).collect();
        let mut body = match self.outcome {
            Outcome::Done => json!({"outcome": "done", "message": self.message}),
            Outcome::Refused(reason) => {
                let mut body = Failure::body(reason.as_str(), &self.message);
                body["outcome"] = "refused".into();
                body
            }
        };
        body["request_id"] = request.as_str().into();
        body["count"] = self.count.into();
        body["incidents"] = incidents.into();
        if !lines.is_empty() {
            body["lines"] = lines.into();
        }
        if let Some(plan) = plan {
            body["maintenance"] = plan;
        }
        body
    }
}

/// The maintenance plan that a command was about, which its result has as its only line.
fn plan_of(result: &CommandResult) -> Option<Value> {
    let about_plans = ["maintenance_put", "maintenance_end"].contains(&&*result.action);
    let line = result.lines.first().filter(|_| about_plans)?;
    serde_json::from_str(line).ok()
}

/// It is durable, and nothing more is known so far.
fn pending(request: &RequestId) -> Response {
    let place = format!("/v1/commands/{}", path_segment(request.as_str()));
    let body = json!({
        "request_id": request.as_str(), "outcome": "pending", "see": place,
        "message": "it is in the log; what became of it will be there",
    });
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// Text as one part of an address: what has a meaning there is written as its number.
#[must_use]
pub fn path_segment(text: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(part).collect()
}

pub(super) fn bad(message: impl Into<String>) -> Failure {
    Failure::bad_request("bad_command", message)
}

fn unknown(id: IncidentId) -> Failure {
    let message = format!("no incident {id} is open or was resolved lately");
    Failure::new(StatusCode::NOT_FOUND, "unknown_incident", message)
}
