//! Reads records by the batch, straight from librdkafka. The only module with unsafe code.
//!
//! The safe consumer hands out one event a record, with an allocation and a reference count each,
//! which costs about half of the speed. Here every assigned partition is forwarded to one queue of
//! ours, and records are borrowed from the client's own memory until their batch is dropped.
//! Rebalances stay on the consumer's own queue, which must be polled besides.
//!
//! What the pointers rest on: a batch and a reader each hold the consumer, so that the client
//! outlives every message and queue taken from it; both are used by one thread at a time.
#![expect(unsafe_code, reason = "rd_kafka_consume_batch_queue has no safe wrapper")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use super::context::Context;
use crate::journal::Records;
use crate::model::Timestamp;
use crate::stage::{Headed, Kind, Offset, Record, Slot};

/// A consumer of ours.
pub(super) type Member = BaseConsumer<Context>;

/// The header that says what a record is.
pub(super) const KIND_HEADER: &str = "muster-kind";
const KIND_HEADER_C: &CStr = c"muster-kind";

/// Where the kind of a record is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinds {
    /// A publisher's topic: never looked at.
    Raw,
    /// A topic of rows.
    Row,
    /// In the record's header.
    Header,
}

/// What came instead of a record.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    pub(super) slot: Slot,
    pub(super) offset: Offset,
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
}

/// The queue that all partitions of a consumer are forwarded to.
pub(super) struct Reader {
    consumer: Arc<Member>,
    queue: *mut sys::rd_kafka_queue_t,
    topics: Vec<CString>,
    kinds: Kinds,
    taken: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: librdkafka's handles may be used from any thread; the buffer of pointers is empty
// between calls and the reader is not shared.
unsafe impl Send for Reader {}

impl Reader {
    /// A reader for partitions of `topics`; `Slot::input` is the index into them.
    pub(super) fn new(consumer: Arc<Member>, topics: &[String], kinds: Kinds, max: usize) -> Self {
        // SAFETY: the client is alive, since `consumer` is held.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let c_string = |name: &String| {
            CString::new(name.as_str()).expect("a topic known to the broker has no NUL in its name")
        };
        Self {
            consumer,
            queue,
            topics: topics.iter().map(c_string).collect(),
            kinds,
            taken: vec![ptr::null_mut(); max],
        }
    }

    /// Has a partition's records come to our queue. To be called before the partition is assigned:
    /// its records then never reach the consumer's own queue. Stopping a partition undoes this,
    /// and the client reports a stop as done before it hands the partition out again, so that
    /// calling it before each assignment is enough.
    pub(super) fn forward(&self, slot: Slot) {
        let Some(topic) = self.topics.get(usize::from(slot.input)) else { return };
        // SAFETY: the client and our queue are alive; the partition's queue is destroyed here
        // once, which leaves the forwarding in place.
        unsafe {
            let partition = sys::rd_kafka_queue_get_partition(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                number(slot.partition),
            );
            if !partition.is_null() {
                sys::rd_kafka_queue_forward(partition, self.queue);
                sys::rd_kafka_queue_destroy(partition);
            }
        }
    }

    /// Takes what is there, waiting at most `wait` for the first. `keep` says of each record
    /// whether it is wanted; signals are put into `signals` in their order.
    pub(super) fn read(
        &mut self,
        wait: Duration,
        keep: &mut dyn FnMut(Slot, Offset) -> bool,
        signals: &mut Vec<Signal>,
    ) -> NativeBatch {
        // The batch call waits for its whole time unless the batch is full. So all that is there
        // is taken first, and only if that is nothing, one single record is waited for.
        let mut count = self.consume(Duration::ZERO, 0, self.taken.len());
        if count == 0 && !wait.is_zero() {
            count = self.consume(wait, 0, 1);
            if count == 1 {
                count += self.consume(Duration::ZERO, 1, self.taken.len());
            }
        }
        self.sort_out(count, keep, signals)
    }

