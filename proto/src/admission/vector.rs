//! State vectors: how many clocks of each client a replica holds.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Refusal, checks};
use crate::wire::DecodeError;
use crate::wire::lib0::{Reader, put_var_uint};
use crate::{ClientId, Clock};

/// The fewest bytes of an entry: client and clock.
const ENTRY_BYTES_MIN: usize = 2;

/// For each client the first clock that is not held; a client that is absent stands at 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateVector {
    clocks: BTreeMap<ClientId, Clock>,
}

impl StateVector {
    /// Reads a v1 state vector; every count is checked against the bytes that remain.
    ///
    /// # Errors
    /// Truncated or trailing bytes, a client listed twice, an id or clock out of range.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes);
        let mut clocks = BTreeMap::new();
        for _ in 0..checks::count(&mut reader, ENTRY_BYTES_MIN)? {
            let client = checks::client(&mut reader)?;
            let clock = checks::clock(&mut reader)?;
            if clocks.insert(client, clock).is_some() {
                return Err(Refusal::DuplicateClient);
            }
        }
        if !reader.is_empty() {
            return Err(DecodeError::TrailingBytes.into());
        }
        clocks.retain(|_, clock| *clock > 0);
        Ok(Self { clocks })
    }

    /// The v1 encoding, clients in descending order as Yjs writes them.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(5 + self.clocks.len() * 8);
        put_var_uint(&mut out, self.clocks.len() as u64);
        for (&client, &clock) in self.clocks.iter().rev() {
            put_var_uint(&mut out, client);
            put_var_uint(&mut out, u64::from(clock));
        }
        out.into()
    }

    /// The first clock of `client` that is not held.
    pub fn get(&self, client: ClientId) -> Clock {
        self.clocks.get(&client).copied().unwrap_or(0)
    }

    /// Raises `client` to `clock`; a lower clock changes nothing.
    pub fn raise_to(&mut self, client: ClientId, clock: Clock) {
        if clock > 0 {
            let held = self.clocks.entry(client).or_default();
            *held = clock.max(*held);
        }
    }

    /// Lowers `client` to `clock`; a higher clock changes nothing.
    pub fn lower_to(&mut self, client: ClientId, clock: Clock) {
        if self.get(client) > clock {
            self.clocks.insert(client, clock);
            self.clocks.retain(|_, clock| *clock > 0);
        }
    }

    /// Raises every client to what `other` holds of it.
    pub fn merge_max(&mut self, other: &Self) {
        for (client, clock) in other.iter() {
            self.raise_to(client, clock);
        }
    }

    /// Whether nothing that `other` holds is lacking here.
    pub fn covers(&self, other: &Self) -> bool {
        other
            .iter()
            .all(|(client, clock)| self.get(client) >= clock)
    }

    /// Clients and clocks, in ascending order of clients.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, Clock)> + '_ {
        self.clocks.iter().map(|(&client, &clock)| (client, clock))
    }

    /// The number of clients of which anything is held.
    pub fn len(&self) -> usize {
        self.clocks.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.clocks.is_empty()
    }
}

impl FromIterator<(ClientId, Clock)> for StateVector {
    fn from_iter<T: IntoIterator<Item = (ClientId, Clock)>>(entries: T) -> Self {
        let mut vector = Self::default();
        for (client, clock) in entries {
            vector.raise_to(client, clock);
        }
        vector
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn vectors_are_read_strictly() {
        let table: [(&[u8], Result<usize, Refusal>); 9] = [
            (&[0], Ok(0)),
            (&[1, 1, 2], Ok(1)),
            (&[], Err(DecodeError::Truncated.into())),
            (&[2, 1, 2], Err(Refusal::CountTooLarge)),
            (&[1, 1], Err(Refusal::CountTooLarge)),
            (&[2, 1, 2, 1, 3], Err(Refusal::DuplicateClient)),
            (&[0, 0], Err(DecodeError::TrailingBytes.into())),
            // The 4 byte bomb: 530 MB in yrs.
            (&[255, 255, 255, 122], Err(Refusal::CountTooLarge)),
            (
                &[1, 1, 129, 128, 128, 128, 8],
                Err(Refusal::ClockOutOfRange),
            ),
        ];
        for (bytes, wanted) in table {
            let read = StateVector::decode(bytes).map(|vector| vector.len());
            assert_eq!(read, wanted, "{bytes:?}");
        }
    }

    #[test]
    fn encoding_is_deterministic_and_descending() {
        let vector: StateVector = [(1, 2), (300, 5), (7, 0)].into_iter().collect();
        assert_eq!(&vector.encode()[..], [2, 172, 2, 5, 1, 2]);
        assert_eq!(StateVector::decode(&vector.encode()).unwrap(), vector);
    }

    #[test]
    fn covering_and_merging() {
        let mut left: StateVector = [(1, 2), (2, 1)].into_iter().collect();
        let right: StateVector = [(1, 1), (3, 4)].into_iter().collect();
        assert!(!left.covers(&right));
        left.merge_max(&right);
        assert!(left.covers(&right));
        assert_eq!((left.get(1), left.get(2), left.get(3)), (2, 1, 4));
    }
}
