//! Chance by a seed: the same seed gives the same numbers on every machine and in every version.
//!
//! SplitMix64, own and small, so that a recorded seed stays good when a library changes its mind.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// By seed and purpose: streams of other purposes are others, so that one more draw here moves
    /// nothing there.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        Self(random.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// From `least` up to, not including, `most`; `least` where the range is empty.
    #[expect(clippy::cast_precision_loss, reason = "lengths of time and numbers of hosts")]
    #[expect(clippy::cast_possible_truncation, reason = "it lies between two i64")]
    pub(super) fn between(&mut self, least: i64, most: i64) -> i64 {
        let width = most.saturating_sub(least).max(1);
        least + (self.unit() * width as f64) as i64
    }

    /// A place in a list of so many; 0 where it is empty.
    pub(super) fn index(&mut self, len: usize) -> usize {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        usize::try_from(self.between(0, len)).unwrap_or(0)
    }

    /// Exponential with this mean: the time to the next arrival of a Poisson process.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// Log-normal with this median.
    pub(super) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let (one, two) = (1.0 - self.unit(), self.unit());
        let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos();
        median * (sigma * normal).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_they_are_said_to_be() {
        let mut random = Random::new(7, 1);
        let (mut sum, mut above) = (0.0, 0);
        for _ in 0..20_000 {
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            assert!((3..9).contains(&random.between(3, 9)));
            sum += random.exponential(10.0);
            above += i32::from(random.log_normal(5.0, 0.8) > 5.0);
        }
        assert!((9.5..10.5).contains(&(sum / 20_000.0)), "{sum}");
        assert!((9_500..10_500).contains(&above), "{above}");
        assert_eq!(random.between(4, 4), 4);
        assert_eq!(random.index(0), 0);
    }

    #[test]
    fn seeds_and_purposes_differ_and_repeat() {
        let first = |seed, purpose| Random::new(seed, purpose).unit().to_bits();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
        // Held, so that a seed in a report means the same next year.
        assert_eq!(Random::new(1, 1).between(0, 1_000_000), HELD);
    }

    const HELD: i64 = 591_431;
}
