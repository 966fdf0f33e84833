//! Heartbeats on the whole program, and Muster's own heartbeat against a monitor on loopback.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::any;
use muster::absence::outwards::Sender;
use muster::absence::watch::Watcher;
use muster::absence::{Method, Outwards, Target};
use muster::clock::SystemClock;
use muster::journal::{Appender, JournalError};
use muster::live::Live;
use muster::model::{Beat, CorrelateSettings, Span, Timestamp, Watch};
use muster::shutdown::Shutdown;
use muster::stage::{Kind, Limit, Outgoing, Stage};
use muster::telemetry::health::Lag;
use muster::telemetry::{Health, Metrics};
use muster::testing::pipeline::{Pipeline, Way};
use muster::wire;
use prometheus::Registry;
use reqwest::Method as Http;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::commands::{Bench, reason};
use crate::process::{metrics, wait_until};

const HEARTBEATS: &str = "  heartbeats:
    - {name: backup, every: 2s, grace: 0s, tags: {team: storage}}
    - {name: agents, every: 2s, grace: 1s, source: agent, each: host, status: warning}
";

impl Bench {
    fn beat(&self, path: &str) -> (u16, Value) {
        self.ask(Http::POST, &format!("/v1/heartbeats/{path}"), None, None).expect("an answer")
    }

    fn heartbeat(&self, name: &str) -> Value {
        let (status, listed) = self.get(&format!("/v1/heartbeats?name={name}"));
        assert_eq!(status, 200, "{listed}");
        listed["heartbeats"][0].clone()
    }

