//! How well incidents match a labelled truth: B-cubed, pairwise, pages per true incident.
//!
//! The numbers are those of the usual clustering measures, with noise (a label that is none) as
//! follows: noise together with a labelled unit costs precision, noise together with noise costs
//! nothing. A unit that is in no incident is an incident of its own. Reading the truth is the
//! command line's work; nothing here can fail.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::IncidentId;

/// What counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Every event of the truth.
    Event,
    /// All lines that have a dedup id in common, so that a flood of repeats does not outweigh
    /// everything else; a unit belongs to the true incident and to the incident of most of its
    /// lines, of equals to the one met first. A line without one stands for itself.
    Dedup,
}

/// One line of a truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The sender's id of the event.
    pub event: Box<str>,
    /// The true incident; none for noise.
    pub fault: Option<Box<str>>,
    /// What events that repeat one another have in common.
    pub dedup: Option<Box<str>>,
}

/// A labelled truth. Of lines about one event the last one counts where events are the units.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    events: BTreeMap<Box<str>, usize>,
    faults: BTreeMap<Box<str>, usize>,
    dedups: BTreeMap<Box<str>, usize>,
    lines: Vec<Line>,
    has_dedup: bool,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    event: usize,
    fault: Option<usize>,
    dedup: usize,
}

impl Truth {
    /// Adds a line.
    pub fn add(&mut self, label: Label) {
        self.has_dedup |= label.dedup.is_some();
        let dedup = label.dedup.filter(|dedup| !dedup.is_empty());
        let dedup = number(&mut self.dedups, dedup.unwrap_or_else(|| label.event.clone()));
        let event = number(&mut self.events, label.event);
        let fault = label.fault.map(|fault| number(&mut self.faults, fault));
        self.lines.push(Line { event, fault, dedup });
    }

    /// Only the lines about events that `known` takes, and how many that leaves out.
    #[must_use]
    pub fn only(&self, known: impl Fn(&str) -> bool) -> (Self, u64) {
        let names = |numbers: &BTreeMap<Box<str>, usize>| {
            let mut names = vec![Box::default(); numbers.len()];
            for (name, number) in numbers {
                names[*number] = name.clone();
            }
            names
        };
        let (events, faults) = (names(&self.events), names(&self.faults));
        let dedups = names(&self.dedups);
        let (mut kept, mut out) = (Self::default(), 0);
        for Line { event, fault, dedup } in &self.lines {
            if !known(&events[*event]) {
                out += 1;
                continue;
            }
            kept.add(Label {
                event: events[*event].clone(),
                fault: fault.map(|fault| faults[fault].clone()),
                dedup: self.has_dedup.then(|| dedups[*dedup].clone()),
            });
        }
        (kept, out)
    }

    /// What is counted unless somebody asks otherwise: dedup ids where there are any.
    #[must_use]
    pub fn usual_unit(&self) -> Unit {
        if self.has_dedup { Unit::Dedup } else { Unit::Event }
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

fn number(numbers: &mut BTreeMap<Box<str>, usize>, text: Box<str>) -> usize {
    let next = numbers.len();
    *numbers.entry(text).or_insert(next)
}

/// Precision, recall and their harmonic mean; each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Falls as incidents take in what does not belong together.
    pub precision: f64,
    /// Falls as what belongs together is spread over incidents.
    pub recall: f64,
}

impl Measure {
    /// The harmonic mean; 0 where both are 0.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let sum = self.precision + self.recall;
        if sum > 0.0 { 2.0 * self.precision * self.recall / sum } else { 0.0 }
    }
}

/// What came of a comparison with the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// What was counted as one.
    pub unit: Unit,
    /// Units in the truth, noise included.
    pub units: u64,
    /// Of these, noise.
    pub noise_units: u64,
    /// Incidents that hold a unit; a unit in no incident counts as one.
    pub incidents: u64,
    /// True incidents that have a unit.
    pub true_incidents: u64,
    /// The same seen from each unit, so that a big incident weighs by its size.
    pub bcubed: Measure,
    /// Over pairs of units, so that a big incident weighs by the square of its size.
    pub pairwise: Measure,
    /// Incidents that hold a part of a true one and were told, on average over the true ones; 1 is
    /// best.
    pub pages_per_true_incident: f64,
    /// Events of the truth that were not in the input; each counts as an incident of its own.
    pub unknown_events: u64,
    /// Events of the input, with an id or without, of which the truth says nothing.
    pub unlabelled_events: u64,
}

/// Where the events of a truth ended up in one run.
#[derive(Debug)]
pub struct Places<'a> {
    truth: &'a Truth,
    /// By event: none where it was not in the input.
    places: Vec<Option<Option<IncidentId>>>,
    unlabelled: u64,
}

impl<'a> Places<'a> {
    /// Nothing is placed yet.
    #[must_use]
    pub fn new(truth: &'a Truth) -> Self {
        Self { truth, places: vec![None; truth.events.len()], unlabelled: 0 }
    }

    /// Notes where an event of the input is; of several with one id the last counts.
    pub fn place(&mut self, event: Option<&str>, incident: Option<IncidentId>) {
        match event.and_then(|event| self.truth.events.get(event)) {
            Some(event) => self.places[*event] = Some(incident),
            None => self.unlabelled += 1,
        }
    }

