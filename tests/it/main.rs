//! The integration tests, as modules of one binary: it links once instead of once a file.

mod api;
mod exactness;
mod journal;
mod kafka;
mod notify;
mod process;
mod shutdown;
mod tidy;
