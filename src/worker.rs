//! To be written.

pub mod intake;
