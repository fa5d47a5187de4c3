//! Tombstones: the merged state vectors of a document's deleted epochs.
//!
//! A state vector is lib0 v1: a count, then (client, clock) pairs, all unsigned LEB128 numbers.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A client id and a clock need at least a byte each; more pairs than that is a lie.
const PAIR_BYTES_MIN: usize = 2;

/// The bytes are not a state vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state vector of a deleted document does not decode")]
pub(super) struct BadVector;

/// Merges `vector` into an earlier tombstone: the highest clock of each client stays.
pub(super) fn merge(tombstone: Option<&[u8]>, vector: &[u8]) -> Result<Bytes, BadVector> {
    let mut clocks = match tombstone {
        Some(earlier) => decode(earlier)?,
        None => BTreeMap::new(),
    };
    for (client, clock) in decode(vector)? {
        let known = clocks.entry(client).or_default();
        *known = clock.max(*known);
    }
    Ok(encode(&clocks))
}

fn decode(bytes: &[u8]) -> Result<BTreeMap<u64, u64>, BadVector> {
    let mut rest = bytes;
    let count = read_number(&mut rest)?;
    if count > (rest.len() / PAIR_BYTES_MIN) as u64 {
        return Err(BadVector);
    }
    let mut clocks = BTreeMap::new();
    for _ in 0..count {
        let client = read_number(&mut rest)?;
        let clock = read_number(&mut rest)?;
        clocks.insert(client, clock);
    }
    rest.is_empty().then_some(clocks).ok_or(BadVector)
}

fn encode(clocks: &BTreeMap<u64, u64>) -> Bytes {
    let mut bytes = Vec::with_capacity(clocks.len() * 8 + 4);
    write_number(&mut bytes, clocks.len() as u64);
    for (client, clock) in clocks {
        write_number(&mut bytes, *client);
        write_number(&mut bytes, *clock);
    }
    bytes.into()
}

fn read_number(rest: &mut &[u8]) -> Result<u64, BadVector> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(BadVector)?;
        *rest = tail;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return Err(BadVector);
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BadVector)
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_highest_clock_of_each_client_stays() {
        let first = merge(None, &[2, 1, 5, 2, 7]).unwrap();
        let second = merge(Some(&first), &[2, 1, 4, 3, 9]).unwrap();
        assert_eq!(&second[..], [3, 1, 5, 2, 7, 3, 9]);
    }

    #[test]
    fn large_numbers_survive() {
        let mut vector = vec![1];
        write_number(&mut vector, (1 << 53) - 1);
        write_number(&mut vector, u64::MAX);
        assert_eq!(&merge(None, &vector).unwrap()[..], &vector[..]);
    }

    #[test]
    fn hostile_vectors_are_refused() {
        let table: [&[u8]; 6] = [
            &[],
            &[255, 255, 255, 122],
            &[1, 1],
            &[1, 1, 0x80],
            &[0, 0],
            &[
                1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1,
            ],
        ];
        for vector in table {
            assert_eq!(merge(None, vector), Err(BadVector), "{vector:?}");
        }
    }
}
