//! A hash map whose order cannot be seen.
//!
//! Its hasher is seeded at random, so that senders cannot flood it with colliding keys; since it
//! cannot be iterated, the seed never shows in what a stage says, and a replay gives the same bytes.

use std::borrow::Borrow;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

/// A hash map without iteration: get, insert, remove, count.
#[derive(Debug, Clone)]
#[expect(clippy::disallowed_types, reason = "the one place where the order is hidden")]
pub struct Index<K, V, S = RandomState>(std::collections::HashMap<K, V, S>);

/// For keys that are themselves a keyed hash: takes their last eight bytes as they are.
pub type HashedIndex<V> = Index<u128, V, BuildHasherDefault<AsIs>>;

/// Hashes a number by taking it as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
    }
}

impl<K, V, S: Default> Default for Index<K, V, S> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Index<K, V, S> {
    /// Sets the value of a key and hands back the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Takes a key out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    /// The value to change, made by `default` where the key is new.
    pub fn entry_or(&mut self, key: K, default: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(default)
    }

    /// The value of a key, to change.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// The value of a key.
    #[must_use]
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// Whether the key is there.
    #[must_use]
    pub fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
