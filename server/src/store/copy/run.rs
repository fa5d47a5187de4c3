//! The way of all documents from one store to the other, in batches and side by side.

use std::collections::{HashMap, VecDeque};

use driftless_proto::name::DocumentName;
use futures_util::stream::{self, Stream, TryStreamExt};
use tokio::sync::Semaphore;

use super::judge::may_replace;
use super::progress::{FailureKind, Progress, add};
use super::{CopyEnd, DocumentCopy, Import};
use crate::store::{DocumentSummary, StoreError};

/// Names in one page of the source's list.
const PAGE_DOCUMENTS: u32 = 1_000;

/// Documents and bytes in one batch, which is one transaction in the target: enough that its flush to
/// disk does not count, little enough that a stopped copy loses a second's work.
const BATCH_DOCUMENTS: usize = 100;
const BATCH_BYTES: u64 = 4 << 20;

/// Batches under way at a time: while one waits for the disk, others read and compare.
const WORKERS: usize = 6;

/// Memory for all batches together, in mebibytes; a larger document goes alone.
const MEMORY_MIB: u32 = 256;

/// A document is in memory as it was read and as it was read back, and on its way to the database.
const TIMES_IN_MEMORY: u64 = 3;

/// Copies all restrictions of access, and all documents of `source` to `target`. Documents that cannot be copied are noted in
/// `progress`, and the others go on; an error means that a store does not answer as it should.
pub async fn copy(
    source: &dyn CopyEnd,
    target: &dyn CopyEnd,
    progress: &Progress,
) -> Result<(), StoreError> {
    source.prepare().await?;
    target.prepare().await?;
    let restrictions = source.restrictions().await?;
    if !restrictions.is_empty() {
        // First: whoever serves the copy while it grows holds to them.
        target.put_restrictions(&restrictions).await?;
        add(&progress.restrictions, restrictions.len() as u64);
    }
    count(source, progress).await?;
    let work = Work {
        source,
        target,
        progress,
        memory: Semaphore::new(MEMORY_MIB as usize),
    };
    let work = &work;
    batches(source)
        .try_for_each_concurrent(
            WORKERS,
            |batch| async move { work.copy_batch(&batch).await },
        )
        .await
}

/// Counts what there is to do.
async fn count(source: &dyn CopyEnd, progress: &Progress) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = source.list("", after.as_ref(), PAGE_DOCUMENTS).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        add(&progress.total_documents, page.len() as u64);
        let bytes = page.iter().map(|it| it.stored_bytes).sum();
        add(&progress.total_bytes, bytes);
        after = Some(last.name.clone());
    }
}

/// Where in the source's list the copy is.
#[derive(Default)]
struct Place {
    after: Option<DocumentName>,
    waiting: VecDeque<DocumentSummary>,
}

fn batches(
    source: &dyn CopyEnd,
) -> impl Stream<Item = Result<Vec<DocumentSummary>, StoreError>> + '_ {
    stream::try_unfold(Place::default(), move |mut place| async move {
        if place.waiting.is_empty() {
            let after = place.after.take();
            let page = source.list("", after.as_ref(), PAGE_DOCUMENTS).await?;
            place.after = page.last().map(|last| last.name.clone());
            place.waiting = page.into();
        }
        let batch = next_batch(&mut place.waiting);
        Ok((!batch.is_empty()).then_some((batch, place)))
    })
}

fn next_batch(waiting: &mut VecDeque<DocumentSummary>) -> Vec<DocumentSummary> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(next) = waiting.pop_front() {
        bytes += next.stored_bytes;
        batch.push(next);
        if batch.len() >= BATCH_DOCUMENTS || bytes >= BATCH_BYTES {
            break;
        }
    }
    batch
}

/// What all batches share.
struct Work<'a> {
    source: &'a dyn CopyEnd,
    target: &'a dyn CopyEnd,
    progress: &'a Progress,
    memory: Semaphore,
}

