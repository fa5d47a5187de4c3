//! What an operator can do with documents, and the unix socket that carries it to a running server.
//!
//! ```text
//!  command line ─▶ Command ─┬▶ client ─ admin.sock ─▶ server ─▶ execute ─▶ the live documents
//!                           └▶ execute ─▶ stored ─▶ the data folder of a stopped server
//! ```
//!
//! [`operations`] is the contract. It is fulfilled twice: on the data folder of a stopped server
//! and over the live documents of a running one, so that the command line behaves alike.

pub mod access;
pub mod client;
pub mod command;
pub mod execute;
pub mod frame;
pub mod live;
pub mod operations;
pub mod path;
pub mod server;
pub mod stored;

#[cfg(test)]
mod tests;

pub use access::{AccessOperations, Operations};
pub use client::call;
pub use command::{Command, Reply};
pub use operations::{DocumentOperations, OperationError};
pub use server::AdminSocket;
