//! `muster run`: the stages, the journal, the board and HTTP as one process.
//!
//! Parts start from the end of the pipeline to its beginning, so that nothing is handed to somebody
//! who is not there yet, and stop the other way round, so that what was taken in goes all the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use prometheus::Registry;
use tokio::runtime::Runtime;
use tracing::{error, info};

use super::Failure;
use crate::absence::outwards::Sender;
use crate::absence::watch::Watcher;
use crate::api;
use crate::api::reload::Reload;
use crate::board::silences::Watch;
use crate::board::{self, Board, Desk, Follow, Mutes, Silences};
use crate::clock::{SharedClock, SystemClock};
use crate::collect::decode::{self, Incoming};
use crate::collect::{self, Collect, Duty, Origin, Room, dead_letter};
use crate::config::{Config, JournalSettings, TopologyTopic};
use crate::correlate::Correlate;
use crate::journal::sqlite::Sqlite;
use crate::journal::{Feed, Group, Journal, JournalError};
use crate::kafka::{self, SourceTopic};
use crate::model::Event;
use crate::notify::receiver::log::Lines;
use crate::shutdown::{self, Busy, Order, Shutdown};
use crate::stage::{EventOutcome, Kind, Offset, Record, Slot, Tally, Topic};
use crate::telemetry::{Health, Metrics, logs};
use crate::wire;
use crate::worker::commands::Commands;
use crate::worker::dead_letters::DeadLetters;
use crate::worker::deliver::{self, Deliver};
use crate::worker::intake::{self, Decoded, Intake, IntakeFeed, Rejected};
use crate::worker::merge::Merged;
use crate::worker::rows::CorrelateRows;
use crate::worker::{Sharing, Worker};

use edges::Following;
pub use reload::Reread;
use reload::{Anew, InForce, Reloader, Wanted, of_partition};

mod edges;
mod reload;

/// How long collect waits for correlate to have its partitions and settings.
const SETTINGS_WAIT: Duration = Duration::from_secs(10);

/// A part of the pipeline that can run apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum StageName {
    /// Read source topics, decode, suppress repeats.
    Collect,
    /// Make incidents.
    Correlate,
    /// Tell receivers.
    Notify,
    /// HTTP: intake, incidents, metrics, health.
    Api,
}

/// Every part.
pub const ALL: [StageName; 4] =
    [StageName::Collect, StageName::Correlate, StageName::Notify, StageName::Api];

/// Runs until SIGTERM.
pub(super) fn run(
    config: &Config,
    reread: Reread,
    stages: &[StageName],
) -> Result<ExitCode, Failure> {
    logs::start(config.log_level(), config.log_format());
    let runtime = runtime()?;
    let stop = Shutdown::new();
    let _inside = runtime.enter();
    shutdown::on_signals(stop.clone()).map_err(Failure::other)?;
    let parts = Parts {
        config: config.clone(),
        reread: Some(reread),
        journal: open(config, stages)?,
        clock: Arc::new(SystemClock),
        lines: Lines::stdout(),
        stop: stop.clone(),
    };
    let running = start(parts, stages, &runtime)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %running.address,
        "running"
    );
    runtime.block_on(reload_on_hangup(&running.reload, &stop)).map_err(Failure::other)?;
    Ok(running.stop())
}

/// Reloads the config at each SIGHUP, until the stop.
async fn reload_on_hangup(reload: &Option<Reload>, stop: &Shutdown) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = stop.wait() => return Ok(()),
        }
        if let Some(reload) = reload.clone() {
            // What came of it is in the log and the metrics.
            drop(tokio::task::spawn_blocking(move || drop(reload())).await);
        }
    }
}

/// What a process is made of.
pub struct Parts {
    /// What it goes by.
    pub config: Config,
    /// How that is read again; none where it cannot be.
    pub reread: Option<Reread>,
    /// Where its logs live.
    pub journal: Arc<dyn Journal>,
    /// The time of day.
    pub clock: SharedClock,
    /// Where receivers of kind `log` write.
    pub lines: Lines,
    /// Given by whoever wants it to end, and by a part that cannot go on.
    pub stop: Shutdown,
}

/// A process that runs.
pub struct Running {
    /// Where HTTP listens.
    pub address: SocketAddr,
    /// Instruments.
    pub metrics: Metrics,
    /// How its parts are.
    pub health: Health,
    /// Puts the config into force anew; none where it cannot be read again.
    pub reload: Option<Reload>,
    order: Order,
    failed: Failed,
}

