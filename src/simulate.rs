//! A labelled storm: what monitors of a made-up estate would publish while faults come and go, and
//! which event is of which fault.
//!
//! Pure and streaming: events come out one by one in order of arrival, by a seed; what is held is the
//! estate, the next check of each pair that is looked at, and what is on its way. The truth has one
//! incident a fault, with its whole cascade; noise has none. Nothing in here knows how Muster
//! correlates. It leaves files to the command line and scores to `replay::score`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::model::{Span, Status, Timestamp};
use estate::{Estate, Pair, Shares};
use noise::Noise;
use random::Random;
use write::Said;

mod estate;
mod faults;
mod noise;
mod random;
mod settings;
mod write;

pub use estate::PAIRS;
pub use faults::Kind;
pub use settings::{Rates, Scripted, Settings};

/// How many events a simulation may have.
pub const EVENTS: (u64, u64) = (1, 1_000_000_000);
/// Faults that are open at once, at most; one that would come on top does not happen.
pub const OPEN_MAX: usize = 5;
/// The longest an event may be on its way.
pub const LATE_MAX: Span = Span::from_secs(600);
/// The largest skew of a clock.
pub const SKEW_MAX: Span = Span::from_secs(240);
/// When simulated time begins unless somebody asks otherwise: 2024-01-01T00:00:00Z, long enough ago
/// for the largest simulation to lie in the past.
pub const BEGIN: Timestamp = Timestamp::from_millis(1_704_067_200_000);

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const MINUTES_A_DAY: f64 = 1_440.0;
/// After a first bad result a check is repeated so often before the problem counts as hard.
const ATTEMPTS: u8 = 3;
const RETRY: i64 = MINUTE;
/// What comes back within this time is the same problem to whoever labels.
const SAME_BOUT: i64 = 30 * MINUTE;
/// How long an ended fault is remembered: its last recoveries are still on their way.
const REMEMBERED: i64 = 40 * MINUTE;
/// Lengths of faults: log-normal with this sigma, between these.
const SIGMA: f64 = 0.8;
const LENGTH: (i64, i64) = (2 * MINUTE, 12 * 60 * MINUTE);

/// How often a place is drawn for a fault before it does not happen: what was repaired rests.
const PLACES_DRAWN: usize = 8;

/// A fault, as it is known while it is open and some time after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub kind: Kind,
    /// Counts all faults from 1; with the kind it is the id of the truth.
    pub number: u32,
    /// When it began.
    pub from: Timestamp,
    /// When it ended, or will.
    pub until: Timestamp,
    /// The machines that it touches in a way that could be noticed, by number; see
    /// [`Simulation::machine`].
    pub machines: Vec<usize>,
    root: usize,
    end: i64,
}

impl Fault {
    /// Its id in the truth.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.kind.as_str(), self.number)
    }
}

/// An event as it arrives.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// When.
    pub arrival: Timestamp,
    /// The event, canonical JSON with an `id`.
    pub event: &'a [u8],
    /// Its line of truth; none for an `ok` that nothing bad came before: it says nothing new.
    pub truth: Option<&'a [u8]>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events that came out.
    pub events: u64,
    /// Of these, ones of a fault.
    pub of_faults: u64,
    /// Of these, ones of noise.
    pub of_noise: u64,
    /// Faults that began, by [`Kind::ALL`].
    pub faults: [u32; Kind::ALL.len()],
    /// Faults that did not happen because [`OPEN_MAX`] were open.
    pub put_off: u64,
    /// Faults that did not happen because all they could have hit was repaired a short while ago.
    pub rested: u64,
    /// Recoveries whose `ok` was lost.
    pub lost_oks: u64,
    /// Events that were late by more than the usual seconds.
    pub late: u64,
    /// Events of the second monitor.
    pub by_second: u64,
    /// Pairs that a fault reached, and those of them where nobody noticed.
    pub reached: u64,
    /// See `reached`.
    pub undetected: u64,
    /// The most checks and arrivals that were due at once.
    pub due_max: usize,
    /// The most events that were on their way at once.
    pub on_way_max: usize,
}

