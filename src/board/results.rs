//! What became of commands lately, for whoever waits for one or asks later.
//!
//! One thread writes, any number wait. A command that went to several partitions has a result of
//! each; adding them up is the reader's work.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::command::{Outcome, Refused};
use crate::model::{CommandResult, RequestId};

/// How many commands' results are kept; beyond it the oldest go.
pub const RESULTS_MAX: usize = 10_000;

/// Results by request and partition.
#[derive(Debug)]
pub struct Results {
    kept: Mutex<Kept>,
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    by_request: BTreeMap<RequestId, BTreeMap<u32, CommandResult>>,
    oldest_first: VecDeque<RequestId>,
}

impl Default for Results {
    fn default() -> Self {
        Self { kept: Mutex::default(), news: watch::Sender::new(0) }
    }
}

impl Results {
    /// Takes a result; a later one of the same request and partition replaces it. How many commands
    /// were dropped for room.
    pub fn put(&self, result: CommandResult) -> u64 {
        let dropped = self.with(|kept| {
            let request = result.request.clone();
            if !kept.by_request.contains_key(&request) {
                kept.oldest_first.push_back(request.clone());
            }
            kept.by_request.entry(request).or_default().insert(result.partition, result);
            let mut dropped = 0;
            while kept.by_request.len() > RESULTS_MAX {
                let Some(oldest) = kept.oldest_first.pop_front() else { break };
                kept.by_request.remove(&oldest);
                dropped += 1;
            }
            dropped
        });
        self.news.send_modify(|count| *count = count.wrapping_add(1));
        dropped
    }

    /// What is known of a command, by partition.
    #[must_use]
    pub fn of(&self, request: &RequestId) -> Vec<CommandResult> {
        self.with(|kept| {
            kept.by_request.get(request).into_iter().flat_map(BTreeMap::values).cloned().collect()
        })
    }

    /// Forgets results of a command that only say how many things it would touch.
    pub fn forget_counts(&self, request: &RequestId) {
        self.with(|kept| {
            if let Some(of) = kept.by_request.get_mut(request) {
                of.retain(|_, result| result.outcome != Outcome::Refused(Refused::Confirm));
            }
        });
    }

    /// Tells of each result that comes from now on.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn with<T>(&self, with: impl FnOnce(&mut Kept) -> T) -> T {
        with(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(nth: usize, partition: u32) -> CommandResult {
        CommandResult { partition, ..CommandResult::sample(nth) }
    }

    #[test]
    fn a_count_is_forgotten_and_what_is_final_is_not() {
        let results = Results::default();
        results.put(result(1, 0));
        results.put(CommandResult { outcome: Outcome::Refused(Refused::Confirm), ..result(1, 1) });
        results.forget_counts(&result(1, 0).request);
        assert_eq!(results.of(&result(1, 0).request), [result(1, 0)]);
    }

    #[test]
    fn results_are_kept_by_partition_and_the_oldest_go() {
        let results = Results::default();
        let news = results.news();
        let dropped: u64 = (0..=RESULTS_MAX).map(|nth| results.put(result(nth, 0))).sum();
        results.put(result(RESULTS_MAX, 3));
        assert!(news.has_changed().expect("it is there"));
        assert_eq!(dropped, 1);
        assert_eq!(results.of(&result(0, 0).request), []);
        let both = [result(RESULTS_MAX, 0), result(RESULTS_MAX, 3)];
        assert_eq!(results.of(&both[0].request), both);
    }
}
