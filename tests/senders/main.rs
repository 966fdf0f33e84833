//! Real senders against the real program: what is sent here other people's programs wrote, so that
//! nobody's idea of a format stands between. Run by `tests/sources`, which installs the programs; one
//! that is missing fails its test.

#![expect(clippy::panic, reason = "a helper of a test says what it missed and fails the test")]

mod amtool;
mod kcat;
mod nagios;
#[expect(dead_code, reason = "shared with the tests that need no other programs")]
#[path = "../it/process.rs"]
mod process;
mod prometheus;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Stopwatch, SystemClock};
use muster::config::{self, JournalSettings};
use muster::journal::sqlite::Sqlite;
use muster::journal::{Followed, From, Journal};
use muster::model::ChangeKind;
use muster::stage::{Kind, Topic};
use muster::wire;
use reqwest::Method;
use serde_json::Value;
use tokio::runtime::Runtime;

use process::{Muster, free_port, wait_until};

/// Muster on an embedded journal, in a directory of its own.
struct Rig {
    directory: tempfile::TempDir,
    muster: Option<Muster>,
    port: u16,
    runtime: Runtime,
}

impl Rig {
    /// Starts it with sources (YAML, a list in flow style).
    fn start(sources: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let data = directory.path().join("data");
        let config = format!(
            "journal: {{kind: sqlite, path: \"{}\"}}\ncollect: {{sources: {sources}}}\n\
             correlate:\n  patterns:\n    - {{name: host, by: [host], window: 1h}}\n\
             api: {{listen: \"127.0.0.1:{port}\"}}\n",
            data.display()
        );
        std::fs::write(directory.path().join("muster.yaml"), config).expect("written");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut rig = Self { directory, muster: None, port, runtime };
        rig.run();
        rig
    }

    fn run(&mut self) {
        self.muster = Some(Muster::start(&self.path("muster.yaml"), &[]));
        wait_until("Muster to be ready", || {
            self.text(Method::GET, "/health/ready").is_some_and(|(status, _)| status == 200)
        });
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.muster.take().expect("it runs").kill();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn text(&self, method: Method, path: &str) -> Option<(u16, String)> {
        let url = format!("{}{path}", self.url());
        self.runtime.block_on(async {
            let answer = reqwest::Client::new().request(method, url).send().await.ok()?;
            let status = answer.status().as_u16();
            Some((status, answer.text().await.ok()?))
        })
    }

    fn get(&self, path: &str) -> Value {
        let (status, text) = self.text(Method::GET, path).expect("an answer");
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Every incident there was.
    fn incidents(&self) -> Vec<Value> {
        let all = self.get("/v1/incidents?state=all");
        all["incidents"].as_array().expect("a list").clone()
    }

    /// The incident of a host, with its alerts, once it has a state; at most one may there ever be.
    fn incident(&self, host: &str, state: &str) -> Value {
        let path = format!("/v1/incidents?state=all&match=host%3D{host}");
        let begun = Stopwatch::start();
        loop {
            let listed = self.get(&path);
            let found = listed["incidents"].as_array().expect("a list");
            assert!(found.len() <= 1, "several incidents of {host}: {listed}");
            if let Some(incident) = found.first().filter(|one| one["state"] == state) {
                let id = incident["id"].as_str().expect("an id");
                return self.get(&format!("/v1/incidents/{id}"));
            }
            assert!(begun.elapsed() < process::PATIENCE, "no {state} incident of {host}: {listed}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it in order and reads from its journal what happened to every incident: kinds of each
    /// revision, in their order.
    fn history(mut self) -> BTreeMap<String, Vec<Vec<ChangeKind>>> {
        self.muster.take().expect("it runs").ends_in_order();
        let config = config::load(Some(&self.path("muster.yaml"))).expect("the config is good");
        let JournalSettings::Sqlite(settings) = config.journal() else { panic!("SQLite it is") };
        let journal = Sqlite::open(&settings, Arc::new(SystemClock)).expect("it opens again");
        let mut follower =
            journal.follow(Topic::Incidents, From::Beginning).expect("the topic can be read");
        let mut history: BTreeMap<String, Vec<Vec<ChangeKind>>> = BTreeMap::new();
        loop {
            match follower.poll(Duration::from_millis(100)).expect("the topic can be read") {
                Followed::Batch(batch) => {
                    for at in 0..batch.len() {
                        let (_, record) = batch.get(at);
                        if record.kind != Kind::Change {
                            continue;
                        }
                        let value = record.value.expect("a change has a value");
                        let change = wire::change::decode(value).expect("a change");
                        let revisions = history.entry(change.id.to_string()).or_default();
                        revisions.push(change.kinds);
                        assert_eq!(change.revision, revisions.len() as u64, "{history:?}");
                    }
                }
                Followed::CaughtUp => return history,
                Followed::Idle => {}
            }
        }
    }

    /// That what was sent was taken whole: nothing was set aside.
    fn nothing_set_aside(&self) {
        let letters = self.get("/v1/dead-letters");
        assert_eq!(letters["total"], 0, "{letters}");
    }
}

/// A program of somebody else's that runs; it ends with this, and with the test process, however
/// that ends: a shell watches a pipe from us.
struct Program {
    shell: Child,
    log: PathBuf,
}

const WATCH: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
program=$!
{ cat <&3 >/dev/null; kill -9 "$program" 2>/dev/null; } &
watch=$!
exec 3<&-
wait "$program"
kill "$watch" 2>/dev/null
"#;

impl Program {
    fn start(program: &str, arguments: &[&str], log: &Path) -> Self {
        let file = File::create(log).expect("a log file");
        let shell = Command::new("sh")
            .args(["-c", WATCH, "watch", program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("sh runs");
        Self { shell, log: log.to_owned() }
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.shell.try_wait().expect("its state can be asked") {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("it ended by itself with {status}:\n{log}");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}

/// What a program that must be installed writes to standard output; it must end well.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("`{program}` does not run: {error}; tests/sources installs what these tests need")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}: {said}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
