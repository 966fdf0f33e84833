//! What collect forwards to correlate about one identity.

use super::event::{Event, Identity};
use super::time::{Span, Timestamp};

/// The refresh period of an alert that lives for `span` without a word: a quarter of it, at least
/// one minute, at most ten.
#[must_use]
pub fn refresh_every(span: Span) -> Span {
    span.part(4).clamp(Span::MINUTE, Span::from_millis(600_000))
}

/// What collect saw of an identity without forwarding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// How many events.
    pub repeats: u64,
    /// The newest of their times, and when that one loses its force; none where collect knows of
    /// no earlier event.
    pub newest: Option<(Timestamp, Timestamp)>,
}

/// An event that changes something, or is due to be told again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The set of alerts it may correlate with.
    pub shard: Box<str>,
    /// How long the alert lives without a further event, unless the event says so itself.
    pub expire_after: Span,
    /// What came since the last update and was not forwarded, this event not counted.
    pub seen: Seen,
    /// The event.
    pub event: Event,
}

impl Update {
    /// When the event loses its force, by event time.
    #[must_use]
    pub fn alive_until(&self) -> Timestamp {
        alive_until(self.event.timestamp, self.event.expires_at, self.expire_after)
    }
}

/// When an event loses its force, by event time; never before the event itself.
#[must_use]
pub fn alive_until(
    timestamp: Timestamp,
    expires_at: Option<Timestamp>,
    expire_after: Span,
) -> Timestamp {
    match expires_at {
        Some(at) => at.max(timestamp),
        None => timestamp + expire_after,
    }
}

/// The last word on an identity that collect must forget for room: only what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Which one.
    pub identity: Identity,
    /// What was seen.
    pub seen: Seen,
}
