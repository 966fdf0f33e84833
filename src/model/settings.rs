//! What correlate goes by: patterns, windows and limits.
//!
//! It reaches correlate as a record in its log, never from the config directly, so that a replay
//! goes by the same rules at the same place.

use super::heartbeat::Heartbeat;
use super::maintenance::Plan;
use super::matcher::Matchers;
use super::rate::{Chronic, ChronicSettings};
use super::time::Span;
use super::topology::Topology;

/// How long after it happened an event may arrive and still find what it reopens or joins.
const ARRIVAL: Span = Span::from_secs(600);

/// One rule of correlation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Its name; unique, shown in every explanation.
    pub name: Box<str>,
    /// Which alerts it is about.
    pub matchers: Matchers,
    /// The tags whose values an incident's alerts share; 1 to 5,
    /// `source`, `host`, `check` among them; none where there is `near`.
    pub by: Vec<Box<str>>,
    /// How far from the first alert's start another may start; inclusive.
    pub window: Span,
    /// How far from the latest (or before the first) start another may start; inclusive.
    pub gap: Option<Span>,
    /// Whether alerts of several sources may share an incident.
    pub cross_source: bool,
    /// How many alerts an incident takes before the next one is opened.
    pub max_alerts: u32,
    /// How many alerts an incident must have before it is told because of this pattern; 1 to
    /// `max_alerts`.
    pub min_alerts: u32,
    /// What becomes of alerts that are chronic.
    pub chronic: Chronic,
    /// In place of or beside `by`: how near its alerts are to the one that opened it.
    pub near: Option<Near>,
}

/// How near an alert must be to the alert that opened an incident, by the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// The tag whose values are the nodes of an alert.
    pub tag: Box<str>,
    /// How many edges may lie between them; inclusive.
    pub hops: u32,
    /// Edges of which kinds are followed; none named: all of them.
    pub kinds: Vec<Box<str>>,
}

/// When an alert changes its status so often that it is not told each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlappingSettings {
    /// An alert flaps from one change of status more on; none ever does where this is 0.
    pub changes: u32,
    /// The event time in which so many changes fall; inclusive.
    pub within: Span,
    /// How long it goes without a change of status before it does not flap any more.
    pub quiet_for: Span,
    /// How often, by log time, it is said again that an incident flaps.
    pub reminder: Span,
}

impl Default for FlappingSettings {
    /// What a settings record goes by that says nothing of flapping: never to be changed.
    fn default() -> Self {
        let hour = Span::from_secs(3_600);
        Self { changes: 4, within: hour, quiet_for: hour, reminder: Span::from_secs(86_400) }
    }
}

/// Everything correlate goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelateSettings {
    /// Within this time after its resolve an alert reopens instead of starting anew, unless another
    /// incident takes it and its own would not.
    pub reopen_window: Span,
    /// How long what somebody resolved by hand stays so while its status does not change.
    pub dismiss_for: Span,
    /// When an alert flaps.
    pub flapping: FlappingSettings,
    /// When alerts are chronic.
    pub chronic: ChronicSettings,
    /// How many `ok` events of unknown identities are remembered.
    pub ok_memory_max: usize,
    /// The patterns that are enabled, in file order.
    pub patterns: Vec<Pattern>,
    /// Planned work that the config names.
    pub maintenance: Vec<Plan>,
    /// What must be heard of again and again.
    pub heartbeats: Vec<Heartbeat>,
    /// What is near what, where that is known.
    pub topology: Option<Topology>,
}

impl Default for CorrelateSettings {
    /// No patterns, and what a settings record goes by where it says nothing: never to be changed.
    fn default() -> Self {
        Self {
            reopen_window: Span::from_secs(1_800),
            dismiss_for: Self::DISMISS_FOR,
            flapping: FlappingSettings::default(),
            chronic: ChronicSettings::default(),
            ok_memory_max: 200_000,
            patterns: Vec::new(),
            maintenance: Vec::new(),
            heartbeats: Vec::new(),
            topology: None,
        }
    }
}

impl CorrelateSettings {
    /// How long a dismissal lasts where a settings record does not say: never to be changed.
    pub const DISMISS_FOR: Span = Span::from_secs(4 * 3_600);

    /// How long an incident that was resolved by hand is kept at least: what still fires afterwards
    /// must find that it was dismissed.
    #[must_use]
    pub fn dismissal_memory(&self) -> Span {
        self.dismiss_for + ARRIVAL
    }

    /// How long after its last record a resolved incident may still be joined or reopened, and is
    /// therefore kept: some minutes more than the rules ask, since events arrive after they happen.
    #[must_use]
    pub fn memory(&self) -> Span {
        let gaps = self.patterns.iter().filter_map(|pattern| pattern.gap);
        gaps.chain([self.reopen_window]).max().unwrap_or_default() + ARRIVAL
    }
}
