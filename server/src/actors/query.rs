//! What operators and the server itself ask of a document actor.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// A question or order, answered through its channel; a dropped channel means that the actor was
/// replaced meanwhile and the caller may ask again.
#[derive(Debug)]
pub(super) enum Query {
    /// The whole state as one Yjs v1 update, once all it shows is durable.
    Export(oneshot::Sender<Bytes>),
    /// Delete the document: commit what waits, leave a tombstone, end all sessions.
    Delete(oneshot::Sender<Result<u64, StoreError>>),
    /// Forget the replica and load it again from the store.
    Reload(oneshot::Sender<()>),
    /// Do something harmful, for tests.
    #[cfg(feature = "fault-injection")]
    Fault(Fault),
}

/// Harm on demand.
#[cfg(feature = "fault-injection")]
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Panic inside the actor.
    Panic,
    /// Block the actor's thread for this long.
    Stall {
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// Panic once the engine has taken in the next change, before anything of that is performed.
    PanicOverChange,
    /// The same with blocking.
    StallOverChange {
        /// How long, in milliseconds.
        for_ms: u64,
    },
}

#[cfg(feature = "fault-injection")]
impl Fault {
    /// Whether it waits for the next change.
    pub(super) fn waits_for_change(self) -> bool {
        matches!(self, Self::PanicOverChange | Self::StallOverChange { .. })
    }

    /// Does it.
    #[allow(clippy::panic)]
    pub(super) fn perform(self) {
        match self {
            Self::Panic | Self::PanicOverChange => panic!("a panic that a test asked for"),
            Self::Stall { for_ms } | Self::StallOverChange { for_ms } => {
                std::thread::sleep(std::time::Duration::from_millis(for_ms));
            }
        }
    }
}
