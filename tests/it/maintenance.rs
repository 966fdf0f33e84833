//! Planned work over HTTP and on the command line, against the real program.

use muster::clock::{Clock, SystemClock};
use muster::model::Span;
use reqwest::Method;
use serde_json::{Value, json};

use crate::commands::{Bench, reason};
use crate::process::wait_until;

/// A plan about the hosts that a regular expression says, whose window is open.
fn open(hosts: &str) -> Value {
    json!({
        "actor": "ann", "name": "patching", "match": [format!("host=~\"{hosts}\"")],
        "from": "2020-01-01T00:00:00Z", "to": "2020-12-01T00:00:00Z",
    })
}

/// The same, with the window around the present.
fn now(hosts: &str) -> Value {
    let mut plan = open(hosts);
    let now = SystemClock.now();
    let at = |hours: i64| {
        let at = now + Span::from_secs(hours * 3_600);
        jiff::Timestamp::from_millisecond(at.as_millis()).expect("in the calendar").to_string()
    };
    (plan["from"], plan["to"]) = (at(-1).into(), at(2).into());
    plan
}

impl Bench {
    fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::PUT, path, None, Some(body)).expect("an answer")
    }

    fn created(&self, plan: Value) -> String {
        let (status, done) = self.post("/v1/maintenance", plan);
        assert_eq!(status, 200, "{done}");
        done["maintenance"]["id"].as_str().expect("an id").to_owned()
    }

    fn plans(&self, query: &str) -> Vec<Value> {
        let (status, listed) = self.get(&format!("/v1/maintenance{query}"));
        assert_eq!(status, 200, "{listed}");
        listed["maintenance"].as_array().expect("a list").clone()
    }

    /// How many alerts of an incident are in maintenance, or quiet after it, and its status.
    fn marked(&self, incident: &str) -> (Value, Value) {
        let shown = self.get(&format!("/v1/incidents/{incident}")).1;
        (shown["counts"]["maintenance"].clone(), shown["status"].clone())
    }

    /// Whether the window has ended in which the only alert of an incident is, or was.
    fn is_after(&self, incident: &str) -> bool {
        let shown = self.get(&format!("/v1/incidents/{incident}")).1;
        shown["alerts"][0]["maintenance"]["ended_at"].is_i64()
    }
}

#[test]
fn a_plan_marks_alerts_while_it_is_in_force_and_a_repeat_is_the_same_plan() {
    let mut bench = Bench::with("");
    let id = bench.opened("web-1");
    assert_eq!(bench.marked(&id).1, "critical");
    let create = |bench: &Bench| {
        let plan = now("web-.*");
        bench.ask(Method::POST, "/v1/maintenance", Some("work"), Some(plan)).expect("an answer")
    };
    let (status, done) = create(&bench);
    assert_eq!((status, &done["count"], &done["outcome"]), (200, &json!(1), &json!("done")));
    assert_eq!(done["lines"], Value::Null, "a plan is no line for people");
    let plan = done["maintenance"]["id"].as_str().expect("an id").to_owned();
    assert!(
        plan.starts_with("mnt_") && done["message"].as_str().is_some_and(|m| m.contains(&plan))
    );
    wait_until("the alert to be marked", || bench.marked(&id) == (json!(1), json!("ok")));

    let listed = bench.plans("");
    assert_eq!(listed.len(), 1);
    let shown = &listed[0];
    for (key, value) in [
        ("id", json!(plan)),
        ("name", json!("patching")),
        ("match", json!(["host=~\"web-.*\""])),
        ("actor", json!("ann")),
        ("state", json!("open")),
        ("in_config", json!(false)),
        ("next", Value::Null),
        ("ended_at", Value::Null),
    ] {
        assert_eq!(shown[key], value, "{key}: {shown}");
    }
    assert!(shown["window"]["starts_at"].as_i64() < shown["window"]["ends_at"].as_i64());
    let other = bench.opened("web-2");
    assert_eq!(bench.marked(&other), (json!(1), json!("ok")), "what comes is marked as well");

    assert_eq!(create(&bench), (200, done.clone()), "the first result once more");
    let end = format!("/v1/maintenance/{plan}/end");
    let (status, ended) = bench.post(&end, json!({"actor": "bob"}));
    assert_eq!(
        (status, &ended["count"], &ended["maintenance"]["id"]),
        (200, &json!(2), &json!(plan))
    );
    wait_until("the window to end", || bench.is_after(&id));
    assert_eq!(bench.marked(&id), (json!(1), json!("ok")), "quiet until it is not ok anew");
    assert_eq!(bench.marked(&bench.opened("web-3")), (Value::Null, json!("critical")));
    assert_eq!(create(&bench).1, done, "a repeat does not begin what was ended");
    let after = bench.get(&format!("/v1/maintenance/{plan}")).1;
    assert_eq!((&after["state"], &after["window"]), (&json!("over"), &Value::Null), "{after}");
    assert!(after["ended_at"].is_i64(), "{after}");
    assert!(bench.plans("?state=open").is_empty());
    reason(&bench.post(&end, json!({"actor": "bob"})), 400, "in_the_past");

    bench.muster.take().expect("it runs").kill();
    bench.run();
    wait_until("the board to be loaded", || bench.get("/v1/maintenance").0 == 200);
    let mut loaded = bench.get(&format!("/v1/maintenance/{plan}")).1;
    loaded["as_of"] = after["as_of"].clone();
    assert_eq!(loaded, after, "the same from rows");
    assert_eq!(create(&bench).1, done, "also after a crash");
    assert_eq!(bench.plans("?state=over").len(), 1);
}

