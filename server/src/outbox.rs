//! The bounded queue of encoded frames from documents to one socket.
//!
//! A socket may carry several sessions, each of its own document; each has a [`Line`] of the outbox.
//! A document pushes frames it has encoded once for all sockets and flushes when it has pushed all.
//! If the socket is served by the same thread and its task has nothing under way, a flush writes the
//! frames at once, which spares a switch of tasks for each delivery; what the socket does not take,
//! and the frames of any other socket, are left to its task, which takes all that wait and writes
//! them together. Neither call blocks, and the task is woken at most once until it takes. When the
//! bound is reached the document is told `Full`, sends that session nothing more, and resyncs it from
//! its state vector once the socket has taken everything.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use bytes::Bytes;
use driftless_proto::engine::CloseReason;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};

/// A burst may leave a queue with room for many frames; more than this many slots (32 bytes each)
/// are given back when it runs empty, so that a quiet socket stays small.
const IDLE_SLOTS_MAX: usize = 32;

/// A flush gathers at most this many bytes of several frames; more is left to the task.
const GATHER_BYTES_MAX: usize = 16 * 1024;

/// What was written to a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of frames.
    pub bytes: usize,
    /// Frames of which the last byte was written.
    pub frames: usize,
}

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

/// One of the sessions of a socket, by a number that the socket gave it.
pub type LineId = u32;

/// What of a session's access is looked at again; the greater includes the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recheck {
    /// The restrictions on what was granted.
    Restrictions,
    /// All of it: who grants is asked again.
    Grant,
}

/// What the socket's task finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Frames to write, in order.
    Frames,
    /// All frames before this were taken; the document has ended this session.
    Ended(LineId, CloseReason),
    /// Nothing is left to write, and the documents of these sessions asked to be told.
    Drained(Vec<LineId>),
    /// All frames were taken; close for this reason.
    Close(CloseReason),
}

/// A session's part of an outbox.
#[derive(Debug, Clone)]
pub struct Line {
    /// The queue, which all sessions of the socket share.
    pub outbox: Arc<Outbox>,
    /// Which session it is.
    pub id: LineId,
}

impl Line {
    /// Asks to be told once everything was written, see [`Outbox::want_drained`].
    pub fn want_drained(&self) {
        self.outbox.want_drained(self.id);
    }

    /// Has the session show again that it may be here.
    pub fn recheck(&self, what: Recheck) {
        self.outbox.recheck(self.id, what);
    }

    /// Ends the session after what is queued was written.
    pub fn end(&self, reason: CloseReason) {
        self.outbox.end(self.id, reason);
    }
}

/// A bounded queue of encoded frames, shared by documents and one socket task.
#[derive(Debug)]
pub struct Outbox {
    bytes_max: usize,
    is_severed: AtomicBool,
    /// A flush ended inside a frame: its rest has to be written before anything else.
    has_rest: AtomicBool,
    /// More answers wait than a peer may leave untaken; looked at before every read, so without a lock.
    is_overfull: AtomicBool,
    /// Sessions have to show again that they may be here; looked at like that, too.
    has_rechecks: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// What stands before the first frame and behind it; `None` once that has come.
    around_first: Option<[Bytes; 2]>,
    frames: VecDeque<Bytes>,
    /// Bytes in `frames`.
    queued_bytes: usize,
    /// Bytes of the last take; they count until the task comes back, which it does once all of
    /// them are written.
    unwritten_bytes: usize,
    /// The part of each that answers make up.
    queued_answer_bytes: usize,
    unwritten_answer_bytes: usize,
    /// Bounded, as the others, by the sessions of the socket.
    wants_drained: Vec<LineId>,
    ended: VecDeque<(LineId, CloseReason)>,
    rechecks: BTreeMap<LineId, Recheck>,
    close: Option<CloseReason>,
    gone: bool,
    waker: Option<Waker>,
    /// The same while the peer takes nothing: what is pushed does not wake the task then.
    blocked_waker: Option<Waker>,
    /// The stream below, while it is surely open.
    stream: Option<RawFd>,
    /// The thread that may write to the stream directly: the task's own.
    direct_thread: Option<ThreadId>,
    /// The task has written all it had and waits to be woken.
    is_parked: bool,
    /// What a flush left of the frame it ended in.
    rest: Option<Bytes>,
    /// When a flush last wrote something.
    flushed_ms: u64,
}

