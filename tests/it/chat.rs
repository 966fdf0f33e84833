//! Receivers for chats against strict stubs of their APIs, over HTTP on the loopback: each stub checks
//! method, path, authorisation, required fields and sizes, and answers as the real one does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Response, Uri};
use muster::clock::SystemClock;
use muster::model::{Change, ChangeKind, Span};
use muster::notify::receiver::exchange::Reach;
use muster::notify::receiver::log::{Colour, Lines};
use muster::notify::receiver::{Receiver, slack};
use muster::notify::{
    Address, Delivery, DeliveryId, Outcome, ReceiverKind, ReceiverSettings, Report, Secret,
    SecretSource,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::notify::change;

/// What a stub answers: status, headers, body.
type Said = (u16, Vec<(&'static str, String)>, String);

/// A request, as it came.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Value,
}

/// An API: judges each request, unless something else is planned for it.
struct Stub {
    runtime: Runtime,
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    plan: Arc<Mutex<VecDeque<Said>>>,
}

impl Stub {
    fn start(judge: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let plan = Arc::new(Mutex::new(VecDeque::new()));
        let (log, planned, judge) = (Arc::clone(&asked), Arc::clone(&plan), Arc::new(judge));
        let app = Router::new().fallback(
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let path = uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
                let one = Asked { method, path, headers, body };
                let other = planned.lock().expect("no panic under the lock").pop_front();
                let (status, headers, body) = other.unwrap_or_else(|| judge(&one));
                log.lock().expect("no panic under the lock").push(one);
                let answer = Response::builder().status(status);
                let named = headers.into_iter();
                let answer = named.fold(answer, |answer, (name, value)| answer.header(name, value));
                async move { answer.body(body).expect("a response") }
            },
        );
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { runtime, url, asked, plan }
    }

    fn plan(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.plan.lock().expect("no panic").push_back((status, headers, body.to_owned()));
    }

    fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }

    /// One attempt to tell of a change.
    fn tell(&self, kind: &ReceiverKind, change: &Change, handle: Option<&str>) -> Report {
        let settings = ReceiverSettings { name: "chat".into(), kind: kind.clone(), concurrency: 1 };
        let lines = Lines::to(std::io::sink(), Colour::Plain);
        let receiver = Receiver::new(&settings, Arc::new(SystemClock), &lines).expect("set up");
        let id =
            DeliveryId { incident: change.id, receiver: "chat".into(), revision: change.revision };
        let handle = handle.map(Into::into);
        let delivery = Delivery { id, change: change.clone(), failed: 0, handle };
        self.runtime.block_on(receiver.deliver(&delivery))
    }
}

fn secret(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text))
}

fn ok(body: &Value) -> Said {
    (200, Vec::new(), body.to_string())
}

fn refused(error: &str) -> Said {
    ok(&json!({"ok": false, "error": error}))
}

/// The rules of blocks, as far as we use them.
fn blocks_are_good(body: &Value) -> bool {
    let Some(blocks) = body["blocks"].as_array() else { return false };
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let good = |block: &Value| match block["type"].as_str() {
        Some("header") => {
            block["text"]["type"] == "plain_text"
                && (1..=150).contains(&length(&block["text"]["text"]))
        }
        Some("section") => (1..=3_000).contains(&length(&block["text"]["text"])),
        Some("actions") => block["elements"].as_array().is_some_and(|all| {
            (1..=25).contains(&all.len())
                && all.iter().all(|button| {
                    button["type"] == "button"
                        && (1..=75).contains(&length(&button["text"]["text"]))
                        && (1..=3_000).contains(&length(&button["url"]))
                })
        }),
        Some("context") => block["elements"].as_array().is_some_and(|all| all.len() <= 10),
        _ => false,
    };
    blocks.len() <= 50 && blocks.iter().all(good)
}

