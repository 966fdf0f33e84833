//! The words of a scenario's line, and what an event line stands for.
//!
//! A word is bare or holds quoted parts; `name=value` and `@time` are told apart from the rest. A
//! `#` that stands alone begins a comment; `#1` is the number of an incident.

use serde_json::{Map, Value};

use crate::model::maintenance::PlanText;
use crate::model::{Heartbeat, Matchers, Span, Status, TagValue, Tags, Timestamp};

/// The day on which every scenario plays: 2026-01-01, in milliseconds.
const DAY: i64 = 1_767_225_600_000;

/// The words of a line.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// In order.
    pub(super) plain: Vec<String>,
    /// `name=value`, in order; `@time` has the name `@`.
    pub(super) named: Vec<(String, String)>,
}

impl Words {
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let mut words = Self::default();
        for (word, equals) in split(line)? {
            match equals {
                Some(at) if at > 0 => {
                    words.named.push((word[..at].to_owned(), word[at + 1..].to_owned()));
                }
                _ => match word.strip_prefix('@') {
                    Some(time) => words.named.push(("@".to_owned(), time.to_owned())),
                    None => words.plain.push(word),
                },
            }
        }
        Ok(words)
    }
}

/// Words without their quotes, each with the place of its first `=` outside quotes.
fn split(line: &str) -> Result<Vec<(String, Option<usize>)>, String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let (mut word, mut equals, mut quoted) = (String::new(), None, false);
        while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
            match c {
                '"' | '\'' => {
                    quoted = true;
                    loop {
                        match chars.next() {
                            None => return Err(format!("the {c} is not closed")),
                            Some(end) if end == c => break,
                            Some(inner) => word.push(inner),
                        }
                    }
                }
                '=' if equals.is_none() && !quoted => {
                    equals = Some(word.len());
                    word.push(c);
                }
                _ => word.push(c),
            }
        }
        if !quoted && (word == "#" || word.is_empty()) {
            return Ok(words);
        }
        words.push((word, equals));
    }
}

/// `HH:MM:SS` or `HH:MM:SS.mmm` of the scenario's day; hours may go past 24.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let bad = || format!("`{text}` is no time; write HH:MM:SS");
    let (clock, millis) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':').map(str::parse::<i64>);
    let (Some(Ok(hours)), Some(Ok(minutes)), Some(Ok(seconds)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad());
    };
    let millis: i64 = millis.parse().map_err(|_| bad())?;
    Ok(Timestamp::from_millis(DAY + ((hours * 60 + minutes) * 60 + seconds) * 1_000 + millis))
}

/// A time as `time` reads it.
pub(super) fn show_time(time: Timestamp) -> String {
    let millis = time.as_millis() - DAY;
    let seconds = millis.div_euclid(1_000);
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match millis.rem_euclid(1_000) {
        0 => clock,
        rest => format!("{clock}.{rest:03}"),
    }
}

/// What a publisher would send.
pub(super) fn event(
    arrival: Timestamp,
    source: &str,
    place: &str,
    status: &str,
    named: &[(String, String)],
) -> Result<Vec<u8>, String> {
    let (host, check) = place.split_once('/').unwrap_or((place, ""));
    let mut event = Map::new();
    let mut tags = Map::new();
    for (name, text) in [("source", source), ("host", host), ("check", check), ("status", status)] {
        event.insert(name.to_owned(), text.into());
    }
    event.insert("timestamp".to_owned(), arrival.as_millis().into());
    for (name, value) in named {
        match name.as_str() {
            "@" => event.insert("timestamp".to_owned(), time(value)?.as_millis().into()),
            "expires" => event.insert("expires_at".to_owned(), time(value)?.as_millis().into()),
            "key" => event.insert("key".to_owned(), value.as_str().into()),
            "text" => event.insert("description".to_owned(), value.as_str().into()),
            _ => tags.insert(name.clone(), tag(value)),
        };
    }
    event.insert("tags".to_owned(), Value::Object(tags));
    serde_json::to_vec(&event).map_err(|error| error.to_string())
}

fn tag(text: &str) -> Value {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some("") => Value::Array(Vec::new()),
        Some(list) => list.split(',').map(Value::from).collect(),
        None => text.into(),
    }
}

/// A maintenance plan as its keys say it; times are of the scenario's day, unless they have a date.
pub(super) fn plan(name: &str, words: &Words) -> Result<PlanText, String> {
    let mut plan = PlanText { name: Some(name.to_owned()), ..PlanText::default() };
    let instant = |text: &str| match time(text) {
        Ok(at) => jiff::Timestamp::from_millisecond(at.as_millis())
            .map(|at| at.to_string())
            .map_err(|error| error.to_string()),
        Err(_) => Ok(text.to_owned()),
    };
    for (key, value) in &words.named {
        let text = Some(value.clone());
        match key.as_str() {
            "name" => plan.name = text,
            "match" => plan.matchers.push(value.clone()),
            "from" => plan.from = Some(instant(value)?),
            "to" => plan.to = Some(instant(value)?),
            "until" => plan.until = Some(instant(value)?),
            "every" => plan.every = text,
            "on" => plan.on = value.split(',').map(str::to_owned).collect(),
            "at" => plan.at = text,
            "for" => plan.lasts = text,
            "zone" => plan.time_zone = text,
            "confirm" | "dry_run" | "plan" | "by" | "request" => {}
            _ => return Err(format!("a plan has no `{key}`")),
        }
    }
    Ok(plan)
}

/// What must be heard of, as its keys say it.
pub(super) fn heartbeat(name: &str, words: &Words) -> Result<Heartbeat, String> {
    let mut heartbeat = Heartbeat {
        name: name.into(),
        every: Span::MINUTE,
        grace: Span::ZERO,
        matchers: Matchers::parse([format!("heartbeat=\"{name}\"").as_str()])
            .map_err(|error| error.to_string())?,
        each: None,
        each_max: 1_000,
        schedule: None,
        status: Status::Critical,
        shard: "default".into(),
        tags: Tags::default(),
        forget_after: Span::from_secs(7 * 86_400),
    };
    let mut schedule = PlanText::default();
    for (key, value) in &words.named {
        let span = || Span::parse(value).map_err(|error| error.to_string());
        let text = Some(value.clone());
        match key.as_str() {
            "every" => heartbeat.every = span()?,
            "grace" => heartbeat.grace = span()?,
            "forget_after" => heartbeat.forget_after = span()?,
            "match" => {
                let matchers = Matchers::parse([value.as_str()]);
                heartbeat.matchers = matchers.map_err(|error| error.to_string())?;
            }
            "each" => heartbeat.each = Some(value.as_str().into()),
            "each_max" => heartbeat.each_max = value.parse().map_err(|_| "not a number")?,
            "status" => heartbeat.status = Status::parse(value).ok_or("no status")?,
            "window" => schedule.every = text,
            "on" => schedule.on = value.split(',').map(str::to_owned).collect(),
            "at" => schedule.at = text,
            "for" => schedule.lasts = text,
            "zone" => schedule.time_zone = text,
            _ => match key.strip_prefix("tag.") {
                Some(name) => heartbeat.tags.set(name, TagValue::one(value)),
                None => return Err(format!("a heartbeat has no `{key}`")),
            },
        }
    }
    if schedule != PlanText::default() {
        let read = schedule.read_schedule();
        heartbeat.schedule = Some(read.map_err(|problems| problems[0].to_string())?);
    }
    Ok(heartbeat)
}
