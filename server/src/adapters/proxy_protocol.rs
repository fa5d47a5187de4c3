//! The first step of a connection: whose it is, even when a balancer stands in between.
//!
//! A balancer that passes bytes on hides who sent them, so it tells the address in a header in front
//! of all else (PROXY protocol version 2). Whoever may write that header may claim any address:
//! it is read from the configured peers only, and those must bring it. Exactly the header leaves
//! the stream; HTTP and all behind it get the plain stream as if it came from the client itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_server::GracefulShutdownSignal;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use self::header::{Malformed, Parsed};
use crate::metrics;

mod header;

/// Lets accepted streams in.
pub(super) struct Entrance {
    /// Peers that tell for whom they connect.
    pub(super) balancers: Vec<IpNet>,
    /// Time for the header. What follows it has as much again, by the clock of HTTP.
    pub(super) timeout: Duration,
    /// The server stops: who has said nothing yet is not waited for.
    pub(super) stopping: GracefulShutdownSignal,
}

/// What HTTP is spoken over, how, and with whom.
type Admitted = (TcpStream, Protocol, Option<SocketAddr>);

/// Why a balancer's connection is closed without an answer: nobody knows what it would be taken for.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the PROXY protocol header did not come in time (setting handshake_timeout_ms)")]
    Late,
    #[error("the connection ended before its PROXY protocol header was whole")]
    Ended,
    #[error("the connection broke before its PROXY protocol header was whole: {0}")]
    Lost(io::Error),
    #[error("the server is stopping; connect again in a moment")]
    ShuttingDown,
}

impl Refused {
    /// The label of the metric.
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.reason(),
            Self::Late => "timeout",
            Self::Ended => "ended",
            Self::Lost(_) => "lost",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

impl Entrance {
    /// Finds out whose stream it is; an error closes it.
    pub(super) async fn admit(&self, mut stream: TcpStream) -> Result<Admitted, DispatchError> {
        // Frames are small and somebody waits for each. A socket that refuses is still served.
        let _ = stream.set_nodelay(true);
        let peer = stream.peer_addr().ok();
        let Some(balancer) = peer.filter(|peer| self.is_balancer(*peer)) else {
            return Ok((stream, Protocol::Http1, peer));
        };
        // Boxed: without a balancer the tasks of connections stay as small as they were.
        match Box::pin(self.told_source(&mut stream)).await {
            Ok(source) => Ok((stream, Protocol::Http1, source.or(peer))),
            Err(refused) => {
                metrics::proxy_header_refused(refused.reason());
                tracing::debug!(%balancer, %refused, "a connection was refused");
                Err(DispatchError::Io(io::Error::other(refused)))
            }
        }
    }

    fn is_balancer(&self, peer: SocketAddr) -> bool {
        // Behind a dual-stack listener IPv4 peers come as ::ffff:a.b.c.d.
        let address = peer.ip().to_canonical();
        self.balancers.iter().any(|range| range.contains(&address))
    }

    async fn told_source(&self, stream: &mut TcpStream) -> Result<Option<SocketAddr>, Refused> {
        tokio::select! {
            read = tokio::time::timeout(self.timeout, read_header(stream)) => {
                read.unwrap_or(Err(Refused::Late))
            }
            () = self.stopping.notified() => Err(Refused::ShuttingDown),
        }
    }
}

/// Takes exactly the header off the stream; the source it tells, if it tells one.
async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Refused> {
    let mut header = Vec::new();
    loop {
        let missing = match header::parse(&header)? {
            Parsed::Whole { source } => return Ok(source),
            Parsed::Incomplete { missing } => missing,
        };
        let mut limited = (&mut *stream).take(missing as u64);
        let read = limited.read_buf(&mut header).await.map_err(Refused::Lost)?;
        if read == 0 {
            return Err(Refused::Ended);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::header::SIGNATURE;
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn header(rest: &[u8]) -> Vec<u8> {
        [&SIGNATURE, rest].concat()
    }

    fn reason(read: Result<Option<SocketAddr>, Refused>) -> &'static str {
        read.unwrap_err().reason()
    }

    #[tokio::test]
    async fn exactly_the_header_leaves_the_stream() {
        let told = header(b"\x21\x11\x00\x0f\x0a\x00\x00\x07\x7f\x00\x00\x01\x10\x00\x20\x00TLV");
        let (mut client, mut server) = tokio::io::duplex(1);
        let behind = b"GET / HTTP/1.1\r\n";
        let send = async {
            client.write_all(&told).await.unwrap();
            client.write_all(behind).await.unwrap();
            drop(client);
        };
        let receive = async {
            let source = read_header(&mut server).await.unwrap();
            assert_eq!(source, Some("10.0.0.7:4096".parse().unwrap()));
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, behind);
        };
        tokio::join!(send, receive);
    }

    #[tokio::test]
    async fn nothing_is_read_behind_a_declared_length_that_is_too_large() {
        let huge = header(b"\x21\x11\xff\xffmore");
        let mut stream = huge.as_slice();
        assert_eq!(reason(read_header(&mut stream).await), "length");
        assert_eq!(stream, b"more");
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_refused() {
        let told = header(b"\x21\x11\x00\x0c\x0a\x00\x00\x07\x7f\x00\x00\x01\x10\x00\x20\x00");
        for length in 0..told.len() {
            let read = read_header(&mut &told[..length]).await;
            assert_eq!(reason(read), "ended", "after {length} bytes");
        }
    }

    #[tokio::test]
    async fn the_first_wrong_byte_is_not_waited_behind() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"G").await.unwrap();
        assert_eq!(reason(read_header(&mut server).await), "signature");
    }
}
