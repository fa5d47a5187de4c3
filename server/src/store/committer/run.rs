//! The committing task: takes batches, keeps at them until they are settled, tells listeners.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use driftless_proto::name::DocumentName;
use futures_util::FutureExt;
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
    while let Some(pending) = shared.next_batch(not_before).await {
        let mut parts = vec![pending.into_iter().collect::<Batch>()];
        while let Some(part) = parts.pop() {
            match commit_until_settled(&shared, &*store, &options, &part.appends).await {
                Ok(outcomes) => part.report(&shared, &outcomes),
                Err(error) => match part.split() {
                    // The last part is taken next: the halves keep their order.
                    Ok((first, second)) => parts.extend([second, first]),
                    Err(part) => part.refuse(&shared, &error),
                },
            }
        }
        not_before = Instant::now() + linger;
        if let Err(error) = guarded(store.after_commit()).await {
            metrics::commit_failed(error.kind());
            tracing::warn!(%error, "the work that follows commits failed; it is tried again later");
        }
    }
}

/// Commits the appends, however often errors that may pass come in between. An error that is
/// returned will not pass by itself.
async fn commit_until_settled(
    shared: &Shared,
    store: &dyn Store,
    options: &CommitterOptions,
    appends: &[Append],
) -> Result<Vec<CommitOutcome>, StoreError> {
    let mut wait = options.retry_min;
    loop {
        let begun = Instant::now();
        let error = match guarded(store.commit(appends)).await {
            Ok(outcomes) => {
                let took = begun.elapsed();
                metrics::committed(appends.len(), took);
                shared.note_success(appends.len(), took);
                return Ok(outcomes);
            }
            Err(error) => error,
        };
        metrics::commit_failed(error.kind());
        if !error.is_retryable() {
            return Err(error);
        }
        tracing::warn!(%error, appends = appends.len(), ?wait, "a commit failed; it is retried");
        shared.note_trouble(&error);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(options.retry_max);
    }
}

/// A store that panics is one that is unavailable; its documents' appends must not go with it.
async fn guarded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the store panicked".to_owned())))
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

    /// Tells every listener once how far it is, after telling what was refused.
    fn report(&self, shared: &Shared, outcomes: &[CommitOutcome]) {
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
            };
            ticket.tell_refused(refusal);
        }
        for (ticket, stored) in committed.into_values() {
            contained(|| ticket.listener.on_committed(ticket.version, &stored));
        }
        self.finish(shared);
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
        shared.finish(settled.map(|append| (&append.document, append.update.len())));
    }
}

impl Ticket {
    fn tell_refused(&self, refusal: CommitRefusal) {
        let reason = match &refusal {
            CommitRefusal::EpochChanged { .. } => "epoch",
            CommitRefusal::Quarantined => "quarantine",
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
