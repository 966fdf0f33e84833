//! Each stage in a process of its own, on Kafka: together they do what one process does.

use std::collections::{BTreeMap, BTreeSet};

use muster::config::{self, JournalSettings};
use muster::kafka;
use muster::kafka::bulk::{Publisher, create_topic};
use muster::wire;
use serde_json::{Value, json};

use crate::process::{Muster, Receiver, free_port, metrics, wait_until};

fn event(host: &str, status: &str) -> String {
    json!({"source": "estate", "host": host, "check": "ping", "status": status,
           "tags": {"cluster": "web"}})
    .to_string()
}

#[test]
fn one_process_a_stage_does_what_one_process_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = muster::testing::broker::shared().expect("a broker");
    let receiver = Receiver::start();
    let ports = ["correlate", "notify", "collect", "api"].map(|stage| (stage, free_port()));
    let ports = BTreeMap::from(ports);
    let port = ports["api"];
    let prefix = format!("apart-{port}");
    let source = format!("{prefix}-source");
    create_topic(&brokers, &source, 2, &[]).expect("the source topic is made");
    let topic = |topic: &str| format!("    {topic}: {{name: {prefix}.{topic}}}\n");
    let topics: String =
        ["events", "alerts", "state", "incidents", "deliveries", "dead_letters", "silences"]
            .map(topic)
            .concat();
    let write = |stage: &str| {
        let path = directory.path().join(format!("{stage}.yaml"));
        let text = format!(
            "journal:\n  kind: kafka\n  brokers: \"{brokers}\"\n  group: \"{prefix}\"\n  \
             instance: \"{stage}\"\n  replication: 1\n  topics:\n{topics}\
             collect:\n  sources:\n    - {{name: estate, topic: {source}, start: earliest}}\n\
             correlate:\n  patterns:\n    - {{name: cluster, by: [cluster], window: 1h}}\n\
             notify:\n  receivers:\n    - {{name: oncall, webhook: {{url: \"{}\"}}}}\n  \
             route: {{receiver: oncall, group_wait: 0s}}\n\
             api: {{listen: \"127.0.0.1:{}\"}}\n",
            receiver.url, ports[stage],
        );
        std::fs::write(&path, text).expect("the config is written");
        path
    };
    let first = write("correlate");
    let config = config::load(Some(&first)).expect("the config is good");
    let JournalSettings::Kafka(settings) = config.journal() else { panic!("Kafka it is") };
    kafka::create_topics(&settings).expect("the topics are made");
    // Correlate first, since the rules enter the log with it.
    let correlate = Muster::start(&first, &["--stages", "correlate"]);
    wait_until("correlate to have its partitions", || {
        correlate.log().contains("partition assigned")
    });
    let others = ["notify", "collect", "api"];
    let others = others.map(|stage| Muster::start(&write(stage), &["--stages", stage]));

    let publisher = Publisher::open(&brokers, &source).expect("a publisher");
    for host in ["web-1", "web-2", "web-1"] {
        // Without a key, so that they go by way of `muster.events`.
        publisher.send(b"", event(host, "critical").as_bytes()).expect("sent");
    }
    publisher.flush().expect("acknowledged");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let client = reqwest::Client::new();
    let post = |body: String| {
        let posted = client.post(url("/v1/events")).body(body);
        runtime.block_on(async { posted.send().await }).map(|answer| answer.status().as_u16())
    };
    wait_until("HTTP to take an event", || {
        post(event("web-3", "warning")).is_ok_and(|status| status == 202)
    });
    let incidents = || -> Vec<Value> {
        let got = client.get(url("/v1/incidents"));
        let answer = runtime.block_on(async { got.send().await?.json::<Value>().await });
        let answer = answer.unwrap_or_default();
        answer["incidents"].as_array().cloned().unwrap_or_default()
    };
    wait_until(
        "one incident of three alerts to be shown",
        || matches!(incidents().as_slice(), [one] if one["counts"]["firing"] == 3),
    );
    let id = incidents()[0]["id"].as_str().expect("an id").to_owned();
    // What people ask for goes from one process to another and its answer comes back.
    let command = |word: &str, body: Value| {
        let asked = client.post(url(&format!("/v1/incidents/{id}/{word}"))).json(&body);
        runtime.block_on(async {
            let answer = asked.send().await.expect("an answer");
            (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
        })
    };
    let asked = json!({"actor": "ann", "request_id": "apart"});
    let (status, answer) = command("acknowledge", asked.clone());
    assert_eq!((status, &answer["outcome"]), (200, &json!("done")), "{answer}");
    assert_eq!(command("acknowledge", asked), (200, answer), "a repeat gets the first result");
    assert_eq!(incidents()[0]["acknowledged"]["by"], "ann");
    for host in ["web-1", "web-2", "web-3"] {
        assert_eq!(post(event(host, "ok")).expect("an answer"), 202);
    }
    let told = || receiver.told();
    wait_until("on-call to hear that it is over", || {
        told().iter().any(|told| wire::change::decode(&told.body).is_ok_and(|c| !c.is_open()))
    });
    let told: BTreeSet<String> = told().into_iter().map(|told| told.incident).collect();
    assert_eq!(told, BTreeSet::from([id]), "of one incident");
    // Each is scraped and asked for its health.
    for (stage, series) in [
        ("correlate", "muster_incident_changes_total"),
        ("notify", "muster_deliveries_total"),
        ("collect", "muster_events_total"),
    ] {
        let told: f64 = metrics(ports[stage], &[series])[0].iter().sum();
        assert!(told > 0.0, "{stage} does not show {series}");
        let ask = |path: &str| {
            let url = format!("http://127.0.0.1:{}{path}", ports[stage]);
            runtime.block_on(async { client.get(url).send().await }).expect("an answer").status()
        };
        // On a busy machine incidents and silences may be loading still.
        wait_until(&format!("{stage} to be ready"), || ask("/health/ready") == 200);
        assert_eq!(ask("/v1/incidents"), 404, "{stage} has no board");
    }
    for stage in others.into_iter().chain([correlate]) {
        assert!(!stage.log().contains("panicked"), "{}", stage.log());
        stage.ends_in_order();
    }
}

#[test]
fn the_embedded_journal_refuses_a_part_of_the_stages() {
    let directory = tempfile::tempdir().expect("a directory");
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["run", "--stages", "collect,api"])
        .current_dir(directory.path())
        .output()
        .expect("the program runs");
    assert_eq!(ran.status.code(), Some(64));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("--stages") && said.contains("one process"), "{said}");
}
