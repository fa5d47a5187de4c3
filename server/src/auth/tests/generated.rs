//! Keys made here, and tokens minted with them.

use super::vectors::file;
use super::*;
use crate::auth::generate::{KeyKind, generate, token_id};

#[test]
fn new_pairs_sign_and_verify() {
    for kind in [KeyKind::Ed25519, KeyKind::Es256] {
        let (one, other) = (generate(kind).unwrap(), generate(kind).unwrap());
        assert_ne!(one, other);
        assert!(!format!("{one:?}").contains("PRIVATE"));
        let public = one.public.unwrap();
        let (_folder, path) = file(&public);
        let (authority, _) = authority(&[("auth_keys", &path)]);
        let sign = |private: &str| {
            let signer = Signer::from_key(private.as_bytes()).unwrap();
            assert!(!signer.is_shared_secret());
            signer.sign(&new_token()).unwrap()
        };
        let good = decided(&authority, "team/a", &sign(&one.private));
        assert_eq!(good.unwrap().right, Right::Write, "{kind:?}");
        let bad = decided(&authority, "team/a", &sign(&other.private));
        assert_eq!(bad, Err(Denial::BadSignature));
    }
}

#[test]
fn a_new_secret_is_long_enough_for_the_setting() {
    let key = generate(KeyKind::Hs256).unwrap();
    assert_eq!(key.public, None);
    let secret = key.private.trim_end();
    let (authority, _) = authority(&[("auth_secret", secret)]);
    let signer = Signer::from_settings(&settings(&[("auth_secret", secret)]));
    let signer = signer.unwrap().unwrap();
    assert!(signer.is_shared_secret());
    let token = signer.sign(&new_token()).unwrap();
    assert!(decided(&authority, "team/a", &token).is_ok());
    assert_ne!(token_id().unwrap(), token_id().unwrap());
}

#[test]
fn a_token_says_what_it_was_asked_to_say() {
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let flags = [
        ("auth_secret", SECRET),
        ("auth_audience", "here"),
        ("auth_issuer", "me"),
    ];
    let (authority, time) = authority(&flags);
    let token = NewToken {
        may_relay: true,
        not_before_ms: Some(NOW_MS + 60_000),
        audience: Some("here".into()),
        issuer: Some("me".into()),
        token_id: Some("t1".into()),
        ..new_token()
    };
    let token = signer.sign(&token).unwrap();
    assert_eq!(
        decided(&authority, "team/a", &token),
        Err(Denial::NotYetValid)
    );
    time.advance(55_000);
    let grant = decided(&authority, "team/a", &token).unwrap();
    assert_eq!(grant.token_id.as_deref(), Some("t1"));
    assert!(grant.may_relay);
    assert_eq!(grant.expires_at_ms, Some(NOW_MS + 3_600_000));
    time.advance(3_600_000 - 55_001);
    assert!(
        decided(&authority, "team/a", &token).is_ok(),
        "the last moment"
    );
    time.advance(1);
    assert_eq!(decided(&authority, "team/a", &token), Err(Denial::Expired));
}

#[test]
fn no_token_is_minted_that_would_be_refused() {
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let long = "x".repeat(257);
    let pattern = |name: &str| (name.to_owned(), Right::Read);
    let many = (0..=1_000)
        .map(|index| pattern(&index.to_string()))
        .collect();
    let huge = vec![pattern(&"x".repeat(TOKEN_BYTES_MAX))];
    let table: [(NewToken, &str); 8] = [
        (
            NewToken {
                subject: Some(String::new()),
                ..new_token()
            },
            "subject",
        ),
        (
            NewToken {
                token_id: Some(long),
                ..new_token()
            },
            "subject and id",
        ),
        (
            NewToken {
                documents: Vec::new(),
                ..new_token()
            },
            "no document",
        ),
        (
            NewToken {
                documents: vec![pattern("a"), pattern("a")],
                ..new_token()
            },
            "twice",
        ),
        (
            NewToken {
                documents: many,
                ..new_token()
            },
            "1000 patterns",
        ),
        (
            NewToken {
                documents: huge,
                ..new_token()
            },
            "16 KiB",
        ),
        (
            NewToken {
                expires_at_ms: NOW_MS + 999,
                ..new_token()
            },
            "before it begins",
        ),
        (
            NewToken {
                expires_at_ms: u64::MAX,
                ..new_token()
            },
            "year 9999",
        ),
    ];
    for (token, wanted) in table {
        let told = signer.sign(&token).unwrap_err().to_string();
        assert!(told.contains(wanted), "{told}");
    }
}

#[test]
fn who_only_verifies_cannot_mint() {
    let public = generate(KeyKind::Ed25519).unwrap().public.unwrap();
    let (_folder, path) = file(public);
    let hook = [
        ("auth_hook_url", "https://app.example/"),
        ("auth_hook_secret", SECRET),
    ];
    for flags in [
        &[("auth_keys", &*path)][..],
        &[("auth_jwks_url", "https://id.example/")],
        &hook,
        &[],
    ] {
        assert!(Signer::from_settings(&settings(flags)).unwrap().is_none());
    }
    let told = Signer::from_settings(&settings(&[("auth_signing_key", "/no/such")]));
    assert!(
        told.unwrap_err()
            .to_string()
            .contains("/no/such, cannot be read")
    );
}

#[test]
fn a_signing_key_and_a_secret_are_both_accepted() {
    let private = generate(KeyKind::Es256).unwrap().private;
    let (_folder, path) = file(&private);
    let flags = [("auth_signing_key", &*path), ("auth_secret", SECRET)];
    let (authority, _) = authority(&flags);
    let named = Signer::from_settings(&settings(&flags)).unwrap().unwrap();
    assert!(!named.is_shared_secret(), "the key comes first");
    for signer in [named, Signer::from_secret(SECRET.as_bytes()).unwrap()] {
        let token = signer.sign(&new_token()).unwrap();
        assert!(decided(&authority, "team/a", &token).is_ok());
    }
}
