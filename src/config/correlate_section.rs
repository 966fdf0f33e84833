//! `correlate`: patterns, windows, when an alert flaps, and planned work.
//!
//! Patterns stand in the order they are asked in; those that are switched off are checked like the
//! others, so that switching one on needs no second look.

use std::path::PathBuf;

use super::journal_section::{Journal, brokers, check_topic, client_settings};
use super::read::{Node, size};
use super::topology_topic::TopologyTopic;
use super::{Problem, heartbeat_section, schedule_section, topology_file};
use crate::model::maintenance::{CONFIGURED_MAX, PlanText};
use crate::model::{
    Chronic, ChronicSettings, CorrelateSettings, FlappingSettings, Heartbeat, MaintenanceId, Near,
    Pattern, Plan, Span, Topology,
};

const HOUR: Span = Span::from_secs(3_600);
/// Longer windows would make correlate keep what nobody remembers.
const WINDOW_MAX: Span = Span::from_secs(30 * 86_400);
/// Shorter, and what somebody resolved would be back before they look away.
const DISMISS_LEAST: Span = Span::MINUTE;
/// Longer, and a fault that somebody took for over would not be told of.
const DISMISS_MAX: Span = Span::from_secs(7 * 86_400);
/// Each is a time in an alert's row.
const FLAPPING_CHANGES_MAX: u64 = 100;
const FLAPPING_LEAST: Span = Span::from_secs(1);
/// Longer, and an incident would stay open for what nobody remembers.
const FLAPPING_MAX: Span = Span::from_secs(7 * 86_400);
const REMINDER_MAX: Span = Span::from_secs(30 * 86_400);
/// Each day is a number in an identity's row.
const CHRONIC_DAYS_MAX: u64 = ChronicSettings::OF_MAX as u64;
const CHRONIC_EPISODES_MAX: u64 = 10_000;
const BY_MAX: usize = 5;
/// Further away than this nearly everything is near everything.
const HOPS: (u64, u64) = (1, 8);
const NODES: (u64, u64, u64) = (100_000, 1, 20_000_000);
const EDGES: (u64, u64, u64) = (1_000_000, 1, 200_000_000);
/// Keys that say how the topology's topic is read and mean nothing without one. `settle` and
/// `read_within` have defaults and stand for themselves.
const TOPIC_KEYS: [&str; 3] = ["brokers", "settings", "settings_files"];
/// How long edges may rest, or a first reading may take.
const SETTLE: (Span, Span, Span) =
    (Span::from_secs(10), Span::from_millis(100), Span::from_secs(3_600));
const READ_WITHIN: (Span, Span, Span) =
    (Span::from_secs(60), Span::from_secs(1), Span::from_secs(3_600));
const EDGES_LOOKED_AT: (u64, u64, u64) = (20_000, 1, 10_000_000);
/// The range of windows and gaps; `0` would be no window at all.
pub(super) const WINDOW: (Span, Span) = (Span::from_millis(1), WINDOW_MAX);
pub(super) const REOPEN_WINDOW: (Span, Span) = (Span::ZERO, WINDOW_MAX);
pub(super) const MAX_ALERTS: (u64, u64) = (1, 100_000);

/// The section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Correlate {
    pub(super) reopen_window: Span,
    pub(super) dismiss_for: Span,
    pub(super) flapping: FlappingSettings,
    pub(super) chronic: ChronicSettings,
    pub(super) ok_memory_max: usize,
    pub(super) patterns: Vec<Entry>,
    pub(super) maintenance: Vec<Plan>,
    pub(super) heartbeats: Vec<Heartbeat>,
    topology: TopologyFile,
}

/// Where the topology is, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TopologyFile {
    file: Option<PathBuf>,
    topic: Option<TopologyTopic>,
    nodes_max: u64,
    edges_max: u64,
    edges_looked_at: u64,
    loaded: Option<Topology>,
}

/// A pattern, switched on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) enabled: bool,
    pub(super) pattern: Pattern,
}

impl Correlate {
    pub(super) fn settings(&self) -> CorrelateSettings {
        let enabled = self.patterns.iter().filter(|entry| entry.enabled);
        CorrelateSettings {
            reopen_window: self.reopen_window,
            dismiss_for: self.dismiss_for,
            flapping: self.flapping,
            chronic: self.chronic,
            ok_memory_max: self.ok_memory_max,
            patterns: enabled.map(|entry| entry.pattern.clone()).collect(),
            maintenance: self.maintenance.clone(),
            heartbeats: self.heartbeats.clone(),
            topology: self.topology.loaded.clone(),
        }
    }

