//! The composition of a server: settings in, a running server, a graceful end.
//!
//! ```text
//!  data folder ─▶ store ─▶ committer ─▶ registry ─▶ doors
//!                   └─▶ housekeeper        └─▶ admin socket
//! ```
//!
//! They stop in the opposite order: the doors say goodbye, what peers sent before is handled and
//! committed, and only then the store closes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::access::{Keeper, KeeperOptions};
use crate::actors::{DocumentOptions, Registry};
use crate::adapters::http::{Readiness, ReadinessReport};
use crate::adapters::tls::{CertificateError, Tls};
use crate::adapters::{self, AdapterOptions, Behind, Limits};
use crate::admin::Operations;
use crate::admin::access::live::LiveAccess;
use crate::admin::access::stored::StoredAccess;
use crate::admin::live::LiveOperations;
use crate::admin::server::AdminSocket;
use crate::admin::stored::StoredOperations;
use crate::auth::{AuthError, Authority, Signer};
use crate::backends;
use crate::bus::{Bus, BusError};
use crate::clock::Clock;
use crate::config::parts::{certificate_files, replica_options};
use crate::config::{Settings, StoreLocation};
use crate::signals::StopRequest;
use crate::store::committer::{Committer, CommitterOptions};
use crate::store::data_folder::DataFolder;
use crate::store::housekeeper::{Housekeeper, HousekeeperOptions};
use crate::store::{Store, StoreError};
use crate::{logging, metrics, process, signals};
use driftless_proto::engine::build_snapshot;

/// A database server that restarts or fails over is back within it; those who join meanwhile wait
/// instead of being sent away again and again.
const SHARED_STORE_PATIENCE_MS: u64 = 60_000;

/// What is left of the time to stop, however long documents took to come to rest: a healthy store commits
/// in less.
const COMMIT_TIME_MIN: Duration = Duration::from_secs(1);

/// How long the housekeeper may take to hear that it is to stop.
const HOUSEKEEPER_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the metrics recorder folds its histograms.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Why the server did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder or its database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus cannot be used as it is configured.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Nobody can decide who may connect as the settings want it.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {error}; is another server running there?")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the operating system said.
        error: io::Error,
    },
    /// The doors are to speak TLS and have no usable certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The admin socket cannot be made.
    #[error("the admin socket cannot be made in the data folder: {0}")]
    Admin(io::Error),
    /// Something else of the operating system failed.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A second server in one process.
    #[error("metrics are recorded already in this process: {0}")]
    Metrics(String),
    /// Not everything could be committed in time.
    #[error(
        "stopped before {appends} appends could be committed; their senders were not told that they are saved"
    )]
    Unfinished {
        /// Appends that were still queued.
        appends: u64,
    },
}

/// Runs a server until it is told to stop.
pub fn serve(settings: Settings) -> Result<(), ServeError> {
    let system = actix_rt::System::new();
    let result = system.block_on(run(settings));
    actix_rt::System::current().stop();
    result
}

async fn run(settings: Settings) -> Result<(), ServeError> {
    let stop = signals::listen()?;
    process::log_panics();
    process::raise_open_files_limit();
    let clock = Clock::start();
    let (recorder, upkeep) = start_metrics()?;
    let tls = load_certificate(&settings, clock)?;
    let folder = DataFolder::open(&settings.data)?;
    let opened = backends::open_store(&settings, &folder).await?;
    let (id, fingerprint) = (opened.cluster_id.as_deref(), opened.fingerprint.as_deref());
    let bus = backends::join_bus(&settings, id, fingerprint).await?;
    let store = opened.store;
    let committer = Committer::start(store.clone(), committer_options(&settings, opened.lanes));
    let housekeeper = start_housekeeper(&settings, clock, store.clone());
    let registry = Registry::start(
        document_options(&settings),
        clock,
        store.clone(),
        committer.clone(),
        bus.clone(),
    );
    let stored = StoredOperations::new(store.clone(), replica_options(&settings), clock);
    let operations = Arc::new(LiveOperations::new(registry.clone(), Arc::new(stored)));
    let keeper = start_keeper(&settings, clock, &store, &bus, &registry).await?;
    let authority = Authority::from_settings(&settings, clock)?;
    let behind = Behind {
        documents: Arc::new(registry.clone()),
        authority,
        restrictions: keeper.restrictions().clone(),
        operations: Some(operations.clone()),
        signer: Signer::from_settings(&settings)?,
        readiness: Arc::new(Ready {
            committer: committer.clone(),
            registry: registry.clone(),
            bus,
        }),
        metrics: Some(recorder),
    };
    let address = settings.listen;
    let options = AdapterOptions {
        tls,
        ..adapter_options(&settings)
    };
    let doors = adapters::serve(options, behind, clock)
        .map_err(|error| ServeError::Listen { address, error })?;
    let access = StoredAccess::new(store.clone(), clock);
    let operations = Operations {
        documents: operations,
        access: Arc::new(LiveAccess::new(keeper, access)),
    };
    let admin = start_admin(&settings, operations, &folder, &stop)?;
    logging::announce(&settings, doors.address(), &admin.path);

    stop.requested().await;
    registry.refuse_sessions();
    doors.stop().await?;
    let ends_at = Instant::now() + Duration::from_millis(settings.shutdown_timeout_ms);
    if tokio::time::timeout_at(ends_at, registry.wait_drained())
        .await
        .is_err()
    {
        tracing::warn!(
            "documents did not come to rest in time; what they hold is not acknowledged"
        );
    }
    // Stopped by the same request; it lets running commands finish for a few seconds.
    let _ = admin.task.await;
    upkeep.abort();
    finish(registry, committer, housekeeper, &*store, ends_at).await
}

