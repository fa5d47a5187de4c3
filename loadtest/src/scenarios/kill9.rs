//! kill9: writers type while the server is killed and started again and again; fresh clients then
//! look for every edit that was acknowledged (an answered save probe) or relayed to another client.
//!
//! The writers of a round never come back: they would bring their edits along and hide a loss.

use std::collections::HashMap;

use crate::bench::{Bench, RunError, TICK_NS, scramble};
use crate::cli::{Common, Kill9};
use crate::client::connection::{Ended, Replica};
use crate::client::coverage::Coverage;
use crate::client::messages::Message;
use crate::client::swarm::{ClientId, Listener};
use crate::client::timer::seconds_ns;
use crate::client::update::for_each_run;
use crate::dues::Dues;
use crate::report::Report;
use crate::serve::Served;
use crate::typing::{Pace, Typing, Writers};

/// After a kill the sockets must end; this is the longest wait for it.
const END_PATIENCE_SECONDS: f64 = 5.0;
/// A fresh client listens this long after its step 2: some servers send the text behind it.
const READ_ON_SECONDS: f64 = 0.3;

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Kill9) -> Result<Report, RunError> {
    if settings.rooms == 0 || settings.rounds == 0 || settings.rate <= 0.0 {
        let why = "--rooms, --rounds and --rate must be above zero".to_owned();
        return Err(RunError::Settings(why));
    }
    let mut run = Run {
        bench: Bench::new(common)?,
        settings,
        owed: HashMap::new(),
        totals: Totals::default(),
    };
    for round in 0..settings.rounds {
        let served = run.start()?;
        run.verify()?;
        run.type_and_kill(served, round)?;
    }
    let served = run.start()?;
    run.verify()?;
    drop(served);
    run.bench.progress.clear();
    Ok(run.report())
}

/// What must be there after the next start, by writer's id.
#[derive(Debug, Clone, Copy)]
struct Owed {
    acked: u64,
    relayed: u64,
}

#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    acked: u64,
    relayed: u64,
    lost_acked: u64,
    lost_relayed: u64,
    rounds_with_loss: u64,
    early_ends: u64,
    open_seconds_max: f64,
}

#[derive(Debug)]
struct Run<'a> {
    bench: Bench,
    settings: &'a Kill9,
    owed: HashMap<u64, Owed>,
    totals: Totals,
}

impl Run<'_> {
    fn start(&mut self) -> Result<Served, RunError> {
        self.bench.swarm.clear();
        let (served, seconds) = Served::start(&self.settings.serve, &self.bench.target)?;
        self.totals.open_seconds_max = self.totals.open_seconds_max.max(seconds);
        Ok(served)
    }

    /// Reads every document with a fresh client and counts what is not there.
    fn verify(&mut self) -> Result<(), RunError> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let mut found = Found::default();
        let rooms: Vec<_> = (0..self.settings.rooms)
            .map(|room| (self.bench.room(room), Replica::default()))
            .collect();
        self.bench.join(rooms.into_iter(), &mut found)?;
        self.bench
            .settle(READ_ON_SECONDS, "looking for losses", &mut found)?;
        self.bench.swarm.clear();
        let lost_before = self.totals.lost_acked + self.totals.lost_relayed;
        let nothing = Coverage::default();
        for (id, owed) in &mut self.owed {
            let there = found.by_id.get(id).unwrap_or(&nothing);
            self.totals.lost_acked += there.missing(owed.acked);
            self.totals.lost_relayed += there.missing(owed.relayed);
            // A loss counts once.
            owed.acked = owed.acked.min(there.next());
            owed.relayed = owed.relayed.min(there.next());
        }
        if self.totals.lost_acked + self.totals.lost_relayed > lost_before {
            self.totals.rounds_with_loss += 1;
        }
        Ok(())
    }

    /// One writer and one reader a room, until the kill.
    fn type_and_kill(&mut self, served: Served, round: usize) -> Result<(), RunError> {
        let rooms = self.settings.rooms;
        let first_id = self.bench.first_id + (round * rooms) as u64;
        let mut ledger = Ledger::new(first_id, Vec::new());
        let plan: Vec<_> = (0..rooms * 2)
            .map(|client| (self.bench.room(client / 2), Replica::default()))
            .collect();
        self.bench.join(plan.into_iter(), &mut ledger)?;
        let start_ns = self.bench.clock().now_ns();
        let pace = Pace::Rate(self.settings.rate);
        let (typing, dues) = Typing::new(rooms, first_id, pace, start_ns);
        let mut typing = typing.with_probes();
        ledger = Ledger::new(first_id, dues);
        let chance = (scramble(start_ns ^ round as u64) >> 11) as f64 / (1u64 << 53) as f64;
        let (shortest, longest) = (self.settings.min_seconds, self.settings.max_seconds);
        let seconds = shortest + chance * (longest - shortest).max(0.0);
        let kill_ns = start_ns + seconds_ns(seconds);
        loop {
            let now_ns = self.bench.clock().now_ns();
            if now_ns >= kill_ns {
                break;
            }
            self.show(round);
            typing.send_due(now_ns, &mut self.bench.swarm, &mut ledger);
            let deadline_ns = kill_ns.min(typing.next_ns()).min(now_ns + TICK_NS);
            self.bench.swarm.turn(deadline_ns, &mut ledger)?;
        }
        self.totals.early_ends += ledger.ended;
        served.kill();
        self.read_to_the_end(&mut ledger)?;
        self.note_owed(&ledger);
        Ok(())
    }

    fn show(&mut self, round: usize) {
        let totals = &self.totals;
        self.bench.progress.show(&format!(
            "round {} of {}: {} edits acknowledged, {} lost; {} relayed, {} lost",
            round + 1,
            self.settings.rounds,
            totals.acked,
            totals.lost_acked,
            totals.relayed,
            totals.lost_relayed
        ));
    }

    /// What had left the server before the kill counts, also when it is read after it.
    fn read_to_the_end(&mut self, ledger: &mut Ledger) -> Result<(), RunError> {
        let clients = self.bench.swarm.len() as u64;
        let deadline_ns = self.bench.clock().now_ns() + seconds_ns(END_PATIENCE_SECONDS);
        while ledger.ended < clients && self.bench.clock().now_ns() < deadline_ns {
            let until_ns = self.bench.clock().now_ns() + TICK_NS;
            self.bench.swarm.turn(until_ns.min(deadline_ns), ledger)?;
        }
        Ok(())
    }

    fn note_owed(&mut self, ledger: &Ledger) {
        for (writer, sent) in ledger.sent.iter().enumerate() {
            let owed = Owed {
                acked: ledger.acked[writer],
                relayed: ledger.relayed[writer].next(),
            };
            self.totals.sent += sent;
            self.totals.acked += owed.acked;
            self.totals.relayed += owed.relayed;
            self.owed.insert(ledger.first_id + writer as u64, owed);
        }
    }

    fn report(&self) -> Report {
        let totals = &self.totals;
        let mut report = Report::new("kill9");
        let settings = self.settings;
        let load = format!("{} rooms, {} edits/s each", settings.rooms, settings.rate);
        report.add("load", "load", load, "");
        report.add("rounds", "kills", settings.rounds, "");
        report.add("sent", "edits sent", totals.sent, "");
        report.add("acked", "acknowledged", totals.acked, "");
        report.add("lost_acked", "of these lost", totals.lost_acked, "");
        report.add("relayed", "relayed to another client", totals.relayed, "");
        report.add("lost_relayed", "of these lost", totals.lost_relayed, "");
        let label = "kills that lost any";
        report.add("rounds_with_loss", label, totals.rounds_with_loss, "");
        let label = "start to open port, longest";
        report.add_rounded("open_s_max", label, (totals.open_seconds_max, 3), "s");
        if totals.acked == 0 {
            report
                .warn("no save probe (type 102) was ever answered: nothing counts as acknowledged");
        }
        if totals.early_ends > 0 {
            let count = totals.early_ends;
            report.warn(format!(
                "{count} connections ended before the server was killed"
            ));
        }
        report
    }
}

