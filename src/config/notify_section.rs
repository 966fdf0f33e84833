//! `notify`: receivers and the routing tree.
//!
//! Once there are receivers there is a root route, and every route names one of them: an incident
//! that nobody is told of is always somebody's decision. Secrets are read here only to be checked.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Problem;
use super::mute_section::{self, Mute};
use super::read::Node;
use crate::model::Span;
use crate::notify::{
    ReceiverKind, ReceiverSettings, RouteSettings, Secret, SecretSource, Settings,
};

/// The deepest routing tree.
const DEPTH_MAX: usize = 10;
const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const DAY: Span = Span::from_secs(86_400);
/// The keys of which a receiver has exactly one.
const KINDS: [&str; 2] = ["log", "webhook"];

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
        let kind = kind(&mut table);
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

fn kind(table: &mut Node<'_>) -> Option<ReceiverKind> {
    let log = table.optional_table("log");
    let webhook = table.optional_table("webhook");
    let given = usize::from(log.is_some()) + usize::from(webhook.is_some());
    if given != 1 {
        let rule = format!("needs exactly one of the keys {}, it has {given}", KINDS.join(", "));
        table.broken("", None, rule);
    }
    if let Some(log) = log {
        log.finish();
    }
    webhook.map_or(Some(ReceiverKind::Log), read_webhook)
}

fn read_webhook(mut table: Node<'_>) -> Option<ReceiverKind> {
    let url = table.required("url", "it says where to post to");
    if let Some(text) = &url {
        check_url(&table, text);
    }
    let secret = secret(&mut table);
    let connect_timeout = table.span(
        "connect_timeout",
        Span::from_secs(3),
        Span::from_millis(10),
        Span::from_secs(60),
    );
    let timeout =
        table.span("timeout", Span::from_secs(10), Span::from_millis(10), Span::from_secs(300));
    if connect_timeout > timeout {
        let rule = format!("is more than timeout, {timeout}, which covers the whole exchange");
        table.broken("connect_timeout", Some(&connect_timeout.to_string()), rule);
    }
    table.finish();
    Some(ReceiverKind::Webhook { url: url?, secret, connect_timeout, timeout })
}

fn check_url(table: &Node<'_>, text: &str) {
    // Paths and queries of webhooks often hold a token, so problems show only where it leads.
    let shown = without_path(text);
    let rule = match reqwest::Url::parse(text) {
        Err(error) => format!("is no URL: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            "is neither http nor https".to_owned()
        }
        Ok(url) if url.host_str().is_none_or(str::is_empty) => "names no host".to_owned(),
        Ok(_) => return,
    };
    table.broken("url", Some(&shown), rule);
}

fn secret(table: &mut Node<'_>) -> Option<SecretSource> {
    let inline = table.secret("secret");
    let file = table.text("secret_file");
    if inline.is_some() && file.is_some() {
        table.broken("secret_file", None, "is given beside `secret`; keep one of them");
    }
    if inline.as_deref().is_some_and(|secret| !is_key(secret)) {
        table.broken("secret", Some("***"), SECRET_RULE);
    }
    let file = file.map(|path| SecretSource::File(PathBuf::from(path)));
    file.or(inline.map(|text| SecretSource::Inline(Secret::new(text))))
}

const SECRET_RULE: &str = "begins with whsec_ but what follows is not base64";

/// Whether a text can be the key of a signature: anything, but after `whsec_` base64.
fn is_key(text: &str) -> bool {
    text.strip_prefix("whsec_").is_none_or(|key| STANDARD.decode(key).is_ok_and(|k| !k.is_empty()))
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

/// The files of secrets that cannot be used as they are.
pub(super) fn unreadable(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, receiver) in settings.receivers.iter().enumerate() {
        let ReceiverKind::Webhook { secret: Some(SecretSource::File(path)), .. } = &receiver.kind
        else {
            continue;
        };
        if let Some(rule) = file_rule(path) {
            problems.push(Problem {
                key: format!("notify.receivers[{number}].webhook.secret_file"),
                value: Some(path.display().to_string()),
                rule,
            });
        }
    }
    problems
}

fn file_rule(path: &Path) -> Option<String> {
    match std::fs::read_to_string(path) {
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(text) if text.trim().is_empty() => Some("is an empty file".to_owned()),
        Ok(text) if !is_key(text.trim_end()) => Some(SECRET_RULE.to_owned()),
        Ok(_) => None,
    }
}

/// One line for people.
pub(super) fn summary(settings: &Settings) -> String {
    if settings.receivers.is_empty() {
        return "no receivers, nobody is told".to_owned();
    }
    let one = |receiver: &ReceiverSettings| match &receiver.kind {
        ReceiverKind::Log => format!("{} (log)", receiver.name),
        ReceiverKind::Webhook { url, .. } => {
            format!("{} (webhook to {})", receiver.name, without_path(url))
        }
    };
    settings.receivers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The same without what may be a secret: paths of webhooks often are.
pub(super) fn masked(settings: &Settings) -> Settings {
    let mut masked = settings.clone();
    for receiver in &mut masked.receivers {
        if let ReceiverKind::Webhook { url, .. } = &mut receiver.kind {
            *url = without_path(url);
        }
    }
    masked
}

/// Scheme, host and port of a URL; the rest hidden.
fn without_path(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return "***".to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if rest.len() == host.len() { text.to_owned() } else { format!("{scheme}://{host}/***") }
}
