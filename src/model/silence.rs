//! Silences and inhibition: what mutes an alert, and how those that may are found quickly.
//!
//! A silence mutes the alerts that fulfil its matchers, for a time. An inhibition rule mutes its
//! targets while an alert fires that is one of its sources and has the same values under `equal`.
//! Who asks, when and over which alerts is the business of `board` and `notify`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::Member;
use super::id::{AlertId, IncidentId, SilenceId};
use super::matcher::Matchers;
use super::matcher_index::MatcherIndex;
use super::time::{Span, Timestamp};

/// How many request ids a silence remembers, so that a repeat is known as one.
pub const REQUESTS_MAX: usize = 16;
/// How many silences or alerts are named as the reason why something is muted.
pub const REASONS_MAX: usize = 20;

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SilenceState {
    /// Its start lies ahead.
    Pending,
    /// It mutes.
    Active,
    /// It is over.
    Expired,
}

impl SilenceState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Active, Self::Expired];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

/// Mutes the alerts that fulfil its matchers, from its start to just before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// Which alerts.
    pub matchers: Matchers,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until when; not included.
    pub ends_at: Timestamp,
    /// Who made it.
    pub created_by: Box<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who changed it last.
    pub updated_by: Box<str>,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Why.
    pub comment: Box<str>,
    /// The requests that made it what it is, at most [`REQUESTS_MAX`], the newest last.
    pub requests: Vec<Box<str>>,
}

impl Silence {
    /// Where it stands at a time.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> SilenceState {
        if now >= self.ends_at {
            SilenceState::Expired
        } else if now < self.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }
}

/// What holds silences to their bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceSettings {
    /// How many there may be, expired ones that are still kept included (default 10,000).
    pub max: usize,
    /// How many matchers one may have (default 50).
    pub matchers_max: usize,
    /// How long a comment may be (default 1,024 bytes).
    pub comment_bytes: usize,
    /// How long an expired one is kept (default 5 d).
    pub keep: Span,
    /// One that would mute more alerts than this wants the count back (default 100).
    pub confirm_above: usize,
}

impl Default for SilenceSettings {
    fn default() -> Self {
        Self {
            max: 10_000,
            matchers_max: 50,
            comment_bytes: 1_024,
            keep: Span::from_secs(5 * 86_400),
            confirm_above: 100,
        }
    }
}

/// Targets are muted while a source fires that has the same values under `equal`. What is both
/// source and target is not muted by its like, nor by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InhibitRule {
    /// Which alerts mute.
    pub source: Matchers,
    /// Which are muted.
    pub target: Matchers,
    /// Tags under which both must have the same values; missing on both counts as the same.
    pub equal: Vec<Box<str>>,
}

/// Why something is muted, and until when as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Muted {
    /// Silences, at most [`REASONS_MAX`].
    pub by: Vec<SilenceId>,
    /// Firing alerts that inhibit it, at most [`REASONS_MAX`].
    pub inhibited_by: Vec<AlertId>,
    /// When the silences end; none where inhibition has a part, whose end nobody knows.
    pub until: Option<Timestamp>,
}

/// What is asked of muting before something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The incident.
    pub incident: IncidentId,
    /// The revision that would be told.
    pub revision: u64,
    /// When that revision was read, by the asker's clock.
    pub seen_at: Timestamp,
}

/// Whether something may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    /// Nothing mutes it.
    No,
    /// It is muted: by silences alone, or by inhibition as well.
    Yes {
        /// Whether inhibition has a part in it.
        inhibited: bool,
    },
    /// What is known is older than the question; ask again, but for no longer than this.
    Unsure(Span),
}

/// Silences, found by what an alert must have for them to matter.
#[derive(Debug, Default)]
pub struct SilenceIndex {
    by_matchers: MatcherIndex<SilenceId>,
    all: BTreeMap<SilenceId, Arc<Silence>>,
}

impl SilenceIndex {
    /// Takes a silence in; one of the same id gives way.
    pub fn insert(&mut self, silence: Arc<Silence>) {
        self.by_matchers.insert(silence.id, &silence.matchers);
        self.all.insert(silence.id, silence);
    }

    /// Lets the silence of this id go.
    pub fn remove(&mut self, silence: &Silence) {
        self.by_matchers.remove(&silence.id);
        self.all.remove(&silence.id);
    }

