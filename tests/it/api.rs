//! The HTTP server on loopback, over raw sockets: what it answers, when, and what it does not put up
//! with.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use muster::api::{Parts, Settings, bind, serve};
use muster::board::{self, Board};
use muster::clock::{ManualClock, Stopwatch};
use muster::collect;
use muster::collect::decode::Incoming;
use muster::journal::{Appender, Commit, Feed, JournalError, Polled};
use muster::live::Live;
use muster::model::alert::{Refusal, Side, TurnedDown};
use muster::model::change::Counts;
use muster::model::command::{Outcome, Refused};
use muster::model::{
    AlertId, Change, ChangeKind, CommandResult, CorrelateSettings, Identity, IncidentId,
    MaintenanceId, Member, Pair, RequestId, Resolution, Span, Status, TagValue, Tags, Timestamp,
    Why,
};
use muster::shutdown::Shutdown;
use muster::stage::{Kind, Outgoing, Reason, Route, Topic};
use muster::telemetry::{Health, Metrics};
use muster::worker::commands::Commands;
use muster::worker::intake::{self, Decoded, IntakeFeed, Rejected};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_millis(1_763_913_600_000);
/// The bound of every wait in here; reached only by a failure.
const LONG: Duration = Duration::from_secs(30);

/// An appender that holds each append back until it is let through, and fails when told to.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    shut: bool,
    fails: bool,
    /// Appends that wait at the gate.
    waiting: usize,
    appended: Vec<(Topic, String)>,
}

impl Gate {
    fn set(&self, with: impl FnOnce(&mut GateState)) {
        with(&mut self.0.0.lock().expect("nobody panics"));
        self.0.1.notify_all();
    }

    fn get<T>(&self, with: impl FnOnce(&GateState) -> T) -> T {
        with(&self.0.0.lock().expect("nobody panics"))
    }
}

impl Appender for Gate {
    fn begin(&mut self, records: Vec<Outgoing>) -> Result<(), JournalError> {
        let mut state = self.0.0.lock().expect("nobody panics");
        state.waiting += 1;
        let mut state = self.0.1.wait_while(state, |state| state.shut).expect("nobody panics");
        state.waiting -= 1;
        if state.fails {
            return Err(JournalError::retry("append", "disk full"));
        }
        let text =
            |record: Outgoing| (record.topic, String::from_utf8_lossy(&record.value).into_owned());
        state.appended.extend(records.into_iter().map(text));
        Ok(())
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

fn outgoing(topic: Topic, value: &[u8]) -> Outgoing {
    let (route, kind) = (Route::Partition(0), Kind::Raw);
    Outgoing { topic, route, kind, key: Vec::new(), value: value.to_vec(), headers: Vec::new() }
}

/// One event a word; words that begin with `!` lack a source.
fn decode(incoming: &Incoming<'_>) -> Decoded {
    let mut decoded = Decoded::default();
    for (index, word) in String::from_utf8_lossy(incoming.bytes).split_whitespace().enumerate() {
        if word.starts_with('!') {
            decoded.dead_letters.push(outgoing(Topic::DeadLetters, word.as_bytes()));
            let (reason, message) = (Reason::NoSource, format!("`{word}` has no source"));
            decoded.rejected.push(Rejected { index: Some(index), reason, message });
        } else {
            decoded.events.push(word.as_bytes().to_vec());
        }
    }
    decoded
}

/// A worker that forwards every event, as collect would.
fn work(mut feed: IntakeFeed, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let Ok(Polled::Batch(batch)) = feed.poll(Duration::from_millis(5)) else { continue };
        let mut commit = Commit::default();
        for index in 0..batch.len() {
            let (slot, record) = batch.get(index);
            let value = record.value.expect("an event has bytes");
            commit.records.push(outgoing(Topic::Alerts, value));
            commit.positions = vec![(slot, record.offset.next())];
        }
        // A failure is answered by the feed, which assigns anew.
        drop(feed.commit(commit));
    }
    Box::new(feed).close().expect("nothing is under way");
}

struct Rig {
    address: SocketAddr,
    gate: Gate,
    board: Arc<Board>,
    health: Health,
    metrics: Metrics,
    clock: Arc<ManualClock>,
    stop: Shutdown,
    server: Option<JoinHandle<()>>,
    worker: Option<JoinHandle<()>>,
    worker_stop: Arc<AtomicBool>,
}

fn settings() -> Settings {
    Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Settings::default() }
}

