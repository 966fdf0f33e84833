//! The commands of a scenario: what somebody asks for, and the line that answers.
//!
//! ```text
//! 12:05:00  anna merge #1 from=#2,#3 as=r1 confirm=4
//! 12:06:00  anna split #1 alerts=web-1/cpu,web-2/cpu
//! 12:07:00  bert undo r1
//! ----
//! 12:05:00  done     merge  4
//! 12:06:00  refused  split  0  why=gone  message="#1 was …"
//! ```
//!
//! The names are those of the JSON form; `as=` is the request id, which is the number of the line
//! else. `#1` is an incident by its number, `host/check` the alert in force there; what is neither
//! is taken as it stands.

use serde_json::{Map, Value};

use super::super::pipeline::Pipeline;
use super::show::{Names, place};
use super::words::{Words, time};
use crate::model::Action;
use crate::wire;

/// Somebody asks for something.
#[derive(Debug)]
pub(super) struct Asked {
    actor: String,
    action: String,
    named: Vec<(String, String)>,
    request: String,
}

impl Asked {
    /// A command, where the line is one: an actor, what is asked for, and of what.
    pub(super) fn parse(words: &Words, nth: usize) -> Option<Self> {
        let (actor, action, of) = match &words.plain[1..] {
            [actor, action] => (actor, action, None),
            [actor, action, of] => (actor, action, Some(of)),
            _ => return None,
        };
        if !Action::WORDS.contains(&action.as_str()) {
            return None;
        }
        let mut named = words.named.clone();
        let name = match action.as_str() {
            "merge" => "into",
            "undo" => "request",
            _ => "incident",
        };
        named.extend(of.map(|of| (name.to_owned(), of.clone())));
        let at = named.iter().position(|(name, _)| name == "as");
        let request = at.map_or_else(|| format!("line-{nth}"), |at| named.remove(at).1);
        Some(Self { actor: actor.clone(), action: action.clone(), named, request })
    }

    /// Its bytes, once it is known what the numbers stand for.
    pub(super) fn bytes(&self, told: &Pipeline) -> Result<Vec<u8>, String> {
        let names = Names::of(told);
        let mut map = Map::new();
        map.insert("v".into(), 1.into());
        map.insert("request_id".into(), self.request.clone().into());
        map.insert("actor".into(), self.actor.clone().into());
        map.insert("action".into(), self.action.clone().into());
        for (name, text) in &self.named {
            map.insert(name.clone(), value(name, text, told, &names)?);
        }
        serde_json::to_vec(&map).map_err(|error| error.to_string())
    }
}

fn value(name: &str, text: &str, told: &Pipeline, names: &Names) -> Result<Value, String> {
    let id = |text: &str| Value::from(names.id(text).unwrap_or_else(|| text.to_owned()));
    Ok(match name {
        "confirm" => text.parse::<u64>().map_err(|_| "not a number")?.into(),
        "until" => time(text)?.as_millis().into(),
        "apply" | "public" => (text == "yes").into(),
        "from" | "incidents" => text.split(',').map(id).collect(),
        "alerts" => text.split(',').map(|text| alert(text, told)).collect(),
        "ends_on" | "match" => text.split(',').map(Value::from).collect(),
        _ => id(text),
    })
}

fn alert(text: &str, told: &Pipeline) -> Value {
    let alerts = told.correlate().alerts().filter(|alert| place(&alert.host, &alert.check) == text);
    alerts.last().map_or_else(|| text.into(), |alert| alert.id.to_string().into())
}

/// Whether a command that was read is one.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    wire::command::decode(bytes).map(drop).map_err(|error| error.to_string())
}
