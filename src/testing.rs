//! What tests, benches and simulations share: the stages in a row, events to feed them, scenarios.
//!
//! Nothing of the daemon uses it. It is part of the library so that tests, benches and tools of
//! one installation run the same stages in the same way.

pub mod generate;
pub mod pipeline;
pub mod scenario;
