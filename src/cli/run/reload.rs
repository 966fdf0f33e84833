//! Puts a config that was read anew into force, part by part, while everything runs.
//!
//! All or nothing: a config with a mistake changes nothing. What cannot change while it runs is
//! named, and stays as it was at the start until the next one.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::absence::Outwards;
use crate::api::reload::{NotReloaded, Reloaded};
use crate::board::Board;
use crate::clock::{SharedClock, Stopwatch};
use crate::collect::{Collect, to_alerts};
use crate::config::{Config, ConfigError};
use crate::correlate::Correlate;
use crate::live::Live;
use crate::model::{CorrelateSettings, Topology};
use crate::notify::receiver::log::Lines;
use crate::stage::{Kind, Outgoing, Slot, Stage};
use crate::telemetry::{Metrics, logs};
use crate::worker::{Renew, deliver};
use crate::{api, collect, notify};

/// Reads the config again, from where it was read first.
pub type Reread = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// What the parts of a process go by now.
#[derive(Clone)]
pub(super) struct InForce {
    pub(super) collect: Live<collect::Settings>,
    pub(super) correlate: Live<CorrelateSettings>,
    pub(super) notify: Live<notify::Settings>,
    pub(super) api: Live<api::Settings>,
    pub(super) heartbeat: Live<Option<Outwards>>,
    /// What the topology's topic holds, where there is one: it takes the place of any other, and is
    /// held while correlate's settings are replaced.
    topology: Arc<Mutex<Option<Topology>>>,
    /// Where it runs: what goes by the rules of inhibition.
    pub(super) board: Arc<OnceLock<Arc<Board>>>,
}

impl InForce {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            collect: Live::new(config.collect()),
            correlate: Live::new(config.correlate()),
            notify: Live::new(config.notify()),
            api: Live::new(config.api()),
            heartbeat: Live::new(config.heartbeat()),
            topology: Arc::default(),
            board: Arc::default(),
        }
    }
}

impl InForce {
    /// Has correlate go by a config, with the topology of the topic.
    fn correlate_by(&self, config: &Config) {
        let held = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settings = config.correlate();
        match &*held {
            Some(topology) => settings.topology = Some(topology.clone()),
            // A topic is read from the next start on.
            None if config.topology_topic().is_some() => {
                settings.topology = self.correlate.get().topology.clone();
            }
            None => {}
        }
        self.correlate.set(settings);
    }

    /// Has correlate go by a topology that its topic holds; waits a moment until it does.
    pub(super) fn topology_by(&self, topology: Topology) {
        let mut held = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settings = CorrelateSettings::clone(&self.correlate.get());
        settings.topology = Some(topology.clone());
        *held = Some(topology);
        self.correlate.set(settings);
        drop(held);
        self.correlate_applied();
    }

    fn correlate_applied(&self) {
        let since = Stopwatch::start();
        while !self.correlate.is_applied() {
            if since.elapsed() > APPLIED_WAIT {
                warn!("correlate is busy; its settings come into force a little later");
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Settings as a partition of correlate's log has them: of heartbeats those of its shards.
pub(super) fn of_partition(
    settings: &CorrelateSettings,
    (partition, of): (u32, u32),
) -> CorrelateSettings {
    let mut settings = settings.clone();
    let mine = |shard: &str| to_alerts(shard, Kind::Heartbeat, Vec::new()).route.partition(of);
    settings.heartbeats.retain(|heartbeat| mine(&heartbeat.shard) == partition);
    settings
}

/// Asks for other settings of correlate in the log, which has so many partitions.
pub(super) struct Wanted(pub(super) Live<CorrelateSettings>, pub(super) u32);

impl Renew<Correlate> for Wanted {
    fn version(&self) -> u64 {
        self.0.version()
    }

    fn renew(&mut self, slot: Slot, stage: &mut Correlate) -> Vec<Outgoing> {
        stage.want(&of_partition(&self.0.get(), (slot.partition, self.1)));
        stage.opening(slot)
    }

    fn applied(&self, version: u64) {
        self.0.apply(version);
    }
}

/// Begins collect anew: what it forgets is told again, and correlate ignores what it knows.
pub(super) struct Anew<F> {
    pub(super) settings: Live<collect::Settings>,
    pub(super) make: F,
}

impl<F: Fn(Slot) -> Collect + Send> Renew<Collect> for Anew<F> {
    fn version(&self) -> u64 {
        self.settings.version()
    }

    fn renew(&mut self, slot: Slot, stage: &mut Collect) -> Vec<Outgoing> {
        *stage = (self.make)(slot);
        Vec::new()
    }

    // Several workers go by it: one alone cannot say so.
    fn applied(&self, _: u64) {}
}

/// How long a reload waits for correlate to have its settings in the log.
const APPLIED_WAIT: Duration = Duration::from_secs(2);

/// Replaces what is in force.
pub(super) struct Reloader {
    pub(super) reread: Reread,
    /// What the process started with.
    pub(super) started: Config,
    /// What is in force, but for what needs a start.
    pub(super) current: Mutex<Config>,
    pub(super) in_force: InForce,
    pub(super) clock: SharedClock,
    pub(super) lines: Lines,
    pub(super) metrics: Metrics,
}

impl Reloader {
    /// Reads the config and puts it into force.
    pub(super) fn reload(&self) -> Result<Reloaded, NotReloaded> {
        // Held throughout: one after another.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.read().map(|config| {
            let reloaded = Reloaded {
                changed: config.changed(&current),
                needs_restart: config.needs_restart(&self.started),
            };
            self.put(&config, &reloaded.changed);
            if let Some(board) = self.in_force.board.get()
                && config.inhibit() != current.inhibit()
            {
                board.inhibit_by(config.inhibit());
            }
            *current = config;
            reloaded
        });
        self.metrics.reloaded(outcome.is_ok(), self.clock.now());
        match &outcome {
            Ok(Reloaded { changed, needs_restart }) => {
                info!(changed = changed.join(", "), "config reloaded");
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    warn!(keys, "these differ from what runs and need a restart");
                }
            }
            Err(NotReloaded(problems)) => {
                for problem in problems {
                    error!(problem, "config not reloaded; the one before stays in force");
                }
            }
        }
        outcome
    }

    fn read(&self) -> Result<Config, NotReloaded> {
        let listed = |error: ConfigError| match error {
            ConfigError::Rules(problems) => {
                NotReloaded(problems.iter().map(ToString::to_string).collect())
            }
            other => NotReloaded(vec![other.to_string()]),
        };
        let config = (self.reread)().map_err(listed)?;
        let outside = config.outside();
        if !outside.is_empty() {
            return Err(NotReloaded(outside.iter().map(ToString::to_string).collect()));
        }
        deliver::check(&config.notify(), &self.clock, &self.lines)
            .map_err(|why| NotReloaded(vec![format!("notify: {why}")]))?;
        Ok(config)
    }

    fn put(&self, config: &Config, changed: &[&str]) {
        let has = |part: &str| changed.contains(&part);
        if has("collect") {
            let settings = self.in_force.collect.get();
            self.in_force.collect.set(config.collect().renewed_from(&settings));
        }
        if has("correlate") {
            self.in_force.correlate_by(config);
            self.in_force.correlate_applied();
        }
        if has("notify") {
            self.in_force.notify.set(config.notify());
        }
        if has("heartbeat") {
            self.in_force.heartbeat.set(config.heartbeat());
        }
        if has("api") {
            self.in_force.api.set(config.api());
        }
        if has("log") {
            logs::set_level(config.log_level());
        }
    }
}
