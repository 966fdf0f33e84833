//! The whole pipeline against a real broker, as a share of what the client can read at most.
//!
//! Canonical events are produced to a source topic; that topic is drained raw (native batches,
//! nothing looked at); then collect and correlate run over it as `muster run` wires them, until the
//! last change of the last event is committed. What they make of it is known beforehand, and held
//! against what is in `muster.incidents` afterwards.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]
#![expect(clippy::panic, reason = "a bench fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use muster::clock::{Clock, SharedClock, Stopwatch, SystemClock};
use muster::collect::{self, Collect, Duty, Room, SourceSettings};
use muster::correlate::Correlate;
use muster::journal::{Commit, Feed, Followed, From, Group, Journal, JournalError, Polled};
use muster::kafka::bulk::{Publisher, create_topic};
use muster::kafka::{self, Settings, SourceTopic, Sources, Start, TopicSettings};
use muster::model::{ChangeKind, CorrelateSettings, IncidentId, Span};
use muster::shutdown::Shutdown;
use muster::stage::{Kind, Offset, Slot, Topic};
use muster::telemetry::{Health, Metrics};
use muster::testing::bench::is_test;
use muster::testing::broker::Broker;
use muster::testing::drain::raw_drain;
use muster::testing::load::{Load, by_cluster};
use muster::wire;
use muster::worker::{Never, Sharing, Worker};
use siphasher::sip::SipHasher13;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SOURCE: &str = "estate.events";
const PARTITIONS: u32 = 4;
/// As many feeds in one group.
const COLLECT_WORKERS: usize = 2;
/// How long anything may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let start = SystemClock.now() - Span::from_secs(35 * 60);
    let load = if is_test() { Load::small(start) } else { Load::large(start) };
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = tempfile::Builder::new().prefix("pipeline-").tempdir_in(root).expect("a directory");
    let broker = Broker::start_large(dir.path()).unwrap_or_else(|why| panic!("no broker: {why}"));
    let brokers = broker.brokers();

    create_topic(&brokers, SOURCE, PARTITIONS, &[]).expect("the source topic is made");
    produce(&brokers, load);
    // Before and after, since the machine may be busier at one time than at another; what is held
    // against the pipeline is the better one.
    let before = drained(&brokers, load);
    let ran = run(&brokers, load);
    let after = drained(&brokers, load);
    ran.print(load, before.max(after));
}

/// Fills the source topic.
fn produce(brokers: &str, load: Load) {
    let publisher = Publisher::open(brokers, SOURCE).expect("a publisher");
    let (mut key, mut value, mut bytes) = (Vec::new(), Vec::new(), 0);
    let watch = Stopwatch::start();
    for n in 0..load.events() {
        load.write_key(n, &mut key);
        load.write(n, &mut value);
        bytes += value.len() as u64;
        publisher.send(&key, &value).expect("sent");
    }
    publisher.flush().expect("acknowledged");
    println!(
        "produced {} events, {} bytes each, {} identities, {:.0}/s",
        load.events(),
        bytes / load.events(),
        load.identities(),
        rate(load.events(), watch.elapsed()),
    );
}

fn drained(brokers: &str, load: Load) -> f64 {
    let (records, seconds) = raw_drain(brokers, SOURCE).expect("drained");
    assert_eq!(records, load.events(), "the topic holds what was produced");
    let rate = rate(records, Duration::from_secs_f64(seconds));
    println!("raw drain       {rate:>10.0} events/s");
    rate
}

/// When the first batch was read and how far each end has come, seen from outside the workers.
#[derive(Default)]
struct Progress {
    begun: OnceLock<Stopwatch>,
    /// Updates that correlate has committed.
    committed: AtomicU64,
    /// From the first batch to the commit of the last update so far, in nanoseconds.
    reached: AtomicU64,
}

/// A feed that notes progress; it changes nothing.
struct Watched {
    feed: Box<dyn Feed>,
    progress: Arc<Progress>,
    /// Updates in the batch that is worked on; none counted for collect.
    updates: Option<u64>,
}

impl Feed for Watched {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        let polled = self.feed.poll(wait)?;
        if let Polled::Batch(batch) = &polled {
            match &mut self.updates {
                Some(updates) => {
                    let kinds = (0..batch.len()).map(|index| batch.get(index).1.kind);
                    *updates = kinds.filter(|kind| *kind == Kind::Update).count() as u64;
                }
                None => {
                    self.progress.begun.get_or_init(Stopwatch::start);
                }
            }
        }
        Ok(polled)
    }

    fn restore(
        &mut self,
        slot: Slot,
        row: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), JournalError> {
        self.feed.restore(slot, row)
    }

    fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        self.feed.commit(commit)?;
        if let (Some(updates), Some(begun)) = (&mut self.updates, self.progress.begun.get()) {
            let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.progress.reached.store(took, Ordering::Release);
            self.progress.committed.fetch_add(std::mem::take(updates), Ordering::Release);
        }
        Ok(())
    }

    fn lag(&self) -> Vec<(Slot, u64)> {
        self.feed.lag()
    }

    fn close(self: Box<Self>) -> Result<(), JournalError> {
        self.feed.close()
    }
}

