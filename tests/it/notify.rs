//! The notify worker against receivers that behave as they do in life: slow, broken, refusing.
//!
//! The journal is a small one in memory whose commits can be made to fail; the receivers are HTTP
//! servers on the loopback. Only conditions are waited for, with a generous deadline.

use std::collections::{BTreeMap, VecDeque};

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster::clock::{Clock, Stopwatch, SystemClock};
use muster::journal::{
    Appender, Class, Commit, Feed, Follower, From, Group, Journal, JournalError, OwnedRecord,
    Polled,
};
use muster::live::Live;
use muster::model::event::Links;
use muster::model::{
    AlertId, Change, ChangeKind, Counts, Identity, IncidentId, Matchers, Member, Resolution, Span,
    Status, Tags, Timestamp, Why,
};
use muster::notify::receiver::exchange::Reach;
use muster::notify::receiver::log::{Colour, Lines};
use muster::notify::receiver::webhook;
use muster::notify::{
    Address, ReceiverKind, ReceiverSettings, RouteSettings, Secret, SecretSource, Settings,
};
use muster::shutdown::Shutdown;
use muster::stage::{Kind, Offset, Slot, Topic};
use muster::telemetry::{Health, Metrics};
use muster::wire;
use muster::worker::deliver::{self, Deliver};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

