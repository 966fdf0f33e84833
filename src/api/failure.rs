//! The form of every refusal: a status code, a word for programs and a sentence for people.

use axum::Json;
use axum::http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A request that is not answered as asked.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    reason: &'static str,
    message: String,
    again: bool,
    close: bool,
}

impl Failure {
    pub(super) fn new(
        status: StatusCode,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, reason, message: message.into(), again: false, close: false }
    }

    pub(super) fn bad_request(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, message)
    }

    /// Not now, but in a second.
    pub(super) fn unavailable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, message).again()
    }

    /// It may work in a second.
    pub(super) fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// The rest of the request was not read, so that the connection is of no more use.
    pub(super) fn close(mut self) -> Self {
        self.close = true;
        self
    }

    pub(super) fn body(reason: &str, message: &str) -> serde_json::Value {
        json!({"error": {"reason": reason, "message": message}})
    }
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The answer with a body of another form than ours.
    pub(super) fn with(self, body: impl IntoResponse) -> Response {
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if self.again {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Self::body(self.reason, &self.message);
        self.with(Json(body))
    }
}
