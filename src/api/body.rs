//! Reads the small JSON bodies of questions and wishes; those of events are `take`'s.

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::Parts;
use super::failure::Failure;

/// The largest body, in bytes.
const BODY_MAX: usize = 256 << 10;

/// A body, which must be there within `part` of the time for the whole request, such as a half for 2.
pub(super) async fn json<T: DeserializeOwned>(
    parts: &Parts,
    body: Body,
    part: i64,
) -> Result<T, Failure> {
    let limit = parts.settings.get().timeout.part(part);
    let read = tokio::time::timeout(limit.to_std(), to_bytes(body, BODY_MAX)).await;
    let bytes = read.map_err(|_| {
        let message = format!("the body was not complete within {limit}");
        Failure::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message).close()
    })?;
    let bytes = bytes.map_err(|_| {
        let message = format!("the body broke off or is larger than {BODY_MAX} bytes");
        Failure::bad_request("bad_body", message).close()
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::bad_request("bad_body", format!("the body is not as it should be: {error}"))
    })
}
