//! One signal to stop, for threads and async alike, and the order in which parts stop.
//!
//! What stopping means is each part's own business: it finishes what it has begun and drops its
//! [`Busy`]. Nothing here can hold up the end: [`Order::stop`] comes back by its deadline and names
//! whoever did not.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::clock::Stopwatch;

/// The longest that an ordered stop takes; below the 10 s after which supervisors commonly kill.
pub const DEADLINE: Duration = Duration::from_secs(9);

/// A signal that is given once and heard by all clones, in threads and in async code.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    begun: Mutex<bool>,
    bell: Condvar,
    told: watch::Sender<bool>,
}

impl Shutdown {
    /// A signal that has not been given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal; again changes nothing.
    pub fn begin(&self) {
        *self.0.begun.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.bell.notify_all();
        self.0.told.send_replace(true);
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        *self.0.told.borrow()
    }

    /// Waits for it, without holding up a thread.
    pub async fn wait(&self) {
        let mut told = self.0.told.subscribe();
        // The sender lives in `self`, so waiting ends only by the signal.
        drop(told.wait_for(|begun| *begun).await);
    }

    /// Waits for it on this thread, at most `longest`; says whether it was given.
    #[must_use]
    pub fn wait_for(&self, longest: Duration) -> bool {
        let begun = self.0.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, _) = self
            .0
            .bell
            .wait_timeout_while(begun, longest, |begun| !*begun)
            .unwrap_or_else(PoisonError::into_inner);
        *begun
    }
}

/// Held by a part for as long as it has something to finish.
#[derive(Debug)]
pub struct Busy(Shutdown);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.begin();
    }
}

/// The parts of the process, in the order in which they stop: whoever is fed by another comes
/// after it, so that what was taken in still goes all the way.
#[derive(Debug, Default)]
pub struct Order(Vec<Part>);

#[derive(Debug)]
struct Part {
    name: String,
    stop: Shutdown,
    done: Shutdown,
}

/// Parts had not stopped by the deadline; the process exits with code 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("still busy {seconds} s after the stop began: {}; what they had not committed is taken up again at the next start", busy.join(", "))]
pub struct Late {
    /// Who they are.
    pub busy: Vec<String>,
    /// How long they were waited for.
    pub seconds: u64,
}

impl Order {
    /// No parts yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that stops after all that were added before: the signal it obeys, and what it
    /// drops when it has finished.
    pub fn part(&mut self, name: impl Into<String>) -> (Shutdown, Busy) {
        let part = Part { name: name.into(), stop: Shutdown::new(), done: Shutdown::new() };
        let handles = (part.stop.clone(), Busy(part.done.clone()));
        self.0.push(part);
        handles
    }

    /// Stops the parts one after the other, within `deadline` altogether. A part that takes more
    /// than a third of it is passed over and waited for at the end, so that one that hangs does
    /// not cost the others their orderly stop.
    ///
    /// # Errors
    /// Names the parts that were busy at the deadline.
    pub fn stop(self, deadline: Duration) -> Result<(), Late> {
        let watch = Stopwatch::start();
        let left = || deadline.saturating_sub(watch.elapsed());
        for part in &self.0 {
            part.stop.begin();
            if !part.done.wait_for(left().min(deadline / 3)) {
                warn!(part = part.name, "slow to stop, going on with the others");
            }
        }
        let busy: Vec<String> = self
            .0
            .into_iter()
            .filter_map(|part| (!part.done.wait_for(left())).then_some(part.name))
            .collect();
        if busy.is_empty() {
            info!(took_ms = watch.elapsed().as_millis(), "stopped");
            return Ok(());
        }
        let late = Late { busy, seconds: deadline.as_secs() };
        error!(busy = late.busy.join(","), "stopped by the deadline");
        Err(late)
    }
}

/// Listens for SIGTERM and SIGINT: the first gives the signal, the second ends the process at once
/// with code 143 or 130. To be called inside the runtime, which must live until the end.
///
/// # Errors
/// When the system does not let us listen.
pub fn on_signals(stop: Shutdown) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = term.recv() => ("SIGTERM", 143),
                _ = int.recv() => ("SIGINT", 130),
            }
        };
        let (name, _) = next().await;
        info!(signal = name, "stopping; once more stops at once");
        stop.begin();
        let (name, code) = next().await;
        error!(signal = name, "stopped at once");
        std::process::exit(code);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn threads_and_tasks_hear_the_same_signal() {
        let stop = Shutdown::new();
        assert!(!stop.is_begun() && !stop.wait_for(Duration::from_millis(1)));
        let heard = stop.clone();
        let thread = std::thread::spawn(move || heard.wait_for(LONG));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let heard = stop.clone();
        let task = runtime.spawn(async move { heard.wait().await });
        stop.begin();
        stop.begin();
        runtime.block_on(task).expect("the task ends");
        assert!(thread.join().expect("the thread ends"));
        assert!(stop.is_begun());
        // Whoever asks afterwards hears it as well.
        runtime.block_on(stop.wait());
    }

    #[test]
    fn parts_stop_in_their_order() {
        let mut order = Order::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = ["http", "collect", "correlate"]
            .map(|name| {
                let (stop, busy) = order.part(name);
                let log = Arc::clone(&log);
                std::thread::spawn(move || {
                    assert!(stop.wait_for(LONG), "{name} was never told");
                    log.lock().expect("nobody panics").push(name);
                    drop(busy);
                })
            })
            .into_iter()
            .collect();
        order.stop(LONG).expect("all stop");
        for thread in threads {
            thread.join().expect("it was told");
        }
        assert_eq!(*log.lock().expect("nobody panics"), ["http", "collect", "correlate"]);
    }

    #[test]
    fn who_hangs_is_named_and_the_others_are_told_all_the_same() {
        let mut order = Order::new();
        let (_, hung) = order.part("http");
        let (told, busy) = order.part("correlate");
        let thread = std::thread::spawn(move || {
            let told = told.wait_for(LONG);
            drop(busy);
            told
        });
        let late = order.stop(Duration::from_millis(300)).expect_err("http hangs");
        assert_eq!(late.busy, ["http"]);
        assert!(late.to_string().contains("http"), "{late}");
        assert!(thread.join().expect("it ends"), "correlate was told");
        drop(hung);
    }
}
