//! What the tests of this crate share: a seeded generator and histories of honest yrs clients.
// Each test binary uses its own part.
#![allow(dead_code, unreachable_pub, clippy::expect_used)]

pub mod edits;
pub mod history;
pub mod random;
