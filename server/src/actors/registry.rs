//! All documents in memory by name: attach, restart, evict, operate.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use actix::{Actor, Addr};
use bytes::Bytes;
use driftless_proto::engine::SessionId;
use driftless_proto::name::DocumentName;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::cell::{Added, DocumentCell};
use super::document::{DocumentActor, Suspects};
use super::handle::CellHandle;
use super::held::HeldBytes;
use super::inbox::Item;
use super::placement::Placement;
use super::query::Query;
use super::seats::{Seat, Seats};
use super::slot::Slot;
use super::supervisor::Supervisor;
use super::{DocumentOptions, Shared, lock, poller};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::metrics;
use crate::session::{AttachError, AttachRequest, Documents, SessionHandle};
use crate::store::committer::Committer;
use crate::store::{Store, StoreError};

/// The first pause before an actor that failed again is replaced; doubled each time. Meanwhile its
/// sessions stay as they are: what they send waits in the inbox, and once that is full their sockets are
/// not read. They are told when the document is frozen.
const BACKOFF_FIRST_MS: u64 = 100;
/// The longest pause.
const BACKOFF_MAX_MS: u64 = 30_000;
/// The longest pause before a load that failed is tried again, where something waits to be stored: who
/// joins waits for it.
const LOAD_BACKOFF_MAX_MS: u64 = 5_000;
/// Failures in a row without a found cause after which a document is frozen.
const FAILURES_MAX: u64 = 5;
/// How often an operator's question is asked again when the actor is replaced meanwhile.
const ASKS_MAX: usize = 3;

/// Why and with what an actor is replaced.
#[derive(Debug)]
pub(super) struct Restart {
    /// Updates that were under way, to be tried one by one.
    pub(super) suspects: Suspects,
    pub(super) cause: Cause,
}

/// Why an actor is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It was found and removed: this is no sign of a broken document.
    Explained,
    /// The actor failed, and nobody knows over what.
    Failed,
    /// The store refuses its changes for good. Their senders have them still and bring them again, so
    /// that without a pause this would go round and round.
    Unstorable,
    /// It could not be loaded, and something is held that is to be stored: tried for as long as it takes.
    Unloadable,
}

impl Cause {
    /// What it is to an operator, when it happened so often in a row.
    fn reason(self, failures: u64) -> String {
        match self {
            Self::Unstorable => {
                format!("its changes could not be stored {failures} times in a row")
            }
            _ => format!("its actor failed {failures} times in a row"),
        }
    }
}

/// Why a question to a document was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The document cannot be loaded, or its actor is replaced again and again.
    #[error("the document is not available right now; try again")]
    Unavailable,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The documents of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

/// A registry that an actor does not keep alive.
#[derive(Debug, Clone)]
pub(super) struct WeakRegistry(Weak<Inner>);

impl WeakRegistry {
    pub(super) fn upgrade(&self) -> Option<Registry> {
        self.0.upgrade().map(Registry)
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) placement: Arc<Placement>,
    pub(super) cells: Mutex<HashMap<DocumentName, Arc<DocumentCell>>>,
    next_session: AtomicU64,
    seats: Arc<Seats>,
    closing: AtomicBool,
    /// Looks after the documents until [`Registry::stop`].
    supervisor: Mutex<Option<Addr<Supervisor>>>,
    /// Ends by itself once the registry is gone, and before that with [`Registry::stop`].
    poller: Mutex<Option<JoinHandle<()>>>,
}

