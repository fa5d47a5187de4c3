//! The transport edge over real sockets: handshake, names, limits, framing, backpressure, farewells.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod binary;
mod calls;
mod certificates;
mod denied;
mod floods;
mod flow;
mod handshake;
mod hocuspocus;
mod lifetime;
mod limits;
mod peer;
mod provider;
mod proxy_protocol;
mod receipts;
mod rooms;
mod tls;