    /// State, status and description of the newest incident of a host.
    fn incident(&self, host: &str) -> Option<(String, String, String)> {
        let path = format!("/v1/incidents?state=all&match=host%3D{host}");
        let (status, listed) = self.get(&path);
        assert_eq!(status, 200, "{listed}");
        let id = listed["incidents"][0]["id"].as_str()?.to_owned();
        let shown = self.get(&format!("/v1/incidents/{id}")).1;
        assert_eq!(shown["sources"], json!(["muster"]), "{shown}");
        assert_eq!(shown["checks"], json!(["heartbeat"]), "{shown}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alert = &shown["alerts"][0];
        Some((text(&shown["state"]), text(&shown["status"]), text(&alert["description"])))
    }

    fn state(&self, host: &str) -> Option<String> {
        self.incident(host).map(|(state, _, _)| state)
    }
}

#[test]
fn a_missed_heartbeat_is_an_incident_until_it_beats_or_leaves_the_config() {
    let mut bench = Bench::with(HEARTBEATS);
    let message = reason(&bench.beat("backups"), 404, "unknown_heartbeat");
    assert!(message.contains("there are backup, agents"), "{message}");
    for path in ["backup?host=a", "agents", "agents?host=", "agents?rack=1"] {
        assert_eq!(bench.beat(path).0, 400, "{path}");
    }
    assert_eq!(bench.beat("backup").0, 202);
    wait_until("the beat", || bench.heartbeat("backup")["last_beat"].is_i64());
    let event = json!({"source": "agent", "host": "web-1", "check": "ping", "status": "ok"});
    assert_eq!(bench.post("/v1/events", event).0, 202);
    wait_until("its host", || bench.heartbeat("agents")["value"] == "web-1");

    wait_until("both are missed", || {
        ["backup", "web-1"].iter().all(|host| bench.state(host).as_deref() == Some("open"))
    });
    let (_, status, text) = bench.incident("backup").expect("it is open");
    assert_eq!(status, "critical");
    assert!(text.contains("`backup` is missed: expected every 2s"), "{text}");
    assert_eq!(bench.incident("web-1").expect("it is open").1, "warning");
    assert_eq!(bench.heartbeat("backup")["state"], "missed");
    let shown = metrics(bench.port, &["muster_heartbeats{partition=\"0\",state=\"missed\"}"]);
    assert_eq!(shown, [[2.0]]);

    // The command line, for scripts.
    let cli = |arguments: &[&str]| {
        let url = format!("http://127.0.0.1:{}", bench.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        let output = command.arg("heartbeats").args(arguments).args(["--api", &url]).output();
        let output = output.expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(cli(&["beat", "agents", "--value", "web-1"]), (true, "agents beat\n".to_owned()));
    assert!(!cli(&["beat", "agent"]).0, "no such heartbeat");
    wait_until("it is back", || bench.state("web-1").as_deref() == Some("resolved"));
    let (well, listed) = cli(&["list", "--state", "missed"]);
    assert!(well && listed.starts_with("missed") && listed.contains("backup"), "{listed}");

    // A restart finds it missed, and tells it no second time.
    bench.muster.take().expect("it runs").kill();
    bench.run();
    wait_until("it is known again", || bench.heartbeat("backup")["state"] == "missed");
    let all = bench.get("/v1/incidents?state=all&match=host%3Dbackup").1;
    assert_eq!(all["incidents"].as_array().map(Vec::len), Some(1), "{all}");

    let config = std::fs::read_to_string(bench.config()).expect("the config");
    let without: String = config.split_inclusive('\n').filter(|l| !l.contains("backup")).collect();
    std::fs::write(bench.config(), without).expect("written");
    bench.muster.as_ref().expect("it runs").hang_up();
    wait_until("it is over", || bench.state("backup").as_deref() == Some("resolved"));
    let (_, _, text) = bench.incident("backup").expect("it is shown");
    assert_eq!(text, "heartbeat `backup` is not in the config any more");
    assert_eq!(bench.beat("backup").0, 404);
    assert_eq!(bench.heartbeat("backup"), Value::Null);
}

#[test]
fn a_start_gives_every_heartbeat_its_time_anew() {
    let mut bench = Bench::with("  heartbeats: [{name: job, every: 8s, grace: 0s}]\n");
    assert_eq!(bench.beat("job").0, 202);
    wait_until("the beat", || bench.heartbeat("job")["last_beat"].is_i64());
    bench.muster.take().expect("it runs").kill();
    std::thread::sleep(Duration::from_secs(10));
    bench.run();
    wait_until("the wait begins anew", || {
        let heartbeat = bench.heartbeat("job");
        let late = |key: &str| heartbeat[key].as_i64().unwrap_or_default();
        late("due_at") > late("last_beat") + 10_000
    });
    assert_eq!(bench.beat("job").0, 202);
    wait_until("the next one is awaited", || {
        let heartbeat = bench.heartbeat("job");
        heartbeat["due_at"].as_i64() == heartbeat["last_beat"].as_i64().map(|at| at + 8_000)
    });
    assert_eq!(bench.state("job"), None, "it was never missed");
}

/// A monitor outside, which counts.
struct Monitor {
    beats: Arc<AtomicUsize>,
    url: String,
    runtime: Runtime,
}

impl Monitor {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let beats: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&beats);
        let count = move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            StatusCode::OK
        };
        let elsewhere = || async { Redirect::temporary("/beat") };
        let router = Router::new().route("/beat", any(count)).route("/elsewhere", any(elsewhere));
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { beats, url, runtime }
    }

    fn beats(&self) -> usize {
        self.beats.load(Ordering::SeqCst)
    }
}

fn outcome(port: u16, outcome: &str) -> f64 {
    let name = format!("muster_own_heartbeat_total{{outcome=\"{outcome}\"}}");
    metrics(port, &[&name]).remove(0).first().copied().unwrap_or_default()
}

