//! The server under test: documents over SQLite in a private folder, doors, and what is counted.

use std::cell::Cell;
use std::sync::{Arc, Mutex, OnceLock};

use driftless::actors::{DocumentOptions, QueryError, Registry};
use driftless::adapters::http::{Readiness, ReadinessReport};
use driftless::adapters::{AdapterOptions, Behind, Server, serve};
use driftless::admin::live::LiveOperations;
use driftless::admin::stored::StoredOperations;
use driftless::auth::{Authority, Signer};
use driftless::bus::local::LocalBus;
use driftless::clock::Clock;
use driftless::config::{Flags, load};
use driftless::metrics;
use driftless::store::committer::{Committer, CommitterOptions};
use driftless::store::data_folder::DataFolder;
use driftless::store::sqlite::SqliteStore;
use driftless_proto::engine::{ClientIds, Relay, ReplicaOptions};
use driftless_proto::name::DocumentName;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tempfile::TempDir;

use crate::token::SECRET;

/// A message of this size is refused, so that sequences reach the bound.
pub(crate) const FRAME_BYTES_MAX: usize = 256 << 10;
/// The same for an update.
pub(crate) const UPDATE_BYTES_MAX: usize = 64 << 10;
/// The same for a presence entry and a stateless message.
pub(crate) const SMALL_BYTES_MAX: usize = 16 << 10;

struct AlwaysReady;

impl Readiness for AlwaysReady {
    fn report(&self) -> ReadinessReport {
        ReadinessReport {
            is_ready: true,
            details: serde_json::Value::Null,
        }
    }
}

/// A running server.
pub(crate) struct House {
    pub(crate) registry: Registry,
    pub(crate) doors: Server,
    recorder: PrometheusHandle,
    /// Restarts that were asked for, and those counted before.
    reloads: Cell<u64>,
    _folder: TempDir,
}

/// Counters that have to stay at zero, whatever peers send.
const NEVER: [&str; 4] = [
    metrics::STUCK,
    metrics::QUARANTINES,
    metrics::LOAD_FAILURES,
    metrics::COMMIT_REFUSALS,
];

/// Gauges that come back to zero when all have left.
const EMPTIED: [&str; 4] = [
    metrics::SESSIONS,
    metrics::MAILBOX_MESSAGES,
    metrics::MAILBOX_BYTES,
    metrics::CONNECTIONS,
];

/// Panics of any thread of this process since it was asked last, each with its place.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The panics that were not asked for yet.
pub(crate) fn take_panics() -> Vec<String> {
    std::mem::take(&mut PANICS.lock().unwrap())
}

fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map_or(String::new(), ToString::to_string);
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("?").to_owned();
            let message = info.payload_as_str().unwrap_or("?");
            let told = format!("{thread} panicked at {place}: {message}");
            eprintln!("{told}");
            PANICS.lock().unwrap().push(told);
        }));
        if let Ok(filter) = std::env::var("FUZZ_LOG") {
            let told = tracing_subscriber::fmt().with_env_filter(filter);
            told.with_writer(std::io::stderr).init();
        }
        PrometheusBuilder::new().install_recorder().unwrap()
    };
    RECORDER.get_or_init(install).clone()
}

fn document_options() -> DocumentOptions {
    DocumentOptions {
        replica: ReplicaOptions {
            relay: Relay::Immediate,
            document_bytes_max: 64 << 20,
            update_bytes_max: UPDATE_BYTES_MAX,
            chunk_bytes: 16 << 10,
            presence_timeout_ms: 30_000,
            presence_grace_ms: 200,
            presence_entry_bytes_max: SMALL_BYTES_MAX,
            presence_entries_max: 16,
            presence_per_second_max: 0,
            presence_identity_field: None,
            stateless_bytes_max: SMALL_BYTES_MAX,
            client_ids: ClientIds::Free,
        },
        threads: 2,
        mailbox_bytes_max: 256 << 10,
        idle_ms: 200,
        resident_bytes_max: 1 << 30,
        sessions_per_document_max: 10_000,
        sessions_per_identity_max: 10_000,
        load_concurrency: 4,
        poll_ms: None,
        load_patience_ms: 0,
        // A busy machine is no fault of a document.
        stuck_timeout_ms: 20_000,
    }
}