/// Slack's API: knows what was posted, and edits and takes replies to nothing else.
fn slack_api() -> impl Fn(&Asked) -> Said + Send + Sync + 'static {
    let posted: Mutex<Vec<String>> = Mutex::new(Vec::new());
    move |asked| {
        let header = |name| asked.headers.get(name).and_then(|value| value.to_str().ok());
        if asked.method != Method::POST || !header("content-type").unwrap_or("").contains("json") {
            return refused("invalid_form_data");
        }
        if header("authorization") != Some("Bearer xoxb-good") {
            return refused("invalid_auth");
        }
        let text = |key: &str| asked.body[key].as_str().unwrap_or_default().to_owned();
        if text("text").is_empty() || text("text").chars().count() > 40_000 {
            return refused("no_text");
        }
        if !blocks_are_good(&asked.body) {
            return refused("invalid_blocks");
        }
        let mut posted = posted.lock().expect("no panic");
        match asked.path.as_str() {
            "/chat.postMessage" if ["#ops", "C1"].contains(&&*text("channel")) => {
                let thread = text("thread_ts");
                if !thread.is_empty() && !posted.contains(&thread) {
                    return refused("thread_not_found");
                }
                let ts = format!("17639.{:04}", posted.len());
                posted.push(ts.clone());
                ok(&json!({"ok": true, "channel": "C1", "ts": ts}))
            }
            // Names of channels will not do here.
            "/chat.update" if text("channel") == "C1" => {
                if posted.contains(&text("ts")) {
                    ok(&json!({"ok": true, "channel": "C1", "ts": text("ts")}))
                } else {
                    refused("message_not_found")
                }
            }
            _ => refused("channel_not_found"),
        }
    }
}

fn slack_bot(stub: &Stub, token: &str, channel: &str) -> ReceiverKind {
    let api = Address::parse(&stub.url).expect("an address");
    let way = slack::Way::Bot { token: secret(token), channel: channel.into(), api };
    ReceiverKind::Slack(Box::new(slack::Settings { way, reach: Reach::default() }))
}

fn paths(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| asked.path.as_str()).collect()
}

#[test]
fn slack_has_one_message_an_incident_and_the_rest_in_its_thread() {
    let stub = Stub::start(slack_api());
    let kind = slack_bot(&stub, "xoxb-good", "#ops");
    let first = stub.tell(&kind, &change(1, 1, ChangeKind::Opened), None);
    assert_eq!(first.outcome, Outcome::Delivered);
    let handle = first.handle.expect("the message is remembered");
    assert_eq!(paths(&stub.take()), ["/chat.postMessage"]);

    let kinds = [ChangeKind::Grew, ChangeKind::Worsened, ChangeKind::Resolved];
    for (revision, news) in (2..).zip(kinds) {
        let report = stub.tell(&kind, &change(1, revision, news), Some(&handle));
        assert_eq!((report.outcome, report.handle), (Outcome::Delivered, None), "{news:?}");
        let asked = stub.take();
        assert_eq!(paths(&asked), ["/chat.update", "/chat.postMessage"], "{news:?}");
        assert_eq!(asked[0].body["ts"], asked[1].body["thread_ts"]);
        assert_eq!(asked[1].body["reply_broadcast"], json!(news == ChangeKind::Worsened));
    }

    let gone = r#"{"v":1,"channel":"C1","ts":"1.9"}"#;
    let report = stub.tell(&kind, &change(1, 5, ChangeKind::Reopened), Some(gone));
    assert_eq!(report.outcome, Outcome::Delivered);
    assert!(report.handle.is_some_and(|new| new != handle), "the new message is remembered");
    assert_eq!(paths(&stub.take()), ["/chat.update", "/chat.postMessage"]);
}

