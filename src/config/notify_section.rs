//! `notify`: receivers and the routing tree.
//!
//! Once there are receivers there is a root route, and every route names one of them: an incident
//! that nobody is told of is always somebody's decision. Secrets are read here only to be checked.

use std::path::Path;

use super::Problem;
use super::mute_section::{self, Mute};
use super::read::Node;
use super::receiver_section;
use crate::model::Span;
use crate::notify::receiver::dialog;
use crate::notify::{ReceiverKind, ReceiverSettings, RouteSettings, SecretSource, Settings};

/// The deepest routing tree.
const DEPTH_MAX: usize = 10;
const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const DAY: Span = Span::from_secs(86_400);

pub(super) fn read(mut node: Node<'_>) -> (Settings, Mute) {
    let receivers = receivers(&mut node);
    let names: Vec<&str> = receivers.iter().map(|receiver| receiver.name.as_ref()).collect();
    let given = node.has("route");
    let table = node.optional_table("route").filter(|_| given);
    let route = table.map(|table| root(table, &names));
    if route.is_none() && !given && !receivers.is_empty() {
        node.missing("route", "once there are receivers, the root route must name one");
    }
    let retry_min = node.span("retry_min", SECOND, Span::from_millis(10), HOUR);
    let retry_max = node.span("retry_max", Span::from_secs(300), Span::from_millis(10), DAY);
    if retry_max < retry_min {
        let rule = format!("is less than retry_min, {retry_min}");
        node.broken("retry_max", Some(&retry_max.to_string()), rule);
    }
    let growth_every = node.span("growth_every", Span::from_secs(300), Span::ZERO, DAY);
    let keep = node.span("keep", DAY, Span::MINUTE, Span::from_secs(30 * 86_400));
    let mute = mute_section::read(&mut node);
    node.finish();
    (Settings { receivers, route, retry_min, retry_max, growth_every, keep, seed: 0 }, mute)
}

fn receivers(node: &mut Node<'_>) -> Vec<ReceiverSettings> {
    let mut receivers: Vec<ReceiverSettings> = Vec::new();
    for mut table in node.tables("receivers").unwrap_or_default() {
        let name = table.required("name", "routes name a receiver by it");
        let concurrency = table.count("concurrency", 8, 1, 1_024);
        let kind = receiver_section::kind(&mut table);
        let name = name.unwrap_or_default();
        if receivers.iter().any(|other| *other.name == *name) {
            table.broken("name", Some(&name), "is the name of two receivers");
        }
        table.finish();
        receivers.push(ReceiverSettings {
            name: name.into(),
            kind: kind.unwrap_or(ReceiverKind::Log),
            concurrency: usize::try_from(concurrency).unwrap_or(1),
        });
    }
    receivers
}

fn root(mut table: Node<'_>, receivers: &[&str]) -> RouteSettings {
    for key in ["match", "continue"] {
        if table.has(key) {
            table.broken(key, None, "has no place at the root, which takes every incident");
        }
    }
    if !table.has("receiver") {
        table.missing("receiver", "the root route tells whoever no finer route tells");
    }
    let above = Above { receiver: "", group_wait: Span::from_secs(10), depth: 0 };
    let root = route(&mut table, &above, receivers);
    table.finish();
    root
}

/// What a route has from its parent.
struct Above<'a> {
    receiver: &'a str,
    group_wait: Span,
    depth: usize,
}

fn route(table: &mut Node<'_>, above: &Above<'_>, receivers: &[&str]) -> RouteSettings {
    let matchers = table.matchers("match");
    let cont = table.flag("continue", false);
    let receiver = table.text("receiver");
    if let Some(name) = receiver.as_deref().filter(|name| !receivers.contains(name)) {
        let known = if receivers.is_empty() { "none".to_owned() } else { receivers.join(", ") };
        table.broken("receiver", Some(name), format!("is no receiver; there are {known}"));
    }
    let receiver = receiver.unwrap_or_else(|| above.receiver.to_owned());
    let group_wait = table.span("group_wait", above.group_wait, Span::ZERO, HOUR);
    let mut routes = Vec::new();
    for mut child in table.tables("routes").unwrap_or_default() {
        if above.depth >= DEPTH_MAX {
            child.broken("", None, format!("is more than {DEPTH_MAX} routes deep"));
            continue;
        }
        let below = Above { receiver: &receiver, group_wait, depth: above.depth + 1 };
        routes.push(route(&mut child, &below, receivers));
        child.finish();
    }
    RouteSettings { matchers, receiver: receiver.into(), group_wait, cont, routes }
}

/// What receivers need of this machine and cannot use as it is: files of secrets and certificates.
pub(super) fn unusable(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, receiver) in settings.receivers.iter().enumerate() {
        if let Some((_, reach)) = dialog(&receiver.kind)
            && let Err(why) = reach.client()
        {
            problems.push(Problem {
                key: format!("notify.receivers[{number}].{}", receiver.kind.word()),
                value: None,
                rule: format!("cannot be used: {why}"),
            });
        }
        for (key, secret) in receiver.kind.secrets() {
            let SecretSource::File(path) = secret else { continue };
            if let Some(rule) = file_rule(path, &receiver.kind) {
                let kind = receiver.kind.word();
                problems.push(Problem {
                    key: format!("notify.receivers[{number}].{kind}.{key}_file"),
                    value: Some(path.display().to_string()),
                    rule,
                });
            }
        }
    }
    problems
}

fn file_rule(path: &Path, kind: &ReceiverKind) -> Option<String> {
    match std::fs::read_to_string(path) {
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(text) if text.trim().is_empty() => Some("is an empty file".to_owned()),
        Ok(text) => receiver_section::secret_rule(kind, text.trim_end()).map(str::to_owned),
    }
}

/// One line for people.
pub(super) fn summary(settings: &Settings) -> String {
    if settings.receivers.is_empty() {
        return "no receivers, nobody is told".to_owned();
    }
    let one = |receiver: &ReceiverSettings| {
        let word = receiver.kind.word();
        match receiver.kind.place() {
            None => format!("{} ({word})", receiver.name),
            Some(place) => format!("{} ({word} to {place})", receiver.name),
        }
    };
    settings.receivers.iter().map(one).collect::<Vec<_>>().join(", ")
}