impl Work<'_> {
    async fn copy_batch(&self, batch: &[DocumentSummary]) -> Result<(), StoreError> {
        let names: Vec<DocumentName> = batch.iter().map(|it| it.name.clone()).collect();
        let bytes: u64 = batch.iter().map(|it| it.stored_bytes).sum();
        let theirs: HashMap<_, _> = self.target.stamps(&names).await?.into_iter().collect();
        let ours: HashMap<_, _> = self.source.stamps(&names).await?.into_iter().collect();
        let is_pending = |name: &DocumentName| ours.get(name) != theirs.get(name);
        let pending: Vec<DocumentName> = names.into_iter().filter(is_pending).collect();
        add(&self.progress.skipped, (batch.len() - pending.len()) as u64);
        if !pending.is_empty() {
            let mebibytes = (bytes * TIMES_IN_MEMORY) >> 20;
            let permits = u32::try_from(mebibytes).unwrap_or(MEMORY_MIB);
            // The semaphore is never closed; without a permit the batch would only take more memory.
            let _permit = self.memory.acquire_many(permits.clamp(1, MEMORY_MIB)).await;
            let present: Vec<DocumentName> = pending
                .iter()
                .filter(|name| theirs.contains_key(*name))
                .cloned()
                .collect();
            self.copy_pending(&pending, &present).await?;
        }
        add(&self.progress.done_bytes, bytes);
        Ok(())
    }

    /// Copies documents whose stamps differ; `present` are those that the target has.
    async fn copy_pending(
        &self,
        pending: &[DocumentName],
        present: &[DocumentName],
    ) -> Result<(), StoreError> {
        let exported = self.source.export_documents(pending).await?;
        for (name, finding) in exported.damaged {
            let advice = "`driftless doc repair` on the source cuts it back to what is intact";
            let text = format!("damaged in the source: {finding}; {advice}");
            self.progress.fail(&name, FailureKind::Damaged, text);
        }
        let imports = self.judge(exported.copies, present).await?;
        if imports.is_empty() {
            return Ok(());
        }
        let left = self.target.import_documents(&imports).await?;
        for name in &left {
            let text =
                "the target's document was changed at the same moment; copy again".to_owned();
            self.progress.fail(name, FailureKind::Conflict, text);
        }
        let mut written = imports;
        written.retain(|import| !left.contains(&import.copy.name));
        self.compare(written).await
    }

    /// Leaves out what must not be overwritten.
    async fn judge(
        &self,
        copies: Vec<DocumentCopy>,
        present: &[DocumentName],
    ) -> Result<Vec<Import>, StoreError> {
        let found = match present {
            [] => Default::default(),
            _ => self.target.export_documents(present).await?,
        };
        let damaged: HashMap<_, _> = found.damaged.into_iter().collect();
        let theirs = found.copies.into_iter();
        let theirs: HashMap<_, _> = theirs.map(|it| (it.name.clone(), it)).collect();
        let mut imports = Vec::with_capacity(copies.len());
        for copy in copies {
            let conflict = |text| {
                let kind = FailureKind::Conflict;
                self.progress.fail(&copy.name, kind, text);
            };
            if let Some(finding) = damaged.get(&copy.name) {
                conflict(format!("the target's document is damaged: {finding}"));
                continue;
            }
            let target = theirs.get(&copy.name);
            match target.map_or(Ok(()), |target| may_replace(target, &copy)) {
                Err(reason) => conflict(reason),
                Ok(()) if target == Some(&copy) => add(&self.progress.skipped, 1),
                Ok(()) => imports.push(Import {
                    replaces: target.map(|target| (target.epoch, target.head)),
                    copy,
                }),
            }
        }
        Ok(imports)
    }

    /// Reads back what was written.
    async fn compare(&self, written: Vec<Import>) -> Result<(), StoreError> {
        let names: Vec<DocumentName> = written.iter().map(|it| it.copy.name.clone()).collect();
        let found = self.target.export_documents(&names).await?;
        let damaged: HashMap<_, _> = found.damaged.into_iter().collect();
        let found = found.copies.into_iter();
        let mut found: HashMap<_, _> = found.map(|it| (it.name.clone(), it)).collect();
        for Import { copy, .. } in &written {
            if found.remove(&copy.name).as_ref() == Some(copy) {
                let sizes = copy.sizes();
                let states = copy.snapshots().map(|(_, it)| it.state.len() as u64);
                let bytes = sizes.log_bytes + states.sum::<u64>();
                add(&self.progress.copied, 1);
                add(&self.progress.copied_bytes, bytes);
                continue;
            }
            let text = match damaged.get(&copy.name) {
                Some(finding) => format!("damaged in the target after it was written: {finding}"),
                None => "what was read back is not what was written; is a server running on the \
                         target? Copy again"
                    .to_owned(),
            };
            self.progress.fail(&copy.name, FailureKind::Unequal, text);
        }
        Ok(())
    }
}
