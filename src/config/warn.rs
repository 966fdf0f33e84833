//! Finds what a config may say but cannot mean. Only what is sure is said, each with its reason:
//!
//! - A pattern or route that can never match: `=` and `!=` (or `=~` and `!~`) with the same value, or
//!   `=` with a value and with none. For patterns also two different `=` on `source`, `host`, `check`
//!   or `status`, of which an alert has one each; a matcher on `status` that no problem fulfils; and
//!   a tag wanted empty that `by` needs. Two `=` on another tag of a pattern are told as well, since
//!   only a list of values fulfils both.
//! - A pattern that never decides anything: an earlier one takes all that it would take (matchers and
//!   `by` among its own, window and gap at least as wide, as many alerts, as many sources).
//! - A route that is never asked: an earlier sibling takes everything and does not continue.
//! - A receiver that no route names.
//! - What hardly ends: a source whose alerts are kept for more than 30 days without a word, and a
//!   window of more than 7 days, in which the same tag values mean the same fault.
//!
//! A matcher on a source that is not listed is no case: such a source goes by `defaults`.

use super::collect_section::Collect;
use super::{Config, Problem};
use crate::model::matcher::{Labels, Values};
use crate::model::{Chronic, Matcher, Matchers, Pattern, Span, Status};
use crate::notify::RouteSettings;

const DAY: i64 = 86_400;
const EXPIRE_LONG: Span = Span::from_secs(30 * DAY);
const WINDOW_LONG: Span = Span::from_secs(7 * DAY);
/// What every alert has exactly once at most.
const SINGLE: [&str; 4] = ["source", "host", "check", "status"];

pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    sources(&config.collect, &mut found);
    patterns(config, &mut found);
    if let Some(root) = &config.notify.route {
        routes("notify.route", root, &mut found);
        for (number, receiver) in config.notify.receivers.iter().enumerate() {
            if !names(root, &receiver.name) {
                warn(
                    &mut found,
                    format!("notify.receivers[{number}]"),
                    &receiver.name,
                    "is told of nothing: no route names it",
                );
            }
        }
    }
    found
}

fn sources(collect: &Collect, found: &mut Vec<Problem>) {
    for source in &collect.settings.sources {
        if source.expire_after > EXPIRE_LONG {
            warn(
                found,
                format!("collect.sources ({}).expire_after", source.name),
                &source.expire_after.to_string(),
                "keeps an incident open for so long when the source never says ok",
            );
        }
    }
}

fn patterns(config: &Config, found: &mut Vec<Problem>) {
    let all = config.correlate.patterns.iter().enumerate();
    let enabled: Vec<(usize, &Pattern)> = all
        .filter(|(_, entry)| entry.enabled)
        .map(|(number, entry)| (number, &entry.pattern))
        .collect();
    for (at, (number, pattern)) in enabled.iter().enumerate() {
        let path = |key: &str| format!("correlate.patterns[{number}]{key}");
        if let Some(why) =
            never(&pattern.matchers, Of::Alert).or_else(|| wants_its_tag_empty(pattern))
        {
            warn(found, path(".match"), &shown(&pattern.matchers), &why);
        }
        if let Some((_, earlier)) = enabled[..at].iter().find(|(_, e)| covers(e, pattern)) {
            let why = format!(
                "never decides anything: pattern `{}` before it takes all that it would take",
                earlier.name
            );
            warn(found, path(""), &pattern.name, &why);
        }
        if pattern.window > WINDOW_LONG {
            let why = "joins alerts that are more than a week apart and can keep one incident \
                       growing for as long";
            warn(found, path(".window"), &pattern.window.to_string(), why);
        }
    }
}

fn routes(path: &str, route: &RouteSettings, found: &mut Vec<Problem>) {
    let mut closed: Option<usize> = None;
    for (number, child) in route.routes.iter().enumerate() {
        let path = format!("{path}.routes[{number}]");
        if let Some(why) = never(&child.matchers, Of::Incident) {
            warn(found, format!("{path}.match"), &shown(&child.matchers), &why);
        }
        if let Some(first) = closed {
            let why = format!("is never asked: routes[{first}] before it takes everything");
            warn(found, path.clone(), &child.receiver, &why);
        } else if child.matchers.iter().next().is_none() && !child.cont {
            closed = Some(number);
        }
        routes(&path, child, found);
    }
}

fn names(route: &RouteSettings, receiver: &str) -> bool {
    *route.receiver == *receiver || route.routes.iter().any(|child| names(child, receiver))
}

