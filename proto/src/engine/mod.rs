//! The sans-I/O sync state machine.

mod close;

pub use close::CloseReason;
