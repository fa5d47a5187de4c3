//! Backup and restore on real files.

use super::*;
use crate::store::StoreError;
use crate::store::conformance::{append, committed, fill, name, snapshot};
use crate::store::sqlite::restore;

fn target() -> (TempDir, DataFolder) {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(&parent.path().join("restored")).unwrap();
    (parent, folder)
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, StoreError>, hint: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains(hint), "{error}");
}

#[tokio::test]
async fn a_backup_taken_under_load_restores_to_the_same() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=20).await;
    store
        .save_snapshot(&name("a"), 1, &snapshot(10))
        .await
        .unwrap();
    fill(&*store, "gone", 1..=5).await;
    store.delete(&name("gone"), &[1, 7, 3]).await.unwrap();
    let (parent, folder) = target();
    let file = parent.path().join("backup.db");
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 1..200 {
                let outcomes = store.commit(&[append("busy", 1, number)]).await.unwrap();
                assert_eq!(outcomes, [committed(number)]);
            }
        }
    });
    store.backup(&file).await.unwrap();
    writer.await.unwrap();
    let leftovers: Vec<_> = std::fs::read_dir(parent.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains("partial"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");

    restore(&file, &folder).await.unwrap();
    let restored = SqliteStore::open(&folder).await.unwrap();
    for document in ["a", "gone"] {
        let document = name(document);
        let (before, after) = (store.load(&document).await, restored.load(&document).await);
        assert_eq!(before.unwrap(), after.unwrap());
    }
    let busy = restored.load(&name("busy")).await.unwrap();
    assert_eq!((busy.appends.len() as u64, busy.damage), (busy.head, None));
    let next = append("a", 1, 21);
    assert_eq!(restored.commit(&[next]).await.unwrap(), [committed(21)]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_backup_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let backend = SqliteBackend::start().await;
    let (parent, _folder) = target();
    let file = parent.path().join("backup.db");
    backend.store().backup(&file).await.unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn nothing_is_ever_overwritten() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=1).await;
    let (parent, folder) = target();
    let file = parent.path().join("backup.db");
    std::fs::write(&file, b"precious").unwrap();
    assert_refused(store.backup(&file).await, "never overwritten");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");

    let file = parent.path().join("second.db");
    store.backup(&file).await.unwrap();
    std::fs::write(folder.database(), b"precious").unwrap();
    assert_refused(restore(&file, &folder).await, "never overwritten");
    assert_eq!(std::fs::read(folder.database()).unwrap(), b"precious");
}

#[tokio::test]
async fn only_intact_backups_are_restored() {
    let backend = SqliteBackend::start().await;
    let store = backend.store();
    fill(&*store, "a", 1..=2_000).await;
    let (parent, folder) = target();
    let missing = parent.path().join("missing.db");
    assert_refused(restore(&missing, &folder).await, "missing.db");
    assert_refused(
        restore(backend.store.path(), &folder).await,
        "live database",
    );
    let empty = parent.path().join("empty.db");
    std::fs::write(&empty, b"").unwrap();
    assert_refused(restore(&empty, &folder).await, "not a backup");

    let file = parent.path().join("backup.db");
    store.backup(&file).await.unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let damaged = restore(&file, &folder).await;
    assert!(
        matches!(damaged, Err(StoreError::Damaged(_))),
        "{damaged:?}"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the lock file: {left:?}");
}

#[tokio::test]
async fn a_backup_to_nowhere_says_where() {
    let backend = SqliteBackend::start().await;
    let (parent, _folder) = target();
    let file = parent.path().join("no/such/folder/backup.db");
    assert_refused(backend.store().backup(&file).await, "no/such/folder");
}
