//! One round of housekeeping: every document that is beyond its bounds, then the database's space.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use driftless_proto::name::DocumentName;

use super::{BuildSnapshot, NowMs};
use crate::metrics;
use crate::store::compaction::LogBounds;
use crate::store::{LogLimits, LogRange, LogStart, LogStats, Snapshot, Store, StoreError};

/// How much log is in memory at once. Longer logs are folded in several steps.
const STEP_LIMITS: LogLimits = LogLimits {
    appends_max: 20_000,
    bytes_max: 16 << 20,
};

/// Steps on one document in one round, so that one long log does not keep all others waiting.
const STEPS_MAX: usize = 8;

/// Rows that one transaction removes: commits wait a few milliseconds at most.
const TRIM_ROWS: u32 = 2_000;

/// Transactions that remove rows of one document in one round.
const TRIMS_MAX: usize = 100;

/// Bytes given back to the file system in one transaction.
const RECLAIM_BYTES: u64 = 4 << 20;

/// Such transactions in one round: at most 256 MiB, a long tail of others waits for the next.
const RECLAIMS_MAX: usize = 64;

/// How long the right to keep house lasts without being asked for again: longer than any document takes.
const LEASE: Duration = Duration::from_secs(60);

/// After a document failed it is left alone this long: it would most likely fail again.
const FAILED_PAUSE_MS: u64 = 10 * 60 * 1_000;

/// Failed documents that are remembered; beyond it the oldest knowledge is simply forgotten.
const FAILED_MAX: usize = 10_000;

/// Why a document could not be tended.
#[derive(Debug, thiserror::Error)]
enum TendError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no snapshot can be built of it: {0}")]
    Build(String),
    #[error("its log is damaged: {0}; run `driftless doc verify`")]
    Damaged(String),
}

/// The work, with all it needs as arguments.
pub(super) struct Rounds {
    store: Arc<dyn Store>,
    bounds: LogBounds,
    now_ms: Arc<NowMs>,
    build: Arc<BuildSnapshot>,
    /// Documents that failed, and when they may be tried again.
    failed: HashMap<DocumentName, u64>,
}

impl Rounds {
    pub(super) fn new(
        store: Arc<dyn Store>,
        bounds: LogBounds,
        now_ms: Arc<NowMs>,
        build: Arc<BuildSnapshot>,
    ) -> Self {
        Self {
            store,
            bounds,
            now_ms,
            build,
            failed: HashMap::new(),
        }
    }

