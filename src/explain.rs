//! Says in plain words why alerts are together, and why one stands alone.
//!
//! The one place where an explanation becomes text: the API puts it beside the facts, the command
//! line prints what the API says. The facts are those of the incident and of each alert's join; here
//! they are only told, and no text of others reaches a terminal unescaped.

use std::fmt::Write as _;

use crate::model::alert::{Hop, Refusal, Side, TurnedDown};
use crate::model::{Change, Hold, IncidentId, Member, Pair, Span, Timestamp};
use crate::notify::receiver::log::{clock_text, plural, rough};
use crate::notify::receiver::printable;

/// The longest name or value, in characters.
const NAME_MAX: usize = 80;
/// The longest title, in characters.
const TITLE_MAX: usize = 120;
const STRING: &str = "a string takes all";

/// What is known of an incident that an explanation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its title.
    pub title: String,
    /// Whether it is open.
    pub open: bool,
}

/// Knows other incidents, where anybody does.
pub type Names<'a> = &'a dyn Fn(IncidentId) -> Option<Known>;

/// Which of an incident's alerts are told.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The alerts, by start.
    pub alerts: &'a [Member],
    /// How many come before them.
    pub before: usize,
    /// How many come after them.
    pub after: usize,
}

/// Why the alerts of an incident are together.
#[must_use]
pub fn incident(change: &Change, page: Page<'_>, names: Names<'_>) -> String {
    let mut text = head(change);
    text.push_str(&shared(change));
    let Page { alerts, before, after } = page;
    for (nth, alert) in alerts.iter().enumerate() {
        let number = before + nth + 1;
        writeln!(text, "{number:>4}. {}", place(alert)).expect(STRING);
        for line in reasons(change, alert, names) {
            writeln!(text, "      {line}").expect(STRING);
        }
    }
    if after > 0 {
        writeln!(text, "      … and {}", count(after, "more alert")).expect(STRING);
    }
    text
}

/// Why an alert is in its incident.
#[must_use]
pub fn alert(change: &Change, alert: &Member, names: Names<'_>) -> String {
    let mut text = format!("{} · {}\n", place(alert), alert.id);
    for line in reasons(change, alert, names) {
        writeln!(text, "  {line}").expect(STRING);
    }
    text.push_str(&head(change));
    text.push_str(&shared(change));
    text
}

/// What would have had to be otherwise for an alert that stands alone to join another incident, the
/// nearest first.
#[must_use]
pub fn near_misses(change: &Change, alert: &Member, names: Names<'_>) -> Vec<String> {
    if !stands_alone(change) {
        return Vec::new();
    }
    let why = &alert.why;
    let mut misses: Vec<String> = why.turned_down.iter().map(|one| miss(one, names)).collect();
    misses.extend(why.lacks.iter().map(|lack| {
        let (pattern, tag) = (name(&lack.pattern), name(&lack.tag));
        format!("could have joined others by `{pattern}` had it carried the tag `{tag}`")
    }));
    misses
}

/// Whether an incident never had more than one alert, and nobody made it so.
#[must_use]
pub fn stands_alone(change: &Change) -> bool {
    let reshaped = change.split_from.is_some()
        || !change.split_into.is_empty()
        || !change.merged_from.is_empty();
    change.counts.total == 1 && !reshaped
}

fn head(change: &Change) -> String {
    let title = printable(&change.title, TITLE_MAX);
    let state = match change.resolved {
        None => format!("open since {}", clock_text(change.started_at)),
        Some((at, reason)) => format!("over since {} ({})", clock_text(at), reason.as_str()),
    };
    let counts = change.counts;
    let alerts = format!("{} of {} firing", counts.firing, plural(counts.total, "alert"));
    let mut text = format!("{} \"{title}\": {state} · {alerts}\n", change.id);
    if let Some(hold) = &change.hold {
        writeln!(text, "{}", held(hold, counts.total)).expect(STRING);
    }
    for (word, other) in [("Continues", change.continues), ("Is continued by", change.continued_by)]
    {
        if let Some(other) = other {
            let why = if word == "Continues" { "which was full" } else { "since it was full" };
            writeln!(text, "{word} {other}, {why}.").expect(STRING);
        }
    }
    text
}

