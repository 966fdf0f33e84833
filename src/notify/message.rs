//! What a person should read of an incident, in no system's markup: first what is broken and how bad,
//! then how wide and since when, why it is one incident, what is new, and where to look.
//!
//! Texts of others are in it as they came, on one line and cut; whoever puts them into a markup must
//! escape them. A receiver that has little room leaves out from the end.

use super::receiver::printable;
use crate::model::{Change, ChangeKind, Member, Span, Status, Timestamp};

/// The longest title, text and name, in characters.
const TITLE_MAX: usize = 250;
const TEXT_MAX: usize = 300;
const NAME_MAX: usize = 100;
/// How many links are named, and how long one may be, in bytes; longer ones are left out.
const LINKS_MAX: usize = 8;
const LINK_MAX: usize = 2_048;

/// An incident, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `critical`, …, or `resolved`.
    pub state: &'static str,
    /// The status it shows; of what is over the worst it ever had.
    pub severity: Status,
    /// What is broken, on one line.
    pub title: String,
    /// What happened since the last notice, in words.
    pub news: String,
    /// How much of it fires.
    pub extent: String,
    /// Since when, or how long it lasted and why it is over.
    pub time: String,
    /// Why its alerts are one incident.
    pub grouping: String,
    /// Who takes care of it; none where nobody does.
    pub care: Option<String>,
    /// Who remarked what; none where nobody did since the last notice.
    pub remark: Option<String>,
    /// The alerts of this notice, the worst first, then the newest.
    pub alerts: Vec<Line>,
    /// How many of its alerts are not among them.
    pub more: u32,
    /// Where to look: name and address, each address once.
    pub links: Vec<(String, String)>,
    /// The incident's id and revision.
    pub foot: String,
}

/// An alert, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its status, or `resolved`.
    pub state: &'static str,
    /// Host, and check where there is one.
    pub name: String,
    /// What the check said.
    pub text: String,
}

impl Message {
    /// Of an incident as a notice has it. Names of no more than `alerts_max` alerts.
    #[must_use]
    pub fn new(change: &Change, alerts_max: usize) -> Self {
        let mut members: Vec<&Member> = change.alerts.iter().collect();
        members.sort_by_key(|member| {
            let status = if member.firing { member.status } else { Status::Ok };
            std::cmp::Reverse((status, member.changed_at))
        });
        let shown = members.len().min(alerts_max);
        let total = usize::try_from(change.counts.total).unwrap_or(usize::MAX);
        let more = total.saturating_sub(shown);
        Self {
            state: state(change),
            severity: if change.is_open() { change.status } else { change.severity },
            title: printable(&change.title, TITLE_MAX),
            news: news(&change.kinds),
            extent: extent(change),
            time: time(change),
            grouping: grouping(change),
            care: care(change),
            remark: remark(change),
            links: links(&members),
            alerts: members.into_iter().take(alerts_max).map(line).collect(),
            more: u32::try_from(more).unwrap_or(u32::MAX),
            foot: format!("{} r{}", change.id, change.revision),
        }
    }

    /// State and title, as in a subject.
    #[must_use]
    pub fn headline(&self) -> String {
        format!("{}: {}", self.state.to_uppercase(), self.title)
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state.as_bytes(), b"resolved")
    }

    /// Its alerts, each as a line of text, in at most `room` characters with the ends of lines; the
    /// last line counts those that are left out.
    #[must_use]
    pub fn listed(&self, room: usize, line: impl Fn(&Line) -> String) -> Vec<String> {
        let count = |text: &String| text.chars().count() + 1;
        let total = self.more as usize + self.alerts.len();
        let mut lines: Vec<String> = self.alerts.iter().map(line).collect();
        let mut used: usize = lines.iter().map(count).sum();
        loop {
            let more = total - lines.len();
            let last = (more > 0).then(|| format!("… and {more} more"));
            if used + last.as_ref().map_or(0, count) <= room {
                lines.extend(last);
                return lines;
            }
            let Some(dropped) = lines.pop() else { return lines };
            used -= count(&dropped);
        }
    }

    /// All facts but the alerts, the most important first, each on a line.
    #[must_use]
    pub fn facts(&self) -> Vec<&str> {
        let facts = [&self.extent, &self.time, &self.news];
        let more = [&self.remark, &self.care].into_iter().flatten();
        facts.into_iter().chain(more).chain([&self.grouping]).map(String::as_str).collect()
    }
}

/// `critical`, …, or `resolved`.
#[must_use]
pub fn state(change: &Change) -> &'static str {
    if change.is_open() { change.status.as_str() } else { "resolved" }
}

/// What happened, in words.
fn news(kinds: &[ChangeKind]) -> String {
    let words: Vec<String> =
        kinds.iter().map(|kind| ChangeKind::as_str(*kind).replace('_', " ")).collect();
    words.join(", ")
}

/// How much of it fires, where.
#[must_use]
pub fn extent(change: &Change) -> String {
    let counts = change.counts;
    let (hosts, checks) = (plural(counts.hosts, "host"), plural(counts.checks, "check"));
    let (firing, total) = (counts.firing, plural(counts.total, "alert"));
    format!("{firing} firing of {total} · {hosts}, {checks}")
}

/// Since when, or how long it lasted and why it is over.
#[must_use]
pub fn time(change: &Change) -> String {
    let started = clock_text(change.started_at);
    match change.resolved {
        None => format!("since {started} ({})", rough(change.at.since(change.started_at))),
        Some((ended, reason)) => {
            let lasted = rough(ended.since(change.started_at));
            let into = change.merged_into.map(|into| format!(" into {into}")).unwrap_or_default();
            format!("lasted {lasted}, from {started}; reason {}{into}", reason.as_str())
        }
    }
}

