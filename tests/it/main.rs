//! The integration tests, as modules of one binary: it links once instead of once a file.

mod api;
mod bad_input;
mod journal;
mod kafka;
mod laws;
mod notify;
mod scenarios;
mod shutdown;
mod tidy;
