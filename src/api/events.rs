//! `POST /v1/events`: reads a body within its bounds and waits until what it holds is durable.
//!
//! Reading the events out of the bytes is the intake's work. 202 stands for something durable; any
//! 503 may be sent again without harm.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Parts, Settings};
use crate::collect::Origin;
use crate::collect::decode::Incoming;
use crate::worker::intake::{Answer, Hold, Refused, Rejected};

/// How many rejected events an answer names; all of them are dead letters.
const NAMED_MAX: usize = 100;
/// How much of a body that is too large is read and thrown away, so that a client that sends before
/// it reads gets to see the answer.
const THROWN_AWAY_MAX: usize = 8 << 20;
const THROW_AWAY: Duration = Duration::from_secs(2);

/// Answers `POST /v1/events`.
pub(super) async fn take(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    answer(submit(&parts, &Origin::canonical(Origin::HTTP), request).await)
}

/// Answers `POST /v1/events/{source}`: payloads in the source's own format.
pub(super) async fn take_from(
    State(parts): State<Arc<Parts>>,
    Path(source): Path<String>,
    request: Request,
) -> Response {
    answer(match parts.collect.get().origin(Origin::HTTP, &source) {
        Ok(origin) => submit(&parts, &origin, request).await,
        Err(why) => {
            Err(Failure::new(StatusCode::NOT_FOUND, "no_such_source", why.to_string()).close())
        }
    })
}

fn answer(outcome: Result<Answer, Failure>) -> Response {
    outcome.map_or_else(IntoResponse::into_response, |answer| shown(&answer))
}

async fn submit(parts: &Parts, origin: &Origin, request: Request) -> Result<Answer, Failure> {
    let arrival = parts.clock.now();
    let Some(intake) = &parts.intake else {
        let message = "this instance takes no events; send them to one that runs the stage `api`";
        return Err(Failure::new(StatusCode::NOT_FOUND, "no_intake", message).close());
    };
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let headers = if origin.source.is_some() { headers(&request) } else { Vec::new() };
    let mut body = request.into_body();
    let mut hold = intake.hold();
    let settings = parts.settings.get();
    let read = read(&mut body, announced, &mut hold, &settings);
    let limit = settings.timeout.part(2);
    let bytes = tokio::select! {
        read = tokio::time::timeout(limit.to_std(), read) => match read {
            Ok(Err(failure)) if failure.too_large => {
                throw_away(&mut body).await;
                return Err(failure.failure);
            }
            Ok(read) => read.map_err(|failure| failure.failure)?,
            Err(_) => {
                let message = format!("the body was not complete within {limit}");
                return Err(
                    Failure::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message).close()
                );
            }
        },
        () = parts.stop.wait() => return Err(refused(&Refused::Closing).close()),
    };
    if parts.stop.is_begun() {
        return Err(refused(&Refused::Closing));
    }
    let incoming = Incoming { bytes: &bytes, headers: &headers, arrival, origin };
    intake.submit(&incoming, hold).await.map_err(|error| refused(&error))
}

/// The request's headers, for what reads a source's own format; their size was bounded when they were read.
fn headers(request: &Request) -> Vec<(String, Vec<u8>)> {
    let headers = request.headers().iter();
    headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

struct Unread {
    failure: Failure,
    too_large: bool,
}

/// The whole body. Room is taken for bytes that have arrived, not for those announced: holding
/// much of it costs a client that much sending.
async fn read(
    body: &mut Body,
    announced: Option<u64>,
    hold: &mut Hold,
    settings: &Settings,
) -> Result<Vec<u8>, Unread> {
    let max = settings.body_bytes;
    let too_large = || {
        let message = format!("the body is larger than {max} bytes; send the events in several");
        let failure = Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).close();
        Unread { failure, too_large: true }
    };
    if announced.is_some_and(|announced| announced > max as u64) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| {
            let message = format!("the body broke off: {error}");
            let failure = Failure::bad_request("broken_body", message).close();
            Unread { failure, too_large: false }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Err(too_large());
        }
        if !hold.grow(data.len()) {
            return Err(Unread { failure: refused(&Refused::Full).close(), too_large: false });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

async fn throw_away(body: &mut Body) {
    let rest = async {
        let mut thrown = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            thrown += frame.data_ref().map_or(0, |data| data.len());
            if thrown > THROWN_AWAY_MAX {
                break;
            }
        }
    };
    // Out of time is as good as done: the answer is given either way.
    drop(tokio::time::timeout(THROW_AWAY, rest).await);
}

fn refused(refused: &Refused) -> Failure {
    Failure::unavailable(refused.reason(), refused.to_string())
}

fn shown(answer: &Answer) -> Response {
    let rejected: Vec<Value> = answer.rejected.iter().take(NAMED_MAX).map(named).collect();
    let mut body = match answer.rejected.first() {
        Some(first) if answer.accepted == 0 => {
            let more = match answer.rejected.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            Failure::body(first.reason.as_str(), &format!("{}{more}", first.message))
        }
        _ => json!({}),
    };
    body["accepted"] = answer.accepted.into();
    body["rejected"] = rejected.into();
    if !answer.ignored.is_empty() {
        let ignored = answer.ignored.iter().take(NAMED_MAX).map(String::as_str);
        body["ignored"] = ignored.collect::<Vec<_>>().into();
    }
    if answer.rejected.len() > NAMED_MAX {
        body["rejected_total"] = answer.rejected.len().into();
    }
    let nothing_good =
        answer.accepted == 0 && answer.ignored.is_empty() && !answer.rejected.is_empty();
    let status = if nothing_good { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    (status, Json(body)).into_response()
}

fn named(rejected: &Rejected) -> Value {
    let Rejected { index, reason, message } = rejected;
    json!({"index": index, "reason": reason.as_str(), "message": message})
}
