//! What outlives a turn of the document: commits, crashes, deletion.

use super::node::{Node, Phase};
use super::seen::Seen;
use super::world::{Event, World};
use crate::engine::CloseReason;

/// Between two attempts of a commit that failed.
const COMMIT_RETRY_MS: u64 = 60;

impl World {
    pub(super) fn begin_commit(&mut self, wait_ms: u64) {
        let now_ms = self.now_ms();
        if let Some(takes_ms) = self.store.begin_commit(now_ms, &mut self.rng) {
            let run = self.store.run;
            self.queue.after(wait_ms + takes_ms, Event::Commit(run));
        }
    }

    pub(super) fn end_commit(&mut self, run: u64) {
        if run != self.store.run {
            return;
        }
        let now_ms = self.now_ms();
        match self.store.end_commit(now_ms) {
            Some((generation, version)) => {
                let wait_ms = self.rng.between(0, 6);
                let event = Event::Committed(generation, version);
                self.queue.after(wait_ms, event);
                self.begin_commit(0);
            }
            None => self.begin_commit(COMMIT_RETRY_MS),
        }
        self.delete_if_idle();
    }

    pub(super) fn committed(&mut self, generation: u64, version: u64) {
        if self.node.generation == generation {
            let newest = self.node.committed_version.max(version);
            self.node.committed_version = newest;
            self.wake();
        }
    }

    /// The process dies and takes everything in memory with it.
    pub(super) fn crash(&mut self) {
        let was_full = self.node.was_full;
        let generation = self.node.generation + 1;
        let now_ms = self.now_ms();
        self.store.crash(now_ms, &mut self.rng);
        self.node = Node::new();
        self.node.phase = Phase::Down;
        self.node.generation = generation;
        self.node.was_full = was_full;
        for link in 0..self.links.len() {
            if !std::mem::replace(&mut self.links[link].server_closed, true) {
                self.links[link].sever();
                let wait_ms = self.rng.between(0, 2_000);
                self.queue.after(wait_ms, Event::ClientNotices(link));
            }
        }
        let wait_ms = self.rng.between(10, 3_000);
        self.queue.after(wait_ms, Event::Restart);
    }

    pub(super) fn restart(&mut self) {
        if self.node.phase == Phase::Down {
            self.node.phase = Phase::Absent;
        }
    }

    /// Deletes the document as soon as all that was taken in is committed.
    pub(super) fn begin_delete(&mut self) {
        if let Some(replica) = self.node.replica.take() {
            let vector = replica.vector().clone();
            self.node.phase = Phase::Deleting(vector);
            self.delete_if_idle();
        }
    }

    fn delete_if_idle(&mut self) {
        let Phase::Deleting(vector) = &self.node.phase else {
            return;
        };
        if !self.store.is_idle() {
            return;
        }
        let vector = vector.clone();
        self.store.delete(&vector);
        self.trace(|| format!("deleted at {vector:?}"));
        self.seen = Seen::default();
        for client in &mut self.clients {
            client.record.forget_acks();
        }
        self.node.next_generation();
        self.node.phase = Phase::Absent;
        self.node.inbox.clear();
        for slot in std::mem::take(&mut self.node.slots).into_values() {
            self.links[slot.link].close(CloseReason::Deleted);
            self.write(slot.link);
        }
    }
}
