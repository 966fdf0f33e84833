//! What would change if other settings were put to use: the incidents of two runs over one input,
//! held against each other.
//!
//! What is compared are the beginnings of alerts: each event with which an alert began in either
//! run, and the incident it is in by each. Where both runs have the same alerts these are the
//! alerts; where one has two for the other's one, both count. An incident is the same where it
//! holds the same. An alert that began and ended within one record is not seen.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AlertId, Change, IncidentId, Pair};

/// How many of the most affected incidents are told.
pub const AFFECTED_MAX: usize = 10;

/// Where an event is: its alert, and that one's incident.
type Place = Option<(AlertId, IncidentId)>;

/// Which alerts one run put into which incident, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    titles: BTreeMap<IncidentId, Box<str>>,
    /// Incidents that nobody was told of.
    held: BTreeSet<IncidentId>,
    reasons: BTreeMap<AlertId, Reason>,
    /// The events of all records.
    places: Vec<Place>,
    /// For each record, where its events end.
    ends: Vec<usize>,
}

/// Why an alert is in its incident.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It was the first.
    Opened,
    /// It joined by a pattern; the pattern and the tag values it shared, as one text.
    Joined(Box<str>),
}

impl Reason {
    fn of(pair: Option<&Pair>) -> Self {
        let Some(pair) = pair else { return Self::Opened };
        let near = pair.near.iter().map(|(tag, value)| format!("near {tag}={value}"));
        let values: Vec<String> =
            near.chain(pair.by.iter().map(|(tag, value)| format!("{tag}={value}"))).collect();
        Self::Joined(format!("{} ({})", pair.pattern, values.join(", ")).into())
    }
}

impl Outcome {
    /// Takes in a change of this run; changes come in their order.
    pub fn note(&mut self, change: &Change) {
        let title = self.titles.entry(change.id).or_default();
        if change.is_open() {
            *title = change.title.as_str().into();
        }
        if change.is_held() {
            self.held.insert(change.id);
        } else {
            self.held.remove(&change.id);
        }
        for alert in &change.joined {
            let member = change.alerts.iter().find(|member| member.id == *alert);
            let reason = Reason::of(member.and_then(|member| member.why.pair.as_ref()));
            self.reasons.insert(*alert, reason);
        }
    }

    /// Takes in where the events of the next record are, after its changes.
    pub fn record(&mut self, places: impl IntoIterator<Item = Option<(AlertId, IncidentId)>>) {
        self.places.extend(places);
        self.ends.push(self.places.len());
    }

    /// The events of each record, and for each whether an alert began with it.
    fn records(&self) -> impl Iterator<Item = Vec<(Place, bool)>> {
        let mut known = BTreeSet::new();
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(move |(start, end)| {
            let begun = |place: &Place| {
                (*place, place.as_ref().is_some_and(|(alert, _)| known.insert(*alert)))
            };
            self.places[start..*end].iter().map(begun).collect()
        })
    }
}

/// The events with which an alert began in either run, and where each run has them.
fn beginnings(ours: &Outcome, theirs: &Outcome) -> Vec<(Place, Place)> {
    let mut beginnings = Vec::new();
    for (here, there) in ours.records().zip(theirs.records()) {
        for nth in 0..here.len().max(there.len()) {
            // Other limits may leave one run without an event that the other could read.
            let (here, began) = here.get(nth).copied().unwrap_or_default();
            let (there, began_there) = there.get(nth).copied().unwrap_or_default();
            if began || began_there {
                beginnings.push((here, there));
            }
        }
    }
    beginnings
}

/// One run as the comparison sees it: where each beginning is, and what each incident holds.
struct View<'a> {
    run: &'a Outcome,
    places: Vec<Place>,
    incidents: BTreeMap<IncidentId, Vec<usize>>,
}

impl<'a> View<'a> {
    fn new(run: &'a Outcome, places: Vec<Place>) -> Self {
        let mut incidents: BTreeMap<IncidentId, Vec<usize>> = BTreeMap::new();
        for (nth, place) in places.iter().enumerate() {
            if let Some((_, incident)) = place {
                incidents.entry(*incident).or_default().push(nth);
            }
        }
        Self { run, places, incidents }
    }

