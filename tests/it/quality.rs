//! `muster simulate` and `muster quality` as programs: files that others read, and figures that the
//! slow way gives too.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Exit code, standard output and standard error.
fn muster(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_muster")).args(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("utf-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn simulate(directory: &Path, seed: &str, ending: &str) -> [String; 4] {
    let files = ["events", "truth", "topology", "sources"].map(|name| {
        let ending = if name == "sources" { ".yaml" } else { ending };
        directory.join(format!("{name}-{seed}{ending}")).to_str().expect("a path").to_owned()
    });
    let (code, _, told) = muster(&[
        "simulate",
        "--hard",
        "--seed",
        seed,
        "--events",
        "4000",
        "--out-events",
        &files[0],
        "--truth",
        &files[1],
        "--topology",
        &files[2],
        "--sources",
        &files[3],
    ]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("4000 events in") && told.contains("200 pairs"), "{told}");
    files
}

#[test]
fn a_simulation_is_what_replay_reads_and_quality_measures_the_same() {
    let directory = TempDir::new().expect("a directory");
    let [events, truth, topology, sources] = simulate(directory.path(), "9", ".jsonl");
    // What the simulation knows of its sources is a config, and quality's without being told.
    let known = std::fs::read_to_string(&sources).expect("written");
    assert!(known.contains("{name: nagios, expire_after: 1h}"), "{known}");
    let lines = |file: &str| std::fs::read_to_string(file).expect("written").lines().count();
    assert_eq!(lines(&events), 4_000);
    assert!(lines(&truth) > 300 && lines(&topology) > 60);
    let (code, out, err) =
        muster(&["replay", "-c", &sources, &events, "--score", &truth, "--json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let replayed: Value = serde_json::from_str(&out).expect("JSON");
    let score = &replayed["score"];
    assert_eq!((&score["by"], &score["unknown_events"]), (&"dedup".into(), &0.into()));
    let f1 = score["b_cubed"]["f1"].as_f64().expect("a number");
    let pages = score["pages_per_true_incident"].as_f64().expect("a number");
    assert!(f1 > 0.3 && f1 < 1.0 && pages > 1.0, "{score}");

    let set = format!("own={events},{truth},,{topology}");
    let seeds = ["--hard", "4000", "--seeds", "9"];
    let (code, out, err) =
        muster(&[&["quality", "-c", &sources, "--set", &set][..], &seeds].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let rows: Vec<Vec<&str>> = out
        .lines()
        .filter(|line| line.starts_with("| own") || line.starts_with("| hard"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    // Two each in the first table, with and without a topology, and one each in the second.
    assert_eq!(rows.len(), 6, "{out}");
    assert!(rows[1][1] == "own, with topology" && rows[3][1].ends_with(", with topology"), "{out}");
    // From files or made anew, all figures are the same, and those of replay.
    assert_eq!((&rows[0][2..], &rows[1][2..]), (&rows[2][2..], &rows[3][2..]));
    assert_eq!(rows[4][2..], rows[5][2..]);
    let (f1, pages) = (format!("{f1:.4}"), format!("{pages:.2}"));
    assert_eq!((rows[0][2], rows[0][8], rows[0][9]), ("4000", f1.as_str(), pages.as_str()));
    assert_eq!(rows[4][2], format!("{f1} / {pages}"));
    let methods = "| set | this config | with topology | no correlation | by host | by host within 60 min | 5-minute gap |";
    assert!(out.contains(methods), "{out}");
    // The plain methods are what they are called: each is a config that can be written down, but
    // for the gap, which needs a tag that all have.
    // Nor does it matter who reads the topology that was written: it is one of the config's.
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/topology.yaml");
    let text = std::fs::read_to_string(example).expect("the example");
    let near = directory.path().join("near.yaml");
    assert!(text.contains("config/examples/topology.csv"), "{text}");
    let near_text = text.replace("config/examples/topology.csv", &topology);
    std::fs::write(&near, format!("{near_text}\n{known}")).expect("a file");
    let config = directory.path().join("plain.yaml");
    let by_host = "[{name: host, by: [host], window: 30d, max_alerts: 100000}]";
    let within = "[{name: host, by: [host], window: 60m, max_alerts: 100000}]";
    for (column, patterns) in [(3, None), (4, Some("[]")), (5, Some(by_host)), (6, Some(within))] {
        if let Some(patterns) = patterns {
            let text = format!("{known}correlate: {{patterns: {patterns}}}\n");
            std::fs::write(&config, text).expect("a file");
        }
        let config = if patterns.is_some() { &config } else { &near };
        let config = config.to_str().expect("a path");
        let (code, out, err) =
            muster(&["replay", "-c", config, &events, "--score", &truth, "--json"]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let score = &serde_json::from_str::<Value>(&out).expect("JSON")["score"];
        let f1 = score["b_cubed"]["f1"].as_f64().expect("a number");
        let pages = score["pages_per_true_incident"].as_f64().expect("a number");
        assert_eq!(rows[4][column], format!("{f1:.4} / {pages:.2}"), "{patterns:?}");
    }
    assert_ne!(rows[4][7], rows[4][4], "a gap groups");
    assert_ne!(rows[4][3], rows[4][2], "a topology changes something");
    let (code, out, _) = muster(&["check", "-c", near.to_str().expect("a path")]);
    let edges = format!("and {} edges", lines(&topology));
    assert!(code == Some(0) && out.contains(&edges), "{edges}: {out}");
}

#[test]
fn packed_or_not_a_seed_gives_the_same_lines() {
    use std::io::Read;
    let directory = TempDir::new().expect("a directory");
    let plain = simulate(directory.path(), "3", ".jsonl");
    let packed = simulate(directory.path(), "3", ".jsonl.gz");
    for (plain, packed) in plain.iter().zip(&packed).take(3) {
        let mut text = String::new();
        let file = std::fs::File::open(packed).expect("written");
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("packed");
        assert!(text == std::fs::read_to_string(plain).expect("written"), "{plain}");
    }
}

#[test]
fn recorded_alerts_reach_the_aim_with_the_default_config() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gaia_micross");
    let path = |name: &str| folder.join(name).to_str().expect("a path").to_owned();
    let set = format!("gaia={},{},5m", path("events.jsonl.gz"), path("truth.jsonl.gz"));
    let (code, out, err) = muster(&["quality", "--alone", "--set", &set]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let row: Vec<&str> = out.lines().nth(2).expect("a row").split('|').map(str::trim).collect();
    assert_eq!(row[1..5], ["gaia", "6941", "4251", "93"]);
    let number = |at: usize| row[at].parse::<f64>().expect("a number");
    assert!(number(8) >= 0.98 && number(9) <= 1.3, "{row:?}");
}

#[test]
fn what_cannot_be_measured_or_simulated_is_told() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("list.jsonl");
    let truth = directory.path().join("truth.jsonl");
    std::fs::write(&file, "[]\n").expect("a file");
    std::fs::write(&truth, "{\"alert_id\":\"a\",\"truth_id\":\"f\"}\n").expect("a file");
    let list = format!("x={},{}", file.display(), truth.display());
    let late = format!("{list},soon");
    let nowhere = format!("{list},,/no/such/file.csv");
    for (arguments, code, told) in [
        (&["quality"][..], 64, "nothing to measure on; give --set, --simulated or --hard"),
        (
            &["quality", "--set", "x"],
            64,
            "--set: `x` is not NAME=EVENTS,TRUTH[,[EXPIRE_AFTER][,TOPOLOGY]]",
        ),
        (&["quality", "--set", &nowhere], 64, "correlate.topology.file"),
        (&["quality", "--set", &late], 64, "`soon` is not a duration"),
        (&["quality", "--set", &list], 65, "list.jsonl:1: is not a JSON object"),
        (&["simulate", "--pairs", "10"], 64, "200..=50000"),
        (&["simulate", "--late", "2"], 64, "`2` is not from 0 to 1"),
        (&["simulate", "--late-max", "11m"], 64, "`11m` is more than 10m"),
        (&["simulate", "--undetected", "0.3", "0.1"], 64, "0.3 is more than 0.1"),
        (&["simulate", "--truth", "/no/such/file"], 1, "/no/such/file: "),
    ] {
        let (found, out, err) = muster(arguments);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{arguments:?}: {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
}
