//! Writers at work: each edit goes out when it is due, by a schedule or in place of one that came
//! back.

use crate::bench::scramble;
use crate::client::edit::Typist;
use crate::client::messages::push_save_probe;
use crate::client::swarm::{ClientId, Listener, Swarm};
use crate::dues::Dues;

/// So many edits of a windowed writer can await slow readers before it stops, or four windows.
const SLOTS_MIN: usize = 1_024;
/// A writer whose socket holds more than this waits; its edits stay due.
const BACKLOG_BYTES_MAX: usize = 256 * 1024;

/// How fast writers type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Edits per second of each writer.
    Rate(f64),
    /// Edits of each writer under way.
    Window(usize),
}

impl Pace {
    /// A window where one is given, else a rate.
    pub(crate) fn new(rate: f64, window: Option<usize>) -> Self {
        window.map_or(Self::Rate(rate), Self::Window)
    }

    /// Whether anything would be typed at all.
    pub(crate) fn is_above_zero(self) -> bool {
        match self {
            Self::Rate(rate) => rate > 0.0,
            Self::Window(window) => window > 0,
        }
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rate(rate) => write!(formatter, "{rate} edits/s each"),
            Self::Window(window) => write!(formatter, "{window} edits of each under way"),
        }
    }
}

/// What the typing needs to know of the scenario, which counts what comes back.
pub(crate) trait Writers: Listener {
    /// The client behind a writer.
    fn client_of(&self, writer: usize) -> ClientId;
    /// A writer's next edit, due at `due_ns`, goes out.
    fn note_sent(&mut self, writer: usize, due_ns: u64);
    /// Whether a writer's next edit can be tracked. It cannot while one as many edits ago as there
    /// are slots has not come back everywhere.
    fn has_room(&self, writer: usize) -> bool;
    /// Moves the writers whose edits came back, and when, to `into`.
    fn take_returned(&mut self, into: &mut Vec<(usize, u64)>);
}

/// All writers of a run.
#[derive(Debug)]
pub(crate) struct Typing {
    typists: Vec<Typist>,
    schedule: Schedule,
    /// Edits that had to wait: the writer, and when each was due.
    waiting: Vec<(usize, u64)>,
    /// Each edit is followed by a save probe with its number, counted from one.
    with_probes: bool,
    scratch: Vec<u8>,
}

impl Typing {
    /// Writers with ids from `first_id` on that begin at `start_ns`, and when their edits are due.
    pub(crate) fn new(
        writers: usize,
        first_id: u64,
        pace: Pace,
        start_ns: u64,
    ) -> (Self, Vec<Dues>) {
        let mut typing = Self {
            typists: (0..writers)
                .map(|writer| Typist::new(first_id + writer as u64))
                .collect(),
            schedule: Schedule::default(),
            waiting: Vec::new(),
            with_probes: false,
            scratch: Vec::new(),
        };
        let dues = match pace {
            Pace::Window(window) => {
                for writer in 0..writers {
                    typing
                        .waiting
                        .extend(std::iter::repeat_n((writer, start_ns), window));
                }
                (0..writers)
                    .map(|_| Dues::windowed(SLOTS_MIN.max(window * 4)))
                    .collect()
            }
            Pace::Rate(rate) => {
                let interval_ns = 1e9 / rate;
                let phases = phases(writers, start_ns, interval_ns);
                typing.schedule = Schedule::new(&phases, interval_ns);
                let paced = |first_ns: u64| Dues::Paced {
                    first_ns,
                    interval_ns,
                };
                phases.into_iter().map(paced).collect()
            }
        };
        (typing, dues)
    }

    /// The same, with a save probe behind each edit.
    pub(crate) fn with_probes(mut self) -> Self {
        self.with_probes = true;
        self
    }

    /// When the next edit is due by schedule; never without one.
    pub(crate) fn next_ns(&self) -> u64 {
        self.schedule.next_ns()
    }

    /// Sends what is due.
    pub(crate) fn send_due(&mut self, now_ns: u64, swarm: &mut Swarm, writers: &mut impl Writers) {
        let mut due = std::mem::take(&mut self.waiting);
        writers.take_returned(&mut due);
        while let Some(next) = self.schedule.pop(now_ns) {
            due.push(next);
        }
        let mut at = 0;
        while let Some((writer, _)) = due.get(at).copied() {
            let client = writers.client_of(writer);
            let may_write = swarm.client(client).backlog() < BACKLOG_BYTES_MAX;
            self.scratch.clear();
            // All that one writer owes goes out in one write.
            while let Some((_, due_ns)) = due.get(at).filter(|(next, _)| *next == writer) {
                if may_write && writers.has_room(writer) {
                    let clock = self.typists[writer].push_next(&mut self.scratch);
                    if self.with_probes {
                        push_save_probe(&mut self.scratch, clock + 1);
                    }
                    writers.note_sent(writer, *due_ns);
                } else {
                    self.waiting.push((writer, *due_ns));
                }
                at += 1;
            }
            if !self.scratch.is_empty() {
                swarm.write(client, &self.scratch, writers);
            }
        }
        if self.waiting.is_empty() {
            due.clear();
            self.waiting = due;
        }
    }
}

/// Each writer begins at a moment of its own within the first interval.
pub(crate) fn phases(writers: usize, start_ns: u64, interval_ns: f64) -> Vec<u64> {
    let phase = |writer: usize| {
        let fraction = (scramble(writer as u64) >> 11) as f64 / (1u64 << 53) as f64;
        start_ns + (fraction * interval_ns) as u64
    };
    (0..writers).map(phase).collect()
}

/// Which writer's edit is due next.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Writers by the moment of their first edit.
    order: Vec<(u64, usize)>,
    interval_ns: f64,
    next: usize,
}

impl Schedule {
    pub(crate) fn new(phases: &[u64], interval_ns: f64) -> Self {
        let numbered = phases.iter().enumerate();
        let mut order: Vec<(u64, usize)> =
            numbered.map(|(writer, phase)| (*phase, writer)).collect();
        order.sort_unstable();
        Self {
            order,
            interval_ns,
            next: 0,
        }
    }

    pub(crate) fn next_ns(&self) -> u64 {
        if self.order.is_empty() {
            return u64::MAX;
        }
        let round = self.next / self.order.len();
        let (phase_ns, _) = self.order[self.next % self.order.len()];
        phase_ns + (round as f64 * self.interval_ns) as u64
    }

    /// The next writer and when its edit was due, if that is not after `now_ns`.
    pub(crate) fn pop(&mut self, now_ns: u64) -> Option<(usize, u64)> {
        let due_ns = self.next_ns();
        if due_ns > now_ns {
            return None;
        }
        let (_, writer) = self.order[self.next % self.order.len()];
        self.next += 1;
        Some((writer, due_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_writer_types_at_its_rate_from_its_own_moment() {
        let mut schedule = Schedule::new(&[30, 10, 20], 100.0);
        assert_eq!(schedule.pop(9), None);
        let due: Vec<_> = std::iter::from_fn(|| schedule.pop(125)).collect();
        assert_eq!(due, [(1, 10), (2, 20), (0, 30), (1, 110), (2, 120)]);
        assert_eq!(schedule.next_ns(), 130);
    }

    #[test]
    fn phases_lie_within_the_first_interval() {
        let phases = phases(100, 1_000, 50.0);
        assert!(phases.iter().all(|phase| (1_000..1_050).contains(phase)));
        assert_ne!(phases[0], phases[1]);
    }
}
