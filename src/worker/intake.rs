//! The way of HTTP events into collect: a bounded queue whose far end is a `journal::Feed`.
//!
//! A request waits here until the worker's commit of what it led to is durable; only then is it
//! answered. Decoding is `collect`'s work and suppressing the stage's; this knows only bytes, their
//! bounds and who waits for them. Whatever is not known to be durable is answered as refused: the
//! sender sends again, and collect takes the second one for a repeat.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::collect::decode::Incoming;
use crate::journal::{Appender, Commit, Feed, JournalError, OwnedRecord, Polled};
use crate::model::Timestamp;
use crate::stage::{Kind, Offset, Outgoing, Reason, Slot, Tally};
use crate::telemetry::Metrics;

/// The only partition of this feed.
const SLOT: Slot = Slot { input: 0, partition: 0 };
/// The queue's name in metrics.
const QUEUE: &str = "intake";

/// Bounds of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many requests may wait (default 1,024).
    pub requests: usize,
    /// How many bytes of requests may be held, those that are still arriving included (default
    /// 64 MiB).
    pub bytes: usize,
    /// How many events are committed together at most, but for one large request (default 10,000).
    pub batch_events: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { requests: 1_024, bytes: 64 << 20, batch_events: 10_000 }
    }
}

/// An event of a request that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the request; none where the request as a whole cannot be read.
    pub index: Option<usize>,
    /// Why.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

/// What a request's bytes hold.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Each event, as the bytes of a record of kind `Event`.
    pub events: Vec<Vec<u8>>,
    /// What was set aside.
    pub rejected: Vec<Rejected>,
    /// What was read and says nothing of an alert, or is not to count: why.
    pub ignored: Vec<String>,
    /// The dead letters of what was set aside.
    pub dead_letters: Vec<Outgoing>,
    /// What is counted once all of it is durable: what was rejected, which limits cut.
    pub tally: Tally,
}

/// Reads a request.
pub type Decode = dyn Fn(&Incoming<'_>) -> Decoded + Send + Sync;

/// What became of a request once all of it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How many events were taken.
    pub accepted: usize,
    /// Those that were not; they are dead letters now.
    pub rejected: Vec<Rejected>,
    /// What was read and says nothing of an alert, or is not to count: why.
    pub ignored: Vec<String>,
}

/// Why a request was not taken; nothing of it is known to be durable, and it may be sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No room.
    #[error("more is waiting than intake may hold; send again in a moment")]
    Full,
    /// The journal did not take it.
    #[error("the journal cannot commit ({0}); send again in a moment")]
    Journal(String),
    /// The process is stopping.
    #[error("this instance is stopping; send again in a moment, or to another one")]
    Closing,
}

impl Refused {
    /// The word in answers.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Full => "queue_full",
            Self::Journal(_) => "journal_unavailable",
            Self::Closing => "shutting_down",
        }
    }
}

/// The near end of the queue, for HTTP handlers; clones share it.
#[derive(Clone)]
pub struct Intake {
    queue: SyncSender<Request>,
    room: Arc<Room>,
    decode: Arc<Decode>,
    metrics: Metrics,
}

/// Makes a queue: the end for HTTP handlers, and the one for the collect worker.
#[must_use]
pub fn queue(
    settings: &Settings,
    decode: Arc<Decode>,
    appender: Box<dyn Appender>,
    metrics: Metrics,
) -> (Intake, IntakeFeed) {
    let (sender, receiver) = sync_channel(settings.requests);
    let room = Arc::new(Room { held: AtomicUsize::new(0), max: settings.bytes });
    let intake = Intake { queue: sender, room, decode, metrics: metrics.clone() };
    let feed = IntakeFeed {
        queue: receiver,
        appender,
        metrics,
        batch_events: settings.batch_events,
        assigned: false,
        next: Offset(0),
        held_back: None,
        waiting: VecDeque::new(),
    };
    (intake, feed)
}

impl Intake {
    /// Room for a request's bytes, to be grown as they arrive.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold { room: Arc::clone(&self.room), bytes: 0 }
    }

    /// Decodes a request, hands it to the worker and waits until what it led to is durable.
    ///
    /// # Errors
    /// When it could not be taken; it may be sent again.
    pub async fn submit(&self, incoming: &Incoming<'_>, hold: Hold) -> Result<Answer, Refused> {
        self.put(incoming.arrival, (self.decode)(incoming), hold).await
    }

    /// What a request's bytes hold.
    #[must_use]
    pub fn decode(&self, incoming: &Incoming<'_>) -> Decoded {
        (self.decode)(incoming)
    }

    /// Hands over what was decoded and waits until what it led to is durable.
    ///
    /// # Errors
    /// When it could not be taken; it may be sent again.
    pub async fn put(
        &self,
        arrival: Timestamp,
        decoded: Decoded,
        mut hold: Hold,
    ) -> Result<Answer, Refused> {
        let Decoded { events, rejected, ignored, dead_letters, tally } = decoded;
        let accepted = events.len();
        if events.is_empty() && dead_letters.is_empty() {
            // There is nothing to make durable.
            self.metrics.add(&tally);
            return Ok(Answer { accepted, rejected, ignored });
        }
        let bytes = events.iter().map(Vec::len).chain(dead_letters.iter().map(|d| d.value.len()));
        if !hold.set(bytes.sum()) {
            return Err(Refused::Full);
        }
        let depth = Depth::one_more(&self.metrics);
        let (reply, answer) = oneshot::channel();
        let request = Request {
            arrival,
            events,
            waiter: Waiter {
                end: Offset(0),
                dead_letters,
                tally,
                reply,
                _hold: hold,
                _depth: depth,
            },
        };
        match self.queue.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Refused::Full),
            Err(TrySendError::Disconnected(_)) => return Err(Refused::Closing),
        }
        match answer.await {
            Ok(Ok(())) => Ok(Answer { accepted, rejected, ignored }),
            Ok(Err(refused)) => Err(refused),
            // The worker is gone without a word.
            Err(_) => Err(Refused::Closing),
        }
    }
}

