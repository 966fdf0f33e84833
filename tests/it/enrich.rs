//! What the config says of hosts, fields and enrichment, on both stages.

use muster::config::{self, Config};
use muster::model::{CorrelateSettings, Status, Timestamp};
use muster::stage::EventOutcome;
use muster::testing::pipeline::{Pipeline, Way};
use muster::wire;

const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const CONFIG: &str = r#"
collect:
  sources:
    - name: agent
      fields: {host: [fqdn, node], check: [sensor], status: [level]}
      statuses: {major: critical}
  hosts: {lower_case: true, strip_domains: [corp.example], aliases: config/examples/aliases.csv}
  enrich:
    - extract: {from: check, regex: '^(?P<kind>[a-z]+)'}
    - map: {file: config/examples/cmdb.csv, by: [host], tags: [team, service]}
    - set: {owner: '{{ tags.team }}/{{ tags.kind }}'}
    - {match: ['env="test"'], drop: true}
"#;

fn pipeline(way: Way) -> Pipeline {
    let config: Config = config::parse(CONFIG).expect("a good config");
    Pipeline::new(config.collect(), CorrelateSettings::default(), way)
}

/// Each a second after the one before.
fn post(pipeline: &mut Pipeline, event: &str) {
    let second = i64::try_from(pipeline.counted()).expect("few") * 1_000;
    pipeline.arrive(Timestamp::from_millis(NOW.as_millis() + second), Some(event.as_bytes()));
}

#[test]
fn one_machine_by_four_names_is_one_alert_and_knows_its_team() {
    for way in [Way::Straight, Way::SentOn] {
        let mut pipeline = pipeline(way);
        for host in ["web-1", "WEB-1.corp.example", "10.0.0.7", "web-1-old.CORP.example"] {
            let event = format!(
                r#"{{"source":"agent","fqdn":"{host}","sensor":"disk /","level":"MAJOR","env":"$ENV$"}}"#
            );
            post(&mut pipeline, &event);
        }
        assert_eq!(pipeline.count(EventOutcome::Forwarded), 1, "{way:?}");
        assert_eq!(pipeline.count(EventOutcome::Repeat), 3, "{way:?}");
        let change = wire::change::decode(&pipeline.changes()[0]).expect("a change");
        let alert = &change.alerts[0];
        assert_eq!((alert.host.as_ref(), alert.check.as_ref()), ("web-1", "disk /"));
        let tag = |name: &str| alert.tags.get(name).and_then(|tag| tag.values().next());
        assert_eq!(
            (tag("team"), tag("kind"), tag("owner")),
            (Some("shop"), Some("disk"), Some("shop/disk"))
        );
        assert_eq!((tag("env"), tag("fqdn")), (None, None), "what stands for the host is no tag");
        // Whatever name it goes by, its end is the alert's.
        post(&mut pipeline, r#"{"source":"agent","node":"Web-1","sensor":"disk /","level":"ok"}"#);
        let change = wire::change::decode(&pipeline.changes()[1]).expect("a change");
        assert_eq!(change.counts.firing, 0, "{way:?}");
    }
}

#[test]
fn what_is_dropped_is_counted_and_its_end_passes() {
    let mut pipeline = pipeline(Way::Straight);
    let event = |env: &str, level: &str| {
        format!(
            r#"{{"source":"agent","node":"db-1","sensor":"load","level":"{level}","env":"{env}"}}"#
        )
    };
    post(&mut pipeline, &event("prod", "warning"));
    post(&mut pipeline, &event("test", "major"));
    assert_eq!(pipeline.count(EventOutcome::Dropped), 1);
    assert_eq!(pipeline.changes().len(), 1, "an alert of its own would be a change");
    post(&mut pipeline, &event("test", "ok"));
    let change = wire::change::decode(&pipeline.changes()[1]).expect("a change");
    assert_eq!(change.counts.firing, 0);
    assert!(pipeline.dead().is_empty());
}

/// `defaults` goes for sources that are not named, and for what named ones do not say.
#[test]
fn what_defaults_says_of_words_and_fields_goes_for_all() {
    let config = r#"
collect:
  sources:
    - {name: defaults, fields: {host: [node]}, statuses: {major: critical}}
    - {name: agent, statuses: {major: warning}}
    - {name: probe, fields: {host: [fqdn]}}
"#;
    let config: Config = config::parse(config).expect("a good config");
    let way = Way::Straight;
    let mut pipeline = Pipeline::new(config.collect(), CorrelateSettings::default(), way);
    for (source, name, status) in [
        ("unheard-of", "node", Status::Critical),
        ("agent", "node", Status::Warning),
        ("probe", "fqdn", Status::Critical),
    ] {
        let event = format!(r#"{{"source":"{source}","{name}":"web-1","status":"Major"}}"#);
        post(&mut pipeline, &event);
        assert!(pipeline.dead().is_empty(), "{source}: {:?}", pipeline.dead());
        let change = pipeline.changes().last().expect("it is told");
        let change = wire::change::decode(change).expect("a change");
        let alert = change.alerts.last().expect("an alert");
        assert_eq!((alert.host.as_ref(), alert.status), ("web-1", status), "{source}");
    }
}
