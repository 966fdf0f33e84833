//! Reads a topic of an embedded journal beside the process that has the data directory.
//!
//! It takes no lock and changes nothing: the write-ahead log lets a reader see what was committed
//! while another process writes on. What was committed when it was opened is handed out, no more.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::{read, schema};
use crate::journal::{Followed, Follower, JournalError};
use crate::stage::{Offset, Topic};

/// Reads a topic once, from the oldest record kept to what is committed now.
pub(super) struct Beside {
    connection: Connection,
    topic: Topic,
    next: Offset,
    target: Offset,
    begun: bool,
}

impl Beside {
    pub(super) fn open(directory: &Path, topic: Topic) -> Result<Self, JournalError> {
        let doing = || format!("read of {topic} in data directory {}", directory.display());
        let file = directory.join(schema::FILE);
        if !file.is_file() {
            let why = "there is no journal; `muster run` makes one, where journal.path says";
            return Err(JournalError::fatal(doing(), why));
        }
        let opened = schema::open_reader(&file).and_then(|connection| {
            let target = schema::Heads::load(&connection)?.next(topic);
            Ok((connection, target))
        });
        let checked = opened.map_err(|error| {
            let advice = "; it is read beside the daemon as the user that it runs as";
            JournalError::fatal(doing(), format!("{}{advice}", schema::failure(&error).why))
        });
        let (connection, target) = checked?;
        schema::check(&connection, &file)
            .map_err(|failure| JournalError::fatal(doing(), failure.why))?;
        Ok(Self { connection, topic, next: Offset(0), target, begun: false })
    }
}

impl Follower for Beside {
    fn poll(&mut self, _: Duration) -> Result<Followed, JournalError> {
        if self.next >= self.target {
            return Ok(Followed::CaughtUp);
        }
        let (topic, next) = (self.topic, self.next);
        let doing = || format!("read of {topic} at {}", next.0);
        let read = read::batch(&self.connection, topic, next, self.target)
            .map_err(|error| JournalError::fatal(doing(), schema::failure(&error).why))?;
        let first = read.records.first().map_or(read.next, |record| record.offset);
        if self.begun && first > next {
            let why = format!("retention was faster and took up to {}; try again", first.0);
            return Err(JournalError::fatal(doing(), why));
        }
        self.begun = true;
        self.next = read.next;
        Ok(Followed::Batch(Box::new(read.records)))
    }
}
