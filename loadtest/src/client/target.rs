//! The server under test: its URL, and whether it is there at all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::envelope::Envelope;
use super::websocket::{UpgradeAnswer, read_upgrade_answer, upgrade_request};

use crate::cli::Dialect;

/// How long a server may take to accept and answer the first connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where rooms are found: `ws://host:port/prefix?query`.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    host: String,
    prefix: String,
    query: String,
    dialect: Dialect,
}

/// What a client begins with.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The upgrade request.
    pub(crate) request: Vec<u8>,
    pub(crate) envelope: Option<Envelope>,
}

/// Why a server cannot be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{0:?} is no URL of the form ws://HOST:PORT/PATH")]
    NotAUrl(String),
    #[error("wss is not measured: give the plain ws:// URL behind the TLS proxy instead of {0:?}")]
    Tls(String),
    #[error("{host} cannot be resolved ({source}): give another host in --url")]
    Unknown {
        host: String,
        source: std::io::Error,
    },
    #[error(
        "nothing answers at {address} ({source}): start the server, for instance \
         `driftless serve --listen {address}`, or give another --url"
    )]
    Dead {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(
        "{address} answered {status:?} to GET {path} instead of a WebSocket: check the path in --url"
    )]
    Refused {
        address: SocketAddr,
        path: String,
        status: String,
    },
}

impl Target {
    /// Reads `ws://host:port/prefix?query` and resolves the host.
    pub(crate) fn parse(url: &str, dialect: Dialect) -> Result<Self, TargetError> {
        let malformed = || TargetError::NotAUrl(url.to_owned());
        if url.starts_with("wss://") {
            return Err(TargetError::Tls(url.to_owned()));
        }
        let rest = url.strip_prefix("ws://").ok_or_else(malformed)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(malformed());
        }
        let port_given = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if port_given {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let unknown = |source| TargetError::Unknown {
            host: host.to_owned(),
            source,
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(unknown)?
            .next()
            .ok_or_else(malformed)?;
        Ok(Self {
            address,
            host: host.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            query: if query.is_empty() {
                String::new()
            } else {
                format!("?{query}")
            },
            dialect,
        })
    }

    /// The path of a room, with the query.
    pub(crate) fn path(&self, room: &str) -> String {
        let separator = if self.prefix.is_empty() { "" } else { "/" };
        format!("{separator}{}/{room}{}", self.prefix, self.query)
    }

    /// What a client of a room begins with.
    pub(crate) fn opening(&self, room: &str) -> Opening {
        Opening {
            request: upgrade_request(&self.host, &self.path(room)),
            envelope: match self.dialect {
                Dialect::YWebsocket => None,
                Dialect::Hocuspocus => Some(Envelope::new(room)),
            },
        }
    }

    /// Opens and closes one WebSocket, so that a dead or wrong URL is told before the load starts.
    pub(crate) fn probe(&self, room: &str) -> Result<(), TargetError> {
        let address = self.address;
        let dead = |source| TargetError::Dead { address, source };
        let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT).map_err(dead)?;
        stream.set_read_timeout(Some(PROBE_TIMEOUT)).map_err(dead)?;
        let request = self.opening(room).request;
        stream.write_all(&request).map_err(dead)?;
        let refused = |status: String| TargetError::Refused {
            address,
            path: self.path(room),
            status,
        };
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            let length = match stream.read(&mut part) {
                Ok(0) => return Err(refused(String::from_utf8_lossy(&answer).into_owned())),
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(refused("nothing".to_owned()));
                }
                Err(error) => return Err(dead(error)),
            };
            answer.extend_from_slice(&part[..length]);
            match read_upgrade_answer(&answer) {
                UpgradeAnswer::Incomplete => {}
                UpgradeAnswer::Accepted(_) => return Ok(()),
                UpgradeAnswer::Refused(status) => return Err(refused(status)),
            }
        }
    }

    /// Whether the port takes connections.
    pub(crate) fn is_open(&self) -> bool {
        TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_go_behind_the_prefix_and_before_the_query() {
        for (url, path) in [
            ("ws://127.0.0.1:1234/ws", "/ws/room"),
            ("ws://127.0.0.1:1234/ws/", "/ws/room"),
            ("ws://127.0.0.1:1234", "/room"),
            ("ws://127.0.0.1:1234/a/b?token=x", "/a/b/room?token=x"),
        ] {
            assert_eq!(
                Target::parse(url, Dialect::YWebsocket)
                    .unwrap()
                    .path("room"),
                path
            );
        }
    }

    #[test]
    fn wrong_urls_are_told() {
        for url in [
            "http://127.0.0.1:80",
            "127.0.0.1:80",
            "ws://",
            "wss://127.0.0.1:80/ws",
        ] {
            assert!(Target::parse(url, Dialect::YWebsocket).is_err(), "{url}");
        }
    }

    #[test]
    fn a_dead_port_is_told_with_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let target = Target::parse(&format!("ws://{address}/ws"), Dialect::YWebsocket).unwrap();
        let error = target.probe("room").unwrap_err().to_string();
        assert!(error.contains("start the server"), "{error}");
        assert!(!target.is_open());
    }
}
