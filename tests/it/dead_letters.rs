//! What could not be read, listed, shown and read once more, with the real program.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use muster::kafka::bulk::{Publisher, create_topic};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::process::{Muster, free_port, wait_until};

/// A program whose source `inhouse` has its hosts under another name than the config says.
struct Rig {
    directory: TempDir,
    port: u16,
    runtime: Runtime,
    journal: String,
    source: String,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        Self {
            journal: format!("{{kind: sqlite, path: \"{}\"}}", data.display()),
            directory,
            port: free_port(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            source: String::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("muster.yaml")
    }

    /// A config that finds hosts under a name.
    fn write(&self, host: &str) {
        let text = format!(
            "journal: {}\ncollect:\n  sources:\n    - {{name: inhouse, fields: {{host: {host}}}{}}}\n\
             correlate: {{patterns: [{{name: host, by: [host]}}]}}\n\
             api: {{listen: \"127.0.0.1:{}\"}}\n",
            self.journal, self.source, self.port
        );
        std::fs::write(self.path(), text).expect("the config is written");
    }

    fn start(&self) -> Muster {
        let mut muster = Muster::start(&self.path(), &[]);
        wait_until("it to be ready", || {
            muster.assert_running();
            self.ask("GET", "/health/ready", None).0 == 200
        });
        muster
    }

    fn mend(&self, muster: &Muster) {
        self.write("node");
        let (status, answer) = self.ask("POST", "/-/reload", None);
        assert_eq!(status, 200, "{answer} {}", muster.log());
    }

    fn ask(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let method = method.parse().expect("a method");
        let request = reqwest::Client::new().request(method, url);
        let request = request.body(body.unwrap_or_default().to_owned());
        self.runtime.block_on(async {
            let Ok(response) = request.send().await else { return (0, Value::Null) };
            let status = response.status().as_u16();
            (status, response.json().await.unwrap_or_default())
        })
    }

    fn post(&self, path: &str, body: &str, wanted: u16) {
        let (status, answer) = self.ask("POST", path, Some(body));
        assert_eq!(status, wanted, "{answer}");
    }

    /// What the program says: exit code, standard output and error.
    fn cli(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut muster = Command::new(env!("CARGO_BIN_EXE_muster"));
        let muster = muster.arg("dead-letters").args(arguments).arg("-c").arg(self.path());
        let said = muster.env("USER", "ann").env_remove("MUSTER_API").output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (said.status.code().expect("a code"), text(said.stdout), text(said.stderr))
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.cli(arguments);
        assert_eq!(code, 0, "{arguments:?}: {err}");
        out
    }

    fn listed(&self, arguments: &[&str]) -> Value {
        let out = self.good(&[&["list", "--json"], arguments].concat());
        serde_json::from_str(&out).expect("JSON")
    }

    /// What a retry did.
    fn retried(&self, arguments: &[&str]) -> Value {
        let out = self.good(&[&["retry", "--json"], arguments].concat());
        serde_json::from_str(&out).expect("JSON")
    }

    fn incidents(&self) -> Vec<Value> {
        let (status, answer) = self.ask("GET", "/v1/incidents?state=all", None);
        assert_eq!(status, 200, "{answer}");
        answer["incidents"].as_array().expect("a list").clone()
    }

    fn incident(&self, host: &str) -> Value {
        let found = || self.incidents().into_iter().find(|one| one["hosts"] == json!([host]));
        wait_until("the incident", || found().is_some());
        found().expect("it is there")
    }
}

fn event(node: &str, status: &str) -> String {
    json!({"source": "inhouse", "node": node, "check": "cpu", "status": status}).to_string()
}

fn ids(listed: &Value, reason: &str) -> Vec<String> {
    let all = listed["dead_letters"].as_array().expect("a list").iter();
    let all = all.filter(|one| one["reason"] == reason);
    all.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn what_a_wrong_mapping_set_aside_is_an_incident_once_it_is_mended_and_retried() {
    let rig = Rig::new();
    rig.write("nod");
    let muster = rig.start();
    rig.post("/v1/events/inhouse", &event("web-1", "critical"), 400);
    rig.post("/v1/events/inhouse", &event("web-2", "warning"), 400);
    // One of a list whose source the list names, beside a good one.
    let list = r#"{"app_key":"inhouse","alerts":[{"host":"web-0","status":"ok"},
                  {"node":"web-3","check":"cpu","status":"critical"}]}"#;
    rig.post("/v1/events", list, 202);
    rig.post("/v1/events/inhouse", "{never JSON", 400);

