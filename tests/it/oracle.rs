//! Correlate against a slow, plain model of the rules, record by record, on random logs.
//!
//! `oracle/model.rs` is the model, `oracle/draw.rs` draws the logs, `oracle/watch.rs` holds correlate's
//! state and changes against the model and against what must always hold. 13,000 logs in all;
//! `PROPTEST_CASES` is how many each of the four properties tries instead. A failure prints the
//! least log that shows it and keeps its seed in `oracle/regressions.txt`, which is tried first.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use draw::Theme;
use watch::Watched;

mod draw;
mod model;
mod watch;

/// Where seeds of failures are kept.
const REGRESSIONS: &str = "tests/it/oracle/regressions.txt";

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

fn agrees(log: &draw::Log) -> Result<(), TestCaseError> {
    let mut watched = Watched::new();
    for (nth, record) in log.records.iter().enumerate() {
        let failed = |why| TestCaseError::fail(format!("after record {nth}: {why}"));
        watched.apply(record).map_err(failed)?;
        if (nth + 1) % log.restart_every == 0 {
            watched.restart().map_err(failed)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(4_000))]

    #[test]
    fn correlate_agrees_on_anything(log in draw::log(Theme::Anything)) {
        agrees(&log)?;
    }
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn correlate_agrees_where_incidents_are_held(log in draw::log(Theme::Holding)) {
        agrees(&log)?;
    }

    #[test]
    fn correlate_agrees_where_alerts_flap(log in draw::log(Theme::Flapping)) {
        agrees(&log)?;
    }

    #[test]
    fn correlate_agrees_where_alerts_join_late(log in draw::log(Theme::Joining)) {
        agrees(&log)?;
    }
}
