//! Every integration test, as one binary: one module a subject.

#![expect(clippy::panic, reason = "a helper of a test says what it missed and fails the test")]

mod api;
mod bad_input;
mod config;
mod exactness;
mod journal;
mod kafka;
mod laws;
mod notify;
mod process;
mod quality;
mod real_input;
mod replay;
mod scenarios;
mod shutdown;
mod stages_apart;
mod tidy;
mod wire;
