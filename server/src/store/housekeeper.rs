//! Keeps logs short: builds snapshots, moves the horizon of history, gives space back.
//!
//! One task, one document at a time, from stored data only. Decisions are in `compaction.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::round::Rounds;
use super::Store;
use super::compaction::{COMPACT_APPENDS, COMPACT_BYTES, HISTORY_BYTES_MAX, HISTORY_MS, LogBounds};

mod round;
#[cfg(test)]
mod tests;

/// Tells the wall clock, in milliseconds since 1970.
pub type NowMs = dyn Fn() -> u64 + Send + Sync;

/// Builds the state of a document (one Yjs v1 update) from an earlier state and the appends after
/// it, decodes the result into a fresh replica and compares. It may panic on hostile data.
pub type BuildSnapshot = dyn Fn(Option<&[u8]>, &[Bytes]) -> Result<Bytes, String> + Send + Sync;

/// What the housekeeper may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HousekeeperOptions {
    /// How long appends are kept as history.
    pub history_ms: u64,
    /// Bytes of history kept per document.
    pub history_bytes_max: u64,
    /// Appends after the newest snapshot from which a new one is built.
    pub compact_appends: u64,
    /// Bytes after the newest snapshot from which a new one is built.
    pub compact_bytes: u64,
    /// The pause between two rounds over all documents.
    pub pause: Duration,
}

impl Default for HousekeeperOptions {
    fn default() -> Self {
        Self {
            history_ms: HISTORY_MS,
            history_bytes_max: HISTORY_BYTES_MAX,
            compact_appends: COMPACT_APPENDS,
            compact_bytes: COMPACT_BYTES,
            // A busy document gathers some thousand appends meanwhile: a load of milliseconds.
            pause: Duration::from_secs(15),
        }
    }
}

/// The handle of the housekeeping task; the task ends with it.
#[derive(Debug)]
pub struct Housekeeper {
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Housekeeper {
    /// Starts the task on the current tokio runtime.
    pub fn start(
        store: Arc<dyn Store>,
        options: HousekeeperOptions,
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
        build: impl Fn(Option<&[u8]>, &[Bytes]) -> Result<Bytes, String> + Send + Sync + 'static,
    ) -> Self {
        let bounds = LogBounds {
            history_ms: options.history_ms,
            history_bytes_max: options.history_bytes_max,
            compact_appends: options.compact_appends,
            compact_bytes: options.compact_bytes,
        };
        let rounds = Rounds::new(store, bounds, Arc::new(now_ms), Arc::new(build));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(rounds, options.pause, stopped));
        Self {
            stop,
            task: Mutex::new(Some(task)),
        }
    }

    /// Ends the task; work on a document that is under way is given up, which loses nothing.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Some(task) = self.take_task() {
            // It returns at its next step, and cannot fail otherwise than by being aborted.
            let _ = task.await;
        }
    }

    fn take_task(&self) -> Option<JoinHandle<()>> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.take()
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        if let Some(task) = self.take_task() {
            task.abort();
        }
    }
}

async fn run(mut rounds: Rounds, pause: Duration, mut stopped: watch::Receiver<bool>) {
    let work = async {
        loop {
            tokio::time::sleep(pause).await;
            rounds.round().await;
        }
    };
    tokio::select! {
        // A dropped sender means the same.
        _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
        () = work => {}
    }
}
