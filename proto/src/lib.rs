//! The protocol of Driftless: wire codecs, admission and the sans-I/O sync engine.
//!
//! ```text
//!  bytes ─▶ wire ─▶ Message ─▶ engine::Replica ─▶ Effects
//!                                │   ▲
//!                                ▼   │ admitted bytes only
//!                             admission
//! ```
//!
//! Nothing in this crate reads a clock, opens a socket or starts a task: time is an argument
//! (`now_ms`), randomness is an argument, and I/O is an effect that the caller performs.
//!
//! Reading order: [`wire`] (bytes ⇄ message), [`admission`] (the gate for untrusted bytes),
//! [`engine`] (what a replica does with a message).

pub mod admission;
pub mod bucket;
pub mod engine;
pub mod name;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;

/// A Yjs client id: 32 random bits in Yjs 13, up to 53 bits in Yjs 14 and yrs.
pub type ClientId = u64;

/// The number of a struct of one client, counted in UTF-16 units of content; below 2^31.
pub type Clock = u32;
