//! `muster publish`, with the real program: what cannot be sent waits, goes out in order, and what
//! the other side will never take holds nobody up.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use muster::clock::{Clock, Stopwatch, SystemClock};
use muster::kafka::bulk::create_topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::process::{Muster, free_port, wait_until};

/// What came in: path, the header `authorization`, the header `ce-type`, the body.
type Came = (String, String, String, String);

/// An HTTP server that answers a body which begins with a number by that status, else with 202.
struct Server {
    came: Arc<Mutex<Vec<Came>>>,
    _runtime: Runtime,
}

impl Server {
    fn start(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&came));
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", port)))
            .expect("the port is free");
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { came, _runtime: runtime }
    }

    fn bodies(&self) -> Vec<String> {
        self.came().into_iter().map(|(.., body)| body).collect()
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().expect("no panic while holding it").clone()
    }
}

async fn take(
    State(came): State<Arc<Mutex<Vec<Came>>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let status = body.get(..3).and_then(|start| start.parse::<u16>().ok());
    let came_in = (uri.path().to_owned(), header("authorization"), header("ce-type"), body);
    came.lock().expect("no panic while holding it").push(came_in);
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or(StatusCode::ACCEPTED);
    (status, r#"{"error":{"reason":"x","message":"as the test says"}}"#.to_owned())
}

/// A publisher's side.
struct Site {
    directory: TempDir,
    port: u16,
}

impl Site {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), port: free_port() }
    }

    fn spool(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut muster = Command::new(env!("CARGO_BIN_EXE_muster"));
        muster.arg("publish").args(arguments).current_dir(self.directory.path());
        for name in ["URL", "TOKEN_FILE", "CA_FILE", "BROKERS", "TOPIC", "SPOOL"] {
            muster.env_remove(format!("MUSTER_{name}"));
        }
        muster.env("MUSTER_URL", format!("http://127.0.0.1:{}", self.port));
        muster.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        muster
    }

    fn spawn(mut command: Command, payload: &str) -> Child {
        let mut child = command.spawn().expect("it runs");
        let mut input = child.stdin.take().expect("its input");
        // One that has failed before does not read it.
        drop(input.write_all(payload.as_bytes()));
        child
    }

    /// The exit code, and standard error.
    fn publish(&self, payload: &str, arguments: &[&str]) -> (i32, String) {
        let arguments = [&["--source", "nagios"], arguments].concat();
        Self::end(Self::spawn(self.command(&arguments), payload))
    }

    fn end(child: Child) -> (i32, String) {
        let said = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&said.stderr).into_owned();
        (said.status.code().expect("a code"), err)
    }

    /// The same with the spool.
    fn spooling(&self, payload: &str, arguments: &[&str]) -> (i32, String) {
        let spool = self.spool();
        let spool = ["--spool", spool.to_str().expect("text")];
        self.publish(payload, &[&spool, arguments].concat())
    }

    fn flush(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.command(&[&["--flush"], arguments].concat());
        command.env("MUSTER_SPOOL", self.spool());
        Self::end(Self::spawn(command, ""))
    }

    fn waiting(&self) -> usize {
        payloads(&self.spool()).len()
    }
}

fn payloads(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.expect("it is listed").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "payload"));
    found.sort();
    found
}

