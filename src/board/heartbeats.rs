//! Heartbeats as correlate has them: first those of its rows, then what it says of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::model::Beating;

/// By name and value.
type ByKey = BTreeMap<(Box<str>, Box<str>), Beating>;

/// Heartbeats by name and value; correlate bounds how many there are.
#[derive(Debug, Default)]
pub struct Heartbeats(Mutex<ByKey>);

impl Heartbeats {
    /// Takes those of correlate's rows in place of all others.
    pub(super) fn load(&self, all: Vec<Beating>) {
        self.with(|known| {
            let key = |row: &Beating| (row.name.clone(), row.value.clone());
            *known = all.into_iter().map(|row| (key(&row), row)).collect();
        });
    }

    /// Takes what correlate says of one.
    pub(super) fn put(&self, row: Beating) {
        let key = (row.name.clone(), row.value.clone());
        self.with(|known| {
            if !row.gone {
                known.insert(key, row);
            // One that is awaited in another partition now is another one.
            } else if known.get(&key).is_some_and(|known| known.since == row.since) {
                known.remove(&key);
            }
        });
    }

    /// All of them, by name and value.
    #[must_use]
    pub fn all(&self) -> Vec<Beating> {
        self.with(|known| known.values().cloned().collect())
    }

    fn with<T>(&self, with: impl FnOnce(&mut BTreeMap<(Box<str>, Box<str>), Beating>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn what_goes_in_one_partition_stays_where_another_has_it() {
        let row = |since: i64, gone: bool| Beating {
            name: "backup".into(),
            value: Box::default(),
            since: Timestamp::from_millis(since),
            beaten_at: None,
            due: None,
            missed: None,
            gone,
        };
        let heartbeats = Heartbeats::default();
        heartbeats.load(vec![row(1, false)]);
        heartbeats.put(row(2, false));
        heartbeats.put(row(1, true));
        assert_eq!(heartbeats.all(), [row(2, false)]);
        heartbeats.put(row(2, true));
        assert!(heartbeats.all().is_empty());
    }
}
