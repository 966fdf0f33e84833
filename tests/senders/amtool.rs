//! `amtool` with Muster in the place of Alertmanager.

use serde_json::Value;

use crate::process::wait_until;
use crate::{Rig, output};

#[test]
fn amtool_adds_alerts_shows_them_and_silences_them() {
    let rig = Rig::start("[]");
    let url = format!("--alertmanager.url={}", rig.url());
    let amtool = |arguments: &[&str]| output("amtool", &[&[url.as_str()], arguments].concat());
    // What `alert query` shows, by name.
    let shown = |more: &[&str]| -> Vec<String> {
        let said = amtool(&[&["-o", "json", "alert", "query"], more].concat());
        let alerts: Vec<Value> = serde_json::from_str(&said).expect("JSON");
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().map(str::to_owned);
        alerts.iter().filter_map(name).collect()
    };

    let labels = ["alertname=DiskFull", "host=db-1", "severity=critical"];
    let add = |more: &[&str]| amtool(&[&["alert", "add"], &labels[..], more].concat());
    add(&["--annotation=summary=98 %; of 'srv' is full"]);
    let incident = rig.incident("db-1", "open");
    assert_eq!(incident["status"], "critical");
    assert_eq!(incident["alerts"][0]["check"], "DiskFull");
    assert_eq!(incident["alerts"][0]["description"], "98 %; of 'srv' is full");
    assert_eq!(shown(&[]), ["DiskFull"]);
    assert_eq!(shown(&["host=db-1"]), ["DiskFull"]);
    assert_eq!(shown(&["host=db-2"]), [""; 0]);

    let silence = ["silence", "add", "alertname=DiskFull", "-a", "ann", "-c", "works", "-d", "1h"];
    let id = amtool(&silence).trim().to_owned();
    let silences = |more: &[&str]| -> Vec<String> {
        let said = amtool(&[&["silence", "query", "-q"], more].concat());
        said.lines().map(str::to_owned).collect()
    };
    wait_until("the silence to be shown", || silences(&[]) == [id.as_str()]);
    wait_until("the alert to be silenced", || shown(&["--silenced"]) == ["DiskFull"]);
    assert_eq!(shown(&[]), [""; 0], "what is silenced is shown only when asked for");
    let muted = rig.incident("db-1", "open")["muted"].to_string();
    assert!(muted.contains(&id), "{muted}");

    amtool(&["silence", "expire", &id]);
    wait_until("the silence to be over", || silences(&[]).is_empty());
    assert_eq!(silences(&["--expired"]), [id.as_str()]);
    wait_until("the alert to be shown again", || shown(&[]) == ["DiskFull"]);

    add(&["--start=2026-01-01T00:00:00Z", "--end=2026-01-01T00:10:00Z"]);
    let resolved = rig.incident("db-1", "resolved");
    assert_eq!(resolved["id"], incident["id"]);
    wait_until("nothing to be shown", || shown(&["--silenced", "--active"]).is_empty());
    rig.nothing_set_aside();
    eprintln!("amtool: alerts added, shown and ended; a silence added, shown and expired");
}
