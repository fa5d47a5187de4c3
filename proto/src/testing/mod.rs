//! Fake network, virtual time and seeded faults: whole networks of clients around one engine.
//!
//! ```text
//!  people ─▶ Client (yrs) ─▶ Link ─▶ Node: inbox ─▶ engine::Replica ─▶ effects ─▶ Store
//!                 ▲            │                                          │          │
//!                 └────────────┴──────────────── outbox ◀─────────────────┘     checks at
//!                  sibling tabs                                                 every crash
//! ```
//!
//! A seed decides everything ([`rng`]): sizes and faults ([`scenario`]), what people do
//! ([`people`]), what becomes of frames ([`network`], [`link`]), turns ([`node`]), commits
//! ([`store`], [`lifecycle`]). What has to hold is written in [`checks`].

mod awareness;
mod checks;
mod client;
mod edits;
mod faults;
mod frames;
mod lifecycle;
mod link;
mod network;
mod node;
mod people;
mod queue;
pub mod rng;
mod scenario;
mod seen;
mod store;
mod violation;
mod world;

use std::collections::BTreeMap;

pub use violation::Violation;

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How often things happened, by name.
    pub tally: BTreeMap<&'static str, u64>,
    /// The virtual time that passed, in milliseconds.
    pub virtual_ms: u64,
    /// What happened, line by line, if asked for.
    pub trace: Vec<String>,
}

/// A broken promise and how it came about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("seed {seed} at {at_ms} ms: {violation}")]
pub struct Failure {
    /// Replays the run.
    pub seed: u64,
    /// The virtual time, in milliseconds.
    pub at_ms: u64,
    /// What was broken.
    pub violation: Violation,
    /// What happened, line by line, if asked for.
    pub trace: Vec<String>,
}

/// Runs the network that `seed` describes, with faults, to its healed end.
///
/// # Errors
/// The first promise that was broken.
pub fn simulate(seed: u64, keeps_trace: bool) -> Result<Report, Box<Failure>> {
    let mut world = world::World::new(seed, keeps_trace);
    let outcome = world.run();
    let at_ms = world.now_ms();
    let trace = world.take_trace();
    match outcome {
        Ok(()) => Ok(Report {
            tally: std::mem::take(&mut world.tally),
            virtual_ms: at_ms,
            trace,
        }),
        Err(violation) => Err(Box::new(Failure {
            seed,
            at_ms,
            violation,
            trace,
        })),
    }
}
