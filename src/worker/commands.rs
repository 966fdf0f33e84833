//! The way of commands into correlate's log: durable before anybody waits for the result.
//!
//! What is in a command, who may ask for it and what is answered is `api`'s work.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::intake::Refused;
use crate::collect::to_alerts;
use crate::journal::{Appender, JournalError};
use crate::model::Command;
use crate::stage::{Kind, Outgoing, Route};
use crate::wire;

/// How many commands may wait for the journal at once.
const WAITING_MAX: usize = 64;

/// Appends commands to the partitions they are for; clones share it.
#[derive(Clone)]
pub struct Commands {
    appender: Arc<Mutex<Box<dyn Appender>>>,
    room: Arc<Semaphore>,
    partitions: u32,
}

impl Commands {
    /// With `partitions` of correlate's log.
    #[must_use]
    pub fn new(appender: Box<dyn Appender>, partitions: u32) -> Self {
        Self {
            appender: Arc::new(Mutex::new(appender)),
            room: Arc::new(Semaphore::new(WAITING_MAX)),
            partitions: partitions.max(1),
        }
    }

    /// The partition of a shard.
    #[must_use]
    pub fn partition_of(&self, shard: &str) -> u32 {
        to_alerts(shard, Kind::Command, Vec::new()).route.partition(self.partitions)
    }

    /// Every partition.
    #[must_use]
    pub fn partitions(&self) -> Vec<u32> {
        (0..self.partitions).collect()
    }

    /// Appends commands and comes back once all of them are durable.
    ///
    /// # Errors
    /// When it is not known that they are; sending them again under the same request id is safe.
    pub async fn send(&self, commands: &[(u32, Command)]) -> Result<(), Refused> {
        let records: Vec<Outgoing> = commands
            .iter()
            .map(|(partition, command)| Outgoing {
                route: Route::Partition(*partition),
                key: command.request.as_str().as_bytes().to_vec(),
                ..to_alerts("", Kind::Command, wire::command::encode(command))
            })
            .collect();
        self.append(records).await
    }

    /// Appends records for correlate and comes back once all of them are durable.
    ///
    /// # Errors
    /// When it is not known that they are.
    pub async fn append(&self, records: Vec<Outgoing>) -> Result<(), Refused> {
        let Ok(_slot) = self.room.try_acquire() else { return Err(Refused::Full) };
        let appender = Arc::clone(&self.appender);
        let append = move || -> Result<(), JournalError> {
            appender.lock().unwrap_or_else(PoisonError::into_inner).append(records)
        };
        let appended = tokio::task::spawn_blocking(append).await;
        match appended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refused::Journal(error.to_string())),
            Err(_) => Err(Refused::Closing),
        }
    }
}
