//! The shared store: PostgreSQL 14 or newer, written by all nodes of a cluster.
//!
//! A commit is one call of a function in the database (`migrations/postgres`), which locks the
//! documents in the order of their ids, numbers and stores the appends, and ends: no lock is ever held
//! over a round trip. Sequence numbers are given under the row lock, so that who sees one has seen all
//! below it.

use std::path::Path;
use std::time::Duration;

use driftless_proto::name::DocumentName;
use sqlx::postgres::PgPool;

use self::commit::Committing;
pub(crate) use self::doctor::clock_finding;
pub use self::doctor::{PostgresCheckup, examine};
pub(super) use self::error::store_error;
use self::lease::Lease;
pub use self::migrate::{migrate, new_cluster_id};
pub use self::open::PostgresOptions;
use super::{
    Append, Claim, CommitOutcome, DocumentSummary, Inspection, LoadedDocument, LogEnd, LogLimits,
    LogRange, LogStart, Repair, Snapshot, StatsFilter, StatsPage, Store, StoreError, StoreFuture,
};
use crate::access::Restriction;

mod claims;
mod commit;
mod copy;
mod doctor;
mod documents;
mod error;
mod history;
mod inspect;
mod lease;
mod load;
mod migrate;
mod open;
mod restrictions;
mod statement;
mod transaction;

#[cfg(test)]
pub(crate) mod tests;

/// Rows of a deleted history that one transaction removes.
const DELETE_ROWS_PER_STEP: u32 = 2_000;

/// How long goodbyes to the server may take: nothing depends on them, and behind a link that went
/// silent they would hold up the end of the process for ever.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    /// For reads and housekeeping.
    pool: PgPool,
    committing: Committing,
    cluster_id: String,
    lease: Lease,
    fingerprint: Option<String>,
}

impl PostgresStore {
    /// Connects and brings the schema up to date. Refused when the server is too old, may lose what it
    /// acknowledged, or was written by a newer version.
    pub async fn open(options: &PostgresOptions) -> Result<Self, StoreError> {
        let opened = open::open(options).await?;
        Ok(Self {
            pool: opened.reading,
            committing: Committing::new(opened.committing, options),
            cluster_id: opened.cluster_id,
            lease: Lease::default(),
            fingerprint: opened.fingerprint,
        })
    }

