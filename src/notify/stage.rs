//! The fold over the incident changes of one partition: who must be told what, and when.
//!
//! No clock, no I/O: `now` is an argument, attempts go out as [`Delivery`] and come back as
//! [`Outcome`]. What one pair of incident and receiver needs is `entry`'s to decide; here are the
//! timers and queues. One attempt at most is under way for each pair, so that order is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delivery::{Delivery, DeliveryId, HANDLE_MAX, Outcome, Report, backoff};
use super::entry::{Entry, Keep, Next};
use super::route::{ReceiverNo, Routes, UnknownReceiver};
use super::{ENDED_MAX, Settings};
use crate::model::silence::{Asked, Mute};
use crate::model::{Change, IncidentId, Span, Timestamp};
use crate::stage::{Output, Row, RowError};
use crate::wire::ledger;

type Key = (IncidentId, ReceiverNo);

/// How many more attempts each receiver takes at once; shared by all partitions of a process.
#[derive(Debug)]
pub struct Room(Vec<(Arc<str>, usize)>);

impl Room {
    /// As the settings have it; a concurrency of zero counts as one.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let receivers = settings.receivers.iter();
        Self(receivers.map(|to| (Arc::from(&*to.name), to.concurrency.max(1))).collect())
    }

    /// How many attempts may be under way in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.iter().map(|(_, free)| free).sum()
    }

    /// An attempt is over.
    pub fn give_back(&mut self, receiver: &str) {
        if let Some((_, free)) = self.0.iter_mut().find(|(name, _)| **name == *receiver) {
            *free += 1;
        }
    }
}

/// Where a pair waits.
#[derive(Debug, Clone, Copy)]
enum Place {
    Nowhere,
    Send(Timestamp),
    Ready(Timestamp),
    Forget(Timestamp),
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    place: Place,
    /// When its newest revision was read.
    seen_at: Timestamp,
    /// Since when it is not sure whether it is muted.
    unsure_since: Option<Timestamp>,
    /// Whether it is held back as muted.
    held: bool,
}

impl Slot {
    fn new(entry: Entry, seen_at: Timestamp) -> Self {
        Self { entry, place: Place::Nowhere, seen_at, unsure_since: None, held: false }
    }
}

/// How often what is muted is asked for again.
const ASK_EVERY: Span = Span::from_secs(1);
/// How soon what is not sure is asked for again.
const ASK_SOON: Span = Span::from_millis(20);
/// How many questions a call asks at most; the rest waits for its turn, the longest due first.
const ASK_MAX: usize = 1_000;

/// What muting did since it was last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Notices held back by silences alone.
    pub silenced: u64,
    /// Notices held back in which inhibition had a part.
    pub inhibited: u64,
    /// Notices told since it was not sure in time.
    pub unsure: u64,
}

/// Tells receivers what an incident is now, where that differs from what they were told.
#[derive(Debug)]
pub struct Notify {
    settings: Arc<Settings>,
    names: Vec<Arc<str>>,
    routes: Routes,
    slots: BTreeMap<Key, Slot>,
    sends: BTreeSet<(Timestamp, Key)>,
    forgets: BTreeSet<(Timestamp, Key)>,
    /// What is due, by receiver, the longest due first.
    ready: BTreeMap<ReceiverNo, BTreeSet<(Timestamp, Key)>>,
    dirty: BTreeSet<Key>,
    /// Rows of receivers that are no longer configured.
    orphans: Vec<Vec<u8>>,
    held: Held,
}

impl Notify {
    /// Knows nothing yet.
    ///
    /// # Errors
    /// When a route leads to a receiver that is not configured.
    pub fn new(settings: Arc<Settings>) -> Result<Self, UnknownReceiver> {
        Ok(Self {
            names: settings.receivers.iter().map(|to| Arc::from(&*to.name)).collect(),
            routes: Routes::new(&settings)?,
            settings,
            slots: BTreeMap::new(),
            sends: BTreeSet::new(),
            forgets: BTreeSet::new(),
            ready: BTreeMap::new(),
            dirty: BTreeSet::new(),
            orphans: Vec::new(),
            held: Held::default(),
        })
    }

