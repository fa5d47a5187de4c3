//! What every scenario starts from: the server, the clock, names that no run used before, a swarm.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::Common;
use crate::client::connection::{Ended, Replica};
use crate::client::messages::Message;
use crate::client::swarm::{ClientId, Listener, Swarm};
use crate::client::target::{Target, TargetError};
use crate::client::timer::{Clock, seconds_ns};
use crate::report::{Progress, Report};
use crate::usage::{self, Process};

/// How long all clients together may take to join.
const JOIN_TIMEOUT_SECONDS: f64 = 120.0;
/// Progress and memory are looked at this often.
pub(crate) const TICK_NS: u64 = 250_000_000;
/// Above this share of its core the generator may be the bottleneck.
const GENERATOR_SHARE_MAX: f64 = 0.8;

/// Why a run gave no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("the generator cannot go on: {0}")]
    Io(#[from] std::io::Error),
    #[error("no process has the number {0}: give the server's in --pid, or leave it out")]
    NoProcess(u32),
    #[error("only {joined} of {wanted} clients joined within {JOIN_TIMEOUT_SECONDS} s{why}")]
    Join {
        joined: usize,
        wanted: usize,
        why: String,
    },
    #[error("{0}")]
    Settings(String),
    #[error(transparent)]
    Cluster(#[from] driftless_cluster::ClusterError),
    #[error("{0}")]
    Broken(String),
    #[error("the server command {command:?} failed: {why}")]
    Serve { command: String, why: String },
}

/// The start of every scenario.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) target: Target,
    pub(crate) swarm: Swarm,
    pub(crate) server: Option<Process>,
    pub(crate) progress: Progress,
    /// The Yjs id of the run's first writer; the others follow.
    pub(crate) first_id: u64,
    join_at_once: usize,
    room_prefix: String,
}

impl Bench {
    /// Pins the generator and checks what was given.
    pub(crate) fn new(common: &Common) -> Result<Self, RunError> {
        if let Some(cpu) = common.pin {
            usage::pin(cpu)?;
        }
        usage::raise_descriptor_limit()?;
        let server = common.pid.map(Process);
        if let Some(process) = server
            && !process.exists()
        {
            return Err(RunError::NoProcess(process.0));
        }
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let seed = scramble(since_epoch.as_nanos() as u64);
        let fresh_prefix = || format!("lt-{:08x}", seed as u32);
        Ok(Self {
            target: Target::parse(&common.url, common.dialect)?,
            swarm: Swarm::new(Clock::start())?,
            server,
            progress: Progress::new(),
            // Ids of five bytes, as Yjs 13's random ones nearly all are.
            first_id: (1 << 28) + (seed >> 36),
            join_at_once: common.join_at_once.max(1),
            room_prefix: common.room_prefix.clone().unwrap_or_else(fresh_prefix),
        })
    }

    /// The same, and the server answers already.
    pub(crate) fn with_live_server(common: &Common) -> Result<Self, RunError> {
        let bench = Self::new(common)?;
        bench.target.probe(&bench.room("probe"))?;
        Ok(bench)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.swarm.clock()
    }

    /// The full name of a room of this run.
    pub(crate) fn room(&self, name: impl std::fmt::Display) -> String {
        format!("{}-{name}", self.room_prefix)
    }

