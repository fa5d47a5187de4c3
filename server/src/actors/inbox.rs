//! The bounded queue in front of one document, outside actix's mailbox.
//!
//! actix counts messages, not bytes, and gives every clone of an address a slot of its own; so the
//! mailbox carries only wake-ups, and what peers say waits here. A full inbox makes the socket
//! tasks stop reading, which reaches the writers as TCP backpressure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use driftless_proto::engine::{CloseReason, Rights, SessionId};
use driftless_proto::wire::{Message, Notice};

use super::lock;
use super::query::Query;
use super::slot::Slot;

/// What a queued message costs besides its payload, so that tiny messages are bounded too.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// One thing for the document actor to do.
#[derive(Debug)]
pub(super) enum Item {
    /// A session was put into the cell's table.
    Attach(SessionId, Arc<Slot>),
    /// A peer said something.
    Receive(SessionId, Message),
    /// Everything queued for a session was written.
    Drained(SessionId),
    /// A session left the cell's table; true when its peer said goodbye.
    Detach(SessionId, bool, Arc<Slot>),
    /// What a session may do has changed.
    SetRights(SessionId, Rights),
    /// A session is to be told something.
    Notify(SessionId, Notice),
    /// A session is to be ended.
    End(SessionId, CloseReason),
    /// An operator or the server itself wants something.
    Query(Query),
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// One waiting socket task a session.
    waiting: BTreeMap<SessionId, Waker>,
}

/// A queue bounded in bytes for what peers say. What the server itself adds (arrivals, departures,
/// at most one drain notice a session) is bounded by the number of sessions.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes_max: usize,
    state: Mutex<State>,
}

impl Inbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
        }
    }

    /// Queues a peer's message; hands it back when there is no room. Room means that the bound is
    /// not reached yet, so that the most that ever waits is the bound and one message.
    pub(super) fn try_push(&self, session: SessionId, message: Message) -> Result<(), Message> {
        let mut state = lock(&self.state);
        if state.bytes >= self.bytes_max {
            return Err(message);
        }
        let item = Item::Receive(session, message);
        state.bytes += item_bytes(&item);
        state.items.push_back(item);
        Ok(())
    }

    /// Queues what the server itself adds.
    pub(super) fn push_own(&self, item: Item) {
        lock(&self.state).items.push_back(item);
    }

    /// True when a message would be taken; otherwise the waker is called as soon as
    /// that changes.
    pub(super) fn has_room_or_wake(&self, session: SessionId, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if state.bytes < self.bytes_max {
            return true;
        }
        state.waiting.insert(session, waker.clone());
        false
    }

    /// Takes everything into an empty queue and lets those who wait for room go on.
    pub(super) fn take(&self, into: &mut VecDeque<Item>) {
        let waiting = {
            let mut state = lock(&self.state);
            std::mem::swap(&mut state.items, into);
            state.bytes = 0;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Looks at all that waits, without taking it.
    pub(super) fn look(&self, see: impl FnMut(&Item)) {
        lock(&self.state).items.iter().for_each(see);
    }

    /// Puts back what was taken and not handled, in front of what came since. The bound was checked
    /// when it came.
    pub(super) fn give_back(&self, mut items: VecDeque<Item>) {
        let mut state = lock(&self.state);
        state.bytes += items.iter().map(item_bytes).sum::<usize>();
        items.append(&mut state.items);
        state.items = items;
    }

    /// Messages and bytes that wait.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.items.len(), state.bytes)
    }
}

/// What an item counts against the bound.
fn item_bytes(item: &Item) -> usize {
    let Item::Receive(_, message) = item else {
        return 0;
    };
    message.payload_bytes() + MESSAGE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn update(length: usize) -> Message {
        Message::Update {
            update: Bytes::from(vec![0; length]),
        }
    }

    #[test]
    fn a_full_inbox_hands_the_message_back_and_takes_it_after_a_take() {
        let inbox = Inbox::new(1_000);
        let session = SessionId(1);
        assert!(inbox.try_push(session, update(950)).is_ok());
        assert_eq!(inbox.try_push(session, update(100)), Err(update(100)));
        let mut items = VecDeque::new();
        inbox.take(&mut items);
        assert_eq!(items.len(), 1);
        assert!(inbox.try_push(session, update(100)).is_ok());
    }

    #[test]
    fn one_large_message_fits_into_an_empty_inbox() {
        let inbox = Inbox::new(1_000);
        assert!(inbox.try_push(SessionId(1), update(5_000)).is_ok());
        assert!(inbox.try_push(SessionId(1), update(0)).is_err());
    }

    #[test]
    fn messages_without_payload_are_bounded_too() {
        let inbox = Inbox::new(1_000);
        let taken = (0..100)
            .filter(|_| inbox.try_push(SessionId(1), Message::QueryPresence).is_ok())
            .count();
        assert_eq!(taken, 1_000_usize.div_ceil(MESSAGE_OVERHEAD_BYTES));
    }

    #[test]
    fn what_was_not_handled_comes_first_again() {
        let inbox = Inbox::new(1_000);
        let mut taken = VecDeque::new();
        for length in [1, 2] {
            assert!(inbox.try_push(SessionId(1), update(length)).is_ok());
        }
        inbox.take(&mut taken);
        taken.pop_front();
        assert!(inbox.try_push(SessionId(1), update(3)).is_ok());
        inbox.give_back(taken);
        assert_eq!(inbox.depth(), (2, 2 + 3 + 2 * MESSAGE_OVERHEAD_BYTES));
        let mut again = VecDeque::new();
        inbox.take(&mut again);
        let lengths: Vec<_> = again.iter().map(|item| item_bytes(item) - 64).collect();
        assert_eq!(lengths, [2, 3]);
    }

    #[test]
    fn a_session_that_waits_is_woken_by_a_take() {
        let inbox = Inbox::new(100);
        let woken = std::sync::Arc::new(Flag::default());
        assert!(inbox.try_push(SessionId(1), update(200)).is_ok());
        assert!(!inbox.has_room_or_wake(SessionId(1), &Waker::from(woken.clone())));
        inbox.take(&mut VecDeque::new());
        assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst));
    }

    #[derive(Default)]
    struct Flag(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
}