/// What a round's clients saw. Client 2n writes in room n, client 2n + 1 reads there.
#[derive(Debug)]
struct Ledger {
    first_id: u64,
    dues: Vec<Dues>,
    sent: Vec<u64>,
    acked: Vec<u64>,
    relayed: Vec<Coverage>,
    ended: u64,
}

impl Ledger {
    fn new(first_id: u64, dues: Vec<Dues>) -> Self {
        Self {
            first_id,
            sent: vec![0; dues.len()],
            acked: vec![0; dues.len()],
            relayed: vec![Coverage::default(); dues.len()],
            dues,
            ended: 0,
        }
    }
}

impl Listener for Ledger {
    fn message(&mut self, client: ClientId, message: Message<'_>, _now_ns: u64) {
        let room = client / 2;
        if room >= self.sent.len() {
            return;
        }
        let is_writer = client.is_multiple_of(2);
        match message {
            Message::Saved(version) if is_writer => {
                self.acked[room] = self.acked[room].max(version.min(self.sent[room]));
            }
            Message::Update(update) | Message::Step2(update) if !is_writer => {
                let writer = self.first_id + room as u64;
                let relayed = &mut self.relayed[room];
                // What cannot be read was not relayed.
                let _ = for_each_run(update, |run| {
                    if run.client == writer {
                        relayed.add(run.start, run.length, |_| ());
                    }
                });
            }
            _ => {}
        }
    }

    fn ended(&mut self, _client: ClientId, _why: Ended) {
        self.ended += 1;
    }
}

impl Writers for Ledger {
    fn client_of(&self, writer: usize) -> ClientId {
        writer * 2
    }

    fn note_sent(&mut self, writer: usize, due_ns: u64) {
        self.dues[writer].note(self.sent[writer], due_ns, 0);
        self.sent[writer] += 1;
    }

    fn has_room(&self, _writer: usize) -> bool {
        true
    }

    fn take_returned(&mut self, _into: &mut Vec<(usize, u64)>) {}
}

/// What fresh clients find, by writer's id.
#[derive(Debug, Default)]
struct Found {
    by_id: HashMap<u64, Coverage>,
}

impl Listener for Found {
    fn message(&mut self, _client: ClientId, message: Message<'_>, _now_ns: u64) {
        if let Message::Update(update) | Message::Step2(update) = message {
            // What cannot be read is not there.
            let _ = for_each_run(update, |run| {
                let coverage = self.by_id.entry(run.client).or_default();
                coverage.add(run.start, run.length, |_| ());
            });
        }
    }

    fn ended(&mut self, _client: ClientId, _why: Ended) {}
}
