//! One message of the admin protocol: a length, a JSON header of that length, a payload.
//!
//! ```text
//!  header length   u32, big endian
//!  header          JSON: {"version": 1, "payload_bytes": n, "body": …}
//!  payload         n bytes
//! ```
//!
//! A connection carries one request and its reply.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::command::VERSION;

/// A request is a command and a name or path.
pub const REQUEST_HEADER_BYTES_MAX: u32 = 64 << 10;

/// A full list of names and reasons, each byte escaped.
pub const REPLY_HEADER_BYTES_MAX: u32 = 8 << 20;

/// The largest state that a command line takes from a server: the largest `document_bytes_max`,
/// twice, since a state may outgrow the limit it was checked against.
pub const REPLY_PAYLOAD_BYTES_MAX: u64 = 2 << 30;

/// How long either side waits for the other's next bytes.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is given room for before it arrives.
const CAPACITY_MAX: u64 = 1 << 20;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side is gone, or the socket failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// Nothing came or went for the stall timeout.
    #[error("the other side stopped answering")]
    Stalled,
    /// The header or payload is larger than is taken.
    #[error("{what} of {bytes} bytes is larger than the {max} that are taken")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its announced size.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// The header is not what this version expects.
    #[error("the message is malformed: {0}")]
    Malformed(String),
    /// The other side speaks another version.
    #[error(
        "the other side speaks version {0} of the admin protocol, this one {VERSION}; use the \
         `driftless` binary that the server runs"
    )]
    Version(u32),
}

/// What a reader takes, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest header.
    pub header_bytes_max: u32,
    /// The largest payload.
    pub payload_bytes_max: u64,
    /// How long to wait for the next bytes; [`STALL_TIMEOUT`] outside tests.
    pub stall_timeout: Duration,
}

#[derive(Serialize)]
struct Outgoing<'a, T> {
    version: u32,
    payload_bytes: u64,
    body: &'a T,
}

/// Read first on its own, so that another version is told as such whatever its body is.
#[derive(Deserialize)]
struct Envelope {
    version: u32,
    payload_bytes: u64,
    body: serde_json::Value,
}

/// Reads a message. Nothing is allocated for what was only announced, beyond a mebibyte.
pub async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    limits: Limits,
) -> Result<(T, Bytes), FrameError> {
    let length = unstalled(limits.stall_timeout, stream.read_u32()).await?;
    let max = limits.header_bytes_max;
    if length > max {
        return Err(too_large("a header", length.into(), max.into()));
    }
    let header = read_bytes(stream, length.into(), limits.stall_timeout).await?;
    let malformed = |error: serde_json::Error| FrameError::Malformed(error.to_string());
    let envelope: Envelope = serde_json::from_slice(&header).map_err(malformed)?;
    if envelope.version != VERSION {
        return Err(FrameError::Version(envelope.version));
    }
    let max = limits.payload_bytes_max;
    if envelope.payload_bytes > max {
        return Err(too_large("a payload", envelope.payload_bytes, max));
    }
    let body = serde_json::from_value(envelope.body).map_err(malformed)?;
    let payload = read_bytes(stream, envelope.payload_bytes, limits.stall_timeout).await?;
    Ok((body, payload))
}

/// Writes a message.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    body: &impl Serialize,
    payload: &[u8],
    stall_timeout: Duration,
) -> Result<(), FrameError> {
    let header = Outgoing {
        version: VERSION,
        payload_bytes: payload.len() as u64,
        body,
    };
    let header =
        serde_json::to_vec(&header).map_err(|error| FrameError::Malformed(error.to_string()))?;
    let max = REPLY_HEADER_BYTES_MAX;
    let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    if length > max {
        return Err(too_large("a header", length.into(), max.into()));
    }
    unstalled(stall_timeout, stream.write_u32(length)).await?;
    for part in header
        .chunks(CHUNK_BYTES)
        .chain(payload.chunks(CHUNK_BYTES))
    {
        unstalled(stall_timeout, stream.write_all(part)).await?;
    }
    unstalled(stall_timeout, stream.flush()).await
}

/// What is written under one stall timeout.
const CHUNK_BYTES: usize = 256 << 10;

async fn read_bytes(
    stream: &mut (impl AsyncRead + Unpin),
    length: u64,
    stall_timeout: Duration,
) -> Result<Bytes, FrameError> {
    let mut bytes = BytesMut::with_capacity(length.min(CAPACITY_MAX) as usize);
    let mut stream = stream.take(length);
    while (bytes.len() as u64) < length {
        if unstalled(stall_timeout, stream.read_buf(&mut bytes)).await? == 0 {
            let short = format!("it ended {} bytes early", length - bytes.len() as u64);
            return Err(FrameError::Malformed(short));
        }
    }
    Ok(bytes.freeze())
}

async fn unstalled<T>(
    stall_timeout: Duration,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, FrameError> {
    match timeout(stall_timeout, step).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(FrameError::Stalled),
    }
}

fn too_large(what: &'static str, bytes: u64, max: u64) -> FrameError {
    FrameError::TooLarge { what, bytes, max }
}
