//! Rules that hold for the whole project: what is written down is read here and held against the
//! code, so that neither drifts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use muster::telemetry::Metrics;
use serde_json::{Value, json};

/// The longest a source file may be.
const LINES_MAX: usize = 800;

/// Who names serde besides `wire`, and why: each is an edge, where bytes of others come in or go
/// out.
const EDGES: [(&str, &str); 9] = [
    ("src/wire", "the formats themselves"),
    ("src/api", "answers of HTTP"),
    ("src/cli", "lines that `replay` writes"),
    ("src/collect/scan", "events as their senders write them"),
    ("src/config", "the config file"),
    ("src/decoders", "payloads as other systems write them"),
    ("src/kafka", "statistics of the client"),
    ("src/notify/receiver", "what receivers want to get"),
    ("src/testing", "events for load and scenarios"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under a folder, by its path from the root; none where there is no such folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root()).expect("it is under the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sources, by path with `/`.
fn sources() -> Vec<(String, String)> {
    let rust = files("src").into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let found: Vec<_> = rust
        .map(|path| (path.to_str().expect("paths are text").replace('\\', "/"), read(&path)))
        .collect();
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// Whether a file is a module's own file or in its folder: `src/api` holds `src/api.rs` and
/// `src/api/server.rs`, not `src/apiary.rs`.
fn is_in(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix(module);
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The code of a file, without comments; tests inside it, which stand last, left out if asked.
fn code(text: &str, with_tests: bool) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        if !with_tests && line.trim() == "#[cfg(test)]" {
            break;
        }
        // A `//` within a string cuts code off, never adds any: an address, as a rule.
        lines.push(line.split_once("//").map_or(line, |(code, _)| code));
    }
    lines.join("\n")
}

/// Whether a word stands in code as a whole.
fn names(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

fn fail_on(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn every_source_says_first_what_it_is_for() {
    let said = |text: &str| text.lines().next().is_some_and(|line| line.starts_with("//! "));
    let mistakes: Vec<String> = sources()
        .into_iter()
        .filter_map(|(path, text)| (!said(&text)).then(|| format!("{path} begins without `//!`")))
        .collect();
    fail_on(&mistakes);
}

#[test]
fn no_source_is_too_long() {
    let mistakes: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(path, text)| format!("{path} has {} lines", text.lines().count()))
        .collect();
    fail_on(&mistakes);
}

/// What each module may use, from the block in `lib.rs`.
fn direction(lib: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lines = lib.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let block = lines
        .skip_while(|line| *line != "direction")
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .filter(|line| !line.is_empty());
    let mut allowed = BTreeMap::new();
    for line in block {
        let (module, uses) = line.split_once(':').unwrap_or_else(|| panic!("no colon: `{line}`"));
        let uses = uses.split(',').map(str::trim).filter(|name| !name.is_empty());
        let uses: BTreeSet<String> = uses.map(str::to_owned).collect();
        let before = allowed.insert(module.trim().to_owned(), uses);
        assert!(before.is_none(), "{module} stands twice in the direction block");
    }
    allowed
}

/// The top-level modules that code names, by `crate::` or by going up far enough.
fn used(code: &str, depth: usize, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let up = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(group) => heads(group),
                None => vec![rest],
            };
            for name in names {
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
                let name = &name[..end.unwrap_or(name.len())];
                if modules.contains(name) {
                    found.insert(name.to_owned());
                }
            }
        }
    }
    found
}

/// What each part of `a::{b, c}, d}` begins with.
fn heads(group: &str) -> Vec<&str> {
    let mut heads = vec![group.trim_start()];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(group[at + 1..].trim_start()),
            _ => {}
        }
    }
    heads
}

