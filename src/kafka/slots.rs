//! Names for the feeds of one process: the lowest number that is free.
//!
//! Names must be the same after a restart, so that a new producer fences its forerunner at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The numbers taken, by group.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<BTreeSet<(String, u32)>>>);

/// A number that is ours while this lives.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    group: String,
    number: u32,
}

impl Seats {
    /// Takes the lowest free number of a group.
    pub(super) fn take(&self, group: &str) -> Seat {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = 0;
        while taken.contains(&(group.to_owned(), number)) {
            number += 1;
        }
        taken.insert((group.to_owned(), number));
        Seat { seats: self.clone(), group: group.to_owned(), number }
    }
}

impl Seat {
    pub(super) const fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&(std::mem::take(&mut self.group), self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_number_is_taken_again() {
        let seats = Seats::default();
        let (first, second) = (seats.take("a"), seats.take("a"));
        assert_eq!((first.number(), second.number(), seats.take("b").number()), (0, 1, 0));
        drop(first);
        assert_eq!(seats.take("a").number(), 0);
    }
}
