//! `notify.silences` and `notify.inhibit`: what is muted, and its bounds.

use super::read::{Node, size};
use crate::model::Span;
use crate::model::silence::{InhibitRule, SilenceSettings};

/// How many rules of inhibition there may be; each is held against every alert.
const RULES_MAX: usize = 100;
const HOUR: Span = Span::from_secs(3_600);
const DAY: u64 = 86_400;

/// What is muted, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mute {
    pub(super) silences: SilenceSettings,
    pub(super) inhibit: Vec<InhibitRule>,
}

/// Reads the two keys of `notify` that are about muting.
pub(super) fn read(notify: &mut Node<'_>) -> Mute {
    let mut table = notify.table("silences");
    let silences = SilenceSettings {
        max: size(table.count("max", 10_000, 1, 1_000_000)),
        matchers_max: size(table.count("matchers_max", 50, 1, 1_000)),
        comment_bytes: size(table.bytes("comment_bytes", 1_024, 0, 65_536)),
        keep: table.span(
            "keep",
            SilenceSettings::default().keep,
            HOUR,
            Span::from_secs(365 * DAY as i64),
        ),
        confirm_above: size(table.count("confirm_above", 100, 0, u64::from(u32::MAX))),
    };
    table.finish();
    let mut inhibit = Vec::new();
    for mut rule in notify.tables("inhibit").unwrap_or_default() {
        let (source, target) = (rule.matchers("source"), rule.matchers("target"));
        for (key, matchers) in [("source", &source), ("target", &target)] {
            if matchers.iter().next().is_none() {
                rule.missing(key, "without a matcher it would be every alert");
            }
        }
        let equal = rule.texts("equal").into_iter().map(Into::into).collect();
        rule.finish();
        inhibit.push(InhibitRule { source, target, equal });
    }
    if inhibit.len() > RULES_MAX {
        notify.broken(
            "inhibit",
            Some(&inhibit.len().to_string()),
            format!("rules, {RULES_MAX} are the most"),
        );
    }
    Mute { silences, inhibit }
}
