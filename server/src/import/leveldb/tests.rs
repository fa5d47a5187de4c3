//! Folders as LevelDB leaves them behind, and spoilt ones.
#![allow(clippy::unwrap_used)]

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::tests::{all, fixture};
use super::super::y_websocket::YLeveldbFolder;
use super::*;

fn copy_of(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn entries(folder: &Path) -> Result<Vec<(Bytes, Bytes)>, SourceError> {
    let folder = Folder::open(folder)?;
    let mut entries = folder.entries();
    let mut found = Vec::new();
    while let Some(entry) = folder.next(&mut entries)? {
        found.push(entry);
    }
    Ok(found)
}

#[test]
fn keys_come_in_order_and_deleted_ones_do_not() {
    for name in ["y-leveldb-young", "y-leveldb-aged"] {
        let found = entries(&fixture(name)).unwrap();
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        let has = |name: &[u8]| {
            found
                .iter()
                .any(|(key, _)| key.windows(5).any(|it| it == name))
        };
        assert!(has(b"notes") && !has(b"\0\x04gone"), "{name}");
    }
}

#[test]
fn tables_of_old_end_otherwise() {
    let copy = copy_of("y-leveldb-aged");
    let before = entries(copy.path()).unwrap();
    let table = copy.path().join("000005.ldb");
    fs::rename(&table, table.with_extension("sst")).unwrap();
    assert_eq!(entries(copy.path()).unwrap(), before);
}

#[test]
fn a_log_that_was_cut_off_ends_with_its_last_whole_write() {
    let copy = copy_of("y-leveldb-young");
    let log = copy.path().join("000003.log");
    let whole = fs::read(&log).unwrap();
    let mut counts = Vec::new();
    for length in (0..whole.len()).step_by(97) {
        fs::write(&log, &whole[..length]).unwrap();
        counts.push(entries(copy.path()).unwrap().len());
    }
    assert_eq!(counts[0], 0);
    assert!(counts.iter().any(|count| *count > 3), "{counts:?}");
}

#[test]
fn damage_is_told_with_the_file_and_what_to_do() {
    let spoil = |name: &str, file: &str, spoil: &dyn Fn(&mut Vec<u8>)| {
        let copy = copy_of(name);
        let path = copy.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        spoil(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = entries(copy.path()).unwrap_err();
        assert!(matches!(error, SourceError::Damaged(_)), "{error}");
        assert!(
            error.to_string().contains("y-leveldb still reads"),
            "{error}"
        );
        error.to_string()
    };
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    let (young, aged) = ("y-leveldb-young", "y-leveldb-aged");
    let table: [(String, &str); 6] = [
        (
            spoil(young, "000003.log", &flip(100)),
            "000003.log: a checksum",
        ),
        (
            spoil(aged, "MANIFEST-000002", &flip(20)),
            "MANIFEST-000002: a checksum",
        ),
        (
            spoil(aged, "000005.ldb", &flip(50)),
            "000005.ldb: a checksum",
        ),
        (
            spoil(aged, "000005.ldb", &|it| it.truncate(40)),
            "too short",
        ),
        (
            spoil(aged, "000005.ldb", &|it| it.truncate(2_000)),
            "does not end as a table",
        ),
        (
            spoil(aged, "CURRENT", &|it| *it = b"../../x\n".to_vec()),
            "names no manifest",
        ),
    ];
    for (told, wanted) in table {
        assert!(told.contains(wanted), "{told}");
    }
    let copy = copy_of(aged);
    fs::remove_file(copy.path().join("000005.ldb")).unwrap();
    let told = entries(copy.path()).unwrap_err().to_string();
    assert!(told.contains("000005.ldb: it cannot be read"), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_folders_never_panic(
        file in prop::sample::select(vec!["000004.log", "000005.ldb", "MANIFEST-000002"]),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..8),
        cut in 0_usize..8,
    ) {
        let copy = copy_of("y-leveldb-aged");
        let path = copy.path().join(file);
        let mut content = fs::read(&path).unwrap();
        let at = at.index(content.len());
        let end = (at + cut).min(content.len());
        content.splice(at..end, bytes);
        fs::write(&path, content).unwrap();
        if let Ok(mut source) = YLeveldbFolder::open(copy.path()) {
            let _ = all(&mut source);
        }
    }

    /// Behind its checksum a block is as little trusted as before it.
    #[test]
    fn blocks_of_any_content_never_panic(content in prop::collection::vec(any::<u8>(), 0..64)) {
        table::read_any(content.into());
    }

    #[test]
    fn records_of_any_content_never_panic(content in prop::collection::vec(any::<u8>(), 0..64)) {
        manifest::read_any(content.clone().into());
        memory::read_any(content.into());
    }
}
