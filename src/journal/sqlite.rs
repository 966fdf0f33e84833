//! The embedded journal: SQLite, one process, one data directory.
//!
//! This file opens the directory and hands out feeds, appenders and followers; `writer` is the one
//! thread that changes the database, `feed`, `append` and `follow` are what others hold, `read` has
//! the queries, `schema` the tables, `retention` what is forgotten. Every topic has one partition:
//! one process has one correlator, and more partitions would only split its commits.
//! What is answered with success was synced to disk before the answer.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Appender, Class, Feed, Follower, From, Group, Journal, JournalError};
use crate::clock::{SharedClock, Stopwatch};
use crate::model::Span;
use crate::stage::{Offset, Slot, Topic};

mod append;
mod beside;
mod feed;
mod follow;
mod read;
mod retention;
mod schema;
mod writer;

use schema::Heads;
use writer::{Change, Job, Work};

/// How many changes may wait for the writer; who comes next waits for room.
const QUEUE_MAX: usize = 1_024;
/// How long the directory may still be held by a process that is gone or about to go.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// The only slot there is.
const SLOT: Slot = Slot { input: 0, partition: 0 };

/// What the embedded journal goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The data directory; made if missing.
    pub path: PathBuf,
    /// How long events that collect forwarded are kept (default 7 d).
    pub keep_alerts: Span,
    /// How long incident changes and dead letters are kept (default 30 d).
    pub keep_incidents: Span,
    /// The size at which the oldest read records go first, in bytes (default 4 GiB).
    pub max_bytes: u64,
}

/// Faults on purpose, to see what the rest of the program makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// The disk is full once the database has this many pages of 4 KiB; none: no such limit.
    Pages(Option<u32>),
    /// The sync of the next so many transactions fails, as on a broken disk.
    Sync(u32),
}

/// A journal in a data directory. Cheap to clone; the directory is free again when the last handle,
/// feed, appender and follower is gone.
#[derive(Clone)]
pub struct Sqlite(Arc<Store>);

impl Sqlite {
    /// Opens or makes the data directory and starts the writer.
    ///
    /// # Errors
    /// When the directory cannot be used, another process has it, or its database is of a newer
    /// version or damaged. All of these need a person.
    pub fn open(settings: &Settings, clock: SharedClock) -> Result<Arc<Self>, JournalError> {
        let lock = lock(&settings.path)?;
        let shared = Arc::new(Shared {
            file: settings.path.join(schema::FILE),
            seen: Mutex::default(),
            woken: Condvar::new(),
        });
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let writer = writer::Writer::new(Arc::clone(&shared), settings, clock, jobs)?;
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| JournalError::fatal("start of the journal's writer", error))?;
        let store = Store { shared, queue: Some(queue), writer: Some(thread), _lock: lock };
        Ok(Arc::new(Self(Arc::new(store))))
    }

    /// Reads a topic from the oldest record kept to what is committed now, beside the process that
    /// has the directory, if any; takes no lock and changes nothing.
    ///
    /// # Errors
    /// When there is no journal in the directory, it cannot be read, or it is of another version.
    pub fn beside(path: &Path, topic: Topic) -> Result<Box<dyn Follower>, JournalError> {
        Ok(Box::new(beside::Beside::open(path, topic)?))
    }

    /// Forgets now what is due to be forgotten, to the end, instead of bit by bit.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn tidy(&self) -> Result<(), JournalError> {
        self.0.call("retention", Work::Tidy)
    }

    /// Starts or ends a drill; for tests and exercises.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn drill(&self, drill: Drill) -> Result<(), JournalError> {
        self.0.call("drill", |answer| Work::Drill(drill, answer))
    }
}

impl Journal for Sqlite {
    fn partitions(&self, _: Topic) -> u32 {
        1
    }

    fn feed(&self, group: Group) -> Result<Box<dyn Feed>, JournalError> {
        Ok(Box::new(feed::SqliteFeed::join(Arc::clone(&self.0), group)?))
    }