#[test]
fn an_edit_takes_the_place_of_the_plan_and_its_marks() {
    let bench = Bench::with("");
    let (web, db) = (bench.opened("web-1"), bench.opened("db-1"));
    let plan = bench.created(now("web-.*"));
    let path = format!("/v1/maintenance/{plan}");
    wait_until("the alert to be marked", || bench.marked(&web).0 == 1);
    let (status, done) = bench.put(&path, now("db-.*"));
    assert_eq!((status, &done["maintenance"]["id"]), (200, &json!(plan)), "{done}");
    wait_until("the marks to move", || bench.is_after(&web) && bench.marked(&db).1 == "ok");
    assert!(!bench.is_after(&db), "its window lasts");
    assert_eq!(bench.plans("").len(), 1);

    let recurring = json!({
        "actor": "cid", "name": "backup", "match": "check=disk", "comment": "nightly", "every": "week",
        "on": ["mon", "thu"], "at": "02:00", "for": "2h", "until": "2090-01-01T00:00:00Z",
        "time_zone": "Europe/Berlin", "request_id": "weekly",
    });
    assert_eq!(bench.put(&path, recurring).0, 200);
    let shown = bench.get(&path).1;
    for (key, value) in [
        ("name", "backup"),
        ("comment", "nightly"),
        ("every", "week"),
        ("at", "02:00"),
        ("for", "2h"),
        ("until", "2090-01-01T00:00:00Z"),
        ("time_zone", "Europe/Berlin"),
        ("actor", "cid"),
    ] {
        assert_eq!(shown[key], value, "{key}: {shown}");
    }
    assert_eq!((&shown["on"], &shown["to"]), (&json!(["mon", "thu"]), &Value::Null));
    let edge = |window: &str, edge: &str| shown[window][edge].as_i64();
    let next = edge("next", "ends_at").zip(edge("next", "starts_at"));
    assert_eq!(next.map(|(ends, starts)| ends - starts), Some(7_200_000), "{shown}");
    wait_until("the window to end", || bench.is_after(&db));
}

