//! The config: what ships loads, what is wrong is named, and no secret is shown.
//!
//! The shipped file is held against the code from both sides: its values are the defaults, and its
//! keys, with those in its `#:` lines, are all there are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use config::{File, FileFormat, Value, ValueKind};
use muster::config::{self as muster_config, Config, ConfigError, JournalSettings, Problem};
use muster::kafka::Start;
use muster::model::Span;
use muster::notify::{ReceiverKind, SecretSource};
use muster::stage::Topic;

#[test]
fn every_shipped_config_loads_and_means_something() {
    let files = shipped();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let config = muster_config::load_with(Some(&file), [])
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(config.warnings(), [], "{}", file.display());
    }
}

#[test]
fn the_shipped_file_holds_every_default() {
    let shipped = parse(muster_config::DEFAULTS);
    assert_eq!(shipped, Config::default());
    assert_eq!(shipped.correlate().patterns.len(), 3, "there are general patterns");
}

#[test]
fn the_shipped_file_names_every_key_and_no_other() {
    let sections = ["collect", "correlate", "notify"].map(uncommented);
    let documents: Vec<String> =
        [muster_config::DEFAULTS.to_owned()].into_iter().chain(sections).collect();
    let (mut known, mut named) = (BTreeSet::new(), BTreeSet::new());
    for text in &documents {
        parse(text);
        known.extend(muster_config::keys(text).expect("it loads"));
        named.extend(written(text));
    }
    // The root takes everything: these two are read there only to be refused by name.
    known.retain(|key| !["notify.route.match", "notify.route.continue"].contains(&key.as_str()));
    let missing: Vec<&String> = known.difference(&named).collect();
    assert!(missing.is_empty(), "config/muster.yaml does not name {missing:?}");
    assert!(named.is_subset(&known), "{:?}", named.difference(&known));
    assert!(known.contains("notify.receivers[].webhook.secret_file"), "{known:?}");
}

#[test]
fn the_parts_become_what_each_module_goes_by() {
    let config = parse(
        "journal: {kind: kafka, brokers: 'k:9092', instance: a, topics: {alerts: {partitions: 7}}}
collect:
  sources:
    - {name: nagios, topic: t.nagios, keyed: true, expire_after: 2d, start: 24h}
    - {name: defaults, expire_after: 3d, shard: blue}
    - {name: web}
correlate:
  patterns:
    - {name: off, by: [host], enabled: false}
    - {name: on, match: 'env=\"prod\"', by: [host, check], window: 2h, gap: 5m}
notify:
  receivers: [{name: hook, webhook: {url: 'http://h/x', secret: s3cret}}, {name: log, log: }]
  route: {receiver: hook, group_wait: 1s, routes: [{match: ['env=\"a\"', 'x=\"b\"']}]}",
    );
    let JournalSettings::Kafka(kafka) = config.journal() else { panic!("it is kafka") };
    assert_eq!((kafka.brokers.as_str(), kafka.instance.as_str()), ("k:9092", "a"));
    assert_eq!(kafka.topics[&Topic::Alerts].partitions, 7);
    assert_eq!(kafka.topics[&Topic::State].partitions, 7, "rows go with their input");
    assert_eq!(kafka.topics[&Topic::State].name, "muster.state");

    let collect = config.collect();
    let sources: Vec<(&str, &str, String)> = collect
        .sources
        .iter()
        .map(|source| (&*source.name, &*source.shard, source.expire_after.to_string()))
        .collect();
    let expected = [("nagios", "blue", "2d"), ("web", "blue", "3d"), ("defaults", "blue", "3d")];
    assert_eq!(sources, expected.map(|(name, shard, span)| (name, shard, span.to_owned())));
    let topics = config.source_topics();
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0].start, Start::Age(Span::from_secs(86_400)));
    assert!(topics[0].keyed && topics[0].brokers.is_none());

    let patterns = config.correlate().patterns;
    assert_eq!(patterns.len(), 1, "a pattern that is switched off is not there");
    assert_eq!(patterns[0].gap, Some(Span::from_secs(300)));
    assert_eq!(patterns[0].matchers.iter().count(), 1);

    let notify = config.notify();
    let ReceiverKind::Webhook(webhook) = &notify.receivers[0].kind else {
        panic!("it is a webhook");
    };
    let Some(SecretSource::Inline(secret)) = &webhook.secret else { panic!("it has a secret") };
    assert_eq!((secret.expose(), webhook.reach.timeout), ("s3cret", Span::from_secs(10)));
    assert_eq!(notify.receivers[1].kind, ReceiverKind::Log);
    let root = notify.route.expect("there is one");
    assert_eq!(
        (&*root.routes[0].receiver, root.routes[0].group_wait.to_string().as_str()),
        ("hook", "1s")
    );
    assert_eq!(root.routes[0].matchers.iter().count(), 2);
}

