//! What an event gets beside what its sender said: parts of its texts, texts made of its parts, and
//! what tables know of it; and which events do not count.
//!
//! Steps go in order, each on what those before it left. They see an event only where it changes
//! something of its alert, so that repeats cost nothing; its identity is settled before (`hosts`,
//! `fields` of its source), and no step touches it.

use std::fmt;
use std::io;
use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior, Value, context};
use regex::Regex;

use super::Limits;
use super::decode::cut_to;
use super::table::{Table, key};
use crate::model::matcher::{Labels, Matchers};
use crate::model::{Event, Status, TagValue};
use crate::stage::Limit;

/// What a template may do: about an instruction each, so that a few thousand are a page of text.
const FUEL: u64 = 20_000;
/// How many values a tag gets from a table's rows at most.
const UNION_MAX: usize = 32;
/// The longest compiled expression, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// A text made of an event's parts, such as `{{ host }}-{{ tags.env }}`.
pub struct Template(Environment<'static>);

const TEMPLATE: &str = "text";

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        let added = environment.add_template_owned(TEMPLATE, text.to_owned());
        added.map_err(|error| error.to_string())?;
        Ok(Self(environment))
    }

    /// The text for an event, cut to a length; none where it is empty.
    fn render(&self, event: &Event, max: usize, limited: &mut Counts) -> Option<String> {
        let tags = event.tags.iter().map(|(name, value)| (name.to_owned(), shown(value)));
        let tags: Value = tags.collect();
        let Event { source, host, check, description, key, .. } = event;
        let context = context! {
            source => source.as_ref(),
            host => host.as_ref(),
            check => check.as_ref(),
            description => description.as_ref(),
            key => key.as_deref(),
            status => event.status().map_or("acknowledged", Status::as_str),
            tags => tags,
        };
        let mut text = Capped { bytes: Vec::new(), max, full: false };
        let template = self.0.get_template(TEMPLATE).ok()?;
        let rendered = template.render_captured_to(context, &mut text);
        if rendered.is_err() && !text.full {
            limited[Limit::EnrichFailed as usize] += 1;
            return None;
        }
        let full = text.full;
        let text = String::from_utf8_lossy(&text.bytes);
        if full {
            limited[Limit::ValueCut as usize] += 1;
        }
        let text = text.trim_end_matches('\u{fffd}').trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

fn shown(value: &TagValue) -> Value {
    match value {
        TagValue::One(value) => Value::from(value.as_ref()),
        TagValue::List(values) => values.iter().map(|value| Value::from(value.as_ref())).collect(),
    }
}

/// Takes so many bytes and no more.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
    full: bool,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.max - self.bytes.len();
        if bytes.len() > room {
            self.bytes.extend_from_slice(&bytes[..room]);
            self.full = true;
            return Err(io::Error::other("the text is as long as it may be"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Which rows of a key count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// The first.
    First,
    /// All: a tag gets every value, up to 32.
    Union,
}

/// What a step does.
pub enum Action {
    /// The named groups of an expression become tags, where a text matches.
    Extract {
        /// Which text: `host`, `check`, `description` or a tag.
        from: Box<str>,
        /// The expression; not anchored.
        regex: Regex,
    },
    /// Tags from templates, in order; `description` is one of them.
    Set(Vec<(Box<str>, Template)>),
    /// Tags from a table.
    Map {
        /// The table.
        table: Arc<Table>,
        /// The texts that make the key, in order.
        by: Vec<Box<str>>,
        /// The tags that its columns become, in order.
        tags: Vec<Box<str>>,
        /// Which rows.
        take: Take,
    },
    /// The event does not count, unless it says that a problem is over or acknowledged.
    Drop,
}

/// One step.
pub struct Step {
    /// Which events it is for.
    pub matchers: Matchers,
    /// What it does.
    pub action: Action,
    /// The step as the config has it: what tells whether two are the same.
    pub text: String,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        let table = |step: &Self| match &step.action {
            Action::Map { table, .. } => Some(Arc::clone(table)),
            _ => None,
        };
        self.text == other.text && table(self) == table(other)
    }
}

impl Eq for Step {}

/// How often each limit cut something short.
pub type Counts = [u64; Limit::ALL.len()];

/// Takes an event through the steps; says whether it counts.
#[must_use]
pub fn apply(steps: &[Step], event: &mut Event, limits: &Limits, limited: &mut Counts) -> bool {
    for step in steps {
        if !step.matchers.matches(event) {
            continue;
        }
        match &step.action {
            Action::Drop => {
                if event.report.is_problem() {
                    return false;
                }
            }
            Action::Extract { from, regex } => {
                let found = text_of(event, from).and_then(|text| {
                    let groups = regex.captures(&text)?;
                    let named = regex.capture_names().flatten().filter_map(|name| {
                        let value = groups.name(name)?.as_str();
                        (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
                    });
                    Some(named.collect::<Vec<_>>())
                });
                for (name, value) in found.unwrap_or_default() {
                    put(
                        event,
                        &name,
                        TagValue::one(cut_to(&value, limits.value_bytes)),
                        limits,
                        limited,
                    );
                }
            }
            Action::Set(templates) => {
                for (name, template) in templates {
                    let is_text = name.as_ref() == "description";
                    let max = if is_text { limits.description_bytes } else { limits.value_bytes };
                    let Some(text) = template.render(event, max, limited) else { continue };
                    if is_text {
                        event.description = text.into();
                    } else {
                        put(event, name, TagValue::one(&text), limits, limited);
                    }
                }
            }
            Action::Map { table, by, tags, take } => {
                let parts: Option<Vec<String>> =
                    by.iter().map(|name| text_of(event, name)).collect();
                let Some(parts) = parts else { continue };
                let most = if *take == Take::First { 1 } else { UNION_MAX };
                let rows: Vec<_> = table.rows(&key(&parts)).take(most).collect();
                for (column, name) in tags.iter().enumerate() {
                    let mut values: Vec<Box<str>> = Vec::new();
                    for row in &rows {
                        let cell = row.cell(column);
                        if !cell.is_empty() && !values.iter().any(|value| **value == *cell) {
                            values.push(cut_to(cell, limits.value_bytes).into());
                        }
                    }
                    let value = match values.len() {
                        0 => continue,
                        1 => TagValue::One(values.remove(0)),
                        _ => TagValue::List(values.into()),
                    };
                    put(event, name, value, limits, limited);
                }
            }
        }
    }
    true
}

/// The longest expression's compiled form is bounded, as a matcher's is.
///
/// # Errors
/// Says what is wrong with it.
pub fn expression(text: &str) -> Result<Regex, String> {
    let regex = regex::RegexBuilder::new(text).size_limit(REGEX_BYTES).build();
    let regex = regex.map_err(|error| error.to_string())?;
    if regex.capture_names().flatten().next().is_none() {
        return Err("has no named group; write (?P<name>…) around what is to be a tag".to_owned());
    }
    Ok(regex)
}

/// A text of an event by its name; the first value of a list.
fn text_of(event: &Event, name: &str) -> Option<String> {
    if name == "description" {
        return Some(event.description.as_ref().to_owned()).filter(|text| !text.is_empty());
    }
    event.values(name).iter().next().map(str::to_owned)
}

fn put(event: &mut Event, name: &str, value: TagValue, limits: &Limits, limited: &mut Counts) {
    if event.tags.len() >= limits.tags && event.tags.get(name).is_none() {
        limited[Limit::EnrichFailed as usize] += 1;
        return;
    }
    event.tags.set(name, value);
}

#[cfg(test)]
mod tests;
