//! Calls over HTTP, each on a connection of its own.

use std::time::{Duration, Instant};

use crate::house::House;
use crate::socket::Socket;

/// A server that does not answer a whole request within this time is at fault; what is not whole ends
/// with the connection.
const PATIENCE: Duration = Duration::from_millis(500);

/// A request for the state of a document, or one that changes it.
pub(crate) fn request(path: &str, token: &str, body: Option<&[u8]>) -> Vec<u8> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: sync.example.com\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Sends it; everything that comes back.
pub(crate) async fn answer(house: &House, request: &[u8]) -> Vec<u8> {
    let mut socket = Socket::connect(house.doors.address()).await;
    socket.write(request).await;
    let by = Instant::now() + PATIENCE;
    while !socket.is_ended() && Instant::now() < by {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    socket.take_bytes()
}
