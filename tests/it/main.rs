//! The integration tests, as modules of one binary: it links once instead of once a file.

mod api;
mod config;
mod journal;
mod kafka;
mod notify;
mod shutdown;
mod tidy;