#[test]
fn what_is_wrong_with_a_plan_is_said() {
    let config = "  maintenance:\n    - {name: nightly, match: ['env=prod'], every: day, at: \"02:00\", \
                  for: 1h, time_zone: UTC}\n";
    let bench = Bench::with(config);
    let incident = bench.opened("web-1");
    for (key, value, says) in [
        ("to", json!("soon"), "`to`: `soon` is no time"),
        ("to", json!("2019-01-01T00:00:00Z"), "is not after `from`"),
        ("every", json!("year"), "`every`: `year` is none of day, week, month"),
        ("match", json!([]), "`match` is missing"),
        ("match", json!(["host~x"]), "`match`: `host~x`"),
        ("name", Value::Null, "`name` is missing"),
        ("time_zone", json!("Mars/Base"), "`time_zone`: `Mars/Base` is no time zone"),
        ("att", json!("02:00"), "unknown field `att`"),
    ] {
        let mut plan = now("web-.*");
        plan[key] = value;
        let said = reason(&bench.post("/v1/maintenance", plan), 400, "invalid_plan");
        assert!(said.contains(says), "{said}");
    }
    reason(&bench.post("/v1/maintenance", open("web-.*")), 400, "in_the_past");
    let mut nameless = now("web-.*");
    nameless["actor"] = Value::Null;
    let said = reason(&bench.post("/v1/maintenance", nameless), 400, "bad_command");
    assert!(said.contains("`actor`"), "{said}");
    let mut own = now("web-.*");
    own["id"] = json!("mnt_0sqp3w7k00123456789abc");
    assert!(reason(&bench.post("/v1/maintenance", own), 400, "bad_command").contains("PUT"));

    let who = || json!({"actor": "ann"});
    for answer in [
        bench.get(&format!("/v1/maintenance/{incident}")),
        bench.put(&format!("/v1/maintenance/{incident}"), now("web-.*")),
        bench.post(&format!("/v1/maintenance/{incident}/end"), who()),
        bench.get(&format!("/v1/maintenance?cursor={incident}")),
    ] {
        let said = reason(&answer, 400, "bad_id");
        assert!(
            said.contains("is the id of an incident; a maintenance plan id begins with `mnt_`")
        );
    }
    let nobody = "/v1/maintenance/mnt_0sqp3w7k00123456789abc";
    reason(&bench.get(nobody), 404, "unknown_plan");
    reason(&bench.put(nobody, now("web-.*")), 404, "unknown_plan");
    reason(&bench.post(&format!("{nobody}/end"), who()), 404, "unknown_plan");
    reason(&bench.get("/v1/maintenance?state=soon"), 400, "bad_query");
    reason(&bench.get("/v1/maintenance?match=x"), 400, "bad_query");

    let listed = bench.plans("");
    assert_eq!(listed.len(), 1, "nothing of all this has left a trace");
    let nightly = &listed[0];
    let is = [&nightly["name"], &nightly["actor"], &nightly["in_config"], &nightly["at"]];
    assert_eq!(is, [&json!("nightly"), &json!("config"), &json!(true), &json!("02:00")]);
    let path = format!("/v1/maintenance/{}", nightly["id"].as_str().expect("an id"));
    assert_eq!(bench.get(&path).1["name"], "nightly");
    let said = reason(&bench.put(&path, now("web-.*")), 409, "in_config");
    assert!(said.contains("`correlate.maintenance`"), "{said}");
    reason(&bench.post(&format!("{path}/end"), who()), 409, "in_config");

    // Another config shows at once.
    let text = std::fs::read_to_string(bench.config()).expect("the config");
    std::fs::write(bench.config(), text.replace("nightly", "daily")).expect("written");
    assert_eq!(bench.post("/-/reload", json!({})).0, 200);
    assert_eq!(bench.plans("")[0]["name"], "daily");
    reason(&bench.get(&path), 404, "unknown_plan");
}

