//! Silences and inhibition over HTTP and on the command line, against the real program and a receiver.

use serde_json::{Value, json};

use crate::commands::{Bench, reason};
use crate::process::{Receiver, metrics, wait_until};

/// A program that tells a receiver at once, with lines that end the section `notify`.
fn bench(receiver: &Receiver, notify: &str) -> Bench {
    Bench::with(&format!(
        "notify:\n  receivers:\n    - {{name: stub, webhook: {{url: \"{}\"}}}}\n  \
         route: {{receiver: stub, group_wait: 0s}}\n{notify}",
        receiver.url
    ))
}

fn told(receiver: &Receiver, incident: &str) -> usize {
    receiver.told().iter().filter(|told| told.incident == incident).count()
}

/// What an alert of a host says at a site.
fn event(host: &str, check: &str, status: &str) -> Value {
    json!({"source": "nagios", "host": host, "check": check, "status": status,
           "tags": {"site": "ber"}})
}

impl Bench {
    fn silenced(&self, body: Value) -> Value {
        let (status, silence) = self.post("/v1/silences", body);
        assert_eq!(status, 200, "{silence}");
        silence
    }

    fn silences(&self, query: &str) -> Vec<Value> {
        let (status, listed) = self.get(&format!("/v1/silences{query}"));
        assert_eq!(status, 200, "{listed}");
        listed["silences"].as_array().expect("a list").clone()
    }

    fn muted(&self, incident: &str) -> Value {
        self.get(&format!("/v1/incidents/{incident}")).1["muted"].clone()
    }

