//! Cursors: everyone in one room moves a cursor; the time from the moment a move was due to its
//! arrival at each of the others.

use crate::bench::{Bench, RunError, TICK_NS, Usage};
use crate::cli::{Common, Cursors};
use crate::client::connection::{Ended, Replica};
use crate::client::lib0::Reader;
use crate::client::messages::{Message, push_presence};
use crate::client::swarm::{ClientId, Listener};
use crate::client::timer::seconds_ns;
use crate::dues::Dues;
use crate::histogram::Histogram;
use crate::report::Report;
use crate::typing::{Schedule, phases};

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Cursors) -> Result<Report, RunError> {
    let clients = settings.clients;
    if clients < 2 || settings.rate <= 0.0 {
        let why = "--clients must be two or more and --rate above zero".to_owned();
        return Err(RunError::Settings(why));
    }
    let mut bench = Bench::with_live_server(common)?;
    let room = bench.room("cursors");
    let plan: Vec<_> = (0..clients)
        .map(|_| (room.clone(), Replica::default()))
        .collect();
    let mut everyone = Everyone::new(bench.first_id, clients, settings.resend);
    bench.join(plan.into_iter(), &mut everyone)?;
    let start_ns = bench.clock().now_ns() + TICK_NS / 2;
    let interval_ns = 1e9 / settings.rate;
    let phases = phases(clients, start_ns, interval_ns);
    let schedule = Schedule::new(&phases, interval_ns);
    everyone.dues = phases
        .into_iter()
        .map(|first_ns| Dues::Paced {
            first_ns,
            interval_ns,
        })
        .collect();
    let (begin, end) = move_all(&mut bench, &mut everyone, schedule, settings, start_ns)?;
    drain(&mut bench, &mut everyone, settings.patience)?;
    bench.progress.clear();
    Ok(report(settings, &everyone, &begin, &end))
}

/// Who saw which move of whom.
#[derive(Debug)]
struct Everyone {
    first_id: u64,
    dues: Vec<Dues>,
    /// Moves made, by client.
    made: Vec<u64>,
    /// The newest move of each client that each client saw: `seen[observer][mover]`.
    seen: Vec<Vec<u64>>,
    resends: bool,
    /// What clients tell again, as y-websocket's do with all that is news to them.
    again: Vec<(ClientId, Vec<u8>)>,
    measured_from_ns: u64,
    latency: Histogram,
    /// Moves that arrived, those that a later one overtook included.
    arrived: u64,
    ended: u64,
}

impl Everyone {
    fn new(first_id: u64, clients: usize, resends: bool) -> Self {
        Self {
            first_id,
            dues: Vec::new(),
            made: vec![0; clients],
            seen: vec![vec![0; clients]; clients],
            resends,
            again: Vec::new(),
            measured_from_ns: u64::MAX,
            latency: Histogram::new(),
            arrived: 0,
            ended: 0,
        }
    }

    /// Moves that somebody has not seen.
    fn unseen(&self) -> u64 {
        let observers = self.seen.iter().enumerate();
        observers
            .map(|(observer, seen)| {
                let movers = self.made.iter().zip(seen).enumerate();
                movers
                    .filter(|(mover, _)| *mover != observer)
                    .map(|(_, (made, seen))| made - seen)
                    .sum::<u64>()
            })
            .sum()
    }

    /// Notes an entry; true when it is news.
    fn note(&mut self, observer: ClientId, id: u64, clock: u64, now_ns: u64) -> bool {
        let Some(mover) = id.checked_sub(self.first_id).map(|mover| mover as usize) else {
            return false;
        };
        if mover == observer || mover >= self.made.len() {
            return false;
        }
        let seen = &mut self.seen[observer][mover];
        if clock <= *seen {
            return false;
        }
        for earlier in *seen..clock {
            let due_ns = self.dues[mover].due_ns(earlier);
            self.arrived += 1;
            if due_ns >= self.measured_from_ns {
                self.latency.record(now_ns.saturating_sub(due_ns));
            }
        }
        *seen = clock;
        true
    }

    /// The news among the entries of a presence message.
    fn read<'a>(
        &mut self,
        observer: ClientId,
        entries: &'a [u8],
        now_ns: u64,
    ) -> Option<Vec<(u64, u64, &'a [u8])>> {
        let mut reader = Reader::new(entries);
        let mut news = Vec::new();
        for _ in 0..reader.number().ok()? {
            let (id, clock) = (reader.number().ok()?, reader.number().ok()?);
            let state = reader.bytes().ok()?;
            if self.note(observer, id, clock, now_ns) && self.resends {
                news.push((id, clock, state));
            }
        }
        Some(news)
    }
}

impl Listener for Everyone {
    fn message(&mut self, client: ClientId, message: Message<'_>, now_ns: u64) {
        let Message::Presence(entries) = message else {
            return;
        };
        let news = self.read(client, entries, now_ns).unwrap_or_default();
        if !news.is_empty() {
            let mut frame = Vec::new();
            push_presence(&mut frame, &news);
            self.again.push((client, frame));
        }
    }

    fn ended(&mut self, _client: ClientId, _why: Ended) {
        self.ended += 1;
    }
}

/// A cursor as editor bindings describe it.
fn cursor(mover: usize, clock: u64) -> String {
    format!(
        r##"{{"user":{{"name":"Editor {mover}","color":"#30bced"}},"cursor":{{"anchor":{clock},"head":{clock}}}}}"##
    )
}

#[derive(Debug)]
struct Mark {
    usage: Usage,
    made: u64,
    arrived: u64,
    frames: u64,
}

