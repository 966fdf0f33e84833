//! `muster silences`: looks at silences and what they would mute, and creates, edits and expires them,
//! over the HTTP API.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Failure;
use super::asking::{Asking, Sending, Show, get, moment, post, text, time};
use super::client::Question;
use crate::api::path_segment;

const PATH: &str = "/v1/silences";

/// What all of it takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    action: Action,
}

/// A silence.
#[derive(Debug, Args)]
struct Silence {
    /// Which alerts, such as 'cluster="web"'; several must all hold.
    #[arg(long = "match", value_name = "MATCHER")]
    matchers: Vec<String>,
    /// When it starts: RFC 3339, or seconds or milliseconds since 1970; else now.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// When it ends.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How long it lasts from its start on, or from now on where that is later; such as 2h.
    #[arg(long, value_name = "DURATION", conflicts_with = "until")]
    r#for: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// How many alerts it would mute now: wanted where they are more than
    /// `notify.silences.confirm_above` (100).
    #[arg(long, value_name = "COUNT")]
    confirm: Option<u64>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List silences: those that mute first, then those to come, then those that are over.
    List {
        /// pending, active or expired; else all.
        #[arg(long)]
        state: Option<String>,
    },
    /// Show one silence.
    Show {
        /// Its id.
        id: String,
    },
    /// Say what matchers would mute now, and change nothing.
    Preview {
        /// Which alerts, such as 'cluster="web"'; several must all hold.
        #[arg(long = "match", value_name = "MATCHER", required = true)]
        matchers: Vec<String>,
    },
    /// Mute what matches, for a time.
    Create(Box<Silence>),
    /// Change a silence: what is given, and nothing else. One that is over mutes again.
    Edit {
        /// Its id.
        id: String,
        #[command(flatten)]
        silence: Box<Silence>,
    },
    /// End a silence now.
    Expire {
        /// Its id.
        id: String,
        #[command(flatten)]
        sending: Sending,
    },
}

/// Asks the API and prints its answer.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    options.asking.put(&question(options.action)?)
}

fn question(action: Action) -> Result<(Question, Show), Failure> {
    let one = |id: &str| format!("{PATH}/{}", path_segment(id));
    Ok(match action {
        Action::List { state } => {
            let (question, show) = get(PATH.to_owned(), show_list);
            (
                Question {
                    query: state.map(|state| ("state", state)).into_iter().collect(),
                    ..question
                },
                show,
            )
        }
        Action::Show { id } => get(one(&id), show_one),
        Action::Preview { matchers } => {
            let (question, show) = get(format!("{PATH}/preview"), show_preview);
            let body = Map::from_iter([("matchers".to_owned(), json!(matchers))]);
            (Question { method: Method::POST, body: Some(body), ..question }, show)
        }
        Action::Create(silence) => silence.question(None)?,
        Action::Edit { id, silence } => silence.question(Some(id))?,
        Action::Expire { id, sending } => {
            (post(format!("{}/expire", one(&id)), &sending, Vec::new())?.0, show_one)
        }
    })
}

impl Silence {
    fn question(self, edited: Option<String>) -> Result<(Question, Show), Failure> {
        let mut fields = Vec::new();
        let mut add = |name: &'static str, value: Option<Value>| {
            fields.extend(value.map(|value| (name, value)));
        };
        add("id", edited.map(Value::from));
        add("matchers", (!self.matchers.is_empty()).then(|| json!(self.matchers)));
        add("starts_at", self.from.map(|text| millis("--from", &text)).transpose()?);
        add("ends_at", self.until.map(|text| millis("--until", &text)).transpose()?);
        add("duration", self.r#for.map(Value::from));
        add("comment", self.comment.map(Value::from));
        add("confirm", self.confirm.map(Value::from));
        Ok((post(PATH.to_owned(), &self.sending, fields)?.0, show_one))
    }
}

/// A time as the API has it: milliseconds since 1970.
fn millis(option: &str, text: &str) -> Result<Value, Failure> {
    let read = moment(text).map(|time| time.as_millis().into());
    read.map_err(|why| Failure::usage(format!("{option}: {why}")))
}

fn show_list(answer: &Value) -> String {
    let mut silences: Vec<&Value> = answer["silences"].as_array().into_iter().flatten().collect();
    silences.sort_by_key(|silence| match text(silence, "state") {
        "active" => (0, silence["ends_at"].as_i64()),
        "pending" => (1, silence["starts_at"].as_i64()),
        // The one that ended last is the one that may be edited back.
        _ => (2, silence["ends_at"].as_i64().map(|at| -at)),
    });
    if silences.is_empty() {
        return "none".to_owned();
    }
    silences.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(silence: &Value) -> String {
    let state = text(silence, "state");
    let soon = match state {
        "pending" => format!("from {}", time(&silence["starts_at"])),
        "active" => format!("until {}", time(&silence["ends_at"])),
        _ => format!("ended {}", time(&silence["ends_at"])),
    };
    let (id, actor) = (text(silence, "id"), text(silence, "created_by"));
    format!("{id}  {state:<7}  {soon:<26}  {}  [by {actor}]", matchers(silence))
}

fn matchers(silence: &Value) -> String {
    let all = silence["matchers"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn show_one(silence: &Value) -> String {
    let mut lines = vec![line(silence)];
    if !text(silence, "comment").is_empty() {
        lines.push(format!("  comment: {}", text(silence, "comment")));
    }
    for (word, key) in [("from", "starts_at"), ("until", "ends_at")] {
        lines.push(format!("  {word}: {}", time(&silence[key])));
    }
    for (word, by, at) in
        [("created", "created_by", "created_at"), ("changed", "updated_by", "updated_at")]
    {
        lines.push(format!("  {word}: {} by {}", time(&silence[at]), text(silence, by)));
    }
    lines.join("\n")
}

fn show_preview(answer: &Value) -> String {
    let mut lines = vec![format!(
        "would mute {} firing alerts of {} incidents; {} of those incidents as a whole",
        answer["alerts"], answer["incidents"], answer["muted_incidents"]
    )];
    let sample = answer["sample"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(sample.iter().map(|one| format!("  {}  {}", text(one, "id"), text(one, "title"))));
    let more = answer["incidents"].as_u64().unwrap_or_default().saturating_sub(sample.len() as u64);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}
