//! `muster incidents`: looks at incidents and does something to them, over the HTTP API.
//!
//! Every command has a request id, printed where the answer is not known, so that it can be sent
//! again with `--request` without being done twice. What the API refuses exits 1 with its reason;
//! what the API does not understand exits 64.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::asking::{Asking, Sending, Show, get, post, show_result, text, time};
use super::client::Question;
use crate::api::path_segment;

/// What all of it takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    action: Action,
}

/// When something ends by itself.
#[derive(Debug, Args)]
struct When {
    /// When it ends by itself: RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// After how long it ends by itself, such as 2h.
    #[arg(long, value_name = "DURATION", conflicts_with = "until")]
    r#for: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List incidents, newest start first.
    List {
        /// open, resolved or all.
        #[arg(long, default_value = "open")]
        state: String,
        /// Only those that fulfil the matcher, such as 'env="prod"'; several must all hold.
        #[arg(long = "match", value_name = "MATCHER")]
        matchers: Vec<String>,
        /// At most this many, up to 1000.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one incident with its alerts.
    Show {
        /// Its id.
        id: String,
    },
    /// Show what happened to an incident, oldest first.
    Timeline {
        /// Its id.
        id: String,
    },
    /// Say that you take care; ends with the resolve.
    Acknowledge {
        /// Its id.
        id: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        sending: Sending,
    },
    /// Say that nobody takes care any more.
    Unacknowledge {
        /// Its id.
        id: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Make it somebody's, or nobody's.
    Assign {
        /// Its id.
        id: String,
        /// Whose; nobody's where it is left out.
        to: Option<String>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Keep it quiet for a time.
    Snooze {
        /// Its id.
        id: String,
        #[command(flatten)]
        when: When,
        /// What ends it before: new_alert, worse, reopened; several with commas.
        #[arg(long, value_delimiter = ',', value_name = "CAUSE")]
        ends_on: Vec<String>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Keep it quiet no more.
    Unsnooze {
        /// Its id.
        id: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Resolve incidents by hand, whatever their checks say.
    Resolve {
        /// Their ids.
        #[arg(required_unless_present = "matchers")]
        ids: Vec<String>,
        /// Instead of ids: every open one that fulfils the matcher; several must all hold.
        #[arg(long = "match", value_name = "MATCHER", conflicts_with = "ids")]
        matchers: Vec<String>,
        /// How many incidents that is, as a first try without it tells.
        #[arg(long, value_name = "COUNT")]
        confirm: Option<u64>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Put a remark into the timeline.
    Comment {
        /// Its id.
        id: String,
        /// The remark.
        text: String,
        /// Tell receivers as well.
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        sending: Sending,
    },
    /// Move the alerts of incidents into another one.
    Merge {
        /// The id of the one that stays.
        into: String,
        /// The ids of those that end.
        #[arg(required = true)]
        from: Vec<String>,
        /// How many alerts it moves: wanted where they are more than 100.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Move alerts into an incident of their own.
    Split {
        /// The incident's id.
        id: String,
        /// The alerts' ids.
        #[arg(required = true)]
        alerts: Vec<String>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Move each alert into an incident of its own.
    SplitAll {
        /// The incident's id.
        id: String,
        /// How many incidents it opens: wanted where they are more than 10.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Undo a merge, a split or a resolve by hand, within `reopen_window`.
    Undo {
        /// The request id of what is to be undone.
        undone: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Show what the present patterns would change of open incidents, or with `--confirm` do it.
    Recorrelate {
        /// Only those of this shard.
        #[arg(long, value_name = "NAME")]
        shard: Option<String>,
        /// How many alerts it moves, as it was shown.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Show what became of a command.
    Result {
        /// Its request id.
        request: String,
    },
}

/// Asks the API and prints its answer.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    options.asking.put(&question(options.action)?)
}

/// What is asked, and how the answer is shown.
fn question(action: Action) -> Result<(Question, Show), Failure> {
    let on = |id: &str, word: &str| format!("/v1/incidents/{}/{word}", path_segment(id));
    Ok(match action {
        Action::List { state, matchers, limit } => {
            let mut query = vec![("state", state), ("limit", limit.to_string())];
            query.extend(matchers.into_iter().map(|matcher| ("match", matcher)));
            let (question, show) = get("/v1/incidents".to_owned(), show_list);
            (Question { query, ..question }, show)
        }
        Action::Show { id } => get(format!("/v1/incidents/{}", path_segment(&id)), show_one),
        Action::Timeline { id } => get(on(&id, "timeline"), show_timeline),
        Action::Result { request } => {
            get(format!("/v1/commands/{}", path_segment(&request)), show_result)
        }
        Action::Acknowledge { id, when, sending } => {
            post(on(&id, "acknowledge"), &sending, when.fields())?
        }
        Action::Unacknowledge { id, sending } => {
            post(on(&id, "unacknowledge"), &sending, Vec::new())?
        }
        Action::Assign { id, to, sending } => {
            let to = to.map(|to| ("to", json!(to)));
            post(on(&id, "assign"), &sending, to.into_iter().collect())?
        }
        Action::Snooze { id, when, ends_on, sending } => {
            let mut fields = when.fields();
            if !ends_on.is_empty() {
                fields.push(("ends_on", json!(ends_on)));
            }
            post(on(&id, "snooze"), &sending, fields)?
        }
        Action::Unsnooze { id, sending } => post(on(&id, "unsnooze"), &sending, Vec::new())?,
        Action::Resolve { ids, matchers, confirm, sending } => {
            let mut fields = Vec::new();
            if !ids.is_empty() {
                fields.push(("incidents", json!(ids)));
            }
            if !matchers.is_empty() {
                fields.push(("match", json!(matchers)));
            }
            fields.extend(confirm.map(|count| ("confirm", json!(count))));
            post("/v1/incidents/resolve".to_owned(), &sending, fields)?
        }
        Action::Comment { id, text, public, sending } => {
            let fields = vec![("text", json!(text)), ("public", json!(public))];
            post(on(&id, "comment"), &sending, fields)?
        }
        Action::Merge { into, from, confirm, sending } => {
            let mut fields = vec![("from", json!(from))];
            fields.extend(confirm.map(|count| ("confirm", json!(count))));
            post(on(&into, "merge"), &sending, fields)?
        }
        Action::Split { id, alerts, sending } => {
            post(on(&id, "split"), &sending, vec![("alerts", json!(alerts))])?
        }
        Action::SplitAll { id, confirm, sending } => {
            let fields = confirm.map(|count| ("confirm", json!(count)));
            post(on(&id, "split-all"), &sending, fields.into_iter().collect())?
        }
        Action::Recorrelate { shard, confirm, sending } => {
            let mut fields = vec![("apply", json!(confirm.is_some()))];
            fields.extend(shard.map(|shard| ("shard", json!(shard))));
            fields.extend(confirm.map(|count| ("confirm", json!(count))));
            post("/v1/commands/recorrelate".to_owned(), &sending, fields)?
        }
        Action::Undo { undone, sending } => {
            post("/v1/commands/undo".to_owned(), &sending, vec![("request", json!(undone))])?
        }
    })
}

impl When {
    fn fields(self) -> Vec<(&'static str, Value)> {
        let until = self.until.map(|until| match until.parse::<i64>() {
            Ok(number) => ("until", json!(number)),
            Err(_) => ("until", json!(until)),
        });
        until.into_iter().chain(self.r#for.map(|span| ("for", json!(span)))).collect()
    }
}

fn show_list(answer: &Value) -> String {
    let incidents = answer["incidents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = incidents.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    if !answer["next"].is_null() {
        lines.push("there are more; narrow with --match, or raise --limit".to_owned());
    }
    lines.join("\n")
}

fn line(incident: &Value) -> String {
    let status = match text(incident, "state") {
        "open" => text(incident, "status"),
        _ => "resolved",
    };
    let mut marks = Vec::new();
    if let Some(by) = incident["acknowledged"]["by"].as_str() {
        marks.push(format!("acknowledged by {by}"));
    }
    if let Some(to) = incident["assignee"].as_str() {
        marks.push(format!("{to}'s"));
    }
    if !incident["snoozed_until"].is_null() {
        marks.push(format!("snoozed until {}", time(&incident["snoozed_until"])));
    }
    if incident["held"] == json!(true) {
        marks.push("held".to_owned());
    }
    let marks = if marks.is_empty() { String::new() } else { format!("  [{}]", marks.join(", ")) };
    format!(
        "{}  {}  {status:<8}  {:>4} firing  {}{marks}",
        text(incident, "id"),
        time(&incident["started_at"]),
        incident["counts"]["firing"],
        text(incident, "title"),
    )
}

fn show_one(answer: &Value) -> String {
    let mut lines = vec![line(answer)];
    if let Some(reason) = answer["reason"].as_str() {
        lines.push(format!("  resolved {} ({reason})", time(&answer["ended_at"])));
    }
    for alert in answer["alerts"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let place = match text(alert, "check") {
            "" => text(alert, "host").to_owned(),
            check => format!("{}/{check}", text(alert, "host")),
        };
        let state = match text(alert, "state") {
            "firing" => text(alert, "status"),
            over => over,
        };
        let (id, source) = (text(alert, "id"), text(alert, "source"));
        let description = text(alert, "description").lines().next().unwrap_or_default();
        lines.push(format!("  {id}  {state:<8}  {source} {place}  {description}"));
    }
    lines.join("\n")
}

fn show_timeline(answer: &Value) -> String {
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = changes.iter().map(happened).collect();
    if answer["complete"] != json!(true) {
        lines.insert(0, "(what came before is in muster.incidents only)".to_owned());
    }
    lines.join("\n")
}

fn happened(change: &Value) -> String {
    let kinds = change["change"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
    let mut line = format!(
        "{}  {}  {}, {} firing",
        time(&change["at"]),
        kinds.join("+"),
        text(change, "status"),
        change["firing"],
    );
    if let Some(actor) = change["actor"].as_str() {
        line.push_str(&format!("  by {actor}"));
    }
    if kinds.contains(&"assigned") {
        line.push_str(&format!("  to {}", change["assignee"].as_str().unwrap_or("nobody")));
    }
    if let Some(reason) = change["reason"].as_str().filter(|_| kinds.contains(&"resolved")) {
        line.push_str(&format!("  ({reason})"));
    }
    if let Some(comment) = change["comment"]["text"].as_str() {
        line.push_str(&format!("  {comment}"));
    }
    line
}
