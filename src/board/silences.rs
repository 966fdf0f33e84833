//! The silences as they stand, read whole from their topic by every instance that tells or shows.
//!
//! [`Silences`] is the read model: what is pending or active is indexed, what expired is kept for a
//! while. [`Watch`] keeps it current and deletes what was kept long enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::clock::{SharedClock, Stopwatch};
use crate::journal::{Batch, Class, Followed, From, Journal, JournalError};
use crate::model::silence::{SilenceSettings, SilenceState};
use crate::model::{Member, Silence, SilenceId, SilenceIndex, Span, Timestamp};
use crate::shutdown::Shutdown;
use crate::stage::{Route, Row, Topic};
use crate::telemetry::{Health, Metrics};
use crate::wire;

/// The part's name in health, and the `group` label of what it cannot read.
const PART: &str = "silences";
/// Short: a notice waits until this has looked once after the incident was read.
const POLL: Duration = Duration::from_millis(20);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How much longer than it is shown an expired silence's row stays, so that an edit of it that is
/// on its way is never followed by its deletion.
const GRACE: Span = Span::from_secs(600);
/// How many are deleted at a time.
const TIDY_MAX: usize = 1_000;

/// The silences as they stand.
#[derive(Default)]
pub struct Silences {
    inner: RwLock<Inner>,
    loaded: AtomicBool,
    as_of: AtomicI64,
}

#[derive(Default)]
struct Inner {
    all: BTreeMap<SilenceId, Arc<Silence>>,
    /// What is not over yet.
    live: SilenceIndex,
    /// When what is live ends.
    ends: BTreeSet<(Timestamp, SilenceId)>,
}

impl Inner {
    fn set(&mut self, now: Timestamp, id: SilenceId, silence: Option<Arc<Silence>>) {
        if let Some(before) = self.all.remove(&id) {
            self.end(&before);
        }
        let Some(silence) = silence else { return };
        if silence.state(now) != SilenceState::Expired {
            self.live.insert(Arc::clone(&silence));
            self.ends.insert((silence.ends_at, id));
        }
        self.all.insert(id, silence);
    }

    fn end(&mut self, silence: &Silence) {
        if self.ends.remove(&(silence.ends_at, silence.id)) {
            self.live.remove(silence);
        }
    }
}

impl Silences {
    /// Takes all rows in place of what was known.
    pub fn load(&self, now: Timestamp, all: BTreeMap<SilenceId, Silence>) {
        let mut fresh = Inner::default();
        for (id, silence) in all {
            fresh.set(now, id, Some(Arc::new(silence)));
        }
        self.write(|inner| *inner = fresh);
        self.loaded.store(true, Ordering::Release);
    }

    /// A row is this from now on; none: it is gone.
    pub fn set(&self, now: Timestamp, id: SilenceId, silence: Option<Silence>) {
        self.write(|inner| inner.set(now, id, silence.map(Arc::new)));
    }

    /// Time has come to `now`: what has ended is held against no alert any more.
    pub fn advance(&self, now: Timestamp) {
        let due = self.read(|inner| inner.ends.first().is_some_and(|(at, _)| *at <= now));
        if !due {
            return;
        }
        self.write(|inner| {
            while let Some((_, id)) = inner.ends.first().copied().filter(|(at, _)| *at <= now) {
                let Some(silence) = inner.all.get(&id).cloned() else { break };
                inner.end(&silence);
            }
        });
    }

    /// Everything that was durable by this time is known.
    pub fn current_as_of(&self, at: Timestamp) {
        self.as_of.fetch_max(at.as_millis(), Ordering::Relaxed);
    }

