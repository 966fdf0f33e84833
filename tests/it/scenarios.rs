//! Runs every scenario file: what operators can read is what the stages do.

use std::path::Path;

use muster::testing::scenario::Scenario;

/// A scenario that is moved or renamed away must be missed.
const AT_LEAST: usize = 84;

#[test]
fn every_scenario_is_told_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("tests/scenarios is there")
        .map(|entry| entry.expect("an entry of tests/scenarios").path())
        .collect();
    files.sort();
    assert!(files.len() >= AT_LEAST, "only {} scenarios", files.len());
    let mut failed = Vec::new();
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).expect("a scenario is a text");
        if !text.starts_with("# ") {
            failed.push(format!("{name}: the first line says what it is about: `# …`"));
        }
        match Scenario::parse(&text) {
            Ok(scenario) => {
                if let Err(error) = scenario.check() {
                    failed.push(format!("{name}: {error}"));
                }
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{} failed:\n\n{}", failed.len(), failed.join("\n\n"));
}

#[test]
fn a_scenario_that_is_told_otherwise_fails() {
    let story = "12:00:00 nagios web-1/cpu critical\n----\n";
    let right = "12:00:00 opened web-1/cpu critical 1 firing";
    let check = |expected: &str| {
        Scenario::parse(&format!("{story}{expected}\n")).expect("a scenario").check()
    };
    check(right).expect("as it is");
    for wrong in [
        "",
        "12:00:01 opened web-1/cpu critical 1 firing",
        "12:00:00 opened web-1/cpu warning 1 firing",
        "12:00:00 opened web-1/cpu critical 2 firing",
        "12:00:00 opened web-1/cpu critical 1 firing severity=warning",
        "12:00:00 opened web-1/cpu critical 1 firing nothing=known",
        "12:00:00 opened web-1/cpu critical 1 firing of 2",
        "12:00:00 opened web-1/cpu critical 1 firing\n12:01:00 resolved web-1/cpu ok 0 firing",
    ] {
        assert!(check(wrong).is_err(), "`{wrong}` passed");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    for (text, says) in [
        ("pattern x", "by="),
        ("12:00 nagios web-1 ok", "HH:MM:SS"),
        ("12:00:00 nagios web-1", "source host/check status"),
        ("colour blue", "no such setting"),
        ("12:00:00 tick\nreopen_window 1h", "before the first event"),
        ("pattern x by=\"host", "not closed"),
    ] {
        let error = Scenario::parse(text).expect_err(text).to_string();
        assert!(error.contains(says), "{error}");
    }
}
