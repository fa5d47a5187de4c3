//! Documents: many open documents of a given size, one client each; what each one costs.

use crate::bench::{Bench, Deaf, RunError};
use crate::cli::{Common, Documents};
use crate::client::connection::Replica;
use crate::report::Report;
use crate::scenarios::idle::report_memory;

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Documents) -> Result<Report, RunError> {
    if settings.documents == 0 {
        return Err(RunError::Settings(
            "--documents must be above zero".to_owned(),
        ));
    }
    let mut bench = Bench::with_live_server(common)?;
    let empty = bench.resident_bytes();
    let begin = bench.usage();
    // Each client brings its document along, as a tab that was offline does.
    let plan: Vec<_> = (0..settings.documents)
        .map(|at| {
            let id = bench.first_id + at as u64;
            (bench.room(at), Replica::typed(id, settings.bytes))
        })
        .collect();
    let seconds = bench.join(plan.into_iter(), &mut Deaf)?;
    let joined = bench.usage();
    bench.settle(settings.hold, "holding the documents", &mut Deaf)?;
    let held = bench.resident_bytes();
    let count = settings.documents;
    let mut report = Report::new("documents");
    report.add("documents", "documents", count, "");
    report.add("bytes", "text in each", settings.bytes, "bytes");
    report.add_rounded("join_s", "brought in", (seconds, 3), "s");
    begin.report_generator(&joined, &mut report);
    if let Some(end) = bench.swarm.first_end() {
        report.warn(format!("a connection ended while held: {end}"));
    }
    bench.swarm.clear();
    bench.settle(settings.after, "all left", &mut Deaf)?;
    report_memory(&mut report, &bench, count, (empty, held), settings.after);
    bench.progress.clear();
    Ok(report)
}
