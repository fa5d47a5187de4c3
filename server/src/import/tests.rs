//! Sources as real servers left them behind, and bytes that no server writes.
#![allow(clippy::unwrap_used)]

mod order;

use std::path::PathBuf;

use driftless_proto::name::DocumentName;
use proptest::prelude::*;

use super::content::{Gathered, Relation, gather, merged, relation};
use super::update_files::UpdateFiles;
use super::y_sweet::{YSweetFolder, decode};
use super::y_websocket::YLeveldbFolder;
use super::*;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::tests::{options, server};
use crate::store::{Append, Origin, Store};

/// Much more than any fixture, little enough that a mistake shows.
const BYTES_MAX: usize = 1 << 20;

/// Written by `server/tests/import/make-fixtures.js`.
pub(super) fn fixture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/import/fixtures");
    folder.join(name)
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

/// All documents of a source by name, after its survey.
pub(super) fn all(source: &mut dyn Source) -> Result<Vec<(String, Updates)>, SourceError> {
    block_on(async {
        let survey = source.survey().await?;
        let mut documents = Vec::new();
        while let Some(name) = source.next().await? {
            documents.push((name, source.read(BYTES_MAX).await?));
        }
        assert_eq!(survey.documents, documents.len() as u64);
        documents.sort();
        Ok(documents)
    })
}

fn gathered(updates: Updates) -> Gathered {
    gather(updates.unwrap(), BYTES_MAX).unwrap()
}

#[test]
fn every_source_holds_the_same_documents() {
    let expected = all(&mut UpdateFiles::new(&fixture("updates"))).unwrap();
    let names: Vec<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["notes", "team_plan"]);
    let leveldb = |name| all(&mut YLeveldbFolder::open(&fixture(name)).unwrap()).unwrap();
    let mut young = leveldb("y-leveldb-young");
    assert_eq!(young[0].0, "my%20room");
    young[0].0 = "team_plan".to_owned();
    young.sort();
    let mut y_sweet = all(&mut YSweetFolder::new(&fixture("y-sweet"))).unwrap();
    assert_eq!(y_sweet.remove(0), ("empty".to_owned(), Ok(Vec::new())));
    for found in [young, leveldb("y-leveldb-aged"), y_sweet] {
        assert_eq!(found.len(), expected.len());
        for ((name, updates), (wanted, update)) in found.into_iter().zip(expected.clone()) {
            assert_eq!(name, wanted);
            let (found, expected) = (gathered(updates), gathered(update));
            assert!(!found.is_partial && !found.content.is_empty());
            let related = relation(&expected.content, &found.content);
            assert_eq!(related, Ok(Relation::Equal), "{name}");
        }
    }
}

#[test]
fn documents_that_are_not_asked_for_are_passed_over() {
    let mut source = YLeveldbFolder::open(&fixture("y-leveldb-aged")).unwrap();
    block_on(async {
        assert_eq!(source.next().await.unwrap().as_deref(), Some("notes"));
        assert_eq!(source.next().await.unwrap().as_deref(), Some("team_plan"));
        let updates = source.read(BYTES_MAX).await.unwrap().unwrap();
        assert_eq!(updates.len(), 2, "a flushed state and one behind it");
        assert_eq!(source.next().await.unwrap(), None);
        assert_eq!(source.next().await.unwrap(), None);
    });
}

#[test]
fn what_is_too_large_is_not_read() {
    let sources: [Box<dyn Source>; 3] = [
        Box::new(YLeveldbFolder::open(&fixture("y-leveldb-aged")).unwrap()),
        Box::new(YSweetFolder::new(&fixture("y-sweet"))),
        Box::new(UpdateFiles::new(&fixture("updates"))),
    ];
    for mut source in sources {
        block_on(async {
            let mut refused = 0;
            while source.next().await.unwrap().is_some() {
                if let Err(told) = source.read(100).await.unwrap() {
                    assert!(told.contains("at most 100 are read"), "{told}");
                    refused += 1;
                }
            }
            assert_eq!(refused, 2);
        });
    }
}

#[test]
fn folders_that_are_none_are_told() {
    let nothing = tempfile::tempdir().unwrap();
    let missing = nothing.path().join("none");
    let told = |mut source: Box<dyn Source>| all(&mut *source).unwrap_err();
    for source in [
        Box::new(YSweetFolder::new(&missing)) as Box<dyn Source>,
        Box::new(UpdateFiles::new(&missing)),
    ] {
        assert!(matches!(told(source), SourceError::NotFound(_)));
    }
    let inside = told(Box::new(YSweetFolder::new(&fixture("y-sweet/notes"))));
    assert!(inside.to_string().contains("the one above"), "{inside}");
    let none = YLeveldbFolder::open(nothing.path()).unwrap_err();
    assert!(matches!(none, SourceError::NotFound(_)), "{none}");
}

/// `client` writes `text` at `clock` into the root text `body`.
fn typed(client: u8, clock: u8, text: &str) -> Bytes {
    let mut update = vec![1, 1, client, clock, 4, 1, 4];
    update.extend_from_slice(b"body");
    update.push(text.len() as u8);
    update.extend_from_slice(text.as_bytes());
    update.push(0);
    update.into()
}

#[test]
fn updates_may_come_in_any_order_and_pending_ones_are_told() {
    let parts: Vec<Bytes> = (0..8).map(|clock| typed(1, clock, "x")).collect();
    let mut backwards = parts.clone();
    backwards.reverse();
    let forwards = gather(parts.clone(), BYTES_MAX).unwrap().content;
    let backwards = gather(backwards, BYTES_MAX).unwrap();
    assert!(!backwards.is_partial);
    assert_eq!(relation(&forwards, &backwards.content), Ok(Relation::Equal));
    let holed = gather(vec![parts[0].clone(), parts[2].clone()], BYTES_MAX).unwrap();
    assert!(holed.is_partial);
    assert_eq!(holed.content.known.vector.get(1), 1);
    assert!(gather(Vec::new(), BYTES_MAX).unwrap().content.is_empty());
}