#[test]
fn modules_use_only_what_the_direction_block_lets_them() {
    let allowed = direction(&read("src/lib.rs"));
    assert!(!allowed.is_empty(), "src/lib.rs has no block that begins with `direction`");
    let lib = code(&read("src/lib.rs"), false);
    let modules: BTreeSet<String> = lib
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    let mut mistakes = Vec::new();
    for name in allowed.iter().flat_map(|(module, uses)| uses.iter().chain([module])) {
        if !modules.contains(name) {
            mistakes.push(format!("the direction block names `{name}`, which is no module"));
        }
    }
    for module in &modules {
        let Some(allowed) = allowed.get(module) else {
            mistakes.push(format!("the direction block leaves out `{module}`"));
            continue;
        };
        let folder = format!("src/{module}");
        for (path, text) in sources().iter().filter(|(path, _)| is_in(path, &folder)) {
            if is_test(path) {
                continue;
            }
            let depth = path.matches('/').count();
            for name in used(&code(text, false), depth, &modules) {
                if name != *module && !allowed.contains(&name) {
                    mistakes.push(format!("{path} uses `{name}`, which `{module}` may not"));
                }
            }
        }
    }
    fail_on(&mistakes);
}

#[test]
fn the_direction_reader_sees_every_form_of_a_path() {
    let modules: BTreeSet<String> =
        ["api", "board", "clock", "model", "wire"].map(str::to_owned).into();
    let text = "use crate::{board::{Board, api}, model};\nlet x = crate::wire::change::encode();\n\
                use super::clock::Clock; use super::super::api::x; // crate::api\n";
    let found = |depth| used(&code(text, true), depth, &modules).into_iter().collect::<Vec<_>>();
    assert_eq!(found(1), ["api", "board", "clock", "model", "wire"]);
    assert_eq!(found(2), ["api", "board", "model", "wire"]);
    let lib =
        "//! Map.\n//!\n//! ```text\n//! direction\n//! model:\n//! wire: model, stage\n//! ```\n";
    let block = direction(lib);
    assert_eq!(block.len(), 2);
    assert!(block["model"].is_empty() && block["wire"].contains("stage"));
}

#[test]
fn only_kafka_names_rdkafka_only_clock_reads_time_only_edges_name_serde() {
    let mut mistakes = Vec::new();
    for (path, text) in sources() {
        let code = code(&text, true);
        if names(&code, "rdkafka") && !is_in(&path, "src/kafka") {
            mistakes.push(format!("{path} names rdkafka; only src/kafka may"));
        }
        for reads in ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"] {
            if names(&code, reads) && path != "src/clock.rs" {
                mistakes.push(format!("{path} reads time by {reads}; only src/clock.rs may"));
            }
        }
        let edge = EDGES.iter().any(|(module, _)| is_in(&path, module));
        if (names(&code, "serde") || names(&code, "serde_json")) && !edge && !is_test(&path) {
            mistakes.push(format!("{path} names serde; only edges may: see EDGES"));
        }
    }
    fail_on(&mistakes);
}

#[test]
fn every_fixture_is_named_by_a_test() {
    let tests: String = files("tests")
        .into_iter()
        .chain(files("src"))
        .chain(files("benches"))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(read)
        .collect();
    fail_on(&orphans(&files("tests/fixtures"), &tests));
}

/// A fixture counts as named by its file name, or by the path of its folder or one above it, which
/// is how a test reads all of a folder.
fn orphans(fixtures: &[PathBuf], tests: &str) -> Vec<String> {
    let named = |path: &PathBuf| {
        let text = path.to_str().expect("paths are text");
        let file = text.rsplit('/').next().unwrap_or(text);
        let folder = text.strip_suffix(file).unwrap_or_default().trim_end_matches('/');
        let above = Path::new(folder).ancestors().filter_map(Path::to_str);
        let mut above = above.take_while(|folder| *folder != "tests/fixtures");
        tests.contains(&format!("{file}\"")) || above.any(|folder| tests.contains(folder))
    };
    let orphans = fixtures.iter().filter(|path| !named(path));
    orphans.map(|path| format!("no test names {}", path.display())).collect()
}

#[test]
fn an_orphan_fixture_is_found() {
    let fixtures =
        ["tests/fixtures/a.json", "tests/fixtures/nagios/b.json", "tests/fixtures/c.json"]
            .map(PathBuf::from);
    let tests = r#"read("tests/fixtures/a.json"); all("tests/fixtures/nagios"); abc.json"#;
    assert_eq!(orphans(&fixtures, tests), ["no test names tests/fixtures/c.json"]);
}

