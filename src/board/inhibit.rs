//! Which firing alerts inhibit others: the sources of each rule, by their values under `equal`.
//!
//! The board tells it of every alert it shows, over all shards. It holds an entry a rule for each
//! firing alert on the board that is a source, so that it is bounded as the board is.

use std::collections::BTreeMap;

use crate::model::matcher::Labels;
use crate::model::silence::{InhibitRule, REASONS_MAX};
use crate::model::{AlertId, Member};

/// An alert's values under the `equal` tags of a rule: sorted, none where the tag is missing.
type Key = Box<[Box<[Box<str>]>]>;

/// The sources that fire, by rule.
#[derive(Debug, Default)]
pub(super) struct Inhibitor {
    rules: Vec<Rule>,
    /// Under which rules and keys an alert is a source.
    known: BTreeMap<AlertId, Vec<(usize, Key)>>,
}

#[derive(Debug)]
struct Rule {
    rule: InhibitRule,
    /// By key: the sources, each with whether it is a target as well.
    sources: BTreeMap<Key, BTreeMap<AlertId, bool>>,
}

impl Inhibitor {
    pub(super) fn new(rules: Vec<InhibitRule>) -> Self {
        let rules = rules.into_iter().map(|rule| Rule { rule, sources: BTreeMap::new() });
        Self { rules: rules.collect(), known: BTreeMap::new() }
    }

    /// Whether there are no rules.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is known of an alert from now on; none: it fires no more, or is not shown any more.
    pub(super) fn set(&mut self, id: AlertId, firing: Option<&Member>) {
        for (nth, key) in self.known.remove(&id).unwrap_or_default() {
            let Some(rule) = self.rules.get_mut(nth) else { continue };
            if let Some(sources) = rule.sources.get_mut(&key) {
                sources.remove(&id);
                if sources.is_empty() {
                    rule.sources.remove(&key);
                }
            }
        }
        let Some(alert) = firing else { return };
        let mut keys = Vec::new();
        for (nth, rule) in self.rules.iter_mut().enumerate() {
            if !rule.rule.source.matches(alert) {
                continue;
            }
            let key = key(&rule.rule, alert);
            let both = rule.rule.target.matches(alert);
            rule.sources.entry(key.clone()).or_default().insert(id, both);
            keys.push((nth, key));
        }
        if !keys.is_empty() {
            self.known.insert(id, keys);
        }
    }

    /// The alerts that inhibit this one, at most [`REASONS_MAX`].
    pub(super) fn inhibiting(&self, alert: &Member) -> Vec<AlertId> {
        let mut found = Vec::new();
        for rule in &self.rules {
            if !rule.rule.target.matches(alert) {
                continue;
            }
            let Some(sources) = rule.sources.get(&key(&rule.rule, alert)) else { continue };
            // Where the target is a source too, only what is a source and no target mutes it.
            let two_sided = rule.rule.source.matches(alert);
            let mutes = |(id, both): &(&AlertId, &bool)| **id != alert.id && !(two_sided && **both);
            let room = REASONS_MAX - found.len();
            found.extend(sources.iter().filter(mutes).map(|(id, _)| *id).take(room));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn key(rule: &InhibitRule, alert: &Member) -> Key {
    let values = |tag: &str| {
        let mut values: Vec<Box<str>> = alert.values(tag).iter().map(Into::into).collect();
        values.retain(|value| !value.is_empty());
        values.sort_unstable();
        values.into_boxed_slice()
    };
    rule.equal.iter().map(|tag| values(tag)).collect()
}
