//! Muster: monitoring events in, one incident per fault out.

pub mod api;
pub mod board;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod correlate;
pub mod journal;
pub mod kafka;
pub mod model;
pub mod notify;
pub mod replay;
pub mod shutdown;
pub mod stage;
pub mod telemetry;
pub mod testing;
pub mod wire;
pub mod worker;
