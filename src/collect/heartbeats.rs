//! Notices beats among events: those that are forwarded and, above all, those that are not.
//!
//! Every event counts, whatever it says of its alert. Correlate is told of a beat at most once in
//! [`Heartbeat::kept_back`] by arrival, and once a batch; what was told is forgotten with the stage,
//! or at its bound, and is then only told again. Looking costs next to nothing where no heartbeat is
//! configured, and where they are, events of a content that was looked at lately are known by it.

use std::hash::Hasher;
use std::num::NonZeroU64;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::to_alerts;
use crate::model::heartbeat::VALUES_MAX;
use crate::model::index::HashedIndex;
use crate::model::matcher::Labels;
use crate::model::{Beat, Heartbeat, MatcherIndex, Span, Timestamp};
use crate::stage::{Kind, Outgoing};
use crate::wire;

/// How many beats are remembered in a stage; beyond it all are forgotten at once, and told again.
const TOLD_MAX: usize = 100_000;
/// How many contents; beyond it all are forgotten at once, and looked at again.
const CONTENTS_MAX: usize = 250_000;
/// How long the content of an event that is a beat of nothing is not looked at again.
const NOTHING: Span = Span::from_secs(300);

/// What must be heard of, and how it is found.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats {
    rules: Arc<[Heartbeat]>,
    index: Arc<MatcherIndex<usize>>,
}

impl PartialEq for Heartbeats {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Heartbeats {}

impl Heartbeats {
    /// All of these.
    #[must_use]
    pub fn new(rules: Vec<Heartbeat>) -> Self {
        let mut index = MatcherIndex::default();
        for (nth, rule) in rules.iter().enumerate() {
            index.insert(nth, &rule.matchers);
        }
        Self { rules: rules.into(), index: Arc::new(index) }
    }

    /// Each of them.
    #[must_use]
    pub fn rules(&self) -> &[Heartbeat] {
        &self.rules
    }
}

/// When something was told last: the arrival, and in which batch.
#[derive(Debug, Clone, Copy)]
struct Told {
    at: Timestamp,
    batch: u64,
    /// How long it is not told again.
    rests: Span,
}

impl Told {
    /// Arrivals may lie, ahead of this one as well as behind it: nothing rests for longer by them,
    /// and nothing is told more than once a batch.
    fn rests(self, arrival: Timestamp, batch: u64) -> bool {
        self.batch == batch || self.at.apart(arrival) < self.rests
    }
}

/// What correlate was told of lately.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    keys: (u64, u64),
    told: HashedIndex<Told>,
    contents: HashedIndex<Told>,
    batch: u64,
}

impl Noticed {
    /// Nothing was told yet; `keys` are a secret against senders who would steer this.
    pub(super) fn new(keys: (u64, u64)) -> Self {
        Self { keys, ..Self::default() }
    }

    /// A batch is over.
    pub(super) fn seal(&mut self) {
        self.batch = self.batch.wrapping_add(1);
    }

    /// Whether an event of this identity and content would be told now, for all that is known.
    pub(super) fn may_beat(&self, hash: u128, form: NonZeroU64, arrival: Timestamp) -> bool {
        let told = self.contents.get(&of_content(hash, form));
        told.is_none_or(|told| !told.rests(arrival, self.batch))
    }

    /// The records of what an event is a beat of, where correlate was not told lately.
    pub(super) fn beats(
        &mut self,
        heartbeats: &Heartbeats,
        labels: &impl Labels,
        (hash, form): (u128, NonZeroU64),
        arrival: Timestamp,
    ) -> Vec<Outgoing> {
        if self.contents.len() >= CONTENTS_MAX {
            self.contents = HashedIndex::default();
        }
        let mut records = Vec::new();
        let mut rests = NOTHING;
        for nth in heartbeats.index.candidates(labels) {
            let rule = &heartbeats.rules[nth];
            if !rule.matchers.matches(labels) {
                continue;
            }
            rests = rests.min(rule.kept_back());
            let values: Vec<&str> = match rule.each.as_deref() {
                None => vec![""],
                Some(each) => labels.values(each).iter().take(VALUES_MAX).collect(),
            };
            // An event that lacks the tag is a beat of nothing.
            let values =
                values.into_iter().filter(|value| rule.each.is_none() || !value.is_empty());
            for value in values {
                if self.is_due(rule, value, arrival) {
                    records.push(record(rule, value, rule.kept_back()));
                }
            }
        }
        let told = Told { at: arrival, batch: self.batch, rests };
        self.contents.insert(of_content(hash, form), told);
        records
    }

    /// Whether correlate is to be told of a beat; it counts as told then.
    fn is_due(&mut self, rule: &Heartbeat, value: &str, arrival: Timestamp) -> bool {
        if self.told.len() >= TOLD_MAX {
            self.told = HashedIndex::default();
        }
        let key = of_value(self.keys, &rule.name, value);
        let (batch, rests) = (self.batch, rule.kept_back());
        if self.told.get(&key).is_some_and(|told| told.rests(arrival, batch)) {
            return false;
        }
        self.told.insert(key, Told { at: arrival, batch, rests });
        true
    }
}

/// The record of a beat; `kept_back` is how long further ones are.
#[must_use]
pub fn record(rule: &Heartbeat, value: &str, kept_back: Span) -> Outgoing {
    let beat = Beat::Of { name: rule.name.clone(), value: value.into(), kept_back };
    to_alerts(&rule.shard, Kind::Heartbeat, wire::heartbeat::encode(&beat))
}

/// What knows an event's content: the identity's hash is a keyed one, and so is that of the form.
fn of_content(hash: u128, form: NonZeroU64) -> u128 {
    hash ^ (u128::from(form.get()) << 1)
}

fn of_value(keys: (u64, u64), name: &str, value: &str) -> u128 {
    let half = |key: u64| {
        let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1 ^ key);
        for part in [name, value] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}
