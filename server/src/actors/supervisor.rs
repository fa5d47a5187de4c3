//! Looks after the documents: replaces what is stuck or gone, evicts what is idle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context};

use super::cell::DocumentCell;
use super::document::Suspects;
use super::lock;
use super::registry::{Registry, WeakRegistry};
use crate::metrics::{self, DocumentGauges};

/// How often it looks. A turn takes microseconds, a stuck one is given up after seconds.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// A document whose actor worked this long has recovered from its failures.
const RECOVERED_AFTER_MS: u64 = 60_000;

/// How often an idle document that holds something to be stored is loaded again, to see whether it may be.
const HELD_LOOK_MS: u64 = 30_000;

/// The supervisor of all document actors.
#[derive(Debug)]
pub(super) struct Supervisor {
    registry: WeakRegistry,
}

impl Supervisor {
    pub(super) fn new(registry: WeakRegistry) -> Self {
        Self { registry }
    }

    fn sweep(&mut self) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        if registry.is_stopped() {
            return;
        }
        let cells: Vec<_> = lock(&registry.inner().cells).values().cloned().collect();
        let now_ms = registry.inner().shared.clock.now_ms();
        replace_stuck(&registry, &cells, now_ms);
        replace_gone(&registry, &cells);
        evict(&registry, &cells, now_ms);
        forgive(&cells, now_ms);
        measure(&cells);
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(SWEEP_INTERVAL, |supervisor, _| supervisor.sweep());
    }
}

/// Gives up threads whose current turn takes too long; all their documents move to new ones.
fn replace_stuck(registry: &Registry, cells: &[Arc<DocumentCell>], now_ms: u64) {
    let inner = registry.inner();
    let timeout_ms = inner.shared.options.stuck_timeout_ms;
    let stuck = cells.iter().filter(|cell| {
        let since_ms = cell.busy_since_ms.load(Ordering::Acquire);
        since_ms > 0 && now_ms.saturating_sub(since_ms) > timeout_ms
    });
    let mut threads: Vec<usize> = stuck
        .map(|cell| {
            tracing::error!(document = %cell.name, "document is stuck; its thread is given up");
            metrics::stuck();
            cell.thread()
        })
        .collect();
    threads.sort_unstable();
    threads.dedup();
    for thread in threads {
        if !inner.placement.replace(thread) {
            tracing::error!("too many threads are stuck; the process has to be restarted");
            continue;
        }
        for cell in cells.iter().filter(|cell| cell.thread() == thread) {
            cell.sever_sessions();
            registry.start_actor(cell, Suspects::new());
        }
    }
}

/// Replaces actors whose mailbox closed without a word.
fn replace_gone(registry: &Registry, cells: &[Arc<DocumentCell>]) {
    for cell in cells.iter().filter(|cell| cell.lost_its_actor()) {
        tracing::error!(document = %cell.name, "document actor is gone; it is replaced");
        metrics::restarted();
        registry.start_actor(cell, Suspects::new());
    }
}

/// Lets documents without sessions leave memory: after the idle time, and the least recently used
/// ones at once while the budget is exceeded. One that holds something to be stored again stays; it is
/// loaded again now and then, since only an operator can help a frozen one, perhaps on another node. One
/// with changes that are not committed stays, too: the store may say that they have to be stored anew.
fn evict(registry: &Registry, cells: &[Arc<DocumentCell>], now_ms: u64) {
    let (options, committer) = {
        let shared = &registry.inner().shared;
        (&shared.options, &shared.committer)
    };
    let mut idle: Vec<_> = cells
        .iter()
        .filter(|cell| cell.session_count() == 0)
        .collect();
    idle.sort_by_key(|cell| cell.touched_ms.load(Ordering::Acquire));
    let resident = |cell: &Arc<DocumentCell>| cell.size_bytes.load(Ordering::Relaxed);
    let mut total: u64 = cells.iter().map(resident).sum();
    for cell in idle {
        let quiet_ms = now_ms.saturating_sub(cell.touched_ms.load(Ordering::Acquire));
        if quiet_ms <= options.idle_ms && total <= options.resident_bytes_max {
            continue;
        }
        if cell.held().is_some() {
            if quiet_ms > HELD_LOOK_MS {
                cell.look_again();
            }
        } else if committer.is_idle(&cell.name) && cell.close_if_idle() {
            total = total.saturating_sub(resident(cell));
            registry.remove(cell);
            cell.stop_actor();
            metrics::evicted();
        }
    }
}

/// Forgets the failures of documents that work again.
fn forgive(cells: &[Arc<DocumentCell>], now_ms: u64) {
    for cell in cells {
        let since_ms = cell.actor_since_ms.load(Ordering::Acquire);
        if since_ms > 0 && now_ms.saturating_sub(since_ms) > RECOVERED_AFTER_MS {
            cell.failures.store(0, Ordering::Release);
        }
    }
}

fn measure(cells: &[Arc<DocumentCell>]) {
    let mut gauges = DocumentGauges::default();
    for cell in cells {
        let (messages, bytes) = cell.inbox.depth();
        gauges.documents += 1;
        gauges.idle += u64::from(cell.session_count() == 0);
        gauges.sessions += cell.session_count() as u64;
        gauges.resident_bytes += cell.size_bytes.load(Ordering::Relaxed);
        gauges.mailbox_messages += messages as u64;
        gauges.mailbox_bytes += bytes as u64;
    }
    gauges.publish();
}
