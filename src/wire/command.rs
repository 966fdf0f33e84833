//! Commands in `muster.alerts` and their results in `muster.incidents`. Version 1 of each.
//!
//! What people send is read here too, so that a bound or a word is the same for HTTP, the command
//! line and the log. An error names the field. A field that is not known is refused: a command
//! that is understood by half must not be done.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::common::{unknown, unread};
use super::{WireError, to_vec};
use crate::model::command::{
    Action, Audience, COMMENT_BYTES_MAX, Command, CommandResult, IDS_MAX, MATCHERS_MAX, Mode,
    NAME_BYTES_MAX, Outcome, PLAN_BYTES_MAX, Refused, RequestId, SnoozeEnds, Which,
};
use crate::model::{AlertId, IncidentId, Matchers, Timestamp};

const VERSION: u8 = 1;

/// The bytes of a command.
#[must_use]
pub fn encode(command: &Command) -> Vec<u8> {
    let mut map = Map::new();
    map.insert("v".into(), VERSION.into());
    map.insert("request_id".into(), command.request.as_str().into());
    map.insert("actor".into(), command.actor.as_ref().into());
    map.insert("action".into(), command.action.as_str().into());
    if let Some(count) = command.confirm {
        map.insert("confirm".into(), count.into());
    }
    for (name, value) in arguments(&command.action) {
        map.insert(name.into(), value);
    }
    to_vec(&map, 256)
}

/// A command from its bytes.
///
/// # Errors
/// Says which field is not as a command has it.
pub fn decode(bytes: &[u8]) -> Result<Command, WireError> {
    let unread = |error| unread(bytes, VERSION, "a command", error);
    let map: Map<String, Value> = serde_json::from_slice(bytes).map_err(unread)?;
    let mut fields = Fields::new(map);
    match fields.count("v")? {
        Some(v) if v == u64::from(VERSION) => read(fields),
        Some(v) => Err(unknown(v, VERSION, "a command")),
        None => Err(missing("v")),
    }
}

/// A command from the fields that somebody gave.
///
/// # Errors
/// Names the field that is missing, wrong or not known.
pub fn read(mut fields: Fields) -> Result<Command, WireError> {
    let request = fields.request("request_id")?;
    let actor = fields.name("actor")?.ok_or_else(|| missing("actor"))?;
    let confirm = fields.count("confirm")?;
    let action = action(&mut fields)?;
    fields.finish()?;
    Ok(Command { request, actor, confirm, action })
}

fn action(fields: &mut Fields) -> Result<Action, WireError> {
    let word = fields.text("action")?.ok_or_else(|| missing("action"))?;
    Ok(match word.as_str() {
        "acknowledge" => {
            Action::Acknowledge { incident: fields.incident()?, until: fields.time("until")? }
        }
        "unacknowledge" => Action::Unacknowledge { incident: fields.incident()? },
        "assign" => Action::Assign { incident: fields.incident()?, to: fields.name("to")? },
        "snooze" => Action::Snooze {
            incident: fields.incident()?,
            until: fields.time("until")?.ok_or_else(|| missing("until"))?,
            ends_on: fields.snooze_ends()?,
        },
        "unsnooze" => Action::Unsnooze { incident: fields.incident()? },
        "resolve" => Action::Resolve(fields.which()?),
        "comment" => Action::Comment {
            incident: fields.incident()?,
            text: fields.comment()?,
            audience: match fields.flag("public")? {
                true => Audience::Public,
                false => Audience::Internal,
            },
        },
        "merge" => Action::Merge { into: fields.id("into")?, from: fields.incidents("from")? },
        "split" => Action::Split { incident: fields.incident()?, alerts: fields.alerts()? },
        "split_all" => Action::SplitAll { incident: fields.incident()? },
        "undo" => Action::Undo { request: fields.request("request")? },
        "recorrelate" => Action::Recorrelate {
            shard: fields.name("shard")?,
            mode: if fields.flag("apply")? { Mode::Apply } else { Mode::DryRun },
        },
        "maintenance_put" => Action::MaintenancePut {
            plan: fields.plan()?,
            mode: if fields.flag("dry_run")? { Mode::DryRun } else { Mode::Apply },
        },
        "maintenance_end" => {
            Action::MaintenanceEnd { id: fields.name("id")?.ok_or_else(|| missing("id"))? }
        }
        _ => return Err(bad("action", format!("one of {}", Action::WORDS.join(", ")))),
    })
}

