//! The one thread that changes the database.
//!
//! Everything that waits goes into one transaction, so that a sync is shared by all who wait for
//! it; each is answered after the COMMIT. A transaction that fails is rolled back whole, and nobody
//! in it is told anything but that. After an error of the disk the database is closed and opened
//! anew: a sync that failed once proves nothing when it succeeds the second time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, ErrorCode, Transaction, TransactionBehavior, ffi};

use super::schema::{self, Heads};
use super::{Answer, Drill, Failure, Settings, Shared, read, retention};
use crate::clock::{SharedClock, Stopwatch};
use crate::journal::{Group, JournalError};
use crate::model::Timestamp;
use crate::stage::{Offset, Outgoing, Row, Topic};

/// The most changes of one transaction.
const JOBS_MAX: usize = 512;
/// The bytes after which a transaction takes no further change.
const BYTES_MAX: usize = 16 << 20;
/// The time between steps of retention while there is something to forget.
const STEP_EVERY: Duration = Duration::from_millis(100);
/// The time between looks whether there is something to forget.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the writer is asked for.
pub(super) enum Work {
    /// To change the database.
    Change(Job),
    /// To forget what is due.
    Tidy(SyncSender<Answer>),
    /// To go wrong on purpose.
    Drill(Drill, SyncSender<Answer>),
}

/// A change, and whom to tell.
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) answer: SyncSender<Answer>,
}

/// What becomes durable as one.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The group that joins: it gets a position at the oldest record, if it has none.
    pub(super) join: Option<Group>,
    pub(super) rows: Vec<(Topic, Row)>,
    pub(super) records: Vec<Outgoing>,
    pub(super) position: Option<(Group, Offset)>,
}

impl Change {
    fn bytes(&self) -> usize {
        let value = |row: &Row| row.value.as_ref().map_or(0, Vec::len);
        let rows = self.rows.iter().map(|(_, row)| row.key.len() + value(row));
        let records = self.records.iter().map(|record| record.key.len() + record.value.len());
        rows.chain(records).sum()
    }
}

/// The thread's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    settings: Settings,
    clock: SharedClock,
    jobs: Receiver<Work>,
    /// None after an error of the disk, until it opens again.
    connection: Option<Connection>,
    heads: Heads,
    failing_syncs: u32,
    failing: bool,
    since_tidied: Stopwatch,
    more_to_tidy: bool,
}