impl Running {
    /// Stops every part in order; the exit code tells whether all went well.
    #[must_use]
    pub fn stop(self) -> ExitCode {
        let late = self.order.stop(shutdown::DEADLINE);
        let failed = self.failed.0.lock().unwrap_or_else(PoisonError::into_inner);
        if late.is_err() || *failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Whether a part gave up.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<bool>>);

/// The runtime of HTTP and deliveries.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::other)
}

/// Opens the journal that the config names.
fn open(config: &Config, stages: &[StageName]) -> Result<Arc<dyn Journal>, Failure> {
    let clock: SharedClock = Arc::new(SystemClock);
    match config.journal() {
        JournalSettings::Kafka(settings) => kafka::open(&settings, clock).map_err(Failure::other),
        JournalSettings::Sqlite(settings) => {
            if ALL.iter().any(|stage| !stages.contains(stage)) {
                return Err(Failure::usage(
                    "--stages: the embedded journal is one process and runs all stages; \
                     set journal.kind: kafka to run them apart",
                ));
            }
            let journal = Sqlite::open(&settings, clock).map_err(Failure::other)?;
            Ok(journal)
        }
    }
}

/// Starts the parts that `stages` names.
///
/// # Errors
/// When one cannot start; those that did are told to stop.
pub fn start(parts: Parts, stages: &[StageName], runtime: &Runtime) -> Result<Running, Failure> {
    let sources: Vec<Arc<str>> =
        parts.config.collect().sources.iter().map(|source| Arc::clone(&source.name)).collect();
    let metrics = Metrics::new(Registry::new(), &sources).map_err(Failure::other)?;
    let mut order = Order::new();
    let starting = Starting {
        metrics: metrics.clone(),
        health: Health::default(),
        failed: Failed::default(),
        in_force: InForce::new(&parts.config),
        parts,
        runtime,
    };
    let reload = starting.reload();
    let (health, failed) = (starting.health.clone(), starting.failed.clone());
    let started = starting.all(stages, reload.clone(), &mut order);
    match started {
        Ok(address) => Ok(Running { address, metrics, health, reload, order, failed }),
        Err(failure) => {
            // The failure to start is what matters; parts that are late to stop are in the log.
            drop(order.stop(shutdown::DEADLINE));
            Err(failure)
        }
    }
}

/// A part's signal to stop and what it drops when it has finished.
type Handles = (Shutdown, Busy);

struct Starting<'r> {
    parts: Parts,
    metrics: Metrics,
    health: Health,
    failed: Failed,
    in_force: InForce,
    runtime: &'r Runtime,
}

