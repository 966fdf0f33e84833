//! `muster replay` as a laboratory: scores, comparison and sweeps on recorded alerts, each held
//! against what plain runs of the program write.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;

const PATTERNS: &str = include_str!("../../config/examples/quality.yaml");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gaia_micross").join(name)
}

/// Exit code, standard output and standard error of `muster replay` on the recorded events.
fn replay(config: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["replay", "--config"])
        .arg(config)
        .arg(fixture("events.jsonl.gz"))
        .args(arguments)
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json(config: &Path, arguments: &[&str]) -> Value {
    let (code, out, err) = replay(config, &[arguments, &["--json"]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    serde_json::from_str(&out).expect("one JSON object")
}

/// The example config with a part of it replaced.
fn config(directory: &TempDir, name: &str, from: &str, to: &str) -> PathBuf {
    assert!(PATTERNS.contains(from), "{from}");
    let file = directory.path().join(name);
    std::fs::write(&file, PATTERNS.replace(from, to)).expect("a file");
    file
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What `--assignments` writes.
fn assignments(directory: &TempDir, config: &Path) -> Vec<Value> {
    let file = directory.path().join("assignments.jsonl");
    let (code, _, err) = replay(config, &["--assignments", file.to_str().expect("a path")]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    lines(&std::fs::read_to_string(file).expect("it was written"))
}

fn truth() -> Vec<Value> {
    let mut text = String::new();
    let file = std::fs::File::open(fixture("truth.jsonl.gz")).expect("the fixture");
    GzDecoder::new(file).read_to_string(&mut text).expect("text");
    lines(&text)
}

/// The most frequent value; of equals the one met first.
fn most<'a>(values: &[&'a str]) -> &'a str {
    let times = |value: &&str| values.iter().filter(|other| *other == value).count();
    let best = values.iter().map(times).max().expect("a unit has a line");
    values.iter().find(|value| times(value) == best).expect("it was seen")
}

/// Fault and incident of each unit, as the assignments have it.
fn units(truth: &[Value], assignments: &[Value], key: &str) -> Vec<(u32, u32)> {
    let text = |value: &Value, key: &str| value[key].as_str().expect("a text").to_owned();
    let places: BTreeMap<String, String> = assignments
        .iter()
        .map(|line| (text(line, "event_id"), text(line, "incident_id")))
        .collect();
    let mut units: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in truth {
        let unit = units.entry(text(line, key)).or_default();
        unit.push((text(line, "truth_id"), places[&text(line, "alert_id")].clone()));
    }
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut number = |text: &str| {
        let next = u32::try_from(numbers.len()).expect("few");
        *numbers.entry(text.to_owned()).or_insert(next)
    };
    units
        .values()
        .map(|lines| {
            let faults: Vec<&str> = lines.iter().map(|line| line.0.as_str()).collect();
            let places: Vec<&str> = lines.iter().map(|line| line.1.as_str()).collect();
            (number(most(&faults)), number(most(&places)))
        })
        .collect()
}

/// B-cubed precision and recall, then pairwise, then pages: each by going over all pairs of units.
fn slowly(units: &[(u32, u32)]) -> [f64; 5] {
    let (mut precision, mut recall) = (0.0, 0.0);
    let (mut good, mut together, mut truly) = (0_u64, 0_u64, 0_u64);
    for one in units {
        let (mut both, mut incident, mut fault) = (0_u64, 0_u64, 0_u64);
        for other in units {
            both += u64::from(one == other);
            incident += u64::from(one.1 == other.1);
            fault += u64::from(one.0 == other.0);
        }
        precision += both as f64 / incident as f64;
        recall += both as f64 / fault as f64;
        // Each pair is met from both of its ends; a unit is no pair with itself.
        (good, together, truly) = (good + both - 1, together + incident - 1, truly + fault - 1);
    }
    let all = units.len() as f64;
    let faults: BTreeSet<u32> = units.iter().map(|unit| unit.0).collect();
    let parts: BTreeSet<&(u32, u32)> = units.iter().collect();
    [
        precision / all,
        recall / all,
        good as f64 / together as f64,
        good as f64 / truly as f64,
        parts.len() as f64 / faults.len() as f64,
    ]
}

#[test]
fn the_score_is_what_going_over_all_pairs_gives() {
    let directory = TempDir::new().expect("a directory");
    // A gap that splits some faults and joins others, so that no number is 1.
    let config = config(&directory, "m.yaml", "window: 1h, gap: 3m", "window: 1h, gap: 75s");
    let path = fixture("truth.jsonl.gz");
    let path = path.to_str().expect("a path");
    let (truth, assignments) = (truth(), assignments(&directory, &config));
    for (by, key) in [("dedup", "dedup_id"), ("event", "alert_id")] {
        let found = json(&config, &["--score", path, "--by", by]);
        let score = &found["score"];
        let units = units(&truth, &assignments, key);
        let expected = slowly(&units);
        let parts = ["/b_cubed/precision", "/b_cubed/recall", "/pairwise/precision"];
        let parts = [&parts[..], &["/pairwise/recall", "/pages_per_true_incident"]].concat();
        for (part, expected) in parts.into_iter().zip(expected) {
            let number = score.pointer(part).and_then(Value::as_f64).expect("a number");
            assert!((number - expected).abs() < 1e-9, "by {by}, {part}: {number}, {expected}");
            assert!((number - 1.0).abs() > 1e-3, "by {by}, {part} says nothing: {number}");
        }
        assert_eq!(score["units"], units.len());
        let distinct =
            |keep: fn(&(u32, u32)) -> u32| units.iter().map(keep).collect::<BTreeSet<u32>>().len();
        assert_eq!(score["incidents"], distinct(|unit| unit.1));
        assert_eq!(score["true_incidents"], distinct(|unit| unit.0));
        let [_, recall, ..] = expected;
        let (_, text, _) = replay(&config, &["--score", path, "--by", by]);
        let line = text.lines().find(|line| line.starts_with("B-cubed recall")).expect("a line");
        assert!(line.ends_with(&format!(" {recall:.4}")), "{line}");
    }
    // Where nobody asks, dedup ids count, since this truth has them.
    let found = json(&config, &["--score", path]);
    assert_eq!((&found["score"]["by"], &found["score"]["units"]), (&"dedup".into(), &4_251.into()));
}

#[test]
fn a_truth_that_is_none_or_of_other_events_is_told() {
    let directory = TempDir::new().expect("a directory");
    let config = config(&directory, "m.yaml", "gap: 3m", "gap: 3m");
    let file = directory.path().join("truth.jsonl");
    let path = file.to_str().expect("a path");
    let known = r#"{"alert_id":"micross-204","truth_id":"a"}"#;
    std::fs::write(&file, format!("{known}\n{{\"alert_id\":\"x\",\"truth\":\"a\"}}\n"))
        .expect("a file");
    let (code, out, err) = replay(&config, &["--score", path]);
    assert_eq!((code, out.as_str()), (Some(65), ""));
    assert!(err.contains("truth.jsonl:2: `truth_id` is missing"), "{err}");

    let unknown = r#"{"alert_id":"nobody-1","truth_id":"a"}"#;
    std::fs::write(&file, format!("{known}\n{unknown}\n")).expect("a file");
    let score = json(&config, &["--score", path])["score"].clone();
    assert_eq!(score["by"], "event");
    assert_eq!((&score["unknown_events"], &score["incidents"]), (&1.into(), &2.into()));
    assert_eq!(score["unlabelled_events"], 6_940);
    let (_, text, _) = replay(&config, &["--score", path]);
    assert!(text.contains("\n1 events of the truth are not in the input"), "{text}");

    let (code, _, err) = replay(&config, &["--score", "/no/such/truth"]);
    assert!(code == Some(1) && err.contains("/no/such/truth: "), "{err}");
    for (arguments, told) in [
        (&["--by", "event"][..], "--score"),
        (&["--sweep", "gpa=1m"], "`gpa` is no key that can be swept; there are window, gap"),
        (&["--sweep", "cluster.gap=1m,x"], "--sweep cluster.gap: `x` is not a duration"),
        (&["--sweep", "gap=1m", "--against", "x"], "cannot be used with"),
        (&["--against", "/no/such/config"], "/no/such/config: "),
    ] {
        let (code, out, err) = replay(&config, arguments);
        assert_eq!((code, out.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
}

#[test]
fn a_sweep_is_the_runs_one_by_one() {
    let directory = TempDir::new().expect("a directory");
    let base = config(&directory, "m.yaml", "gap: 3m", "gap: 3m");
    let path = fixture("truth.jsonl.gz");
    let score = ["--score", path.to_str().expect("a path")];
    let sweep = ["--sweep", "cluster.gap=1m,5m", "--sweep", "expire_after=2m,1h"];
    let found = json(&base, &[&score[..], &sweep].concat());
    assert_eq!(found["keys"], serde_json::json!(["cluster.gap", "expire_after"]));
    let runs = found["runs"].as_array().expect("a list");
    let values = [("1m", "2m"), ("1m", "1h"), ("5m", "2m"), ("5m", "1h")];
    assert_eq!(runs.len(), values.len());
    let mut seen = BTreeSet::new();
    for (run, (gap, expire_after)) in runs.iter().zip(values) {
        let text = PATTERNS
            .replace("by: [cluster], window: 1h, gap: 3m", &format!("by: [cluster], gap: {gap}"))
            .replace("expire_after: 5m", &format!("expire_after: {expire_after}"));
        let file = directory.path().join("one.yaml");
        std::fs::write(&file, text).expect("a file");
        let alone = json(&file, &score);
        assert_eq!(run["values"]["cluster.gap"], gap);
        assert_eq!(run["values"]["expire_after"], expire_after);
        assert_eq!((&run["summary"], &run["score"]), (&alone["summary"], &alone["score"]));
        seen.insert(alone["summary"]["incidents"].to_string());
    }
    assert_eq!(seen.len(), 4, "the values make a difference: {seen:?}");
    let (_, table, _) = replay(&base, &[&score[..], &sweep].concat());
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["cluster.gap", "expire_after", "incidents", "compression"]);
    for (row, run) in rows[1..].iter().zip(runs) {
        let f1 = run["score"]["b_cubed"]["f1"].as_f64().expect("a number");
        let incidents = run["summary"]["incidents"].to_string();
        assert_eq!((row[2], row[5]), (incidents.as_str(), format!("{f1:.4}").as_str()));
    }
}

/// The alerts of each incident.
fn incidents(assignments: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut incidents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in assignments {
        let text = |key: &str| line[key].as_str().expect("a text").to_owned();
        incidents.entry(text("incident_id")).or_default().insert(text("alert_id"));
    }
    incidents
}

#[test]
fn a_comparison_is_what_the_assignments_of_both_say() {
    let directory = TempDir::new().expect("a directory");
    let base = config(&directory, "m.yaml", "gap: 3m", "gap: 3m");
    let other = config(
        &directory,
        "other.yaml",
        "by: [cluster], window: 1h, gap: 3m",
        "by: [host], window: 1d, gap: 1d",
    );
    let against = ["--against", other.to_str().expect("a path")];
    let found = json(&base, &against);
    let (now, then) =
        (incidents(&assignments(&directory, &base)), incidents(&assignments(&directory, &other)));
    let touching = |alerts: &BTreeSet<String>, side: &BTreeMap<String, BTreeSet<String>>| {
        side.values().filter(|held| !held.is_disjoint(alerts)).count()
    };
    let several = |from: &BTreeMap<String, BTreeSet<String>>, to| {
        from.values().filter(|alerts| touching(alerts, to) > 1).count()
    };
    let comparison = &found["comparison"];
    let same = now.values().filter(|alerts| then.values().any(|held| held == *alerts)).count();
    assert_eq!(comparison["same"], same);
    assert_eq!(comparison["split"], several(&now, &then));
    assert_eq!(comparison["merged"], several(&then, &now));
    assert_eq!((&found["now"]["summary"]["incidents"]), now.len());
    assert_eq!(comparison["pages"], then.len() as i64 - now.len() as i64);
    assert!(several(&now, &then) > 10 && several(&then, &now) > 10, "both ways: {comparison}");
    let affected = comparison["affected"].as_array().expect("a list");
    assert_eq!(affected.len(), 10);
    for one in affected {
        let (own, side) =
            if one["fate"] == "split" { (&now, &one["other"]) } else { (&then, &one["now"]) };
        let alerts = &own[one["incident_id"].as_str().expect("an id")];
        assert_eq!(one["alerts"], alerts.len());
        let sizes = side["incidents"].as_array().expect("sizes");
        assert_eq!(
            sizes.len(),
            touching(alerts, if one["fate"] == "split" { &then } else { &now })
        );
        assert!(!one["title"].as_str().expect("a title").is_empty());
        let reasons = |side: &Value| side["reasons"].to_string();
        assert!(reasons(&one["now"]).contains("cluster (cluster=micross)"), "{one}");
        assert!(reasons(&one["other"]).contains("cluster (host="), "{one}");
    }
    let (_, text, _) = replay(&base, &against);
    assert!(text.contains("pages added, one an incident") && text.contains("joined by cluster"));

    // Against itself, nothing changes; and both are scored where there is a truth.
    let path = fixture("truth.jsonl.gz");
    let itself = ["--against", base.to_str().expect("a path"), "--score"];
    let found = json(&base, &[&itself[..], &[path.to_str().expect("a path")]].concat());
    assert_eq!(found["now"], found["other"]);
    assert!(found["now"]["score"]["b_cubed"]["f1"].as_f64().is_some_and(|f1| f1 > 0.9));
    assert_eq!((&found["comparison"]["same"]), now.len());
    assert_eq!(found["comparison"]["affected"], serde_json::json!([]));
}
