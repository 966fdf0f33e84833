//! Stage 1: bytes to canonical events, and of those only what correlate does not know yet.

use std::sync::Arc;

use crate::model::Span;

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
