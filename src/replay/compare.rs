//! What would change if other settings were put to use: the incidents of two runs over one input,
//! held against each other.
//!
//! Alerts are known again by their id, which their first event gives; settings that change when an
//! alert begins make other alerts. An incident is the same where it holds the same alerts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AlertId, Change, IncidentId, Pair};

/// How many of the most affected incidents are told.
pub const AFFECTED_MAX: usize = 10;

/// Which alerts one run put into which incident, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    incidents: BTreeMap<IncidentId, Held>,
    alerts: BTreeMap<AlertId, (IncidentId, Reason)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    title: Box<str>,
    alerts: BTreeSet<AlertId>,
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
        let values: Vec<String> =
            pair.by.iter().map(|(tag, value)| format!("{tag}={value}")).collect();
        Self::Joined(format!("{} ({})", pair.pattern, values.join(", ")).into())
    }
}

impl Outcome {
    /// Takes in a change of this run; changes come in their order.
    pub fn note(&mut self, change: &Change) {
        let held = self.incidents.entry(change.id).or_default();
        if change.is_open() {
            held.title = change.title.as_str().into();
        }
        for alert in &change.joined {
            let member = change.alerts.iter().find(|member| member.id == *alert);
            let reason = Reason::of(member.and_then(|member| member.why.pair.as_ref()));
            held.alerts.insert(*alert);
            self.alerts.insert(*alert, (change.id, reason));
        }
    }

    /// By incident of this run, how many of some alerts are in it.
    fn pieces(&self, alerts: &BTreeSet<AlertId>) -> BTreeMap<IncidentId, u64> {
        let mut pieces = BTreeMap::new();
        for (incident, _) in alerts.iter().filter_map(|alert| self.alerts.get(alert)) {
            *pieces.entry(*incident).or_default() += 1;
        }
        pieces
    }

    fn side(&self, alerts: &BTreeSet<AlertId>) -> Side {
        let mut sizes: Vec<u64> = self.pieces(alerts).into_values().collect();
        sizes.sort_unstable_by_key(|size| Reverse(*size));
        let mut reasons: BTreeMap<&Reason, u64> = BTreeMap::new();
        for (_, reason) in alerts.iter().filter_map(|alert| self.alerts.get(alert)) {
            *reasons.entry(reason).or_default() += 1;
        }
        let mut reasons: Vec<(Reason, u64)> =
            reasons.into_iter().map(|(reason, alerts)| (reason.clone(), alerts)).collect();
        reasons.sort_by_key(|(_, alerts)| Reverse(*alerts));
        Side { sizes, reasons }
    }
}

/// How a run has the alerts of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// How many of the alerts each of its incidents holds, the most first.
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
    /// Its alerts.
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
    /// Pages more, or with a minus fewer: one an incident.
    pub pages: i64,
    /// The incidents with the most alerts moved, at most [`AFFECTED_MAX`].
    pub affected: Vec<Affected>,
}

/// Holds two runs over one input against each other.
#[must_use]
pub fn compare(ours: &Outcome, theirs: &Outcome) -> Comparison {
    let mut same = 0;
    let mut moved: Vec<(u64, Fate, IncidentId)> = Vec::new();
    for (id, held) in &ours.incidents {
        let pieces = theirs.pieces(&held.alerts);
        let fate = match pieces.keys().collect::<Vec<_>>().as_slice() {
            [] => Fate::Gone,
            [there] => {
                let there = &theirs.incidents[*there].alerts;
                if *there == held.alerts {
                    same += 1;
                    continue;
                }
                if ours.pieces(there).len() > 1 {
                    continue;
                }
                Fate::Changed
            }
            _ => Fate::Split,
        };
        moved.push((apart(held, &pieces), fate, *id));
    }
    for (id, held) in &theirs.incidents {
        let pieces = ours.pieces(&held.alerts);
        let fate = match pieces.len() {
            0 => Fate::New,
            1 => continue,
            _ => Fate::Merged,
        };
        moved.push((apart(held, &pieces), fate, *id));
    }
    let mut fates = BTreeMap::new();
    for (_, fate, _) in &moved {
        *fates.entry(*fate).or_default() += 1;
    }
    moved.sort_unstable_by_key(|(moved, fate, id)| (Reverse(*moved), *fate, *id));
    moved.truncate(AFFECTED_MAX);
    let only = |one: &Outcome, other: &Outcome| {
        count(one.alerts.keys().filter(|alert| !other.alerts.contains_key(alert)).count())
    };
    let (all_ours, all_theirs) = (count(ours.incidents.len()), count(theirs.incidents.len()));
    Comparison {
        ours: all_ours,
        theirs: all_theirs,
        same,
        fates,
        alerts_ours: only(ours, theirs),
        alerts_theirs: only(theirs, ours),
        pages: all_theirs.cast_signed() - all_ours.cast_signed(),
        affected: moved.into_iter().map(|moved| affected(ours, theirs, moved)).collect(),
    }
}

