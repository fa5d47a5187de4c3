//! The sockets of one flood, each with an index of its own.

use super::socket::{Over, Socket};

/// What became of one flood.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Sockets let in, joins tried or moves written out.
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) ended: u64,
}

/// Sockets that are opened again at their index when they were ended.
#[derive(Debug)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
    /// The index that is tried next.
    next: usize,
    pub(super) counts: Counts,
}

impl Sockets {
    /// So many that are to be open.
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            slots: (0..wanted).map(|_| None).collect(),
            next: 0,
            counts: Counts::default(),
        }
    }

    /// How many are open.
    pub(super) fn open(&self) -> u64 {
        self.slots.iter().flatten().count() as u64
    }

    /// Opens some that are not open: all of them in so many steps, if none is refused.
    pub(super) fn top_up(
        &mut self,
        steps: usize,
        mut open: impl FnMut(usize) -> Result<Socket, Over>,
    ) {
        let wanted = self.slots.len();
        let mut left = (wanted / steps).max(1);
        for _ in 0..wanted {
            let index = self.next;
            self.next = (index + 1) % wanted;
            if self.slots[index].is_some() {
                continue;
            }
            match open(index) {
                Ok(socket) => {
                    self.slots[index] = Some(socket);
                    self.counts.done += 1;
                }
                // Whoever is refused comes back when all others had their turn.
                Err(Over) => return self.counts.refused += 1,
            }
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }

    /// Keeps those for which `act` goes well, and counts the others.
    pub(super) fn retain_live(
        &mut self,
        mut act: impl FnMut(usize, &mut Socket) -> Result<(), Over>,
    ) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(socket) = slot
                && act(index, socket).is_err()
            {
                *slot = None;
                self.counts.ended += 1;
            }
        }
    }
}
