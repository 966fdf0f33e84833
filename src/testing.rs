//! What tests and benches share: it is in the library so that every test binary can use it.

pub mod conformance;