    /// Reads the topology's file.
    ///
    /// # Errors
    /// Names what is wrong with it, and kinds of edges that a pattern asks for and it has not.
    pub(super) fn load(&mut self) -> Result<(), Vec<Problem>> {
        let TopologyFile { file, nodes_max, edges_max, edges_looked_at, loaded, .. } =
            &mut self.topology;
        let Some(path) = file else { return Ok(()) };
        let read = topology_file::read(path, size(*nodes_max), size(*edges_max));
        let graph = read.map_err(|rule| {
            let value = Some(path.display().to_string());
            vec![Problem { key: "correlate.topology.file".to_owned(), value, rule }]
        })?;
        let mut problems = Vec::new();
        for (number, entry) in self.patterns.iter().enumerate() {
            let Some(near) = &entry.pattern.near else { continue };
            let key = |key: &str| format!("correlate.patterns[{number}].near.{key}");
            if let Some(kind) = near.kinds.iter().find(|kind| !graph.has_kind(kind)) {
                let rule = "is the kind of no edge in correlate.topology.file".to_owned();
                problems.push(Problem { key: key("kinds"), value: Some(kind.to_string()), rule });
            }
            if !graph.tags().contains(&near.tag) {
                let tags = graph.tags().join(", ");
                let rule = format!("is the tag of no node in correlate.topology.file; {tags} are");
                let value = Some(near.tag.to_string());
                problems.push(Problem { key: key("tag"), value, rule });
            }
        }
        let looked_at = u32::try_from(*edges_looked_at).unwrap_or(u32::MAX);
        *loaded = Some(Topology::new(graph, looked_at));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// How large the topology is, for an account of the config.
    pub(super) fn topology_summary(&self) -> String {
        if let Some(TopologyTopic { topic, brokers, .. }) = &self.topology.topic {
            return format!("; topology from the topic {topic} of {brokers}");
        }
        let loaded = self.topology.loaded.as_ref();
        let graph = loaded.and_then(|topology| Some((topology, topology.graph.as_ref()?)));
        graph.map_or(String::new(), |(topology, graph)| {
            let (nodes, edges) = (graph.nodes(), graph.edges());
            let digest = &topology.digest[..12];
            format!("; topology of {nodes} nodes and {edges} edges (sha256 {digest}…)")
        })
    }

    /// The topic that the topology is in, if it is in one.
    pub(super) fn topology_topic(&self) -> Option<&TopologyTopic> {
        self.topology.topic.as_ref()
    }

    /// The names of the patterns that are enabled.
    pub(super) fn names(&self) -> Vec<String> {
        let enabled = self.patterns.iter().filter(|entry| entry.enabled);
        enabled.map(|entry| entry.pattern.name.to_string()).collect()
    }
}

pub(super) fn read(mut node: Node<'_>, journal: &Journal) -> Correlate {
    let (least, most) = REOPEN_WINDOW;
    let reopen_window = node.span("reopen_window", Span::from_secs(1_800), least, most);
    let default = CorrelateSettings::DISMISS_FOR;
    let dismiss_for = node.span("dismiss_for", default, DISMISS_LEAST, DISMISS_MAX);
    let flapping = flapping(node.table("flapping"));
    let chronic = chronic(node.table("chronic"));
    let ok_memory_max = node.count("ok_memory_max", 200_000, 1, 100_000_000);
    let topology = topology(node.table("topology"), journal);
    let patterns = match node.tables("patterns") {
        None => vec![
            general("cluster", Some(Span::from_secs(180))),
            general("site", Some(Span::from_secs(120))),
            general("host", None),
        ],
        Some(tables) => {
            let mut patterns: Vec<Entry> = Vec::new();
            for mut table in tables {
                let entry = entry(&mut table);
                if patterns.iter().any(|other| other.pattern.name == entry.pattern.name) {
                    table.broken("name", Some(&entry.pattern.name), "is the name of two patterns");
                }
                if entry.pattern.near.is_some()
                    && topology.file.is_none()
                    && topology.topic.is_none()
                {
                    let rule = "needs correlate.topology.file or correlate.topology.topic, which \
                                says what is near what";
                    table.broken("near", None, rule);
                }
                table.finish();
                patterns.push(entry);
            }
            patterns
        }
    };
    let maintenance = maintenance(&mut node);
    let heartbeats = heartbeat_section::heartbeats(&mut node);
    node.finish();
    let ok_memory_max = size(ok_memory_max);
    Correlate {
        reopen_window,
        dismiss_for,
        flapping,
        chronic,
        ok_memory_max,
        patterns,
        maintenance,
        heartbeats,
        topology,
    }
}

fn topology(mut table: Node<'_>, journal: &Journal) -> TopologyFile {
    let mut count = |key, (default, least, most)| table.count(key, default, least, most);
    let nodes_max = count("nodes_max", NODES);
    let edges_max = count("edges_max", EDGES);
    let edges_looked_at = count("edges_looked_at", EDGES_LOOKED_AT);
    let file = table.text("file").map(PathBuf::from);
    let bounds = (nodes_max, edges_max, edges_looked_at);
    let topic = topology_topic(&mut table, journal, bounds);
    if let (Some(_), Some(topic)) = (&file, &topic) {
        let rule = "is given beside `file`; the edges are in the one or in the other";
        table.broken("topic", Some(&topic.topic), rule);
    }
    table.finish();
    TopologyFile { file, topic, nodes_max, edges_max, edges_looked_at, loaded: None }
}

fn topology_topic(
    table: &mut Node<'_>,
    journal: &Journal,
    (nodes_max, edges_max, edges_looked_at): (u64, u64, u64),
) -> Option<TopologyTopic> {
    let name = table.text("topic");
    let given = TOPIC_KEYS.into_iter().filter(|key| table.has(key)).collect::<Vec<_>>();
    let is_shared = !given.contains(&"brokers");
    let brokers = brokers(table);
    let extra = client_settings(table);
    let settle = table.span("settle", SETTLE.0, SETTLE.1, SETTLE.2);
    let read_within = table.span("read_within", READ_WITHIN.0, READ_WITHIN.1, READ_WITHIN.2);
    let Some(topic) = name else {
        // As in the shipped file, which shows every key.
        if brokers.is_some() || !extra.is_empty() {
            for key in given {
                let rule = "says how to read a topic, but there is no `topic` beside it";
                table.broken(key, None, rule);
            }
        }
        return None;
    };
    check_topic(table, &topic, is_shared, journal);
    let (brokers, extra) = match brokers {
        Some(brokers) => (brokers, extra),
        None => {
            let mut both = journal.kafka.extra.clone();
            both.extend(extra);
            (journal.kafka.brokers.clone(), both)
        }
    };
    Some(TopologyTopic {
        topic,
        brokers,
        extra,
        is_shared,
        settle,
        read_within,
        nodes_max: size(nodes_max),
        edges_max: size(edges_max),
        edges_looked_at: u32::try_from(edges_looked_at).unwrap_or(u32::MAX),
    })
}

fn near(table: &mut Node<'_>) -> Option<Near> {
    let is_there = table.has("near");
    let mut near = table.optional_table("near").filter(|_| is_there)?;
    let tag = near.required("tag", "name the tag whose values are nodes, such as host");
    if !near.has("hops") {
        near.missing("hops", "say how many edges may lie between, such as 2");
    }
    let (least, most) = HOPS;
    let hops = near.count("hops", least, least, most);
    let kinds = near.texts("kinds").into_iter().map(Into::into).collect();
    near.finish();
    let hops = u32::try_from(hops).unwrap_or(u32::MAX);
    Some(Near { tag: tag.unwrap_or_default().into(), hops, kinds })
}

fn flapping(mut table: Node<'_>) -> FlappingSettings {
    let default = FlappingSettings::default();
    let changes = table.count("changes", default.changes.into(), 0, FLAPPING_CHANGES_MAX);
    let flapping = FlappingSettings {
        changes: u32::try_from(changes).unwrap_or(u32::MAX),
        within: table.span("within", default.within, FLAPPING_LEAST, FLAPPING_MAX),
        quiet_for: table.span("quiet_for", default.quiet_for, FLAPPING_LEAST, FLAPPING_MAX),
        reminder: table.span("reminder", default.reminder, Span::MINUTE, REMINDER_MAX),
    };
    table.finish();
    flapping
}

fn chronic(mut table: Node<'_>) -> ChronicSettings {
    let default = ChronicSettings::default();
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let episodes = table.count("episodes", default.episodes.into(), 0, CHRONIC_EPISODES_MAX);
    let of = table.count("of", default.of.into(), 1, CHRONIC_DAYS_MAX);
    let days = table.count("days", u64::from(default.days).min(of), 1, CHRONIC_DAYS_MAX);
    if days > of {
        let rule = format!("is more than the days that are looked at, {of}; none would be chronic");
        table.broken("days", Some(&days.to_string()), rule);
    }
    let most = table.count("identities_max", 200_000, 1, 100_000_000);
    table.finish();
    ChronicSettings {
        episodes: number(episodes),
        days: number(days),
        of: number(of),
        identities_max: usize::try_from(most).unwrap_or(usize::MAX),
    }
}

/// Planned work that stands in the config; its id comes from its name, so that an edit is one.
fn maintenance(node: &mut Node<'_>) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    let tables = node.tables("maintenance").unwrap_or_default();
    if tables.len() > CONFIGURED_MAX {
        let rule = format!("has more than {CONFIGURED_MAX} plans");
        node.broken("maintenance", Some(&tables.len().to_string()), rule);
    }
    for mut table in tables {
        let text = PlanText {
            name: table.text("name"),
            matchers: table.texts("match"),
            comment: table.text("comment"),
            ..schedule_section::text(&mut table)
        };
        let id = MaintenanceId::of(&format!("config {}", text.name.as_deref().unwrap_or_default()));
        match text.read(id, "config") {
            Ok(plan) if plans.iter().any(|other| other.id == id) => {
                table.broken("name", Some(&plan.name), "is the name of two maintenance plans");
            }
            Ok(plan) => plans.push(plan),
            Err(problems) => {
                for problem in problems {
                    table.broken(problem.key, problem.value.as_deref(), problem.rule);
                }
            }
        }
        table.finish();
    }
    plans
}

/// What goes where no pattern is configured: alerts that share this tag within an hour, each within
/// `gap` of the others. Chosen by `muster quality`; the figures are in config/patterns.md.
fn general(tag: &str, gap: Option<Span>) -> Entry {
    let pattern = Pattern {
        name: tag.into(),
        matchers: Default::default(),
        by: vec![tag.into()],
        window: HOUR,
        gap,
        cross_source: true,
        max_alerts: 1_000,
        min_alerts: 1,
        chronic: Chronic::default(),
        near: None,
    };
    Entry { enabled: true, pattern }
}

fn entry(table: &mut Node<'_>) -> Entry {
    let name = table.required("name", "every explanation names the pattern");
    let matchers = table.matchers("match");
    let near = near(table);
    let by = by(table, near.as_ref());
    let (least, most) = WINDOW;
    let window = table.span("window", HOUR, least, most);
    let gap = table.optional_span("gap", least, most);
    let (least, most) = MAX_ALERTS;
    let max_alerts = table.count("max_alerts", 1_000, least, most);
    let min_alerts = table.count("min_alerts", 1, least, most);
    let chronic = chronic_use(table);
    let pattern = Pattern {
        name: name.unwrap_or_default().into(),
        matchers,
        by,
        window,
        gap,
        cross_source: table.flag("cross_source", true),
        max_alerts: u32::try_from(max_alerts).unwrap_or(u32::MAX),
        min_alerts: u32::try_from(min_alerts).unwrap_or(u32::MAX),
        chronic,
        near,
    };
    if let Some((gap, rule)) = gap_rule(&pattern) {
        table.broken("gap", Some(&gap.to_string()), rule);
    }
    if let Some((least, rule)) = min_alerts_rule(&pattern) {
        table.broken("min_alerts", Some(&least.to_string()), rule);
    }
    Entry { enabled: table.flag("enabled", true), pattern }
}

fn chronic_use(table: &mut Node<'_>) -> Chronic {
    let Some(word) = table.text("chronic") else { return Chronic::default() };
    Chronic::parse(&word).unwrap_or_else(|| {
        table.broken("chronic", Some(&word), "is neither separate nor join");
        Chronic::default()
    })
}

/// A gap that breaks its rule, and the rule.
pub(super) fn gap_rule(pattern: &Pattern) -> Option<(Span, String)> {
    let window = pattern.window;
    let gap = pattern.gap.filter(|gap| *gap > window)?;
    Some((gap, format!("is more than the window, {window}; no alert would be further apart")))
}

/// A number of alerts that breaks its rule, and the rule.
pub(super) fn min_alerts_rule(pattern: &Pattern) -> Option<(u32, String)> {
    let Pattern { min_alerts: least, max_alerts: most, .. } = *pattern;
    let rule = || format!("is more than max_alerts, {most}; no incident would have as many");
    (least > most).then(|| (least, rule()))
}

fn by(table: &mut Node<'_>, near: Option<&Near>) -> Vec<Box<str>> {
    let tags = table.texts("by");
    if tags.is_empty() && near.is_none() {
        table.missing("by", "name 1 to 5 tags whose values the alerts of an incident share");
    }
    if tags.len() > BY_MAX {
        table.broken("by", Some(&tags.join(", ")), format!("are more than {BY_MAX} tags"));
    }
    for (number, tag) in tags.iter().enumerate() {
        let key = format!("by[{number}]");
        if tag.trim().is_empty() {
            table.broken(&key, Some(tag), "is empty; name a tag");
        } else if tags[..number].contains(tag) {
            table.broken(&key, Some(tag), "is named twice");
        } else if near.is_some_and(|near| *near.tag == **tag) {
            table.broken(&key, Some(tag), "is the tag of `near`; the same value is near itself");
        }
    }
    tags.into_iter().map(Into::into).collect()
}
