//! Correlate against a slow, plain model of the rules, record by record, on random logs.
//!
//! `oracle/model.rs` is the model, `oracle/draw.rs` draws the logs, `oracle/watch.rs` holds correlate's
//! state and changes against the model and against what must always hold. Each property dwells on a
//! theme and says how often what it is about must happen, so that it cannot agree on nothing.
//! 10,500 logs in all; `PROPTEST_CASES` is how many each property tries instead. A failure prints the
//! least log that shows it and keeps its seed in `oracle/regressions.txt`, which is tried first.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use draw::Theme;
use watch::Watched;

mod draw;
mod model;
mod watch;

/// Where seeds of failures are kept.
const REGRESSIONS: &str = "tests/it/oracle/regressions.txt";
/// So many logs must have been read before shares of them say anything.
const ENOUGH: usize = 700;

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let persistence = FileFailurePersistence::Direct(REGRESSIONS);
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(persistence)),
        max_shrink_iters: 20_000,
        ..default
    }
}

/// In how many logs what happened.
#[derive(Default)]
struct Met {
    logs: usize,
    of: BTreeMap<&'static str, usize>,
}

fn agrees(log: &draw::Log, met: &RefCell<Met>) -> Result<(), TestCaseError> {
    let mut watched = Watched::new();
    for (nth, drawn) in log.records.iter().enumerate() {
        let failed = |why| TestCaseError::fail(format!("after record {nth}: {why}"));
        watched.apply(drawn).map_err(failed)?;
        if (nth + 1) % log.restart_every == 0 {
            watched.restart().map_err(failed)?;
        }
    }
    let mut met = met.borrow_mut();
    met.logs += 1;
    for word in watched.met() {
        *met.of.entry(word).or_default() += 1;
    }
    Ok(())
}

/// By how much what is named may happen less often than it usually does: so much that chance never
/// does it, and so little that a theme which misses its subject shows.
const LESS_OFTEN: usize = 8;

/// Reads so many logs of a theme; what is named happens in about so many of a hundred, or in more.
fn check(theme: Theme, cases: u32, wanted: &[(&str, usize)]) {
    let met = RefCell::new(Met::default());
    let mut runner = TestRunner::new(config(cases));
    if let Err(error) = runner.run(&draw::log(theme), |log| agrees(&log, &met)) {
        panic!("{error}\n{runner}");
    }
    let Met { logs, of } = met.into_inner();
    for (word, percent) in wanted {
        let share = of.get(word).copied().unwrap_or(0) * 100;
        assert!(
            logs < ENOUGH || share * LESS_OFTEN >= percent * logs,
            "{word}: in {} of {logs} logs, far fewer than {percent} %; there were {of:?}",
            share / 100
        );
    }
}

#[test]
fn correlate_agrees_on_anything() {
    let wanted = [
        ("lapsed", 8),
        ("maintenance_began", 6),
        ("by_hand", 8),
        ("snoozed", 6),
        ("a chronic alert", 3),
        ("joined at its node", 1),
    ];
    check(Theme::Anything, 2_500, &wanted);
}

#[test]
fn correlate_agrees_where_incidents_are_held() {
    check(Theme::Holding, 1_000, &[("lapsed", 40), ("released", 7), ("continued", 6)]);
}

#[test]
fn correlate_agrees_where_alerts_flap() {
    check(Theme::Flapping, 1_000, &[("flapping", 10), ("calmed", 8)]);
}

#[test]
fn correlate_agrees_where_alerts_join_late() {
    check(Theme::Joining, 1_000, &[("grew", 12), ("reopened", 3), ("continued", 3)]);
}

#[test]
fn correlate_agrees_where_work_is_planned() {
    let wanted = [
        ("maintenance_began", 20),
        ("maintenance_ended", 15),
        ("maintenance_left", 8),
        ("part of a window that comes again", 25),
        ("late for its window", 2),
        ("a plan was changed", 4),
        ("maintenance_end", 4),
    ];
    check(Theme::Maintenance, 1_700, &wanted);
}

#[test]
fn correlate_agrees_where_people_act() {
    let wanted = [
        ("acknowledge", 17),
        ("acknowledged for long enough", 5),
        ("unacknowledge", 1),
        ("assigned", 7),
        ("commented", 10),
        ("snoozed", 20),
        ("woken by its time", 6),
        ("woken by a new alert", 1),
        ("woken by a worse status", 1),
        ("unsnooze", 1),
        ("resolve", 30),
        ("heard of though over by hand", 3),
        ("not over though somebody said so", 5),
        ("anew after it was over by hand", 5),
        ("undo", 6),
        ("not_undoable", 1),
        ("a request id once more", 25),
    ];
    check(Theme::People, 1_500, &wanted);
}

#[test]
fn correlate_agrees_where_alerts_are_chronic() {
    check(Theme::Chronic, 800, &[("a chronic alert", 15), ("a chronic alert joined", 2)]);
}

#[test]
fn correlate_agrees_where_near_joins() {
    let wanted =
        [("joined at its node", 10), ("joined one hop away", 5), ("joined some hops away", 2)];
    check(Theme::Near, 1_000, &wanted);
}
