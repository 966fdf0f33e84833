//! Stage 1: bytes to canonical events, and of those only what correlate does not know yet.
//!
//! `decode` reads bytes, `fingerprint` remembers what was told; here the two make a stage. What
//! the stage remembers is not state: losing it only forwards what correlate already knows. It is
//! sound only where all events of an identity arrive, in order; elsewhere events are sent on to
//! the owner of their identity.

use std::num::NonZeroU64;
use std::sync::Arc;

use jiff::tz::TimeZone;
use siphasher::sip::SipHasher13;

use crate::decoders::{self, Decoder};
use crate::model::event::Report;
use crate::model::update::{Seen, Touch, alive_until};
use crate::model::{Event, Span, Status, Timestamp, Update};
use crate::stage::{
    EventOutcome, Kind, Limit, Outgoing, Output, Record, Route, RowError, Slot, Stage, Tally, Topic,
};
use crate::wire;

use decode::{Form, Incoming, Parsed, Rejected};
use enrich::Step;
use fingerprint::{Cache, Told, Verdict};
use foreign::Found;
use glance::{Glance, glance};
use heartbeats::Noticed;
use hosts::Hosts;

pub mod decode;
pub mod enrich;
pub mod fingerprint;
mod foreign;
mod glance;
pub mod heartbeats;
pub mod hosts;
mod refused;
mod scan;
pub mod table;
mod time;

pub use fingerprint::Room;
pub use heartbeats::Heartbeats;

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
    /// What reads payloads of this source that come by its own address or topic; none for events in
    /// canonical form.
    pub decoder: Option<&'static Decoder>,
    /// What the source's words for how bad a problem is mean, where not what they usually do; in
    /// lower case.
    pub statuses: Vec<(Box<str>, Status)>,
    /// Fields of its events in canonical form that stand for others, where those are not there:
    /// `host`, `check`, `key`, `status`, `timestamp` or `description`, and the names to look under.
    pub fields: Vec<(Field, Vec<Box<str>>)>,
    /// What becomes of problems that the source itself is not sure of yet.
    pub soft_states: SoftStates,
    /// Where times without a zone are meant.
    pub time_zone: TimeZone,
}

impl SourceSettings {
    /// A source of events in canonical form, as if the config said nothing of it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            shard: "default".into(),
            expire_after: Span::from_secs(7 * 86_400),
            decoder: None,
            statuses: Vec::new(),
            fields: Vec::new(),
            soft_states: SoftStates::Drop,
            time_zone: TimeZone::UTC,
        }
    }

    /// What the settings say that a word means.
    fn meaning(&self, word: &str) -> Option<Status> {
        let word = word.trim();
        let found = self.statuses.iter().find(|(own, _)| own.eq_ignore_ascii_case(word));
        found.map(|(_, status)| *status)
    }
}

/// A field of an event in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The primary property.
    Host,
    /// The secondary property.
    Check,
    /// The sender's own identity.
    Key,
    /// How bad it is.
    Status,
    /// When it was seen.
    Timestamp,
    /// The text for people.
    Description,
}

impl Field {
    /// Every field, with its word.
    pub const ALL: [(&'static str, Self); 6] = [
        ("host", Self::Host),
        ("check", Self::Check),
        ("key", Self::Key),
        ("status", Self::Status),
        ("timestamp", Self::Timestamp),
        ("description", Self::Description),
    ];
}

/// What becomes of a problem that its source checks again before it believes it (Nagios' soft
/// states). A recovery counts in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SoftStates {
    /// It says nothing.
    #[default]
    Drop,
    /// It counts like any other.
    Keep,
}

/// Where payloads come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name in dead letters: a topic, or `http`.
    pub name: Arc<str>,
    /// The source whose payloads they are; none where each event names its own.
    pub source: Option<Arc<str>>,
    /// What reads them where the source's settings name no decoder; none for events in canonical
    /// form.
    pub decoder: Option<&'static Decoder>,
    /// What reads them whatever the source's settings say: they come by an address of this format.
    pub format: Option<&'static Decoder>,
}