fn rig(settings: Settings, queue: &intake::Settings) -> Rig {
    let metrics = Metrics::new(prometheus::Registry::new(), &[]).expect("a new registry");
    let gate = Gate::default();
    let (intake, feed) =
        intake::queue(queue, Arc::new(decode), Box::new(gate.clone()), metrics.clone());
    let board = Arc::new(Board::new(board::Settings::default(), metrics.clone()));
    let commands = Commands::new(Box::new(gate.clone()), 2);
    let (health, stop, clock) = (Health::default(), Shutdown::new(), ManualClock::at(NOW));
    let parts = Parts {
        settings: Live::new(settings.clone()),
        collect: Live::new(collect::Settings::default()),
        rules: Live::new(CorrelateSettings::default()),
        reload: None,
        clock: clock.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        board: Some(Arc::clone(&board)),
        commands: Some(commands),
        dead_letters: None,
        desk: None,
        intake: Some(intake),
        stop: stop.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(bind(&settings)).expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let server = std::thread::spawn(move || runtime.block_on(serve(listener, parts)));
    let worker_stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&worker_stop);
    let worker = std::thread::spawn(move || work(feed, &told));
    Rig {
        address,
        gate,
        board,
        health,
        metrics,
        clock,
        stop,
        server: Some(server),
        worker: Some(worker),
        worker_stop,
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.gate.set(|state| state.shut = false);
        self.stop.begin();
        let server = self.server.take().map(JoinHandle::join);
        self.worker_stop.store(true, Ordering::SeqCst);
        let worker = self.worker.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(!matches!(server, Some(Err(_))), "the server panicked");
            assert!(!matches!(worker, Some(Err(_))), "the worker panicked");
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The word of the error, after a check of the form that every error has.
    fn reason(&self) -> String {
        let body = self.json();
        assert!(body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{body}");
        body["error"]["reason"].as_str().expect("a word").to_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Rig {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a socket takes timeouts");
        stream
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("it is read");
        stream
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        answer(self.send(&request))
    }

    fn begin_post(&self, body: &str) -> TcpStream {
        self.send(&post(body))
    }

    fn post(&self, body: &str) -> Answer {
        answer(self.begin_post(body))
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let watch = Stopwatch::start();
        while !holds() {
            assert!(watch.elapsed() < LONG, "never: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn post(body: &str) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The answer, read to the end of the connection.
fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // A reset after the answer is no matter; without one, it is.
        assert!(error.kind() == ErrorKind::ConnectionReset && !bytes.is_empty(), "{error}");
    }
    let text = String::from_utf8(bytes).expect("answers are text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Whether nothing has come back on a connection so far.
fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket can be");
    let silent =
        matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("a socket can be");
    silent
}

fn member(host: &str) -> Member {
    let identity = Identity::new("nagios", Some(host), Some("cpu"), None);
    Member {
        id: AlertId::derive(NOW, &identity, 0),
        source: "nagios".into(),
        host: host.into(),
        check: "cpu".into(),
        status: Status::Critical,
        firing: true,
        flapping: false,
        chronic: false,
        maintenance: None,
        description: "busy".into(),
        tags: Tags::default(),
        links: Default::default(),
        started_at: NOW,
        changed_at: NOW,
        why: Why::default(),
    }
}

/// The `nth` incident; those with an odd number are over.
fn incident(nth: i64) -> Change {
    let (host, at) = (format!("web-{nth}"), NOW + Span::from_secs(nth));
    let identity = Identity::new("nagios", Some(&host), None, None);
    let over = nth % 2 == 1;
    Change {
        id: IncidentId::derive(at, &identity, 0),
        revision: 1,
        kinds: vec![if over { ChangeKind::Resolved } else { ChangeKind::Opened }],
        at,
        shard: "default".into(),
        status: if over { Status::Ok } else { Status::Critical },
        severity: Status::Critical,
        title: host.clone(),
        started_at: at,
        changed_at: at,
        resolved: over.then_some((at, Resolution::AllOk)),
        pair: None,
        further: Vec::new(),
        further_cut: 0,
        counts: Counts { firing: 1, total: 1, events: 1, hosts: 1, checks: 1, maintenance: 0 },
        hosts: vec![host.as_str().into()],
        checks: vec!["cpu".into()],
        sources: vec!["nagios".into()],
        tags: [("env", TagValue::one(if nth < 4 { "prod" } else { "test" }))].into_iter().collect(),
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
        joined: Vec::new(),
        left: Vec::new(),
        alerts: vec![member(&host)],
        assignee: None,
        snoozed: None,
        actor: None,
        comment: None,
    }
}

fn titles(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    let incidents = body["incidents"].as_array().expect("a list");
    incidents.iter().map(|one| one["title"].as_str().expect("a text").to_owned()).collect()
}

/// An incident of three, the last of which was turned down by the first incident.
fn gathered() -> Change {
    let mut change = incident(8);
    let by = vec![("cluster".into(), "web".into())];
    let pair = Pair { pattern: "cluster".into(), by, source: None, chronic: false, near: None };
    let mut alerts: Vec<Member> = (0..3).map(|nth| member(&format!("db-{nth}"))).collect();
    alerts.sort_by_key(|alert| alert.id);
    for alert in &mut alerts[1..] {
        alert.why.pair = Some(pair.clone());
    }
    alerts[2].why.turned_down = vec![TurnedDown {
        incident: incident(0).id,
        pattern: "host".into(),
        reason: Refusal::OutsideWindow,
        apart: Span::from_secs(3_640),
        missed: Some((Span::from_secs(40), Side::Late)),
        besides: Vec::new(),
    }];
    change.further = vec![Pair { pattern: "rack".into(), ..pair.clone() }];
    change.pair = Some(pair);
    change.counts.total = 3;
    change.alerts = alerts;
    change
}

#[test]
fn an_incident_explains_itself_page_by_page() {
    let rig = rig(settings(), &intake::Settings::default());
    let whole = gathered();
    let (id, alerts) = (whole.id, whole.alerts.clone());
    rig.board.load(NOW, vec![incident(0), whole]);
    let first = rig.get(&format!("/v1/incidents/{id}/explain?limit=2")).json();
    let names: Vec<_> =
        first["pairs"].as_array().expect("a list").iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["cluster", "rack"]);
    assert_eq!(first["alerts"].as_array().map(Vec::len), Some(2));
    let text = first["text"].as_str().expect("a text");
    assert!(text.contains("   2. ") && text.contains("… and 1 more alert"), "{text}");
    assert_eq!(first["next"], json!(alerts[1].id.to_string()));
    let path = format!("/v1/incidents/{id}/explain?cursor={}", alerts[1].id);
    let second = rig.get(&path).json();
    let (text, other) = (second["text"].as_str().expect("a text"), incident(0).id);
    let refused = format!("not {other} (\"web-0\") by `host`: outside its window, 40s too late");
    assert!(text.contains("   3. ") && text.contains(&refused), "{text}");
    assert_eq!(second["incidents"][other.to_string()], json!({"title": "web-0", "state": "open"}));
    assert_eq!((&second["next"], &second["as_of"]), (&Value::Null, &first["as_of"]));
    assert_eq!(second["alerts"][0]["why"]["turned_down"][0]["missed_ms"], json!(40_000));
    assert_eq!(second["alerts"][0]["near_misses"], json!([]), "it is not alone");
    for (query, reason) in [("limit=0", "bad_query"), ("cursor=x", "bad_id"), ("x=1", "bad_query")]
    {
        let answer = rig.get(&format!("/v1/incidents/{id}/explain?{query}"));
        assert_eq!((answer.status, answer.reason().as_str()), (400, reason), "{query}");
    }
}

#[test]
fn an_alert_explains_itself_wherever_it_is() {
    let rig = rig(settings(), &intake::Settings::default());
    let (whole, mut alone) = (gathered(), incident(2));
    let third = whole.alerts[2].id;
    alone.alerts[0].why.turned_down = whole.alerts[2].why.turned_down.clone();
    let single = alone.alerts[0].id;
    rig.board.load(NOW, vec![incident(0), whole, alone]);
    let answer = rig.get(&format!("/v1/alerts/{third}/explain")).json();
    assert_eq!(answer["id"], json!(gathered().id.to_string()));
    assert_eq!(answer["alert"]["why"]["pattern"]["name"], json!("cluster"));
    let answer = rig.get(&format!("/v1/alerts/{single}/explain")).json();
    let miss = format!(
        "would have joined {} (\"web-0\") by `host` had it started 40s earlier",
        incident(0).id
    );
    assert_eq!(answer["alert"]["near_misses"], json!([miss]));
    assert!(answer["text"].as_str().is_some_and(|text| text.contains(&miss)), "{answer}");
    // An id of the other kind is refused by name, and one that is not there is not found.
    let wrong = rig.get(&format!("/v1/alerts/{}/explain", gathered().id));
    assert_eq!((wrong.status, wrong.reason().as_str()), (400, "bad_id"));
    assert!(wrong.body.contains("is the id of an incident"), "{}", wrong.body);
    let gone = AlertId::derive(NOW, &Identity::new("n", Some("gone"), None, None), 0);
    let gone = rig.get(&format!("/v1/alerts/{gone}/explain"));
    assert_eq!((gone.status, gone.reason().as_str()), (404, "no_such_alert"));
}

#[test]
fn explain_on_the_command_line_prints_what_the_api_says() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.board.load(NOW, vec![incident(0), gathered()]);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["explain", "--api", &format!("http://{}", rig.address)])
            .args(arguments)
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("utf-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let id = gathered().id.to_string();
    let told = rig.get(&format!("/v1/incidents/{id}/explain")).json();
    assert_eq!(
        run(&[&id]),
        (Some(0), told["text"].as_str().expect("a text").to_owned(), String::new())
    );
    let (code, out, _) = run(&[&id, "--json", "--limit", "1"]);
    let json: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((code, &json["next"]), (Some(0), &json["alerts"][0]["id"]));
    let (code, out, _) = run(&[&id, "--limit", "1"]);
    let next = json["next"].as_str().expect("an id");
    assert!(code == Some(0) && out.ends_with(&format!("Go on with --after {next}\n")), "{out}");
    let (code, out, _) = run(&[&id, "--after", next]);
    assert!(code == Some(0) && out.contains("   2. ") && !out.contains("   1. "), "{out}");
    let (code, out, _) = run(&[next]);
    assert!(code == Some(0) && out.contains(next), "{out}");
    let (code, _, err) = run(&["inc_x"]);
    assert!(code == Some(64) && err.contains("is no incident id"), "{err}");
    rig.stop.begin();
    rig.until("it is gone", || TcpStream::connect(rig.address).is_err());
    let (code, _, err) = run(&[&id]);
    assert!(code == Some(1) && err.contains("is `muster run` there"), "{err}");
}

#[test]
fn events_are_answered_202_only_after_the_commit() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.gate.set(|state| state.shut = true);
    let stream = rig.begin_post("a !b c");
    rig.until("the commit is under way", || rig.gate.get(|state| state.waiting == 1));
    assert!(is_silent(&stream), "answered before it was durable");
    rig.gate.set(|state| state.shut = false);
    let answer = answer(stream);
    assert_eq!(answer.status, 202);
    let rejected = json!([{"index": 1, "reason": "no_source", "message": "`!b` has no source"}]);
    assert_eq!(answer.json(), json!({"accepted": 2, "rejected": rejected}));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let appended = rig.gate.get(|state| state.appended.clone());
    let texts: Vec<&str> = appended.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["a", "c", "!b"]);
}

#[test]
fn requests_that_wait_share_one_commit() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.gate.set(|state| state.shut = true);
    let first = rig.begin_post("a");
    rig.until("the first is under way", || rig.gate.get(|state| state.waiting == 1));
    let others: Vec<TcpStream> = (0..5).map(|nth| rig.begin_post(&format!("b{nth}"))).collect();
    let depth = rig.metrics.queue_depth.with_label_values(&["intake"]);
    rig.until("all wait", || depth.get() == 6);
    rig.gate.set(|state| state.shut = false);
    for stream in others.into_iter().chain([first]) {
        assert_eq!(answer(stream).status, 202);
    }
    assert_eq!(depth.get(), 0);
}

#[test]
fn nothing_good_is_400_with_the_reason_and_the_dead_letters_are_written_first() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.gate.set(|state| state.shut = true);
    let stream = rig.begin_post("!a !b");
    rig.until("dead letters are under way", || rig.gate.get(|state| state.waiting == 1));
    assert!(is_silent(&stream));
    rig.gate.set(|state| state.shut = false);
    let answer = answer(stream);
    assert_eq!((answer.status, answer.reason().as_str()), (400, "no_source"));
    let body = answer.json();
    assert_eq!(
        (&body["accepted"], body["rejected"].as_array().map(Vec::len)),
        (&json!(0), Some(2))
    );
    let appended = rig.gate.get(|state| state.appended.clone());
    assert_eq!(appended[0], (Topic::DeadLetters, "!a".to_owned()));
    // An answer is bounded, however much was wrong.
    let answer = rig.post(&"! ".repeat(5_000));
    let body = answer.json();
    assert_eq!(body["rejected"].as_array().map(Vec::len), Some(100));
    assert_eq!(body["rejected_total"], 5_000);
    // An empty list is nothing wrong.
    assert_eq!(rig.post("").json(), json!({"accepted": 0, "rejected": []}));
}

