//! Latencies kept in an hdrhistogram and shown to Prometheus as a histogram.
//!
//! Prometheus buckets alone would round a p99 to a bucket's edge; the hdrhistogram keeps three
//! significant digits from 1 µs to 1 h, for benches and the log line at the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram as ProtoHistogram, Metric, MetricFamily, MetricType};

/// Upper bounds of the buckets that Prometheus sees, in seconds.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
const HOUR_MICROS: u64 = 3_600_000_000;

/// One latency; cheap to clone, all clones count together.
#[derive(Clone)]
pub struct Latency {
    inner: Arc<Mutex<Inner>>,
    desc: Desc,
}

struct Inner {
    histogram: Histogram<u64>,
    sum_micros: u64,
}

/// The middle, the tail and the worst of a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Half took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// None took longer.
    pub max: Duration,
}

impl Latency {
    /// A latency under a metric name that ends in `_seconds`.
    ///
    /// # Errors
    /// When the name is not one that Prometheus takes.
    pub fn new(name: &str, help: &str) -> Result<Self, prometheus::Error> {
        let desc = Desc::new(name.into(), help.into(), Vec::new(), Default::default())?;
        let histogram = Histogram::new_with_bounds(1, HOUR_MICROS, 3)
            .expect("1 µs to 1 h at 3 digits is within what hdrhistogram takes");
        Ok(Self { inner: Arc::new(Mutex::new(Inner { histogram, sum_micros: 0 })), desc })
    }

    /// Counts one duration; longer than an hour counts as an hour.
    pub fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// Counts the same duration several times.
    pub fn observe_many(&self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, HOUR_MICROS);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.histogram.saturating_record_n(micros, times);
        inner.sum_micros = inner.sum_micros.saturating_add(micros.saturating_mul(times));
    }

    /// The quantiles of all that was measured.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| Duration::from_micros(inner.histogram.value_at_quantile(quantile));
        Quantiles {
            count: inner.histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: Duration::from_micros(inner.histogram.max()),
        }
    }
}

impl Collector for Latency {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = ProtoHistogram::default();
        shown.set_sample_count(inner.histogram.len());
        shown.set_sample_sum(Duration::from_micros(inner.sum_micros).as_secs_f64());
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for bound in BOUNDS {
            let micros = Duration::from_secs_f64(bound).as_micros();
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(
                inner.histogram.count_between(0, u64::try_from(micros).unwrap_or(u64::MAX)),
            );
            buckets.push(bucket);
        }
        shown.set_bucket(buckets);
        let mut metric = Metric::default();
        metric.set_histogram(shown);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_quantiles_are_exact_to_three_digits() {
        let latency = Latency::new("x_seconds", "x").expect("a good name");
        for millis in 1..=100 {
            latency.observe(Duration::from_millis(millis));
        }
        let quantiles = latency.quantiles();
        assert_eq!(quantiles.count, 100);
        assert!(quantiles.p50.as_millis().abs_diff(50) <= 1, "{quantiles:?}");
        assert!(quantiles.max.as_millis().abs_diff(100) <= 1, "{quantiles:?}");
        let family = latency.collect().remove(0);
        let histogram = family.get_metric()[0].get_histogram();
        let counts: Vec<u64> =
            histogram.get_bucket().iter().map(Bucket::cumulative_count).collect();
        assert!(counts.is_sorted() && counts.last() == Some(&100), "{counts:?}");
        assert!((histogram.get_sample_sum() - 5.05).abs() < 0.01);
    }
}