#[test]
fn hostile_updates_are_refused_with_a_reason() {
    let nested = {
        // A value of a thousand arrays in each other.
        let mut update = vec![1, 1, 1, 0, 8, 1, 1, b'a', 1];
        update.extend([117, 1].repeat(1_000));
        update.extend([126, 0]);
        update
    };
    let table: [(&[u8], &str); 4] = [
        (&[255, 255, 255, 122], "cannot be taken"),
        (b"<html>", "cannot be taken"),
        (&[], "cannot be taken"),
        (&nested, "too deeply"),
    ];
    for (bytes, wanted) in table {
        let told = gather(vec![Bytes::copy_from_slice(bytes)], BYTES_MAX).unwrap_err();
        assert!(told.contains(wanted), "{told}");
    }
    let told = gather(vec![typed(1, 0, "hello")], 8).unwrap_err();
    assert!(told.contains("document_bytes_max is 8"), "{told}");
}

#[test]
fn documents_are_compared_by_what_they_hold() {
    let of = |updates: &[Bytes]| gather(updates.to_vec(), BYTES_MAX).unwrap().content;
    let (one, two) = (typed(1, 0, "one"), typed(2, 0, "two"));
    let both = of(&[one.clone(), two.clone()]);
    let table = [
        (
            of(std::slice::from_ref(&one)),
            both.clone(),
            Relation::TargetHasMore,
        ),
        (
            both.clone(),
            of(std::slice::from_ref(&one)),
            Relation::SourceHasMore,
        ),
        (
            of(std::slice::from_ref(&one)),
            of(std::slice::from_ref(&two)),
            Relation::BothHaveMore,
        ),
        (
            both.clone(),
            of(&[two.clone(), one.clone()]),
            Relation::Equal,
        ),
        (of(&[one]), of(&[typed(1, 0, "eno")]), Relation::Clash),
        // The same ids with other content cannot be told by vectors alone.
        (
            of(&[typed(1, 0, "long")]),
            of(&[typed(1, 0, "sho")]),
            Relation::Clash,
        ),
    ];
    for (source, target, wanted) in &table {
        assert_eq!(relation(source, target).as_ref(), Ok(wanted));
    }
    let (source, target, _) = &table[2];
    let merged = merged(source, target).unwrap();
    assert_eq!(relation(&both, &merged), Ok(Relation::Equal));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_files_of_y_sweet_never_panic(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..12),
        cut in 0_usize..12,
    ) {
        let mut file = std::fs::read(fixture("y-sweet/team_plan/data.ysweet")).unwrap();
        let at = at.index(file.len());
        let end = (at + cut).min(file.len());
        file.splice(at..end, bytes);
        if let Ok(updates) = decode(&file.into()) {
            let _ = gather(updates, BYTES_MAX);
        }
    }

    #[test]
    fn damaged_updates_never_panic(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let mut update = std::fs::read(fixture("updates/notes.update")).unwrap();
        let at = at.index(update.len());
        let end = (at + bytes.len()).min(update.len());
        update.splice(at..end, bytes);
        let _ = gather(vec![update.into()], BYTES_MAX);
    }
}

/// A commit of a live node.
fn live(document: &DocumentName, client: u8) -> Append {
    Append {
        document: document.clone(),
        epoch: 1,
        id: fastrand::u128(..).to_be_bytes(),
        origin: Origin::default(),
        time_ms: 1,
        update: typed(client, 0, "live "),
        after: None,
        claims: Vec::new(),
    }
}

#[test]
fn an_import_beside_live_nodes_loses_nothing_of_either() {
    const DOCUMENTS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..DOCUMENTS {
        let file = folder.path().join(format!("doc {number}"));
        std::fs::write(file, typed(1, 0, "imported ")).unwrap();
    }
    block_on(async {
        let url = server::new_database();
        let store = PostgresStore::open(&options(url.clone())).await.unwrap();
        let node = PostgresStore::open(&options(url)).await.unwrap();
        let names: Vec<_> = (0..DOCUMENTS)
            .map(|number| DocumentName::new(&format!("doc {number}")).unwrap())
            .collect();
        let options = ImportOptions {
            names: NameRules::default(),
            merge: true,
            drop_pending: false,
            document_bytes_max: BYTES_MAX,
            door: "import updates".to_owned(),
        };
        let progress = Progress::default();
        let mut source = UpdateFiles::new(folder.path());
        let importing = import(&mut source, Some(&store), false, &options, &progress);
        let editing = async {
            for client in 2..6 {
                for name in &names {
                    node.commit(&[live(name, client)]).await.unwrap();
                }
            }
        };
        let (imported, ()) = tokio::join!(importing, editing);
        imported.unwrap();
        let counts = progress.counts();
        let outcome = (
            counts.imported,
            counts.failed(),
            counts.equal + counts.contained,
        );
        assert_eq!(outcome, (30, 0, 30), "{:?}", progress.report().notes);
        for name in &names {
            let stored = store.load(name).await.unwrap();
            assert_eq!(stored.head, 5);
            let content = super::content::Content::of_stored(&stored).unwrap();
            let clients: Vec<u64> = content
                .known
                .vector
                .iter()
                .map(|(client, _)| client)
                .collect();
            assert_eq!(clients.len(), 5, "{clients:?}");
        }
    });
}
