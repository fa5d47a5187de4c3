//! A swarm of y-websocket clients on one thread: framing, join, templates of edits, counting.

pub(crate) mod connection;
pub(crate) mod coverage;
pub(crate) mod edit;
pub(crate) mod envelope;
pub(crate) mod lib0;
pub(crate) mod messages;
pub(crate) mod swarm;
pub(crate) mod target;
pub(crate) mod timer;
pub(crate) mod update;
pub(crate) mod websocket;
