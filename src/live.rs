//! Settings that may be replaced while others go by them.
//!
//! Whoever goes by them asks for what holds now, or notices by the version that something else does,
//! and may say so, for who wants to wait for that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A value that can be replaced; clones share it.
#[derive(Debug)]
pub struct Live<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    value: Mutex<Arc<T>>,
    version: AtomicU64,
    /// The version that whoever goes by it goes by; the highest number while nobody said.
    applied: AtomicU64,
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Live<T> {
    /// With a first value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Inner {
            value: Mutex::new(Arc::new(value)),
            version: AtomicU64::new(0),
            applied: AtomicU64::new(u64::MAX),
        }))
    }

    /// Puts another value in its place.
    pub fn set(&self, value: T) {
        *self.0.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        // After the value: who sees the new version finds the new value, or a later one.
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// Whoever goes by the value goes by this version now.
    pub fn apply(&self, version: u64) {
        self.0.applied.store(version, Ordering::Release);
    }

    /// Whether whoever goes by the value, if anybody does, goes by the present version.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.0.applied.load(Ordering::Acquire) >= self.version()
    }

    /// What holds now.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often the value was replaced. Ask before `get`, so that no change is missed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }
}
