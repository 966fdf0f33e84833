//! Addresses of other systems, and who may send: against the real program on SQLite, and where the
//! journal must fail or SNS must be played, over a queue of the test's own.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use hmac::{Hmac, KeyInit, Mac};
use muster::api::{Outside, Sender, Senders, TokenHash};
use muster::collect::decode::{self, Incoming};
use muster::collect::{self, dead_letter};
use muster::config;
use muster::stage::{Kind, Offset, Record};
use muster::wire;
use muster::worker::intake::{self, Decoded, Rejected};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{self, Rig, rig_by, settings};
use crate::bad_input::program::unpack;
use crate::commands::Bench;
use crate::process::{metrics, wait_until};

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

impl Bench {
    /// Sends a body as it is, with headers.
    fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let mut request = reqwest::Client::new().request(method, url).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            Answer { status, text: response.text().await.expect("a text") }
        })
    }

    fn sent(&self, path: &str, body: &str) -> Answer {
        self.raw(Method::POST, path, &[], body.as_bytes())
    }

    /// Sources, hosts and checks of the alerts that fire on the board, in Alertmanager's form.
    fn firing(&self) -> BTreeSet<String> {
        let (status, alerts) = self.get("/api/v2/alerts");
        assert_eq!(status, 200, "{alerts}");
        let alerts = alerts.as_array().expect("a list").clone();
        let text =
            |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or("").to_owned();
        alerts
            .iter()
            .map(|alert| ["source", "host", "check"].map(|name| text(alert, name)).join("/"))
            .collect()
    }

    fn fires(&self, alerts: &[&str]) {
        let wanted: BTreeSet<String> = alerts.iter().map(|one| (*one).to_owned()).collect();
        let holds = || self.firing() == wanted;
        let begun = muster::clock::Stopwatch::start();
        while !holds() {
            assert!(begun.elapsed().as_secs() < 60, "{:?} and not {wanted:?}", self.firing());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn counted(&self, line: &str) -> f64 {
        metrics(self.port, &[line]).into_iter().flatten().sum()
    }

    /// Ends it in order and hands out its dead letters: reason, value and all headers.
    fn letters(&mut self) -> Vec<(String, String, String)> {
        self.muster.take().expect("it runs").ends_in_order();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let file = self.config().with_file_name("data").join("muster.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(file, flags).expect("a journal");
        let mut statement = connection
            .prepare("SELECT headers, value FROM records_dead_letters ORDER BY off")
            .expect("the table is there");
        let letter = |row: &rusqlite::Row<'_>| {
            let (headers, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let headers = unpack(&headers);
            let all = headers.iter().map(|(name, value)| format!("{name}={}", text(value)));
            let all = all.collect::<Vec<_>>().join("\n");
            Ok((text(&headers["reason"]), text(&value), all))
        };
        let letters = statement.query_map([], letter).expect("it can be read");
        letters.map(|letter| letter.expect("it can be read")).collect()
    }
}

const PAGERDUTY: &str = r#"{"routing_key":"team-a","event_action":"trigger","payload":
    {"summary":"disk full","source":"web-1","severity":"critical","component":"disk"}}"#;

#[test]
fn problems_and_recoveries_come_in_by_every_address_and_are_answered_as_by_the_original() {
    let bench = Bench::with("");
    // Alertmanager, both versions.
    let alert = |name: &str, ends: &str| {
        json!([{"labels": {"alertname": name, "severity": "critical", "instance": "db-1:9100"},
                "annotations": {"summary": "it is bad"}, "startsAt": "2026-01-01T00:00:00Z",
                "endsAt": ends, "generatorURL": "http://prometheus/graph"}])
        .to_string()
    };
    let (ahead, past) = ("2100-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let two = bench.sent("/api/v2/alerts", &alert("Two", ahead));
    assert_eq!((two.status, two.text.as_str()), (200, ""));
    let one = bench.sent("/api/v1/alerts", &alert("One", ahead));
    assert_eq!((one.status, one.json()), (200, json!({"status": "success"})));
    assert_eq!(bench.sent("/api/v2/alerts", "[]").status, 200);
    // PagerDuty, both versions; a key is made up and works.
    let made = bench.sent("/v2/enqueue", PAGERDUTY);
    let key = made.json()["dedup_key"].as_str().expect("a key").to_owned();
    assert_eq!(
        (made.status, made.json()),
        (202, json!({"status": "success", "message": "Event processed", "dedup_key": key}))
    );
    assert_eq!(key.len(), 32);
    let v1 = r#"{"service_key":"k","event_type":"trigger","incident_key":"web-2/cpu",
                 "description":"cpu","details":{"host":"web-2","check":"cpu"}}"#;
    let v1 = bench.sent("/generic/2010-04-15/create_event.json", v1);
    assert_eq!((v1.status, &v1.json()["incident_key"]), (200, &json!("web-2/cpu")));
    let change = r#"{"routing_key":"k","event_action":"trigger","payload":{"summary":"deploy"}}"#;
    let change = bench.sent("/v2/change/enqueue", change);
    assert_eq!((change.status, &change.json()["status"]), (202, &json!("success")));
    // Opsgenie, at its own address and at its successor's.
    let created = bench.sent(
        "/v2/alerts",
        r#"{"message":"queue long","alias":"mq-1/queue","entity":"mq-1","priority":"P1"}"#,
    );
    let body = created.json();
    assert_eq!((created.status, &body["result"]), (202, &json!("Request will be processed")));
    assert!(body["took"].is_f64(), "{body}");
    let id = body["requestId"].as_str().expect("an id");
    assert!(id.len() == 36 && id.matches('-').count() == 4, "{id}");
    let bare = r#"{"message":"backup failed"}"#;
    assert_eq!(bench.sent("/jsm/ops/integration/v2/alerts", bare).status, 202);
    assert_eq!(bench.sent("/jsm/ops/integration/v2/alerts", bare).status, 202);
    // BigPanda, one and several.
    let panda = r#"{"app_key":"zabbix","status":"critical","host":"sql-1","check":"lag"}"#;
    assert_eq!(bench.sent("/data/v2/alerts", panda).status, 201);
    // NRDP, both forms.
    let results = json!({"checkresults": [{"checkresult": {"type": "service"}, "hostname": "nag-1",
        "servicename": "load", "state": "2", "output": "high & bad | load=9"}]});
    let form = |data: &str, cmd: &str| format!("token=t&cmd={cmd}&{data}");
    let results = encoded(&results.to_string());
    let nrdp = bench.sent("/nrdp/", &form(&format!("json={results}"), "submitcheck"));
    assert_eq!(
        (nrdp.status, nrdp.json()),
        (
            200,
            json!({"result": {"status": 0, "message": "OK",
                              "meta": {"output": "1 checks processed."}}})
        )
    );
    let xml = "<?xml version='1.0'?><checkresults><checkresult type='host'><hostname>nag-2</hostname>\
               <state>1</state><output>down</output></checkresult></checkresults>";
    let nrdp = bench.sent("/nrdp", &form(&format!("XMLDATA={}", encoded(xml)), "submitcheck"));
    assert_eq!(nrdp.status, 200);
    for part in ["<status>0</status>", "<message>OK</message>", "1 checks processed."] {
        assert!(nrdp.text.starts_with("<?xml") && nrdp.text.contains(part), "{}", nrdp.text);
    }
    let hello = bench.raw(Method::GET, "/nrdp/?cmd=hello", &[], b"");
    assert!(hello.text.contains("<product>nrdp</product>"), "{}", hello.text);
    bench.fires(&[
        "alertmanager/db-1/Two",
        "alertmanager/db-1/One",
        "pagerduty/web-1/disk",
        "pagerduty/web-2/cpu",
        "opsgenie/mq-1/queue long",
        "opsgenie/backup failed/backup failed",
        "zabbix/sql-1/lag",
        "nagios/nag-1/load",
        "nagios/nag-2/",
    ]);
    assert_eq!(bench.counted("muster_events_total{outcome=\"ignored\""), 1.0, "the change event");

    // Everything ends the way the original's clients end it.
    assert_eq!(bench.sent("/api/v2/alerts", &alert("Two", past)).status, 200);
    assert_eq!(bench.sent("/api/v1/alerts", &alert("One", past)).status, 200);
    let resolve = json!({"routing_key": "team-a", "event_action": "resolve", "dedup_key": key});
    let resolved = bench.sent("/v2/enqueue", &resolve.to_string());
    assert_eq!((resolved.status, &resolved.json()["dedup_key"]), (202, &json!(key)));
    let v1 = r#"{"service_key":"k","event_type":"resolve","incident_key":"web-2/cpu"}"#;
    assert_eq!(bench.sent("/generic/2010-04-15/create_event.json", v1).status, 200);
    for (path, body) in [
        ("/v2/alerts/mq-1%2Fqueue/notes?identifierType=alias", r#"{"note":"look"}"#),
        ("/v2/alerts/mq-1%2Fqueue/acknowledge?identifierType=alias", "{}"),
    ] {
        assert_eq!(bench.sent(path, body).status, 202, "{path}");
    }
    wait_until("it is acknowledged", || {
        let path = "/v1/incidents?match=host%3Dmq-1";
        !bench.get(path).1["incidents"][0]["acknowledged"].is_null()
    });
    let close = "/v2/alerts/mq-1%2Fqueue/close?identifierType=alias";
    assert_eq!(bench.sent(close, "").status, 202);
    let delete = "/jsm/ops/integration/v2/alerts/backup%20failed?identifierType=alias";
    assert_eq!(bench.raw(Method::DELETE, delete, &[], b"").status, 202);
    assert_eq!(bench.sent("/data/v2/alerts", &panda.replace("critical", "ok")).status, 201);
    let well = json!({"checkresults": [
        {"checkresult": {"type": "service"}, "hostname": "nag-1", "servicename": "load",
         "state": "0", "output": "fine"},
        {"checkresult": {"type": "host"}, "hostname": "nag-2", "state": "0", "output": "up"}]});
    let well = format!("JSONDATA={}", encoded(&well.to_string()));
    let nrdp = bench.sent("/nrdp/", &form(&well, "submitcheck"));
    assert_eq!(nrdp.json()["result"]["meta"]["output"], "2 checks processed.");
    bench.fires(&[]);
}

/// A text as a form holds it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn what_cannot_be_read_is_refused_in_the_senders_form_and_what_is_odd_is_kept() {
    let mut bench = Bench::with("");
    let v2 = bench.sent("/api/v2/alerts", "{");
    assert!(v2.status == 400 && v2.json().is_string(), "{v2:?}");
    let good = json!({"labels": {"alertname": "Good", "instance": "a"}});
    let mixed = json!([good, {"labels": {}}, {"no": 1}]);
    let mixed = bench.sent("/api/v2/alerts", &mixed.to_string());
    assert_eq!(mixed.status, 400, "as Alertmanager does; the good one is taken");
    assert!(mixed.json().as_str().is_some_and(|text| text.contains("labels")), "{mixed:?}");
    let v1 = bench.sent("/api/v1/alerts", "[1]");
    assert_eq!((v1.status, &v1.json()["errorType"]), (400, &json!("bad_data")));
    for body in ["", "nonsense", r#"{"event_action":"resolve"}"#, r#"{"payload":{}}"#] {
        let refused = bench.sent("/v2/enqueue", body);
        let json = refused.json();
        assert_eq!((refused.status, &json["status"]), (400, &json!("invalid event")), "{body}");
        assert_eq!(json["message"], "Event object is invalid");
        assert!(json["errors"][0].is_string(), "{json}");
    }
    let change = bench.sent("/v2/change/enqueue", "nonsense");
    assert_eq!((change.status, &change.json()["status"]), (400, &json!("invalid event")));
    // Odd, but an event: no severity, no source.
    let odd = r#"{"event_action":"trigger","dedup_key":"odd","payload":{"summary":"odd one"}}"#;
    assert_eq!(bench.sent("/v2/enqueue", odd).status, 202);
    let ops = bench.sent("/v2/alerts", "nonsense");
    assert!(ops.status == 400 && ops.json()["requestId"].is_string(), "{ops:?}");
    let ops = bench.sent("/v2/alerts", r#"{"alias":"no message"}"#);
    assert!(ops.status == 422 && ops.json()["errors"]["message"].is_string(), "{ops:?}");
    assert_eq!(bench.sent("/v2/alerts/x/explode", "{}").status, 404);
    assert_eq!(bench.raw(Method::GET, "/v2/alerts/x/close", &[], b"").status, 405);
    let panda = bench.sent("/data/v2/alerts", "nonsense");
    assert_eq!((panda.status, &panda.json()["status"]), (400, &json!(400)));
    let panda = bench.sent("/data/v2/alerts", r#"{"app_key":"k","host":"no-status"}"#);
    assert_eq!(panda.status, 201, "odd, and kept");
    let nrdp = bench.sent("/nrdp/", "token=t&cmd=submitcheck&json=nonsense");
    let result = nrdp.json()["result"].clone();
    assert_eq!(
        (nrdp.status, &result["status"], &result["message"]),
        (400, &json!(-1), &json!("BAD JSON"))
    );
    let nrdp = bench.sent("/nrdp/", "token=t&cmd=submitcheck&xml=nonsense");
    assert!(nrdp.status == 400 && nrdp.text.contains("<message>BAD XML</message>"), "{nrdp:?}");
    let bad = json!({"checkresults": [{"checkresult": {"type": "service"}, "hostname": "h",
                                       "servicename": "s", "state": "1"}, {"odd": 1}]});
    let nrdp = bench.sent("/nrdp/", &format!("cmd=submitcheck&json={}", encoded(&bad.to_string())));
    assert_eq!(nrdp.status, 200, "one is good, the other is kept");
    bench.fires(&["alertmanager/a/Good", "pagerduty/odd one/odd one", "nagios/h/s"]);
    let large = vec![b' '; (1 << 20) + 1];
    for path in ["/api/v2/alerts", "/v2/enqueue", "/v2/alerts", "/data/v2/alerts", "/nrdp/"] {
        assert_eq!(bench.raw(Method::POST, path, &[], &large).status, 413, "{path}");
    }
    let letters = bench.letters();
    let has = |reason: &str, part: &str| {
        letters.iter().any(|(why, value, _)| why == reason && value.contains(part))
    };
    assert!(has("no_status", "no-status") && has("not_an_event", "odd"), "{letters:?}");
    assert!(has("not_json", "nonsense"), "also what was refused");
    let panda = letters.iter().find(|(_, value, _)| value.contains("no-status")).expect("kept");
    assert!(
        panda.2.contains("source=bigpanda") && panda.2.contains("decoder=bigpanda"),
        "{panda:?}"
    );
}

#[test]
fn what_was_answered_outlives_a_kill() {
    let mut bench = Bench::with("");
    let alerts: Vec<Value> = (0..64)
        .map(|nth| json!({"labels": {"alertname": format!("A{nth}"), "instance": "host"}}))
        .collect();
    assert_eq!(bench.sent("/api/v2/alerts", &json!(alerts).to_string()).status, 200);
    assert_eq!(bench.sent("/v2/enqueue", PAGERDUTY).status, 202);
    bench.muster.take().expect("it runs").kill();
    bench.run();
    let wanted = 65;
    wait_until("all of it is there", || {
        bench.get("/api/v2/status").0 == 200 && bench.firing().len() == wanted
    });
}

#[test]
fn packed_bodies_are_read_within_the_same_bounds() {
    let bench = Bench::with("");
    let plain =
        |host: &str| format!(r#"{{"source":"s","host":"{host}","check":"c","status":"critical"}}"#);
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(plain("zlib").as_bytes()).expect("memory");
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    bare.write_all(plain("bare").as_bytes()).expect("memory");
    let send = |path: &str, encoding: &str, body: &[u8]| {
        bench.raw(Method::POST, path, &[("content-encoding", encoding)], body)
    };
    assert_eq!(send("/v1/events", "gzip", &gzip(plain("gzip").as_bytes())).status, 202);
    assert_eq!(send("/v1/events", "deflate", &zlib.finish().expect("memory")).status, 202);
    assert_eq!(send("/v1/events", "Deflate", &bare.finish().expect("memory")).status, 202);
    assert_eq!(send("/v1/events", "identity", plain("plain").as_bytes()).status, 202);
    let alerts = json!([{"labels": {"alertname": "Packed", "instance": "i"}}]).to_string();
    assert_eq!(send("/api/v2/alerts", "gzip", &gzip(alerts.as_bytes())).status, 200);
    bench.fires(&["s/gzip/c", "s/zlib/c", "s/bare/c", "s/plain/c", "alertmanager/i/Packed"]);
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000, "small as it comes");
    let refused = send("/v1/events", "gzip", &bomb);
    assert_eq!((refused.status, &refused.json()["error"]["reason"]), (413, &json!("too_large")));
    assert_eq!(send("/api/v2/alerts", "gzip", &bomb).status, 413);
    let broken = send("/v1/events", "gzip", b"no gzip");
    assert_eq!((broken.status, &broken.json()["error"]["reason"]), (400, &json!("broken_body")));
    let cut = gzip(&vec![b'x'; 10_000]);
    assert_eq!(send("/v1/events", "gzip", &cut[..cut.len() / 2]).status, 400);
    for other in ["zstd", "br", "gzip, gzip"] {
        let refused = send("/v1/events", other, b"x");
        assert_eq!(refused.status, 415, "{other}: {}", refused.text);
    }
}

/// Tokens of this test, which may stand nowhere.
const TOKENS: [&str; 4] = [
    "11111111aaaaaaaa22222222bbbbbbbb",
    "33333333cccccccc44444444dddddddd",
    "55555555eeeeeeee66666666ffffffff",
    "77777777abababab88888888cdcdcdcd",
];

#[test]
fn who_shows_a_token_of_a_source_may_send_for_it_and_nobody_else_and_no_token_is_kept() {
    let [team, nagios, panda, prometheus] = TOKENS;
    let hash = |token: &str| TokenHash::of(token).to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tokens");
    std::fs::write(&file, format!("# of Prometheus\n{}\n", hash(prometheus))).expect("written");
    let mut bench = Bench::with(&format!(
        "collect:\n  sources:\n    - {{name: team-a, tokens: [\"{}\"]}}\n    \
         - {{name: nagios, decoder: nagios, tokens: [\"{}\"]}}\n    \
         - {{name: panda, decoder: bigpanda, tokens: [\"{}\"]}}\n    \
         - {{name: prod, decoder: alertmanager, tokens_file: \"{}\"}}\n",
        hash(team),
        hash(nagios),
        hash(panda),
        file.display()
    ));
    let trigger = |key: &str, host: &str| {
        json!({"routing_key": key, "event_action": "trigger", "dedup_key": "k",
               "payload": {"summary": "s", "source": host, "severity": "critical", "class": "c"}})
        .to_string()
    };
    // The token names the source, in the body, in a header, in the address.
    assert_eq!(bench.sent("/v2/enqueue", &trigger(team, "in-body")).status, 202);
    let alerts = json!([{"labels": {"alertname": "A", "instance": "in-header"}}]).to_string();
    let bearer = format!("Bearer {prometheus}");
    let by = |name: &'static str, value: &str, path: &str, body: &str| {
        bench.raw(Method::POST, path, &[(name, value)], body.as_bytes()).status
    };
    assert_eq!(by("authorization", &bearer, "/api/v2/alerts", &alerts), 200);
    let basic = format!("Basic {}", STANDARD.encode(format!("prometheus:{prometheus}")));
    let more = alerts.replace("in-header", "by-basic");
    assert_eq!(by("authorization", &basic, "/api/v2/alerts", &more), 200);
    let genie = format!("GenieKey {team}");
    let create = r#"{"message":"m","alias":"a","entity":"by-genie"}"#;
    assert_eq!(by("authorization", &genie, "/v2/alerts", create), 202);
    let event = |source: &str, host: &str| {
        json!({"source": source, "host": host, "check": "c", "status": "critical"}).to_string()
    };
    assert_eq!(by("x-api-key", team, "/v1/events", &event("team-a", "by-key")), 202);
    assert_eq!(by("x-muster-token", team, "/v1/events/team-a", &event("nagios", "bad")), 401);
    assert_eq!(by("x-muster-token", team, "/v1/events/team-a", &event("team-a", "by-muster")), 202);
    let app = json!({"app_key": panda, "alerts": [{"status": "critical", "host": "by-app"}]});
    assert_eq!(bench.sent("/data/v2/alerts", &app.to_string()).status, 201);
    let bearer = format!("Bearer {panda}");
    let app = r#"{"app_key":"unlisted","status":"critical","host":"by-bearer"}"#;
    assert_eq!(by("authorization", &bearer, "/data/v2/alerts", app), 201);
    let check = |host: &str| {
        let results = json!({"checkresults": [{"checkresult": {"type": "host"}, "hostname": host,
                                               "state": "1"}]});
        encoded(&results.to_string())
    };
    let form = format!("token={nagios}&cmd=submitcheck&json={}", check("by-form"));
    assert_eq!(bench.sent("/nrdp/", &form).status, 200);
    let path = format!("/nrdp/?token={nagios}&cmd=submitcheck");
    assert_eq!(bench.sent(&path, &format!("json={}", check("by-query"))).status, 200);
    let path = format!("/v1/events/nagios?token={nagios}");
    let form = format!("cmd=submitcheck&json={}", check("by-path"));
    assert_eq!(bench.sent(&path, &form).status, 202);
    // Sources without tokens take everything, as ever.
    assert_eq!(bench.sent("/v1/events", &event("open", "open")).status, 202);
    assert_eq!(bench.sent("/v2/enqueue", &trigger("any text", "as-ever")).status, 202);
    let good = [
        "team-a/in-body/c",
        "prod/in-header/A",
        "prod/by-basic/A",
        "team-a/by-genie/m",
        "team-a/by-key/c",
        "team-a/by-muster/c",
        "panda/by-app/",
        "unlisted/by-bearer/",
        "nagios/by-form/",
        "nagios/by-query/",
        "nagios/by-path/",
        "open/open/c",
        "pagerduty/as-ever/c",
    ];
    bench.fires(&good);

    // No token, another source's, or half of one.
    let refused = |path: &str, headers: &[(&str, &str)], body: &str| {
        let answer = bench.raw(Method::POST, path, headers, body.as_bytes());
        assert_eq!(answer.status, 401, "{path} {}", answer.text);
        answer
    };
    let own = refused("/v1/events", &[], &event("team-a", "bad"));
    assert_eq!(own.json()["error"]["reason"], "unauthorized");
    let mixed = format!("[{},{}]", event("open", "bad"), event("team-a", "bad"));
    refused("/v1/events", &[], &mixed);
    let other = format!("Bearer {nagios}");
    refused("/v1/events/team-a", &[("authorization", &other)], &event("team-a", "bad"));
    refused("/v1/events", &[("authorization", &other)], &event("team-a", "bad"));
    let half = format!("Bearer {}", &team[..16]);
    refused("/v1/events/team-a", &[("authorization", &half)], &event("team-a", "bad"));
    refused("/data/v2/alerts", &[], r#"{"app_key":"team-a","status":"critical","host":"bad"}"#);
    let nrdp = refused("/nrdp/", &[], &format!("cmd=submitcheck&json={}", check("bad")));
    assert_eq!(nrdp.json()["result"], json!({"status": -1, "message": "NO TOKEN"}));
    let xml = "token=wrong&cmd=submitcheck&xml=<checkresults/>";
    let nrdp = refused("/nrdp/", &[], xml);
    assert!(nrdp.text.contains("<message>BAD TOKEN</message>"), "{}", nrdp.text);
    std::thread::sleep(std::time::Duration::from_millis(300));
    bench.fires(&good);
    let count = |source: &str, reason: &str| {
        let line =
            format!("muster_senders_refused_total{{reason=\"{reason}\",source=\"{source}\"}}");
        bench.counted(&line)
    };
    assert_eq!((count("team-a", "no_token"), count("team-a", "wrong_token")), (2.0, 4.0));
    assert_eq!((count("nagios", "no_token"), count("nagios", "wrong_token")), (1.0, 2.0));

    // What cannot be read is kept without the token that came in its body.
    assert_eq!(bench.sent("/v2/enqueue", &format!(r#"{{"routing_key":"{team}"}}"#)).status, 400);
    let form = format!("token={nagios}&cmd=submitcheck&json=nonsense");
    assert_eq!(by("authorization", &genie, "/nrdp/", &form), 400);
    let data = bench.config().with_file_name("data");
    let log = bench.config().with_extension("log");
    let letters = bench.letters();
    let routing = letters.iter().find(|(_, value, _)| value.contains("routing_key"));
    assert_eq!(routing.map(|(_, value, _)| value.as_str()), Some(r#"{"routing_key":"team-a"}"#));
    assert!(
        letters.iter().all(|(_, _, headers)| !headers.contains("authorization")),
        "{letters:?}"
    );
    for path in files(&data).into_iter().chain([log]) {
        let bytes = std::fs::read(&path).expect("a file");
        for token in TOKENS {
            let found = bytes.windows(token.len()).any(|part| part == token.as_bytes());
            assert!(!found, "{token} stands in {}", path.display());
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()).collect()
}

#[test]
fn tokens_of_defaults_hold_for_all_sources_without_their_own() {
    let (all, own) = (TOKENS[0], TOKENS[1]);
    let hash = |token: &str| TokenHash::of(token).to_string();
    let bench = Bench::with(&format!(
        "collect:\n  sources:\n    - {{name: defaults, tokens: [\"{}\"]}}\n    \
         - {{name: own, tokens: [\"{}\"]}}\n    - {{name: listed}}\n",
        hash(all),
        hash(own)
    ));
    let send = |source: &str, token: &str| {
        let event = json!({"source": source, "host": "h", "check": "c", "status": "critical"});
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let headers = if token.is_empty() { &[][..] } else { &headers };
        bench.raw(Method::POST, "/v1/events", headers, event.to_string().as_bytes()).status
    };
    for (source, token, status) in [
        ("listed", all, 202),
        ("unlisted", all, 202),
        ("own", own, 202),
        ("own", all, 401),
        ("listed", own, 401),
        ("listed", "", 401),
        ("unlisted", "", 401),
    ] {
        assert_eq!(send(source, token), status, "{source} by `{token}`");
    }
    assert_eq!(bench.sent("/api/v2/alerts", "[]").status, 401);
}

#[test]
fn heartbeats_are_beaten_by_who_shows_a_token_of_muster() {
    let token = TOKENS[0];
    let bench = Bench::with(&format!(
        "  heartbeats: [{{name: job, every: 1h}}]\n\
         collect:\n  sources:\n    - {{name: muster, tokens: [\"{}\"]}}\n",
        TokenHash::of(token)
    ));
    let path = "/v1/heartbeats/job";
    let beat = |headers: &[(&str, &str)]| bench.raw(Method::POST, path, headers, b"").status;
    assert_eq!(beat(&[]), 401);
    assert_eq!(beat(&[("authorization", "Bearer other")]), 401);
    assert_eq!(beat(&[("authorization", &format!("Bearer {token}"))]), 202);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let ask = |more: &[&str]| {
        let api = format!("http://127.0.0.1:{}", bench.port);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        let output = command.args(["heartbeats", "beat", "job", "--api", &api]).args(more).output();
        let output = output.expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let shown = ["--api-token-file", file.to_str().expect("a path")];
    assert!(ask(&shown).1.contains("cannot be read"));
    std::fs::write(&file, " \n").expect("written");
    assert!(ask(&shown).1.contains("is empty"));
    std::fs::write(&file, format!("{token}\n")).expect("written");
    assert_eq!(ask(&shown), (true, String::new()));
    assert!(!ask(&[]).0);
}

#[test]
fn a_token_is_made_with_its_hash_and_a_config_says_what_is_open() {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_muster"))
        .arg("token")
        .output()
        .expect("it runs");
    let text = String::from_utf8(out.stdout).expect("text");
    let word = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().to_owned()
    };
    let (token, hash) = (word("token"), word("hash"));
    assert_eq!((token.len(), TokenHash::of(&token).to_string()), (32, hash.clone()));

    let open = |text: &str| {
        let config = config::parse(text).expect("a good config");
        let warnings = config.warnings();
        let found = warnings.into_iter().find(|warning| warning.key == "api.listen");
        found.map(|warning| warning.rule)
    };
    let listen = "api: {listen: \"0.0.0.0:8080\"}\n";
    assert_eq!(open("api: {listen: \"127.0.0.1:8080\"}"), None);
    assert!(open(listen).expect("a warning").ends_with("no tokens: defaults"));
    let some = format!("{listen}collect: {{sources: [{{name: a, tokens: [\"{hash}\"]}}]}}");
    assert!(open(&some).expect("a warning").ends_with("no tokens: defaults"));
    let all = format!(
        "{listen}collect: {{sources: [{{name: defaults, tokens: [\"{hash}\"]}}, {{name: a}}]}}"
    );
    assert_eq!(open(&all), None);

    let wrong = |keys: &str| {
        let text = format!("collect: {{sources: [{{name: a, {keys}}}]}}");
        config::parse(&text).expect_err("it is wrong").to_string()
    };
    let shown = wrong(&format!("tokens: [\"{token}\"]"));
    assert!(shown.contains("collect.sources[0].tokens[0]: `***` is no hash"), "{shown}");
    assert!(!shown.contains(&token), "a token written in place of its hash is not shown");
    assert!(wrong("tokens_file: /nowhere").contains("cannot be read"));
    assert!(wrong("signature: {scheme: sentry}").contains("secret_file"));
    assert!(wrong("signature: {secret_file: /x}").contains("scheme"));
    assert!(
        wrong("signature: {scheme: jira, secret_file: /x, timestamp_header: t}")
            .contains("grafana only")
    );
    assert!(wrong("sns_topics: [alarms]").contains("is no ARN"));
    for key in
        ["signature: {scheme: sentry, secret_file: /x}", "sns_topics: [\"arn:aws:sns:a:1:b\"]"]
    {
        let text = format!("collect: {{sources: [{{name: defaults, {key}}}]}}");
        let error = config::parse(&text).expect_err("it is wrong").to_string();
        assert!(error.contains("belongs to a source with a name of its own"), "{error}");
    }
    let unread = config::parse(
        "collect: {sources: [{name: a, signature: {scheme: sentry, secret_file: /nowhere}}]}",
    );
    let unread = unread.expect("a good config").outside();
    assert_eq!(unread.len(), 1, "{unread:?}");
}

fn hmac(key: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).expect("any key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_must_be_signed_is_refused_unsigned_wrong_or_old() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cret\n").expect("written");
    let source = |name: &str, scheme: &str, more: &str| {
        format!(
            "    - {{name: {name}, signature: {{scheme: {scheme}, secret_file: \"{}\"{more}}}}}\n",
            secret.display()
        )
    };
    let bench = Bench::with(&format!(
        "collect:\n  sources:\n{}{}{}{}{}",
        source("sentry", "sentry", ""),
        source("grafana", "grafana", ", timestamp_header: X-Grafana-Time"),
        source("jira", "jira", ""),
        source("hub", "github", ""),
        source("pd", "pagerduty", ""),
    ));
    let body = |source: &str, host: &str| {
        json!({"source": source, "host": host, "check": "c", "status": "critical"}).to_string()
    };
    let send = |source: &str, headers: &[(&str, &str)], body: &str| {
        bench.raw(Method::POST, &format!("/v1/events/{source}"), headers, body.as_bytes()).status
    };
    for (source, header, prefix) in [
        ("sentry", "Sentry-Hook-Signature", ""),
        ("jira", "X-Hub-Signature", "sha256="),
        ("hub", "X-Hub-Signature-256", "sha256="),
        ("pd", "X-PagerDuty-Signature", "v1="),
    ] {
        let text = body(source, "good");
        let good = format!("{prefix}{}", hmac("s3cret", &[text.as_bytes()]));
        assert_eq!(send(source, &[(header, &good)], &text), 202, "{source}");
        let wrong = format!("{prefix}{}", hmac("other", &[text.as_bytes()]));
        assert_eq!(send(source, &[(header, &wrong)], &text), 401, "{source}: another key");
        assert_eq!(
            send(source, &[(header, &good)], &body(source, "bad")),
            401,
            "{source}: another body"
        );
        assert_eq!(
            send(source, &[(header, &format!("{prefix}00"))], &text),
            401,
            "{source}: short"
        );
        assert_eq!(send(source, &[], &text), 401, "{source}: unsigned");
        // Not by another way either.
        let elsewhere = bench.sent("/v1/events", &body(source, "bad")).status;
        assert_eq!(elsewhere, 401, "{source}: at another address");
    }
    let text = body("pd", "good");
    let (old, good) = (hmac("other", &[text.as_bytes()]), hmac("s3cret", &[text.as_bytes()]));
    let several = format!("v1={old}, v1={good}");
    assert_eq!(send("pd", &[("X-PagerDuty-Signature", &several)], &text), 202);
    // Grafana signs the time as well.
    let text = body("grafana", "good");
    let now = std::process::Command::new("date").arg("+%s").output().expect("it runs").stdout;
    let now: i64 = String::from_utf8(now).expect("text").trim().parse().expect("a number");
    let signed = |time: &str| {
        let signature = hmac("s3cret", &[time.as_bytes(), b":", text.as_bytes()]);
        let headers =
            [("X-Grafana-Alerting-Signature", signature.as_str()), ("X-Grafana-Time", time)];
        send("grafana", &headers, &text)
    };
    assert_eq!(signed(&now.to_string()), 202);
    assert_eq!(signed(&(now - 3_600).to_string()), 401, "an old one, seen again");
    assert_eq!(signed("soon"), 401);
    let bare = hmac("s3cret", &[text.as_bytes()]);
    assert_eq!(send("grafana", &[("X-Grafana-Alerting-Signature", &bare)], &text), 401, "no time");
    bench.fires(&["sentry/good/c", "jira/good/c", "hub/good/c", "pd/good/c", "grafana/good/c"]);
    let count = |reason: &str| {
        let line =
            format!("muster_senders_refused_total{{reason=\"{reason}\",source=\"grafana\"}}");
        bench.counted(&line)
    };
    assert_eq!((count("wrong_time"), count("no_signature")), (2.0, 1.0));
    // The secret is changed while it runs: for a time both are good, then the new one alone.
    let text = body("sentry", "good");
    let by = |key: &str| {
        let signature = hmac(key, &[text.as_bytes()]);
        send("sentry", &[("Sentry-Hook-Signature", &signature)], &text)
    };
    std::fs::write(&secret, "s3cret\nnew\n").expect("written");
    assert_eq!((by("s3cret"), by("new")), (202, 202));
    std::fs::write(&secret, "new\n").expect("written");
    assert_eq!((by("s3cret"), by("new")), (401, 202));
    std::fs::remove_file(&secret).expect("removed");
    assert_eq!(by("new"), 503, "sent again once the file is back");
}

/// Reads requests as the program does.
fn read(incoming: &Incoming<'_>) -> Decoded {
    let found = decode::decode(incoming, &collect::Settings::default());
    let mut decoded = Decoded {
        events: found.events.iter().map(|e| wire::event::encode(e, incoming.arrival)).collect(),
        sources: found.events.iter().map(|event| event.source.clone()).collect(),
        ignored: found.silent.into_iter().map(|(_, _, why)| why).collect(),
        ..Decoded::default()
    };
    let record = Record {
        offset: Offset::default(),
        time: incoming.arrival,
        kind: Kind::Raw,
        key: None,
        value: None,
        headers: Some(&incoming.headers),
    };
    for rejected in found.rejected {
        let (index, reason, message) = (rejected.index, rejected.reason, rejected.message.clone());
        decoded.rejected.push(Rejected { index, reason, message });
        decoded.dead_letters.push(dead_letter(incoming.origin, 0, &record, rejected));
    }
    decoded
}

fn request(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A good body of each address.
fn bodies() -> [(&'static str, String); 8] {
    let alerts = json!([{"labels": {"alertname": "A", "instance": "i"}}]).to_string();
    let result = r#"{"checkresults":[{"checkresult":{"type":"host"},"hostname":"h","state":"1"}]}"#;
    [
        ("/api/v2/alerts", alerts.clone()),
        ("/api/v1/alerts", alerts),
        ("/v2/enqueue", PAGERDUTY.to_owned()),
        ("/v2/alerts", r#"{"message":"m","alias":"a"}"#.to_owned()),
        ("/v2/alerts/a/close", "{}".to_owned()),
        ("/data/v2/alerts", r#"{"app_key":"k","status":"critical","host":"h"}"#.to_owned()),
        ("/nrdp/", format!("cmd=submitcheck&json={}", encoded(result))),
        ("/v1/events/pagerduty", PAGERDUTY.to_owned()),
    ]
}

#[test]
fn what_is_not_durable_is_answered_503_with_when_to_come_again() {
    let rig =
        rig_by(settings(), &intake::Settings::default(), Arc::new(read), Outside::over_https());
    rig.gate.set(|state| state.fails = true);
    for (path, body) in bodies() {
        let answer = api::answer(rig.send(&request(path, &body)));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}");
    }
    assert!(rig.gate.get(|state| state.appended.is_empty()), "nothing was taken");
    rig.gate.set(|state| state.fails = false);
    for (path, body) in bodies() {
        let answer = api::answer(rig.send(&request(path, &body)));
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.status);
    }
    assert_eq!(rig.gate.get(|state| state.appended.len()), bodies().len(), "once each");
}

#[test]
fn too_much_at_once_is_answered_503_and_never_429() {
    let queue = intake::Settings { requests: 1, ..intake::Settings::default() };
    let rig = rig_by(settings(), &queue, Arc::new(read), Outside::over_https());
    rig.gate.set(|state| state.shut = true);
    let (path, body) = &bodies()[0];
    // One at the gate, then one in the queue; the others find no room.
    let first = rig.send(&request(path, body));
    rig.until("the first is at the gate", || rig.gate.get(|state| state.waiting) == 1);
    let depth = || rig.metrics.queue_depth.with_label_values(&["intake"]).get();
    let second = rig.send(&request(path, body));
    rig.until("the second is in the queue", || depth() == 2);
    for (path, body) in bodies() {
        let answer = api::answer(rig.send(&request(path, &body)));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}");
        let error = match path {
            "/api/v2/alerts" => answer.json().is_string(),
            "/api/v1/alerts" => answer.json()["status"] == "error",
            "/v2/enqueue" => answer.json()["errors"] == json!([]),
            "/data/v2/alerts" => answer.json()["status"] == 503,
            "/nrdp/" => answer.json()["result"]["status"] == -1,
            "/v1/events/pagerduty" => answer.json()["error"]["reason"] == "queue_full",
            _ => answer.json()["requestId"].is_string(),
        };
        assert!(error, "{path}: {}", answer.body);
    }
    rig.gate.set(|state| state.shut = false);
    assert_eq!((api::answer(first).status, api::answer(second).status), (200, 200));
}

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alarms";

type Shared<T> = Arc<Mutex<T>>;

/// A server whose source `cloudwatch` has a topic, and what was got from outside.
fn sns() -> (Rig, Shared<Vec<String>>, Shared<bool>) {
    let mut sender = Sender::open("cloudwatch");
    sender.topics = vec![TOPIC.into()];
    let senders = Senders::new(vec![sender], Sender::open("defaults"));
    let settings = muster::api::Settings { senders: Arc::new(senders), ..settings() };
    let (got, down) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Mutex::new(false)));
    let (list, is_down) = (Arc::clone(&got), Arc::clone(&down));
    let outside = Outside::by(move |url| {
        list.lock().expect("nobody panics").push(url.clone());
        let is_down = *is_down.lock().expect("nobody panics");
        Box::pin(async move {
            match url.ends_with(".pem") {
                _ if is_down => Err("connection refused".to_owned()),
                true => Ok(include_bytes!("../fixtures/sns/certificate.pem").to_vec()),
                false => Ok(b"<ConfirmSubscriptionResponse/>".to_vec()),
            }
        })
    });
    (rig_by(settings, &intake::Settings::default(), Arc::new(read), outside), got, down)
}

/// Signs an envelope of SNS with the key of the certificate.
fn signed(mut envelope: Value) -> Value {
    let coded: String =
        include_str!("../fixtures/sns/test-only-key.base64").split_whitespace().collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(coded).expect("base64")).expect("a key");
    let names = [
        "Message",
        "MessageId",
        "Subject",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ];
    let mut text = String::new();
    for name in names {
        if let Some(value) = envelope[name].as_str() {
            text.push_str(&format!("{name}\n{value}\n"));
        }
    }
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .expect("signed");
    envelope["SignatureVersion"] = "2".into();
    envelope["Signature"] = STANDARD.encode(signature).into();
    envelope
}

#[test]
fn what_sns_signs_is_taken_of_listed_topics_only_and_its_subscriptions_are_confirmed() {
    let (rig, got, down) = sns();
    let fetched = || got.lock().expect("nobody panics").clone();
    let post = |envelope: &Value| {
        api::answer(rig.send(&request("/v1/events/cloudwatch", &envelope.to_string()))).status
    };
    let first: Value =
        serde_json::from_str(include_str!("../fixtures/sns/notification.json")).expect("JSON");
    *down.lock().expect("nobody panics") = true;
    assert_eq!(post(&first), 503, "SNS sends again while its certificate cannot be had");
    *down.lock().expect("nobody panics") = false;
    assert_eq!(post(&first), 202, "version 1: SHA-1");
    let second = signed(first.clone());
    assert_eq!(post(&second), 202, "version 2: SHA-256");
    let certificate = first["SigningCertURL"].as_str().expect("an address").to_owned();
    assert_eq!(fetched(), [certificate.clone(), certificate.clone()], "then it is remembered");
    let with = |envelope: &Value, name: &str, value: &str| {
        let mut envelope = envelope.clone();
        envelope[name] = value.into();
        envelope
    };
    let other = "arn:aws:sns:eu-west-1:666666666666:theirs";
    for (what, envelope) in [
        ("another message", with(&second, "Message", "{}")),
        ("another subject", with(&second, "Subject", "x")),
        ("another signature", with(&second, "Signature", "AAAA")),
        ("SHA-1 for SHA-256", with(&second, "SignatureVersion", "1")),
        ("no such version", with(&second, "SignatureVersion", "3")),
        ("another topic", signed(with(&first, "TopicArn", other))),
        ("no signature", json!({"AlarmName": "raw delivery", "NewStateValue": "ALARM"})),
        (
            "another host",
            signed(with(
                &first,
                "SigningCertURL",
                "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
            )),
        ),
        (
            "no TLS",
            signed(with(&first, "SigningCertURL", "http://sns.eu-west-1.amazonaws.com/x.pem")),
        ),
    ] {
        assert_eq!(post(&envelope), 401, "{what}");
    }
    assert_eq!(fetched().len(), 2, "nothing is got from elsewhere");

    let url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t";
    let asks = |topic: &str| {
        signed(json!({
            "Type": "SubscriptionConfirmation", "MessageId": "1", "Token": "t", "TopicArn": topic,
            "Message": "You have chosen to subscribe", "SubscribeURL": url,
            "Timestamp": "2025-02-02T12:06:36.000Z", "SigningCertURL": certificate,
        }))
    };
    assert_eq!(post(&asks(TOPIC)), 202);
    assert_eq!(fetched().last().map(String::as_str), Some(url), "yes was said");
    assert_eq!(post(&asks(other)), 202, "answered");
    assert_eq!(post(&with(&asks(TOPIC), "Token", "u")), 401, "somebody else's");
    assert_eq!(fetched().len(), 3, "and not confirmed");
    *down.lock().expect("nobody panics") = true;
    assert_eq!(post(&asks(TOPIC)), 503, "SNS asks again");
    let outcome = |word: &str| rig.metrics.sns_confirmations.with_label_values(&[word]).get();
    assert_eq!((outcome("confirmed"), outcome("not_listed"), outcome("failed")), (1, 1, 1));
    let refused =
        |why: &str| rig.metrics.senders_refused.with_label_values(&["cloudwatch", why]).get();
    assert_eq!((refused("no_signature"), refused("wrong_topic")), (1, 1));
}

#[test]
fn clients_of_alertmanager_find_what_they_ask_for() {
    let bench = Bench::with("");
    let status = bench.get("/api/v2/status").1;
    assert_eq!(status["cluster"]["status"], "disabled");
    let version = status["versionInfo"]["version"].as_str().expect("a version");
    assert!(version.starts_with("0."), "{version}");
    assert_eq!(bench.get("/api/v2/receivers").1, json!([{"name": "muster"}]));
    for path in ["/-/ready", "/-/healthy"] {
        let answer = bench.raw(Method::GET, path, &[], b"");
        assert_eq!((answer.status, answer.text.as_str()), (200, "OK"));
    }
    let alert = |host: &str, severity: &str| {
        json!({"labels": {"alertname": "Disk", "instance": host, "severity": severity},
               "annotations": {"summary": "disk full"}, "startsAt": "2026-01-01T00:00:00Z"})
    };
    let both = json!([alert("web-1:9100", "critical"), alert("web-2:9100", "warning")]);
    assert_eq!(bench.sent("/api/v2/alerts", &both.to_string()).status, 200);
    bench.fires(&["alertmanager/web-1/Disk", "alertmanager/web-2/Disk"]);
    let asked = |query: &str| {
        let (status, alerts) = bench.get(&format!("/api/v2/alerts{query}"));
        assert_eq!(status, 200, "{alerts}");
        alerts.as_array().expect("a list").clone()
    };
    let one = asked("?filter=severity%3D%22critical%22&filter=alertname%3DDisk");
    assert_eq!(one.len(), 1);
    let one = &one[0];
    assert_eq!(one["labels"]["instance"], "web-1:9100");
    assert_eq!(
        (&one["annotations"]["summary"], one["startsAt"].as_str().map(str::len)),
        (&json!("disk full"), Some("2026-01-01T00:00:00.000Z".len()))
    );
    assert_eq!(
        one["status"],
        json!({"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []})
    );
    assert_eq!(one["fingerprint"].as_str().map(str::len), Some(16));
    let (status, bad) = bench.get("/api/v2/alerts?filter=%7B%7B");
    assert!(status == 400 && bad.is_string(), "{bad}");
    assert_eq!(bench.get("/api/v2/alerts?active=perhaps").0, 400);
    let groups = bench.get("/api/v2/alerts/groups").1;
    let incidents: BTreeSet<&str> = groups
        .as_array()
        .expect("a list")
        .iter()
        .map(|group| group["labels"]["incident"].as_str().expect("an id"))
        .collect();
    assert_eq!(incidents.len(), 2, "an incident is a group");

    let silence = |matchers: Value| {
        json!({"matchers": matchers, "startsAt": "2026-01-01T00:00:00.000Z",
               "endsAt": "2100-01-01T00:00:00.000Z", "createdBy": "ann", "comment": "works"})
    };
    let too_long = bench
        .post("/api/v2/silences", silence(json!([{"name": "a", "value": "b", "isRegex": false}])));
    assert!(too_long.0 == 400 && too_long.1.is_string(), "{too_long:?}");
    let silence = |matchers: Value| {
        let mut silence = silence(matchers);
        silence["endsAt"] = "2030-01-01T00:00:00.000Z".into();
        silence
    };
    let matchers = json!([{"name": "instance", "value": "web-1.*", "isRegex": true, "isEqual": true},
                          {"name": "severity", "value": "info", "isRegex": false, "isEqual": false}]);
    let (status, made) = bench.post("/api/v2/silences", silence(matchers.clone()));
    assert_eq!(status, 200, "{made}");
    let id = made["silenceID"].as_str().expect("an id").to_owned();
    let shown = bench.get(&format!("/api/v2/silence/{id}")).1;
    assert_eq!(
        (&shown["status"]["state"], &shown["matchers"], &shown["createdBy"]),
        (&json!("active"), &matchers, &json!("ann"))
    );
    wait_until("it mutes", || asked("?silenced=false").len() == 1);
    let muted = asked("?active=false");
    assert_eq!((muted.len(), &muted[0]["status"]["silencedBy"]), (1, &json!([id])));
    assert_eq!(muted[0]["status"]["state"], "suppressed");
    let found =
        |query: &str| bench.get(&format!("/api/v2/silences{query}")).1.as_array().map(Vec::len);
    assert_eq!(
        (found(""), found("?filter=instance%3Dweb-1.*"), found("?filter=team%3Dx")),
        (Some(1), Some(1), Some(0))
    );
    let mut edit = silence(matchers);
    edit["id"] = json!(id);
    edit["comment"] = "more works".into();
    let (status, edited) = bench.post("/api/v2/silences", edit);
    assert_eq!((status, &edited["silenceID"]), (200, &json!(id)));
    let over = bench.raw(Method::DELETE, &format!("/api/v2/silence/{id}"), &[], b"");
    assert_eq!(over.status, 200);
    wait_until("it mutes no more", || asked("?silenced=false").len() == 2);
    let shown = bench.get(&format!("/api/v2/silence/{id}")).1;
    assert_eq!(
        (&shown["status"]["state"], &shown["comment"]),
        (&json!("expired"), &json!("more works"))
    );
    let unknown = "/api/v2/silence/75f25a7c-5e4c-4a06-b783-88ebb07ace2a";
    assert_eq!(bench.get(unknown).0, 404);
    assert_eq!(bench.raw(Method::DELETE, unknown, &[], b"").status, 404);
}

#[test]
fn an_alert_that_prometheus_repeats_lives_on_and_ends_soon_after_nobody_does() {
    let settings = collect::Settings::default();
    let alertmanager = muster::decoders::find("alertmanager").expect("a format");
    let origin = collect::Origin {
        format: Some(alertmanager),
        ..collect::Origin::of_source("http", "alertmanager")
    };
    let start = muster::model::Timestamp::from_millis(1_763_913_600_000);
    let at = |secs: i64| start + muster::model::Span::from_secs(secs);
    let text = |time: muster::model::Timestamp| {
        jiff::Timestamp::from_millisecond(time.as_millis()).expect("a time").to_string()
    };
    let heard = |secs: i64, ends: i64, live: bool| {
        let alerts = json!([{"labels": {"alertname": "A", "instance": "i"},
                             "startsAt": text(start), "endsAt": text(at(ends))}]);
        let headers = [("muster-live".to_owned(), b"true".to_vec())];
        let alerts = alerts.to_string();
        let incoming = Incoming {
            bytes: alerts.as_bytes(),
            headers: if live { &headers } else { &[] },
            arrival: at(secs),
            origin: &origin,
        };
        decode::decode(&incoming, &settings).events.remove(0)
    };
    let prompt = heard(2, 242, true);
    assert_eq!((prompt.timestamp, prompt.expires_at), (start, Some(at(242))), "it began then");
    let later = heard(3_600, 3_840, true);
    assert_eq!((later.timestamp, later.expires_at), (at(3_600), Some(at(3_840))), "still so");
    assert_eq!(heard(3_600, 3_840, false).timestamp, start, "by other ways as it says");
    // Whoever's word holds for 40 s says it again before that is over, and is heard anew then.
    assert_eq!(heard(9, 49, true).timestamp, start);
    assert_eq!(heard(11, 51, true).timestamp, at(11));
    // Its end is newer than the last repeat, though that was late.
    let (over, stale) = (heard(3_720, 3_655, true), heard(3_660, 3_900, true));
    assert!(over.timestamp > stale.timestamp, "{over:?}");
    assert_eq!(over.report, muster::model::event::Report::Status(muster::model::Status::Ok));
}