/// Why its alerts are one incident.
#[must_use]
pub fn grouping(change: &Change) -> String {
    let Some(pair) = &change.pair else { return "stands alone: no pattern matched".to_owned() };
    let near = pair.near.iter().map(|(tag, value)| format!("near {tag}={value}"));
    let by = near.chain(pair.by.iter().map(|(tag, value)| format!("{tag}={value}")));
    let by = printable(&by.collect::<Vec<_>>().join(", "), TEXT_MAX);
    format!("grouped by pattern {}: {by}", printable(&pair.pattern, NAME_MAX))
}

/// Who takes care of it.
fn care(change: &Change) -> Option<String> {
    let name = |name: &str| printable(name, NAME_MAX);
    let by = change.acknowledged.as_ref().map(|held| format!("acknowledged by {}", name(&held.by)));
    let to = change.assignee.as_ref().map(|to| format!("assigned to {}", name(to)));
    let all: Vec<String> = by.into_iter().chain(to).collect();
    (!all.is_empty()).then(|| all.join(" · "))
}

/// Who remarked what.
#[must_use]
pub fn remark(change: &Change) -> Option<String> {
    let comment = change.comment.as_ref()?;
    let by = change.actor.as_deref().unwrap_or("somebody");
    Some(format!("{}: {}", printable(by, NAME_MAX), printable(&comment.text, TEXT_MAX)))
}

fn line(alert: &Member) -> Line {
    let check = match &*alert.check {
        "" => String::new(),
        check => format!(" / {}", printable(check, NAME_MAX)),
    };
    Line {
        state: if alert.firing { alert.status.as_str() } else { "resolved" },
        name: printable(&alert.host, NAME_MAX) + &check,
        text: printable(&alert.description, TEXT_MAX),
    }
}

/// Runbooks first, then what comes with the worst alerts.
fn links(members: &[&Member]) -> Vec<(String, String)> {
    let all = members.iter().flat_map(|member| member.links.iter());
    let web = all.filter(|(_, url)| url.starts_with("https://") || url.starts_with("http://"));
    let web = web.filter(|(_, url)| url.len() <= LINK_MAX && !url.contains(char::is_control));
    let mut links: Vec<(String, String)> = Vec::new();
    for (name, url) in web {
        if !links.iter().any(|(_, known)| **known == **url) {
            links.push((printable(name, NAME_MAX), url.to_string()));
        }
    }
    links.sort_by_key(|(name, _)| !name.to_lowercase().contains("runbook"));
    links.truncate(LINKS_MAX);
    links
}

/// A text of at most so many characters, the last of which says that it was cut.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

pub(crate) fn plural(count: u32, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// To the second, in UTC: the one zone that all on a call share.
pub(crate) fn clock_text(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.as_millis().div_euclid(1_000))
        .map_or_else(|_| format!("{} ms", time.as_millis()), |time| time.to_string())
}

/// The two largest units, which is all that matters: `2d5h`, `1h30m`, `45s`.
pub(crate) fn rough(span: Span) -> String {
    let secs = span.as_millis() / 1_000;
    let (large, small) = match secs {
        0..60 => return format!("{secs}s"),
        60..3_600 => (60, 1),
        3_600..86_400 => (3_600, 60),
        _ => (86_400, 3_600),
    };
    Span::from_secs(secs / large * large + secs % large / small * small).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Links;
    use crate::notify::sample;

    #[test]
    fn the_worst_comes_first_and_runbooks_before_graphs() {
        let mut change = sample::change(1, 7, &[ChangeKind::Grew, ChangeKind::MaintenanceLeft]);
        change.at = sample::at(5_415);
        change.alerts = (0..4).map(sample::member).collect();
        change.alerts[0].status = Status::Warning;
        change.alerts[1].firing = false;
        change.alerts[3].changed_at = sample::at(5);
        let runbook = ("Runbook".into(), "https://wiki.example/1".into());
        change.alerts[1].links = Links::from([runbook, ("x".into(), "javascript:alert()".into())]);
        (change.counts.total, change.counts.firing) = (9, 8);
        let message = Message::new(&change, 3);
        let names: Vec<&str> = message.alerts.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["web-3 / disk /", "web-2 / disk /", "web-0 / disk /"]);
        assert_eq!((message.more, message.state), (6, "critical"));
        let urls: Vec<&str> = message.links.iter().map(|(_, url)| url.as_str()).collect();
        assert_eq!(urls, ["https://wiki.example/1", "https://graphs.example/web"]);
        assert_eq!(
            message.facts(),
            [
                "8 firing of 9 alerts · 1 host, 1 check",
                "since 2025-11-23T16:00:00Z (1h30m)",
                "grew, maintenance left",
                "grouped by pattern cluster: cluster=web"
            ]
        );
        assert_eq!(message.headline(), "CRITICAL: web: web-1 · disk / · critical");
    }

    #[test]
    fn alerts_without_room_are_counted() {
        let mut change = sample::change(1, 7, &[ChangeKind::Grew]);
        change.alerts = (0..4).map(sample::member).collect();
        change.counts.total = 9;
        let message = Message::new(&change, 3);
        let lines = |room| message.listed(room, |line| line.name.clone());
        let all = ["web-0 / disk /", "web-1 / disk /", "web-2 / disk /", "… and 6 more"];
        assert_eq!(lines(58), all);
        assert_eq!(lines(57), ["web-0 / disk /", "web-1 / disk /", "… and 7 more"]);
        assert_eq!(lines(13), ["… and 9 more"]);
        assert!(lines(12).is_empty());
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!((cut("größe", 5), cut("größer", 5)), ("größe".into(), "größ…".into()));
    }
}