    fn appender(&self) -> Result<Box<dyn Appender>, JournalError> {
        Ok(Box::new(append::SqliteAppender::new(Arc::clone(&self.0))))
    }

    fn follow(&self, topic: Topic, from: From) -> Result<Box<dyn Follower>, JournalError> {
        Ok(Box::new(follow::SqliteFollower::new(Arc::clone(&self.0), topic, from)?))
    }
}

/// The open directory. Held by everything handed out.
struct Store {
    shared: Arc<Shared>,
    /// Always there until the store is dropped.
    queue: Option<SyncSender<Work>>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

impl Store {
    /// Hands a change to the writer; the answer comes when it is durable or void.
    fn submit(&self, change: Change) -> Result<Receiver<Answer>, JournalError> {
        let (answer, answered) = sync_channel(1);
        self.send(Work::Change(Job { change, answer }))?;
        Ok(answered)
    }

    /// Hands a change to the writer and waits until it is durable.
    fn write(&self, doing: &str, change: Change) -> Result<(), JournalError> {
        settled(doing, &self.submit(change)?)
    }

    fn call(
        &self,
        doing: &str,
        work: impl FnOnce(SyncSender<Answer>) -> Work,
    ) -> Result<(), JournalError> {
        let (answer, answered) = sync_channel(1);
        self.send(work(answer))?;
        settled(doing, &answered)
    }

    fn send(&self, work: Work) -> Result<(), JournalError> {
        let queue = self.queue.as_ref().expect("the queue is taken only when the store is dropped");
        queue.send(work).map_err(|_| writer_gone("hand a change to the journal"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Without senders the writer finishes what waits and ends; only then is the lock let go.
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer ended by a panic");
        }
    }
}

/// What became of a change; the error says why in words for the log.
type Answer = Result<(), Failure>;

/// Why a transaction did not happen.
#[derive(Debug, Clone)]
struct Failure {
    class: Class,
    why: String,
}

fn settled(doing: &str, answered: &Receiver<Answer>) -> Result<(), JournalError> {
    match answered.recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failure { class, why })) => {
            Err(JournalError { class, doing: doing.to_owned(), why })
        }
        Err(_) => Err(writer_gone(doing)),
    }
}

fn writer_gone(doing: &str) -> JournalError {
    JournalError::fatal(doing, "the journal's writer has stopped; restart the process")
}

/// What the writer tells the readers.
struct Shared {
    file: PathBuf,
    seen: Mutex<Seen>,
    woken: Condvar,
}

#[derive(Default)]
struct Seen {
    /// The next offset and last append time of each topic, as committed.
    heads: Heads,
    /// Feeds by group, the oldest first: that one holds the partition.
    members: BTreeMap<Group, VecDeque<u64>>,
    /// How far each follower of a topic of rows is: deletions after that are still shown to it.
    followers: BTreeMap<u64, (Topic, Offset)>,
    next_id: u64,
}

impl Seen {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        // All changes under the lock are single assignments, so a panic leaves nothing half done.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` or until `wait` is over.
    fn wait(&self, wait: Duration, ready: impl Fn(&Seen) -> bool) -> MutexGuard<'_, Seen> {
        let waited = self.woken.wait_timeout_while(self.lock(), wait, |seen| !ready(seen));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn head(&self, topic: Topic) -> Offset {
        self.lock().heads.next(topic)
    }
}

/// Takes the directory for this process, for as long as the file is open.
fn lock(path: &Path) -> Result<File, JournalError> {
    let doing = || format!("open of data directory {}", path.display());
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        JournalError::fatal(
            doing(),
            format!("{error}; give journal.path a directory that can be written"),
        )
    })?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("muster.lock"))
        .map_err(|error| JournalError::fatal(doing(), error))?;
    let begun = Stopwatch::start();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // One that has just ended may be held for a moment longer: a process it was about to
            // start has a copy of its open files until it runs.
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::fatal(
                    doing(),
                    "another process has it; stop that one or give this one another journal.path",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(JournalError::fatal(doing(), error)),
        }
    }
}
