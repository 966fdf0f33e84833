//! Receivers that page, against servers as strict as their APIs: method, path, key, required fields,
//! sizes, repeats and order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use muster::clock::SystemClock;
use muster::config;
use muster::model::Change;
use muster::notify::receiver::Receiver;
use muster::notify::receiver::log::{Colour, Lines};
use muster::notify::{Delivery, DeliveryId, Outcome, Report};
use muster::wire;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// What a server holds by key of the incident.
#[derive(Debug, Default, Clone, PartialEq)]
struct Held {
    open: bool,
    opened: u32,
    acknowledged: bool,
    priority: String,
    notes: u32,
}

#[derive(Default)]
struct State {
    held: BTreeMap<String, Held>,
    /// Statuses answered in place of the right one, and whether the request is taken none the less.
    plan: Vec<(u16, bool)>,
    mistakes: Vec<String>,
}

type Serve = fn(&mut State, &Method, &Uri, &HeaderMap, &Value) -> Result<(), String>;

struct Bench {
    runtime: Runtime,
    url: String,
    state: Arc<Mutex<State>>,
}

impl Bench {
    fn start(serve: Serve) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let app = Router::new().fallback(
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let mut state = shared.lock().expect("no panic under the lock");
                let planned = (!state.plan.is_empty()).then(|| state.plan.remove(0));
                let mut status = StatusCode::ACCEPTED;
                if planned.is_none_or(|(_, taken)| taken) {
                    let body = serde_json::from_slice(&body).unwrap_or_default();
                    if let Err(mistake) = serve(&mut state, &method, &uri, &headers, &body) {
                        state.mistakes.push(mistake);
                        status = StatusCode::UNPROCESSABLE_ENTITY;
                    }
                }
                if let Some((code, _)) = planned {
                    status = StatusCode::from_u16(code).expect("a status");
                }
                async move { (status, [("retry-after", "7")], "{}") }
            },
        );
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { runtime, url, state }
    }

    /// As the config has it: what stands under the key of the kind, with the address added.
    fn receiver(&self, kind: &str, rest: &str) -> Receiver {
        let text = format!(
            "notify: {{receivers: [{{name: oncall, {kind}: {{url: '{}', {rest}}}}}], route: \
             {{receiver: oncall}}}}",
            self.url
        );
        let config = config::parse(&text).expect("a good config");
        let settings = config.notify().receivers[0].clone();
        let lines = Lines::to(std::io::sink(), Colour::Plain);
        Receiver::new(&settings, Arc::new(SystemClock), &lines).expect("it can be set up")
    }

    fn tell(&self, to: &Receiver, change: &Change, handle: Option<Box<str>>) -> Report {
        let id = DeliveryId {
            incident: change.id,
            receiver: "oncall".into(),
            revision: change.revision,
        };
        let delivery = Delivery { id, change: change.clone(), failed: 0, handle };
        self.runtime.block_on(to.deliver(&delivery))
    }

    fn plan(&self, plan: &[(u16, bool)]) {
        self.state.lock().expect("no panic under the lock").plan = plan.to_vec();
    }

    fn held(&self) -> Held {
        let state = self.state.lock().expect("no panic under the lock");
        assert!(state.mistakes.is_empty(), "{:?}", state.mistakes);
        assert_eq!(state.held.len(), 1, "one incident, one key");
        state.held.values().next().expect("one").clone()
    }
}

/// A notice of one incident.
fn change(revision: u64, kind: &str, status: &str, acknowledged: bool) -> Change {
    let over = kind == "resolved";
    let by = json!({"by": "jo", "at": 1_763_913_700_000_i64});
    let text = json!({
        "id": "inc_1karq33006v1py1efkfhaj", "revision": revision, "change": [kind],
        "at": 1_763_913_600_000_i64, "state": if over { "resolved" } else { "open" },
        "status": status, "severity": "critical", "title": "web: web-1 · disk /",
        "started_at": 1_763_913_600_000_i64, "changed_at": 1_763_913_600_000_i64,
        "ended_at": over.then_some(1_763_913_660_000_i64), "reason": over.then_some("all_ok"),
        "pattern": null, "counts": {"firing": 1, "total": 1, "events": 1, "hosts": 1, "checks": 1},
        "hosts": ["web-1"], "checks": ["disk /"], "sources": ["nagios"], "tags": {"site": "ham"},
        "acknowledged": acknowledged.then_some(by), "assignee": null, "snoozed_until": null,
        "flapping": false, "maintenance": false, "held": false, "continues": null,
        "continued_by": null, "shard": "main", "joined": [], "alerts": [], "actor": null
    });
    wire::change::decode(text.to_string().as_bytes()).expect("a change")
}

fn within(value: &Value, most: usize, what: &str) -> Result<(), String> {
    let text = value.as_str().ok_or(format!("{what} is no text: {value}"))?;
    let chars = text.chars().count();
    if (1..=most).contains(&chars) { Ok(()) } else { Err(format!("{what} has {chars}")) }
}

