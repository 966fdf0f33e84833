//! Stage 1: bytes to canonical events, and of those only what correlate does not know yet.
//!
//! `decode` reads bytes, `fingerprint` remembers what was told; here the two make a stage. What
//! the stage remembers is not state: losing it only forwards what correlate already knows. It is
//! sound only where all events of an identity arrive, in order; elsewhere events are sent on to
//! the owner of their identity.

use std::num::NonZeroU64;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::model::event::Report;
use crate::model::update::{Seen, Touch, alive_until};
use crate::model::{Event, Span, Timestamp, Update};
use crate::stage::{
    EventOutcome, Kind, Limit, Outgoing, Output, Record, Route, RowError, Slot, Stage, Tally, Topic,
};
use crate::wire;

use decode::{Form, Parsed, Rejected};
use fingerprint::{Cache, Told, Verdict};
use glance::{Glance, glance};

pub mod decode;
pub mod fingerprint;
mod glance;
mod scan;

pub use fingerprint::Room;

/// How much of its record's key a dead letter keeps, in bytes.
const DEAD_KEY_BYTES: usize = 4_096;

/// How one source is treated; chosen by an event's `source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// The source; `defaults` is what any other source goes by.
    pub name: Arc<str>,
    /// The set of alerts its alerts may correlate with.
    pub shard: Arc<str>,
    /// How long an alert lives without a further event.
    pub expire_after: Span,
}

/// Limits on what an event may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest record, in bytes; longer ones are set aside.
    pub record_bytes: usize,
    /// The deepest nesting of objects and lists; deeper ones are set aside.
    pub depth: usize,
    /// The most tags of an event; events with more are set aside.
    pub tags: usize,
    /// The longest tag or link value, in bytes; longer ones are cut.
    pub value_bytes: usize,
    /// The longest description, in bytes; longer ones are cut.
    pub description_bytes: usize,
    /// How far ahead of its arrival a timestamp may lie before it counts as the arrival.
    pub ahead: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 1 << 20,
            depth: 32,
            tags: 2_000,
            value_bytes: 512,
            description_bytes: 2_048,
            ahead: Span::from_secs(300),
        }
    }
}

/// What collect goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Named sources; the one called `defaults` comes last and is always there.
    pub sources: Vec<SourceSettings>,
    /// How many identities the suppression cache of one process holds.
    pub cache_max: usize,
    /// Limits on events.
    pub limits: Limits,
}

impl Settings {
    /// These settings as far as a process that began with `running` can go by them: with its
    /// sources, by which events are counted, and its cache.
    #[must_use]
    pub fn renewed_from(&self, running: &Self) -> Self {
        let sources = running.sources.iter().map(|source| {
            let same = self.sources.iter().find(|other| other.name == source.name);
            same.unwrap_or(source).clone()
        });
        Self {
            sources: sources.collect(),
            cache_max: running.cache_max,
            limits: self.limits.clone(),
        }
    }
}

/// What becomes of an event once it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// All events of an identity arrive here, in order: forward only what is new.
    Suppress,
    /// They do not: send every event on to the owner of its identity.
    SendOn,
}

/// The collect stage for one input partition, or for all inputs of a process that owns them all.
pub struct Collect {
    settings: Arc<Settings>,
    duty: Duty,
    origins: Arc<[Arc<str>]>,
    cache: Cache,
    keys: [(u64, u64); 2],
    events: Vec<[u64; EventOutcome::COUNT]>,
    limited: [u64; Limit::ALL.len()],
    /// Which source the last event was of; mostly the next one's, too.
    last_source: usize,
}

