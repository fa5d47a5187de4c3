//! Acks: edits over many documents, each followed by a save probe (type 102); the time from the
//! moment an edit was due to the answer that covers it.

use crate::bench::{Bench, RunError, TICK_NS, Usage};
use crate::cli::{Acks, Common};
use crate::client::connection::{Ended, Replica};
use crate::client::messages::Message;
use crate::client::swarm::{ClientId, Listener};
use crate::client::timer::seconds_ns;
use crate::dues::Dues;
use crate::histogram::Histogram;
use crate::report::Report;
use crate::typing::{Pace, Typing, Writers};

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Acks) -> Result<Report, RunError> {
    let pace = Pace::new(
        settings.rate / settings.documents.max(1) as f64,
        settings.window,
    );
    if settings.documents == 0 || !pace.is_above_zero() {
        let why = "--documents and --rate or --window must be above zero".to_owned();
        return Err(RunError::Settings(why));
    }
    let mut bench = Bench::with_live_server(common)?;
    let plan: Vec<_> = (0..settings.documents)
        .map(|at| (bench.room(at), Replica::default()))
        .collect();
    let mut counts = Counts::new(Vec::new());
    bench.join(plan.into_iter(), &mut counts)?;
    let start_ns = bench.clock().now_ns() + TICK_NS / 2;
    let (typing, dues) = Typing::new(settings.documents, bench.first_id, pace, start_ns);
    let mut typing = typing.with_probes();
    counts = Counts::new(dues);
    let (begin, end) = type_all(&mut bench, &mut typing, &mut counts, settings, start_ns)?;
    drain(&mut bench, &mut counts, settings.patience)?;
    bench.progress.clear();
    Ok(report(settings, pace, &counts, &begin, &end))
}

/// What is acknowledged, by writer; the client of a writer has its number.
#[derive(Debug)]
struct Counts {
    dues: Vec<Dues>,
    sent: Vec<u64>,
    acked: Vec<u64>,
    measured_from_ns: u64,
    latency: Histogram,
    returned: Vec<(usize, u64)>,
    acks_received: u64,
    ended: u64,
}

impl Counts {
    fn new(dues: Vec<Dues>) -> Self {
        Self {
            sent: vec![0; dues.len()],
            acked: vec![0; dues.len()],
            dues,
            measured_from_ns: u64::MAX,
            latency: Histogram::new(),
            returned: Vec::new(),
            acks_received: 0,
            ended: 0,
        }
    }

    fn total_sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    fn total_acked(&self) -> u64 {
        self.acked.iter().sum()
    }
}

impl Listener for Counts {
    fn message(&mut self, client: ClientId, message: Message<'_>, now_ns: u64) {
        let Message::Saved(version) = message else {
            return;
        };
        self.acks_received += 1;
        let Some(acked) = self.acked.get_mut(client) else {
            return;
        };
        // Acks are cumulative; the probe's number is the count of edits it covers.
        for clock in *acked..version.min(self.sent[client]) {
            let due_ns = self.dues[client].due_ns(clock);
            if due_ns >= self.measured_from_ns {
                self.latency.record(now_ns.saturating_sub(due_ns));
            }
            if self.dues[client].note_received(clock).is_some() {
                self.returned.push((client, now_ns));
            }
            *acked += 1;
        }
    }

    fn ended(&mut self, _client: ClientId, _why: Ended) {
        self.ended += 1;
    }
}

impl Writers for Counts {
    fn client_of(&self, writer: usize) -> ClientId {
        writer
    }

    fn note_sent(&mut self, writer: usize, due_ns: u64) {
        self.dues[writer].note(self.sent[writer], due_ns, 1);
        self.sent[writer] += 1;
    }

    fn has_room(&self, writer: usize) -> bool {
        self.dues[writer].awaited(self.sent[writer]) == 0
    }

    fn take_returned(&mut self, into: &mut Vec<(usize, u64)>) {
        into.append(&mut self.returned);
    }
}