#[test]
fn what_cannot_be_sent_waits_and_goes_out_in_order_before_the_next() {
    let site = Site::new();
    let token = site.directory.path().join("token");
    fs::write(&token, "s3cret\n").expect("written");
    let (code, err) = site.publish("nowhere", &[]);
    assert_eq!(code, 69, "{err}");
    assert!(err.contains("LOST") && err.contains("cannot connect"), "{err}");

    let first = ["--header", "ce-type=a.b", "--header", "X-Api-Key: k"];
    let (code, err) = site.spooling("one", &first);
    assert_eq!(code, 75, "{err}");
    assert!(err.contains("spooled in"), "{err}");
    assert_eq!(site.spooling("two", &["--spooled-ok"]).0, 0);
    let files = payloads(&site.spool());
    let kept = fs::read_to_string(&files[0]).expect("it is there");
    assert!(kept.contains("ce-type") && !kept.contains("x-api-key"), "no secret waits: {kept}");
    assert_eq!(site.flush(&[]).0, 75);
    assert_eq!(site.waiting(), 2);

    let server = Server::start(site.port);
    let file = ["--token-file", token.to_str().expect("text")];
    let (code, err) = site.spooling("three", &file);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(server.bodies(), ["one", "two", "three"]);
    let (path, token, header, _) = server.came().remove(0);
    assert_eq!((path.as_str(), token.as_str()), ("/v1/events/nagios", "Bearer s3cret"));
    assert_eq!(header, "a.b");
    assert_eq!(site.waiting(), 0);
    let (code, err) = site.flush(&[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(site.publish("four", &[]).0, 0);
    let fields = ["--field", "host=web-1", "--field", "status=ok", "--field", "tag.team=a"];
    assert_eq!(site.spooling("", &fields).0, 0);
    let (path, .., body) = server.came().pop().expect("it came");
    let event: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(path, "/v1/events");
    assert_eq!((&event["source"], &event["tags"]), (&json!("nagios"), &json!({"team": "a"})));
    assert!(event["timestamp"].as_i64().is_some_and(|at| at > 1_700_000_000_000), "{event}");
}

#[test]
fn a_full_spool_keeps_the_oldest_and_says_so() {
    let site = Site::new();
    let small = ["--spool-bytes", "8192"];
    assert_eq!(site.spooling("one", &small).0, 75);
    assert_eq!(site.spooling("two", &small).0, 75);
    let (code, err) = site.spooling("three", &small);
    assert_eq!(code, 73, "{err}");
    assert!(err.contains("LOST: the spool") && err.contains("is full: 2 payloads"), "{err}");
    assert_eq!(site.waiting(), 2);
    let server = Server::start(site.port);
    // Now there is a way to make room.
    let (code, err) = site.spooling("four", &small);
    assert_eq!(code, 0, "{err}");
    assert_eq!(server.bodies(), ["one", "two", "four"]);
    // A directory that is none: it is sent straight, or known to be lost.
    let no_directory = site.directory.path().join("file");
    fs::write(&no_directory, "").expect("written");
    let broken = ["--spool", no_directory.to_str().expect("text")];
    let (code, err) = site.publish("five", &broken);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("cannot be used"), "{err}");
    drop(server);
    assert_eq!(site.publish("six", &broken).0, 73);
}

#[test]
fn what_is_refused_for_good_is_put_aside_and_holds_nobody_up_but_an_outage_does() {
    let site = Site::new();
    for payload in ["one", "401 no", "413 large", "two"] {
        assert_eq!(site.spooling(payload, &[]).0, 75);
    }
    let server = Server::start(site.port);
    let (code, err) = site.spooling("400 bad", &[]);
    assert_eq!(code, 65, "{err}");
    assert_eq!(server.bodies(), ["one", "401 no", "413 large", "two", "400 bad"]);
    assert_eq!(err.matches("REFUSED, put aside as").count(), 3, "{err}");
    assert!(err.contains("401") && err.contains("as the test says"), "{err}");
    assert_eq!((site.waiting(), payloads(&site.spool().join("refused")).len()), (0, 3));
    assert_eq!(site.spooling("three", &[]).0, 0, "all is well again");

    let (code, err) = site.spooling("503 busy", &[]);
    assert_eq!(code, 75, "{err}");
    assert_eq!(site.spooling("four", &[]).0, 75, "nobody gets past it");
    assert!(!server.bodies().contains(&"four".to_owned()));
    assert_eq!(site.flush(&[]).0, 75);
    assert_eq!(site.waiting(), 2);
    // Refused without a spool it is not kept.
    assert_eq!(site.publish("401 no", &[]).0, 65);
    assert_eq!(site.publish("503 busy", &[]).0, 69);
    // What was put aside can be put back by hand.
    let spool = site.spool();
    for path in payloads(&spool) {
        fs::remove_file(path).expect("it was there");
    }
    let aside = payloads(&spool.join("refused"));
    fs::rename(&aside[0], spool.join(aside[0].file_name().expect("a name"))).expect("moved");
    let (code, err) = site.flush(&[]);
    assert_eq!(code, 65, "{err}");
}

#[test]
fn a_call_ends_in_time_and_what_a_kill_interrupts_is_sent_by_the_next() {
    let site = Site::new();
    // It takes connections and never answers.
    let silent = TcpListener::bind(("127.0.0.1", site.port)).expect("the port is free");
    let asked = Stopwatch::start();
    let (code, err) = site.spooling("one", &["--timeout", "1s"]);
    assert_eq!(code, 75, "{err}");
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(4), "it took {took:?}");

    let spool = site.spool();
    let spool = spool.to_str().expect("text");
    let slow = site.command(&["--source", "nagios", "--spool", spool, "--timeout", "60s"]);
    let mut child = Site::spawn(slow, "two");
    wait_until("it to be on disk", || site.waiting() == 2);
    child.kill().expect("it is ours to kill");
    child.wait().expect("it has ended");
    // A torn file and one that was never finished, as a power failure leaves them.
    let whole = fs::read(&payloads(&site.spool())[0]).expect("it is there");
    let torn = site.spool().join("00000000000000000000-00000000.payload");
    fs::write(&torn, &whole[..whole.len() - 1]).expect("written");
    fs::write(site.spool().join("00000000000000000009-00000000.new"), "{").expect("written");
    drop(silent);
    let server = Server::start(site.port);
    let (code, err) = site.spooling("three", &[]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(server.bodies(), ["one", "two", "three"]);
    assert!(
        err.contains("it cannot be read") && err.contains("1 payloads were not whole"),
        "{err}"
    );
    assert!(!torn.exists() && site.waiting() == 0);
}

#[test]
fn many_publishers_at_once_lose_nothing_and_keep_their_order() {
    const PUBLISHERS: usize = 6;
    const EACH: usize = 8;
    let site = Site::new();
    let server: Mutex<Option<Server>> = Mutex::default();
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (site, server) = (&site, &server);
            scope.spawn(move || {
                for nth in 0..EACH {
                    if publisher == 0 && nth == EACH / 2 {
                        *server.lock().expect("no panic") = Some(Server::start(site.port));
                    }
                    let (code, err) = site.spooling(&format!("p{publisher} {nth}"), &[]);
                    assert!(code == 0 || code == 75, "{code}: {err}");
                }
            });
        }
    });
    let (code, err) = site.flush(&[]);
    assert_eq!(code, 0, "{err}");
    let server = server.into_inner().expect("no panic").expect("it was started");
    let bodies = server.bodies();
    assert_eq!(bodies.len(), PUBLISHERS * EACH, "each once: nothing was interrupted");
    for publisher in 0..PUBLISHERS {
        let own: Vec<&str> =
            bodies.iter().filter_map(|body| body.strip_prefix(&format!("p{publisher} "))).collect();
        let wanted: Vec<String> = (0..EACH).map(|nth| nth.to_string()).collect();
        assert_eq!(own, wanted, "publisher {publisher}");
    }
    assert_eq!(site.waiting(), 0);
}