    /// By incident of this run, how many of some alerts are in it.
    fn pieces(&self, alerts: &[usize]) -> BTreeMap<IncidentId, u64> {
        let mut pieces = BTreeMap::new();
        for (_, incident) in alerts.iter().filter_map(|alert| self.places[*alert]) {
            *pieces.entry(incident).or_default() += 1;
        }
        pieces
    }

    fn side(&self, alerts: &[usize]) -> Side {
        let mut sizes: Vec<u64> = self.pieces(alerts).into_values().collect();
        sizes.sort_unstable_by_key(|size| Reverse(*size));
        // A beginning here may be no beginning there: then its alert is told once, with all of them.
        let mut reasons: BTreeMap<&Reason, u64> = BTreeMap::new();
        let placed: BTreeSet<AlertId> =
            alerts.iter().filter_map(|alert| self.places[*alert]).map(|(alert, _)| alert).collect();
        for reason in placed.iter().filter_map(|alert| self.run.reasons.get(alert)) {
            *reasons.entry(reason).or_default() += 1;
        }
        let mut reasons: Vec<(Reason, u64)> =
            reasons.into_iter().map(|(reason, alerts)| (reason.clone(), alerts)).collect();
        reasons.sort_by_key(|(_, alerts)| Reverse(*alerts));
        Side { alerts: count(placed.len()), sizes, reasons }
    }

    fn without(&self, other: &View<'_>) -> u64 {
        let both = self.places.iter().zip(&other.places);
        count(both.filter(|(own, other)| own.is_some() && other.is_none()).count())
    }
}

/// How a run has the alerts of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// How many alerts they are in this run.
    pub alerts: u64,
    /// How many of the beginnings each of its incidents holds, the most first.
    pub sizes: Vec<u64>,
    /// Why the alerts are there, and how many for this reason, the most first.
    pub reasons: Vec<(Reason, u64)>,
}

/// What becomes of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// One of the other run's that holds parts of several of ours.
    Merged,
    /// One of ours of which several of the other run's hold parts.
    Split,
    /// One of ours that one of the other run's stands for, with other alerts in it.
    Changed,
    /// One of ours with no alert that the other run has.
    Gone,
    /// One of the other run's with no alert that we have.
    New,
}

/// An incident that would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// What becomes of it.
    pub fate: Fate,
    /// Ours; where it is merged or new, the other run's.
    pub incident: IncidentId,
    /// Its last title while it was open.
    pub title: Box<str>,
    /// Its alerts, as many as began in either run.
    pub alerts: u64,
    /// Its alerts that are not together with most of the others in the other run.
    pub moved: u64,
    /// How our run has its alerts.
    pub ours: Side,
    /// How the other has them.
    pub theirs: Side,
}

/// What would change from our run to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Our incidents.
    pub ours: u64,
    /// The other run's.
    pub theirs: u64,
    /// Incidents with the same alerts.
    pub same: u64,
    /// By fate, how many others there are; an incident of ours that became a part of a merged one
    /// whole is told with that one.
    pub fates: BTreeMap<Fate, u64>,
    /// Alerts that only our run has.
    pub alerts_ours: u64,
    /// Alerts that only the other has.
    pub alerts_theirs: u64,
    /// Pages more, or with a minus fewer: one an incident that is told.
    pub pages: i64,
    /// The incidents with the most alerts moved, at most [`AFFECTED_MAX`].
    pub affected: Vec<Affected>,
}

