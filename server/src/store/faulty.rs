//! A store that fails on demand, around a real one; for tests only.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftless_proto::name::DocumentName;
use tokio::sync::watch;

use crate::access::Restriction;

use super::{
    Append, Claim, CommitOutcome, DocumentSummary, Inspection, LoadedDocument, LogEnd, LogLimits,
    LogRange, LogStart, Repair, Snapshot, StatsFilter, StatsPage, Store, StoreError, StoreFuture,
};

/// What goes wrong with one commit.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It takes longer.
    Delay(Duration),
    /// Nothing is stored.
    Fail(StoreError),
    /// Everything is stored, but the caller hears of an error.
    LoseReply(StoreError),
    /// The store panics before it stores anything.
    Panic,
    /// Nothing is stored, since the log was taken back behind what the changes rest on.
    LoseLog,
}

/// A store with faults.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
    is_held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Fault>,
    outage: Option<StoreError>,
    load_outage: Option<StoreError>,
    bad_documents: HashMap<DocumentName, StoreError>,
    batches: Vec<Vec<Append>>,
}

impl FaultyStore {
    /// Wraps a store; without further orders it behaves like it.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
            is_held: watch::Sender::new(false),
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commits meet these faults, one each; those after them meet none.
    pub fn plan_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan().next.extend(faults);
    }

    /// Every commit fails like this until told otherwise.
    pub fn set_outage(&self, error: Option<StoreError>) {
        self.plan().outage = error;
    }

    /// Every load fails like this until told otherwise.
    pub fn set_load_outage(&self, error: Option<StoreError>) {
        self.plan().load_outage = error;
    }

    /// Every batch that holds this document fails like this.
    pub fn spoil_document(&self, document: DocumentName, error: StoreError) {
        self.plan().bad_documents.insert(document, error);
    }

    /// Commits wait (`true`) until told otherwise.
    pub fn hold_commits(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    /// The batches that were attempted so far.
    pub fn batches(&self) -> Vec<Vec<Append>> {
        self.plan().batches.clone()
    }

    /// Notes the attempt and says what goes wrong with it.
    fn attempt(&self, batch: &[Append]) -> Option<Fault> {
        let mut plan = self.plan();
        plan.batches.push(batch.to_vec());
        if let Some(error) = &plan.outage {
            return Some(Fault::Fail(error.clone()));
        }
        let mut documents = batch.iter().map(|append| &append.document);
        if let Some(error) = documents.find_map(|document| plan.bad_documents.get(document)) {
            return Some(Fault::Fail(error.clone()));
        }
        plan.next.pop_front()
    }

    async fn commit_with_faults(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>, StoreError> {
        let mut is_held = self.is_held.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = is_held.wait_for(|is_held| !is_held).await;
        match self.attempt(batch) {
            None => self.inner.commit(batch).await,
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.inner.commit(batch).await
            }
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::LoseReply(error)) => {
                self.inner.commit(batch).await?;
                Err(error)
            }
            Some(Fault::LoseLog) => Ok(vec![CommitOutcome::LogLost; batch.len()]),
            Some(Fault::Panic) => std::panic::panic_any("a planned panic of the store"),
        }
    }
}

impl Store for FaultyStore {
    fn load<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, LoadedDocument> {
        match self.plan().load_outage.clone() {
            Some(error) => Box::pin(std::future::ready(Err(error))),
            None => self.inner.load(document),
        }
    }

    fn commit<'a>(&'a self, batch: &'a [Append]) -> StoreFuture<'a, Vec<CommitOutcome>> {
        Box::pin(self.commit_with_faults(batch))
    }

    fn after_commit(&self) -> StoreFuture<'_, ()> {
        self.inner.after_commit()
    }

    fn save_snapshot<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool> {
        self.inner.save_snapshot(document, epoch, snapshot)
    }

    fn save_base<'a>(
        &'a self,
        document: &'a DocumentName,
        epoch: u64,
        snapshot: &'a Snapshot,
    ) -> StoreFuture<'a, bool> {
        self.inner.save_base(document, epoch, snapshot)
    }

    fn trim<'a>(&'a self, document: &'a DocumentName, rows_max: u32) -> StoreFuture<'a, bool> {
        self.inner.trim(document, rows_max)
    }

    fn read_log<'a>(
        &'a self,
        document: &'a DocumentName,
        start: LogStart,
        limits: LogLimits,
    ) -> StoreFuture<'a, LogRange> {
        self.inner.read_log(document, start, limits)
    }

    fn log_ends<'a>(&'a self, documents: &'a [DocumentName]) -> StoreFuture<'a, Vec<LogEnd>> {
        self.inner.log_ends(documents)
    }

    fn scan_stats<'a>(
        &'a self,
        filter: &'a StatsFilter,
        cursor: u64,
    ) -> StoreFuture<'a, StatsPage> {
        self.inner.scan_stats(filter, cursor)
    }

    fn reclaim_space(&self, bytes_max: u64) -> StoreFuture<'_, bool> {
        self.inner.reclaim_space(bytes_max)
    }

    fn delete<'a>(&'a self, document: &'a DocumentName, vector: &'a [u8]) -> StoreFuture<'a, u64> {
        self.inner.delete(document, vector)
    }

    fn set_quarantine<'a>(
        &'a self,
        document: &'a DocumentName,
        reason: Option<&'a str>,
    ) -> StoreFuture<'a, ()> {
        self.inner.set_quarantine(document, reason)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<DocumentSummary>> {
        self.inner.list(prefix, after, limit)
    }

    fn inspect<'a>(&'a self, document: &'a DocumentName) -> StoreFuture<'a, Inspection> {
        self.inner.inspect(document)
    }

    fn repair<'a>(
        &'a self,
        document: &'a DocumentName,
        good_until: Option<u64>,
    ) -> StoreFuture<'a, Repair> {
        self.inner.repair(document, good_until)
    }

    fn client_owners<'a>(
        &'a self,
        document: &'a DocumentName,
        after: u64,
    ) -> StoreFuture<'a, Vec<Claim>> {
        self.inner.client_owners(document, after)
    }

    fn restrictions(&self) -> StoreFuture<'_, Vec<Restriction>> {
        match self.plan().load_outage.clone() {
            Some(error) => Box::pin(std::future::ready(Err(error))),
            None => self.inner.restrictions(),
        }
    }

    fn put_restrictions<'a>(&'a self, restrictions: &'a [Restriction]) -> StoreFuture<'a, ()> {
        self.inner.put_restrictions(restrictions)
    }

    fn remove_restriction<'a>(&'a self, id: &'a str) -> StoreFuture<'a, bool> {
        self.inner.remove_restriction(id)
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn verify_structure(&self) -> StoreFuture<'_, Vec<String>> {
        self.inner.verify_structure()
    }

    fn backup<'a>(&'a self, file: &'a Path) -> StoreFuture<'a, ()> {
        self.inner.backup(file)
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.inner.close()
    }
}
