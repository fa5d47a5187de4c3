//! The outbox: bounds, order, wake-ups, and what comes after the last frame.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Takes once; the frames that came, what was said, and how often the waker has been called.
struct Socket {
    woken: Arc<CountingWaker>,
    frames: VecDeque<Bytes>,
}

impl Socket {
    fn new() -> Self {
        Self {
            woken: Arc::default(),
            frames: VecDeque::new(),
        }
    }

    fn take(&mut self, outbox: &Outbox) -> Poll<Taken> {
        let waker = Waker::from(self.woken.clone());
        self.frames.clear();
        outbox.poll_take(&mut Context::from_waker(&waker), &mut self.frames)
    }

    fn wakes(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }
}

fn frame(length: usize) -> Bytes {
    Bytes::from(vec![0; length])
}

#[test]
fn frames_come_out_in_order_and_all_at_once() {
    let outbox = Outbox::new(100);
    for text in ["a", "b", "c"] {
        assert_eq!(outbox.push(Bytes::from(text)), PushResult::Queued);
    }
    let mut socket = Socket::new();
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(socket.frames, ["a", "b", "c"]);
    assert_eq!(socket.take(&outbox), Poll::Pending);
}

#[test]
fn a_waiting_task_is_woken_once_until_it_takes() {
    let outbox = Outbox::new(100);
    let mut socket = Socket::new();
    assert_eq!(socket.take(&outbox), Poll::Pending);
    assert_eq!(socket.wakes(), 0);
    for _ in 0..5 {
        outbox.push(frame(1));
    }
    assert_eq!(socket.wakes(), 1);
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    outbox.push(frame(1));
    assert_eq!(
        socket.wakes(),
        1,
        "a task that is busy writing is not woken"
    );
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(socket.take(&outbox), Poll::Pending);
    outbox.push(frame(1));
    assert_eq!(socket.wakes(), 2);
}

#[test]
fn the_bound_counts_taken_bytes_until_they_are_written() {
    let outbox = Outbox::new(10);
    let mut socket = Socket::new();
    assert_eq!(outbox.push(frame(6)), PushResult::Queued);
    assert_eq!(outbox.push(frame(5)), PushResult::Full);
    assert_eq!(outbox.push(frame(4)), PushResult::Queued);
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(outbox.queued_bytes(), 10);
    assert_eq!(
        outbox.push(frame(1)),
        PushResult::Full,
        "taken is not written"
    );
    assert_eq!(socket.take(&outbox), Poll::Pending);
    assert_eq!(outbox.queued_bytes(), 0);
    assert_eq!(outbox.push(frame(1)), PushResult::Queued);
}

#[test]
fn one_frame_over_the_bound_is_allowed_into_an_empty_queue() {
    let outbox = Outbox::new(10);
    let mut socket = Socket::new();
    assert_eq!(outbox.push(frame(50)), PushResult::Queued);
    assert_eq!(outbox.push(frame(1)), PushResult::Full);
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(outbox.push(frame(50)), PushResult::Full);
    assert_eq!(socket.take(&outbox), Poll::Pending);
    assert_eq!(outbox.push(frame(50)), PushResult::Queued);
}

#[test]
fn drained_is_told_once_and_after_the_last_frame() {
    let outbox = Outbox::new(10);
    let mut socket = Socket::new();
    outbox.push(frame(10));
    outbox.want_drained();
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Drained));
    assert_eq!(socket.take(&outbox), Poll::Pending);
    outbox.want_drained();
    assert_eq!(socket.wakes(), 1, "an empty queue is drained at once");
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Drained));
}

#[test]
fn closing_waits_for_the_frames_and_keeps_the_first_reason() {
    let outbox = Outbox::new(10);
    let mut socket = Socket::new();
    assert_eq!(socket.take(&outbox), Poll::Pending);
    outbox.push(frame(1));
    outbox.close(CloseReason::Deleted);
    outbox.close(CloseReason::ShuttingDown);
    assert_eq!(outbox.push(frame(1)), PushResult::Closed);
    assert_eq!(socket.wakes(), 1);
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(
        socket.take(&outbox),
        Poll::Ready(Taken::Close(CloseReason::Deleted))
    );
}

#[test]
fn an_abandoned_queue_holds_nothing_and_takes_nothing() {
    let outbox = Outbox::new(10);
    outbox.push(frame(10));
    outbox.abandon();
    assert_eq!(outbox.queued_bytes(), 0);
    assert_eq!(outbox.push(frame(1)), PushResult::Closed);
}

#[test]
fn a_queue_gives_the_room_of_a_burst_back() {
    let outbox = Outbox::new(1 << 20);
    let mut socket = Socket::new();
    for _ in 0..1_000 {
        outbox.push(frame(1));
    }
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    socket.frames.clear();
    for _ in 0..2 {
        outbox.push(frame(1));
        assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
        assert_eq!(socket.take(&outbox), Poll::Pending);
    }
    assert!(outbox.lock().frames.capacity() <= IDLE_SLOTS_MAX);
}