/// A pipeline under way.
struct Pipeline {
    journal: Arc<dyn Journal>,
    metrics: Metrics,
    health: Health,
    clock: SharedClock,
    progress: Arc<Progress>,
    stop: Shutdown,
    threads: Vec<JoinHandle<Result<(), JournalError>>>,
}

/// What a run of the pipeline came to.
struct Ran {
    took: Duration,
    /// Processor time of this process meanwhile, client threads included, the broker's not.
    busy: Duration,
    forwards: u64,
    metrics: Metrics,
    made: Made,
}

fn run(brokers: &str, load: Load) -> Ran {
    let settings = kafka_settings(brokers);
    let clock: SharedClock = Arc::new(SystemClock);
    kafka::create_topics(&settings).expect("topics");
    let journal = kafka::open(&settings, Arc::clone(&clock)).expect("a journal");
    let registry = prometheus::Registry::new();
    let mut pipeline = Pipeline {
        journal,
        metrics: Metrics::new(registry, &["estate".into(), "defaults".into()]).expect("metrics"),
        health: Health::default(),
        clock,
        progress: Arc::default(),
        stop: Shutdown::new(),
        threads: Vec::new(),
    };
    let idle = processor_time();
    pipeline.correlate();
    pipeline.collect(&settings);
    // Each identity is new once, and each alert begins and ends.
    let forwards = load.identities() + 2 * load.alerts();
    let took = pipeline.wait(forwards);
    let busy = processor_time().saturating_sub(idle);
    pipeline.stop.begin();
    for thread in pipeline.threads {
        thread.join().expect("a worker does not panic").expect("a worker ends well");
    }
    let committed = pipeline.progress.committed.load(Ordering::Acquire);
    let made = Made::read(pipeline.journal.as_ref());
    Ran { took, busy, forwards: committed, metrics: pipeline.metrics, made }
}

impl Pipeline {
    fn correlate(&mut self) {
        let settings = correlate_settings();
        let assigned = Shutdown::new();
        let feed = self.journal.feed(Group::Correlate).expect("correlate's feed");
        self.start(Worker {
            name: Group::Correlate.as_str(),
            inputs: Arc::new([Topic::Alerts.as_str().into()]),
            feed: self.watched(feed, Some(0)),
            make: Box::new(move |_| Correlate::new(&settings)),
            renew: Box::new(Never),
            sharing: Sharing::PerPartition,
            appender: Some(self.journal.appender().expect("an appender")),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            stop: self.stop.clone(),
            assigned: assigned.clone(),
        });
        assert!(assigned.wait_for(PATIENCE), "correlate gets its partitions");
    }

    fn collect(&mut self, settings: &Settings) {
        let collect = Arc::new(collect_settings());
        let room = Room::new(collect.cache_max);
        let topics = [SourceTopic {
            source: "estate".into(),
            topic: SOURCE.to_owned(),
            keyed: true,
            start: Start::Earliest,
            brokers: None,
            extra: BTreeMap::new(),
        }];
        for worker in 0..COLLECT_WORKERS {
            let from = Sources {
                brokers: settings.brokers.clone(),
                extra: BTreeMap::new(),
                group: format!("{}-collect", settings.group),
                instance: format!("{}-0-{worker}", settings.instance),
            };
            let appender = self.journal.appender().expect("an appender");
            let clock = Arc::clone(&self.clock);
            let feed = kafka::sources(&from, &topics, appender, clock).expect("a source");
            let origins = Arc::new([collect::Origin::canonical(SOURCE)]);
            let inputs: Arc<[Arc<str>]> = Arc::new([SOURCE.into()]);
            let (collect, room, seed) = (Arc::clone(&collect), room.clone(), fastrand::u64(..));
            let make = move |_| {
                let (collect, origins) = (Arc::clone(&collect), origins.clone());
                Collect::new(collect, Duty::Suppress, origins, room.clone(), seed)
            };
            self.start(Worker {
                name: "collect",
                inputs,
                feed: self.watched(feed, None),
                make: Box::new(make),
                renew: Box::new(Never),
                sharing: Sharing::PerPartition,
                appender: None,
                clock: Arc::clone(&self.clock),
                metrics: self.metrics.clone(),
                health: self.health.clone(),
                stop: self.stop.clone(),
                assigned: Shutdown::new(),
            });
        }
    }

    fn watched(&self, feed: Box<dyn Feed>, updates: Option<u64>) -> Box<dyn Feed> {
        Box::new(Watched { feed, progress: Arc::clone(&self.progress), updates })
    }

    fn start<S: muster::stage::Stage + 'static>(&mut self, worker: Worker<S>) {
        let named = std::thread::Builder::new().name(worker.name.to_owned());
        self.threads.push(named.spawn(move || worker.run()).expect("a thread"));
    }

    /// Waits until as many updates are committed; how long that took from the first batch on.
    fn wait(&self, updates: u64) -> Duration {
        let patience = Stopwatch::start();
        while self.progress.committed.load(Ordering::Acquire) < updates {
            let ended = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!ended && patience.elapsed() < PATIENCE, "the last update is never committed");
            std::thread::sleep(Duration::from_millis(20));
        }
        Duration::from_nanos(self.progress.reached.load(Ordering::Acquire))
    }
}

