//! The outbox: bounds, order, wake-ups, and what comes after the last frame.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
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
fn what_surrounds_the_first_frame_surrounds_no_other() {
    for answers in [false, true] {
        let outbox = Outbox::new(100);
        outbox.surround_first(Bytes::from("one"), Bytes::from("two"));
        let mut socket = Socket::new();
        assert_eq!(socket.take(&outbox), Poll::Pending, "alone it says nothing");
        for text in ["a", "b"] {
            let _ = match answers {
                true => outbox.push_answer(Bytes::from(text)),
                false => outbox.push(Bytes::from(text)),
            };
        }
        assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
        assert_eq!(socket.frames, ["one", "a", "two", "b"]);
        assert_eq!(outbox.take_around_first(), None);
    }
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
    assert_eq!(socket.wakes(), 0, "not before all is pushed");
    outbox.flush(0);
    outbox.flush(0);
    assert_eq!(socket.wakes(), 1);
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    outbox.push(frame(1));
    outbox.flush(0);
    assert_eq!(
        socket.wakes(),
        1,
        "a task that is busy writing is not woken"
    );
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(socket.take(&outbox), Poll::Pending);
    outbox.push(frame(1));
    outbox.flush(0);
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
    outbox.want_drained(0);
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Drained(vec![0])));
    assert_eq!(socket.take(&outbox), Poll::Pending);
    outbox.want_drained(0);
    assert_eq!(socket.wakes(), 1, "an empty queue is drained at once");
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Drained(vec![0])));
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

/// Two ends of a stream; the second is read by the tests.
fn streams() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn read(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        bytes.extend_from_slice(&part[..count]);
    }
    bytes
}

/// An outbox whose task waits and may be written past by this thread.
fn parked(bytes_max: usize, stream: &UnixStream) -> (Arc<Outbox>, Socket) {
    let outbox = Outbox::new(bytes_max);
    outbox.set_stream(Some(stream.as_raw_fd()));
    outbox.allow_direct_writes();
    let mut socket = Socket::new();
    assert_eq!(socket.take(&outbox), Poll::Pending);
    (outbox, socket)
}

#[test]
fn a_flush_writes_past_a_task_that_waits() {
    let (ours, mut theirs) = streams();
    let (outbox, socket) = parked(100, &ours);
    for text in ["a", "bc"] {
        outbox.push(Bytes::from(text));
    }
    let wanted = Written {
        bytes: 3,
        frames: 2,
    };
    assert_eq!(outbox.flush(7), wanted);
    assert_eq!(read(&mut theirs), b"abc");
    assert_eq!((socket.wakes(), outbox.flushed_ms()), (0, 7));
    assert_eq!(outbox.queued_bytes(), 0);
}

#[test]
fn a_flush_leaves_to_the_task_what_others_must_not_write() {
    type Spoil = fn(&Outbox);
    let cases: [(&str, Spoil); 3] = [
        ("the task is in the middle of a write", Outbox::unpark),
        ("the stream is closed", |outbox| outbox.set_stream(None)),
        ("more waits than is gathered", |outbox| {
            for _ in 0..2 {
                outbox.push(frame(GATHER_BYTES_MAX));
            }
        }),
    ];
    for (case, spoil) in cases {
        let (ours, mut theirs) = streams();
        let (outbox, socket) = parked(1 << 20, &ours);
        spoil(&outbox);
        outbox.push(frame(5));
        assert_eq!(outbox.flush(0), Written::default(), "{case}");
        assert!(read(&mut theirs).is_empty(), "{case}");
        assert_eq!(socket.wakes(), 1, "{case}");
    }
    let (ours, mut theirs) = streams();
    let (outbox, _socket) = parked(100, &ours);
    outbox.push(frame(5));
    let elsewhere = std::thread::spawn(move || outbox.flush(0));
    assert_eq!(elsewhere.join().unwrap(), Written::default());
    assert!(read(&mut theirs).is_empty(), "another thread");
}

