//! What every stage is: a fold over one log into the next.
//!
//! A stage is a plain struct without clock, I/O, locks or async. It reads records in order, changes
//! its state, and hands out records and changed rows; the worker around it reads, commits and waits.

use std::fmt;

use crate::model::{ChangeKind, Timestamp};

/// A place in a log; the next record has a higher one, not always by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub i64);

impl Offset {
    /// The position after this record.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One partition that a feed reads: which of its input topics, and which partition of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot {
    /// Index into the feed's list of topics.
    pub input: u16,
    /// The partition.
    pub partition: u32,
}

/// The topics of Muster itself; their names on Kafka are configurable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Decoded events on the way to the owner of their identity.
    Events,
    /// Correlate's input.
    Alerts,
    /// Correlate's rows.
    State,
    /// Incident changes.
    Incidents,
    /// Notify's rows.
    Deliveries,
    /// What could not be read.
    DeadLetters,
    /// Silences, a row each.
    Silences,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 7] = [
        Self::Events,
        Self::Alerts,
        Self::State,
        Self::Incidents,
        Self::Deliveries,
        Self::DeadLetters,
        Self::Silences,
    ];

    /// The word for it in config keys, metrics and the embedded journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Alerts => "alerts",
            Self::State => "state",
            Self::Incidents => "incidents",
            Self::Deliveries => "deliveries",
            Self::DeadLetters => "dead_letters",
            Self::Silences => "silences",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a record is; a header (`muster-kind`) on Kafka, a column in SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    /// A publisher's bytes: no header.
    #[default]
    Raw,
    /// An event in canonical form with its arrival (`muster.events`).
    Event,
    /// What collect forwards (`muster.alerts`).
    Update,
    /// The last word on an identity that collect forgets (`muster.alerts`).
    Touch,
    /// Time passes (`muster.alerts`).
    Tick,
    /// What correlate goes by from here on (`muster.alerts`).
    Settings,
    /// What somebody asks for (`muster.alerts`).
    Command,
    /// A heartbeat beats, whether collect reads what is sent, or a probe (`muster.alerts`); what
    /// correlate says of them (`muster.incidents`).
    Heartbeat,
    /// A part of a topology that a settings record after it names (`muster.alerts`).
    Topology,
    /// A row of a changelog.
    Row,
    /// An incident change (`muster.incidents`).
    Change,
    /// What became of a command (`muster.incidents`).
    CommandResult,
    /// What could not be read (`muster.dead-letters`).
    DeadLetter,
    /// Which dead letters of the same partition were read once more with success
    /// (`muster.dead-letters`).
    Retried,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Raw,
        Self::Event,
        Self::Update,
        Self::Touch,
        Self::Tick,
        Self::Settings,
        Self::Command,
        Self::Heartbeat,
        Self::Topology,
        Self::Row,
        Self::Change,
        Self::CommandResult,
        Self::DeadLetter,
        Self::Retried,
    ];

    /// The word in the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Event => "event",
            Self::Update => "update",
            Self::Touch => "touch",
            Self::Tick => "tick",
            Self::Settings => "settings",
            Self::Command => "command",
            Self::Heartbeat => "heartbeat",
            Self::Topology => "topology",
            Self::Row => "row",
            Self::Change => "change",
            Self::CommandResult => "command_result",
            Self::DeadLetter => "dead_letter",
            Self::Retried => "retried",
        }
    }

    /// Reads the word; what is not known counts as raw.
    #[must_use]
    pub fn parse(word: &[u8]) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word).unwrap_or_default()
    }
}

/// One record of a log, borrowed from the batch it came in.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Where it stands.
    pub offset: Offset,
    /// When it was appended (Muster's own topics) or what the publisher's topic says.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its bytes; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its further headers, read only where somebody asks; none where it cannot have any.
    pub headers: Option<&'a dyn Headed>,
}

/// What has headers.
pub trait Headed: fmt::Debug {
    /// Hands over each header, in order; the value may be empty.
    fn each(&self, sink: &mut dyn FnMut(&str, &[u8]));
}

impl<T: AsRef<[(String, Vec<u8>)]> + fmt::Debug> Headed for T {
    fn each(&self, sink: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in self.as_ref() {
            sink(name, value);
        }
    }
}

/// Where in a topic a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The partition that a well-spread number falls on (modulo the number of partitions).
    Hash(u64),
    /// Just this partition.
    Partition(u32),
}

