//! Documents that only relay: what a session says reaches all others of its document, and is kept
//! for the test to look at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use driftless::outbox::{Outbox, PushResult};
use driftless::session::{
    AttachError, AttachRequest, Beside, Documents, Encoding, Ended, Holder, ReceiveError,
    SessionHandle,
};
use driftless_proto::engine::{CloseReason, Rights};
use driftless_proto::wire::{Message, Notice, Outbound};

#[derive(Default)]
pub(crate) struct Rooms(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    rooms: HashMap<String, Vec<Member>>,
    next_id: u64,
    /// Names in the order of attaching.
    pub(crate) attached: Vec<String>,
    /// The door and address of each, in the same order.
    pub(crate) origins: Vec<String>,
    /// Payloads of all updates, in the order they came.
    pub(crate) received: Vec<Bytes>,
    /// The `clean` of each detach.
    pub(crate) detached: Vec<bool>,
    pub(crate) drained: usize,
    pub(crate) refuse: Option<AttachError>,
    /// No room for messages.
    pub(crate) full: bool,
    room_wakers: Vec<Waker>,
}

struct Member {
    id: u64,
    encoding: Encoding,
    outbox: Arc<Outbox>,
}

impl Rooms {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_full(&self, full: bool) {
        let mut state = self.state();
        state.full = full;
        for waker in state.room_wakers.drain(..) {
            waker.wake();
        }
    }

    pub(crate) fn outboxes(&self, name: &str) -> Vec<Arc<Outbox>> {
        let state = self.state();
        state.rooms[name]
            .iter()
            .map(|member| member.outbox.clone())
            .collect()
    }

    /// Queues an update for all of a room; what became of it, by member.
    pub(crate) fn broadcast(&self, name: &str, update: Bytes) -> Vec<PushResult> {
        self.state().relay(name, None, update)
    }
}

impl State {
    /// Encodes once and shares, as a document does.
    fn relay(&mut self, name: &str, except: Option<u64>, update: Bytes) -> Vec<PushResult> {
        let mut frame: Option<Bytes> = None;
        let message = Outbound::Update { update };
        let members = self.rooms.get(name).into_iter().flatten();
        members
            .filter(|member| Some(member.id) != except)
            .map(|member| {
                let frame = frame.get_or_insert_with(|| member.encoding.encode(&message));
                let result = member.outbox.push(frame.clone());
                member.outbox.flush(0);
                result
            })
            .collect()
    }
}

#[derive(Clone)]
pub(crate) struct SharedRooms(pub(crate) Arc<Rooms>);

impl Documents for SharedRooms {
    fn attach(&self, request: AttachRequest) -> Result<Box<dyn SessionHandle>, AttachError> {
        let mut state = self.0.state();
        if let Some(error) = state.refuse {
            return Err(error);
        }
        if !request.greeting.is_empty() {
            let _ = request.line.outbox.push_answer(request.greeting);
        }
        let name = request.document.as_str().to_owned();
        state.next_id += 1;
        let id = state.next_id;
        let member = Member {
            id,
            encoding: request.encoding,
            outbox: request.line.outbox,
        };
        state.attached.push(name.clone());
        state.origins.push(request.origin.door);
        state.rooms.entry(name.clone()).or_default().push(member);
        Ok(Box::new(Session {
            rooms: self.0.clone(),
            name,
            id,
            left: false,
        }))
    }
}

struct Session {
    rooms: Arc<Rooms>,
    name: String,
    id: u64,
    left: bool,
}

impl Session {
    fn leave(&mut self, clean: bool) {
        if !std::mem::replace(&mut self.left, true) {
            let mut state = self.rooms.state();
            state.detached.push(clean);
            if let Some(room) = state.rooms.get_mut(&self.name) {
                room.retain(|member| member.id != self.id);
            }
        }
    }
}

impl SessionHandle for Session {
    fn beside(&self) -> Beside {
        // As documents do, a session outlives the threads that accept connections.
        Box::new(|start| {
            std::thread::spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build().unwrap();
                runtime.block_on(async { start().await });
            });
        })
    }

    fn set_rights(&self, _: Rights) {}

    fn set_holder(&self, _: Holder) {}

    fn notify(&self, _: Notice) {}

    fn end(&self, _: CloseReason) {}

    fn try_receive(&mut self, message: Message) -> Result<(), ReceiveError> {
        let mut state = self.rooms.state();
        if state.full {
            return Err(ReceiveError::Full(message));
        }
        if let Message::Update { update } = message {
            state.received.push(update.clone());
            state.relay(&self.name, Some(self.id), update);
        }
        Ok(())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let mut state = self.rooms.state();
        if state.full {
            state.room_wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn drained(&self) {
        self.rooms.state().drained += 1;
    }

    fn detach(mut self: Box<Self>, clean: bool) {
        self.leave(clean);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave(false);
    }
}