#[test]
fn the_environment_wins_key_by_key() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("m.yaml");
    std::fs::write(
        &file,
        "api: {listen: '127.0.0.1:1', connections: 7}\njournal: {settings: {security.protocol: ssl}}",
    )
    .expect("a file");
    let environment = [
        ("MUSTER__API__LISTEN", "0.0.0.0:9"),
        ("MUSTER__JOURNAL__PATH", "/data"),
        ("MUSTER__JOURNAL__MAX_BYTES", "128MiB"),
        ("MUSTER__COLLECT__LIMITS__DEPTH", "9"),
        ("MUSTER__JOURNAL__SETTINGS__SASL__USERNAME", "me"),
        ("MUSTER_SOMETHING_ELSE", "x"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = muster_config::load_with(Some(&file), environment).expect("it loads");
    assert_eq!(config.api().listen.to_string(), "0.0.0.0:9");
    assert_eq!(config.api().connections, 7, "what it does not name stays");
    assert_eq!(config.collect().limits.depth, 9);
    let JournalSettings::Sqlite(sqlite) = config.journal() else { panic!("it is sqlite") };
    assert_eq!((sqlite.path.to_str(), sqlite.max_bytes), (Some("/data"), 128 << 20));
    let shown = format!("{config:?}");
    assert!(shown.contains("security.protocol") && shown.contains("sasl.username"), "{shown}");

    for (name, value, key, rule) in [
        ("MUSTER__API__LISTNE", "x", "api.listne", "did you mean `listen`?"),
        ("MUSTER__API__CONNECTIONS", "many", "api.connections", "is not a whole number"),
        ("MUSTER__COLLECT__SOURCES__0__NAME", "x", "collect.sources", "is not a list"),
    ] {
        let error = muster_config::load_with(None, [(name.to_owned(), value.to_owned())]);
        let problems = problems(error);
        assert!(problems.iter().any(|p| p.key == key && p.rule.contains(rule)), "{problems:?}");
    }
}

#[test]
fn what_is_wrong_is_named_with_key_value_and_rule() {
    for (text, key, value, rule) in BROKEN {
        let problems = problems(muster_config::parse(text));
        let value = (!value.is_empty()).then(|| (*value).to_owned());
        let found =
            problems.iter().any(|p| p.key == *key && p.value == value && p.rule.contains(rule));
        assert!(found, "{text}\nhas {problems:#?}\ninstead of {key}: {value:?} {rule}");
        assert_eq!(problems.len(), 1, "{text}\none fault is told once: {problems:#?}");
    }
}

const BROKEN: &[(&str, &str, &str, &str)] = &[
    ("jurnal: {}", "jurnal", "", "did you mean `journal`?"),
    ("apis: 5", "apis", "", "did you mean `api`?"),
    ("api: 5", "api", "5", "is not a table"),
    ("journal: {kind: redis}", "journal.kind", "redis", "is none of sqlite, kafka"),
    ("journal: {kind: memory}", "journal.kind", "memory", "is none of sqlite, kafka"),
    ("journal: {kind: kafka}", "journal.brokers", "", "is missing"),
    ("journal: {kind: kafka, brokers: k1}", "journal.brokers", "k1", "is not a list like"),
    ("journal: {brokers: 'k1:9092,:1'}", "journal.brokers", "k1:9092,:1", "is not a list like"),
    ("journal: {path: ''}", "journal.path", "", "is empty"),
    ("journal: {keep_alerts: 5}", "journal.keep_alerts", "5", "is not a duration"),
    ("journal: {keep_alerts: 5m}", "journal.keep_alerts", "5m", "is less than 1h"),
    ("journal: {max_bytes: 5GB}", "journal.max_bytes", "5GB", "is not a number of bytes"),
    ("journal: {max_bytes: 1MiB}", "journal.max_bytes", "1MiB", "is less than"),
    ("journal: {replication: 0}", "journal.replication", "0", "is less than 1"),
    ("journal: {settings: {acks: 1}}", "journal.settings.acks", "", "exactness rests on it"),
    ("journal: {settings: 7}", "journal.settings", "7", "is not a table"),
    (
        "journal: {settings_files: {sasl.password: /no/such/file}}",
        "journal.settings_files.sasl.password",
        "/no/such/file",
        "cannot be read",
    ),
    (
        "journal: {topics: {alerts: {name: 'a b'}}}",
        "journal.topics.alerts.name",
        "a b",
        "no name of a topic",
    ),
    (
        "journal: {topics: {alerts: {name: muster.events}}}",
        "journal.topics.alerts.name",
        "muster.events",
        "is the name of topic events as well",
    ),
    (
        "journal: {topics: {state: {partitions: 3}}}",
        "journal.topics.state.partitions",
        "",
        "is no key",
    ),
    (
        "journal: {topics: {alerts: {partitions: 0}}}",
        "journal.topics.alerts.partitions",
        "0",
        "is less than 1",
    ),
    ("collect: {sources: {name: x}}", "collect.sources", "{…}", "is not a list"),
    ("collect: {sources: [x]}", "collect.sources[0]", "x", "is not a table"),
    ("collect: {sources: [{shard: a}]}", "collect.sources[0].name", "", "is missing"),
    (
        "collect: {sources: [{name: a}, {name: a}]}",
        "collect.sources[1].name",
        "a",
        "is listed twice",
    ),
    (
        "collect: {sources: [{name: a}, {name: b, expire_after: 5 minuts}]}",
        "collect.sources[1].expire_after",
        "5 minuts",
        "is not a duration; write a number and a unit",
    ),
    (
        "collect: {sources: [{name: a, expire_after: 1s}]}",
        "collect.sources[0].expire_after",
        "1s",
        "is less than 1m",
    ),
    (
        "collect: {sources: [{name: a, expires_after: 1h}]}",
        "collect.sources[0].expires_after",
        "",
        "did you mean `expire_after`?",
    ),
    (
        "collect: {sources: [{name: a, keyed: true}]}",
        "collect.sources[0].keyed",
        "",
        "there is no `topic` beside it",
    ),
    ("collect: {sources: [{name: a, topic: t}]}", "collect.sources[0].brokers", "", "is missing"),
    (
        "collect: {sources: [{name: a, topic: t, brokers: 'k:1', keyed: 1}]}",
        "collect.sources[0].keyed",
        "1",
        "is neither true nor false",
    ),
    (
        "collect: {sources: [{name: a, topic: t, brokers: 'k:1', decoder: xml}]}",
        "collect.sources[0].decoder",
        "xml",
        "is no decoder; there are canonical",
    ),
    (
        "collect: {sources: [{name: a, topic: t, brokers: 'k:1', start: soon}]}",
        "collect.sources[0].start",
        "soon",
        "is none of latest, earliest",
    ),
    (
        "collect: {sources: [{name: a, topic: t, brokers: 'k:1'}, {name: b, topic: t, brokers: 'k:1'}]}",
        "collect.sources[1].topic",
        "t",
        "is read by source `a` already",
    ),
    (
        "{journal: {kind: kafka, brokers: 'k:1'}, collect: {sources: [{name: a, topic: muster.alerts}]}}",
        "collect.sources[0].topic",
        "muster.alerts",
        "is a topic of muster's own",
    ),
    (
        "{journal: {kind: kafka, brokers: 'k:1'}, collect: {sources: [{name: defaults, topic: t}]}}",
        "collect.sources[0].topic",
        "t",
        "belongs to a source with a name of its own",
    ),
    ("collect: {cache_max: 1}", "collect.cache_max", "1", "is less than 1000"),
    ("collect: {cache_max: -1}", "collect.cache_max", "-1", "is not a whole number"),
    ("collect: {limits: {depth: 1000}}", "collect.limits.depth", "1000", "is more than 120"),
    ("correlate: {reopen_window: 31d}", "correlate.reopen_window", "31d", "is more than 30d"),
    ("correlate: {dismiss_for: 30s}", "correlate.dismiss_for", "30s", "is less than 1m"),
    ("correlate: {flapping: off}", "correlate.flapping", "off", "is not a table"),
    (
        "correlate: {flapping: {changes: 101}}",
        "correlate.flapping.changes",
        "101",
        "is more than 100",
    ),
    (
        "correlate: {flapping: {changes: -1}}",
        "correlate.flapping.changes",
        "-1",
        "is not a whole number",
    ),
    ("correlate: {chronic: {of: 32}}", "correlate.chronic.of", "32", "is more than 31"),
    ("correlate: {chronic: {days: 8}}", "correlate.chronic.days", "8", "is more than the days"),
    (
        "correlate: {patterns: [{name: a, by: [host], chronic: never}]}",
        "correlate.patterns[0].chronic",
        "never",
        "neither separate nor join",
    ),
    ("correlate: {flapping: {within: 0s}}", "correlate.flapping.within", "0s", "is less than 1s"),
    (
        "correlate: {flapping: {quiet_for: 8d}}",
        "correlate.flapping.quiet_for",
        "8d",
        "is more than 7d",
    ),
    (
        "correlate: {flapping: {reminder: 30s}}",
        "correlate.flapping.reminder",
        "30s",
        "is less than 1m",
    ),
    (
        "correlate: {flapping: {quiet_four: 1h}}",
        "correlate.flapping.quiet_four",
        "",
        "did you mean `quiet_for`?",
    ),
    ("correlate: {patterns: [{by: [host]}]}", "correlate.patterns[0].name", "", "is missing"),
    (
        "correlate: {patterns: [{name: a}]}",
        "correlate.patterns[0].by",
        "",
        "is missing; name 1 to 5 tags",
    ),
    (
        "correlate: {patterns: [{name: a, by: [a, b, c, d, e, f]}]}",
        "correlate.patterns[0].by",
        "a, b, c, d, e, f",
        "are more than 5",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host, host]}]}",
        "correlate.patterns[0].by[1]",
        "host",
        "is named twice",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host]}, {name: a, by: [check]}]}",
        "correlate.patterns[1].name",
        "a",
        "is the name of two",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host], window: 0s}]}",
        "correlate.patterns[0].window",
        "0s",
        "is less than 1ms",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host], window: 31d}]}",
        "correlate.patterns[0].window",
        "31d",
        "is more than 30d",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host], gap: 2h}]}",
        "correlate.patterns[0].gap",
        "2h",
        "is more than the window, 1h",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host], max_alerts: 0}]}",
        "correlate.patterns[0].max_alerts",
        "0",
        "is less than 1",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host], min_alerts: 0}]}",
        "correlate.patterns[0].min_alerts",
        "0",
        "is less than 1",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host], max_alerts: 2, min_alerts: 3}]}",
        "correlate.patterns[0].min_alerts",
        "3",
        "is more than max_alerts, 2",
    ),
    (
        "correlate: {patterns: [{name: a, by: [host], match: ['env=a', 'host=~\"(\"']}]}",
        "correlate.patterns[0].match",
        "host=~\"(\"",
        "is not a matcher",
    ),
    (
        "notify: {receivers: [{name: a, log: {}}]}",
        "notify.route",
        "",
        "is missing; once there are receivers",
    ),
    (
        "notify: {receivers: [{name: a, log: {}}], route: {}}",
        "notify.route.receiver",
        "",
        "is missing",
    ),
    (
        "notify: {route: {receiver: a}}",
        "notify.route.receiver",
        "a",
        "is no receiver; there are none",
    ),
    (
        "notify: {receivers: [{name: a, log: {}}], route: {receiver: a, match: 'x=y'}}",
        "notify.route.match",
        "",
        "has no place at the root",
    ),
    (
        "notify: {receivers: [{name: a, log: {}}], route: {receiver: a, routes: [{receiver: b}]}}",
        "notify.route.routes[0].receiver",
        "b",
        "is no receiver; there are a",
    ),
    (
        "notify: {receivers: [{name: a}], route: {receiver: a}}",
        "notify.receivers[0]",
        "",
        "needs exactly one of the keys jsm_ops, log, opsgenie, pagerduty, slack, webhook",
    ),
    (
        "notify: {receivers: [{name: a, log: {}, webhook: {url: 'http://h'}}], route: {receiver: a}}",
        "notify.receivers[0]",
        "",
        "it has 2",
    ),
    (
        "notify: {receivers: [{name: a, log: {x: 1}}], route: {receiver: a}}",
        "notify.receivers[0].log.x",
        "",
        "is no key",
    ),
    (
        "notify: {receivers: [{name: a, log: {}}, {name: a, log: {}}], route: {receiver: a}}",
        "notify.receivers[1].name",
        "a",
        "is the name of two receivers",
    ),
    (
        "notify: {receivers: [{name: a, webhook: {}}], route: {receiver: a}}",
        "notify.receivers[0].webhook.url",
        "",
        "is missing",
    ),
    (
        "notify: {receivers: [{name: a, webhook: {url: 'ftp://h/x'}}], route: {receiver: a}}",
        "notify.receivers[0].webhook.url",
        "ftp://h/***",
        "is neither http nor https",
    ),
    (
        "notify: {receivers: [{name: a, webhook: {url: 'http://'}}], route: {receiver: a}}",
        "notify.receivers[0].webhook.url",
        "http://",
        "is no URL",
    ),
    (
        "notify: {receivers: [{name: a, webhook: {url: 'http://h', secret: whsec_%%}}], route: {receiver: a}}",
        "notify.receivers[0].webhook.secret",
        "***",
        "is not base64",
    ),
    (
        "notify: {receivers: [{name: a, webhook: {url: 'http://h', secret: s, secret_file: /f}}], route: {receiver: a}}",
        "notify.receivers[0].webhook.secret_file",
        "",
        "is given beside `secret`",
    ),
    (
        "notify: {receivers: [{name: a, webhook: {url: 'http://h', timeout: 1s}}], route: {receiver: a}}",
        "notify.receivers[0].webhook.connect_timeout",
        "3s",
        "is more than timeout",
    ),
    ("notify: {retry_min: 1h}", "notify.retry_max", "5m", "is less than retry_min"),
    ("api: {listen: localhost}", "api.listen", "localhost", "is not an address and a port"),
    ("api: {listen: ''}", "api.listen", "", "is empty"),
    ("api: {timeout: []}", "api.timeout", "[…]", "is not a duration"),
    ("log: {level: inof}", "log.level", "inof", "is none of error, warn"),
    ("log: {format: xml}", "log.format", "xml", "is none of auto, text, json"),
];

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let error = muster_config::parse(
        "api: {listen: x, timeout: y}\ncorrelate: {patterns: [{name: a, by: []}, {window: 99d}]}",
    );
    let keys: Vec<String> = problems(error).into_iter().map(|problem| problem.key).collect();
    assert_eq!(
        keys,
        [
            "correlate.patterns[0].by",
            "correlate.patterns[1].name",
            "correlate.patterns[1].by",
            "correlate.patterns[1].window",
            "api.listen",
            "api.timeout"
        ]
    );
}