/// What an action says beside its word, as `action` reads it; what is nothing is left out.
fn arguments(action: &Action) -> Vec<(&'static str, Value)> {
    let id = |id: &IncidentId| Value::from(id.to_string());
    let ids = |ids: &[IncidentId]| ids.iter().map(id).collect::<Value>();
    let time = |at: &Timestamp| Value::from(at.as_millis());
    let mut some = Vec::new();
    match action {
        Action::Acknowledge { incident, until } => {
            some.push(("incident", id(incident)));
            some.extend(until.iter().map(|until| ("until", time(until))));
        }
        Action::Unacknowledge { incident }
        | Action::Unsnooze { incident }
        | Action::SplitAll { incident } => some.push(("incident", id(incident))),
        Action::Assign { incident, to } => {
            some.push(("incident", id(incident)));
            some.extend(to.iter().map(|to| ("to", to.as_ref().into())));
        }
        Action::Snooze { incident, until, ends_on } => {
            some.push(("incident", id(incident)));
            some.push(("until", time(until)));
            let words: Vec<Value> = snooze_words(*ends_on).map(Value::from).collect();
            if !words.is_empty() {
                some.push(("ends_on", words.into()));
            }
        }
        Action::Resolve(Which::Incidents(incidents)) => some.push(("incidents", ids(incidents))),
        Action::Resolve(Which::Matching(matchers)) => {
            some.push(("match", matchers.iter().map(|matcher| matcher.to_string()).collect()));
        }
        Action::Comment { incident, text, audience } => {
            some.push(("incident", id(incident)));
            some.push(("text", text.as_ref().into()));
            if *audience == Audience::Public {
                some.push(("public", true.into()));
            }
        }
        Action::Merge { into, from } => {
            some.push(("into", id(into)));
            some.push(("from", ids(from)));
        }
        Action::Split { incident, alerts } => {
            some.push(("incident", id(incident)));
            some.push(("alerts", alerts.iter().map(ToString::to_string).collect()));
        }
        Action::Undo { request } => some.push(("request", request.as_str().into())),
        Action::Recorrelate { shard, mode } => {
            some.extend(shard.iter().map(|shard| ("shard", shard.as_ref().into())));
            if *mode == Mode::Apply {
                some.push(("apply", true.into()));
            }
        }
        Action::MaintenancePut { plan, mode } => {
            some.push(("plan", plan.as_ref().into()));
            if *mode == Mode::DryRun {
                some.push(("dry_run", true.into()));
            }
        }
        Action::MaintenanceEnd { id } => some.push(("id", id.as_ref().into())),
    }
    some
}

const NEW_ALERT: &str = "new_alert";
const WORSE: &str = "worse";
const REOPENED: &str = "reopened";

/// The words for what ends a snooze.
fn snooze_words(ends_on: SnoozeEnds) -> impl Iterator<Item = &'static str> {
    let SnoozeEnds { new_alert, worse, reopened } = ends_on;
    let words = [(NEW_ALERT, new_alert), (WORSE, worse), (REOPENED, reopened)];
    words.into_iter().filter_map(|(word, given)| given.then_some(word))
}

/// What ends a snooze, from its words.
fn snooze_ends<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<SnoozeEnds, WireError> {
    let mut ends_on = SnoozeEnds::default();
    for word in words {
        match word {
            NEW_ALERT => ends_on.new_alert = true,
            WORSE => ends_on.worse = true,
            REOPENED => ends_on.reopened = true,
            _ => {
                return Err(bad("ends_on", format!("a list of {NEW_ALERT}, {WORSE}, {REOPENED}")));
            }
        }
    }
    Ok(ends_on)
}

impl Serialize for SnoozeEnds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(snooze_words(*self))
    }
}

impl<'de> Deserialize<'de> for SnoozeEnds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words: Vec<Cow<'de, str>> = Deserialize::deserialize(deserializer)?;
        snooze_ends(words.iter().map(AsRef::as_ref)).map_err(D::Error::custom)
    }
}

