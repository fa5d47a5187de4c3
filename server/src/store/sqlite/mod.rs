//! The embedded store: one SQLite file in the data folder, write-ahead log, every commit flushed.
//!
//! One connection writes, a few read. Commits go to a journal, from which rows move into the logs of
//! their documents (`journal.rs`). Space: the database is created with incremental auto-vacuum;
//! what deletes and trims free is given back in bounded steps by the housekeeper
//! ([`Store::reclaim_space`]). The write-ahead log is moved into the database between commits
//! (`checkpoint.rs` states the policy).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use driftless_proto::name::DocumentName;
use sqlx::sqlite::SqlitePool;

use self::checkpoint::CheckpointMode;
pub(super) use self::error::store_error;
use self::unsettled::Unsettled;
use self::writer::Writer;
use super::data_folder::DataFolder;
use super::{
    Append, Claim, CommitOutcome, DocumentSummary, Inspection, LoadedDocument, LogEnd, LogLimits,
    LogRange, LogStart, Repair, Snapshot, StatsFilter, StatsPage, Store, StoreError, StoreFuture,
};
use crate::access::Restriction;

mod attempts;
mod backup;
mod checkpoint;
mod claims;
mod commit;
mod copy;
mod doctor;
mod documents;
mod error;
mod history;
mod inspect;
mod journal;
mod load;
mod migrate;
mod open;
mod restrictions;
mod rows;
mod unsettled;
mod writer;

pub use backup::restore;
pub use doctor::examine;
pub use migrate::migrate;

#[cfg(test)]
pub(crate) mod tests;

/// Bytes of a database page; SQLite's default, and what [`Store::reclaim_space`] counts in.
const PAGE_BYTES: u64 = 4_096;

/// What a trimmed row counts for in the write-ahead log: a few of them share a page.
const TRIMMED_ROW_BYTES: u64 = 1_024;

/// Rows of a deleted history that one transaction removes: commits wait a few milliseconds at most.
const DELETE_ROWS_PER_STEP: u32 = 2_000;

/// What a restriction counts for in the write-ahead log: a page.
const RESTRICTION_BYTES: u64 = PAGE_BYTES;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    readers: SqlitePool,
    writer: Writer,
    unsettled: Arc<Unsettled>,
    // Held for its lock: no other server opens this folder as long as the store lives.
    _folder: DataFolder,
}

impl SqliteStore {
    /// Opens the folder's database, creating it or bringing its schema up to date.
    ///
    /// Refused when the file is another program's, was written by a newer version, or cannot be
    /// made durable; it is left untouched then.
    pub async fn open(folder: &DataFolder) -> Result<Self, StoreError> {
        let path = folder.database();
        let readers = open::open(&path).await?;
        let unsettled = Arc::new(Unsettled::read(&readers).await?);
        Ok(Self {
            writer: Writer::new(path.clone(), unsettled.clone()),
            path,
            readers,
            unsettled,
            _folder: folder.clone(),
        })
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn commit_batch(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut lease = self.writer.lease_for_commit(batch).await?;
        let (connection, remembered, may_repeat) = lease.commit_parts();
        let unsettled = &self.unsettled;
        let result = commit::commit(connection, batch, may_repeat, remembered, unsettled).await;
        if let Ok(committed) = &result {
            lease.journaled(committed.rows, committed.bytes);
            lease.wal().add(committed.claims * PAGE_BYTES);
            if let Some(last) = committed.last {
                lease.committed(last);
            }
        }
        Ok(lease.finish(result)?.outcomes)
    }

    /// One step of what is due: a slice of the journal, or else a checkpoint.
    async fn tidy_up(&self) -> Result<(), StoreError> {
        let mut lease = self.writer.lease_beside_commits().await?;
        if lease.journal().is_due() {
            let result = lease.move_slice().await;
            return lease.finish(result);
        }
        if !lease.wal().is_due() {
            return lease.finish(Ok::<_, StoreError>(()));
        }
        let result = checkpoint::run(&mut lease.connection, CheckpointMode::Passive).await;
        // Also after a failure: the next one is due after as much again, not after every commit.
        *lease.wal() = Default::default();
        lease.finish(result)
    }

    async fn delete_document(
        &self,
        document: &DocumentName,
        vector: &[u8],
    ) -> Result<u64, StoreError> {
        let mut lease = self.writer.lease().await?;
        let result = documents::end_epoch(&mut lease.connection, document, vector).await;
        let epoch = lease.finish(result)?;
        self.unsettled.release(document);
        // The document is deleted already: a failure here is left to the housekeeper.
        loop {
            match self.trim(document, DELETE_ROWS_PER_STEP).await {
                Ok(true) => {}
                Ok(false) => return Ok(epoch),
                Err(error) => {
                    tracing::warn!(%document, %error, "rows of a deleted document remain for now");
                    return Ok(epoch);
                }
            }
        }
    }
}

impl Store for SqliteStore {
    fn load<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, LoadedDocument> {
        Box::pin(load::load(&self.readers, document, &self.unsettled))
    }

