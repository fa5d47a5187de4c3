//! Group commit: while one batch is being made durable, the appends of all documents gather for
//! the next.
//!
//! A store that many nodes share takes several batches at a time, one a *lane*. A document's lane
//! follows from its name, equally on all nodes, so that who waits for the lock of a busy document
//! holds up only its lane. A document that another node writes to at the same moment is put *aside*: it
//! is committed alone, beside its lane, until nothing of it waits.
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
    /// The log was taken back behind what the change rests on.
    #[error("the log was taken back to an earlier state")]
    LogLost,
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
    /// Bytes that may wait before writers are stopped, of all lanes together.
    pub queue_bytes_max: usize,
    /// Batches that may be under way at a time, at least one; equal on all nodes.
    pub lanes: usize,
    /// The wait after a first failure; it doubles with each further one.
    pub retry_min: Duration,
    /// The longest wait between attempts.
    pub retry_max: Duration,
}

/// Documents of a lane that are committed beside it at a time; each takes a connection. Further ones hold
/// their lane up.
pub const ASIDE_MAX: usize = 2;

/// The longest linger that is honoured: more would be felt in every acknowledgement.
pub const LINGER_MAX: Duration = Duration::from_millis(2);

impl Default for CommitterOptions {
    fn default() -> Self {
        Self {
            // Measured with 20 busy documents on one core: a third of the commits.
            linger: LINGER_MAX,
            // A store that is down for a minute under 4 MB/s of edits stops nobody.
            queue_bytes_max: 256 << 20,
            // An embedded database has one writer.
            lanes: 1,
            // A passing hiccup costs little more than itself.
            retry_min: Duration::from_millis(100),
            // A store that is back is noticed within two seconds.
            retry_max: Duration::from_secs(2),
        }
    }
}

/// How the committer is doing, as plain data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// The status of two lanes as one: what waits adds up, the worse health counts.
    fn with(self, other: Self) -> Self {
        let health = match (self.health, other.health) {
            (CommitterHealth::Healthy, health) | (health, CommitterHealth::Healthy) => health,
            (one, another) if one.since() >= another.since() => one,
            (_, another) => another,
        };
        Self {
            queued_appends: self.queued_appends + other.queued_appends,
            queued_bytes: self.queued_bytes + other.queued_bytes,
            last_batch_appends: self.last_batch_appends.max(other.last_batch_appends),
            last_commit: self.last_commit.max(other.last_commit),
            health,
        }
    }

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CommitterHealth {
    /// The last commit succeeded, or none was needed yet.
    #[default]
    Healthy,
    /// A batch is being retried; nothing is lost, acknowledgements wait.
    Retrying {
        /// For how long.
        since: Duration,
        /// The newest error.
        error: StoreError,
    },
}

impl CommitterHealth {
    /// For how long commits fail.
    fn since(&self) -> Duration {
        match self {
            Self::Healthy => Duration::ZERO,
            Self::Retrying { since, .. } => *since,
        }
    }
}

/// The handle of the committing tasks. Clones share it; the last one to go stops them.
#[derive(Debug, Clone)]
pub struct Committer {
    lanes: Arc<[Lane]>,
}

/// A queue and the task that commits from it.
#[derive(Debug)]
struct Lane {
    shared: Arc<Shared>,
    task: OwnedTask,
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
    /// Starts the committing tasks on the current tokio runtime.
    pub fn start(store: Arc<dyn Store>, options: CommitterOptions) -> Self {
        let lanes = options.lanes.max(1);
        let bytes_max = (options.queue_bytes_max / lanes) as u64;
        let start = |number: usize| {
            let shared = Arc::new(Shared::new(number, bytes_max));
            let task = tokio::spawn(run::run(shared.clone(), store.clone(), options));
            Lane {
                shared,
                task: OwnedTask(Mutex::new(Some(task))),
            }
        };
        Self {
            lanes: (0..lanes).map(start).collect(),
        }
    }

    fn lane(&self, document: &DocumentName) -> &Shared {
        let number = lane_hash(document.as_str()) % self.lanes.len() as u64;
        &self.lanes[usize::try_from(number).unwrap_or(0)].shared
    }

    /// Queues an append and returns at once; appends are committed in the order of submission.
    /// After [`Self::shutdown`] it is not taken (`false`) and its listener hears nothing, so that
    /// nobody acknowledges it.
    pub fn submit(&self, pending: PendingAppend) -> bool {
        self.lane(&pending.append.document).submit(pending)
    }

    /// False while the document's queue is full: stop taking changes from its writers until it has
    /// room again.
    pub fn has_room(&self, document: &DocumentName) -> bool {
        self.lane(document).has_room()
    }

    /// True when changes come faster than a healthy store takes them: let writers wait a little, so
    /// that the queue never gets full. Not while the store is away, which waiting does not help.
    pub fn is_behind(&self, document: &DocumentName) -> bool {
        self.lane(document).is_behind()
    }

    /// True when no append of the document waits or is being committed; what became of the last one was
    /// told before.
    pub fn is_idle(&self, document: &DocumentName) -> bool {
        !self.lane(document).is_unfinished(document)
    }

    /// Resolves when no append of the document waits or is being committed. A load that starts
    /// then sees all of them.
    pub async fn wait_idle(&self, document: &DocumentName) {
        self.lane(document)
            .wait_until(|state| !state.is_unfinished(document))
            .await;
    }

    /// How the committer is doing.
    pub fn status(&self) -> CommitterStatus {
        let lanes = self.lanes.iter().map(|lane| lane.shared.status());
        lanes.reduce(CommitterStatus::with).unwrap_or_default()
    }

    /// Takes no more appends, commits all that are queued, and stops; gives up at the deadline.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Unfinished> {
        let ends_at = tokio::time::Instant::now() + deadline;
        self.lanes.iter().for_each(|lane| lane.shared.stop());
        for mut task in self.lanes.iter().filter_map(|lane| lane.task.take()) {
            if tokio::time::timeout_at(ends_at, &mut task).await.is_err() {
                task.abort();
            }
        }
        match self.status().queued_appends {
            0 => Ok(()),
            appends => Err(Unfinished {
                appends: appends as u64,
            }),
        }
    }
}

/// FNV-1a with 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): the same on every node, of
/// every version.
fn lane_hash(name: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    name.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}