impl House {
    /// Starts it. Must run inside an actix system.
    pub(crate) async fn open() -> Self {
        let recorder = recorder();
        let folder = TempDir::new().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        let store = Arc::new(SqliteStore::open(&data).await.unwrap());
        let committer = Committer::start(store.clone(), CommitterOptions::default());
        let clock = Clock::start();
        let options = document_options();
        let replica = options.replica.clone();
        let bus = Arc::new(LocalBus::default());
        let registry = Registry::start(options, clock, store.clone(), committer, bus);
        let stored = StoredOperations::new(store, replica, clock);
        let operations = LiveOperations::new(registry.clone(), Arc::new(stored));
        let none: Vec<(&str, &str)> = Vec::new();
        let flags = Flags::given(&[("auth_secret", SECRET)]);
        let settings = load(&flags, &none, 1).unwrap().settings;
        let behind = Behind {
            restrictions: driftless::access::Restrictions::default(),
            authority: Authority::from_settings(&settings, clock).unwrap(),
            operations: Some(Arc::new(operations)),
            signer: Signer::from_settings(&settings).unwrap(),
            documents: Arc::new(registry.clone()),
            readiness: Arc::new(AlwaysReady),
            metrics: None,
        };
        let options = AdapterOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            frame_bytes_max: FRAME_BYTES_MAX,
            outbox_bytes_max: 64 << 10,
            unauthenticated_bytes_max: 128 << 10,
            documents_per_connection_max: 6,
            close_timeout_ms: 1_000,
            ..AdapterOptions::default()
        };
        Self {
            registry,
            doors: serve(options, behind, clock).unwrap(),
            reloads: Cell::new(total(&recorder.render(), metrics::RESTARTS) as u64),
            recorder,
            _folder: folder,
        }
    }

    /// Has a document loaded again from the store.
    pub(crate) async fn reload(&self, document: &DocumentName) -> Result<(), QueryError> {
        self.reloads.set(self.reloads.get() + 1);
        self.registry.reload(document).await
    }

    /// What was counted that must never be.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let rendered = self.recorder.render();
        let mut troubles: Vec<_> = NEVER
            .iter()
            .map(|name| (name, total(&rendered, name)))
            .filter(|(_, count)| *count > 0.0)
            .map(|(name, count)| format!("{name} is {count}"))
            .collect();
        let restarts = total(&rendered, metrics::RESTARTS) as u64;
        if restarts > self.reloads.get() {
            let asked = self.reloads.get();
            troubles.push(format!("{restarts} restarts where {asked} were asked for"));
        }
        let abandoned = self.registry.abandoned_threads();
        if abandoned > 0 {
            troubles.push(format!("{abandoned} threads are abandoned"));
        }
        troubles
    }

    /// What is left although nobody is there.
    pub(crate) fn left(&self) -> Vec<String> {
        let rendered = self.recorder.render();
        let left = EMPTIED.iter().map(|name| (name, total(&rendered, name)));
        left.filter(|(_, count)| *count != 0.0)
            .map(|(name, count)| format!("{name} is {count}"))
            .collect()
    }

    /// One line of counters that say how far the sequences reach.
    pub(crate) fn reach(&self) -> String {
        let rendered = self.recorder.render();
        let shown = [
            metrics::FRAMES_RECEIVED,
            metrics::UPDATES_APPLIED,
            metrics::GAPS,
            metrics::REFUSED,
            metrics::DENIED,
            metrics::RESYNCS,
            metrics::CONNECTIONS_CLOSED,
        ];
        let told = shown.map(|name| {
            let short = name.trim_start_matches("driftless_");
            format!(
                "{} {}",
                short.trim_end_matches("_total"),
                total(&rendered, name)
            )
        });
        told.join(", ")
    }
}

/// The sum of a metric over its labels.
fn total(rendered: &str, name: &str) -> f64 {
    let lines = rendered.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
    });
    let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
    lines.filter_map(value).sum()
}

/// The memory of this process in megabytes.
pub(crate) fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