impl Writer {
    /// Opens the database.
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: &Settings,
        clock: SharedClock,
        jobs: Receiver<Work>,
    ) -> Result<Self, JournalError> {
        let mut writer = Self {
            shared,
            settings: settings.clone(),
            clock,
            jobs,
            connection: None,
            heads: Heads::default(),
            failing_syncs: 0,
            failing: false,
            since_tidied: Stopwatch::start(),
            more_to_tidy: true,
        };
        // What cannot be opened at the start is never a matter of trying again.
        writer.reopen().map_err(|failure| {
            let path: PathBuf = settings.path.clone();
            JournalError::fatal(format!("open of data directory {}", path.display()), failure.why)
        })?;
        Ok(writer)
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self) {
        loop {
            match self.jobs.recv_timeout(self.patience()) {
                Ok(Work::Change(first)) => self.round(first),
                Ok(other) => self.serve(other),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.since_tidied.elapsed() >= self.patience() {
                self.tidy_step();
            }
        }
    }

    fn patience(&self) -> Duration {
        if self.more_to_tidy { STEP_EVERY } else { LOOK_EVERY }
    }

    /// One transaction with everything that waits.
    fn round(&mut self, first: Job) {
        let mut bytes = first.change.bytes();
        let mut jobs = vec![first];
        let mut other = None;
        while jobs.len() < JOBS_MAX && bytes < BYTES_MAX {
            match self.jobs.try_recv() {
                Ok(Work::Change(job)) => {
                    bytes += job.change.bytes();
                    jobs.push(job);
                }
                Ok(work) => {
                    other = Some(work);
                    break;
                }
                Err(_) => break,
            }
        }
        let (changes, answers): (Vec<Change>, Vec<SyncSender<Answer>>) =
            jobs.into_iter().map(|job| (job.change, job.answer)).unzip();
        let result = self.transact(&changes);
        for answer in answers {
            tell(&answer, result.clone());
        }
        if let Some(work) = other {
            self.serve(work);
        }
    }

    fn serve(&mut self, work: Work) {
        match work {
            Work::Change(job) => self.round(job),
            Work::Tidy(answer) => {
                let result = loop {
                    match self.tidy() {
                        Ok(true) => {}
                        Ok(false) => break Ok(()),
                        Err(failure) => break Err(failure),
                    }
                };
                tell(&answer, result);
            }
            Work::Drill(drill, answer) => {
                let result = self.start_drill(drill);
                tell(&answer, result);
            }
        }
    }

    fn start_drill(&mut self, drill: Drill) -> Result<(), Failure> {
        match drill {
            Drill::Sync(times) => self.failing_syncs = times,
            Drill::Pages(pages) => {
                let connection = self.connection()?;
                let pages = i64::from(pages.unwrap_or(u32::MAX - 1));
                connection
                    .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
                    .map_err(|error| schema::failure(&error))?;
            }
        }
        Ok(())
    }

    /// Makes all changes durable and shows them to readers, or none.
    fn transact(&mut self, changes: &[Change]) -> Result<(), Failure> {
        let now = self.clock.now();
        let fail_sync = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        let followed = followed(&self.shared);
        let mut heads = self.heads.clone();
        let connection = self.connection()?;
        match write_all(connection, changes, &mut heads, now, &followed, fail_sync) {
            Ok(()) => {
                self.publish(heads);
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn publish(&mut self, heads: Heads) {
        if self.failing {
            self.failing = false;
            tracing::info!("journal commits again");
        }
        self.heads = heads;
        self.shared.lock().heads = self.heads.clone();
        self.shared.woken.notify_all();
    }

    fn failed(&mut self, error: &rusqlite::Error) -> Failure {
        let failure = schema::failure(error);
        if !self.failing {
            self.failing = true;
            tracing::warn!(reason = %failure.why, "journal cannot commit");
        }
        if !matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull)) {
            self.connection = None;
        }
        failure
    }

    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        if self.connection.is_none() {
            self.reopen()?;
        }
        Ok(self.connection.as_mut().expect("reopen either sets it or fails"))
    }

    fn reopen(&mut self) -> Result<(), Failure> {
        let connection = schema::open_writer(&self.shared.file)?;
        self.heads = Heads::load(&connection).map_err(|error| schema::failure(&error))?;
        self.shared.lock().heads = self.heads.clone();
        self.connection = Some(connection);
        Ok(())
    }

    fn tidy_step(&mut self) {
        if let Err(failure) = self.tidy() {
            tracing::warn!(reason = %failure.why, "journal cannot forget old records");
            self.more_to_tidy = false;
        }
        self.since_tidied = Stopwatch::start();
    }

    /// One step of retention; says whether there is more to do.
    fn tidy(&mut self) -> Result<bool, Failure> {
        let (now, heads) = (self.clock.now(), self.heads.clone());
        let followers = self.shared.lock().followers.clone();
        let settings = self.settings.clone();
        let connection = self.connection()?;
        match retention::step(connection, &settings, &heads, &followers, now) {
            Ok(more) => {
                self.more_to_tidy = more;
                Ok(more)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// Topics of rows that somebody follows, whose deletions must therefore be shown.
fn followed(shared: &Shared) -> Vec<Topic> {
    shared.lock().followers.values().map(|(topic, _)| *topic).collect()
}

fn write_all(
    connection: &mut Connection,
    changes: &[Change],
    heads: &mut Heads,
    now: Timestamp,
    followed: &[Topic],
    fail_sync: bool,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_rows(&transaction, changes, heads, now, followed)?;
    write_records(&transaction, changes, heads, now)?;
    write_positions(&transaction, changes)?;
    write_heads(&transaction, changes, heads)?;
    if fail_sync {
        let error = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
        return Err(rusqlite::Error::SqliteFailure(error, Some("drill: sync failed".to_owned())));
    }
    transaction.commit()
}

fn write_rows(
    transaction: &Transaction<'_>,
    changes: &[Change],
    heads: &mut Heads,
    now: Timestamp,
    followed: &[Topic],
) -> rusqlite::Result<()> {
    for topic in Topic::ALL.into_iter().filter(|topic| schema::is_rows(*topic)) {
        let mut rows = changes.iter().flat_map(|change| &change.rows).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut set = transaction.prepare_cached(&format!(
            "INSERT INTO rows_{topic} (key, value, version, time) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (key) DO UPDATE SET value = ?2, version = ?3, time = ?4"
        ))?;
        let mut delete =
            transaction.prepare_cached(&format!("DELETE FROM rows_{topic} WHERE key = ?1"))?;
        for (_, row) in rows.filter(|(of, _)| *of == topic) {
            let head = heads.take(topic, now);
            if row.value.is_none() && !followed.contains(&topic) {
                delete.execute([&row.key])?;
            } else {
                set.execute((&row.key, &row.value, head.next.0, head.time.as_millis()))?;
            }
        }
    }
    Ok(())
}

fn write_records(
    transaction: &Transaction<'_>,
    changes: &[Change],
    heads: &mut Heads,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut insert: Option<(Topic, CachedStatement<'_>)> = None;
    for record in changes.iter().flat_map(|change| &change.records) {
        let topic = record.topic;
        let statement = match &mut insert {
            Some((of, statement)) if *of == topic => statement,
            _ => {
                let text = format!(
                    "INSERT INTO records_{topic} (off, time, kind, key, value, headers) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                );
                &mut insert.insert((topic, transaction.prepare_cached(&text)?)).1
            }
        };
        let head = heads.take(topic, now);
        statement.execute((
            head.next.0,
            head.time.as_millis(),
            record.kind.as_str(),
            &record.key,
            &record.value,
            read::pack_headers(&record.headers),
        ))?;
    }
    Ok(())
}

fn write_positions(transaction: &Transaction<'_>, changes: &[Change]) -> rusqlite::Result<()> {
    for change in changes {
        if let Some(group) = change.join {
            let topic = group.input();
            transaction.execute(
                &format!(
                    "INSERT INTO positions (name, next) VALUES (?1, coalesce( \
                       (SELECT min(off) FROM records_{topic}), \
                       (SELECT next FROM heads WHERE topic = ?2), 0)) \
                     ON CONFLICT (name) DO NOTHING"
                ),
                (group.as_str(), topic.as_str()),
            )?;
        }
        if let Some((group, position)) = change.position {
            let mut update = transaction.prepare_cached(
                "INSERT INTO positions (name, next) VALUES (?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET next = ?2",
            )?;
            update.execute((group.as_str(), position.0))?;
        }
    }
    Ok(())
}

fn write_heads(
    transaction: &Transaction<'_>,
    changes: &[Change],
    heads: &Heads,
) -> rusqlite::Result<()> {
    let records = changes.iter().flat_map(|change| &change.records).map(|record| record.topic);
    let rows = changes.iter().flat_map(|change| &change.rows).map(|(topic, _)| *topic);
    let mut touched: Vec<Topic> = records.chain(rows).collect();
    touched.sort_unstable();
    touched.dedup();
    let mut update = transaction.prepare_cached(
        "INSERT INTO heads (topic, next, time) VALUES (?1, ?2, ?3) \
         ON CONFLICT (topic) DO UPDATE SET next = ?2, time = ?3",
    )?;
    for topic in touched {
        if let Some(head) = heads.get(topic) {
            update.execute((topic.as_str(), head.next.0, head.time.as_millis()))?;
        }
    }
    Ok(())
}

fn tell(answer: &SyncSender<Answer>, result: Answer) {
    // Who asked may have gone in the meantime; the change stands all the same.
    if answer.try_send(result).is_err() {
        tracing::debug!("a change was made for a caller that has gone");
    }
}