    let listed = rig.listed(&[]);
    assert_eq!(listed["total"], 4, "{listed}");
    let counts = json!([
        {"reason": "no_primary", "source": "-", "count": 1},
        {"reason": "no_primary", "source": "inhouse", "count": 2},
        {"reason": "not_json", "source": "inhouse", "count": 1},
    ]);
    assert_eq!(listed["counts"], counts);
    assert_eq!(rig.ask("GET", "/v1/dead-letters?limit=20", None), (200, listed.clone()));
    assert_eq!(rig.listed(&["--source", "-", "--since", "1h"])["total"], 1);
    let first = ids(&listed, "no_primary").pop().expect("the oldest");
    let (code, out, err) = rig.cli(&["show", &first]);
    assert_eq!((code, out), (0, event("web-1", "critical")));
    assert!(err.contains("no_primary: ") && err.contains("source: inhouse"), "{err}");
    assert!(err.contains("from: http 0:0"), "{err}");
    let whole: Value =
        serde_json::from_str(&rig.good(&["show", &first, "--json"])).expect("it is JSON");
    assert_eq!(whole["text"], json!(event("web-1", "critical")));
    let arrival = whole["arrival"].as_i64().expect("its arrival");

    // Nothing is better yet: all stay, and none becomes two.
    let failed = rig.retried(&["--reason", "no_primary", "--confirm", "3"]);
    assert_eq!((&failed["taken"], &failed["failed"]), (&json!(0), &json!(3)), "{failed}");
    assert_eq!(rig.listed(&[]), listed, "what fails again stays as it is");

