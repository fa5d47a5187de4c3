//! From the store to a replica: complete, or read-only up to the last good append, or not at all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use std::time::Duration;

use bytes::Bytes;
use driftless_proto::admission::StateVector;
use tokio::sync::SemaphorePermit;

use driftless_proto::engine::{
    ClientIds, Input, LoadError, Replica, ReplicaOptions, StoredDocument, Writes,
};
use driftless_proto::name::DocumentName;

use super::Shared;
use super::cell::DocumentCell;
use super::early;
use crate::store::{Claim, LoadedDocument, LogPoint, StoreError};

/// Documents with more stored bytes than this are built on a thread for blocking work, so that
/// the other documents of the arbiter go on.
const BLOCKING_BYTES_MIN: usize = 64 * 1_024;

/// Between two attempts to read from a store that is away.
const LOAD_AGAIN_MIN: Duration = Duration::from_millis(100);
const LOAD_AGAIN_MAX: Duration = Duration::from_secs(2);

/// A replica and what the log says about it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) replica: Replica,
    pub(super) epoch: u64,
    /// The newest append that is in it.
    pub(super) head: u64,
    /// The newest appends, where other nodes write to the log, too.
    pub(super) newest: Option<Vec<LogPoint>>,
    /// Why it is readable only, if it is.
    pub(super) read_only: Option<String>,
    /// True when the reason is new and has to be written to the store.
    pub(super) newly_quarantined: bool,
}

/// Loads a document after everything the committer holds of it is committed. Who waits for its
/// first actor is served from what is stored at once.
pub(super) async fn load(
    shared: &Shared,
    cell: &DocumentCell,
    is_replacement: bool,
) -> Result<Loaded, StoreError> {
    shared.committer.wait_idle(&cell.name).await;
    let (stored, owners, permit) = read(shared, cell).await?;
    let sessions = if is_replacement {
        Vec::new()
    } else {
        early::serve(cell, &stored, shared.clock.now_ms())
    };
    let bytes = stored.updates().map(Bytes::len).sum::<usize>();
    let options = shared.options.replica.clone();
    let newest = match shared.options.poll_ms {
        Some(_) => Some(newest_of(shared, cell, &stored).await?),
        None => None,
    };
    let mut loaded = if bytes < BLOCKING_BYTES_MIN {
        build(options, stored, owners)
    } else {
        tokio::task::spawn_blocking(move || build(options, stored, owners))
            .await
            .map_err(|error| StoreError::Unavailable(format!("the load was cut off: {error}")))?
    };
    drop(permit);
    loaded.newest = newest;
    let sent = Input::SentStored { sessions };
    loaded.replica.handle(0, sent, &mut Vec::new());
    Ok(loaded)
}

/// Reads what is stored; a store that is away is waited for. Holds one of the permits for loads while it
/// reads and until it is dropped.
async fn read<'a>(
    shared: &'a Shared,
    cell: &DocumentCell,
) -> Result<(LoadedDocument, Vec<Claim>, SemaphorePermit<'a>), StoreError> {
    let give_up_ms = shared.clock.now_ms() + shared.options.load_patience_ms;
    let mut wait = LOAD_AGAIN_MIN;
    loop {
        let permit = shared.load_permits.acquire().await;
        let permit = permit.map_err(|_| StoreError::Unavailable("the server stops".to_owned()))?;
        match read_once(shared, &cell.name).await {
            Err(StoreError::Unavailable(error)) if shared.clock.now_ms() < give_up_ms => {
                drop(permit);
                tracing::debug!(document = %cell.name, error, "a load waits for the store");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LOAD_AGAIN_MAX);
            }
            read => {
                let (stored, owners) = read?;
                return Ok((stored, owners, permit));
            }
        }
    }
}

async fn read_once(
    shared: &Shared,
    document: &DocumentName,
) -> Result<(LoadedDocument, Vec<Claim>), StoreError> {
    let stored = shared.store.load(document).await?;
    // After the log, so that the owner of every id in it is among them.
    Ok((stored, owners(shared, document, 0).await?))
}

/// The owners of client ids that appends behind `after` brought; where ids are free nobody asks.
pub(super) async fn owners(
    shared: &Shared,
    document: &DocumentName,
    after: u64,
) -> Result<Vec<Claim>, StoreError> {
    match shared.options.replica.client_ids {
        ClientIds::Free => Ok(Vec::new()),
        ClientIds::Bound => shared.store.client_owners(document, after).await,
    }
}

/// The ids of the appends that the log ends with; that of the last one also when a snapshot covers it.
async fn newest_of(
    shared: &Shared,
    cell: &DocumentCell,
    stored: &LoadedDocument,
) -> Result<Vec<LogPoint>, StoreError> {
    let points = stored.appends.iter().map(|append| LogPoint {
        sequence: append.sequence,
        id: append.id,
    });
    if !stored.appends.is_empty() || stored.head == 0 {
        return Ok(points.collect());
    }
    let ends = shared
        .store
        .log_ends(std::slice::from_ref(&cell.name))
        .await?;
    let end = ends.first().filter(|end| end.head == stored.head);
    let id = end.and_then(|end| end.id);
    let point = id.map(|id| LogPoint {
        sequence: stored.head,
        id,
    });
    Ok(point.into_iter().collect())
}

/// Builds the replica; what cannot be built is left out behind the last good append, and the
/// document is frozen.
fn build(options: ReplicaOptions, stored: LoadedDocument, owners: Vec<Claim>) -> Loaded {
    let mut document = StoredDocument {
        snapshot: stored.snapshot.map(|snapshot| snapshot.state),
        appends: stored
            .appends
            .iter()
            .map(|append| append.update.clone())
            .collect(),
        tombstone: stored
            .tombstone
            .and_then(|bytes| StateVector::decode(&bytes).ok()),
        owners,
    };
    let mut damage = stored.damage;
    let mut replica = match guarded_load(&options, &document) {
        Ok(replica) => replica,
        Err(error) => {
            let last_good = match error {
                LoadError::Snapshot => 0,
                LoadError::Append { index } => index,
            };
            damage.get_or_insert_with(|| {
                let sequence = last_good
                    .checked_sub(1)
                    .and_then(|at| stored.appends.get(at));
                let sequence = sequence.map_or(0, |append| append.sequence);
                format!("{error}; readable up to sequence {sequence}")
            });
            document.appends.truncate(last_good);
            if error == LoadError::Snapshot {
                document.snapshot = None;
            }
            guarded_load(&options, &document).unwrap_or_else(|_| Replica::empty(options))
        }
    };
    let newly_quarantined = damage.is_some() && stored.quarantine.is_none();
    let read_only = stored.quarantine.or(damage);
    if let Some(reason) = &read_only {
        let writes = Writes::ReadOnly(quarantine_text(reason));
        replica.handle(0, Input::SetWrites { writes }, &mut Vec::new());
    }
    Loaded {
        replica,
        epoch: stored.epoch,
        head: stored.head,
        newest: None,
        read_only,
        newly_quarantined,
    }
}

fn guarded_load(options: &ReplicaOptions, document: &StoredDocument) -> Result<Replica, LoadError> {
    catch_unwind(AssertUnwindSafe(|| {
        Replica::load(options.clone(), document)
    }))
    .unwrap_or(Err(LoadError::Append { index: 0 }))
}

/// What a writer reads about a quarantined document.
pub(super) fn quarantine_text(reason: &str) -> String {
    format!(
        "This document is quarantined and read-only: {reason}. Your latest changes are not saved; \
         the operator can run `driftless doc verify`, `repair` and `release`."
    )
}
