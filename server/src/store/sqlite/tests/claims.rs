//! Owners of client ids in a file: through a stop, a crash and a backup.

use super::*;
use crate::store::conformance::{append, committed, name};
use crate::store::sqlite::restore;
use crate::store::{Append, Claim};

fn taken(number: u64, client: u64, owner: &str) -> Append {
    let owner = Some(owner.into());
    Append {
        claims: vec![Claim { client, owner }],
        ..append("a", 1, number)
    }
}

async fn owner(store: &SqliteStore, client: u64) -> Option<String> {
    let owners = store.client_owners(&name("a"), 0).await.unwrap();
    let claim = owners.into_iter().find(|claim| claim.client == client)?;
    claim.owner.map(|owner| owner.to_string())
}

#[tokio::test]
async fn owners_survive_stops_crashes_and_backups() {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(parent.path()).unwrap();
    let store = SqliteStore::open(&folder).await.unwrap();
    store.commit(&[taken(1, 7, "ada")]).await.unwrap();
    store.commit(&[taken(2, 8, "bob")]).await.unwrap();
    // Not closed, as after a kill: the journal is not settled.
    drop(store);
    let store = SqliteStore::open(&folder).await.unwrap();
    for (client, wanted) in [(7, "ada"), (8, "bob")] {
        assert_eq!(owner(&store, client).await.as_deref(), Some(wanted));
    }
    let late = store.commit(&[taken(3, 7, "mallory")]).await.unwrap();
    assert_eq!(late, [committed(3)]);
    let file = parent.path().join("backup");
    store.backup(&file).await.unwrap();
    store.close().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = DataFolder::open(elsewhere.path()).unwrap();
    restore(&file, &other).await.unwrap();
    let restored = SqliteStore::open(&other).await.unwrap();
    assert_eq!(owner(&restored, 7).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_failed_commit_leaves_no_owner() {
    let backend = SqliteBackend::start().await;
    let store = backend.end();
    store.commit(&[taken(1, 7, "ada")]).await.unwrap();
    let mut connection = backend.raw().await;
    let trigger = "CREATE TRIGGER stop BEFORE INSERT ON journal WHEN NEW.sequence = 2 \
         BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::query(trigger).execute(&mut connection).await.unwrap();
    assert!(store.commit(&[taken(2, 8, "bob")]).await.is_err());
    let remove = sqlx::query("DROP TRIGGER stop");
    remove.execute(&mut connection).await.unwrap();
    assert_eq!(owner(&store, 8).await, None);
    let outcome = store.commit(&[taken(3, 8, "eve")]).await.unwrap();
    assert_eq!(outcome, [committed(2)]);
    assert_eq!(owner(&store, 8).await.as_deref(), Some("eve"));
}