#[test]
fn an_event_that_waited_for_muster_is_as_old_as_it_is() {
    let site = Site::new();
    let path = site.directory.path().join("muster.yaml");
    let text = format!(
        "journal: {{kind: sqlite, path: \"{}\"}}\napi: {{listen: \"127.0.0.1:{}\"}}\n",
        site.directory.path().join("data").display(),
        site.port
    );
    fs::write(&path, text).expect("the config is written");
    // Where to is in the config.
    let spool = site.spool();
    let publish = |fields: &[&str]| {
        let config = ["--source", "backup", "-c", path.to_str().expect("text")];
        let spool = ["--spool", spool.to_str().expect("text")];
        let mut command = site.command(&[&config[..], &spool, fields].concat());
        command.env_remove("MUSTER_URL");
        Site::end(Site::spawn(command, ""))
    };
    let before = SystemClock.now().as_millis();
    let (code, err) = publish(&["--field", "host=db-1", "--field", "status=critical"]);
    assert_eq!(code, 75, "{err}");
    let after = SystemClock.now().as_millis();
    std::thread::sleep(Duration::from_millis(1_200));
    let mut muster = Muster::start(&path, &[]);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let incidents = || -> Value {
        let url = format!("http://127.0.0.1:{}/v1/incidents", site.port);
        let answer = runtime.block_on(async { reqwest::get(url).await?.json().await });
        let answer: Value = answer.unwrap_or_default();
        answer["incidents"].clone()
    };
    wait_until("it to be ready", || {
        muster.assert_running();
        incidents().is_array()
    });
    let (code, err) = publish(&["--field", "host=db-2", "--field", "status=warning"]);
    assert_eq!((code, err.as_str()), (0, ""));
    wait_until("both incidents", || incidents().as_array().is_some_and(|all| all.len() == 2));
    let all = incidents();
    let waited = all.as_array().expect("a list").iter().find(|one| one["hosts"] == json!(["db-1"]));
    let started = waited.expect("it is there")["started_at"].as_i64().expect("a time");
    assert!((before..=after).contains(&started), "{before} {started} {after}");
    // What Muster itself will never take.
    let (code, err) = publish(&["--field", "status=critical"]);
    assert_eq!(code, 65, "{err}");
    assert!(err.contains("REFUSED"), "{err}");
    muster.ends_in_order();
}

