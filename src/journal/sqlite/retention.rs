//! What the embedded journal forgets: records that are old or too many, and deletions all have seen.
//!
//! A step deletes a bounded number of records in a transaction of its own, so that commits wait
//! for milliseconds at most. Nothing goes that a group with a position has not read yet, whatever
//! age and size say: better a full disk that says so than an incident that nobody was told of.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{Settings, read, schema};
use crate::journal::Group;
use crate::model::{Span, Timestamp};
use crate::stage::{Offset, Topic};

/// The most records that one step deletes from a topic.
const STEP_RECORDS: i64 = 4_096;
const GROUPS: [Group; 3] = [Group::Suppress, Group::Correlate, Group::Notify];

/// Forgets a bounded number of records; says whether there may be more to forget.
pub(super) fn step(
    connection: &mut Connection,
    settings: &Settings,
    heads: &schema::Heads,
    followers: &BTreeMap<u64, (Topic, Offset)>,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let mut deleted = 0;
    let mut full = false;
    let over = used_bytes(connection)? > settings.max_bytes;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for topic in Topic::ALL {
        let count = if schema::is_rows(topic) {
            forget_deletions(&transaction, topic, heads, followers)?
        } else {
            forget_old(&transaction, topic, heads, now - keep(settings, topic))?
        };
        full |= count == STEP_RECORDS;
        deleted += count;
    }
    // Size comes after age: it takes what is still young only where age did not free anything.
    if over && deleted == 0 {
        deleted = forget_oldest(&transaction, heads)?;
        full = deleted > 0;
    }
    transaction.commit()?;
    if deleted > 0 {
        tracing::debug!(deleted, "journal forgot records");
    }
    Ok(full || over && deleted > 0)
}

fn keep(settings: &Settings, topic: Topic) -> Span {
    match topic {
        Topic::Incidents | Topic::DeadLetters => settings.keep_incidents,
        _ => settings.keep_alerts,
    }
}

/// Bytes of the database that hold something; freed pages are used again and do not count.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| -> rusqlite::Result<i64> {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
    };
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(pages.saturating_mul(pragma("page_size")?).unsigned_abs())
}

/// The first record of a topic that some group has still to read.
fn unread(
    connection: &Connection,
    topic: Topic,
    heads: &schema::Heads,
) -> rusqlite::Result<Offset> {
    let mut first = heads.next(topic);
    for group in GROUPS.into_iter().filter(|group| group.input() == topic) {
        if let Some(position) = read::position(connection, group)? {
            first = first.min(position);
        }
    }
    Ok(first)
}

fn forget_old(
    connection: &Connection,
    topic: Topic,
    heads: &schema::Heads,
    cut: Timestamp,
) -> rusqlite::Result<i64> {
    let unread = unread(connection, topic, heads)?;
    // Only the oldest few are looked at, so that a look is cheap where nothing is due.
    let mut last_old = connection.prepare_cached(&format!(
        "SELECT max(off) FROM (SELECT off, time FROM records_{topic} WHERE off < ?1 \
           ORDER BY off LIMIT ?2) WHERE time < ?3"
    ))?;
    let last: Option<i64> =
        last_old.query_row((unread.0, STEP_RECORDS, cut.as_millis()), |row| row.get(0))?;
    match last {
        Some(last) => delete_through(connection, topic, last),
        None => Ok(0),
    }
}

/// Deletes a step of the topic whose oldest read record is the oldest of all.
fn forget_oldest(connection: &Connection, heads: &schema::Heads) -> rusqlite::Result<i64> {
    let mut oldest: Option<(i64, Topic, Offset)> = None;
    for topic in Topic::ALL.into_iter().filter(|topic| !schema::is_rows(*topic)) {
        let unread = unread(connection, topic, heads)?;
        let time: Option<i64> = connection
            .prepare_cached(&format!(
                "SELECT time FROM records_{topic} WHERE off < ?1 ORDER BY off LIMIT 1"
            ))?
            .query_row([unread.0], |row| row.get(0))
            .optional()?;
        if let Some(time) = time
            && oldest.is_none_or(|(oldest, ..)| time < oldest)
        {
            oldest = Some((time, topic, unread));
        }
    }
    let Some((_, topic, unread)) = oldest else {
        tracing::warn!("journal is larger than journal.max_bytes and holds nothing that was read");
        return Ok(0);
    };
    let last: i64 = connection
        .prepare_cached(&format!(
            "SELECT max(off) FROM (SELECT off FROM records_{topic} WHERE off < ?1 \
               ORDER BY off LIMIT ?2)"
        ))?
        .query_row((unread.0, STEP_RECORDS), |row| row.get(0))?;
    delete_through(connection, topic, last)
}

fn delete_through(connection: &Connection, topic: Topic, last: i64) -> rusqlite::Result<i64> {
    let mut delete =
        connection.prepare_cached(&format!("DELETE FROM records_{topic} WHERE off <= ?1"))?;
    Ok(i64::try_from(delete.execute([last])?).unwrap_or(i64::MAX))
}

/// Drops the marks of deleted rows that every follower has read past.
fn forget_deletions(
    connection: &Connection,
    topic: Topic,
    heads: &schema::Heads,
    followers: &BTreeMap<u64, (Topic, Offset)>,
) -> rusqlite::Result<i64> {
    let positions = followers.values().filter(|(of, _)| *of == topic).map(|(_, next)| *next);
    let seen = positions.min().unwrap_or_else(|| heads.next(topic));
    let mut delete = connection.prepare_cached(&format!(
        "DELETE FROM rows_{topic} WHERE key IN (SELECT key FROM rows_{topic} \
           WHERE value IS NULL AND version < ?1 ORDER BY version LIMIT ?2)"
    ))?;
    Ok(i64::try_from(delete.execute((seen.0, STEP_RECORDS))?).unwrap_or(i64::MAX))
}
