//! The topology's way into correlate: by its log alone, whole or not at all, and by the config.

use muster::config;
use muster::correlate::Correlate;
use muster::model::settings::Near;
use muster::model::topology::Builder;
use muster::model::{CorrelateSettings, Pattern, Timestamp, Topology};
use muster::stage::{Kind, Offset, Outgoing, Output, Record, Slot, Stage};
use muster::testing::load::by_cluster;
use muster::wire;

fn wanted(names: &[&str]) -> CorrelateSettings {
    let mut builder = Builder::new(100_000, 100_000);
    for name in names {
        // Long names, so that there is more than one part.
        for nth in 0..1_500 {
            let long = format!("{name}-{nth}-{}", "x".repeat(400));
            builder.edge(("host", name), ("host", &long), "next").expect("within bounds");
        }
    }
    let topology = Topology::new(builder.build().expect("a graph"), 1_000);
    let settings = by_cluster(muster::model::Span::MINUTE, muster::model::Span::MINUTE);
    let near = Some(Near { tag: "host".into(), hops: 1, kinds: Vec::new() });
    let pattern = Pattern { near, by: Vec::new(), ..settings.patterns[0].clone() };
    CorrelateSettings { patterns: vec![pattern], topology: Some(topology), ..settings }
}

fn apply(stage: &mut Correlate, records: &[Outgoing]) -> Output {
    let mut out = Output::default();
    for Outgoing { kind, value, .. } in records {
        let time = Timestamp::from_millis(1_763_913_600_000);
        let record = Record {
            offset: Offset(0),
            time,
            kind: *kind,
            key: None,
            value: Some(value),
            headers: None,
        };
        stage.apply(Slot::default(), &record, &mut out);
    }
    stage.seal(&mut out);
    out
}

fn messages(out: &Output) -> Vec<String> {
    let dead = out.records.iter().filter(|record| record.kind == Kind::DeadLetter);
    let message = |record: &Outgoing| {
        let (_, message) = record.headers.iter().find(|(name, _)| *name == "message")?;
        String::from_utf8(message.clone()).ok()
    };
    dead.filter_map(message).collect()
}

#[test]
fn the_graph_comes_before_the_settings_that_name_it_and_once() {
    let wanted = wanted(&["a"]);
    let mut stage = Correlate::new(&wanted);
    let opening = stage.opening(Slot::default());
    let kinds: Vec<Kind> = opening.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Topology, Kind::Topology, Kind::Settings]);
    let out = apply(&mut stage, &opening);
    assert!(messages(&out).is_empty());
    assert!(stage.opening(Slot::default()).is_empty(), "they are in force");
    // Other rules by the same graph: it is not said again.
    let other = CorrelateSettings { ok_memory_max: 7, ..wanted };
    let mut again = Correlate::new(&other);
    for row in &out.rows {
        again.restore(&row.key, row.value.as_deref().expect("new rows")).expect("a row");
    }
    again.restored().expect("rows that fit");
    let opening = again.opening(Slot::default());
    assert_eq!(opening.len(), 1);
    assert!(messages(&apply(&mut again, &opening)).is_empty());
}

#[test]
fn settings_without_all_of_their_graph_are_set_aside_and_those_before_stay() {
    let mut stage = Correlate::new(&wanted(&["a"]));
    let first = stage.opening(Slot::default());
    apply(&mut stage, &first);
    let second = Correlate::new(&wanted(&["b"])).opening(Slot::default());
    let mut damaged = second.clone();
    *damaged[0].value.last_mut().expect("bytes") ^= 1;
    for (records, words) in [
        (vec![second[2].clone()], "no part of topology"),
        (vec![second[1].clone(), second[2].clone()], "only 1 of 2 parts"),
        (damaged, "are damaged"),
    ] {
        let mut stage = Correlate::new(&wanted(&["a"]));
        apply(&mut stage, &first);
        let said = messages(&apply(&mut stage, &records));
        assert!(said.len() == 1 && said[0].contains(words), "{said:?} lacks {words}");
        assert!(stage.opening(Slot::default()).is_empty(), "the first ones are in force still");
    }
}

#[test]
fn rows_of_a_graph_go_with_it_and_a_missing_one_is_named() {
    let mut stage = Correlate::new(&wanted(&["a"]));
    let opening = stage.opening(Slot::default());
    let first = apply(&mut stage, &opening);
    let parts = |out: &Output, there: bool| {
        let rows = out.rows.iter().filter(|row| row.key.starts_with(b"g/"));
        rows.filter(|row| row.value.is_some() == there).count()
    };
    assert_eq!((parts(&first, true), parts(&first, false)), (2, 0));
    let second = apply(&mut stage, &Correlate::new(&wanted(&["b"])).opening(Slot::default()));
    assert_eq!((parts(&second, true), parts(&second, false)), (2, 2));
    let mut torn = Correlate::new(&wanted(&["a"]));
    let last = first.rows.iter().rposition(|row| row.key.starts_with(b"g/"));
    for (nth, row) in first.rows.iter().enumerate() {
        if Some(nth) != last {
            torn.restore(&row.key, row.value.as_deref().expect("new rows")).expect("a row");
        }
    }
    let error = torn.restored().expect_err("a part is missing").to_string();
    assert!(error.contains("only 1 of 2 parts"), "{error}");
}

