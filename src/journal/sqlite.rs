//! The embedded journal: SQLite, one process, one data directory.

use std::path::PathBuf;

use crate::model::Span;

/// What the embedded journal goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The data directory; made if missing.
    pub path: PathBuf,
    /// How long events that collect forwarded are kept (default 7 d).
    pub keep_alerts: Span,
    /// How long incident changes and dead letters are kept (default 30 d).
    pub keep_incidents: Span,
    /// The size at which the oldest read records go first, in bytes (default 4 GiB).
    pub max_bytes: u64,
}
