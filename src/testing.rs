//! What tests and benches share: load, a real broker, scenarios, what every journal must do.
//!
//! It is in the library so that every test binary and bench can use it.

pub mod bench;
pub mod broker;
pub mod conformance;
pub mod drain;
pub mod generate;
pub mod load;
pub mod pipeline;
pub mod scenario;
