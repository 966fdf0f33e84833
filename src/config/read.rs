//! Takes a tree of values apart, key by key, and collects what is wrong.
//!
//! A section asks a [`Node`] for its keys and always gets a value, the default where what is there
//! breaks a rule; what nobody asked for is unknown. Thus one pass reports everything, and the keys
//! asked for are the schema. Values may be texts where they come from the environment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ::config::{Value, ValueKind};

use super::Problem;
use crate::model::{Matchers, Span};

/// Everything found so far.
#[derive(Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
}

impl Report {
    /// What breaks a rule, in the order it was found.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.borrow().clone()
    }

    /// The paths of the keys asked for, without the numbers of list items.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.keys.borrow().clone()
    }
}

/// A table of keys that is being read.
pub(super) struct Node<'a> {
    path: String,
    values: BTreeMap<String, Value>,
    known: Vec<&'static str>,
    report: &'a Report,
}

impl<'a> Node<'a> {
    pub(super) fn root(values: BTreeMap<String, Value>, report: &'a Report) -> Self {
        Self { path: String::new(), values, known: Vec::new(), report }
    }

    /// The path of one of this node's keys; with an empty key, of the node itself.
    pub(super) fn path(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            (path, "") => path.to_owned(),
            ("", key) => key.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// Whether a key is there with any value but null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| !matches!(value.kind, ValueKind::Nil))
    }

    /// Reports a broken rule.
    pub(super) fn broken(&self, key: &str, value: Option<&str>, rule: impl Into<String>) {
        let value = value.map(|value| value.chars().take(200).collect());
        let problem = Problem { key: self.path(key), value, rule: rule.into() };
        self.report.problems.borrow_mut().push(problem);
    }

    /// Says that a key without which the node is nothing is not there.
    pub(super) fn missing(&self, key: &str, what: &str) {
        self.broken(key, None, format!("is missing; {what}"));
    }

    /// A table; empty where there is none.
    pub(super) fn table(&mut self, key: &'static str) -> Self {
        let values = self.optional_table(key).map(|node| node.values).unwrap_or_default();
        Node { path: self.path(key), values, known: Vec::new(), report: self.report }
    }

    /// A table, if there is one; a key without a value counts as an empty table.
    pub(super) fn optional_table(&mut self, key: &'static str) -> Option<Self> {
        let path = self.path(key);
        let value = self.take_raw(key)?;
        let values = match value.kind {
            ValueKind::Table(table) => table.into_iter().collect(),
            ValueKind::Nil => BTreeMap::new(),
            other => {
                self.broken(key, Some(&shown(&other)), "is not a table of keys");
                return None;
            }
        };
        Some(Node { path, values, known: Vec::new(), report: self.report })
    }