    /// The numbers, where every incident was told.
    #[must_use]
    pub fn score(&self, unit: Unit) -> Score {
        self.score_but_for(unit, &BTreeSet::new())
    }

    /// The numbers; incidents that are held are no pages.
    #[must_use]
    pub fn score_but_for(&self, unit: Unit, held: &BTreeSet<IncidentId>) -> Score {
        let units = match unit {
            Unit::Event => self.events(),
            Unit::Dedup => self.dedups(),
        };
        let unknown = self.places.iter().filter(|place| place.is_none()).count();
        let table = Table::new(&units);
        Score {
            unit,
            units: count(units.len()),
            noise_units: count(units.iter().filter(|(fault, _)| fault.is_none()).count()),
            incidents: count(table.sizes.len()),
            true_incidents: count(table.faults.len()),
            bcubed: table.bcubed(),
            pairwise: table.pairwise(),
            pages_per_true_incident: table.pages(held),
            unknown_events: count(unknown),
            unlabelled_events: self.unlabelled,
        }
    }

    fn incident(&self, event: usize) -> Option<IncidentId> {
        self.places[event].flatten()
    }

    fn events(&self) -> Vec<(Option<usize>, Place)> {
        let mut faults = vec![None; self.places.len()];
        for line in &self.truth.lines {
            faults[line.event] = line.fault;
        }
        let place = |event| Place::new(self.incident(event), event);
        faults.into_iter().enumerate().map(|(event, fault)| (fault, place(event))).collect()
    }

    fn dedups(&self) -> Vec<(Option<usize>, Place)> {
        let mut units: Vec<Vec<Line>> = vec![Vec::new(); self.truth.dedups.len()];
        for line in &self.truth.lines {
            units[line.dedup].push(*line);
        }
        let units = units.iter().enumerate().map(|(unit, lines)| {
            let fault = commonest(lines.iter().map(|line| line.fault));
            let incident = commonest(lines.iter().map(|line| self.incident(line.event)));
            (fault.flatten(), Place::new(incident.flatten(), unit))
        });
        units.collect()
    }
}

/// The most frequent value; of equals the one met first.
fn commonest<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, (usize, std::cmp::Reverse<usize>)> = BTreeMap::new();
    for (nth, value) in values.enumerate() {
        counts.entry(value).or_insert((0, std::cmp::Reverse(nth))).0 += 1;
    }
    counts.into_iter().max_by_key(|(_, rank)| *rank).map(|(value, _)| value)
}

/// What stands for a unit's incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Incident(IncidentId),
    /// In none: the unit is by itself.
    Own(usize),
}

impl Place {
    fn new(incident: Option<IncidentId>, unit: usize) -> Self {
        incident.map_or(Self::Own(unit), Self::Incident)
    }
}

/// How many units each true incident, each incident and each overlap of two hold.
struct Table {
    /// Labelled units by true incident and incident.
    cells: BTreeMap<(usize, Place), u64>,
    /// Labelled units by true incident.
    faults: BTreeMap<usize, u64>,
    /// Labelled units and noise by incident.
    sizes: BTreeMap<Place, (u64, u64)>,
}

impl Table {
    fn new(units: &[(Option<usize>, Place)]) -> Self {
        let mut table =
            Self { cells: BTreeMap::new(), faults: BTreeMap::new(), sizes: BTreeMap::new() };
        for (fault, place) in units {
            let size = table.sizes.entry(*place).or_default();
            let Some(fault) = fault else {
                size.1 += 1;
                continue;
            };
            size.0 += 1;
            *table.faults.entry(*fault).or_default() += 1;
            *table.cells.entry((*fault, *place)).or_default() += 1;
        }
        table
    }

    fn pairwise(&self) -> Measure {
        let both: u64 = self.cells.values().map(|size| pairs(*size)).sum();
        let truly: u64 = self.faults.values().map(|size| pairs(*size)).sum();
        let together =
            self.sizes.values().map(|(labelled, noise)| pairs(*labelled) + labelled * noise);
        let part = |whole: u64| if whole == 0 { 1.0 } else { real(both) / real(whole) };
        Measure { precision: part(together.sum()), recall: part(truly) }
    }

    fn bcubed(&self) -> Measure {
        let labelled: u64 = self.faults.values().sum();
        if labelled == 0 {
            return Measure { precision: 1.0, recall: 1.0 };
        }
        let (mut precision, mut recall) = (0.0, 0.0);
        for ((fault, place), both) in &self.cells {
            let (labelled, noise) = self.sizes[place];
            precision += real(both * both) / real(labelled + noise);
            recall += real(both * both) / real(self.faults[fault]);
        }
        Measure { precision: precision / real(labelled), recall: recall / real(labelled) }
    }

    fn pages(&self, held: &BTreeSet<IncidentId>) -> f64 {
        let told = |place: &Place| !matches!(place, Place::Incident(id) if held.contains(id));
        let pages = self.cells.keys().filter(|(_, place)| told(place)).count();
        match self.faults.len() {
            0 => 0.0,
            faults => real(count(pages)) / real(count(faults)),
        }
    }
}

fn pairs(size: u64) -> u64 {
    size * size.saturating_sub(1) / 2
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53, shown with four digits")]
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