impl Starting<'_> {
    /// What puts a config into force anew, where it can be read again.
    fn reload(&self) -> Option<Reload> {
        let reloader = Reloader {
            reread: self.parts.reread.clone()?,
            started: self.parts.config.clone(),
            current: Mutex::new(self.parts.config.clone()),
            in_force: self.in_force.clone(),
            clock: Arc::clone(&self.parts.clock),
            lines: self.parts.lines.clone(),
            metrics: self.metrics.clone(),
        };
        self.metrics.reloaded(true, self.parts.clock.now());
        Some(Arc::new(move || reloader.reload()))
    }

    fn all(
        &self,
        stages: &[StageName],
        reload: Option<Reload>,
        order: &mut Order,
    ) -> Result<SocketAddr, Failure> {
        let has = |stage| stages.contains(&stage);
        let intakes = has(StageName::Api);
        // Stopped in this order, so that what was taken in goes all the way; started from the end,
        // so that nothing is handed to somebody who is not there yet.
        // Every instance is scraped and asked for its health, whatever its stages.
        let api = order.part("api");
        let heartbeat =
            (has(StageName::Api) || has(StageName::Notify)).then(|| order.part("own heartbeat"));
        let watch =
            (has(StageName::Collect) || has(StageName::Correlate)).then(|| order.part("watch"));
        let mut collecting = Vec::new();
        let plan = self.collectors(has(StageName::Collect), intakes)?;
        for _ in &plan.workers {
            collecting.push(order.part("collect"));
        }
        let correlate = has(StageName::Correlate).then(|| order.part("correlate"));
        let topology = self.parts.config.topology_topic().filter(|_| has(StageName::Correlate));
        let topology = topology.map(|topic| (topic, order.part("topology")));
        let notify = has(StageName::Notify).then(|| order.part("notify"));
        // Last: without them notify would not be sure, and hold back what it has still to tell.
        let shows = has(StageName::Api) || has(StageName::Notify);
        let board = shows.then(|| order.part("board"));
        let silences = shows.then(|| order.part("silences"));
        // Who tells must know what is muted, over all shards; who shows, too.
        let shown = board.map(|handles| self.board(handles)).transpose()?;
        let known = silences.map(|handles| self.silences(handles)).transpose()?;
        let both = shown.clone().zip(known);
        if let Some(handles) = notify {
            let mutes = both.clone().map(|(board, silences)| Mutes::new(board, silences));
            self.notify(handles, mutes)?;
        }
        if let Some((topic, handles)) = topology {
            self.topology(topic, handles)?;
        }
        if let Some(handles) = correlate {
            self.correlate(handles)?;
        }
        for (worker, handles) in plan.workers.into_iter().zip(collecting) {
            self.collect(worker, handles)?;
        }
        if let Some(handles) = watch {
            self.watch(has(StageName::Collect), handles)?;
        }
        if let Some(handles) = heartbeat {
            self.own_heartbeat(has(StageName::Notify), handles)?;
        }
        let both = both.filter(|_| has(StageName::Api));
        let desk = both.map(|(board, silences)| self.desk(board, silences)).transpose()?;
        let shown = shown.filter(|_| has(StageName::Api));
        self.api(shown, desk, plan.intake, reload, api)
    }

    fn notify(&self, (stop, busy): Handles, mutes: Option<Mutes>) -> Result<(), Failure> {
        let parts = Deliver {
            settings: self.in_force.notify.clone(),
            journal: Arc::clone(&self.parts.journal),
            runtime: self.runtime.handle().clone(),
            clock: Arc::clone(&self.parts.clock),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            lines: self.parts.lines.clone(),
            mutes,
            stop,
        };
        self.thread("notify", busy, move || deliver::run(parts))
    }

    /// Reads the topology's topic, before correlate begins, and follows it.
    fn topology(&self, topic: TopologyTopic, (stop, busy): Handles) -> Result<(), Failure> {
        let config = &self.parts.config;
        let who = (config.source_group(), config.instance());
        let (in_force, metrics) = (self.in_force.clone(), self.metrics.clone());
        let following = Following::open(topic, who, in_force, metrics, &self.parts.stop)?;
        self.thread("topology", busy, move || following.run(&stop))
    }

    fn correlate(&self, (stop, busy): Handles) -> Result<(), Failure> {
        let settings = self.in_force.correlate.clone();
        let wanted = settings.clone();
        let partitions = self.parts.journal.partitions(Topic::Alerts);
        // Before anything is read: what is reloaded meanwhile is noticed.
        wanted.apply(wanted.version());
        let assigned = Shutdown::new();
        let worker = Worker {
            name: Group::Correlate.as_str(),
            inputs: Arc::new([Topic::Alerts.as_str().into()]),
            feed: self.journal(|journal| journal.feed(Group::Correlate))?,
            make: Box::new(move |slot| {
                Correlate::new(&of_partition(&settings.get(), (slot.partition, partitions)))
            }),
            renew: Box::new(Wanted(wanted, partitions)),
            sharing: Sharing::PerPartition,
            appender: Some(self.journal(|journal| journal.appender())?),
            clock: Arc::clone(&self.parts.clock),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            stop,
            assigned: assigned.clone(),
        };
        self.thread("correlate", busy, move || worker.run())?;
        // What collect forwards should come after the settings it is to be judged by. Where
        // another instance holds every partition, nothing is assigned here and nothing is awaited.
        let _ours = assigned.wait_for(SETTINGS_WAIT);
        Ok(())
    }

    fn collect(&self, plan: CollectWorker, (stop, busy): Handles) -> Result<(), Failure> {
        let settings = self.in_force.collect.clone();
        let version = settings.clone();
        let CollectWorker { name, feed, origins, duties, sharing, room } = plan;
        let inputs = origins.iter().map(|origin| Arc::clone(&origin.name)).collect();
        let seed = fastrand::u64(..);
        let make = move |slot: Slot| {
            let duty = duties.get(usize::from(slot.input)).copied().unwrap_or(Duty::SendOn);
            Collect::new(settings.get(), duty, Arc::clone(&origins), room.clone(), seed)
        };
        let worker = Worker {
            name,
            inputs,
            feed,
            make: Box::new(make.clone()),
            renew: Box::new(Anew { settings: version, make }),
            sharing,
            appender: None,
            clock: Arc::clone(&self.parts.clock),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            stop,
            assigned: Shutdown::new(),
        };
        self.thread(name, busy, move || worker.run())
    }

    /// Says in correlate's log how collect is.
    fn watch(&self, collects: bool, (stop, busy): Handles) -> Result<(), Failure> {
        let watcher = Watcher {
            settings: self.in_force.collect.clone(),
            health: self.health.clone(),
            appender: self.journal(|journal| journal.appender())?,
            partitions: self.parts.journal.partitions(Topic::Alerts),
            collects,
            instance: self.parts.config.instance().into(),
            clock: Arc::clone(&self.parts.clock),
            stop,
        };
        self.thread("watch", busy, move || {
            watcher.run();
            Ok(())
        })
    }

    /// Tells somebody outside that everything works.
    fn own_heartbeat(&self, notifies: bool, (stop, busy): Handles) -> Result<(), Failure> {
        let mut witnesses = vec!["board"];
        // On Kafka another instance may be the one that tells of a partition's incidents.
        if notifies && matches!(self.parts.config.journal(), JournalSettings::Sqlite(_)) {
            witnesses.push("notify");
        }
        let appender = self.journal(|journal| journal.appender())?;
        let sender = Sender {
            settings: self.in_force.heartbeat.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            appender: Arc::new(Mutex::new(appender)),
            partitions: self.parts.journal.partitions(Topic::Alerts),
            witnesses,
            stop,
        };
        self.runtime.spawn(async move {
            sender.run().await;
            drop(busy);
        });
        Ok(())
    }

    fn board(&self, (stop, busy): Handles) -> Result<Arc<Board>, Failure> {
        let board = Arc::new(
            Board::new(board::Settings::default(), self.metrics.clone())
                .inhibiting(self.parts.config.inhibit()),
        );
        let follow = Follow {
            journal: Arc::clone(&self.parts.journal),
            board: Arc::clone(&board),
            rows: Box::new(CorrelateRows::default()),
            clock: Arc::clone(&self.parts.clock),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            stop,
        };
        self.thread("board", busy, move || follow.run())?;
        drop(self.in_force.board.set(Arc::clone(&board)));
        Ok(board)
    }

    fn silences(&self, (stop, busy): Handles) -> Result<Arc<Silences>, Failure> {
        let silences = Arc::new(Silences::default());
        let watch = Watch {
            journal: Arc::clone(&self.parts.journal),
            silences: Arc::clone(&silences),
            settings: self.parts.config.silences(),
            clock: Arc::clone(&self.parts.clock),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            stop,
        };
        self.thread("silences", busy, move || watch.run())?;
        Ok(silences)
    }

    fn desk(&self, board: Arc<Board>, silences: Arc<Silences>) -> Result<Arc<Desk>, Failure> {
        let appender = self.journal(|journal| journal.appender())?;
        let clock = Arc::clone(&self.parts.clock);
        Ok(Arc::new(Desk::new(board, silences, self.parts.config.silences(), clock, appender)))
    }

    fn api(
        &self,
        board: Option<Arc<Board>>,
        desk: Option<Arc<Desk>>,
        intake: Option<Intake>,
        reload: Option<Reload>,
        (stop, busy): Handles,
    ) -> Result<SocketAddr, Failure> {
        let settings = self.parts.config.api();
        let listen = settings.listen;
        let bound = self.runtime.block_on(api::bind(&settings));
        let listener = bound.map_err(|error| {
            Failure::other(format!("api.listen: {listen}: {error}; choose another address"))
        })?;
        let address = listener.local_addr().map_err(Failure::other)?;
        let commands = match board {
            Some(_) => {
                let appender = self.journal(|journal| journal.appender())?;
                Some(Commands::new(appender, self.parts.journal.partitions(Topic::Alerts)))
            }
            None => None,
        };
        let dead_letters = board.is_some().then(|| self.journal(|journal| journal.appender()));
        let dead_letters = dead_letters
            .transpose()?
            .map(|appender| DeadLetters::new(Arc::clone(&self.parts.journal), appender));
        let parts = api::Parts {
            settings: self.in_force.api.clone(),
            collect: self.in_force.collect.clone(),
            rules: self.in_force.correlate.clone(),
            reload,
            clock: Arc::clone(&self.parts.clock),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            board,
            commands,
            dead_letters,
            desk,
            intake,
            outside: api::Outside::over_https(),
            stop,
        };
        self.runtime.spawn(async move {
            api::serve(listener, parts).await;
            drop(busy);
        });
        Ok(address)
    }

    /// What reads events: the sources and, where there is HTTP, its intake.
    fn collectors(&self, collects: bool, intakes: bool) -> Result<Collectors, Failure> {
        let room = Room::new(self.parts.config.collect().cache_max);
        let embedded = matches!(self.parts.config.journal(), JournalSettings::Sqlite(_));
        let mut plan = Collectors::default();
        let mut sources = Vec::new();
        if collects {
            sources = self.sources()?;
        }
        let http = intakes.then(|| self.intake()).transpose()?;
        if embedded {
            // One process owns every identity, whichever way its events come in.
            let mut feeds: Vec<(Box<dyn Feed>, u16)> = Vec::new();
            let mut origins: Vec<Origin> = Vec::new();
            if let Some((intake, feed)) = http {
                plan.intake = Some(intake);
                feeds.push((Box::new(feed), 1));
                origins.push(Origin::canonical(Origin::HTTP));
            }
            for Source { feed, topics } in sources {
                let count = u16::try_from(topics.len()).map_err(Failure::other)?;
                feeds.push((feed, count));
                origins.extend(topics.iter().map(origin_of));
            }
            let duties = vec![Duty::Suppress; origins.len()];
            plan.workers.push(CollectWorker {
                name: "collect",
                feed: Box::new(Merged::new(feeds)),
                origins: origins.into(),
                duties: duties.into(),
                sharing: Sharing::Whole,
                room,
            });
            return Ok(plan);
        }
        if let Some((intake, feed)) = http {
            plan.intake = Some(intake);
            plan.workers.push(CollectWorker {
                name: "intake",
                feed: Box::new(feed),
                origins: Arc::new([Origin::canonical(Origin::HTTP)]),
                duties: Arc::new([Duty::SendOn]),
                sharing: Sharing::Whole,
                room: room.clone(),
            });
        }
        for Source { feed, topics } in sources {
            let duty = |topic: &SourceTopic| {
                if topic.keyed { Duty::Suppress } else { Duty::SendOn }
            };
            plan.workers.push(CollectWorker {
                name: "collect",
                feed,
                origins: topics.iter().map(origin_of).collect(),
                duties: topics.iter().map(duty).collect(),
                sharing: Sharing::PerPartition,
                room: room.clone(),
            });
        }
        for _ in 0..if collects { self.parts.config.collect_workers() } else { 0 } {
            plan.workers.push(CollectWorker {
                name: Group::Suppress.as_str(),
                feed: self.journal(|journal| journal.feed(Group::Suppress))?,
                origins: Arc::new([Origin::canonical(Topic::Events.as_str())]),
                duties: Arc::new([Duty::Suppress]),
                sharing: Sharing::PerPartition,
                room: room.clone(),
            });
        }
        Ok(plan)
    }

    /// A feed for each cluster that has source topics, and on Kafka one for each worker.
    fn sources(&self) -> Result<Vec<Source>, Failure> {
        let config = &self.parts.config;
        let journal = config.journal();
        let (own, group, instance, workers) = match &journal {
            JournalSettings::Kafka(kafka) => {
                (Some(kafka), &kafka.group, &kafka.instance, config.collect_workers())
            }
            // One process, one cache, one thread.
            JournalSettings::Sqlite(_) => (None, &config.source_group(), &config.instance(), 1),
        };
        let mut by_cluster: BTreeMap<Cluster, Vec<SourceTopic>> = BTreeMap::new();
        for topic in config.source_topics() {
            let cluster = match (&topic.brokers, own) {
                (Some(brokers), _) => (brokers.clone(), topic.extra.clone()),
                (None, Some(own)) => (own.brokers.clone(), own.extra.clone()),
                (None, None) => {
                    return Err(Failure::usage(format!(
                        "collect.sources: {}: brokers: missing; with the embedded journal a source \
                         topic needs the brokers it is on",
                        topic.source
                    )));
                }
            };
            by_cluster.entry(cluster).or_default().push(topic);
        }
        let mut sources = Vec::new();
        for (number, ((brokers, extra), topics)) in by_cluster.into_iter().enumerate() {
            for worker in 0..workers {
                let from = kafka::Sources {
                    brokers: brokers.clone(),
                    extra: extra.clone(),
                    group: format!("{group}-collect"),
                    instance: format!("{instance}-{number}-{worker}"),
                };
                let appender = self.journal(|journal| journal.appender())?;
                let clock = Arc::clone(&self.parts.clock);
                let feed = kafka::sources(&from, &topics, appender, clock);
                sources
                    .push(Source { feed: feed.map_err(Failure::other)?, topics: topics.clone() });
            }
        }
        Ok(sources)
    }

    fn intake(&self) -> Result<(Intake, IntakeFeed), Failure> {
        let appender = self.journal(|journal| journal.appender())?;
        let settings = self.in_force.collect.clone();
        let read = move |incoming: &Incoming<'_>| read_request(&settings.get(), incoming);
        let bounds = intake::Settings::default();
        Ok(intake::queue(&bounds, Arc::new(read), appender, self.metrics.clone()))
    }

    fn journal<T>(
        &self,
        ask: impl FnOnce(&dyn Journal) -> Result<T, JournalError>,
    ) -> Result<T, Failure> {
        ask(self.parts.journal.as_ref()).map_err(Failure::other)
    }

    /// Runs a part on a thread of its own; when it gives up, the process stops.
    fn thread(
        &self,
        name: &'static str,
        busy: Busy,
        work: impl FnOnce() -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), Failure> {
        let (failed, stop) = (self.failed.clone(), self.parts.stop.clone());
        let run = move || {
            if let Err(failure) = work() {
                error!(part = name, error = %failure, "gave up, stopping the process");
                *failed.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                stop.begin();
            }
            drop(busy);
        };
        // The thread is not joined: `Order` waits for what it holds, with a deadline.
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map(drop)
            .map_err(Failure::other)
    }
}