/// What matchers are held against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// One host, one status.
    Alert,
    /// Hosts, checks and tags of several alerts; `ok` once it is over.
    Incident,
}

/// Why nothing fulfils all of these, if so.
fn never(matchers: &Matchers, of: Of) -> Option<String> {
    let all: Vec<&Matcher> = matchers.iter().collect();
    for (at, matcher) in all.iter().enumerate() {
        let status = of == Of::Alert && matcher.name() == "status";
        if status && !Status::ALL.iter().any(|status| holds(matcher, *status)) {
            return Some(format!("can never match: no problem has {matcher}"));
        }
        let same = all[..at].iter().filter(|other| other.name() == matcher.name());
        if let Some(why) = same.filter_map(|other| clash(other, matcher, of)).next() {
            return Some(why);
        }
    }
    None
}

/// Why two matchers on one name cannot both hold, if so.
fn clash(one: &Matcher, two: &Matcher, of: Of) -> Option<String> {
    let exclude = || Some(format!("can never match: {one} and {two} exclude each other"));
    if opposite(one, two) {
        return exclude();
    }
    let (first, second) = (one.wanted()?, two.wanted()?);
    let single = of == Of::Alert && SINGLE.contains(&one.name());
    match first != second {
        true if single || first.is_empty() || second.is_empty() => exclude(),
        true if of == Of::Alert => Some(format!(
            "matches only alerts whose `{}` is a list with both {first} and {second}",
            one.name()
        )),
        _ => None,
    }
}

/// Whether one is the other's negation.
fn opposite(one: &Matcher, other: &Matcher) -> bool {
    let negated = |a: &Matcher, b: &Matcher| {
        let (a, b) = (a.to_string(), b.to_string());
        ["=", "=~"].into_iter().zip(["!=", "!~"]).any(|(yes, no)| {
            let name = quoted_name(one);
            let rest = a.strip_prefix(&format!("{name}{yes}\""));
            rest.is_some() && rest == b.strip_prefix(&format!("{name}{no}\""))
        })
    };
    negated(one, other) || negated(other, one)
}

/// The name as a matcher's text begins with it.
fn quoted_name(matcher: &Matcher) -> String {
    let text = matcher.to_string();
    let bare = text.starts_with(matcher.name());
    if bare { matcher.name().to_owned() } else { format!("{:?}", matcher.name()) }
}

fn holds(matcher: &Matcher, status: Status) -> bool {
    struct Only(Status);
    impl Labels for Only {
        fn values(&self, _: &str) -> Values<'_> {
            Values::one(self.0.as_str())
        }
    }
    // An alert comes into being by a problem, so `ok` alone is no status to wait for.
    status != Status::Ok && matcher.matches(&Only(status))
}

fn wants_its_tag_empty(pattern: &Pattern) -> Option<String> {
    let empty = |matcher: &&Matcher| {
        matcher.wanted() == Some("") && pattern.by.iter().any(|tag| **tag == *matcher.name())
    };
    let matcher = pattern.matchers.iter().find(empty)?;
    Some(format!("can never match: {matcher} wants a tag empty that `by` needs"))
}

/// Whether `earlier` takes every alert into every incident that `later` would.
fn covers(earlier: &Pattern, later: &Pattern) -> bool {
    let matchers = earlier.matchers.iter().all(|one| later.matchers.iter().any(|two| one == two));
    let by = earlier.by.iter().all(|tag| later.by.contains(tag));
    // A gap also lets an incident be joined that has resolved by itself, so that a pattern without
    // one does not cover a pattern that has one.
    let gap = match (earlier.gap, later.gap) {
        (None, None) => true,
        (Some(one), Some(two)) => one >= two,
        _ => false,
    };
    matchers
        && by
        && gap
        && (earlier.near.is_none() || earlier.near == later.near)
        && earlier.window >= later.window
        && earlier.max_alerts >= later.max_alerts
        && earlier.min_alerts <= later.min_alerts
        && (earlier.cross_source || !later.cross_source)
        && (earlier.chronic == Chronic::Join || later.chronic == Chronic::Separate)
}

fn shown(matchers: &Matchers) -> String {
    matchers.iter().map(Matcher::to_string).collect::<Vec<_>>().join(", ")
}

fn warn(found: &mut Vec<Problem>, key: String, value: &str, rule: &str) {
    found.push(Problem { key, value: Some(value.to_owned()), rule: rule.to_owned() });
}
