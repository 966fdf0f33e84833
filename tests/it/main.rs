//! Every integration test, as one binary: one module a subject.

#![expect(clippy::panic, reason = "a helper of a test says what it missed and fails the test")]

mod api;
mod exactness;
mod journal;
mod kafka;
mod notify;
mod process;
mod shutdown;
mod tidy;
