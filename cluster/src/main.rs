//! `driftless-cluster`: starts a cluster, prints where everything is, and stops it on Ctrl-C.
// A command-line tool speaks on its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use driftless_cluster::{Cluster, ClusterError, ClusterOptions, NodeOptions, Part};
use tokio::signal::unix::{SignalKind, signal};

/// Starts PostgreSQL, Redis, HAProxy and nodes on free ports of loopback, and stops them on Ctrl-C.
/// Nothing of it lasts.
#[derive(Debug, Parser)]
#[command(name = "driftless-cluster", version)]
struct Cli {
    /// The server's binary.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    nodes: u8,
    /// The port of PostgreSQL; by default a free one.
    #[arg(long, default_value_t = 0)]
    postgres_port: u16,
    /// The balancer tells nodes the addresses of clients (PROXY protocol, version 2).
    #[arg(long)]
    proxy_protocol: bool,
    /// Further settings of the nodes, behind `--`.
    #[arg(last = true)]
    settings: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("driftless-cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io)?;
    // Before anything starts, so that an early Ctrl-C ends it in good order, too.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).map_err(io);
        (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        )
    };
    let mut cluster = Cluster::start(&ClusterOptions {
        nodes: usize::from(cli.nodes),
        node: NodeOptions {
            binary: std::path::absolute(&cli.binary).map_err(io)?,
            arguments: cli.settings,
        },
        postgres_port: cli.postgres_port,
        has_links: false,
        says_who: cli.proxy_protocol,
    })?;
    show(&cluster);
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    println!("\nstopping");
    for name in cluster.stop() {
        println!("{name} did not stop in good order");
    }
    Ok(())
}

fn io(source: std::io::Error) -> ClusterError {
    ClusterError::Io {
        what: "start".to_owned(),
        source,
    }
}

fn show(cluster: &Cluster) {
    println!("balancer    ws://{}/ws/NAME", cluster.balancer().address());
    for node in cluster.nodes() {
        let (name, address) = (node.process().name(), node.address());
        println!("{name:<11} ws://{address}/ws/NAME  http://{address}/metrics");
    }
    println!("PostgreSQL  psql {}", cluster.database_url());
    println!("Redis       {}", cluster.redis().url());
    println!("logs        {}", cluster.folder().display());
    println!("Ctrl-C stops everything and removes it.");
}