/// The alerts of an incident outside of its largest piece in the other run.
fn apart(held: &Held, pieces: &BTreeMap<IncidentId, u64>) -> u64 {
    count(held.alerts.len()) - pieces.values().max().copied().unwrap_or_default()
}

fn affected(
    ours: &Outcome,
    theirs: &Outcome,
    (moved, fate, incident): (u64, Fate, IncidentId),
) -> Affected {
    let whose = match fate {
        Fate::Split | Fate::Changed | Fate::Gone => ours,
        Fate::Merged | Fate::New => theirs,
    };
    let held = &whose.incidents[&incident];
    Affected {
        fate,
        incident,
        title: held.title.clone(),
        alerts: count(held.alerts.len()),
        moved,
        ours: ours.side(&held.alerts),
        theirs: theirs.side(&held.alerts),
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

    /// Alert n is in the incident at n; where there is none the run has no such alert.
    fn outcome(places: &[Option<u8>], reason: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for (number, place) in places.iter().enumerate() {
            let Some(place) = place else { continue };
            let held = outcome.incidents.entry(incident(*place)).or_default();
            held.title = format!("incident {place}").into();
            let reason =
                if held.alerts.is_empty() { Reason::Opened } else { Reason::Joined(reason.into()) };
            held.alerts.insert(alert(number));
            outcome.alerts.insert(alert(number), (incident(*place), reason));
        }
        outcome
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
        fn every_incident_is_told_as_it_is(
            places in vec((option::of(0..6_u8), option::of(0..6_u8)), 0..14),
        ) {
            let (here, there): (Vec<Option<u8>>, Vec<Option<u8>>) = places.into_iter().unzip();
            let found = compare(&outcome(&here, "a"), &outcome(&there, "b"));
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
            let here = outcome(&here, "a");
            prop_assert_eq!(compare(&here, &here).affected, vec![]);
            let back = compare(&outcome(&there, "b"), &here);
            prop_assert_eq!(back.same, found.same);
            let back = |fate| back.fates.get(&fate).copied().unwrap_or_default() as usize;
            prop_assert_eq!(back(Fate::Split), fate(Fate::Merged));
            prop_assert_eq!(back(Fate::Gone), fate(Fate::New));
            prop_assert_eq!(back(Fate::Changed), fate(Fate::Changed));
        }
    }

    #[test]
    fn a_merge_says_where_its_alerts_were_and_why() {
        let here = outcome(&[Some(0), Some(0), Some(0), Some(1), Some(2)], "host (host=a)");
        let there = outcome(&[Some(0), Some(0), Some(0), Some(0), Some(2)], "cluster (cluster=c)");
        let found = compare(&here, &there);
        assert_eq!((found.same, found.pages), (1, -1));
        let [merged] = found.affected.as_slice() else { panic!("{found:?}") };
        assert_eq!((merged.fate, merged.alerts, merged.moved), (Fate::Merged, 4, 1));
        assert_eq!(&*merged.title, "incident 0");
        let joined = |text: &str| Reason::Joined(text.into());
        assert_eq!(merged.ours.sizes, [3, 1]);
        assert_eq!(merged.ours.reasons, [(Reason::Opened, 2), (joined("host (host=a)"), 2)]);
        assert_eq!(merged.theirs.sizes, [4]);
        assert_eq!(
            merged.theirs.reasons,
            [(joined("cluster (cluster=c)"), 3), (Reason::Opened, 1)]
        );
    }
}
