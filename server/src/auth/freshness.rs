//! When keys are looked for again: pure, told the time.

/// How often keys are looked for, and how long they last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// After this long they are looked for again, though nobody misses one.
    pub(super) refresh_ms: u64,
    /// The least time between two looks, whatever strangers ask for; also the pause after a failure.
    pub(super) interval_min_ms: u64,
    /// Keys that could not be confirmed for longer are no longer used.
    pub(super) age_max_ms: Option<u64>,
}

/// What is known about the age of some keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freshness {
    pace: Pace,
    /// The end of the last look, and of the last one that succeeded.
    looked_ms: Option<u64>,
    confirmed_ms: Option<u64>,
}

impl Freshness {
    /// Nothing has been looked for.
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            looked_ms: None,
            confirmed_ms: None,
        }
    }

    /// A look ended.
    pub(super) fn looked(&mut self, now_ms: u64, succeeded: bool) {
        self.looked_ms = Some(now_ms);
        if succeeded {
            self.confirmed_ms = Some(now_ms);
        }
    }

    /// True when it is time for a look of its own accord.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let old = self
            .confirmed_ms
            .is_none_or(|at| now_ms >= at + self.pace.refresh_ms);
        old && self.may_look(now_ms)
    }

    /// True when somebody who misses a key may cause a look.
    pub(super) fn may_look(&self, now_ms: u64) -> bool {
        self.looked_ms
            .is_none_or(|at| now_ms >= at + self.pace.interval_min_ms)
    }

    /// True while the keys may be used.
    pub(super) fn is_usable(&self, now_ms: u64) -> bool {
        match (self.confirmed_ms, self.pace.age_max_ms) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(at), Some(age_max_ms)) => now_ms < at + age_max_ms,
        }
    }

    /// True when a look ever succeeded.
    pub(super) fn was_confirmed(&self) -> bool {
        self.confirmed_ms.is_some()
    }

    /// True when the last look failed.
    pub(super) fn is_failing(&self) -> bool {
        self.looked_ms != self.confirmed_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        refresh_ms: 300,
        interval_min_ms: 10,
        age_max_ms: Some(1_000),
    };

    #[test]
    fn keys_age_and_are_looked_for_in_time() {
        let mut freshness = Freshness::new(PACE);
        assert!(freshness.is_due(0) && freshness.may_look(0) && !freshness.is_usable(0));
        freshness.looked(100, true);
        assert!(!freshness.may_look(109) && freshness.may_look(110));
        assert!(!freshness.is_due(399) && freshness.is_due(400));
        assert!(freshness.is_usable(1_099) && !freshness.is_usable(1_100));
        assert!(!freshness.is_failing());
    }

    #[test]
    fn a_failing_place_is_asked_at_the_least_interval_and_its_last_keys_are_kept() {
        let mut freshness = Freshness::new(PACE);
        freshness.looked(0, true);
        freshness.looked(300, false);
        assert!(freshness.is_failing() && freshness.was_confirmed() && freshness.is_usable(300));
        assert!(!freshness.is_due(309) && freshness.is_due(310));
        freshness.looked(310, false);
        assert!(!freshness.is_due(319) && freshness.is_due(320));
        assert!(!freshness.is_usable(1_000));
        freshness.looked(1_010, true);
        assert!(freshness.is_usable(1_010) && !freshness.is_failing());
        let forever = Pace {
            age_max_ms: None,
            ..PACE
        };
        let mut freshness = Freshness::new(forever);
        freshness.looked(1, false);
        assert!(!freshness.is_usable(1) && !freshness.was_confirmed());
        freshness.looked(11, true);
        assert!(freshness.is_usable(u64::MAX));
    }
}