    /// Takes back a row it once handed out. The row of a receiver that is gone is dropped.
    ///
    /// # Errors
    /// When the row is not of a known version; the partition must then stop.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        let bad = |why: String| RowError { key: String::from_utf8_lossy(key).into_owned(), why };
        let (incident, name) = ledger::parse_key(key).map_err(|error| bad(error.to_string()))?;
        let row = ledger::decode(value).map_err(|error| bad(error.to_string()))?;
        match self.number(name) {
            Some(to) => {
                let slot = Slot::new(Entry::stored(row), Timestamp::MIN);
                self.slots.insert((incident, to), slot);
            }
            None => self.orphans.push(key.to_vec()),
        }
        Ok(())
    }

    /// All rows are back.
    pub fn restored(&mut self, now: Timestamp) {
        // A clock that was ahead when a wait was noted must not hold a notice back for days.
        let latest = now + self.settings.retry_max.max(super::delivery::RETRY_AFTER_MAX);
        let keys: Vec<Key> = self.slots.keys().copied().collect();
        for key in keys {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.seen_at = now;
                let retry_at = &mut slot.entry.row.retry_at;
                *retry_at = retry_at.map(|at| at.min(latest));
            }
            self.place(key);
        }
        self.advance(now);
    }

    /// Takes the next change.
    pub fn apply(&mut self, now: Timestamp, change: &Change) {
        let id = change.id;
        let all = (id, ReceiverNo(u16::MIN))..=(id, ReceiverNo(u16::MAX));
        let known: Vec<Key> = self.slots.range(all).map(|(key, _)| *key).collect();
        let first_seen = known.first().and_then(|key| self.slots.get(key));
        let opened_at = first_seen.map_or(change.at, |slot| slot.entry.row.opened_at);
        let routed = if change.is_open() { self.routes.to(change) } else { Vec::new() };
        for (to, wait) in &routed {
            self.slots
                .entry((id, *to))
                .or_insert_with(|| Slot::new(Entry::new(now, opened_at, *wait), now));
        }
        let fresh = routed.iter().map(|(to, _)| (id, *to)).filter(|key| !known.contains(key));
        let touched: Vec<Key> = known.iter().copied().chain(fresh).collect();
        for key in touched {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if change.revision <= slot.entry.row.revision {
                continue;
            }
            let routed = routed.iter().any(|(to, _)| *to == key.1);
            slot.seen_at = now;
            let keep = slot.entry.take(now, change, routed);
            self.keep_or_drop(key, keep);
        }
    }

    /// Time has come to `now`: what is due becomes ready, what is long over is forgotten.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.sends.first().copied().filter(|(at, _)| *at <= now) {
            self.sends.remove(&(at, key));
            self.ready.entry(key.1).or_default().insert((now, key));
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.place = Place::Ready(now);
            }
        }
        loop {
            let over = |at: Timestamp| at <= now || self.forgets.len() > ENDED_MAX;
            let Some((_, key)) = self.forgets.first().copied().filter(|(at, _)| over(*at)) else {
                break;
            };
            self.remove(key);
        }
    }

    /// An attempt is over. Says nothing on attempts it does not know of.
    pub fn completed(&mut self, now: Timestamp, id: &DeliveryId, report: &Report) {
        let Some(key) = self.number(&id.receiver).map(|to| (id.incident, to)) else { return };
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let flying = slot.entry.flight.as_ref().map(|flight| flight.said.revision);
        if flying != Some(id.revision) {
            return;
        }
        if let Some(handle) = report.handle.as_ref().filter(|handle| handle.len() <= HANDLE_MAX) {
            slot.entry.row.handle = Some(handle.clone());
        }
        let keep = match &report.outcome {
            Outcome::Delivered => {
                slot.entry.accepted(now);
                Keep::Yes
            }
            Outcome::Retry { after, .. } => {
                let failed = slot.entry.row.attempts.saturating_add(1);
                slot.entry.failed(now + backoff(&self.settings, id, failed, *after));
                Keep::Yes
            }
            Outcome::SetAside { .. } => slot.entry.refused(now),
        };
        self.keep_or_drop(key, keep);
    }

    /// Hands out what is due, as far as the receivers have room. The rows that `seal` hands out
    /// next must be durable before any of it is sent: they hold what a repeat must say.
    pub fn take_due(&mut self, room: &mut Room) -> Vec<Delivery> {
        self.take_due_unless(Timestamp::MIN, room, &mut |_| Mute::No)
    }

    /// The same but for what is muted: that is held back and asked for again each second, until it
    /// may be told or is over. Where it is not sure in time, it is told: better twice than lost.
    pub fn take_due_unless(
        &mut self,
        now: Timestamp,
        room: &mut Room,
        ask: &mut dyn FnMut(&Asked) -> Mute,
    ) -> Vec<Delivery> {
        let mut due = Vec::new();
        let mut held: Vec<(Key, Timestamp)> = Vec::new();
        let mut over: Vec<Key> = Vec::new();
        let mut questions = ASK_MAX;
        for (to, ready) in &mut self.ready {
            let Some((name, free)) = room.0.get_mut(usize::from(to.0)) else { continue };
            while *free > 0 && questions > 0 {
                let Some((_, key)) = ready.pop_first() else { break };
                let slot = self.slots.get_mut(&key).expect("what is ready has an entry");
                questions -= 1;
                let asked = Asked {
                    incident: key.0,
                    revision: slot.entry.row.revision,
                    seen_at: slot.seen_at,
                };
                let answer = if slot.entry.can_be_muted() { ask(&asked) } else { Mute::No };
                match answer {
                    Mute::No => {}
                    Mute::Unsure(patience) => {
                        let since = *slot.unsure_since.get_or_insert(now);
                        if now < since + patience {
                            held.push((key, now + ASK_SOON));
                            continue;
                        }
                        self.held.unsure += 1;
                    }
                    Mute::Yes { inhibited } => {
                        slot.unsure_since = None;
                        if !std::mem::replace(&mut slot.held, true) {
                            let count = &mut self.held;
                            *(if inhibited {
                                &mut count.inhibited
                            } else {
                                &mut count.silenced
                            }) += 1;
                        }
                        let (keep, fresh) = slot.entry.hold();
                        if fresh {
                            self.dirty.insert(key);
                        }
                        match keep {
                            Keep::Yes => held.push((key, now + ASK_EVERY)),
                            Keep::No => over.push(key),
                        }
                        continue;
                    }
                }
                slot.unsure_since = None;
                slot.held = false;
                let first = !slot.entry.row.tried && !slot.entry.row.told;
                let failed = slot.entry.row.attempts;
                let change = slot.entry.depart();
                slot.place = Place::Nowhere;
                if first {
                    self.dirty.insert(key);
                }
                *free -= 1;
                let (incident, revision) = (key.0, change.revision);
                let id = DeliveryId { incident, receiver: Arc::clone(name), revision };
                let handle = slot.entry.row.handle.clone();
                due.push(Delivery { id, change, failed, handle });
            }
        }
        for (key, again) in held {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.place = Place::Send(again);
                self.sends.insert((again, key));
            }
        }
        for key in over {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.place = Place::Nowhere;
            }
            self.remove(key);
        }
        due
    }

    /// What muting did since the last call.
    pub fn take_held(&mut self) -> Held {
        std::mem::take(&mut self.held)
    }

    /// Hands out the rows that changed since the last call.
    pub fn seal(&mut self, out: &mut Output) {
        for (incident, to) in std::mem::take(&mut self.dirty) {
            let Some(name) = self.names.get(usize::from(to.0)) else { continue };
            let slot = self.slots.get(&(incident, to));
            let value = slot.map(|slot| ledger::encode(&slot.entry.row));
            out.rows.push(Row { key: ledger::key(incident, name), value });
        }
        out.rows.extend(self.orphans.drain(..).map(|key| Row { key, value: None }));
    }

    /// The next time at which something becomes due or is forgotten.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let send = self.sends.first().map(|(at, _)| *at);
        let forget = self.forgets.first().map(|(at, _)| *at);
        send.into_iter().chain(forget).min()
    }

    /// How many notices wait: for their time, or for room at their receiver.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.sends.len() + self.ready.values().map(BTreeSet::len).sum::<usize>()
    }

    /// How many pairs of incident and receiver are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn number(&self, name: &str) -> Option<ReceiverNo> {
        let at = self.names.iter().position(|known| **known == *name)?;
        u16::try_from(at).ok().map(ReceiverNo)
    }

    fn keep_or_drop(&mut self, key: Key, keep: Keep) {
        self.dirty.insert(key);
        match keep {
            Keep::Yes => self.place(key),
            Keep::No => self.remove(key),
        }
    }

    /// Puts a pair where its present state wants it. What was due and still is keeps its turn, or
    /// an incident that changes all the time would never be told.
    fn place(&mut self, key: Key) {
        let Some(slot) = self.slots.get(&key) else { return };
        let next = slot.entry.next(self.settings.growth_every, self.settings.keep);
        if let (Place::Ready(since), Next::Send(at)) = (slot.place, next)
            && at <= since
        {
            return;
        }
        self.displace(key);
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.place = match next {
            Next::Nothing => Place::Nowhere,
            Next::Send(at) => {
                self.sends.insert((at, key));
                Place::Send(at)
            }
            Next::Forget(at) => {
                self.forgets.insert((at, key));
                Place::Forget(at)
            }
        };
    }

    fn displace(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        match std::mem::replace(&mut slot.place, Place::Nowhere) {
            Place::Nowhere => {}
            Place::Send(at) => {
                self.sends.remove(&(at, key));
            }
            Place::Ready(at) => {
                self.ready.entry(key.1).or_default().remove(&(at, key));
            }
            Place::Forget(at) => {
                self.forgets.remove(&(at, key));
            }
        }
    }

    fn remove(&mut self, key: Key) {
        self.displace(key);
        self.slots.remove(&key);
        self.dirty.insert(key);
    }
}