#[test]
fn the_own_heartbeat_goes_the_whole_way_and_follows_no_redirect() {
    let monitor = Monitor::start();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{}/beat\n", monitor.url)).expect("written");
    let own = |path: &str| {
        format!("heartbeat: {{url_file: \"{path}\", every: 1s, timeout: 1s, method: POST}}\n")
    };
    let bench = Bench::with(&own(&file.path().display().to_string()));
    wait_until("three of them", || monitor.beats() >= 3);
    assert!(outcome(bench.port, "sent") >= 2.0);
    assert_eq!(outcome(bench.port, "withheld"), 0.0);
    // The file is read anew each time.
    std::fs::write(file.path(), format!("{}/elsewhere", monitor.url)).expect("written");
    wait_until("a redirect", || outcome(bench.port, "failed") >= 1.0);
    let before = monitor.beats();
    let failed = outcome(bench.port, "failed");
    wait_until("more redirects", || outcome(bench.port, "failed") >= failed + 2.0);
    assert_eq!(monitor.beats(), before);
}

/// A log that answers probes as correlate, the board and notify would, or does not.
#[derive(Clone)]
struct Log {
    health: Health,
    how: Arc<Mutex<How>>,
    probes: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Answers,
    /// Correlate stands still.
    Silent,
    /// One of two partitions does.
    HalfSilent,
    /// Only notify stands still.
    NotTold,
    Fails,
}