struct Room {
    held: AtomicUsize,
    max: usize,
}

/// Bytes that are held for one request; given back when it is dropped.
pub struct Hold {
    room: Arc<Room>,
    bytes: usize,
}

impl Hold {
    /// Takes room for more bytes; says whether there was any.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.room.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(bytes).filter(|held| *held <= self.room.max)
        });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    fn set(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.room.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One request in the gauge of what waits; taken out again when it is dropped.
struct Depth(prometheus::IntGauge);

impl Depth {
    fn one_more(metrics: &Metrics) -> Self {
        let gauge = metrics.queue_depth.with_label_values(&[QUEUE]);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request on its way to the worker.
struct Request {
    arrival: Timestamp,
    events: Vec<Vec<u8>>,
    waiter: Waiter,
}

/// Who waits for an answer, and for what.
struct Waiter {
    /// The position that stands for all its events.
    end: Offset,
    dead_letters: Vec<Outgoing>,
    tally: Tally,
    reply: oneshot::Sender<Result<(), Refused>>,
    _hold: Hold,
    _depth: Depth,
}

impl Waiter {
    fn answer(self, answer: Result<(), Refused>) {
        // Whoever hung up does not want to know; what it sent counts all the same.
        drop(self.reply.send(answer));
    }
}

/// The far end of the queue: what the collect worker reads, and what it commits to.
pub struct IntakeFeed {
    queue: Receiver<Request>,
    appender: Box<dyn Appender>,
    metrics: Metrics,
    batch_events: usize,
    assigned: bool,
    next: Offset,
    /// The request that did not fit into the batch before.
    held_back: Option<Request>,
    /// Those whose events were handed out, in order.
    waiting: VecDeque<Waiter>,
}

impl Feed for IntakeFeed {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        if !self.assigned {
            self.assigned = true;
            return Ok(Polled::Assigned(vec![SLOT]));
        }
        let Some(first) = self.held_back.take().or_else(|| self.receive(wait)) else {
            return Ok(Polled::Idle);
        };
        let others_wait = !self.waiting.is_empty();
        let batch = self.gather(first);
        if batch.is_empty() {
            // Nothing for the stage to do, so the worker would never commit it. Where a batch is
            // still with the worker, its commit covers these as well.
            if !others_wait {
                self.commit(Commit { positions: vec![(SLOT, self.next)], ..Commit::default() })?;
            }
            return Ok(Polled::Idle);
        }
        Ok(Polled::Batch(Box::new(batch)))
    }

    fn restore(&mut self, _: Slot, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), JournalError> {
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        if !commit.rows.is_empty() {
            let why = "collect keeps no rows; this is a bug";
            return Err(JournalError::fatal("commit of HTTP intake", why));
        }
        let position = commit.positions.iter().map(|(_, position)| *position).max();
        let position = position.unwrap_or_default();
        let covered = self.waiting.iter().take_while(|waiter| waiter.end <= position).count();
        let mut covered: Vec<Waiter> = self.waiting.drain(..covered).collect();
        let mut records = commit.records;
        for waiter in &mut covered {
            records.append(&mut waiter.dead_letters);
        }
        let appended = if records.is_empty() { Ok(()) } else { self.appender.append(records) };
        if let Err(error) = appended {
            // Everything since the last commit is void: those not covered go the same way.
            covered.extend(self.waiting.drain(..));
            for waiter in covered {
                waiter.answer(Err(Refused::Journal(error.to_string())));
            }
            self.assigned = false;
            return Err(error);
        }
        for waiter in covered {
            self.metrics.add(&waiter.tally);
            waiter.answer(Ok(()));
        }
        Ok(())
    }

    /// Nobody counts what waits in the queue but the gauge of its depth.
    fn lag(&self) -> Vec<(Slot, u64)> {
        Vec::new()
    }

    fn close(self: Box<Self>) -> Result<(), JournalError> {
        // HTTP stops first, so that nobody should be left; whoever is learns that it was not taken.
        let Self { queue, held_back, waiting, .. } = *self;
        let unread = held_back.into_iter().chain(queue.try_iter());
        for waiter in waiting.into_iter().chain(unread.map(|request| request.waiter)) {
            waiter.answer(Err(Refused::Closing));
        }
        Ok(())
    }
}

impl IntakeFeed {
    fn receive(&self, wait: Duration) -> Option<Request> {
        match self.queue.recv_timeout(wait) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // No handler is left; without this the worker would spin until it is told to stop.
                std::thread::sleep(wait);
                None
            }
        }
    }

    /// Everything that waits, up to the bound, so that all of it shares one commit.
    fn gather(&mut self, first: Request) -> Vec<OwnedRecord> {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            if !batch.is_empty() && batch.len() + request.events.len() > self.batch_events {
                self.held_back = Some(request);
                break;
            }
            let Request { arrival, events, mut waiter } = request;
            for event in events {
                batch.push(self.record(arrival, event));
            }
            waiter.end = self.next;
            self.waiting.push_back(waiter);
            next = self.queue.try_recv().ok();
        }
        batch
    }

    fn record(&mut self, time: Timestamp, value: Vec<u8>) -> OwnedRecord {
        let offset = self.next;
        self.next = offset.next();
        OwnedRecord {
            slot: SLOT,
            offset,
            time,
            kind: Kind::Event,
            key: Vec::new(),
            value: Some(value),
            headers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