impl Collect {
    /// A stage that knows nothing yet. `origins` names the inputs, by `Slot::input`, for dead
    /// letters; `room` is shared by all stages of the process; `seed` is a secret against senders
    /// who would steer the cache.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        duty: Duty,
        origins: Arc<[Arc<str>]>,
        room: Room,
        seed: u64,
    ) -> Self {
        let events = vec![[0; EventOutcome::COUNT]; settings.sources.len()];
        let keys = [(seed, !seed), (seed.rotate_left(17), seed ^ 0x9e37_79b9_7f4a_7c15)];
        Self {
            settings,
            duty,
            origins,
            cache: Cache::new(room),
            keys,
            events,
            limited: [0; Limit::ALL.len()],
            last_source: 0,
        }
    }

    /// Whether a glance shows an event to be nothing new; it is counted then.
    fn is_known(&mut self, seen: &Glance<'_>) -> bool {
        let source = self.source(seen.source);
        let expire_after = self.settings.sources[source].expire_after;
        let until = alive_until(seen.timestamp, seen.expires_at, expire_after);
        // The digest is the one of the form, if that is known.
        let told = Told { status: seen.status, digest: 0, at: seen.timestamp, until };
        let outcome = match self.cache.recognise(seen.hash, seen.form, told, seen.arrival) {
            Some(Verdict::Repeat) => EventOutcome::Repeat,
            Some(Verdict::Late) => EventOutcome::Late,
            _ => return false,
        };
        self.events[source][outcome.index()] += 1;
        true
    }

    fn event(&mut self, parsed: &Parsed<'_>, form: Option<NonZeroU64>, out: &mut Output) {
        match self.duty {
            // It is counted where it arrives: once, whatever its way.
            Duty::SendOn => {
                let event = parsed.to_event(&self.settings.limits, &mut self.limited);
                out.records.push(send_on(&event, parsed.arrival));
            }
            Duty::Suppress => {
                let source = self.source(&parsed.source);
                let outcome = self.suppress(parsed, form, source, out);
                self.events[source][outcome.index()] += 1;
            }
        }
    }

    fn suppress(
        &mut self,
        parsed: &Parsed<'_>,
        form: Option<NonZeroU64>,
        source: usize,
        out: &mut Output,
    ) -> EventOutcome {
        let Report::Status(status) = parsed.report else {
            self.forward(parsed, source, Seen::default(), out);
            return EventOutcome::Forwarded;
        };
        let expire_after = self.settings.sources[source].expire_after;
        let until = alive_until(parsed.timestamp, parsed.expires_at, expire_after);
        let told =
            Told { status, digest: parsed.digest(self.keys[1]), at: parsed.timestamp, until };
        let hash = parsed.identity_hash(self.keys[0]);
        match self.cache.judge(hash, told, form, parsed.arrival) {
            Verdict::Repeat => EventOutcome::Repeat,
            Verdict::Late => EventOutcome::Late,
            Verdict::Forward(seen) => {
                self.forward(parsed, source, seen, out);
                EventOutcome::Forwarded
            }
            Verdict::Unknown => {
                // Times further ahead were clamped.
                let sure_after = parsed.arrival + self.settings.limits.ahead;
                let gave_way = self.cache.admit(hash, parsed.identity(), told, form, sure_after);
                if let Some(touch) = gave_way {
                    self.limited[Limit::FingerprintEvicted as usize] += 1;
                    out.records.extend(self.touched(touch));
                }
                self.forward(parsed, source, Seen::default(), out);
                EventOutcome::Forwarded
            }
        }
    }

    fn forward(&mut self, parsed: &Parsed<'_>, source: usize, seen: Seen, out: &mut Output) {
        let event = parsed.to_event(&self.settings.limits, &mut self.limited);
        let source = &self.settings.sources[source];
        let update = Update {
            shard: source.shard.as_ref().into(),
            expire_after: source.expire_after,
            seen,
            event,
        };
        out.records.push(to_alerts(&source.shard, Kind::Update, wire::update::encode(&update)));
    }

    /// The last word on an evicted identity, where there is anything that was not told.
    fn touched(&mut self, touch: Touch) -> Option<Outgoing> {
        if touch.seen.repeats == 0 {
            return None;
        }
        let source = self.source(touch.identity.source());
        let shard = &self.settings.sources[source].shard;
        Some(to_alerts(shard, Kind::Touch, wire::update::encode_touch(&touch)))
    }

    /// The settings an event's source goes by; the last are everybody else's.
    fn source(&mut self, name: &str) -> usize {
        let sources = &self.settings.sources;
        if *sources[self.last_source].name != *name {
            let others = sources.len() - 1;
            self.last_source =
                sources.iter().position(|source| *source.name == *name).unwrap_or(others);
        }
        self.last_source
    }

    fn reject(&mut self, slot: Slot, record: &Record<'_>, rejected: Rejected, out: &mut Output) {
        let others = self.events.len() - 1;
        self.events[others][EventOutcome::Rejected(rejected.reason).index()] += 1;
        let origin = self.origins.get(usize::from(slot.input)).map_or("unknown", |name| name);
        out.records.push(dead_letter(origin, slot.partition, record, rejected));
    }
}

