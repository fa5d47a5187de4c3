//! The command line: scenarios and their settings.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Loads a y-websocket server and says what it did. An edit is one typed character, about 25 bytes;
/// a delivery is one edit reaching one client that is not its writer, alone or in a merged frame.
/// Latency runs from the moment an edit was due, so that a server's stalls show.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// Settings of every scenario.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Where rooms are: ws://HOST:PORT/PATH; a room's name is appended.
    #[arg(long, global = true, default_value = "ws://127.0.0.1:8080/ws")]
    pub(crate) url: String,
    /// The server's process: adds its CPU time and memory to the figures.
    #[arg(long, global = true)]
    pub(crate) pid: Option<u32>,
    /// Print one line of JSON instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Keep the generator on this CPU (pin the server to another: `taskset -c 0 driftless serve`).
    #[arg(long, global = true, value_name = "CPU")]
    pub(crate) pin: Option<usize>,
    /// Clients that connect at the same time.
    #[arg(long, global = true, default_value_t = 256)]
    pub(crate) join_at_once: usize,
    /// Rooms are named PREFIX-NUMBER; by default a new prefix each run, so that rooms are empty.
    #[arg(long, global = true, value_name = "PREFIX")]
    pub(crate) room_prefix: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Writers type, everybody else in the room receives.
    Fanout(Fanout),
}

/// Rooms × clients × writers, paced by a rate or saturating with a window.
#[derive(Debug, Clone, Args)]
pub(crate) struct Fanout {
    #[arg(long, default_value_t = 50)]
    pub(crate) rooms: usize,
    /// Clients in each room, writers included.
    #[arg(long, default_value_t = 20)]
    pub(crate) clients: usize,
    /// Writers in each room.
    #[arg(long, default_value_t = 4)]
    pub(crate) writers: usize,
    /// Edits per second of each writer.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) rate: f64,
    /// Saturate instead: this many edits of each writer are under way at any time.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) window: Option<usize>,
    /// When an edit is no longer under way.
    #[arg(long, value_enum, default_value_t = Until::All)]
    pub(crate) under_way_until: Until,
    /// How long is measured.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How long the load runs before that.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Clients of each room (none of them writers) that stop reading once joined and read again
    /// after the last edit; their deliveries count apart.
    #[arg(long, default_value_t = 0)]
    pub(crate) readers_stopped: usize,
    /// The longest wait without any delivery for the last edits before they count as missing.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) patience: f64,
}

/// When an edit is no longer under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// Every other reading client of the room has it.
    All,
    /// The first other client of the room has it.
    First,
}