#[test]
fn what_is_no_yaml_says_where() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("bad.yaml");
    for text in ["a: [", "- a", "a: 1\na: 2"] {
        std::fs::write(&file, text).expect("a file");
        let error = muster_config::load_with(Some(&file), []).expect_err(text).to_string();
        assert!(error.contains("bad.yaml"), "{text}: {error}");
    }
    let gone = directory.path().join("gone.yaml");
    let error = muster_config::load_with(Some(&gone), []).expect_err("it is not there");
    assert!(error.to_string().contains("gone.yaml"), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let password = directory.path().join("password");
    std::fs::write(&password, "hunter3\n").expect("a file");
    let text = format!(
        "journal: {{kind: kafka, brokers: 'k:1', settings: {{ssl.key.password: hunter2}}, \
           settings_files: {{sasl.password: '{}'}}}}
collect: {{sources: [{{name: a, topic: t, settings: {{sasl.password: hunter4}}}}]}}
notify:
  receivers:
    - {{name: hook, webhook: {{url: 'https://hunter5:hunter6@h.example/hunter7', secret: hunter8}}}}
  route: {{receiver: hook}}",
        password.display()
    );
    let config = parse(&text);
    let JournalSettings::Kafka(kafka) = config.journal() else { panic!("it is kafka") };
    assert_eq!(kafka.extra["sasl.password"], "hunter3", "without the line's end");
    let shown = format!("{config:?} {config:#?} {:?}", config.summary());
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("***") && shown.contains("h.example"), "{shown}");

    // Nor in what is wrong: in the wrong place, of the wrong type, beside something wrong.
    for text in [
        "notify: {receivers: [{name: a, secret: hunter2}]}",
        "notify: {receivers: [{name: a, webhook: {url: 'hunter2', secret: whsec_hunter2%}}]}",
        "notify: {receivers: [{name: a, webhook: {url: 'x://a/hunter2', secret: [hunter2]}}]}",
        "journal: {setings: {sasl.password: hunter2}}",
        "journal: {settings: {sasl.password: [hunter2]}}",
        "password: hunter2",
    ] {
        let error = muster_config::parse(text).expect_err(text).to_string();
        assert!(!error.contains("hunter2"), "{text}: {error}");
    }
}

