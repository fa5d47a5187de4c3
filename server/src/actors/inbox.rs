//! The bounded queue in front of one document, outside actix's mailbox.
//!
//! actix counts messages, not bytes, and gives every clone of an address a slot of its own; so the
//! mailbox carries only wake-ups, and what peers say waits here. A full inbox makes the socket
//! tasks stop reading, which reaches the writers as TCP backpressure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
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
    /// How many of the items are departures.
    departures: usize,
    /// What the actor in charge took for its turn and has not come to.
    taken: VecDeque<Item>,
    /// The number of the actor in charge.
    generation: u64,
    /// One waiting socket task a session.
    waiting: BTreeMap<SessionId, Waker>,
}

/// A queue bounded in bytes for what peers say. What the server itself adds (arrivals, departures,
/// at most one drain notice a session) is bounded by the number of sessions, and by the departures that
/// may wait.
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

    /// Queues that a session left. Of one whose arrival waits still, and who sent nothing that others
    /// would miss, nothing is left instead.
    pub(super) fn push_departure(&self, session: SessionId, clean: bool, slot: Arc<Slot>) {
        let is_known = slot.is_taken_over.load(Ordering::Acquire);
        let waiting = {
            let mut state = lock(&self.state);
            if is_known || !state.is_passing(session) {
                state.departures += 1;
                state.items.push_back(Item::Detach(session, clean, slot));
                return;
            }
            state.withdraw(session);
            std::mem::take(&mut state.waiting)
        };
        // There is room again, perhaps.
        waiting.into_values().for_each(Waker::wake);
    }

    /// Departures that wait.
    pub(super) fn departures(&self) -> usize {
        lock(&self.state).departures
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

    /// Takes everything for a turn of an actor, item by item from [`Self::next`], and lets those who wait
    /// for room go on. Returns whether there is anything. An actor that is not in charge gets nothing.
    pub(super) fn take(&self, generation: u64) -> bool {
        let (waiting, is_any) = {
            let mut state = lock(&self.state);
            if state.generation != generation {
                return false;
            }
            let State { items, taken, .. } = &mut *state;
            if taken.is_empty() {
                std::mem::swap(items, taken);
            } else {
                taken.append(items);
            }
            (state.bytes, state.departures) = (0, 0);
            (std::mem::take(&mut state.waiting), !state.taken.is_empty())
        };
        waiting.into_values().for_each(Waker::wake);
        is_any
    }

    /// The next thing to do in a turn of this actor, if it is in charge still.
    pub(super) fn next(&self, generation: u64) -> Option<Item> {
        let mut state = lock(&self.state);
        if state.generation != generation {
            return None;
        }
        state.taken.pop_front()
    }

    /// Puts another actor in charge. What the former one took and did not come to is its to do.
    pub(super) fn hand_over(&self, generation: u64) {
        let mut state = lock(&self.state);
        state.generation = generation;
        state.give_back();
    }

    /// Puts back what was taken for a turn that broke off, of an actor that is in charge still.
    pub(super) fn give_back(&self, generation: u64) {
        let mut state = lock(&self.state);
        if state.generation == generation {
            state.give_back();
        }
    }

    /// Drops everything that waits.
    pub(super) fn clear(&self) {
        let waiting = {
            let mut state = lock(&self.state);
            state.items.clear();
            state.taken.clear();
            (state.bytes, state.departures) = (0, 0);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Looks at all that waits, without taking it.
    pub(super) fn look(&self, see: impl FnMut(&Item)) {
        lock(&self.state).items.iter().for_each(see);
    }

    /// Messages and bytes that wait.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.items.len(), state.bytes)
    }
}

impl State {
    /// What was taken and not handled comes in front of what came since. The bound was checked when it
    /// came.
    fn give_back(&mut self) {
        let mut items = std::mem::take(&mut self.taken);
        self.bytes += items.iter().map(item_bytes).sum::<usize>();
        let is_departure = |item: &&Item| matches!(item, Item::Detach(..));
        self.departures += items.iter().filter(is_departure).count();
        items.append(&mut self.items);
        self.items = items;
    }

    /// Whether a session waits to be attached and sent nothing that others would miss: no change and
    /// nothing to be passed on.
    fn is_passing(&self, session: SessionId) -> bool {
        let mut arrives = false;
        for item in &self.items {
            match item {
                Item::Attach(arriving, _) => arrives |= *arriving == session,
                Item::Receive(sender, message) if *sender == session => match message {
                    Message::SyncStep2 { .. }
                    | Message::Update { .. }
                    | Message::Leftover { .. }
                    | Message::Stateless { .. } => return false,
                    Message::SyncStep1 { .. }
                    | Message::Presence { .. }
                    | Message::QueryPresence
                    | Message::SaveProbe { .. }
                    | Message::Pong
                    | Message::QueueSent => {}
                },
                _ => {}
            }
        }
        arrives
    }

    /// Takes out all that concerns a session.
    fn withdraw(&mut self, session: SessionId) {
        self.items.retain(|item| item.session() != Some(session));
        self.bytes = self.items.iter().map(item_bytes).sum();
    }
}

impl Item {
    /// Whom it concerns, if it is one session.
    fn session(&self) -> Option<SessionId> {
        match self {
            Self::Attach(session, _)
            | Self::Receive(session, _)
            | Self::Drained(session)
            | Self::Detach(session, ..)
            | Self::SetRights(session, _)
            | Self::Notify(session, _)
            | Self::End(session, _) => Some(*session),
            Self::Query(_) => None,
        }
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
        assert!(inbox.take(0));
        assert!(inbox.next(0).is_some() && inbox.next(0).is_none());
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

    fn lengths(inbox: &Inbox, generation: u64) -> Vec<usize> {
        inbox.take(generation);
        let next = || inbox.next(generation);
        std::iter::from_fn(next)
            .map(|item| item_bytes(&item) - MESSAGE_OVERHEAD_BYTES)
            .collect()
    }

    #[test]
    fn what_was_not_handled_comes_first_again() {
        let inbox = Inbox::new(1_000);
        for length in [1, 2] {
            assert!(inbox.try_push(SessionId(1), update(length)).is_ok());
        }
        assert!(inbox.take(0));
        assert!(inbox.next(0).is_some());
        assert!(inbox.try_push(SessionId(1), update(3)).is_ok());
        inbox.give_back(1);
        assert_eq!(inbox.depth().0, 1, "another is in charge");
        inbox.give_back(0);
        assert_eq!(inbox.depth(), (2, 2 + 3 + 2 * MESSAGE_OVERHEAD_BYTES));
        assert_eq!(lengths(&inbox, 0), [2, 3]);
    }

    #[test]
    fn who_is_not_in_charge_any_more_gets_nothing() {
        let inbox = Inbox::new(1_000);
        for length in [1, 2, 3] {
            assert!(inbox.try_push(SessionId(1), update(length)).is_ok());
        }
        assert!(inbox.take(0));
        assert!(inbox.next(0).is_some());
        inbox.hand_over(1);
        assert!(inbox.next(0).is_none() && !inbox.take(0));
        assert_eq!(lengths(&inbox, 1), [2, 3], "it is the successor's");
    }

    #[test]
    fn a_session_that_waits_is_woken_by_a_take() {
        let inbox = Inbox::new(100);
        let woken = std::sync::Arc::new(Flag::default());
        assert!(inbox.try_push(SessionId(1), update(200)).is_ok());
        assert!(!inbox.has_room_or_wake(SessionId(1), &Waker::from(woken.clone())));
        inbox.take(0);
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
