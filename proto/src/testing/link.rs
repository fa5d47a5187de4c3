//! One WebSocket connection: two ordered directions with delays, a send window, and the server's
//! bounded queue in front of it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::engine::{CloseReason, SessionId};

/// What the client's end of a link receives.
#[derive(Debug, Clone)]
pub(super) enum Down {
    Frame(Bytes),
    Close(CloseReason),
}

/// What the server's end of a link receives.
#[derive(Debug, Clone)]
pub(super) enum Up {
    Frame(Bytes),
    /// The client closes the connection in good order.
    Goodbye,
}

/// What became of a frame given to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    Queued,
    Full,
    Closed,
}

/// A connection; ends notice its end independently of each other.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) session: SessionId,
    /// The epoch of the document that it was opened for.
    pub(super) epoch: u64,
    pub(super) delay_ms: (u64, u64),
    /// Frames on their way, with the time at which they arrive at the earliest.
    pub(super) up: VecDeque<(u64, Up)>,
    down: VecDeque<(u64, Down)>,
    down_bytes: usize,
    window_bytes: usize,
    /// The client does not read before this time.
    pub(super) stalled_until_ms: u64,
    /// When the client's end is looked at next.
    pub(super) looks_at_ms: Option<u64>,
    /// Nothing passes any more.
    pub(super) cut: bool,
    /// The ends that know or made its end.
    pub(super) client_closed: bool,
    pub(super) server_closed: bool,
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
    outbox_bytes_max: usize,
    wants_drained: bool,
    closing: Option<CloseReason>,
}

impl Link {
    pub(super) fn new(
        client: usize,
        session: SessionId,
        delay_ms: (u64, u64),
        window_bytes: usize,
        outbox_bytes_max: usize,
    ) -> Self {
        Self {
            client,
            session,
            epoch: 0,
            delay_ms,
            up: VecDeque::new(),
            down: VecDeque::new(),
            down_bytes: 0,
            window_bytes,
            stalled_until_ms: 0,
            looks_at_ms: None,
            cut: false,
            client_closed: false,
            server_closed: false,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            outbox_bytes_max,
            wants_drained: false,
            closing: None,
        }
    }

    /// The server queues a frame; a single large one is allowed into an empty queue.
    pub(super) fn push(&mut self, frame: Bytes) -> Push {
        if self.server_closed || self.closing.is_some() {
            return Push::Closed;
        }
        let held = self.outbox_bytes;
        if held > 0 && held + frame.len() > self.outbox_bytes_max {
            return Push::Full;
        }
        self.outbox_bytes += frame.len();
        self.outbox.push_back(frame);
        Push::Queued
    }

    pub(super) fn want_drained(&mut self) {
        self.wants_drained = true;
    }

    /// The server ends the session after what is queued was written.
    pub(super) fn close(&mut self, reason: CloseReason) {
        self.closing.get_or_insert(reason);
    }

    /// Moves frames from the queue to the wire as far as the window allows. `arrives_ms` is when
    /// they get there. Returns whether a frame is under way now.
    pub(super) fn write(&mut self, arrives_ms: u64) -> bool {
        if self.server_closed {
            return false;
        }
        let mut wrote = false;
        while self.down_bytes < self.window_bytes
            && let Some(frame) = self.outbox.pop_front()
        {
            self.outbox_bytes -= frame.len();
            self.put(arrives_ms, Down::Frame(frame));
            wrote = true;
        }
        if self.outbox.is_empty()
            && let Some(reason) = self.closing
        {
            self.put(arrives_ms, Down::Close(reason));
            self.server_closed = true;
            wrote = true;
        }
        wrote
    }

    fn put(&mut self, arrives_ms: u64, item: Down) {
        // Nothing overtakes on one connection.
        let after_ms = self.down.back().map_or(0, |(at_ms, _)| *at_ms);
        if let Down::Frame(frame) = &item {
            self.down_bytes += frame.len();
        }
        if !self.cut {
            self.down.push_back((arrives_ms.max(after_ms), item));
        }
    }

    /// Whether the queue's owner is to be told that all of it was written; told once.
    pub(super) fn take_drained(&mut self) -> bool {
        let written = self.outbox.is_empty() && self.down_bytes < self.window_bytes;
        written && !self.server_closed && std::mem::take(&mut self.wants_drained)
    }

    /// The next item that has arrived at the client, or when to look again.
    pub(super) fn arrived(&mut self, now_ms: u64) -> Result<Down, Option<u64>> {
        let Some((at_ms, _)) = self.down.front() else {
            return Err(None);
        };
        let at_ms = (*at_ms).max(self.stalled_until_ms);
        if at_ms > now_ms {
            return Err(Some(at_ms));
        }
        let Some((_, item)) = self.down.pop_front() else {
            return Err(None);
        };
        if let Down::Frame(frame) = &item {
            self.down_bytes -= frame.len();
        }
        Ok(item)
    }

    /// The client sends; returns when it arrives.
    pub(super) fn send(&mut self, arrives_ms: u64, item: Up) -> u64 {
        let after_ms = self.up.back().map_or(0, |(at_ms, _)| *at_ms);
        let at_ms = arrives_ms.max(after_ms);
        if !self.cut {
            self.up.push_back((at_ms, item));
        }
        at_ms
    }

    /// Everything in flight is lost, and nothing passes any more.
    pub(super) fn sever(&mut self) {
        self.cut = true;
        self.up.clear();
        self.down.clear();
    }

    /// Whether anything is under way that will arrive.
    pub(super) fn is_busy(&self) -> bool {
        let open = !self.cut && !self.client_closed;
        open && (!self.up.is_empty() || !self.down.is_empty() || !self.outbox.is_empty())
    }
}
