//! A topology in a compacted topic, by the whole program: edges come into force and go again.

use muster::kafka::bulk::{Publisher, create_topic};
use serde_json::{Value, json};

use crate::process::{Muster, free_port, wait_until};

fn edge(from: &str, to: &str) -> Vec<u8> {
    let node = |host: &str| json!({"tag": "host", "value": host});
    json!({"from": node(from), "to": node(to), "kind": "next"}).to_string().into_bytes()
}

#[test]
fn an_edge_of_the_topic_joins_alerts_and_its_tombstone_parts_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = muster::testing::broker::shared().expect("a broker");
    let port = free_port();
    let topic = format!("edges-{port}");
    create_topic(&brokers, &topic, 2, &[("cleanup.policy", "compact")]).expect("a topic");
    let path = directory.path().join("muster.yaml");
    let data = directory.path().join("data");
    let text = format!(
        "journal: {{path: {}}}\n\
         correlate:\n  topology: {{topic: {topic}, brokers: \"{brokers}\", settle: 200ms}}\n  \
         patterns: [{{name: near, near: {{tag: host, hops: 1}}, window: 1h}}]\n\
         api: {{listen: \"127.0.0.1:{port}\"}}\n",
        data.display(),
    );
    std::fs::write(&path, text).expect("the config is written");
    let publisher = Publisher::open(&brokers, &topic).expect("a publisher");
    publisher.put(0, b"one", &edge("a-1", "a-2")).expect("sent");
    publisher.put(1, b"two", &edge("b-1", "b-2")).expect("sent");
    publisher.put(1, b"bad", b"{}").expect("sent");
    publisher.flush().expect("acknowledged");

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let metric = |name: &str| {
        let body = runtime
            .block_on(async { reqwest::get(url("/metrics")).await.ok()?.text().await.ok() })?;
        let line = body.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<f64>().ok()
    };
    let graphs = |count: f64| {
        wait_until("a graph to be in force", || {
            metric("muster_topology_graphs_total{outcome=\"in_force\"}") == Some(count)
        });
    };
    let send = |hosts: [&str; 2]| {
        let event =
            |host| json!({"source": "s", "host": host, "check": "ping", "status": "critical"});
        let events = hosts.map(event);
        let sent = runtime.block_on(async {
            reqwest::Client::new().post(url("/v1/events")).json(&json!(events)).send().await
        });
        assert!(sent.expect("an answer").status().is_success());
    };
    // How many alerts each open incident has, by its hosts.
    let shapes = || -> Vec<Vec<String>> {
        let body: Option<Value> = runtime
            .block_on(async { reqwest::get(url("/v1/incidents")).await.ok()?.json().await.ok() });
        let body = body.unwrap_or_default();
        let hosts = |incident: &Value| {
            let hosts = incident["hosts"].as_array().into_iter().flatten();
            let mut hosts: Vec<String> =
                hosts.filter_map(Value::as_str).map(str::to_owned).collect();
            hosts.sort();
            hosts
        };
        let mut shapes: Vec<_> =
            body["incidents"].as_array().into_iter().flatten().map(hosts).collect();
        shapes.sort();
        shapes
    };

    let muster = Muster::start(&path, &[]);
    graphs(1.0);
    assert_eq!(metric("muster_topology_edges"), Some(2.0), "{}", muster.log());
    let unread = metric("muster_unreadable_records_total{group=\"topology\"}");
    assert_eq!(unread, Some(1.0), "{}", muster.log());
    send(["a-1", "a-2"]);
    wait_until("one incident of both", || shapes() == [["a-1", "a-2"]]);

    // Of a tombstone and a new edge one graph is made.
    publisher.tombstone(1, b"two").expect("sent");
    publisher.put(0, b"three", &edge("c-1", "c-2")).expect("sent");
    publisher.flush().expect("acknowledged");
    graphs(2.0);
    send(["b-1", "b-2"]);
    send(["c-1", "c-2"]);
    let expected: [&[&str]; 4] = [&["a-1", "a-2"], &["b-1"], &["b-2"], &["c-1", "c-2"]];
    wait_until("b apart and c together", || shapes() == expected);
    // The same edge again makes no other graph; a restart goes by what the topic holds.
    publisher.put(0, b"three", &edge("c-1", "c-2")).expect("sent");
    publisher.flush().expect("acknowledged");
    muster.ends_in_order();
    let muster = Muster::start(&path, &[]);
    graphs(1.0);
    assert_eq!(metric("muster_topology_edges"), Some(2.0), "{}", muster.log());
    // A reload leaves what the topic holds in force.
    publisher.put(0, b"four", &edge("d-1", "d-2")).expect("sent");
    publisher.flush().expect("acknowledged");
    graphs(2.0);
    let text = std::fs::read_to_string(&path).expect("the config");
    std::fs::write(&path, text.replace("window: 1h", "window: 2h")).expect("another one");
    muster.hang_up();
    wait_until("the reload", || muster.log().contains("config reloaded"));
    send(["d-1", "d-2"]);
    wait_until("one incident of both", || shapes().contains(&vec!["d-1".into(), "d-2".into()]));
    muster.ends_in_order();
}

#[test]
fn a_topic_that_is_not_there_stops_the_start_and_only_run_reads_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = muster::testing::broker::shared().expect("a broker");
    let path = directory.path().join("muster.yaml");
    let text = format!(
        "journal: {{path: {}}}\n\
         correlate:\n  topology: {{topic: no-edges, brokers: \"{brokers}\"}}\n  \
         patterns: [{{name: near, near: {{tag: host, hops: 1}}}}]\n\
         api: {{listen: \"127.0.0.1:{}\"}}\n",
        directory.path().join("data").display(),
        free_port(),
    );
    std::fs::write(&path, text).expect("the config is written");
    let said = |arguments: &[&str]| {
        let mut muster = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        let ran = muster.args(arguments).arg("-c").arg(&path).output().expect("it runs");
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, err) = said(&["run"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("correlate.topology.topic: `no-edges`: "), "{err}");
    assert!(err.contains("has no such topic"), "{err}");
    for arguments in [&["replay", "/dev/null"][..], &["quality", "--simulated", "1000"]] {
        let (code, err) = said(arguments);
        assert_eq!(code, Some(64), "{err}");
        assert!(err.contains("`no-edges` is read by `muster run` only"), "{err}");
    }
}
