//! The settings record: what correlate goes by from its place in the log on. Version 1.

use serde::{Deserialize, Serialize};

use super::common::{unknown, unread};
use super::{WireError, to_vec};
use crate::model::settings::{CorrelateSettings, Pattern};
use crate::model::{Matchers, Span};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSettings {
    v: u8,
    reopen_window: Span,
    ok_memory_max: usize,
    patterns: Vec<WirePattern>,
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
    });
    let wire = WireSettings {
        v: VERSION,
        reopen_window: settings.reopen_window,
        ok_memory_max: settings.ok_memory_max,
        patterns: patterns.collect(),
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
        Ok(Pattern {
            name: wire.name,
            matchers,
            by: wire.by,
            window: wire.window,
            gap: wire.gap,
            cross_source: wire.cross_source,
            max_alerts: wire.max_alerts,
        })
    };
    Ok(CorrelateSettings {
        reopen_window: wire.reopen_window,
        ok_memory_max: wire.ok_memory_max,
        patterns: wire.patterns.into_iter().map(pattern).collect::<Result<_, WireError>>()?,
    })
}
