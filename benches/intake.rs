//! How long a sender over HTTP waits until its alerts are durable: Prometheus' way, on SQLite.
//!
//! The whole program as a child process; clients on kept connections post batches of 64 alerts to
//! `/api/v2/alerts`. First 20,000 new alerts as fast as they are taken; then, for ten seconds, their
//! repeats at 20,000 a second, whether answers come or not: each is timed from when it was due, so that
//! a stall counts for all who wait in it. Every answer must be 200, and each alert be there once. `cargo bench --bench intake`; as a test a few batches.
#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::hash::Hasher;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use muster::clock::{Clock, Stopwatch, SystemClock};
use muster::telemetry::Latency;
use muster::testing::bench::is_test;
use siphasher::sip::SipHasher13;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Alerts of a batch, as Prometheus sends them.
const BATCH: u64 = 64;
const RATE: u64 = 20_000;
const CLIENTS: u64 = 8;
/// Different alerts; each is repeated once a second.
const ALERTS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let alerts = if is_test() { 1_000 } else { ALERTS };
    let batches = if is_test() { 40 } else { 10 * RATE / BATCH };
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = tempfile::Builder::new().prefix("intake-").tempdir_in(root);
    let directory = directory.expect("a directory");
    let muster = Muster::start(directory.path());
    // All of them are new, as fast as they are taken.
    drive(&muster, "a storm of new alerts", alerts.div_ceil(BATCH), alerts, u64::MAX);
    let seen = muster.until_seen(alerts);
    let answers = drive(&muster, "repeats", batches, alerts, RATE);
    let mut hash = SipHasher13::new();
    hash.write_u64(muster.until_seen(seen));
    hash.write_u64(answers);
    println!("result {:016x}", hash.finish());
}

/// Posts batches at a rate, from eight connections; how many answers there were.
fn drive(muster: &Muster, what: &str, batches: u64, alerts: u64, rate: u64) -> u64 {
    let bodies = (0..batches).map(|nth| body(nth, alerts));
    let bodies: Vec<Vec<u8>> = bodies.map(|body| muster.request(&body)).collect();
    let latency = Latency::new("intake_seconds", "an answer").expect("a good name");
    let all = Stopwatch::start();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (bodies, latency) = (&bodies, &latency);
            scope.spawn(move || {
                let mut connection = muster.connect();
                for nth in (client..batches).step_by(usize::try_from(CLIENTS).expect("few")) {
                    let mut due = Duration::from_nanos(nth * BATCH * 1_000_000_000 / rate);
                    std::thread::sleep(due.saturating_sub(all.elapsed()));
                    if rate == u64::MAX {
                        due = all.elapsed();
                    }
                    let request = &bodies[usize::try_from(nth).expect("few")];
                    assert_eq!(connection.exchange(request), 200, "batch {nth}");
                    latency.observe(all.elapsed().saturating_sub(due));
                }
            });
        }
    });
    let (took, quantiles) = (all.elapsed(), latency.quantiles());
    let rate = u128::from(batches * BATCH) * 1_000 / took.as_millis().max(1);
    println!(
        "http intake, {what}, {BATCH} at a time: {rate} alerts/s, p50 {:?}, p99 {:?}, max {:?}",
        quantiles.p50, quantiles.p99, quantiles.max
    );
    quantiles.count
}

/// A batch as Prometheus sends it: what fires, heard of again and again.
fn body(nth: u64, alerts: u64) -> Vec<u8> {
    let now = SystemClock.now().as_millis();
    let time = |millis: i64| jiff::Timestamp::from_millisecond(millis).expect("a time");
    let batch = (nth * BATCH..(nth + 1) * BATCH).map(|number| {
        let number = number % alerts;
        serde_json::json!({
            "labels": {
                "alertname": format!("HighLatency{}", number % 10), "severity": "warning",
                "instance": format!("web-{}:9100", number / 10), "job": "node", "cluster": "web",
            },
            "annotations": {"summary": "p99 is above 500 ms", "runbook_url": "https://wiki/latency"},
            "startsAt": time(now).to_string(),
            "endsAt": time(now + 240_000).to_string(),
            "generatorURL": "http://prometheus:9090/graph?g0.expr=latency&g0.tab=1",
        })
    });
    serde_json::Value::from(batch.collect::<Vec<_>>()).to_string().into_bytes()
}

struct Muster {
    child: Child,
    port: u16,
}

impl Muster {
    fn start(directory: &std::path::Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let config = directory.join("muster.yaml");
        let text = format!(
            "journal: {{path: \"{}\"}}\napi: {{listen: \"127.0.0.1:{port}\"}}\nlog: {{level: warn}}\n",
            directory.join("data").display()
        );
        std::fs::write(&config, text).expect("written");
        let child = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["run", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        let muster = Self { child, port };
        let watch = Stopwatch::start();
        while muster.get("/health/ready").is_none_or(|(status, _)| status != 200) {
            assert!(watch.elapsed() < PATIENCE, "it is never ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        muster
    }

    fn request(&self, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST /api/v2/alerts HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: \
             application/json\r\ncontent-length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket can be");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket can be");
        Connection(BufReader::new(stream))
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some((text.get(9..12)?.parse().ok()?, text))
    }

    /// Waits until so many alerts fire.
    fn until_seen(&self, alerts: u64) -> u64 {
        let watch = Stopwatch::start();
        loop {
            let (_, text) = self.get("/metrics").expect("an answer");
            let lines = text.lines().filter(|line| line.starts_with("muster_alerts_open{"));
            let count =
                |line: &str| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
            let seen: u64 = lines.filter_map(count).sum();
            if seen == alerts {
                return seen;
            }
            assert!(seen < alerts && watch.elapsed() < PATIENCE, "{seen} alerts and not {alerts}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Sends a request and reads the answer; its status.
    fn exchange(&mut self, request: &[u8]) -> u16 {
        self.0.get_mut().write_all(request).expect("it is read");
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).expect("an answer") > 0, "the connection broke");
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            }
            if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body");
        status
    }
}
