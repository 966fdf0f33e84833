//! Tags of an event, an alert or an incident: names with one value or a list of values.
//!
//! Held sorted by name, so that the same tags are the same bytes in whatever order they came.

use std::collections::BTreeMap;
use std::collections::btree_map;

/// The value of a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagValue {
    /// One value.
    One(Box<str>),
    /// A list of values, in the sender's order.
    List(Box<[Box<str>]>),
}

impl TagValue {
    /// One value.
    #[must_use]
    pub fn one(text: &str) -> Self {
        Self::One(text.into())
    }

    /// Every value, in order.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(value) => std::slice::from_ref(value).iter().map(AsRef::as_ref),
            Self::List(values) => values.iter().map(AsRef::as_ref),
        }
    }
}

/// Tags by name, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(BTreeMap<Box<str>, TagValue>);

impl Tags {
    /// Sets a tag; an earlier value of that name is replaced.
    pub fn set(&mut self, name: &str, value: TagValue) {
        self.0.insert(name.into(), value);
    }

    /// From names and values.
    #[must_use]
    pub fn from_map(map: BTreeMap<Box<str>, TagValue>) -> Self {
        Self(map)
    }

    /// Keeps only the tags that `other` has with the same value.
    pub fn keep_shared(&mut self, other: &Self) {
        self.0.retain(|name, value| other.0.get(name) == Some(value));
    }

    /// The value of a tag.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TagValue> {
        self.0.get(name)
    }

    /// Every tag, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TagValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// How many tags there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, TagValue)> for Tags {
    fn from_iter<I: IntoIterator<Item = (&'a str, TagValue)>>(tags: I) -> Self {
        Self(tags.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl IntoIterator for Tags {
    type Item = (Box<str>, TagValue);
    type IntoIter = btree_map::IntoIter<Box<str>, TagValue>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
