//! `muster heartbeats`: beats one, for scripts, and lists them, over the HTTP API.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::Failure;
use super::asking::{Asking, Show, get, text, time};
use super::client::Question;
use crate::api::path_segment;

const PATH: &str = "/v1/heartbeats";

/// What all of it takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List heartbeats with their last beat and when the next one is due.
    List {
        /// ok, missed or waiting; else all.
        #[arg(long)]
        state: Option<String>,
        /// Those of one heartbeat.
        #[arg(long)]
        name: Option<String>,
    },
    /// Beat a heartbeat.
    Beat {
        /// Its name.
        name: String,
        /// The host, or the value of the tag, where it is one of each.
        #[arg(long)]
        value: Option<String>,
    },
}

/// Asks the API and prints its answer.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    options.asking.put(&question(options.action))
}

fn question(action: Action) -> (Question, Show) {
    match action {
        Action::List { state, name } => {
            let (question, show) = get(PATH.to_owned(), show_list);
            let state = state.map(|state| ("state", state));
            let name = name.map(|name| ("name", name));
            (Question { query: state.into_iter().chain(name).collect(), ..question }, show)
        }
        Action::Beat { name, value } => {
            let path = format!("{PATH}/{}", path_segment(&name));
            let (question, show) = get(path, show_beat);
            let query = value.map(|value| ("value", value)).into_iter().collect();
            (Question { method: Method::POST, query, ..question }, show)
        }
    }
}

fn show_beat(answer: &Value) -> String {
    format!("{} beat", text(answer, "heartbeat"))
}

fn show_list(answer: &Value) -> String {
    let all: Vec<&Value> = answer["heartbeats"].as_array().into_iter().flatten().collect();
    if all.is_empty() {
        return "none".to_owned();
    }
    let mut lines: Vec<String> = all.into_iter().map(line).collect();
    let more = answer["more"].as_u64().unwrap_or_default();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

fn line(heartbeat: &Value) -> String {
    let state = text(heartbeat, "state");
    let soon = match state {
        "missed" => format!("since {}", time(&heartbeat["missed_since"])),
        _ if heartbeat["due_at"].is_null() => "not expected".to_owned(),
        _ => format!("due {}", time(&heartbeat["due_at"])),
    };
    let last = match heartbeat["last_beat"].is_null() {
        true => "never".to_owned(),
        false => time(&heartbeat["last_beat"]),
    };
    let value = match text(heartbeat, "value") {
        "" => String::new(),
        value => format!(" [{value}]"),
    };
    format!("{state:<7}  {soon:<26}  last {last}  {}{value}", text(heartbeat, "name"))
}
