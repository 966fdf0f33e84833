//! What a system that pages calls each status, from a set of words of its own.

use crate::model::Status;

/// A word for each status that is told; `ok`, which is never told as a problem, is as `info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByStatus {
    /// Of `critical`.
    pub critical: &'static str,
    /// Of `warning`.
    pub warning: &'static str,
    /// Of `unknown`.
    pub unknown: &'static str,
    /// Of `info`.
    pub info: &'static str,
}

impl ByStatus {
    /// The word of a status.
    #[must_use]
    pub const fn of(&self, status: Status) -> &'static str {
        match status {
            Status::Critical => self.critical,
            Status::Warning => self.warning,
            Status::Unknown => self.unknown,
            Status::Info | Status::Ok => self.info,
        }
    }
}
