//! What a client hears that speaks plain HTTP to a port of TLS.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 56\r\n\
    Connection: close\r\n\
    \r\n\
    this port speaks TLS only; use https:// or wss:// here\r\n";

/// Says so, if the socket takes it at once.
pub(super) async fn answer_plain_http(mut socket: TcpStream) {
    // An answer to a mistake: who does not hear it sees the connection close, all the same.
    if socket.try_write(ANSWER).is_ok() {
        let _ = socket.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_answer_has_the_length_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
