//! A token bucket: so much a second, and some seconds' worth at once. The time is an argument.

/// Counts what is used against a rate. What was used already cannot be refused, so it may run into
/// debt, which the time pays back.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: u64,
    /// In thousandths of a token: as many a millisecond as tokens a second.
    level: i64,
    level_max: i64,
    at_ms: u64,
}

impl TokenBucket {
    /// A full bucket of so many seconds' worth; `None` for a rate of 0, which stands for no limit.
    pub fn new(per_second: u64, burst_seconds: u64, now_ms: u64) -> Option<Self> {
        let level_max = thousandths(per_second.saturating_mul(burst_seconds).max(1));
        (per_second > 0).then_some(Self {
            per_second,
            level: level_max,
            level_max,
            at_ms: now_ms,
        })
    }

    /// Uses tokens, whether they are there or not.
    pub fn spend(&mut self, now_ms: u64, tokens: u64) {
        self.refill(now_ms);
        self.level = self.level.saturating_sub(thousandths(tokens));
    }

    /// Uses one token if it is there.
    pub fn try_take(&mut self, now_ms: u64) -> bool {
        self.refill(now_ms);
        let is_there = self.level >= thousandths(1);
        if is_there {
            self.level -= thousandths(1);
        }
        is_there
    }

    /// Milliseconds until the debt is paid; 0 without one.
    pub fn wait_ms(&mut self, now_ms: u64) -> u64 {
        self.refill(now_ms);
        match self.level {
            0.. => 0,
            debt => debt.unsigned_abs().div_ceil(self.per_second),
        }
    }

    fn refill(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        let gained = passed_ms.saturating_mul(self.per_second);
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(gained).min(self.level_max);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

fn thousandths(tokens: u64) -> i64 {
    i64::try_from(tokens.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debt_is_paid_at_the_rate() {
        // Rate, seconds of burst, then steps of (time, tokens used, wait after them).
        type Steps = &'static [(u64, u64, u64)];
        let table: [(u64, u64, Steps); 6] = [
            (
                1_000,
                2,
                &[(0, 2_000, 0), (0, 1, 1), (1, 0, 0), (1, 500, 500)],
            ),
            (
                1_000,
                1,
                &[(0, 1_500, 500), (200, 0, 300), (499, 0, 1), (500, 0, 0)],
            ),
            (3, 1, &[(0, 4, 334), (334, 0, 0), (334, 1, 333)]),
            // A long silence fills it no further than its burst.
            (10, 1, &[(1_000_000, 10, 0), (1_000_000, 1, 100)]),
            // A clock that goes back gives nothing.
            (10, 1, &[(1_000, 11, 100), (500, 0, 100), (1_050, 0, 50)]),
            (u64::MAX, 1, &[(0, u64::MAX, 0), (1, u64::MAX, 0)]),
        ];
        for (rate, burst, steps) in table {
            let mut bucket = TokenBucket::new(rate, burst, 0).unwrap();
            for (at_ms, tokens, wait_ms) in steps {
                bucket.spend(*at_ms, *tokens);
                assert_eq!(bucket.wait_ms(*at_ms), *wait_ms, "{rate} {steps:?} {at_ms}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let mut bucket = TokenBucket::new(2, 2, 0).unwrap();
        let taken = (0..10).filter(|_| bucket.try_take(0)).count();
        assert_eq!(taken, 4);
        assert!(!bucket.try_take(499));
        assert!(bucket.try_take(500));
        assert!(!bucket.try_take(501));
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert!(TokenBucket::new(0, 10, 0).is_none());
    }
}