#[test]
fn a_body_over_the_limit_is_413_announced_or_not() {
    let rig = rig(Settings { body_bytes: 1_000, ..settings() }, &intake::Settings::default());
    assert_eq!(rig.post(&"a".repeat(1_000)).status, 202);
    for size in [1_001, 500_000] {
        let answer = rig.post(&"a".repeat(size));
        assert_eq!((answer.status, answer.reason().as_str()), (413, "too_large"), "{size}");
    }
    // Announced only, never sent.
    let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(answer(rig.send(head)).status, 413);
    let chunk = format!("190\r\n{}\r\n", "a".repeat(400));
    let chunked = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(3)
    );
    assert_eq!(answer(rig.send(&chunked)).status, 413);
    assert_eq!(rig.gate.get(|state| state.appended.len()), 1);
}

#[test]
fn a_journal_that_cannot_commit_is_503_and_the_next_try_goes_well() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.gate.set(|state| state.fails = true);
    for body in ["a", "!a"] {
        let answer = rig.post(body);
        assert_eq!((answer.status, answer.reason().as_str()), (503, "journal_unavailable"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.body.contains("disk full"), "{}", answer.body);
    }
    rig.gate.set(|state| state.fails = false);
    assert_eq!(rig.post("a").status, 202);
    assert_eq!(rig.gate.get(|state| state.appended.len()), 1);
}

