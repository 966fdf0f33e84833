//! The config read anew while the program runs: SIGHUP and `POST /-/reload`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Muster, Receiver, free_port, metrics, wait_until};

/// Patterns, limits and notify of a config.
struct Text<'a> {
    by: &'a str,
    value_bytes: u32,
    receiver: &'a Receiver,
    port: u16,
}

impl Text<'_> {
    fn write(&self, path: &Path) {
        let data = path.with_file_name("data");
        let text = format!(
            "journal: {{kind: sqlite, path: \"{}\"}}\n\
             collect: {{limits: {{value_bytes: {}}}}}\n\
             correlate: {{patterns: [{{name: one, by: [{}]}}]}}\n\
             notify:\n  receivers:\n    - {{name: stub, webhook: {{url: \"{}\"}}}}\n  \
             route: {{receiver: stub, group_wait: 0s}}\n\
             api: {{listen: \"127.0.0.1:{}\"}}\n",
            data.display(),
            self.value_bytes,
            self.by,
            self.receiver.url,
            self.port,
        );
        std::fs::write(path, text).expect("the config is written");
    }
}

struct Rig {
    directory: TempDir,
    port: u16,
    receivers: [Receiver; 2],
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory, port: free_port(), receivers: [Receiver::start(), Receiver::start()] }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("muster.yaml")
    }

    fn write(&self, by: &str, value_bytes: u32, receiver: usize) {
        let receiver = &self.receivers[receiver];
        Text { by, value_bytes, receiver, port: self.port }.write(&self.path());
    }

    fn start(&self) -> Muster {
        let muster = Muster::start(&self.path(), &[]);
        wait_until("it answers", || self.value("muster_config_last_reload_successful") == [1.0]);
        muster
    }

    fn value(&self, name: &str) -> Vec<f64> {
        metrics(self.port, &[name]).remove(0)
    }

    fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        runtime.block_on(async {
            let request = reqwest::Client::new().request(method, url).body(body.to_string());
            let answer = request.send().await.expect("it answers");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("a body");
            (status, serde_json::from_str(&text).unwrap_or(Value::Null))
        })
    }

    fn reload(&self) -> (u16, Value) {
        self.ask(reqwest::Method::POST, "/-/reload", Value::Null)
    }

    /// A problem of each of two checks of each of two hosts.
    fn problems(&self, hosts: [&str; 2], note: &str) {
        let problem = |host: &str, check: &str| {
            json!({"source": "nagios", "host": host, "check": check, "status": "critical",
                   "tags": {"note": note}})
        };
        let events: Vec<Value> = hosts
            .iter()
            .flat_map(|host| ["cpu", "disk"].map(|check| problem(host, check)))
            .collect();
        let (status, _) = self.ask(reqwest::Method::POST, "/v1/events", Value::Array(events));
        assert_eq!(status, 202);
    }

    fn incidents(&self) -> Vec<Value> {
        let (status, body) =
            self.ask(reqwest::Method::GET, "/v1/incidents?limit=1000", Value::Null);
        assert_eq!(status, 200);
        body["incidents"].as_array().expect("incidents").clone()
    }
}

