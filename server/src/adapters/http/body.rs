//! Bodies of calls: bounded in bytes and in time while they come, counted while they are held.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::room::{Held, HttpRoom, NoRoom};
use crate::adapters::websocket::due_ms;

/// What is handed to the connection at a time; it copies that.
const PART_BYTES: usize = 64 << 10;

/// Why a body is not read to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::adapters) enum BodyError {
    /// It is, or says it is, larger than allowed.
    #[error("the body is larger than {bytes_max} bytes, the most that this call takes")]
    TooLarge {
        /// What is allowed.
        bytes_max: usize,
    },
    /// It came more slowly than any link.
    #[error("the body did not come in time (setting frame_timeout_ms); try again")]
    Late,
    /// It ended early, or is encoded in a way that nobody knows.
    #[error("the body broke off: {0}")]
    Broken(#[from] PayloadError),
    /// Others are held.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// How much a body may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::adapters) struct BodyLimits {
    /// The most it may be.
    pub(in crate::adapters) bytes_max: usize,
    /// Time for it, besides what its bytes give it.
    pub(in crate::adapters) timeout_ms: u64,
}

/// A whole body, which is counted as long as this lives.
#[derive(Debug)]
pub(in crate::adapters) struct Body {
    pub(in crate::adapters) bytes: Bytes,
    held: Held,
}

impl Body {
    /// Reads one to its end.
    pub(in crate::adapters) async fn read(
        headers: &HeaderMap,
        mut payload: Payload,
        limits: BodyLimits,
        room: &Arc<HttpRoom>,
    ) -> Result<Self, BodyError> {
        let BodyLimits {
            bytes_max,
            timeout_ms,
        } = limits;
        let too_large = BodyError::TooLarge { bytes_max };
        if declared(headers).is_some_and(|declared| declared > bytes_max as u64) {
            return Err(too_large);
        }
        let begun = Instant::now();
        let mut held = room.body();
        let mut bytes = BytesMut::new();
        loop {
            let due = begun + Duration::from_millis(due_ms(0, timeout_ms, bytes.len()));
            let next = timeout_at(due, payload.next());
            let Some(part) = next.await.map_err(|_| BodyError::Late)? else {
                let bytes = bytes.freeze();
                return Ok(Self { bytes, held });
            };
            let part = part?;
            if bytes.len() + part.len() > bytes_max {
                return Err(too_large);
            }
            held.add(part.len())?;
            bytes.extend_from_slice(&part);
        }
    }

    /// One that goes out.
    pub(in crate::adapters) fn of(bytes: Bytes, room: &Arc<HttpRoom>) -> Result<Self, NoRoom> {
        let mut held = room.body();
        held.add(bytes.len())?;
        Ok(Self { bytes, held })
    }

    /// Its bytes, and what counts them.
    pub(in crate::adapters) fn into_parts(self) -> (Bytes, Held) {
        (self.bytes, self.held)
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl MessageBody for Body {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let bytes = &mut self.get_mut().bytes;
        let part = bytes.split_to(bytes.len().min(PART_BYTES));
        Poll::Ready((!part.is_empty()).then_some(Ok(part)))
    }
}
