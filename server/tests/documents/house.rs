//! A registry over a real SQLite store in a private folder.

use std::sync::Arc;

use bytes::Bytes;
use driftless::actors::{DocumentOptions, Registry};
#[cfg(feature = "fault-injection")]
use driftless::adapters;
use driftless::admin::live::LiveOperations;
use driftless::admin::stored::StoredOperations;
use driftless::bus::Bus;
use driftless::bus::local::LocalBus;
use driftless::clock::Clock;
use driftless::outbox::{Line, Outbox};
use driftless::session::{AttachRequest, EncodeFrame, Encoding, Holder};
use driftless::store::committer::{Committer, CommitterOptions};
use driftless::store::data_folder::DataFolder;
#[cfg(feature = "fault-injection")]
use driftless::store::faulty::FaultyStore;
use driftless::store::sqlite::SqliteStore;
use driftless::store::{Origin, Store};
use driftless_proto::engine::{Access, Acks, ClientIds, Relay, ReplicaOptions, Rights};
use driftless_proto::name::DocumentName;
use tempfile::TempDir;

/// Documents over a store of their own.
pub(crate) struct House {
    pub(crate) registry: Registry,
    pub(crate) committer: Committer,
    pub(crate) store: Arc<SqliteStore>,
    folder: Arc<TempDir>,
}

#[cfg(feature = "fault-injection")]
struct AlwaysReady;

#[cfg(feature = "fault-injection")]
impl adapters::http::Readiness for AlwaysReady {
    fn report(&self) -> adapters::http::ReadinessReport {
        adapters::http::ReadinessReport {
            is_ready: true,
            details: serde_json::Value::Null,
        }
    }
}

/// A request to join that a test changes as it likes: somebody without an identity who may write, asks
/// for acknowledgements by probes, and hears by `write`.
pub(crate) fn request(
    document: &DocumentName,
    write: EncodeFrame,
    outbox: &Arc<Outbox>,
) -> AttachRequest {
    AttachRequest {
        document: document.clone(),
        encoding: Encoding {
            write,
            address: Bytes::new(),
        },
        line: Line {
            outbox: outbox.clone(),
            id: 0,
        },
        greeting: Bytes::new(),
        origin: Origin::default(),
        holder: Holder::default(),
        access: Access {
            rights: Rights::Write,
            acks: Acks::Probes,
        },
    }
}

/// Options for tests: short times, small bounds.
pub(crate) fn options() -> DocumentOptions {
    DocumentOptions {
        replica: ReplicaOptions {
            relay: Relay::Immediate,
            document_bytes_max: 1 << 20,
            update_bytes_max: 1 << 20,
            chunk_bytes: 16 << 10,
            presence_timeout_ms: 30_000,
            presence_grace_ms: 200,
            presence_entry_bytes_max: 64 << 10,
            presence_entries_max: 64,
            presence_per_second_max: 200,
            presence_identity_field: None,
            stateless_bytes_max: 64 * 1024,
            client_ids: ClientIds::Free,
        },
        threads: 2,
        mailbox_bytes_max: 1 << 20,
        idle_ms: 200,
        resident_bytes_max: 1 << 30,
        sessions_per_document_max: 1_000,
        sessions_per_identity_max: 1_000,
        load_concurrency: 4,
        poll_ms: Some(200),
        load_patience_ms: 0,
        // Whoever is only slow is not stuck.
        stuck_timeout_ms: 30_000,
    }
}

/// The same for tests that wait until somebody is given up as stuck.
#[cfg(feature = "fault-injection")]
pub(crate) fn stuck_options() -> DocumentOptions {
    DocumentOptions {
        stuck_timeout_ms: 4_000,
        ..options()
    }
}

impl House {
    /// Opens a store and starts the documents. Must run inside an actix system.
    pub(crate) async fn open(options: DocumentOptions) -> Self {
        Self::open_over(options, CommitterOptions::default(), |store| store).await
    }

    /// The same with another committer, over what `wrap` makes of the store.
    pub(crate) async fn open_over(
        options: DocumentOptions,
        commits: CommitterOptions,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        let store = Arc::new(SqliteStore::open(&data).await.unwrap());
        let wrapped = wrap(store.clone());
        let bus = Arc::new(LocalBus::default());
        Self::over(Arc::new(folder), store, wrapped, commits, options, bus)
    }