fn one_of(value: &Value, words: &[&str], what: &str) -> Result<(), String> {
    let known = value.as_str().is_some_and(|word| words.contains(&word));
    if known { Ok(()) } else { Err(format!("{what} is {value}")) }
}

// ---- PagerDuty ----

fn pagerduty(
    state: &mut State,
    method: &Method,
    uri: &Uri,
    _: &HeaderMap,
    body: &Value,
) -> Result<(), String> {
    if (method, uri.to_string().as_str()) != (&Method::POST, "/v2/enqueue") {
        return Err(format!("{method} {uri}"));
    }
    if body["routing_key"] != KEY || body.to_string().len() > 512_000 {
        return Err("the key is wrong, or it is too large".to_owned());
    }
    within(&body["dedup_key"], 255, "dedup_key")?;
    let held = state.held.entry(body["dedup_key"].to_string()).or_default();
    match body["event_action"].as_str() {
        Some("trigger") => {
            let payload = &body["payload"];
            within(&payload["summary"], 1_024, "summary")?;
            within(&payload["source"], 1_024, "source")?;
            one_of(&payload["severity"], &["critical", "error", "warning", "info"], "severity")?;
            let time = payload["timestamp"].as_str().unwrap_or_default();
            time.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?;
            held.opened += u32::from(!held.open);
            held.acknowledged &= held.open;
            held.open = true;
            held.priority = payload["severity"].as_str().unwrap_or_default().to_owned();
        }
        // Without an open alert both are dropped silently.
        Some("acknowledge") => held.acknowledged |= held.open,
        Some("resolve") => held.open = false,
        other => return Err(format!("event_action is {other:?}")),
    }
    Ok(())
}

#[test]
fn pagerduty_pages_once_and_takes_it_back() {
    let bench = Bench::start(pagerduty);
    let to = bench.receiver("pagerduty", &format!("routing_key: {KEY}"));
    // The first answer is lost after the event was taken.
    bench.plan(&[(502, true)]);
    let first = change(1, "opened", "warning", false);
    let report = bench.tell(&to, &first, None);
    assert!(matches!(report.outcome, Outcome::Retry { .. }), "{report:?}");
    let report = bench.tell(&to, &first, report.handle);
    assert_eq!((report.outcome, bench.held().opened), (Outcome::Delivered, 1));
    let report = bench.tell(&to, &change(2, "worsened", "critical", true), report.handle);
    let held = bench.held();
    assert_eq!((held.acknowledged, held.priority.as_str()), (true, "critical"));
    let report = bench.tell(&to, &change(3, "resolved", "ok", false), report.handle);
    assert!(!bench.held().open);
    let report = bench.tell(&to, &change(4, "reopened", "critical", false), report.handle);
    assert_eq!(report.outcome, Outcome::Delivered);
    let held = bench.held();
    assert_eq!((held.open, held.opened, held.acknowledged), (true, 2, false));
}

#[test]
fn pagerduty_is_not_left_open_by_an_answer_that_was_lost() {
    let bench = Bench::start(pagerduty);
    let to = bench.receiver("pagerduty", &format!("routing_key: {KEY}"));
    bench.plan(&[(500, true), (429, false)]);
    let report = bench.tell(&to, &change(1, "opened", "critical", false), None);
    let over = change(2, "resolved", "ok", false);
    let report = bench.tell(&to, &over, report.handle);
    let Outcome::Retry { after, .. } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(*after, Some(muster::model::Span::from_secs(7)), "as it asks for");
    let report = bench.tell(&to, &over, report.handle);
    assert_eq!((report.outcome, bench.held().open), (Outcome::Delivered, false));
}

// ---- Opsgenie and JSM ----

fn opsgenie(
    state: &mut State,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Value,
) -> Result<(), String> {
    let key = headers.get("authorization").and_then(|value| value.to_str().ok());
    if key != Some(&format!("GenieKey {KEY}")) {
        return Err("the key is wrong".to_owned());
    }
    if (method, uri.to_string().as_str()) == (&Method::POST, "/v2/alerts") {
        within(&body["message"], 130, "message")?;
        within(&body["alias"], 512, "alias")?;
        within(&body["description"], 15_000, "description")?;
        one_of(&body["priority"], &["P1", "P2", "P3", "P4", "P5"], "priority")?;
        if body["responders"] != json!([{"type": "team", "name": "web"}]) {
            return Err(format!("responders are {}", body["responders"]));
        }
        let alias = body["alias"].as_str().unwrap_or_default();
        let held = state.held.entry(alias.to_owned()).or_default();
        if !held.open {
            let opened = held.opened + 1;
            let priority = body["priority"].as_str().unwrap_or_default().to_owned();
            *held = Held { open: true, opened, acknowledged: false, priority, notes: 0 };
        }
        return Ok(());
    }
    let rest = uri.path().strip_prefix("/v2/alerts/").ok_or(format!("{uri}"))?;
    let (alias, what) = rest.split_once('/').ok_or(format!("{uri}"))?;
    if uri.query() != Some("identifierType=alias") {
        return Err(format!("by id: {uri}"));
    }
    let held = state.held.entry(alias.to_owned()).or_default();
    match (method.as_str(), what) {
        ("PUT", "priority") => {
            one_of(&body["priority"], &["P1", "P2", "P3", "P4", "P5"], "priority")?;
            held.priority = body["priority"].as_str().unwrap_or_default().to_owned();
        }
        ("POST", "notes") => {
            within(&body["note"], 25_000, "note")?;
            held.notes += 1;
        }
        ("POST", "acknowledge") => held.acknowledged = held.open,
        ("POST", "unacknowledge") => held.acknowledged = false,
        ("POST", "close") => held.open = false,
        _ => return Err(format!("{method} {uri}")),
    }
    Ok(())
}

