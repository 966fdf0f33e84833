//! Writes changes and alerts as a scenario has them, and compares.
//!
//! Every line has fixed columns; what is named besides is shown only where the expected line asks
//! for it, so that a scenario says what it is about and no more.
//!
//! Changes: log time, kinds joined by `+`, leading name, status, `N firing`; then any of `of N`
//! (alerts that ever joined), `#1` (the incident, numbered as they appear) and the names below.
//! Commands: log time, `command`, what was asked for, `done` or why it was refused.
//! Alerts: source, host/check, last status, `firing` or its reason, incident.

use std::collections::BTreeMap;

use super::super::pipeline::Pipeline;
use super::words::{Words, show_time};
use crate::model::alert::TurnedDown;
use crate::model::change::Member;
use crate::model::command::{Audience, Comment, Outcome};
use crate::model::{Alert, AlertId, Change, IncidentId, TagValue, Tags, Timestamp, Why};
use crate::wire;

/// A line that was told: its fixed columns and everything that may be asked for.
pub(super) struct Line {
    fixed: Vec<String>,
    named: BTreeMap<&'static str, String>,
}

/// Incidents by their number, and alerts by host and check.
pub(super) struct Names {
    incidents: Vec<IncidentId>,
    alerts: BTreeMap<AlertId, String>,
}

/// Every change as a line; `counts` says whether the numbers of events are as expected.
pub(super) fn changes(told: &Pipeline, counts: bool) -> Vec<Line> {
    let decoded = told.changes().iter().map(|bytes| wire::change::decode(bytes));
    let decoded: Vec<Change> = decoded.filter_map(Result::ok).collect();
    let names = names(&decoded);
    let mut lines = Vec::new();
    let mut results = told.results().iter().peekable();
    for (nth, change) in decoded.iter().enumerate() {
        while let Some((_, result)) = results.next_if(|(before, _)| *before <= nth) {
            lines.extend(result_line(result, &names));
        }
        lines.push(line(change, &names, counts));
    }
    lines.extend(results.filter_map(|(_, result)| result_line(result, &names)));
    lines
}

fn result_line(bytes: &[u8], names: &Names) -> Option<Line> {
    let result = wire::command::decode_result(bytes).ok()?;
    let outcome = match result.outcome {
        Outcome::Done => "done",
        Outcome::Refused(reason) => reason.as_str(),
    };
    let (at, action) = (show_time(result.at), result.action.to_string());
    let fixed = vec![at, "command".to_owned(), action, outcome.to_owned()];
    let incidents = result.incidents.iter().map(|(id, _)| names.incident(*id));
    let named = BTreeMap::from([
        ("count", result.count.to_string()),
        ("message", names.told(&result.message)),
        ("request", result.request.to_string()),
        ("incidents", incidents.collect::<Vec<_>>().join(",")),
        ("lines", names.told(&result.lines.join("; "))),
    ]);
    Some(Line { fixed, named })
}

/// Every alert that is kept, by start.
pub(super) fn alerts(told: &Pipeline, counts: bool) -> Vec<Line> {
    let decoded = told.changes().iter().map(|bytes| wire::change::decode(bytes));
    let names = names(&decoded.filter_map(Result::ok).collect::<Vec<_>>());
    let mut alerts: Vec<&Alert> = told.correlate().alerts().collect();
    alerts.sort_by_key(|alert| (alert.started_at, place(&alert.host, &alert.check)));
    alerts.into_iter().map(|alert| alert_line(alert, &names, counts)).collect()
}

/// The difference, line by line; none where all is as expected.
pub(super) fn compare(expected: &[String], told: Vec<Line>) -> Option<String> {
    let mut diff = String::new();
    let mut same = expected.len() == told.len();
    let mut told = told.into_iter();
    for text in expected {
        let wanted = normal(text);
        match told.next().map(|line| line.asked_for(text)) {
            Some(line) if line == wanted => diff.push_str(&format!("  {wanted}\n")),
            Some(line) => {
                same = false;
                diff.push_str(&format!("- {wanted}\n+ {line}\n"));
            }
            None => diff.push_str(&format!("- {wanted}\n")),
        }
    }
    for line in told {
        diff.push_str(&format!("+ {}\n", line.fixed.join("  ")));
    }
    (!same).then_some(diff)
}