async fn finish(
    registry: Registry,
    committer: Committer,
    housekeeper: Housekeeper,
    store: &dyn Store,
    ends_at: Instant,
) -> Result<(), ServeError> {
    let left = ends_at.saturating_duration_since(Instant::now());
    let committed = committer.shutdown(left.max(COMMIT_TIME_MIN)).await;
    registry.stop();
    // Work that does not end is given up, which loses nothing.
    let _ = tokio::time::timeout(HOUSEKEEPER_STOP_TIMEOUT, housekeeper.stop()).await;
    store.close().await?;
    if let Err(unfinished) = committed {
        return Err(ServeError::Unfinished {
            appends: unfinished.appends,
        });
    }
    tracing::info!("stopped; everything is committed");
    Ok(())
}

/// The admin socket at work.
struct Admin {
    path: std::path::PathBuf,
    task: JoinHandle<()>,
}

fn start_admin(
    settings: &Settings,
    operations: Operations,
    folder: &DataFolder,
    stop: &StopRequest,
) -> Result<Admin, ServeError> {
    let socket = AdminSocket::bind(folder.path()).map_err(ServeError::Admin)?;
    let path = socket.path().to_owned();
    let stop = stop.clone();
    let serve = socket.serve(operations, settings.frame_bytes_max, async move {
        stop.requested().await;
    });
    let task = actix_rt::spawn(serve);
    Ok(Admin { path, task })
}

/// Whoever keeps what operators took back; in force before anybody may come in.
async fn start_keeper(
    settings: &Settings,
    clock: Clock,
    store: &Arc<dyn Store>,
    bus: &Arc<dyn Bus>,
    registry: &Registry,
) -> Result<Arc<Keeper>, StoreError> {
    let options = KeeperOptions {
        poll_ms: store.is_shared().then_some(settings.poll_ms),
    };
    let (store, bus) = (store.clone(), bus.clone());
    let started = Keeper::start(options, store, bus, registry.clone(), clock);
    Ok(Arc::new(started.await?))
}

fn load_certificate(settings: &Settings, clock: Clock) -> Result<Option<Tls>, ServeError> {
    let Some(files) = certificate_files(settings) else {
        return Ok(None);
    };
    // It asks for a look at the files, and may come while the store is opened.
    signals::outlast_hangup()?;
    let tls = Tls::load(files)?;
    if let Some(problem) = tls.validity().problem(clock.wall_ms() / 1_000) {
        tracing::warn!("the TLS certificate {problem}: clients refuse it");
    }
    Ok(Some(tls))
}

/// The recorder, and the task that keeps its summaries small.
fn start_metrics() -> Result<(PrometheusHandle, JoinHandle<()>), ServeError> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    ::metrics::set_global_recorder(recorder)
        .map_err(|error| ServeError::Metrics(error.to_string()))?;
    metrics::describe_documents();
    metrics::describe_store();
    metrics::describe_bus();
    metrics::describe_connections();
    metrics::describe_auth();
    let kept = handle.clone();
    let upkeep = actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok((handle, upkeep))
}

