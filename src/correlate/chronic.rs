//! Remembers how often each identity began to fire, so that what fires steadily is known as chronic.
//!
//! An episode is the beginning of an alert or its reopening: a check that goes to and fro around its
//! threshold is one alert all day, and just what is meant. While an alert flaps it does not reopen,
//! so that it counts no more until it is calm. Whether an alert is chronic is decided as it begins,
//! and stays. The number of identities is bounded; who was silent for long is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ChronicSettings, Identity, Rate, Timestamp};
use crate::stage::Row;
use crate::wire::{rate, row};

/// The rates of identities that fired lately.
#[derive(Debug, Default)]
pub(super) struct Rates {
    known: BTreeMap<Identity, Rate>,
    by_age: BTreeSet<(Timestamp, Identity)>,
    dirty: BTreeSet<Identity>,
    dropped: u64,
}

impl Rates {
    /// Counts an episode; whether the identity is chronic with it.
    pub(super) fn count(
        &mut self,
        settings: ChronicSettings,
        now: Timestamp,
        identity: &Identity,
        at: Timestamp,
    ) -> bool {
        if settings.episodes == 0 {
            return false;
        }
        let known = self.remove(identity);
        let mut rate = known.unwrap_or_else(|| Rate::new(identity.clone(), at));
        rate.count(at, settings.of);
        rate.appended_at = now;
        let chronic = rate.is_chronic(settings);
        self.restore(rate);
        self.dirty.insert(identity.clone());
        while self.known.len() > settings.identities_max {
            let Some((_, oldest)) = self.by_age.first().cloned() else { break };
            self.remove(&oldest);
            self.dropped += 1;
        }
        chronic
    }

    /// Forgets who was silent for so long that no day counts any more.
    pub(super) fn forget(&mut self, settings: ChronicSettings, now: Timestamp) {
        while let Some((appended_at, identity)) = self.by_age.first() {
            if *appended_at + settings.memory() >= now {
                break;
            }
            let identity = identity.clone();
            self.remove(&identity);
        }
    }

    /// Takes a row back.
    pub(super) fn restore(&mut self, rate: Rate) {
        self.by_age.insert((rate.appended_at, rate.identity.clone()));
        self.known.insert(rate.identity.clone(), rate);
    }

    /// The rows that changed since the last call.
    pub(super) fn take_rows(&mut self) -> impl Iterator<Item = Row> {
        std::mem::take(&mut self.dirty).into_iter().map(|identity| Row {
            key: row::rate_key(&identity),
            value: self.known.get(&identity).map(rate::encode),
        })
    }

    /// Takes the number of identities dropped for room.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn remove(&mut self, identity: &Identity) -> Option<Rate> {
        let rate = self.known.remove(identity)?;
        self.by_age.remove(&(rate.appended_at, rate.identity.clone()));
        self.dirty.insert(rate.identity.clone());
        Some(rate)
    }
}
