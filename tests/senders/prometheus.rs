//! Prometheus with Muster in the place of Alertmanager.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use muster::model::ChangeKind;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::process::{free_port, metrics, wait_until};
use crate::{Program, Rig};

/// What Prometheus watches: a machine whose disk is full, or not.
struct Machine {
    full: Arc<AtomicBool>,
    address: String,
    _runtime: Runtime,
}

impl Machine {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let full = Arc::new(AtomicBool::new(false));
        let router = Router::new().route("/metrics", get(page)).with_state(Arc::clone(&full));
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { full, address, _runtime: runtime }
    }
}

async fn page(State(full): State<Arc<AtomicBool>>) -> String {
    let full = u8::from(full.load(Ordering::SeqCst));
    format!("# TYPE disk_full gauge\ndisk_full{{host=\"web-1\"}} {full}\n")
}

#[test]
fn prometheus_drops_nothing_over_a_kill_and_its_alert_is_one_incident() {
    let mut rig = Rig::start("[{name: alertmanager, decoder: alertmanager}]");
    let machine = Machine::start();
    let port = free_port();
    let write = |name: &str, text: &str| std::fs::write(rig.path(name), text).expect("written");
    write("rules.yml", RULES);
    let config = CONFIG.replace("MUSTER", &format!("127.0.0.1:{}", rig.port));
    write("prometheus.yml", &config.replace("MACHINE", &machine.address));
    let arguments = [
        format!("--config.file={}", rig.path("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", rig.path("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        // What fires is told so often. Prometheus tries once each time, so the restart lies between.
        "--rules.alert.resend-delay=15s".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut prometheus = Program::start("prometheus", &arguments, &rig.path("prometheus.out"));
    let said = |name: &str| -> Option<f64> {
        let values = metrics(port, &[name]).concat();
        (!values.is_empty()).then(|| values.into_iter().sum())
    };
    let sent = || said("prometheus_notifications_sent_total{").unwrap_or(0.0);
    wait_until("Prometheus to know Muster, and the machine", || {
        prometheus.assert_running();
        said("prometheus_notifications_alertmanagers_discovered ") == Some(1.0)
            && said("prometheus_target_interval_length_seconds_count{").is_some()
    });
    assert!(rig.incidents().is_empty(), "the rule does not fire");

    machine.full.store(true, Ordering::SeqCst);
    let opened = rig.incident("web-1", "open");
    assert_eq!((&opened["status"], &opened["counts"]["firing"]), (&json!("critical"), &json!(1)));
    assert_eq!(opened["alerts"][0]["check"], "DiskFull");
    assert_eq!(opened["alerts"][0]["description"], "web-1: \"disk\" is full; act");

    let before = sent();
    wait_until("Prometheus to repeat it", || sent() > before);
    rig.kill();
    rig.run();
    let before = sent();
    wait_until("Prometheus to repeat it to the restarted Muster", || sent() > before);
    let still = rig.incident("web-1", "open");
    assert_eq!(still["id"], opened["id"]);

    machine.full.store(false, Ordering::SeqCst);
    let resolved = rig.incident("web-1", "resolved");
    assert_eq!(resolved["id"], opened["id"]);
    assert_eq!(said("prometheus_notifications_dropped_total "), Some(0.0));
    assert_eq!(said("prometheus_notifications_errors_total{"), Some(0.0));
    prometheus.assert_running();
    rig.nothing_set_aside();
    let history = rig.history();
    assert_eq!(history.len(), 1, "{history:?}");
    let all = history.values().flatten().flatten();
    assert_eq!(all.copied().collect::<Vec<_>>(), [ChangeKind::Opened, ChangeKind::Resolved]);
    eprintln!("Prometheus: its alert was one incident over a kill -9; nothing dropped");
}

const RULES: &str = r#"
groups:
  - name: disks
    rules:
      - alert: DiskFull
        expr: disk_full == 1
        labels: {severity: critical}
        annotations: {summary: '{{ $labels.host }}: "disk" is full; act'}
"#;

const CONFIG: &str = r#"
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{targets: ["MUSTER"]}]
scrape_configs:
  - job_name: machine
    static_configs: [{targets: ["MACHINE"]}]
"#;
