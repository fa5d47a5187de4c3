//! Storm: the server restarts and all clients come back at once; how long until all are in sync.

use crate::bench::{Bench, RunError};
use crate::cli::{Common, Storm};
use crate::client::connection::{Ended, Replica};
use crate::client::coverage::Coverage;
use crate::client::messages::Message;
use crate::client::swarm::{ClientId, Listener};
use crate::client::update::for_each_run;
use crate::report::Report;
use crate::serve::Served;

/// Time for the server to take in (and store) what the first clients bring.
const SETTLE_SECONDS: f64 = 1.0;

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Storm) -> Result<Report, RunError> {
    if settings.rooms == 0 || settings.clients < settings.rooms {
        let why = "--clients must be at least --rooms, and that above zero".to_owned();
        return Err(RunError::Settings(why));
    }
    let mut bench = Bench::new(common)?;
    let (served, _) = Served::start(&settings.serve, &bench.target)?;
    let plan = plan(&bench, settings);
    let mut texts = Texts::new(bench.first_id, settings.clients);
    // One client of each room brings the text, the others come after it.
    bench.join(plan.iter().take(settings.rooms).cloned(), &mut texts)?;
    bench.settle(SETTLE_SECONDS, "seeding the rooms", &mut texts)?;
    bench.join(plan.iter().skip(settings.rooms).cloned(), &mut texts)?;
    bench.settle(SETTLE_SECONDS, "all joined", &mut texts)?;

    bench.progress.show("restarting the server");
    let stopped = if settings.kill {
        served.kill();
        None
    } else {
        Some(served.stop())
    };
    bench.swarm.clear();
    let (served, open_seconds) = Served::start(&settings.serve, &bench.target)?;
    bench.server = Some(served.process());
    let begin = bench.usage();
    let sync_seconds = bench.join(plan.iter().cloned(), &mut texts)?;
    let end = bench.usage();

    // A fresh client of each room tells whether the text survived or came back.
    bench.settle(SETTLE_SECONDS, "all back", &mut texts)?;
    bench.swarm.clear();
    let mut texts = Texts::new(bench.first_id, settings.rooms);
    let fresh = plan.iter().take(settings.rooms);
    let fresh: Vec<_> = fresh
        .map(|(room, _)| (room.clone(), Replica::default()))
        .collect();
    bench.join(fresh.into_iter(), &mut texts)?;
    bench.settle(SETTLE_SECONDS, "looking at the texts", &mut texts)?;
    bench.progress.clear();
    let incomplete = texts.incomplete(settings.bytes);

    let mut report = Report::new("storm");
    let load = format!("{} clients in {} rooms", settings.clients, settings.rooms);
    report.add("load", "load", load, "");
    if let Some(seconds) = stopped {
        report.add_rounded("stop_s", "SIGTERM to gone", (seconds, 3), "s");
    }
    report.add_rounded("open_s", "start to open port", (open_seconds, 3), "s");
    report.add_rounded("sync_s", "open port to all in sync", (sync_seconds, 3), "s");
    report.add(
        "incomplete",
        "rooms without their whole text",
        incomplete,
        "",
    );
    begin.report_generator(&end, &mut report);
    drop(served);
    Ok(report)
}

/// Every client: its room and the whole text of the room, which each brings along.
fn plan(bench: &Bench, settings: &Storm) -> Vec<(String, Replica)> {
    (0..settings.clients)
        .map(|client| {
            let room = client % settings.rooms;
            let replica = Replica::typed(bench.first_id + room as u64, settings.bytes);
            (bench.room(room), replica)
        })
        .collect()
}

/// What each client has of its room's text. Client n is in room n modulo their number.
#[derive(Debug)]
struct Texts {
    first_id: u64,
    coverage: Vec<Coverage>,
}

impl Texts {
    fn new(first_id: u64, clients: usize) -> Self {
        Self {
            first_id,
            coverage: vec![Coverage::default(); clients],
        }
    }

    /// How many clients (one a room) lack some of their text.
    fn incomplete(&self, bytes: usize) -> usize {
        let lacks = |coverage: &&Coverage| coverage.missing(bytes as u64) > 0;
        self.coverage.iter().filter(lacks).count()
    }
}

impl Listener for Texts {
    fn message(&mut self, client: ClientId, message: Message<'_>, _now_ns: u64) {
        let (Message::Step2(update) | Message::Update(update)) = message else {
            return;
        };
        let wanted = self.first_id + client as u64;
        let Some(coverage) = self.coverage.get_mut(client) else {
            return;
        };
        // An unreadable update shows as an incomplete text.
        let _ = for_each_run(update, |run| {
            if run.client == wanted {
                coverage.add(run.start, run.length, |_| ());
            }
        });
    }

    fn ended(&mut self, _client: ClientId, _why: Ended) {}
}
