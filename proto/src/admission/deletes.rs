//! Delete sets: which ids were deleted, as merged half-open ranges of each client.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::BufMut;

use super::{Refusal, checks};
use crate::wire::DecodeError;
use crate::wire::lib0::{Reader, put_var_uint};
use crate::{ClientId, Clock};

/// The fewest bytes of a client: its id and the count of its ranges.
const CLIENT_BYTES_MIN: usize = 2;
/// The fewest bytes of a range: its start and its length.
const RANGE_BYTES_MIN: usize = 2;

/// Deleted ids: for each client ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteSet {
    /// Start of a range to its end.
    clients: BTreeMap<ClientId, BTreeMap<Clock, Clock>>,
}

impl DeleteSet {
    /// Adds the ids `start..end` of `client`.
    pub fn insert(&mut self, client: ClientId, start: Clock, end: Clock) {
        if start >= end {
            return;
        }
        let ranges = self.clients.entry(client).or_default();
        let (mut start, mut end) = (start, end);
        if let Some((&before, &before_end)) = ranges.range(..=start).next_back() {
            if before_end >= end {
                return;
            }
            if before_end >= start {
                start = before;
            }
        }
        while let Some((&next, &next_end)) = ranges.range(start..=end).next() {
            end = end.max(next_end);
            ranges.remove(&next);
        }
        ranges.insert(start, end);
    }

    /// The parts of `start..end` of `client` that are not in the set, in order.
    pub fn missing(
        &self,
        client: ClientId,
        start: Clock,
        end: Clock,
    ) -> impl Iterator<Item = Range<Clock>> + '_ {
        let ranges = self.clients.get(&client);
        let mut at = start;
        std::iter::from_fn(move || {
            while at < end {
                let Some(ranges) = ranges else {
                    return Some(std::mem::replace(&mut at, end)..end);
                };
                if let Some((_, &covered)) = ranges.range(..=at).next_back()
                    && covered > at
                {
                    at = covered;
                    continue;
                }
                let next = ranges.range(at..end).next().map_or(end, |(&next, _)| next);
                return Some(std::mem::replace(&mut at, next)..next);
            }
            None
        })
    }

    /// Whether all of `range` of `client` is in the set.
    pub fn contains(&self, client: ClientId, range: Range<Clock>) -> bool {
        self.missing(client, range.start, range.end)
            .next()
            .is_none()
    }

    /// Adds everything in `other`.
    pub fn merge(&mut self, other: &Self) {
        for (client, range) in other.iter() {
            self.insert(client, range.start, range.end);
        }
    }

    /// Whether every id of `other` is in the set.
    pub fn covers(&self, other: &Self) -> bool {
        other
            .iter()
            .all(|(client, range)| self.contains(client, range))
    }

    /// All ranges, ascending by client and clock.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, Range<Clock>)> + '_ {
        self.clients
            .iter()
            .flat_map(|(&client, ranges)| ranges.iter().map(move |(&from, &to)| (client, from..to)))
    }

    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Appends the v1 encoding, clients in descending order as Yjs writes them.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_var_uint(out, self.clients.len() as u64);
        for (&client, ranges) in self.clients.iter().rev() {
            put_var_uint(out, client);
            put_var_uint(out, ranges.len() as u64);
            for (&start, &end) in ranges {
                put_var_uint(out, u64::from(start));
                put_var_uint(out, u64::from(end - start));
            }
        }
    }
}

/// Reads the delete set at the end of an update and gives each range to `visit`.
///
/// Says whether it is canonical: each client once, in order, with ascending ranges that do not
/// overlap. Others mean what they list, but yrs would keep only the last entry of a client.
pub(super) fn read(
    reader: &mut Reader<'_>,
    mut visit: impl FnMut(ClientId, Range<Clock>),
) -> Result<bool, Refusal> {
    let mut is_canonical = true;
    let (mut ascending, mut descending) = (true, true);
    let mut previous = None;
    for _ in 0..checks::count(reader, CLIENT_BYTES_MIN)? {
        let client = checks::client(reader)?;
        if let Some(previous) = previous.replace(client) {
            ascending &= previous < client;
            descending &= previous > client;
        }
        let mut covered = 0;
        for _ in 0..checks::count(reader, RANGE_BYTES_MIN)? {
            let start = checks::clock(reader)?;
            let length = checks::length(reader)?;
            let end = checks::end(start, length)?;
            is_canonical &= start >= covered;
            covered = end;
            visit(client, start..end);
        }
    }
    if reader.is_empty() {
        Ok(is_canonical && (ascending || descending))
    } else {
        Err(DecodeError::TrailingBytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Span = (Clock, Clock);

    fn set(ranges: &[Span]) -> DeleteSet {
        let mut set = DeleteSet::default();
        for &(start, end) in ranges {
            set.insert(1, start, end);
        }
        set
    }

    fn ranges(set: &DeleteSet) -> Vec<(Clock, Clock)> {
        set.iter()
            .map(|(_, range)| (range.start, range.end))
            .collect()
    }

    #[test]
    fn ranges_merge() {
        let table: [(&[Span], &[Span]); 8] = [
            (&[(5, 5)], &[]),
            (&[(0, 2), (4, 6)], &[(0, 2), (4, 6)]),
            (&[(0, 2), (2, 4)], &[(0, 4)]),
            (&[(2, 4), (0, 2)], &[(0, 4)]),
            (&[(0, 9), (2, 4)], &[(0, 9)]),
            (&[(2, 4), (0, 9)], &[(0, 9)]),
            (&[(0, 2), (4, 6), (8, 9), (1, 8)], &[(0, 9)]),
            (&[(4, 6), (2, 5)], &[(2, 6)]),
        ];
        for (inserted, wanted) in table {
            assert_eq!(ranges(&set(inserted)), wanted, "{inserted:?}");
        }
    }

    #[test]
    fn what_is_missing_is_exact() {
        let held = set(&[(2, 4), (6, 8)]);
        let table: [(Span, &[Span]); 6] = [
            ((0, 10), &[(0, 2), (4, 6), (8, 10)]),
            ((2, 4), &[]),
            ((3, 7), &[(4, 6)]),
            ((4, 6), &[(4, 6)]),
            ((8, 9), &[(8, 9)]),
            ((5, 5), &[]),
        ];
        for ((start, end), wanted) in table {
            let missing: Vec<_> = held
                .missing(1, start, end)
                .map(|r| (r.start, r.end))
                .collect();
            assert_eq!(missing, wanted, "{start}..{end}");
        }
        assert_eq!(held.missing(9, 1, 3).next(), Some(1..3));
    }
}
