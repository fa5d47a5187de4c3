//! Group commit: while one batch is being made durable, the appends of all documents gather for
//! the next.
//!
//! Nothing submitted is dropped. Errors that may pass are retried with the same batch, in order;
//! an error that stays is traced to its document by splitting the batch, so that the others go on.
//! The queue is bounded in bytes by its callers, who stop writers while [`Committer::has_room`] is
//! false; what was accepted before is still taken.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use driftless_proto::name::DocumentName;
use tokio::task::JoinHandle;

use self::queue::Shared;
use super::{Append, Store, StoreError};

mod queue;
mod run;
#[cfg(test)]
mod tests;

/// Learns what became of its appends. Called on the committer's task: return at once.
pub trait CommitListener: Send + Sync + std::fmt::Debug {
    /// Appends up to `version` of this listener are durable, unless refused. Called once a batch
    /// with the highest version in it and all its appends, in order.
    fn on_committed(&self, version: u64, committed: &[Committed<'_>]);

    /// One append was refused for good. Called before [`Self::on_committed`] of the same batch.
    fn on_refused(&self, version: u64, refusal: CommitRefusal);
}

/// An append that is durable.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    /// Its place in the document's log.
    pub sequence: u64,
    /// What was stored.
    pub append: &'a Append,
}

/// Why an append will never be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitRefusal {
    /// The document was deleted or restored meanwhile.
    #[error("the document was deleted or restored; it is in epoch {current} now")]
    EpochChanged {
        /// The epoch that is current now.
        current: u64,
    },
    /// The document is frozen.
    #[error("the document is quarantined; see `driftless doc show`")]
    Quarantined,
    /// The store cannot take appends of this document.
    #[error(transparent)]
    Failed(StoreError),
}

/// An append on its way to the store.
#[derive(Debug)]
pub struct PendingAppend {
    /// What to store.
    pub append: Append,
    /// The submitter's own counter, reported back; it must not fall from one append to the next.
    pub version: u64,
    /// Who is told. Appends with the same `Arc` are reported together.
    pub listener: Arc<dyn CommitListener>,
}

/// The deadline of a shutdown passed with appends that are not known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{appends} changes could not be committed before the deadline")]
pub struct Unfinished {
    /// How many appends were left.
    pub appends: u64,
}

/// What the committer may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitterOptions {
    /// The least time from the end of a commit to the beginning of the next, at most [`LINGER_MAX`]:
    /// where flushes are nearly free, appends gather in it, and a commit costs the same for one as
    /// for ten. The first append after a quiet time waits for nothing.
    pub linger: Duration,
    /// Bytes that may wait before writers are stopped.
    pub queue_bytes_max: usize,
    /// The wait after a first failure; it doubles with each further one.
    pub retry_min: Duration,
    /// The longest wait between attempts.
    pub retry_max: Duration,
}

/// The longest linger that is honoured: more would be felt in every acknowledgement.
pub const LINGER_MAX: Duration = Duration::from_millis(2);

impl Default for CommitterOptions {
    fn default() -> Self {
        Self {
            // Measured with 20 busy documents on one core: a third of the commits.
            linger: LINGER_MAX,
            // A store that is down for a minute under 4 MB/s of edits stops nobody.
            queue_bytes_max: 256 << 20,
            // A passing hiccup costs little more than itself.
            retry_min: Duration::from_millis(100),
            // A store that is back is noticed within two seconds.
            retry_max: Duration::from_secs(2),
        }
    }
}

/// How the committer is doing, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitterStatus {
    /// Appends that wait or are being committed.
    pub queued_appends: usize,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Appends in the last batch.
    pub last_batch_appends: usize,
    /// How long the last successful commit took.
    pub last_commit: Duration,
    /// Whether commits succeed.
    pub health: CommitterHealth,
}

impl CommitterStatus {
    /// True while commits succeed.
    pub fn is_healthy(&self) -> bool {
        self.health == CommitterHealth::Healthy
    }
}

impl std::fmt::Display for CommitterStatus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.health {
            CommitterHealth::Healthy => formatter.write_str("commits succeed"),
            CommitterHealth::Retrying { since, error } => write!(
                formatter,
                "commits fail since {} s, changes wait in memory: {error}",
                since.as_secs()
            ),
        }
    }
}

/// Whether commits succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitterHealth {
    /// The last commit succeeded, or none was needed yet.
    Healthy,
    /// A batch is being retried; nothing is lost, acknowledgements wait.
    Retrying {
        /// For how long.
        since: Duration,
        /// The newest error.
        error: StoreError,
    },
}

/// The handle of the committing task. Clones share it; the last one to go stops it.
#[derive(Debug, Clone)]
pub struct Committer {
    shared: Arc<Shared>,
    task: Arc<OwnedTask>,
}

#[derive(Debug)]
struct OwnedTask(Mutex<Option<JoinHandle<()>>>);

impl OwnedTask {
    fn take(&self) -> Option<JoinHandle<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        if let Some(task) = self.take() {
            task.abort();
        }
    }
}

impl Committer {
    /// Starts the committing task on the current tokio runtime.
    pub fn start(store: Arc<dyn Store>, options: CommitterOptions) -> Self {
        let shared = Arc::new(Shared::new(options.queue_bytes_max as u64));
        let task = tokio::spawn(run::run(shared.clone(), store, options));
        Self {
            shared,
            task: Arc::new(OwnedTask(Mutex::new(Some(task)))),
        }
    }

    /// Queues an append and returns at once; appends are committed in the order of submission.
    /// After [`Self::shutdown`] it is not taken (`false`) and its listener hears nothing, so that
    /// nobody acknowledges it.
    pub fn submit(&self, pending: PendingAppend) -> bool {
        self.shared.submit(pending)
    }

    /// False while the queue is full: stop taking changes from writers until it has room again.
    pub fn has_room(&self) -> bool {
        self.shared.has_room()
    }

    /// True when changes come faster than a healthy store takes them: let writers wait a little, so
    /// that the queue never gets full. Not while the store is away, which waiting does not help.
    pub fn is_behind(&self) -> bool {
        self.shared.is_behind()
    }

    /// Resolves when the queue has room.
    pub async fn wait_for_room(&self) {
        self.shared.wait_until(queue::State::has_room).await;
    }

    /// Resolves when no append of the document waits or is being committed. A load that starts
    /// then sees all of them.
    pub async fn wait_idle(&self, document: &DocumentName) {
        self.shared
            .wait_until(|state| !state.is_unfinished(document))
            .await;
    }

    /// How the committer is doing.
    pub fn status(&self) -> CommitterStatus {
        self.shared.status()
    }

    /// Takes no more appends, commits all that are queued, and stops; gives up at the deadline.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Unfinished> {
        self.shared.stop();
        let Some(mut task) = self.task.take() else {
            return Ok(());
        };
        if tokio::time::timeout(deadline, &mut task).await.is_err() {
            task.abort();
        }
        match self.shared.status().queued_appends {
            0 => Ok(()),
            appends => Err(Unfinished {
                appends: appends as u64,
            }),
        }
    }
}
