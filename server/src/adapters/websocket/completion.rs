//! How long a message may take to come, once it has begun.
//!
//! A fixed time would cut off honest uploads over slow links, and a time that starts anew with every
//! byte would let a peer hold memory for ever at one byte a minute. So a message has some time, and more
//! for each byte that came: whoever is faster than [`BYTES_PER_SECOND_MIN`] may take as long as it takes.

use super::frames::Incomplete;

/// Slower than any link that one could edit over.
const BYTES_PER_SECOND_MIN: u64 = 1_024;

/// When what began at a time has to be complete, so many bytes of it being there.
pub(in crate::adapters) fn due_ms(since_ms: u64, timeout_ms: u64, bytes: usize) -> u64 {
    let earned_ms = (bytes as u64).saturating_mul(1_000) / BYTES_PER_SECOND_MIN;
    since_ms + timeout_ms + earned_ms
}

/// The message that is under way, if one is.
#[derive(Debug)]
pub(super) struct Completion {
    timeout_ms: u64,
    /// Its number, and since when it has been read.
    under_way: Option<(u64, u64)>,
    deadline_ms: u64,
}

impl Completion {
    pub(super) fn new(timeout_ms: u64) -> Self {
        Self {
            timeout_ms,
            under_way: None,
            deadline_ms: u64::MAX,
        }
    }

    /// All that came was looked at, up to this.
    pub(super) fn look(&mut self, now_ms: u64, incomplete: Option<Incomplete>) {
        let Some(Incomplete { number, bytes }) = incomplete else {
            return self.suspend();
        };
        let since_ms = match self.under_way {
            Some((known, since_ms)) if known == number => since_ms,
            _ => now_ms,
        };
        self.under_way = Some((number, since_ms));
        self.deadline_ms = due_ms(since_ms, self.timeout_ms, bytes);
    }

    /// The peer is not read: that is no fault of its own, and its time begins anew afterwards.
    pub(super) fn suspend(&mut self) {
        (self.under_way, self.deadline_ms) = (None, u64::MAX);
    }

    /// When the message has to be complete; `u64::MAX` while there is none.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u64, bytes: usize) -> Option<Incomplete> {
        Some(Incomplete { number, bytes })
    }

    #[test]
    fn bytes_earn_time_and_drops_do_not() {
        let mut message = Completion::new(30_000);
        assert_eq!(message.deadline_ms(), u64::MAX);
        message.look(1_000, part(0, 1));
        assert_eq!(message.deadline_ms(), 31_000);
        message.look(30_000, part(0, 60));
        assert_eq!(message.deadline_ms(), 31_058);
        message.look(30_000, part(0, 1 << 20));
        assert_eq!(message.deadline_ms(), 31_000 + 1_024_000);
    }

    #[test]
    fn each_message_has_a_time_of_its_own() {
        let mut message = Completion::new(100);
        message.look(0, part(0, 1));
        message.look(90, part(1, 1));
        assert_eq!(message.deadline_ms(), 190);
        message.look(95, None);
        assert_eq!(message.deadline_ms(), u64::MAX);
        message.look(96, part(1, 1));
        assert_eq!(message.deadline_ms(), 196);
    }

    #[test]
    fn time_in_which_nothing_is_read_does_not_count() {
        let mut message = Completion::new(100);
        message.look(0, part(0, 1));
        message.suspend();
        assert_eq!(message.deadline_ms(), u64::MAX);
        message.look(5_000, part(0, 1));
        assert_eq!(message.deadline_ms(), 5_100);
    }
}
