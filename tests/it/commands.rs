//! What people ask for, over HTTP and on the command line, against the real program.

use std::path::Path;
use std::process::{Command, Output};

use muster::model::{AlertId, Identity, IncidentId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::process::{Muster, free_port, wait_until};

/// A program that runs on an embedded journal.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    pub(crate) muster: Option<Muster>,
    pub(crate) port: u16,
    runtime: Runtime,
}

impl Bench {
    fn start() -> Self {
        Self::with("")
    }

    /// With lines that end the section `correlate` of its config.
    pub(crate) fn with(correlate: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let data = directory.path().join("data");
        let config = format!(
            "journal: {{kind: sqlite, path: \"{}\"}}\n\
             correlate:\n  patterns:\n    - {{name: host, by: [host], window: 1h}}\n{correlate}\
             api: {{listen: \"127.0.0.1:{port}\"}}\n",
            data.display()
        );
        std::fs::write(directory.path().join("muster.yaml"), config).expect("written");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut bench = Self { directory, muster: None, port, runtime };
        bench.run();
        bench
    }

    pub(crate) fn config(&self) -> std::path::PathBuf {
        self.directory.path().join("muster.yaml")
    }

    pub(crate) fn run(&mut self) {
        self.muster = Some(Muster::start(&self.config(), &[]));
        wait_until("it to be ready", || {
            self.ask(Method::GET, "/health/ready", None, None)
                .is_ok_and(|(status, _)| status == 200)
        });
    }

    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.runtime.block_on(async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok((status, response.json().await.unwrap_or_default()))
        })
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None, None).expect("an answer")
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, None, Some(body)).expect("an answer")
    }

    /// The id of the incident that an event of a host opens.
    pub(crate) fn opened(&self, host: &str) -> String {
        let event = json!({"source": "nagios", "host": host, "check": "cpu", "status": "critical"});
        assert_eq!(self.post("/v1/events", event).0, 202);
        let path = format!("/v1/incidents?match=host%3D{host}");
        let found = || self.get(&path).1["incidents"][0]["id"].as_str().map(str::to_owned);
        wait_until("the incident to be shown", || found().is_some());
        found().expect("it is shown")
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        self.command_line("incidents", arguments)
    }

    /// What the program says to a command over the API.
    pub(crate) fn command_line(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_muster"))
            .arg(command)
            .args(arguments)
            .env("MUSTER_API", format!("http://127.0.0.1:{}", self.port))
            .env("USER", "ann")
            .current_dir(Path::new("/"))
            .output()
            .expect("it runs")
    }
}

pub(crate) fn reason((status, body): &(u16, Value), code: u16, word: &str) -> String {
    assert_eq!((*status, body["error"]["reason"].as_str()), (code, Some(word)), "{body}");
    body["error"]["message"].as_str().expect("a message").to_owned()
}

fn revision(incident: &Value) -> u64 {
    incident["revision"].as_u64().expect("a revision")
}

#[test]
fn a_command_is_answered_once_committed_and_done_once_over_a_crash() {
    let mut bench = Bench::start();
    let id = bench.opened("web-1");
    let path = format!("/v1/incidents/{id}/acknowledge");
    let asked = json!({"actor": "ann", "for": "2h"});
    let acknowledge = |bench: &Bench| {
        bench.ask(Method::POST, &path, Some("once"), Some(asked.clone())).expect("an answer")
    };
    let (status, first) = acknowledge(&bench);
    assert_eq!((status, &first["outcome"], &first["count"]), (200, &json!("done"), &json!(1)));
    let shown = bench.get(&format!("/v1/incidents/{id}")).1;
    assert_eq!(shown["acknowledged"]["by"], "ann", "what was done is shown at once");
    assert_eq!((&first["request_id"], &first["incidents"][0]["id"]), (&json!("once"), &json!(id)));
    assert_eq!(first["incidents"][0]["revision"], shown["revision"]);
    assert_eq!(acknowledge(&bench), (200, first.clone()), "a repeat gets the first result");
    let (status, _) =
        bench.post(&format!("/v1/incidents/{id}/unacknowledge"), json!({"actor": "bob"}));
    assert_eq!(status, 200);

    bench.muster.take().expect("it runs").kill();
    bench.run();
    wait_until("the incidents to be loaded", || bench.get("/v1/incidents").0 == 200);
    assert_eq!(bench.get("/v1/commands/once"), (200, first.clone()), "remembered in rows");
    assert_eq!(acknowledge(&bench), (200, first), "also after a crash");
    let after = bench.get(&format!("/v1/incidents/{id}")).1;
    assert_eq!(after["acknowledged"], Value::Null, "nothing was done twice");
    assert_eq!(revision(&after), revision(&shown) + 1);
    let other = json!({"actor": "ann", "request_id": "once", "text": "x"});
    let reused = bench.post(&format!("/v1/incidents/{id}/comment"), other);
    assert!(reason(&reused, 409, "request_reused").contains("once"));
    bench.muster.take().expect("it runs").ends_in_order();
}

