//! What a simulation goes by: how large, how long, and how much of what happens.
//!
//! Two likenesses: as often as in life ([`Settings::new`]), and as much as in a large estate whatever
//! the size ([`Settings::hard`]).

use super::estate::{self, PAIRS};
use super::{BEGIN, EVENTS, Kind, LATE_MAX};
use crate::model::{Span, Timestamp};

/// The fewest pairs of an estate in which things break about as often as in life: with fewer, faults
/// would not be there at the same time at all.
const LIFELIKE_PAIRS: u32 = 2_000;
/// So few events have no room for results that say nothing.
const FEW_EVENTS: u64 = 100_000;

/// What a simulation goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// How many events; it ends with the last one.
    pub events: u64,
    /// How many host|check pairs, held to [`PAIRS`].
    pub pairs: u32,
    /// How much simulated time, at most.
    pub length: Option<Span>,
    /// When it begins.
    pub start: Timestamp,
    /// How much of what happens.
    pub rates: Rates,
    /// How much faster than life it goes: all lengths of time are divided by it. For the demo.
    pub pace: u32,
    /// What happens, where it is not left to chance; then there is no noise either.
    pub script: Vec<Scripted>,
}

impl Settings {
    /// So many events of an estate of fitting size in which things break about as often as in life.
    #[must_use]
    pub fn new(seed: u64, events: u64) -> Self {
        let mut settings = Self::hard(seed, events);
        settings.pairs = settings.pairs.max(LIFELIKE_PAIRS);
        let chatty = if events > FEW_EVENTS { settings.rates.chatty } else { 0.0 };
        settings.rates = Rates { chatty, ..Rates::default() };
        settings
    }

    /// So many events of an estate, the smaller the fewer they are, in which as much breaks as
    /// in a large one.
    #[must_use]
    pub fn hard(seed: u64, events: u64) -> Self {
        let pairs = u32::try_from(events.isqrt().saturating_mul(2)).unwrap_or(u32::MAX);
        Self {
            seed,
            events: events.clamp(EVENTS.0, EVENTS.1),
            pairs: pairs.clamp(PAIRS.0, PAIRS.1),
            length: None,
            start: BEGIN,
            rates: Rates::hard(),
            pace: 1,
            script: Vec::new(),
        }
    }

    /// The pairs that so many hosts with their VMs have.
    #[must_use]
    pub fn pairs_of_hosts(hosts: u32) -> u32 {
        hosts.saturating_mul(estate::HOST_PAIRS)
    }
}

/// How much of what happens; shares are from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Faults open at once, on average, where the estate is large enough; 0 to `OPEN_MAX`. They
    /// come as a Poisson process.
    pub open: f64,
    /// Faults a machine and day, at most: small estates have less than `open` at once.
    pub per_machine: f64,
    /// How often faults of whole racks, sites and teams come beside those of single machines and
    /// services: 1 is a fifth of all.
    pub wide: f64,
    /// How long what was repaired does not break again in the same way; deploys and restarts may
    /// follow each other.
    pub rest: Span,
    /// Share of faults that hit a machine of another open fault.
    pub same_host: f64,
    /// Of each fault a share between these of what it does is not noticed.
    pub undetected: (f64, f64),
    /// Share of events that are late by up to `late_max`, others by seconds.
    pub late: f64,
    /// How late; up to [`LATE_MAX`].
    pub late_max: Span,
    /// Share of machines that a second monitor watches, under another spelling of the name.
    pub twice: f64,
    /// Share of recoveries whose `ok` is lost.
    pub lost_ok: f64,
    /// How far a clock of a monitor is off, either way; up to `SKEW_MAX`.
    pub skew: Span,
    /// Share of pairs that publish every result; others only problems and their ends.
    pub chatty: f64,
    /// How often a problem that lasts is published again by the others.
    pub renotify: Span,
    /// The same of the second monitor; 0 is never.
    pub renotify_second: Span,
    /// Noise: 1 is about 0.3 bouts per pair and day, 0 none.
    pub noise: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            open: 1.5,
            per_machine: 1.0 / 30.0,
            wide: 0.2,
            rest: Span::from_secs(86_400),
            same_host: 0.1,
            undetected: (0.05, 0.3),
            late: 0.01,
            late_max: LATE_MAX,
            twice: 0.25,
            lost_ok: 0.02,
            skew: Span::from_secs(20),
            chatty: 0.1,
            renotify: Span::from_secs(1_800),
            renotify_second: Span::from_secs(3_600),
            noise: 1.0,
        }
    }
}

impl Rates {
    /// As much as in a large estate, whatever the size: the same check breaks several times a day,
    /// and what is wide does so as often as what is not. What the second monitor told it never
    /// tells again, so that a lost `ok` leaves a problem for ever.
    #[must_use]
    pub fn hard() -> Self {
        let [rest, renotify_second] = [Span::ZERO; 2];
        Self { per_machine: f64::INFINITY, wide: 1.0, rest, renotify_second, ..Self::default() }
    }
}

/// One entry of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scripted {
    /// How long after the begin, in simulated time.
    pub at: Span,
    /// How long it lasts.
    pub length: Span,
    /// What it is; none is a check that flaps.
    pub kind: Option<Kind>,
}
