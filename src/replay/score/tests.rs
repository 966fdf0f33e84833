//! Scores against an oracle that goes by the definitions: every unit, every pair of units.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::model::{Identity, Timestamp};

/// An event: its number, true incident, dedup id, incident; each drawn from a few.
type Drawn = (u8, Option<u8>, Option<u8>, Option<u8>);

fn incident(number: u8) -> IncidentId {
    let identity = Identity::new("test", Some("host"), None, None);
    IncidentId::derive(Timestamp::from_millis(0), &identity, u32::from(number))
}

fn text(prefix: &str, number: u8) -> Box<str> {
    format!("{prefix}{number}").into()
}

/// The input holds an event unless its number is divisible by seven.
fn scored(lines: &[Drawn], unit: Unit) -> Score {
    let mut truth = Truth::default();
    for (event, fault, dedup, _) in lines {
        truth.add(Label {
            event: text("e", *event),
            fault: fault.map(|fault| text("f", fault)),
            dedup: dedup.map(|dedup| text("d", dedup)),
        });
    }
    let mut places = Places::new(&truth);
    for (event, _, _, place) in lines {
        if !event.is_multiple_of(7) {
            places.place(Some(&text("e", *event)), place.map(incident));
        }
    }
    places.score(unit)
}

/// A unit as the oracle has it: true incident and incident, the latter a text of its own where
/// there is none.
type Plain = (Option<u8>, String);

fn most<T: PartialEq + Clone>(values: &[T]) -> T {
    let times = |value: &T| values.iter().filter(|other| *other == value).count();
    let best = values.iter().map(times).max().expect("there is one");
    values.iter().find(|value| times(value) == best).expect("it was seen").clone()
}

fn plain_units(lines: &[Drawn], unit: Unit) -> Vec<Plain> {
    let placed = |event: u8| {
        let last = lines.iter().rev().find(|line| line.0 == event);
        last.filter(|_| !event.is_multiple_of(7)).and_then(|line| line.3)
    };
    let name = |line: &Drawn| match (unit, line.2) {
        (Unit::Dedup, Some(dedup)) => format!("d{dedup}"),
        _ => format!("e{}", line.0),
    };
    let mut names: Vec<String> = lines.iter().map(name).collect();
    names.sort();
    names.dedup();
    let unit_of = |wanted: String| {
        let lines: Vec<&Drawn> = lines.iter().filter(|line| name(line) == wanted).collect();
        let faults: Vec<Option<u8>> = lines.iter().map(|line| line.1).collect();
        let places: Vec<Option<u8>> = lines.iter().map(|line| placed(line.0)).collect();
        let fault = match unit {
            Unit::Event => *faults.last().expect("a unit has a line"),
            Unit::Dedup => most(&faults),
        };
        let place = most(&places).map_or_else(|| format!("own {wanted}"), |p| p.to_string());
        (fault, place)
    };
    names.into_iter().map(unit_of).collect()
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 1.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<BTreeSet<T>>().len()
}

fn check(lines: &[Drawn], unit: Unit) {
    let score = scored(lines, unit);
    let units = plain_units(lines, unit);
    let near = |left: f64, right: f64, what: &str| {
        assert!((left - right).abs() < 1e-9, "{what}: {left} instead of {right} for {lines:?}");
    };
    // B-cubed: of what is in my incident, how much is of my true one; and the other way round.
    let labelled = || units.iter().filter(|unit| unit.0.is_some());
    let share = |unit: &Plain, of: &dyn Fn(&Plain) -> bool| {
        let all: Vec<&Plain> = units.iter().filter(|other| of(other)).collect();
        let good = all.iter().filter(|other| other.0 == unit.0 && other.1 == unit.1).count();
        good as f64 / all.len() as f64
    };
    let precision: Vec<f64> = labelled().map(|u| share(u, &|other| other.1 == u.1)).collect();
    let recall: Vec<f64> = labelled().map(|u| share(u, &|other| other.0 == u.0)).collect();
    near(score.bcubed.precision, mean(&precision), "B-cubed precision");
    near(score.bcubed.recall, mean(&recall), "B-cubed recall");
    // Pairs: of those in one incident, of which not both are noise, how many belong together.
    let (mut together, mut truly, mut both) = (0, 0, 0);
    for (nth, one) in units.iter().enumerate() {
        for other in &units[nth + 1..] {
            if one.0.is_none() && other.0.is_none() {
                continue;
            }
            together += usize::from(one.1 == other.1);
            truly += usize::from(one.0 == other.0);
            both += usize::from(one.1 == other.1 && one.0 == other.0);
        }
    }
    let part = |whole: usize| if whole == 0 { 1.0 } else { both as f64 / whole as f64 };
    near(score.pairwise.precision, part(together), "pairwise precision");
    near(score.pairwise.recall, part(truly), "pairwise recall");
    // Pages: for each true incident, the different incidents of its units.
    let mut faults: Vec<u8> = units.iter().filter_map(|unit| unit.0).collect();
    faults.sort_unstable();
    faults.dedup();
    let pages = |fault: &u8| {
        distinct(units.iter().filter(|unit| unit.0 == Some(*fault)).map(|unit| &unit.1))
    };
    let pages: Vec<f64> = faults.iter().map(|fault| pages(fault) as f64).collect();
    let expected = if pages.is_empty() { 0.0 } else { mean(&pages) };
    near(score.pages_per_true_incident, expected, "pages");
    assert_eq!(score.units as usize, units.len());
    assert_eq!(score.true_incidents as usize, faults.len());
    assert_eq!(score.incidents as usize, distinct(units.iter().map(|unit| &unit.1)));
    assert_eq!(score.noise_units as usize, units.len() - labelled().count());
    let unknown = distinct(lines.iter().map(|line| line.0).filter(|event| event.is_multiple_of(7)));
    assert_eq!(score.unknown_events as usize, unknown);
}

