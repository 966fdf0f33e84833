//! What monitors say though nothing is broken: flapping, hovering at a threshold, blips, nightly load,
//! daily bursts.
//!
//! A few pairs make most of it, as in life. The truth labels none of it.

use super::estate::Check;
use super::{Cause, Due, MINUTE, Simulation, whole};
use crate::model::Status;

const DAY: i64 = 24 * 60 * MINUTE;

/// Kinds of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Noise {
    /// A check that comes and goes for an hour or so.
    Flapping,
    /// A value near its threshold, for hours.
    Hover,
    /// One bad result.
    Blip,
    /// Backups and batch jobs, on the same machines every night.
    Night,
    /// The morning's users: some services are slow for a while, every day the same.
    Morning,
}

impl Noise {
    pub(super) const ALL: [Self; 5] =
        [Self::Flapping, Self::Hover, Self::Blip, Self::Night, Self::Morning];

    /// Bouts per pair and day where they come by chance, or else the time of day they come at.
    const fn habits(self) -> Result<f64, i64> {
        match self {
            Self::Flapping => Ok(0.05),
            Self::Hover => Ok(0.08),
            Self::Blip => Ok(0.12),
            Self::Night => Err(60 * MINUTE),
            Self::Morning => Err(9 * 60 * MINUTE),
        }
    }
}

impl Simulation {
    pub(super) fn next_noise(&mut self, noise: Noise, now: i64) {
        let much = self.settings.rates.noise;
        if much <= 0.0 {
            return;
        }
        let next = match noise.habits() {
            Ok(rate) => {
                let pairs = u32::try_from(self.estate.pairs.len()).unwrap_or(u32::MAX);
                #[expect(clippy::cast_precision_loss, reason = "a day in milliseconds")]
                let mean = DAY as f64 / (rate * much * f64::from(pairs));
                now + whole(self.storms.exponential(mean)).max(1)
            }
            Err(clock) => {
                let start = self.settings.start.as_millis().rem_euclid(DAY);
                let wait = (clock - (start + now)).rem_euclid(DAY);
                now + if wait == 0 { DAY } else { wait }
            }
        };
        self.enter(next, Due::Noise(noise));
    }

    pub(super) fn make_noise(&mut self, noise: Noise, now: i64) {
        match noise {
            Noise::Flapping => {
                let pair = self.usual_suspect();
                let length = whole(self.storms.log_normal(60.0, 0.6)) * MINUTE;
                self.flap(now, pair, length);
            }
            Noise::Hover => {
                let pair = self.usual_suspect();
                let length = self.storms.between(60 * MINUTE, 180 * MINUTE);
                let near = (Status::Warning, "just above the threshold");
                if self.estate.pairs[pair].check != Check::Ping {
                    self.disturb(pair, now, length, near, 0.25);
                }
            }
            Noise::Blip => {
                let pair = self.storms.index(self.estate.pairs.len());
                let bad = (Status::Critical, "timeout after 10 s");
                self.disturb(pair, now, 90_000, bad, 1.0);
            }
            Noise::Night => self.same_every_day(now, 40, &[Check::Cpu, Check::Disk], "batch jobs"),
            Noise::Morning => self.same_every_day(now, 60, &[Check::Latency], "more users"),
        }
    }

    /// A check that comes and goes.
    pub(super) fn flap(&mut self, now: i64, pair: usize, length: i64) {
        self.disturb(pair, now, length, (Status::Critical, "connection reset"), 0.5);
    }

    /// One machine in so many is loaded, always the same ones, within some minutes.
    fn same_every_day(&mut self, now: i64, one_in: usize, checks: &[Check], text: &'static str) {
        // Which ones hangs on the checks, not on the day.
        let first = checks.len();
        for node in (first..self.estate.watched()).step_by(one_in) {
            let begin = now + self.storms.between(0, 30 * MINUTE);
            let length = self.storms.between(15 * MINUTE, 75 * MINUTE);
            let pairs: Vec<usize> = self
                .estate
                .pairs_of(node)
                .filter(|(_, check)| checks.contains(check))
                .map(|(pair, _)| pair)
                .collect();
            for pair in pairs {
                self.disturb(pair, begin, length, (Status::Warning, text), 1.0);
            }
        }
    }

    /// A pair has at most one noise at a time.
    fn disturb(
        &mut self,
        pair: usize,
        from: i64,
        length: i64,
        (status, text): (Status, &'static str),
        shows: f64,
    ) {
        let until = from + length;
        let taken = |cause: &Cause| cause.fault.is_none() && cause.until > from;
        if !self.states[pair].causes.iter().any(taken) {
            self.afflict(pair, Cause { from, until, status, text, fault: None, shows }, false);
        }
    }

    /// A pair; a tenth of them make most of the noise, spread over the estate.
    fn usual_suspect(&mut self) -> usize {
        let pairs = self.estate.pairs.len();
        let among = if self.storms.chance(0.7) { pairs.div_ceil(10) } else { pairs };
        let drawn = self.storms.index(among);
        // 7,919 is a prime that no estate's number of pairs is a multiple of but by chance.
        drawn * 7_919 % pairs
    }
}
