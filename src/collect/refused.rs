//! What is set aside of one record: bounded, however much of it cannot be read.
//!
//! An element of a list is set aside alone, with its own bytes. What has no bytes of its own, and what
//! is beyond a number of elements, is set aside together: once, with the whole record, so that
//! dead letters hold a bounded multiple of what came in and still all of it.

use super::decode::Rejected;
use crate::decoders::Failure;

/// How many elements of one record are set aside alone. Each is a dead letter with the record's key and
/// headers.
pub(super) const ALONE_MAX: usize = 1_000;

/// What of a record was refused so far.
pub(super) struct Refused<'a> {
    /// The whole record.
    whole: &'a [u8],
    alone: usize,
    together: Option<(Rejected, usize)>,
}

impl<'a> Refused<'a> {
    /// Nothing of a record yet.
    pub(super) fn of(whole: &'a [u8]) -> Self {
        Self { whole, alone: 0, together: None }
    }

    /// An element, by its place, that cannot be read; what is to be set aside now.
    pub(super) fn element(
        &mut self,
        index: Option<usize>,
        failure: Failure,
        bytes: &[u8],
    ) -> Option<Rejected> {
        if self.alone < ALONE_MAX {
            self.alone += 1;
            return Some(Rejected::new(index, failure, bytes));
        }
        self.without_bytes(index, failure);
        None
    }

    /// Something that cannot be read and has no bytes of its own.
    pub(super) fn without_bytes(&mut self, index: Option<usize>, failure: Failure) {
        match &mut self.together {
            Some((_, more)) => *more += 1,
            None => self.together = Some((Rejected::new(index, failure, self.whole), 0)),
        }
    }

    /// What is set aside together, once all is read.
    pub(super) fn together(self) -> Option<Rejected> {
        let (mut rejected, more) = self.together?;
        if more > 0 {
            rejected.message += &format!(", and {more} more of this record");
        }
        Some(rejected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Reason;

    #[test]
    fn elements_are_set_aside_alone_up_to_a_bound_and_the_others_once() {
        let failure = || Failure::new(Reason::NotAnEvent, "no event");
        let mut refused = Refused::of(b"[1,1,1]");
        for index in 0..ALONE_MAX {
            let alone = refused.element(Some(index), failure(), b"1");
            assert_eq!(alone.map(|one| one.bytes).as_deref(), Some(&b"1"[..]));
        }
        for index in ALONE_MAX..ALONE_MAX + 3 {
            assert_eq!(refused.element(Some(index), failure(), b"1"), None);
        }
        let together = refused.together().expect("three were not set aside yet");
        assert_eq!(together.bytes, b"[1,1,1]");
        assert_eq!(together.index, Some(ALONE_MAX));
        assert!(together.message.ends_with(", and 2 more of this record"), "{}", together.message);
        assert_eq!(Refused::of(b"").together(), None);
    }
}