fn start_housekeeper(settings: &Settings, clock: Clock, store: Arc<dyn Store>) -> Housekeeper {
    let options = HousekeeperOptions {
        history_ms: settings.history_ms,
        history_bytes_max: settings.history_bytes_max,
        ..HousekeeperOptions::default()
    };
    Housekeeper::start(
        store,
        options,
        move || clock.wall_ms(),
        |base, appends| {
            let base = base.map(Bytes::copy_from_slice);
            build_snapshot(base.as_ref(), appends).map_err(|error| error.to_string())
        },
    )
}

fn committer_options(settings: &Settings, lanes: usize) -> CommitterOptions {
    CommitterOptions {
        lanes,
        linger: Duration::from_millis(settings.commit_linger_ms),
        queue_bytes_max: size(settings.commit_queue_bytes_max),
        ..CommitterOptions::default()
    }
}

fn document_options(settings: &Settings) -> DocumentOptions {
    let is_shared = settings.store != StoreLocation::Sqlite;
    DocumentOptions {
        replica: replica_options(settings),
        threads: size(settings.document_threads),
        mailbox_bytes_max: size(settings.mailbox_bytes_max),
        idle_ms: settings.document_idle_ms,
        resident_bytes_max: settings.documents_resident_bytes_max,
        sessions_per_document_max: size(settings.sessions_per_document_max),
        sessions_per_identity_max: size(settings.sessions_per_identity_max),
        load_concurrency: size(settings.load_concurrency),
        stuck_timeout_ms: settings.stuck_timeout_ms,
        poll_ms: is_shared.then_some(settings.poll_ms),
        load_patience_ms: if is_shared {
            SHARED_STORE_PATIENCE_MS
        } else {
            0
        },
    }
}

fn adapter_options(settings: &Settings) -> AdapterOptions {
    AdapterOptions {
        listen: settings.listen,
        workers: size(settings.http_workers),
        allow_origins: settings.allow_origins.clone(),
        insecure_open: settings.insecure_open,
        connections_max: size(settings.connections_max),
        connections_per_address_max: size(settings.connections_per_address_max),
        limits: door_limits(settings),
        unauthenticated_timeout_ms: settings.unauthenticated_timeout_ms,
        unauthenticated_bytes_max: size(settings.unauthenticated_bytes_max),
        documents_per_connection_max: size(settings.documents_per_connection_max),
        auth_audience: settings.auth_audience.clone(),
        auth_issuer: settings.auth_issuer.clone(),
        expiry_warning_ms: settings.expiry_warning_ms,
        on_expiry: settings.on_expiry,
        hocuspocus_at_root: settings.hocuspocus_at_root,
        handshake_timeout_ms: settings.handshake_timeout_ms,
        proxy_protocol_from: settings.proxy_protocol_from.clone(),
        frame_bytes_max: size(settings.frame_bytes_max),
        outbox_bytes_max: size(settings.session_queue_bytes_max),
        keepalive_ms: settings.keepalive_ms,
        peer_timeout_ms: settings.peer_timeout_ms,
        shutdown_timeout_ms: settings.shutdown_timeout_ms,
        drain_ms: settings.drain_ms,
        ..AdapterOptions::default()
    }
}

fn door_limits(settings: &Settings) -> Limits {
    Limits {
        connection_bytes_per_second_max: settings.connection_bytes_per_second_max,
        connection_messages_per_second_max: settings.connection_messages_per_second_max,
        unauthenticated_connections_max: size(settings.unauthenticated_connections_max),
        unauthenticated_connections_per_address_max: size(
            settings.unauthenticated_connections_per_address_max,
        ),
        joins_per_second_max: settings.joins_per_second_max,
        frame_timeout_ms: settings.frame_timeout_ms,
    }
}

/// A bounded setting as a length in memory.
fn size(setting: u64) -> usize {
    usize::try_from(setting).unwrap_or(usize::MAX)
}

/// Ready while commits succeed and no more threads are stuck than can be replaced.
struct Ready {
    committer: Committer,
    registry: Registry,
    bus: Arc<dyn Bus>,
}

impl Readiness for Ready {
    fn report(&self) -> ReadinessReport {
        let status = self.committer.status();
        let abandoned = self.registry.abandoned_threads();
        let replaceable = abandoned < crate::actors::ABANDONED_THREADS_MAX;
        ReadinessReport {
            is_ready: status.is_healthy() && replaceable,
            details: serde_json::json!({
                "store": status.to_string(),
                "queued_appends": status.queued_appends,
                "queued_bytes": status.queued_bytes,
                "abandoned_threads": abandoned,
                "bus": self.bus.status().to_string(),
            }),
        }
    }
}
