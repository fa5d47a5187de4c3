//! What waits for its commit, and who waits for that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftless_proto::name::DocumentName;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{ASIDE_MAX, CommitterHealth, CommitterStatus, PendingAppend};
use crate::metrics;
use crate::store::StoreError;

/// Appends in one batch: a transaction of some 50 ms at most, so that nobody waits long behind it.
pub(super) const BATCH_APPENDS_MAX: usize = 4_096;

/// Bytes in one batch, for the same reason. A single larger append goes alone.
pub(super) const BATCH_BYTES_MAX: u64 = 8 << 20;

/// What an append costs in memory beyond its update: name, origin, queue entry.
const APPEND_OVERHEAD_BYTES: u64 = 256;

/// The queue and its signals, shared by the handle and the task.
#[derive(Debug)]
pub(super) struct Shared {
    /// Names the lane in metrics.
    lane: String,
    state: Mutex<State>,
    /// Something was queued, or the queue was closed.
    work: Notify,
    /// A batch was finished.
    progress: Notify,
}

/// The queue. Everything submitted is counted until its batch is finished.
#[derive(Debug)]
pub(super) struct State {
    waiting: VecDeque<PendingAppend>,
    /// Documents that are committed beside the lane, with what came for them since.
    aside: HashMap<DocumentName, VecDeque<PendingAppend>>,
    /// Appends by document that wait or are being committed.
    unfinished: HashMap<DocumentName, usize>,
    unfinished_appends: usize,
    unfinished_bytes: u64,
    bytes_max: u64,
    is_stopped: bool,
    last_batch_appends: usize,
    last_commit: Duration,
    trouble: Option<(Instant, StoreError)>,
}

impl State {
    pub(super) fn has_room(&self) -> bool {
        self.unfinished_bytes < self.bytes_max
    }

    /// More than half of the bound waits although commits succeed.
    pub(super) fn is_behind(&self) -> bool {
        self.trouble.is_none() && self.unfinished_bytes > self.bytes_max / 2
    }

    pub(super) fn is_unfinished(&self, document: &DocumentName) -> bool {
        self.unfinished.contains_key(document)
    }

    fn take_batch(&mut self) -> Vec<PendingAppend> {
        take_from(&mut self.waiting)
    }
}

/// As many of the first appends as make a batch.
fn take_from(waiting: &mut VecDeque<PendingAppend>) -> Vec<PendingAppend> {
    let mut bytes = 0;
    let mut count = 0;
    for pending in waiting.iter().take(BATCH_APPENDS_MAX) {
        bytes += pending.append.waiting_bytes() as u64;
        if bytes > BATCH_BYTES_MAX && count > 0 {
            break;
        }
        count += 1;
    }
    waiting.drain(..count).collect()
}

