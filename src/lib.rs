//! Muster: monitoring events in, one incident per fault out, on-call told once.
//!
//! ```text
//!  sources ──▶ COLLECT ──muster.alerts──▶ CORRELATE ──muster.incidents──▶ NOTIFY ──▶ receivers
//!  (Kafka      decode, limit,             alerts → incidents;             route, wait, deliver;
//!   topics,    suppress repeats           the only authority              remembers what it said
//!   HTTP)
//! ```
//!
//! Every stage is a fold over one log into the next: a plain struct without clock, I/O, locks or
//! async ([`stage::Stage`]). A worker thread drives it ([`worker::Worker`]): read a batch, fold,
//! commit. Where the logs live is the journal's business ([`journal::Journal`]): Kafka, SQLite or
//! memory.
//!
//! # Who may use whom
//!
//! Held against every `crate::` path by `tests/it/tidy.rs`.
//!
//! ```text
//! direction
//! model:
//! live:
//! clock: model
//! stage: model
//! shutdown: clock
//! simulate: model
//! telemetry: clock, model, stage
//! wire: model, stage
//! journal: clock, model, stage
//! kafka: clock, journal, model, stage, telemetry
//! decoders: model, stage
//! collect: decoders, model, stage, wire
//! correlate: collect, model, stage, wire
//! notify: clock, model, stage, telemetry, wire
//! explain: model, notify
//! replay: collect, correlate, model, stage, wire
//! board: clock, journal, model, shutdown, stage, telemetry, wire
//! worker: board, clock, collect, correlate, decoders, journal, live, model, notify, shutdown, stage, telemetry, wire
//! absence: clock, collect, journal, live, model, shutdown, stage, telemetry, wire
//! api: board, clock, collect, decoders, explain, live, model, shutdown, stage, telemetry, wire, worker
//! config: absence, api, board, collect, correlate, decoders, journal, kafka, model, notify, stage, telemetry, worker
//! testing: clock, collect, correlate, journal, kafka, model, notify, replay, stage, telemetry, wire
//! cli: absence, api, board, clock, collect, config, correlate, decoders, journal, kafka, live, model, notify, replay, shutdown, simulate, stage, telemetry, wire, worker
//! ```
//!
//! # What always holds, and the test that shows it
//!
//! 1. The same `muster.alerts` gives the same changes, byte for byte: `laws`, `exactness`; and those
//!    that the rules ask for: `oracle`.
//! 2. Correlate cannot fail or block; what it cannot read is a dead letter: `bad_input`, `topology`.
//! 3. Rows, changes and position leave in one commit; a failed one is thrown away whole:
//!    `journal`, `kafka`, `exactness`.
//! 4. Nothing is shown or sent before its commit: `api`, `notify`.
//! 5. One owner a partition: `kafka` (rivals, zombies), `journal` (second process).
//! 6. Losing collect's cache changes no incident: `laws`, `scenarios` (each is also run so).
//! 7. Every map, queue and label set has a bound, a metric and a policy at the bound: the unit tests
//!    beside some of them.
//! 8. Notify may repeat, never lose, never go back within an incident: `notify`, `exactness`.
//! 9. Stored rows never change meaning; other versions are refused by name: `wire`, and the unit
//!    tests of `wire::ledger` and `wire::row`.
//! 10. In = forwarded + repeats + late + rejected: `laws`; `bad_input`, also on the whole
//!     program.

pub mod absence;
pub mod api;
pub mod board;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod correlate;
pub mod decoders;
pub mod explain;
pub mod journal;
pub mod kafka;
pub mod live;
pub mod model;
pub mod notify;
pub mod replay;
pub mod shutdown;
pub mod simulate;
pub mod stage;
pub mod telemetry;
pub mod testing;
pub mod wire;
pub mod worker;
