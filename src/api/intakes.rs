//! Addresses of other systems, for senders that speak to those: they need a new URL only.
//!
//! One system a file: its addresses, and its answers and errors in its own form. All of them take a
//! body in the one way of `take`, for the source that the token names, or else the one that bears the
//! format's name. What no format could read is refused; what is readable but odd is taken, set aside as a
//! dead letter and counted, unless the original refuses just that.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::{any, get, post};

use super::Parts;
use super::failure::Failure;
use super::senders::{To, admit};
use super::take::{Taken, submit, take};
use crate::decoders::{self, Decoder};
use crate::model::Timestamp;
use crate::stage::{EventOutcome, Tally};
use crate::worker::intake::Answer;

mod alertmanager;
mod amtool;
mod bigpanda;
mod nrdp;
mod opsgenie;
mod pagerduty;

/// Every address; `begun` is when the process did.
pub(super) fn routes(begun: Timestamp) -> Router<Arc<Parts>> {
    let opsgenie = |router: Router<Arc<Parts>>, base: &str| {
        let one = format!("{base}/{{identifier}}");
        router
            .route(base, post(opsgenie::create))
            .route(&one, axum::routing::delete(opsgenie::delete))
            .route(&format!("{one}/{{action}}"), any(opsgenie::act))
    };
    let router = Router::new()
        .route("/api/v1/alerts", post(alertmanager::post_v1))
        .route("/api/v2/alerts", get(amtool::alerts).post(alertmanager::post_v2))
        .route("/api/v2/alerts/groups", get(amtool::groups))
        .route("/api/v2/silences", get(amtool::silences).post(amtool::submit))
        .route("/api/v2/silence/{id}", get(amtool::silence).delete(amtool::expire))
        .route("/api/v2/receivers", get(alertmanager::receivers))
        .route("/api/v2/status", get(move || alertmanager::status(begun)))
        .route("/-/ready", get(alertmanager::ready))
        .route("/-/healthy", get(alertmanager::healthy))
        .route("/data/v2/alerts", post(bigpanda::alerts))
        .route("/v2/enqueue", post(pagerduty::enqueue))
        .route("/v2/change/enqueue", post(pagerduty::change))
        .route("/generic/2010-04-15/create_event.json", post(pagerduty::create_event))
        .route("/nrdp", get(nrdp::take_in).post(nrdp::take_in))
        .route("/nrdp/", get(nrdp::take_in).post(nrdp::take_in));
    let router = opsgenie(router, "/v2/alerts");
    // The same for Jira Service Management, where Opsgenie's users are sent.
    opsgenie(router, "/jsm/ops/integration/v2/alerts")
}

fn decoder(name: &str) -> &'static Decoder {
    decoders::find(name).expect("the formats of these addresses are among them")
}

/// Takes a request in as it is. `told` says what goes along as headers of ours.
async fn take_as(
    parts: &Parts,
    format: &str,
    request: Request,
    told: impl FnOnce(&Taken) -> Vec<(String, Vec<u8>)>,
) -> Result<Answer, Failure> {
    let mut taken = take(parts, request).await?;
    let admitted = admit(parts, To::Format(decoder(format)), &mut taken).await?;
    let told = told(&taken);
    submit(parts, taken, &admitted, told).await
}

/// Counts what was read and says nothing of an alert.
fn count_nothing(parts: &Parts, source: &str) {
    let settings = parts.collect.get();
    let mut tally = Tally {
        events: vec![[0; EventOutcome::COUNT]; settings.sources.len()],
        ..Tally::default()
    };
    tally.events[settings.source(source).0][EventOutcome::Ignored.index()] += 1;
    parts.metrics.add(&tally);
}

/// An id that no other request has; no secret.
fn made_up() -> u128 {
    fastrand::u128(..)
}

/// The same as a UUID (version 4).
fn uuid() -> String {
    let digits = format!("{:032x}", made_up());
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!("{}-{}-4{}-a{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
}

/// A time as RFC 3339 has it.
fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.as_millis())
        .map_or_else(|_| "1970-01-01T00:00:00.000Z".to_owned(), |time| format!("{time:.3}"))
}
