//! Tests of the SQLite store: the conformance suite, and what is SQLite's own.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use driftless_proto::name::DocumentName;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tempfile::TempDir;

use super::SqliteStore;
use crate::store::conformance::{Backend, enrol};
use crate::store::data_folder::DataFolder;
use crate::store::{SnapshotKind, Store};

mod backups;
mod claims;
mod faults;
mod journal;
mod opening;

/// A store in a folder of its own that goes with it.
pub(crate) struct SqliteBackend {
    store: Arc<SqliteStore>,
    _parent: TempDir,
}

impl SqliteBackend {
    /// Runs a statement on a connection of its own, behind the store's back.
    pub(crate) async fn tamper(
        &self,
        statement: &'static str,
        document: &DocumentName,
        extra: i64,
    ) {
        let mut connection = self.raw().await;
        let done = sqlx::query(statement)
            .bind(document.as_str().as_bytes())
            .bind(extra)
            .execute(&mut connection)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
        connection.close().await.unwrap();
    }

    /// Puts every append into its log, where tests look for it.
    pub(crate) async fn settle(&self) {
        self.store.writer.settle().await.unwrap();
    }

    /// The store as what it is.
    pub(crate) fn end(&self) -> Arc<SqliteStore> {
        self.store.clone()
    }

    pub(crate) async fn raw(&self) -> SqliteConnection {
        super::open::open_writer(self.store.path()).await.unwrap()
    }
}

impl Backend for SqliteBackend {
    async fn start() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(parent.path()).unwrap();
        Self {
            store: Arc::new(SqliteStore::open(&folder).await.unwrap()),
            _parent: parent,
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn spoil_append(&self, document: &DocumentName, sequence: u64) {
        self.settle().await;
        let statement = "UPDATE appends SET content = CAST(content || x'00' AS BLOB) \
             WHERE document_id = (SELECT id FROM documents WHERE name = ?1) AND sequence = ?2";
        self.tamper(statement, document, sequence as i64).await;
    }

    async fn remove_append(&self, document: &DocumentName, sequence: u64) {
        self.settle().await;
        let statement = "DELETE FROM appends \
             WHERE document_id = (SELECT id FROM documents WHERE name = ?1) AND sequence = ?2";
        self.tamper(statement, document, sequence as i64).await;
    }

    async fn spoil_snapshot(&self, document: &DocumentName, kind: SnapshotKind) {
        let statement = match kind {
            SnapshotKind::Latest => {
                "UPDATE snapshots SET checksum = checksum + ?2 WHERE kind = 'latest' \
                 AND document_id = (SELECT id FROM documents WHERE name = ?1)"
            }
            SnapshotKind::Base => {
                "UPDATE snapshots SET checksum = checksum + ?2 WHERE kind = 'base' \
                 AND document_id = (SELECT id FROM documents WHERE name = ?1)"
            }
        };
        self.tamper(statement, document, 1).await;
    }
}

enrol!(SqliteBackend);
