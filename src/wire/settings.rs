//! The settings record: what correlate goes by from its place in the log on. Version 1.

use serde::{Deserialize, Serialize};

use super::common::{unknown, unread};
use super::heartbeat::WireHeartbeat;
use super::maintenance::WirePlan;
use super::{WireError, to_vec};
use crate::model::settings::{CorrelateSettings, FlappingSettings, Near, Pattern};
use crate::model::{Chronic, ChronicSettings, Matchers, Span, Topology};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSettings {
    v: u8,
    reopen_window: Span,
    /// Left out where it is the default, as it is in records from before there were commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dismiss_for: Option<Span>,
    /// Left out where it is the default, so that a record is the same bytes as before there was
    /// flapping, and older versions read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flapping: Option<WireFlapping>,
    /// Left out where it is the default, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chronic: Option<WireChronic>,
    ok_memory_max: usize,
    patterns: Vec<WirePattern>,
    /// Left out where there is none, for the same reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    maintenance: Vec<WirePlan>,
    /// Left out where there is none, for the same reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    heartbeats: Vec<WireHeartbeat>,
    /// Left out where there is none, as in records from before there were topologies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topology: Option<WireTopology>,
}

/// The graph itself is in records before this one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTopology {
    digest: Box<str>,
    edges_looked_at: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireNear {
    tag: Box<str>,
    hops: u32,
    kinds: Vec<Box<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFlapping {
    changes: u32,
    within: Span,
    quiet_for: Span,
    reminder: Span,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireChronic {
    episodes: u32,
    days: u32,
    of: u32,
    identities_max: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePattern {
    name: Box<str>,
    r#match: Vec<String>,
    by: Vec<Box<str>>,
    window: Span,
    gap: Option<Span>,
    cross_source: bool,
    max_alerts: u32,
    /// Left out where it is 1, as in records from before there was any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_alerts: Option<u32>,
    /// Left out where chronic alerts are kept apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chronic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    near: Option<WireNear>,
}

/// The bytes of settings; the same settings are the same bytes.
#[must_use]
pub fn encode(settings: &CorrelateSettings) -> Vec<u8> {
    let patterns = settings.patterns.iter().map(|pattern| WirePattern {
        name: pattern.name.clone(),
        r#match: pattern.matchers.iter().map(ToString::to_string).collect(),
        by: pattern.by.clone(),
        window: pattern.window,
        gap: pattern.gap,
        cross_source: pattern.cross_source,
        max_alerts: pattern.max_alerts,
        min_alerts: Some(pattern.min_alerts).filter(|least| *least != 1),
        chronic: (pattern.chronic != Chronic::default())
            .then(|| pattern.chronic.as_str().to_owned()),
        near: pattern.near.clone().map(|Near { tag, hops, kinds }| WireNear { tag, hops, kinds }),
    });
    let FlappingSettings { changes, within, quiet_for, reminder } = settings.flapping;
    let flapping = (settings.flapping != FlappingSettings::default()).then_some(WireFlapping {
        changes,
        within,
        quiet_for,
        reminder,
    });
    let ChronicSettings { episodes, days, of, identities_max } = settings.chronic;
    let chronic = (settings.chronic != ChronicSettings::default()).then_some(WireChronic {
        episodes,
        days,
        of,
        identities_max,
    });
    let wire = WireSettings {
        v: VERSION,
        reopen_window: settings.reopen_window,
        dismiss_for: Some(settings.dismiss_for)
            .filter(|span| *span != CorrelateSettings::DISMISS_FOR),
        flapping,
        chronic,
        ok_memory_max: settings.ok_memory_max,
        patterns: patterns.collect(),
        maintenance: settings.maintenance.iter().map(WirePlan::from).collect(),
        heartbeats: settings.heartbeats.iter().map(WireHeartbeat::from).collect(),
        topology: settings.topology.as_ref().map(|topology| WireTopology {
            digest: topology.digest.clone(),
            edges_looked_at: topology.edges_looked_at,
        }),
    };
    to_vec(&wire, 512)
}

/// Settings from their bytes.
///
/// # Errors
/// Says what is not as settings have it. A newer version's settings are refused rather than read
/// in part: correlate must not go by half a rule.
pub fn decode(bytes: &[u8]) -> Result<CorrelateSettings, WireError> {
    let unread = |error| unread(bytes, VERSION, "settings", error);
    let wire: WireSettings = serde_json::from_slice(bytes).map_err(unread)?;
    if wire.v != VERSION {
        return Err(unknown(wire.v.into(), VERSION, "settings"));
    }
    let pattern = |wire: WirePattern| {
        let matchers = Matchers::parse(wire.r#match.iter().map(String::as_str))
            .map_err(|error| WireError(error.to_string()))?;
        let chronic = match wire.chronic.as_deref() {
            None => Chronic::default(),
            Some(word) => Chronic::parse(word)
                .ok_or_else(|| WireError(format!("`chronic: {word}` is not known here")))?,
        };
        Ok(Pattern {
            name: wire.name,
            matchers,
            by: wire.by,
            window: wire.window,
            gap: wire.gap,
            cross_source: wire.cross_source,
            max_alerts: wire.max_alerts,
            min_alerts: wire.min_alerts.unwrap_or(1),
            chronic,
            near: wire.near.map(|WireNear { tag, hops, kinds }| Near { tag, hops, kinds }),
        })
    };
    let flapping = |WireFlapping { changes, within, quiet_for, reminder }| FlappingSettings {
        changes,
        within,
        quiet_for,
        reminder,
    };
    let chronic = |WireChronic { episodes, days, of, identities_max }| ChronicSettings {
        episodes,
        days,
        of,
        identities_max,
    };
    let topology = |WireTopology { digest, edges_looked_at }| Topology {
        digest,
        graph: None,
        edges_looked_at,
    };
    Ok(CorrelateSettings {
        reopen_window: wire.reopen_window,
        dismiss_for: wire.dismiss_for.unwrap_or(CorrelateSettings::DISMISS_FOR),
        flapping: wire.flapping.map_or_else(FlappingSettings::default, flapping),
        chronic: wire.chronic.map_or_else(ChronicSettings::default, chronic),
        ok_memory_max: wire.ok_memory_max,
        patterns: wire.patterns.into_iter().map(pattern).collect::<Result<_, WireError>>()?,
        maintenance: wire.maintenance.into_iter().map(WirePlan::plan).collect::<Result<_, _>>()?,
        heartbeats: wire
            .heartbeats
            .into_iter()
            .map(WireHeartbeat::heartbeat)
            .collect::<Result<_, _>>()?,
        topology: wire.topology.map(topology),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_flapping_goes_by_its_default() {
        let old = br#"{"v":1,"reopen_window":1800000,"ok_memory_max":200000,"patterns":[]}"#;
        let settings = decode(old).expect("version 1");
        assert_eq!(settings.flapping, FlappingSettings::default());
        assert_eq!(encode(&settings), old, "the default is left out");
    }

    #[test]
    fn flapping_reads_back_as_it_was() {
        let second = Span::from_secs(1);
        let flapping =
            FlappingSettings { changes: 0, within: second, quiet_for: second, reminder: second };
        let settings = CorrelateSettings {
            reopen_window: second,
            dismiss_for: second,
            flapping,
            chronic: ChronicSettings { episodes: 1, days: 2, of: 3, identities_max: 4 },
            ok_memory_max: 1,
            patterns: Vec::new(),
            maintenance: Vec::new(),
            heartbeats: Vec::new(),
            topology: None,
        };
        assert_eq!(decode(&encode(&settings)), Ok(settings));
        let unknown = br#"{"v":1,"reopen_window":1,"ok_memory_max":1,"patterns":[],"other":1}"#;
        assert!(decode(unknown).is_err(), "half a rule");
    }
}
