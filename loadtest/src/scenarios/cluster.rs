//! A cluster by its own counters: edits through the balancer, then at one node alone. What was stored for
//! an edit, what each node did for it, and what nodes did that nobody asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::bench::RunError;
use crate::cli::{Cluster, Common};
use crate::report::Report;
use crate::scenarios::fanout;

/// How long a node may take to tell its metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

/// A page of metrics is some hundred kilobytes at most.
const METRICS_BYTES_MAX: u64 = 16 << 20;

/// After the last delivery counters settle: commits are told to the metrics after the frames left.
const SETTLE: Duration = Duration::from_millis(500);

const APPENDS: &str = "driftless_commit_batch_appends_sum";
const BATCHES: &str = "driftless_commit_batch_appends_count";
const ASIDES: &str = "driftless_commit_asides_total";
const APPLIED: &str = "driftless_updates_applied_total";
const PUBLISHED: &str = "driftless_bus_published_total";
const RECEIVED: &str = "driftless_bus_received_total";
const REPAIRS: &str = "driftless_bus_repairs_total";
const POLLED: &str = "driftless_documents_polled_total";

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Cluster) -> Result<Report, RunError> {
    let Some(first) = settings.nodes.first() else {
        return Err(RunError::Settings(
            "--nodes wants the nodes' addresses".to_owned(),
        ));
    };
    let before = read_all(&settings.nodes)?;
    let mut report = fanout::run(common, &settings.load)?;
    std::thread::sleep(SETTLE);
    let between = read_all(&settings.nodes)?;
    let did = Counters::sum(&before, &between);
    tell_together(&mut report, &did);
    let alone = Common {
        url: format!("ws://{first}/ws"),
        ..common.clone()
    };
    fanout::run(&alone, &settings.load)?;
    std::thread::sleep(SETTLE);
    let after = read_all(&settings.nodes)?;
    let others = Counters::sum(&between[1..], &after[1..]);
    tell_others(&mut report, &others);
    Ok(report)
}

fn tell_together(report: &mut Report, did: &Counters) {
    let edits = report.number("edits").unwrap_or(0.0).max(1.0);
    for (key, label, counter) in [
        ("appends", "appends stored", APPENDS),
        ("batches", "batches committed", BATCHES),
        ("asides", "documents committed beside their lane", ASIDES),
        ("published", "commits told to other nodes", PUBLISHED),
        ("received", "commits heard of other nodes", RECEIVED),
        ("repairs", "looks into logs", REPAIRS),
        ("polled", "documents polled", POLLED),
    ] {
        report.add_rounded(key, label, (did.of(counter), 0), "");
    }
    for (key, label, counter) in [
        ("appends_per_edit", "appends stored an edit", APPENDS),
        (
            "applied_per_edit",
            "updates applied an edit, all nodes",
            APPLIED,
        ),
    ] {
        report.add_rounded(key, label, (did.of(counter) / edits, 3), "");
    }
    let per_batch = did.of(APPENDS) / did.of(BATCHES).max(1.0);
    report.add_rounded("appends_per_batch", "appends a batch", (per_batch, 1), "");
    if did.of(APPENDS) > edits {
        report.warn("more appends were stored than edits made");
    }
}

fn tell_others(report: &mut Report, others: &Counters) {
    for (key, label, counter) in [
        (
            "idle_applied",
            "others applied, with all sessions at one node",
            APPLIED,
        ),
        (
            "idle_received",
            "others heard, with all sessions at one node",
            RECEIVED,
        ),
        (
            "idle_polled",
            "others polled, with all sessions at one node",
            POLLED,
        ),
        (
            "idle_appends",
            "others stored, with all sessions at one node",
            APPENDS,
        ),
    ] {
        let did = others.of(counter);
        report.add_rounded(key, label, (did, 0), "");
        if did > 0.0 {
            report.warn(format!(
                "nodes without sessions were not idle: {counter} grew by {did}"
            ));
        }
    }
}

/// What counters grew by.
#[derive(Debug, Default)]
struct Counters(BTreeMap<String, f64>);

impl Counters {
    fn sum(before: &[Self], after: &[Self]) -> Self {
        let mut grown = Self::default();
        for (before, after) in before.iter().zip(after) {
            for (name, value) in &after.0 {
                *grown.0.entry(name.clone()).or_default() += value - before.of(name);
            }
        }
        grown
    }

    fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Adds up what a counter's labels keep apart.
    fn parse(page: &str) -> Self {
        let mut counters = Self::default();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, value)) = line.rsplit_once(' ')
                && let Ok(value) = value.parse::<f64>()
            {
                let name = name.split('{').next().unwrap_or(name);
                *counters.0.entry(name.to_owned()).or_default() += value;
            }
        }
        counters
    }
}

fn read_all(nodes: &[SocketAddr]) -> Result<Vec<Counters>, RunError> {
    nodes.iter().map(|node| Ok(read(*node)?)).collect()
}

fn read(node: SocketAddr) -> std::io::Result<Counters> {
    let mut stream = TcpStream::connect_timeout(&node, METRICS_TIMEOUT)?;
    stream.set_read_timeout(Some(METRICS_TIMEOUT))?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {node}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut page = String::new();
    stream.take(METRICS_BYTES_MAX).read_to_string(&mut page)?;
    Ok(Counters::parse(&page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_labels_and_nodes() {
        let page = "# HELP a_total x\na_total{lane=\"0\"} 2\na_total{lane=\"1\"} 3\nb_sum 1.5\n";
        let zero = || vec![Counters::default(), Counters::parse("a_total 1\n")];
        let after = vec![Counters::parse(page), Counters::parse(page)];
        let grown = Counters::sum(&zero(), &after);
        assert_eq!((grown.of("a_total"), grown.of("b_sum")), (9.0, 3.0));
        assert_eq!(grown.of("unknown"), 0.0);
    }
}
