//! Fills and drains source topics for the pipeline bench. The client's side is in `kafka::bulk`.

use crate::kafka::bulk::{self, Publisher};

/// Reads a whole topic once; how many records, and how many seconds from the first to the last.
/// Partitions are taken without a group, records natively by the batch: the ceiling for whatever
/// reads them and does more.
///
/// # Errors
/// When the topic cannot be read.
pub fn raw_drain(brokers: &str, topic: &str) -> Result<(u64, f64), String> {
    bulk::drain(brokers, topic).map_err(|error| error.to_string())
}

/// Publishes records to a source topic, lz4 and by key, and waits for their acknowledgement; how
/// many there were.
///
/// # Errors
/// When one of them was not acknowledged.
pub fn produce<'a>(
    brokers: &str,
    topic: &str,
    records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<u64, String> {
    let publisher = Publisher::open(brokers, topic).map_err(|error| error.to_string())?;
    let mut count = 0;
    for (key, value) in records {
        publisher.send(key, value).map_err(|error| error.to_string())?;
        count += 1;
    }
    publisher.flush().map_err(|error| error.to_string())?;
    Ok(count)
}
