//! Remembers, per identity, what correlate was last told, so that repeats end here.
//!
//! Told means acknowledged: the worker drops the whole cache when a forward fails, so that an
//! entry never stands for something correlate does not have. The bound is shared by all caches of
//! the process; at the bound an entry gives way by the clock algorithm (a second chance for those
//! that were used), and what it saw is told first. A new entry may rest on a late event, which
//! correlate knew better than to believe: the next `ok` that surely happened later is told, too.

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

#[derive(Debug)]
struct Entry {
    hash: u128,
    identity: Identity,
    /// What correlate knows.
    told: Told,
    /// The newest event, told or not.
    newest: Timestamp,
    until: Timestamp,
    repeats: u64,
    /// Nothing that correlate knew when the entry was admitted happened later than this; what is
    /// told of an earlier time may have been late.
    sure_after: Timestamp,
    /// There are two contents of the newest time: only correlate decides which one stands.
    contested: bool,
    used: bool,
}

impl Entry {
    fn seen(&self) -> Seen {
        let newest = (self.repeats > 0).then_some((self.newest, self.until));
        Seen { repeats: self.repeats, newest }
    }

    fn tell(&mut self, told: Told) -> Verdict {
        let seen = self.seen();
        self.told = told;
        self.newest = told.at;
        self.until = told.until;
        self.repeats = 0;
        Verdict::Forward(seen)
    }
}

/// The fingerprints of one stage.
#[derive(Debug)]
pub struct Cache {
    room: Room,
    by_hash: HashedIndex<u32>,
    entries: Vec<Entry>,
    hand: usize,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(room: Room) -> Self {
        Self { room, by_hash: HashedIndex::default(), entries: Vec::new(), hand: 0 }
    }

    /// Judges an event of the identity with this hash, and remembers it where it is known.
    pub fn judge(&mut self, hash: u128, event: Told) -> Verdict {
        let Some(&at) = self.by_hash.get(&hash) else { return Verdict::Unknown };
        let entry = &mut self.entries[at as usize];
        entry.used = true;
        if event.at < entry.newest {
            return Verdict::Late;
        }
        if event.at == entry.newest && event.status < entry.told.status {
            return Verdict::Late;
        }
        let same = event.status == entry.told.status
            && (event.digest == entry.told.digest || event.status == Status::Ok);
        if !same || entry.contested {
            entry.contested = event.at == entry.newest && event.status == entry.told.status;
            return entry.tell(event);
        }
        let every = refresh_every(entry.told.until.since(entry.told.at));
        let (lives, told) = (event.until.since(event.at), entry.told.until.since(entry.told.at));
        // A sender that changes how long its word holds has said something new; one whose
        // `expires_at` just moves along, or jitters, has not.
        let other_life = lives > told + every || told > lives + every;
        let due = event.at >= entry.told.at + every || event.at > entry.told.until || other_life;
        let unsure = entry.told.at <= entry.sure_after && event.at > entry.sure_after;
        // An `ok` is not refreshed, but told once more where a late one may have been taken for it.
        let again = if event.status == Status::Ok { unsure } else { due };
        if again {
            return entry.tell(event);
        }
        entry.newest = event.at;
        entry.until = event.until;
        entry.repeats += 1;
        Verdict::Repeat
    }

    /// Admits an identity of which correlate knows nothing that happened later than `sure_after`;
    /// the one that gave way to it, if one did.
    pub fn admit(
        &mut self,
        hash: u128,
        identity: Identity,
        told: Told,
        sure_after: Timestamp,
    ) -> Option<Touch> {
        let Told { at, until, .. } = told;
        let entry = Entry {
            hash,
            identity,
            told,
            newest: at,
            until,
            repeats: 0,
            sure_after,
            contested: false,
            used: false,
        };
        let full = self.room.used.load(Ordering::Relaxed) >= self.room.max;
        if full && !self.entries.is_empty() {
            let place = self.victim();
            let index = u32::try_from(place).expect("fewer than 2^32 entries");
            self.by_hash.insert(hash, index);
            let gone = std::mem::replace(&mut self.entries[place], entry);
            self.by_hash.remove(&gone.hash);
            let seen = gone.seen();
            return Some(Touch { identity: gone.identity, seen });
        }
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 entries");
        self.by_hash.insert(hash, index);
        self.entries.push(entry);
        self.room.used.fetch_add(1, Ordering::Relaxed);
        None
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
