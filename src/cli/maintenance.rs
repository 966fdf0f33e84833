//! `muster maintenance`: looks at planned work, and creates, edits and ends it, over the HTTP API.
//!
//! The options are the keys of a plan in the config. An edit takes the plan as it is, and puts what is
//! given in the place of what is there.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Failure;
use super::asking::{Asking, Sending, Show, get, post, text, time};
use super::client::{Api, Question};
use crate::api::path_segment;

/// What of a plan as it is shown can be sent.
const KEYS: [&str; 11] =
    ["name", "match", "comment", "from", "to", "every", "on", "at", "for", "until", "time_zone"];
/// What says when; the keys of a window that comes once, and of those that come again.
const WHEN: [&str; 8] = ["from", "to", "every", "on", "at", "for", "until", "time_zone"];

/// What all of it takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    action: Action,
}

/// A plan, in the words of the config.
#[derive(Debug, Args)]
struct Plan {
    /// Which alerts, such as 'env="prod"'; several must all hold.
    #[arg(long = "match", value_name = "MATCHER")]
    matchers: Vec<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// When the work starts, such as 2026-05-01T22:00:00+02:00, or without +02:00 and with a time
    /// zone. Of windows that come again: none begins before.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// When work that is done once ends.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["every", "until"])]
    to: Option<String>,
    /// Windows that come again: day, week or month.
    #[arg(long, value_name = "PERIOD")]
    every: Option<String>,
    /// On which weekdays (mon,thu), or which day of a month (15, last, 'third friday').
    #[arg(long, value_delimiter = ',', value_name = "DAYS")]
    on: Vec<String>,
    /// When a window begins, by the clocks of the time zone: HH:MM.
    #[arg(long, value_name = "HH:MM")]
    at: Option<String>,
    /// How long a window lasts, such as 2h.
    #[arg(long, value_name = "DURATION")]
    r#for: Option<String>,
    /// No window begins then or later.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// By whose clocks, such as Europe/Berlin.
    #[arg(long, value_name = "NAME")]
    time_zone: Option<String>,
    /// How many alerts would be in maintenance at once: wanted where they are more than 10.
    #[arg(long, value_name = "COUNT")]
    confirm: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List plans: those that are open first, then by when they open next.
    List {
        /// open, planned, over or all.
        #[arg(long, default_value = "all")]
        state: String,
        /// At most this many, up to 1000.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        /// Go on after this plan, which the last answer named.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Show one plan.
    Show {
        /// Its id.
        id: String,
    },
    /// Put a plan in force.
    Create {
        /// What it is called.
        name: String,
        #[command(flatten)]
        plan: Box<Plan>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Change a plan: what is given, and nothing else; '' takes a text away.
    Edit {
        /// Its id.
        id: String,
        /// What it is called.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        plan: Box<Plan>,
        #[command(flatten)]
        sending: Sending,
    },
    /// End a plan now; it has no window any more.
    End {
        /// Its id.
        id: String,
        #[command(flatten)]
        sending: Sending,
    },
}

/// Asks the API and prints its answer.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let asked = question(&options.asking.api, options.action)?;
    options.asking.put(&asked)
}

fn question(api: &Api, action: Action) -> Result<(Question, Show), Failure> {
    let one = |id: &str| format!("/v1/maintenance/{}", path_segment(id));
    Ok(match action {
        Action::List { state, limit, after } => {
            let mut query = vec![("state", state), ("limit", limit.to_string())];
            query.extend(after.map(|after| ("cursor", after)));
            let (question, show) = get("/v1/maintenance".to_owned(), show_list);
            (Question { query, ..question }, show)
        }
        Action::Show { id } => get(one(&id), show_one),
        Action::Create { name, plan, sending } => {
            let given = Some(("name", json!(name))).into_iter().chain(plan.fields()).collect();
            post("/v1/maintenance".to_owned(), &sending, given)?
        }
        Action::Edit { id, name, plan, sending } => {
            let path = one(&id);
            let present = api.ask(&get(path.clone(), show_one).0)?;
            let name = name.map(|name| ("name", json!(name)));
            let given = name.into_iter().chain(plan.fields()).collect();
            let (question, show) = post(path, &sending, edited(&present, given))?;
            (Question { method: Method::PUT, ..question }, show)
        }
        Action::End { id, sending } => post(format!("{}/end", one(&id)), &sending, Vec::new())?,
    })
}

type Fields = Vec<(&'static str, Value)>;

impl Plan {
    /// What is given.
    fn fields(self) -> Fields {
        let Self { matchers, comment, from, to, every, on, at, until, time_zone, confirm, .. } =
            self;
        let texts = [
            ("comment", comment),
            ("from", from),
            ("to", to),
            ("every", every),
            ("at", at),
            ("for", self.r#for),
            ("until", until),
            ("time_zone", time_zone),
        ];
        let lists = [("match", matchers), ("on", on)];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, json!(text?))));
        let confirm = confirm.map(|count| ("confirm", json!(count)));
        lists.map(|(key, list)| (key, json!(list))).chain(texts).chain(confirm).collect()
    }
}