/// What makes a pair bad for a while.
#[derive(Debug, Clone, Copy)]
struct Cause {
    from: i64,
    until: i64,
    status: Status,
    text: &'static str,
    /// None is noise.
    fault: Option<(Kind, u32)>,
    /// How likely it shows at a check.
    shows: f64,
}

/// What the monitors think of a pair.
#[derive(Debug, Default)]
struct State {
    causes: Vec<Cause>,
    status: Status,
    fault: Option<(Kind, u32)>,
    attempt: u8,
    bout: u32,
    last_bad: i64,
    told: i64,
    /// The status that the second monitor told, and of what.
    second: Status,
    second_label: Option<Label>,
    second_told: i64,
    /// When it is checked next; entries of the schedule with another time are void.
    due: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Check(usize),
    Fault,
    Noise(Noise),
    Scripted(usize),
}

/// An event on its way; ordered by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct OnWay {
    arrival: i64,
    number: u64,
    time: i64,
    pair: usize,
    monitor: usize,
    status: Status,
    attempt: u8,
    text: &'static str,
    label: Label,
}

/// What the truth says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// Nothing.
    Idle,
    Noise(u32),
    Fault(Kind, u32, u32),
}

/// A simulation under way.
#[derive(Debug)]
pub struct Simulation {
    settings: Settings,
    estate: Estate,
    states: Vec<State>,
    schedule: BinaryHeap<Reverse<(i64, u64, Due)>>,
    on_way: BinaryHeap<Reverse<OnWay>>,
    faults: Vec<Fault>,
    /// When what broke by itself was repaired, or will be; as many as there are parts.
    repaired: BTreeMap<(Kind, usize), i64>,
    /// By poller the offset of the first monitor's clock; the last is the second monitor's.
    skews: Vec<i64>,
    checks: Random,
    storms: Random,
    begun: u32,
    entries: u64,
    numbers: u64,
    counts: Counts,
    event: Vec<u8>,
    truth: Vec<u8>,
}

