//! `collect.hosts` and `collect.enrich`: one name for each machine, and what events get beside what
//! their senders said.
//!
//! A step is one of `extract`, `set`, `map` or `drop`, with `match` beside it. Tables are read with
//! the config, and so anew with each reload.

use std::path::Path;
use std::sync::Arc;

use super::read::{Node, size};
use super::table_file;
use crate::collect::enrich::{Action, Step, Take, Template, expression};
use crate::collect::hosts::{Domains, Hosts};
use crate::collect::table::Table;

/// The most rows of a table.
const ROWS_MAX: u64 = 1_000_000;
/// The most steps; each costs a look at every event that changes something.
const STEPS_MAX: usize = 1_000;
/// What steps may not change: the identity is settled before.
const SETTLED: [&str; 5] = ["source", "host", "check", "key", "status"];

pub(super) fn hosts(mut node: Node<'_>) -> Hosts {
    let lower_case = node.flag("lower_case", false);
    let listed = node.texts("strip_domains");
    let domains = match listed.as_slice() {
        [] => Domains::Keep,
        [all] if all == "*" => Domains::All,
        listed => {
            let plain = |domain: &String| domain.trim_matches('.').to_lowercase().into();
            Domains::These(listed.iter().map(plain).collect())
        }
    };
    if listed.len() > 1 && listed.iter().any(|domain| domain == "*") {
        node.broken("strip_domains", Some("*"), "stands for all domains, and alone");
    }
    let aliases = node.text("aliases").and_then(|file| {
        let read = table_file::read(Path::new(&file), &["alias"], &["host"], size(ROWS_MAX));
        read.map_err(|rule| node.broken("aliases", Some(&file), rule)).ok()
    });
    node.finish();
    Hosts { lower_case, domains, aliases: aliases.map(Arc::new) }
}

pub(super) fn steps(node: &mut Node<'_>) -> Arc<[Step]> {
    let tables = node.tables("enrich").unwrap_or_default();
    if tables.len() > STEPS_MAX {
        node.broken("enrich", None, format!("has {} steps; at most {STEPS_MAX}", tables.len()));
    }
    tables.into_iter().filter_map(step).collect()
}

fn step(mut table: Node<'_>) -> Option<Step> {
    let matchers = table.matchers("match");
    let kinds: Vec<&str> =
        ["extract", "set", "map", "drop"].into_iter().filter(|kind| table.has(kind)).collect();
    let ([kind], true) = (kinds.as_slice(), kinds.len() == 1) else {
        table.broken("match", None, "stands beside one of extract, set, map or drop: just one");
        return None;
    };
    let (action, text) = match *kind {
        "extract" => extract(table.table("extract")),
        "set" => set(&mut table),
        "map" => map(table.table("map")),
        _ => {
            let drops = table.flag("drop", true);
            (drops.then_some(Action::Drop), "drop".to_owned())
        }
    };
    table.finish();
    let text = format!("{matchers:?} {text}");
    Some(Step { matchers, action: action?, text })
}

fn extract(mut table: Node<'_>) -> (Option<Action>, String) {
    let from = table.required("from", "host, check, description or a tag to look at");
    let text = table.required("regex", "with a named group for each tag");
    let text = text.unwrap_or_default();
    let regex = match expression(&text) {
        Ok(regex) => Some(regex),
        Err(_) if text.is_empty() => None,
        Err(rule) => {
            table.broken("regex", Some(&text), rule);
            None
        }
    };
    let settled = regex.as_ref().and_then(|regex| {
        regex.capture_names().flatten().find(|name| SETTLED.contains(name)).map(str::to_owned)
    });
    if let Some(name) = settled {
        table.broken("regex", Some(&text), format!("has a group `{name}`, which {IDENTITY}"));
    }
    table.finish();
    let text = format!("extract {from:?} {text}");
    let action = from.zip(regex).map(|(from, regex)| Action::Extract { from: from.into(), regex });
    (action, text)
}

/// Why a name is refused.
const IDENTITY: &str =
    "is settled before: hosts by collect.hosts, fields by collect.sources[].fields and statuses";

fn set(table: &mut Node<'_>) -> (Option<Action>, String) {
    let mut templates = Vec::new();
    let texts = table.map("set");
    for (name, text) in &texts {
        let key = format!("set.{name}");
        if SETTLED.contains(&name.as_str()) {
            table.broken(&key, Some(text), IDENTITY);
            continue;
        }
        match Template::parse(text) {
            Ok(template) => templates.push((name.as_str().into(), template)),
            Err(rule) => table.broken(&key, Some(text), format!("is no template: {rule}")),
        }
    }
    (Some(Action::Set(templates)), format!("set {texts:?}"))
}

fn map(mut table: Node<'_>) -> (Option<Action>, String) {
    let file = table.required("file", "a CSV or JSON lines file");
    let by = table.texts("by");
    let tags = table.texts("tags");
    if by.is_empty() {
        table.missing(
            "by",
            "the columns that make the key; they are also what events are asked for",
        );
    }
    if tags.is_empty() {
        table.missing("tags", "the columns that become tags");
    }
    for name in tags.iter().filter(|name| SETTLED.contains(&name.as_str())) {
        table.broken("tags", Some(name), IDENTITY);
    }
    let take = table.word("take", Take::First, &[("first", Take::First), ("union", Take::Union)]);
    let rows_max = table.count("rows_max", ROWS_MAX, 1, ROWS_MAX);
    let read = |file: &String| -> Option<Table> {
        if by.is_empty() || tags.is_empty() {
            return None;
        }
        let (keys, cells) = (names(&by), names(&tags));
        let read = table_file::read(Path::new(file), &keys, &cells, size(rows_max));
        read.map_err(|rule| table.broken("file", Some(file), rule)).ok()
    };
    let found = file.as_ref().and_then(read);
    table.finish();
    let text = format!("map {file:?} {by:?} {tags:?} {take:?}");
    let boxed = |names: Vec<String>| names.into_iter().map(Into::into).collect();
    let action = found.map(|table| Action::Map {
        table: Arc::new(table),
        by: boxed(by),
        tags: boxed(tags),
        take,
    });
    (action, text)
}

fn names(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