/// Why nobody is told.
fn held(hold: &Hold, has: u32) -> String {
    let asks = hold.asks.iter().map(|ask| {
        let (pattern, until) = (name(&ask.pattern), clock_text(ask.until));
        format!(
            "`{pattern}` asks for {}, has {has}, until {until}",
            plural(ask.min_alerts, "alert")
        )
    });
    let asks: Vec<String> = asks.collect();
    let lapsed: Vec<String> =
        hold.lapsed.iter().map(|pattern| format!("`{}`", name(pattern))).collect();
    let lapsed = match lapsed.as_slice() {
        [] => String::new(),
        names => format!(
            "too few alerts came within the window of {}, which asked for more",
            names.join(", ")
        ),
    };
    match (asks.is_empty(), lapsed.is_empty()) {
        (false, true) => format!("Held, nobody is told: {}.", asks.join("; ")),
        (false, false) => format!("Held, nobody is told: {}; {lapsed}.", asks.join("; ")),
        (true, false) => format!("Held for good, nobody is told: {lapsed}."),
        (true, true) => "Held for good, nobody is told: no pattern holds it.".to_owned(),
    }
}

/// What its alerts share, and what others must share to join.
fn shared(change: &Change) -> String {
    let Some(first) = &change.pair else {
        return "No pattern holds it: nothing joins it by itself.\n".to_owned();
    };
    let lead = if stands_alone(change) { "Others may join it by" } else { "All its alerts share" };
    let pairs: Vec<String> = std::iter::once(first).chain(&change.further).map(pair).collect();
    let more = match change.further_cut {
        0 => String::new(),
        more => format!(" and {}", plural(more, "further pair")),
    };
    format!("{lead} {}{more}.\n", pairs.join(", "))
}

fn place(alert: &Member) -> String {
    let check =
        if alert.check.is_empty() { String::new() } else { format!(" / {}", name(&alert.check)) };
    let state = if alert.firing { alert.status.as_str() } else { "resolved" };
    let (host, source) = (name(&alert.host), name(&alert.source));
    let started = clock_text(alert.started_at);
    format!("{host}{check} ({source}) · {state} · started {started}")
}

fn reasons(change: &Change, alert: &Member, names: Names<'_>) -> Vec<String> {
    let why = &alert.why;
    let mut lines = Vec::new();
    match &why.pair {
        Some(shared) => {
            let side = side_of(change.started_at, alert.started_at);
            let apart = if why.apart.as_millis() == 0 {
                "at the time of the first alert".to_owned()
            } else {
                format!("{} {side} the first alert", rough(why.apart))
            };
            lines.push(format!("joined by {}, {apart}", pair(shared)));
            lines.extend(way(&why.path));
        }
        None if stands_alone(change) => lines.push("stands alone".to_owned()),
        None => lines.push("opened the incident".to_owned()),
    }
    if stands_alone(change) {
        lines.extend(near_misses(change, alert, names));
    } else {
        lines.extend(why.turned_down.iter().map(|one| refused(one, names)));
    }
    lines.extend(why.moves.iter().map(|moved| {
        let (by, at) = (name(&moved.by), clock_text(moved.at));
        let (kind, from) = (moved.kind.as_str(), other(moved.from, names));
        if moved.request.is_empty() {
            return format!("moved here at {at}, from {from}: too few alerts came there in time");
        }
        format!("{kind} by {by} at {at}, from {from} (request {})", name(&moved.request))
    }));
    if why.more > 0 {
        lines.push(format!("{} turned down besides", plural(why.more, "incident")));
    }
    lines
}

/// The way through the topology from an alert to what opened the incident, where there is one.
fn way(path: &[Hop]) -> Option<String> {
    let step = |hop: &Hop| {
        let node = format!("{}={}", name(&hop.tag), name(&hop.value));
        hop.via.as_ref().map_or(node.clone(), |kind| format!("–{}→ {node}", name(kind)))
    };
    let steps: Vec<String> = path.iter().map(step).collect();
    (steps.len() > 1).then(|| format!("by way of {}", steps.join(" ")))
}

fn side_of(first: Timestamp, start: Timestamp) -> &'static str {
    if start < first { "before" } else { "after" }
}

