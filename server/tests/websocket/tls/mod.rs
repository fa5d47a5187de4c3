//! The doors behind TLS: a client that speaks it, and a server with a certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use driftless::adapters::AdapterOptions;
use driftless::adapters::tls::{CertificateFiles, Tls};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{Folder, Pair};
use crate::peer::{Peer, options, upgrade_request};

mod certificate;
mod flow;
mod handshake;

const NAME: &str = "sync.example.com";

/// Far below what the server waits by default, far above what a look at two files takes.
const LOOK_EVERY_MS: u64 = 20;

type TlsPeer = Peer<TlsStream<TcpStream>>;

fn new_pair() -> Pair {
    Pair::new(NAME)
}

fn behind_tls(folder: &Folder) -> AdapterOptions {
    let files = CertificateFiles {
        certificate: folder.certificate_path(),
        key: folder.key_path(),
    };
    AdapterOptions {
        tls: Some(Tls::load(files).unwrap()),
        tls_look_every_ms: LOOK_EVERY_MS,
        ..options()
    }
}

/// What a client that trusts these certificates, and nothing else, connects with.
fn client(trusted: &[&Pair]) -> ClientConfig {
    client_of(trusted, rustls::DEFAULT_VERSIONS)
}

fn client_of(trusted: &[&Pair], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.certificate.clone()).unwrap();
    }
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn secure(socket: TcpStream, config: &ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(config.clone()));
    connector
        .connect(ServerName::try_from(NAME).unwrap(), socket)
        .await
}

async fn connect(address: SocketAddr, config: &ClientConfig) -> TlsPeer {
    let socket = TcpStream::connect(address).await.unwrap();
    Peer {
        stream: secure(socket, config).await.unwrap(),
    }
}

async fn join(address: SocketAddr, config: &ClientConfig, path: &str) -> TlsPeer {
    let mut peer = connect(address, config).await;
    let head = peer.request(&upgrade_request(path, "")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    peer
}

/// What the server showed.
fn shown(peer: &TlsPeer) -> &CertificateDer<'static> {
    &peer.stream.get_ref().1.peer_certificates().unwrap()[0]
}
