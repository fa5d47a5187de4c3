//! How much room plain HTTP has: connections, in all and by address, bytes of bodies, and calls that
//! work on documents.
//!
//! Sockets have room of their own (`connections.rs`). Neither kind takes the other's: what is accepted
//! is the sum of both.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::adapters::address::{Client, client};

/// Connections of plain HTTP at a time. Backends come with some calls each and leave; people's
/// editors are sockets.
pub(in crate::adapters) const HTTP_CONNECTIONS_MAX: usize = 1_024;

/// The same from one address: far more than a backend calls at a time, and an eighth of all.
const HTTP_CONNECTIONS_PER_ADDRESS_MAX: usize = 128;

/// Bytes of bodies at a time, of requests that come in and of answers that go out: eight of the largest
/// of the default `frame_bytes_max`. One is let through whatever its size.
const BODIES_BYTES_MAX: usize = 256 << 20;

/// Calls that work on documents at a time. Each has a document encode its whole state, some twice, so
/// more of them only take the threads from those who edit.
const CALLS_MAX: usize = 32;

/// How long a call waits for its turn. Most take milliseconds, so who waits longer is behind a flood.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no room, for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum NoRoom {
    /// [`HTTP_CONNECTIONS_MAX`] is reached.
    #[error("this server has as many connections for calls as it may; try again later")]
    Connections,
    /// [`HTTP_CONNECTIONS_PER_ADDRESS_MAX`] is reached.
    #[error(
        "your address has as many connections for calls as it may; close some, or try again later"
    )]
    FromAddress,
    /// [`BODIES_BYTES_MAX`] is reached.
    #[error("this server holds as much of other calls as it may; try again later")]
    Bodies,
    /// [`CALLS_MAX`] others went first for [`TURN_TIMEOUT`].
    #[error("too many calls work on documents at this moment; try again later")]
    Calls,
}

impl NoRoom {
    pub(in crate::adapters) fn status(self) -> StatusCode {
        match self {
            Self::FromAddress => StatusCode::TOO_MANY_REQUESTS,
            Self::Connections | Self::Bodies | Self::Calls => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The label of the metric.
    pub(in crate::adapters) fn reason(self) -> &'static str {
        match self {
            Self::Connections => "http_connections",
            Self::FromAddress => "http_connections_per_address",
            Self::Bodies => "http_bodies",
            Self::Calls => "http_calls",
        }
    }
}

/// All room of plain HTTP.
#[derive(Debug)]
pub(in crate::adapters) struct HttpRoom {
    taken: Mutex<Taken>,
    turns: Arc<Semaphore>,
    turn_timeout: Duration,
}

#[derive(Debug, Default)]
struct Taken {
    connections: usize,
    from_client: HashMap<Client, usize>,
    body_bytes: usize,
}

impl HttpRoom {
    pub(in crate::adapters) fn new() -> Arc<Self> {
        Self::with_turns(CALLS_MAX, TURN_TIMEOUT)
    }

    fn with_turns(turns: usize, turn_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            turns: Arc::new(Semaphore::new(turns)),
            turn_timeout,
        })
    }

    /// Counts a connection in. Loopback counts for itself only in all: it is a proxy with everybody
    /// behind it, or the machine's owner.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Seat, NoRoom> {
        let mut taken = self.lock();
        if taken.connections >= HTTP_CONNECTIONS_MAX {
            return Err(NoRoom::Connections);
        }
        let client = client(address);
        if let Some(client) = client {
            let from_client = taken.from_client.entry(client).or_default();
            if *from_client >= HTTP_CONNECTIONS_PER_ADDRESS_MAX {
                return Err(NoRoom::FromAddress);
            }
            *from_client += 1;
        }
        taken.connections += 1;
        Ok(Seat {
            room: self.clone(),
            client,
        })
    }

    /// Room for a body, of which nothing is here yet.
    pub(super) fn body(self: &Arc<Self>) -> Held {
        Held {
            room: self.clone(),
            bytes: 0,
        }
    }

    /// Waits until a call may work on documents.
    pub(in crate::adapters) async fn turn(&self) -> Result<OwnedSemaphorePermit, NoRoom> {
        let turn = self.turns.clone().acquire_owned();
        match tokio::time::timeout(self.turn_timeout, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            // It is never closed; who got none in time tries again.
            Ok(Err(_)) | Err(_) => Err(NoRoom::Calls),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of plain HTTP that is counted; dropping it makes room.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<HttpRoom>,
    client: Option<Client>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.connections -= 1;
        if let Some(client) = self.client
            && let Entry::Occupied(mut from_client) = taken.from_client.entry(client)
        {
            *from_client.get_mut() -= 1;
            if *from_client.get() == 0 {
                from_client.remove();
            }
        }
    }
}