#[test]
fn what_the_stream_does_not_take_is_written_by_the_task_from_where_the_flush_ended() {
    let (ours, mut theirs) = streams();
    let (outbox, mut socket) = parked(64 << 20, &ours);
    let large: Vec<u8> = (0..8 << 20).map(|place: u32| place as u8).collect();
    outbox.push(large.clone().into());
    let written = outbox.flush(0);
    assert!(written.bytes > 0 && written.bytes < large.len());
    assert_eq!((written.frames, socket.wakes()), (0, 1));
    outbox.push(Bytes::from("next"));
    assert_eq!(outbox.flush(0), Written::default(), "not inside a frame");
    assert_eq!(outbox.queued_bytes(), large.len() - written.bytes + 4);
    outbox.abandon();
    let rest = outbox.take_rest().unwrap();
    assert_eq!(outbox.take_rest(), None);
    let mut whole = read(&mut theirs);
    whole.extend_from_slice(&rest);
    assert!(whole == large, "also when the session is over");
    assert_eq!(socket.take(&outbox), Poll::Pending);
}

#[test]
fn a_severed_connection_ends_for_the_peer_and_for_the_task() {
    let (ours, mut theirs) = streams();
    let (outbox, socket) = parked(100, &ours);
    assert!(!outbox.is_severed());
    outbox.sever();
    assert!(outbox.is_severed());
    assert_eq!(socket.wakes(), 1);
    assert_eq!(
        theirs.read(&mut [0; 1]).unwrap(),
        0,
        "the end of the stream"
    );
}

#[test]
fn a_session_is_looked_at_once_and_as_much_as_anybody_wants() {
    let outbox = Outbox::new(100);
    outbox.recheck(7, Recheck::Restrictions);
    outbox.recheck(7, Recheck::Grant);
    outbox.recheck(7, Recheck::Restrictions);
    outbox.recheck(3, Recheck::Restrictions);
    let wanted = [(3, Recheck::Restrictions), (7, Recheck::Grant)];
    assert_eq!(outbox.take_rechecks(), wanted.into());
    assert_eq!(outbox.take_rechecks(), BTreeMap::new());
}

#[test]
fn a_recheck_wakes_the_task_whether_its_peer_reads_or_not() {
    let (ours, _theirs) = streams();
    let (outbox, socket) = parked(100, &ours);
    outbox.recheck(0, Recheck::Restrictions);
    assert_eq!(socket.wakes(), 1);
    assert_eq!(outbox.take_rechecks().len(), 1);

    let waker = Waker::from(socket.woken.clone());
    outbox.block(&mut Context::from_waker(&waker));
    assert_eq!(outbox.push(frame(1)), PushResult::Queued);
    outbox.flush(0);
    assert_eq!(socket.wakes(), 1, "frames wait for the peer");
    outbox.recheck(0, Recheck::Restrictions);
    assert_eq!(socket.wakes(), 2);
    outbox.block(&mut Context::from_waker(&waker));
    assert_eq!(socket.wakes(), 3, "it came before the task was blocked");
}

#[test]
fn answers_are_queued_whatever_waits_and_a_peer_that_takes_none_is_not_read() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(500)), PushResult::Queued);
    assert_eq!(outbox.push(frame(1)), PushResult::Full);
    assert!(!outbox.is_overfull(), "one large frame is no reason");
    for _ in 0..10 {
        assert_eq!(outbox.push_answer(frame(10)), PushResult::Queued);
    }
    assert!(!outbox.is_overfull());
    assert_eq!(outbox.push_answer(frame(1)), PushResult::Queued);
    assert!(outbox.is_overfull());
    let mut socket = Socket::new();
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    assert_eq!(socket.frames.len(), 12);
    assert!(outbox.is_overfull(), "they are taken and not written");
    assert_eq!(socket.take(&outbox), Poll::Pending);
    assert!(!outbox.is_overfull());
    outbox.abandon();
    assert_eq!(outbox.push_answer(frame(1)), PushResult::Closed);
}

#[test]
fn sessions_end_one_by_one_behind_what_was_queued() {
    let outbox = Outbox::new(100);
    let line = |id| Line {
        outbox: outbox.clone(),
        id,
    };
    let mut socket = Socket::new();
    assert_eq!(outbox.push(frame(1)), PushResult::Queued);
    line(7).end(CloseReason::Deleted);
    line(3).want_drained();
    line(5).want_drained();
    line(3).want_drained();
    assert_eq!(socket.take(&outbox), Poll::Ready(Taken::Frames));
    let ended = Taken::Ended(7, CloseReason::Deleted);
    assert_eq!(socket.take(&outbox), Poll::Ready(ended));
    let drained = Taken::Drained(vec![3, 5]);
    assert_eq!(socket.take(&outbox), Poll::Ready(drained));
    assert_eq!(socket.take(&outbox), Poll::Pending);
    assert_eq!(
        outbox.push(frame(1)),
        PushResult::Queued,
        "the others go on"
    );
}
