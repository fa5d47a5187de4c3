//! A cluster of real processes on one machine: PostgreSQL, Redis, HAProxy and nodes, each of which
//! can be killed, paused and started again, with links between them that can be cut and slowed.
//!
//! Everything listens on loopback, lives in one temporary folder and ends with the process that
//! started it, however that ends. It knows processes and sockets, nothing of documents.

mod bus_noise;
mod cluster;
mod error;
mod haproxy;
mod keeper;
mod link;
mod node;
mod part;
mod pgbouncer;
mod place;
mod postgres;
mod programs;
mod redis;
mod resp;

pub use bus_noise::{BusNoise, NoiseCounts};
pub use cluster::{Cluster, ClusterOptions, Who};
pub use error::ClusterError;
pub use haproxy::HaProxy;
pub use link::{Conditions, Link};
pub use node::{Node, NodeOptions};
pub use part::{Part, Process};
pub use pgbouncer::PgBouncer;
pub use place::{free_port, temporary_folder};
pub use postgres::Postgres;
pub use redis::Redis;
