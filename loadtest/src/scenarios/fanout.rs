//! Fan-out: writers type, paced or with a window, and everybody else in the room receives.

use crate::bench::{Bench, RunError, TICK_NS, Usage};
use crate::cli::{Common, Fanout, Until};
use crate::client::connection::{Replica, Traffic};
use crate::client::timer::seconds_ns;
use crate::report::Report;
use crate::tally::{Layout, Tally};
use crate::typing::{Pace, Typing};

/// From the last join to the first edit.
const START_DELAY_NS: u64 = 100_000_000;

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Fanout) -> Result<Report, RunError> {
    check(settings)?;
    let bench = Bench::with_live_server(common)?;
    let mut load = Load::new(bench, settings);
    load.join()?;
    load.type_all()?;
    load.drain()?;
    Ok(load.report())
}

fn check(settings: &Fanout) -> Result<(), RunError> {
    let readers = settings.clients.saturating_sub(settings.readers_stopped);
    if settings.rooms == 0 || settings.writers == 0 || settings.writers > readers || readers < 2 {
        return Err(RunError::Settings(
            "a room needs a writer, and another client that reads: check --rooms, --clients, \
             --writers and --readers-stopped"
                .to_owned(),
        ));
    }
    if !Pace::new(settings.rate, settings.window).is_above_zero() {
        return Err(RunError::Settings(
            "--rate and --window must be above zero".to_owned(),
        ));
    }
    Ok(())
}

/// Counts at one moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    usage: Usage,
    deliveries: u64,
    sent: u64,
    traffic: Traffic,
}

/// The times of the run.
#[derive(Debug, Clone, Copy)]
struct Times {
    start_ns: u64,
    measure_from_ns: u64,
    measure_to_ns: u64,
}

#[derive(Debug)]
struct Load<'a> {
    settings: &'a Fanout,
    bench: Bench,
    layout: Layout,
    pace: Pace,
    tally: Tally,
    typing: Typing,
    times: Times,
    marks: Vec<Mark>,
    resident_first: u64,
    resident_max: u64,
    missing: u64,
    late_seconds: Option<f64>,
}

impl<'a> Load<'a> {
    fn new(bench: Bench, settings: &'a Fanout) -> Self {
        let layout = Layout {
            rooms: settings.rooms,
            clients: settings.clients,
            writers: settings.writers,
            stopped: settings.readers_stopped,
            first_id: bench.first_id,
        };
        let pace = Pace::new(settings.rate, settings.window);
        // Both are replaced when all have joined and the times are known.
        let tally = Tally::new(layout, settings.under_way_until, Vec::new(), 0..0);
        let (typing, _) = Typing::new(0, bench.first_id, pace, 0);
        Self {
            settings,
            layout,
            pace,
            tally,
            typing,
            times: Times {
                start_ns: 0,
                measure_from_ns: 0,
                measure_to_ns: 0,
            },
            marks: Vec::new(),
            resident_first: 0,
            resident_max: 0,
            missing: 0,
            late_seconds: None,
            bench,
        }
    }

    fn join(&mut self) -> Result<(), RunError> {
        let rooms: Vec<String> = (0..self.layout.rooms)
            .map(|at| self.bench.room(at))
            .collect();
        let clients = self.layout.clients;
        let plan = (0..self.layout.rooms * clients)
            .map(|client| (rooms[client / clients].clone(), Replica::default()));
        self.bench.join(plan, &mut self.tally)?;
        for client in 0..self.bench.swarm.len() {
            if self.layout.is_stopped(client) {
                self.bench.swarm.pause(client);
            }
        }
        let start_ns = self.bench.clock().now_ns() + START_DELAY_NS;
        let measure_from_ns = start_ns + seconds_ns(self.settings.warmup);
        self.times = Times {
            start_ns,
            measure_from_ns,
            measure_to_ns: measure_from_ns + seconds_ns(self.settings.seconds),
        };
        let writers = self.layout.writer_count();
        let (typing, dues) = Typing::new(writers, self.layout.first_id, self.pace, start_ns);
        self.typing = typing;
        let measured_ns = measure_from_ns..self.times.measure_to_ns;
        self.tally = Tally::new(
            self.layout,
            self.settings.under_way_until,
            dues,
            measured_ns,
        );
        self.resident_first = self.bench.resident_bytes();
        self.resident_max = self.resident_first;
        Ok(())
    }

