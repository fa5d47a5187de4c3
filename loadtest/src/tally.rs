//! Counts deliveries: every edit once per client that is not its writer, with its latency.

use std::ops::Range;

use crate::cli::Until;
use crate::client::connection::Ended;
use crate::client::coverage::Coverage;
use crate::client::messages::Message;
use crate::client::swarm::{ClientId, Listener};
use crate::client::update::{Run, for_each_run};
use crate::dues::Dues;
use crate::histogram::Histogram;
use crate::typing::Writers;

/// Who is who: clients of room r are `r * clients ..`, its first ones write, its last ones stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) rooms: usize,
    pub(crate) clients: usize,
    pub(crate) writers: usize,
    pub(crate) stopped: usize,
    pub(crate) first_id: u64,
}

impl Layout {
    pub(crate) fn writer_count(&self) -> usize {
        self.rooms * self.writers
    }

    /// The client behind a writer.
    pub(crate) fn client_of(&self, writer: usize) -> ClientId {
        writer / self.writers * self.clients + writer % self.writers
    }

    pub(crate) fn is_stopped(&self, client: ClientId) -> bool {
        client % self.clients >= self.clients - self.stopped
    }

    /// Other clients of a room that read all the time.
    fn readers(&self) -> u64 {
        (self.clients - 1 - self.stopped) as u64
    }

    fn writer_of(&self, id: u64) -> Option<usize> {
        let writer = usize::try_from(id.checked_sub(self.first_id)?).ok()?;
        (writer < self.writer_count()).then_some(writer)
    }
}

/// All counts of a fan-out run.
#[derive(Debug)]
pub(crate) struct Tally {
    layout: Layout,
    until: Until,
    dues: Vec<Dues>,
    /// Edits sent, by writer.
    sent: Vec<u64>,
    /// What each client has of each writer of its room, at `client * writers + writer in room`.
    coverage: Vec<Coverage>,
    /// Edits due in this time go into `latency`.
    measured_ns: Range<u64>,
    pub(crate) latency: Histogram,
    /// Deliveries to clients that read all the time.
    pub(crate) deliveries: u64,
    /// Deliveries to clients that had stopped reading.
    pub(crate) late_deliveries: u64,
    /// Those of both that came in a step 2 after the join: the server resynced the client.
    pub(crate) by_step2: u64,
    /// Edits that reached a client of another room.
    pub(crate) strays: u64,
    pub(crate) denials: u64,
    pub(crate) ended: u64,
    /// Updates that could not be read.
    pub(crate) unreadable: u64,
    pub(crate) last_delivery_ns: u64,
    /// Windowed: writers whose edit came back, and when.
    returned: Vec<(usize, u64)>,
}

