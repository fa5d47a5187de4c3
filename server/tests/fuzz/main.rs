//! Random sessions of hostile and honest peers against a real server, a dialect at a time.
//!
//! ```text
//!  seed ─▶ draw.rs ─▶ Step ─▶ stage.rs ─▶ sockets ─▶ server ─▶ frames ─▶ ledger.rs
//!           valid or mutated    plays it                        what may be seen, by whom
//!                                  └─▶ verdict.rs  what has to hold behind each sequence
//! ```
//!
//! A sequence depends on its seed; what it meets in time does not. `FUZZ_SEQUENCES` says how many
//! sequences a dialect plays, `FUZZ_SEED` where the first starts, `FUZZ_DIALECT` which dialect alone,
//! `FUZZ_LANES` how many play at a time. A failure names its seed and leaves its steps in a file, which
//! `FUZZ_REPLAY=FILE` plays again and shortens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout
)]

mod calls;
mod channel;
mod dialect;
mod draw;
mod honest;
mod house;
mod ledger;
mod mutate;
mod regressions;
mod run;
mod socket;
mod stage;
mod step;
#[path = "../../../proto/tests/support/mod.rs"]
mod support;
mod token;
mod verdict;
#[path = "../../../proto/fuzz/src/targets/view.rs"]
#[allow(unreachable_pub)]
mod view;
mod write;
