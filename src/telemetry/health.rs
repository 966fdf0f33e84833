//! Whether each part of the process can do its work, and if not, why; how far each reader of a log
//! is, and which probes came back to whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The state of every part, shared by all.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    parts: BTreeMap<String, Option<String>>,
    readers: BTreeMap<u64, (&'static str, Vec<Lag>)>,
    next: u64,
    /// The last probe that came back to a part, with the partitions that answered it.
    probes: BTreeMap<&'static str, (Box<str>, Vec<u32>)>,
}

/// How far a reader is behind in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// How many records are unread.
    pub records: u64,
    /// The offset of the first record that was not read; none where none was read yet.
    pub next: Option<i64>,
}

impl Health {
    /// The part does its work.
    pub fn good(&self, part: &str) {
        self.set(part, None);
    }

    /// The part cannot do its work, for this reason.
    pub fn bad(&self, part: &str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    /// The parts that cannot do their work, with the reason; none where all is well.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<String, String> {
        self.with(|known| {
            let parts = known.parts.iter();
            parts.filter_map(|(part, why)| Some((part.clone(), why.clone()?))).collect()
        })
    }

    /// A reader of this name, that will say how far it is until it is dropped.
    #[must_use]
    pub fn reader(&self, name: &'static str) -> Reader {
        let number = self.with(|known| {
            known.next += 1;
            known.readers.insert(known.next, (name, Vec::new()));
            known.next
        });
        Reader { health: self.clone(), number }
    }

    /// How far every reader is, by its name.
    #[must_use]
    pub fn lags(&self) -> Vec<(&'static str, Vec<Lag>)> {
        self.with(|known| known.readers.values().cloned().collect())
    }

    /// A part saw the answer of a partition to a probe.
    pub fn saw(&self, part: &'static str, id: &str, partition: u32) {
        self.with(|known| {
            let last = known.probes.entry(part).or_default();
            if *last.0 != *id {
                *last = (id.into(), Vec::new());
            }
            if !last.1.contains(&partition) {
                last.1.push(partition);
            }
        });
    }

    /// How many partitions' answers to a probe a part has seen.
    #[must_use]
    pub fn seen(&self, part: &str, id: &str) -> usize {
        self.with(|known| {
            let last = known.probes.get(part).filter(|(last, _)| **last == *id);
            last.map_or(0, |(_, partitions)| partitions.len())
        })
    }

    fn set(&self, part: &str, why: Option<String>) {
        self.with(|known| match known.parts.get_mut(part) {
            Some(known) => *known = why,
            None => {
                known.parts.insert(part.to_owned(), why);
            }
        });
    }

    fn with<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Says how far a reader is; gone once it is dropped.
#[derive(Debug)]
pub struct Reader {
    health: Health,
    number: u64,
}

impl Reader {
    /// How far it is in each partition it reads.
    pub fn is_at(&self, lags: Vec<Lag>) {
        self.health.with(|known| {
            if let Some((_, known)) = known.readers.get_mut(&self.number) {
                *known = lags;
            }
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.health.with(|known| known.readers.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_known_until_it_is_dropped() {
        let health = Health::default();
        let lag = Lag { topic: "t".into(), partition: 3, records: 7, next: None };
        let (one, other) = (health.reader("collect"), health.reader("collect"));
        one.is_at(vec![lag.clone()]);
        assert_eq!(health.lags(), [("collect", vec![lag]), ("collect", Vec::new())]);
        drop(one);
        assert_eq!(health.lags(), [("collect", Vec::new())]);
        drop(other);
        assert!(health.lags().is_empty());
    }

    #[test]
    fn only_the_last_probe_counts_and_each_partition_once() {
        let health = Health::default();
        for (id, partition) in [("a", 0), ("a", 1), ("b", 0), ("b", 0)] {
            health.saw("board", id, partition);
        }
        let seen = |part, id| health.seen(part, id);
        assert_eq!((seen("board", "a"), seen("board", "b"), seen("notify", "b")), (0, 1, 0));
    }
}
