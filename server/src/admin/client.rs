//! The command line's end of the admin socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::command::{Command, Failure, Reply};
use super::frame::{
    self, FrameError, Limits, REPLY_HEADER_BYTES_MAX, REPLY_PAYLOAD_BYTES_MAX, STALL_TIMEOUT,
};
use super::operations::OperationError;
use super::path::{SOCKET_NAME, address};

/// How long a command may take on the server. A backup or a full verification reads every byte of
/// the database; a server that dies meanwhile is noticed at once.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Why a command got no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers on the socket.
    #[error("the server does not answer on its admin socket: {0}")]
    Unreachable(io::Error),
    /// The exchange broke.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The server took too long.
    #[error("the server did not finish within an hour; it may still be at work")]
    Timeout,
    /// The server refused or failed.
    #[error("{0}")]
    Operation(#[from] OperationError),
}

/// Sends one command to the server that runs on `folder` and waits for its reply.
pub async fn call(
    folder: &Path,
    command: &Command,
    payload: &[u8],
) -> Result<(Reply, Bytes), CallError> {
    let address = address(folder, SOCKET_NAME).map_err(CallError::Unreachable)?;
    let connected = timeout(STALL_TIMEOUT, UnixStream::connect(&address.path)).await;
    let mut stream = connected
        .map_err(|_| CallError::Frame(FrameError::Stalled))?
        .map_err(CallError::Unreachable)?;
    // A server that refuses a request early answers and closes before it has read all of it; then
    // the reply matters, not the broken pipe.
    let sent = frame::write(&mut stream, command, payload, STALL_TIMEOUT).await;
    let answered = receive(&mut stream).await;
    match (sent, answered) {
        (_, Ok(reply)) => Ok(reply),
        (_, Err(error @ CallError::Operation(_))) => Err(error),
        (Err(error), Err(_)) => Err(error.into()),
        (Ok(()), Err(error)) => Err(error),
    }
}

async fn receive(stream: &mut UnixStream) -> Result<(Reply, Bytes), CallError> {
    // The reply starts when the work is done, so its first byte may take long.
    let mut first = [0; 1];
    let arrived = timeout(OPERATION_TIMEOUT, stream.read_exact(&mut first)).await;
    arrived
        .map_err(|_| CallError::Timeout)?
        .map_err(FrameError::Io)?;
    let limits = Limits {
        header_bytes_max: REPLY_HEADER_BYTES_MAX,
        payload_bytes_max: REPLY_PAYLOAD_BYTES_MAX,
        stall_timeout: STALL_TIMEOUT,
    };
    let mut whole = first.as_slice().chain(stream);
    let (outcome, payload) = frame::read::<Result<Reply, Failure>>(&mut whole, limits).await?;
    let reply = outcome.map_err(OperationError::from)?;
    Ok((reply, payload))
}