proptest! {
    #[test]
    fn scores_are_what_their_definitions_say(
        lines in vec((0..40_u8, option::of(0..4_u8), option::of(0..12_u8), option::of(0..5_u8)), 1..50),
    ) {
        check(&lines, Unit::Event);
        check(&lines, Unit::Dedup);
    }
}

#[test]
fn known_cases() {
    let line = |event, fault, place| (event, fault, None, place);
    let score = |lines: &[Drawn]| scored(lines, Unit::Event);
    // One true incident of two is split; the values are those of scikit-learn's documentation.
    let split = score(&[
        line(1, Some(0), Some(0)),
        line(2, Some(0), Some(0)),
        line(3, Some(1), Some(1)),
        line(4, Some(1), Some(2)),
    ]);
    assert_eq!(split.pairwise, Measure { precision: 1.0, recall: 0.5 });
    assert_eq!((split.bcubed.precision, split.bcubed.recall), (1.0, 0.75));
    assert!((split.pages_per_true_incident - 1.5).abs() < 1e-12);
    // Noise in an incident costs precision; noise by itself does not.
    let noise = score(&[
        line(1, Some(0), Some(0)),
        line(2, Some(0), Some(0)),
        line(3, None, Some(0)),
        line(4, None, Some(1)),
    ]);
    assert!((noise.pairwise.precision - 1.0 / 3.0).abs() < 1e-12);
    assert!((noise.bcubed.precision - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((noise.pairwise.recall, noise.bcubed.recall), (1.0, 1.0));
    // Nothing matches at all.
    let none = Measure { precision: 0.0, recall: 0.0 };
    assert_eq!(none.f1(), 0.0);
}

#[test]
fn what_is_held_is_an_incident_but_no_page() {
    let mut truth = Truth::default();
    for (event, fault) in [("e1", "f1"), ("e2", "f1"), ("e3", "f2")] {
        truth.add(Label { event: event.into(), fault: Some(fault.into()), dedup: None });
    }
    let mut places = Places::new(&truth);
    for (event, number) in [("e1", 1), ("e2", 2), ("e3", 3)] {
        places.place(Some(event), Some(incident(number)));
    }
    let all = places.score(Unit::Event);
    let told = places.score_but_for(Unit::Event, &[incident(2)].into());
    assert!((all.pages_per_true_incident - 1.5).abs() < 1e-9);
    assert!((told.pages_per_true_incident - 1.0).abs() < 1e-9);
    assert_eq!((told.incidents, told.bcubed), (all.incidents, all.bcubed));
}

#[test]
fn units_are_dedup_ids_where_there_are_any() {
    let mut truth = Truth::default();
    assert!(truth.is_empty());
    let label = |event: &str, dedup: Option<&str>| Label {
        event: event.into(),
        fault: None,
        dedup: dedup.map(Into::into),
    };
    truth.add(label("a", None));
    assert_eq!(truth.usual_unit(), Unit::Event);
    truth.add(label("b", Some("d")));
    assert_eq!(truth.usual_unit(), Unit::Dedup);
    let mut places = Places::new(&truth);
    places.place(Some("c"), None);
    places.place(None, None);
    assert_eq!(places.score(Unit::Dedup).unlabelled_events, 2);
    assert_eq!(places.score(Unit::Dedup).unknown_events, 2);
}
