//! Load generator for y-websocket servers: `loadtest <scenario> --url ws://HOST:PORT/PATH`.
//!
//! One thread drives all clients. Edits are valid Yjs updates made by template; deliveries are
//! counted by the clocks in the headers of what arrives, so no CRDT runs on the hot path.

mod bench;
mod cli;
mod client;
mod dues;
mod histogram;
mod peers;
mod report;
mod scenarios;
mod serve;
mod tally;
mod trace;
mod typing;
mod usage;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::bench::RunError;
use crate::cli::{Cli, Scenario};
use crate::report::Report;
use crate::scenarios::{
    acks, cluster, cursors, documents, fanout, faults, flood, idle, kill9, load, storm,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = run(&cli).and_then(|report| match report {
        Some(report) => Ok(report.print(cli.common.json)?),
        None => Ok(()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed the exit code still tells.
            let _ = writeln!(std::io::stderr(), "loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<Option<Report>, RunError> {
    let report = match &cli.scenario {
        Scenario::Peers(settings) => return peers::run(settings).map(|()| None),
        Scenario::Relay(settings) => {
            peers::relay::serve(settings.listen)?;
            return Ok(None);
        }
        Scenario::Faults(settings) => faults::run(settings),
        Scenario::Fanout(settings) => fanout::run(&cli.common, settings),
        Scenario::Cluster(settings) => cluster::run(&cli.common, settings),
        Scenario::Idle(settings) => idle::run(&cli.common, settings),
        Scenario::Documents(settings) => documents::run(&cli.common, settings),
        Scenario::Load(settings) => load::run(&cli.common, settings),
        Scenario::Storm(settings) => storm::run(&cli.common, settings),
        Scenario::Flood(settings) => flood::run(&cli.common, settings),
        Scenario::Kill9(settings) => kill9::run(&cli.common, settings),
        Scenario::Acks(settings) => acks::run(&cli.common, settings),
        Scenario::Cursors(settings) => cursors::run(&cli.common, settings),
    };
    report.map(Some)
}
