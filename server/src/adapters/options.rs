//! What the doors are given: limits and times of connections.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::access::OnExpiry;
use super::limits::Limits;
use super::tls::Tls;

/// Limits and times of connections.
#[derive(Debug, Clone)]
pub struct AdapterOptions {
    /// Address to listen at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that accept connections and speak HTTP.
    pub workers: usize,
    /// Web origins whose pages may connect, as browsers write them, besides localhost and the
    /// server's own host; of that the name counts only with authentication, `insecure_open`, or here.
    pub allow_origins: Vec<String>,
    /// Whoever reaches the port is let in on purpose: without authentication, too, pages of the server's
    /// own host may connect by whatever name that is called.
    pub insecure_open: bool,
    /// WebSocket connections at a time; answered with 503 beyond.
    pub connections_max: usize,
    /// WebSocket connections at a time from one address; answered with 429 beyond.
    pub connections_per_address_max: usize,
    /// Rates, and room for those who have not opened a document.
    pub limits: Limits,
    /// Time for a client to open its first document, and for each further one from its first word.
    pub unauthenticated_timeout_ms: u64,
    /// Bytes that may wait on a connection for tokens to be shown and judged.
    pub unauthenticated_bytes_max: usize,
    /// Documents at a time over one connection.
    pub documents_per_connection_max: usize,
    /// What tokens that are handed out have to name, as [`Authority`] wants it.
    pub auth_audience: Option<String>,
    /// The same for their issuer.
    pub auth_issuer: Option<String>,
    /// How long before its access ends a peer is warned.
    pub expiry_warning_ms: u64,
    /// What becomes of a session whose access has expired.
    pub on_expiry: OnExpiry,
    /// Hocuspocus' dialect is spoken at every path that is no other door's.
    pub hocuspocus_at_root: bool,
    /// Time for a client to send its request head, and as much for each step before that.
    pub handshake_timeout_ms: u64,
    /// The certificate of a server that speaks nothing but TLS.
    pub tls: Option<Tls>,
    /// How often the files of the certificate are looked at.
    pub tls_look_every_ms: u64,
    /// Peers that must open with a PROXY protocol header, which tells their client's address.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Bytes of one message from a client, all its fragments together.
    pub frame_bytes_max: usize,
    /// Bytes of frames that wait for one socket.
    pub outbox_bytes_max: usize,
    /// Something is sent when nothing was for this long; y-websocket clients leave after 30 s.
    pub keepalive_ms: u64,
    /// A peer is pinged after half of this silence, and given up after all of it.
    pub peer_timeout_ms: u64,
    /// A peer that takes no byte of what waits for this long is given up. Long, since the outbox is
    /// bounded: a stopped reader costs others nothing.
    pub write_timeout_ms: u64,
    /// A closing connection waits this long for the peer to take what is left and to leave.
    pub close_timeout_ms: u64,
    /// Time for a graceful stop; what is still open then is cut off.
    pub shutdown_timeout_ms: u64,
    /// Over how long a stopping node spreads its goodbyes, before that time counts.
    pub drain_ms: u64,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            workers: 1,
            allow_origins: Vec::new(),
            insecure_open: false,
            connections_max: 10_000,
            connections_per_address_max: 10_000,
            limits: Limits::default(),
            unauthenticated_timeout_ms: 10_000,
            unauthenticated_bytes_max: 1 << 20,
            documents_per_connection_max: 1_000,
            auth_audience: None,
            auth_issuer: None,
            expiry_warning_ms: 30_000,
            on_expiry: OnExpiry::End,
            hocuspocus_at_root: false,
            handshake_timeout_ms: 10_000,
            tls: None,
            tls_look_every_ms: 5_000,
            proxy_protocol_from: Vec::new(),
            frame_bytes_max: 32 * 1024 * 1024,
            outbox_bytes_max: 256 * 1024,
            keepalive_ms: 20_000,
            peer_timeout_ms: 60_000,
            write_timeout_ms: 300_000,
            close_timeout_ms: 10_000,
            shutdown_timeout_ms: 15_000,
            drain_ms: 0,
        }
    }
}