#[test]
fn what_cannot_be_meant_is_warned_of() {
    let pattern = |text: &str| format!("correlate: {{patterns: [{text}]}}");
    let route = |text: &str| {
        format!(
            "notify: {{receivers: [{{name: a, log: {{}}}}, {{name: b, log: {{}}}}], \
               route: {{receiver: a, routes: [{text}]}}}}"
        )
    };
    let cases = [
        (
            pattern("{name: p, by: [host], match: ['host=a', 'host=b']}"),
            "[0].match",
            "exclude each other",
        ),
        (pattern("{name: p, by: [x], match: ['x=a', 'x!=a']}"), "[0].match", "exclude each other"),
        (
            pattern("{name: p, by: [y], match: ['x=~\"a.*\"', 'x!~\"a.*\"']}"),
            "[0].match",
            "exclude each other",
        ),
        (pattern("{name: p, by: [y], match: ['x=a', 'x=']}"), "[0].match", "exclude each other"),
        (
            pattern("{name: p, by: [y], match: ['x=a', 'x=b']}"),
            "[0].match",
            "is a list with both a and b",
        ),
        (pattern("{name: p, by: [x], match: ['x=']}"), "[0].match", "`by` needs"),
        (pattern("{name: p, by: [host], match: ['status=ok']}"), "[0].match", "no problem has"),
        (
            pattern("{name: p, by: [host], match: ['status=~\"crit\"']}"),
            "[0].match",
            "no problem has",
        ),
        (
            pattern("{name: p, by: [a]}, {name: q, match: ['x=1'], by: [b, a], window: 5m}"),
            "[1]",
            "pattern `p` before it",
        ),
        (pattern("{name: p, by: [a], window: 8d}"), "[0].window", "a week apart"),
        (
            "collect: {sources: [{name: a, expire_after: 60d}]}".to_owned(),
            "expire_after",
            "never says ok",
        ),
        (route("{receiver: b, match: ['x=a', 'x!=a']}"), "routes[0].match", "exclude each other"),
        (route("{receiver: b}, {receiver: b, match: ['x=a']}"), "routes[1]", "is never asked"),
        (route("{receiver: a, match: ['x=a']}"), "receivers[1]", "no route names it"),
    ];
    for (text, key, rule) in cases {
        let warnings = parse(&text).warnings();
        let found = warnings.iter().any(|w| w.key.contains(key) && w.rule.contains(rule));
        assert!(found && warnings.len() == 1, "{text}\n{warnings:#?}");
    }
    let quiet = [
        pattern("{name: p, by: [host], match: ['status=warning', 'source=unlisted']}"),
        pattern("{name: p, by: [a], gap: 5m}, {name: q, by: [a]}"),
        pattern("{name: p, by: [a]}, {name: q, by: [a], gap: 5m}"),
        pattern("{name: p, by: [a], cross_source: false}, {name: q, by: [a]}"),
        pattern("{name: p, by: [a, b]}, {name: q, by: [a]}"),
        pattern("{name: p, by: [a], window: 5m}, {name: q, by: [a]}"),
        pattern("{name: p, by: [a], enabled: false}, {name: q, by: [a]}"),
        pattern("{name: p, by: [a], match: ['x=1']}, {name: q, by: [a]}"),
        route("{receiver: b, match: ['host=a', 'host=b', 'status=ok']}"),
        route("{receiver: b, continue: true}, {receiver: b, match: ['x=a']}"),
    ];
    for text in quiet {
        assert_eq!(parse(&text).warnings(), [], "{text}");
    }
}

