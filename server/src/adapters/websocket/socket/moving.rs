//! A socket's stream on its way to the thread of its document.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use crate::adapters::Movable;
use crate::outbox::Outbox;

/// A stream between two threads, known to its outbox all the way.
pub(super) struct Moving<I: Movable> {
    stream: Option<I::Moving>,
    outbox: Arc<Outbox>,
}

impl<I: Movable> Moving<I> {
    pub(super) fn depart(io: I, outbox: &Arc<Outbox>) -> io::Result<Self> {
        let stream = io.depart()?;
        outbox.set_stream(Some(stream.as_raw_fd()));
        Ok(Self {
            stream: Some(stream),
            outbox: outbox.clone(),
        })
    }

    /// `None` when this thread cannot take it, which closes it.
    pub(super) fn arrive(&mut self) -> Option<I> {
        self.outbox.set_stream(None);
        I::arrive(self.stream.take()?).ok()
    }
}

impl<I: Movable> Drop for Moving<I> {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.outbox.set_stream(None);
        }
    }
}