    /// The random id of the cluster, made with its database.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    async fn trim_deleted(&self, document: &DocumentName) -> Result<bool, StoreError> {
        let mut transaction = transaction::begin(&self.pool).await?;
        let more = history::trim(&mut transaction, document, DELETE_ROWS_PER_STEP).await?;
        transaction.commit().await?;
        Ok(more)
    }

    /// What tells the database from a copy of it, if the server tells.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    async fn delete_document(
        &self,
        document: &DocumentName,
        vector: &[u8],
    ) -> Result<u64, StoreError> {
        let mut transaction = transaction::begin(&self.pool).await?;
        let epoch = documents::end_epoch(&mut transaction, document, vector).await?;
        transaction.commit().await?;
        // The document is deleted already: a failure here is left to the housekeeper.
        loop {
            match self.trim_deleted(document).await {
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

/// Housekeeping in one transaction, which holds only while this node has the lease.
macro_rules! keep_house {
    ($store:expr, $transaction:ident, $work:expr) => {
        Box::pin(async move {
            let mut $transaction = transaction::begin(&$store.pool).await?;
            $store.lease.guard(&mut $transaction).await?;
            let done = $work.await?;
            $transaction.commit().await?;
            Ok(done)
        })
    };
}

/// Runs a write in one transaction, which ends with it.
macro_rules! transact {
    ($store:expr, $transaction:ident, $work:expr) => {
        Box::pin(async move {
            let mut $transaction = transaction::begin(&$store.pool).await?;
            let done = $work.await?;
            $transaction.commit().await?;
            Ok(done)
        })
    };
}

impl Store for PostgresStore {
    fn load<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, LoadedDocument> {
        Box::pin(load::load(&self.pool, document))
    }

    fn commit<'a>(&'a self, batch: &'a [Append]) -> StoreFuture<'a, Vec<CommitOutcome>> {
        Box::pin(commit::commit(&self.committing, batch, false))
    }

    fn commit_free<'a>(&'a self, batch: &'a [Append]) -> StoreFuture<'a, Vec<CommitOutcome>> {
        Box::pin(commit::commit(&self.committing, batch, true))
    }

    fn save_snapshot<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool> {
        keep_house!(
            self,
            transaction,
            history::save_snapshot(&mut transaction, document, epoch, snapshot)
        )
    }

    fn save_base<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool> {
        keep_house!(
            self,
            transaction,
            history::save_base(&mut transaction, document, epoch, snapshot)
        )
    }

    fn trim<'a>(&'a self, document: &'a DocumentName, rows_max: u32) -> StoreFuture<'a, bool> {
        keep_house!(
            self,
            transaction,
            history::trim(&mut transaction, document, rows_max)
        )
    }

    fn read_log<'a>(
        &'a self,
        document: &'a DocumentName,
        start: LogStart,
        limits: LogLimits,
    ) -> StoreFuture<'a, LogRange> {
        Box::pin(load::read_log(&self.pool, document, start, limits))
    }

    fn client_owners<'a>(
        &'a self,
        document: &'a DocumentName,
        after: u64,
    ) -> StoreFuture<'a, Vec<Claim>> {
        Box::pin(claims::owners(&self.pool, document, after))
    }

    fn log_ends<'a>(&'a self, documents: &'a [DocumentName]) -> StoreFuture<'a, Vec<LogEnd>> {
        Box::pin(load::log_ends(&self.pool, documents))
    }

    fn lead_housekeeping(&self, lease: Duration) -> StoreFuture<'_, bool> {
        Box::pin(self.lease.take(&self.pool, lease))
    }

    fn reclaim_space(&self, _bytes_max: u64) -> StoreFuture<'_, bool> {
        Box::pin(history::forget_attempts(&self.pool))
    }

    fn scan_stats<'a>(
        &'a self,
        filter: &'a StatsFilter,
        cursor: u64,
    ) -> StoreFuture<'a, StatsPage> {
        Box::pin(history::scan_stats(&self.pool, filter, cursor))
    }

    fn delete<'a>(&'a self, document: &'a DocumentName, vector: &'a [u8]) -> StoreFuture<'a, u64> {
        Box::pin(self.delete_document(document, vector))
    }

    fn set_quarantine<'a>(
        &'a self,
        document: &'a DocumentName,
        reason: Option<&'a str>,
    ) -> StoreFuture<'a, ()> {
        transact!(
            self,
            transaction,
            documents::set_quarantine(&mut transaction, document, reason)
        )
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<DocumentSummary>> {
        Box::pin(documents::list(&self.pool, prefix, after, limit))
    }

    fn inspect<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, Inspection> {
        Box::pin(inspect::inspect(&self.pool, document))
    }

    fn repair<'a>(
        &'a self,
        document: &'a DocumentName,
        good_until: Option<u64>,
    ) -> StoreFuture<'a, Repair> {
        transact!(
            self,
            transaction,
            inspect::repair(&mut transaction, document, good_until)
        )
    }

    fn restrictions(&self) -> StoreFuture<'_, Vec<Restriction>> {
        Box::pin(restrictions::list(&self.pool))
    }

    fn put_restrictions<'a>(&'a self, restrictions: &'a [Restriction]) -> StoreFuture<'a, ()> {
        transact!(
            self,
            transaction,
            restrictions::put(&mut transaction, restrictions)
        )
    }

    fn remove_restriction<'a>(&'a self, id: &'a str) -> StoreFuture<'a, bool> {
        transact!(
            self,
            transaction,
            restrictions::remove(&mut transaction, id)
        )
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn verify_structure(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(inspect::verify_structure(&self.pool))
    }

    fn backup<'a>(&'a self, _file: &'a Path) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Err(StoreError::Refused(
            "the documents are in PostgreSQL: back it up with its own tools, such as pg_dump or \
             pg_basebackup"
                .to_owned(),
        ))))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let close = async {
                self.committing.pool.close().await;
                self.pool.close().await;
            };
            // What does not end by then is ended by the server, as after any broken connection.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
            Ok(())
        })
    }
}
