//! The sans-I/O sync state machine.
