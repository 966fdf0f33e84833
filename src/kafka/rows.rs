//! Reads a partition of a topic of rows from its beginning: what a stage is restored from.
//!
//! The committed positions must have been fetched before: whatever they stand for then lies below
//! the end that is looked up here, even if the marks of its transaction are still on their way.
//! Reading goes on until that end is readable, so that no committed row is missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset as Place, TopicPartitionList};

use super::CALL;
use super::consumer::leave;
use super::context::Context;
use super::error::{class, journal_error};
use super::native::{Kinds, Member, Reader};
use super::settings::{Cluster, Pace};
use crate::clock::Stopwatch;
use crate::journal::{JournalError, Records};
use crate::stage::{Offset, Slot};

/// How long nothing at all may arrive: longer than a dead producer's transaction stays open.
const SILENCE: Duration = Duration::from_secs(60);

/// Hands over the last value of every row of a partition; no deleted one. `alive` is called now and
/// then, since a long restore must not cost the caller its place in the group.
pub(super) fn restore(
    cluster: &Cluster,
    group: &str,
    topic: &str,
    partition: u32,
    alive: &dyn Fn(),
    row: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), JournalError> {
    let doing = || format!("restore from {topic} partition {partition}");
    let failed = |error| journal_error(doing(), &error);
    let number = i32::try_from(partition).map_err(|error| JournalError::fatal(doing(), error))?;

    let looker: BaseConsumer<Context> =
        cluster.looker().create_with_context(Context::default()).map_err(failed)?;
    let (begin, end) = looker.fetch_watermarks(topic, number, CALL).map_err(failed)?;
    if begin >= end {
        return Ok(());
    }

    let config = cluster.reader(group, Pace::Bulk);
    let member: Member = config.create_with_context(Context::default()).map_err(failed)?;
    let member = Arc::new(member);
    let slot = Slot { input: 0, partition };
    let names = [topic.to_owned()];
    let mut reader = Reader::new(Arc::clone(&member), &names, Kinds::Row, 10_000);
    reader.forward(slot);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, number, Place::Offset(begin)).map_err(failed)?;
    member.assign(&list).map_err(failed)?;

    let result = fold(&member, &mut reader, end, alive, &doing);
    leave(&member);
    for (key, value) in result? {
        row(&key, &value);
    }
    Ok(())
}

fn fold(
    member: &Member,
    reader: &mut Reader,
    end: i64,
    alive: &dyn Fn(),
    doing: &dyn Fn() -> String,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, JournalError> {
    let mut rows = BTreeMap::new();
    let mut quiet = Stopwatch::start();
    let mut signals = Vec::new();
    loop {
        alive();
        drop(member.poll(Duration::ZERO));
        let batch = reader.read(Duration::from_millis(50), &mut |_, _| true, &mut signals);
        for index in 0..batch.len() {
            let (_, record) = batch.get(index);
            let Some(key) = record.key else { continue };
            match record.value {
                Some(value) => rows.insert(key.to_vec(), value.to_vec()),
                None => rows.remove(key),
            };
        }
        if !batch.is_empty() {
            quiet = Stopwatch::start();
        }
        for signal in signals.drain(..) {
            match signal.code {
                RDKafkaErrorCode::PartitionEOF if signal.offset >= Offset(end) => return Ok(rows),
                RDKafkaErrorCode::PartitionEOF => {}
                // Deletion of the oldest segment while it is read: begin anew, from what is there.
                RDKafkaErrorCode::AutoOffsetReset => {
                    return Err(JournalError::retry(doing(), signal.text));
                }
                code => {
                    return Err(JournalError {
                        class: class(code),
                        doing: doing(),
                        why: signal.text,
                    });
                }
            }
        }
        if quiet.elapsed() > SILENCE {
            return Err(JournalError::retry(doing(), "nothing arrives up to its end"));
        }
    }
}