impl Line {
    /// The line with what `asked` names, in its order.
    fn asked_for(mut self, asked: &str) -> String {
        let Ok(words) = Words::parse(asked) else { return self.fixed.join("  ") };
        let optional = words.plain.iter().skip(self.fixed.len());
        for word in optional {
            if word.starts_with('#') || word == "of" {
                let key = if word == "of" { "of" } else { "#" };
                self.fixed.push(self.named.get(key).cloned().unwrap_or_default());
            }
        }
        for (name, asked) in &words.named {
            // What a lost cache may change is not in the line then; everything else must be.
            let free = matches!(name.as_str(), "events" | "text");
            let missing = if free { asked.as_str() } else { "?" };
            let value = self.named.get(name.as_str()).map_or(missing, String::as_str);
            self.fixed.push(format!("{name}={value}"));
        }
        self.fixed.join("  ")
    }
}

/// The expected line in the same shape: one blank between words of a column, two between columns.
fn normal(text: &str) -> String {
    let Ok(words) = Words::parse(text) else { return text.to_owned() };
    let mut columns: Vec<String> = Vec::new();
    for word in words.plain {
        match columns.last_mut() {
            Some(number) if word == "firing" && number.parse::<u32>().is_ok() => {
                number.push_str(" firing");
            }
            Some(of) if of == "of" => of.push_str(&format!(" {word}")),
            _ => columns.push(word),
        }
    }
    columns.extend(words.named.into_iter().map(|(name, value)| format!("{name}={value}")));
    columns.join("  ")
}

pub(super) fn names(changes: &[Change]) -> Names {
    let mut names = Names { incidents: Vec::new(), alerts: BTreeMap::new() };
    for change in changes {
        if !names.incidents.contains(&change.id) {
            names.incidents.push(change.id);
        }
        for member in &change.alerts {
            names.alerts.insert(member.id, place(&member.host, &member.check));
        }
    }
    names
}

impl Names {
    fn incidents(&self, ids: &[IncidentId]) -> String {
        let names: Vec<String> = ids.iter().map(|id| self.incident(*id)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(",") }
    }

    fn places(&self, ids: &[AlertId]) -> String {
        let place = |id: &AlertId| self.alerts.get(id).cloned().unwrap_or_else(|| "?".into());
        let names: Vec<String> = ids.iter().map(place).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(",") }
    }

    /// A sentence with numbers and places instead of ids.
    fn told(&self, sentence: &str) -> String {
        let mut text = sentence.to_owned();
        for id in &self.incidents {
            text = text.replace(&id.to_string(), &self.incident(*id));
        }
        for (id, place) in &self.alerts {
            text = text.replace(&id.to_string(), place);
        }
        text
    }

    /// The id that `#1` or an id stands for.
    pub(super) fn id(&self, word: &str) -> Result<String, String> {
        let Some(number) = word.strip_prefix('#') else { return Ok(word.to_owned()) };
        let nth = number.parse::<usize>().ok().and_then(|nth| nth.checked_sub(1));
        let id = nth.and_then(|nth| self.incidents.get(nth));
        id.map(ToString::to_string).ok_or_else(|| format!("nothing was told of {word} so far"))
    }

    /// The id of the newest alert of a place, or an id.
    pub(super) fn alert(&self, place: &str) -> Result<String, String> {
        if place.starts_with("alr_") {
            return Ok(place.to_owned());
        }
        let id = self.alerts.iter().rev().find(|(_, known)| *known == place);
        id.map(|(id, _)| id.to_string())
            .ok_or_else(|| format!("nothing was told of {place} so far"))
    }

    fn incident(&self, id: IncidentId) -> String {
        let number = self.incidents.iter().position(|known| *known == id);
        number.map_or_else(|| "#?".to_owned(), |at| format!("#{}", at + 1))
    }
}