#[test]
fn what_is_wrong_with_a_command_is_said() {
    let bench = Bench::start();
    let id = bench.opened("web-1");
    let on = |word: &str| format!("/v1/incidents/{id}/{word}");
    let who = || json!({"actor": "ann"});
    let identity = Identity::new("nagios", Some("x"), Some("cpu"), None);
    let at = Timestamp::from_millis(1_763_913_600_000);
    let alert = AlertId::derive(at, &identity, 0).to_string();
    let stranger = IncidentId::derive(at, &identity, 0).to_string();

    let wrong = bench.post(&format!("/v1/incidents/{alert}/acknowledge"), who());
    assert!(reason(&wrong, 400, "bad_id").contains("is the id of an alert"));
    let wrong = bench.post(&on("split"), json!({"actor": "ann", "alerts": [id]}));
    let said = reason(&wrong, 400, "bad_command");
    assert!(said.contains("`alerts`") && said.contains("is the id of an incident"), "{said}");
    let unknown = bench.post(&format!("/v1/incidents/{stranger}/acknowledge"), who());
    assert!(reason(&unknown, 404, "unknown_incident").contains(&stranger));
    for (word, body, says) in [
        ("acknowledge", json!({}), "`actor` is missing"),
        ("acknowledge", json!({"actor": "ann", "unti": 7}), "`unti` is not known here"),
        ("acknowledge", json!({"actor": "ann", "until": "soon"}), "`until` is no time"),
        ("acknowledge", json!({"actor": "ann", "for": "soon"}), "`for`"),
        ("acknowledge", json!({"actor": "ann", "until": 7, "for": "2h"}), "not both"),
        ("snooze", json!({"actor": "ann"}), "`until` is missing"),
        ("snooze", json!({"actor": "ann", "for": "2h", "ends_on": ["noon"]}), "`ends_on`"),
        ("comment", json!({"actor": "ann", "text": " "}), "`text`"),
        ("comment", json!({"actor": "ann", "text": "x".repeat(5_000)}), "4096"),
        ("assign", json!({"actor": "ann", "to": "a\nb"}), "`to`"),
        ("assign", json!({"actor": "ann", "to": "b", "request_id": "a b"}), "`request_id`"),
        ("acknowledge", json!({"actor": "ann", "incident": stranger}), "`incident`"),
        ("acknowledge", json!([]), "not a JSON object"),
    ] {
        let said = reason(&bench.post(&on(word), body), 400, "bad_command");
        assert!(said.contains(says), "{word}: {said}");
    }
    let past = bench.post(&on("snooze"), json!({"actor": "ann", "until": "2020-01-01T00:00:00Z"}));
    reason(&past, 400, "in_the_past");
    reason(&bench.post(&on("unsnooze"), who()), 409, "not_snoozed");
    reason(&bench.post(&on("explode"), who()), 404, "no_such_route");
    let undo = json!({"actor": "ann", "request": "never"});
    reason(&bench.post("/v1/commands/undo", undo), 404, "unknown_request");
    reason(&bench.get("/v1/commands/never"), 404, "unknown_request");
    let neither = bench.post("/v1/incidents/resolve", who());
    assert!(reason(&neither, 400, "bad_command").contains("`incidents` or `match`"));
    let large = bench.post(&on("comment"), json!({"actor": "ann", "text": "x".repeat(300_000)}));
    reason(&large, 413, "too_large");
    // Nothing of all this has left a trace.
    assert_eq!(revision(&bench.get(&format!("/v1/incidents/{id}")).1), 1);
}

