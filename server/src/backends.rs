//! Opens what the settings name: the store, and the bus to other nodes.

use std::sync::Arc;
use std::time::Duration;

use crate::bus::local::LocalBus;
use crate::bus::redis::{self, Database, RedisBus, RedisOptions, RedisProblem};
use crate::bus::{Bus, BusError};
use crate::config::{BusLocation, Settings, StoreLocation};
use crate::store::data_folder::DataFolder;
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// Every name on the bus starts with this and the id of the cluster.
const BUS_PREFIX: &str = "driftless";

/// An open store, and what follows from its kind.
#[derive(Debug)]
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Batches that it takes at a time.
    pub lanes: usize,
    /// The id of the cluster, if several nodes can share the store.
    pub cluster_id: Option<String>,
    /// What tells the store from a copy of it, where that is known.
    pub fingerprint: Option<String>,
}

/// Opens the store; the embedded one lies in `folder`.
pub async fn open_store(settings: &Settings, folder: &DataFolder) -> Result<OpenStore, StoreError> {
    match &settings.store {
        StoreLocation::Sqlite => Ok(OpenStore {
            store: Arc::new(SqliteStore::open(folder).await?),
            lanes: 1,
            cluster_id: None,
            fingerprint: None,
        }),
        StoreLocation::Postgres(url) => {
            let store = PostgresStore::open(&postgres_options(settings, url.reveal())).await?;
            Ok(OpenStore {
                lanes: usize::try_from(settings.commit_lanes).unwrap_or(1),
                cluster_id: Some(store.cluster_id().to_owned()),
                fingerprint: store.fingerprint().map(str::to_owned),
                store: Arc::new(store),
            })
        }
    }
}

/// What the settings say about PostgreSQL.
pub fn postgres_options(settings: &Settings, url: &str) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        connections_max: count(settings.postgres_connections_max),
        lanes: count(settings.commit_lanes),
        acquire_timeout: Duration::from_millis(settings.postgres_acquire_timeout_ms),
        statement_timeout: Duration::from_millis(settings.postgres_statement_timeout_ms),
        lock_timeout: Duration::from_millis(settings.postgres_lock_timeout_ms),
        is_pooled: settings.postgres_pooled,
        allow_unsafe: settings.postgres_allow_unsafe,
    }
}

/// Joins the bus. Refused when it can never work; a server that is only away is waited for.
/// `fingerprint` tells the store from a copy of it with the same cluster id.
pub async fn join_bus(
    settings: &Settings,
    cluster_id: Option<&str>,
    fingerprint: Option<&str>,
) -> Result<Arc<dyn Bus>, BusError> {
    let Some(options) = bus_options(settings, cluster_id)? else {
        return Ok(Arc::new(LocalBus::default()));
    };
    match redis::check(&options, fingerprint.map(Database::Claim)).await {
        Ok(_) => {}
        Err(RedisProblem::Refused(told)) => return Err(BusError(told)),
        Err(RedisProblem::Unreachable(error)) => {
            tracing::warn!(
                %error,
                "starting without the bus; changes of other nodes arrive by the log until it is there"
            );
        }
    }
    let bus = RedisBus::start(&options)?;
    Ok(Arc::new(match fingerprint {
        Some(fingerprint) => bus.guarding(&options, fingerprint)?,
        None => bus,
    }))
}

/// What the settings say about Redis; nothing for a node that is alone.
pub fn bus_options(
    settings: &Settings,
    cluster_id: Option<&str>,
) -> Result<Option<RedisOptions>, BusError> {
    match (&settings.bus, cluster_id) {
        (BusLocation::Local, _) => Ok(None),
        (BusLocation::Redis(url), Some(id)) => Ok(Some(RedisOptions {
            url: url.reveal().to_owned(),
            prefix: format!("{BUS_PREFIX}:{id}"),
        })),
        (BusLocation::Redis(_), None) => Err(BusError(
            "nodes share their documents through PostgreSQL, and `store` is the embedded database; \
             give --store postgres://user:password@host/database, or leave --bus out"
                .to_owned(),
        )),
    }
}

/// A bounded setting as a small number.
fn count(setting: u64) -> u32 {
    u32::try_from(setting).unwrap_or(u32::MAX)
}