#[test]
fn the_check_command_says_it_all_and_exits_64() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("m.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("utf-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = check("api: {listen: x}\nlog: {level: inof}");
    assert_eq!((code, out.as_str()), (Some(64), ""));
    assert!(err.contains("api.listen: `x` is not an address"), "{err}");
    assert!(err.contains("log.level: `inof` is none of") && err.contains("2 problems"), "{err}");

    let (code, out, err) = check("correlate: {patterns: [{name: p, by: [x], match: 'x='}]}");
    assert_eq!(code, Some(0), "a warning is no error: {err}");
    assert!(err.contains("warning: correlate.patterns[0].match"), "{err}");
    assert!(out.contains("is good") && out.contains("patterns p"), "{out}");

    let hook = |secret: &Path| {
        format!(
            "notify: {{receivers: [{{name: a, webhook: {{url: 'http://h', secret_file: '{}'}}}}], \
               route: {{receiver: a}}}}",
            secret.display()
        )
    };
    let secret = directory.path().join("secret");
    let (code, _, err) = check(&hook(&secret));
    assert_eq!(code, Some(64));
    assert!(err.contains("notify.receivers[0].webhook.secret_file"), "{err}");
    assert!(err.contains("cannot be read"), "{err}");
    for (text, rule) in [("  \n", "is an empty file"), ("whsec_hunter2%\n", "is not base64")] {
        std::fs::write(&secret, text).expect("a file");
        let (code, out, err) = check(&hook(&secret));
        assert!(code == Some(64) && err.contains(rule), "{err}");
        assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");
    }
    std::fs::write(&secret, "whsec_aGVsbG8=\n").expect("a file");
    let (code, out, err) = check(&hook(&secret));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("a (webhook to http://h)"), "{out}");

    // What a receiver needs of this machine is looked at with the secrets, not while the file is read.
    let certified = |key: &str| {
        format!(
            "notify: {{receivers: [{{name: a, webhook: {{url: 'http://h', {key}: /no/such.pem}}}}], \
               route: {{receiver: a}}}}"
        )
    };
    for key in ["ca_file", "client_cert_file"] {
        let text = certified(key);
        assert!(muster::config::parse(&text).is_ok(), "{key}");
        let (code, _, err) = check(&text);
        assert!(code == Some(64) && err.contains("notify.receivers[0].webhook"), "{err}");
        assert!(err.contains("/no/such.pem cannot be read"), "{err}");
    }

    let (code, _, err) = check("a: [");
    assert!(code == Some(64) && err.contains("m.yaml"), "{err}");
}

