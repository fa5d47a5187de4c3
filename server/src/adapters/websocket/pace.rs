//! How fast one connection is read: beyond its rate it is left unread until that is made up for, so
//! that TCP slows the writer down and nothing is lost.

use driftless_proto::bucket::TokenBucket;
use metrics::{Counter, counter};

use crate::adapters::limits::Limits;
use crate::metrics::READS_HELD_BACK;

/// Seconds' worth that may come at once. By default a whole document of the largest allowed size.
const BURST_SECONDS: u64 = 4;

/// The rates of one connection, looked at once a read, whatever number of messages it holds.
#[derive(Debug)]
pub(super) struct Pace {
    bytes: Option<Rate>,
    messages: Option<Rate>,
    /// It is not read before this time.
    resumes_ms: u64,
}

#[derive(Debug)]
struct Rate {
    bucket: TokenBucket,
    held_back: Counter,
}

impl Rate {
    fn new(per_second: u64, limit: &'static str, now_ms: u64) -> Option<Self> {
        Some(Self {
            bucket: TokenBucket::new(per_second, BURST_SECONDS, now_ms)?,
            held_back: counter!(READS_HELD_BACK, "limit" => limit),
        })
    }

    /// How long to wait after so much.
    fn spend(&mut self, now_ms: u64, amount: u64) -> u64 {
        self.bucket.spend(now_ms, amount);
        let wait_ms = self.bucket.wait_ms(now_ms);
        self.held_back.increment(u64::from(wait_ms > 0));
        wait_ms
    }
}

impl Pace {
    pub(super) fn new(limits: &Limits, now_ms: u64) -> Self {
        let (bytes, messages) = (
            limits.connection_bytes_per_second_max,
            limits.connection_messages_per_second_max,
        );
        Self {
            bytes: Rate::new(bytes, "bytes", now_ms),
            messages: Rate::new(messages, "messages", now_ms),
            resumes_ms: 0,
        }
    }

    /// So many bytes were read.
    pub(super) fn read(&mut self, now_ms: u64, bytes: usize) {
        if let Some(rate) = &mut self.bytes {
            let wait_ms = rate.spend(now_ms, bytes as u64);
            self.resumes_ms = self.resumes_ms.max(now_ms.saturating_add(wait_ms));
        }
    }

    /// So many messages were in what was read.
    pub(super) fn heard(&mut self, now_ms: u64, messages: u64) {
        if let Some(rate) = &mut self.messages
            && messages > 0
        {
            let wait_ms = rate.spend(now_ms, messages);
            self.resumes_ms = self.resumes_ms.max(now_ms.saturating_add(wait_ms));
        }
    }

    /// When it is read again; `None` when nothing keeps it from being read.
    pub(super) fn resumes_ms(&self, now_ms: u64) -> Option<u64> {
        (self.resumes_ms > now_ms).then_some(self.resumes_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(bytes: u64, messages: u64) -> Pace {
        let limits = Limits {
            connection_bytes_per_second_max: bytes,
            connection_messages_per_second_max: messages,
            ..Limits::default()
        };
        Pace::new(&limits, 0)
    }

    #[test]
    fn reading_pauses_until_the_slower_rate_is_made_up_for() {
        let mut both = pace(1_000, 10);
        both.read(0, 4_000);
        both.heard(0, 40);
        assert_eq!(both.resumes_ms(0), None);
        both.read(0, 100);
        assert_eq!(both.resumes_ms(0), Some(100));
        both.heard(0, 5);
        assert_eq!(both.resumes_ms(0), Some(500));
        assert_eq!(both.resumes_ms(499), Some(500));
        assert_eq!(both.resumes_ms(500), None);
    }

    #[test]
    fn without_rates_nothing_is_held_back() {
        let mut free = pace(0, 0);
        free.read(0, usize::MAX);
        free.heard(0, u64::MAX);
        assert_eq!(free.resumes_ms(0), None);
    }
}
