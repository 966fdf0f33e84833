//! What operators see: metrics, health and logs.
//!
//! Instruments are made here only, on a registry that is passed in; stages count in plain numbers
//! (`stage::Tally`) and their workers hand the numbers over once a batch.

pub mod health;
pub mod latency;
pub mod logs;
pub mod metrics;

pub use health::Health;
pub use latency::Latency;
pub use metrics::Metrics;