/// Every YAML file under `config/`.
fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let list = |folder: PathBuf| std::fs::read_dir(folder).expect("a folder");
    let entries = list(root.clone()).chain(list(root.join("examples")));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect()
}

/// The `#:` lines of one section of the shipped file, as a config.
fn uncommented(section: &str) -> String {
    let lines = muster_config::DEFAULTS.lines().map(str::trim_start);
    let lines = lines.filter_map(|line| line.strip_prefix("#: "));
    let of_section = lines.skip_while(|line| *line != format!("{section}:"));
    let mut text: Vec<&str> = Vec::new();
    for line in of_section {
        if !text.is_empty() && !line.starts_with(' ') {
            break;
        }
        text.push(line);
    }
    let sources = "journal: {kind: kafka, brokers: 'k:1'}\n";
    format!("{sources}{}", text.join("\n"))
}

/// The paths of all keys that a text has, as `keys` writes them.
fn written(text: &str) -> BTreeSet<String> {
    fn walk(path: &str, value: Value, all: &mut BTreeSet<String>) {
        match value.kind {
            ValueKind::Table(table) => {
                let table: std::collections::BTreeMap<_, _> = table.into_iter().collect();
                for (key, value) in table {
                    let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                    all.insert(path.clone());
                    // Names below these are librdkafka's, not ours.
                    if !path.ends_with(".settings") {
                        walk(&path, value, all);
                    }
                }
            }
            ValueKind::Array(items) => {
                for item in items {
                    walk(&format!("{path}[]"), item, all);
                }
            }
            _ => {}
        }
    }
    let built =
        config::Config::builder().add_source(File::from_str(text, FileFormat::Yaml)).build();
    let mut all = BTreeSet::new();
    walk("", built.expect("YAML").cache, &mut all);
    all
}

fn parse(text: &str) -> Config {
    muster_config::parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn problems(result: Result<Config, ConfigError>) -> Vec<Problem> {
    match result {
        Ok(config) => panic!("nothing is wrong with {config:?}"),
        Err(ConfigError::Rules(problems)) => problems,
        Err(other) => panic!("{other}"),
    }
}
