//! How much, and how fast, peers may use the doors: the bounds that are about rates and rooms.

/// Bounds of connections and joins; a rate of 0 is none.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes a second from one connection; it is read more slowly beyond.
    pub connection_bytes_per_second_max: u64,
    /// Messages a second from one connection; it is read more slowly beyond.
    pub connection_messages_per_second_max: u64,
    /// Connections at a time that have not opened a document; answered with 503 beyond.
    pub unauthenticated_connections_max: usize,
    /// The same from one address; answered with 429 beyond.
    pub unauthenticated_connections_per_address_max: usize,
    /// Joins a second from one address; refused beyond.
    pub joins_per_second_max: u64,
    /// Time for a message that has begun, besides what its bytes give it.
    pub frame_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connection_bytes_per_second_max: 16 << 20,
            connection_messages_per_second_max: 0,
            unauthenticated_connections_max: 10_000,
            unauthenticated_connections_per_address_max: 2_000,
            joins_per_second_max: 200,
            frame_timeout_ms: 30_000,
        }
    }
}
