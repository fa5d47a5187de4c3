//! A session's side of its document: what a socket holds, and lets go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use driftless_proto::engine::{CloseReason, Rights, SessionId};
use driftless_proto::wire::{Message, Notice};

use super::cell::DocumentCell;
use super::inbox::Item;
use super::lock;
use super::seats::Seat;
use super::wakes::wake_soon;
use crate::session::{Beside, Ended, Holder, ReceiveError, SessionHandle};

/// A session's side of its document.
#[derive(Debug)]
pub(super) struct CellHandle {
    cell: Arc<DocumentCell>,
    session: SessionId,
    detached: bool,
    _seat: Option<Seat>,
}

impl CellHandle {
    pub(super) fn new(cell: Arc<DocumentCell>, session: SessionId, seat: Option<Seat>) -> Self {
        Self {
            cell,
            session,
            detached: false,
            _seat: seat,
        }
    }

    fn leave(&mut self, clean: bool) {
        if !std::mem::replace(&mut self.detached, true) {
            self.cell.remove_session(self.session, clean);
        }
    }
}

impl SessionHandle for CellHandle {
    fn beside(&self) -> Beside {
        if let Some(slot) = self.cell.slot(self.session) {
            slot.is_beside.store(true, Ordering::Release);
        }
        let thread = self.cell.thread_handle();
        // A thread that has ended drops the task, which ends the connection and its sessions.
        Box::new(move |start| {
            thread.spawn_fn(move || {
                actix_rt::spawn(start());
            });
        })
    }

    fn try_receive(&mut self, message: Message) -> Result<(), ReceiveError> {
        self.cell
            .inbox
            .try_push(self.session, message)
            .map_err(ReceiveError::Full)?;
        wake_soon(&self.cell);
        Ok(())
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self
            .cell
            .inbox
            .has_room_or_wake(self.session, context.waker())
        {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn drained(&self) {
        self.cell.inbox.push_own(Item::Drained(self.session));
        wake_soon(&self.cell);
    }

    fn set_rights(&self, rights: Rights) {
        self.cell.set_rights(self.session, rights);
    }

    fn set_holder(&self, holder: Holder) {
        if let Some(slot) = self.cell.slot(self.session) {
            *lock(&slot.holder) = holder;
        }
    }

    fn notify(&self, notice: Notice) {
        self.cell.inbox.push_own(Item::Notify(self.session, notice));
        wake_soon(&self.cell);
    }

    fn end(&self, reason: CloseReason) {
        self.cell.end_session(self.session, reason);
    }

    fn detach(mut self: Box<Self>, clean: bool) {
        self.leave(clean);
    }
}

impl Drop for CellHandle {
    fn drop(&mut self) {
        self.leave(false);
    }
}
