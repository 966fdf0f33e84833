//! Remembers, per identity, what correlate was last told, so that repeats end here.
//!
//! Told means acknowledged: the worker drops the whole cache when a forward fails, so that an
//! entry never stands for something correlate does not have. The bound is shared by all caches of
//! the process; at the bound an entry gives way by the clock algorithm (a second chance for those
//! that were used), and what it saw is told first. A new entry may rest on a late event, which
//! correlate knew better than to believe: the next `ok` that surely happened later is told, too.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::event::Identity;
use crate::model::index::HashedIndex;
use crate::model::update::{Seen, Touch, refresh_every};
use crate::model::{Status, Timestamp};

/// How many entries all caches of a process may hold together; clones share the count.
#[derive(Debug, Clone)]
pub struct Room {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Room {
    /// Room for `max` entries, at least one.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { used: Arc::default(), max: max.max(1) }
    }
}

/// What an event would tell correlate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The status.
    pub status: Status,
    /// The digest of host, check and tags.
    pub digest: u64,
    /// The time of the event.
    pub at: Timestamp,
    /// When it loses its force.
    pub until: Timestamp,
}

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It says nothing new.
    Repeat,
    /// It is older than what is known.
    Late,
    /// It says something new or a refresh is due; with what was seen since the last forward.
    Forward(Seen),
    /// The identity is not known: forward it and admit the identity.
    Unknown,
}

/// What is known of an identity, and asked at each of its events. Whose it is lies apart, so that
/// this is small and few lines of the processor's cache are touched.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// What correlate knows.
    told: Told,
    /// The hash of the bytes that its digest was made from, where it is known.
    form: Option<NonZeroU64>,
    /// The newest event, told or not.
    newest: Timestamp,
    until: Timestamp,
    /// When the event that correlate was told of arrived.
    told_arrival: Timestamp,
    /// Nothing that correlate knew when the entry was admitted happened later than this; what is
    /// told of an earlier time, and arrived no later than this, may have been late.
    sure_after: Timestamp,
    repeats: u32,
    /// There are two contents of the newest time: only correlate decides which one stands.
    contested: bool,
    used: bool,
}

/// What an event is, beside what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weighed {
    Late,
    Same,
    Due,
    Other,
}

impl Entry {
    fn new(
        told: Told,
        form: Option<NonZeroU64>,
        told_arrival: Timestamp,
        sure_after: Timestamp,
    ) -> Self {
        let Told { at, until, .. } = told;
        Self {
            told,
            form,
            newest: at,
            until,
            told_arrival,
            sure_after,
            repeats: 0,
            contested: false,
            used: false,
        }
    }

    fn weigh(&self, event: &Told, arrival: Timestamp) -> Weighed {
        let older = event.at < self.newest;
        if older || event.at == self.newest && event.status < self.told.status {
            return Weighed::Late;
        }
        let same = event.status == self.told.status
            && (event.digest == self.told.digest || event.status == Status::Ok);
        if !same || self.contested {
            return Weighed::Other;
        }
        let every = refresh_every(self.told.until.since(self.told.at));
        let (lives, told) = (event.until.since(event.at), self.told.until.since(self.told.at));
        // A sender that changes how long its word holds has said something new; one whose
        // `expires_at` just moves along, or jitters, has not.
        let other_life = lives > told + every || told > lives + every;
        let due = event.at >= self.told.at + every
            || event.at > self.told.until
            || other_life
            || event.at == self.newest && self.is_restated(event, arrival);
        // So often that the count is full has to be told, too.
        let full = self.repeats == u32::MAX;
        // Its sender's clock may be behind: what arrives later is sure as well.
        let sure = event.at.max(arrival) > self.sure_after;
        let unsure = self.told.at <= self.sure_after && sure;
        // An `ok` is not refreshed, but told once more where a late one may have been taken for it.
        let again = if event.status == Status::Ok { unsure } else { due || full };
        if again { Weighed::Due } else { Weighed::Same }
    }

    /// Whether an event of the time that correlate knows says again what is, after so long that a
    /// refresh is due: its sender does not move the time of what it repeats, and what it says lives on.
    fn is_restated(&self, event: &Told, arrival: Timestamp) -> bool {
        // Where its end moves along it is the end that says how long it lives from here on.
        let moves = event.until != self.told.until;
        let lives = if moves { event.until.since(arrival) } else { event.until.since(event.at) };
        arrival >= self.told_arrival + refresh_every(lives)
    }

    fn repeat(&mut self, event: &Told) {
        self.newest = event.at;
        self.until = event.until;
        self.repeats = self.repeats.saturating_add(1);
    }

