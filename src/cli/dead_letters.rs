//! `muster dead-letters`: what could not be read, and reading it once more.
//!
//! `list` and `show` read the journal that the config names: on Kafka without joining a group, the
//! embedded one beside the daemon or after it, taking no lock. `retry` asks the daemon, who reads
//! the letters from its journal itself.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::asking::{Form, Sending, post, put, text, time};
use super::client::Api;
use crate::api::dead_letters::shown;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, JournalSettings};
use crate::journal::sqlite::Sqlite;
use crate::journal::{Follower, From, JournalError};
use crate::kafka;
use crate::model::Span;
use crate::stage::Topic;
use crate::worker::dead_letters::{Filter, Letter, LetterId, RETRY_MAX, fetch, survey};

/// How long a look at all of them may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What all of it takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    api: Api,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

/// Which letters.
#[derive(Debug, Args)]
struct Which {
    /// Of this reason, such as no_primary.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Of this source; `-` for those that came in as events in canonical form.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    source: Option<String>,
    /// Set aside so long ago or later, such as 24h.
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| Span::parse(text).map(|_| text.to_owned()))]
    since: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Count them by reason and source, and list the newest. Those that were retried with success
    /// are not among them.
    List {
        #[command(flatten)]
        which: Which,
        /// How many to list.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        limit: usize,
    },
    /// Print what came with one to standard error and its original bytes to standard output; with
    /// --json all of it as JSON.
    Show {
        /// Its id: partition:offset.
        id: String,
    },
    /// Read them once more, as if they came in when they did: by id, or all that match, for which
    /// their number must be confirmed. What still cannot be read stays; at most 10,000 at once.
    Retry {
        /// Their ids.
        ids: Vec<String>,
        #[command(flatten)]
        which: Which,
        /// How many they are.
        #[arg(long, value_name = "COUNT")]
        confirm: Option<u64>,
        #[command(flatten)]
        sending: Sending,
    },
}

/// Reads the journal, or asks the API.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    let Options { api, json, action } = options;
    match action {
        Action::List { which, limit } => list(&api.config()?, which, limit, Form::of(json)),
        Action::Show { id } => {
            let id = LetterId::parse(&id).map_err(Failure::usage)?;
            show(&api.config()?, id, Form::of(json))
        }
        Action::Retry { ids, which, confirm, sending } => {
            let Which { reason, source, since } = which;
            if ids.is_empty() && reason.is_none() && source.is_none() && since.is_none() {
                return Err(Failure::usage("give ids, or --reason, --source or --since"));
            }
            for id in &ids {
                LetterId::parse(id).map_err(Failure::usage)?;
            }
            let fields = [
                ("ids", (!ids.is_empty()).then(|| json!(ids))),
                ("reason", reason.map(Value::from)),
                ("source", source.map(Value::from)),
                ("since", since.map(Value::from)),
                ("confirm", confirm.map(Value::from)),
            ];
            let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let path = "/v1/dead-letters/retry".to_owned();
            let (question, _) = post(path, &sending, fields.collect())?;
            put(&api, Form::of(json), &(question, told))
        }
    }
}

fn list(config: &Config, which: Which, limit: usize, form: Form) -> Result<ExitCode, Failure> {
    let ago = which.since.as_deref().map(Span::parse).transpose();
    let ago = ago.map_err(|error| Failure::usage(format!("--since: {error}")))?;
    let filter = Filter {
        ids: None,
        reason: which.reason,
        source: which.source,
        since: ago.map(|ago| SystemClock.now() - ago),
    };
    let found = survey(open(config)?.as_mut(), &filter, LIMIT).map_err(Failure::other)?;
    let answer = shown(&found, limit);
    print(&match form {
        Form::Json => format!("{answer:#}\n"),
        Form::Text => listed(&answer),
    })
}

fn listed(answer: &Value) -> String {
    let rows = |name: &str| answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    for count in rows("counts") {
        let (reason, source) = (text(count, "reason"), text(count, "source"));
        lines.push(format!("{:>8}  {reason:<16}  {source}", count["count"]));
    }
    let mut sum = format!("{:>8}  in all", answer["total"]);
    for (name, word) in [("retried", "retried with success"), ("left_out", "older, not looked at")]
    {
        if answer[name] != json!(0) {
            sum.push_str(&format!("; {} {word}", answer[name]));
        }
    }
    lines.push(sum);
    for one in rows("dead_letters") {
        let (id, reason, source) = (text(one, "id"), text(one, "reason"), text(one, "source"));
        let at = time(&one["at"]);
        lines.push(format!("{id:<12}  {at}  {reason:<16}  {source:<16}  {} bytes", one["bytes"]));
    }
    lines.join("\n") + "\n"
}