    fn commit<'a>(&'a self, batch: &'a [Append]) -> StoreFuture<'a, Vec<CommitOutcome>> {
        Box::pin(self.commit_batch(batch))
    }

    fn after_commit(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.tidy_up())
    }

    fn save_snapshot<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut lease = self.writer.lease_for(document).await?;
            lease.wal().add(snapshot.state.len() as u64);
            let result =
                history::save_snapshot(&mut lease.connection, document, epoch, snapshot).await;
            lease.finish(result)
        })
    }

    fn save_base<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut lease = self.writer.lease_for(document).await?;
            lease.wal().add(snapshot.state.len() as u64);
            let result = history::save_base(&mut lease.connection, document, epoch, snapshot).await;
            lease.finish(result)
        })
    }

    fn trim<'a>(&'a self, document: &'a DocumentName, rows_max: u32) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut lease = self.writer.lease_beside_commits().await?;
            lease.wal().add(u64::from(rows_max) * TRIMMED_ROW_BYTES);
            let result = history::trim(&mut lease.connection, document, rows_max).await;
            lease.finish(result)
        })
    }

    fn read_log<'a>(
        &'a self,
        document: &'a DocumentName,
        start: LogStart,
        limits: LogLimits,
    ) -> StoreFuture<'a, LogRange> {
        let unsettled = &self.unsettled;
        Box::pin(load::read_log(
            &self.readers,
            document,
            start,
            limits,
            unsettled,
        ))
    }

    fn client_owners<'a>(
        &'a self,
        document: &'a DocumentName,
        after: u64,
    ) -> StoreFuture<'a, Vec<Claim>> {
        Box::pin(claims::owners(&self.readers, document, after))
    }

    fn log_ends<'a>(&'a self, documents: &'a [DocumentName]) -> StoreFuture<'a, Vec<LogEnd>> {
        Box::pin(load::log_ends(&self.readers, documents, &self.unsettled))
    }

    fn scan_stats<'a>(
        &'a self,
        filter: &'a StatsFilter,
        cursor: u64,
    ) -> StoreFuture<'a, StatsPage> {
        Box::pin(async move {
            if !self.unsettled.is_empty() {
                self.writer.settle().await?;
            }
            history::scan_stats(&self.readers, filter, cursor).await
        })
    }

    fn reclaim_space(&self, bytes_max: u64) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let mut lease = self.writer.lease_beside_commits().await?;
            lease.wal().add(bytes_max);
            let pages_max = bytes_max / PAGE_BYTES;
            let result = checkpoint::vacuum_step(&mut lease.connection, pages_max).await;
            lease.finish(result)
        })
    }

    fn delete<'a>(&'a self, document: &'a DocumentName, vector: &'a [u8]) -> StoreFuture<'a, u64> {
        Box::pin(self.delete_document(document, vector))
    }

    fn set_quarantine<'a>(
        &'a self,
        document: &'a DocumentName,
        reason: Option<&'a str>,
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut lease = self.writer.lease().await?;
            if reason.is_none() && self.unsettled.is_stuck(document) {
                return lease.finish(Err(StoreError::Refused(format!(
                    "the log of {document:?} is damaged and takes no more changes; export it and \
                     restore a backup, or delete it"
                ))));
            }
            let result = documents::set_quarantine(&mut lease.connection, document, reason).await;
            lease.finish(result)
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<DocumentSummary>> {
        Box::pin(documents::list(&self.readers, prefix, after, limit))
    }

    fn inspect<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, Inspection> {
        Box::pin(inspect::inspect(&self.readers, document, &self.unsettled))
    }

    fn repair<'a>(
        &'a self,
        document: &'a DocumentName,
        good_until: Option<u64>,
    ) -> StoreFuture<'a, Repair> {
        Box::pin(async move {
            let mut lease = self.writer.lease().await?;
            let result = inspect::repair(&mut lease.connection, document, good_until).await;
            // The repaired log may be shorter than what was committed last.
            lease.forget_last_commit();
            lease.finish(result)
        })
    }

    fn restrictions(&self) -> StoreFuture<'_, Vec<Restriction>> {
        Box::pin(restrictions::list(&self.readers))
    }

    fn put_restrictions<'a>(&'a self, restrictions: &'a [Restriction]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut lease = self.writer.lease_beside_commits().await?;
            let bytes = restrictions.len() as u64 * RESTRICTION_BYTES;
            lease.wal().add(bytes);
            let result = restrictions::put(&mut lease.connection, restrictions).await;
            lease.finish(result)
        })
    }

    fn remove_restriction<'a>(&'a self, id: &'a str) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut lease = self.writer.lease_beside_commits().await?;
            lease.wal().add(RESTRICTION_BYTES);
            let result = restrictions::remove(&mut lease.connection, id).await;
            lease.finish(result)
        })
    }

    fn verify_structure(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            inspect::verify_structure(&mut connection).await
        })
    }

    fn backup<'a>(&'a self, file: &'a Path) -> StoreFuture<'a, ()> {
        Box::pin(backup::backup(&self.path, file))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            // Readers first: the writer is then the last one out and leaves an empty log behind.
            self.readers.close().await;
            self.writer.close().await
        })
    }
}
