//! Idle: many connections that join and stay quiet; how fast they join, what each one costs.

use crate::bench::{Bench, Deaf, RunError};
use crate::cli::{Common, Idle};
use crate::client::connection::Replica;
use crate::report::Report;

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Idle) -> Result<Report, RunError> {
    if settings.connections == 0 || settings.rooms == 0 {
        let why = "--connections and --rooms must be above zero".to_owned();
        return Err(RunError::Settings(why));
    }
    let mut bench = Bench::with_live_server(common)?;
    let empty = bench.resident_bytes();
    let begin = bench.usage();
    let plan: Vec<_> = (0..settings.connections)
        .map(|client| (bench.room(client % settings.rooms), Replica::default()))
        .collect();
    let seconds = bench.join(plan.into_iter(), &mut Deaf)?;
    let joined = bench.usage();
    bench.settle(settings.hold, "holding the connections", &mut Deaf)?;
    let held = bench.resident_bytes();
    let mut report = Report::new("idle");
    let count = settings.connections;
    report.add("connections", "connections", count, "");
    report.add("rooms", "rooms", settings.rooms, "");
    report.add_rounded("join_s", "connected and synced in", (seconds, 3), "s");
    let rate = count as f64 / seconds;
    report.add_rounded("joins_per_s", "connected and synced", (rate, 0), "/s");
    begin.report_generator(&joined, &mut report);
    if let Some(end) = bench.swarm.first_end() {
        report.warn(format!("a connection ended while idle: {end}"));
    }
    bench.swarm.clear();
    bench.settle(settings.after, "all left", &mut Deaf)?;
    report_memory(&mut report, &bench, count, (empty, held), settings.after);
    bench.progress.clear();
    Ok(report)
}

/// Memory of the empty server, per item held, and after all left; in KB.
pub(crate) fn report_memory(
    report: &mut Report,
    bench: &Bench,
    count: usize,
    (empty, held): (u64, u64),
    after: f64,
) {
    if bench.server.is_none() {
        report.warn("give --pid to see what the server's memory does");
        return;
    }
    let left = bench.resident_bytes();
    report.add("empty_kb", "memory of the empty server", empty / 1024, "KB");
    let each = (held as f64 - empty as f64) / 1024.0 / count as f64;
    report.add_rounded("each_kb", "memory of each over that", (each, 2), "KB");
    report.add("held_kb", "memory while held", held / 1024, "KB");
    let label = format!("memory {after} s after all left");
    report.add("left_kb", label, left / 1024, "KB");
}
