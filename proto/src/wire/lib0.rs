//! lib0 primitives.