    /// The load itself, until the measured time is over.
    fn type_all(&mut self) -> Result<(), RunError> {
        let mut next_tick_ns = self.times.start_ns;
        loop {
            let now_ns = self.bench.clock().now_ns();
            if now_ns >= next_tick_ns {
                next_tick_ns = now_ns + TICK_NS;
                self.tick(now_ns);
            }
            let begin_ns = self.times.measure_from_ns;
            if self.marks.is_empty() && now_ns >= begin_ns {
                self.mark();
            }
            if now_ns >= self.times.measure_to_ns {
                // What came due while the generator was busy counts too.
                let end_ns = self.times.measure_to_ns - 1;
                self.typing
                    .send_due(end_ns, &mut self.bench.swarm, &mut self.tally);
                self.mark();
                return Ok(());
            }
            if now_ns >= self.times.start_ns {
                self.typing
                    .send_due(now_ns, &mut self.bench.swarm, &mut self.tally);
            }
            let boundary_ns = match self.marks.is_empty() {
                true if now_ns < self.times.start_ns => self.times.start_ns,
                true => begin_ns,
                false => self.times.measure_to_ns,
            };
            let deadline_ns = boundary_ns.min(next_tick_ns).min(self.typing.next_ns());
            self.bench.swarm.turn(deadline_ns, &mut self.tally)?;
        }
    }

    fn mark(&mut self) {
        self.marks.push(Mark {
            usage: self.bench.usage(),
            deliveries: self.tally.deliveries,
            sent: self.tally.sent(),
            traffic: self.bench.swarm.traffic(),
        });
    }

    fn tick(&mut self, now_ns: u64) {
        self.resident_max = self.resident_max.max(self.bench.resident_bytes());
        let left_ns = self.times.measure_to_ns.saturating_sub(now_ns);
        self.bench.progress.show(&format!(
            "{} edits, {} deliveries, {} under way, {:.0} s left",
            self.tally.sent(),
            self.tally.deliveries,
            self.tally.outstanding(),
            left_ns as f64 / 1e9
        ));
    }

    /// Waits for the last deliveries, lets the stopped ones read, and counts what is missing.
    fn drain(&mut self) -> Result<(), RunError> {
        let resumed_ns = self.bench.clock().now_ns();
        for client in 0..self.bench.swarm.len() {
            if self.layout.is_stopped(client) {
                self.bench.swarm.resume(client, &mut self.tally);
            }
        }
        let patience_ns = seconds_ns(self.settings.patience);
        loop {
            let now_ns = self.bench.clock().now_ns();
            let late = self.tally.late_outstanding();
            if late == 0 && self.layout.stopped > 0 && self.late_seconds.is_none() {
                self.late_seconds = Some((now_ns - resumed_ns) as f64 / 1e9);
            }
            let quiet_since_ns = self.tally.last_delivery_ns.max(resumed_ns);
            let is_done = late == 0 && self.tally.outstanding() == 0;
            if is_done || now_ns >= quiet_since_ns + patience_ns {
                break;
            }
            self.tick(now_ns);
            self.bench
                .swarm
                .turn(now_ns + TICK_NS / 10, &mut self.tally)?;
        }
        self.missing = self.tally.count_missing(self.bench.clock().now_ns());
        self.bench.progress.clear();
        Ok(())
    }

