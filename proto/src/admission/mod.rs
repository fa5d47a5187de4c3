//! The gate for untrusted bytes: the only way from a peer's bytes to a replica.
