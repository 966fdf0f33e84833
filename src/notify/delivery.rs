//! One attempt to say what an incident is, and what came of it.
//!
//! Everything in here is derived from (incident, receiver, revision) and settings alone: an attempt
//! that is repeated, after a failure or a crash, carries the same id and the same bytes.

use std::hash::Hasher;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use super::Settings;
use crate::model::{Change, IncidentId, Span};

/// The longest `Retry-After` that is honoured.
pub const RETRY_AFTER_MAX: Span = Span::from_secs(3_600);

/// What is said to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The incident.
    pub incident: IncidentId,
    /// The receiver's name.
    pub receiver: Arc<str>,
    /// The revision of the incident that is told.
    pub revision: u64,
}

impl DeliveryId {
    /// The idempotency key: the same for every attempt to tell this revision to this receiver.
    #[must_use]
    pub fn key(&self) -> String {
        let text = format!("{}/{}/{}", self.incident, self.revision, self.receiver);
        let digest = Sha256::digest(text.as_bytes());
        let hex = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
        "msg_".to_owned() + &hex.collect::<String>()
    }
}

/// One attempt to tell a receiver what an incident is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is said to whom.
    pub id: DeliveryId,
    /// The incident as it is, with the kinds and alerts since the receiver was last told.
    pub change: Change,
    /// How many attempts failed before this one.
    pub failed: u32,
    /// What the receiver asked to have remembered of the incident, in a form of its own.
    pub handle: Option<Box<str>>,
}

/// The longest handle that is remembered, in bytes.
pub const HANDLE_MAX: usize = 4_096;

/// What came of an attempt, and what is to be remembered of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What came of it.
    pub outcome: Outcome,
    /// What stands for the incident at the receiver, such as the number of a message or an issue, in
    /// a form of the receiver's own; none: what was remembered stays. At most [`HANDLE_MAX`] bytes.
    pub handle: Option<Box<str>>,
}

impl From<Outcome> for Report {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, handle: None }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// It did not work out this time.
    Retry {
        /// The wait that the receiver asked for.
        after: Option<Span>,
        /// What went wrong.
        why: String,
    },
    /// The receiver will never take this.
    SetAside {
        /// What the receiver answered.
        why: String,
    },
}

impl Outcome {
    /// Every value of the metric's `outcome` label.
    pub const WORDS: [&'static str; 3] = ["delivered", "retried", "set_aside"];

    /// The metric's `outcome` label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => Self::WORDS[0],
            Self::Retry { .. } => Self::WORDS[1],
            Self::SetAside { .. } => Self::WORDS[2],
        }
    }
}

/// The wait after the `failed`th failure in a row: doubling from `retry_min` to `retry_max`, of which
/// the upper half is jitter; or what the receiver asked for, if that is not below `retry_min`.
#[must_use]
pub fn backoff(settings: &Settings, id: &DeliveryId, failed: u32, asked: Option<Span>) -> Span {
    let (min, max) = (settings.retry_min.as_millis(), settings.retry_max.as_millis());
    if let Some(asked) = asked {
        return Span::from_millis(asked.min(RETRY_AFTER_MAX).as_millis().max(min));
    }
    let doubled = 1_i64.checked_shl(failed.saturating_sub(1)).filter(|factor| *factor > 0);
    let full = doubled.and_then(|factor| min.checked_mul(factor)).unwrap_or(max).min(max);
    // Half is certain, so that a receiver in trouble gets its rest; half is spread, so that those
    // who failed together do not come back together.
    let mut hasher = SipHasher24::new_with_keys(settings.seed, u64::from(failed));
    hasher.write(id.key().as_bytes());
    let spread = (full - full / 2).unsigned_abs() + 1;
    let jitter = i64::try_from(hasher.finish() % spread).expect("less than half of an i64");
    Span::from_millis(full / 2 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::sample;

    #[test]
    fn the_key_is_fixed_for_ever_and_differs_by_each_part() {
        let id =
            DeliveryId { incident: sample::incident(1), receiver: "oncall".into(), revision: 3 };
        assert_eq!(id.key(), id.key());
        assert_eq!(id.key().len(), 36);
        let others = [
            DeliveryId { incident: sample::incident(2), ..id.clone() },
            DeliveryId { receiver: "other".into(), ..id.clone() },
            DeliveryId { revision: 4, ..id.clone() },
        ];
        assert!(others.iter().all(|other| other.key() != id.key()));
        let known =
            DeliveryId { incident: IncidentId::MIN, receiver: "oncall".into(), revision: 1 };
        assert_eq!(known.key(), KNOWN, "receivers recognise repeats by it, over upgrades too");
    }

    const KNOWN: &str = "msg_279dac2474ad06fdf7b74e4a2cbb7c6d";

    #[test]
    fn waits_double_up_to_the_limit_and_spread() {
        let settings = sample::settings(&["a"]);
        let id = DeliveryId { incident: sample::incident(1), receiver: "a".into(), revision: 3 };
        let (min, max) = (settings.retry_min.as_millis(), settings.retry_max.as_millis());
        for failed in 1..80 {
            let full = min.saturating_mul(1 << (failed - 1).min(40)).min(max);
            let wait = backoff(&settings, &id, failed, None).as_millis();
            assert!((full / 2..=full).contains(&wait), "{failed}: {wait} of {full}");
            assert_eq!(wait, backoff(&settings, &id, failed, None).as_millis());
        }
        let waits: std::collections::BTreeSet<_> = (0..20)
            .map(|n| DeliveryId { incident: sample::incident(n), ..id.clone() })
            .map(|id| backoff(&settings, &id, 5, None))
            .collect();
        assert!(waits.len() > 10, "no jitter: {waits:?}");
    }

    #[test]
    fn what_the_receiver_asks_for_is_honoured_within_bounds() {
        let settings = sample::settings(&["a"]);
        let id = DeliveryId { incident: sample::incident(1), receiver: "a".into(), revision: 3 };
        let wait = |secs| backoff(&settings, &id, 1, Some(Span::from_secs(secs)));
        assert_eq!(wait(30), Span::from_secs(30));
        assert_eq!(wait(86_400), RETRY_AFTER_MAX);
        assert_eq!(wait(0), settings.retry_min, "no hot loop");
    }
}
