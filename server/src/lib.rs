//! The server of Driftless as a library: adapters, actors, store and configuration.
//!
//! ```text
//!  bytes ─▶ adapters ─▶ SessionHandle ─▶ DocumentActor ─▶ engine::Replica ─▶ Effects
//!           (decode)     (bounded)        (one thread)     (pure)             ├▶ store  append / snapshot
//!                                                                             ├▶ bus    publish to other nodes
//!  bytes ◀─ adapters ◀─ session queue ◀──────────────────────────────────────┴▶ send   to peers
//! ```

pub mod access;
pub mod actors;
pub mod adapters;
pub mod admin;
pub mod app;
pub mod auth;
pub mod backends;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod finding;
pub mod import;
pub mod logging;
pub mod metrics;
pub mod outbox;
pub mod process;
pub mod session;
pub mod signals;
pub mod store;