/// What a topic with one partition holds: key, value, the header `ce-type` and the time.
fn records(brokers: &str, topic: &str, count: usize) -> Vec<(String, String, String, i64)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "publish-test")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("it is taken");
    let mut found = Vec::new();
    let begun = Stopwatch::start();
    while found.len() < count {
        assert!(begun.elapsed() < crate::process::PATIENCE, "only {found:?} came");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("a record");
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let header = message
            .headers()
            .and_then(|all| all.iter().find(|header| header.key == "ce-type"))
            .map(|header| text(header.value));
        let at = message.timestamp().to_millis().expect("a time");
        let value = text(message.payload());
        found.push((text(message.key()), value, header.unwrap_or_default(), at));
    }
    found
}

#[test]
fn kafka_gets_what_waited_in_order_with_key_headers_and_time() {
    let site = Site::new();
    let brokers = muster::testing::broker::shared().expect("a broker");
    let topic = format!("published-{}", site.port);
    create_topic(&brokers, &topic, 1, &[("max.message.bytes", "2000")]).expect("a topic");
    let nobody = format!("127.0.0.1:{}", free_port());
    let before = SystemClock.now().as_millis();
    let more = ["--topic", &topic, "--key", "web-1", "--header", "ce-type=a", "--timeout", "1s"];
    let asked = Stopwatch::start();
    let (code, err) = site.spooling("one", &[&["--brokers", &nobody], &more[..]].concat());
    assert_eq!(code, 75, "{err}");
    assert!(err.contains(&topic) && err.contains("no acknowledgement"), "{err}");
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    let after = SystemClock.now().as_millis();
    // The topic of what waits is known with it.
    let (code, err) = site.spooling("two", &["--brokers", &brokers, "--topic", &topic]);
    assert_eq!((code, err.as_str()), (0, ""));
    // Random, since records are compressed.
    let large: String = (0..8_000).map(|_| fastrand::alphanumeric()).collect();
    let (code, err) = site.spooling(&large, &["--brokers", &brokers, "--topic", &topic]);
    assert_eq!(code, 65, "{err}");
    assert!(err.contains("REFUSED, put aside"), "{err}");
    let linger = ["--brokers", &brokers, "--topic", &topic, "-X", "linger.ms=1"];
    assert_eq!(site.spooling("three", &linger).0, 0);
    let found = records(&brokers, &topic, 3);
    let values: Vec<&str> = found.iter().map(|(_, value, ..)| value.as_str()).collect();
    assert_eq!(values, ["one", "two", "three"]);
    let (key, _, header, at) = &found[0];
    assert_eq!((key.as_str(), header.as_str()), ("web-1", "a"));
    assert!((before..=after).contains(at), "{before} {at} {after}");
    let (code, err) = site.publish("x", &["--brokers", &brokers, "--topic", "t", "-X", "acks=0"]);
    assert_eq!(code, 69, "{err}");
    assert!(err.contains("`acks`"), "{err}");
}

#[test]
fn a_wrong_command_line_is_told_and_nothing_is_kept() {
    let site = Site::new();
    for arguments in [
        &["--field", "host"][..],
        &["--header", "x"],
        &["--url", "nowhere"],
        &["--url", "http://x", "--topic", "t"],
        &["--brokers", "b:1"],
        &["--topic", "t"],
        &["--timeout", "soon"],
        &["--token-file", "/nonexistent"],
        &["no-such-file"],
    ] {
        let (code, err) = site.spooling("x", arguments);
        assert_eq!(code, 64, "{arguments:?}: {err}");
    }
    assert_eq!(site.spooling(" \n", &[]).0, 65);
    assert_eq!(site.waiting(), 0);
    let mut flush = site.command(&["--flush"]);
    flush.env_remove("MUSTER_SPOOL");
    assert_eq!(Site::end(Site::spawn(flush, "")).0, 64);
    let both = site.command(&["--source", "nagios", "--dry-run"]);
    let said = Site::spawn(both, "{}").wait_with_output().expect("it ends");
    assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(0), &b"{}"[..]));
}