/// What stands in `muster.incidents`.
#[derive(Default)]
struct Made {
    changes: u64,
    joined: u64,
    incidents: BTreeSet<IncidentId>,
    open: BTreeSet<IncidentId>,
    /// Host, check and start, as far as they are the same in every run, by alert.
    alerts: BTreeSet<(Box<str>, Box<str>, i64)>,
}

impl Made {
    fn read(journal: &dyn Journal) -> Self {
        let mut follower = journal.follow(Topic::Incidents, From::Beginning).expect("a follower");
        let mut made = Self::default();
        let mut last: BTreeMap<Slot, Offset> = BTreeMap::new();
        let patience = Stopwatch::start();
        loop {
            assert!(patience.elapsed() < PATIENCE, "the changes cannot be read");
            let batch = match follower.poll(Duration::from_millis(100)).expect("read") {
                Followed::Batch(batch) => batch,
                Followed::CaughtUp => return made,
                Followed::Idle => continue,
            };
            for index in 0..batch.len() {
                let (slot, record) = batch.get(index);
                assert_eq!(record.kind, Kind::Change);
                assert!(last.insert(slot, record.offset) < Some(record.offset), "in order");
                made.take(record.value.expect("a change has bytes"));
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let change = wire::change::decode(bytes).expect("a change");
        self.changes += 1;
        self.joined += change.joined.len() as u64;
        if change.kinds.contains(&ChangeKind::Opened) {
            assert!(self.incidents.insert(change.id), "{} opens once", change.id);
        }
        if change.is_open() {
            self.open.insert(change.id);
        } else {
            self.open.remove(&change.id);
        }
        for alert in &change.alerts {
            let start = alert.started_at.as_millis();
            self.alerts.insert((alert.host.clone(), alert.check.clone(), start));
        }
    }

    /// Which alerts there were, whatever the hour.
    fn hash(&self, load: Load) -> u64 {
        let mut hasher = SipHasher13::new();
        for (host, check, started_at) in &self.alerts {
            hasher.write(host.as_bytes());
            hasher.write(check.as_bytes());
            hasher.write_i64(started_at - load.start.as_millis());
        }
        hasher.write_usize(self.incidents.len());
        hasher.finish()
    }
}

impl Ran {
    fn print(&self, load: Load, raw: f64) {
        let made = &self.made;
        let pipeline = rate(load.events(), self.took);
        println!("pipeline        {pipeline:>10.0} events/s up to the last commit");
        println!("ratio           {:>10.3}", pipeline / raw);
        println!("processor time  {:>10.3?} of this process", self.busy);
        for (name, latency) in [
            ("correlated", &self.metrics.correlated_seconds),
            ("commits", &self.metrics.commit_seconds),
        ] {
            let at = latency.quantiles();
            println!(
                "{name:<15} p50 {:?} p99 {:?} max {:?} of {}",
                at.p50, at.p99, at.max, at.count
            );
        }
        println!(
            "forwards {}  changes {}  alerts {}  incidents {}  hash {:016x}",
            self.forwards,
            made.changes,
            made.joined,
            made.incidents.len(),
            made.hash(load),
        );
        assert_eq!(self.forwards, load.identities() + 2 * load.alerts(), "forwards");
        assert_eq!(made.joined, load.alerts(), "alerts that joined an incident");
        assert_eq!(made.alerts.len() as u64, load.alerts(), "alerts by identity and start");
        assert_eq!(made.incidents.len() as u64, load.incidents(), "incidents");
        assert!(made.open.is_empty(), "every incident is resolved");
    }
}

/// Processor time of this process so far, from the kernel's accounts in hundredths of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let ticks =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn kafka_settings(brokers: &str) -> Settings {
    let topic = |topic: Topic| {
        let name = format!("muster.{topic}");
        (topic, TopicSettings { name, partitions: PARTITIONS })
    };
    Settings {
        brokers: brokers.to_owned(),
        extra: BTreeMap::new(),
        topics: Topic::ALL.into_iter().map(topic).collect(),
        replication: 1,
        group: "muster".to_owned(),
        instance: "bench".to_owned(),
    }
}

fn collect_settings() -> collect::Settings {
    let source = |name: &str| SourceSettings {
        expire_after: Span::from_secs(7 * 86_400),
        ..SourceSettings::new(name)
    };
    collect::Settings {
        sources: vec![source("estate"), source("defaults")],
        cache_max: 1_000_000,
        limits: collect::Limits::default(),
        ..collect::Settings::default()
    }
}

fn correlate_settings() -> CorrelateSettings {
    // A cluster's next fault comes 21 minutes after its last: an incident of its own.
    by_cluster(Span::from_secs(180), Span::from_secs(600))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(items: u64, took: Duration) -> f64 {
    items as f64 / took.as_secs_f64()
}