#[derive(Debug)]
struct Mark {
    usage: Usage,
    sent: u64,
    acked: u64,
    acks_received: u64,
}

impl Mark {
    fn new(bench: &Bench, counts: &Counts) -> Self {
        Self {
            usage: bench.usage(),
            sent: counts.total_sent(),
            acked: counts.total_acked(),
            acks_received: counts.acks_received,
        }
    }
}

fn type_all(
    bench: &mut Bench,
    typing: &mut Typing,
    counts: &mut Counts,
    settings: &Acks,
    start_ns: u64,
) -> Result<(Mark, Mark), RunError> {
    let from_ns = start_ns + seconds_ns(settings.warmup);
    let to_ns = from_ns + seconds_ns(settings.seconds);
    counts.measured_from_ns = from_ns;
    let mut begin = None;
    let mut next_tick_ns = start_ns;
    loop {
        let now_ns = bench.clock().now_ns();
        if now_ns >= next_tick_ns {
            next_tick_ns = now_ns + TICK_NS;
            let (sent, acked) = (counts.total_sent(), counts.total_acked());
            bench
                .progress
                .show(&format!("{sent} edits sent, {acked} acknowledged"));
        }
        if begin.is_none() && now_ns >= from_ns {
            begin = Some(Mark::new(bench, counts));
        }
        if now_ns >= to_ns
            && let Some(begin) = begin.take()
        {
            // What came due while the generator was busy counts too.
            typing.send_due(to_ns - 1, &mut bench.swarm, counts);
            return Ok((begin, Mark::new(bench, counts)));
        }
        if now_ns >= start_ns {
            typing.send_due(now_ns, &mut bench.swarm, counts);
        }
        let boundary_ns = if begin.is_some() { to_ns } else { from_ns };
        let deadline_ns = boundary_ns.min(next_tick_ns).min(typing.next_ns());
        bench.swarm.turn(deadline_ns, counts)?;
    }
}

/// Waits for the last acks.
fn drain(bench: &mut Bench, counts: &mut Counts, patience: f64) -> Result<(), RunError> {
    let deadline_ns = bench.clock().now_ns() + seconds_ns(patience);
    while counts.total_acked() < counts.total_sent() && bench.clock().now_ns() < deadline_ns {
        let until_ns = bench.clock().now_ns() + TICK_NS / 10;
        bench.swarm.turn(until_ns.min(deadline_ns), counts)?;
    }
    Ok(())
}

fn report(settings: &Acks, pace: Pace, counts: &Counts, begin: &Mark, end: &Mark) -> Report {
    let mut report = Report::new("acks");
    let seconds = begin.usage.seconds_to(&end.usage);
    let load = format!("{} documents, {pace}", settings.documents);
    report.add("load", "load", load, "");
    for (key, label, count) in [
        ("edits_per_s", "edits sent", end.sent - begin.sent),
        ("acked_per_s", "edits acknowledged", end.acked - begin.acked),
        (
            "acks_per_s",
            "acks received",
            end.acks_received - begin.acks_received,
        ),
    ] {
        report.add_rounded(key, label, (count as f64 / seconds, 0), "/s");
    }
    for (key, label, fraction) in [
        ("p50_ms", "due to acknowledged p50", 0.5),
        ("p90_ms", "due to acknowledged p90", 0.9),
        ("p99_ms", "due to acknowledged p99", 0.99),
    ] {
        report.add_rounded(key, label, (counts.latency.quantile_ms(fraction), 3), "ms");
    }
    let label = "due to acknowledged max";
    report.add_rounded("max_ms", label, (counts.latency.max_ms(), 3), "ms");
    let unacked = counts.total_sent() - counts.total_acked();
    report.add("unacked", "never acknowledged", unacked, "edits");
    begin.usage.report_generator(&end.usage, &mut report);
    if counts.acks_received == 0 {
        report.warn("this server answers no save probes (type 102)");
    }
    if counts.ended > 0 {
        report.warn(format!("{} connections ended during the run", counts.ended));
    }
    report
}