    rig.mend(&muster);
    std::thread::sleep(Duration::from_millis(1_100));
    let (code, _, err) = rig.cli(&["retry", "--reason", "no_primary"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("here that is --confirm 3"), "{err}");
    assert_eq!(rig.cli(&["retry", "--reason", "no_primary", "--confirm", "4"]).0, 1);
    let done = rig.retried(&["--reason", "no_primary", "--confirm", "3"]);
    assert_eq!((&done["taken"], &done["events"]), (&json!(3), &json!(3)), "{done}");
    let incident = rig.incident("web-1");
    assert_eq!(incident["started_at"], json!(arrival), "it is as old as its arrival");
    assert_eq!(incident["sources"], json!(["inhouse"]), "{incident}");
    rig.incident("web-2");
    assert_eq!(rig.incident("web-3")["sources"], json!(["inhouse"]));

    // It is remembered, also over a crash and by the journal of a stopped program.
    let left = rig.listed(&[]);
    assert_eq!((&left["total"], &left["retried"]), (&json!(1), &json!(3)), "{left}");
    let again = rig.retried(&[&first]);
    assert_eq!((&again["taken"], &again["already"]), (&json!(0), &json!(1)), "{again}");
    muster.kill();
    assert_eq!(rig.listed(&[]), left);
    let muster = rig.start();
    let not_json = ids(&left, "not_json").pop().expect("it is left");
    let failed = rig.retried(&[&not_json]);
    assert_eq!(failed["failures"][0]["reason"], "not_json", "{failed}");
    assert_eq!(rig.incidents().len(), 3, "nothing was told twice");
    assert_eq!(rig.listed(&[]), left);

    let many: Vec<String> = (0..1_001).map(|n| format!("0:{n}")).collect();
    for (body, status, reason) in [
        (json!({"actor": "ann", "ids": ["x"]}), 400, "bad_id"),
        (json!({"actor": "ann", "ids": []}), 400, "bad_retry"),
        (json!({"actor": "ann", "ids": many}), 400, "bad_retry"),
        (json!({"actor": "ann", "ids": ["0:1"], "reason": "empty"}), 400, "bad_retry"),
        (json!({"actor": "ann", "ids": ["0:3"], "confirm": 2}), 409, "confirm"),
        (json!({"actor": "ann", "since": "yesterday"}), 400, "bad_retry"),
        (json!({"ids": ["0:1"]}), 400, "bad_body"),
    ] {
        let text = body.to_string();
        let (code, answer) = rig.ask("POST", "/v1/dead-letters/retry", Some(&text));
        assert_eq!((code, &answer["error"]["reason"]), (status, &json!(reason)), "{text:.99}");
    }
    for query in ["limit=1001", "since=x", "what=1"] {
        assert_eq!(rig.ask("GET", &format!("/v1/dead-letters?{query}"), None).0, 400, "{query}");
    }

    let (code, _, err) = rig.cli(&["retry", "0:999"]);
    assert_eq!(code, 1);
    assert!(err.contains("no dead letter 0:999"), "{err}");
    assert_eq!(rig.cli(&["show", "0:999"]).0, 1);
    assert_eq!(rig.cli(&["show", "x"]).0, 64);
    assert_eq!(rig.cli(&["retry"]).0, 64, "not all of them by an oversight");
    muster.ends_in_order();
}

#[test]
fn an_old_problem_neither_looks_new_nor_reopens_what_has_ended() {
    let rig = Rig::new();
    rig.write("nod");
    let muster = rig.start();
    rig.post("/v1/events/inhouse", &event("web-1", "critical"), 400);
    rig.mend(&muster);
    std::thread::sleep(Duration::from_millis(20));
    rig.post("/v1/events/inhouse", &event("web-1", "warning"), 202);
    rig.post("/v1/events/inhouse", &event("web-1", "ok"), 202);
    let over = || rig.incidents().first().is_some_and(|one| one["state"] == "resolved");
    wait_until("the incident to be over", over);
    let before = rig.incidents();
    let done = rig.retried(&["--source", "inhouse", "--confirm", "1"]);
    assert_eq!(done["taken"], 1, "{done}");
    // Whatever it would do is done before what comes after it.
    rig.post("/v1/events/inhouse", &event("web-2", "critical"), 202);
    rig.incident("web-2");
    let after = rig.incidents();
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    let same = after.iter().find(|one| one["id"] == before[0]["id"]).expect("it is there");
    assert_eq!((&same["state"], &same["severity"]), (&json!("resolved"), &json!("warning")));
    muster.ends_in_order();
}

#[test]
fn dead_letters_of_a_topic_are_read_and_retried_on_kafka() {
    let mut rig = Rig::new();
    let brokers = muster::testing::broker::shared().expect("a broker");
    let topic = format!("inhouse-{}", rig.port);
    create_topic(&brokers, &topic, 1, &[]).expect("a topic");
    let own = ["events", "alerts", "state", "incidents", "deliveries", "dead_letters", "silences"];
    let own = own.map(|name| match name {
        "state" | "deliveries" => format!("{name}: {{name: {name}-{}}}", rig.port),
        _ => format!("{name}: {{name: {name}-{}, partitions: 2}}", rig.port),
    });
    rig.journal = format!(
        "{{kind: kafka, brokers: \"{brokers}\", replication: 1, group: dl-{}, topics: {{{}}}}}",
        rig.port,
        own.join(", ")
    );
    rig.source = format!(", topic: {topic}, start: earliest");
    rig.write("nod");
    let made = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["topics", "--create", "-c"])
        .arg(rig.path())
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let muster = rig.start();
    let publisher = Publisher::open(&brokers, &topic).expect("a publisher");
    for node in ["db-1", "db-2", "db-3"] {
        publisher.put(0, node.as_bytes(), event(node, "critical").as_bytes()).expect("sent");
    }
    publisher.flush().expect("acknowledged");
    let total = || rig.listed(&[])["total"].clone();
    wait_until("three dead letters", || total() == json!(3));
    let listed = rig.listed(&[]);
    assert_eq!(
        listed["counts"],
        json!([{"reason": "no_primary", "source": "inhouse", "count": 3}])
    );
    let partitions: std::collections::BTreeSet<String> = ids(&listed, "no_primary")
        .iter()
        .map(|id| id.split(':').next().expect("a partition").to_owned())
        .collect();
    assert_eq!(partitions.len(), 2, "of both partitions: {listed}");
    rig.mend(&muster);
    let done = rig.retried(&["--source", "inhouse", "--confirm", "3"]);
    assert_eq!((&done["taken"], &done["failed"]), (&json!(3), &json!(0)), "{done}");
    for node in ["db-1", "db-2", "db-3"] {
        rig.incident(node);
    }
    assert_eq!(total(), json!(0));
    assert_eq!(rig.listed(&[])["retried"], 3);
    muster.ends_in_order();
    assert_eq!(rig.listed(&[])["retried"], 3, "also without the program");
}