    /// How many notices were held back as muted, of all reasons but `unsure`.
    fn held_back(&self) -> f64 {
        let name = "muster_notices_muted_total{reason=\"";
        let names = [format!("{name}silence\""), format!("{name}inhibition\"")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        metrics(self.port, &names).into_iter().flatten().sum()
    }

    /// The incident that an event opens, once it is shown.
    fn opened_by(&self, event: Value) -> String {
        let host = event["host"].as_str().expect("a host").to_owned();
        assert_eq!(self.post("/v1/events", event).0, 202);
        let path = format!("/v1/incidents?match=host%3D{host}");
        let found = || self.get(&path).1["incidents"][0]["id"].as_str().map(str::to_owned);
        wait_until("the incident to be shown", || found().is_some());
        found().expect("it is shown")
    }
}

fn create(request: &str, matcher: &str) -> Value {
    json!({"request_id": request, "actor": "ann", "comment": "works", "matchers": [matcher],
           "duration": "2h"})
}

fn id(silence: &Value) -> String {
    silence["id"].as_str().expect("an id").to_owned()
}

#[test]
fn what_is_silenced_is_shown_and_told_once_the_silence_is_expired_also_over_a_crash() {
    let receiver = Receiver::start();
    let mut bench = bench(&receiver, "");
    let before = bench.opened("db-1");
    wait_until("it is told", || told(&receiver, &before) == 1);
    let preview = |matcher: &str| {
        let (status, preview) = bench.post("/v1/silences/preview", json!({"matchers": [matcher]}));
        assert_eq!(status, 200, "{preview}");
        preview
    };
    let seen = preview("host=\"db-1\"");
    let counts = [&seen["alerts"], &seen["incidents"], &seen["muted_incidents"]];
    assert_eq!(counts, [1, 1, 1], "{seen}");
    assert_eq!(seen["sample"][0]["id"], json!(before));
    assert_eq!(preview("host=\"web-1\"")["alerts"], 0);
    assert!(bench.silences("").is_empty(), "who looks changes nothing");

    let silence = bench.silenced(create("s1", "host=~\"web-.*\""));
    assert_eq!((&silence["state"], &silence["created_by"]), (&json!("active"), &json!("ann")));
    let muted = bench.opened("web-1");
    wait_until("it is held back", || bench.held_back() > 0.0);
    let reason = bench.muted(&muted);
    assert_eq!(reason["by"], json!([silence["id"]]), "{reason}");
    assert_eq!(reason["until"], silence["ends_at"], "{reason}");
    assert_eq!(bench.muted(&before), Value::Null);

    bench.muster.take().expect("it runs").kill();
    bench.run();
    wait_until("the silences to be loaded", || bench.get("/v1/silences").0 == 200);
    assert_eq!(bench.silences(""), std::slice::from_ref(&silence), "the same after a crash");
    wait_until("it is muted again", || bench.muted(&muted)["by"] == json!([silence["id"]]));
    let other = bench.opened("db-2");
    wait_until("what is not muted is told", || told(&receiver, &other) == 1);
    assert_eq!(told(&receiver, &muted), 0, "what is muted is not told");

    let end = json!({"request_id": "s1-end", "actor": "bob"});
    let path = format!("/v1/silences/{}/expire", id(&silence));
    let (status, ended) = bench.post(&path, end.clone());
    assert_eq!(
        (status, &ended["state"], &ended["updated_by"]),
        (200, &json!("expired"), &json!("bob"))
    );
    assert_eq!(bench.post(&path, end), (200, ended.clone()), "a repeat changes nothing");
    wait_until("it is told now", || told(&receiver, &muted) == 1);
    assert_eq!(bench.muted(&muted), Value::Null);
    assert_eq!(bench.silences("?state=expired"), [ended]);
    assert!(bench.silences("?state=active").is_empty());
}

#[test]
fn a_repeated_request_makes_one_silence_and_an_edit_changes_what_it_says() {
    let receiver = Receiver::start();
    let bench = bench(&receiver, "");
    let first = bench.silenced(create("s1", "host=\"web-1\""));
    assert_eq!(bench.silenced(create("s1", "host=\"web-1\"")), first);
    assert_eq!(bench.silences("").len(), 1);
    let edit = json!({"request_id": "s2", "actor": "bob", "id": first["id"],
                      "matchers": ["host=\"web-2\""]});
    let edited = bench.silenced(edit.clone());
    assert_eq!(edited["matchers"], json!(["host=\"web-2\""]));
    for same in ["id", "starts_at", "ends_at", "comment", "created_by"] {
        assert_eq!(edited[same], first[same], "{same}");
    }
    assert_eq!(edited["updated_by"], "bob");
    assert_eq!(bench.silenced(edit), edited);
    assert_eq!(bench.silences(""), std::slice::from_ref(&edited));
    let (free, silenced) = (bench.opened("web-1"), bench.opened("web-2"));
    wait_until("the one that is not muted is told", || told(&receiver, &free) == 1);
    assert_eq!(bench.muted(&silenced)["by"], json!([edited["id"]]));

    let incident = json!({"request_id": "s3", "actor": "bob", "id": free, "comment": "x"});
    let who = json!({"request_id": "s4", "actor": "bob"});
    for answer in [
        bench.get(&format!("/v1/silences/{free}")),
        bench.post("/v1/silences", incident),
        bench.post(&format!("/v1/silences/{free}/expire"), who.clone()),
    ] {
        let said = reason(&answer, 400, "bad_id");
        assert!(
            said.contains("is the id of an incident; a silence id begins with `sil_`"),
            "{said}"
        );
    }
    let nobody = "/v1/silences/sil_0sqp3w7k00123456789abc";
    reason(&bench.get(nobody), 404, "no_such_silence");
    reason(&bench.post(&format!("{nobody}/expire"), who), 404, "no_such_silence");
    assert_eq!(bench.silences(""), [edited], "nothing of this has left a trace");
}

#[test]
fn many_alerts_are_silenced_only_by_their_count() {
    let receiver = Receiver::start();
    let bench = bench(&receiver, "  silences: {confirm_above: 1}\n");
    bench.silenced(create("none", "host=\"nobody\""));
    for host in ["web-1", "web-2", "web-3"] {
        bench.opened(host);
    }
    let ask = |confirm: Option<u64>| {
        let mut body = create("many", "host=~\"web-.*\"");
        body["confirm"] = json!(confirm);
        bench.post("/v1/silences", body)
    };
    for wrong in [None, Some(2)] {
        let refused = ask(wrong);
        assert!(reason(&refused, 409, "confirm").contains("it would mute 3 alerts now"));
        assert_eq!(refused.1["count"], 3);
    }
    assert_eq!(bench.silences("").len(), 1);
    assert_eq!(ask(Some(3)).0, 200);
    assert_eq!(bench.silences("").len(), 2);
}

#[test]
fn a_target_is_inhibited_while_a_source_fires_by_rules_that_a_reload_replaces() {
    const RULE: &str =
        "  inhibit:\n    - {source: [check=ping], target: [check=cpu], equal: [site]}\n";
    let receiver = Receiver::start();
    let bench = bench(&receiver, RULE);
    let source = bench.opened_by(event("gate", "ping", "critical"));
    let target = bench.opened_by(event("web-1", "cpu", "critical"));
    wait_until("it is held back", || bench.held_back() > 0.0);
    let alert = bench.get(&format!("/v1/incidents/{source}")).1["alerts"][0]["id"].clone();
    let muted = bench.muted(&target);
    assert_eq!(muted["inhibited_by"], json!([alert]), "{muted}");
    assert_eq!(muted["until"], Value::Null, "nobody knows when: {muted}");
    wait_until("the source is told", || told(&receiver, &source) == 1);
    assert_eq!(told(&receiver, &target), 0);
    assert_eq!(bench.post("/v1/events", event("gate", "ping", "ok")).0, 202);
    wait_until("the target is told", || told(&receiver, &target) == 1);
    assert_eq!(bench.muted(&target), Value::Null);

    // Another rule holds at once, over what is shown already.
    let config = std::fs::read_to_string(bench.config()).expect("the config");
    let reload = |text: &str| {
        std::fs::write(bench.config(), text).expect("written");
        bench.post("/-/reload", json!({}))
    };
    let disk = bench.opened_by(event("db-1", "disk", "critical"));
    wait_until("it is told", || told(&receiver, &disk) == 1);
    let other = config.replace("check=ping", "check=disk");
    let done = json!({"changed": ["notify"], "needs_restart": []});
    assert_eq!(reload(&other), (200, done.clone()));
    assert_eq!(bench.muted(&target)["inhibited_by"].as_array().map(Vec::len), Some(1));
    let late = bench.opened_by(event("web-2", "cpu", "critical"));
    assert_ne!(bench.muted(&late), Value::Null);
    assert_eq!(reload(&config.replace(RULE, "")), (200, done));
    assert_eq!(bench.muted(&late), Value::Null);
    wait_until("what was held back is told", || told(&receiver, &late) == 1);

    // The bounds of silences are those of the start.
    let bounds = config.replace(RULE, "  silences: {confirm_above: 7}\n");
    let done = json!({"changed": ["notify"], "needs_restart": ["notify.silences"]});
    assert_eq!(reload(&bounds), (200, done));
}

#[test]
fn the_command_line_does_it_too() {
    let receiver = Receiver::start();
    let bench = bench(&receiver, "  silences: {confirm_above: 1}\n");
    let (incident, _) = (bench.opened("web-1"), bench.opened("web-2"));
    let good = |arguments: &[&str]| {
        let output = bench.command_line("silences", arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let bad = |arguments: &[&str], code: i32, says: &str| {
        let output = bench.command_line("silences", arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    assert_eq!(good(&["list"]), "none\n");
    let both = ["--match", "host=~\"web-.*\""];
    let seen = good(&["preview", both[0], both[1]]);
    assert!(seen.starts_with("would mute 2 firing alerts of 2 incidents; 2 of those"), "{seen}");
    assert!(seen.contains(&incident), "{seen}");
    let mut create = vec!["create"];
    create.extend(both);
    create.extend(["--for", "2h", "--comment", "works", "--request", "s1"]);
    bad(&create, 1, "it would mute 2 alerts now");
    bad(&create, 1, "here that is --confirm 2");
    create.extend(["--confirm", "2"]);
    let made = good(&create);
    assert!(made.contains("active") && made.contains("[by ann]"), "{made}");
    assert_eq!(good(&create), made, "a repeat is the same silence");
    let listed: Value = serde_json::from_str(&good(&["list", "--json"])).expect("JSON");
    let id = id(&listed["silences"][0]);
    assert!(made.contains(&id) && made.contains("  comment: works"), "{made}");
    assert_eq!(bench.muted(&incident)["by"], json!([id]));

    let until = "2020-01-01T00:00:00Z";
    bad(&["edit", &id, "--until", until], 64, "before now");
    let until = "2090-01-01T00:00:00+01:00";
    bad(&["edit", &id, "--until", until], 64, "longer than");
    let edit =
        ["edit", &id, "--match", "host=web-1", "--for", "1h", "--comment", "", "--as", "cid"];
    good(&edit);
    let shown = good(&["show", &id]);
    assert!(shown.contains("host=\"web-1\"") && shown.contains(" by cid"), "{shown}");
    assert!(!shown.contains("comment"), "{shown}");
    assert!(good(&["list", "--state", "active"]).contains(&id));
    assert_eq!(good(&["list", "--state", "pending"]), "none\n");
    let later = bench.silences("")[0]["ends_at"].as_i64().expect("a time") - 1_000;
    good(&["create", "--match", "host=db", "--from", &later.to_string(), "--for", "1h"]);
    assert!(good(&["list", "--state", "pending"]).contains("host=\"db\""));
    assert!(good(&["expire", &id]).contains("expired"));
    assert!(good(&["list", "--state", "expired"]).contains(&id));
    assert_eq!(bench.muted(&incident), Value::Null);

    bad(&["expire", &incident], 64, "is the id of an incident");
    bad(&["edit", &incident, "--for", "1h"], 64, "is the id of an incident");
    bad(&["create", "--match", "a=b"], 64, "`duration` is missing");
    bad(&["create", "--match", "a=b", "--until", "soon"], 64, "--until: `soon` is no time");
    bad(&["create", "--match", "a=b", "--until", until, "--for", "1h"], 64, "cannot be used with");
    bad(&["create", "--match", "a~b", "--for", "1h"], 64, "bad_matcher");
    bad(&["list", "--state", "soon"], 64, "bad_query");
    bad(&["show", "sil_0sqp3w7k00123456789abc"], 1, "no_such_silence");
    let gone = format!("http://127.0.0.1:{}", crate::process::free_port());
    bad(&["preview", "--match", "a=b", "--api", &gone], 1, "cannot connect");
}