impl Route {
    /// The partition out of `count`; a count of zero counts as one.
    #[must_use]
    pub fn partition(self, count: u32) -> u32 {
        match self {
            Self::Hash(hash) => u32::try_from(hash % u64::from(count.max(1))).unwrap_or_default(),
            Self::Partition(partition) => partition,
        }
    }
}

/// A record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub route: Route,
    /// What it is.
    pub kind: Kind,
    /// Its key; empty for none.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
    /// Further headers.
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

/// A row of a stage's state as it is now; no value: it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its stable id.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Option<Vec<u8>>,
}

/// What a stage hands out.
#[derive(Debug, Default)]
pub struct Output {
    /// Records, in order.
    pub records: Vec<Outgoing>,
    /// Changed rows.
    pub rows: Vec<Row>,
    /// What was counted.
    pub tally: Tally,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventOutcome {
    /// Sent on to correlate. On its way to the owner of its identity it is not counted.
    Forwarded,
    /// It says nothing new.
    Repeat,
    /// It is older than the newest of its identity.
    Late,
    /// Settings say that it does not count.
    Dropped,
    /// It was read and says nothing of an alert.
    Ignored,
    /// It could not be read.
    Rejected(Reason),
}

impl EventOutcome {
    /// How many there are.
    pub const COUNT: usize = 5 + Reason::ALL.len();

    /// Every outcome, in the order of `index`.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Forwarded, Self::Repeat, Self::Late, Self::Dropped, Self::Ignored]
            .into_iter()
            .chain(Reason::ALL.into_iter().map(Self::Rejected))
    }

    /// Its place among all outcomes.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Forwarded => 0,
            Self::Repeat => 1,
            Self::Late => 2,
            Self::Dropped => 3,
            Self::Ignored => 4,
            Self::Rejected(reason) => 5 + reason as usize,
        }
    }

    /// The metric's `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Repeat => "repeat",
            Self::Late => "late",
            Self::Dropped => "dropped",
            Self::Ignored => "ignored",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// Why a record or an event in it was set aside; the closed set behind dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No bytes at all.
    Empty,
    /// More bytes than a record may have.
    TooLarge,
    /// Objects or lists within each other deeper than the limit.
    TooDeep,
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The bytes are not JSON.
    NotJson,
    /// JSON, but neither an event, a list of events nor an `alerts` wrapper.
    NotAnEvent,
    /// `source` is missing.
    NoSource,
    /// `status` is missing.
    NoStatus,
    /// `status` is none of the known words.
    BadStatus,
    /// Neither `host` nor another primary property.
    NoPrimary,
    /// `timestamp` or `expires_at` is no time.
    BadTime,
    /// A field has the wrong type.
    BadField,
    /// More tags than an event may have.
    TooManyTags,
    /// A record of Muster's own topics that this version cannot read.
    BadRecord,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::Empty,
        Self::TooLarge,
        Self::TooDeep,
        Self::NotUtf8,
        Self::NotJson,
        Self::NotAnEvent,
        Self::NoSource,
        Self::NoStatus,
        Self::BadStatus,
        Self::NoPrimary,
        Self::BadTime,
        Self::BadField,
        Self::TooManyTags,
        Self::BadRecord,
    ];

    /// The word in headers, answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotAnEvent => "not_an_event",
            Self::NoSource => "no_source",
            Self::NoStatus => "no_status",
            Self::BadStatus => "bad_status",
            Self::NoPrimary => "no_primary",
            Self::BadTime => "bad_time",
            Self::BadField => "bad_field",
            Self::TooManyTags => "too_many_tags",
            Self::BadRecord => "bad_record",
        }
    }
}

/// What is open at a stage of correlate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Open {
    /// Alerts that fire.
    pub alerts: u64,
    /// Those of them that flap.
    pub flapping: u64,
    /// Those of them that are chronic.
    pub chronic: u64,
    /// Those of them that are in maintenance, or quiet after it.
    pub maintenance: u64,
    /// Incidents that are open.
    pub incidents: u64,
    /// Those of them of which nobody is told, since their patterns ask for more alerts.
    pub held: u64,
    /// Heartbeats that are watched, each value of one for itself.
    pub heartbeats: u64,
    /// Those of them that are missed.
    pub missed: u64,
}

