//! `muster replay --since`: what collect forwarded, through correlate once more, from the journal of
//! a daemon that runs meanwhile, or has ended.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Muster, free_port, wait_until};

const WITH: &str = "correlate: {patterns: [{name: cluster, by: [cluster], window: 1h}]}\n";
const WITHOUT: &str = "correlate: {patterns: []}\n";

/// A config whose journal is in the directory.
fn config(directory: &TempDir, name: &str, port: u16, patterns: &str) -> PathBuf {
    let data = directory.path().join("data");
    let text = format!(
        "journal: {{kind: sqlite, path: \"{}\"}}\napi: {{listen: \"127.0.0.1:{port}\"}}\n{patterns}",
        data.display()
    );
    let file = directory.path().join(name);
    std::fs::write(&file, text).expect("a file");
    file
}

fn replay(config: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["replay", "-c"])
        .arg(config)
        .args(arguments)
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn replayed(config: &Path, arguments: &[&str]) -> Value {
    let (code, out, err) = replay(config, &[&["--since", "1h", "--json"], arguments].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    serde_json::from_str(&out).expect("one JSON object")
}

/// Sends events of three hosts of one cluster, two of them twice.
fn feed(port: u16) {
    let event = |host: &str, n: i64| {
        let tags = json!({"cluster": "web"});
        let id = format!("{host}-{n}");
        json!({"source": "n", "host": host, "status": "critical", "id": id, "tags": tags})
    };
    let events = json!([event("a", 1), event("b", 1), event("c", 1), event("a", 2), event("b", 2)]);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("http://127.0.0.1:{port}/v1");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = |path: &str| {
        let url = format!("{url}/{path}");
        runtime.block_on(async { client.get(url).send().await.ok()?.text().await.ok() })
    };
    wait_until("the daemon answers", || get("incidents").is_some());
    let sent = client.post(format!("{url}/events")).body(events.to_string()).send();
    assert_eq!(runtime.block_on(sent).expect("an answer").status(), 202);
    wait_until("the incident shows", || {
        get("incidents").is_some_and(|text| text.contains("3 hosts"))
    });
}

#[test]
fn rules_are_tried_on_what_the_daemon_has_read_while_it_runs_and_after() {
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let here = config(&directory, "here.yaml", port, WITH);
    let other = config(&directory, "other.yaml", port, WITHOUT);
    let daemon = Muster::start(&here, &[]);
    feed(port);
    let counts = |report: &Value| {
        ["alerts", "incidents"].map(|name| report["summary"][name].as_u64().expect("a number"))
    };
    let looks = || {
        assert_eq!(counts(&replayed(&here, &[])), [3, 1], "as it was told");
        assert_eq!(counts(&replayed(&other, &[])), [3, 3], "each by itself without a pattern");
        let as_was = replayed(&other, &["--as-was"]);
        assert_eq!(counts(&as_was), [3, 1], "by the rules that the log has");
    };
    looks();
    let against = replayed(&here, &["--against", other.to_str().expect("a path")]);
    assert_eq!([counts(&against["now"]), counts(&against["other"])], [[3, 1], [3, 3]]);
    assert_eq!(against["comparison"]["split"], json!(1), "{against}");
    let swept = replayed(&here, &["--sweep", "max_alerts=1,2,3"]);
    let runs = swept["runs"].as_array().expect("a list");
    assert_eq!(runs.iter().map(|run| counts(run)[1]).collect::<Vec<_>>(), [3, 2, 1]);
    // The truth speaks of what is not in the log, too: repeats, and an event of long ago.
    let truth = directory.path().join("truth.jsonl");
    let line = |event: &str, fault: &str| json!({"alert_id": event, "truth_id": fault}).to_string();
    let lines = ["a-1", "b-1", "c-1", "a-2", "long-ago"].map(|event| line(event, "f1"));
    std::fs::write(&truth, lines.join("\n")).expect("a file");
    let truth = truth.to_str().expect("a path");
    let (code, out, err) = replay(&here, &["--since", "1h", "--json", "--score", truth]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("2 lines of the truth are about events that are not in the log"), "{err}");
    let scored: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(scored["score"]["units"], json!(3));
    assert_eq!(scored["score"]["b_cubed"]["f1"], json!(1.0));
    let places = directory.path().join("places.jsonl");
    replayed(&here, &["--assignments", places.to_str().expect("a path")]);
    let places = std::fs::read_to_string(places).expect("it was written");
    assert_eq!(places.lines().count(), 3, "one an update: {places}");
    daemon.ends_in_order();
    looks();
}

#[test]
fn rules_are_tried_on_what_is_kept_on_kafka() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = muster::testing::broker::shared().expect("a broker");
    let port = free_port();
    let prefix = format!("replayed-{port}");
    let topics = ["events", "alerts", "state", "incidents", "deliveries", "dead_letters"];
    let topics = topics.map(|topic| format!("{topic}: {{name: {prefix}.{topic}}}")).join(", ");
    let write = |name: &str, patterns: &str| {
        let text = format!(
            "journal: {{kind: kafka, brokers: \"{brokers}\", group: \"{prefix}\", replication: 1, \
             instance: one, topics: {{{topics}}}}}\napi: {{listen: \"127.0.0.1:{port}\"}}\n{patterns}"
        );
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file
    };
    let (here, other) = (write("here.yaml", WITH), write("other.yaml", WITHOUT));
    let mut create = Command::new(env!("CARGO_BIN_EXE_muster"));
    let made = create.args(["topics", "--create", "-c"]).arg(&here).output().expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let _daemon = Muster::start(&here, &[]);
    feed(port);
    for (config, arguments, incidents) in
        [(&here, &[][..], 1), (&other, &[], 3), (&other, &["--as-was"], 1)]
    {
        let summary = &replayed(config, arguments)["summary"];
        assert_eq!((&summary["alerts"], &summary["incidents"]), (&json!(3), &json!(incidents)));
    }
}

#[test]
fn what_cannot_be_read_or_tried_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = config(&directory, "here.yaml", 0, WITH);
    let data = directory.path().join("data");
    let refused = |arguments: &[&str]| {
        let (code, out, err) = replay(&file, arguments);
        assert_eq!(out, "");
        (code, err)
    };
    let (code, err) = refused(&["--since", "1h"]);
    assert!(code == Some(1) && err.contains("there is no journal"), "{err}");
    assert!(!data.exists(), "nothing is made");
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("muster.db"), "no database at all, but long enough to look like one")
        .expect("a file");
    let (code, err) = refused(&["--since", "1h"]);
    assert!(code == Some(1) && err.contains("not a database"), "{err}");
    let (code, err) = refused(&["--since", "soon"]);
    assert!(code == Some(64) && err.contains("is not a duration"), "{err}");
    let (code, err) = refused(&["--since", "1h", "--sweep", "expire_after=1h,2h"]);
    assert!(code == Some(64) && err.contains("collect has stamped it"), "{err}");
    for wrong in [&[][..], &["--as-was", "x"], &["--since", "1h", "x"]] {
        assert_eq!(refused(wrong).0, Some(64), "{wrong:?}");
    }
}