const SLOT: Slot = Slot { input: 0, partition: 0 };
const DEADLINE: Duration = Duration::from_secs(30);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Stopwatch::start();
    while !done() {
        assert!(since.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

// ---- the journal ----

#[derive(Default)]
struct Log {
    records: Vec<OwnedRecord>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    position: usize,
    /// Answers to the commits after the next `.0` that carry rows.
    failing: Option<(usize, Class)>,
    anew: bool,
}

#[derive(Clone, Default)]
struct MemoryLog(Arc<(Mutex<Log>, Condvar)>);

impl MemoryLog {
    fn with<T>(&self, act: impl FnOnce(&mut Log) -> T) -> T {
        let done = act(&mut self.0.0.lock().expect("no panic under the lock"));
        self.0.1.notify_all();
        done
    }

    fn append(&self, kind: Kind, value: Vec<u8>) {
        self.with(|log| {
            let offset = Offset(i64::try_from(log.records.len()).expect("few"));
            log.records.push(OwnedRecord {
                slot: SLOT,
                offset,
                time: SystemClock.now(),
                kind,
                key: Vec::new(),
                value: Some(value),
                headers: Vec::new(),
            });
        });
    }

    fn publish(&self, change: &Change) {
        self.append(Kind::Change, wire::change::encode(change));
    }

    fn read_all(&self) -> bool {
        self.with(|log| log.position == log.records.len())
    }
}

struct MemoryFeed {
    log: MemoryLog,
    announced: bool,
    next: usize,
}

impl Feed for MemoryFeed {
    fn poll(&mut self, wait: Duration) -> Result<Polled, JournalError> {
        let (lock, signal) = &*self.log.0;
        let mut log = lock.lock().expect("no panic under the lock");
        if std::mem::take(&mut log.anew) || !self.announced {
            self.announced = true;
            self.next = log.position;
            return Ok(Polled::Assigned(vec![SLOT]));
        }
        if log.records.len() == self.next {
            log = signal.wait_timeout(log, wait).expect("no panic under the lock").0;
        }
        let batch: Vec<OwnedRecord> = log.records[self.next..].to_vec();
        self.next = log.records.len();
        Ok(if batch.is_empty() { Polled::Idle } else { Polled::Batch(Box::new(batch)) })
    }

    fn restore(&mut self, _: Slot, row: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), JournalError> {
        self.log.with(|log| log.rows.iter().for_each(|(key, value)| row(key, value)));
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        self.log.with(|log| {
            if let Some((left, class)) = &mut log.failing
                && !commit.rows.is_empty()
            {
                if *left == 0 {
                    let class = *class;
                    log.failing = None;
                    log.anew = true;
                    return Err(JournalError { class, doing: "commit".into(), why: "cut".into() });
                }
                *left -= 1;
            }
            for (_, row) in commit.rows {
                match row.value {
                    Some(value) => log.rows.insert(row.key, value),
                    None => log.rows.remove(&row.key),
                };
            }
            for (_, offset) in commit.positions {
                log.position = usize::try_from(offset.0).expect("not negative");
            }
            Ok(())
        })
    }

    fn lag(&self) -> Vec<(Slot, u64)> {
        self.log.with(|log| vec![(SLOT, (log.records.len() - log.position) as u64)])
    }

    fn close(self: Box<Self>) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Journal for MemoryLog {
    fn partitions(&self, _: Topic) -> u32 {
        1
    }

    fn feed(&self, group: Group) -> Result<Box<dyn Feed>, JournalError> {
        assert_eq!(group, Group::Notify);
        Ok(Box::new(MemoryFeed { log: self.clone(), announced: false, next: 0 }))
    }

    fn appender(&self) -> Result<Box<dyn Appender>, JournalError> {
        Err(JournalError::fatal("append", "not in this test"))
    }

    fn follow(&self, _: Topic, _: From) -> Result<Box<dyn Follower>, JournalError> {
        Err(JournalError::fatal("follow", "not in this test"))
    }
}

// ---- the receiver ----

#[derive(Clone)]
enum Answer {
    Status(u16, &'static [(&'static str, &'static str)]),
    Hang,
}

const OK: Answer = Answer::Status(200, &[]);

#[derive(Debug, Clone)]
struct Post {
    headers: HeaderMap,
    body: Vec<u8>,
    at: Timestamp,
}

impl Post {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn change(&self) -> Change {
        wire::change::decode(&self.body).expect("a change")
    }
}

#[derive(Default)]
struct StubState {
    plan: VecDeque<Answer>,
    posts: Vec<Post>,
}

/// Answers as planned, then with 200.
#[derive(Clone)]
struct Stub {
    url: String,
    state: Arc<Mutex<StubState>>,
}

impl Stub {
    fn start(runtime: &Runtime, plan: impl IntoIterator<Item = Answer>) -> Self {
        let plan = plan.into_iter().collect();
        let state = Arc::new(Mutex::new(StubState { plan, posts: Vec::new() }));
        let shared = Arc::clone(&state);
        let app = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let post = Post { headers, body: body.to_vec(), at: SystemClock.now() };
            let answer = {
                let mut state = shared.lock().expect("no panic under the lock");
                state.posts.push(post);
                state.plan.pop_front().unwrap_or(OK)
            };
            async move {
                match answer {
                    Answer::Status(code, headers) => {
                        let answer = Response::builder().status(code);
                        let named = headers.iter();
                        named.fold(answer, |answer, (name, value)| answer.header(*name, *value))
                    }
                    Answer::Hang => {
                        std::future::pending::<()>().await;
                        Response::builder().status(StatusCode::OK)
                    }
                }
                .body("said \u{1b}[31mthe stub".to_owned())
                .expect("a response")
            }
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, state }
    }

    fn posts(&self) -> Vec<Post> {
        self.state.lock().expect("no panic under the lock").posts.clone()
    }

    fn wait_for(&self, count: usize) -> Vec<Post> {
        until(&format!("{count} posts"), || self.posts().len() >= count);
        self.posts()
    }
}

// ---- the worker ----

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic under the lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Bench {
    runtime: Runtime,
    log: MemoryLog,
    metrics: Metrics,
    health: Health,
    page: Page,
}

struct Running {
    stop: Shutdown,
    thread: JoinHandle<Result<(), JournalError>>,
}

impl Running {
    fn stop(self) -> Result<(), JournalError> {
        self.stop.begin();
        self.ended()
    }

    fn ended(self) -> Result<(), JournalError> {
        until("the worker ends", || self.thread.is_finished());
        self.thread.join().expect("no panic in the worker")
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            runtime: Runtime::new().expect("a runtime"),
            log: MemoryLog::default(),
            metrics: Metrics::new(prometheus::Registry::new(), &[]).expect("metrics"),
            health: Health::default(),
            page: Page::default(),
        }
    }

    fn run(&self, settings: Settings) -> Running {
        let stop = Shutdown::new();
        let parts = Deliver {
            settings: Live::new(settings),
            journal: Arc::new(self.log.clone()),
            runtime: self.runtime.handle().clone(),
            clock: Arc::new(SystemClock),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            lines: Lines::to(self.page.clone(), Colour::Plain),
            mutes: None,
            stop: stop.clone(),
        };
        Running { stop, thread: std::thread::spawn(move || deliver::run(parts)) }
    }

    fn deliveries(&self, receiver: &str, outcome: &str) -> u64 {
        self.metrics.deliveries.with_label_values(&[receiver, outcome]).get()
    }

    /// One stub, one incident that opens, until the stub took it.
    fn one(plan: &[Answer]) -> (Self, Vec<Post>) {
        let bench = Self::new();
        let stub = Stub::start(&bench.runtime, plan.iter().cloned());
        let running = bench.run(settings(&[hook("oncall", &stub.url, None)]));
        bench.log.publish(&change(1, 1, ChangeKind::Opened));
        until("a delivery", || bench.deliveries("oncall", "delivered") == 1);
        running.stop().expect("a clean stop");
        let posts = stub.posts();
        (bench, posts)
    }
}

fn hook(name: &str, url: &str, secret: Option<SecretSource>) -> ReceiverSettings {
    ReceiverSettings {
        name: name.into(),
        kind: ReceiverKind::Webhook(Box::new(webhook::Settings {
            url: Address::parse(url).expect("an address"),
            secret,
            reach: Reach::default(),
        })),
        concurrency: 2,
    }
}

fn impatient(mut receiver: ReceiverSettings) -> ReceiverSettings {
    if let ReceiverKind::Webhook(it) = &mut receiver.kind {
        it.reach.timeout = Span::from_millis(300);
    }
    receiver
}

/// Every receiver is told of everything, at once.
fn settings(receivers: &[ReceiverSettings]) -> Settings {
    let route = |receiver: &ReceiverSettings, routes| RouteSettings {
        matchers: Matchers::default(),
        receiver: receiver.name.clone(),
        group_wait: Span::ZERO,
        cont: true,
        routes,
    };
    let children = receivers.iter().map(|receiver| route(receiver, vec![])).collect();
    Settings {
        receivers: receivers.to_vec(),
        route: Some(route(&receivers[0], children)),
        retry_min: Span::from_millis(20),
        retry_max: Span::from_millis(200),
        growth_every: Span::from_secs(300),
        keep: Span::from_secs(3_600),
        seed: 1,
    }
}

pub(crate) fn change(n: u32, revision: u64, kind: ChangeKind) -> Change {
    let now = SystemClock.now();
    let host = format!("web-{n}");
    let identity = Identity::new("nagios", Some(&host), Some("disk /"), None);
    let start = Timestamp::from_millis(1_763_913_600_000);
    let over = kind == ChangeKind::Resolved;
    let status = if over { Status::Ok } else { Status::Critical };
    let member = Member {
        id: AlertId::derive(start, &identity, 0),
        source: "nagios".into(),
        host: host.as_str().into(),
        check: "disk /".into(),
        status,
        firing: !over,
        flapping: false,
        chronic: false,
        maintenance: None,
        description: "512 MB free".into(),
        tags: Tags::default(),
        links: Links::new(),
        started_at: start,
        changed_at: start,
        why: Why::default(),
    };
    Change {
        id: IncidentId::derive(start, &identity, 0),
        revision,
        kinds: vec![kind],
        at: now,
        shard: "main".into(),
        status,
        severity: Status::Critical,
        title: format!("{host} · disk / · {status}"),
        started_at: start,
        changed_at: start,
        resolved: over.then_some((start, Resolution::AllOk)),
        pair: None,
        further: Vec::new(),
        further_cut: 0,
        counts: Counts {
            firing: u32::from(!over),
            total: 1,
            events: 1,
            hosts: 1,
            checks: 1,
            maintenance: 0,
        },
        hosts: vec![host.into()],
        checks: vec!["disk /".into()],
        sources: vec!["nagios".into()],
        tags: Tags::default(),
        acknowledged: None,
        flapping: false,
        maintenance: false,
        hold: None,
        continues: None,
        continued_by: None,
        merged_into: None,
        merged_from: Vec::new(),
        split_from: None,
        split_into: Vec::new(),
        joined: vec![member.id],
        left: Vec::new(),
        alerts: vec![member],
        assignee: None,
        snoozed: None,
        actor: None,
        comment: None,
    }
}

/// HMAC-SHA256 by its definition (RFC 2104), so that the product's is not its own judge.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36).as_slice(), message].concat());
    Sha256::digest([pad(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

fn signature(key: &[u8], post: &Post) -> String {
    let (id, time) = (post.header("webhook-id"), post.header("webhook-timestamp"));
    let message = [format!("{id}.{time}.").as_bytes(), &post.body].concat();
    format!("v1,{}", STANDARD.encode(hmac_sha256(key, &message)))
}

// ---- the tests ----

#[test]
fn a_change_is_posted_as_json_with_the_headers_of_the_standard() {
    let (bench, posts) = Bench::one(&[]);
    assert_eq!(posts.len(), 1);
    let post = &posts[0];
    assert_eq!(post.header("content-type"), "application/json");
    assert!(post.header("user-agent").starts_with("muster/"));
    assert!(post.header("webhook-id").starts_with("msg_"));
    let stamp: i64 = post.header("webhook-timestamp").parse().expect("epoch seconds");
    assert!((post.at.as_millis() / 1_000 - stamp).abs() < 60, "{stamp}");
    assert_eq!(post.header("webhook-signature"), "", "no secret, no signature");
    assert_eq!((post.change().kinds, post.change().revision), (vec![ChangeKind::Opened], 1));
    assert_eq!(bench.metrics.delivered_seconds.quantiles().count, 1);
    // What never happened shows as 0, so that its first time is a rise.
    let shown = bench.metrics.render().expect("the metrics are shown");
    for zero in [
        "muster_deliveries_set_aside_total{receiver=\"oncall\"} 0",
        "muster_deliveries_total{outcome=\"retried\",receiver=\"oncall\"} 0",
    ] {
        assert!(shown.lines().any(|line| line == zero), "{shown}");
    }
    assert!(bench.health.troubles().is_empty());
}

#[test]
fn what_fails_is_repeated_under_the_same_id_with_the_same_bytes() {
    let plan = [500, 503, 408, 425].map(|code| Answer::Status(code, &[]));
    let (bench, posts) = Bench::one(&plan);
    assert_eq!(posts.len(), 5);
    assert!(posts.iter().all(|post| post.body == posts[0].body));
    assert!(posts.iter().all(|p| p.header("webhook-id") == posts[0].header("webhook-id")));
    assert_eq!(bench.deliveries("oncall", "retried"), 4);
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let (_, posts) = Bench::one(&[Answer::Status(429, &[("retry-after", "1")])]);
    assert_eq!(posts.len(), 2);
    // Our own waits are at most 20 ms here: only the receiver's wish explains a second.
    assert!(posts[1].at.since(posts[0].at) >= Span::from_millis(900), "{posts:?}");
}

#[test]
fn a_receiver_that_hangs_is_given_up_and_tried_again() {
    let bench = Bench::new();
    let stub = Stub::start(&bench.runtime, [Answer::Hang]);
    let running = bench.run(settings(&[impatient(hook("oncall", &stub.url, None))]));
    bench.log.publish(&change(1, 1, ChangeKind::Opened));
    until("a delivery", || bench.deliveries("oncall", "delivered") == 1);
    running.stop().expect("a clean stop");
    let posts = stub.posts();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].header("webhook-id"), posts[1].header("webhook-id"));
}

#[test]
fn a_refused_connection_is_tried_again_until_somebody_listens() {
    let bench = Bench::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let running = bench.run(settings(&[hook("oncall", &format!("http://{address}/"), None)]));
    bench.log.publish(&change(1, 1, ChangeKind::Opened));
    until("three attempts", || bench.deliveries("oncall", "retried") >= 3);
    assert_eq!(bench.deliveries("oncall", "delivered"), 0);
    running.stop().expect("a clean stop");
    // The row is there, so that the next start tries again.
    assert_eq!(bench.log.with(|log| log.rows.len()), 1);
}

#[test]
fn a_refusal_is_set_aside_with_an_alarm_and_the_next_change_is_tried() {
    let bench = Bench::new();
    // The redirect leads to the stub itself: following it would show as another post.
    let plan = [Answer::Status(400, &[]), Answer::Status(307, &[("location", "/elsewhere")])];
    let stub = Stub::start(&bench.runtime, plan);
    let running = bench.run(settings(&[hook("oncall", &stub.url, None)]));
    for n in 1..=2 {
        bench.log.publish(&change(n, 1, ChangeKind::Opened));
        let aside = || bench.metrics.set_aside.with_label_values(&["oncall"]).get();
        until("set aside", || aside() == u64::from(n));
    }
    assert_eq!(bench.deliveries("oncall", "set_aside"), 2);
    bench.log.publish(&change(1, 2, ChangeKind::Reopened));
    let posts = stub.wait_for(3);
    assert_eq!(posts[2].change().kinds, [ChangeKind::Opened, ChangeKind::Reopened]);
    running.stop().expect("a clean stop");
    assert_eq!(stub.posts().len(), 3);
}

#[test]
fn every_secret_in_the_file_signs_and_a_new_one_is_picked_up() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    let coded = format!("whsec_{}", STANDARD.encode(b"first key"));
    std::fs::write(&path, format!("{coded}\nsecond key\n")).expect("written");
    let stub = Stub::start(&bench.runtime, []);
    let inline = Some(SecretSource::Inline(Secret::new("inline key")));
    let receivers = [
        hook("file", &stub.url, Some(SecretSource::File(path.clone()))),
        hook("inline", &format!("{}2", stub.url), inline),
    ];
    let running = bench.run(settings(&receivers));
    bench.log.publish(&change(1, 1, ChangeKind::Opened));
    let posts = stub.wait_for(2);
    let signed = |keys: &[&[u8]], post: &Post| {
        let all: Vec<_> = keys.iter().map(|key| signature(key, post)).collect();
        post.header("webhook-signature") == all.join(" ")
    };
    assert!(posts.iter().any(|post| signed(&[b"first key", b"second key"], post)), "{posts:?}");
    assert!(posts.iter().any(|post| signed(&[b"inline key"], post)), "{posts:?}");
    std::fs::write(&path, "third key").expect("written");
    bench.log.publish(&change(2, 1, ChangeKind::Opened));
    let posts = stub.wait_for(4);
    assert!(posts[2..].iter().any(|post| signed(&[b"third key"], post)), "{posts:?}");
    running.stop().expect("a clean stop");
}

#[test]
fn a_secret_that_cannot_be_read_holds_the_notice_back_unsigned_it_never_goes() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    let stub = Stub::start(&bench.runtime, []);
    let source = Some(SecretSource::File(path.clone()));
    let running = bench.run(settings(&[hook("oncall", &stub.url, source)]));
    bench.log.publish(&change(1, 1, ChangeKind::Opened));
    until("attempts", || bench.deliveries("oncall", "retried") >= 2);
    assert_eq!(stub.posts().len(), 0);
    std::fs::write(&path, "key").expect("written");
    let posts = stub.wait_for(1);
    assert_eq!(posts[0].header("webhook-signature"), signature(b"key", &posts[0]));
    running.stop().expect("a clean stop");
}

#[test]
fn a_slow_receiver_delays_no_other() {
    let bench = Bench::new();
    let slow = Stub::start(&bench.runtime, vec![Answer::Hang; 50]);
    let quick = Stub::start(&bench.runtime, []);
    let log = ReceiverSettings { name: "log".into(), kind: ReceiverKind::Log, concurrency: 1 };
    let receivers = [hook("slow", &slow.url, None), hook("quick", &quick.url, None), log];
    let running = bench.run(settings(&receivers));
    for n in 0..20 {
        bench.log.publish(&change(n, 1, ChangeKind::Opened));
    }
    quick.wait_for(20);
    until("twenty notices on the page", || bench.deliveries("log", "delivered") == 20);
    assert_eq!(slow.posts().len(), 2, "its two places are taken, and nothing else happens there");
    assert_eq!(bench.deliveries("slow", "delivered"), 0);
    let page = bench.page.0.lock().expect("no panic under the lock").clone();
    let page = String::from_utf8(page).expect("text");
    assert!(page.contains("CRITICAL  web-7 · disk / · critical  [opened]"), "{page}");
    running.stop().expect("a stop that does not wait for ever");
}

#[test]
fn a_crash_between_send_and_record_repeats_the_same_id_and_bytes() {
    let bench = Bench::new();
    let stub = Stub::start(&bench.runtime, []);
    let receivers = settings(&[hook("oncall", &stub.url, None)]);
    // Read before the start, the change is committed first, then that it is about to be sent; the
    // third commit, which would record the answer, is cut.
    bench.log.with(|log| log.failing = Some((2, Class::Fatal)));
    bench.log.publish(&change(1, 1, ChangeKind::Opened));
    let error = bench.run(receivers.clone()).ended().expect_err("the cut");
    assert_eq!(error.class, Class::Fatal);
    assert!(bench.health.troubles().contains_key("notify"));
    assert_eq!(stub.posts().len(), 1);
    let running = bench.run(receivers.clone());
    let posts = stub.wait_for(2);
    assert_eq!(posts[0].header("webhook-id"), posts[1].header("webhook-id"));
    assert_eq!(posts[0].body, posts[1].body);
    until("recorded", || bench.deliveries("oncall", "delivered") == 2);
    running.stop().expect("a clean stop");
    let again = bench.run(receivers);
    bench.log.publish(&change(2, 1, ChangeKind::Opened));
    assert_eq!(stub.wait_for(3)[2].change().hosts, ["web-2".into()], "recorded: not said again");
    again.stop().expect("a clean stop");
}

#[test]
fn nothing_is_sent_that_is_not_committed_and_a_failed_commit_is_survived() {
    let bench = Bench::new();
    let stub = Stub::start(&bench.runtime, []);
    bench.log.with(|log| log.failing = Some((0, Class::Retry)));
    let running = bench.run(settings(&[hook("oncall", &stub.url, None)]));
    bench.log.publish(&change(1, 1, ChangeKind::Opened));
    let rewinds = bench.metrics.rewinds.with_label_values(&["notify"]);
    until("a rewind", || rewinds.get() == 1);
    until("a delivery", || bench.deliveries("oncall", "delivered") == 1);
    until("well again", || bench.health.troubles().is_empty());
    running.stop().expect("a clean stop");
    assert_eq!(stub.posts().len(), 1, "the cut commit came before the sending");
}

#[test]
fn what_cannot_be_read_is_counted_and_skipped() {
    let bench = Bench::new();
    let stub = Stub::start(&bench.runtime, []);
    let running = bench.run(settings(&[hook("oncall", &stub.url, None)]));
    bench.log.append(Kind::Change, b"{\"id\":\"inc_".to_vec());
    bench.log.append(Kind::Row, b"of another kind".to_vec());
    bench.log.publish(&change(1, 1, ChangeKind::Opened));
    stub.wait_for(1);
    assert_eq!(bench.metrics.unreadable.with_label_values(&["notify"]).get(), 1);
    until("the position goes on", || bench.log.read_all());
    running.stop().expect("a clean stop");
}

#[test]
fn a_row_of_another_version_stops_the_worker_by_name() {
    let bench = Bench::new();
    let key = wire::ledger::key(change(1, 1, ChangeKind::Opened).id, "oncall");
    bench.log.with(|log| log.rows.insert(key, b"{\"v\":9}".to_vec()));
    let receivers = settings(&[hook("oncall", "http://127.0.0.1:9/", None)]);
    let error = bench.run(receivers).ended().expect_err("version 9");
    assert_eq!(error.class, Class::Fatal);
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn changes_of_one_incident_arrive_in_order_whatever_the_receiver_does() {
    let bench = Bench::new();
    let mut turn = 0_u32;
    let plan = std::iter::from_fn(|| {
        turn += 1;
        Some(Answer::Status(if turn.is_multiple_of(3) { 503 } else { 200 }, &[]))
    });
    let stub = Stub::start(&bench.runtime, plan.take(500).collect::<Vec<_>>());
    let running = bench.run(settings(&[hook("oncall", &stub.url, None)]));
    for revision in 1..=40 {
        let kind = match revision {
            1 => ChangeKind::Opened,
            even if even % 2 == 0 => ChangeKind::Resolved,
            _ => ChangeKind::Reopened,
        };
        for n in 0..3 {
            bench.log.publish(&change(n, revision, kind));
        }
    }
    let last = |posts: &[Post], n: u32| {
        let id = change(n, 1, ChangeKind::Opened).id;
        let revisions = posts.iter().map(Post::change).filter(|change| change.id == id);
        revisions.map(|change| change.revision).collect::<Vec<u64>>()
    };
    until("all told", || {
        let posts = stub.posts();
        (0..3).all(|n| last(&posts, n).last() == Some(&40))
            && bench.metrics.queue_depth.with_label_values(&["pending"]).get() == 0
            && bench.metrics.queue_depth.with_label_values(&["deliveries"]).get() == 0
    });
    running.stop().expect("a clean stop");
    let posts = stub.posts();
    for n in 0..3 {
        assert!(last(&posts, n).is_sorted(), "{:?}", last(&posts, n));
    }
    let mut bytes = BTreeMap::new();
    for post in &posts {
        let known = bytes.entry(post.header("webhook-id").to_owned()).or_insert(&post.body);
        assert_eq!(*known, &post.body, "one id, two texts");
    }
}
