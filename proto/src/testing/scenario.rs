//! What happens in a simulation: sizes, manners and faults, all drawn from the seed.

use super::rng::Rng;
use crate::engine::{ClientIds, Relay, ReplicaOptions};

/// Something that goes wrong, or happens rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A connection breaks; both ends notice at some time.
    Cut,
    /// A client stops reading for a while.
    Stall,
    /// A client loses its network for a while, or closes it in good order.
    Offline,
    /// A tab is closed for good.
    Leave,
    /// A tab is opened.
    Join,
    /// The server's process dies and comes back.
    Crash,
    /// The process dies while commits fail: much is relayed, little is stored.
    CrashBehind,
    /// The document's actor dies and is replaced.
    ActorDies,
    /// Commits fail for a while.
    StoreFails,
    /// Commits are slow for a while.
    StoreSlows,
    /// A prefix of the log becomes a snapshot.
    Compact,
    /// The document is deleted.
    Delete,
}

/// The shape of one simulation.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) options: ReplicaOptions,
    pub(super) clients: usize,
    /// Tabs of so many browsers hear each other; 0 for none.
    pub(super) groups: usize,
    /// Frames from clients are duplicated and reordered.
    pub(super) unruly: bool,
    pub(super) duration_ms: u64,
    pub(super) edit_every_ms: u64,
    pub(super) delay_ms: (u64, u64),
    pub(super) window_bytes: usize,
    pub(super) outbox_bytes_max: usize,
    pub(super) store_queue_bytes_max: usize,
    /// A turn waits at most so long for more inputs.
    pub(super) turn_wait_ms: u64,
    pub(super) faults: Vec<(u64, Fault)>,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let relay = *rng.pick(&[Relay::Immediate, Relay::Immediate, Relay::Durable]);
        let is_small = rng.percent(12);
        let document_bytes_max = if is_small {
            rng.between(400, 4_000) as usize
        } else {
            1 << 24
        };
        let duration_ms = rng.between(2_000, 14_000);
        let options = ReplicaOptions {
            relay,
            document_bytes_max,
            update_bytes_max: 1 << 20,
            chunk_bytes: *rng.pick(&[60, 200, 200, 1_000, 1 << 16]),
            presence_timeout_ms: 30_000,
            presence_grace_ms: *rng.pick(&[0, 2_000, 10_000]),
            presence_entry_bytes_max: 1_000,
            presence_entries_max: 64,
            presence_per_second_max: 200,
            presence_identity_field: None,
            stateless_bytes_max: 64 * 1024,
            client_ids: ClientIds::Free,
        };
        let delay_ms = *rng.pick(&[(0, 2), (1, 30), (20, 60), (5, 400)]);
        let mut plan = Self {
            options,
            clients: rng.between(2, 7) as usize,
            groups: *rng.pick(&[0, 0, 1, 2]),
            unruly: rng.percent(15),
            duration_ms,
            edit_every_ms: *rng.pick(&[60, 200, 500, 1_500]),
            delay_ms,
            window_bytes: *rng.pick(&[300, 2_000, 1 << 16]),
            outbox_bytes_max: *rng.pick(&[250, 600, 3_000, 1 << 20]),
            store_queue_bytes_max: *rng.pick(&[500, 5_000, 1 << 20]),
            turn_wait_ms: *rng.pick(&[0, 2, 25, 120]),
            faults: draw_faults(rng, duration_ms),
        };
        // Each browser is somebody else: none may ever be refused for what others wrote. Drawn from a
        // copy, so that seeds go on to mean what they did.
        if rng.clone().percent(30) {
            plan.options.client_ids = ClientIds::Bound;
            plan.options.relay = Relay::Durable;
        }
        plan
    }

    /// Whether the scenario explains that writers are turned away.
    pub(super) fn may_deny(&self) -> bool {
        self.options.document_bytes_max < 1 << 24
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(_, planned)| *planned == fault)
    }
}

/// How often each fault happens in a run in which it happens, at most, and in how many of a
/// hundred runs it may.
const FAULTS: [(Fault, u64, u64); 12] = [
    (Fault::Cut, 6, 70),
    (Fault::Stall, 4, 50),
    (Fault::Offline, 4, 50),
    (Fault::Leave, 2, 30),
    (Fault::Join, 3, 50),
    (Fault::Crash, 3, 50),
    (Fault::CrashBehind, 2, 50),
    (Fault::ActorDies, 2, 30),
    (Fault::StoreFails, 2, 40),
    (Fault::StoreSlows, 3, 40),
    (Fault::Compact, 4, 50),
    (Fault::Delete, 1, 8),
];

fn draw_faults(rng: &mut Rng, duration_ms: u64) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    for (fault, count_max, chance) in FAULTS {
        if rng.percent(chance) {
            for _ in 0..rng.between(1, count_max) {
                faults.push((rng.below(duration_ms), fault));
            }
        }
    }
    faults
}