/// Holds two runs over one input against each other.
#[must_use]
pub fn compare(ours: &Outcome, theirs: &Outcome) -> Comparison {
    let (here, there) = beginnings(ours, theirs).into_iter().unzip();
    let (here, there) = (View::new(ours, here), View::new(theirs, there));
    let mut same = 0;
    let mut moved: Vec<(u64, Fate, IncidentId)> = Vec::new();
    for (id, alerts) in &here.incidents {
        let pieces = there.pieces(alerts);
        let mut others = pieces.keys().map(|other| &there.incidents[other]);
        let fate = match (others.next(), others.next()) {
            (None, _) => Fate::Gone,
            (Some(other), None) if other == alerts => {
                same += 1;
                continue;
            }
            // Told with the one it is merged into.
            (Some(other), None) if here.pieces(other).len() > 1 => continue,
            (Some(_), None) => Fate::Changed,
            (Some(_), Some(_)) => Fate::Split,
        };
        moved.push((apart(alerts, &pieces), fate, *id));
    }
    for (id, alerts) in &there.incidents {
        let pieces = here.pieces(alerts);
        let fate = match pieces.len() {
            0 => Fate::New,
            1 => continue,
            _ => Fate::Merged,
        };
        moved.push((apart(alerts, &pieces), fate, *id));
    }
    let mut fates = BTreeMap::new();
    for (_, fate, _) in &moved {
        *fates.entry(*fate).or_default() += 1;
    }
    moved.sort_unstable_by_key(|(moved, fate, id)| (Reverse(*moved), *fate, *id));
    moved.truncate(AFFECTED_MAX);
    let (all_ours, all_theirs) = (count(ours.titles.len()), count(theirs.titles.len()));
    Comparison {
        ours: all_ours,
        theirs: all_theirs,
        same,
        fates,
        alerts_ours: here.without(&there),
        alerts_theirs: there.without(&here),
        pages: (all_theirs - count(theirs.held.len())).cast_signed()
            - (all_ours - count(ours.held.len())).cast_signed(),
        affected: moved.into_iter().map(|moved| affected(&here, &there, moved)).collect(),
    }
}

/// The alerts of an incident outside of its largest piece in the other run.
fn apart(alerts: &[usize], pieces: &BTreeMap<IncidentId, u64>) -> u64 {
    count(alerts.len()) - pieces.values().max().copied().unwrap_or_default()
}