impl Registry {
    /// Starts the document threads and the supervisor; must be called inside an actix system.
    pub fn start(
        options: DocumentOptions,
        clock: Clock,
        store: Arc<dyn Store>,
        committer: Committer,
        bus: Arc<dyn Bus>,
    ) -> Self {
        let placement = Arc::new(Placement::start(options.threads));
        let seats = Seats::new(options.sessions_per_identity_max);
        let load_permits = Semaphore::new(options.load_concurrency.max(1));
        let held_bytes = HeldBytes::new(options.resident_bytes_max);
        let shared = Arc::new(Shared {
            options,
            clock,
            store,
            committer,
            bus,
            node: fastrand::u64(..),
            presence_number: AtomicU64::new(1),
            load_permits,
            held_bytes,
        });
        let registry = Self(Arc::new(Inner {
            shared,
            placement,
            cells: Mutex::default(),
            next_session: AtomicU64::new(1),
            seats,
            closing: AtomicBool::new(false),
            supervisor: Mutex::new(None),
            poller: Mutex::new(None),
        }));
        if let Some(poll_ms) = registry.0.shared.options.poll_ms {
            let every = Duration::from_millis(poll_ms);
            let poller = tokio::spawn(poller::run(registry.downgrade(), every));
            *lock(&registry.0.poller) = Some(poller);
        }
        let supervisor = Supervisor::new(registry.downgrade()).start();
        *lock(&registry.0.supervisor) = Some(supervisor);
        registry
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    fn downgrade(&self) -> WeakRegistry {
        WeakRegistry(Arc::downgrade(&self.0))
    }

    /// The state of a document as one Yjs v1 update, once all it shows is durable.
    pub async fn export(&self, document: &DocumentName) -> Result<Bytes, QueryError> {
        self.ask(document, Query::Export).await
    }

    /// Deletes a document and returns its new epoch; its sessions are told.
    pub async fn delete(&self, document: &DocumentName) -> Result<u64, QueryError> {
        Ok(self.ask(document, Query::Delete).await??)
    }

    /// Loads a document again from the store; its sessions stay. Nothing to do when it is not in
    /// memory.
    pub async fn reload(&self, document: &DocumentName) -> Result<(), QueryError> {
        if lock(&self.0.cells).contains_key(document) {
            self.ask(document, Query::Reload).await?;
        }
        Ok(())
    }

    /// Does harm to a document, for tests.
    #[cfg(feature = "fault-injection")]
    pub fn harm(&self, document: &DocumentName, fault: super::Fault) {
        let cell = self.cell(document);
        cell.inbox.push_own(Item::Query(Query::Fault(fault)));
        cell.wake();
    }

    /// Sessions attached to a document; `None` when it is not in memory.
    pub fn session_count(&self, document: &DocumentName) -> Option<usize> {
        lock(&self.0.cells)
            .get(document)
            .map(|cell| cell.session_count())
    }

    /// Threads that were given up because a document was stuck on them.
    pub fn abandoned_threads(&self) -> usize {
        self.0.placement.abandoned()
    }

    /// Refuses new sessions from now on; those there are go on until their sockets end.
    pub fn refuse_sessions(&self) {
        self.0.closing.store(true, Ordering::Release);
    }

    /// Resolves when every session left and all they sent was handed to the committer.
    pub async fn wait_drained(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(5);
        loop {
            let cells: Vec<_> = lock(&self.0.cells).values().cloned().collect();
            let quiet = cells.iter().all(|cell| {
                cell.session_count() == 0
                    && cell.inbox.depth().0 == 0
                    && cell.busy_since_ms.load(Ordering::Acquire) == 0
            });
            if quiet {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Stops the document threads.
    pub fn stop(&self) {
        // Actors go with their threads: nobody is to replace them.
        lock(&self.0.supervisor).take();
        if let Some(poller) = lock(&self.0.poller).take() {
            poller.abort();
        }
        self.0.placement.stop();
    }

    /// Whether [`Self::stop`] was called.
    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.0.supervisor).is_none()
    }

    /// Asks a document's actor, again if the actor is replaced before it answers.
    async fn ask<T>(
        &self,
        document: &DocumentName,
        query: impl Fn(oneshot::Sender<T>) -> Query,
    ) -> Result<T, QueryError> {
        for _ in 0..ASKS_MAX {
            let (reply, answer) = oneshot::channel();
            let cell = self.cell(document);
            cell.inbox.push_own(Item::Query(query(reply)));
            cell.wake();
            drop(cell);
            if let Ok(answer) = answer.await {
                return Ok(answer);
            }
        }
        Err(QueryError::Unavailable)
    }

    /// The cell of a document, with an actor under way.
    fn cell(&self, document: &DocumentName) -> Arc<DocumentCell> {
        let mut cells = lock(&self.0.cells);
        if let Some(cell) = cells.get(document) {
            return cell.clone();
        }
        let shared = &self.0.shared;
        let bytes_max = shared.options.mailbox_bytes_max;
        let cell = Arc::new(DocumentCell::new(
            document.clone(),
            self.0.placement.clone(),
            bytes_max,
            shared.clock.now_ms(),
        ));
        cells.insert(document.clone(), cell.clone());
        drop(cells);
        self.start_actor(&cell, Suspects::new());
        cell
    }

    /// Starts the next actor of a cell on its thread.
    pub(super) fn start_actor(&self, cell: &Arc<DocumentCell>, suspects: Suspects) {
        let generation = cell.next_generation();
        let thread = cell.thread_handle();
        let (cell, shared, weak) = (cell.clone(), self.0.shared.clone(), self.downgrade());
        thread.spawn_fn(move || {
            let actor =
                DocumentActor::new(cell.clone(), shared.clone(), weak, generation, suspects);
            let now_ms = shared.clock.now_ms();
            cell.install(generation, actor.start(), now_ms);
        });
    }

    /// Replaces an actor that failed, after a pause that grows with every failure in a row.
    pub(super) fn restart(&self, cell: &Arc<DocumentCell>, restart: Restart) {
        metrics::restarted();
        let (count, pause_max_ms) = match restart.cause {
            Cause::Explained => (None, 0),
            Cause::Failed | Cause::Unstorable => (Some(&cell.failures), BACKOFF_MAX_MS),
            Cause::Unloadable => (Some(&cell.failed_loads), LOAD_BACKOFF_MAX_MS),
        };
        let failures = count.map_or(0, |count| count.fetch_add(1, Ordering::AcqRel));
        let pause_ms = match failures {
            0 => 0,
            again => (BACKOFF_FIRST_MS << again.min(16)).min(pause_max_ms),
        };
        let is_broken = matches!(restart.cause, Cause::Failed | Cause::Unstorable);
        let freeze = is_broken && failures + 1 >= FAILURES_MAX;
        let (registry, cell) = (self.clone(), cell.clone());
        let generation = cell.generation();
        actix::Arbiter::current().spawn(async move {
            if freeze {
                registry
                    .freeze(&cell, restart.cause.reason(failures + 1))
                    .await;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            if cell.generation() == generation {
                registry.start_actor(&cell, restart.suspects);
            }
        });
    }

    /// Quarantines a document whose actor keeps failing.
    async fn freeze(&self, cell: &DocumentCell, reason: String) {
        tracing::error!(document = %cell.name, reason, "document quarantined");
        metrics::quarantined();
        if let Err(error) = self
            .0
            .shared
            .store
            .set_quarantine(&cell.name, Some(&reason))
            .await
        {
            tracing::warn!(document = %cell.name, %error, "quarantine could not be written");
        }
    }

    /// Counts a session of an identity; nobody knows how many sessions of others are one person's.
    fn seat(&self, request: &AttachRequest) -> Result<Option<Seat>, AttachError> {
        let Some(subject) = &request.holder.subject else {
            return Ok(None);
        };
        let seat = self.0.seats.take(subject);
        if seat.is_none() {
            metrics::refused("sessions_per_identity");
            return Err(AttachError::IdentityFull);
        }
        Ok(seat)
    }

    /// Takes a cell out of memory, if it is the one that is there.
    pub(super) fn remove(&self, cell: &Arc<DocumentCell>) {
        let mut cells = lock(&self.0.cells);
        if cells
            .get(&cell.name)
            .is_some_and(|known| Arc::ptr_eq(known, cell))
        {
            cells.remove(&cell.name);
        }
    }
}

impl Documents for Registry {
    fn attach(&self, request: AttachRequest) -> Result<Box<dyn SessionHandle>, AttachError> {
        if self.0.closing.load(Ordering::Acquire) {
            return Err(AttachError::ShuttingDown);
        }
        let seat = self.seat(&request)?;
        let session = SessionId(self.0.next_session.fetch_add(1, Ordering::Relaxed));
        let document = request.document.clone();
        let slot = Arc::new(Slot::new(request, self.0.shared.clock.wall_ms()));
        loop {
            let cell = self.cell(&document);
            let sessions_max = self.0.shared.options.sessions_per_document_max;
            match cell.add_session(session, slot.clone(), sessions_max) {
                Added::Here => return Ok(Box::new(CellHandle::new(cell, session, seat))),
                Added::Full => {
                    metrics::refused("sessions_per_document");
                    return Err(AttachError::DocumentFull);
                }
                Added::Busy => {
                    metrics::refused("departures");
                    return Err(AttachError::Unavailable);
                }
                // It left memory between the two steps; the next look-up makes a new one.
                Added::Gone => self.remove(&cell),
            }
        }
    }
}
