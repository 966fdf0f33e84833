//! `muster decode` with the real program: what a payload becomes, or why not.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Exit code, events, and what was said beside them.
fn decode(arguments: &[&str], payload: &str) -> (i32, Vec<Value>, String) {
    let mut muster = Command::new(env!("CARGO_BIN_EXE_muster"))
        .arg("decode")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = muster.stdin.take().expect("its input");
    // One that has failed before does not read it.
    drop(input.write_all(payload.as_bytes()));
    drop(input);
    let said = muster.wait_with_output().expect("it ends");
    let out = String::from_utf8(said.stdout).expect("text");
    let events = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (said.status.code().expect("a code"), events, String::from_utf8_lossy(&said.stderr).into())
}

#[test]
fn a_payload_is_shown_as_events_or_with_the_reason_why_not() {
    let nagios = r#"{"what":"HOST","host":"web-1","state":"DOWN","type":"PROBLEM"}"#;
    let (code, events, err) = decode(&["--source", "nagios", "--arrival", "1763913600"], nagios);
    assert_eq!((code, err.as_str(), events.len()), (0, "", 1));
    assert_eq!((&events[0]["host"], &events[0]["status"]), (&json!("web-1"), &json!("critical")));
    assert_eq!(events[0]["timestamp"], json!(1_763_913_600_000_i64));

    let canonical = |payload: &str| decode(&["--source", "canonical", "-"], payload);
    let lines = "{\"source\":\"a\",\"host\":\"x\",\"status\":\"ok\"}\n\n{\"source\":\"a\"}\n";
    let (code, events, err) = canonical(lines);
    assert_eq!((code, events.len()), (65, 1), "{err}");
    assert!(err.starts_with("rejected: no_status: "), "{err}");
    let (code, events, err) = canonical("");
    assert_eq!((code, events.len()), (65, 0), "nothing at all is not passed over");
    assert!(err.starts_with("rejected: empty: "), "{err}");
    let (code, _, err) = canonical("[]");
    assert_eq!((code, err.as_str()), (0, "nothing: an empty list says nothing\n"));
    let long =
        json!({"source": "a", "host": "x", "status": "ok", "description": "x".repeat(9_000)});
    let (code, _, err) = canonical(&long.to_string());
    assert_eq!((code, err.as_str()), (0, "limited: description_cut: 1\n"));

    // Some formats go by what came beside the body.
    let body = r#"{"status":"critical","host":"x"}"#;
    let headers = ["ce-specversion=1.0", "ce-id: 1", "ce-source=/s", "ce-type=alert"];
    let mut arguments = vec!["--source", "cloudevents"];
    headers.iter().for_each(|header| arguments.extend(["--header", header]));
    let with = decode(&arguments, body);
    let without = decode(&["--source", "cloudevents"], body);
    assert_ne!(with, without, "headers count: {with:?}");

    let (code, _, err) = decode(&["--source", "nobody"], nagios);
    assert_eq!(code, 64);
    assert!(err.contains("nagios") && err.contains("canonical"), "it names those there are: {err}");
    assert_eq!(decode(&["--source", "nagios", "no-such-file"], "").0, 64);
    assert_eq!(decode(&["--source", "nagios", "--header", "x"], "").0, 64);
}

#[test]
fn several_files_and_the_steps_of_a_config_are_tried() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let config = file(
        "muster.yaml",
        "collect:\n  sources:\n    - {name: inhouse, fields: {host: [node]}}\n  enrich:\n    \
         - {set: {team: \"of {{ host }}\"}}\n    - {drop: true, match: [host=noise]}\n",
    );
    let one = file("one.json", r#"{"source":"inhouse","node":"web-1","status":"critical"}"#);
    let two = file("two.json", r#"{"source":"inhouse","node":"noise","status":"critical"}"#);
    let bad = file("bad.json", "{");
    let (code, events, err) = decode(&["--source", "inhouse", "-c", &config, &one, &two, &bad], "");
    assert_eq!((code, events.len()), (65, 2), "{err}");
    assert_eq!(events[0]["host"], "web-1");
    assert_eq!(events[0]["tags"], json!({}), "what came in, unless asked");
    assert!(err.starts_with(&format!("{bad}: rejected: not_json: ")), "{err}");
    let enriched = ["--source", "inhouse", "--enriched", "-c", &config, &one, &two];
    let (code, events, err) = decode(&enriched, "");
    assert_eq!((code, events.len()), (0, 1), "{err}");
    assert_eq!(events[0]["tags"]["team"], "of web-1");
    assert_eq!(err, format!("{two}: dropped: 1 events, by `drop` of collect.enrich\n"));
}