fn show(config: &Config, id: LetterId, form: Form) -> Result<ExitCode, Failure> {
    let ids = BTreeSet::from([id]);
    let found = fetch(open(config)?.as_mut(), &ids, LIMIT).map_err(Failure::other)?;
    let Some(letter) = found.first() else {
        let message = format!("there is no dead letter {id}; retention may have taken it");
        return Err(Failure::other(message));
    };
    if form == Form::Json {
        return print(&format!("{:#}\n", whole(letter)));
    }
    let written = heading(letter, &mut io::stderr().lock());
    let written = written.and_then(|()| io::stdout().lock().write_all(&letter.bytes));
    // Nobody reads what we say where the pipe was closed.
    Ok(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn heading(letter: &Letter, out: &mut impl Write) -> io::Result<()> {
    let head = &letter.head;
    writeln!(out, "{}  {}: {}", letter.id, head.reason, head.message)?;
    writeln!(out, "  set aside: {}", time(&letter.at.as_millis().into()))?;
    if let Some(arrival) = head.arrival {
        writeln!(out, "  arrival: {}", time(&arrival.as_millis().into()))?;
    }
    writeln!(out, "  from: {} {}:{}", head.topic, head.partition, head.offset)?;
    writeln!(out, "  source: {}", head.source_word())?;
    if !letter.key.is_empty() {
        writeln!(out, "  key: {}", String::from_utf8_lossy(&letter.key).escape_debug())?;
    }
    for (name, value) in &head.headers {
        writeln!(out, "  {name}: {}", String::from_utf8_lossy(value).escape_debug())?;
    }
    Ok(())
}

fn whole(letter: &Letter) -> Value {
    let head = &letter.head;
    let headers = head.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into()));
    let mut shown = json!({
        "id": letter.id.to_string(), "at": letter.at.as_millis(),
        "arrival": head.arrival.map(|at| at.as_millis()),
        "topic": head.topic, "partition": head.partition, "offset": head.offset,
        "source": head.source, "reason": head.reason, "message": head.message,
        "key": String::from_utf8_lossy(&letter.key),
        "headers": headers.collect::<serde_json::Map<String, Value>>(),
    });
    match std::str::from_utf8(&letter.bytes) {
        Ok(text) => shown["text"] = text.into(),
        Err(_) => shown["base64"] = STANDARD.encode(&letter.bytes).into(),
    }
    shown
}

fn told(answer: &Value) -> String {
    let mut lines = vec![format!(
        "{} of {} dead letters were taken, {} events in all",
        answer["taken"], answer["selected"], answer["events"]
    )];
    if answer["already"] != json!(0) {
        lines.push(format!("{} were taken before", answer["already"]));
    }
    if answer["failed"] != json!(0) {
        lines.push(format!("{} still cannot be read, and stay:", answer["failed"]));
    }
    let failures = answer["failures"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(failures.iter().map(|one| {
        format!("  {}  {}: {}", text(one, "id"), text(one, "reason"), text(one, "message"))
    }));
    if !text(answer, "stopped").is_empty() {
        lines.push(format!("stopped: {}", text(answer, "stopped")));
    }
    if answer["left"] != json!(0) {
        let why = format!("at most {RETRY_MAX} are read at once, and for a limited time");
        lines.push(format!("{} are left ({why}); retry again", answer["left"]));
    }
    lines.join("\n")
}

fn open(config: &Config) -> Result<Box<dyn Follower>, Failure> {
    let opened = match config.journal() {
        JournalSettings::Kafka(settings) => kafka::open(&settings, Arc::new(SystemClock))
            .and_then(|journal| journal.follow(Topic::DeadLetters, From::Beginning)),
        JournalSettings::Sqlite(settings) => Sqlite::beside(&settings.path, Topic::DeadLetters),
    };
    opened.map_err(|error: JournalError| Failure::other(error))
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    // Nobody reads what we say where the pipe was closed.
    Ok(match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