    fn report(&self) -> Report {
        let mut report = Report::new("fanout");
        let [begin, end] = self.marks[..] else {
            return report;
        };
        let seconds = begin.usage.seconds_to(&end.usage);
        let deliveries = end.deliveries - begin.deliveries;
        let per_second = |count: u64| (count as f64 / seconds, 0);
        let (frames, bytes) = (
            end.traffic.frames - begin.traffic.frames,
            end.traffic.bytes - begin.traffic.bytes,
        );
        report.add("load", "load", self.describe(), "");
        report.add_rounded("seconds", "measured", (seconds, 2), "s");
        report.add_rounded(
            "edits_per_s",
            "edits sent",
            per_second(end.sent - begin.sent),
            "/s",
        );
        report.add(
            "edits",
            "edits sent, warm-up included",
            self.tally.sent(),
            "",
        );
        report.add_rounded(
            "deliveries_per_s",
            "deliveries",
            per_second(deliveries),
            "/s",
        );
        report.add_rounded("frames_per_s", "frames received", per_second(frames), "/s");
        report.add_rounded("bytes_per_s", "bytes received", per_second(bytes), "/s");
        for (key, label, fraction) in [
            ("p50_ms", "latency p50", 0.5),
            ("p90_ms", "latency p90", 0.9),
            ("p99_ms", "latency p99", 0.99),
        ] {
            let value = self.tally.latency.quantile_ms(fraction);
            report.add_rounded(key, label, (value, 3), "ms");
        }
        report.add_rounded(
            "max_ms",
            "latency max",
            (self.tally.latency.max_ms(), 3),
            "ms",
        );
        let count = self.tally.latency.count();
        report.add("latencies", "latencies taken", count, "deliveries");
        report.add("missing", "missing at the end", self.missing, "deliveries");
        begin.usage.report_generator(&end.usage, &mut report);
        if let Some(cpu) = begin.usage.server_cpu_to(&end.usage) {
            let per_million = cpu / deliveries.max(1) as f64 * 1e6;
            let label = "server's CPU per 1M deliveries";
            report.add_rounded("server_cpu_s_per_million", label, (per_million, 2), "s");
            report.add(
                "resident_kb",
                "server's memory",
                self.resident_first / 1024,
                "KB",
            );
            let growth = (self.resident_max - self.resident_first) / 1024;
            report.add("resident_growth_kb", "its growth at most", growth, "KB");
        }
        self.report_oddities(&mut report);
        report
    }

    fn describe(&self) -> String {
        let settings = self.settings;
        let until = match (self.pace, settings.under_way_until) {
            (Pace::Rate(_), _) => "",
            (_, Until::All) => " until all readers have it",
            (_, Until::First) => " until the first reader has it",
        };
        format!(
            "{} rooms x {} clients, {} writers, {}{until}",
            settings.rooms, settings.clients, settings.writers, self.pace
        )
    }

    fn report_oddities(&self, report: &mut Report) {
        if self.layout.stopped > 0 {
            let stopped = self.layout.stopped * self.layout.rooms;
            report.add("stopped", "readers stopped", stopped, "clients");
            match self.late_seconds {
                Some(seconds) => {
                    let label = "they had all after";
                    report.add_rounded("stopped_converged_s", label, (seconds, 3), "s");
                }
                None => report.warn(format!(
                    "readers that had stopped never got {} deliveries",
                    self.tally.late_outstanding()
                )),
            }
        }
        if self.tally.by_step2 > 0 {
            let label = "of these by a resync (step 2)";
            report.add("by_step2", label, self.tally.by_step2, "deliveries");
        }
        for (count, what) in [
            (self.tally.strays, "edits reached a client of another room"),
            (self.tally.denials, "messages were denied"),
            (self.tally.ended, "connections ended during the run"),
            (self.tally.unreadable, "updates could not be read"),
            (
                self.missing,
                "deliveries never came; latencies hold their age at the end",
            ),
        ] {
            if count > 0 {
                report.warn(format!("{count} {what}"));
            }
        }
        if let Some(end) = self.bench.swarm.first_end() {
            report.warn(format!("the first connection that ended: {end}"));
        }
    }
}
