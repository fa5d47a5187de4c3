//! How often documents are joined from one address, so that a flood is refused before anything is
//! loaded or anybody is asked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use driftless_proto::bucket::TokenBucket;

use super::address::{Client, client};

/// Joins that an address may have in hand: an office whose clients come back at once after a break.
const BURST_SECONDS: u64 = 10;

/// Addresses remembered at a time, in two generations of half as many. When the younger is full the
/// older is forgotten: who was not seen for that long begins with a full bucket again.
const ADDRESSES_MAX: usize = 65_536;

/// The rate of joins of every address.
#[derive(Debug)]
pub(super) struct Joins {
    per_second: u64,
    generation_max: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    younger: HashMap<Client, TokenBucket>,
    older: HashMap<Client, TokenBucket>,
}

impl Joins {
    /// A rate of 0 is no limit.
    pub(super) fn new(per_second: u64) -> Self {
        Self {
            per_second,
            generation_max: ADDRESSES_MAX / 2,
            seen: Mutex::default(),
        }
    }

    /// Counts a join; false when there were too many. Loopback is never refused: what comes from there
    /// is a proxy with everybody behind it, or the machine's owner.
    pub(super) fn take(&self, from: IpAddr, now_ms: u64) -> bool {
        let Some(client) = client(from) else {
            return true;
        };
        let Some(full) = TokenBucket::new(self.per_second, BURST_SECONDS, now_ms) else {
            return true;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.younger.contains_key(&client) {
            let known = seen.older.remove(&client);
            if seen.younger.len() >= self.generation_max {
                seen.older = std::mem::take(&mut seen.younger);
            }
            seen.younger.insert(client, known.unwrap_or(full));
        }
        let bucket = seen.younger.get_mut(&client);
        bucket.is_none_or(|bucket| bucket.try_take(now_ms))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn taken(joins: &Joins, from: &str, tries: usize, now_ms: u64) -> usize {
        let from = address(from);
        (0..tries).filter(|_| joins.take(from, now_ms)).count()
    }

    #[test]
    fn each_address_has_a_rate_of_its_own() {
        let joins = Joins::new(2);
        assert_eq!(taken(&joins, "10.0.0.1", 30, 0), 20);
        assert_eq!(taken(&joins, "::ffff:10.0.0.1", 1, 0), 0);
        assert_eq!(taken(&joins, "10.0.0.2", 30, 0), 20);
        assert_eq!(taken(&joins, "10.0.0.1", 30, 1_000), 2);
        assert_eq!(taken(&joins, "127.0.0.1", 1_000, 0), 1_000);
        assert_eq!(taken(&Joins::new(0), "10.0.0.1", 1_000, 0), 1_000);
    }

    #[test]
    fn one_network_of_64_bits_is_one_client() {
        let joins = Joins::new(1);
        let all: usize = (0..20)
            .map(|host| taken(&joins, &format!("2001:db8::{host:x}"), 1, 0))
            .sum();
        assert_eq!(all, 10);
        assert_eq!(taken(&joins, "2001:db8:0:1::1", 1, 0), 1);
    }

    #[test]
    fn the_table_is_bounded_and_remembers_who_is_busy() {
        let joins = Joins {
            generation_max: 10,
            ..Joins::new(1)
        };
        assert_eq!(taken(&joins, "10.0.0.250", 20, 0), 10);
        for host in 0..200_u8 {
            assert_eq!(taken(&joins, &format!("10.0.0.{host}"), 1, 0), 1);
            assert_eq!(taken(&joins, "10.0.0.250", 1, 0), 0, "{host}");
            let seen = joins.seen.lock().unwrap();
            assert!(seen.younger.len() + seen.older.len() <= 20);
        }
    }
}