/// A plan as it is, with what is given in the place of what is there.
fn edited(present: &Value, given: Fields) -> Fields {
    let has = |key: &str| given.iter().any(|(other, _)| *other == key);
    let again = !present["every"].is_null();
    // A window that comes once and windows that come again have other keys; so have other periods.
    let anew = if again { has("to") } else { has("every") };
    let other_period = has("every") && !has("on");
    let kept = KEYS.into_iter().filter(|key| {
        let goes = (anew && WHEN.contains(key)) || (other_period && *key == "on");
        !goes && !has(key) && !present[*key].is_null()
    });
    let kept: Fields = kept.map(|key| (key, present[key].clone())).collect();
    let given = given.into_iter().filter(|(_, value)| *value != json!(""));
    kept.into_iter().chain(given).collect()
}

fn show_list(answer: &Value) -> String {
    let mut plans: Vec<&Value> = answer["maintenance"].as_array().into_iter().flatten().collect();
    let rank = |plan: &Value| match text(plan, "state") {
        "open" => (0, plan["window"]["ends_at"].as_i64()),
        "planned" => (1, plan["next"]["starts_at"].as_i64()),
        _ => (2, None),
    };
    plans.sort_by_key(|plan| rank(plan));
    let mut lines: Vec<String> = plans.into_iter().map(line).collect();
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    if let Some(next) = answer["next"].as_str() {
        lines.push(format!("there are more: go on with --after {next}"));
    }
    lines.join("\n")
}

fn line(plan: &Value) -> String {
    let soon = match text(plan, "state") {
        "open" => format!("until {}", time(&plan["window"]["ends_at"])),
        "planned" => format!("from {}", time(&plan["next"]["starts_at"])),
        _ => String::new(),
    };
    let (id, state) = (text(plan, "id"), text(plan, "state"));
    let (name, actor) = (text(plan, "name"), text(plan, "actor"));
    format!("{id}  {state:<7}  {soon:<26}  {name}  [by {actor}]")
}

fn show_one(answer: &Value) -> String {
    let mut lines = vec![line(answer)];
    let nothing = Map::new();
    let fields = answer.as_object().unwrap_or(&nothing);
    let keys = KEYS.into_iter().filter(|key| *key != "name" && fields.contains_key(*key));
    lines.extend(keys.map(|key| {
        let value = match &answer[key] {
            Value::Array(values) => {
                let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                texts.join(", ")
            }
            value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        };
        format!("  {key}: {value}")
    }));
    for (key, word) in [("window", "open"), ("next", "next")] {
        if !answer[key].is_null() {
            let window = &answer[key];
            let (starts, ends) = (time(&window["starts_at"]), time(&window["ends_at"]));
            lines.push(format!("  {word}: {starts} to {ends}"));
        }
    }
    if !answer["ended_at"].is_null() {
        lines.push(format!("  ended: {}", time(&answer["ended_at"])));
    }
    if answer["in_config"] == json!(true) {
        lines.push("  it stands in the config, which alone can change it".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(present: &Value, given: Fields) -> Value {
        let fields = edited(present, given).into_iter();
        fields.map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
    }

    #[test]
    fn an_edit_changes_what_is_given_and_nothing_else() {
        let weekly = json!({"id": "mnt_1", "name": "a", "match": ["x=y"], "comment": "c",
            "every": "week", "on": ["mon"], "at": "02:00", "for": "1h", "time_zone": "UTC",
            "state": "open", "actor": "ann", "ended_at": null});
        let later = keys(&weekly, vec![("at", json!("03:00")), ("comment", json!(""))]);
        assert_eq!(
            later,
            json!({"name": "a", "match": ["x=y"], "every": "week", "on": ["mon"], "at": "03:00",
                "for": "1h", "time_zone": "UTC"})
        );
        let daily = keys(&weekly, vec![("every", json!("day"))]);
        assert_eq!((&daily["on"], &daily["at"]), (&Value::Null, &json!("02:00")));
        let window =
            vec![("from", json!("2026-05-01T00:00:00Z")), ("to", json!("2026-05-02T00:00:00Z"))];
        let once = keys(&weekly, window);
        assert_eq!(
            (&once["every"], &once["at"], &once["name"]),
            (&Value::Null, &Value::Null, &json!("a"))
        );
        let again = keys(&once, vec![("every", json!("day")), ("at", json!("01:00"))]);
        assert_eq!(
            (&again["from"], &again["to"], &again["at"]),
            (&Value::Null, &Value::Null, &json!("01:00"))
        );
    }
}