    /// The same with another committer, over a store that fails on demand.
    #[cfg(feature = "fault-injection")]
    pub(crate) async fn open_faulty(commits: CommitterOptions) -> (Self, Arc<FaultyStore>) {
        Self::open_faulty_with(options(), commits).await
    }

    /// The same with other options.
    #[cfg(feature = "fault-injection")]
    pub(crate) async fn open_faulty_with(
        options: DocumentOptions,
        commits: CommitterOptions,
    ) -> (Self, Arc<FaultyStore>) {
        let mut faulty = None;
        let house = Self::open_over(options, commits, |store| {
            let wrapped = Arc::new(FaultyStore::new(store));
            faulty = Some(wrapped.clone());
            wrapped
        });
        let house = house.await;
        (house, faulty.unwrap())
    }

    /// Nodes with a store in common, that hear each other over what `bus` makes for each.
    pub(crate) async fn open_nodes(
        count: usize,
        bus: impl Fn(LocalBus) -> Arc<dyn Bus>,
    ) -> Vec<Self> {
        Self::open_nodes_with(options(), count, bus).await
    }

    /// The same with other options.
    pub(crate) async fn open_nodes_with(
        options: DocumentOptions,
        count: usize,
        bus: impl Fn(LocalBus) -> Arc<dyn Bus>,
    ) -> Vec<Self> {
        let first = Self::open(options.clone()).await;
        let shared = LocalBus::default();
        let node = |_| Self::over_store_of(&first, options.clone(), bus(shared.clone()));
        (0..count).map(node).collect()
    }

    /// The same, with presence that shows identities in this field.
    pub(crate) async fn open_nodes_showing(
        count: usize,
        field: &str,
        bus: impl Fn(LocalBus) -> Arc<dyn Bus>,
    ) -> Vec<Self> {
        let mut options = options();
        options.replica.presence_identity_field = Some(field.into());
        Self::open_nodes_with(options, count, bus).await
    }

    /// One more node over the store of another one.
    pub(crate) fn over_same_store(other: &Self, bus: Arc<dyn Bus>) -> Self {
        Self::over_store_of(other, options(), bus)
    }

    /// The same with other options.
    pub(crate) fn over_store_of(other: &Self, options: DocumentOptions, bus: Arc<dyn Bus>) -> Self {
        let (folder, store) = (other.folder.clone(), other.store.clone());
        let commits = CommitterOptions::default();
        Self::over(folder, store.clone(), store, commits, options, bus)
    }

    fn over(
        folder: Arc<TempDir>,
        store: Arc<SqliteStore>,
        wrapped: Arc<dyn Store>,
        commits: CommitterOptions,
        options: DocumentOptions,
        bus: Arc<dyn Bus>,
    ) -> Self {
        let committer = Committer::start(wrapped.clone(), commits);
        let clock = Clock::start();
        let registry = Registry::start(options, clock, wrapped, committer.clone(), bus);
        Self {
            registry,
            committer,
            store,
            folder,
        }
    }

    /// A door to the documents, at a free port.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn open_door(&self) -> adapters::Server {
        let behind = adapters::Behind {
            authority: driftless::auth::Authority::open(),
            restrictions: driftless::access::Restrictions::default(),
            operations: None,
            signer: None,
            documents: Arc::new(self.registry.clone()),
            readiness: Arc::new(AlwaysReady),
            metrics: None,
        };
        let options = adapters::AdapterOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            ..adapters::AdapterOptions::default()
        };
        adapters::serve(options, behind, Clock::start()).unwrap()
    }

    /// What an operator does with the documents.
    pub(crate) fn operations(&self) -> LiveOperations<StoredOperations> {
        let stored = StoredOperations::new(self.store.clone(), options().replica, Clock::start());
        LiveOperations::new(self.registry.clone(), Arc::new(stored))
    }
}

/// A name for a test's document.
pub(crate) fn name(text: &str) -> DocumentName {
    DocumentName::new(text).unwrap()
}

/// Runs a test inside an actix system, with a generous end.
pub(crate) fn in_system<F: Future<Output = ()>>(test: F) {
    let patience = std::time::Duration::from_secs(60);
    actix_rt::System::new().block_on(async {
        tokio::time::timeout(patience, test)
            .await
            .expect("the test takes too long");
    });
}
