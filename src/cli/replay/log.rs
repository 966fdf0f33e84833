//! Reads the retained `muster.alerts` for a replay: from Kafka, or from the embedded journal beside
//! the daemon that has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::input::MEMORY_MAX;
use crate::cli::Failure;
use crate::clock::SystemClock;
use crate::config::{Config, JournalSettings};
use crate::journal::sqlite::Sqlite;
use crate::journal::{Followed, Follower, From};
use crate::kafka;
use crate::model::Timestamp;
use crate::replay::log::Logged;
use crate::stage::{Kind, Topic};
use crate::wire;

/// How long a read may take to answer.
const POLL: Duration = Duration::from_millis(200);
/// How long nothing may come before the end was reached.
const PATIENCE: u32 = 150;
/// What a record takes in memory beside its bytes, about.
const OVERHEAD: u64 = 64;

/// The part of the log that is replayed.
#[derive(Debug)]
pub(super) struct Log {
    /// Of each partition in its order.
    pub(super) records: Vec<Logged>,
}

impl Log {
    /// Everything that was appended at `since` or later; before it, for each partition, the rules
    /// that were in force then, as far as they are kept.
    pub(super) fn read(config: &Config, since: Timestamp) -> Result<Self, Failure> {
        let mut follower = open(config)?;
        let mut records = Vec::new();
        let mut rules: BTreeMap<u32, Logged> = BTreeMap::new();
        let (mut bytes, mut idle) = (0_u64, 0);
        loop {
            match follower.poll(POLL).map_err(Failure::other)? {
                Followed::CaughtUp => break,
                Followed::Idle => {
                    idle += 1;
                    if idle > PATIENCE {
                        let message = "muster.alerts: nothing came for 30 s before its end";
                        return Err(Failure::other(message));
                    }
                }
                Followed::Batch(batch) => {
                    idle = 0;
                    for nth in 0..batch.len() {
                        let (slot, record) = batch.get(nth);
                        let logged = Logged {
                            partition: slot.partition,
                            time: record.time,
                            kind: record.kind,
                            value: record.value.unwrap_or_default().into(),
                        };
                        if record.time < since {
                            if record.kind == Kind::Settings {
                                rules.insert(slot.partition, logged);
                            }
                            continue;
                        }
                        bytes += logged.value.len() as u64 + OVERHEAD;
                        if bytes > MEMORY_MAX {
                            return Err(Failure::other(format!(
                                "muster.alerts: more than {MEMORY_MAX} bytes since then, which is \
                                 the most that is held in memory; give a shorter --since"
                            )));
                        }
                        records.push(logged);
                    }
                }
            }
        }
        if records.is_empty() {
            let message = "muster.alerts: nothing was appended in that time; give a longer --since";
            return Err(Failure::other(message));
        }
        let first = records.iter().map(|record| record.time).min().unwrap_or(since);
        let before = rules.into_values().map(|rules| Logged { time: first, ..rules });
        Ok(Self { records: before.chain(records).collect() })
    }

    /// The sender's ids of the events in it.
    pub(super) fn event_ids(&self) -> impl Iterator<Item = Box<str>> {
        let updates = self.records.iter().filter(|record| record.kind == Kind::Update);
        updates.filter_map(|record| wire::update::decode(&record.value).ok()?.event.id)
    }
}

fn open(config: &Config) -> Result<Box<dyn Follower>, Failure> {
    match config.journal() {
        JournalSettings::Kafka(settings) => {
            let journal = kafka::open(&settings, Arc::new(SystemClock)).map_err(Failure::other)?;
            journal.follow(Topic::Alerts, From::Beginning).map_err(Failure::other)
        }
        JournalSettings::Sqlite(settings) => {
            Sqlite::beside(&settings.path, Topic::Alerts).map_err(Failure::other)
        }
    }
}
