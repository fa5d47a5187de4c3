//! How many sessions each verified identity has, on this node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use super::lock;

/// Counts the sessions of identities against one bound.
#[derive(Debug)]
pub(super) struct Seats {
    per_identity_max: usize,
    taken: Mutex<HashMap<Arc<str>, usize>>,
}

/// A session that counts until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    subject: Arc<str>,
}

impl Seats {
    pub(super) fn new(per_identity_max: usize) -> Arc<Self> {
        Arc::new(Self {
            per_identity_max,
            taken: Mutex::default(),
        })
    }

    /// A seat for one more session; `None` when the identity has as many as it may.
    pub(super) fn take(self: &Arc<Self>, subject: &Arc<str>) -> Option<Seat> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(subject.clone()).or_default();
        if *count >= self.per_identity_max {
            return None;
        }
        *count += 1;
        Some(Seat {
            seats: self.clone(),
            subject: subject.clone(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.seats.taken);
        if let Entry::Occupied(mut count) = taken.entry(self.subject.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identity_has_its_own_and_leaves_nothing_behind() {
        let seats = Seats::new(2);
        let (ada, ben): (Arc<str>, Arc<str>) = ("ada".into(), "ben".into());
        let first = seats.take(&ada);
        let second = seats.take(&ada);
        assert!(first.is_some() && second.is_some());
        assert!(seats.take(&ada).is_none());
        let other = seats.take(&ben);
        assert!(other.is_some());
        drop(first);
        let third = seats.take(&ada);
        assert!(third.is_some());
        drop((second, third, other));
        assert!(lock(&seats.taken).is_empty());
    }
}
