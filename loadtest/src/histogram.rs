//! A log-bucketed histogram of times: constant memory, 1.6 % precision, exact maximum.

/// Buckets per power of two.
const SUB_BUCKETS: u64 = 64;
const SUB_BITS: u32 = 6;
const BUCKETS: usize = (SUB_BUCKETS * (65 - SUB_BITS as u64)) as usize;

/// Counts of nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max_ns: 0,
        }
    }

    #[inline]
    pub(crate) fn record(&mut self, value_ns: u64) {
        self.counts[bucket_of(value_ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(value_ns);
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// The time below which `fraction` of the recorded ones lie, in milliseconds.
    pub(crate) fn quantile_ms(&self, fraction: f64) -> f64 {
        let wanted = ((self.total as f64 * fraction).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return to_ms(upper_bound(bucket as u64).min(self.max_ns));
            }
        }
        to_ms(self.max_ns)
    }

    pub(crate) fn max_ms(&self) -> f64 {
        to_ms(self.max_ns)
    }
}

fn to_ms(value_ns: u64) -> f64 {
    value_ns as f64 / 1e6
}

#[inline]
fn bucket_of(value: u64) -> usize {
    if value < SUB_BUCKETS {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    (u64::from(shift + 1) * SUB_BUCKETS + (value >> shift) - SUB_BUCKETS) as usize
}

/// The largest value of a bucket.
fn upper_bound(bucket: u64) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let next = u128::from(bucket % SUB_BUCKETS + SUB_BUCKETS + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_values_within_their_precision() {
        let values = (0..200u64).chain((7..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit]));
        for value in values.chain([u64::MAX]) {
            let bound = upper_bound(bucket_of(value) as u64);
            assert!(bound >= value, "{value}: {bound}");
            assert!(bound - value <= value / SUB_BUCKETS, "{value}: {bound}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        for value_ms in 1..=1_000u64 {
            histogram.record(value_ms * 1_000_000);
        }
        for (fraction, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = histogram.quantile_ms(fraction);
            assert!((found - expected).abs() <= expected / 60.0, "{found}");
        }
        assert_eq!(histogram.max_ms(), 1_000.0);
        assert_eq!(histogram.count(), 1_000);
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        assert_eq!(Histogram::new().quantile_ms(0.99), 0.0);
    }
}
