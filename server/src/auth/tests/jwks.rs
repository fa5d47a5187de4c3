//! Keys from files that change and from real servers that misbehave.

use std::sync::Mutex;

use serde_json::{Value as Json, json};

use super::server::{Reply, TestServer};
use super::vectors::{file, text, vectors};
use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

fn ask(authority: &Authority, token: &str) -> Result<Right, Denial> {
    let question = question("team/a", token);
    block_on(authority.decide(&question)).map(|grant| grant.right)
}

fn key_set(algorithms: &[&str]) -> String {
    let vectors = vectors();
    let keys: Vec<Json> = algorithms
        .iter()
        .map(|it| vectors[*it]["jwk"].clone())
        .collect();
    json!({ "keys": keys }).to_string()
}

fn token(algorithm: &str) -> String {
    text(&vectors()[algorithm]["token"]).to_owned()
}

/// A server whose next replies can be changed.
fn key_server(first: Reply) -> (TestServer, Arc<Mutex<Reply>>) {
    let reply = Arc::new(Mutex::new(first));
    let current = reply.clone();
    let server = TestServer::start(move |_| current.lock().unwrap().clone());
    (server, reply)
}

fn by_url(server: &TestServer) -> (Authority, ManualTime) {
    authority(&[("auth_jwks_url", &server.url("/keys"))])
}

const DENIED_FOR_NOW: Result<Right, Denial> = Err(Denial::Unavailable(Trouble::Keys));

#[test]
fn keys_are_fetched_once_and_then_decisions_are_immediate() {
    let (server, _) = key_server(Reply::Held(200, key_set(&["ES256"])));
    let (authority, _) = by_url(&server);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let authority = authority.clone();
            std::thread::spawn(move || ask(&authority, &token("ES256")))
        })
        .collect();
    server.wait_for(1);
    server.release();
    for thread in waiting {
        assert_eq!(thread.join().unwrap(), Ok(Right::Write));
    }
    assert!(decided(&authority, "team/a", &token("ES256")).is_ok());
    assert_eq!(server.asked().len(), 1);
    assert_eq!(server.asked()[0].path, "/keys");
}