#[test]
fn many_are_resolved_only_by_their_count_and_undone_as_they_were() {
    let bench = Bench::start();
    let ids = ["web-1", "web-2", "db-1"].map(|host| bench.opened(host));
    let ask = |confirm: Option<u64>| {
        let mut body = json!({"actor": "ann", "match": ["host=~\"web-.*\""], "request_id": "all"});
        if let Some(count) = confirm {
            body["confirm"] = count.into();
        }
        bench.post("/v1/incidents/resolve", body)
    };
    let refused = ask(None);
    assert!(reason(&refused, 409, "confirm").contains('2'));
    assert_eq!(
        (&refused.1["count"], refused.1["incidents"].as_array().map(Vec::len)),
        (&json!(2), Some(2))
    );
    reason(&ask(Some(3)), 409, "confirm");
    let (status, done) = ask(Some(2));
    assert_eq!((status, &done["count"]), (200, &json!(2)), "{done}");
    let state = |id: &str| {
        let incident = bench.get(&format!("/v1/incidents/{id}")).1;
        (incident["state"].clone(), incident["reason"].clone())
    };
    assert_eq!(state(&ids[0]), (json!("resolved"), json!("by_hand")));
    assert_eq!(state(&ids[2]), (json!("open"), Value::Null));
    let undo = json!({"actor": "bob", "request": "all"});
    assert_eq!(bench.post("/v1/commands/undo", undo).0, 200);
    assert_eq!(state(&ids[0]), (json!("open"), Value::Null));

    let timeline = bench.get(&format!("/v1/incidents/{}/timeline", ids[0])).1;
    assert_eq!(timeline["complete"], true);
    let told: Vec<(Value, Value)> = timeline["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| (change["change"].clone(), change["actor"].clone()))
        .collect();
    let wanted = [
        (json!(["opened"]), Value::Null),
        (json!(["resolved"]), json!("ann")),
        (json!(["reopened"]), json!("bob")),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn the_command_line_does_it_too() {
    let bench = Bench::start();
    let id = bench.opened("web-1");
    let good = |arguments: &[&str]| {
        let output = bench.cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let bad = |arguments: &[&str], code: i32, says: &str| {
        let output = bench.cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    assert!(good(&["list"]).contains(&id));
    assert!(good(&["acknowledge", &id, "--for", "2h"]).contains("acknowledged by ann"));
    good(&["assign", &id, "bob", "--as", "cid"]);
    good(&["snooze", &id, "--for", "1h", "--ends-on", "worse,new_alert"]);
    let listed = good(&["list", "--match", "host=web-1"]);
    for mark in ["acknowledged by ann", "bob's", "snoozed until"] {
        assert!(listed.contains(mark), "{listed}");
    }
    good(&["unsnooze", &id]);
    good(&["unacknowledge", &id]);
    good(&["assign", &id]);
    good(&["comment", &id, "was the backup", "--public"]);
    assert!(good(&["resolve", &id, "--request", "oops"]).contains("request oops"));
    assert!(good(&["show", &id]).contains("by_hand"));
    good(&["undo", "oops"]);
    assert!(good(&["result", "oops"]).contains("is resolved"));
    let timeline = good(&["timeline", &id]);
    for line in ["by cid  to bob", "by ann  was the backup", "resolved", "(by_hand)", "reopened"] {
        assert!(timeline.contains(line), "`{line}` is not in\n{timeline}");
    }
    let shown: Value = serde_json::from_str(&good(&["show", &id, "--json"])).expect("JSON");
    assert_eq!(shown["id"], json!(id));
    bad(&["resolve", "--match", "host=web-1"], 1, "confirm");
    good(&["resolve", "--match", "host=web-1", "--confirm", "1"]);
    bad(&["acknowledge", &id], 1, "(resolved)");
    bad(&["acknowledge", "inc_1"], 64, "bad_id");
    bad(&["resolve"], 64, "required");
    bad(&["list", "--api", "nowhere"], 64, "--api");
    let gone = format!("http://127.0.0.1:{}", free_port());
    bad(&["comment", &id, "x", "--api", &gone, "--request", "r9"], 1, "cannot connect");
}