#[test]
fn opsgenie_and_jsm_have_one_alert_an_incident() {
    for kind in ["opsgenie", "jsm_ops"] {
        let bench = Bench::start(opsgenie);
        let to = bench.receiver(kind, &format!("api_key: {KEY}, teams: [web]"));
        bench.plan(&[(503, true)]);
        let first = change(1, "opened", "warning", false);
        let report = bench.tell(&to, &first, None);
        assert!(matches!(report.outcome, Outcome::Retry { .. }), "{report:?}");
        let report = bench.tell(&to, &first, report.handle);
        assert_eq!((bench.held().opened, bench.held().priority.as_str()), (1, "P3"));
        let report = bench.tell(&to, &change(2, "grew", "warning", false), report.handle);
        assert_eq!((bench.held().notes, bench.held().opened), (1, 1));
        let report = bench.tell(&to, &change(3, "acknowledged", "warning", true), report.handle);
        assert!(bench.held().acknowledged && bench.held().notes == 1);
        let report = bench.tell(&to, &change(4, "worsened", "critical", true), report.handle);
        assert_eq!((bench.held().notes, bench.held().priority.as_str()), (2, "P1"));
        let report = bench.tell(&to, &change(5, "resolved", "ok", false), report.handle);
        assert!(!bench.held().open);
        let report = bench.tell(&to, &change(6, "reopened", "critical", false), report.handle);
        assert_eq!(report.outcome, Outcome::Delivered, "{kind}");
        assert_eq!((bench.held().opened, bench.held().acknowledged), (2, false));
    }
}

#[test]
fn opsgenie_opens_anew_what_was_closed_by_hand_and_got_worse() {
    let bench = Bench::start(opsgenie);
    let to = bench.receiver("opsgenie", &format!("api_key: {KEY}, teams: [web]"));
    let report = bench.tell(&to, &change(1, "opened", "warning", false), None);
    let by_hand = |state: &mut State| state.held.values_mut().for_each(|held| held.open = false);
    by_hand(&mut bench.state.lock().expect("no panic under the lock"));
    let report = bench.tell(&to, &change(2, "worsened", "critical", false), report.handle);
    assert_eq!(report.outcome, Outcome::Delivered);
    let held = bench.held();
    assert_eq!((held.open, held.opened, held.priority.as_str()), (true, 2, "P1"));
}

// ---- the config ----

#[test]
fn what_cannot_page_is_refused_by_name() {
    let refused = [
        ("pagerduty: {}", "pagerduty.routing_key_file", "is missing"),
        ("pagerduty: {routing_key: short}", "pagerduty.routing_key", "32 letters"),
        ("pagerduty: {severity: {critical: bad}}", "pagerduty.severity.critical", "is none of"),
        ("pagerduty: {region: mars}", "pagerduty.region", "is none of us, eu"),
        ("pagerduty: {region: eu, url: 'http://x'}", "pagerduty.region", "beside `url`"),
        ("jsm_ops: {region: eu}", "jsm_ops.region", "is no key"),
        ("jsm_ops: {api_key: 'Basic x'}", "jsm_ops.api_key", "one word"),
        ("opsgenie: {priority: {info: P6}}", "opsgenie.priority.info", "is none of"),
        ("opsgenie: {teams: ['']}", "opsgenie.teams", "empty entry"),
    ];
    for (kind, key, rule) in refused {
        let text = format!("notify: {{receivers: [{{name: a, {kind}}}], route: {{receiver: a}}}}");
        let said = config::parse(&text).expect_err(kind).to_string();
        let key = format!("notify.receivers[0].{key}:");
        let named = said.lines().any(|line| line.contains(&key) && line.contains(rule));
        assert!(named, "{kind}: {said}");
        assert!(!said.contains("short") && !said.contains("Basic x"), "{said}");
    }
    let long = "x".repeat(51);
    let text = format!("notify: {{receivers: [{{name: a, opsgenie: {{tags: [{long}]}}}}]}}");
    assert!(config::parse(&text).expect_err("long").to_string().contains("50 characters"));
}