/// Bytes of a body that are counted; dropping it makes room.
#[derive(Debug)]
pub(in crate::adapters) struct Held {
    room: Arc<HttpRoom>,
    bytes: usize,
}

impl Held {
    /// So many bytes more are held. The only body there is may be of any size.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let mut taken = self.room.lock();
        let is_only_one = taken.body_bytes == self.bytes;
        if !is_only_one && taken.body_bytes.saturating_add(bytes) > BODIES_BYTES_MAX {
            return Err(NoRoom::Bodies);
        }
        taken.body_bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.lock().body_bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn enter(room: &Arc<HttpRoom>, from: &str, count: usize) -> Vec<Result<Seat, NoRoom>> {
        let from = from.parse().unwrap();
        (0..count).map(|_| room.enter(from)).collect()
    }

    #[test]
    fn no_address_takes_all_and_leaving_makes_room() {
        let room = HttpRoom::new();
        let mut first = enter(&room, "10.0.0.1", HTTP_CONNECTIONS_PER_ADDRESS_MAX + 1);
        assert_eq!(first.pop().unwrap().unwrap_err(), NoRoom::FromAddress);
        assert!(first.iter().all(Result::is_ok));
        let left = HTTP_CONNECTIONS_MAX - HTTP_CONNECTIONS_PER_ADDRESS_MAX;
        let local = enter(&room, "127.0.0.1", left + 1);
        assert!(local[..left].iter().all(Result::is_ok));
        assert_eq!(*local[left].as_ref().unwrap_err(), NoRoom::Connections);
        drop(first);
        assert!(enter(&room, "10.0.0.1", 1)[0].is_ok());
        drop(local);
        assert_eq!(room.lock().connections, 0);
        assert!(room.lock().from_client.is_empty());
    }

    #[test]
    fn bodies_share_their_bytes_and_one_is_always_let_through() {
        let room = HttpRoom::new();
        let mut large = room.body();
        large.add(2 * BODIES_BYTES_MAX).unwrap();
        large.add(1).unwrap();
        let mut small = room.body();
        assert_eq!(small.add(1), Err(NoRoom::Bodies));
        drop(large);
        small.add(BODIES_BYTES_MAX - 1).unwrap();
        let mut other = room.body();
        other.add(1).unwrap();
        assert_eq!(other.add(1), Err(NoRoom::Bodies));
        drop((small, other));
        assert_eq!(room.lock().body_bytes, 0);
    }

    #[tokio::test]
    async fn who_finds_all_turns_taken_waits_for_one_and_not_for_ever() {
        let room = HttpRoom::with_turns(1, Duration::from_millis(200));
        let turn = room.turn().await.unwrap();
        assert_eq!(room.turn().await.unwrap_err(), NoRoom::Calls);
        drop(turn);
        let room = HttpRoom::with_turns(1, Duration::from_secs(20));
        let turn = room.turn().await.unwrap();
        let leave = async {
            tokio::task::yield_now().await;
            drop(turn);
        };
        let (next, ()) = tokio::join!(room.turn(), leave);
        drop(next.unwrap());
    }
}
