//! Muster: monitoring events in, one incident per fault out.
//!
//! Which module may use which; `tests/it/tidy.rs` holds every path against it.
//!
//! ```text
//! direction
//! model:
//! clock: model
//! stage: model
//! shutdown: clock
//! telemetry: clock, model, stage
//! wire: model, stage
//! journal: clock, model, stage
//! kafka: clock, journal, model, stage, telemetry
//! collect: model, stage, wire
//! correlate: collect, model, stage, wire
//! notify: clock, model, stage, telemetry, wire
//! replay: collect, correlate, journal, model, stage, wire
//! board: clock, journal, model, shutdown, stage, telemetry, wire
//! worker: board, clock, collect, correlate, journal, model, notify, shutdown, stage, telemetry, wire
//! api: board, clock, model, shutdown, telemetry, wire, worker
//! config: api, board, collect, correlate, journal, kafka, model, notify, stage, telemetry, worker
//! testing: clock, collect, correlate, journal, kafka, model, notify, replay, stage, telemetry, wire
//! cli: api, board, clock, collect, config, correlate, journal, kafka, model, notify, replay, shutdown, stage, telemetry, testing, wire, worker
//! ```

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
