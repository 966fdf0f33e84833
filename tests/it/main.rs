//! Every integration test, as one binary.

mod journal;
mod kafka;
