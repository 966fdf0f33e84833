//! What all commands over HTTP have in common: who asks, under which request id, and how the answer
//! is printed.
//!
//! What the API refuses exits 1 with its reason; what it does not understand exits 64.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value};

use super::Failure;
use super::client::{Api, Question, refused};
use crate::model::Timestamp;

/// How a command is sent.
#[derive(Debug, Args)]
pub(super) struct Sending {
    /// Who asks, as the timeline shows it; else the environment variable USER.
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// The request id: a command that is sent again under the same one is not done twice.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
}

/// How an answer is shown.
pub(super) type Show = fn(&Value) -> String;

/// The form in which an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text,
    /// As it is.
    Json,
}

impl Form {
    /// By the flag `--json`.
    pub(super) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Who is asked, and how the answer is printed.
#[derive(Debug, Args)]
pub(super) struct Asking {
    #[command(flatten)]
    pub(super) api: Api,
    /// Print the API's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

impl Asking {
    /// Asks the API and prints its answer.
    pub(super) fn put(&self, asked: &(Question, Show)) -> Result<ExitCode, Failure> {
        put(&self.api, Form::of(self.json), asked)
    }
}

/// Asks the API and prints its answer.
pub(super) fn put(
    api: &Api,
    form: Form,
    (question, show): &(Question, Show),
) -> Result<ExitCode, Failure> {
    let (status, answer) = api.put(question)?;
    let json = form == Form::Json;
    let text = if json { format!("{answer:#}") } else { show(&answer) };
    if status.is_success() {
        // Nobody reads what we say where the pipe was closed.
        return Ok(match writeln!(io::stdout().lock(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        });
    }
    if json {
        drop(writeln!(io::stdout().lock(), "{text}"));
    }
    Err(refused(status, &answer))
}

/// A question that changes nothing.
pub(super) fn get(path: String, show: Show) -> (Question, Show) {
    (Question { method: Method::GET, path, query: Vec::new(), body: None }, show)
}

/// A command.
pub(super) fn post(
    path: String,
    sending: &Sending,
    fields: Vec<(&'static str, Value)>,
) -> Result<(Question, Show), Failure> {
    let actor = sending.actor.clone().or_else(|| std::env::var("USER").ok());
    let Some(actor) = actor.filter(|name| !name.trim().is_empty()) else {
        return Err(Failure::usage("--as: missing, and USER is not set: who asks for this?"));
    };
    // Made here rather than by the API, so that it is known where no answer comes.
    let made = || format!("cli_{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let request = sending.request.clone().unwrap_or_else(made);
    let mut body: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    body.insert("actor".to_owned(), actor.into());
    body.insert("request_id".to_owned(), request.into());
    let question = Question { method: Method::POST, path, query: Vec::new(), body: Some(body) };
    Ok((question, show_result))
}

/// A text of an answer; empty where it is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A time as people write it on a command line.
///
/// # Errors
/// When it is none; says what would do.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    let read = match text.parse::<i64>() {
        Ok(number) => Timestamp::from_epoch(number),
        Err(_) => {
            let time = text.parse::<jiff::Timestamp>().ok();
            time.map(|time| Timestamp::from_millis(time.as_millisecond()))
        }
    };
    read.ok_or_else(|| {
        format!(
            "`{text}` is no time: give RFC 3339, such as 2026-05-01T22:00:00+02:00, or seconds or \
             milliseconds since 1970"
        )
    })
}

/// A time as people read it.
pub(super) fn time(value: &Value) -> String {
    let at = value.as_i64().map(Timestamp::from_millis);
    at.map_or_else(
        || "-".to_owned(),
        |at| {
            jiff::Timestamp::from_millisecond(at.as_millis())
                .map_or_else(|_| at.as_millis().to_string(), |at| format!("{at:.0}"))
        },
    )
}

/// What became of a command.
pub(super) fn show_result(answer: &Value) -> String {
    let said = match text(answer, "outcome") {
        "refused" => {
            format!("refused: {}", answer["error"]["message"].as_str().unwrap_or_default())
        }
        _ => text(answer, "message").to_owned(),
    };
    let mut lines = vec![said];
    let more = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(more.iter().filter_map(Value::as_str).map(|line| format!("  {line}")));
    lines.push(format!("request {}", text(answer, "request_id")));
    lines.join("\n")
}
