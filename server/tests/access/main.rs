//! Identity, and access that is taken back: the real binary and its commands, over real sockets, on one node
//! and on two.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod hook;
mod one_node;
mod presence;
mod readers;
mod server;
mod two_nodes;
