//! Who performs a command: the server that runs on the data folder, or this process on the folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{EXIT_FAILED, EXIT_NOT_FOUND, Failure};
use crate::admin::access::stored::StoredAccess;
use crate::admin::execute::execute;
use crate::admin::stored::StoredOperations;
use crate::admin::{Command, OperationError, Operations, Reply, call};
use crate::backends;
use crate::clock::Clock;
use crate::config::parts::replica_options;
use crate::config::{Settings, StoreLocation};
use crate::store::data_folder::{DATABASE_FILE_NAME, DataFolder};
use crate::store::{Store, StoreError};

/// Where commands go.
#[derive(Debug)]
pub(super) enum Target {
    /// To the server that holds the lock of this folder.
    Running(PathBuf),
    /// To the store, whose lock we hold.
    Stopped {
        operations: Operations,
        store: Arc<dyn Store>,
    },
}

impl Target {
    /// Takes the folder's lock if it is free; otherwise its server is asked. Creates no documents.
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let path = &settings.data;
        let is_embedded = settings.store == StoreLocation::Sqlite;
        if is_embedded && !path.join(DATABASE_FILE_NAME).exists() {
            return Err(missing(path));
        }
        let folder = match DataFolder::open(path) {
            Ok(folder) => folder,
            Err(StoreError::Refused(_)) => return Ok(Self::Running(path.clone())),
            Err(error) => return Err(OperationError::from(error).into()),
        };
        let opened = backends::open_store(settings, &folder).await;
        let store = opened.map_err(OperationError::from)?.store;
        let options = replica_options(settings);
        let clock = Clock::start();
        let operations = Operations {
            documents: Arc::new(StoredOperations::new(store.clone(), options, clock)),
            access: Arc::new(StoredAccess::new(store.clone(), clock)),
        };
        Ok(Self::Stopped { operations, store })
    }

    /// Performs one command.
    pub(super) async fn perform(
        &self,
        command: Command,
        payload: Bytes,
    ) -> Result<(Reply, Bytes), Failure> {
        match self {
            Self::Running(folder) => Ok(call(folder, &command, &payload).await?),
            Self::Stopped { operations, .. } => Ok(execute(operations, command, payload).await?),
        }
    }

    /// Ends reads and writes in order.
    pub(super) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Running(_) => Ok(()),
            Self::Stopped { store, .. } => Ok(store.close().await.map_err(OperationError::from)?),
        }
    }
}

/// There is nothing to work on.
pub(super) fn missing(path: &Path) -> Failure {
    let told = format!(
        "there are no documents in {}: no server ever ran on it; give its data folder with --data",
        path.display()
    );
    Failure::new(EXIT_NOT_FOUND, told)
}

/// Runs one command's work on a runtime of its own.
pub(super) fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::new(EXIT_FAILED, error))?
        .block_on(work)
}
