//! Whether each part of the process can do its work, and if not, why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The state of every part, shared by all.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Health {
    /// The part does its work.
    pub fn good(&self, part: &str) {
        self.set(part, None);
    }

    /// The part cannot do its work, for this reason.
    pub fn bad(&self, part: &str, why: impl Into<String>) {
        self.set(part, Some(why.into()));
    }

    /// The parts that cannot do their work, with the reason; none where all is well.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<String, String> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter_map(|(part, why)| Some((part.clone(), why.clone()?))).collect()
    }

    fn set(&self, part: &str, why: Option<String>) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match parts.get_mut(part) {
            Some(known) => *known = why,
            None => {
                parts.insert(part.to_owned(), why);
            }
        }
    }
}
