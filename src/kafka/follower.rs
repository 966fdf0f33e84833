//! Reads all partitions of a topic along, without a position of its own.
//!
//! A commit is answered before its marks are in every partition, so the end of what can be read at
//! the opening may lie short of what is committed. Caught up is therefore who can read up to the
//! very end there was. Counting offsets would not tell, since transactions take some for their
//! marks; so the client's word on each partition's end does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset as Place, TopicPartitionList};

use super::CALL;
use super::consumer::leave;
use super::context::Context;
use super::error::{class, journal_error};
use super::native::{Kinds, Member, Reader, Signal};
use super::settings::{Cluster, Pace};
use crate::clock::Stopwatch;
use crate::journal::{Followed, Follower, From, JournalError, Records};
use crate::stage::{Offset, Slot, Topic};

pub(super) struct KafkaFollower {
    member: Arc<Member>,
    reader: Reader,
    topic: String,
    /// Partitions whose end, as it was on opening, is not reached yet; none once that was said.
    behind: Option<BTreeMap<u32, Offset>>,
    signals: Vec<Signal>,
}

impl KafkaFollower {
    pub(super) fn open(
        cluster: &Cluster,
        group: &str,
        (kinds, name, partitions): (Kinds, &str, u32),
        from: From,
    ) -> Result<Self, JournalError> {
        let failed = |error| journal_error(format!("follow {name}"), &error);
        let config = cluster.reader(group, Pace::Latency);
        let member: Member = config.create_with_context(Context::default()).map_err(failed)?;
        let member = Arc::new(member);
        let reader = Reader::new(Arc::clone(&member), &[name.to_owned()], kinds, 10_000);
        let looker: Member =
            cluster.looker().create_with_context(Context::default()).map_err(failed)?;
        let mut list = TopicPartitionList::new();
        let mut behind = BTreeMap::new();
        for partition in 0..partitions {
            let number = i32::try_from(partition)
                .map_err(|error| JournalError::fatal(format!("follow {name}"), error))?;
            let (_, very_end) = looker.fetch_watermarks(name, number, CALL).map_err(failed)?;
            // Looked up now: what is appended after this call is handed out for sure.
            let (begin, end) = member.fetch_watermarks(name, number, CALL).map_err(failed)?;
            behind.insert(partition, Offset(very_end));
            let at = match from {
                From::Beginning => begin,
                From::End => end,
            };
            list.add_partition_offset(name, number, Place::Offset(at)).map_err(failed)?;
            reader.forward(Slot { input: 0, partition });
        }
        member.assign(&list).map_err(failed)?;
        let topic = name.to_owned();
        Ok(Self { member, reader, topic, behind: Some(behind), signals: Vec::new() })
    }

    /// Takes note of the ends reached; an error where there is one.
    fn heed(&mut self) -> Result<(), JournalError> {
        for signal in self.signals.drain(..) {
            let partition = signal.slot.partition;
            if signal.code == RDKafkaErrorCode::PartitionEOF {
                if let Some(behind) = &mut self.behind
                    && behind.get(&partition).is_some_and(|end| signal.offset >= *end)
                {
                    behind.remove(&partition);
                }
                continue;
            }
            let at = signal.offset.0;
            let doing = format!("follow {} partition {partition} at offset {at}", self.topic);
            // Too slow for the topic's retention: whoever follows opens anew and reads what is left.
            if signal.code == RDKafkaErrorCode::AutoOffsetReset {
                return Err(JournalError::retry(doing, signal.text));
            }
            return Err(JournalError { class: class(signal.code), doing, why: signal.text });
        }
        Ok(())
    }
}

impl Follower for KafkaFollower {
    fn poll(&mut self, wait: Duration) -> Result<Followed, JournalError> {
        let started = Stopwatch::start();
        loop {
            self.heed()?;
            if self.behind.as_ref().is_some_and(BTreeMap::is_empty) {
                self.behind = None;
                return Ok(Followed::CaughtUp);
            }
            drop(self.member.poll(Duration::ZERO));
            let left = wait.saturating_sub(started.elapsed()).min(Duration::from_millis(50));
            let batch = self.reader.read(left, &mut |_, _| true, &mut self.signals);
            if !batch.is_empty() {
                return Ok(Followed::Batch(Box::new(batch)));
            }
            if self.signals.is_empty() && started.elapsed() >= wait {
                return Ok(Followed::Idle);
            }
        }
    }
}

impl Drop for KafkaFollower {
    fn drop(&mut self) {
        leave(&self.member);
    }
}

/// Where the kinds of a topic's records are found.
pub(super) const fn kinds(topic: Topic) -> Kinds {
    match topic {
        Topic::State | Topic::Deliveries | Topic::Silences => Kinds::Row,
        _ => Kinds::Header,
    }
}
