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
    /// How the server wants to be spoken to.
    #[arg(long, global = true, value_enum, default_value_t = Dialect::YWebsocket)]
    pub(crate) dialect: Dialect,
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

/// How messages are put into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    #[value(name = "y-websocket")]
    YWebsocket,
    /// Behind the document's name, which the URL then does not tell.
    Hocuspocus,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Writers type, everybody else in the room receives.
    Fanout(Fanout),
    /// Fan-out through a balancer, and what each node of the cluster did for it.
    Cluster(Cluster),
    /// Many connections that join and stay quiet.
    Idle(Idle),
    /// Many open documents, one client each.
    Documents(Documents),
    /// A long editing trace, typed key by key, then fetched by fresh clients.
    Load(LoadTrace),
    /// The server restarts and all clients come back at once.
    Storm(Storm),
    /// Kill -9 and restart, again and again: what was acknowledged or relayed and is not there?
    Kill9(Kill9),
    /// Kills, pauses and cuts off parts of a cluster under writers: what was acknowledged and is not
    /// there, and does everybody end with the same text?
    Faults(Faults),
    /// From an edit to the answer of the save probe (type 102) that covers it.
    Acks(Acks),
    /// Everyone in one room moves a cursor
    Cursors(Cursors),
    /// Everything that a peer without manners or without a token can do, at once: run it beside another
    /// scenario, whose figures then tell how everybody else fares.
    Flood(Flood),
    /// Installs other servers and compares them with this one: writes docs/benchmarks.md.
    Peers(Peers),
    /// A relay without CRDT, checks and storage, for this generator's clients: what bounds a server.
    Relay(Relay),
}

/// Runs of each question of the comparison.
pub(crate) const ROUNDS_DEFAULT: usize = 3;

/// The comparison.
#[derive(Debug, Clone, Args)]
pub(crate) struct Peers {
    /// Runs of each question, of which the median counts; long ones are made once.
    #[arg(long, default_value_t = ROUNDS_DEFAULT)]
    pub(crate) rounds: usize,
    /// Only these servers, by name; repeat, or separate by commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Leave out how cost grows with size.
    #[arg(long)]
    pub(crate) without_growth: bool,
    /// Where the page goes; its picture is put beside it.
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    pub(crate) page: std::path::PathBuf,
    /// The CPU of the servers; the generator takes the next one.
    #[arg(long, default_value_t = 0)]
    pub(crate) cpu: usize,
}

/// The bare relay.
#[derive(Debug, Clone, Args)]
pub(crate) struct Relay {
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub(crate) listen: std::net::SocketAddr,
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

/// Fan-out over a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Cluster {
    /// Where each node listens, for its metrics; --url is the balancer's.
    #[arg(
        long,
        value_delimiter = ',',
        required = true,
        value_name = "HOST:PORT,…"
    )]
    pub(crate) nodes: Vec<std::net::SocketAddr>,
    #[command(flatten)]
    pub(crate) load: Fanout,
}

/// Connections that join and stay quiet.
#[derive(Debug, Clone, Args)]
pub(crate) struct Idle {
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 1_000)]
    pub(crate) rooms: usize,
    /// Seconds the connections are held before memory is looked at.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) hold: f64,
    /// Seconds after all left until memory is looked at again.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) after: f64,
}

/// Open documents, one client each.
#[derive(Debug, Clone, Args)]
pub(crate) struct Documents {
    #[arg(long, default_value_t = 2_000)]
    pub(crate) documents: usize,
    /// Characters in each.
    #[arg(long, default_value_t = 2_048)]
    pub(crate) bytes: usize,
    /// Seconds the documents are held before memory is looked at.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) hold: f64,
    /// Seconds after all left until memory is looked at again.
    #[arg(long, default_value_t = 40.0)]
    pub(crate) after: f64,
}

/// An editing trace, key by key.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadTrace {
    /// automerge-paper.json of editing-traces (unpacked) or editing-trace.js of automerge-perf.
    /// Without it a synthetic trace of the same 259,778 key strokes is typed.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<String>,
    /// Only the first so many key strokes.
    #[arg(long)]
    pub(crate) keys: Option<usize>,
    /// Keys under way: sent, and not yet with the reader.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) window: usize,
    /// Fresh clients that fetch the text at once.
    #[arg(long, default_value_t = 50)]
    pub(crate) joiners: usize,
    /// The server's command (words split at spaces): adds the first fetch after a start.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) serve: Option<String>,
}

/// A restart under many clients.
#[derive(Debug, Clone, Args)]
pub(crate) struct Storm {
    #[arg(long, default_value_t = 2_000)]
    pub(crate) clients: usize,
    #[arg(long, default_value_t = 200)]
    pub(crate) rooms: usize,
    /// Characters in each room's document.
    #[arg(long, default_value_t = 2_048)]
    pub(crate) bytes: usize,
    /// The server's command (words split at spaces), with a data folder that lasts.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) serve: String,
    /// Kill -9 instead of SIGTERM.
    #[arg(long)]
    pub(crate) kill: bool,
}

