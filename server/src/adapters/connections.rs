//! Counts connections against their limits and knows them all, to end them in an orderly way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftless_proto::engine::CloseReason;
use metrics::{Gauge, gauge};
use tokio::sync::Notify;

use super::AdapterOptions;
use super::address::{Client, client};
use crate::metrics::{CONNECTIONS, UNAUTHENTICATED_CONNECTIONS};
use crate::outbox::Outbox;

/// Time between two rounds of goodbyes while the server stops.
const GOODBYE_STEP_MS: u64 = 20;
/// Goodbyes per millisecond at most: the clients' reconnects reach other nodes at this pace.
const GOODBYES_PER_MS: u64 = 1;

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMany {
    /// The server stops.
    #[error("the server is stopping; connect again in a moment\n")]
    ShuttingDown,
    /// `connections_max` is reached.
    #[error(
        "this server has as many connections as it may (setting connections_max); try again later\n"
    )]
    Total,
    /// `connections_per_address_max` is reached.
    #[error(
        "your address has as many connections as it may (setting connections_per_address_max); \
         close some, or try again later\n"
    )]
    FromAddress,
    /// `unauthenticated_connections_max` is reached.
    #[error(
        "too many connections have not opened a document yet (setting \
         unauthenticated_connections_max); try again later\n"
    )]
    Unauthenticated,
    /// `unauthenticated_connections_per_address_max` is reached.
    #[error(
        "too many connections from your address have not opened a document yet (setting \
         unauthenticated_connections_per_address_max); try again later\n"
    )]
    UnauthenticatedFromAddress,
}

/// All open WebSocket connections of the server.
#[derive(Debug)]
pub(super) struct Connections {
    total_max: usize,
    per_address_max: usize,
    unauthenticated_max: usize,
    unauthenticated_per_address_max: usize,
    open: Mutex<Open>,
    /// The last connection ended.
    emptied: Notify,
    gauge: Gauge,
    unauthenticated_gauge: Gauge,
}

#[derive(Debug, Default)]
struct Open {
    shutting_down: bool,
    next_id: u64,
    per_address: HashMap<IpAddr, usize>,
    unauthenticated: usize,
    unauthenticated_from: HashMap<Client, usize>,
    outboxes: HashMap<u64, Arc<Outbox>>,
}

/// One counted connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<Connections>,
    id: u64,
    address: IpAddr,
    /// It has not opened a document, and takes the room of those.
    is_unauthenticated: bool,
}

impl Connections {
    pub(super) fn new(options: &AdapterOptions) -> Arc<Self> {
        let limits = &options.limits;
        // However it is set, half of the room is for those who may be here.
        let half = options.connections_max.div_ceil(2);
        Arc::new(Self {
            total_max: options.connections_max,
            per_address_max: options.connections_per_address_max,
            unauthenticated_max: limits.unauthenticated_connections_max.min(half),
            unauthenticated_per_address_max: limits.unauthenticated_connections_per_address_max,
            open: Mutex::default(),
            emptied: Notify::new(),
            gauge: gauge!(CONNECTIONS),
            unauthenticated_gauge: gauge!(UNAUTHENTICATED_CONNECTIONS),
        })
    }

