//! What time it is, as an argument: tests set it by hand.

use crate::clock::Clock;

/// Both clocks of the server.
pub trait TimeSource: std::fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970: tokens count so.
    fn wall_ms(&self) -> u64;
    /// Milliseconds that never go back: caches and pauses count so.
    fn now_ms(&self) -> u64;
}

impl TimeSource for Clock {
    fn wall_ms(&self) -> u64 {
        Clock::wall_ms(self)
    }

    fn now_ms(&self) -> u64 {
        Clock::now_ms(self)
    }
}
