//! Documents as actors, without sockets: supervision, containment, durability, slow readers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "fault-injection")]
mod arrivals;
#[cfg(feature = "fault-injection")]
mod faults;
#[cfg(feature = "fault-injection")]
mod held;
mod house;
mod lifecycle;
mod limits;
mod nodes;
mod owners;
mod peer;
mod presence;
#[cfg(feature = "fault-injection")]
mod receipts;
#[cfg(feature = "fault-injection")]
mod stuck;
