//! The sans-I/O sync state machine.

pub mod export;