#[test]
fn a_full_queue_is_503_at_once() {
    let queue = intake::Settings { requests: 1, ..intake::Settings::default() };
    let rig = rig(settings(), &queue);
    rig.gate.set(|state| state.shut = true);
    let first = rig.begin_post("a");
    rig.until("the first is under way", || rig.gate.get(|state| state.waiting == 1));
    let second = rig.begin_post("b");
    let depth = rig.metrics.queue_depth.with_label_values(&["intake"]);
    rig.until("the second waits", || depth.get() == 2);
    let third = rig.post("c");
    assert_eq!((third.status, third.reason().as_str()), (503, "queue_full"));
    assert_eq!(third.header("retry-after"), Some("1"));
    rig.gate.set(|state| state.shut = false);
    assert_eq!((answer(first).status, answer(second).status), (202, 202));
}

#[test]
fn bytes_that_are_still_arriving_count_as_held() {
    let queue = intake::Settings { bytes: 1_000, ..intake::Settings::default() };
    let rig = rig(settings(), &queue);
    let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 901\r\n\r\n";
    let request = format!("{head}{}", "a".repeat(900));
    let watch = Stopwatch::start();
    // Whether the slow one's bytes arrive before the other's is not ours to say: the slow one may
    // be the one that is refused.
    let slow = loop {
        let slow = rig.send(&request);
        if rig.post(&"b".repeat(200)).status == 503 && is_silent(&slow) {
            break slow;
        }
        assert!(watch.elapsed() < LONG, "never: no room is left");
    };
    assert_eq!(rig.post("c").status, 202, "there is room for a small one");
    drop(slow);
    rig.until("the room is given back", || rig.post(&"b".repeat(1_000)).status == 202);
}

