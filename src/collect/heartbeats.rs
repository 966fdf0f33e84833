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
        // Looked at again once the first of its beats may be told again.
        let mut next = Told { at: arrival, batch: self.batch, rests: NOTHING };
        for nth in heartbeats.index.candidates(labels) {
            let rule = &heartbeats.rules[nth];
            if !rule.matchers.matches(labels) {
                continue;
            }
            let values: Vec<&str> = match rule.each.as_deref() {
                None => vec![""],
                Some(each) => labels.values(each).iter().take(VALUES_MAX).collect(),
            };
            // An event that lacks the tag is a beat of nothing.
            let values =
                values.into_iter().filter(|value| rule.each.is_none() || !value.is_empty());
            for value in values {
                let (last, is_now) = self.last(rule, value, arrival);
                if is_now {
                    records.push(record(rule, value, rule.kept_back()));
                }
                if last.at + last.rests < next.at + next.rests {
                    next = last;
                }
            }
        }
        self.contents.insert(of_content(hash, form), next);
        records
    }

    /// When correlate was told of a beat last, and whether that is now.
    fn last(&mut self, rule: &Heartbeat, value: &str, arrival: Timestamp) -> (Told, bool) {
        if self.told.len() >= TOLD_MAX {
            self.told = HashedIndex::default();
        }
        let key = of_value(self.keys, &rule.name, value);
        let (batch, rests) = (self.batch, rule.kept_back());
        if let Some(told) = self.told.get(&key).filter(|told| told.rests(arrival, batch)) {
            return (*told, false);
        }
        let told = Told { at: arrival, batch, rests };
        self.told.insert(key, told);
        (told, true)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Matchers, Status, TagValue, Tags};

    fn rule(name: &str, matcher: &str, each: Option<&str>) -> Heartbeat {
        Heartbeat {
            name: name.into(),
            every: Span::from_secs(40),
            grace: Span::ZERO,
            matchers: Matchers::parse([matcher]).expect("a matcher"),
            each: each.map(Into::into),
            each_max: 10,
            schedule: None,
            status: Status::Critical,
            shard: "default".into(),
            tags: Tags::default(),
            forget_after: Span::ZERO,
        }
    }

    fn tags(all: &[(&str, TagValue)]) -> Tags {
        let mut tags = Tags::default();
        all.iter().for_each(|(name, value)| tags.set(name, value.clone()));
        tags
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    /// What is told of one event: names and values.
    fn told(
        noticed: &mut Noticed,
        heartbeats: &Heartbeats,
        labels: &Tags,
        (who, content): (u128, u64),
        second: i64,
    ) -> Vec<String> {
        let known = (who, NonZeroU64::new(content).expect("not zero"));
        if !noticed.may_beat(known.0, known.1, at(second)) {
            return Vec::new();
        }
        let records = noticed.beats(heartbeats, labels, known, at(second));
        let beat = |record: &Outgoing| match wire::heartbeat::decode(&record.value) {
            Ok(Beat::Of { name, value, kept_back }) => {
                assert_eq!(kept_back, Span::from_secs(10));
                format!("{name}:{value}")
            }
            other => format!("{other:?}"),
        };
        records.iter().map(beat).collect()
    }

    #[test]
    fn a_beat_is_told_once_in_a_quarter_of_its_time_and_once_a_batch() {
        let heartbeats = Heartbeats::new(vec![rule("all", "x=y", None)]);
        let labels = tags(&[("x", TagValue::one("y"))]);
        let mut noticed = Noticed::new((1, 2));
        let tell = |noticed: &mut Noticed, who, second| {
            told(noticed, &heartbeats, &labels, (who, 7), second)
        };
        assert_eq!(tell(&mut noticed, 1, 100), ["all:"]);
        noticed.seal();
        assert!(tell(&mut noticed, 1, 109).is_empty(), "so soon");
        assert!(tell(&mut noticed, 2, 109).is_empty(), "also by another identity");
        noticed.seal();
        assert_eq!(tell(&mut noticed, 2, 110), ["all:"]);
        noticed.seal();
        assert!(tell(&mut noticed, 3, 115).is_empty(), "looked at, and known");
        assert_eq!(
            tell(&mut noticed, 3, 121),
            ["all:"],
            "due by now, in the batch it was looked at"
        );
        assert!(tell(&mut noticed, 1, 200).is_empty(), "not twice a batch, whatever arrivals are");
        noticed.seal();
        assert_eq!(tell(&mut noticed, 1, 50), ["all:"], "a clock that was ahead does not mute");
    }

    #[test]
    fn each_value_of_a_list_is_a_beat_and_no_value_is_none() {
        let heartbeats =
            Heartbeats::new(vec![rule("each", "x=y", Some("az")), rule("other", "x=z", None)]);
        let list = TagValue::List(["a".into(), "b".into()].into());
        let both = tags(&[("x", TagValue::one("y")), ("az", list)]);
        let mut noticed = Noticed::new((1, 2));
        let beats = told(&mut noticed, &heartbeats, &both, (1, 1), 0);
        assert_eq!(beats, ["each:a", "each:b"]);
        let bare = tags(&[("x", TagValue::one("y"))]);
        assert!(told(&mut noticed, &heartbeats, &bare, (2, 1), 0).is_empty());
    }

    #[test]
    fn another_content_of_an_identity_is_looked_at() {
        let heartbeats = Heartbeats::new(vec![rule("all", "x=y", None)]);
        let mut noticed = Noticed::new((1, 2));
        let of = |value: &str| tags(&[("x", TagValue::one(value))]);
        assert!(told(&mut noticed, &heartbeats, &of("z"), (1, 1), 0).is_empty());
        assert_eq!(told(&mut noticed, &heartbeats, &of("y"), (1, 2), 1), ["all:"]);
        let known = NonZeroU64::new(1).expect("not zero");
        assert!(
            !noticed.may_beat(1, known, at(250)),
            "a beat of nothing is not looked at for long"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let heartbeats = Heartbeats::new(vec![rule("each", "x=y", Some("az"))]);
        let mut noticed = Noticed::new((1, 2));
        for nth in 0..TOLD_MAX + 10 {
            let value = TagValue::one(&nth.to_string());
            let labels = tags(&[("x", TagValue::one("y")), ("az", value)]);
            assert_eq!(told(&mut noticed, &heartbeats, &labels, (nth as u128, 1), 0).len(), 1);
        }
        assert!(noticed.told.len() <= TOLD_MAX && noticed.contents.len() <= CONTENTS_MAX);
    }
}