    /// Counts a connection in, or says which limit it would exceed.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        outbox: Arc<Outbox>,
    ) -> Result<Connection, TooMany> {
        let mut open = self.lock();
        if open.shutting_down {
            return Err(TooMany::ShuttingDown);
        }
        if open.outboxes.len() >= self.total_max {
            return Err(TooMany::Total);
        }
        let from_address = open.per_address.entry(address).or_default();
        if *from_address >= self.per_address_max {
            return Err(TooMany::FromAddress);
        }
        *from_address += 1;
        let id = open.next_id;
        open.next_id += 1;
        open.outboxes.insert(id, outbox);
        self.gauge.increment(1.0);
        Ok(Connection {
            connections: self.clone(),
            id,
            address,
            is_unauthenticated: false,
        })
    }

    /// Takes no connection any more and says goodbye to all, spread over time: over `drain_ms` where
    /// other nodes take the clients over, and otherwise as fast as they may come back, for at most
    /// `spread_ms_max`. Done when all were told, not when they are gone.
    pub(super) async fn say_goodbye(&self, drain_ms: u64, spread_ms_max: u64) {
        let outboxes: Vec<Arc<Outbox>> = {
            let mut open = self.lock();
            open.shutting_down = true;
            open.outboxes.values().cloned().collect()
        };
        let spread_ms = (outboxes.len() as u64 / GOODBYES_PER_MS)
            .min(spread_ms_max)
            .max(drain_ms);
        let rounds = (spread_ms / GOODBYE_STEP_MS).max(1);
        let per_round = outboxes
            .len()
            .div_ceil(usize::try_from(rounds).unwrap_or(1))
            .max(1);
        let step_ms = spread_ms / (outboxes.len().div_ceil(per_round) as u64).max(1);
        for (round, some) in outboxes.chunks(per_round).enumerate() {
            if round > 0 {
                tokio::time::sleep(Duration::from_millis(step_ms)).await;
            }
            for outbox in some {
                outbox.close(CloseReason::ShuttingDown);
            }
        }
    }

    /// Resolves when no connection is open.
    pub(super) async fn wait_gone(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            // Listening before looking: the last one may leave in between.
            emptied.as_mut().enable();
            if self.lock().outboxes.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Cuts all connections without a word.
    pub(super) fn sever_all(&self) {
        let outboxes: Vec<Arc<Outbox>> = {
            let mut open = self.lock();
            open.shutting_down = true;
            open.outboxes.values().cloned().collect()
        };
        for outbox in outboxes {
            outbox.sever();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// It has to wait for a document; says which limit that would exceed.
    pub(super) fn wait(&mut self) -> Result<(), TooMany> {
        let connections = &self.connections;
        let mut open = connections.lock();
        if open.unauthenticated >= connections.unauthenticated_max {
            return Err(TooMany::Unauthenticated);
        }
        if let Some(client) = client(self.address) {
            let from_client = open.unauthenticated_from.entry(client).or_default();
            if *from_client >= connections.unauthenticated_per_address_max {
                return Err(TooMany::UnauthenticatedFromAddress);
            }
            *from_client += 1;
        }
        open.unauthenticated += 1;
        connections.unauthenticated_gauge.increment(1.0);
        self.is_unauthenticated = true;
        Ok(())
    }

    /// It has opened a document, or is gone.
    pub(super) fn authenticated(&mut self) {
        if !std::mem::take(&mut self.is_unauthenticated) {
            return;
        }
        let mut open = self.connections.lock();
        open.unauthenticated -= 1;
        if let Some(client) = client(self.address)
            && let Entry::Occupied(mut from_client) = open.unauthenticated_from.entry(client)
        {
            *from_client.get_mut() -= 1;
            if *from_client.get() == 0 {
                from_client.remove();
            }
        }
        self.connections.unauthenticated_gauge.decrement(1.0);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.authenticated();
        let mut open = self.connections.lock();
        open.outboxes.remove(&self.id);
        if let Some(from_address) = open.per_address.get_mut(&self.address) {
            *from_address -= 1;
            if *from_address == 0 {
                open.per_address.remove(&self.address);
            }
        }
        let is_last = open.outboxes.is_empty();
        drop(open);
        if is_last {
            self.connections.emptied.notify_waiters();
        }
        self.connections.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapters::Limits;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn connections(total_max: usize, per_address_max: usize, limits: Limits) -> Arc<Connections> {
        Connections::new(&AdapterOptions {
            connections_max: total_max,
            connections_per_address_max: per_address_max,
            limits,
            ..AdapterOptions::default()
        })
    }

    fn enter(connections: &Arc<Connections>, from: &str) -> Result<Connection, TooMany> {
        connections.enter(address(from), Outbox::new(100))
    }

    #[test]
    fn both_limits_hold_and_leaving_makes_room() {
        let connections = connections(3, 2, Limits::default());
        let first = enter(&connections, "10.0.0.1").unwrap();
        let _second = enter(&connections, "10.0.0.1").unwrap();
        assert_eq!(
            enter(&connections, "10.0.0.1").unwrap_err(),
            TooMany::FromAddress
        );
        let _third = enter(&connections, "10.0.0.2").unwrap();
        assert_eq!(enter(&connections, "10.0.0.3").unwrap_err(), TooMany::Total);
        drop(first);
        let _fourth = enter(&connections, "10.0.0.1").unwrap();
        assert_eq!(connections.lock().per_address.len(), 2);
    }

    #[test]
    fn those_without_a_document_have_a_room_of_their_own() {
        let limits = Limits {
            unauthenticated_connections_max: 3,
            unauthenticated_connections_per_address_max: 2,
            ..Limits::default()
        };
        let connections = connections(100, 100, limits);
        let wait = |from| {
            let mut connection = enter(&connections, from).unwrap();
            connection.wait().map(|()| connection)
        };
        let mut first = wait("10.0.0.1").unwrap();
        let second = wait("10.0.0.1").unwrap();
        assert_eq!(
            wait("10.0.0.1").unwrap_err(),
            TooMany::UnauthenticatedFromAddress
        );
        let _third = wait("2001:db8::1").unwrap();
        assert_eq!(wait("10.0.0.2").unwrap_err(), TooMany::Unauthenticated);
        // Who needs not wait comes in all the same.
        let _proved = enter(&connections, "10.0.0.1").unwrap();
        first.authenticated();
        drop((first, second));
        let _fourth = wait("2001:db8::2").unwrap();
        assert_eq!(
            wait("2001:db8::3").unwrap_err(),
            TooMany::UnauthenticatedFromAddress
        );
        let _fifth = wait("127.0.0.1").unwrap();
        let open = connections.lock();
        assert_eq!(
            (open.unauthenticated, open.unauthenticated_from.len()),
            (3, 1)
        );
    }

    #[test]
    fn half_of_all_room_is_never_for_those_who_wait() {
        let connections = connections(3, 3, Limits::default());
        let mut open: Vec<_> = (0..3)
            .map(|_| enter(&connections, "::1").unwrap())
            .collect();
        let waiting = open.iter_mut().map(Connection::wait);
        let waiting: Vec<_> = waiting.map(|waits| waits.is_ok()).collect();
        assert_eq!(waiting, [true, true, false]);
    }

    #[tokio::test]
    async fn a_stopping_server_says_goodbye_to_all_and_takes_nobody() {
        let connections = connections(1_000, 1_000, Limits::default());
        let outboxes: Vec<_> = (0..100).map(|_| Outbox::new(100)).collect();
        let _open: Vec<_> = outboxes
            .iter()
            .map(|outbox| connections.enter(address("::1"), outbox.clone()).unwrap())
            .collect();
        connections.say_goodbye(0, 60).await;
        for outbox in outboxes {
            assert_eq!(
                outbox.push(bytes::Bytes::new()),
                crate::outbox::PushResult::Closed
            );
        }
        assert_eq!(
            enter(&connections, "::1").unwrap_err(),
            TooMany::ShuttingDown
        );
    }
}