impl Simulation {
    /// A simulation that has not begun.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let rates = settings.rates;
        let shares = Shares { chatty: rates.chatty, twice: rates.twice };
        let estate = Estate::new(settings.pairs, shares, &mut Random::new(settings.seed, 1));
        let mut random = Random::new(settings.seed, 2);
        let skew = rates.skew.min(SKEW_MAX).as_millis();
        let skews = (0..=estate.pollers).map(|_| random.between(-skew, skew + 1)).collect();
        let mut simulation = Self {
            states: estate.pairs.iter().map(|_| State::default()).collect(),
            estate,
            schedule: BinaryHeap::new(),
            on_way: BinaryHeap::new(),
            faults: Vec::new(),
            repaired: BTreeMap::new(),
            skews,
            checks: Random::new(settings.seed, 3),
            storms: Random::new(settings.seed, 4),
            begun: 0,
            entries: 0,
            numbers: 0,
            counts: Counts::default(),
            event: Vec::new(),
            truth: Vec::new(),
            settings,
        };
        simulation.begin();
        simulation
    }

    fn begin(&mut self) {
        for pair in 0..self.estate.pairs.len() {
            let Pair { every, chatty, .. } = self.estate.pairs[pair];
            if chatty {
                let first = self.checks.between(0, every);
                self.look(pair, first);
            }
        }
        if self.settings.script.is_empty() {
            self.next_fault(0);
            for noise in Noise::ALL {
                self.next_noise(noise, 0);
            }
        }
        for (number, scripted) in self.settings.script.clone().into_iter().enumerate() {
            self.enter(scripted.at.as_millis(), Due::Scripted(number));
        }
    }

    /// The next event; none when all there are have come out.
    pub fn deliver(&mut self) -> Option<Delivery<'_>> {
        if self.counts.events >= self.settings.events {
            return None;
        }
        let end = self.settings.length.map_or(i64::MAX, Span::as_millis);
        let next = loop {
            let due = self.schedule.peek().map(|Reverse((time, ..))| *time);
            let due = due.filter(|time| *time < end);
            match (self.on_way.peek().map(|Reverse(next)| next.arrival), due) {
                // Whatever is still to happen arrives later than it happens.
                (Some(arrival), due) if due.is_none_or(|due| arrival < due) => {
                    break self.on_way.pop().map(|Reverse(next)| next);
                }
                (_, Some(_)) => self.step(),
                (_, None) => break None,
            }
        }?;
        Some(self.written(next))
    }

    /// The topology, line by line.
    ///
    /// # Errors
    /// The first that `line` gives.
    pub fn topology<E>(&self, line: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        write::topology(&self.estate, line)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The faults that are open, and those that ended within the last 40 minutes.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What is known of the sources: their names, and how long after its last word a problem of
    /// theirs is over. Twice as long as they take to publish it again; of one that never does,
    /// nothing.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, Span)> {
        let Rates { renotify, renotify_second, .. } = self.settings.rates;
        write::SOURCES
            .into_iter()
            .zip([renotify, renotify_second])
            .filter(|(_, again)| *again > Span::ZERO)
            .map(|(name, again)| (name, Span::from_millis(2 * again.as_millis())))
    }

    /// How many machines, hosts and VMs, have a check.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.estate.watched()
    }

    /// How many host|check pairs there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.estate.pairs.len()
    }

    /// The names that a machine goes by, the first monitor's first; none where there is none.
    #[must_use]
    pub fn machine(&self, number: usize) -> Option<[String; 2]> {
        let known = number < self.estate.nodes.len();
        known.then(|| [self.estate.name(number, 0), self.estate.name(number, 1)])
    }

    fn written(&mut self, next: OnWay) -> Delivery<'_> {
        let OnWay { arrival, number, time, pair, monitor, status, attempt, text, label } = next;
        let soft = format!("{text} (attempt {attempt} of {ATTEMPTS})");
        let text = if (1..ATTEMPTS).contains(&attempt) { soft.as_str() } else { text };
        let time = self.real(time);
        self.event.clear();
        self.truth.clear();
        let said = Said { number, pair, monitor, status, time, text };
        write::event(&mut self.event, &self.estate, &said);
        self.counts.events += 1;
        self.counts.by_second += u64::from(monitor == 1);
        let (fault, bout) = match label {
            Label::Idle => (None, None),
            Label::Noise(bout) => (None, Some(bout)),
            Label::Fault(kind, number, bout) => (Some((kind.as_str(), number)), Some(bout)),
        };
        if let Some(bout) = bout {
            self.counts.of_faults += u64::from(fault.is_some());
            self.counts.of_noise += u64::from(fault.is_none());
            let whose = (pair, monitor, bout);
            write::truth(&mut self.truth, number, fault, &self.estate, whose);
        }
        Delivery {
            arrival: self.real(arrival),
            event: &self.event,
            truth: bout.is_some().then_some(&self.truth[..]),
        }
    }

    /// Simulated time as the events have it.
    fn real(&self, time: i64) -> Timestamp {
        let pace = i64::from(self.settings.pace.max(1));
        Timestamp::from_millis(self.settings.start.as_millis() + time.div_euclid(pace))
    }

    fn enter(&mut self, time: i64, due: Due) {
        self.entries += 1;
        self.schedule.push(Reverse((time, self.entries, due)));
        self.counts.due_max = self.counts.due_max.max(self.schedule.len());
    }

    /// Checks a pair at this time, not when it was due before.
    fn look(&mut self, pair: usize, time: i64) {
        self.states[pair].due = Some(time);
        self.enter(time, Due::Check(pair));
    }

    fn step(&mut self) {
        let Some(Reverse((now, _, due))) = self.schedule.pop() else { return };
        match due {
            Due::Check(pair) if self.states[pair].due == Some(now) => self.check(now, pair),
            Due::Check(_) => {}
            Due::Fault => {
                self.arrive(now);
                self.next_fault(now);
            }
            Due::Noise(noise) => {
                self.make_noise(noise, now);
                self.next_noise(noise, now);
            }
            Due::Scripted(number) => self.play(now, number),
        }
    }

    fn next_fault(&mut self, now: i64) {
        let rates = self.settings.rates;
        let habits = Kind::ALL.map(|kind| kind.habits(rates.wide));
        let weight: f64 = habits.iter().map(|(weight, _)| weight).sum();
        let median: f64 = habits.iter().map(|(weight, median)| weight * median).sum();
        // The mean of a log-normal from its median.
        let mean = median / weight * (SIGMA * SIGMA / 2.0).exp();
        let machines = f64::from(u32::try_from(self.machines()).unwrap_or(u32::MAX));
        let of_machines = rates.per_machine * machines * mean / MINUTES_A_DAY;
        let open = rates.open.min(5.0).min(of_machines);
        if open <= 0.0 {
            return;
        }
        let wait = self.storms.exponential(millis_of(mean) / open);
        self.enter(now + whole(wait), Due::Fault);
    }

    fn arrive(&mut self, now: i64) {
        self.faults.retain(|fault| fault.end + REMEMBERED > now);
        let kind = Kind::draw(&mut self.storms, self.settings.rates.wide);
        let (_, median) = kind.habits(self.settings.rates.wide);
        let length = whole(self.storms.log_normal(millis_of(median), SIGMA));
        let length = length.clamp(LENGTH.0, LENGTH.1);
        let open: Vec<usize> =
            self.faults.iter().filter(|fault| fault.end > now).map(|fault| fault.root).collect();
        let again = self.storms.chance(self.settings.rates.same_host) && !open.is_empty();
        let place = self.storms.index(self.estate.watched());
        let root = if again { open[self.storms.index(open.len())] } else { place };
        if open.len() >= OPEN_MAX {
            self.counts.put_off += 1;
            return;
        }
        let Some(root) = self.rested(now, kind, root) else {
            self.counts.rested += 1;
            return;
        };
        self.strike(now, kind, root, length);
    }

    /// This place, or another one where the part that would break was not repaired lately.
    fn rested(&mut self, now: i64, kind: Kind, mut root: usize) -> Option<usize> {
        let rest = self.settings.rates.rest.as_millis();
        if rest == 0 {
            return Some(root);
        }
        for _ in 0..PLACES_DRAWN {
            let part = faults::part(kind, root, &self.estate);
            let until = part.and_then(|part| self.repaired.get(&(kind, part)));
            if until.is_none_or(|until| until + rest <= now) {
                return Some(root);
            }
            root = self.storms.index(self.estate.watched());
        }
        None
    }

    /// Begins a fault.
    fn strike(&mut self, now: i64, kind: Kind, root: usize, length: i64) {
        self.begun += 1;
        let (number, end) = (self.begun, now + length);
        self.counts.faults[usize::from(kind as u8)] += 1;
        if let Some(part) = faults::part(kind, root, &self.estate) {
            self.repaired.insert((kind, part), end);
        }
        let effects = faults::effects(kind, root, length, &self.estate, &mut self.storms);
        let (least, most) = self.settings.rates.undetected;
        let undetected = least + (most - least) * self.storms.unit();
        let mut machines = Vec::new();
        // Of a pair all or nothing goes unnoticed, whatever the fault does to it.
        let mut drawn: Vec<(usize, bool)> = Vec::new();
        for effect in effects {
            let known = drawn.iter().rev().find(|(pair, _)| *pair == effect.pair).copied();
            let unseen = match known {
                Some((_, unseen)) => unseen,
                None => {
                    let unseen = self.storms.chance(undetected);
                    drawn.push((effect.pair, unseen));
                    self.counts.reached += 1;
                    self.counts.undetected += u64::from(unseen);
                    unseen
                }
            };
            let from = now + effect.after;
            // Not all recover in the same moment.
            let until = end - self.storms.between(0, MINUTE.min(length / 4));
            if unseen || from >= until {
                continue;
            }
            machines.push(self.estate.pairs[effect.pair].node);
            self.afflict(
                effect.pair,
                Cause {
                    from,
                    until,
                    status: effect.status,
                    text: effect.text,
                    fault: Some((kind, number)),
                    shows: 1.0,
                },
                effect.at_once,
            );
        }
        machines.sort_unstable();
        machines.dedup();
        let (from, until) = (self.real(now), self.real(end));
        self.faults.push(Fault { kind, number, from, until, machines, root, end });
    }

    /// Makes a pair bad for a while, and has somebody look.
    fn afflict(&mut self, pair: usize, cause: Cause, at_once: bool) {
        self.states[pair].causes.push(cause);
        let wait = if at_once { 0 } else { self.checks.between(0, self.estate.pairs[pair].every) };
        let wanted = cause.from + wait;
        if self.states[pair].due.is_none_or(|due| due > wanted && at_once || due > wanted + MINUTE)
        {
            self.look(pair, wanted);
        }
    }

    fn play(&mut self, now: i64, number: usize) {
        let Scripted { length, kind, .. } = self.settings.script[number];
        let length = length.as_millis();
        match kind {
            Some(kind) => {
                let root = self.storms.index(self.estate.watched());
                self.strike(now, kind, root, length);
            }
            None => {
                // One that is looked at most often: others may not be seen to flap at all.
                let every = |pair: &Pair| pair.every;
                let least = self.estate.pairs.iter().map(every).min().unwrap_or_default();
                let often = (0..self.estate.pairs.len())
                    .filter(|pair| self.estate.pairs[*pair].every == least)
                    .collect::<Vec<_>>();
                let pair = often[self.storms.index(often.len())];
                self.flap(now, pair, length);
            }
        }
    }

    /// A check is made; what it shows is published, soft first, then hard, then now and then.
    fn check(&mut self, now: i64, pair: usize) {
        let Pair { every, chatty, twice, .. } = self.estate.pairs[pair];
        let Rates { renotify, renotify_second, .. } = self.settings.rates;
        let renotify = renotify.as_millis();
        let state = &mut self.states[pair];
        state.causes.retain(|cause| cause.until > now);
        let seen = seen(&state.causes, now, &mut self.checks);
        let busy = !state.causes.is_empty();
        let Some(cause) = seen else {
            let was = std::mem::take(&mut state.status);
            state.attempt = 0;
            if was != Status::Ok {
                self.recover(now, pair);
            } else if chatty {
                self.publish(now, pair, 0, Status::Ok, "", Label::Idle);
            }
            let next = (chatty || busy).then_some(every);
            return self.again(now, pair, next);
        };
        let Cause { status, text, fault, .. } = cause;
        if state.status == Status::Ok {
            if state.bout == 0 || now - state.last_bad > SAME_BOUT || state.fault != fault {
                state.bout += 1;
            }
            state.attempt = 0;
        }
        let soft = state.attempt < ATTEMPTS;
        state.attempt = (state.attempt + 1).min(ATTEMPTS + 1);
        let changed = state.status != status;
        (state.status, state.fault, state.last_bad) = (status, fault, now);
        let tell = soft || changed || chatty || now - state.told >= renotify;
        let is_hard = state.attempt >= ATTEMPTS;
        let label = state.label();
        let blind =
            |fault: Option<(Kind, u32)>| fault.is_some_and(|(kind, _)| kind == Kind::Poller);
        let real = |cause: &Cause| cause.from <= now && !blind(cause.fault);
        // The second monitor sees through a dead poller: what it told may be over meanwhile.
        let over = blind(fault) && !state.causes.iter().any(real);
        let second_ok = over.then(|| state.second_label.take()).flatten();
        if second_ok.is_some() {
            state.second = Status::Ok;
        }
        if state.second_label.is_some() && !blind(fault) {
            state.second_label = Some(label);
        }
        let again =
            renotify_second > Span::ZERO && now - state.second_told >= renotify_second.as_millis();
        // A dead poller blinds the first monitor only.
        let second = twice && is_hard && (state.second != status || again) && !blind(fault);
        if second {
            (state.second, state.second_label, state.second_told) = (status, Some(label), now);
        }
        if tell {
            state.told = now;
            self.publish(now, pair, 0, status, text, label);
        }
        if second {
            let after = self.checks.between(0, MINUTE);
            self.publish(now + after, pair, 1, status, text, label);
        }
        if let Some(label) = second_ok {
            self.publish(now + MINUTE, pair, 1, Status::Ok, "", label);
        }
        self.again(now, pair, Some(if is_hard { every } else { RETRY }));
    }

    /// Whatever was wrong is over; now and then nobody hears of it.
    fn recover(&mut self, now: i64, pair: usize) {
        let state = &mut self.states[pair];
        let label = state.label();
        let second = std::mem::take(&mut state.second) != Status::Ok;
        let second_label = state.second_label.take().unwrap_or(label);
        let lost = self.settings.rates.lost_ok;
        if self.checks.chance(lost) {
            self.counts.lost_oks += 1;
        } else {
            self.publish(now, pair, 0, Status::Ok, "", label);
        }
        if second {
            // Beyond what its last problem can have taken on its way to be published.
            let after = self.checks.between(MINUTE, 2 * MINUTE);
            if self.checks.chance(lost) {
                self.counts.lost_oks += 1;
            } else {
                self.publish(now + after, pair, 1, Status::Ok, "", second_label);
            }
        }
    }

    fn again(&mut self, now: i64, pair: usize, after: Option<i64>) {
        match after {
            Some(after) => {
                let jitter = self.checks.between(-after / 20, after / 20 + 1);
                self.look(pair, now + after + jitter);
            }
            None => self.states[pair].due = None,
        }
    }

    /// Puts an event on its way.
    fn publish(
        &mut self,
        now: i64,
        pair: usize,
        monitor: usize,
        status: Status,
        text: &'static str,
        label: Label,
    ) {
        let rates = self.settings.rates;
        let poller = self.estate.racks[self.estate.nodes[self.estate.pairs[pair].node].rack].poller;
        let skew = if monitor == 0 { Some(&self.skews[poller]) } else { self.skews.last() };
        let usual = 200 + whole(self.checks.exponential(800.0)).min(10 * SECOND);
        let late_max = rates.late_max.min(LATE_MAX).as_millis();
        let late = self.checks.chance(rates.late) && late_max > usual;
        self.counts.late += u64::from(late);
        let delay = if late { self.checks.between(usual, late_max) } else { usual };
        self.numbers += 1;
        self.on_way.push(Reverse(OnWay {
            arrival: now + delay,
            number: self.numbers,
            time: now + skew.copied().unwrap_or(0),
            pair,
            monitor,
            status,
            attempt: self.states[pair].attempt,
            text,
            label,
        }));
        self.counts.on_way_max = self.counts.on_way_max.max(self.on_way.len());
    }
}