/// There is neither a source nor a format of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is neither a source of the config nor a format; formats are {}",
    decoders::names()
)]
pub struct NoSuchSource {
    name: String,
}

impl Origin {
    /// What HTTP is called where a topic's name would stand.
    pub const HTTP: &str = "http";

    /// Where events that name their sources themselves come in.
    pub fn canonical(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), source: None, decoder: None, format: None }
    }

    /// Where the payloads of a source come in.
    pub fn of_source(name: impl Into<Arc<str>>, source: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), source: Some(source.into()), decoder: None, format: None }
    }
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

/// How far behind a reader of a log may be before that is an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LagLimit {
    /// The most records that may be unread in a partition; 0: any number.
    pub records: u64,
    /// The longest that something may be unread; zero: any time.
    pub age: Span,
    /// How bad more is.
    pub status: Status,
}

impl Default for LagLimit {
    fn default() -> Self {
        Self { records: 0, age: Span::from_secs(600), status: Status::Warning }
    }
}

/// What collect goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Named sources; the one called `defaults` comes last and is always there.
    pub sources: Vec<SourceSettings>,
    /// One name for each machine.
    pub hosts: Hosts,
    /// What events get beside what their senders said, in order.
    pub enrich: Arc<[Step]>,
    /// What must be heard of.
    pub heartbeats: Heartbeats,
    /// How far behind a reader may be.
    pub lag: LagLimit,
    /// How many identities the suppression cache of one process holds.
    pub cache_max: usize,
    /// Limits on events.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sources: vec![SourceSettings::new("defaults")],
            hosts: Hosts::default(),
            enrich: Arc::new([]),
            heartbeats: Heartbeats::default(),
            lag: LagLimit::default(),
            cache_max: 1_000_000,
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// A source's settings; those of the last source for one without any.
    #[must_use]
    pub fn source(&self, name: &str) -> (usize, &SourceSettings) {
        let others = self.sources.len() - 1;
        let place = self.sources.iter().position(|source| *source.name == *name);
        let place = place.unwrap_or(others);
        (place, &self.sources[place])
    }

    /// Where the payloads of the source of this name come in, or else those in the format of this
    /// name, which is its own source then.
    ///
    /// # Errors
    /// When there is neither.
    pub fn origin(&self, input: &str, name: &str) -> Result<Origin, NoSuchSource> {
        if self.sources.iter().any(|known| *known.name == *name) {
            return Ok(Origin::of_source(input, name));
        }
        let decoder = decoders::find(name).ok_or_else(|| NoSuchSource { name: name.into() })?;
        Ok(Origin { decoder: Some(decoder), ..Origin::of_source(input, decoder.name) })
    }

    /// What reads the payloads that come in somewhere; none for events in canonical form.
    #[must_use]
    pub fn decoder(&self, origin: &Origin) -> Option<&'static Decoder> {
        let own = || origin.source.as_deref().and_then(|name| self.source(name).1.decoder);
        origin.format.or_else(own).or(origin.decoder)
    }

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
            hosts: self.hosts.clone(),
            enrich: Arc::clone(&self.enrich),
            heartbeats: self.heartbeats.clone(),
            lag: self.lag.clone(),
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
    origins: Arc<[Origin]>,
    /// What reads the payloads of each origin; none for events in canonical form.
    decoders: Box<[Option<&'static Decoder>]>,
    cache: Cache,
    noticed: Noticed,
    keys: [(u64, u64); 2],
    events: Vec<[u64; EventOutcome::COUNT]>,
    limited: [u64; Limit::ALL.len()],
    youngest: time::Youngest,
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
        origins: Arc<[Origin]>,
        room: Room,
        seed: u64,
    ) -> Self {
        let events = vec![[0; EventOutcome::COUNT]; settings.sources.len()];
        let keys = [(seed, !seed), (seed.rotate_left(17), seed ^ 0x9e37_79b9_7f4a_7c15)];
        let decoders = origins.iter().map(|origin| settings.decoder(origin)).collect();
        Self {
            settings,
            duty,
            origins,
            decoders,
            cache: Cache::new(room),
            noticed: Noticed::new(keys[1]),
            keys,
            events,
            limited: [0; Limit::ALL.len()],
            youngest: time::Youngest::default(),
            last_source: 0,
        }
    }

    /// Whether a glance shows an event to be nothing new; it is counted then.
    fn is_known(&mut self, seen: &Glance<'_>) -> bool {
        let source = self.source(seen.source);
        let settings = &self.settings.sources[source];
        if !(settings.statuses.is_empty() && settings.fields.is_empty()) {
            return false;
        }
        if !self.settings.heartbeats.rules().is_empty()
            && self.noticed.may_beat(seen.hash, seen.form, seen.arrival)
        {
            return false;
        }
        let expire_after = settings.expire_after;
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
        if parsed.age.is_some() {
            let source = self.source(&parsed.source);
            self.youngest.note(parsed, || source);
        }
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
        self.notice(parsed, form, out);
        let Report::Status(status) = parsed.report else {
            return self.forward(parsed, source, Seen::default(), out);
        };
        let expire_after = self.settings.sources[source].expire_after;
        let until = alive_until(parsed.timestamp, parsed.expires_at, expire_after);
        let told =
            Told { status, digest: parsed.digest(self.keys[1]), at: parsed.timestamp, until };
        let hash = parsed.identity_hash(self.keys[0]);
        match self.cache.judge(hash, told, form, parsed.arrival) {
            Verdict::Repeat => EventOutcome::Repeat,
            Verdict::Late => EventOutcome::Late,
            Verdict::Forward(seen) => self.forward(parsed, source, seen, out),
            Verdict::Unknown => {
                // Times further ahead were clamped.
                let sure_after = parsed.arrival + self.settings.limits.ahead;
                let gave_way = self.cache.admit(
                    hash,
                    parsed.identity(),
                    told,
                    form,
                    (parsed.arrival, sure_after),
                );
                if let Some(touch) = gave_way {
                    self.limited[Limit::FingerprintEvicted as usize] += 1;
                    out.records.extend(self.touched(touch));
                }
                self.forward(parsed, source, Seen::default(), out)
            }
        }
    }

    /// Tells of the heartbeats that an event is a beat of, whatever becomes of it otherwise.
    fn notice(&mut self, parsed: &Parsed<'_>, form: Option<NonZeroU64>, out: &mut Output) {
        let settings = &self.settings;
        if settings.heartbeats.rules().is_empty() {
            return;
        }
        let hash = parsed.identity_hash(self.keys[0]);
        let form = form.unwrap_or_else(|| NonZeroU64::MIN | parsed.digest(self.keys[1]));
        if self.noticed.may_beat(hash, form, parsed.arrival) {
            // What is cut of it is counted where it is forwarded.
            let event = parsed.to_event(&settings.limits, &mut [0; Limit::ALL.len()]);
            let heartbeats = &settings.heartbeats;
            let records = self.noticed.beats(heartbeats, &event, (hash, form), parsed.arrival);
            out.records.extend(records);
        }
    }

    fn forward(
        &mut self,
        parsed: &Parsed<'_>,
        source: usize,
        seen: Seen,
        out: &mut Output,
    ) -> EventOutcome {
        let Settings { limits, enrich, .. } = &*self.settings;
        let mut event = parsed.to_event(limits, &mut self.limited);
        if !enrich::apply(enrich, &mut event, limits, &mut self.limited) {
            return EventOutcome::Dropped;
        }
        let source = &self.settings.sources[source];
        let update = Update {
            shard: source.shard.as_ref().into(),
            expire_after: source.expire_after,
            seen,
            event,
        };
        out.records.push(to_alerts(&source.shard, Kind::Update, wire::update::encode(&update)));
        EventOutcome::Forwarded
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
        if *self.settings.sources[self.last_source].name != *name {
            self.last_source = self.settings.source(name).0;
        }
        self.last_source
    }

    /// A payload in a format that is not Muster's.
    fn foreign(
        &mut self,
        decoder: &Decoder,
        (slot, record): (Slot, &Record<'_>),
        out: &mut Output,
    ) {
        let mut headers = Vec::new();
        if let Some(headed) = record.headers {
            headed.each(&mut |name, value| {
                headers.push((name.to_ascii_lowercase(), value.to_vec()));
            });
        }
        let (settings, origins) = (Arc::clone(&self.settings), Arc::clone(&self.origins));
        let incoming = Incoming {
            bytes: record.value.unwrap_or_default(),
            headers: &headers,
            arrival: record.time,
            origin: &origins[usize::from(slot.input)],
        };
        foreign::each(decoder, &incoming, &settings, |found| match found {
            Found::Event(parsed) => self.event(&parsed, None, out),
            Found::Rejected(rejected) => self.reject(slot, record, rejected, out),
            Found::Silent { source, outcome, .. } => self.events[source][outcome.index()] += 1,
        });
    }

    fn reject(&mut self, slot: Slot, record: &Record<'_>, rejected: Rejected, out: &mut Output) {
        let others = self.events.len() - 1;
        self.events[others][EventOutcome::Rejected(rejected.reason).index()] += 1;
        let origin = self.origins.get(usize::from(slot.input));
        let origin = origin.cloned().unwrap_or_else(|| Origin::canonical("unknown"));
        out.records.push(dead_letter(&origin, slot.partition, record, rejected));
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
        if form == Form::Published
            && let Some(Some(decoder)) = self.decoders.get(usize::from(slot.input))
        {
            return self.foreign(decoder, (slot, record), out);
        }
        let mut content = None;
        if self.duty == Duty::Suppress
            && let Some(seen) = glance(bytes, form, record.time, &self.settings, &self.keys)
        {
            if self.is_known(&seen) {
                return;
            }
            content = Some(seen.form);
        }
        let settings = Arc::clone(&self.settings);
        decode::each(bytes, form, record.time, &settings, |found| match found {
            Ok(parsed) => self.event(&parsed, content, out),
            Err(rejected) => self.reject(slot, record, rejected, out),
        });
    }

    fn seal(&mut self, out: &mut Output) {
        self.noticed.seal();
        let none = vec![[0; EventOutcome::COUNT]; self.events.len()];
        out.tally = Tally {
            events: std::mem::replace(&mut self.events, none),
            limited: std::mem::take(&mut self.limited),
            youngest: self.youngest.take(),
            fingerprints: Some(self.cache.in_process()),
            ..Tally::default()
        };
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    fn opening(&mut self, _: Slot) -> Vec<Outgoing> {
        Vec::new()
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
    origin: &Origin,
    partition: u32,
    record: &Record<'_>,
    rejected: Rejected,
) -> Outgoing {
    let key = record.key.unwrap_or_default();
    // A key may be as long as a record; the two must fit together.
    let key = key[..key.len().min(DEAD_KEY_BYTES)].to_vec();
    let mut headers = vec![
        ("topic", origin.name.as_bytes().to_vec()),
        ("partition", partition.to_string().into_bytes()),
        ("offset", record.offset.0.to_string().into_bytes()),
        ("reason", rejected.reason.as_str().as_bytes().to_vec()),
        ("message", rejected.message.into_bytes()),
        // Read once more, it must not look newer than it is.
        ("arrival", record.time.as_millis().to_string().into_bytes()),
    ];
    if let Some(app_key) = rejected.app_key {
        headers.push(("app_key", app_key.into_bytes()));
    }
    if let Some(source) = &origin.source {
        // What it takes to read the same bytes once more.
        headers.push(("source", source.as_bytes().to_vec()));
        if let Some(kept) = record.headers.and_then(wire::dead_letter::headers) {
            headers.push(("headers", kept));
        }
        if let Some(format) = origin.format {
            headers.push(("decoder", format.name.as_bytes().to_vec()));
        }
    }
    Outgoing {
        topic: Topic::DeadLetters,
        route: Route::Hash(record.offset.0.unsigned_abs()),
        kind: Kind::DeadLetter,
        key,
        value: rejected.bytes,
        headers,
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