/// `cluster` (cluster=web, env=prod).
fn pair(pair: &Pair) -> String {
    let mut by: Vec<String> =
        pair.by.iter().map(|(tag, value)| format!("{}={}", name(tag), name(value))).collect();
    by.extend(pair.near.as_ref().map(|(tag, value)| format!("near {}={}", name(tag), name(value))));
    by.extend(pair.source.as_ref().map(|source| format!("source {}", name(source))));
    format!("`{}` ({})", name(&pair.pattern), by.join(", "))
}

/// Why an incident that took no part was turned down.
fn refused(one: &TurnedDown, names: Names<'_>) -> String {
    let missed = match one.missed {
        Some((by, side)) => format!("{} too {}", rough(by), side.as_str()),
        None => format!("{} apart", rough(one.apart)),
    };
    let why = match one.reason {
        Refusal::OutsideWindow => format!("outside its window, {missed}"),
        Refusal::OutsideGap => format!("outside its gap, {missed}"),
        Refusal::Full => "it was full".to_owned(),
        Refusal::Resolved => "it was over".to_owned(),
        Refusal::SplitOff => "it was split off from there".to_owned(),
    };
    format!("not {} by `{}`: {why}", other(one.incident, names), name(&one.pattern))
}

/// What would have had to be otherwise.
fn miss(one: &TurnedDown, names: Names<'_>) -> String {
    let mut hads = Vec::new();
    if let Some((by, side)) = one.missed {
        let way = match side {
            Side::Early => "later",
            Side::Late => "earlier",
        };
        // To the second, rounded up: with less it would not have joined.
        let by = rough_up(by);
        hads.push(format!("had it started {by} {way}"));
    }
    for reason in std::iter::once(&one.reason).chain(&one.besides) {
        hads.extend(match reason {
            Refusal::Full => Some("had that not been full".to_owned()),
            Refusal::Resolved => Some("had that not been over".to_owned()),
            Refusal::SplitOff => Some("had it not been split off from there".to_owned()),
            Refusal::OutsideWindow | Refusal::OutsideGap => None,
        });
    }
    if hads.is_empty() {
        // What was turned down before it was kept by how much.
        hads.push(format!("had it started nearer to it than {}", rough(one.apart)));
    }
    let (other, pattern) = (other(one.incident, names), name(&one.pattern));
    format!("would have joined {other} by `{pattern}` {}", hads.join(" and "))
}

fn rough_up(span: Span) -> Span {
    Span::from_secs(span.as_millis().saturating_add(999) / 1_000)
}

fn other(id: IncidentId, names: Names<'_>) -> String {
    match names(id) {
        None => id.to_string(),
        Some(Known { title, open }) => {
            let over = if open { "" } else { ", over by now" };
            format!("{id} (\"{}\"{over})", printable(&title, TITLE_MAX))
        }
    }
}

fn name(text: &str) -> String {
    printable(text, NAME_MAX)
}