fn affected(
    here: &View<'_>,
    there: &View<'_>,
    (moved, fate, incident): (u64, Fate, IncidentId),
) -> Affected {
    let whose = match fate {
        Fate::Split | Fate::Changed | Fate::Gone => here,
        Fate::Merged | Fate::New => there,
    };
    let alerts = &whose.incidents[&incident];
    Affected {
        fate,
        incident,
        title: whose.run.titles.get(&incident).cloned().unwrap_or_default(),
        alerts: count(alerts.len()),
        moved,
        ours: here.side(alerts),
        theirs: there.side(alerts),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Identity, Timestamp};
    use crate::wire;

    fn identity() -> Identity {
        Identity::new("test", Some("host"), None, None)
    }

    fn alert(number: usize) -> AlertId {
        let nth = u32::try_from(number).expect("few");
        AlertId::derive(Timestamp::from_millis(0), &identity(), nth)
    }

    fn incident(number: u8) -> IncidentId {
        IncidentId::derive(Timestamp::from_millis(0), &identity(), number.into())
    }

    /// Event n is of the alert at n, and that one in the incident that `incidents` has for it;
    /// where there is none the run has no alert. Each event is a record.
    fn run(events: &[Option<usize>], incidents: &[u8], reason: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for event in events {
            let place = event.map(|number| (alert(number), incident(incidents[number])));
            if let Some((alert, incident)) = place {
                let title = format!("incident of {alert}");
                let opened = !outcome.titles.contains_key(&incident);
                let why = if opened { Reason::Opened } else { Reason::Joined(reason.into()) };
                outcome.titles.entry(incident).or_insert_with(|| title.into());
                outcome.reasons.entry(alert).or_insert(why);
            }
            outcome.record([place]);
        }
        outcome
    }

    /// Which alert each event is of, and in which incident each alert is.
    fn drawn(events: usize) -> impl Strategy<Value = (Vec<Option<usize>>, Vec<u8>)> {
        (vec(option::of(0..9_usize), events), vec(0..5_u8, 9))
    }

    fn both_drawn() -> impl Strategy<Value = [(Vec<Option<usize>>, Vec<u8>); 2]> {
        (0..20_usize).prop_flat_map(|events| [drawn(events), drawn(events)])
    }

    fn members(places: &[Option<u8>], place: u8) -> Vec<usize> {
        (0..places.len()).filter(|number| places[*number] == Some(place)).collect()
    }

    /// The incidents of `at` that hold these alerts.
    fn reach(at: &[Option<u8>], alerts: &[usize]) -> BTreeSet<u8> {
        alerts.iter().filter_map(|number| at[*number]).collect()
    }

    proptest! {
        #[test]
        fn every_incident_is_told_as_it_is([one, two] in both_drawn()) {
            let found = compare(&run(&one.0, &one.1, "a"), &run(&two.0, &two.1, "b"));
            // Only events count with which an alert began here or there.
            let first = |events: &[Option<usize>], nth: usize| {
                events[nth].is_some() && !events[..nth].contains(&events[nth])
            };
            let keys: Vec<usize> =
                (0..one.0.len()).filter(|nth| first(&one.0, *nth) || first(&two.0, *nth)).collect();
            let at = |(events, incidents): &(Vec<Option<usize>>, Vec<u8>)| {
                let place = |nth: &usize| events[*nth].map(|alert| incidents[alert]);
                keys.iter().map(place).collect::<Vec<Option<u8>>>()
            };
            let (here, there) = (at(&one), at(&two));
            let all: Vec<u8> = (0..6).collect();
            let ours: Vec<Vec<usize>> = all.iter().map(|p| members(&here, *p)).collect();
            let theirs: Vec<Vec<usize>> = all.iter().map(|p| members(&there, *p)).collect();
            let ours: Vec<_> = ours.into_iter().filter(|held| !held.is_empty()).collect();
            let theirs: Vec<_> = theirs.into_iter().filter(|held| !held.is_empty()).collect();
            let fate = |fate: Fate| found.fates.get(&fate).copied().unwrap_or_default() as usize;
            let same = ours.iter().filter(|held| theirs.contains(held)).count();
            prop_assert_eq!(found.same as usize, same);
            prop_assert_eq!((found.ours as usize, found.theirs as usize), (ours.len(), theirs.len()));
            let with = |sets: &[Vec<usize>], at: &[Option<u8>], keep: fn(usize) -> bool| {
                sets.iter().filter(|held| keep(reach(at, held).len())).count()
            };
            prop_assert_eq!(fate(Fate::Split), with(&ours, &there, |n| n > 1));
            prop_assert_eq!(fate(Fate::Merged), with(&theirs, &here, |n| n > 1));
            prop_assert_eq!(fate(Fate::Gone), with(&ours, &there, |n| n == 0));
            prop_assert_eq!(fate(Fate::New), with(&theirs, &here, |n| n == 0));
            // Each of ours is the same, split, changed, gone, or wholly in a merged one.
            let taken_in = ours.iter().filter(|held| {
                let at = reach(&there, held);
                at.len() == 1 && at.iter().all(|p| reach(&here, &members(&there, *p)).len() > 1)
            });
            let told = same + fate(Fate::Split) + fate(Fate::Gone) + fate(Fate::Changed);
            prop_assert_eq!(told + taken_in.count(), ours.len());
            prop_assert_eq!(found.pages, theirs.len() as i64 - ours.len() as i64);
            let only = |one: &[Option<u8>], other: &[Option<u8>]| {
                one.iter().zip(other).filter(|(one, other)| one.is_some() && other.is_none()).count()
            };
            prop_assert_eq!(found.alerts_ours as usize, only(&here, &there));
            prop_assert_eq!(found.alerts_theirs as usize, only(&there, &here));
            let moved: Vec<u64> = found.affected.iter().map(|affected| affected.moved).collect();
            prop_assert!(moved.is_sorted_by(|one, next| one >= next));
            prop_assert_eq!(
                found.affected.len(),
                (found.fates.values().sum::<u64>() as usize).min(AFFECTED_MAX)
            );
            for affected in &found.affected {
                let largest = match affected.fate {
                    Fate::Merged | Fate::New => affected.ours.sizes.first(),
                    Fate::Split | Fate::Changed | Fate::Gone => affected.theirs.sizes.first(),
                };
                prop_assert_eq!(affected.moved, affected.alerts - largest.copied().unwrap_or(0));
            }
            // Nothing changes to oneself, and the way back is the way there the other way round.
            let own = run(&one.0, &one.1, "a");
            prop_assert_eq!(compare(&own, &own).affected, vec![]);
            let back = compare(&run(&two.0, &two.1, "b"), &own);
            prop_assert_eq!(back.same, found.same);
            let back = |fate| back.fates.get(&fate).copied().unwrap_or_default() as usize;
            prop_assert_eq!(back(Fate::Split), fate(Fate::Merged));
            prop_assert_eq!(back(Fate::Gone), fate(Fate::New));
            prop_assert_eq!(back(Fate::Changed), fate(Fate::Changed));
        }
    }

    #[test]
    fn a_merge_says_where_its_alerts_were_and_why() {
        let events: Vec<Option<usize>> = (0..5).map(Some).collect();
        let here = run(&events, &[0, 0, 0, 1, 2], "host (host=a)");
        let there = run(&events, &[0, 0, 0, 0, 2], "cluster (cluster=c)");
        let found = compare(&here, &there);
        assert_eq!((found.same, found.pages), (1, -1));
        let [merged] = found.affected.as_slice() else { panic!("{found:?}") };
        assert_eq!((merged.fate, merged.alerts, merged.moved), (Fate::Merged, 4, 1));
        assert_eq!(*merged.title, *format!("incident of {}", alert(0)));
        let joined = |text: &str| Reason::Joined(text.into());
        assert_eq!(merged.ours.sizes, [3, 1]);
        assert_eq!(merged.ours.reasons, [(Reason::Opened, 2), (joined("host (host=a)"), 2)]);
        assert_eq!(merged.theirs.sizes, [4]);
        assert_eq!(
            merged.theirs.reasons,
            [(joined("cluster (cluster=c)"), 3), (Reason::Opened, 1)]
        );
    }

    #[test]
    fn what_is_held_is_no_page_until_it_is_told() {
        let bytes = include_bytes!("../../tests/fixtures/wire/change.v1.held.json");
        let change = wire::change::decode(bytes).expect("a change");
        let here = run(&[Some(0)], &[0], "a");
        let mut there = here.clone();
        there.note(&change);
        assert_eq!((compare(&here, &there).theirs, compare(&here, &there).pages), (2, 0));
        assert_eq!(compare(&there, &here).pages, 0);
        there.note(&Change { hold: None, ..change });
        assert_eq!((compare(&here, &there).pages, compare(&there, &here).pages), (1, -1));
    }

    #[test]
    fn one_alert_there_for_two_here_merges_their_incidents() {
        let here = run(&[Some(0), Some(0), Some(1)], &[0, 1], "a");
        let there = run(&[Some(0), Some(0), Some(0)], &[0], "b");
        let found = compare(&here, &there);
        assert_eq!(found.fates, BTreeMap::from([(Fate::Merged, 1)]));
        assert_eq!((found.alerts_ours, found.alerts_theirs, found.pages), (0, 0, -1));
        let [merged] = found.affected.as_slice() else { panic!("{found:?}") };
        assert_eq!((merged.alerts, merged.ours.alerts, merged.theirs.alerts), (2, 2, 1));
        assert_eq!(merged.theirs.reasons, [(Reason::Opened, 1)]);
    }

    #[test]
    fn an_event_that_one_run_cannot_read_is_only_the_others() {
        let (mut here, mut there) = (Outcome::default(), Outcome::default());
        here.record([Some((alert(0), incident(0)))]);
        there.record([]);
        for run in [&mut here, &mut there] {
            run.record([Some((alert(1), incident(1)))]);
        }
        let found = compare(&here, &there);
        assert_eq!((found.same, found.alerts_ours, found.alerts_theirs), (1, 1, 0));
        assert_eq!(found.fates, BTreeMap::from([(Fate::Gone, 1)]));
    }
}