#[test]
fn who_does_not_send_the_head_or_the_body_is_cut_off() {
    let short = Settings {
        header_timeout: Span::from_millis(100),
        timeout: Span::from_millis(400),
        ..settings()
    };
    let rig = rig(short, &intake::Settings::default());
    for head in ["", "POST /v1/events HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = rig.send(head);
        let mut rest = Vec::new();
        // hyper ends such a connection, with 408 or without a word.
        stream.read_to_end(&mut rest).expect("it is closed, not left open");
    }
    let stream = rig.send("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    let late = answer(stream);
    assert_eq!((late.status, late.reason().as_str()), (408, "body_timeout"));
    // The body is there, but the journal does not answer in time.
    rig.gate.set(|state| state.shut = true);
    let late = rig.post("a");
    assert_eq!((late.status, late.reason().as_str()), (503, "timeout"));
    assert_eq!(late.header("retry-after"), Some("1"));
}

#[test]
fn connections_beyond_the_cap_wait_until_others_end() {
    let rig = rig(Settings { connections: 2, ..settings() }, &intake::Settings::default());
    let idle = [rig.connect(), rig.connect()];
    rig.until("both are open", || rig.metrics.http_connections.get() == 2);
    let third = rig.send("GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    // The server cannot get to it: both slots are taken, and the gauge never shows a third.
    std::thread::sleep(Duration::from_millis(50));
    assert!(is_silent(&third));
    assert_eq!(rig.metrics.http_connections.get(), 2);
    drop(idle);
    assert_eq!(answer(third).status, 200);
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let short = Settings { timeout: Span::from_millis(300), connections: 1, ..settings() };
    let rig = rig(short, &intake::Settings::default());
    let mut big = incident(2);
    big.alerts[0].description = "x".repeat(64 << 20).into();
    rig.board.load(NOW, vec![big.clone()]);
    let head = format!("GET /v1/incidents/{} HTTP/1.1\r\nhost: x\r\n\r\n", big.id);
    let stuck = rig.send(&head);
    // The only slot comes free though its holder stays.
    assert_eq!(rig.get("/health/live").status, 200);
    drop(stuck);
}

#[test]
fn a_stop_lets_what_is_under_way_finish_and_takes_nothing_more() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.gate.set(|state| state.shut = true);
    let under_way = rig.begin_post("a");
    rig.until("it is under way", || rig.gate.get(|state| state.waiting == 1));
    // It asks before it sends the body, and is told once somebody waits for it.
    let expect = "expect: 100-continue\r\ncontent-length: 10";
    let mut half = rig.send(&format!("POST /v1/events HTTP/1.1\r\nhost: x\r\n{expect}\r\n\r\n"));
    let mut told = [0; 25];
    half.read_exact(&mut told).expect("the body is asked for");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut idle = rig.connect();
    rig.until("all are open", || rig.metrics.http_connections.get() == 3);
    rig.stop.begin();
    let refused = answer(half);
    assert_eq!((refused.status, refused.reason().as_str()), (503, "shutting_down"));
    idle.read_to_end(&mut Vec::new()).expect("it is closed");
    rig.until("nobody listens", || TcpStream::connect(rig.address).is_err());
    assert!(is_silent(&under_way));
    rig.gate.set(|state| state.shut = false);
    assert_eq!(answer(under_way).status, 202);
    rig.until("the server is done", || rig.server.as_ref().is_some_and(JoinHandle::is_finished));
}

#[test]
fn every_error_is_json_and_paths_are_counted_by_route() {
    let rig = rig(settings(), &intake::Settings::default());
    let answer = rig.get("/nothing/here");
    assert_eq!((answer.status, answer.reason().as_str()), (404, "no_such_route"));
    let answer = rig.ask("DELETE", "/v1/incidents");
    assert_eq!((answer.status, answer.reason().as_str()), (405, "no_such_method"));
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    rig.get("/v1/incidents/inc_0");
    rig.get("/v1/incidents/inc_1");
    let count =
        |route: &str, code: &str| rig.metrics.http_requests.with_label_values(&[route, code]).get();
    assert_eq!(count("other", "404"), 1);
    assert_eq!(count("/v1/incidents", "405"), 1);
    assert_eq!(count("/v1/incidents/{id}", "400"), 2);
}

#[test]
fn incidents_are_listed_newest_first_in_pages() {
    let rig = rig(settings(), &intake::Settings::default());
    let early = rig.get("/v1/incidents");
    assert_eq!((early.status, early.reason().as_str()), (503, "board_not_loaded"));
    rig.board.load(NOW, (0..7).map(incident).collect());
    rig.board.current_as_of(NOW - Span::from_secs(3));

    let open = rig.get("/v1/incidents");
    assert_eq!(titles(&open), ["web-6", "web-4", "web-2", "web-0"]);
    let body = open.json();
    assert_eq!(body["as_of"], NOW.as_millis() - 3_000);
    assert_eq!(body["next"], Value::Null);
    assert!(body["incidents"][0].get("alerts").is_none(), "{body}");
    assert_eq!(body["incidents"][0]["counts"]["firing"], 1);
    assert_eq!(titles(&rig.get("/v1/incidents?state=resolved")), ["web-5", "web-3", "web-1"]);

    let first = rig.get("/v1/incidents?state=all&limit=5");
    assert_eq!(titles(&first), ["web-6", "web-5", "web-4", "web-3", "web-2"]);
    let cursor = first.json()["next"].as_str().expect("there are more").to_owned();
    let second = rig.get(&format!("/v1/incidents?state=all&limit=5&cursor={cursor}"));
    assert_eq!(titles(&second), ["web-1", "web-0"]);
    assert_eq!(second.json()["next"], Value::Null);
}

#[test]
fn incidents_are_matched_as_everywhere_and_mistakes_are_named() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.board.load(NOW, (0..7).map(incident).collect());
    for (query, expected) in [
        ("match=env%3D%22prod%22", &["web-2", "web-0"][..]),
        ("match=env%3Dprod&match=host%3D~%22web-%5B26%5D%22", &["web-2"]),
        ("match=status%3Dcritical%2Chost!%3Dweb-6", &["web-4", "web-2", "web-0"]),
        ("state=all&match=host%3Dweb-5", &["web-5"]),
        ("match=host%3Dnone", &[]),
    ] {
        assert_eq!(titles(&rig.get(&format!("/v1/incidents?{query}"))), expected, "{query}");
    }
    for (query, reason, part) in [
        ("match=env", "bad_matcher", "operator"),
        ("match=env%3D~%22(%22", "bad_matcher", "unclosed"),
        ("state=closed", "bad_query", "resolved"),
        ("limit=1001", "bad_query", "1000"),
        ("limit=0", "bad_query", "1000"),
        ("limit=ten", "bad_query", "1000"),
        ("matcher=x", "bad_query", "matcher"),
        ("cursor=7", "bad_id", "incident"),
    ] {
        let answer = rig.get(&format!("/v1/incidents?{query}"));
        assert_eq!((answer.status, answer.reason().as_str()), (400, reason), "{query}");
        assert!(answer.body.contains(part), "{query}: {}", answer.body);
    }
    let many = "match=a%3Db&".repeat(51);
    assert_eq!(rig.get(&format!("/v1/incidents?{many}")).reason(), "bad_matcher");
}

