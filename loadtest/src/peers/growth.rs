//! How the cost of this server grows with size, from 10 to 10,000.

use serde_json::Value;

use super::Comparison;
use super::servers::Installed;
use crate::bench::RunError;

/// The sizes that are tried.
pub(super) const SIZES: [u64; 4] = [10, 100, 1_000, 10_000];

/// A quantity that grows, and what is measured of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) bound_by: &'static str,
    /// The scenario's arguments; `{size}` is filled in.
    arguments: &'static [&'static str],
    starts_server: bool,
    key: &'static str,
}

/// One series of the picture a line.
pub(super) const AXES: [Axis; 5] = [
    Axis {
        title: "Clients in a room: server CPU per 1M deliveries",
        unit: "s",
        bound_by: "Each edit costs a fixed part (admission, apply, commit) that all its receivers \
                   share, and a write per receiver, which the kernel dominates.",
        arguments: &[
            "fanout",
            "--rooms",
            "1",
            "--clients",
            "{size}",
            "--writers",
            "2",
            "--rate",
            "5",
            "--seconds",
            "5",
        ],
        starts_server: false,
        key: "server_cpu_s_per_million",
    },
    Axis {
        title: "Connections in 10 rooms: memory of each",
        unit: "KB",
        bound_by: "A socket's task, its session and its queue; buffers are held only while in use.",
        arguments: &[
            "idle",
            "--connections",
            "{size}",
            "--rooms",
            "10",
            "--hold",
            "2",
            "--after",
            "1",
        ],
        starts_server: false,
        key: "each_kb",
    },
    Axis {
        title: "Documents of 2 KB, each with a client: memory of each",
        unit: "KB",
        bound_by: "The replica, its cell and its presence; idle ones leave memory.",
        arguments: &[
            "documents",
            "--documents",
            "{size}",
            "--hold",
            "2",
            "--after",
            "1",
        ],
        starts_server: false,
        key: "each_kb",
    },
    Axis {
        title: "Key strokes in a document: first client after a start",
        unit: "ms",
        bound_by: "Reading the snapshot and the log behind it, which are sent as they are; compaction \
                   keeps that log short.",
        arguments: &["load", "--keys", "{size}"],
        starts_server: true,
        key: "cold_ms",
    },
    Axis {
        title: "Documents written to at 1,000 edits/s together: due to acknowledged, p50",
        unit: "ms",
        bound_by: "A commit writes to the end of one journal and waits for the disk once, whatever \
                   number of documents is in it.",
        arguments: &[
            "acks",
            "--documents",
            "{size}",
            "--rate",
            "1000",
            "--seconds",
            "5",
        ],
        starts_server: false,
        key: "p50_ms",
    },
];

/// A figure for each axis and size; `None` where the run failed.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) figures: Vec<[Option<f64>; SIZES.len()]>,
    /// The most with one CPU and with two, the generator on one of them.
    pub(super) one_and_two_cpus: [Option<Throughput>; 2],
}

/// The most deliveries, and what they took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    pub(super) deliveries_per_s: f64,
    pub(super) server_cpu_percent: f64,
    pub(super) generator_cpu_percent: f64,
}

impl Throughput {
    fn of(line: &Value) -> Option<Self> {
        Some(Self {
            deliveries_per_s: line["deliveries_per_s"].as_f64()?,
            server_cpu_percent: line["server_cpu_percent"].as_f64()?,
            generator_cpu_percent: line["generator_cpu_percent"].as_f64()?,
        })
    }

    /// Deliveries for each second of the server's CPU.
    pub(super) fn per_cpu_second(self) -> f64 {
        self.deliveries_per_s / (self.server_cpu_percent / 100.0)
    }
}

/// Measures every axis at every size.
pub(super) fn measure(
    comparison: &mut Comparison<'_>,
    driftless: &Installed,
) -> Result<Growth, RunError> {
    let mut growth = Growth {
        figures: Vec::new(),
        one_and_two_cpus: [None; 2],
    };
    for axis in AXES {
        let mut series = [None; SIZES.len()];
        for (size, figure) in SIZES.iter().zip(&mut series) {
            comparison
                .progress
                .show(&format!("growth: {}: {size}", axis.title));
            let size = size.to_string();
            let arguments: Vec<&str> = axis
                .arguments
                .iter()
                .map(|word| if *word == "{size}" { &size } else { *word })
                .collect();
            let line = comparison.run(driftless, &arguments, axis.starts_server);
            *figure = line.ok().and_then(|line| line[axis.key].as_f64());
        }
        growth.figures.push(series);
    }
    let saturating = [
        "fanout",
        "--rooms",
        "20",
        "--clients",
        "10",
        "--writers",
        "1",
        "--window",
        "16",
        "--seconds",
        "5",
    ];
    let one = comparison.run(driftless, &saturating, false);
    let both = comparison.run_on_two_cpus(driftless, &saturating);
    for (figure, line) in growth.one_and_two_cpus.iter_mut().zip([one, both]) {
        *figure = line.ok().as_ref().and_then(Throughput::of);
    }
    Ok(growth)
}
