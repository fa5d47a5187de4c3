//! The thread on which keys are fetched and the hook is asked.
//!
//! Questions come from many threads with runtimes of their own, each of which may stall or end. What
//! they wait for goes on here, so that a dropped question loses nothing others wait for, and pooled
//! connections belong to a thread that only does this.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Owns the thread; dropping it ends the thread and everything on it.
#[derive(Debug)]
pub(super) struct Worker {
    handle: Handle,
    /// Dropping it is the sign to stop.
    _stop: oneshot::Sender<()>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            let _ = runtime.block_on(stopped);
            // Looking up a name blocks a thread that cannot be interrupted; nobody waits for it.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("auth".into());
        thread.spawn(run)?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }

    /// Runs a task there until it ends or the worker is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}