/// The rows of the metrics table: name, type, labels, meaning, what to do.
fn metrics_table() -> Vec<[String; 5]> {
    let text = read("src/telemetry/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<String> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|_| panic!("not five cells: {row}"))
    })
    .collect()
}

#[test]
fn the_table_of_metrics_is_what_the_code_has() {
    let metrics = Metrics::new(prometheus::Registry::new(), &[]).expect("a new registry");
    let code: Vec<[String; 4]> = metrics
        .described()
        .iter()
        .map(|made| {
            let labels: Vec<String> =
                made.labels.iter().map(|label| format!("`{label}`")).collect();
            [format!("`{}`", made.name), made.kind.to_owned(), labels.join(", "), made.help.clone()]
        })
        .collect();
    let table: Vec<[String; 4]> = metrics_table()
        .into_iter()
        .map(|[name, kind, labels, meaning, todo]| {
            assert!(todo.len() > 5, "{name}: the table does not say what to do");
            [name, kind, labels, meaning]
        })
        .collect();
    for (nth, (code, table)) in code.iter().zip(&table).enumerate() {
        assert_eq!(code, table, "row {nth}: left the code, right the table");
    }
    assert_eq!(code.len(), table.len(), "the table must have every metric, in the code's order");
    let scraped = metrics.registry().gather();
    let described = |name: &str| metrics.described().iter().any(|made| made.name == name);
    assert!(scraped.iter().all(|family| described(family.name())), "made past the Maker");
}

