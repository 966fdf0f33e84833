//! HTTP: intake of events, incidents and what is done to them, metrics, health.
//!
//! An edge: it reads requests, holds them to their bounds and puts answers into JSON. What is
//! answered comes from the intake queue, the board and `telemetry`. Every refusal is
//! `{"error":{"reason","message"}}`, and nothing is answered 202 before it is durable.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::board::{Board, Desk};
use crate::clock::SharedClock;
use crate::collect;
use crate::live::Live;
use crate::model::{CorrelateSettings, Span};
use crate::shutdown::Shutdown;
use crate::telemetry::{Health, Metrics};
use crate::worker::commands::Commands;
use crate::worker::dead_letters::DeadLetters;
use crate::worker::intake::Intake;

mod body;
mod commands;
pub mod dead_letters;
mod events;
mod explain;
mod failure;
mod heartbeats;
mod incidents;
mod intakes;
mod maintenance;
pub mod reload;
mod senders;
pub mod server;
mod signatures;
mod silences;
mod sns;
mod status;
mod take;

pub use commands::path_segment;
use failure::Failure;
pub use senders::{Sender, Senders, TokenHash};
pub use server::{bind, serve};
pub use signatures::{Scheme, Signature, readable as readable_secret};
pub use sns::{Fetched, Outside};

/// What the HTTP server goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen (default 127.0.0.1:8080).
    pub listen: SocketAddr,
    /// The largest body, in bytes (default 1 MiB).
    pub body_bytes: usize,
    /// The time to send the request's head (default 5 s).
    pub header_timeout: Span,
    /// The time for the whole request, answer included (default 30 s); half of it is for the body,
    /// and a client that takes nothing of the answer for as long is cut off.
    pub timeout: Span,
    /// How many connections may be open at once (default 1,024); further ones wait.
    pub connections: usize,
    /// Who may send for which source (default: everybody for all).
    pub senders: Arc<Senders>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            body_bytes: 1 << 20,
            header_timeout: Span::from_secs(5),
            timeout: Span::from_secs(30),
            connections: 1_024,
            senders: Arc::default(),
        }
    }
}

/// What requests are answered from.
#[derive(Clone)]
pub struct Parts {
    /// Bounds; `listen` and `connections` are looked at once.
    pub settings: Live<Settings>,
    /// Puts the config into force anew; none where it cannot be read again.
    pub reload: Option<reload::Reload>,
    /// Stamps arrivals and tells how old the board is.
    pub clock: SharedClock,
    /// What readiness goes by.
    pub health: Health,
    /// What is scraped.
    pub metrics: Metrics,
    /// Where incidents are found; none where this instance runs without the stage `api`.
    pub board: Option<Arc<Board>>,
    /// Where commands go; none where this instance takes none.
    pub commands: Option<Commands>,
    /// Where silences are made and muting is known; none where this instance runs without `api`.
    pub desk: Option<Arc<Desk>>,
    /// What could not be read, and the way back in; none where this instance runs without `api`.
    pub dead_letters: Option<DeadLetters>,
    /// Collect's, for the sources and what reads them.
    pub collect: Live<collect::Settings>,
    /// Correlate's, for the maintenance plans of the config.
    pub rules: Live<CorrelateSettings>,
    /// Where events go; none where this instance takes none in.
    pub intake: Option<Intake>,
    /// How certificates and confirmations of SNS are got.
    pub outside: Outside,
    /// Once given, nothing more is taken in.
    pub stop: Shutdown,
}

/// Every route, with what holds for all of them.
pub fn router(parts: Parts) -> Router {
    let parts = Arc::new(parts);
    let begun = parts.clock.now();
    Router::new()
        .route("/v1/events", post(events::take_any))
        .route("/v1/events/{source}", post(events::take_from))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/retry", post(dead_letters::retry))
        .route("/v1/incidents", get(incidents::list))
        .route("/v1/incidents/resolve", post(commands::resolve))
        .route("/v1/incidents/{id}", get(incidents::one))
        .route("/-/reload", post(reload::take))
        .route("/v1/incidents/{id}/timeline", get(commands::timeline))
        .route("/v1/incidents/{id}/{action}", post(commands::on_incident))
        .route("/v1/maintenance", get(maintenance::list).post(maintenance::create))
        .route("/v1/maintenance/{id}", get(maintenance::one).put(maintenance::edit))
        .route("/v1/maintenance/{id}/end", post(maintenance::end))
        .route("/v1/commands/{name}", get(commands::result).post(commands::at_large))
        .route("/v1/incidents/{id}/explain", get(explain::incident))
        .route("/v1/alerts/{id}/explain", get(explain::alert))
        .route("/v1/heartbeats", get(heartbeats::list))
        .route("/v1/heartbeats/{name}", post(heartbeats::beat))
        .route("/v1/silences", get(silences::list).post(silences::submit))
        .route("/v1/silences/preview", post(silences::preview))
        .route("/v1/silences/{id}", get(silences::one))
        .route("/v1/silences/{id}/expire", post(silences::expire))
        .merge(intakes::routes(begun))
        .route("/metrics", get(status::metrics))
        .route("/health/live", get(status::live))
        .route("/health/ready", get(status::ready))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&parts), around))
        .with_state(parts)
}

/// Around every request: its time limit, the headers of every answer, and its count.
async fn around(State(parts): State<Arc<Parts>>, request: Request, next: Next) -> Response {
    // Never the path itself: anybody can make those up without end.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let limit = parts.settings.get().timeout;
    let answer = tokio::time::timeout(limit.to_std(), next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| {
        let message = format!(
            "no answer within {limit}; whether it took effect is not known, sending it again is safe"
        );
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message).again().into_response()
    });
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    parts.metrics.http_requests.with_label_values(&[route, response.status().as_str()]).inc();
    response
}

async fn no_such_route() -> Failure {
    let message = "there is nothing here; see /v1/events, /v1/incidents, /v1/maintenance, /v1/heartbeats, /v1/commands, /metrics, /health/ready";
    Failure::new(StatusCode::NOT_FOUND, "no_such_route", message)
}

async fn no_such_method() -> Failure {
    let message = "this address does not take this method; the `allow` header says which it takes";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", message)
}