    /// A list of tables, if the key is there.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Self>> {
        let path = self.path(key);
        let items = match self.take(key)?.kind {
            ValueKind::Array(items) => items,
            other => {
                self.broken(key, Some(&shown(&other)), "is not a list");
                return None;
            }
        };
        let mut nodes = Vec::new();
        for (number, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{number}]");
            match item.kind {
                ValueKind::Table(table) => nodes.push(Node {
                    path,
                    values: table.into_iter().collect(),
                    known: Vec::new(),
                    report: self.report,
                }),
                other => self.broken(
                    &format!("{key}[{number}]"),
                    Some(&shown(&other)),
                    "is not a table of keys",
                ),
            }
        }
        Some(nodes)
    }

    /// A text that is not empty, if the key is there.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.take(key)?;
        match value.kind {
            ValueKind::String(text) if text.trim().is_empty() => {
                self.broken(key, None, "is empty; write a text or leave the key out");
                None
            }
            ValueKind::String(text) => Some(text),
            number @ (ValueKind::I64(_) | ValueKind::U64(_)) => Some(shown(&number)),
            other => {
                self.broken(key, Some(&shown(&other)), "is not a text; put it in quotes");
                None
            }
        }
    }

    /// A text that must be there; `what` says what it is for.
    pub(super) fn required(&mut self, key: &'static str, what: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, what);
        }
        self.text(key)
    }

    /// A text that is never shown, if the key is there.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<String> {
        let value = self.take(key)?;
        match value.kind {
            ValueKind::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.broken(key, Some("***"), "is not a text that could be a secret");
                None
            }
        }
    }

    /// Texts: a list, or one alone.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let items = match self.take(key).map(|value| value.kind) {
            None => return Vec::new(),
            Some(ValueKind::Array(items)) => items,
            Some(kind) => vec![Value::new(None, kind)],
        };
        let mut texts = Vec::new();
        for (number, item) in items.into_iter().enumerate() {
            match item.kind {
                ValueKind::String(text) => texts.push(text),
                number @ (ValueKind::I64(_) | ValueKind::U64(_)) => texts.push(shown(&number)),
                other => self.broken(
                    &format!("{key}[{number}]"),
                    Some(&shown(&other)),
                    "is not a text; put it in quotes",
                ),
            }
        }
        texts
    }

    /// Matchers; none at all matches everything.
    pub(super) fn matchers(&mut self, key: &'static str) -> Matchers {
        let texts = self.texts(key);
        Matchers::parse(texts.iter().map(String::as_str)).unwrap_or_else(|error| {
            let message = error.to_string();
            let bad = texts.iter().find(|text| Matchers::parse([text.as_str()]).is_err());
            let bad = bad.map_or("", String::as_str);
            let rule = message.strip_prefix(&format!("`{bad}` ")).unwrap_or(&message);
            self.broken(key, Some(bad), rule);
            Matchers::default()
        })
    }

    /// A duration within bounds.
    pub(super) fn span(&mut self, key: &'static str, default: Span, min: Span, max: Span) -> Span {
        self.optional_span(key, min, max).unwrap_or(default)
    }

    /// A duration within bounds, if the key is there.
    pub(super) fn optional_span(
        &mut self,
        key: &'static str,
        min: Span,
        max: Span,
    ) -> Option<Span> {
        let text = shown(&self.take(key)?.kind);
        match Span::parse(&text) {
            Ok(span) if span < min => {
                self.broken(key, Some(&text), format!("is less than {min}"));
                None
            }
            Ok(span) if span > max => {
                self.broken(key, Some(&text), format!("is more than {max}"));
                None
            }
            Ok(span) => Some(span),
            Err(_) => {
                self.broken(
                    key,
                    Some(&text),
                    "is not a duration; write a number and a unit of ms, s, m, h or d, such as \
                     30s or 1h30m",
                );
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn count(&mut self, key: &'static str, default: u64, min: u64, max: u64) -> u64 {
        let Some(value) = self.take(key) else { return default };
        let text = shown(&value.kind);
        self.bounded(key, &text, text.parse().ok(), "a whole number", (min, max)).unwrap_or(default)
    }

    /// A number of bytes within bounds; `64MiB` is a way to write it.
    pub(super) fn bytes(&mut self, key: &'static str, default: u64, min: u64, max: u64) -> u64 {
        let Some(value) = self.take(key) else { return default };
        let text = shown(&value.kind);
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("", 0)];
        let parsed = units.into_iter().find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(1 << shift)
        });
        let what = "a number of bytes such as 65536, 64KiB, 16MiB or 4GiB";
        self.bounded(key, &text, parsed, what, (min, max)).unwrap_or(default)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        match shown(&value.kind).as_str() {
            "true" => true,
            "false" => false,
            other => {
                self.broken(key, Some(other), "is neither true nor false");
                default
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        let Some(value) = self.take(key) else { return default };
        let text = shown(&value.kind);
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
            return *meant;
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.broken(key, Some(&text), format!("is none of {}", all.join(", ")));
        default
    }

    /// Names and values that are not ours, such as settings of a client. A table within is read as
    /// part of the name, so that `{security: {protocol: ssl}}` is `security.protocol`; the
    /// environment can say it no other way.
    pub(super) fn map(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        if let Some(value) = self.take(key) {
            match value.kind {
                ValueKind::Table(table) => {
                    self.flatten(key, "", table.into_iter().collect(), &mut map);
                }
                other => self.broken(key, Some(&shown(&other)), "is not a table of keys"),
            }
        }
        map
    }

    /// Every key was asked for: what is left is unknown.
    pub(super) fn finish(self) {
        // The value of an unknown key is not shown: it may be a secret in the wrong place.
        for key in self.values.keys() {
            let rule = match nearest(key, &self.known) {
                Some(near) => format!("is no key; did you mean `{near}`?"),
                None if self.known.is_empty() => "is no key; there is none here".to_owned(),
                None => format!("is no key; there are {}", self.known.join(", ")),
            };
            self.broken(key, None, rule);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.take_raw(key).filter(|value| !matches!(value.kind, ValueKind::Nil))
    }

    fn take_raw(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        let path = self.path(key);
        let numberless: String = path
            .split('[')
            .enumerate()
            .map(|(part, text)| match (part, text.split_once(']')) {
                (0, _) | (_, None) => text.to_owned(),
                (_, Some((_, rest))) => format!("[]{rest}"),
            })
            .collect();
        self.report.keys.borrow_mut().insert(numberless);
        self.values.remove(key)
    }

    fn bounded(
        &self,
        key: &str,
        text: &str,
        parsed: Option<u64>,
        what: &str,
        (min, max): (u64, u64),
    ) -> Option<u64> {
        match parsed {
            None => self.broken(key, Some(text), format!("is not {what}")),
            Some(number) if number < min => {
                self.broken(key, Some(text), format!("is less than {min}"));
            }
            Some(number) if number > max => {
                self.broken(key, Some(text), format!("is more than {max}"));
            }
            Some(number) => return Some(number),
        }
        None
    }

    fn flatten(
        &self,
        key: &str,
        prefix: &str,
        table: BTreeMap<String, Value>,
        map: &mut BTreeMap<String, String>,
    ) {
        for (name, value) in table {
            let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value.kind {
                ValueKind::Table(table) => {
                    self.flatten(key, &name, table.into_iter().collect(), map);
                }
                ValueKind::Nil | ValueKind::Array(_) => {
                    self.broken(&format!("{key}.{name}"), None, "is not a text or a number");
                }
                scalar => {
                    map.insert(name, shown(&scalar));
                }
            }
        }
    }
}

/// A number that counts what is held in memory.
pub(super) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A value as the file had it, near enough to find it there.
fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Nil => "null".to_owned(),
        ValueKind::Table(_) => "{…}".to_owned(),
        ValueKind::Array(_) => "[…]".to_owned(),
        scalar => scalar.to_string(),
    }
}

/// The known key that a typo most likely meant.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|known| (distance(key, known), *known)).min()?;
    (near.0 <= 1 + key.len() / 4).then_some(near.1)
}

/// How many letters must be changed, added or left out to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_edits() {
        for (a, b, edits) in [("", "abc", 3), ("kitten", "sitting", 3), ("path", "path", 0)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
        assert_eq!(nearest("listne", &["body_bytes", "listen"]), Some("listen"));
        assert_eq!(nearest("colour", &["body_bytes", "listen"]), None);
    }
}