/// How to reach a cluster.
type Cluster = (String, BTreeMap<String, String>);

struct Source {
    feed: Box<dyn Feed>,
    topics: Vec<SourceTopic>,
}

#[derive(Default)]
struct Collectors {
    workers: Vec<CollectWorker>,
    intake: Option<Intake>,
}

struct CollectWorker {
    name: &'static str,
    feed: Box<dyn Feed>,
    origins: Arc<[Origin]>,
    duties: Arc<[Duty]>,
    sharing: Sharing,
    room: Room,
}

fn origin_of(topic: &SourceTopic) -> Origin {
    Origin::of_source(topic.topic.as_str(), Arc::clone(&topic.source))
}

/// Reads an HTTP request's body: events for the queue, and dead letters of what is none.
fn read_request(settings: &collect::Settings, incoming: &Incoming<'_>) -> Decoded {
    let arrival = incoming.arrival;
    let found = decode::decode(incoming, settings);
    let mut decoded = Decoded {
        events: found.events.iter().map(|event| wire::event::encode(event, arrival)).collect(),
        sources: sources(&found.events),
        tally: Tally {
            events: vec![[0; EventOutcome::COUNT]; settings.sources.len()],
            limited: found.limited,
            youngest: found.youngest,
            ..Tally::default()
        },
        ..Decoded::default()
    };
    let record = Record {
        offset: Offset::default(),
        time: arrival,
        kind: Kind::Raw,
        key: None,
        value: None,
        headers: Some(&incoming.headers),
    };
    for (source, outcome, why) in found.silent {
        decoded.tally.events[source][outcome.index()] += 1;
        decoded.ignored.push(why);
    }
    for rejected in found.rejected {
        if let Some(others) = decoded.tally.events.last_mut() {
            others[EventOutcome::Rejected(rejected.reason).index()] += 1;
        }
        decoded.rejected.push(Rejected {
            index: rejected.index,
            reason: rejected.reason,
            message: rejected.message.clone(),
        });
        decoded.dead_letters.push(dead_letter(incoming.origin, 0, &record, rejected));
    }
    decoded
}

/// The sources of events, most of which are of the same.
fn sources(events: &[Event]) -> BTreeSet<Box<str>> {
    let mut sources = BTreeSet::new();
    let mut last = None;
    for event in events {
        if last != Some(&*event.source) {
            sources.insert(event.source.clone());
            last = Some(&*event.source);
        }
    }
    sources
}