impl Mark {
    fn new(bench: &Bench, everyone: &Everyone) -> Self {
        Self {
            usage: bench.usage(),
            made: everyone.made.iter().sum(),
            arrived: everyone.arrived,
            frames: bench.swarm.traffic().frames,
        }
    }
}

fn move_all(
    bench: &mut Bench,
    everyone: &mut Everyone,
    mut schedule: Schedule,
    settings: &Cursors,
    start_ns: u64,
) -> Result<(Mark, Mark), RunError> {
    let from_ns = start_ns + seconds_ns(settings.warmup);
    let to_ns = from_ns + seconds_ns(settings.seconds);
    everyone.measured_from_ns = from_ns;
    let mut begin = None;
    let mut next_tick_ns = start_ns;
    loop {
        let now_ns = bench.clock().now_ns();
        if now_ns >= next_tick_ns {
            next_tick_ns = now_ns + TICK_NS;
            let moves: u64 = everyone.made.iter().sum();
            bench.progress.show(&format!("{moves} moves"));
        }
        if begin.is_none() && now_ns >= from_ns {
            begin = Some(Mark::new(bench, everyone));
        }
        if now_ns >= to_ns
            && let Some(begin) = begin.take()
        {
            return Ok((begin, Mark::new(bench, everyone)));
        }
        make_due(bench, everyone, &mut schedule, now_ns);
        let boundary_ns = if begin.is_some() { to_ns } else { from_ns };
        let deadline_ns = boundary_ns.min(next_tick_ns).min(schedule.next_ns());
        bench.swarm.turn(deadline_ns, everyone)?;
        tell_again(bench, everyone);
    }
}

fn make_due(bench: &mut Bench, everyone: &mut Everyone, schedule: &mut Schedule, now_ns: u64) {
    let mut frame = Vec::new();
    while let Some((mover, _)) = schedule.pop(now_ns) {
        everyone.made[mover] += 1;
        let clock = everyone.made[mover];
        let id = everyone.first_id + mover as u64;
        frame.clear();
        push_presence(&mut frame, &[(id, clock, cursor(mover, clock).as_bytes())]);
        bench.swarm.write(mover, &frame, everyone);
    }
}

fn tell_again(bench: &mut Bench, everyone: &mut Everyone) {
    for (client, frame) in std::mem::take(&mut everyone.again) {
        bench.swarm.write(client, &frame, everyone);
    }
}

/// Waits until everybody has seen the last moves.
fn drain(bench: &mut Bench, everyone: &mut Everyone, patience: f64) -> Result<(), RunError> {
    let deadline_ns = bench.clock().now_ns() + seconds_ns(patience);
    while everyone.unseen() > 0 && bench.clock().now_ns() < deadline_ns {
        let until_ns = bench.clock().now_ns() + TICK_NS / 10;
        bench.swarm.turn(until_ns.min(deadline_ns), everyone)?;
        tell_again(bench, everyone);
    }
    Ok(())
}

fn report(settings: &Cursors, everyone: &Everyone, begin: &Mark, end: &Mark) -> Report {
    let mut report = Report::new("cursors");
    let seconds = begin.usage.seconds_to(&end.usage);
    let load = format!(
        "1 room x {} clients, {} moves/s each{}",
        settings.clients,
        settings.rate,
        if settings.resend {
            ", who tell again what they hear"
        } else {
            ""
        }
    );
    report.add("load", "load", load, "");
    for (key, label, count) in [
        ("moves_per_s", "moves made", end.made - begin.made),
        ("arrived_per_s", "moves seen", end.arrived - begin.arrived),
        ("frames_per_s", "frames received", end.frames - begin.frames),
    ] {
        report.add_rounded(key, label, (count as f64 / seconds, 0), "/s");
    }
    for (key, label, fraction) in [
        ("p50_ms", "due to seen p50", 0.5),
        ("p90_ms", "due to seen p90", 0.9),
        ("p99_ms", "due to seen p99", 0.99),
    ] {
        report.add_rounded(
            key,
            label,
            (everyone.latency.quantile_ms(fraction), 3),
            "ms",
        );
    }
    let label = "due to seen max";
    report.add_rounded("max_ms", label, (everyone.latency.max_ms(), 3), "ms");
    report.add("missing", "never seen", everyone.unseen(), "moves");
    begin.usage.report_generator(&end.usage, &mut report);
    if everyone.ended > 0 {
        report.warn(format!(
            "{} connections ended during the run",
            everyone.ended
        ));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of a frame that a client sends, unmasked by reading what was put in.
    fn entries(list: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        crate::client::messages::push_entries(&mut body, list);
        body
    }

    #[test]
    fn a_move_is_news_once_and_covers_those_it_overtook() {
        let mut everyone = Everyone::new(100, 3, true);
        everyone.dues = (0..3)
            .map(|_| Dues::Paced {
                first_ns: 0,
                interval_ns: 10.0,
            })
            .collect();
        everyone.measured_from_ns = 0;
        everyone.made = vec![0, 3, 1];
        let heard = entries(&[(101, 3, b"{}"), (100, 9, b"{}"), (7, 1, b"{}")]);
        let news = everyone.read(0, &heard, 50).unwrap();
        assert_eq!(news, [(101, 3, &b"{}"[..])]);
        assert_eq!((everyone.arrived, everyone.latency.count()), (3, 3));
        assert_eq!(everyone.read(0, &heard, 60).unwrap(), []);
        // Two moved: the third client saw neither, the movers not each other's.
        assert_eq!(everyone.unseen(), 1 + 1 + 3);
    }
}
