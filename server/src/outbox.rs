//! The bounded queue of encoded frames from a document to one socket.
//!
//! A document pushes frames it has encoded once for all sockets; the socket's task takes all that
//! wait at once and writes them together. Pushing never blocks and wakes the task at most once
//! until it takes. When the bound is reached the document is told `Full`, sends that session
//! nothing more, and resyncs it from its state vector once the socket has taken everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use driftless_proto::engine::CloseReason;

/// A burst may leave a queue with room for many frames; more than this many slots (32 bytes each)
/// are given back when it runs empty, so that a quiet socket stays small.
const IDLE_SLOTS_MAX: usize = 32;

/// What became of a pushed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushResult {
    /// It will be written.
    Queued,
    /// It does not fit and was not queued.
    Full,
    /// The socket is closing or gone.
    Closed,
}

/// What the socket's task finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Frames to write, in order.
    Frames,
    /// Nothing is left to write, and the document asked to be told.
    Drained,
    /// All frames were taken; close for this reason.
    Close(CloseReason),
}

/// A bounded queue of encoded frames, shared by one document and one socket task.
#[derive(Debug)]
pub struct Outbox {
    bytes_max: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Bytes in `frames`.
    queued_bytes: usize,
    /// Bytes of the last take; they count until the task comes back, which it does once all of
    /// them are written.
    unwritten_bytes: usize,
    wants_drained: bool,
    close: Option<CloseReason>,
    gone: bool,
    waker: Option<Waker>,
}

impl Outbox {
    /// An empty queue that holds at most `bytes_max` bytes of frames, taken but unwritten ones
    /// included.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            queue: Mutex::default(),
        })
    }

    /// Queues a frame. A single frame larger than the bound is allowed into an empty queue.
    pub fn push(&self, frame: Bytes) -> PushResult {
        let mut queue = self.lock();
        if queue.gone || queue.close.is_some() {
            return PushResult::Closed;
        }
        let held = queue.queued_bytes + queue.unwritten_bytes;
        if held > 0 && held + frame.len() > self.bytes_max {
            return PushResult::Full;
        }
        queue.queued_bytes += frame.len();
        queue.frames.push_back(frame);
        wake(queue);
        PushResult::Queued
    }

    /// Asks for [`SessionHandle::drained`](crate::session::SessionHandle::drained) once everything
    /// was taken and written: after `Full`, and between the parts of a large initial state.
    pub fn want_drained(&self) {
        let mut queue = self.lock();
        queue.wants_drained = true;
        wake(queue);
    }

    /// Ends the session after what is queued was written. The first reason stays.
    pub fn close(&self, reason: CloseReason) {
        let mut queue = self.lock();
        queue.close.get_or_insert(reason);
        wake(queue);
    }

    /// Bytes of frames that are not written yet.
    pub fn queued_bytes(&self) -> usize {
        let queue = self.lock();
        queue.queued_bytes + queue.unwritten_bytes
    }

    /// For the socket's task, when it has written all it took before: moves all waiting frames
    /// behind those in `into`, or says what else there is to do.
    pub fn poll_take(&self, cx: &mut Context<'_>, into: &mut VecDeque<Bytes>) -> Poll<Taken> {
        let mut queue = self.lock();
        queue.unwritten_bytes = std::mem::take(&mut queue.queued_bytes);
        if !queue.frames.is_empty() {
            if into.is_empty() {
                std::mem::swap(&mut queue.frames, into);
            } else {
                into.append(&mut queue.frames);
            }
            return Poll::Ready(Taken::Frames);
        }
        if queue.frames.capacity() > IDLE_SLOTS_MAX {
            queue.frames = VecDeque::new();
        }
        if std::mem::take(&mut queue.wants_drained) {
            return Poll::Ready(Taken::Drained);
        }
        if let Some(reason) = queue.close {
            return Poll::Ready(Taken::Close(reason));
        }
        if !queue
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            queue.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// For the socket's task: nothing will be written any more. Frees the frames; later pushes are
    /// answered `Closed`.
    pub fn abandon(&self) {
        let mut queue = self.lock();
        *queue = Queue {
            gone: true,
            ..Queue::default()
        };
    }

    /// A panic elsewhere cannot leave the queue half-changed, so a poisoned lock is as good.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the task, if it waits, after the lock was released.
fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
