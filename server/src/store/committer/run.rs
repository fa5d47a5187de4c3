//! The committing task: takes batches, keeps at them until they are settled, tells listeners.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use driftless_proto::name::DocumentName;
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::queue::Shared;
use super::{
    CommitListener, CommitRefusal, Committed, CommitterOptions, LINGER_MAX, PendingAppend,
};
use crate::metrics;
use crate::store::{Append, CommitOutcome, Store, StoreError};

/// Appends that are committed together, and who is told.
#[derive(Default)]
struct Batch {
    appends: Vec<Append>,
    tickets: Vec<Ticket>,
}

struct Ticket {
    version: u64,
    listener: Arc<dyn CommitListener>,
}

/// Commits everything queued until the queue is stopped and empty.
pub(super) async fn run(shared: Arc<Shared>, store: Arc<dyn Store>, options: CommitterOptions) {
    let linger = options.linger.min(LINGER_MAX);
    let mut not_before = Instant::now();
    let mut asides = JoinSet::new();
    while let Some(pending) = shared.next_batch(not_before).await {
        let batch: Batch = pending.into_iter().collect();
        let busy = commit_parts(&shared, &*store, &options, batch, Wait::PassOver).await;
        for batch in busy.into_iter().flat_map(Batch::by_document) {
            let work = (shared.clone(), store.clone(), options);
            match batch.appends.first().map(|first| first.document.clone()) {
                Some(document) if shared.put_aside(&document) => {
                    asides.spawn(run_aside(work, document, batch));
                }
                _ => {
                    commit_parts(&shared, &*store, &options, batch, Wait::ForLocks).await;
                }
            }
        }
        while asides.try_join_next().is_some() {}
        not_before = Instant::now() + linger;
        if let Err(error) = guarded(store.after_commit()).await {
            metrics::commit_failed(error.kind());
            tracing::warn!(%error, "the work that follows commits failed; it is tried again later");
        }
    }
    while asides.join_next().await.is_some() {}
}

/// Commits a document that other nodes write to, too, until nothing of it waits.
async fn run_aside(
    (shared, store, options): (Arc<Shared>, Arc<dyn Store>, CommitterOptions),
    document: DocumentName,
    batch: Batch,
) {
    metrics::committed_aside();
    let mut next = Some(batch);
    while let Some(batch) = next.take() {
        commit_parts(&shared, &*store, &options, batch, Wait::ForLocks).await;
        let more = shared.next_aside(&document);
        next = more.map(|pending| pending.into_iter().collect());
    }
}

/// What to do about documents that another node is writing to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    PassOver,
    ForLocks,
}

/// Settles a batch, in parts if one document spoils it; returns what was passed over.
async fn commit_parts(
    shared: &Shared,
    store: &dyn Store,
    options: &CommitterOptions,
    batch: Batch,
    wait: Wait,
) -> Option<Batch> {
    let mut busy: Option<Batch> = None;
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        match commit_until_settled(shared, store, options, &part.appends, wait).await {
            Ok(outcomes) => {
                if let Some(more) = part.report(shared, &outcomes) {
                    let more = more.appends.into_iter().zip(more.tickets);
                    busy.get_or_insert_default().extend(more);
                }
            }
            Err(error) => match part.split() {
                // The last part is taken next: the halves keep their order.
                Ok((first, second)) => parts.extend([second, first]),
                Err(part) => part.refuse(shared, &error),
            },
        }
    }
    busy
}

/// Commits the appends, however often errors that may pass come in between. An error that is
/// returned will not pass by itself.
async fn commit_until_settled(
    shared: &Shared,
    store: &dyn Store,
    options: &CommitterOptions,
    appends: &[Append],
    wait: Wait,
) -> Result<Vec<CommitOutcome>, StoreError> {
    let mut pause = options.retry_min;
    loop {
        let begun = Instant::now();
        let commit = match wait {
            Wait::PassOver => store.commit_free(appends),
            Wait::ForLocks => store.commit(appends),
        };
        let error = match guarded(commit).await {
            Ok(outcomes) => {
                let took = begun.elapsed();
                let busy = outcomes.iter().filter(|it| **it == CommitOutcome::Busy);
                let settled = appends.len() - busy.count();
                metrics::committed(settled, took);
                shared.note_success(settled, took);
                return Ok(outcomes);
            }
            Err(error) => error,
        };
        metrics::commit_failed(error.kind());
        if !error.is_retryable() {
            return Err(error);
        }
        tracing::warn!(%error, appends = appends.len(), ?pause, "a commit failed; it is retried");
        shared.note_trouble(&error);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(options.retry_max);
    }
}

/// A store that panics is one that is unavailable; its documents' appends must not go with it.
async fn guarded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the store panicked".to_owned())))
}