#[test]
fn graphs_that_never_come_into_force_do_not_pile_up() {
    let mut stage = Correlate::new(&wanted(&["a"]));
    let opening = stage.opening(Slot::default());
    apply(&mut stage, &opening);
    let mut kept = 0_i64;
    for name in ["b", "c", "d", "e", "f"] {
        let mut records = Correlate::new(&wanted(&[name])).opening(Slot::default());
        records.retain(|record| record.kind == Kind::Topology);
        let out = apply(&mut stage, &records);
        for row in out.rows.iter().filter(|row| row.key.starts_with(b"g/")) {
            kept += if row.value.is_some() { 1 } else { -1 };
        }
        assert!(kept <= 4, "{kept} parts of graphs that wait");
    }
    assert!(stage.opening(Slot::default()).is_empty(), "the one in force is not among them");
}

#[test]
fn settings_and_changes_with_near_read_back_as_they_are_stored() {
    let settings = br#"{"v":1,"reopen_window":1800000,"ok_memory_max":1,"patterns":[{"name":"near","match":[],"by":[],"window":60000,"gap":null,"cross_source":true,"max_alerts":9,"near":{"tag":"host","hops":2,"kinds":["runs_on"]}}],"topology":{"digest":"00","edges_looked_at":20000}}"#;
    let read = wire::settings::decode(settings).expect("version 1");
    assert_eq!(wire::settings::encode(&read), settings);
    let why = r#"{"pattern":{"name":"near","by":{},"near":{"tag":"host","value":"a"}},"path":[{"tag":"host","value":"b"},{"tag":"host","value":"a","via":"next"}],"apart_ms":1,"turned_down":[],"more":0}"#;
    let read: muster::model::Why = serde_json::from_str(why).expect("a why");
    assert_eq!(serde_json::to_string(&read).expect("text"), why);
}

#[test]
fn a_config_names_what_is_wrong_with_near_and_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("edges.csv");
    std::fs::write(&file, "from_tag,from,to_tag,to,kind\nhost,a,host,b,next\n").expect("written");
    let near = |topology: &str, near: &str| {
        let text =
            format!("correlate: {{topology: {{{topology}}}, patterns: [{{name: n, {near}}}]}}");
        config::parse(&text)
    };
    let good = format!("file: {}", file.display());
    let config = near(&good, "near: {tag: host, hops: 2, kinds: [next]}").expect("a config");
    let summary = config.summary().join("\n");
    assert!(summary.contains("topology of 2 nodes and 1 edges"), "{summary}");
    let secret = "topic: t, brokers: 'k:1', settings: {sasl.password: hush}";
    let config = near(secret, "near: {tag: any, hops: 2}").expect("a topic is read at the start");
    assert!(config.summary().join("\n").contains("topology from the topic t of k:1"));
    assert!(!format!("{config:?}").contains("hush"), "no secret is shown");
    let missing = format!("file: {}", directory.path().join("none.csv").display());
    for (topology, pattern, words) in [
        ("", "near: {tag: host, hops: 2}", "correlate.patterns[0].near: needs correlate.topology"),
        (&good, "near: {tag: host}", "correlate.patterns[0].near.hops: is missing"),
        (&good, "near: {hops: 1}", "correlate.patterns[0].near.tag"),
        (&good, "near: {tag: host, hops: 9}", "correlate.patterns[0].near.hops: `9`"),
        (&good, "near: {tag: service, hops: 1}", "correlate.patterns[0].near.tag: `service`"),
        (&good, "near: {tag: host, hops: 1, kinds: [nxt]}", "near.kinds: `nxt`"),
        (&good, "by: [host], near: {tag: host, hops: 1}", "is the tag of `near`"),
        (&missing, "by: [host]", "correlate.topology.file: "),
        (&format!("{good}, topic: t"), "by: [host]", "topology.topic: `t` is given beside `file`"),
        ("topic: t", "by: [host]", "correlate.topology.brokers: is missing"),
        ("topic: t, brokers: k", "by: [host]", "correlate.topology.brokers: `k` is not a list"),
        ("topic: 't t', brokers: 'k:1'", "by: [host]", "topology.topic: `t t` is no name"),
        ("topic: t, brokers: 'k:1', settle: 1ms", "by: [host]", "topology.settle: `1ms`"),
        ("topic: t, brokers: 'k:1', read_within: 0s", "by: [host]", "topology.read_within: `0s`"),
        (
            "topic: t, brokers: 'k:1', settings: {isolation.level: x}",
            "by: [host]",
            "correlate.topology.settings.isolation.level: is set by muster itself",
        ),
        ("brokers: 'k:1'", "by: [host]", "correlate.topology.brokers: says how to read a topic"),
        (&format!("{good}, nodes_max: 1"), "by: [host]", "line 2: holds more than 1 nodes"),
    ] {
        let error = near(topology, pattern).expect_err(words).to_string();
        assert!(error.contains(words), "{error:?} lacks {words:?}");
    }
}