#[test]
fn many_alerts_are_marked_only_by_their_count_and_plans_come_in_pages() {
    let bench = Bench::with("");
    for nth in 0..11 {
        bench.opened(&format!("web-{nth}"));
    }
    let ask = |confirm: Option<u64>| {
        let mut plan = now("web-.*");
        plan["request_id"] = json!("many");
        plan["confirm"] = json!(confirm);
        bench.post("/v1/maintenance", plan)
    };
    let refused = ask(None);
    assert!(reason(&refused, 409, "confirm").contains("11"));
    assert_eq!(refused.1["count"], 11);
    assert!(bench.plans("").is_empty());
    assert_eq!(ask(Some(11)).0, 200);

    for _ in 0..4 {
        bench.created(now("nobody"));
    }
    let ids = |plans: &[Value]| -> Vec<String> {
        plans.iter().map(|plan| plan["id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = ids(&bench.plans(""));
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = bench.get(&format!("/v1/maintenance?limit=2{after}")).1;
        paged.extend(ids(page["maintenance"].as_array().expect("a list")));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&cursor={next}");
    }
    assert_eq!((all.len(), paged), (5, all));
}

#[test]
fn the_command_line_does_it_too() {
    let bench = Bench::with("");
    let incident = bench.opened("web-1");
    let good = |arguments: &[&str]| {
        let output = bench.command_line("maintenance", arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let bad = |arguments: &[&str], code: i32, says: &str| {
        let output = bench.command_line("maintenance", arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    assert_eq!(good(&["list"]), "none\n");
    let weekly = ["--match", "host=web-1", "--every", "week", "--on", "mon,thu", "--at", "02:00"];
    let when =
        ["--for", "2h", "--time-zone", "Europe/Berlin", "--comment", "disks", "--request", "w1"];
    let mut create = vec!["create", "backup"];
    create.extend(weekly.iter().chain(&when));
    let said = good(&create);
    assert!(said.contains("put in force") && said.contains("request w1"), "{said}");
    assert_eq!(good(&create), said, "a repeat is the same plan");
    let listed: Value = serde_json::from_str(&good(&["list", "--json"])).expect("JSON");
    let id = listed["maintenance"][0]["id"].as_str().expect("an id").to_owned();
    assert!(said.contains(&id), "{said}");
    let shown = good(&["show", &id]);
    for line in [
        "backup  [by ann]",
        "  match: host=\"web-1\"",
        "  comment: disks",
        "  on: mon, thu",
        "  at: 02:00",
        "  for: 2h",
        "  time_zone: Europe/Berlin",
        "  next: 2",
    ] {
        assert!(shown.contains(line), "`{line}` is not in\n{shown}");
    }
    good(&["edit", &id, "--at", "03:30", "--comment", "", "--as", "cid"]);
    let shown = good(&["show", &id]);
    assert!(shown.contains("  at: 03:30\n  for: 2h"), "{shown}");
    assert!(shown.contains("by cid") && !shown.contains("comment"), "{shown}");
    let work = now("");
    let (from, to) = (work["from"].as_str().expect("text"), work["to"].as_str().expect("text"));
    good(&["edit", &id, "--from", from, "--to", to, "--name", "now"]);
    wait_until("the alert to be marked", || bench.marked(&incident) == (json!(1), json!("ok")));
    assert!(good(&["list", "--state", "open"]).contains("now  [by ann]"));
    assert!(good(&["end", &id]).contains("was ended"));
    let shown = good(&["show", &id]);
    assert!(shown.contains("  over") && shown.contains("  ended: 2"), "{shown}");
    assert_eq!(good(&["list", "--state", "planned"]), "none\n");

    bad(&["end", &id], 64, "over already");
    bad(&["end", &incident], 64, "is the id of an incident");
    bad(&["edit", &incident, "--at", "01:00"], 64, "is the id of an incident");
    bad(&["create", "x", "--match", "a=b", "--every", "day", "--at", "25:00"], 64, "`at`: `25:00`");
    bad(&["create", "x", "--from", from, "--to", to], 64, "`match` is missing");
    bad(&["create", "x", "--to", to, "--every", "day"], 64, "cannot be used with");
    bad(&["show", "mnt_0sqp3w7k00123456789abc"], 1, "unknown_plan");
}