impl Shared {
    pub(super) fn new(lane: usize, bytes_max: u64) -> Self {
        Self {
            lane: lane.to_string(),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                aside: HashMap::new(),
                unfinished: HashMap::new(),
                unfinished_appends: 0,
                unfinished_bytes: 0,
                bytes_max,
                is_stopped: false,
                last_batch_appends: 0,
                last_commit: Duration::ZERO,
                trouble: None,
            }),
            work: Notify::new(),
            progress: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, pending: PendingAppend) -> bool {
        let mut state = self.state();
        if state.is_stopped {
            return false;
        }
        let document = pending.append.document.clone();
        *state.unfinished.entry(document).or_default() += 1;
        state.unfinished_appends += 1;
        state.unfinished_bytes += cost(pending.append.waiting_bytes());
        match state.aside.get_mut(&pending.append.document) {
            Some(own) => own.push_back(pending),
            None => state.waiting.push_back(pending),
        }
        drop(state);
        self.work.notify_one();
        true
    }

    pub(super) fn stop(&self) {
        self.state().is_stopped = true;
        self.work.notify_one();
    }

    pub(super) fn has_room(&self) -> bool {
        self.state().has_room()
    }

    pub(super) fn is_behind(&self) -> bool {
        self.state().is_behind()
    }

    pub(super) fn is_unfinished(&self, document: &DocumentName) -> bool {
        self.state().is_unfinished(document)
    }

    /// Resolves when the condition holds; it is looked at after every batch.
    pub(super) async fn wait_until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let mut progress = std::pin::pin!(self.progress.notified());
            // Listening before looking: a batch that ends in between is not missed.
            progress.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            progress.await;
        }
    }

    /// The next batch in the order of submission, not before the given time; `None` once stopped
    /// and empty.
    pub(super) async fn next_batch(&self, not_before: Instant) -> Option<Vec<PendingAppend>> {
        // Nobody has to wake the task for an append that comes while it lingers.
        if self.may_linger() && Instant::now() < not_before {
            tokio::time::sleep_until(not_before).await;
        }
        loop {
            let (waiting, is_stopped) = {
                let state = self.state();
                (state.waiting.len(), state.is_stopped)
            };
            if waiting > 0 {
                return Some(self.state().take_batch());
            }
            if is_stopped {
                return None;
            }
            self.work.notified().await;
        }
    }

    /// Puts a document aside, with what waits of it; what comes joins it. False when as many as may be
    /// are already.
    pub(super) fn put_aside(&self, document: &DocumentName) -> bool {
        let mut state = self.state();
        if state.aside.len() >= ASIDE_MAX {
            return false;
        }
        let (own, others) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|pending| pending.append.document == *document);
        state.waiting = others;
        state.aside.insert(document.clone(), own);
        true
    }

    /// What came since for a document that is aside; when nothing did, it goes back to the lane.
    pub(super) fn next_aside(&self, document: &DocumentName) -> Option<Vec<PendingAppend>> {
        let mut state = self.state();
        let batch = take_from(state.aside.get_mut(document)?);
        if batch.is_empty() {
            state.aside.remove(document);
            return None;
        }
        Some(batch)
    }

    /// False when a whole batch waits, or nothing more comes.
    fn may_linger(&self) -> bool {
        let state = self.state();
        state.waiting.len() < BATCH_APPENDS_MAX && !state.is_stopped
    }

    /// Notes that these appends are settled, whichever way, and wakes who waits for that.
    pub(super) fn finish<'a>(&self, settled: impl Iterator<Item = (&'a DocumentName, usize)>) {
        let mut state = self.state();
        for (document, waiting_bytes) in settled {
            state.unfinished_appends -= 1;
            state.unfinished_bytes -= cost(waiting_bytes);
            if let Some(count) = state.unfinished.get_mut(document) {
                *count -= 1;
                if *count == 0 {
                    state.unfinished.remove(document);
                }
            }
        }
        let bytes = state.unfinished_bytes;
        drop(state);
        metrics::commit_queue(&self.lane, bytes);
        self.progress.notify_waiters();
    }

    pub(super) fn note_success(&self, appends: usize, took: Duration) {
        let mut state = self.state();
        state.last_batch_appends = appends;
        state.last_commit = took;
        let trouble = state.trouble.take();
        drop(state);
        if let Some((since, _)) = trouble {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!(seconds, "commits succeed again");
        }
    }

    pub(super) fn note_trouble(&self, error: &StoreError) {
        let mut state = self.state();
        let since = state.trouble.as_ref().map(|(since, _)| *since);
        state.trouble = Some((since.unwrap_or_else(Instant::now), error.clone()));
    }

    pub(super) fn status(&self) -> CommitterStatus {
        let state = self.state();
        CommitterStatus {
            queued_appends: state.unfinished_appends,
            queued_bytes: state.unfinished_bytes,
            last_batch_appends: state.last_batch_appends,
            last_commit: state.last_commit,
            health: match &state.trouble {
                None => CommitterHealth::Healthy,
                Some((since, error)) => CommitterHealth::Retrying {
                    since: since.elapsed(),
                    error: error.clone(),
                },
            },
        }
    }
}

fn cost(waiting_bytes: usize) -> u64 {
    waiting_bytes as u64 + APPEND_OVERHEAD_BYTES
}
