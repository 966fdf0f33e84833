//! Reading batches and positions of the embedded journal.
//!
//! Each query is one short statement, so that no reader holds the WAL's checkpoint up for long.
//! Only committed records below the head that the writer has shown are handed out.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{SLOT, schema};
use crate::journal::{Group, OwnedRecord};
use crate::model::Timestamp;
use crate::stage::{Kind, Offset, Topic};

/// The most records of a batch.
const BATCH_RECORDS: i64 = 4_096;
/// The bytes after which a batch ends.
const BATCH_BYTES: usize = 4 << 20;

/// What was read, and where to go on.
pub(super) struct Read {
    pub(super) records: Vec<OwnedRecord>,
    pub(super) next: Offset,
}

/// Records of a topic, or its rows as records, from `from` up to `until` and not beyond a batch.
pub(super) fn batch(
    connection: &Connection,
    topic: Topic,
    from: Offset,
    until: Offset,
) -> rusqlite::Result<Read> {
    let (query, parse): (String, fn(&Row<'_>) -> rusqlite::Result<OwnedRecord>) =
        if schema::is_rows(topic) {
            let query = format!(
                "SELECT version, time, key, value FROM rows_{topic} \
                 WHERE version >= ?1 AND version < ?2 ORDER BY version LIMIT ?3"
            );
            (query, row_as_record)
        } else {
            let query = format!(
                "SELECT off, time, kind, key, value, headers FROM records_{topic} \
                 WHERE off >= ?1 AND off < ?2 ORDER BY off LIMIT ?3"
            );
            (query, record)
        };
    let mut statement = connection.prepare_cached(&query)?;
    let mut rows = statement.query((from.0, until.0, BATCH_RECORDS))?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES
        && let Some(row) = rows.next()?
    {
        let record = parse(row)?;
        bytes += record.key.len() + record.value.as_ref().map_or(0, Vec::len);
        records.push(record);
    }
    let cut = bytes >= BATCH_BYTES || i64::try_from(records.len()) == Ok(BATCH_RECORDS);
    // Versions of rows have gaps; where nothing was cut off, all up to `until` was read.
    let next = records.last().filter(|_| cut).map_or(until, |last| last.offset.next());
    Ok(Read { records, next })
}

/// The committed position of a group; none before it first joins.
pub(super) fn position(connection: &Connection, group: Group) -> rusqlite::Result<Option<Offset>> {
    let mut statement = connection.prepare_cached("SELECT next FROM positions WHERE name = ?1")?;
    statement.query_row([group.as_str()], |row| row.get(0).map(Offset)).optional()
}

/// Every row that is not deleted, by key.
pub(super) fn rows(
    connection: &Connection,
    topic: Topic,
    take: &mut dyn FnMut(&[u8], &[u8]),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT key, value FROM rows_{topic} WHERE value IS NOT NULL ORDER BY key"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(blob(row, 0)?, blob(row, 1)?);
    }
    Ok(())
}

/// Headers as bytes: for each the length of its name and of its value (4 bytes each, little
/// endian), the name and the value. None for no headers, which is nearly always.
pub(super) fn pack_headers(headers: &[(&'static str, Vec<u8>)]) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let mut packed = Vec::new();
    for (name, value) in headers {
        for part in [name.len(), value.len()] {
            packed.extend(u32::try_from(part).unwrap_or(u32::MAX).to_le_bytes());
        }
        packed.extend(name.as_bytes());
        packed.extend(value);
    }
    Some(packed)
}

fn unpack_headers(mut packed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    let length = |bytes: [u8; 4]| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    while let Some((name, rest)) = packed.split_first_chunk::<4>()
        && let Some((value, rest)) = rest.split_first_chunk::<4>()
        && let Some((name, rest)) = rest.split_at_checked(length(*name))
        && let Some((value, rest)) = rest.split_at_checked(length(*value))
    {
        headers.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        packed = rest;
    }
    headers
}

fn record(row: &Row<'_>) -> rusqlite::Result<OwnedRecord> {
    let headers = row.get_ref(5)?.as_blob_or_null()?.map(unpack_headers);
    Ok(OwnedRecord {
        slot: SLOT,
        offset: Offset(row.get(0)?),
        time: Timestamp::from_millis(row.get(1)?),
        kind: Kind::parse(row.get_ref(2)?.as_str()?.as_bytes()),
        key: blob(row, 3)?.to_vec(),
        value: Some(blob(row, 4)?.to_vec()),
        headers: headers.unwrap_or_default(),
    })
}

fn row_as_record(row: &Row<'_>) -> rusqlite::Result<OwnedRecord> {
    Ok(OwnedRecord {
        slot: SLOT,
        offset: Offset(row.get(0)?),
        time: Timestamp::from_millis(row.get(1)?),
        kind: Kind::Row,
        key: blob(row, 2)?.to_vec(),
        value: row.get_ref(3)?.as_blob_or_null()?.map(<[u8]>::to_vec),
        headers: Vec::new(),
    })
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back() {
        let headers = [("topic", b"a b".to_vec()), ("reason", Vec::new()), ("x", vec![0, 255])];
        let packed = pack_headers(&headers).expect("there are headers");
        let expected: Vec<(String, Vec<u8>)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(unpack_headers(&packed), expected);
        assert_eq!(unpack_headers(&packed[..packed.len() - 1]).len(), 2, "a cut one is left out");
    }
}
