//! What receivers need that page on-call: `pagerduty`, `opsgenie`, `jsm_ops`.
//!
//! Addresses are known by region; another `url` is for tests and for what speaks the same API.

use super::{Node, ReceiverKind, SecretSource, address, reach, secret};
use crate::notify::receiver::by_status::ByStatus;
use crate::notify::receiver::{opsgenie, pagerduty};

/// How many names one list may have, and how long a tag may be, as Opsgenie has it.
const NAMES_MAX: usize = 50;
const TAGS_MAX: usize = 20;
const TAG_MAX: usize = 50;

const ROUTING_KEY_RULE: &str = "is no integration key of Events API v2: those are 32 letters and \
                                digits";
const API_KEY_RULE: &str = "is no API key: those are one word of letters, digits and dashes";

pub(super) fn read_pagerduty(mut table: Node<'_>) -> Option<ReceiverKind> {
    let url = by_region(&mut table, pagerduty::US, pagerduty::EU);
    let routing_key =
        needed(&mut table, "routing_key", "routing_key_file", "PagerDuty knows by it whom to page");
    if let Some(SecretSource::Inline(held)) = &routing_key
        && let Some(rule) = routing_key_rule(held.expose())
    {
        table.broken("routing_key", Some("***"), rule);
    }
    let severity = by_status(&mut table, "severity", &pagerduty::SEVERITY, &pagerduty::SEVERITIES);
    let reach = reach(&mut table);
    table.finish();
    let (url, routing_key) = (url?, routing_key?);
    let settings = pagerduty::Settings { url, routing_key, severity, reach };
    Some(ReceiverKind::PagerDuty(Box::new(settings)))
}

pub(super) fn read_opsgenie(mut table: Node<'_>) -> Option<ReceiverKind> {
    let url = by_region(&mut table, opsgenie::US, opsgenie::EU);
    read_alerts(table, opsgenie::Product::Opsgenie, url)
}

pub(super) fn read_jsm_ops(mut table: Node<'_>) -> Option<ReceiverKind> {
    let url = address(&mut table, "url", Some(opsgenie::JSM), "it says where the API is");
    read_alerts(table, opsgenie::Product::JsmOps, url)
}

fn read_alerts(
    mut table: Node<'_>,
    product: opsgenie::Product,
    url: Option<crate::notify::Address>,
) -> Option<ReceiverKind> {
    let api_key = needed(&mut table, "api_key", "api_key_file", "the API integration has one");
    if let Some(SecretSource::Inline(held)) = &api_key
        && let Some(rule) = api_key_rule(held.expose())
    {
        table.broken("api_key", Some("***"), rule);
    }
    let priority = by_status(&mut table, "priority", &opsgenie::PRIORITY, &opsgenie::PRIORITIES);
    let mut responders = Vec::new();
    for (key, kind) in [
        ("teams", "team"),
        ("users", "user"),
        ("escalations", "escalation"),
        ("schedules", "schedule"),
    ] {
        let names = names(&mut table, key, NAMES_MAX, usize::MAX);
        responders.extend(names.into_iter().map(|name| (kind, name)));
    }
    if responders.len() > NAMES_MAX {
        let rule = format!("has {} responders, more than {NAMES_MAX}", responders.len());
        table.broken("", None, rule);
    }
    let tags = names(&mut table, "tags", TAGS_MAX, TAG_MAX);
    let reach = reach(&mut table);
    table.finish();
    let (url, api_key) = (url?, api_key?);
    let settings = opsgenie::Settings { product, url, api_key, priority, responders, tags, reach };
    Some(ReceiverKind::Opsgenie(Box::new(settings)))
}

/// An address by region, or as given.
fn by_region(
    table: &mut Node<'_>,
    us: &'static str,
    eu: &'static str,
) -> Option<crate::notify::Address> {
    if table.has("region") && table.has("url") {
        table.broken("region", None, "is given beside `url`; keep one of them");
    }
    let usual = table.word("region", us, &[("us", us), ("eu", eu)]);
    address(table, "url", Some(usual), "it says where the API is")
}

/// A word by status.
fn by_status(
    table: &mut Node<'_>,
    key: &'static str,
    usual: &ByStatus,
    known: &[(&str, &'static str)],
) -> ByStatus {
    let mut words = table.table(key);
    let by_status = ByStatus {
        critical: words.word("critical", usual.critical, known),
        warning: words.word("warning", usual.warning, known),
        unknown: words.word("unknown", usual.unknown, known),
        info: words.word("info", usual.info, known),
    };
    words.finish();
    by_status
}

/// A secret without which nothing can be sent.
fn needed(
    table: &mut Node<'_>,
    key: &'static str,
    file_key: &'static str,
    what: &str,
) -> Option<SecretSource> {
    if !table.has(key) && !table.has(file_key) {
        table.missing(file_key, what);
    }
    secret(table, key, file_key)
}

/// Names that are neither empty nor too many nor too long.
fn names(table: &mut Node<'_>, key: &'static str, most: usize, longest: usize) -> Vec<Box<str>> {
    let names = table.texts(key);
    if names.len() > most {
        table.broken(key, None, format!("has {} entries, more than {most}", names.len()));
    }
    for name in &names {
        if name.trim().is_empty() {
            table.broken(key, None, "has an empty entry");
        } else if name.chars().count() > longest {
            let rule = format!("has an entry of more than {longest} characters");
            table.broken(key, Some(name), rule);
        }
    }
    names.into_iter().map(Into::into).collect()
}

/// What is wrong with a routing key.
pub(super) fn routing_key_rule(secret: &str) -> Option<&'static str> {
    (!pagerduty::is_key(secret)).then_some(ROUTING_KEY_RULE)
}

/// What is wrong with an API key.
pub(super) fn api_key_rule(secret: &str) -> Option<&'static str> {
    (!opsgenie::is_key(secret)).then_some(API_KEY_RULE)
}