    /// The silences that mute an alert at a time, by id, and how many were held against it.
    #[must_use]
    pub fn muting<'a>(&'a self, alert: &Member, now: Timestamp) -> (Vec<&'a Arc<Silence>>, usize) {
        let candidates = self.by_matchers.candidates(alert);
        let known = candidates.iter().filter_map(|id| self.all.get(id));
        let muting = known.filter(|silence| {
            silence.state(now) == SilenceState::Active && silence.matchers.matches(alert)
        });
        (muting.collect(), candidates.len())
    }

    /// How many it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Identity, Status, TagValue, Tags, Why};

    const NOW: Timestamp = Timestamp::from_millis(1_763_913_600_000);

    fn silence(nth: usize, matchers: &[String], from: i64, to: i64) -> Arc<Silence> {
        Arc::new(Silence {
            id: SilenceId::of_request(&nth.to_string()),
            matchers: Matchers::parse(matchers.iter().map(String::as_str)).expect("matchers"),
            starts_at: NOW + Span::from_secs(from),
            ends_at: NOW + Span::from_secs(to),
            created_by: "ann".into(),
            created_at: NOW,
            updated_by: "ann".into(),
            updated_at: NOW,
            comment: "".into(),
            requests: Vec::new(),
        })
    }

    fn alert(host: &str, env: &str, zones: &[&str]) -> Member {
        let identity = Identity::new("nagios", Some(host), Some("cpu"), None);
        let zones: Vec<Box<str>> = zones.iter().map(|zone| (*zone).into()).collect();
        let mut tags = vec![("az", TagValue::List(zones.into()))];
        if !env.is_empty() {
            tags.push(("env", TagValue::one(env)));
        }
        Member {
            id: AlertId::derive(NOW, &identity, 0),
            source: "nagios".into(),
            host: host.into(),
            check: "cpu".into(),
            status: Status::Critical,
            firing: true,
            flapping: false,
            chronic: false,
            maintenance: None,
            description: "busy".into(),
            tags: tags.into_iter().collect::<Tags>(),
            links: Default::default(),
            started_at: NOW,
            changed_at: NOW,
            why: Why::default(),
        }
    }

    fn matcher() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec!["host", "env", "az", "status", "team"]);
        let operator = prop::sample::select(vec!["=", "!=", "=~", "!~"]);
        let value = prop::sample::select(vec!["", "a", "b", "critical", "a|b", "a.*"]);
        (name, operator, value)
            .prop_map(|(name, operator, value)| format!("{name}{operator}\"{value}\""))
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_look_at_every_silence_finds(
            wanted in prop::collection::vec(
                (prop::collection::vec(matcher(), 1..4), -2_i64..2, -1_i64..3, any::<bool>()), 0..30,
            ),
            host in prop::sample::select(vec!["a", "b", "critical"]),
            env in prop::sample::select(vec!["", "a", "b"]),
            zones in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..3),
        ) {
            let alert = alert(host, env, &zones);
            let mut index = SilenceIndex::default();
            let all: Vec<(Arc<Silence>, bool)> = wanted.iter().enumerate()
                .map(|(nth, (matchers, from, to, gone))| (silence(nth, matchers, *from, *to), *gone))
                .collect();
            for (silence, _) in &all {
                index.insert(Arc::clone(silence));
            }
            for (silence, _) in all.iter().filter(|(_, gone)| *gone) {
                index.remove(silence);
            }
            let mut naive: Vec<SilenceId> = all.iter()
                .filter(|(silence, gone)| {
                    !gone && silence.starts_at <= NOW && NOW < silence.ends_at
                        && silence.matchers.matches(&alert)
                })
                .map(|(silence, _)| silence.id)
                .collect();
            naive.sort_unstable();
            let (found, _) = index.muting(&alert, NOW);
            let found: Vec<SilenceId> = found.iter().map(|silence| silence.id).collect();
            prop_assert_eq!(found, naive);
            prop_assert_eq!(index.len(), all.iter().filter(|(_, gone)| !gone).count());
        }
    }

    #[test]
    fn ten_thousand_silences_are_not_all_held_against_an_alert() {
        let mut index = SilenceIndex::default();
        for nth in 0..10_000 {
            let matchers = [r#"env="a""#.to_owned(), format!("host=\"web-{nth}\"")];
            index.insert(silence(nth, &matchers, -1, 1));
        }
        let alert = alert("web-7", "a", &["a"]);
        let (found, looked_at) = index.muting(&alert, NOW);
        assert_eq!(found.len(), 1);
        assert!(looked_at <= 3, "{looked_at} silences were held against one alert");
    }
}