fn line(change: &Change, names: &Names, counts: bool) -> Line {
    let kinds: Vec<&str> = change.kinds.iter().map(|kind| kind.as_str()).collect();
    let fixed = vec![
        show_time(change.at),
        kinds.join("+"),
        leading(change),
        change.status.to_string(),
        format!("{} firing", change.counts.firing),
    ];
    let incident = |id: Option<IncidentId>| id.map_or("none".into(), |id| names.incident(id));
    let joined: Vec<&Member> =
        change.alerts.iter().filter(|member| change.joined.contains(&member.id)).collect();
    let mut named = BTreeMap::from([
        ("#", names.incident(change.id)),
        ("of", format!("of {}", change.counts.total)),
        ("rev", change.revision.to_string()),
        ("title", change.title.clone()),
        ("severity", change.severity.to_string()),
        ("reason", change.resolved.map_or("none", |(_, reason)| reason.as_str()).to_owned()),
        ("ended", time(change.resolved.map(|(at, _)| at))),
        ("started", show_time(change.started_at)),
        ("changed", show_time(change.changed_at)),
        ("hosts", change.hosts.join(",")),
        ("checks", change.checks.join(",")),
        ("sources", change.sources.join(",")),
        ("shard", change.shard.to_string()),
        ("tags", show_tags(&change.tags)),
        ("acknowledged", change.acknowledged.as_ref().map_or("no".into(), |by| by.by.to_string())),
        ("acknowledged_until", time(change.acknowledged.as_ref().and_then(|by| by.until))),
        ("assignee", change.assignee.as_deref().unwrap_or("none").to_owned()),
        ("snoozed", time(change.snoozed.as_ref().map(|snoozed| snoozed.until))),
        ("snoozed_by", change.snoozed.as_ref().map_or("no".into(), |by| by.by.to_string())),
        ("actor", change.actor.as_deref().unwrap_or("none").to_owned()),
        ("comment", change.comment.as_ref().map_or("none".into(), show_comment)),
        ("flapping", yes_or_no(change.flapping)),
        ("maintenance", yes_or_no(change.maintenance)),
        ("held", yes_or_no(change.is_held())),
        ("asks", asks(change)),
        ("lapsed", lapsed(change)),
        ("marked", change.counts.maintenance.to_string()),
        ("continues", incident(change.continues)),
        ("continued_by", incident(change.continued_by)),
        ("joined", places(joined.iter().copied())),
        ("left", names.places(&change.left)),
        ("merged_into", incident(change.merged_into)),
        ("merged_from", names.incidents(&change.merged_from)),
        ("split_from", incident(change.split_from)),
        ("split_into", names.incidents(&change.split_into)),
        ("actor", change.actor.as_deref().unwrap_or("none").to_owned()),
        ("alerts", places(change.alerts.iter())),
        (
            "text",
            change.alerts.first().map_or(String::new(), |alert| alert.description.to_string()),
        ),
        ("pair", change.pair.as_ref().map_or("none".into(), |pair| show_pair(&pair.pattern, pair))),
    ]);
    if let Some(joined) = joined.first() {
        named.extend(why(&joined.why, names));
    }
    if counts {
        named.insert("events", change.counts.events.to_string());
    }
    Line { fixed, named }
}

fn alert_line(alert: &Alert, names: &Names, counts: bool) -> Line {
    let state = alert.resolved.map_or("firing", |(_, reason)| reason.as_str());
    let fixed = vec![
        alert.identity.source().to_owned(),
        place(&alert.host, &alert.check),
        alert.status.to_string(),
        state.to_owned(),
        names.incident(alert.incident),
    ];
    let mut named = BTreeMap::from([
        ("started", show_time(alert.started_at)),
        ("changed", show_time(alert.changed_at)),
        ("tags", show_tags(&alert.tags)),
        ("acknowledged", yes_or_no(alert.acknowledged)),
        ("flapping", yes_or_no(alert.is_flapping())),
        ("chronic", yes_or_no(alert.chronic)),
        (
            "maintenance",
            alert.maintenance.as_ref().map_or("no".into(), |mark| mark.name.to_string()),
        ),
        ("quiet", time(alert.maintenance.as_ref().and_then(|mark| mark.ended_at))),
        ("said", alert.said().to_string()),
    ]);
    named.extend(why(&alert.why, names));
    if counts {
        named.insert("events", alert.events.to_string());
        named.insert("text", alert.description.to_string());
    }
    Line { fixed, named }
}

/// The patterns that asked in vain.
fn lapsed(change: &Change) -> String {
    let lapsed = change.hold.as_ref().map(|hold| hold.lapsed.join(",")).unwrap_or_default();
    if lapsed.is_empty() { "none".to_owned() } else { lapsed }
}

