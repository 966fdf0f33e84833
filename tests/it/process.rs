//! The real program as a child process, and a receiver that remembers what it was told.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use muster::clock::Stopwatch;
use tokio::runtime::Runtime;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running `muster run`; killed when it is dropped.
pub(crate) struct Muster {
    child: Child,
    log: PathBuf,
}

impl Muster {
    /// Starts it with a config file; its log goes beside it.
    pub(crate) fn start(config: &Path, arguments: &[&str]) -> Self {
        let log = config.with_extension("log");
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_muster"))
            .arg("run")
            .arg("-c")
            .arg(config)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("the program starts");
        Self { child, log }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours to kill");
        self.child.wait().expect("it has ended");
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs");
        assert!(sent.success(), "SIGHUP was not sent");
    }

    /// SIGTERM; the exit code, and how long it took.
    fn terminate(mut self) -> (Option<i32>, Duration) {
        let asked = Stopwatch::start();
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success(), "SIGTERM was not sent");
        let status = self.child.wait().expect("it ends");
        (status.code(), asked.elapsed())
    }

    /// SIGTERM; it must end in order and in time.
    pub(crate) fn ends_in_order(self) {
        let (code, took) = self.terminate();
        assert_eq!(code, Some(0), "SIGTERM ends in order");
        assert!(took < Duration::from_secs(10), "SIGTERM took {took:?}");
    }

    /// What it logged, for the message of a failure.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Panics with its log where it has ended by itself.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("its state can be asked") {
            panic!("muster ended by itself with {status}:\n{}", self.log());
        }
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Waits until something holds, and fails with what it was after [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Stopwatch::start();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The values of each of some metrics, one a label set; none while it cannot be asked.
pub(crate) fn metrics(port: u16, names: &[&str]) -> Vec<Vec<f64>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("http://127.0.0.1:{port}/metrics");
    let text = runtime.block_on(async { reqwest::get(&url).await?.text().await });
    let text = text.unwrap_or_default();
    let values = |name: &&str| {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()))
            .map(|value| value.expect("a metric's line ends with its value"))
            .collect()
    };
    names.iter().map(values).collect()
}

/// One notice as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// `webhook-id`.
    pub(crate) id: String,
    /// The incident.
    pub(crate) incident: String,
    /// Its revision.
    pub(crate) revision: u64,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// A webhook receiver on loopback that takes everything.
pub(crate) struct Receiver {
    told: Arc<Mutex<Vec<Told>>>,
    /// Where it listens.
    pub(crate) url: String,
    _runtime: Runtime,
}

impl Receiver {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&told));
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { told, url, _runtime: runtime }
    }

    /// Everything it was told, in order.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no panic while holding it").clone()
    }
}

async fn take(
    State(told): State<Arc<Mutex<Vec<Told>>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let change: serde_json::Value = serde_json::from_slice(&body).expect("a change");
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).expect("a webhook-id");
    told.lock().expect("no panic while holding it").push(Told {
        id: id.to_owned(),
        incident: change["id"].as_str().expect("an id").to_owned(),
        revision: change["revision"].as_u64().expect("a revision"),
        body: body.to_vec(),
    });
    StatusCode::OK
}
