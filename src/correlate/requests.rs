//! What people asked for lately: results for whoever asks again, and what it takes to undo.
//!
//! Both are rows, both end by themselves, and both are bounded: the oldest give way, counted. A
//! command whose result was dropped would be done again, were it sent again.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::command::Undoable;
use crate::model::{CommandResult, RequestId, Span, Timestamp};
use crate::stage::Row;
use crate::wire::request;

/// How long a result is remembered, by log time.
const RESULTS_KEPT: Span = Span::from_secs(86_400);
/// How many results a partition remembers.
const RESULTS_MAX: usize = 10_000;
/// How many commands of a partition can be undone.
const UNDO_MAX: usize = 1_000;

/// What people asked for lately.
#[derive(Debug, Default)]
pub(super) struct Requests {
    results: ByAge<CommandResult>,
    undoable: ByAge<Undoable>,
    dropped: u64,
}

impl Requests {
    /// What became of a command that was sent before.
    pub(super) fn result(&self, request: &RequestId) -> Option<&CommandResult> {
        self.results.by_id.get(request).map(|(_, result)| result)
    }

    /// What became of commands lately.
    pub(super) fn results(&self) -> impl Iterator<Item = &CommandResult> {
        self.results.by_id.values().map(|(_, result)| result)
    }

    /// Remembers what became of a command.
    pub(super) fn remember(&mut self, result: CommandResult) {
        self.results.put(result.request.clone(), result.at, result);
        self.dropped += self.results.shorten(RESULTS_MAX);
    }

    /// Remembers how to undo a command.
    pub(super) fn remember_undo(&mut self, undoable: Undoable) {
        self.undoable.put(undoable.request.clone(), undoable.at, undoable);
        self.dropped += self.undoable.shorten(UNDO_MAX);
    }

    /// How to undo a command, if it was done lately.
    pub(super) fn undoable(&self, request: &RequestId) -> Option<&Undoable> {
        self.undoable.by_id.get(request).map(|(_, undoable)| undoable)
    }

    /// A command was undone: not a second time.
    pub(super) fn forget_undo(&mut self, request: &RequestId) {
        self.undoable.remove(request);
    }

    /// Forgets what is over, by log time.
    pub(super) fn forget(&mut self, now: Timestamp, reopen_window: Span) {
        self.results.forget_before(now - RESULTS_KEPT);
        self.undoable.forget_before(now - reopen_window);
    }

    /// The rows that changed since the last call.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        let mut rows = self.results.take_rows(request::result_key, request::encode_result_row);
        rows.extend(self.undoable.take_rows(request::undo_key, request::encode_undo));
        rows
    }

    /// Takes a row back.
    pub(super) fn restore_result(&mut self, result: CommandResult) {
        self.results.restore(result.request.clone(), result.at, result);
    }

    /// Takes a row back.
    pub(super) fn restore_undoable(&mut self, undoable: Undoable) {
        self.undoable.restore(undoable.request.clone(), undoable.at, undoable);
    }

    /// Takes the number of what was dropped for room.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// Something under each request id, by age as well, and which of it changed.
#[derive(Debug)]
struct ByAge<T> {
    by_id: BTreeMap<RequestId, (Timestamp, T)>,
    by_age: BTreeSet<(Timestamp, RequestId)>,
    dirty: BTreeSet<RequestId>,
}

impl<T> Default for ByAge<T> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), by_age: BTreeSet::new(), dirty: BTreeSet::new() }
    }
}

impl<T> ByAge<T> {
    fn put(&mut self, id: RequestId, at: Timestamp, what: T) {
        self.remove(&id);
        self.restore(id, at, what);
    }

    fn restore(&mut self, id: RequestId, at: Timestamp, what: T) {
        self.by_age.insert((at, id.clone()));
        self.by_id.insert(id, (at, what));
    }

    fn remove(&mut self, id: &RequestId) {
        if let Some((at, _)) = self.by_id.remove(id) {
            self.by_age.remove(&(at, id.clone()));
        }
        self.dirty.insert(id.clone());
    }

    /// Drops the oldest beyond `max`; how many.
    fn shorten(&mut self, max: usize) -> u64 {
        let mut dropped = 0;
        while self.by_id.len() > max {
            let Some((_, oldest)) = self.by_age.first().cloned() else { break };
            self.remove(&oldest);
            dropped += 1;
        }
        dropped
    }

    fn forget_before(&mut self, from: Timestamp) {
        while let Some((_, oldest)) = self.by_age.first().filter(|(at, _)| *at < from).cloned() {
            self.remove(&oldest);
        }
    }

    fn take_rows(
        &mut self,
        key: impl Fn(&RequestId) -> Vec<u8>,
        encode: impl Fn(&T) -> Vec<u8>,
    ) -> Vec<Row> {
        let value = |id: &RequestId| self.by_id.get(id).map(|(_, what)| encode(what));
        let row = |id: &RequestId| Row { key: key(id), value: value(id) };
        std::mem::take(&mut self.dirty).iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(nth: i64) -> CommandResult {
        let sample = CommandResult::sample(usize::try_from(nth).expect("a small number"));
        CommandResult { at: Timestamp::from_millis(nth), ..sample }
    }

    #[test]
    fn the_oldest_results_give_way_and_are_counted() {
        let mut requests = Requests::default();
        let max = i64::try_from(RESULTS_MAX).expect("a small number");
        (0..max + 2).for_each(|nth| requests.remember(result(nth)));
        assert_eq!((requests.take_dropped(), requests.take_dropped()), (2, 0));
        assert_eq!(requests.result(&result(1).request), None);
        assert_eq!(requests.result(&result(2).request), Some(&result(2)));
        let rows = requests.take_rows();
        assert_eq!(rows.iter().filter(|row| row.value.is_none()).count(), 2);
        assert_eq!(rows.len(), RESULTS_MAX + 2);
    }

    #[test]
    fn results_are_forgotten_after_a_day() {
        let mut requests = Requests::default();
        requests.remember(result(1));
        let day = Timestamp::from_millis(1) + RESULTS_KEPT;
        requests.forget(day, Span::ZERO);
        assert!(requests.result(&result(1).request).is_some());
        requests.take_rows();
        requests.forget(day + Span::from_millis(1), Span::ZERO);
        assert_eq!(requests.result(&result(1).request), None);
        assert_eq!(requests.take_rows().len(), 1, "its row goes");
    }
}
