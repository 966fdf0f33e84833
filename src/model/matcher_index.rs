//! Finds, among many rules with matchers, the few that may be about something.
//!
//! A rule with an equality on a value that is not empty is found under that label and value; where
//! it has several, under the one that the fewest rules stand under already. All other rules are
//! looked at each time. What is found is a candidate: whether all its matchers hold is still to be
//! asked. No rule that matches is missed, and candidates come in the order of their keys.

use std::collections::BTreeMap;

use super::index::Index;
use super::matcher::{Labels, Matchers};

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Among those that are looked at each time.
    Scan,
    Under {
        name: Box<str>,
        value: Box<str>,
    },
}

/// Rules by their matchers; a key names a rule and says where it stands among them.
#[derive(Debug, Clone)]
pub struct MatcherIndex<K> {
    under: BTreeMap<Box<str>, Index<Box<str>, Vec<K>>>,
    scan: Vec<K>,
    places: BTreeMap<K, Place>,
}

impl<K> Default for MatcherIndex<K> {
    fn default() -> Self {
        Self { under: BTreeMap::new(), scan: Vec::new(), places: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> FromIterator<(K, Matchers)> for MatcherIndex<K> {
    fn from_iter<I: IntoIterator<Item = (K, Matchers)>>(rules: I) -> Self {
        let mut index = Self::default();
        rules.into_iter().for_each(|(key, matchers)| index.insert(key, &matchers));
        index
    }
}

impl<K: Ord + Clone> MatcherIndex<K> {
    /// Adds a rule; one of the same key gives way.
    pub fn insert(&mut self, key: K, matchers: &Matchers) {
        self.remove(&key);
        let place = self.place(matchers);
        let rules = match &place {
            Place::Scan => &mut self.scan,
            Place::Under { name, value } => {
                let by_value = self.under.entry(name.clone()).or_default();
                by_value.entry_or(value.clone(), Vec::new)
            }
        };
        let at = rules.partition_point(|other| *other < key);
        rules.insert(at, key.clone());
        self.places.insert(key, place);
    }

    /// Takes a rule out; whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some(place) = self.places.remove(key) else { return false };
        match place {
            Place::Scan => take(&mut self.scan, key),
            Place::Under { name, value } => {
                let by_value = self.under.get_mut(&name).expect("a rule stands where it was put");
                let rules = by_value.get_mut(&value).expect("a rule stands where it was put");
                take(rules, key);
                if rules.is_empty() {
                    by_value.remove(&value);
                }
                if by_value.is_empty() {
                    self.under.remove(&name);
                }
            }
        }
        true
    }

    /// The rules that may match, in order, each once.
    #[must_use]
    pub fn candidates(&self, labels: &(impl Labels + ?Sized)) -> Vec<K> {
        let mut found = self.scan.clone();
        for (name, by_value) in &self.under {
            for value in labels.values(name).iter() {
                found.extend(by_value.get(value).into_iter().flatten().cloned());
            }
        }
        // A list of values may name one twice.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many rules no label leads to: each look-up costs as much as there are of them.
    #[must_use]
    pub fn scanned(&self) -> usize {
        self.scan.len()
    }

    fn place(&self, matchers: &Matchers) -> Place {
        let equal = matchers.iter().filter_map(|matcher| {
            let value = matcher.wanted().filter(|value| !value.is_empty())?;
            Some((matcher.name(), value))
        });
        let least = equal.min_by_key(|(name, value)| {
            self.under.get(*name).and_then(|by_value| by_value.get(*value)).map_or(0, Vec::len)
        });
        least.map_or(Place::Scan, |(name, value)| Place::Under {
            name: name.into(),
            value: value.into(),
        })
    }
}

fn take<K: Ord>(rules: &mut Vec<K>, key: &K) {
    let at = rules.binary_search(key).expect("a rule stands where it was put");
    rules.remove(at);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::tags::{TagValue, Tags};

    fn matcher() -> impl Strategy<Value = String> {
        let operator =
            prop_oneof![4 => Just("="), 1 => Just("!="), 1 => Just("=~"), 1 => Just("!~")];
        ("[abc]", operator, "[xyz]?")
            .prop_map(|(name, operator, value)| format!("{name}{operator}\"{value}\""))
    }

    fn rules() -> impl Strategy<Value = Vec<Matchers>> {
        let texts = prop::collection::vec(matcher(), 0..4);
        let rule = texts
            .prop_map(|texts| Matchers::parse(texts.iter().map(String::as_str)).expect("matchers"));
        prop::collection::vec(rule, 0..20)
    }

    fn value() -> impl Strategy<Value = TagValue> {
        let list = prop::collection::vec("[xyz]?", 0..3);
        prop_oneof![
            "[xyz]?".prop_map(|value| TagValue::one(&value)),
            list.prop_map(|values| TagValue::List(values.into_iter().map(Into::into).collect())),
        ]
    }

    fn tags() -> impl Strategy<Value = Tags> {
        prop::collection::btree_map("[abcd]".prop_map(Box::from), value(), 0..4)
            .prop_map(Tags::from_map)
    }

    fn matching(rules: &BTreeMap<usize, Matchers>, tags: &Tags) -> Vec<usize> {
        let all = rules.iter().filter(|(_, rule)| rule.matches(tags));
        all.map(|(nth, _)| *nth).collect()
    }

    proptest! {
        /// Whatever was put in and taken out, what is found and matches is what matches.
        #[test]
        fn no_rule_that_matches_is_missed(
            rules in rules(),
            others in rules(),
            gone in prop::collection::btree_set(0..20_usize, 0..20),
            tags in tags(),
        ) {
            let mut known: BTreeMap<usize, Matchers> = rules.into_iter().enumerate().collect();
            let mut index: MatcherIndex<usize> =
                known.iter().map(|(nth, rule)| (*nth, rule.clone())).collect();
            for (nth, rule) in others.into_iter().enumerate().filter(|(nth, _)| nth % 3 == 0) {
                index.insert(nth, &rule);
                known.insert(nth, rule);
            }
            for nth in gone {
                prop_assert_eq!(index.remove(&nth), known.remove(&nth).is_some());
            }
            prop_assert_eq!(index.len(), known.len());
            let candidates = index.candidates(&tags);
            prop_assert!(candidates.is_sorted_by(|one, next| one < next), "in order, each once");
            let found: Vec<usize> =
                candidates.into_iter().filter(|nth| known[nth].matches(&tags)).collect();
            prop_assert_eq!(found, matching(&known, &tags));
        }
    }

    #[test]
    fn a_rule_stands_under_the_value_that_fewest_others_do() {
        let rule = |text: &str| Matchers::parse([text]).expect("matchers");
        let tags = |team: &str| -> Tags {
            [("env", TagValue::one("prod")), ("team", TagValue::one(team))].into_iter().collect()
        };
        let index: MatcherIndex<usize> =
            (0..1_000).map(|nth| (nth, rule(&format!("env=\"prod\",team=\"t{nth}\"")))).collect();
        assert_eq!(index.scanned(), 0);
        assert_eq!(index.candidates(&tags("t7")), [0, 7], "all but the first stand under a team");
        let empty: MatcherIndex<usize> = [(1, rule("team=\"\""))].into_iter().collect();
        assert_eq!((empty.scanned(), empty.candidates(&Tags::default())), (1, vec![1]));
    }
}
