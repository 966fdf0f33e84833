//! Why nobody is told of an incident: the patterns that hold it ask for more alerts than it has.

use super::time::Timestamp;

/// How many patterns that ask, and how many that asked, a change names at most.
pub const ASKS_MAX: usize = 20;

/// How many alerts a pattern asks for, and until when it is waited for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The name of the pattern.
    pub pattern: Box<str>,
    /// How many alerts it asked for when the wait began.
    pub min_alerts: u32,
    /// By log time, inclusive: when its window was over.
    pub until: Timestamp,
}

/// Nobody is told of an incident, since each pattern that holds it asks for more alerts than it
/// has, or did so until its window was over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hold {
    /// The patterns that ask; none once all were waited for in vain.
    pub asks: Vec<Ask>,
    /// The patterns that were waited for in vain, by name; its alerts are not held against them
    /// again.
    pub lapsed: Vec<Box<str>>,
}
