//! Tests of the PostgreSQL store: the conformance suite, and what is PostgreSQL's own. They start a
//! server of their own, with a data folder and a port that go with the process.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use driftless_proto::name::DocumentName;
use sqlx::postgres::PgPool;

use super::{PostgresOptions, PostgresStore};
use crate::store::committer::{
    CommitListener, CommitRefusal, Committed, Committer, CommitterOptions, PendingAppend,
};
use crate::store::conformance::{Backend, append, committed, enrol, fill, id, name, snapshot};
use crate::store::{Append, CommitOutcome, LogPoint, SnapshotKind, Store, StoreError};

mod schema;
pub(crate) mod server;

/// A store in a database of its own on the shared server.
pub(crate) struct PostgresBackend {
    store: Arc<PostgresStore>,
}

/// Options for tests: short times, few connections.
pub(crate) fn options(url: String) -> PostgresOptions {
    PostgresOptions {
        url,
        connections_max: 6,
        lanes: 2,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        is_pooled: false,
        allow_unsafe: false,
    }
}

impl PostgresBackend {
    async fn tamper(&self, statement: &'static str, document: &DocumentName, extra: i64) {
        let done = sqlx::query(statement)
            .bind(document.as_str().as_bytes())
            .bind(extra)
            .execute(self.pool())
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    /// The store as what it is.
    pub(crate) fn end(&self) -> Arc<PostgresStore> {
        self.store.clone()
    }

    fn pool(&self) -> &PgPool {
        &self.store.pool
    }
}

impl Backend for PostgresBackend {
    async fn start() -> Self {
        let url = server::new_database();
        Self {
            store: Arc::new(PostgresStore::open(&options(url)).await.unwrap()),
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn spoil_append(&self, document: &DocumentName, sequence: u64) {
        let statement = "UPDATE appends SET content = content || '\\x00'::bytea \
             WHERE document_id = (SELECT id FROM documents WHERE name = $1) AND sequence = $2";
        self.tamper(statement, document, sequence as i64).await;
    }

    async fn remove_append(&self, document: &DocumentName, sequence: u64) {
        let statement = "DELETE FROM appends \
             WHERE document_id = (SELECT id FROM documents WHERE name = $1) AND sequence = $2";
        self.tamper(statement, document, sequence as i64).await;
    }

    async fn spoil_snapshot(&self, document: &DocumentName, kind: SnapshotKind) {
        let statement = match kind {
            SnapshotKind::Latest => {
                "UPDATE snapshots SET checksum = checksum + $2 WHERE kind = 'latest' \
                 AND document_id = (SELECT id FROM documents WHERE name = $1)"
            }
            SnapshotKind::Base => {
                "UPDATE snapshots SET checksum = checksum + $2 WHERE kind = 'base' \
                 AND document_id = (SELECT id FROM documents WHERE name = $1)"
            }
        };
        self.tamper(statement, document, 1).await;
    }
}

enrol!(PostgresBackend);

/// The suite once more, through a proxy that pools transactions.
mod pooled {
    use super::*;

    /// A store behind pgbouncer; harm is done to it past the proxy.
    pub(crate) struct PooledBackend {
        store: Arc<PostgresStore>,
        direct: PostgresBackend,
    }

    impl Backend for PooledBackend {
        async fn start() -> Self {
            let url = server::new_pooled_database();
            let database = url.rsplit('/').next().unwrap_or_default();
            let direct = server::direct_url(database);
            let pooled = PostgresOptions {
                is_pooled: true,
                ..options(url)
            };
            Self {
                store: Arc::new(PostgresStore::open(&pooled).await.unwrap()),
                direct: PostgresBackend {
                    store: Arc::new(PostgresStore::open(&options(direct)).await.unwrap()),
                },
            }
        }

        fn store(&self) -> Arc<dyn Store> {
            self.store.clone()
        }

        async fn spoil_append(&self, document: &DocumentName, sequence: u64) {
            self.direct.spoil_append(document, sequence).await;
        }

        async fn remove_append(&self, document: &DocumentName, sequence: u64) {
            self.direct.remove_append(document, sequence).await;
        }

        async fn spoil_snapshot(&self, document: &DocumentName, kind: SnapshotKind) {
            self.direct.spoil_snapshot(document, kind).await;
        }
    }

    enrol!(PooledBackend);
}

/// An append that rests on another one.
fn resting(number: u64, after: (u64, u64)) -> Append {
    Append {
        after: Some(LogPoint {
            sequence: after.0,
            id: id(after.1),
        }),
        ..append("a", 1, number)
    }
}

#[tokio::test]
async fn what_rests_on_a_log_that_was_taken_back_is_refused() {
    let backend = PostgresBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=5).await;
    let fits = [resting(6, (5, 5)), resting(7, (3, 3)), append("b", 1, 8)];
    let outcomes = store.commit(&fits).await.unwrap();
    assert_eq!(outcomes, [committed(6), committed(7), committed(1)]);
    // What a restore to an earlier state does under live nodes, and what others wrote since.
    let back =
        "DELETE FROM appends WHERE sequence > 3; UPDATE documents SET head = 3 WHERE head > 3";
    sqlx::raw_sql(back).execute(backend.pool()).await.unwrap();
    let other = store.commit(&[append("a", 1, 20)]).await.unwrap();
    assert_eq!(other, [committed(4)]);
    let batch = [
        resting(9, (7, 7)),
        resting(10, (4, 4)),
        append("b", 1, 11),
        resting(12, (4, 20)),
    ];
    let outcomes = store.commit(&batch).await.unwrap();
    let lost = CommitOutcome::LogLost;
    assert_eq!(outcomes, [lost, lost, committed(2), committed(5)]);
    let loaded = store.load(&name("a")).await.unwrap();
    assert_eq!((loaded.head, loaded.damage), (5, None));
}

#[tokio::test]
async fn a_trimmed_append_is_not_taken_for_lost() {
    let backend = PostgresBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=5).await;
    assert!(store.save_base(&name("a"), 1, &snapshot(5)).await.unwrap());
    while store.trim(&name("a"), 100).await.unwrap() {}
    let outcomes = store.commit(&[resting(6, (5, 5))]).await.unwrap();
    assert_eq!(outcomes, [committed(6)]);
}

#[tokio::test]
async fn ten_nodes_may_start_at_once() {
    let url = server::new_database();
    let starts = (0..10).map(|_| {
        let options = options(url.clone());
        tokio::spawn(async move { PostgresStore::open(&options).await.unwrap() })
    });
    let mut ids = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        ids.push(start.await.unwrap().cluster_id().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused() {
    let url = server::new_database();
    let options = options(url);
    let store = PostgresStore::open(&options).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    let loosen = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    let loosen = sqlx::AssertSqlSafe(loosen);
    sqlx::raw_sql(loosen).execute(&store.pool).await.unwrap();
    let told = PostgresStore::open(&options).await.unwrap_err().to_string();
    assert!(told.contains("synchronous_commit = off") && told.contains("--postgres-allow-unsafe"));
    let unsafe_too = PostgresOptions {
        allow_unsafe: true,
        ..options
    };
    PostgresStore::open(&unsafe_too).await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_refused_with_what_to_do() {
    let url = server::new_database();
    let table = [
        (
            url.replace("/test_", "/missing_"),
            "create the database first",
        ),
        (
            url.replace("postgres@", "nobody:hunter2@"),
            "check user and password",
        ),
        (
            "postgres://u:hunter2@127.0.0.1:1/x".to_owned(),
            "check the host and port",
        ),
    ];
    for (url, told) in table {
        let error = PostgresStore::open(&options(url)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(told) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_former_housekeeper_changes_nothing_any_more() {
    let url = server::new_database();
    let former = PostgresStore::open(&options(url.clone())).await.unwrap();
    let next = PostgresStore::open(&options(url)).await.unwrap();
    fill(&former, "a", 1..=9).await;
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
    assert!(former.lead_housekeeping(short).await.unwrap());
    assert!(
        former
            .save_snapshot(&name("a"), 1, &snapshot(3))
            .await
            .unwrap()
    );
    while !next.lead_housekeeping(long).await.unwrap() {
        tokio::time::sleep(short).await;
    }
    assert!(!former.lead_housekeeping(long).await.unwrap());
    for refused in [
        former.save_snapshot(&name("a"), 1, &snapshot(5)).await,
        former.save_base(&name("a"), 1, &snapshot(5)).await,
        former.trim(&name("a"), 10).await,
    ] {
        assert!(
            matches!(refused, Err(StoreError::Unavailable(_))),
            "{refused:?}"
        );
    }
    assert!(
        next.save_snapshot(&name("a"), 1, &snapshot(7))
            .await
            .unwrap()
    );
    let loaded = former.load(&name("a")).await.unwrap();
    assert_eq!(loaded.snapshot, Some(snapshot(7)));
}

/// Holds the lock of a document, as another node does in the middle of a commit.
async fn hold_lock(
    store: &PostgresStore,
    document: &str,
) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut transaction = store.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM documents WHERE name = $1 FOR NO KEY UPDATE")
        .bind(document.as_bytes())
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction
}

#[tokio::test]
async fn a_document_that_another_node_writes_to_is_passed_over_and_is_no_repeat_then() {
    let backend = PostgresBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=1).await;
    let lock = hold_lock(&backend.store, "a").await;
    let batch = [append("a", 1, 2), append("b", 1, 3), append("a", 1, 4)];
    let outcomes = store.commit_free(&batch).await.unwrap();
    assert_eq!(
        outcomes,
        [CommitOutcome::Busy, committed(1), CommitOutcome::Busy]
    );
    lock.rollback().await.unwrap();
    let again = [append("a", 1, 2), append("a", 1, 4)];
    assert_eq!(
        store.commit_free(&again).await.unwrap(),
        [committed(2), committed(3)]
    );
    assert_eq!(store.load(&name("a")).await.unwrap().appends.len(), 3);
}

#[derive(Debug, Default)]
struct Ear(std::sync::Mutex<Vec<u64>>);

impl CommitListener for Ear {
    fn on_committed(&self, version: u64, _: &[Committed<'_>]) {
        self.0.lock().unwrap().push(version);
    }

    fn on_refused(&self, version: u64, refusal: CommitRefusal) {
        panic!("{version}: {refusal}");
    }
}

#[tokio::test]
async fn a_locked_document_holds_up_no_other_of_its_lane() {
    let backend = PostgresBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=1).await;
    let lock = hold_lock(&backend.store, "a").await;
    let committer = Committer::start(store.clone(), CommitterOptions::default());
    let (locked, free) = (Arc::<Ear>::default(), Arc::<Ear>::default());
    let submit = |document: &str, number: u64, listener: &Arc<Ear>| {
        committer.submit(PendingAppend {
            append: append(document, 1, number),
            version: number,
            listener: listener.clone(),
        });
    };
    for number in 10..20 {
        submit("a", number, &locked);
        submit("b", 100 + number, &free);
        committer.wait_idle(&name("b")).await;
    }
    assert_eq!(free.0.lock().unwrap().last(), Some(&119));
    assert_eq!(locked.0.lock().unwrap().len(), 0);
    lock.rollback().await.unwrap();
    committer.wait_idle(&name("a")).await;
    submit("a", 20, &locked);
    committer.wait_idle(&name("a")).await;
    assert_eq!(locked.0.lock().unwrap().last(), Some(&20));
    let loaded = store.load(&name("a")).await.unwrap();
    let numbers: Vec<u64> = loaded.appends.iter().map(|it| it.time_ms - 1_000).collect();
    assert_eq!(
        numbers[1..],
        (10..=20).collect::<Vec<_>>()[..],
        "in their order"
    );
    committer.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn calls_that_are_given_up_leave_no_transaction_behind() {
    let backend = PostgresBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=3).await;
    for round in 0..300_u64 {
        let patience = Duration::from_micros(round * 7 % 1_500);
        let _ = tokio::time::timeout(patience, store.load(&name("a"))).await;
        let document = name("a");
        let frozen = store.set_quarantine(&document, Some("given up"));
        let _ = tokio::time::timeout(patience, frozen).await;
    }
    // Whatever connection is taken: it writes, and what it reads is new.
    for number in 0..12 {
        let reason = format!("reason {number}");
        store
            .set_quarantine(&name("a"), Some(&reason))
            .await
            .unwrap();
        let loads = (0..4).map(|_| async { store.load(&name("a")).await.unwrap().quarantine });
        for loaded in futures_util::future::join_all(loads).await {
            assert_eq!(loaded.as_ref(), Some(&reason));
        }
    }
}