/// The fields of a JSON object; each is taken once, and what is left at the end is not known.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    map: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// Of this object.
    #[must_use]
    pub fn new(map: Map<String, Value>) -> Self {
        Self { map, asked: Vec::new() }
    }

    /// Of the object that these bytes are.
    ///
    /// # Errors
    /// When they are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        match serde_json::from_slice(bytes)? {
            Value::Object(map) => Ok(Self::new(map)),
            _ => Err(WireError("it is not a JSON object".to_owned())),
        }
    }

    /// Sets a field that stands elsewhere, such as in the address; it may not be given twice.
    ///
    /// # Errors
    /// When it is given with another value.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) -> Result<(), WireError> {
        let value = value.into();
        match self.map.insert(name.to_owned(), value.clone()) {
            Some(before) if before != value => {
                Err(WireError(format!("`{name}` is {before} and elsewhere {value}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a field is given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// Takes a field as it is.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Takes all but these.
    pub fn take_others(&mut self, kept: &[&str]) -> Map<String, Value> {
        let others = self.map.iter().filter(|(name, _)| !kept.contains(&name.as_str()));
        let names: Vec<String> = others.map(|(name, _)| name.clone()).collect();
        let taken = names.into_iter().map(|name| {
            let value = self.map.remove(&name).unwrap_or_default();
            (name, value)
        });
        taken.filter(|(_, value)| !value.is_null()).collect()
    }

    /// Takes a text.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(name, "a text")),
        }
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Names what is, and what is known.
    pub fn finish(mut self) -> Result<(), WireError> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                self.asked.retain(|known| *known != "v" && *known != "action");
                let known = self.asked.join("`, `");
                Err(WireError(format!("`{name}` is not known here; there are `{known}`")))
            }
        }
    }

    fn count(&mut self, name: &'static str) -> Result<Option<u64>, WireError> {
        let value = self.take(name);
        value.map(|value| value.as_u64().ok_or_else(|| bad(name, "a count"))).transpose()
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, WireError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(bad(name, "true or false")),
        }
    }

    fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, WireError> {
        let millis = |value: Value| value.as_i64().ok_or_else(|| bad(name, "in milliseconds"));
        self.take(name).map(|value| millis(value).map(Timestamp::from_millis)).transpose()
    }

    /// A name of somebody or something: short, and on one line.
    fn name(&mut self, name: &'static str) -> Result<Option<Box<str>>, WireError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let text = text.trim();
        let odd = text.is_empty() || text.len() > NAME_BYTES_MAX;
        if odd || text.chars().any(char::is_control) {
            let rule = format!("a text of 1 to {NAME_BYTES_MAX} bytes on one line");
            return Err(bad(name, rule));
        }
        Ok(Some(text.into()))
    }

    fn request(&mut self, name: &'static str) -> Result<RequestId, WireError> {
        let text = self.text(name)?.ok_or_else(|| missing(name))?;
        RequestId::parse(&text).map_err(|error| WireError(format!("`{name}`: {error}")))
    }

    fn comment(&mut self) -> Result<Box<str>, WireError> {
        let text = self.text("text")?.ok_or_else(|| missing("text"))?;
        let odd = |sign: char| sign.is_control() && !matches!(sign, '\n' | '\t' | '\r');
        if text.trim().is_empty() || text.len() > COMMENT_BYTES_MAX || text.chars().any(odd) {
            let rule =
                format!("a text of 1 to {COMMENT_BYTES_MAX} bytes without control characters");
            return Err(bad("text", rule));
        }
        Ok(text.trim().into())
    }

    fn plan(&mut self) -> Result<Box<str>, WireError> {
        let text = self.text("plan")?.ok_or_else(|| missing("plan"))?;
        if text.len() > PLAN_BYTES_MAX {
            return Err(bad("plan", format!("a text of at most {PLAN_BYTES_MAX} bytes")));
        }
        Ok(text.into())
    }

    fn incident(&mut self) -> Result<IncidentId, WireError> {
        self.id("incident")
    }

    fn id(&mut self, name: &'static str) -> Result<IncidentId, WireError> {
        let text = self.text(name)?.ok_or_else(|| missing(name))?;
        IncidentId::parse(&text).map_err(|error| WireError(format!("`{name}`: {error}")))
    }

    fn incidents(&mut self, name: &'static str) -> Result<Vec<IncidentId>, WireError> {
        self.ids(name, |text| IncidentId::parse(text).map_err(|error| error.to_string()))
    }

    fn alerts(&mut self) -> Result<Vec<AlertId>, WireError> {
        self.ids("alerts", |text| AlertId::parse(text).map_err(|error| error.to_string()))
    }

    /// A list of ids, each once, in the order given.
    fn ids<T: PartialEq>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, WireError> {
        let texts = self.texts(name, IDS_MAX)?.ok_or_else(|| missing(name))?;
        let mut ids = Vec::with_capacity(texts.len());
        for text in &texts {
            let id = parse(text).map_err(|error| WireError(format!("`{name}`: {error}")))?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn which(&mut self) -> Result<Which, WireError> {
        let given =
            |fields: &Self, name| fields.map.get(name).is_some_and(|value| !value.is_null());
        match (given(self, "incidents"), given(self, "match")) {
            (true, false) => {
                self.asked.push("match");
                Ok(Which::Incidents(self.incidents("incidents")?))
            }
            (false, true) => {
                self.asked.push("incidents");
                let texts = self.texts("match", MATCHERS_MAX)?.unwrap_or_default();
                let matchers = Matchers::parse(texts.iter().map(String::as_str));
                let matchers = matchers.map_err(|e| WireError(format!("`match`: {e}")))?;
                if matchers.iter().count() > MATCHERS_MAX {
                    return Err(bad("match", format!("a list of 1 to {MATCHERS_MAX} matchers")));
                }
                Ok(Which::Matching(matchers))
            }
            _ => Err(WireError("it needs either `incidents` or `match`".to_owned())),
        }
    }

    fn snooze_ends(&mut self) -> Result<SnoozeEnds, WireError> {
        let words = self.texts("ends_on", 3)?.unwrap_or_default();
        snooze_ends(words.iter().map(String::as_str))
    }

    /// A list of texts, at least one.
    fn texts(&mut self, name: &'static str, max: usize) -> Result<Option<Vec<String>>, WireError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let texts = match value {
            Value::Array(values) if (1..=max).contains(&values.len()) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        texts.map(Some).ok_or_else(|| bad(name, format!("a list of 1 to {max} texts")))
    }
}

fn missing(name: &str) -> WireError {
    WireError(format!("`{name}` is missing"))
}

fn bad(name: &str, rule: impl std::fmt::Display) -> WireError {
    WireError(format!("`{name}` is not as it must be: {rule}"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireResult<'a> {
    v: u8,
    request_id: Cow<'a, str>,
    partition: u32,
    at: Timestamp,
    action: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirm: Option<u64>,
    outcome: Cow<'a, str>,
    count: u64,
    reason: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
    incidents: Vec<(IncidentId, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Box<str>>,
}

/// The bytes of a result.
#[must_use]
pub fn encode_result(result: &CommandResult) -> Vec<u8> {
    let (outcome, reason) = match result.outcome {
        Outcome::Done => ("done", None),
        Outcome::Refused(reason) => ("refused", Some(Cow::Borrowed(reason.as_str()))),
    };
    let wire = WireResult {
        v: VERSION,
        request_id: Cow::Borrowed(result.request.as_str()),
        partition: result.partition,
        at: result.at,
        action: Cow::Borrowed(&result.action),
        confirm: result.confirm,
        outcome: Cow::Borrowed(outcome),
        count: result.count,
        reason,
        message: Cow::Borrowed(&result.message),
        incidents: result.incidents.clone(),
        lines: result.lines.clone(),
    };
    to_vec(&wire, 512)
}

/// A result from its bytes.
///
/// # Errors
/// Says what is not as a result has it.
pub fn decode_result(bytes: &[u8]) -> Result<CommandResult, WireError> {
    let unread = |error| unread(bytes, VERSION, "a command's result", error);
    let wire: WireResult<'_> = serde_json::from_slice(bytes).map_err(unread)?;
    if wire.v != VERSION {
        return Err(unknown(wire.v.into(), VERSION, "a command's result"));
    }
    let request = RequestId::parse(&wire.request_id);
    let request = request.map_err(|error| WireError(format!("`request_id`: {error}")))?;
    let outcome = match (wire.outcome.as_ref(), wire.reason.as_deref()) {
        ("done", None) => Outcome::Done,
        ("refused", Some(reason)) => Outcome::Refused(
            Refused::parse(reason).ok_or_else(|| bad("reason", "why a command was refused"))?,
        ),
        _ => return Err(bad("outcome", "done, or refused with a reason")),
    };
    Ok(CommandResult {
        request,
        partition: wire.partition,
        at: wire.at,
        action: wire.action.into_owned().into(),
        confirm: wire.confirm,
        outcome,
        count: wire.count,
        message: wire.message.into_owned().into(),
        incidents: wire.incidents,
        lines: wire.lines,
    })
}