#[test]
fn a_dropped_question_does_not_stop_the_fetch_for_others() {
    let (server, _) = key_server(Reply::Held(200, key_set(&["ES256"])));
    let (authority, _) = by_url(&server);
    let asked = question("team/a", &token("ES256"));
    assert!(authority.decide(&asked).now_or_never().is_none());
    server.wait_for(1);
    server.release();
    assert_eq!(ask(&authority, &token("ES256")), Ok(Right::Write));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn keys_rotate_while_tokens_of_the_old_and_the_new_one_are_shown() {
    let (server, reply) = key_server(Reply::Now(200, key_set(&["ES256"])));
    let (authority, time) = by_url(&server);
    assert_eq!(ask(&authority, &token("ES256")), Ok(Right::Write));
    *reply.lock().unwrap() = Reply::Now(200, key_set(&["ES256", "EdDSA"]));
    time.advance(10_000);
    assert_eq!(ask(&authority, &token("EdDSA")), Ok(Right::Write));
    assert_eq!(ask(&authority, &token("ES256")), Ok(Right::Write));
    *reply.lock().unwrap() = Reply::Now(200, key_set(&["EdDSA"]));
    time.advance(10_000);
    // Somebody else's unknown key brings the news that the old one is gone.
    assert_eq!(ask(&authority, &token("RS256")), Err(Denial::UnknownKey));
    time.advance(10_000);
    assert_eq!(ask(&authority, &token("ES256")), Err(Denial::UnknownKey));
    assert_eq!(ask(&authority, &token("EdDSA")), Ok(Right::Write));
}

#[test]
fn unknown_keys_cause_no_flood() {
    let (server, _) = key_server(Reply::Now(200, key_set(&["ES256"])));
    let (authority, time) = by_url(&server);
    assert_eq!(ask(&authority, &token("ES256")), Ok(Right::Write));
    let hostile = |index: u32| {
        let mut jwk = vectors()["EdDSA"]["privateJwk"].clone();
        jwk["kid"] = index.to_string().into();
        let signer = Signer::from_key(jwk.to_string().as_bytes()).unwrap();
        signer.sign(&new_token()).unwrap()
    };
    for index in 0..50 {
        let recent = Err(Denial::Unavailable(Trouble::KeysRecent));
        assert_eq!(ask(&authority, &hostile(index)), recent);
    }
    assert_eq!(server.asked().len(), 1);
    time.advance(10_000);
    for index in 0..50 {
        let denial = ask(&authority, &hostile(index)).unwrap_err();
        assert_eq!(denial.is_retryable(), index > 0);
    }
    assert_eq!(server.asked().len(), 2);
    assert!(decided(&authority, "team/a", &token("ES256")).is_ok());
}

#[test]
fn without_usable_keys_everybody_is_denied_for_now() {
    let evil = TestServer::start(|_| Reply::Now(200, key_set(&["ES256"])));
    let redirect: &'static str = format!("location: {}\r\n", evil.url("/keys")).leak();
    let table = [
        Reply::Now(500, key_set(&["ES256"])),
        Reply::Now(404, String::new()),
        Reply::Now(204, String::new()),
        Reply::Now(200, "not json".into()),
        Reply::Now(200, "{}".into()),
        Reply::Now(200, r#"{"keys":[]}"#.into()),
        Reply::Now(200, key_set(&["ES256"]) + &" ".repeat(keys::KEYS_BYTES_MAX)),
        Reply::With(302, redirect, String::new()),
        Reply::With(307, redirect, key_set(&["ES256"])),
        Reply::Short(100),
        Reply::Short(1 << 40),
        Reply::Close,
    ];
    for first in table {
        let shown = format!("{first:.60?}");
        let (server, reply) = key_server(first);
        let (authority, time) = by_url(&server);
        assert_eq!(ask(&authority, &token("ES256")), DENIED_FOR_NOW, "{shown}");
        *reply.lock().unwrap() = Reply::Now(200, key_set(&["ES256"]));
        time.advance(10_000);
        assert_eq!(
            ask(&authority, &token("ES256")),
            Ok(Right::Write),
            "{shown}"
        );
    }
    assert!(evil.asked().is_empty(), "redirects are not followed");
}

#[test]
fn a_server_that_hangs_or_is_not_there_denies_for_now() {
    let (server, _) = key_server(Reply::Hang);
    let (authority, _) = by_url(&server);
    assert_eq!(ask(&authority, &token("ES256")), DENIED_FOR_NOW);
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (authority, _) = super::authority(&[("auth_jwks_url", &format!("http://{gone}/"))]);
    assert_eq!(ask(&authority, &token("ES256")), DENIED_FOR_NOW);
}

#[test]
fn the_last_keys_outlive_an_outage_for_a_day() {
    let (server, reply) = key_server(Reply::Now(200, key_set(&["ES256"])));
    let (authority, time) = by_url(&server);
    assert_eq!(ask(&authority, &token("ES256")), Ok(Right::Write));
    *reply.lock().unwrap() = Reply::Now(500, String::new());
    time.advance(86_399_999);
    assert!(decided(&authority, "team/a", &token("ES256")).is_ok());
    time.advance(1);
    assert_eq!(ask(&authority, &token("ES256")), DENIED_FOR_NOW);
    *reply.lock().unwrap() = Reply::Now(200, key_set(&["ES256"]));
    time.advance(10_000);
    assert_eq!(ask(&authority, &token("ES256")), Ok(Right::Write));
}

#[test]
fn a_fixed_key_works_while_the_url_fails() {
    let (server, _) = key_server(Reply::Now(500, String::new()));
    let flags = [
        ("auth_jwks_url", &*server.url("/")),
        ("auth_secret", SECRET),
    ];
    let (authority, _) = authority(&flags);
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let good = signer.sign(&new_token()).unwrap();
    assert!(decided(&authority, "team/a", &good).is_ok());
    assert_eq!(ask(&authority, &token("ES256")), DENIED_FOR_NOW);
}

#[test]
fn a_file_is_read_again_when_it_changes_and_kept_when_it_breaks() {
    let (_folder, path) = file(key_set(&["ES256"]));
    let (authority, time) = authority(&[("auth_keys", &path)]);
    let replace = |content: &str| {
        let beside = format!("{path}.new");
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        time.advance(1_000);
    };
    assert!(decided(&authority, "team/a", &token("ES256")).is_ok());
    replace(&key_set(&["EdDSA"]));
    assert_eq!(ask(&authority, &token("EdDSA")), Ok(Right::Write));
    assert_eq!(ask(&authority, &token("ES256")), Err(Denial::UnknownKey));
    for broken in [
        "",
        "{",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        replace(broken);
        // For good: clients that come back for ever would have to be mended one by one.
        assert_eq!(
            ask(&authority, &token("RS256")),
            Err(Denial::UnknownKey),
            "{broken}"
        );
        assert!(
            decided(&authority, "team/a", &token("EdDSA")).is_ok(),
            "{broken}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    time.advance(1_000);
    assert_eq!(ask(&authority, &token("RS256")), Err(Denial::UnknownKey));
    assert!(decided(&authority, "team/a", &token("EdDSA")).is_ok());
    replace(&key_set(&["RS256"]));
    assert_eq!(ask(&authority, &token("RS256")), Ok(Right::Write));
}

#[test]
fn a_key_that_left_the_file_is_forgotten_without_anybody_asking() {
    let (_folder, path) = file(key_set(&["ES256"]));
    let (authority, time) = authority(&[("auth_keys", &path)]);
    std::fs::write(&path, key_set(&["RS256", "EdDSA"])).unwrap();
    time.advance(1_000);
    let began = std::time::Instant::now();
    let asked = question("team/a", &token("ES256"));
    // A known key needs no look, so that only the worker itself can find out.
    while authority
        .decide(&asked)
        .now_or_never()
        .is_some_and(|it| it.is_ok())
    {
        assert!(began.elapsed().as_secs() < 20);
        std::thread::yield_now();
    }
}

#[test]
fn a_broken_file_stops_the_start() {
    let (_folder, path) = file("nothing of use");
    for (path, wanted) in [(&*path, "neither PEM"), ("/no/such/file", "cannot be read")] {
        let settings = settings(&[("auth_keys", path)]);
        let told = Authority::from_settings(&settings, ManualTime::default());
        let told = told.unwrap_err().to_string();
        assert!(told.contains(wanted) && told.contains(path), "{told}");
    }
}