#[test]
fn alarm_rules_name_only_metrics_that_there_are() {
    let names: BTreeSet<String> =
        metrics_table().into_iter().map(|[name, ..]| name.trim_matches('`').to_owned()).collect();
    let rules = read("deploy/prometheus-rules.yml");
    let used: BTreeSet<&str> = rules
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("muster_"))
        .map(|word| {
            let part =
                ["_bucket", "_count", "_sum"].into_iter().find_map(|end| word.strip_suffix(end));
            part.unwrap_or(word)
        })
        .collect();
    assert!(used.len() > 8, "{used:?}");
    let unknown: Vec<_> = used.into_iter().filter(|name| !names.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn schema(name: &str) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&read(format!("config/schema/{name}.json")))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    jsonschema::draft202012::meta::validate(&schema)
        .unwrap_or_else(|error| panic!("{name} is no schema: {error}"));
    jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn hold(schema: &jsonschema::Validator, value: &Value) -> Result<(), String> {
    let errors: Vec<String> = schema
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

mod full {
    //! Events and changes with everything in them, for the schemas.

    use muster::model::alert::{Hop, Lack, MoveKind, Moved, Refusal, Side, TurnedDown};
    use muster::model::change::Counts;
    use muster::model::command::{Audience, Comment, SnoozeEnds, Snoozed};
    use muster::model::event::Report;
    use muster::model::incident::Acknowledged;
    use muster::model::{
        AlertId, Ask, Change, ChangeKind, Event, Hold, Identity, IncidentId, Maintained,
        MaintenanceId, Member, Pair, Resolution, Span, Status, TagValue, Tags, Timestamp, Why,
    };

    pub(super) const NOW: Timestamp = Timestamp::from_millis(1_763_913_600_123);

    fn pair(order: [&str; 2]) -> Pair {
        Pair {
            near: Some(("host".into(), "web-1".into())),
            pattern: "cluster".into(),
            by: order.map(|tag| (tag.into(), "web".into())).into(),
            source: Some("nagios".into()),
            chronic: false,
        }
    }

    fn tags() -> Tags {
        let az = TagValue::List(["a".into(), "b".into()].into());
        [("cluster", TagValue::one("web")), ("az", az)].into_iter().collect()
    }

    /// An event with everything in it.
    pub(super) fn event() -> Event {
        Event {
            source: "nagios".into(),
            host: "web-1".into(),
            check: "disk /".into(),
            key: Some("k".into()),
            report: Report::Acknowledged,
            timestamp: NOW,
            description: "512 MB free (3%)".into(),
            tags: tags(),
            links: [("graph".into(), "https://graphs.example/1".into())].into(),
            expires_at: Some(NOW),
            id: Some("e-1".into()),
        }
    }

    /// Open, with every optional part there.
    pub(super) fn change() -> Change {
        let identity = Identity::new("nagios", Some("web-1"), Some("disk /"), None);
        let incident = IncidentId::derive(NOW, &identity, 0);
        let turned_down = Refusal::ALL.map(|reason| TurnedDown {
            incident,
            pattern: "host".into(),
            reason,
            apart: Span::MINUTE,
            missed: Some((Span::MINUTE, Side::Late)),
            besides: vec![Refusal::Full],
        });
        let moves = MoveKind::ALL.map(|kind| Moved {
            kind,
            from: IncidentId::derive(NOW, &identity, 3),
            by: "anna".into(),
            at: NOW,
            request: "r-1".into(),
        });
        let why = Why {
            pair: Some(pair(["env", "cluster"])),
            path: vec![
                Hop { tag: "host".into(), value: "web-2".into(), via: None },
                Hop { tag: "switch".into(), value: "sw".into(), via: Some("linked".into()) },
            ],
            apart: Span::MINUTE,
            turned_down: turned_down.into(),
            more: 2,
            lacks: vec![Lack { pattern: "host".into(), tag: "host".into() }],
            moves: moves.into(),
        };
        let maintained = Maintained {
            plan: MaintenanceId::of("test"),
            name: "patching".into(),
            ended_at: Some(NOW),
        };
        let alert = Member {
            id: AlertId::derive(NOW, &identity, 0),
            source: "nagios".into(),
            host: "web-1".into(),
            check: "disk /".into(),
            status: Status::Critical,
            firing: true,
            flapping: true,
            chronic: false,
            maintenance: Some(maintained),
            description: "512 MB free (3%)".into(),
            tags: tags(),
            links: [("graph".into(), "https://graphs.example/1".into())].into(),
            started_at: NOW,
            changed_at: NOW,
            why,
        };
        Change {
            id: incident,
            revision: 7,
            kinds: ChangeKind::ALL.into(),
            at: NOW,
            shard: "default".into(),
            status: Status::Critical,
            severity: Status::Critical,
            title: "web: disk / · critical".into(),
            started_at: NOW,
            changed_at: NOW,
            resolved: None,
            pair: Some(pair(["cluster", "env"])),
            further: vec![pair(["env", "cluster"])],
            further_cut: 1,
            counts: Counts {
                firing: 3,
                total: 5,
                events: 812,
                hosts: 3,
                checks: 2,
                maintenance: 1,
            },
            hosts: vec!["web-1".into()],
            checks: vec!["disk /".into()],
            sources: vec!["nagios".into()],
            tags: tags(),
            acknowledged: Some(Acknowledged { by: "ann".into(), at: NOW, until: Some(NOW) }),
            flapping: true,
            maintenance: true,
            hold: Some(Box::new(Hold {
                asks: vec![Ask { pattern: "cluster".into(), min_alerts: 4, until: NOW }],
                lapsed: vec!["site".into()],
            })),
            continues: Some(incident),
            continued_by: Some(incident),
            merged_into: Some(incident),
            merged_from: vec![incident],
            split_from: Some(incident),
            split_into: vec![incident],
            joined: vec![alert.id],
            left: vec![alert.id],
            alerts: vec![alert],
            assignee: Some("bob".into()),
            snoozed: Some(Snoozed {
                by: "ann".into(),
                until: NOW,
                ends_on: SnoozeEnds { new_alert: true, worse: true, reopened: true },
                status: Status::Critical,
            }),
            actor: Some("ann".into()),
            comment: Some(Comment { text: "on it".into(), audience: Audience::Public }),
        }
    }

    /// Over, with nothing in it that need not be.
    pub(super) fn bare(reason: Resolution) -> Change {
        Change {
            kinds: vec![ChangeKind::Resolved],
            status: Status::Ok,
            resolved: Some((NOW, reason)),
            pair: None,
            hosts: Vec::new(),
            checks: Vec::new(),
            tags: Tags::default(),
            acknowledged: None,
            flapping: false,
            hold: None,
            continues: None,
            continued_by: None,
            merged_into: None,
            merged_from: Vec::new(),
            split_from: None,
            split_into: Vec::new(),
            joined: Vec::new(),
            left: Vec::new(),
            alerts: Vec::new(),
            assignee: None,
            snoozed: None,
            actor: None,
            comment: None,
            ..change()
        }
    }
}

#[test]
fn changes_are_as_their_schema_says() {
    use muster::model::Resolution;
    let schema = schema("change");
    let full = full::change();
    let over = Resolution::ALL.map(full::bare);
    for change in [full.clone()].into_iter().chain(over) {
        let bytes = muster::wire::change::encode(&change);
        let value: Value = serde_json::from_slice(&bytes).expect("changes are JSON");
        hold(&schema, &value).unwrap_or_else(|why| panic!("{why} in {value}"));
        assert_eq!(muster::wire::change::decode(&bytes).as_ref(), Ok(&change));
        // The schema knows every field: one that is written but not described is a gap in it.
        let text: Value = serde_json::from_str(&read("config/schema/change.json")).expect("JSON");
        for name in value.as_object().expect("an object").keys() {
            assert!(text["properties"].get(name).is_some(), "the schema leaves out `{name}`");
            // Left out where there is nothing to say, so that they need not be there.
            let optional = [
                "snoozed",
                "comment",
                "further_patterns",
                "further_patterns_cut",
                "merged_into",
                "merged_from",
                "split_from",
                "split_into",
                "left",
                "hold",
            ];
            let optional = optional.contains(&name.as_str());
            let required = text["required"].as_array().expect("a list").contains(&json!(name));
            assert!(optional != required, "`{name}`: whether it is required");
        }
    }
    let good = muster::wire::change::to_json(&full);
    for (field, bad) in [
        ("id", json!("alr_0000000000000000000000")),
        ("revision", json!(0)),
        ("change", json!(["exploded"])),
        ("state", json!("closed")),
        ("status", json!("bad")),
        ("ended_at", json!(7)),
        ("counts", json!({"firing": -1})),
        ("alerts", json!([{"id": "alr_0000000000000000000000"}])),
        ("tags", json!({"a": 7})),
    ] {
        let mut change = good.clone();
        change[field] = bad;
        assert!(hold(&schema, &change).is_err(), "`{field}` may be anything");
    }
}

#[test]
fn events_are_as_their_schema_says() {
    let schema = schema("event");
    let canonical = json!({
        "source": "nagios", "host": "web-1", "check": "disk /", "status": "critical",
        "timestamp": 1_763_913_600_123_i64, "description": "512 MB free (3%)",
        "tags": {"cluster": "web", "env": "prod", "az": ["a", "b"]},
        "links": {"graph": "https://graphs.example/1"}, "key": null, "expires_at": null, "id": null
    });
    let written: Value =
        serde_json::from_slice(&muster::wire::event::encode(&full::event(), full::NOW))
            .expect("events are JSON");
    assert_eq!(written["description"], canonical["description"]);
    for event in [
        canonical,
        written,
        json!({"source": "x", "status": "ok", "host": "a"}),
        json!({"source": "x", "status": "acknowledged", "application": "shop", "region": "eu"}),
        json!({"source": "x", "status": "info", "primary_property": "pod", "pod": "p-1"}),
        json!({"source": "x", "status": "ok", "device": "d", "timestamp": "2025-11-23T16:00:00Z"}),
    ] {
        hold(&schema, &event).unwrap_or_else(|why| panic!("{why} in {event}"));
    }
    for event in [
        json!({"status": "ok", "host": "a"}),
        json!({"source": "x", "host": "a"}),
        json!({"source": "x", "status": "ok"}),
        json!({"source": "x", "status": "ok", "host": ""}),
        json!({"source": "x", "status": "broken", "host": "a"}),
        json!({"source": "x", "status": "ok", "host": "a", "timestamp": []}),
        json!({"source": "x", "status": "ok", "host": "a", "tags": {"a": {"b": "c"}}}),
        json!({"source": "x", "status": "ok", "host": "a", "extra": {"b": "c"}}),
        json!([]),
    ] {
        assert!(hold(&schema, &event).is_err(), "{event} was taken");
    }
}