#[test]
fn slack_that_is_busy_is_asked_later_and_what_lasts_is_set_aside() {
    let stub = Stub::start(slack_api());
    let kind = slack_bot(&stub, "xoxb-good", "C1");
    let opened = change(1, 1, ChangeKind::Opened);
    let after = |report: Report| match report.outcome {
        Outcome::Retry { after, .. } => after,
        other => panic!("not to be repeated: {other:?}"),
    };
    stub.plan(429, &[("retry-after", "7")], r#"{"ok":false,"error":"ratelimited"}"#);
    assert_eq!(after(stub.tell(&kind, &opened, None)), Some(Span::from_secs(7)));
    stub.plan(500, &[], "oops");
    assert_eq!(after(stub.tell(&kind, &opened, None)), None);
    stub.plan(200, &[], r#"{"ok":false,"error":"internal_error"}"#);
    assert_eq!(after(stub.tell(&kind, &opened, None)), None);
    let lasting = [
        (slack_bot(&stub, "xoxb-bad", "C1"), "invalid_auth"),
        (slack_bot(&stub, "xoxb-good", "#none"), "channel_not_found"),
    ];
    for (kind, word) in lasting {
        let report = stub.tell(&kind, &opened, None);
        let Outcome::SetAside { why } = report.outcome else { panic!("{word} lasts") };
        assert!(why.contains(word), "{why}");
    }

    // The reply fails, the edit did not: both come again, to the same message.
    let handle = stub.tell(&kind, &opened, None).handle.expect("remembered");
    stub.take();
    stub.plan(200, &[], r#"{"ok":true}"#);
    stub.plan(503, &[], "");
    let grew = change(1, 2, ChangeKind::Grew);
    assert_eq!(after(stub.tell(&kind, &grew, Some(&handle))), None);
    assert_eq!(stub.tell(&kind, &grew, Some(&handle)).outcome, Outcome::Delivered);
    let asked = stub.take();
    let both = ["/chat.update", "/chat.postMessage"];
    assert_eq!(paths(&asked), [both, both].concat());
    assert_eq!(asked[0].body, asked[2].body);
    assert_eq!(asked[1].body, asked[3].body);
}

#[test]
fn slacks_webhook_gets_each_notice_and_its_refusals_last() {
    let stub = Stub::start(|asked| match asked.path.as_str() {
        "/services/T0/B0/x" if blocks_are_good(&asked.body) => (200, Vec::new(), "ok".to_owned()),
        "/services/T0/B0/x" => (400, Vec::new(), "invalid_blocks".to_owned()),
        _ => (404, Vec::new(), "no_service".to_owned()),
    });
    let kind = |path: &str| {
        let way = slack::Way::Webhook(secret(&format!("{}{path}", stub.url)));
        ReceiverKind::Slack(Box::new(slack::Settings { way, reach: Reach::default() }))
    };
    let opened = change(1, 1, ChangeKind::Opened);
    let report = stub.tell(&kind("/services/T0/B0/x"), &opened, None);
    assert_eq!((report.outcome, report.handle), (Outcome::Delivered, None));
    stub.plan(400, &[], "invalid_blocks");
    stub.plan(200, &[], "ok");
    assert_eq!(stub.tell(&kind("/services/T0/B0/x"), &opened, None).outcome, Outcome::Delivered);
    assert_eq!(stub.take().last().expect("asked").body["blocks"], json!([]), "without blocks");
    let report = stub.tell(&kind("/services/T0/B0/gone"), &opened, None);
    assert!(matches!(report.outcome, Outcome::SetAside { .. }), "{report:?}");
}

#[test]
fn a_chat_that_cannot_work_is_refused_by_name() {
    let refused = |receiver: &str| {
        let text =
            format!("notify: {{receivers: [{{name: a, {receiver}}}], route: {{receiver: a}}}}");
        match muster::config::parse(&text) {
            Ok(_) => panic!("nothing is wrong with {receiver}"),
            Err(error) => error.to_string(),
        }
    };
    for (receiver, rule) in [
        ("slack: {}", "receivers[0].slack: needs token_file (a bot) or webhook_url_file"),
        ("slack: {token: x}", "slack.channel: is missing"),
        ("slack: {token: x, channel: c, webhook_url: 'http://h/x'}", "keep one of them"),
        ("slack: {webhook_url: hunter2}", "slack.webhook_url: `***` is no http or https address"),
        ("slack: {webhook_url: 'http://h/x', channel: c}", "slack.channel: is for bots"),
        ("slack: {token: x, channel: c, api_url: 'ftp://x'}", "slack.api_url"),
        ("slack: {token: x, chanel: c}", "did you mean `channel`?"),
    ] {
        let error = refused(receiver);
        assert!(error.contains(rule), "{receiver}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
