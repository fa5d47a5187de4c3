//! Looks at where the logs of documents in memory end, for what the bus did not tell.
//!
//! One question to the store for many documents, and none for those without sessions. While other nodes
//! are heard it is only a safety net, and asked rarely.

use std::sync::Arc;
use std::time::Duration;

use driftless_proto::name::DocumentName;
use tokio::time::sleep;

use super::cell::DocumentCell;
use super::lock;
use super::registry::{Registry, WeakRegistry};
use crate::bus::{BusStatus, Event};
use crate::metrics;
use crate::store::StoreError;

/// Documents in one question: some milliseconds of the store.
const DOCUMENTS_MAX: usize = 1_000;

/// While other nodes are heard, only every so many rounds ask.
const ROUNDS_WHILE_HEARD: u64 = 5;

/// Asks until the registry is gone.
pub(super) async fn run(registry: WeakRegistry, every: Duration) {
    for round in 1_u64.. {
        sleep(every).await;
        let Some(registry) = registry.upgrade() else {
            return;
        };
        let is_heard = registry.inner().shared.bus.status() == BusStatus::Up;
        if is_heard && !round.is_multiple_of(ROUNDS_WHILE_HEARD) {
            continue;
        }
        if let Err(error) = look(&registry).await {
            tracing::debug!(%error, "the store could not be asked for changes of other nodes");
        }
    }
}

async fn look(registry: &Registry) -> Result<(), StoreError> {
    let cells: Vec<Arc<DocumentCell>> = lock(&registry.inner().cells)
        .values()
        .filter(|cell| cell.session_count() > 0)
        .cloned()
        .collect();
    for part in cells.chunks(DOCUMENTS_MAX) {
        let names: Vec<DocumentName> = part.iter().map(|cell| cell.name.clone()).collect();
        // Before the question: what is applied meanwhile is no sign that the log went back.
        let applied: Vec<u64> = part.iter().map(|cell| cell.applied()).collect();
        let ends = registry.inner().shared.store.log_ends(&names).await?;
        metrics::polled(names.len());
        for ((cell, applied), end) in part.iter().zip(applied).zip(ends) {
            if cell.is_news(end, applied) {
                cell.hear(Event::LogEnd { end, applied });
            }
        }
    }
    Ok(())
}