    fn consume(&mut self, wait: Duration, from: usize, to: usize) -> usize {
        let room = &mut self.taken[from..to];
        let millis = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive and `room` has room for what is asked for.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue, millis, room.as_mut_ptr(), room.len())
        };
        usize::try_from(count).unwrap_or(0)
    }

    fn sort_out(
        &mut self,
        count: usize,
        keep: &mut dyn FnMut(Slot, Offset) -> bool,
        signals: &mut Vec<Signal>,
    ) -> NativeBatch {
        let mut batch = NativeBatch {
            messages: Vec::with_capacity(count),
            meta: Vec::with_capacity(count),
            _consumer: Arc::clone(&self.consumer),
        };
        // One topic's records share one topic object, so that a name is compared once a run.
        let mut last = (ptr::null_mut(), None);
        for taken in &mut self.taken[..count] {
            let message = std::mem::replace(taken, ptr::null_mut());
            // SAFETY: the client gave us this message just now; we own it until it is destroyed.
            let (err, topic, partition, offset) = unsafe {
                ((*message).err, (*message).rkt, (*message).partition, Offset((*message).offset))
            };
            if topic != last.0 || topic.is_null() {
                last = (topic, input(&self.topics, topic));
            }
            let slot = last.1.zip(u32::try_from(partition).ok());
            let slot = slot.map(|(input, partition)| Slot { input, partition });
            if err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                signals.push(Signal {
                    slot: slot.unwrap_or_default(),
                    offset,
                    code: err.into(),
                    text: text(message),
                });
            } else if let Some(slot) = slot.filter(|slot| keep(*slot, offset)) {
                let kind = match self.kinds {
                    Kinds::Raw => Kind::Raw,
                    Kinds::Row => Kind::Row,
                    Kinds::Header => kind(message),
                };
                batch.messages.push(Message(message));
                batch.meta.push((slot, kind));
                continue;
            }
            // SAFETY: ours, and not kept anywhere.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
        batch
    }

    /// The end of a partition as of its last fetch; none before the first.
    pub(super) fn known_end(&self, slot: Slot) -> Option<i64> {
        let topic = self.topics.get(usize::from(slot.input))?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive; both numbers outlive the call.
        let err = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                number(slot.partition),
                &raw mut low,
                &raw mut high,
            )
        };
        (err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// The generation of the group that this member belongs to; none while it belongs to none.
    pub(super) fn generation(&self) -> Option<i32> {
        // SAFETY: the client is alive; the metadata is ours and destroyed once.
        let generation = unsafe {
            let metadata =
                sys::rd_kafka_consumer_group_metadata(self.consumer.client().native_ptr());
            if metadata.is_null() {
                return None;
            }
            let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
            sys::rd_kafka_consumer_group_metadata_destroy(metadata);
            generation
        };
        (generation >= 0).then_some(generation)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, before the client; it takes what still lies in it along.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

/// A record in the client's own memory; alive as long as its batch.
#[derive(Debug)]
struct Message(*mut sys::rd_kafka_message_t);

impl Headed for Message {
    fn each(&self, sink: &mut dyn FnMut(&str, &[u8])) {
        let good = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive; its headers live as long as it does.
        if unsafe { sys::rd_kafka_message_headers(self.0, &raw mut headers) } != good {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers are alive, and what is found lives as long as they do.
            let (name, value) = unsafe {
                if sys::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut size,
                ) != good
                {
                    return;
                }
                (CStr::from_ptr(name), bytes(value.cast(), size))
            };
            sink(&name.to_string_lossy(), value.unwrap_or_default());
        }
    }
}

/// Records in the client's own memory.
pub(super) struct NativeBatch {
    messages: Vec<Message>,
    meta: Vec<(Slot, Kind)>,
    _consumer: Arc<Member>,
}

// SAFETY: the messages belong to this batch alone and may be read and destroyed from any thread.
unsafe impl Send for NativeBatch {}

impl Records for NativeBatch {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn get(&self, index: usize) -> (Slot, Record<'_>) {
        let (slot, kind) = self.meta[index];
        let held = &self.messages[index];
        let message = held.0;
        // SAFETY: the message lives as long as this batch; the client does not change it.
        let (time, offset, key, value) = unsafe {
            let time = sys::rd_kafka_message_timestamp(message, ptr::null_mut());
            let message = &*message;
            let key = bytes(message.key.cast(), message.key_len);
            let value = bytes(message.payload.cast(), message.len);
            (time, message.offset, key, value)
        };
        let time = Timestamp::from_millis(time);
        (slot, Record { offset: Offset(offset), time, kind, key, value, headers: Some(held) })
    }
}

impl Drop for NativeBatch {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: ours, destroyed once; no record borrowed from us outlives us.
            unsafe { sys::rd_kafka_message_destroy(message.0) };
        }
    }
}

/// The bytes at a pointer, none for the null pointer.
///
/// # Safety
/// `len` bytes can be read there for `'a`.
unsafe fn bytes<'a>(at: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, len) })
}

fn input(topics: &[CString], topic: *const sys::rd_kafka_topic_t) -> Option<u16> {
    if topic.is_null() {
        return None;
    }
    // SAFETY: the message that names this topic is alive, and it keeps the topic alive.
    let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(topic)) };
    let index = topics.iter().position(|known| known.as_c_str() == name)?;
    u16::try_from(index).ok()
}

fn kind(message: *mut sys::rd_kafka_message_t) -> Kind {
    let mut headers = ptr::null_mut();
    let (mut value, mut size) = (ptr::null(), 0);
    let good = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    // SAFETY: the message is alive; its headers and their values live as long as it does.
    let word = unsafe {
        if sys::rd_kafka_message_headers(message, &raw mut headers) != good
            || sys::rd_kafka_header_get_last(
                headers,
                KIND_HEADER_C.as_ptr(),
                &raw mut value,
                &raw mut size,
            ) != good
        {
            return Kind::Raw;
        }
        bytes(value.cast(), size)
    };
    word.map_or(Kind::Raw, Kind::parse)
}

fn text(message: *const sys::rd_kafka_message_t) -> String {
    // SAFETY: the message is alive, and so is its text.
    unsafe {
        let text: *const c_char = sys::rd_kafka_message_errstr(message);
        if text.is_null() {
            return String::new();
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

fn number(partition: u32) -> i32 {
    i32::try_from(partition).expect("Kafka counts partitions in 31 bits")
}
