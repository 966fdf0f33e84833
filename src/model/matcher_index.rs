//! Finds, among many lists of matchers, the few that may fulfil what something is.
//!
//! A list with an `=` on a value is found by that value alone; the others are held against
//! everything. It only narrows: whoever asks still has to hold the matchers against it. What is
//! found is in the order in which it was put in, so that the index decides nothing.

use std::collections::BTreeMap;

use super::index::Index;
use super::matcher::{Labels, Matchers};

/// Where things are found by one name: by value, in order.
type ByValue = Index<Box<str>, Vec<usize>>;

/// Things that have matchers, found by what fulfils them.
#[derive(Debug, Clone)]
pub struct MatcherIndex<T> {
    items: Vec<T>,
    by_name: BTreeMap<Box<str>, ByValue>,
    /// Those without an `=` on a value.
    others: Vec<usize>,
}

impl<T> Default for MatcherIndex<T> {
    fn default() -> Self {
        Self { items: Vec::new(), by_name: BTreeMap::new(), others: Vec::new() }
    }
}

impl<T> MatcherIndex<T> {
    /// Adds a thing; it is found after those before it.
    pub fn add(&mut self, matchers: &Matchers, item: T) {
        let nth = self.items.len();
        self.items.push(item);
        // An empty value is what an absent tag has, which is in no list of values.
        let wanted = matchers.iter().find_map(|matcher| {
            let value = matcher.wanted().filter(|value| !value.is_empty())?;
            Some((matcher.name(), value))
        });
        match wanted {
            Some((name, value)) => {
                let by_value = self.by_name.entry(name.into()).or_default();
                by_value.entry_or(value.into(), Vec::new).push(nth);
            }
            None => self.others.push(nth),
        }
    }

    /// Whatever may match, in order, each once.
    #[must_use]
    pub fn candidates(&self, labels: &(impl Labels + ?Sized)) -> Vec<&T> {
        let mut found = self.others.clone();
        for (name, by_value) in &self.by_name {
            for value in labels.values(name).iter() {
                found.extend(by_value.get(value).into_iter().flatten());
            }
        }
        // A list may hold a value twice.
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|nth| &self.items[nth]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tags::{TagValue, Tags};
    use super::*;

    fn index(lists: &[&str]) -> (Vec<Matchers>, MatcherIndex<usize>) {
        let mut index = MatcherIndex::default();
        let read = |text: &&str| Matchers::parse([*text]).expect("matchers");
        let lists: Vec<Matchers> = lists.iter().map(read).collect();
        for (nth, matchers) in lists.iter().enumerate() {
            index.add(matchers, nth);
        }
        (lists, index)
    }

    fn tags(all: &[(&str, &[&str])]) -> Tags {
        let mut tags = Tags::default();
        for (name, values) in all {
            let value = match values {
                [one] => TagValue::One((*one).into()),
                many => TagValue::List(many.iter().map(|value| Box::from(*value)).collect()),
            };
            tags.set(name, value);
        }
        tags
    }

    #[test]
    fn nothing_that_matches_is_left_out_and_what_cannot_is() {
        let (lists, index) = index(&[
            "env=prod",
            "team!=db",
            "env=test, host=~\"web.*\"",
            "team=\"\"",
            "team=\"\", env=prod",
            "az=a",
            "az=b",
            "",
        ]);
        let all = [
            tags(&[("env", &["prod"])]),
            tags(&[("env", &["test"]), ("host", &["web-1"])]),
            tags(&[("az", &["b", "a", "b"]), ("team", &["db"])]),
            tags(&[]),
        ];
        for labels in &all {
            let found: Vec<usize> = index.candidates(labels).into_iter().copied().collect();
            let matching = (0..lists.len()).filter(|nth| lists[*nth].matches(labels));
            for nth in matching {
                assert!(found.contains(&nth), "{labels:?}: {:?}", lists[nth]);
            }
            assert!(found.is_sorted_by(|one, next| one < next), "in order, each once: {found:?}");
        }
        let found: Vec<usize> = index.candidates(&all[2]).into_iter().copied().collect();
        assert_eq!(found, [1, 3, 5, 6, 7], "neither env=prod nor env=test");
    }
}