/// What a stage counted since it last handed it out. Plain numbers; `telemetry` shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events by source (an index into the configured sources; the last is `other`) and outcome.
    pub events: Vec<[u64; EventOutcome::COUNT]>,
    /// By source, as above: how old the youngest event was as it arrived, by the time it stated, in
    /// milliseconds; less than 0 where the sender's clock is ahead. Only of sources that stated any.
    pub youngest: Vec<(usize, i64)>,
    /// Values that were cut, clamped or dropped to keep a limit, by `Limit`.
    pub limited: [u64; Limit::ALL.len()],
    /// Incident changes by kind.
    pub changes: [u64; ChangeKind::ALL.len()],
    /// Late events that reached correlate.
    pub late: u64,
    /// Identities in the suppression cache now; collect only.
    pub fingerprints: Option<u64>,
    /// What is open now; correlate only.
    pub open: Option<Open>,
    /// The append time of the input record behind each change that goes out with this output.
    pub change_causes: Vec<Timestamp>,
}

/// A limit that cut something short without losing the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// A tag or link value was cut.
    ValueCut,
    /// The description was cut.
    DescriptionCut,
    /// A timestamp too far ahead became the arrival.
    TimeClamped,
    /// A timestamp that says nothing (zero, negative, unreadable text) became the arrival.
    TimeUnread,
    /// A fingerprint was evicted for room.
    FingerprintEvicted,
    /// A remembered `ok` was dropped for room.
    OkForgotten,
    /// Pairs of a list-valued tag beyond the limit were left out.
    PairsCut,
    /// Alerts were left out of a change, which would have been too large with them.
    AlertsCut,
    /// The result of a command, or how to undo it, was dropped for room before its time.
    RequestsForgotten,
    /// How often an identity fires was forgotten for room.
    ChronicForgotten,
    /// The search for what is near an alert stopped at its bound.
    NearCut,
    /// A step of enrichment went wrong or found no room for a tag, and was left out.
    EnrichFailed,
    /// A heartbeat's beat was for a value for which there was no room.
    HeartbeatsFull,
    /// A beat was of no heartbeat that the settings in force name, or not as they have it.
    BeatUnknown,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 14] = [
        Self::ValueCut,
        Self::DescriptionCut,
        Self::TimeClamped,
        Self::TimeUnread,
        Self::FingerprintEvicted,
        Self::OkForgotten,
        Self::PairsCut,
        Self::AlertsCut,
        Self::RequestsForgotten,
        Self::ChronicForgotten,
        Self::NearCut,
        Self::EnrichFailed,
        Self::HeartbeatsFull,
        Self::BeatUnknown,
    ];

    /// The metric's `limit` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ValueCut => "value_cut",
            Self::DescriptionCut => "description_cut",
            Self::TimeClamped => "time_clamped",
            Self::TimeUnread => "time_unread",
            Self::FingerprintEvicted => "fingerprint_evicted",
            Self::OkForgotten => "ok_forgotten",
            Self::PairsCut => "pairs_cut",
            Self::AlertsCut => "alerts_cut",
            Self::RequestsForgotten => "requests_forgotten",
            Self::ChronicForgotten => "chronic_forgotten",
            Self::NearCut => "near_cut",
            Self::EnrichFailed => "enrich_failed",
            Self::HeartbeatsFull => "heartbeats_full",
            Self::BeatUnknown => "beat_unknown",
        }
    }
}

/// A stored row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row `{key}` cannot be read: {why}")]
pub struct RowError {
    /// The row's id.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// A fold over one partition.
pub trait Stage: Send {
    /// Takes back a row it once handed out. Rows come in any order, each at most once.
    ///
    /// # Errors
    /// When the row is of no known kind or version; the partition must then stop.
    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError>;

    /// All rows are back.
    ///
    /// # Errors
    /// When the rows do not fit each other; the partition must then stop.
    fn restored(&mut self) -> Result<(), RowError>;

    /// Takes the next record.
    fn apply(&mut self, slot: Slot, record: &Record<'_>, out: &mut Output);

    /// Hands out the rows that changed and the counts since the last call; the batch ends here.
    fn seal(&mut self, out: &mut Output);

    /// The next time at which something must happen though nothing arrives, by log time.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// Records for this stage's own input that tell it by which settings to go, where those
    /// in force are not the wanted ones. Asked after `restored`, and when others are wanted.
    fn opening(&mut self, slot: Slot) -> Vec<Outgoing>;
}