impl Tally {
    pub(crate) fn new(
        layout: Layout,
        until: Until,
        dues: Vec<Dues>,
        measured_ns: Range<u64>,
    ) -> Self {
        let pairs = layout.rooms * layout.clients * layout.writers;
        Self {
            layout,
            until,
            sent: vec![0; dues.len()],
            dues,
            coverage: vec![Coverage::default(); pairs],
            measured_ns,
            latency: Histogram::new(),
            deliveries: 0,
            late_deliveries: 0,
            by_step2: 0,
            strays: 0,
            denials: 0,
            ended: 0,
            unreadable: 0,
            last_delivery_ns: 0,
            returned: Vec::new(),
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// Deliveries to reading clients that are still owed.
    pub(crate) fn outstanding(&self) -> u64 {
        (self.sent() * self.layout.readers()).saturating_sub(self.deliveries)
    }

    /// Deliveries to stopped clients that are still owed.
    pub(crate) fn late_outstanding(&self) -> u64 {
        (self.sent() * self.layout.stopped as u64).saturating_sub(self.late_deliveries)
    }

    /// Counts what never came and puts its age into the latencies: at least so late.
    pub(crate) fn count_missing(&mut self, now_ns: u64) -> u64 {
        let layout = self.layout;
        let mut missing = 0;
        for (pair, coverage) in self.coverage.iter().enumerate() {
            let (client, local) = (pair / layout.writers, pair % layout.writers);
            let writer = client / layout.clients * layout.writers + local;
            if layout.client_of(writer) == client || layout.is_stopped(client) {
                continue;
            }
            missing += coverage.missing(self.sent[writer]);
            let (dues, measured_ns, latency) =
                (&self.dues[writer], &self.measured_ns, &mut self.latency);
            coverage.for_each_missing(self.sent[writer], |range| {
                for clock in range {
                    let due_ns = dues.due_ns(clock);
                    if measured_ns.contains(&due_ns) {
                        latency.record(now_ns.saturating_sub(due_ns));
                    }
                }
            });
        }
        missing
    }

    fn count_update(&mut self, client: ClientId, update: &[u8], now_ns: u64, is_step2: bool) {
        let before = self.deliveries + self.late_deliveries;
        let read = for_each_run(update, |run| self.count_run(client, run, now_ns));
        if read.is_err() {
            self.unreadable += 1;
        }
        let new = self.deliveries + self.late_deliveries - before;
        if new > 0 {
            self.last_delivery_ns = now_ns;
        }
        if is_step2 {
            self.by_step2 += new;
        }
    }

    #[inline]
    fn count_run(&mut self, client: ClientId, run: Run, now_ns: u64) {
        let layout = self.layout;
        // Other ids are those of earlier runs in the same room.
        let Some(writer) = layout.writer_of(run.client) else {
            return;
        };
        if writer / layout.writers != client / layout.clients {
            self.strays += run.length;
            return;
        }
        // Some servers echo an edit to its writer.
        if layout.client_of(writer) == client {
            return;
        }
        let coverage = &mut self.coverage[client * layout.writers + writer % layout.writers];
        if layout.is_stopped(client) {
            let late = &mut self.late_deliveries;
            coverage.add(run.start, run.length, |new| *late += new.end - new.start);
            return;
        }
        let mut delivery = Delivery {
            dues: &mut self.dues[writer],
            until: self.until,
            readers: layout.readers(),
            measured_ns: &self.measured_ns,
            latency: &mut self.latency,
            returned: &mut self.returned,
            writer,
            now_ns,
        };
        let deliveries = &mut self.deliveries;
        coverage.add(run.start, run.length, |new| {
            *deliveries += new.end - new.start;
            for clock in new {
                delivery.count(clock);
            }
        });
    }
}

impl Listener for Tally {
    #[inline]
    fn message(&mut self, client: ClientId, message: Message<'_>, now_ns: u64) {
        match message {
            Message::Update(update) => self.count_update(client, update, now_ns, false),
            Message::Step2(update) => self.count_update(client, update, now_ns, true),
            Message::Denied(_) => self.denials += 1,
            Message::Step1(_) | Message::Saved(_) | Message::Presence(_) | Message::Other => {}
        }
    }

    fn ended(&mut self, _client: ClientId, _why: Ended) {
        self.ended += 1;
    }
}

impl Writers for Tally {
    fn client_of(&self, writer: usize) -> ClientId {
        self.layout.client_of(writer)
    }

    fn note_sent(&mut self, writer: usize, due_ns: u64) {
        self.dues[writer].note(self.sent[writer], due_ns, self.layout.readers());
        self.sent[writer] += 1;
    }

    fn has_room(&self, writer: usize) -> bool {
        self.dues[writer].awaited(self.sent[writer]) == 0
    }

    fn take_returned(&mut self, into: &mut Vec<(usize, u64)>) {
        into.append(&mut self.returned);
    }
}

/// One writer's edits as they reach one reader.
struct Delivery<'a> {
    dues: &'a mut Dues,
    until: Until,
    readers: u64,
    measured_ns: &'a Range<u64>,
    latency: &'a mut Histogram,
    returned: &'a mut Vec<(usize, u64)>,
    writer: usize,
    now_ns: u64,
}

impl Delivery<'_> {
    #[inline]
    fn count(&mut self, clock: u64) {
        let due_ns = self.dues.due_ns(clock);
        if self.measured_ns.contains(&due_ns) {
            self.latency.record(self.now_ns.saturating_sub(due_ns));
        }
        let Some(awaited) = self.dues.note_received(clock) else {
            return;
        };
        let has_returned = match self.until {
            Until::All => awaited == 0,
            Until::First => awaited + 1 == self.readers,
        };
        if has_returned {
            self.returned.push((self.writer, self.now_ns));
        }
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
