//! The tables of the embedded journal, and how a connection is opened.
//!
//! A topic of records is a table by offset; a topic of rows is a table by key, with a version that
//! rises with every change so that followers can read on from where they are. `heads` keeps the next
//! offset and the last append time apart from the records, since both outlive their deletion.
//! A database that another version or another program made is refused by name, never altered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Class, Failure};
use crate::model::Timestamp;
use crate::stage::{Offset, Topic};

/// The database's name in the data directory.
pub(super) const FILE: &str = "muster.db";
/// The version of the tables below; stored as SQLite's `user_version`.
pub(super) const VERSION: i64 = 1;
/// Tells our databases from others: `MSTR`, stored as SQLite's `application_id`.
const APPLICATION: i64 = 0x4d53_5452;
/// How long to wait for a person who looks at the database with another tool.
const BUSY: Duration = Duration::from_secs(10);
/// Pages of WAL after which a commit also moves them into the database: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4_096;
/// What of the WAL file is kept for reuse after a checkpoint.
const WAL_KEPT_BYTES: u32 = 64 << 20;

/// Whether a topic holds rows instead of records.
pub(super) const fn is_rows(topic: Topic) -> bool {
    matches!(topic, Topic::State | Topic::Deliveries)
}

/// Where each topic ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads(BTreeMap<Topic, Head>);

/// Where a topic ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// The next offset, or version of a row.
    pub(super) next: Offset,
    /// The last append time; the next one is not before it.
    pub(super) time: Timestamp,
}

impl Heads {
    /// As stored.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut heads = Self::default();
        let mut query = connection.prepare("SELECT topic, next, time FROM heads")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let head =
                Head { next: Offset(row.get(1)?), time: Timestamp::from_millis(row.get(2)?) };
            // A topic that this version does not know stays as it is.
            if let Some(topic) = Topic::ALL.into_iter().find(|topic| topic.as_str() == name) {
                heads.0.insert(topic, head);
            }
        }
        Ok(heads)
    }

    /// Takes the next offset of a topic, and the time of what is appended there now.
    pub(super) fn take(&mut self, topic: Topic, now: Timestamp) -> Head {
        let head = self.0.entry(topic).or_insert(Head { next: Offset(0), time: Timestamp::MIN });
        let taken = Head { next: head.next, time: head.time.max(now) };
        *head = Head { next: taken.next.next(), time: taken.time };
        taken
    }

    /// The next offset of a topic.
    pub(super) fn next(&self, topic: Topic) -> Offset {
        self.0.get(&topic).map(|head| head.next).unwrap_or_default()
    }

    /// Where a topic ends, if anything was ever appended to it.
    pub(super) fn get(&self, topic: Topic) -> Option<Head> {
        self.0.get(&topic).copied()
    }
}

/// Opens the database for the writer, and makes it where it is new.
pub(super) fn open_writer(file: &Path) -> Result<Connection, Failure> {
    let mut connection = Connection::open(file).map_err(|error| failure(&error))?;
    prepare(&mut connection).map_err(|error| failure(&error))?;
    check(&connection, file)?;
    Ok(connection)
}

/// Whether a database is ours and of the version that is known here.
pub(super) fn check(connection: &Connection, file: &Path) -> Result<(), Failure> {
    let version = pragma(connection, "user_version")?;
    if pragma(connection, "application_id")? != APPLICATION {
        return Err(fatal(format!("{} is not a database of muster", file.display())));
    }
    if version != VERSION {
        return Err(fatal(format!(
            "{} has schema version {version}, this muster reads {VERSION}; use the version of \
             muster that wrote it, or another journal.path",
            file.display()
        )));
    }
    Ok(())
}

/// Opens the database for a reader; it can change nothing.
pub(super) fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// What an error of SQLite means for the caller.
pub(super) fn failure(error: &rusqlite::Error) -> Failure {
    use rusqlite::ErrorCode;
    let (class, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            (Class::Retry, "; make room on the disk of journal.path or lower journal.max_bytes")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (Class::Fatal, "; the database is damaged: set it aside and restore a copy")
        }
        Some(ErrorCode::SystemIoFailure) => (Class::Retry, "; look at the disk of journal.path"),
        _ => (Class::Retry, ""),
    };
    Failure { class, why: format!("{error}{advice}") }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if tables == 0 && version == 0 {
        create(connection)?;
    }
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != APPLICATION {
        // Not ours: the caller refuses it, and nothing in it, not even its mode, may change.
        return Ok(());
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs the WAL at each commit: what was answered survives a loss of power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
}

/// Makes all tables in one transaction: a kill in between leaves an empty database.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for topic in Topic::ALL {
        transaction.execute_batch(&if is_rows(topic) {
            format!(
                "CREATE TABLE rows_{topic} (key BLOB PRIMARY KEY, value BLOB, \
                   version INTEGER NOT NULL, time INTEGER NOT NULL) STRICT, WITHOUT ROWID; \
                 CREATE UNIQUE INDEX rows_{topic}_version ON rows_{topic} (version); \
                 CREATE INDEX rows_{topic}_gone ON rows_{topic} (version) WHERE value IS NULL;"
            )
        } else {
            format!(
                "CREATE TABLE records_{topic} (off INTEGER PRIMARY KEY, time INTEGER NOT NULL, \
                   kind TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, headers BLOB) STRICT;"
            )
        })?;
    }
    transaction.execute_batch(
        "CREATE TABLE heads (topic TEXT PRIMARY KEY, next INTEGER NOT NULL, \
           time INTEGER NOT NULL) STRICT, WITHOUT ROWID; \
         CREATE TABLE positions (name TEXT PRIMARY KEY, next INTEGER NOT NULL) \
           STRICT, WITHOUT ROWID;",
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, Failure> {
    let value = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    value.map_err(|error| failure(&error))
}

fn fatal(why: String) -> Failure {
    Failure { class: Class::Fatal, why }
}