    fn tell(&mut self, told: Told, form: Option<NonZeroU64>, arrival: Timestamp) -> Verdict {
        let seen = self.seen();
        let Told { at, until, .. } = told;
        let sure_after = if arrival > self.sure_after { Timestamp::MIN } else { self.sure_after };
        let told_arrival = arrival;
        *self =
            Self { told, form, newest: at, until, told_arrival, sure_after, repeats: 0, ..*self };
        Verdict::Forward(seen)
    }

    fn seen(&self) -> Seen {
        let newest = (self.repeats > 0).then_some((self.newest, self.until));
        Seen { repeats: self.repeats.into(), newest }
    }
}

/// Whose an entry is.
#[derive(Debug)]
struct Owner {
    hash: u128,
    identity: Identity,
}

/// The fingerprints of one stage.
#[derive(Debug)]
pub struct Cache {
    room: Room,
    by_hash: HashedIndex<u32>,
    entries: Vec<Entry>,
    /// One for each entry, at the same place.
    owners: Vec<Owner>,
    hand: usize,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(room: Room) -> Self {
        let (entries, owners) = (Vec::new(), Vec::new());
        Self { room, by_hash: HashedIndex::default(), entries, owners, hand: 0 }
    }

    /// Judges an event by the form of its content, and remembers it, where that is enough: it is a
    /// repeat or late, in a form that was accepted before. The digest of `event` is not asked for.
    pub fn recognise(
        &mut self,
        hash: u128,
        form: NonZeroU64,
        mut event: Told,
        arrival: Timestamp,
    ) -> Option<Verdict> {
        let entry = &mut self.entries[*self.by_hash.get(&hash)? as usize];
        if entry.form != Some(form) {
            return None;
        }
        event.digest = entry.told.digest;
        let verdict = match entry.weigh(&event, arrival) {
            Weighed::Late => Verdict::Late,
            Weighed::Same => {
                entry.repeat(&event);
                Verdict::Repeat
            }
            Weighed::Due | Weighed::Other => return None,
        };
        entry.used = true;
        Some(verdict)
    }

    /// Judges an event of the identity with this hash, and remembers it where it is known; `form`
    /// is the hash of the bytes its digest was made from, where that is known.
    pub fn judge(
        &mut self,
        hash: u128,
        event: Told,
        form: Option<NonZeroU64>,
        arrival: Timestamp,
    ) -> Verdict {
        let Some(&at) = self.by_hash.get(&hash) else { return Verdict::Unknown };
        let entry = &mut self.entries[at as usize];
        entry.used = true;
        match entry.weigh(&event, arrival) {
            Weighed::Late => Verdict::Late,
            Weighed::Same => {
                entry.repeat(&event);
                if event.digest == entry.told.digest {
                    entry.form = form.or(entry.form);
                }
                Verdict::Repeat
            }
            Weighed::Due => entry.tell(event, form, arrival),
            Weighed::Other => {
                entry.contested = event.at == entry.newest && event.status == entry.told.status;
                entry.tell(event, form, arrival)
            }
        }
    }

    /// Admits an identity of which correlate knows nothing that happened later than `sure_after`;
    /// the one that gave way to it, if one did.
    pub fn admit(
        &mut self,
        hash: u128,
        identity: Identity,
        told: Told,
        form: Option<NonZeroU64>,
        (arrival, sure_after): (Timestamp, Timestamp),
    ) -> Option<Touch> {
        let entry = Entry::new(told, form, arrival, sure_after);
        let owner = Owner { hash, identity };
        let full = self.room.used.load(Ordering::Relaxed) >= self.room.max;
        if full && !self.entries.is_empty() {
            let place = self.victim();
            let index = u32::try_from(place).expect("fewer than 2^32 entries");
            self.by_hash.insert(hash, index);
            let seen = std::mem::replace(&mut self.entries[place], entry).seen();
            let gone = std::mem::replace(&mut self.owners[place], owner);
            self.by_hash.remove(&gone.hash);
            return Some(Touch { identity: gone.identity, seen });
        }
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 entries");
        self.by_hash.insert(hash, index);
        self.entries.push(entry);
        self.owners.push(owner);
        self.room.used.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Knows no event by its form any more, as if none had been glanced at.
    #[cfg(test)]
    pub(super) fn forget_forms(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.form = None);
    }

    /// How many entries all caches of the process hold.
    #[must_use]
    pub fn in_process(&self) -> u64 {
        self.room.used.load(Ordering::Relaxed) as u64
    }

    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand % self.entries.len();
            self.hand = at + 1;
            let entry = &mut self.entries[at];
            if !std::mem::take(&mut entry.used) {
                return at;
            }
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.entries.len(), Ordering::Relaxed);
    }
}