impl Extend<(Append, Ticket)> for Batch {
    fn extend<I: IntoIterator<Item = (Append, Ticket)>>(&mut self, more: I) {
        for (append, ticket) in more {
            self.appends.push(append);
            self.tickets.push(ticket);
        }
    }
}

impl FromIterator<PendingAppend> for Batch {
    fn from_iter<I: IntoIterator<Item = PendingAppend>>(pending: I) -> Self {
        let mut batch = Self::default();
        for PendingAppend {
            append,
            version,
            listener,
        } in pending
        {
            batch.appends.push(append);
            batch.tickets.push(Ticket { version, listener });
        }
        batch
    }
}

impl Batch {
    /// Halves the batch by documents, each half in order; gives it back if it has only one.
    fn split(self) -> Result<(Self, Self), Self> {
        let mut seen = HashSet::new();
        let mut documents: Vec<&DocumentName> = Vec::new();
        for append in &self.appends {
            if seen.insert(&append.document) {
                documents.push(&append.document);
            }
        }
        if documents.len() < 2 {
            return Err(self);
        }
        let first_half = documents.iter().take(documents.len() / 2);
        let first_half: HashSet<DocumentName> = first_half.copied().cloned().collect();
        let (mut first, mut second) = (Self::default(), Self::default());
        for (append, ticket) in self.appends.into_iter().zip(self.tickets) {
            let half = if first_half.contains(&append.document) {
                &mut first
            } else {
                &mut second
            };
            half.appends.push(append);
            half.tickets.push(ticket);
        }
        Ok((first, second))
    }

    /// Tells every listener once how far it is, after telling what was refused. Returns what was passed
    /// over.
    fn report(self, shared: &Shared, outcomes: &[CommitOutcome]) -> Option<Self> {
        let mut committed: HashMap<*const (), (&Ticket, Vec<Committed<'_>>)> = HashMap::new();
        let appends = self.appends.iter().zip(&self.tickets);
        for ((append, ticket), outcome) in appends.zip(outcomes) {
            let refusal = match *outcome {
                CommitOutcome::Committed { sequence } => {
                    let key = Arc::as_ptr(&ticket.listener).cast::<()>();
                    let (newest, stored) = committed.entry(key).or_insert((ticket, Vec::new()));
                    if newest.version <= ticket.version {
                        *newest = ticket;
                    }
                    stored.push(Committed { sequence, append });
                    continue;
                }
                CommitOutcome::EpochChanged { current } => CommitRefusal::EpochChanged { current },
                CommitOutcome::Quarantined => CommitRefusal::Quarantined,
                CommitOutcome::LogLost => CommitRefusal::LogLost,
                CommitOutcome::Busy => continue,
            };
            ticket.tell_refused(refusal);
        }
        for (ticket, stored) in committed.into_values() {
            contained(|| ticket.listener.on_committed(ticket.version, &stored));
        }
        if !outcomes.contains(&CommitOutcome::Busy) {
            self.finish(shared);
            return None;
        }
        let (mut busy, mut settled) = (Self::default(), Self::default());
        let appends = self.appends.into_iter().zip(self.tickets);
        for (one, outcome) in appends.zip(outcomes) {
            match outcome {
                CommitOutcome::Busy => busy.extend([one]),
                _ => settled.extend([one]),
            }
        }
        settled.finish(shared);
        Some(busy)
    }

    /// A batch for each document, each in order.
    fn by_document(self) -> impl Iterator<Item = Self> {
        let mut batches: HashMap<DocumentName, Self> = HashMap::new();
        for one in self.appends.into_iter().zip(self.tickets) {
            let batch = batches.entry(one.0.document.clone()).or_default();
            batch.extend([one]);
        }
        batches.into_values()
    }

    fn refuse(&self, shared: &Shared, error: &StoreError) {
        if let Some(append) = self.appends.first() {
            let document = &append.document;
            tracing::error!(%document, %error, "a document's changes cannot be stored");
        }
        let refusal = CommitRefusal::Failed(error.clone());
        for ticket in &self.tickets {
            ticket.tell_refused(refusal.clone());
        }
        self.finish(shared);
    }

    fn finish(&self, shared: &Shared) {
        let settled = self.appends.iter();
        shared.finish(settled.map(|append| (&append.document, append.waiting_bytes())));
    }
}

impl Ticket {
    fn tell_refused(&self, refusal: CommitRefusal) {
        let reason = match &refusal {
            CommitRefusal::EpochChanged { .. } => "epoch",
            CommitRefusal::Quarantined => "quarantine",
            CommitRefusal::LogLost => "log_lost",
            CommitRefusal::Failed(error) => error.kind(),
        };
        metrics::commit_refused(reason);
        contained(|| self.listener.on_refused(self.version, refusal));
    }
}

/// A listener that panics hurts only itself.
fn contained(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("a document panicked when it was told of a commit");
    }
}
