//! How many sessions a document and an identity may have.

use driftless::actors::{DocumentOptions, Registry};
use driftless::outbox::Outbox;
use driftless::session::{AttachError, Documents, SessionHandle};

use crate::house::{House, in_system, name, options, request};

/// Joins as somebody who hears nothing.
pub(crate) fn attach(
    registry: &Registry,
    document: &str,
    subject: Option<&str>,
) -> Result<Box<dyn SessionHandle>, AttachError> {
    let mut request = request(&name(document), |_, _, _| {}, &Outbox::new(1 << 10));
    request.holder.subject = subject.map(Into::into);
    registry.attach(request)
}

#[test]
fn a_full_document_takes_the_next_once_one_has_left() {
    in_system(async {
        let house = House::open(DocumentOptions {
            sessions_per_document_max: 2,
            ..options()
        })
        .await;
        let join = |document| attach(&house.registry, document, None);
        let first = join("a").unwrap();
        let second = join("a").unwrap();
        assert_eq!(join("a").err(), Some(AttachError::DocumentFull));
        let other = join("b").unwrap();
        first.detach(true);
        let third = join("a").unwrap();
        drop((second, third, other));
    });
}

#[test]
fn an_identity_has_its_sessions_over_all_documents_and_anonymous_ones_are_nobodys() {
    in_system(async {
        let house = House::open(DocumentOptions {
            sessions_per_identity_max: 2,
            ..options()
        })
        .await;
        let join = |document, subject| attach(&house.registry, document, subject);
        let first = join("a", Some("ada")).unwrap();
        let second = join("b", Some("ada")).unwrap();
        let refused = join("c", Some("ada")).err();
        assert_eq!(refused, Some(AttachError::IdentityFull));
        assert_eq!(house.registry.session_count(&name("c")), None);
        let anonymous: Vec<_> = (0..5).map(|_| join("c", None).unwrap()).collect();
        let ben = join("c", Some("ben")).unwrap();
        drop(second);
        let third = join("c", Some("ada")).unwrap();
        drop((first, third, ben, anonymous));
    });
}