#[test]
fn one_incident_is_shown_whole_and_other_ids_are_refused_by_name() {
    let rig = rig(settings(), &intake::Settings::default());
    let shown = incident(2);
    assert_eq!(rig.get(&format!("/v1/incidents/{}", shown.id)).reason(), "board_not_loaded");
    rig.board.load(NOW, vec![shown.clone()]);
    rig.board.current_as_of(NOW);
    let answer = rig.get(&format!("/v1/incidents/{}", shown.id));
    assert_eq!(answer.status, 200);
    let mut expected = muster::wire::change::to_json(&shown);
    expected["as_of"] = NOW.as_millis().into();
    assert_eq!(answer.json(), expected);
    assert_eq!(expected["alerts"][0]["host"], "web-2");

    let alert = rig.get(&format!("/v1/incidents/{}", member("web-2").id));
    assert_eq!((alert.status, alert.reason().as_str()), (400, "bad_id"));
    assert!(alert.body.contains("is the id of an alert"), "{}", alert.body);
    assert_eq!(rig.get("/v1/incidents/%ff").status, 400);
    let unknown = rig.get(&format!("/v1/incidents/{}", incident(4).id));
    assert_eq!((unknown.status, unknown.reason().as_str()), (404, "no_such_incident"));
}

#[test]
fn health_says_what_is_wrong_and_metrics_say_how_old_the_board_is() {
    let rig = rig(settings(), &intake::Settings::default());
    assert_eq!(rig.get("/health/live").status, 200);
    assert_eq!(rig.get("/health/ready").json(), json!({"ready": true}));
    rig.health.bad("journal", "disk full");
    let answer = rig.get("/health/ready");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"ready": false, "troubles": {"journal": "disk full"}}));
    assert_eq!(rig.get("/health/live").status, 200, "it lives all the same");

    rig.board.load(NOW, Vec::new());
    rig.board.current_as_of(NOW);
    rig.clock.advance(Span::from_secs(42));
    let answer = rig.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "muster_board_age_seconds 42",
        r#"muster_http_requests_total{code="503",route="/health/ready"} 1"#,
        r#"muster_board_dropped_total{what="open_incident"} 0"#,
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line} in {}", answer.body);
    }
}

// Commands, with correlate played by the test: two partitions of its log.

