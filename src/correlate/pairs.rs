//! The pairs of an alert: each pattern that applies to it, with the values of its tags.
//!
//! A list-valued tag gives one pair an element, at most [`PAIRS_MAX`] pairs a pattern.

use crate::model::alert::Lack;
use crate::model::matcher::Labels;
use crate::model::{Alert, Chronic, CorrelateSettings, MatcherIndex, Pair, Pattern};

/// How many pairs one pattern gives an alert at most.
const PAIRS_MAX: usize = 32;

/// The patterns by their matchers; a key is a pattern's place.
pub(super) fn index(settings: &CorrelateSettings) -> MatcherIndex<usize> {
    let patterns = settings.patterns.iter().map(|pattern| pattern.matchers.clone());
    patterns.enumerate().collect()
}

/// The pairs of an alert by pattern, in file order; patterns without any are left out. The second
/// value is how many pairs were left out for the limit.
pub(super) fn of<'s>(
    settings: &'s CorrelateSettings,
    index: &MatcherIndex<usize>,
    alert: &Alert,
) -> (Vec<(&'s Pattern, Vec<Pair>)>, u64) {
    let mut all = Vec::new();
    let mut cut = 0;
    for nth in index.candidates(alert) {
        let pattern = &settings.patterns[nth];
        if !pattern.matchers.matches(alert) {
            continue;
        }
        let (pairs, left_out) = under(pattern, alert);
        cut += left_out;
        if !pairs.is_empty() {
            all.push((pattern, pairs));
        }
    }
    (all, cut)
}

/// The first patterns, at most `max`, that an alert fits but for a tag that it does not have.
pub(super) fn lacking(
    settings: &CorrelateSettings,
    index: &MatcherIndex<usize>,
    alert: &Alert,
    max: usize,
) -> Vec<Lack> {
    let has = |tag: &str| alert.values(tag).iter().any(|value| !value.is_empty());
    let lack = |pattern: &Pattern| {
        // Tags first: of many patterns most are about other tags, and that is seen at once.
        let tag = pattern.by.iter().find(|tag| !has(tag))?;
        let (pattern, tag) =
            pattern.matchers.matches(alert).then(|| (pattern.name.clone(), tag.clone()))?;
        Some(Lack { pattern, tag })
    };
    let candidates = index.candidates(alert).into_iter().map(|nth| &settings.patterns[nth]);
    candidates.filter_map(lack).take(max).collect()
}

fn under(pattern: &Pattern, alert: &Alert) -> (Vec<Pair>, u64) {
    let source = (!pattern.cross_source).then(|| Box::from(alert.identity.source()));
    let mut pairs = vec![Pair {
        pattern: pattern.name.clone(),
        by: Vec::with_capacity(pattern.by.len()),
        source,
        chronic: alert.chronic && pattern.chronic == Chronic::Separate,
    }];
    let mut cut = 0;
    for tag in &pattern.by {
        let mut values: Vec<&str> =
            alert.values(tag).iter().filter(|value| !value.is_empty()).collect();
        values.sort_unstable();
        values.dedup();
        let mut longer = Vec::with_capacity(pairs.len() * values.len());
        for pair in &pairs {
            for value in &values {
                if longer.len() == PAIRS_MAX {
                    cut += 1;
                    continue;
                }
                let mut by = pair.by.clone();
                by.push((tag.clone(), Box::from(*value)));
                longer.push(Pair { by, ..pair.clone() });
            }
        }
        pairs = longer;
    }
    (pairs, cut)
}