/// What is waited for: `host:3:12:10:00` is three alerts until then.
fn asks(change: &Change) -> String {
    let asks = change.hold.iter().flat_map(|hold| &hold.asks);
    let asks =
        asks.map(|ask| format!("{}:{}:{}", ask.pattern, ask.min_alerts, show_time(ask.until)));
    let asks: Vec<String> = asks.collect();
    if asks.is_empty() { "none".to_owned() } else { asks.join(",") }
}

/// What the incident is called by: the values its alerts share, or its first alert.
fn leading(change: &Change) -> String {
    match &change.pair {
        Some(pair) => {
            let all = pair.near.iter().chain(&pair.by);
            let values: Vec<&str> = all.map(|(_, value)| value.as_ref()).collect();
            values.join(",")
        }
        None => {
            let host = change.hosts.first().map_or("", AsRef::as_ref);
            place(host, change.checks.first().map_or("", AsRef::as_ref))
        }
    }
}

fn why<'n>(why: &Why, names: &Names) -> Vec<(&'n str, String)> {
    let pair = why.pair.as_ref().map_or("new".into(), |pair| show_pair(&pair.pattern, pair));
    let refused = why.turned_down.iter().map(|candidate| {
        format!("{}:{}", names.incident(candidate.incident), candidate.reason.as_str())
    });
    let refused: Vec<String> = refused.collect();
    let refused = if refused.is_empty() { "none".to_owned() } else { refused.join(",") };
    let missed = why.turned_down.iter().map(|candidate| missed(candidate, names));
    let missed: Vec<String> = missed.collect();
    let lacks = why.lacks.iter().map(|lack| format!("{}:{}", lack.pattern, lack.tag));
    let lacks: Vec<String> = lacks.collect();
    let or_none = |list: Vec<String>| if list.is_empty() { "none".into() } else { list.join(",") };
    let moves = why.moves.iter().map(|moved| {
        format!("{}:{}:{}", moved.kind.as_str(), names.incident(moved.from), moved.by)
    });
    let moves: Vec<String> = moves.collect();
    let path: Vec<String> = why
        .path
        .iter()
        .map(|hop| match &hop.via {
            None => hop.value.to_string(),
            Some(kind) => format!("{kind}>{}", hop.value),
        })
        .collect();
    let path = if path.is_empty() { "none".to_owned() } else { path.join(">") };
    vec![
        ("missed", or_none(missed)),
        ("lacks", or_none(lacks)),
        ("moves", or_none(moves)),
        ("path", path),
        ("why", pair),
        ("apart", why.apart.to_string()),
        ("refused", refused),
        ("more", why.more.to_string()),
    ]
}

fn show_comment(comment: &Comment) -> String {
    match comment.audience {
        Audience::Public => format!("public: {}", comment.text),
        Audience::Internal => comment.text.to_string(),
    }
}

/// By how much it was missed, or why else it was turned down, and what stood in the way besides.
fn missed(candidate: &TurnedDown, names: &Names) -> String {
    let by = match candidate.missed {
        Some((by, side)) => format!("{by}_{}", side.as_str()),
        None => candidate.reason.as_str().to_owned(),
    };
    let besides = candidate.besides.iter().map(|reason| format!("+{}", reason.as_str()));
    format!("{}:{by}{}", names.incident(candidate.incident), besides.collect::<String>())
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "none".to_owned(), show_time)
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn show_pair(pattern: &str, pair: &crate::model::Pair) -> String {
    let chronic = if pair.chronic { "chronic:" } else { "" };
    let near = pair.near.iter().map(|(_, value)| format!("near:{value}"));
    let values: Vec<String> =
        near.chain(pair.by.iter().map(|(_, value)| value.to_string())).collect();
    format!("{chronic}{pattern}({})", values.join(","))
}

fn show_tags(tags: &Tags) -> String {
    let tags: Vec<String> = tags
        .iter()
        .map(|(name, value)| match value {
            TagValue::One(value) => format!("{name}:{value}"),
            TagValue::List(values) => format!("{name}:[{}]", values.join(",")),
        })
        .collect();
    tags.join(",")
}

fn places<'a>(members: impl Iterator<Item = &'a Member>) -> String {
    let places: Vec<String> = members.map(|member| place(&member.host, &member.check)).collect();
    places.join(",")
}

pub(super) fn place(host: &str, check: &str) -> String {
    if check.is_empty() { host.to_owned() } else { format!("{host}/{check}") }
}