impl Appender for Log {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        let how = *self.how.lock().expect("no panic while holding it");
        self.probes.fetch_add(1, Ordering::SeqCst);
        for (partition, record) in (0..).zip(records) {
            let Ok(Beat::Probe(id)) = wire::heartbeat::decode(&record.value) else {
                panic!("a probe");
            };
            let answered = match how {
                How::Fails => return Err(JournalError::retry("append", "the disk is full")),
                How::Silent => false,
                How::HalfSilent => partition == 0,
                How::Answers | How::NotTold => true,
            };
            if answered {
                self.health.saw("board", &id, partition);
                if how != How::NotTold {
                    self.health.saw("notify", &id, partition);
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

#[test]
fn nothing_is_sent_while_any_part_of_the_way_is_not_open() {
    let monitor = Monitor::start();
    let health = Health::default();
    let how = Arc::new(Mutex::new(How::Answers));
    let log = Log { health: health.clone(), how: Arc::clone(&how), probes: Arc::default() };
    let metrics = Metrics::new(Registry::new(), &["defaults".into()]).expect("a registry");
    let to = Outwards {
        target: Target::Url(format!("{}/beat", monitor.url).into()),
        every: Span::from_millis(50),
        timeout: Span::from_millis(200),
        method: Method::Get,
    };
    let (settings, stop) = (Live::new(Some(to)), Shutdown::new());
    let sender = Sender {
        settings: settings.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        appender: Arc::new(Mutex::new(Box::new(log.clone()))),
        partitions: 2,
        witnesses: vec!["board", "notify"],
        stop: stop.clone(),
    };
    let task = monitor.runtime.spawn(sender.run());
    let count = |outcome: &str| metrics.own_heartbeats.with_label_values(&[outcome]).get();
    let goes = || {
        let before = monitor.beats();
        wait_until("it is sent", || monitor.beats() > before + 1);
    };
    let put = |new: How| *how.lock().expect("no panic while holding it") = new;
    let stops = |what: &str| {
        let withheld = count("withheld");
        wait_until(what, || count("withheld") > withheld + 1);
        // Whatever was under way is there by now.
        let before = monitor.beats();
        let withheld = count("withheld");
        wait_until(what, || count("withheld") > withheld + 1);
        assert_eq!(monitor.beats(), before, "{what}");
    };
    goes();
    for (new, what) in [
        (How::Silent, "correlate stands still"),
        (How::HalfSilent, "a partition stands still"),
        (How::NotTold, "notify stands still"),
        (How::Fails, "the journal fails"),
    ] {
        put(new);
        stops(what);
        put(How::Answers);
        goes();
    }
    health.bad("collect", "the brokers are away");
    let probes = log.probes.load(Ordering::SeqCst);
    stops("a part is not well");
    assert!(log.probes.load(Ordering::SeqCst) <= probes + 1, "it is not even probed");
    health.good("collect");
    goes();
    settings.set(None);
    wait_until("it is switched off", || {
        let before = monitor.beats();
        std::thread::sleep(Duration::from_millis(300));
        monitor.beats() == before
    });
    stop.begin();
    monitor.runtime.block_on(task).expect("it ends");
}

/// A log that remembers what is said of collect, unless it fails.
#[derive(Clone, Default)]
struct Notes {
    said: Arc<Mutex<Vec<Watch>>>,
    fails: Arc<AtomicBool>,
}

impl Appender for Notes {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(JournalError::retry("append", "the disk is full"));
        }
        let notes: Vec<Beat> = records
            .iter()
            // Beside them stands what is said of lag.
            .filter(|record| record.kind == Kind::Heartbeat)
            .map(|record| wire::heartbeat::decode(&record.value).expect("a note"))
            .collect();
        let [Beat::Watch(one), Beat::Watch(other)] = notes[..] else { panic!("{notes:?}") };
        assert_eq!(one, other, "both partitions hear the same");
        self.said.lock().expect("no panic while holding it").push(one);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

#[test]
fn collect_says_how_it_is() {
    let rules = muster::config::parse("correlate: {heartbeats: [{name: a, every: 1s, grace: 0s}]}");
    let rules = rules.expect("a config").collect();
    let (health, notes, stop) = (Health::default(), Notes::default(), Shutdown::new());
    notes.fails.store(true, Ordering::SeqCst);
    let reader = health.reader("suppress");
    let watcher = Watcher {
        settings: Live::new(rules),
        health: health.clone(),
        appender: Box::new(notes.clone()),
        partitions: 2,
        collects: true,
        instance: "here".into(),
        clock: Arc::new(SystemClock),
        stop: stop.clone(),
    };
    let thread = std::thread::spawn(move || watcher.run());
    let last = || notes.said.lock().expect("no panic while holding it").last().copied();
    let comes = |wanted: Watch| wait_until("it is said", || last() == Some(wanted));
    std::thread::sleep(Duration::from_millis(1_500));
    notes.fails.store(false, Ordering::SeqCst);
    comes(Watch::CaughtUp);
    let first = notes.said.lock().expect("no panic while holding it").first().copied();
    assert_eq!(first, Some(Watch::Began), "also where it could not be said at first");
    health.bad("collect", "the brokers are away");
    comes(Watch::Behind);
    health.good("collect");
    comes(Watch::CaughtUp);
    let lag = |records| Lag { topic: "t".into(), partition: 0, records, next: Some(0) };
    reader.is_at(vec![lag(5)]);
    comes(Watch::Behind);
    reader.is_at(vec![lag(0)]);
    comes(Watch::CaughtUp);
    stop.begin();
    thread.join().expect("it ends");
}

/// What one record leads to is bounded, and what is left comes with the next ones.
#[test]
fn many_at_once_come_in_parts() {
    let text = "correlate: {patterns: [], heartbeats: \
                [{name: a, every: 10s, grace: 0s, source: s, each: host, each_max: 620}]}";
    let config = muster::config::parse(text).expect("a config");
    let mut pipeline = Pipeline::new(config.collect(), config.correlate(), Way::Straight);
    let at = |second: i64| Timestamp::from_millis(1_767_225_600_000 + second * 1_000);
    let say = |pipeline: &mut Pipeline, second: i64, beat: Beat| {
        pipeline.append(at(second), Kind::Heartbeat, wire::heartbeat::encode(&beat));
    };
    say(&mut pipeline, 0, Beat::Watch(Watch::Began));
    for nth in 0..630 {
        let value = format!("host-{nth:03}").into();
        say(&mut pipeline, 0, Beat::Of { name: "a".into(), value, kept_back: Span::ZERO });
    }
    let firing = |pipeline: &Pipeline| {
        pipeline.correlate().alerts().filter(|alert| alert.is_firing()).count()
    };
    say(&mut pipeline, 9, Beat::Watch(Watch::CaughtUp));
    assert_eq!(firing(&pipeline), 0);
    say(&mut pipeline, 10, Beat::Watch(Watch::CaughtUp));
    assert_eq!(firing(&pipeline), 500);
    say(&mut pipeline, 15, Beat::Watch(Watch::CaughtUp));
    assert_eq!(firing(&pipeline), 620);
    pipeline.commit();
    assert_eq!(pipeline.limited(Limit::HeartbeatsFull), 10, "for these there was no room");
    // All of them go, first some and, which takes a tick, the others.
    let none = CorrelateSettings { heartbeats: Vec::new(), ..config.correlate() };
    pipeline.go_by(at(20), none);
    assert_eq!(firing(&pipeline), 120);
    pipeline.restart_correlate().expect("rows can be restored");
    let due = pipeline.correlate().next_deadline().expect("there is more to do");
    assert!(due <= at(20), "{due:?}");
    pipeline.tick(at(21));
    assert_eq!(firing(&pipeline), 0);
    assert_eq!(pipeline.correlate().heartbeats().count(), 0);
    say(&mut pipeline, 22, Beat::Of { name: "a".into(), value: "x".into(), kept_back: Span::ZERO });
    pipeline.commit();
    assert_eq!(pipeline.limited(Limit::BeatUnknown), 1);
    assert!(pipeline.rows().keys().all(|key| !key.starts_with(b"h/")), "no row is left");
}

#[test]
fn what_is_wrong_in_the_config_is_said_with_key_and_rule() {
    let heartbeat = |keys: &str| format!("correlate: {{heartbeats: [{{{keys}}}]}}");
    for (text, says) in [
        (heartbeat("every: 1m"), "correlate.heartbeats[0].name: is missing"),
        (heartbeat("name: a"), "correlate.heartbeats[0].every: is missing; say how long"),
        (heartbeat("name: a, every: 10ms"), "every: `10ms` is less than 1s"),
        (heartbeat("name: a, every: 1m}, {name: a, every: 1m"), "is the name of two heartbeats"),
        (heartbeat("name: a, every: 1m, each: source"), "each: `source` is no tag"),
        (heartbeat("name: a, every: 1m, match: ['status=\"ok\"']"), "match: asks for `status`"),
        (heartbeat("name: a, every: 1m, match: ['=']"), "correlate.heartbeats[0].match"),
        (heartbeat("name: a, every: 1m, status: ok"), "status: `ok` is none of critical, warning"),
        (
            heartbeat("name: a, every: 1m, schedule: {every: day, at: '02:00', for: 1h}"),
            "correlate.heartbeats[0].schedule.time_zone: is missing",
        ),
        (heartbeat("name: a, every: 1m, sauce: b"), "did you mean `source`?"),
        ("collect: {lag: {age: 2d}}".to_owned(), "collect.lag.age: `2d` is more than 1d"),
        (
            "heartbeat: {url: 'ftp://a.example/s3cret'}".to_owned(),
            "heartbeat.url: `***` begins with neither http nor https",
        ),
        (
            "heartbeat: {url: 'http://a.example/s3cret', url_file: b}".to_owned(),
            "heartbeat.url_file: `b` is given beside `url`",
        ),
        (
            "heartbeat: {url: 'http://a.example/s3cret', every: 1s}".to_owned(),
            "heartbeat.timeout: `5s` is more than `every`, 1s",
        ),
    ] {
        let refused = muster::config::parse(&text).expect_err(&text).to_string();
        assert!(refused.contains(says), "{text}: {refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
    }
    let own = muster::config::parse("heartbeat: {url: 'http://a.example/s3cret'}").expect("right");
    assert!(!format!("{own:?}").contains("s3cret"), "{own:?}");
    let missing = muster::config::parse("heartbeat: {url_file: /no/such/file}").expect("it loads");
    let outside = missing.outside().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(outside[0].starts_with("heartbeat.url_file: `/no/such/file` cannot be read"));
}
