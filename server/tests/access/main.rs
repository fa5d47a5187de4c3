//! Access that is taken back, who may write in whose name, and who is shown as present: the real binary
//! and its commands, over real sockets, on one node and on two.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod client_ids;
mod doctor;
mod hook;
mod one_node;
mod presence;
mod questions;
mod readers;
mod server;
mod tokens;
mod two_nodes;
