//! What peers were shown by the server: structs and deletes of all frames that arrived.

use yrs::Update;

use crate::admission::{DeleteSet, StateVector};

/// What any client has seen of others' edits.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) vector: StateVector,
    pub(super) deletes: DeleteSet,
}

impl Seen {
    pub(super) fn add(&mut self, update: &Update) {
        for (client, ranges) in update.insertions(true).iter() {
            let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
            self.vector.raise_to(client.get(), end);
        }
        for (client, ranges) in update.delete_set().iter() {
            for range in ranges.iter() {
                self.deletes.insert(client.get(), range.start, range.end);
            }
        }
    }
}