#[test]
fn sighup_puts_patterns_limits_and_receivers_into_force() {
    let rig = Rig::new();
    rig.write("host", 512, 0);
    let muster = rig.start();
    rig.problems(["web-1", "web-2"], "abcdefghijklmnopqrstuvwxyz");
    wait_until("two incidents by host", || rig.incidents().len() == 2);
    wait_until("both are told", || rig.receivers[0].told().len() >= 2);

    rig.write("check", 16, 1);
    muster.hang_up();
    wait_until("the config is read", || rig.value("muster_config_reloads_total") == [0.0, 2.0]);
    rig.problems(["db-1", "db-2"], "abcdefghijklmnopqrstuvwxyz");
    wait_until("two more by check", || rig.incidents().len() == 4);
    let newer: Vec<Value> = rig
        .incidents()
        .into_iter()
        .filter(|incident| incident["pattern"]["by"]["check"].is_string())
        .collect();
    assert_eq!(newer.len(), 2, "{newer:?}");
    for incident in &newer {
        assert_eq!(incident["counts"]["firing"], 2, "{incident}");
        assert_eq!(incident["tags"]["note"], "abcdefghijklmnop", "the limit is the new one");
    }
    wait_until("the other receiver is told of both", || rig.receivers[1].told().len() >= 2);
    let ids: Vec<&str> = newer.iter().filter_map(|incident| incident["id"].as_str()).collect();
    let told = rig.receivers[0].told();
    assert!(told.iter().all(|told| !ids.contains(&told.incident.as_str())), "the old one is not");
    muster.ends_in_order();

    // What was reloaded is in the log: a restart with the same file appends nothing new.
    let settings = rig.settings_records();
    assert_eq!(settings, 2, "one at the first start, one at the reload");
    let again = rig.start();
    again.ends_in_order();
    assert_eq!(rig.settings_records(), settings);
}

#[test]
fn a_bad_config_changes_nothing_and_says_why() {
    let rig = Rig::new();
    rig.write("host", 512, 0);
    let muster = rig.start();
    std::fs::write(rig.path(), "correlate: {patterns: [{name: one, bye: [host]}]}\nfoo: 1\n")
        .expect("the config is written");
    let (status, body) = rig.reload();
    assert_eq!(status, 422, "{body}");
    assert_eq!(body["error"]["reason"], "bad_config");
    let message = body["error"]["message"].as_str().expect("a message");
    assert!(message.contains("correlate.patterns[0].bye") && message.contains("foo"), "{message}");
    muster.hang_up();
    wait_until("it was read twice more", || rig.value("muster_config_reloads_total") == [2.0, 1.0]);
    assert_eq!(rig.value("muster_config_last_reload_successful"), [0.0]);
    assert!(muster.log().contains("config not reloaded"), "{}", muster.log());
    rig.problems(["web-1", "web-2"], "note");
    wait_until("incidents by host, as before", || rig.incidents().len() == 2);

    rig.write("host", 512, 0);
    assert_eq!(rig.reload(), (200, json!({"changed": [], "needs_restart": []})));
    assert_eq!(rig.value("muster_config_last_reload_successful"), [1.0]);
    muster.ends_in_order();
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let rig = Rig::new();
    rig.write("host", 512, 0);
    let muster = rig.start();
    let text = std::fs::read_to_string(rig.path()).expect("the config");
    let other = text.replace("/data\"", "/elsewhere\"").replace("[host]", "[check]");
    std::fs::write(rig.path(), other).expect("the config is written");
    let expected = json!({"changed": ["journal", "correlate"], "needs_restart": ["journal"]});
    assert_eq!(rig.reload(), (200, expected));
    rig.problems(["web-1", "web-2"], "note");
    wait_until("incidents by check", || {
        let incidents = rig.incidents();
        incidents.len() == 2
            && incidents.iter().all(|one| one["pattern"]["by"]["check"].is_string())
    });
    // Until then it is named each time.
    assert_eq!(rig.reload().1["needs_restart"], json!(["journal"]));
    muster.ends_in_order();
    std::thread::sleep(Duration::from_millis(10));
    assert!(!rig.directory.path().join("elsewhere").exists());
}

impl Rig {
    /// How many settings records are in the log of the data directory.
    fn settings_records(&self) -> usize {
        use std::sync::Arc;

        use muster::clock::SystemClock;
        use muster::config::{self, JournalSettings};
        use muster::journal::Journal;
        use muster::journal::sqlite::Sqlite;
        use muster::stage::{Kind, Topic};

        let config = config::load(Some(&self.path())).expect("the config is good");
        let JournalSettings::Sqlite(settings) = config.journal() else { panic!("SQLite it is") };
        let journal: Arc<dyn Journal> =
            Sqlite::open(&settings, Arc::new(SystemClock)).expect("the journal opens");
        let log = crate::exactness::whole(&journal, Topic::Alerts);
        log.iter().filter(|record| record.kind == Kind::Settings).count()
    }
}