impl Outbox {
    /// An empty queue that holds at most `bytes_max` bytes of frames, taken but unwritten ones
    /// included.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            is_severed: AtomicBool::new(false),
            has_rest: AtomicBool::new(false),
            is_overfull: AtomicBool::new(false),
            has_rechecks: AtomicBool::new(false),
            queue: Mutex::default(),
        })
    }

    /// Has the first frame, whoever pushes it, stand between these two.
    pub fn surround_first(&self, before: Bytes, behind: Bytes) {
        self.lock().around_first = Some([before, behind]);
    }

    /// For the socket's task, when it says something on its own account: what has to stand around it.
    pub fn take_around_first(&self) -> Option<[Bytes; 2]> {
        self.lock().around_first.take()
    }

    /// Queues a frame; [`Self::flush`] has to follow, once for any number of them. A single frame larger
    /// than the bound is allowed into an empty queue.
    pub fn push(&self, frame: Bytes) -> PushResult {
        let mut queue = self.lock();
        if queue.gone || queue.close.is_some() {
            return PushResult::Closed;
        }
        let held = queue.queued_bytes + queue.unwritten_bytes;
        if held > 0 && held + frame.len() > self.bytes_max {
            return PushResult::Full;
        }
        queue.push(frame);
        PushResult::Queued
    }

    /// Queues a frame that nothing can make good later, whatever waits. Each answers something that
    /// the peer sent, and who lets too much wait is not read ([`Outbox::is_overfull`]): that bounds it.
    pub fn push_answer(&self, frame: Bytes) -> PushResult {
        let mut queue = self.lock();
        if queue.gone || queue.close.is_some() {
            return PushResult::Closed;
        }
        queue.queued_answer_bytes += frame.len();
        queue.push(frame);
        self.note_answers(&queue);
        PushResult::Queued
    }

    /// The peer takes none of its answers, so it should not be read.
    pub fn is_overfull(&self) -> bool {
        self.is_overfull.load(Ordering::Acquire)
    }

    fn note_answers(&self, queue: &Queue) {
        let held = queue.queued_answer_bytes + queue.unwritten_answer_bytes;
        self.is_overfull
            .store(held > self.bytes_max, Ordering::Release);
    }

    /// Sees to it that what was pushed gets written: by this call, or by the task.
    pub fn flush(&self, now_ms: u64) -> Written {
        let mut queue = self.lock();
        let written = queue.write_directly(now_ms);
        if queue.frames.is_empty() && queue.queued_answer_bytes > 0 {
            // What is left of the last frame, if anything, is less than one answer.
            queue.queued_answer_bytes = 0;
            self.note_answers(&queue);
        }
        if queue.rest.is_some() {
            self.has_rest.store(true, Ordering::Release);
        }
        if queue.frames.is_empty() && queue.rest.is_none() && queue.wants_drained.is_empty() {
            return written;
        }
        wake(queue);
        written
    }

    /// Asks for [`SessionHandle::drained`](crate::session::SessionHandle::drained) once everything
    /// was taken and written: after `Full`, and between the parts of a large initial state.
    pub fn want_drained(&self, line: LineId) {
        let mut queue = self.lock();
        if !queue.wants_drained.contains(&line) {
            queue.wants_drained.push(line);
        }
        wake(queue);
    }

    /// Ends one session after what is queued was written; the socket decides what becomes of the
    /// others.
    pub fn end(&self, line: LineId, reason: CloseReason) {
        let mut queue = self.lock();
        if !queue.gone {
            queue.ended.push_back((line, reason));
        }
        wake(queue);
    }

    /// Has a session show again that it may be here, whatever waits to be written to its peer.
    pub fn recheck(&self, line: LineId, what: Recheck) {
        let mut queue = self.lock();
        if queue.gone {
            return;
        }
        let wanted = queue.rechecks.entry(line).or_insert(what);
        *wanted = what.max(*wanted);
        self.has_rechecks.store(true, Ordering::Release);
        let blocked = queue.blocked_waker.take();
        wake(queue);
        if let Some(waker) = blocked {
            waker.wake();
        }
    }

    /// For the socket's task, before anything else: the sessions that have to show again that they
    /// may be here.
    pub fn take_rechecks(&self) -> BTreeMap<LineId, Recheck> {
        // Looked at in every poll: a read costs less than an exchange.
        if !self.has_rechecks.load(Ordering::Acquire) {
            return BTreeMap::new();
        }
        let mut queue = self.lock();
        self.has_rechecks.store(false, Ordering::Release);
        std::mem::take(&mut queue.rechecks)
    }

    /// Ends the connection after what is queued was written. The first reason stays.
    pub fn close(&self, reason: CloseReason) {
        let mut queue = self.lock();
        queue.close.get_or_insert(reason);
        wake(queue);
    }

    /// Ends the connection from outside, without a word: its task does not come to an end by itself
    /// in time, or the thread it runs on is stuck.
    pub fn sever(&self) {
        self.is_severed.store(true, Ordering::Release);
        let queue = self.lock();
        if let Some(stream) = queue.stream {
            // It may be broken already, which is as good.
            let _ = shutdown(stream, Shutdown::Both);
        }
        wake(queue);
    }

    /// For the socket's task: whether it has to end at once.
    pub fn is_severed(&self) -> bool {
        self.is_severed.load(Ordering::Acquire)
    }

    /// For the socket's task: the stream that [`Outbox::sever`] shuts down; `None` before it is
    /// closed, since its number may then be given to another.
    pub fn set_stream(&self, stream: Option<RawFd>) {
        self.lock().stream = stream;
    }

    /// For the socket's task: flushes on the calling thread, which is its own, may write to the
    /// stream. Only where the bytes of frames are what goes over the stream.
    pub fn allow_direct_writes(&self) {
        self.lock().direct_thread = Some(thread::current().id());
    }

    /// For the socket's task, when it goes on later with something half-written: until it comes back
    /// to take more, nobody else may write.
    pub fn unpark(&self) {
        self.lock().is_parked = false;
    }

    /// The same, when the peer takes nothing: the task comes back when it does, or for a recheck.
    pub fn block(&self, cx: &mut Context<'_>) {
        let mut queue = self.lock();
        queue.is_parked = false;
        queue.blocked_waker = Some(cx.waker().clone());
        if !queue.rechecks.is_empty() {
            // It came since the task looked.
            cx.waker().wake_by_ref();
        }
    }

    /// For the socket's task, before it writes anything: the rest of a frame that has begun.
    pub fn take_rest(&self) -> Option<Bytes> {
        if !self.has_rest.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.lock().rest.take()
    }

    /// When a flush last wrote something, in milliseconds of the clock it was told.
    pub fn flushed_ms(&self) -> u64 {
        self.lock().flushed_ms
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
        queue.is_parked = false;
        queue.unwritten_bytes = std::mem::take(&mut queue.queued_bytes);
        if queue.queued_answer_bytes + queue.unwritten_answer_bytes > 0 {
            queue.unwritten_answer_bytes = std::mem::take(&mut queue.queued_answer_bytes);
            self.note_answers(&queue);
        }
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
        if let Some((line, reason)) = queue.ended.pop_front() {
            return Poll::Ready(Taken::Ended(line, reason));
        }
        if !queue.wants_drained.is_empty() {
            return Poll::Ready(Taken::Drained(std::mem::take(&mut queue.wants_drained)));
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
        queue.is_parked = true;
        queue.blocked_waker = None;
        if !queue.rechecks.is_empty() {
            // It came since the task looked.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// For the socket's task: nothing will be written any more. Frees the frames; later pushes are
    /// answered `Closed`.
    pub fn abandon(&self) {
        let mut queue = self.lock();
        self.is_overfull.store(false, Ordering::Release);
        *queue = Queue {
            gone: true,
            stream: queue.stream,
            rest: queue.rest.take(),
            ..Queue::default()
        };
    }

    /// A panic elsewhere cannot leave the queue half-changed, so a poisoned lock is as good.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, frame: Bytes) {
        let Some([before, behind]) = self.around_first.take() else {
            self.queued_bytes += frame.len();
            return self.frames.push_back(frame);
        };
        self.queued_bytes += before.len() + frame.len() + behind.len();
        self.frames.extend([before, frame, behind]);
    }

    /// Writes what waits, if it is little and the task would do nothing else.
    fn write_directly(&mut self, now_ms: u64) -> Written {
        let may = self.is_parked && self.direct_thread == Some(thread::current().id());
        let Some(stream) = self.stream.filter(|_| may) else {
            return Written::default();
        };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = match self.frames.make_contiguous() {
            [] => return Written::default(),
            [only] => send(stream, only, flags),
            _ if self.queued_bytes > GATHER_BYTES_MAX => return Written::default(),
            several => send(stream, &several.concat(), flags),
        };
        // A stream that takes nothing now, or is broken, is for the task to find out about.
        let bytes = sent.unwrap_or(0);
        if bytes > 0 {
            self.flushed_ms = now_ms;
        }
        self.advance(bytes)
    }

    fn advance(&mut self, bytes: usize) -> Written {
        let mut written = Written { bytes, frames: 0 };
        self.queued_bytes -= bytes;
        let mut left = bytes;
        while left > 0
            && let Some(mut frame) = self.frames.pop_front()
        {
            if left < frame.len() {
                self.is_parked = false;
                let rest = frame.split_off(left);
                self.queued_bytes -= rest.len();
                self.unwritten_bytes += rest.len();
                self.rest = Some(rest);
                break;
            }
            left -= frame.len();
            written.frames += 1;
        }
        written
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