    /// Connects one client to a room for each item of `replicas`, so many at a time, and waits until
    /// all are synced. Clients get ascending ids in the given order. Returns the seconds taken.
    pub(crate) fn join(
        &mut self,
        clients: impl ExactSizeIterator<Item = (String, Replica)>,
        listener: &mut impl Listener,
    ) -> Result<f64, RunError> {
        let wanted = self.swarm.synced() + clients.len();
        let begun_ns = self.clock().now_ns();
        let deadline_ns = begun_ns + seconds_ns(JOIN_TIMEOUT_SECONDS);
        let mut clients = clients.peekable();
        while self.swarm.synced() < wanted {
            while clients.peek().is_some()
                && self.swarm.len() - self.swarm.synced() < self.join_at_once
            {
                if let Some((room, replica)) = clients.next() {
                    let opening = self.target.opening(&room);
                    self.swarm.connect(self.target.address, opening, replica)?;
                }
            }
            let now_ns = self.clock().now_ns();
            if now_ns >= deadline_ns || self.swarm.first_end().is_some() {
                return Err(self.join_failure(wanted));
            }
            let joined = self.swarm.synced();
            self.progress
                .show(&format!("joined {joined} of {wanted} clients"));
            self.swarm
                .turn((now_ns + TICK_NS).min(deadline_ns), listener)?;
        }
        Ok((self.clock().now_ns() - begun_ns) as f64 / 1e9)
    }

    fn join_failure(&mut self, wanted: usize) -> RunError {
        self.progress.clear();
        let why = self.swarm.first_end().map(|end| format!(": {end}"));
        RunError::Join {
            joined: self.swarm.synced(),
            wanted,
            why: why.unwrap_or_default(),
        }
    }

    /// Handles events for `seconds`, with `line` as progress.
    pub(crate) fn settle(
        &mut self,
        seconds: f64,
        line: &str,
        listener: &mut impl Listener,
    ) -> Result<(), RunError> {
        let end_ns = self.clock().now_ns() + seconds_ns(seconds);
        loop {
            let now_ns = self.clock().now_ns();
            if now_ns >= end_ns {
                return Ok(());
            }
            self.progress.show(line);
            self.swarm.turn((now_ns + TICK_NS).min(end_ns), listener)?;
        }
    }

    /// The server's resident memory in bytes, zero when its process is not known.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.server.and_then(Process::resident_bytes).unwrap_or(0)
    }

    /// Usage at this moment, to be compared with a later one.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            at_ns: self.clock().now_ns(),
            own_cpu_seconds: usage::own_cpu().as_secs_f64(),
            server_cpu_seconds: self.server.and_then(Process::cpu_seconds),
        }
    }
}

/// CPU times at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) at_ns: u64,
    own_cpu_seconds: f64,
    server_cpu_seconds: Option<f64>,
}

impl Usage {
    /// Seconds from `self` to `later`.
    pub(crate) fn seconds_to(&self, later: &Usage) -> f64 {
        (later.at_ns - self.at_ns) as f64 / 1e9
    }

    /// The server's CPU seconds from `self` to `later`.
    pub(crate) fn server_cpu_to(&self, later: &Usage) -> Option<f64> {
        Some(later.server_cpu_seconds? - self.server_cpu_seconds?)
    }

    /// Adds the generator's share of its core, and a warning when it may be the bottleneck.
    pub(crate) fn report_generator(&self, later: &Usage, report: &mut Report) {
        let seconds = self.seconds_to(later);
        let share = (later.own_cpu_seconds - self.own_cpu_seconds) / seconds;
        let label = "generator's share of its core";
        report.add_rounded("generator_cpu_percent", label, (share * 100.0, 1), "%");
        if share > GENERATOR_SHARE_MAX {
            report.warn(format!(
                "the generator used {:.0} % of its core: the figures may be its own limit; \
                 pin it to a core of its own with --pin",
                share * 100.0
            ));
        }
        if let Some(cpu) = self.server_cpu_to(later) {
            let label = "server's CPU (100 % is one core)";
            report.add_rounded("server_cpu_percent", label, (cpu / seconds * 100.0, 1), "%");
        }
    }
}

/// A listener for phases in which nothing is counted.
#[derive(Debug)]
pub(crate) struct Deaf;

impl Listener for Deaf {
    fn message(&mut self, _client: ClientId, _message: Message<'_>, _now_ns: u64) {}
    fn ended(&mut self, _client: ClientId, _why: Ended) {}
}

/// Spreads a number over all 64 bits (splitmix64).
pub(crate) fn scramble(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
