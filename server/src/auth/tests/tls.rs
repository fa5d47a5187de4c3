//! Requests over TLS: to a server whose certificate is trusted, and to one whose is not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

use super::vectors::{text, vectors};
use super::*;
use crate::auth::http::{HttpClient, HttpError};

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(text(&vectors()["tls"]["certificate"]).as_bytes()).unwrap()
}

/// Answers each connection's first request, if the handshake succeeds.
fn start() -> u16 {
    let key = PrivateKeyDer::from_pem_slice(text(&vectors()["tls"]["key"]).as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            let mut head = [0; 1_024];
            if stream.read(&mut head).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    });
    port
}

async fn get(client: &HttpClient, url: &str) -> Result<Bytes, HttpError> {
    let request = ::http::Request::get(url)
        .body(Full::new(Bytes::new()))
        .unwrap();
    let answer = client.send(request, Duration::from_secs(10), 100).await;
    answer.map(|answer| answer.body)
}

#[tokio::test]
async fn only_a_trusted_certificate_of_the_right_name_is_believed() {
    let port = start();
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let trusting = HttpClient::trusting(roots).unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{port}/");
        assert_eq!(get(&trusting, &url).await.unwrap(), "ok", "{host}");
        let told = get(&HttpClient::new().unwrap(), &url).await.unwrap_err();
        assert!(told.to_string().contains("certificate"), "{told}");
    }
    let told = get(&trusting, &format!("https://127.0.0.2:{port}/")).await;
    assert!(told.is_err(), "another name, or nobody there");
}
