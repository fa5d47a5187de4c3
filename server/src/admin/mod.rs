//! What an operator can do with documents, and the unix socket that carries it to a running server.
//!
//! [`operations`] is the contract. It is fulfilled twice: on the data folder of a stopped server
//! and over the live documents of a running one, so that the command line behaves alike.

pub mod operations;