impl Stage for Collect {
    fn restore(&mut self, key: &[u8], _: &[u8]) -> Result<(), RowError> {
        // Collect hands out no rows; one that comes back is somebody else's.
        let key = String::from_utf8_lossy(key).into_owned();
        Err(RowError { key, why: "collect keeps no rows".to_owned() })
    }

    fn restored(&mut self) -> Result<(), RowError> {
        Ok(())
    }

    fn apply(&mut self, slot: Slot, record: &Record<'_>, out: &mut Output) {
        let bytes = record.value.unwrap_or_default();
        let form = if record.kind == Kind::Event { Form::Own } else { Form::Published };
        let mut content = None;
        if self.duty == Duty::Suppress
            && let Some(seen) = glance(bytes, form, record.time, &self.settings.limits, &self.keys)
        {
            if self.is_known(&seen) {
                return;
            }
            content = Some(seen.form);
        }
        let settings = Arc::clone(&self.settings);
        decode::each(bytes, form, record.time, &settings.limits, |found| match found {
            Ok(parsed) => self.event(&parsed, content, out),
            Err(rejected) => self.reject(slot, record, rejected, out),
        });
    }

    fn seal(&mut self, out: &mut Output) {
        let none = vec![[0; EventOutcome::COUNT]; self.events.len()];
        out.tally = Tally {
            events: std::mem::replace(&mut self.events, none),
            limited: std::mem::take(&mut self.limited),
            fingerprints: Some(self.cache.in_process()),
            ..Tally::default()
        };
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    fn opening(&mut self, _: Slot) -> Option<Outgoing> {
        None
    }
}

/// The record that takes an event to the owner of its identity.
#[must_use]
pub fn send_on(event: &Event, arrival: Timestamp) -> Outgoing {
    let hash = route_hash(&event.identity().parts());
    Outgoing {
        topic: Topic::Events,
        route: Route::Hash(hash),
        kind: Kind::Event,
        key: hash.to_be_bytes().to_vec(),
        value: wire::event::encode(event, arrival),
        headers: Vec::new(),
    }
}

/// The record that sets bytes aside, with where they were and why.
#[must_use]
pub fn dead_letter(
    origin: &str,
    partition: u32,
    record: &Record<'_>,
    rejected: Rejected,
) -> Outgoing {
    let key = record.key.unwrap_or_default();
    // A key may be as long as a record; the two must fit together.
    let key = key[..key.len().min(DEAD_KEY_BYTES)].to_vec();
    Outgoing {
        topic: Topic::DeadLetters,
        route: Route::Hash(record.offset.0.unsigned_abs()),
        kind: Kind::DeadLetter,
        key,
        value: rejected.bytes,
        headers: vec![
            ("topic", origin.as_bytes().to_vec()),
            ("partition", partition.to_string().into_bytes()),
            ("offset", record.offset.0.to_string().into_bytes()),
            ("reason", rejected.reason.as_str().as_bytes().to_vec()),
            ("message", rejected.message.into_bytes()),
        ],
    }
}

/// A number that spreads names evenly over partitions, the same in every instance.
#[must_use]
pub fn route_hash(parts: &[&str]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = SipHasher13::new_with_keys(0x726f_7574, 0x6d75_7374_6572);
    for part in parts {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// A record of `muster.alerts` for a shard.
#[must_use]
pub fn to_alerts(shard: &str, kind: Kind, value: Vec<u8>) -> Outgoing {
    Outgoing {
        topic: Topic::Alerts,
        route: Route::Hash(route_hash(&[shard])),
        kind,
        key: shard.as_bytes().to_vec(),
        value,
        headers: Vec::new(),
    }
}
