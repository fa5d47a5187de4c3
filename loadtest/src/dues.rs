//! When each edit of a writer was due, so that latency counts from there.

/// The due times of one writer's edits, by clock.
#[derive(Debug)]
pub(crate) enum Dues {
    /// Clock n is due at `first_ns + n * interval_ns`.
    Paced { first_ns: u64, interval_ns: f64 },
    /// Clock n is in slot n modulo their number, a power of two.
    Window { slots: Vec<Slot> },
}

/// An edit under way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot {
    due_ns: u64,
    /// Receipts it still waits for.
    awaited: u64,
}

impl Dues {
    /// Room for at least `slots` edits under way.
    pub(crate) fn windowed(slots: usize) -> Self {
        Self::Window {
            slots: vec![Slot::default(); slots.next_power_of_two()],
        }
    }

    #[inline]
    pub(crate) fn due_ns(&self, clock: u64) -> u64 {
        match self {
            Self::Paced {
                first_ns,
                interval_ns,
            } => first_ns + (clock as f64 * interval_ns) as u64,
            Self::Window { slots } => slots[slot_of(clock, slots)].due_ns,
        }
    }

    /// Notes an edit that goes out and waits for so many receipts.
    #[inline]
    pub(crate) fn note(&mut self, clock: u64, due_ns: u64, awaited: u64) {
        if let Self::Window { slots } = self {
            let at = slot_of(clock, slots);
            slots[at] = Slot { due_ns, awaited };
        }
    }

    /// Notes a receipt and returns how many are still awaited; `None` when paced, since then nobody
    /// waits.
    #[inline]
    pub(crate) fn note_received(&mut self, clock: u64) -> Option<u64> {
        match self {
            Self::Paced { .. } => None,
            Self::Window { slots } => {
                let at = slot_of(clock, slots);
                slots[at].awaited = slots[at].awaited.saturating_sub(1);
                Some(slots[at].awaited)
            }
        }
    }

    /// The receipts that an edit, or the one in its slot before it, still waits for.
    pub(crate) fn awaited(&self, clock: u64) -> u64 {
        match self {
            Self::Paced { .. } => 0,
            Self::Window { slots } => slots[slot_of(clock, slots)].awaited,
        }
    }
}

/// The slot of a clock; the number of slots is a power of two.
#[inline]
fn slot_of(clock: u64, slots: &[Slot]) -> usize {
    clock as usize & (slots.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_the_newest_edits() {
        let mut dues = Dues::windowed(3);
        for clock in 0..6 {
            dues.note(clock, clock * 10, 2);
        }
        assert_eq!((dues.due_ns(5), dues.due_ns(2)), (50, 20));
        assert_eq!(dues.note_received(5), Some(1));
        assert_eq!(dues.note_received(5), Some(0));
        assert_eq!(
            (dues.awaited(5), dues.awaited(9), dues.awaited(4)),
            (0, 0, 2)
        );
    }
}
