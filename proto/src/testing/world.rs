//! The simulated world: everything there is, and the loop that moves time.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::client::{Client, Mode};
use super::link::Link;
use super::node::Node;
use super::queue::EventQueue;
use super::rng::Rng;
use super::scenario::{Fault, Plan};
use super::seen::Seen;
use super::store::Store;
use super::violation::Violation;

/// More events than this, and somebody talks without end: honest runs stay below a tenth.
const EVENTS_MAX: usize = 1_000_000;

/// How long everything is left alone after it was healed: presence of the dead expires within
/// two timeouts, slow commits and backoffs end sooner.
const HEAL_MS: u64 = 75_000;

/// How long the last letters may take to reach everyone.
const LAST_WORDS_MS: u64 = 15_000;

/// How long frames under way may take to arrive at the very end.
const SILENCE_MS: u64 = 10_000;

/// Clients are asked every three seconds, as `awareness.js` does.
const AWARENESS_TICK_MS: u64 = 3_000;

/// Something that is due.
#[derive(Debug)]
pub(super) enum Event {
    /// A client makes an edit.
    Edit(usize),
    /// A client looks at its presence.
    Tick(usize),
    /// A client tries to connect.
    Connect(usize),
    /// A client's network is back.
    Online(usize),
    /// Look at what arrived at the server over a link.
    Up(usize),
    /// Look at what arrived at the client over a link.
    Down(usize),
    /// The client's end of a link notices that it is cut.
    ClientNotices(usize),
    /// The server's end of a link notices that it is cut.
    ServerNotices(usize),
    /// A frame of a sibling tab arrives.
    Sibling(usize, Bytes),
    /// The document's actor takes a turn.
    Turn,
    /// A load may be complete.
    Load,
    /// A commit ends, in this run of the server.
    Commit(u64),
    /// The document hears of a commit, in this generation of its actor.
    Committed(u64, u64),
    /// The process starts again.
    Restart,
    Fault(Fault),
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) queue: EventQueue<Event>,
    pub(super) clients: Vec<Client>,
    pub(super) links: Vec<Link>,
    pub(super) node: Node,
    pub(super) store: Store,
    pub(super) seen: Seen,
    /// Nothing goes wrong any more, and nobody edits.
    pub(super) healed: bool,
    pub(super) tally: BTreeMap<&'static str, u64>,
    trace: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(seed: u64, keeps_trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let node = Node::new();
        Self {
            rng,
            plan,
            queue: EventQueue::new(),
            clients: Vec::new(),
            links: Vec::new(),
            node,
            store: Store::default(),
            seen: Seen::default(),
            healed: false,
            tally: BTreeMap::new(),
            trace: keeps_trace.then(Vec::new),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.queue.now_ms()
    }

    /// Notes a line for people who replay a seed.
    pub(super) fn trace(&mut self, line: impl FnOnce() -> String) {
        let now_ms = self.queue.now_ms();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now_ms:>7} {}", line()));
        }
    }

    pub(super) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Runs the whole scenario.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let plan = self.plan.clone();
        self.trace(|| format!("{plan:?}"));
        for _ in 0..plan.clients {
            let wait_ms = self.rng.below(plan.duration_ms / 4);
            self.add_client(wait_ms);
        }
        for (at_ms, fault) in &plan.faults {
            self.queue.at(*at_ms, Event::Fault(*fault));
        }
        self.run_until(plan.duration_ms)?;
        self.heal();
        self.run_until(plan.duration_ms + HEAL_MS)?;
        self.last_words();
        self.run_until(plan.duration_ms + HEAL_MS + LAST_WORDS_MS)?;
        self.run_until_silent()?;
        self.check_end()
    }

    fn run_until(&mut self, until_ms: u64) -> Result<(), Violation> {
        while let Some(event) = self.queue.pop(until_ms) {
            self.happen(event)?;
        }
        Ok(())
    }

    /// Runs on until nothing is under way, which renewals of presence interrupt now and then.
    fn run_until_silent(&mut self) -> Result<(), Violation> {
        let until_ms = self.now_ms() + SILENCE_MS;
        while self.is_busy() {
            let Some(event) = self.queue.pop(until_ms) else {
                return Err(Violation::Restless);
            };
            self.happen(event)?;
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        let links = self.links.iter().any(Link::is_busy);
        links || !self.store.is_idle() || self.node.is_busy()
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        self.count("events");
        let events = self.tally.get("events").copied().unwrap_or(0) as usize;
        if events > EVENTS_MAX {
            return Err(Violation::Runaway {
                what: "events",
                count: events,
                count_max: EVENTS_MAX,
            });
        }
        match event {
            Event::Edit(client) => self.edit(client),
            Event::Tick(client) => {
                self.tick(client);
                self.queue.after(AWARENESS_TICK_MS, Event::Tick(client));
            }
            Event::Connect(client) => self.connect(client),
            Event::Online(client) => self.come_online(client),
            Event::Up(link) => self.arrive_up(link),
            Event::Down(link) => return self.arrive_down(link),
            Event::ClientNotices(link) => self.client_notices(link),
            Event::ServerNotices(link) => self.server_notices(link, false),
            Event::Sibling(client, frame) => return self.hear_sibling(client, &frame),
            Event::Turn => return self.turn(),
            Event::Load => return self.load(),
            Event::Commit(run) => self.end_commit(run),
            Event::Committed(generation, version) => self.committed(generation, version),
            Event::Restart => self.restart(),
            Event::Fault(fault) => return self.fault(fault),
        }
        Ok(())
    }

    /// Everything works again; those who are away come back.
    fn heal(&mut self) {
        self.trace(|| "healed".to_owned());
        self.healed = true;
        self.store.failing_until_ms = 0;
        self.store.slow_until_ms = 0;
        for link in &mut self.links {
            link.stalled_until_ms = 0;
        }
        for link in 0..self.links.len() {
            self.queue.after(0, Event::Down(link));
        }
        for client in 0..self.clients.len() {
            self.come_online(client);
            self.open_the_lid(client);
        }
    }

    /// Tabs of one browser connect anew: one may hold what a sibling wrote that is gone for good,
    /// which y-websocket sends on with a step 2 only.
    fn open_the_lid(&mut self, client: usize) {
        let sibling = &self.clients[client];
        if sibling.group.is_some() && matches!(sibling.mode, Mode::Open(_)) {
            self.go_offline(client, true, 1);
        }
    }

    /// Everyone who is left types one letter: a session that is not served any more would miss it.
    fn last_words(&mut self) {
        self.trace(|| "last words".to_owned());
        for client in 0..self.clients.len() {
            if self.clients[client].mode != Mode::Gone {
                let frames = self.clients[client].type_letter();
                self.tell(client, frames);
                let probe = self.clients[client].probe();
                self.send(client, probe);
            }
        }
    }

    /// Who is here, by client id.
    pub(super) fn live(&self) -> VecDeque<usize> {
        let here = |client: &&Client| client.mode != Mode::Gone;
        let live = self.clients.iter().filter(here);
        live.map(|client| client.name).collect()
    }
}
