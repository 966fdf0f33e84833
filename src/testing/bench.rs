//! How benches measure and print: quantiles of batches, a rate, and a hash of the result.
//!
//! The hash shows that what was timed did its work: the same input gives the same hash in every
//! run, on every machine.

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::clock::Stopwatch;
use crate::telemetry::Latency;

/// Whether the bench runs as a test: small, to see that it works.
#[must_use]
pub fn is_test() -> bool {
    std::env::args().any(|arg| arg == "--test") || !std::env::args().any(|arg| arg == "--bench")
}

/// One measurement under way.
pub struct Measure {
    name: String,
    latency: Latency,
    hasher: SipHasher13,
    items: u64,
    busy: Duration,
}

impl Measure {
    /// Begins under a name.
    ///
    /// # Panics
    /// Never: the metric's name is fixed.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let latency = Latency::new("bench_seconds", "a bench").expect("a good name");
        Self {
            name: name.to_owned(),
            latency,
            hasher: SipHasher13::new(),
            items: 0,
            busy: Duration::ZERO,
        }
    }

    /// Times one batch of `items`; what it gives goes into the hash, which is not timed.
    pub fn batch<T: AsRef<[u8]>>(&mut self, items: u64, work: impl FnOnce() -> Vec<T>) {
        let watch = Stopwatch::start();
        let result = work();
        let took = watch.elapsed();
        self.latency.observe(took);
        self.busy += took;
        self.items += items;
        result.iter().for_each(|part| self.hasher.write(part.as_ref()));
    }

    /// Prints what was measured; the rate in items a second.
    #[expect(clippy::print_stdout, reason = "a bench's result is its output")]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn print(&self) -> f64 {
        let quantiles = self.latency.quantiles();
        let rate = self.items as f64 / self.busy.as_secs_f64();
        println!(
            "{:<28} {:>12.0}/s  {:>9} items  batch p50 {:?} p99 {:?} max {:?}  hash {:016x}",
            self.name,
            rate,
            self.items,
            quantiles.p50,
            quantiles.p99,
            quantiles.max,
            self.hasher.finish()
        );
        rate
    }
}
