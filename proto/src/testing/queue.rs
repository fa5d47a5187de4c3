//! Virtual time: events in the order in which they are due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Events by time; those due at the same time come in the order in which they were added.
#[derive(Debug)]
pub(super) struct EventQueue<E> {
    now_ms: u64,
    next: u64,
    order: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, E>,
}

impl<E> EventQueue<E> {
    pub(super) fn new() -> Self {
        Self {
            now_ms: 0,
            next: 0,
            order: BinaryHeap::new(),
            events: BTreeMap::new(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Adds an event; one in the past is due now.
    pub(super) fn at(&mut self, at_ms: u64, event: E) {
        let number = self.next;
        self.next += 1;
        self.order.push(Reverse((at_ms.max(self.now_ms), number)));
        self.events.insert(number, event);
    }

    pub(super) fn after(&mut self, delay_ms: u64, event: E) {
        self.at(self.now_ms + delay_ms, event);
    }

    /// The next event until `until_ms`, and moves time on to it; without one, to `until_ms`.
    pub(super) fn pop(&mut self, until_ms: u64) -> Option<E> {
        let Reverse((at_ms, number)) = *self.order.peek()?;
        if at_ms > until_ms {
            self.now_ms = self.now_ms.max(until_ms);
            return None;
        }
        self.order.pop();
        self.now_ms = at_ms;
        self.events.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_age() {
        let mut queue = EventQueue::new();
        queue.at(5, 'b');
        queue.at(1, 'a');
        queue.at(5, 'c');
        assert_eq!(queue.pop(4), Some('a'));
        assert_eq!(queue.pop(4), None);
        assert_eq!(queue.now_ms(), 4);
        queue.after(1, 'd');
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop(9)).collect();
        assert_eq!(rest, ['b', 'c', 'd']);
    }
}