fn count(number: usize, word: &str) -> String {
    plural(u32::try_from(number).unwrap_or(u32::MAX), word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::Lack;
    use crate::model::{Ask, Identity, Span, Why};
    use crate::notify::sample;

    fn id(nth: u32) -> IncidentId {
        IncidentId::derive(sample::at(0), &Identity::new("n", Some("h"), None, None), nth)
    }

    fn down(reason: Refusal, missed: Option<(i64, Side)>, besides: &[Refusal]) -> TurnedDown {
        TurnedDown {
            incident: id(1),
            pattern: "service".into(),
            reason,
            apart: Span::from_secs(3_640),
            missed: missed.map(|(millis, side)| (Span::from_millis(millis), side)),
            besides: besides.to_vec(),
        }
    }

    fn alone(turned_down: Vec<TurnedDown>) -> (Change, Member) {
        let mut change = sample::change(1, 1, &[]);
        change.counts.total = 1;
        let lacks = vec![Lack { pattern: "cluster".into(), tag: "cluster".into() }];
        let alert =
            Member { why: Why { turned_down, lacks, ..Why::default() }, ..sample::member(1) };
        (change, alert)
    }

    fn nobody(_: IncidentId) -> Option<Known> {
        None
    }

    #[test]
    fn an_alert_that_stands_alone_is_told_what_would_have_had_to_be_otherwise() {
        let (change, alert) = alone(vec![
            down(Refusal::OutsideWindow, Some((39_500, Side::Late)), &[]),
            down(Refusal::OutsideGap, Some((60_000, Side::Early)), &[Refusal::Full]),
            down(Refusal::Full, None, &[]),
            down(Refusal::Resolved, None, &[Refusal::Full]),
        ]);
        let other = id(1);
        let known = |_| Some(Known { title: "db: slow".into(), open: true });
        let wanted = [
            format!(
                "would have joined {other} (\"db: slow\") by `service` had it started 40s earlier"
            ),
            format!(
                "would have joined {other} (\"db: slow\") by `service` had it started 1m later and had \
                 that not been full"
            ),
            format!("would have joined {other} (\"db: slow\") by `service` had that not been full"),
            format!(
                "would have joined {other} (\"db: slow\") by `service` had that not been over and had \
                 that not been full"
            ),
            "could have joined others by `cluster` had it carried the tag `cluster`".to_owned(),
        ];
        assert_eq!(near_misses(&change, &alert, &known), wanted);
        let text = super::alert(&change, &alert, &nobody);
        assert!(text.contains("  stands alone\n  would have joined inc_"), "{text}");
    }

    #[test]
    fn who_has_company_is_told_how_it_came_in_and_what_it_passed_by() {
        let mut change = sample::change(1, 2, &[]);
        change.counts.total = 2;
        let why = Why {
            pair: change.pair.clone(),
            apart: Span::from_secs(41),
            turned_down: vec![down(Refusal::OutsideGap, Some((5_000, Side::Late)), &[])],
            more: 2,
            path: [("host", "db-1", None), ("switch", "sw-1", Some("link"))]
                .map(|(tag, value, via)| Hop {
                    tag: tag.into(),
                    value: value.into(),
                    via: via.map(Into::into),
                })
                .into(),
            ..Why::default()
        };
        let alert = Member {
            why,
            started_at: change.started_at + Span::from_secs(41),
            ..sample::member(1)
        };
        assert!(near_misses(&change, &alert, &nobody).is_empty());
        let page = Page { alerts: &[alert], before: 1, after: 3 };
        let text = incident(&change, page, &nobody);
        for wanted in [
            "All its alerts share `cluster` (cluster=web).\n",
            "   2. web-1 / disk / (nagios) · critical · started 2025-11-23T16:00:41Z\n",
            "      joined by `cluster` (cluster=web), 41s after the first alert\n",
            "      by way of host=db-1 –link→ switch=sw-1\n",
            "by `service`: outside its gap, 5s too late\n",
            "      2 incidents turned down besides\n",
            "      … and 3 more alerts\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
        }
    }

    #[test]
    fn who_is_held_is_told_what_for() {
        let (mut change, alert) = alone(Vec::new());
        let ask = Ask { pattern: "site".into(), min_alerts: 3, until: sample::at(600) };
        let told = |change: &Change| super::alert(change, &alert, &nobody);
        let hold = |asks, lapsed: &[&str]| {
            let lapsed = lapsed.iter().map(|name| Box::from(*name)).collect();
            Some(Box::new(Hold { asks, lapsed }))
        };
        assert!(!told(&change).contains("nobody is told"));
        change.hold = hold(vec![ask.clone()], &[]);
        let wanted =
            "Held, nobody is told: `site` asks for 3 alerts, has 1, until 2025-11-23T16:10:00Z.\n";
        assert!(told(&change).contains(wanted), "{}", told(&change));
        change.hold = hold(vec![ask], &["rack"]);
        assert!(told(&change).contains("16:10:00Z; too few alerts came"), "{}", told(&change));
        change.hold = hold(Vec::new(), &["rack", "site"]);
        let wanted = "Held for good, nobody is told: too few alerts came within the window of `rack`, \
                      `site`, which asked for more.\n";
        assert!(told(&change).contains(wanted), "{}", told(&change));
    }

    #[test]
    fn names_cannot_write_lines_of_their_own() {
        let (change, mut alert) = alone(Vec::new());
        alert.host = "a\n  joined by `x`\x1b[31m".into();
        let text = super::alert(&change, &alert, &nobody);
        assert!(!text.contains('\x1b') && !text.contains("\n  joined"), "{text}");
    }
}
