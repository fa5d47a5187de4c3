//! The generator's clock and its precise alarm.
//!
//! `epoll_wait` rounds its timeout up to milliseconds, which would show as latency; a timer
//! descriptor in the same poll wakes to the microsecond without spinning.

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Nanoseconds since the start of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    #[inline]
    pub(crate) fn now_ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Nanoseconds of a duration given in seconds.
pub(crate) fn seconds_ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// An alarm in a mio poll.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: TimerFd,
    armed_ns: Option<u64>,
}

impl Alarm {
    pub(crate) fn new(registry: &Registry, token: Token) -> std::io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let descriptor = timer.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        Ok(Self {
            timer,
            armed_ns: None,
        })
    }

    /// Wakes the poll at `deadline_ns`; a system call only when the deadline is a new one.
    pub(crate) fn set(&mut self, clock: Clock, deadline_ns: u64) -> std::io::Result<()> {
        if self.armed_ns == Some(deadline_ns) {
            return Ok(());
        }
        self.armed_ns = Some(deadline_ns);
        // Zero would disarm.
        let wait = Duration::from_nanos(deadline_ns.saturating_sub(clock.now_ns()).max(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        Ok(())
    }

    /// Forgets that the alarm rang.
    pub(crate) fn clear(&mut self) {
        self.armed_ns = None;
        // Not rung after all: nothing to clear.
        let _ = self.timer.wait();
    }
}
