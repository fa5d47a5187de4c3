//! Fuzzing on the stable toolchain: seeded mutation harnesses over a corpus of files.
//!
//! ```text
//!  corpus + honest histories ─▶ model ─▶ mutate ─▶ targets ─▶ report
//!                                          ▲          │
//!                              synthesize ─┘          └─▶ corpus/panics
//! ```
//!
//! A run depends on its seed alone; a violated property names the seed and leaves its input in the
//! corpus, which an ordinary test replays.

pub mod corpus;
pub mod model;
pub mod mutate;
pub mod report;
#[path = "../../tests/support/mod.rs"]
pub mod support;
pub mod synthesize;
pub mod targets;
