//! The one place of the server that asks what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the server started (monotonic), and since 1970 (wall clock).
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts now, at 1 ms, so that 0 can mean "never".
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Milliseconds since the start, never going back.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Milliseconds since 1970 by the wall clock: for people, logs and what strangers date, such as
    /// tokens.
    pub fn wall_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
