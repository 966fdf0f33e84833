//! What a command line of a scenario stands for: names of the scenario become ids.
//!
//! `ACTION #1 #2 by=ann request=ID confirm=2 name=value`: incidents are numbered as they were first
//! told; alerts are `host/check`. Times are the scenario's; a list has commas. A maintenance plan has
//! the keys of the setting, and `plan=ID` is the one that was put in force by that request.

use serde_json::{Map, Value};

use super::super::pipeline::Pipeline;
use super::show::names;
use super::words::{self, Words, time};
use crate::model::command::Action;
use crate::model::{Change, MaintenanceId};
use crate::wire;
use crate::wire::command::Fields;

/// Whether the word is one of a command.
pub(super) fn is_action(word: &str) -> bool {
    Action::WORDS.contains(&word)
}

/// The bytes of the command.
pub(super) fn bytes(told: &Pipeline, nth: usize, words: &Words) -> Result<Vec<u8>, String> {
    let changes = told.changes().iter().map(|bytes| wire::change::decode(bytes));
    let names = names(&changes.filter_map(Result::ok).collect::<Vec<Change>>());
    let action = words.plain[1].as_str();
    let mut ids = Vec::new();
    for word in &words.plain[2..] {
        ids.push(names.id(word)?);
    }
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("action", action.into());
    put("actor", "ann".into());
    put("request_id", format!("r{nth}").into());
    match (action, ids.as_slice()) {
        ("merge", [into, from @ ..]) => {
            put("into", into.as_str().into());
            put("from", from.to_vec().into());
        }
        ("resolve", [_, ..]) => {
            put("incidents", ids.into());
        }
        (_, [one]) => {
            put("incident", one.as_str().into());
        }
        (_, []) => {}
        _ => return Err("one incident at most".into()),
    }
    let plan = |text: &String| MaintenanceId::of(&format!("request {text}"));
    let id = words.named.iter().find(|(name, _)| name == "plan").map(|(_, text)| plan(text));
    match action {
        "maintenance_put" => {
            let plan = wire::maintenance::text_to_json(&words::plan("", words)?, id);
            put("plan", plan.to_string().into());
        }
        "maintenance_end" => {
            put(
                "id",
                id.ok_or("`plan=` names the request that put it in force")?.to_string().into(),
            );
        }
        _ => {}
    }
    let of_plan = |name: &str| !matches!(name, "by" | "request" | "confirm" | "dry_run");
    let in_plan = |name: &str| action.starts_with("maintenance_") && of_plan(name);
    for (name, value) in words.named.iter().filter(|(name, _)| !in_plan(name)) {
        let list = || value.split(',').map(Value::from).collect::<Value>();
        match name.as_str() {
            "by" => put("actor", value.as_str().into()),
            "request" if action != "undo" => put("request_id", value.as_str().into()),
            "as" => put("request_id", value.as_str().into()),
            "until" => put("until", time(value)?.as_millis().into()),
            "confirm" => put("confirm", value.parse::<u64>().map_err(|_| "not a number")?.into()),
            "public" | "apply" | "dry_run" => put(name, (value == "yes").into()),
            "ends_on" => put(name, list()),
            "match" => put(name, Value::Array(vec![value.as_str().into()])),
            "alerts" => {
                let alerts: Result<Vec<Value>, String> =
                    value.split(',').map(|place| names.alert(place).map(Value::from)).collect();
                put(name, alerts?.into())
            }
            _ => put(name, value.as_str().into()),
        };
    }
    let command = wire::command::read(Fields::new(fields)).map_err(|error| error.to_string())?;
    Ok(wire::command::encode(&command))
}
