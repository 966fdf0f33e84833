//! Keeps the board current: reads correlate's rows once, then every incident change.
//!
//! The changes are opened first and read second, so that nothing falls between the rows and them.
//! Whatever fails is begun anew from the rows; meanwhile the board shows what it knows and says how
//! old that is.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::Board;
use crate::clock::{SharedClock, Stopwatch};
use crate::journal::{Batch, Class, Followed, From, Journal, JournalError};
use crate::model::{Beating, Change, CommandResult, Pulse};
use crate::shutdown::Shutdown;
use crate::stage::{Kind, RowError, Topic};
use crate::telemetry::{Health, Metrics};
use crate::wire;
use crate::wire::maintenance::StoredPlan;

/// The part's name in health.
const PART: &str = "board";
const POLL: Duration = Duration::from_millis(100);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What correlate's rows hold.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The incidents, each with its present revision and all its alerts.
    pub incidents: Vec<Change>,
    /// What became of commands lately.
    pub results: Vec<CommandResult>,
    /// The maintenance plans that people asked for, with the partition that has them.
    pub plans: Vec<(u32, StoredPlan)>,
    /// What must be heard of, and when it was.
    pub heartbeats: Vec<Beating>,
}

/// Makes incidents of correlate's rows.
pub trait RowLoader: Send {
    /// Forgets what it was given so far.
    fn begin(&mut self);

    /// Takes a row of a partition; none: it is gone. A later one of the same key replaces it.
    ///
    /// # Errors
    /// When the row is of no known kind or version.
    fn row(&mut self, partition: u32, key: &[u8], value: Option<&[u8]>) -> Result<(), RowError>;

    /// What is in them.
    ///
    /// # Errors
    /// When the rows do not fit together.
    fn finish(&mut self) -> Result<Loaded, RowError>;
}

/// Everything that following takes.
pub struct Follow {
    /// Where the rows and changes are.
    pub journal: Arc<dyn Journal>,
    /// What is kept current.
    pub board: Arc<Board>,
    /// Reads correlate's rows.
    pub rows: Box<dyn RowLoader>,
    /// Tells how old what is shown is.
    pub clock: SharedClock,
    /// Learns of trouble.
    pub health: Health,
    /// Counts what cannot be read.
    pub metrics: Metrics,
    /// Ends it.
    pub stop: Shutdown,
}

impl Follow {
    /// Follows on this thread until it is told to stop.
    ///
    /// # Errors
    /// When the journal is beyond repair from here.
    pub fn run(mut self) -> Result<(), JournalError> {
        self.health.bad(PART, "the open incidents are being loaded");
        let mut pause = RETRY_MIN;
        while !self.stop.is_begun() {
            let Err(failure) = self.follow(&mut pause) else { break };
            self.health.bad(PART, failure.to_string());
            if failure.class == Class::Fatal {
                error!(error = %failure, "board given up");
                return Err(failure);
            }
            let retry_ms = pause.as_millis();
            warn!(error = %failure, retry_ms, "board is not current, beginning anew");
            if self.stop.wait_for(pause) {
                break;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
        Ok(())
    }

    /// Comes back when told to stop, or with what went wrong.
    fn follow(&mut self, pause: &mut Duration) -> Result<(), JournalError> {
        let mut changes = self.journal.follow(Topic::Incidents, From::End)?;
        self.load()?;
        while !self.stop.is_begun() {
            match changes.poll(POLL)? {
                Followed::Batch(batch) => self.take(&batch),
                Followed::CaughtUp | Followed::Idle => {
                    self.board.current_as_of(self.clock.now());
                }
            }
            // Only now it is known that the changes can be read as well.
            self.health.good(PART);
            *pause = RETRY_MIN;
            self.board.sweep(self.clock.now());
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), JournalError> {
        let watch = Stopwatch::start();
        let unreadable = |error: RowError| JournalError::retry("load of the open incidents", error);
        let mut rows = self.journal.follow(Topic::State, From::Beginning)?;
        self.rows.begin();
        while !self.stop.is_begun() {
            match rows.poll(POLL)? {
                Followed::Batch(batch) => {
                    for index in 0..batch.len() {
                        let (slot, record) = batch.get(index);
                        let key = record.key.unwrap_or_default();
                        self.rows.row(slot.partition, key, record.value).map_err(unreadable)?;
                    }
                }
                Followed::Idle => {}
                Followed::CaughtUp => {
                    let Loaded { incidents, results, plans, heartbeats } =
                        self.rows.finish().map_err(unreadable)?;
                    results.into_iter().for_each(|result| self.board.learn(result));
                    // After the results, which come in no order: rows are what they led to.
                    self.board.load_plans(plans);
                    self.board.heartbeats().load(heartbeats);
                    let count = incidents.len();
                    self.board.load(self.clock.now(), incidents);
                    info!(incidents = count, took_ms = watch.elapsed().as_millis(), "board loaded");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take(&self, batch: &Batch) {
        let now = self.clock.now();
        for index in 0..batch.len() {
            let (slot, record) = batch.get(index);
            let taken = match (record.kind, record.value) {
                (Kind::Change, Some(value)) => wire::change::decode(value).map(|change| {
                    self.board.apply(now, change);
                }),
                (Kind::CommandResult, Some(value)) => {
                    wire::command::decode_result(value).map(|result| self.board.learn(result))
                }
                (Kind::Heartbeat, Some(value)) => {
                    wire::heartbeat::decode_pulse(value).map(|pulse| match pulse {
                        Pulse::Is(row) => self.board.heartbeats().put(row),
                        Pulse::Probed { id, partition } => self.health.saw(PART, &id, partition),
                    })
                }
                _ => Ok(()),
            };
            if let Err(error) = taken {
                self.metrics.board_dropped.with_label_values(&["change"]).inc();
                let (partition, offset) = (slot.partition, record.offset.0);
                warn!(partition, offset, %error, "incident change cannot be shown");
            }
            // The log's time, not ours: there may be more behind this record.
            self.board.current_as_of(record.time.min(now));
        }
    }
}

#[cfg(test)]
mod tests;
