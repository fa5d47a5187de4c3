//! Conformance: restrictions.

use crate::access::{RESTRICTIONS_MAX, Restriction, Selection};
use crate::auth::Right;
use crate::store::StoreError;
use crate::store::conformance::*;

fn restriction(id: &str) -> Restriction {
    Restriction {
        id: id.to_owned(),
        on: Selection {
            subject: Some("ada".to_owned()),
            ..Selection::default()
        },
        right_max: Right::Read,
        since_ms: 1_000,
        until_ms: None,
        issued_before_ms: None,
        reason: String::new(),
    }
}

pub(crate) async fn restrictions_come_back_as_they_were(backend: &impl Backend) {
    let store = backend.store();
    assert_eq!(store.restrictions().await.unwrap(), []);
    let wide = Restriction {
        on: Selection {
            document: Some("team/*".to_owned()),
            ..Selection::default()
        },
        right_max: Right::None,
        ..restriction("a")
    };
    let narrow = Restriction {
        on: Selection {
            document: Some("\u{fc}\0%_'".to_owned()),
            subject: Some("eve \0".to_owned()),
            token_id: Some("t-1".to_owned()),
        },
        right_max: Right::Comment,
        since_ms: 1_700_000_000_000,
        until_ms: Some(1_800_000_000_000),
        issued_before_ms: Some(1_700_000_000_000),
        reason: "it's \"why\"".to_owned(),
        id: "B".to_owned(),
    };
    store
        .put_restrictions(std::slice::from_ref(&wide))
        .await
        .unwrap();
    store
        .put_restrictions(std::slice::from_ref(&narrow))
        .await
        .unwrap();
    assert_eq!(
        store.restrictions().await.unwrap(),
        [narrow.clone(), wide.clone()]
    );
    assert!(store.remove_restriction("B").await.unwrap());
    assert!(!store.remove_restriction("B").await.unwrap());
    let changed = Restriction {
        right_max: Right::Read,
        until_ms: Some(9_000),
        ..wide
    };
    store
        .put_restrictions(std::slice::from_ref(&changed))
        .await
        .unwrap();
    assert_eq!(
        store.restrictions().await.unwrap(),
        [changed],
        "its id is replaced"
    );
}

pub(crate) async fn restrictions_that_ran_out_go_with_the_next_one(backend: &impl Backend) {
    let store = backend.store();
    let until = |id: &str, until_ms| Restriction {
        until_ms,
        ..restriction(id)
    };
    let before = [
        until("a", Some(2_000)),
        until("b", Some(2_001)),
        until("c", None),
    ];
    store.put_restrictions(&before).await.unwrap();
    let next = Restriction {
        since_ms: 2_000,
        ..restriction("d")
    };
    store.put_restrictions(&[next]).await.unwrap();
    let ids = store
        .restrictions()
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.id);
    assert_eq!(ids.collect::<Vec<_>>(), ["b", "c", "d"]);
}

pub(crate) async fn restrictions_are_bounded_in_number(backend: &impl Backend) {
    let store = backend.store();
    let some = |numbers: std::ops::Range<usize>| -> Vec<_> {
        let ids = numbers.map(|number| format!("{number:05}"));
        ids.map(|id| restriction(&id)).collect()
    };
    store
        .put_restrictions(&some(0..RESTRICTIONS_MAX))
        .await
        .unwrap();
    let more = some(RESTRICTIONS_MAX - 1..RESTRICTIONS_MAX + 1);
    let error = store.put_restrictions(&more).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Refused(told) if told.contains("access lift")),
        "{error}"
    );
    assert_eq!(store.restrictions().await.unwrap().len(), RESTRICTIONS_MAX);
    assert!(store.remove_restriction("00000").await.unwrap());
    store.put_restrictions(&more).await.unwrap();
}
