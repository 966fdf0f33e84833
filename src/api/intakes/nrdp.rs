//! NRDP, as agents of Nagios speak it: a form with results of checks as JSON or XML.
//!
//! The answer is in the form of the question. The original answers everything with 200 and says in the
//! body how it went; here the status code says so as well, and the body is the same.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::Parts;
use super::super::failure::Failure;
use super::super::senders::{To, admit};
use super::super::take::{Taken, refusal, submit, take};
use super::decoder;
use crate::decoders::form;
use crate::stage::Reason;
use crate::worker::intake::Answer;

/// Answers `POST /nrdp/`.
pub(super) async fn take_in(State(parts): State<Arc<Parts>>, request: Request) -> Response {
    // Where the body is not even read, there is the query alone to tell the form by.
    let mut asked = Asked::of(request.uri().query().unwrap_or_default().as_bytes());
    let outcome = async {
        let mut taken = take(&parts, request).await?;
        join_query(&mut taken);
        asked = Asked::of(&taken.bytes);
        if asked.hello {
            return Ok(None);
        }
        let admitted = admit(&parts, To::Format(decoder("nagios")), &mut taken).await?;
        submit(&parts, taken, &admitted, Vec::new()).await.map(Some)
    };
    match outcome.await {
        Err(failure) => refused(failure, asked),
        Ok(None) => hello(),
        Ok(Some(answer)) => match invalid(&answer) {
            Some((status, _)) => {
                let word = if asked.json { "BAD JSON" } else { "BAD XML" };
                (status, said(asked, -1, word, None)).into_response()
            }
            None => {
                let count = answer.accepted + answer.ignored.len();
                let output = format!("{count} checks processed.");
                said(asked, 0, "OK", Some(&output)).into_response()
            }
        },
    }
}

/// Parameters may stand in the address as well.
fn join_query(taken: &mut Taken) {
    let Some(query) = taken.uri.query().map(str::to_owned) else { return };
    if !taken.bytes.is_empty() {
        taken.bytes.push(b'&');
    }
    taken.bytes.extend_from_slice(query.as_bytes());
}

/// What a form asks for.
#[derive(Clone, Copy, Default)]
struct Asked {
    json: bool,
    hello: bool,
    token: bool,
}

impl Asked {
    fn of(bytes: &[u8]) -> Self {
        let mut asked = Self::default();
        let (mut json, mut xml, mut wanted) = (false, false, None);
        for pair in bytes.split(|byte| *byte == b'&') {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(at);
            let value = value.strip_prefix(b"=").unwrap_or_default();
            // The long ones are only looked at by name.
            let short = || form::decoded(std::str::from_utf8(value).unwrap_or_default());
            match name.to_ascii_lowercase().as_slice() {
                b"json" | b"jsondata" => json |= !value.is_empty(),
                b"xml" | b"xmldata" => xml |= !value.is_empty(),
                b"token" => asked.token |= !value.is_empty(),
                b"cmd" if value.len() < 64 => asked.hello = short().eq_ignore_ascii_case("hello"),
                b"output_type" if value.len() < 64 => {
                    wanted = Some(short().to_ascii_lowercase().contains("json"));
                }
                _ => {}
            }
        }
        asked.json = wanted.unwrap_or(json && !xml);
        asked
    }
}

fn refused(failure: Failure, asked: Asked) -> Response {
    let word = match failure.status() {
        StatusCode::UNAUTHORIZED if asked.token => "BAD TOKEN",
        StatusCode::UNAUTHORIZED => "NO TOKEN",
        _ => failure.message(),
    };
    let body = said(asked, -1, word, None);
    failure.with(body)
}

/// The results in a form that were not taken at all: unreadable, or none at all.
fn invalid(answer: &Answer) -> Option<(StatusCode, &str)> {
    let first = answer.rejected.first().filter(|_| answer.accepted == 0)?;
    let none = first.index.is_none() && first.reason == Reason::NotAnEvent;
    refusal(answer).or_else(|| none.then_some((StatusCode::BAD_REQUEST, first.message.as_str())))
}

fn said(asked: Asked, status: i32, message: &str, output: Option<&str>) -> Response {
    if asked.json {
        let mut result = json!({"status": status, "message": message});
        if let Some(output) = output {
            result["meta"] = json!({"output": output});
        }
        return axum::Json(json!({"result": result})).into_response();
    }
    let meta = output.map_or_else(String::new, |output| {
        format!("    <meta>\n        <output>{}</output>\n    </meta>\n", escaped(output))
    });
    xml(format!(
        "<result>\n    <status>{status}</status>\n    <message>{}</message>\n{meta}</result>\n",
        escaped(message)
    ))
}

fn hello() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    xml(format!(
        "<response>\n  <status>0</status>\n  <message>OK</message>\n  <product>nrdp</product>\n  \
         <version>2.0.6 (muster {version})</version>\n</response>\n"
    ))
}

fn xml(body: String) -> Response {
    let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{body}");
    ([(CONTENT_TYPE, "text/xml")], Bytes::from(body)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