impl Rig {
    fn begin_command(&self, path: &str, body: &Value) -> TcpStream {
        let body = body.to_string();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// The `nth` command that was written, counted from 0.
    fn written(&self, nth: usize) -> Value {
        self.until("a command is written", || self.gate.get(|state| state.appended.len() > nth));
        let (topic, text) = self.gate.get(|state| state.appended[nth].clone());
        assert_eq!(topic, Topic::Alerts);
        serde_json::from_str(&text).expect("a command")
    }

    /// A partition answers a command.
    fn learn(&self, partition: u32, confirm: Option<u64>, outcome: Outcome, count: u64) {
        self.board.learn(CommandResult {
            request: RequestId::parse("r1").expect("an id"),
            partition,
            at: NOW,
            action: "resolve".into(),
            confirm,
            outcome,
            count,
            message: format!("partition {partition} speaks").into(),
            incidents: Vec::new(),
            lines: Vec::new(),
        });
    }
}

const ASKS: Outcome = Outcome::Refused(Refused::Confirm);

#[test]
fn what_concerns_all_shards_is_counted_in_each_and_confirmed_in_all() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.board.load(NOW, Vec::new());
    let ask = |confirm: Option<u64>| {
        let body =
            json!({"actor": "ann", "match": ["a=b"], "request_id": "r1", "confirm": confirm});
        rig.begin_command("/v1/incidents/resolve", &body)
    };
    let stream = ask(None);
    assert_eq!(
        (&rig.written(0)["confirm"], &rig.written(1)["confirm"]),
        (&Value::Null, &Value::Null)
    );
    rig.learn(0, None, ASKS, 2);
    assert!(is_silent(&stream), "one of two has answered");
    rig.learn(1, None, ASKS, 1);
    let answer_1 = answer(stream);
    assert_eq!((answer_1.status, answer_1.reason().as_str()), (409, "confirm"));
    assert_eq!(answer_1.json()["count"], 3);
    assert!(
        answer_1.json()["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("`confirm` 3"))
    );

    // A count of before is no answer now: each is asked again, and there is one more.
    let stream = ask(Some(3));
    rig.written(3);
    rig.learn(0, None, ASKS, 2);
    rig.learn(1, None, ASKS, 2);
    let answer_2 = answer(stream);
    assert_eq!((answer_2.status, &answer_2.json()["count"]), (409, &json!(4)));
    assert_eq!(rig.gate.get(|state| state.appended.len()), 4, "nothing was confirmed");

    let stream = ask(Some(4));
    rig.written(5);
    rig.learn(0, None, ASKS, 3);
    rig.learn(1, None, Outcome::Done, 0);
    assert_eq!((answer(stream).status, rig.gate.get(|state| state.appended.len())), (409, 6));

    let stream = ask(Some(3));
    rig.written(7);
    rig.learn(0, None, ASKS, 3);
    assert_eq!(rig.written(8)["confirm"], 3, "its own count");
    assert_eq!(rig.written(9)["confirm"], 0);
    rig.learn(0, None, ASKS, 3);
    assert!(is_silent(&stream), "the count that was asked for is no answer to the confirmed one");
    rig.learn(0, Some(3), Outcome::Done, 3);
    let done = answer(stream);
    assert_eq!((done.status, &done.json()["count"]), (200, &json!(3)), "{}", done.body);
    // Sent once more, with whatever count: what is known is answered, and nothing is written.
    assert_eq!(answer(ask(Some(9))).json(), done.json());
    assert_eq!(rig.gate.get(|state| state.appended.len()), 10);
}

#[test]
fn a_command_without_a_result_in_time_is_202_and_tells_where_it_will_be() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.board.load(NOW, vec![incident(2)]);
    let path = format!("/v1/incidents/{}/resolve", incident(2).id);
    let body = json!({"actor": "ann", "request_id": "r1"});
    let late = answer(rig.begin_command(&path, &body));
    assert_eq!((late.status, late.header("location")), (202, Some("/v1/commands/r1")));
    assert_eq!(late.json()["outcome"], "pending");
    assert_eq!(rig.written(0)["incidents"], json!([incident(2).id.to_string()]));
    assert_eq!(rig.get("/v1/commands/r1").status, 404);
    for partition in 0..2 {
        rig.learn(partition, None, Outcome::Done, 1);
    }
    let found = rig.get("/v1/commands/r1");
    assert_eq!((found.status, &found.json()["outcome"]), (200, &json!("done")));
    assert_eq!(answer(rig.begin_command(&path, &body)).status, 200);
    // Where the log cannot be written nothing is known, and the same may be sent again.
    rig.gate.set(|state| state.fails = true);
    let other = json!({"actor": "ann", "request_id": "r2"});
    let failed = answer(rig.begin_command(&path, &other));
    assert_eq!((failed.status, failed.reason().as_str()), (503, "journal_unavailable"));
    rig.stop.begin();
}

