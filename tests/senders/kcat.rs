//! `kcat` as a publisher to a real broker, with Muster's own journal embedded.

use muster::clock::{Clock, SystemClock};
use muster::kafka::bulk::create_topic;
use muster::testing::broker::Broker;
use serde_json::json;

use crate::{Rig, output};

#[test]
fn kcat_publishes_what_muster_reads_from_topics() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::start(directory.path()).unwrap_or_else(|why| panic!("no broker: {why}"));
    let brokers = broker.brokers();
    for topic in ["estate", "zabbix", "cloud"] {
        create_topic(&brokers, topic, 2, &[]).expect("the topic is made");
    }
    let source = |name: &str, decoder: &str| {
        format!(
            "{{name: {name}, topic: {name}, decoder: {decoder}, start: earliest, \
             brokers: \"{brokers}\"}}"
        )
    };
    let sources =
        [source("estate", "canonical"), source("zabbix", "zabbix"), source("cloud", "cloudevents")];
    let rig = Rig::start(&format!("[{}]", sources.join(", ")));

    let file = rig.path("payload");
    let publish = |topic: &str, key: &str, headers: &[&str], lines: &[String]| {
        std::fs::write(&file, lines.join("\n") + "\n").expect("written");
        let path = file.to_str().expect("a path");
        let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
        // A line is a record.
        let first = ["-P", "-b", &brokers, "-t", topic, "-k", key];
        output("kcat", &[&first, &headers[..], &["-l", path]].concat());
    };
    let event = |check: &str, status: &str| {
        json!({"source": "estate", "host": "web-1", "check": check, "status": status}).to_string()
    };
    publish("estate", "web-1", &[], &[event("disk", "critical"), event("cpu", "warning")]);
    let now = SystemClock.now().as_millis() / 1_000;
    let problem = json!({
        "clock": now, "ns": 5, "value": 1, "eventid": 42, "name": "Disk is full", "severity": 4,
        "hosts": [{"host": "db-1", "name": "The database"}], "groups": ["Linux servers"],
        "tags": [{"tag": "env", "value": "prod"}],
    });
    publish("zabbix", "db-1", &["sent-by=a test"], &[problem.to_string()]);
    // In binary mode all but how bad it is stands in the headers.
    let cloud = [
        "ce_specversion=1.0",
        "ce_id=1",
        "ce_source=//probe",
        "ce_subject=gate-1",
        "ce_type=com.example.link.problem",
        "content-type=application/json",
    ];
    let data = json!({"severity": "critical", "message": "no carrier"}).to_string();
    publish("cloud", "gate-1", &cloud, &[data]);

    let web = rig.incident("web-1", "open");
    let database = rig.incident("db-1", "open");
    let gate = rig.incident("gate-1", "open");
    assert_eq!((&database["status"], &gate["status"]), (&json!("critical"), &json!("critical")));
    assert_eq!(database["alerts"][0]["check"], "Disk is full");
    assert_eq!(database["alerts"][0]["source"], "zabbix");
    assert_eq!(database["alerts"][0]["tags"]["env"], "prod");
    assert_eq!(gate["alerts"][0]["check"], "com.example.link");
    assert_eq!(gate["alerts"][0]["tags"]["ce_source"], "//probe", "{gate}");

    publish("estate", "web-1", &[], &[event("disk", "ok"), event("cpu", "ok")]);
    let recovery = json!({"clock": now + 1, "ns": 7, "value": 0, "eventid": 43, "p_eventid": 42});
    publish("zabbix", "db-1", &[], &[recovery.to_string()]);
    assert_eq!(rig.incident("web-1", "resolved")["id"], web["id"]);
    assert_eq!(rig.incident("db-1", "resolved")["id"], database["id"]);
    rig.nothing_set_aside();
    eprintln!(
        "kcat: records with keys and headers, of three formats, opened incidents and ended them"
    );
}
