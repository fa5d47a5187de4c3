//! Conformance: listing documents.

use crate::store::conformance::*;

async fn listed(store: &dyn Store, prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
    let after = after.map(name);
    let lines = store.list(prefix, after.as_ref(), limit).await.unwrap();
    let names = lines.iter().map(|line| line.name.as_str().to_owned());
    names.collect()
}

pub(crate) async fn listing_pages_in_byte_order(backend: &impl Backend) {
    let store = backend.store();
    for document in ["b", "a", "é", "B", "aa", "a\0", "\u{10ffff}"] {
        store.commit(&[append(document, 1, 1)]).await.unwrap();
    }
    let all = ["B", "a", "a\0", "aa", "b", "é", "\u{10ffff}"];
    assert_eq!(listed(&*store, "", None, 100).await, all);
    for size in 1..=3 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = listed(&*store, "", after.as_deref(), size).await;
            assert!(page.len() <= size as usize);
            after = page.last().cloned();
            seen.extend(page);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all, "pages of {size}");
    }
    assert_eq!(listed(&*store, "", None, 0).await, [""; 0]);
    let between = listed(&*store, "", Some("ab"), 2).await;
    assert_eq!(between, ["b", "é"], "the start need not exist");
}

pub(crate) async fn listing_takes_prefixes_literally(backend: &impl Backend) {
    let store = backend.store();
    for document in [
        "a%b",
        "axb",
        "a_b",
        "a%",
        "é1",
        "é2",
        "e",
        "\u{10ffff}x",
        "a*",
    ] {
        store.commit(&[append(document, 1, 1)]).await.unwrap();
    }
    let table: [(&str, &[&str]); 7] = [
        ("a%", &["a%", "a%b"]),
        ("a_", &["a_b"]),
        ("a*", &["a*"]),
        ("é", &["é1", "é2"]),
        ("\u{10ffff}", &["\u{10ffff}x"]),
        ("axb", &["axb"]),
        ("axbc", &[]),
    ];
    for (prefix, expected) in table {
        assert_eq!(
            listed(&*store, prefix, None, 10).await,
            expected,
            "{prefix}"
        );
    }
    assert_eq!(listed(&*store, "a%", Some("a%"), 10).await, ["a%b"]);
    assert_eq!(listed(&*store, "é", Some("a"), 10).await, ["é1", "é2"]);
    assert_eq!(listed(&*store, "a", Some("é1"), 10).await, [""; 0]);
}

pub(crate) async fn listing_tells_sizes_and_states(backend: &impl Backend) {
    let store = backend.store();
    let document = name("a");
    fill(&*store, "a", 1..=4).await;
    store
        .save_snapshot(&document, 1, &snapshot(3))
        .await
        .unwrap();
    store.save_base(&document, 1, &snapshot(1)).await.unwrap();
    let line = store.list("a", None, 1).await.unwrap().remove(0);
    assert_eq!((line.epoch, line.head, line.appends), (1, 4, 3));
    let states = snapshot(3).state.len() + snapshot(1).state.len();
    assert_eq!(line.stored_bytes, 3 * 8 + states as u64);
    assert_eq!(line.changed_ms, 1_004);
    assert_eq!((line.quarantine, line.deleted), (None, false));
    store.set_quarantine(&document, Some("why")).await.unwrap();
    let line = store.list("a", None, 1).await.unwrap().remove(0);
    assert_eq!(line.quarantine.as_deref(), Some("why"));
    store.delete(&document, &[0]).await.unwrap();
    let line = store.list("a", None, 1).await.unwrap().remove(0);
    assert_eq!((line.epoch, line.head, line.appends), (2, 4, 0));
    assert_eq!((line.stored_bytes, line.deleted), (0, true));
    assert_eq!(line.quarantine, None);
    store.commit(&[append("a", 2, 5)]).await.unwrap();
    let line = store.list("a", None, 1).await.unwrap().remove(0);
    assert!(!line.deleted);
}