#[test]
fn a_plan_goes_to_every_partition_and_is_shown_as_one() {
    let rig = rig(settings(), &intake::Settings::default());
    rig.board.load(NOW, Vec::new());
    let ask = |path: &str, confirm: Option<u64>| {
        let body = json!({
            "actor": "ann", "request_id": "r1", "confirm": confirm, "name": "work", "match": "a=b",
            "every": "day", "at": "02:00", "for": "2h", "time_zone": "UTC",
        });
        rig.begin_command(path, &body)
    };
    let stream = ask("/v1/maintenance", None);
    let written = [rig.written(0), rig.written(1)];
    assert_eq!(written[0], written[1]);
    assert_eq!(written[0]["action"], "maintenance_put");
    assert_eq!(written[0]["dry_run"], true, "none is put in force before all were asked");
    let sent = written[0]["plan"].as_str().expect("a plan");
    let id = MaintenanceId::of("request r1");
    let plan = muster::wire::maintenance::read(sent, id, "ann").expect("as correlate reads it");
    let learn =
        |partition: u32, action: &str, confirm: Option<u64>, outcome: Outcome, count: u64| {
            let lines = match outcome {
                Outcome::Done => vec![muster::wire::maintenance::to_json(&plan).to_string().into()],
                Outcome::Refused(_) => Vec::new(),
            };
            let request = if action == "maintenance_put" { "r1" } else { "r2" };
            rig.board.learn(CommandResult {
                request: RequestId::parse(request).expect("an id"),
                partition,
                at: NOW,
                action: action.into(),
                confirm,
                outcome,
                count,
                message: format!("partition {partition} speaks").into(),
                incidents: Vec::new(),
                lines,
            });
        };
    // Many of the alerts are in one partition, few in the other.
    let counts = |many: u64, few: u64| {
        learn(0, "maintenance_put", None, ASKS, many);
        learn(1, "maintenance_put", None, ASKS, few);
    };
    let refused = |stream, parts: &[&str]| {
        let refused = answer(stream);
        assert_eq!((refused.status, refused.reason().as_str()), (409, "confirm"));
        let said = refused.json()["error"]["message"].to_string();
        for part in parts {
            assert!(said.contains(part), "{said}");
        }
        said
    };
    let shown = || rig.get(&format!("/v1/maintenance/{id}"));
    counts(12, 3);
    let said = refused(stream, &["15 would be touched", "`confirm` 15"]);
    assert!(!said.contains("partitions"), "none did it: {said}");
    assert_eq!(shown().status, 404);
    // Less than there are is refused by the sum, and so is what any partition refuses.
    let stream = ask("/v1/maintenance", Some(14));
    assert_eq!(
        (&rig.written(3)["dry_run"], &rig.written(3)["confirm"]),
        (&json!(true), &json!(null))
    );
    counts(12, 3);
    refused(stream, &["`confirm` 15"]);
    let stream = ask("/v1/maintenance", Some(15));
    rig.written(5);
    learn(0, "maintenance_put", None, ASKS, 12);
    learn(1, "maintenance_put", None, Outcome::Refused(Refused::TooMany), 0);
    assert_eq!(answer(stream).reason().as_str(), "too_many");
    assert_eq!(rig.gate.get(|state| state.appended.len()), 6, "only questions so far");

    // Each confirms what it found; one finds more meanwhile, and the same request finishes it.
    let stream = ask("/v1/maintenance", Some(15));
    rig.written(7);
    counts(12, 3);
    let sent = [rig.written(8), rig.written(9)];
    assert_eq!([&sent[0]["confirm"], &sent[1]["confirm"]], [&json!(12), &json!(3)]);
    assert!(sent.iter().all(|sent| sent.get("dry_run").is_none()), "{sent:?}");
    learn(0, "maintenance_put", Some(12), Outcome::Done, 12);
    learn(1, "maintenance_put", Some(3), ASKS, 11);
    refused(stream, &["`confirm` 23", "1 of 2 partitions", "request id, r1"]);
    assert_eq!(shown().json()["state"], "planned", "what is in force anywhere is shown");
    let stream = ask("/v1/maintenance", Some(23));
    rig.written(11);
    learn(0, "maintenance_put", Some(12), Outcome::Done, 12);
    learn(1, "maintenance_put", None, ASKS, 11);
    assert_eq!(rig.written(13)["confirm"], 11);
    learn(0, "maintenance_put", Some(12), Outcome::Done, 12);
    learn(1, "maintenance_put", Some(11), Outcome::Done, 11);
    let done = answer(stream);
    assert_eq!((done.status, &done.json()["count"]), (200, &json!(23)), "{}", done.body);
    assert_eq!(done.json()["maintenance"]["id"], id.to_string());
    assert_eq!(answer(ask("/v1/maintenance", None)).json(), done.json());
    assert_eq!(rig.gate.get(|state| state.appended.len()), 14, "the repeat was not written");

    // What one partition does not know can be ended in the others.
    let end = format!("/v1/maintenance/{id}/end");
    let stream = rig.begin_command(&end, &json!({"actor": "ann", "request_id": "r2"}));
    assert_eq!(rig.written(15)["id"], id.to_string());
    learn(0, "maintenance_end", None, Outcome::Done, 2);
    learn(1, "maintenance_end", None, Outcome::Refused(Refused::UnknownPlan), 0);
    assert_eq!(answer(stream).status, 200);
    // A result that is told once more says nothing of what came since.
    learn(0, "maintenance_put", Some(12), Outcome::Done, 12);
    rig.board.load_plans(Vec::new());
    learn(0, "maintenance_put", Some(12), Outcome::Done, 12);
    assert_eq!((shown().status, shown().reason().as_str()), (404, "unknown_plan"));
    rig.stop.begin();
}