    /// Looks at all documents once. Failures are counted and told; none of them ends the round,
    /// except that the store cannot be read.
    pub(super) async fn round(&mut self) {
        match self.store.lead_housekeeping(LEASE).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                metrics::housekeeping_failed();
                tracing::warn!(%error, "housekeeping could not ask for its lease");
                return;
            }
        }
        let now_ms = (self.now_ms)();
        self.failed.retain(|_, until_ms| *until_ms > now_ms);
        let filter = self.bounds.filter(now_ms);
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let page = match self.store.scan_stats(&filter, from).await {
                Ok(page) => page,
                Err(error) => {
                    metrics::housekeeping_failed();
                    tracing::warn!(%error, "housekeeping could not read the store");
                    return;
                }
            };
            for stats in &page.stats {
                // What is tended takes a while; who lost the lease meanwhile stops.
                if !matches!(self.store.lead_housekeeping(LEASE).await, Ok(true)) {
                    return;
                }
                self.tend_or_remember(stats, now_ms).await;
            }
            cursor = page.next;
        }
        if let Err(error) = self.reclaim().await {
            metrics::housekeeping_failed();
            tracing::warn!(%error, "housekeeping could not give space back");
        }
    }

    async fn tend_or_remember(&mut self, stats: &LogStats, now_ms: u64) {
        if self.failed.contains_key(&stats.document) {
            return;
        }
        let Err(error) = self.tend(stats, now_ms).await else {
            return;
        };
        metrics::housekeeping_failed();
        tracing::warn!(document = %stats.document, %error, "housekeeping of a document failed");
        if self.failed.len() >= FAILED_MAX {
            self.failed.clear();
        }
        let until_ms = now_ms.saturating_add(FAILED_PAUSE_MS);
        self.failed.insert(stats.document.clone(), until_ms);
    }

    async fn tend(&self, stats: &LogStats, now_ms: u64) -> Result<(), TendError> {
        if self.bounds.needs_snapshot(stats) {
            self.compact(stats).await?;
        }
        let mut has_dead_rows = stats.has_dead_rows;
        if self.bounds.has_expired_history(stats, now_ms) {
            has_dead_rows |= self.move_horizon(stats, now_ms).await?;
        }
        if has_dead_rows {
            for _ in 0..TRIMS_MAX {
                if !self.store.trim(&stats.document, TRIM_ROWS).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Folds the log after the newest snapshot into a new one.
    async fn compact(&self, stats: &LogStats) -> Result<(), TendError> {
        for _ in 0..STEPS_MAX {
            let range = self.read(stats, LogStart::NewestSnapshot).await?;
            let taken = range.appends.len();
            if taken == 0 {
                return Ok(());
            }
            let (epoch, head) = (range.epoch, range.head);
            let snapshot = self.fold(range, taken).await?;
            let document = &stats.document;
            if !self.store.save_snapshot(document, epoch, &snapshot).await? {
                return Ok(());
            }
            metrics::compacted();
            if snapshot.sequence >= head {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Folds the expired history into a new base snapshot; true when that moved the horizon.
    async fn move_horizon(&self, stats: &LogStats, now_ms: u64) -> Result<bool, TendError> {
        let mut kept_bytes = stats.kept_bytes;
        let mut has_moved = false;
        for _ in 0..STEPS_MAX {
            let range = self.read(stats, LogStart::After(0)).await?;
            let (epoch, read) = (range.epoch, range.appends.len());
            let expired = self.bounds.expired(&range.appends, kept_bytes, now_ms);
            if expired == 0 {
                break;
            }
            let bytes = range.appends.iter().take(expired);
            let bytes: u64 = bytes.map(|append| append.update.len() as u64).sum();
            kept_bytes = kept_bytes.saturating_sub(bytes);
            let base = self.fold(range, expired).await?;
            if !self.store.save_base(&stats.document, epoch, &base).await? {
                break;
            }
            has_moved = true;
            if expired < read {
                break;
            }
        }
        Ok(has_moved)
    }

    async fn read(&self, stats: &LogStats, start: LogStart) -> Result<LogRange, TendError> {
        let document = &stats.document;
        let range = self.store.read_log(document, start, STEP_LIMITS).await?;
        match range.damage {
            Some(damage) => Err(TendError::Damaged(damage)),
            None => Ok(range),
        }
    }

    /// Builds the state after the first `count` appends of the range, off the runtime's threads.
    async fn fold(&self, range: LogRange, count: usize) -> Result<Snapshot, TendError> {
        let build = self.build.clone();
        let work = move || {
            let appends = &range.appends[..count];
            let sequence = appends.last().map_or(0, |append| append.sequence);
            let updates: Vec<Bytes> = appends.iter().map(|one| one.update.clone()).collect();
            let base = range.snapshot.as_ref().map(|snapshot| &snapshot.state[..]);
            let built = catch_unwind(AssertUnwindSafe(|| build(base, &updates)));
            let state = built.unwrap_or_else(|_| Err("building it panicked".to_owned()))?;
            Ok(Snapshot { sequence, state })
        };
        let built: Result<Snapshot, String> = tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(error.to_string()));
        built.map_err(TendError::Build)
    }

    async fn reclaim(&self) -> Result<(), StoreError> {
        for _ in 0..RECLAIMS_MAX {
            if !self.store.reclaim_space(RECLAIM_BYTES).await? {
                break;
            }
        }
        // What housekeeping wrote leaves the write-ahead log also when nobody commits.
        self.store.after_commit().await
    }
}
