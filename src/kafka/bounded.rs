//! Calls into the client that may never come back, and the pace of trying again.
//!
//! librdkafka hangs for ever in a few places (sending offsets while the coordinator is gone,
//! closing a consumer). No worker may go silent over that.

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use crate::clock::Stopwatch;

/// Runs `call` on a thread of its own; nothing when it has not come back in time. The thread is
/// then left behind with all it holds.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    name: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, wait) = sync_channel(1);
    let run = move || {
        // The receiver is gone only when the limit has passed: nobody asks for the result.
        drop(done.send(call()));
    };
    match thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(_) => wait.recv_timeout(limit).ok(),
        Err(_) => None,
    }
}

/// The pace of attempts after failures: 0.1 s, doubling to 10 s, so that a broken broker sees no
/// storm of new producers.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    since: Stopwatch,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { failures: 0, since: Stopwatch::start() }
    }

    /// Another attempt failed.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.since = Stopwatch::start();
    }

    /// All is well.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait before the next attempt.
    pub(super) fn remaining(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else { return Duration::ZERO };
        let delay =
            Duration::from_millis(100 * (1 << doublings.min(7))).min(Duration::from_secs(10));
        delay.saturating_sub(self.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_given_up() {
        let (_held, never) = sync_channel::<()>(1);
        let limit = Duration::from_millis(20);
        assert!(within(limit, "test", move || never.recv()).is_none());
        assert_eq!(within(Duration::from_secs(30), "test", || 7), Some(7));
    }

    #[test]
    fn failures_space_out_and_success_resets() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.remaining(), Duration::ZERO);
        for _ in 0..40 {
            backoff.failed();
        }
        assert!(backoff.remaining() > Duration::from_secs(9));
        assert!(backoff.remaining() <= Duration::from_secs(10));
        backoff.succeeded();
        assert_eq!(backoff.remaining(), Duration::ZERO);
    }
}
