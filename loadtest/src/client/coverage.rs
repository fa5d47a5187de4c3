//! Which clocks of one writer a receiver has: what makes each edit count once per receiver.

use std::ops::Range;

/// The clocks `0 .. next` less the holes in it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Coverage {
    next: u64,
    /// Ranges jumped over, in order. Empty with every server that keeps order.
    holes: Vec<Range<u64>>,
}

impl Coverage {
    /// Adds `start .. start + length` and visits the parts that are new.
    #[inline]
    pub(crate) fn add(&mut self, start: u64, length: u64, mut visit: impl FnMut(Range<u64>)) {
        let end = start.saturating_add(length);
        if start < self.next && !self.holes.is_empty() {
            self.fill_holes(start..end, &mut visit);
        }
        if end <= self.next {
            return;
        }
        if start > self.next {
            self.holes.push(self.next..start);
        }
        visit(start.max(self.next)..end);
        self.next = end;
    }

    #[cold]
    fn fill_holes(&mut self, range: Range<u64>, visit: &mut impl FnMut(Range<u64>)) {
        let mut left = Vec::with_capacity(self.holes.len() + 1);
        for hole in self.holes.drain(..) {
            let filled = hole.start.max(range.start)..hole.end.min(range.end);
            if filled.is_empty() {
                left.push(hole);
                continue;
            }
            left.extend([hole.start..filled.start, filled.end..hole.end]);
            visit(filled);
        }
        left.retain(|hole| !hole.is_empty());
        self.holes = left;
    }

    /// The clock behind the last one covered.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many of the clocks `0 .. end` are missing.
    pub(crate) fn missing(&self, end: u64) -> u64 {
        let holes: u64 = self
            .holes
            .iter()
            .map(|hole| hole.end.min(end).saturating_sub(hole.start))
            .sum();
        holes + end.saturating_sub(self.next)
    }

    /// Visits the missing ranges of `0 .. end`.
    pub(crate) fn for_each_missing(&self, end: u64, mut visit: impl FnMut(Range<u64>)) {
        for hole in &self.holes {
            visit(hole.start.min(end)..hole.end.min(end));
        }
        visit(self.next.min(end)..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(coverage: &mut Coverage, start: u64, length: u64) -> Vec<(u64, u64)> {
        let mut new = Vec::new();
        coverage.add(start, length, |range| new.push((range.start, range.end)));
        new
    }

    #[test]
    fn each_clock_counts_once() {
        let mut coverage = Coverage::default();
        assert_eq!(add(&mut coverage, 0, 2), [(0, 2)]);
        assert_eq!(add(&mut coverage, 0, 2), []);
        assert_eq!(add(&mut coverage, 1, 3), [(2, 4)]);
        assert_eq!(coverage.missing(4), 0);
        assert_eq!(coverage.missing(6), 2);
    }

    #[test]
    fn holes_are_missing_until_filled() {
        let mut coverage = Coverage::default();
        assert_eq!(add(&mut coverage, 3, 2), [(3, 5)]);
        assert_eq!(add(&mut coverage, 8, 1), [(8, 9)]);
        assert_eq!(coverage.missing(9), 6);
        let mut missing = Vec::new();
        coverage.for_each_missing(10, |range| missing.push((range.start, range.end)));
        assert_eq!(missing, [(0, 3), (5, 8), (9, 10)]);
        assert_eq!(add(&mut coverage, 1, 6), [(1, 3), (5, 7)]);
        assert_eq!(coverage.missing(9), 2);
        assert_eq!(add(&mut coverage, 0, 10), [(0, 1), (7, 8), (9, 10)]);
        assert_eq!(coverage.missing(10), 0);
    }
}
