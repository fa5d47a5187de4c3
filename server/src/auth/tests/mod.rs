//! Whole decisions: tokens of other libraries, hostile ones, and real servers for keys and hooks.
#![allow(clippy::unwrap_used)]

mod generated;
mod hooks;
mod hostile;
mod jwks;
mod server;
mod tls;
mod vectors;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless_proto::name::DocumentName;
use futures_util::FutureExt;

use super::*;
use crate::config::{Flags, Settings, load};

/// When tests take place: in November 2023.
pub(super) const NOW_MS: u64 = 1_700_000_000_000;

/// 40 bytes.
pub(super) const SECRET: &str = "a secret that only the two of us know!!!";

/// A clock that only moves when told to.
#[derive(Debug, Clone, Default)]
pub(super) struct ManualTime(Arc<AtomicU64>);

impl ManualTime {
    pub(super) fn advance(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl TimeSource for ManualTime {
    fn wall_ms(&self) -> u64 {
        NOW_MS + self.now_ms()
    }

    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) fn settings(flags: &[(&str, &str)]) -> Settings {
    let none: Vec<(&str, &str)> = Vec::new();
    load(&Flags::given(flags), &none, 1).unwrap().settings
}

/// An authority by these settings, and its clock.
pub(super) fn authority(flags: &[(&str, &str)]) -> (Authority, ManualTime) {
    let time = ManualTime::default();
    let authority = Authority::from_settings(&settings(flags), time.clone()).unwrap();
    (authority, time)
}

pub(super) fn question(document: &str, token: &str) -> Question {
    Question {
        document: DocumentName::new(document).unwrap(),
        token: Some(Token::new(token).unwrap()),
        address: IpAddr::from([192, 0, 2, 7]),
        door: "test",
    }
}

/// A decision that needs nothing fetched: it is there at the first poll.
pub(super) fn decided(authority: &Authority, document: &str, token: &str) -> Result<Grant, Denial> {
    let question = question(document, token);
    let decision = authority.decide(&question).now_or_never();
    decision.expect("nothing had to be fetched")
}

/// A token that is good for an hour on `team/*`.
pub(super) fn new_token() -> NewToken {
    NewToken {
        subject: Some("ada".into()),
        documents: vec![("team/*".into(), Right::Write)],
        issued_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 3_600_000,
        ..NewToken::default()
    }
}

#[test]
fn an_open_authority_asks_for_nothing_and_gives_no_admin() {
    let (authority, _) = authority(&[]);
    for authority in [authority, Authority::open()] {
        assert!(authority.is_open());
        for token in ["", "anything"] {
            let grant = decided(&authority, "a", token).unwrap();
            assert_eq!(grant, Grant::anonymous(Right::Write));
            assert!(!grant.may_relay && !grant.right.allows(Right::Admin));
        }
    }
}

#[test]
fn it_is_shared_among_threads_with_runtimes_of_their_own() {
    let (authority, _) = authority(&[("auth_secret", SECRET)]);
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let token = signer.sign(&new_token()).unwrap();
    let ask = |_| {
        let (authority, token) = (authority.clone(), token.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let question = question("team/a", &token);
            runtime
                .block_on(authority.decide(&question))
                .map(|grant| grant.right)
        })
    };
    let threads: Vec<_> = (0..4).map(ask).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Ok(Right::Write));
    }
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    is_shared(&authority);
    is_shared(&signer);
}

#[test]
fn nothing_shows_a_secret() {
    let (authority, _) = authority(&[("auth_secret", SECRET)]);
    let hook = [
        ("auth_hook_url", "http://127.0.0.1:1/"),
        ("auth_hook_secret", SECRET),
    ];
    let (hook, _) = super::tests::authority(&hook);
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let question = question("a", SECRET);
    let shown = format!("{authority:?} {hook:?} {signer:?} {question:?}");
    assert!(!shown.contains("only the two"), "{shown}");
    let bytes = format!("{:?}", SECRET.as_bytes());
    assert!(!shown.contains(&bytes[1..40]), "{shown}");
}