/// Kills and restarts under load.
#[derive(Debug, Clone, Args)]
pub(crate) struct Kill9 {
    /// Kills.
    #[arg(long, default_value_t = 50)]
    pub(crate) rounds: usize,
    /// Rooms, each with one writer and one reader.
    #[arg(long, default_value_t = 20)]
    pub(crate) rooms: usize,
    /// Edits per second of each writer, each followed by a save probe.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) rate: f64,
    /// The shortest time of typing before a kill, in seconds.
    #[arg(long, default_value_t = 0.2)]
    pub(crate) min_seconds: f64,
    /// The longest time of typing before a kill, in seconds.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) max_seconds: f64,
    /// The server's command (words split at spaces), with a data folder that lasts.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) serve: String,
}

/// Faults of a cluster, drawn from a seed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Faults {
    /// The server's binary.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: std::path::PathBuf,
    /// Rounds of faults, each with its own seed: the given one and those after it.
    #[arg(long, default_value_t = 20)]
    pub(crate) rounds: u64,
    /// The seed of the first round; by default the time.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: usize,
    #[arg(long, default_value_t = 6)]
    pub(crate) documents: usize,
    /// Writers in each document.
    #[arg(long, default_value_t = 3)]
    pub(crate) writers: usize,
    /// Edits per second of each writer, each followed by a save probe.
    #[arg(long, default_value_t = 8.0)]
    pub(crate) rate: f64,
    /// The longest fault, in seconds.
    #[arg(long, default_value_t = 8.0)]
    pub(crate) longest: f64,
    /// Seconds in which everybody has to agree once all faults are over.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) patience: f64,
    /// Kinds of faults to leave out; repeat, or separate by commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) without: Vec<FaultKind>,
    /// Only these kinds.
    #[arg(long, value_delimiter = ',', conflicts_with = "without")]
    pub(crate) only: Vec<FaultKind>,
    /// Further settings of the nodes, behind `--`.
    #[arg(last = true)]
    pub(crate) settings: Vec<String>,
}

/// What can happen to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultKind {
    /// `kill -9` of a node, Redis or PostgreSQL, and a start after a while.
    Kill,
    /// A node, Redis or PostgreSQL stands still.
    Pause,
    /// A node's link to Redis or PostgreSQL is cut, slowed, throttled or silent.
    Link,
    /// A share of the bus messages to a node vanishes.
    Loss,
    /// Nodes are stopped in good order and started, one after the other.
    Rolling,
    /// Bus messages come late and twice, and some that nobody can read.
    Noise,
    /// PostgreSQL is set back to an earlier state under live nodes.
    Restore,
}

/// Cursors of one room.
#[derive(Debug, Clone, Args)]
pub(crate) struct Cursors {
    #[arg(long, default_value_t = 500)]
    pub(crate) clients: usize,
    /// Moves per second of each client.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) rate: f64,
    /// Clients tell again what they hear of others, as those of y-websocket do.
    #[arg(long)]
    pub(crate) resend: bool,
    /// How long is measured.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How long the load runs before that.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Seconds to wait for the last moves to be seen.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) patience: f64,
}

/// Floods of sockets, slow requests, joins and cursors.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flood {
    /// Where sockets are opened that show no token; by default `/hocuspocus` of the server in --url.
    #[arg(long, value_name = "URL")]
    pub(crate) strangers: Option<String>,
    /// Sockets that show no token and say nothing; each is opened again when the server ends it.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) silent: usize,
    /// Sockets that send one byte a second: half of them a request, half a message of 1 MiB.
    #[arg(long, default_value_t = 500)]
    pub(crate) dripping: usize,
    /// Joins per second of documents that do not exist; every second one shows a false token.
    #[arg(long, default_value_t = 500)]
    pub(crate) joins: usize,
    /// Moves of cursors per second, by clients with the token in --url, in the rooms PREFIX-0 and so
    /// on: with the --room-prefix of the other scenario they are its rooms.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) moves: usize,
    /// Rooms in which cursors move, with one such client each.
    #[arg(long, default_value_t = 10)]
    pub(crate) rooms: usize,
    /// How long it lasts.
    #[arg(long, default_value_t = 30.0)]
    pub(crate) seconds: f64,
}

/// Durable acks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Acks {
    /// Documents, each with one writer.
    #[arg(long, default_value_t = 500)]
    pub(crate) documents: usize,
    /// Edits per second of all writers together.
    #[arg(long, default_value_t = 5_000.0)]
    pub(crate) rate: f64,
    /// Saturate instead: this many edits of each writer are not acknowledged yet at any time.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) window: Option<usize>,
    /// How long is measured.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How long the load runs before that.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Seconds to wait for the last acks.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) patience: f64,
}
