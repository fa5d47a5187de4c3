//! A PostgreSQL server for the tests of one process, started from the machine's own programs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use driftless_cluster::{Part, PgBouncer, Postgres};
use tempfile::TempDir;

static SERVER: OnceLock<(Postgres, TempDir)> = OnceLock::new();
static POOLER: OnceLock<(PgBouncer, TempDir)> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The URL of a database that nobody else uses.
pub(crate) fn new_database() -> String {
    let (server, _) = SERVER.get_or_init(start);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server.create_database(&name).unwrap()
}

fn start() -> (Postgres, TempDir) {
    let folder = driftless_cluster::temporary_folder().unwrap();
    let mut server = Postgres::new(folder.path(), 0).unwrap();
    server.start().unwrap();
    server.wait_ready().unwrap();
    (server, folder)
}

/// The same, through a proxy that pools transactions.
pub(super) fn new_pooled_database() -> String {
    let direct = new_database();
    let (pooler, _) = POOLER.get_or_init(start_pooler);
    let database = direct.rsplit('/').next().unwrap_or_default();
    pooler.url(database)
}

/// The URL of a database past the proxy.
pub(super) fn direct_url(database: &str) -> String {
    let (server, _) = SERVER.get_or_init(start);
    server.url(database)
}

fn start_pooler() -> (PgBouncer, TempDir) {
    let folder = driftless_cluster::temporary_folder().unwrap();
    let (server, _) = SERVER.get_or_init(start);
    let mut pooler = PgBouncer::new(folder.path(), server.process().port()).unwrap();
    pooler.start().unwrap();
    pooler.wait_ready().unwrap();
    (pooler, folder)
}