    /// Up to when everything durable is known.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        Timestamp::from_millis(self.as_of.load(Ordering::Relaxed))
    }

    /// Whether they were read once.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Whether none is pending or active.
    #[must_use]
    pub fn none_live(&self) -> bool {
        self.read(|inner| inner.live.is_empty())
    }

    /// The silences that mute an alert, each with its end.
    #[must_use]
    pub fn muting(&self, alert: &Member, now: Timestamp) -> Vec<(SilenceId, Timestamp)> {
        self.read(|inner| {
            let (muting, _) = inner.live.muting(alert, now);
            muting.into_iter().map(|silence| (silence.id, silence.ends_at)).collect()
        })
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: SilenceId) -> Option<Arc<Silence>> {
        self.read(|inner| inner.all.get(&id).cloned())
    }

    /// All of them, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Silence>> {
        self.read(|inner| inner.all.values().cloned().collect())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read(|inner| inner.all.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read<T>(&self, with: impl FnOnce(&Inner) -> T) -> T {
        with(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, with: impl FnOnce(&mut Inner) -> T) -> T {
        with(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything that keeping them current takes.
pub struct Watch {
    /// Where the rows are.
    pub journal: Arc<dyn Journal>,
    /// What is kept current.
    pub silences: Arc<Silences>,
    /// What holds them to their bounds.
    pub settings: SilenceSettings,
    /// The time of day.
    pub clock: SharedClock,
    /// Learns of trouble.
    pub health: Health,
    /// Counts them.
    pub metrics: Metrics,
    /// Ends it.
    pub stop: Shutdown,
}

impl Watch {
    /// Follows on this thread until it is told to stop.
    ///
    /// # Errors
    /// When the journal is beyond repair from here.
    pub fn run(self) -> Result<(), JournalError> {
        self.health.bad(PART, "the silences are being loaded");
        let mut pause = RETRY_MIN;
        while !self.stop.is_begun() {
            let Err(failure) = self.follow(&mut pause) else { break };
            self.health.bad(PART, failure.to_string());
            if failure.class == Class::Fatal {
                error!(error = %failure, "silences given up");
                return Err(failure);
            }
            warn!(error = %failure, "silences are not current, beginning anew");
            if self.stop.wait_for(pause) {
                break;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
        Ok(())
    }

    fn follow(&self, pause: &mut Duration) -> Result<(), JournalError> {
        let mut rows = self.journal.follow(Topic::Silences, From::Beginning)?;
        let mut loading = Some(BTreeMap::new());
        let mut tidied = Stopwatch::start();
        while !self.stop.is_begun() {
            let asked_at = self.clock.now();
            match rows.poll(POLL)? {
                Followed::Batch(batch) => self.take(&batch, &mut loading),
                Followed::CaughtUp => {
                    let all = loading.take().unwrap_or_default();
                    info!(silences = all.len(), "silences loaded");
                    self.silences.load(asked_at, all);
                    self.show();
                }
                Followed::Idle if loading.is_none() => {
                    self.silences.current_as_of(asked_at);
                    self.health.good(PART);
                    *pause = RETRY_MIN;
                }
                Followed::Idle => {}
            }
            self.silences.advance(self.clock.now());
            if tidied.elapsed() >= TIDY_EVERY {
                tidied = Stopwatch::start();
                self.tidy()?;
            }
        }
        Ok(())
    }

    fn take(&self, batch: &Batch, loading: &mut Option<BTreeMap<SilenceId, Silence>>) {
        let now = self.clock.now();
        for index in 0..batch.len() {
            let (slot, record) = batch.get(index);
            let read = wire::silence::decode(record.key.unwrap_or_default(), record.value);
            let (id, silence) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.metrics.unreadable.with_label_values(&[PART]).inc();
                    let (partition, offset) = (slot.partition, record.offset.0);
                    error!(partition, offset, %error, "a silence cannot be read and mutes nothing");
                    continue;
                }
            };
            match (loading.as_mut(), silence) {
                (Some(all), Some(silence)) => drop(all.insert(id, silence)),
                (Some(all), None) => drop(all.remove(&id)),
                (None, silence) => self.silences.set(now, id, silence),
            }
        }
        if loading.is_none() {
            self.show();
        }
    }

    /// Deletes what was kept long enough; every instance does, which does no harm.
    fn tidy(&self) -> Result<(), JournalError> {
        self.show();
        let gone_by = self.clock.now() - self.settings.keep - GRACE;
        let old = self.silences.all().into_iter().filter(|silence| silence.ends_at < gone_by);
        let rows: Vec<(Route, Row)> =
            old.take(TIDY_MAX).map(|old| (route(old.id), row(old.id, None))).collect();
        if rows.is_empty() { Ok(()) } else { self.journal.appender()?.put(Topic::Silences, rows) }
    }

    fn show(&self) {
        let now = self.clock.now();
        let all = self.silences.all();
        for state in SilenceState::ALL {
            let count = all.iter().filter(|silence| silence.state(now) == state).count();
            let gauge = self.metrics.silences.with_label_values(&[state.as_str()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

pub(super) fn route(id: SilenceId) -> Route {
    Route::Hash(id.spread())
}

pub(super) fn row(id: SilenceId, value: Option<Vec<u8>>) -> Row {
    Row { key: id.to_string().into_bytes(), value }
}
