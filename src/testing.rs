//! What tests and benches share: load, a real broker, scenarios, oracles.

pub mod bench;
pub mod load;