impl State {
    fn label(&self) -> Label {
        match self.fault {
            Some((kind, number)) => Label::Fault(kind, number, self.bout),
            None => Label::Noise(self.bout),
        }
    }
}

/// What a check sees of the causes: a dead poller before all, else the worst, of equals the oldest.
fn seen(causes: &[Cause], now: i64, random: &mut Random) -> Option<Cause> {
    let mut seen: Option<Cause> = None;
    for cause in causes.iter().filter(|cause| cause.from <= now) {
        if cause.shows < 1.0 && !random.chance(cause.shows) {
            continue;
        }
        let blind = |cause: &Cause| cause.fault.is_some_and(|(kind, _)| kind == Kind::Poller);
        let rank = |cause: &Cause| (blind(cause), cause.status);
        if seen.as_ref().is_none_or(|other| rank(cause) > rank(other)) {
            seen = Some(*cause);
        }
    }
    seen
}

#[expect(clippy::cast_precision_loss, reason = "a minute in milliseconds")]
fn millis_of(minutes: f64) -> f64 {
    minutes * MINUTE as f64
}

#[expect(clippy::cast_possible_truncation, reason = "it saturates, and whoever asks clamps")]
fn whole(millis: f64) -> i64 {
    millis as i64
}

#[cfg(test)]
mod tests;
